//! Mean and variance that a value is expected to have, from which weights and running statistics are chosen.

/// What is expected of a value's elements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub mean: f32,
    pub variance: f32,
}

impl Spread {
    /// Of an input: between pixels in [0, 1] and normalised ones.
    pub const INPUT: Spread = Spread { mean: 0.5, variance: 0.25 };

    /// Of a linear layer's output.
    pub const UNIT: Spread = Spread { mean: 0.0, variance: 1.0 };

    /// After ReLU, of a normal value with mean 0.
    pub fn relu(self) -> Self {
        let deviation = self.variance.sqrt();
        if self.mean > 0.5 * deviation {
            return self;
        }
        Spread { mean: 0.40 * deviation, variance: 0.34 * self.variance }
    }

    /// Maxima of windows; neighbours are alike, so they are less than those of independent values.
    pub fn pooled(self, kernel: usize) -> Self {
        let (mean, variance) = if kernel == 2 { (0.8, 0.6) } else { (1.2, 0.5) };
        Spread { mean: self.mean + mean * self.variance.sqrt(), variance: variance * self.variance }
    }

    /// Sums of independent values.
    pub fn plus(self, other: Spread) -> Self {
        Spread { mean: self.mean + other.mean, variance: self.variance + other.variance }
    }
}
