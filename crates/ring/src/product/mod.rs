//! Products modulo 2^k: matrices and convolutions.
//!
//! One blocked driver (`blocked`) packs panels of both operands and hands them to a micro-kernel; `portable`, `avx2`, `avx512` and `amx` are the micro-kernels, and
//! `kernel` chooses among them at run time. A convolution is the same driver over an implicit im2col (`conv`). Three shapes go their own ways: a matrix times few
//! vectors (`vector`), few channels a group (`direct`), and on AMX weights packed once (`kept`), beside which inputs lie channels last (`layout`).

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub(crate) mod backward;
mod blocked;
pub mod conv;
mod direct;
pub mod kept;
pub mod kernel;
mod layout;
mod micro;
mod out;
mod portable;
mod vector;

use crate::Ring;
use blocked::{Job, Right};
use kernel::Kernel;
use out::Out;

/// A matrix over borrowed elements: element (i, j) is `data[i * row_stride + j * col_stride]`.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a, R> {
    pub(crate) data: &'a [R],
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) row_stride: usize,
    pub(crate) col_stride: usize,
}

impl<'a, R: Copy> Matrix<'a, R> {
    /// A row-major matrix.
    ///
    /// # Panics
    /// If `data` does not have exactly `rows * cols` elements.
    pub fn new(data: &'a [R], rows: usize, cols: usize) -> Self {
        assert_eq!(Some(data.len()), rows.checked_mul(cols), "a {rows}x{cols} matrix");
        Self { data, rows, cols, row_stride: cols, col_stride: 1 }
    }

    /// The transpose, without moving an element.
    pub fn transposed(self) -> Self {
        Self { rows: self.cols, cols: self.rows, row_stride: self.col_stride, col_stride: self.row_stride, ..self }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    #[inline(always)]
    pub(crate) fn at(&self, i: usize, j: usize) -> R {
        self.data[i * self.row_stride + j * self.col_stride]
    }
}

/// `out = a * b`; `out` is row-major, rows(a) x cols(b).
///
/// # Panics
/// If the shapes do not fit each other, or if a kernel forced by `ARIANN_PRODUCTS` does not exist here (see [`Kernel::active`]).
pub fn matmul<R: Ring>(a: Matrix<R>, b: Matrix<R>, out: &mut [R]) {
    matmul_with(Kernel::must(), a, b, out, false);
}

/// `out += a * b`; shapes and panics as [`matmul`].
pub fn matmul_add<R: Ring>(a: Matrix<R>, b: Matrix<R>, out: &mut [R]) {
    matmul_with(Kernel::must(), a, b, out, true);
}

/// `out = a * b`, or `out += a * b` if `add`, by the kernel named.
///
/// # Panics
/// If the shapes do not fit each other or the kernel is not [available](Kernel::available).
pub fn matmul_with<R: Ring>(kernel: Kernel, a: Matrix<R>, b: Matrix<R>, out: &mut [R], add: bool) {
    assert_eq!(a.cols, b.rows, "columns of a, rows of b");
    assert_eq!(Some(out.len()), a.rows.checked_mul(b.cols), "elements of the result");
    assert!(kernel.is_available(), "{}", kernel::KernelError::Missing(kernel));
    if out.is_empty() {
        return;
    }
    if a.cols == 0 {
        if !add {
            out.fill(R::ZERO);
        }
        return;
    }
    if b.cols == 1 {
        return vector::matrix_vector(kernel, a, b, out, add);
    }
    if a.rows == 1 {
        return vector::matrix_vector(kernel, b.transposed(), a.transposed(), out, add);
    }
    if vector::few_vectors(kernel, a, b, out, add) {
        return;
    }
    let cols = b.cols;
    let job = Job { a, b: &b as &dyn Right<R>, cols, add };
    blocked::run(kernel, &job, Out::rows(out, cols));
}

/// Runs `rounds` of float multiply-adds in AVX2 registers; how many there are in a round, or None without AVX2 and FMA.
#[cfg(target_arch = "x86_64")]
pub(crate) fn float_sums(rounds: usize) -> Option<usize> {
    if !(is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")) {
        return None;
    }
    std::hint::black_box(avx2::float_sums(rounds));
    Some(avx2::FLOAT_SUMS)
}

/// Runs `rounds` of byte multiply-adds on AMX tiles; how many there are in a round, or None without AMX.
#[cfg(target_arch = "x86_64")]
pub(crate) fn tile_products(rounds: usize) -> Option<usize> {
    amx::available().then(|| {
        amx::tile_products(rounds);
        amx::TILE_PRODUCTS
    })
}
