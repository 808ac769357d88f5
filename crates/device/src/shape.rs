//! Shapes of sums over windows.

use ariann_ring::Ring;

/// Sums over windows, for one item, CHW: average pooling without its division.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SumShape {
    /// Channels.
    pub channels: usize,
    /// Height and width of the input.
    pub input: [usize; 2],
    /// Height and width of the window.
    pub kernel: [usize; 2],
    /// Stride, down and right.
    pub stride: [usize; 2],
    /// Padding above and to the left, which holds zeros; the padding below and to the right follows from the output.
    pub pads: [usize; 2],
    /// Distance of the places within a window.
    pub dilation: [usize; 2],
    /// Public factors of each row and of each column of windows: the sum in row y and column x is multiplied by
    /// `factors[0][y] * factors[1][x]`. Their numbers are the height and width of the output.
    pub factors: [Vec<u32>; 2],
}

impl SumShape {
    /// Elements of one item's input.
    pub fn in_len(&self) -> usize {
        self.channels * self.input[0] * self.input[1]
    }

    /// Elements of one item's output.
    pub fn out_len(&self) -> usize {
        self.channels * self.factors[0].len() * self.factors[1].len()
    }

    /// The rows (`axis` 0) or columns (`axis` 1) that window number `at` covers.
    pub fn places(&self, axis: usize, at: usize) -> impl Iterator<Item = usize> + '_ {
        (0..self.kernel[axis])
            .filter_map(move |tap| (at * self.stride[axis] + tap * self.dilation[axis]).checked_sub(self.pads[axis]))
            .take_while(move |place| *place < self.input[axis])
    }

    /// Sums `items` items of `x` into `out`.
    pub fn apply<R: Ring>(&self, items: usize, x: &[R], out: &mut [R]) {
        let [height, width] = self.input;
        let [rows, columns] = [0, 1].map(|axis| self.factors[axis].len());
        let mut lines = vec![R::ZERO; rows * width];
        let planes = x.chunks_exact(height * width).zip(out.chunks_exact_mut(rows * columns));
        for (plane, out) in planes.take(items * self.channels) {
            lines.fill(R::ZERO);
            for (y, line) in lines.chunks_exact_mut(width).enumerate() {
                for place in self.places(0, y) {
                    line.iter_mut().zip(&plane[place * width..]).for_each(|(sum, x)| *sum = sum.add(*x));
                }
            }
            for (y, out) in out.chunks_exact_mut(columns).enumerate() {
                let line = &lines[y * width..][..width];
                for (x, out) in out.iter_mut().enumerate() {
                    let sum = self.places(1, x).fold(R::ZERO, |sum, place| sum.add(line[place]));
                    *out = sum.mul(R::from_u64(u64::from(self.factors[0][y]) * u64::from(self.factors[1][x])));
                }
            }
        }
    }
}
