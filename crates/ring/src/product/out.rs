//! The place of a result.

use std::marker::PhantomData;

use super::micro::Micro;
use crate::Ring;

/// Where the result goes: element (i, j) at `i * row + (j / span) * jump + j % span`.
pub struct Out<'a, R> {
    data: *mut R,
    len: usize,
    row: usize,
    span: usize,
    jump: usize,
    life: PhantomData<&'a mut [R]>,
}

// SAFETY: threads get disjoint blocks of (i, j), and no two elements share a place (`new` and `holds`).
unsafe impl<R: Send> Sync for Out<'_, R> {}

impl<'a, R: Ring> Out<'a, R> {
    /// A row-major matrix of `cols` columns.
    pub fn rows(data: &'a mut [R], cols: usize) -> Self {
        Self::new(data, cols, cols, 0)
    }

    /// See the type; `data` begins at element (0, 0).
    pub fn new(data: &'a mut [R], row: usize, span: usize, jump: usize) -> Self {
        assert!(span > 0 && row >= span, "rows of the result do not overlap");
        Self { data: data.as_mut_ptr(), len: data.len(), row, span, jump, life: PhantomData }
    }

    /// Whether the elements of `rows` rows and `cols` columns all have places of their own.
    pub fn holds(&self, rows: usize, cols: usize) -> bool {
        cols <= self.span || self.jump >= (rows - 1) * self.row + self.span
    }

    /// Stores or adds the first `rows` rows, `width` columns, of a tile whose place begins at row `m`, column `n`.
    #[inline(always)]
    pub fn put<M: Micro<R>>(&self, (m, rows): (usize, usize), (n, width): (usize, usize), tile: &[R], add: bool) {
        let mut done = 0;
        while done < width {
            let j = n + done;
            let (item, inside) = if j < self.span { (0, j) } else { (j / self.span, j % self.span) };
            let run = (width - done).min(self.span - inside);
            let place = m * self.row + item * self.jump + inside;
            let len = (rows - 1) * self.row + run;
            assert!(place + len <= self.len, "a tile lies inside the result");
            // SAFETY: inside the slice that `new` borrowed (asserted); no other thread has a tile with these elements.
            unsafe { M::put(self.data.add(place), self.row, &tile[done..rows * M::NR], run, add) };
            done += run;
        }
    }

    /// Where a tile of `rows` rows from `m` and `width` columns from `n` begins, and the distance of its rows, if every row of it lies contiguous.
    #[inline(always)]
    pub fn place(&self, (m, rows): (usize, usize), (n, width): (usize, usize)) -> Option<(*mut R, usize)> {
        let (item, inside) = if n < self.span { (0, n) } else { (n / self.span, n % self.span) };
        let place = m * self.row + item * self.jump + inside;
        if inside + width > self.span {
            return None;
        }
        assert!(place + (rows - 1) * self.row + width <= self.len, "a tile lies inside the result");
        // SAFETY: inside the slice that `new` borrowed.
        Some((unsafe { self.data.add(place) }, self.row))
    }
}
