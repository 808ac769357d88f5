//! Shapes of two-dimensional max pooling.

use serde::{Deserialize, Serialize};

/// Windows of a max pooling. Padding holds no value: a window's maximum is taken over its places inside the image,
/// and every window has at least one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Pool {
    /// Channels, each pooled alone.
    pub channels: usize,
    /// Height of the input.
    pub in_height: usize,
    /// Width of the input.
    pub in_width: usize,
    /// Height and width of a window.
    pub kernel: [usize; 2],
    /// Distance of windows.
    pub stride: [usize; 2],
    /// Padding: top, left, bottom, right. Rounding up (`ceil_mode`) is already counted in.
    pub pads: [usize; 4],
    /// Distance of the places within a window.
    pub dilation: [usize; 2],
}

impl Pool {
    /// Height of the output.
    pub fn out_height(&self) -> usize {
        self.out_len_of(0)
    }

    /// Width of the output.
    pub fn out_width(&self) -> usize {
        self.out_len_of(1)
    }

    /// Values of one item of the input.
    pub fn in_len(&self) -> usize {
        self.channels * self.in_height * self.in_width
    }

    /// Values of one item of the output.
    pub fn out_len(&self) -> usize {
        self.channels * self.out_height() * self.out_width()
    }

    /// The rows (`axis` 0) or columns (`axis` 1) of the input that window number `window` covers, padding left out.
    pub fn places(&self, axis: usize, window: usize) -> impl Iterator<Item = usize> + '_ {
        let size = self.size(axis);
        (0..self.kernel[axis])
            .filter_map(move |tap| {
                (window * self.stride[axis] + tap * self.dilation[axis]).checked_sub(self.pads[axis])
            })
            .take_while(move |&place| place < size)
    }

    fn size(&self, axis: usize) -> usize {
        [self.in_height, self.in_width][axis]
    }

    fn out_len_of(&self, axis: usize) -> usize {
        let padded = self.size(axis) + self.pads[axis] + self.pads[axis + 2];
        let extent = (self.kernel[axis] - 1) * self.dilation[axis] + 1;
        padded.checked_sub(extent).map_or(0, |rest| rest / self.stride[axis] + 1)
    }

    /// Pools `items` items. `max(a, b)` is the greater of two values.
    pub fn apply<T: Copy>(&self, items: usize, x: &[T], out: &mut [T], max: impl Fn(T, T) -> T) {
        assert_eq!(x.len(), items * self.in_len(), "length of the input of a pooling");
        assert_eq!(out.len(), items * self.out_len(), "length of the output of a pooling");
        let (height, width) = (self.out_height(), self.out_width());
        let rows: Vec<Vec<usize>> = (0..height).map(|y| self.places(0, y).collect()).collect();
        let columns: Vec<Vec<usize>> = (0..width).map(|x| self.places(1, x).collect()).collect();
        let planes = x.chunks_exact((self.in_height * self.in_width).max(1));
        for (plane, out) in planes.zip(out.chunks_exact_mut((height * width).max(1))) {
            for (rows, out) in rows.iter().zip(out.chunks_exact_mut(width)) {
                for (columns, out) in columns.iter().zip(out) {
                    let window = rows.iter().flat_map(|y| columns.iter().map(move |x| y * self.in_width + x));
                    *out = window
                        .map(|place| plane[place])
                        .reduce(&max)
                        .expect("every window has a place inside the image");
                }
            }
        }
    }
}
