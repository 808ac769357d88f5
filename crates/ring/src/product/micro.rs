//! What a micro-kernel is, and the format of the panels that the driver packs for it.

use bytemuck::{Pod, Zeroable};

use crate::Ring;

/// Rows of the right operand that are gathered at once: a multiple of every `KU`.
pub const STRIP: usize = 16;

/// A cache line of packed bytes: panels start on one.
#[derive(Clone, Copy, Zeroable, Pod)]
#[repr(C, align(64))]
pub struct Line(pub [u8; 64]);

/// A micro-kernel and the format of its panels.
///
/// A panel of the left operand holds `MR` rows, one of the right operand `NR` columns; both are cut along k into groups of `KU`.
pub trait Micro<R: Ring> {
    /// Rows of a tile.
    const MR: usize;
    /// Columns of a tile.
    const NR: usize;
    /// k is padded with zeros to a multiple of this; divides `STRIP`, or is a multiple of it.
    const KU: usize;
    /// Most of k in one block; a multiple of `KU` and of `STRIP`.
    const KC: usize;
    /// Bytes of one k in a left panel.
    const LEFT: usize;
    /// Bytes of one k in a right panel.
    const RIGHT: usize;

    /// Rows of the tiles in which `m` rows are cut: at most `MR`.
    fn rows(_m: usize) -> usize {
        Self::MR
    }

    /// `k` with its padding, in a product of `depth`.
    fn padded(k: usize, _depth: usize) -> usize {
        k.next_multiple_of(Self::KU)
    }

    /// Packs `rows <= MR` rows of `k` elements, row i from `src[i * stride]`, into a panel of `padded` elements a row.
    fn pack_left(src: &[R], stride: usize, rows: usize, k: usize, padded: usize, panel: &mut [Line]);

    /// Packs a strip: rows `strip.at..` of k into panels.
    fn pack_right(strip: &Strip<R>, panels: &mut [Line], panel: usize);

    /// `tile = left panel * right panel`, row-major with `NR` columns; at least `rows` rows and `cols` columns of it.
    fn tile(padded: usize, size: (usize, usize), left: &[Line], right: &[Line], tile: &mut [R]);

    /// Stores or adds `width` columns of each row of `tile` to rows that begin at `out`, `stride` elements apart.
    ///
    /// # Safety
    /// Those elements of `out` may be written, and nobody else uses them meanwhile.
    unsafe fn put(out: *mut R, stride: usize, tile: &[R], width: usize, add: bool) {
        // SAFETY: as the caller promises.
        unsafe { put(out, stride, tile, Self::NR, width, add) };
    }

    /// Runs `work`, a product of `depth` in tiles of `rows` rows, on this thread with what the kernel needs set up.
    fn with(_depth: usize, _rows: usize, work: impl FnOnce()) {
        work();
    }
}

/// Rows of the right operand on their way into panels.
pub struct Strip<'a, R> {
    /// Row j begins at `src[j * stride]`.
    pub src: &'a [R],
    pub stride: usize,
    /// Rows there are, at most `STRIP`; the panels get zeros for the others up to `padded`.
    pub rows: usize,
    pub cols: usize,
    /// Place of the first row in the panels, a multiple of `STRIP`.
    pub at: usize,
    /// Rows of the panels.
    pub padded: usize,
}

impl<R> Strip<'_, R> {
    /// Row `j` from column `from`.
    #[inline(always)]
    pub fn row(&self, j: usize, from: usize) -> &[R] {
        if j < self.rows { &self.src[j * self.stride..][..self.cols][from.min(self.cols)..] } else { &[] }
    }
}

/// See `Micro::put`; the tile has `nr` columns.
///
/// # Safety
/// As there.
#[inline(always)]
pub unsafe fn put<R: Ring>(out: *mut R, stride: usize, tile: &[R], nr: usize, width: usize, add: bool) {
    for (i, row) in tile.chunks(nr).enumerate() {
        let row = &row[..width];
        // SAFETY: as the caller promises.
        let out = unsafe { std::slice::from_raw_parts_mut(out.add(i * stride), width) };
        if add {
            for (o, v) in out.iter_mut().zip(row) {
                *o = o.add(*v);
            }
        } else {
            out.copy_from_slice(row);
        }
    }
}
