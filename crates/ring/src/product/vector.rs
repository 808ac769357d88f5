//! Matrix times vector: every element of the matrix is read once, in the order in which it lies.

use super::Matrix;
use super::kernel::Kernel;
use crate::Ring;

/// `out (+)= a * x` for a matrix `x` of one column.
pub fn matrix_vector<R: Ring>(
    kernel: Kernel,
    a: Matrix<R>,
    x: Matrix<R>,
    out: &mut [R],
    add: bool,
) {
    let gathered;
    let x = if x.row_stride == 1 {
        &x.data[..x.rows]
    } else {
        gathered = (0..x.rows).map(|k| x.at(k, 0)).collect::<Vec<R>>();
        &gathered
    };
    let threads = rayon::current_num_threads();
    let part = out.len().div_ceil(threads).next_multiple_of(16);
    if threads == 1 || a.rows * a.cols < 1 << 18 || part >= out.len() {
        return R::rows_times(kernel, a, x, out, add);
    }
    rayon::scope(|scope| {
        for (i, out) in out.chunks_mut(part).enumerate() {
            scope.spawn(move |_| {
                R::rows_times(kernel, rows_of(a, i * part, out.len()), x, out, add)
            });
        }
    });
}

fn rows_of<R: Ring>(a: Matrix<R>, from: usize, rows: usize) -> Matrix<R> {
    Matrix {
        data: &a.data[from * a.row_stride..],
        rows,
        ..a
    }
}

/// `out (+)= a * x`, on this thread.
#[inline(always)]
pub fn rows_times<R: Ring>(a: Matrix<R>, x: &[R], out: &mut [R], add: bool) {
    if !add {
        out.fill(R::ZERO);
    }
    if a.col_stride == 1 {
        for (i, o) in out.iter_mut().enumerate() {
            *o = o.add(dot(&a.data[i * a.row_stride..][..a.cols], x));
        }
    } else if a.row_stride == 1 {
        columns_times(a, x, out);
    } else {
        for (i, o) in out.iter_mut().enumerate() {
            *o = (0..a.cols).fold(*o, |sum, k| sum.add(a.at(i, k).mul(x[k])));
        }
    }
}

#[inline(always)]
fn dot<R: Ring>(a: &[R], x: &[R]) -> R {
    const LANES: usize = 32;
    let mut sums = [R::ZERO; LANES];
    let ((a, a_rest), (x, x_rest)) = (a.as_chunks::<LANES>(), x.as_chunks::<LANES>());
    for (a, x) in a.iter().zip(x) {
        for ((s, a), x) in sums.iter_mut().zip(a).zip(x) {
            *s = s.add(a.mul(*x));
        }
    }
    let rest = a_rest
        .iter()
        .zip(x_rest)
        .fold(R::ZERO, |s, (a, x)| s.add(a.mul(*x)));
    sums.iter().fold(rest, |s, v| s.add(*v))
}

/// The columns lie contiguous: four of them are added to the result in one pass over a part of it that stays in the cache.
#[inline(always)]
fn columns_times<R: Ring>(a: Matrix<R>, x: &[R], out: &mut [R]) {
    const PART: usize = 2048;
    for (p, out) in out.chunks_mut(PART).enumerate() {
        let n = out.len();
        let column = |k: usize| &a.data[k * a.col_stride + p * PART..][..n];
        let mut k = 0;
        while k + 4 <= a.cols {
            let (c0, c1, c2, c3) = (column(k), column(k + 1), column(k + 2), column(k + 3));
            let (x0, x1, x2, x3) = (x[k], x[k + 1], x[k + 2], x[k + 3]);
            for i in 0..n {
                let sum = c0[i]
                    .mul(x0)
                    .add(c1[i].mul(x1))
                    .add(c2[i].mul(x2).add(c3[i].mul(x3)));
                out[i] = out[i].add(sum);
            }
            k += 4;
        }
        for (k, &x) in x.iter().enumerate().skip(k) {
            for (o, c) in out.iter_mut().zip(column(k)) {
                *o = o.add(c.mul(x));
            }
        }
    }
}
