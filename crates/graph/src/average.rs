//! Average pooling: sums over windows, each divided by a public count.

use crate::Pool;

/// Average over windows. The places of a window inside the image are summed; the divisor of the window in row y and column x
/// is `counts[0][y] * counts[1][x]`, which tells whether padding is counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AvgPool {
    /// The windows.
    pub pool: Pool,
    /// Divisors of the rows and of the columns of windows.
    pub counts: [Vec<u32>; 2],
}

impl AvgPool {
    /// The average over the whole image.
    pub fn global(channels: usize, in_height: usize, in_width: usize) -> Self {
        let kernel = [in_height, in_width];
        let pool = Pool { channels, in_height, in_width, kernel, stride: [1, 1], pads: [0; 4], dilation: [1, 1] };
        AvgPool { pool, counts: kernel.map(|size| vec![size as u32]) }
    }

    /// Pools `items` items: `add` sums, `divide` takes a sum and its divisor.
    pub fn apply<T: Copy>(
        &self,
        items: usize,
        x: &[T],
        out: &mut [T],
        add: impl Fn(T, T) -> T,
        divide: impl Fn(T, u32) -> T,
    ) {
        self.pool.apply(items, x, out, add);
        let columns = self.counts[1].len();
        let places = self.counts[0].len() * columns;
        for plane in out.chunks_exact_mut(places) {
            for (place, out) in plane.iter_mut().enumerate() {
                *out = divide(*out, self.counts[0][place / columns] * self.counts[1][place % columns]);
            }
        }
    }
}
