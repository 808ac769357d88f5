//! Sums over axes, values spread over them, and products by places. All is plain loops over contiguous rows, made to be compiled
//! into their caller for its vector instructions.

use serde::{Deserialize, Serialize};

use crate::Ring;

/// Three axes of a tensor, of which the one in the middle is kept: sums run over the outer and the inner one, and a value a
/// kept place is spread over them. Element (o, c, i) lies at `(o * kept + c) * inner + i`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Axes {
    /// Places of the outer axis, such as the items of a batch.
    pub outer: usize,
    /// Places that are kept, such as channels.
    pub kept: usize,
    /// Places of the inner axis, such as the pixels of a channel.
    pub inner: usize,
}

impl Axes {
    /// Elements of the tensor.
    pub fn len(&self) -> usize {
        self.outer * self.kept * self.inner
    }

    /// The tensor has no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Elements that are summed to one.
    pub fn terms(&self) -> usize {
        self.outer * self.inner
    }

    /// `out[c]` = Σ over o and i of `x[o, c, i]`; `out` is overwritten.
    #[inline(always)]
    pub fn reduce<R: Ring>(&self, x: &[R], out: &mut [R]) {
        out.fill(R::ZERO);
        if self.inner == 1 {
            for row in x.chunks_exact(self.kept.max(1)) {
                out.iter_mut().zip(row).for_each(|(out, x)| *out = out.add(*x));
            }
            return;
        }
        for planes in x.chunks_exact((self.kept * self.inner).max(1)) {
            for (out, row) in out.iter_mut().zip(planes.chunks_exact(self.inner.max(1))) {
                *out = out.add(row.iter().fold(R::ZERO, |sum, x| sum.add(*x)));
            }
        }
    }

    /// `out[o, c, i] = x[c]`.
    #[inline(always)]
    pub fn spread<R: Ring>(&self, x: &[R], out: &mut [R]) {
        if self.inner == 1 {
            return out.chunks_exact_mut(self.kept.max(1)).for_each(|row| row.copy_from_slice(x));
        }
        for planes in out.chunks_exact_mut((self.kept * self.inner).max(1)) {
            planes.chunks_exact_mut(self.inner.max(1)).zip(x).for_each(|(row, x)| row.fill(*x));
        }
    }

    /// `out[o, c, i] = x[o, c, i] * by[c]`.
    #[inline(always)]
    pub fn channels<R: Ring>(&self, x: &[R], by: &[R], out: &mut [R]) {
        if self.inner == 1 {
            for (x, out) in x.chunks_exact(self.kept.max(1)).zip(out.chunks_exact_mut(self.kept.max(1))) {
                out.iter_mut().zip(x.iter().zip(by)).for_each(|(out, (x, by))| *out = x.mul(*by));
            }
            return;
        }
        let rows = x.chunks_exact(self.inner.max(1)).zip(out.chunks_exact_mut(self.inner.max(1)));
        for ((x, out), by) in rows.zip(by.iter().cycle()) {
            out.iter_mut().zip(x).for_each(|(out, x)| *out = x.mul(*by));
        }
    }

    /// `out[c]` = Σ over o and i of `x[o, c, i] * y[o, c, i]`; `out` is overwritten.
    #[inline(always)]
    pub fn inner<R: Ring>(&self, x: &[R], y: &[R], out: &mut [R]) {
        out.fill(R::ZERO);
        if self.inner == 1 {
            for (x, y) in x.chunks_exact(self.kept.max(1)).zip(y.chunks_exact(self.kept.max(1))) {
                out.iter_mut().zip(x.iter().zip(y)).for_each(|(out, (x, y))| *out = out.add(x.mul(*y)));
            }
            return;
        }
        let plane = (self.kept * self.inner).max(1);
        for (x, y) in x.chunks_exact(plane).zip(y.chunks_exact(plane)) {
            let rows = x.chunks_exact(self.inner.max(1)).zip(y.chunks_exact(self.inner.max(1)));
            for (out, (x, y)) in out.iter_mut().zip(rows) {
                *out = out.add(x.iter().zip(y).fold(R::ZERO, |sum, (x, y)| sum.add(x.mul(*y))));
            }
        }
    }
}
