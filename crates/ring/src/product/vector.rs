//! Matrix times vector, or times few vectors: every element of the matrix is read once, in the order in which it lies.

use super::Matrix;
use super::kernel::Kernel;
use crate::Ring;

/// Elements of a matrix below which one thread does all.
const PARALLEL: usize = 1 << 18;

/// `out (+)= a * x` for a matrix `x` of one column.
pub fn matrix_vector<R: Ring>(kernel: Kernel, a: Matrix<R>, x: Matrix<R>, out: &mut [R], add: bool) {
    let gathered;
    let x = if x.row_stride == 1 {
        &x.data[..x.rows]
    } else {
        gathered = (0..x.rows).map(|k| x.at(k, 0)).collect::<Vec<R>>();
        &gathered
    };
    // Small products ask for no pool: the question would start one.
    let threads = if a.rows * a.cols < PARALLEL { 1 } else { rayon::current_num_threads() };
    let part = out.len().div_ceil(threads).next_multiple_of(16);
    if part >= out.len() {
        return R::rows_times(kernel, a, x, out, add);
    }
    rayon::scope(|scope| {
        for (i, out) in out.chunks_mut(part).enumerate() {
            scope.spawn(move |_| R::rows_times(kernel, rows_of(a, i * part, out.len()), x, out, add));
        }
    });
}

/// Most vectors that `few_vectors` takes.
const FEW: usize = 8;

/// `out (+)= a * b` if one of the two has few rows or columns and both lie contiguous along k; false if not.
pub fn few_vectors<R: Ring>(kernel: Kernel, a: Matrix<R>, b: Matrix<R>, out: &mut [R], add: bool) -> bool {
    if a.col_stride != 1 || b.row_stride != 1 || a.rows.min(b.cols) > FEW {
        return false;
    }
    let turned = b.cols > a.rows;
    let (long, few) = if turned { (b.transposed(), a) } else { (a, b.transposed()) };
    let mut product = vec![R::ZERO; out.len()];
    let work = long.rows * long.cols * few.rows;
    let threads = if work < PARALLEL { 1 } else { rayon::current_num_threads() };
    let part = long.rows.div_ceil(threads);
    if part == long.rows {
        R::few_times(kernel, long, few, &mut product);
    } else {
        rayon::scope(|scope| {
            for (i, out) in product.chunks_mut(part * few.rows).enumerate() {
                scope.spawn(move |_| R::few_times(kernel, rows_of(long, i * part, out.len() / few.rows), few, out));
            }
        });
    }
    let (m, n) = (few.rows, long.rows);
    for (i, row) in product.chunks_exact(m).enumerate() {
        for (j, v) in row.iter().enumerate() {
            let o = &mut out[if turned { j * n + i } else { i * m + j }];
            *o = if add { o.add(*v) } else { *v };
        }
    }
    true
}

fn rows_of<R: Ring>(a: Matrix<R>, from: usize, rows: usize) -> Matrix<R> {
    Matrix { data: &a.data[from * a.row_stride..], rows, ..a }
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
    a.iter().zip(x).fold(R::ZERO, |sum, (a, x)| sum.add(a.mul(*x)))
}

/// `out = a * xᵀ`, on this thread, for few rows `x`, both with contiguous rows: each row of `a` is read once for all of them.
#[inline(always)]
pub fn few_times<R: Ring>(a: Matrix<R>, x: Matrix<R>, out: &mut [R]) {
    let line = |j: usize| &x.data[j * x.row_stride..][..a.cols];
    for (i, out) in out.chunks_exact_mut(x.rows).enumerate() {
        let row = &a.data[i * a.row_stride..][..a.cols];
        let (fours, rest) = out.as_chunks_mut::<4>();
        let done = 4 * fours.len();
        for (j, out) in fours.iter_mut().enumerate() {
            *out = four_dots(row, std::array::from_fn(|l| line(4 * j + l)));
        }
        for (j, out) in rest.iter_mut().enumerate() {
            *out = dot(row, line(done + j));
        }
    }
}

#[inline(always)]
fn four_dots<R: Ring>(a: &[R], [x0, x1, x2, x3]: [&[R]; 4]) -> [R; 4] {
    let n = a.len();
    let (x0, x1, x2, x3) = (&x0[..n], &x1[..n], &x2[..n], &x3[..n]);
    let mut sums = [R::ZERO; 4];
    for k in 0..n {
        sums[0] = sums[0].add(a[k].mul(x0[k]));
        sums[1] = sums[1].add(a[k].mul(x1[k]));
        sums[2] = sums[2].add(a[k].mul(x2[k]));
        sums[3] = sums[3].add(a[k].mul(x3[k]));
    }
    sums
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
                let sum = c0[i].mul(x0).add(c1[i].mul(x1)).add(c2[i].mul(x2).add(c3[i].mul(x3)));
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
