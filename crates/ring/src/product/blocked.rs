//! The blocked driver: packs panels of both operands, runs a micro-kernel over them and adds the tiles to the result.

use std::cell::RefCell;

use bytemuck::Zeroable;

use super::Matrix;
use super::kernel::Kernel;
use super::micro::{Line, Micro, STRIP, Strip};
use super::out::Out;
use crate::Ring;

/// Products of fewer multiply-adds than this stay on the calling thread.
const PARALLEL: usize = 1 << 20;

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
                let lines: [&[R; STRIP]; 8] =
                    std::array::from_fn(|j| column(done + j).first_chunk().expect("a column has all rows"));
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

/// Rows and columns of the result.
#[derive(Clone, Copy)]
pub struct Block {
    pub rows: (usize, usize),
    pub cols: (usize, usize),
}

/// The whole product, over the current pool where it is large.
pub fn run<R: Ring>(kernel: Kernel, job: &Job<R>, out: Out<R>) {
    let all = Block { rows: (0, job.a.rows), cols: (0, job.cols) };
    assert!(out.holds(job.a.rows, job.cols), "no two elements of the result share a place");
    let work = job.a.rows.saturating_mul(job.a.cols).saturating_mul(job.cols);
    // Small products ask for no pool: the question would start one.
    let parts = if work < PARALLEL { 1 } else { rayon::current_num_threads().min(work / (PARALLEL / 2)) };
    split(kernel, job, &out, all, parts);
}

fn split<R: Ring>(kernel: Kernel, job: &Job<R>, out: &Out<R>, block: Block, parts: usize) {
    let (rows, cols) = (block.rows.1 - block.rows.0, block.cols.1 - block.cols.0);
    // Cuts lie on multiples of 32, which every tile divides or nearly so.
    let cut = |(from, to): (usize, usize)| from + ((to - from) * (parts / 2) / parts).next_multiple_of(32);
    let (first, second) = if parts > 1 && cols >= 64 && cols * 2 >= rows {
        let at = cut(block.cols);
        (Block { cols: (block.cols.0, at), ..block }, Block { cols: (at, block.cols.1), ..block })
    } else if parts > 1 && rows >= 64 {
        let at = cut(block.rows);
        (Block { rows: (block.rows.0, at), ..block }, Block { rows: (at, block.rows.1), ..block })
    } else {
        return R::gemm(kernel, job, out, block);
    };
    rayon::join(|| split(kernel, job, out, first, parts / 2), || split(kernel, job, out, second, parts - parts / 2));
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
        M::with(job.a.cols, rows, || blocks::<R, M>(job, out, block, rows, scratch));
    });
}

fn blocks<R: Ring, M: Micro<R>>(job: &Job<R>, out: &Out<R>, block: Block, mr: usize, scratch: &mut Scratch) {
    let depth = job.a.cols;
    // Blocks of k of about equal size.
    let kc = depth.div_ceil(depth.div_ceil(M::KC)).next_multiple_of(STRIP.max(M::KU)).min(M::KC);
    let mc = (LEFT_BYTES / (kc * M::LEFT)).max(1) * mr;
    let nc = ((RIGHT_BYTES / (kc * M::RIGHT)).max(1) * M::NR).min(1024);
    let per_line = 64 / size_of::<R>();
    let strip: &mut [R] = bytemuck::cast_slice_mut(lines(&mut scratch.strip, STRIP * (nc / per_line + 2)));
    let line: &mut [R] = bytemuck::cast_slice_mut(lines(&mut scratch.line, (M::MR * kc).div_ceil(per_line)));
    let tile: &mut [R] = bytemuck::cast_slice_mut(lines(&mut scratch.tile, (M::MR * M::NR).div_ceil(per_line)));

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

/// The first `len` lines of a buffer that grows.
pub fn lines(buffer: &mut Vec<Line>, len: usize) -> &mut [Line] {
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
        return M::pack_left(&a.data[m * a.row_stride + k0..], a.row_stride, rows, k, padded, panel);
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
        M::pack_right(&Strip { src, stride, rows, cols: n, at, padded }, panels, panel);
    }
}
