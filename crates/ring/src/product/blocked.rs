//! The blocked driver: packs panels of both operands, runs a micro-kernel over them and adds the tiles to the result.

use std::cell::RefCell;
use std::marker::PhantomData;

use bytemuck::Zeroable;

use super::Matrix;
use super::kernel::Kernel;
use crate::Ring;

/// Rows of the right operand that are gathered at once: a multiple of every `KU`.
pub const STRIP: usize = 16;

/// Products of fewer multiply-adds than this stay on the calling thread.
const PARALLEL: usize = 1 << 20;

/// A cache line of packed bytes: panels start on one.
#[derive(Clone, Copy, Zeroable, bytemuck::Pod)]
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
    fn pack_left(
        src: &[R],
        stride: usize,
        rows: usize,
        k: usize,
        padded: usize,
        panel: &mut [Line],
    );

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
        if j < self.rows {
            &self.src[j * self.stride..][..self.cols][from.min(self.cols)..]
        } else {
            &[]
        }
    }
}

/// See `Micro::put`; the tile has `nr` columns.
///
/// # Safety
/// As there.
#[inline(always)]
pub unsafe fn put<R: Ring>(
    out: *mut R,
    stride: usize,
    tile: &[R],
    nr: usize,
    width: usize,
    add: bool,
) {
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

/// The right operand, read by rows.
pub trait Right<R>: Sync {
    /// Writes columns `from..from + cols` of rows `k..k + rows`, row j at `out[j * stride]`.
    fn rows(&self, k: usize, rows: usize, from: usize, cols: usize, out: &mut [R], stride: usize);

    /// The same rows where they lie, and their stride, if they lie contiguous along columns.
    fn direct(&self, k: usize, from: usize) -> Option<(&[R], usize)>;
}

impl<R: Ring> Right<R> for Matrix<'_, R> {
    fn rows(&self, k: usize, rows: usize, from: usize, cols: usize, out: &mut [R], stride: usize) {
        let column = |j: usize| &self.data[k * self.row_stride + (from + j) * self.col_stride..];
        let mut done = 0;
        if self.row_stride == 1 && rows == STRIP {
            // Columns lie contiguous: eight of them at once, so that both sides move in pieces.
            while done + 8 <= cols {
                let lines: [&[R; STRIP]; 8] = std::array::from_fn(|j| {
                    column(done + j)
                        .first_chunk()
                        .expect("a column has all rows")
                });
                for i in 0..STRIP {
                    let piece: [R; 8] = std::array::from_fn(|j| lines[j][i]);
                    out[i * stride + done..][..8].copy_from_slice(&piece);
                }
                done += 8;
            }
        }
        for j in done..cols {
            let column = column(j);
            for i in 0..rows {
                out[i * stride + j] = column[i * self.row_stride];
            }
        }
    }

    fn direct(&self, k: usize, from: usize) -> Option<(&[R], usize)> {
        (self.col_stride == 1).then(|| (&self.data[k * self.row_stride + from..], self.row_stride))
    }
}

/// A product: `a` times `b`, which has `cols` columns.
pub struct Job<'a, R> {
    pub a: Matrix<'a, R>,
    pub b: &'a dyn Right<R>,
    pub cols: usize,
    pub add: bool,
}

/// Where the result goes: element (i, j) at `i * row + (j / span) * jump + j % span`.
pub struct Out<'a, R> {
    data: *mut R,
    len: usize,
    row: usize,
    span: usize,
    jump: usize,
    life: PhantomData<&'a mut [R]>,
}

// SAFETY: threads get disjoint blocks of (i, j), whose places are disjoint (`Out::new` checks that no two elements share a place).
unsafe impl<R: Send> Sync for Out<'_, R> {}

impl<'a, R: Ring> Out<'a, R> {
    /// A row-major matrix of `cols` columns.
    pub fn rows(data: &'a mut [R], cols: usize) -> Self {
        Self::new(data, cols, cols, 0)
    }

    /// See the type; `data` begins at element (0, 0).
    pub fn new(data: &'a mut [R], row: usize, span: usize, jump: usize) -> Self {
        assert!(span > 0 && row >= span, "rows of the result do not overlap");
        Self {
            data: data.as_mut_ptr(),
            len: data.len(),
            row,
            span,
            jump,
            life: PhantomData,
        }
    }

