//! Readers for IDX, npy and images, and their preprocessing.

/// Items ready for a model, all of one shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Items {
    /// Shape of one item: `[channels, height, width]` or `[features]`.
    pub shape: Vec<usize>,
    /// Values of all items, one after the other, row-major.
    pub values: Vec<f32>,
    /// Number of items.
    pub count: usize,
}

/// x = (byte / scale - mean_c) / std_c.
#[derive(Clone, Debug, PartialEq)]
pub struct Preprocess {
    /// Bytes are divided by this.
    pub scale: f32,
    /// Subtracted, one value a channel or one for all; empty for none.
    pub mean: Vec<f32>,
    /// Divided by, one value a channel or one for all; empty for none.
    pub std: Vec<f32>,
}

impl Default for Preprocess {
    fn default() -> Self {
        Preprocess { scale: 255.0, mean: Vec::new(), std: Vec::new() }
    }
}