    /// Stores or adds the first `rows` rows, `width` columns, of a tile whose place begins at row `m`, column `n`.
    #[inline(always)]
    fn put<M: Micro<R>>(
        &self,
        (m, rows): (usize, usize),
        (n, width): (usize, usize),
        tile: &[R],
        add: bool,
    ) {
        let mut done = 0;
        while done < width {
            let j = n + done;
            let (item, inside) = if j < self.span {
                (0, j)
            } else {
                (j / self.span, j % self.span)
            };
            let run = (width - done).min(self.span - inside);
            let place = m * self.row + item * self.jump + inside;
            let len = (rows - 1) * self.row + run;
            assert!(place + len <= self.len, "a tile lies inside the result");
            // SAFETY: inside the slice that `new` borrowed (asserted); no other thread has a tile with these elements.
            unsafe {
                M::put(
                    self.data.add(place),
                    self.row,
                    &tile[done..rows * M::NR],
                    run,
                    add,
                )
            };
            done += run;
        }
    }
}

/// Rows and columns of the result.
#[derive(Clone, Copy)]
pub struct Block {
    pub rows: (usize, usize),
    pub cols: (usize, usize),
}

/// The whole product, over the current pool where it is large.
pub fn run<R: Ring>(kernel: Kernel, job: &Job<R>, out: Out<R>) {
    let all = Block {
        rows: (0, job.a.rows),
        cols: (0, job.cols),
    };
    let work = job
        .a
        .rows
        .saturating_mul(job.a.cols)
        .saturating_mul(job.cols);
    let parts = if work < PARALLEL {
        1
    } else {
        rayon::current_num_threads().min(work / (PARALLEL / 2))
    };
    split(kernel, job, &out, all, parts);
}

fn split<R: Ring>(kernel: Kernel, job: &Job<R>, out: &Out<R>, block: Block, parts: usize) {
    let (rows, cols) = (block.rows.1 - block.rows.0, block.cols.1 - block.cols.0);
    // Cuts lie on multiples of 32, which every tile divides or nearly so.
    let cut = |(from, to): (usize, usize)| {
        from + ((to - from) * (parts / 2) / parts).next_multiple_of(32)
    };
    if parts > 1 && cols >= 64 && cols * 2 >= rows {
        let at = cut(block.cols);
        let (left, right) = (
            Block {
                cols: (block.cols.0, at),
                ..block
            },
            Block {
                cols: (at, block.cols.1),
                ..block
            },
        );
        rayon::join(
            || split(kernel, job, out, left, parts / 2),
            || split(kernel, job, out, right, parts - parts / 2),
        );
    } else if parts > 1 && rows >= 64 {
        let at = cut(block.rows);
        let (left, right) = (
            Block {
                rows: (block.rows.0, at),
                ..block
            },
            Block {
                rows: (at, block.rows.1),
                ..block
            },
        );
        rayon::join(
            || split(kernel, job, out, left, parts / 2),
            || split(kernel, job, out, right, parts - parts / 2),
        );
    } else {
        R::gemm(kernel, job, out, block);
    }
}

/// What a product keeps on a thread, so that it allocates nothing after the first.
#[derive(Default)]
struct Scratch {
    left: Vec<Line>,
    right: Vec<Line>,
    strip: Vec<Line>,
    line: Vec<Line>,
    tile: Vec<Line>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Bytes of left panels held at once.
const LEFT_BYTES: usize = 4 << 20;
/// Bytes of right panels held at once.
const RIGHT_BYTES: usize = 512 << 10;

/// One block of a product with the micro-kernel `M`, on this thread.
pub fn drive<R: Ring, M: Micro<R>>(job: &Job<R>, out: &Out<R>, block: Block) {
    let rows = M::rows(block.rows.1 - block.rows.0);
    SCRATCH.with_borrow_mut(|scratch| {
        M::with(job.a.cols, rows, || {
            blocks::<R, M>(job, out, block, rows, scratch)
        });
    });
}

fn blocks<R: Ring, M: Micro<R>>(
    job: &Job<R>,
    out: &Out<R>,
    block: Block,
    mr: usize,
    scratch: &mut Scratch,
) {
    let depth = job.a.cols;
    // Blocks of k of about equal size.
    let kc = depth
        .div_ceil(depth.div_ceil(M::KC))
        .next_multiple_of(STRIP.max(M::KU))
        .min(M::KC);
    let mc = (LEFT_BYTES / (kc * M::LEFT)).max(1) * mr;
    let nc = ((RIGHT_BYTES / (kc * M::RIGHT)).max(1) * M::NR).min(1024);
    let per_line = 64 / size_of::<R>();
    let strip: &mut [R] =
        bytemuck::cast_slice_mut(lines(&mut scratch.strip, STRIP * (nc / per_line + 2)));
    let line: &mut [R] =
        bytemuck::cast_slice_mut(lines(&mut scratch.line, (M::MR * kc).div_ceil(per_line)));
    let tile: &mut [R] =
        bytemuck::cast_slice_mut(lines(&mut scratch.tile, (M::MR * M::NR).div_ceil(per_line)));

    for m0 in (block.rows.0..block.rows.1).step_by(mc) {
        let m1 = (m0 + mc).min(block.rows.1);
        for k0 in (0..depth).step_by(kc) {
            let k = kc.min(depth - k0);
            let padded = M::padded(k, depth);
            // One line more: kernels may read a little beyond, and panels begin at different sets of the cache.
            let room = padded.next_multiple_of(M::KU);
            let left_panel = (room * M::LEFT).div_ceil(64) + 1;
            let right_panel = (room * M::RIGHT).div_ceil(64) + 1;
            let left = lines(&mut scratch.left, (m1 - m0).div_ceil(mr) * left_panel);
            for (m, panel) in (m0..m1).step_by(mr).zip(left.chunks_exact_mut(left_panel)) {
                pack_left::<R, M>(&job.a, (m, mr.min(m1 - m)), (k0, k), padded, line, panel);
            }
            for n0 in (block.cols.0..block.cols.1).step_by(nc) {
                let n = nc.min(block.cols.1 - n0);
                let right = lines(&mut scratch.right, n.div_ceil(M::NR) * right_panel);
                pack_right::<R, M>(job.b, (k0, k), padded, (n0, n), strip, right, right_panel);
                let add = job.add || k0 > 0;
                for (j, right) in (0..n).step_by(M::NR).zip(right.chunks_exact(right_panel)) {
                    let width = M::NR.min(n - j);
                    for (m, left) in (m0..m1).step_by(mr).zip(left.chunks_exact(left_panel)) {
                        let rows = mr.min(m1 - m);
                        M::tile(padded, (rows, width), left, right, tile);
                        out.put::<M>((m, rows), (n0 + j, width), tile, add);
                    }
                }
            }
        }
    }
}

fn lines(buffer: &mut Vec<Line>, len: usize) -> &mut [Line] {
    if buffer.len() < len {
        buffer.resize(len, Line::zeroed());
    }
    &mut buffer[..len]
}

/// Packs `rows` rows from `m`, `k` elements from `k0`.
fn pack_left<R: Ring, M: Micro<R>>(
    a: &Matrix<R>,
    (m, rows): (usize, usize),
    (k0, k): (usize, usize),
    padded: usize,
    line: &mut [R],
    panel: &mut [Line],
) {
    if a.col_stride == 1 {
        return M::pack_left(
            &a.data[m * a.row_stride + k0..],
            a.row_stride,
            rows,
            k,
            padded,
            panel,
        );
    }
    for j in 0..k {
        let start = m * a.row_stride + (k0 + j) * a.col_stride;
        for i in 0..rows {
            line[i * k + j] = a.data[start + i * a.row_stride];
        }
    }
    M::pack_left(line, k, rows, k, padded, panel);
}

/// Packs `k` rows from `k0`, `n` columns from `n0`.
fn pack_right<R: Ring, M: Micro<R>>(
    b: &dyn Right<R>,
    (k0, k): (usize, usize),
    padded: usize,
    (n0, n): (usize, usize),
    strip: &mut [R],
    panels: &mut [Line],
    panel: usize,
) {
    // Not a power of two: sixteen rows do not meet in one set of the cache.
    let gathered = n + 64 / size_of::<R>();
    for at in (0..padded).step_by(STRIP) {
        let rows = STRIP.min(k.saturating_sub(at));
        let (src, stride) = match b.direct(k0 + at.min(k - 1), n0) {
            Some(found) => found,
            None => {
                b.rows(k0 + at.min(k), rows, n0, n, strip, gathered);
                (&*strip, gathered)
            }
        };
        M::pack_right(
            &Strip {
                src,
                stride,
                rows,
                cols: n,
                at,
                padded,
            },
            panels,
            panel,
        );
    }
}
