//! The kernels, and which of them runs.

use std::sync::OnceLock;

use super::Matrix;
use super::blocked::{Block, Job, drive};
use super::direct::{Lines, Scratch};
use super::layout::{Layout, Task};
use super::micro::Line;
use super::out::Out;
use super::portable::Portable;
use super::{direct, vector};

/// A family of micro-kernels. Each gives the same elements, bit for bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kernel {
    /// Plain Rust, on any processor.
    Portable,
    /// AVX2.
    Avx2,
    /// AVX-512 (F, BW, DQ, VL, VBMI, IFMA and VNNI).
    Avx512,
    /// AMX with 8-bit integers, beside AVX-512.
    Amx,
}

/// Why a kernel cannot run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KernelError {
    /// The processor or the operating system does not offer it.
    #[error("kernel {0} cannot run on this machine; unset ARIANN_PRODUCTS or name another one")]
    Missing(Kernel),
    /// `ARIANN_PRODUCTS` names no kernel.
    #[error("ARIANN_PRODUCTS={0:?} names no kernel; it may be portable, avx2, avx512 or amx")]
    Unknown(String),
}

impl std::fmt::Display for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl Kernel {
    const ALL: [Kernel; 4] = [Kernel::Portable, Kernel::Avx2, Kernel::Avx512, Kernel::Amx];

    /// The name that `ARIANN_PRODUCTS` takes.
    pub fn name(self) -> &'static str {
        match self {
            Kernel::Portable => "portable",
            Kernel::Avx2 => "avx2",
            Kernel::Avx512 => "avx512",
            Kernel::Amx => "amx",
        }
    }

    /// The kernels that this machine can run, slowest first.
    pub fn available() -> Vec<Kernel> {
        Self::ALL.into_iter().filter(|kernel| kernel.is_available()).collect()
    }

    /// The kernel that products use: the one that the environment variable `ARIANN_PRODUCTS` forces, or the fastest available.
    ///
    /// Read once a process. A program should ask at its start, to report the error; products panic on it.
    pub fn active() -> Result<Kernel, KernelError> {
        static ACTIVE: OnceLock<Result<Kernel, KernelError>> = OnceLock::new();
        ACTIVE
            .get_or_init(|| Self::choose(std::env::var_os("ARIANN_PRODUCTS").map(|v| v.to_string_lossy().into_owned())))
            .clone()
    }

    /// The kernel named by `forced`, or the fastest available.
    pub fn choose(forced: Option<String>) -> Result<Kernel, KernelError> {
        match forced.filter(|name| !name.is_empty()) {
            None => Ok(*Self::available().last().expect("the portable kernel is always there")),
            Some(name) => match Self::ALL.into_iter().find(|kernel| kernel.name() == name) {
                None => Err(KernelError::Unknown(name)),
                Some(kernel) if !kernel.is_available() => Err(KernelError::Missing(kernel)),
                Some(kernel) => Ok(kernel),
            },
        }
    }

    pub(crate) fn must() -> Kernel {
        Self::active().unwrap_or_else(|error| panic!("{error}"))
    }

    /// Whether this machine can run the kernel.
    pub fn is_available(self) -> bool {
        match self {
            Kernel::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2 => is_x86_feature_detected!("avx2"),
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512 => super::avx512::available(),
            #[cfg(target_arch = "x86_64")]
            Kernel::Amx => super::amx::available(),
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
    }
}

/// The kernels of one ring. Sealed: implemented here for u32 and u64.
#[doc(hidden)]
pub trait Kernels: sealed::Sealed + Sized {
    /// One block of a product, on the calling thread.
    #[doc(hidden)]
    fn gemm(kernel: Kernel, job: &Job<Self>, out: &Out<Self>, block: Block);
    /// Rows of `a` times the vector `x`, on the calling thread.
    #[doc(hidden)]
    fn rows_times(kernel: Kernel, a: Matrix<Self>, x: &[Self], out: &mut [Self], add: bool);
    /// Rows of `a` times few vectors, the rows of `x`, on the calling thread.
    #[doc(hidden)]
    fn few_times(kernel: Kernel, a: Matrix<Self>, x: Matrix<Self>, out: &mut [Self]);
    /// The output planes of one group of a convolution without panels.
    #[doc(hidden)]
    fn direct(kernel: Kernel, lines: &Lines, weights: &[Self], x: &[Self], out: &mut [Self], scratch: &mut Scratch);
    /// Panels of the weights of one group, for AMX.
    #[doc(hidden)]
    fn keep(layout: &Layout, weights: &[Self]) -> Vec<Line>;
    /// A product with kept weights, on the calling thread, by AMX.
    #[doc(hidden)]
    fn kept(task: Task<Self>, out: &Out<Self>);
    /// `out[i * rows.len() + j] = x[rows[j] + i]`, or zero where `rows[j]` is beyond `x`; for AMX.
    #[doc(hidden)]
    fn channels_last(x: &[Self], rows: &[usize], out: &mut [Self]);
}

macro_rules! kernels {
    ($ring:ty, $avx2:ty, $avx512:ty, $amx:ty, $channels_last:path) => {
        impl Kernels for $ring {
            fn gemm(kernel: Kernel, job: &Job<Self>, out: &Out<Self>, block: Block) {
                match kernel {
                    Kernel::Portable => drive::<Self, Portable>(job, out, block),
                    #[cfg(target_arch = "x86_64")]
                    Kernel::Avx2 => drive::<Self, $avx2>(job, out, block),
                    #[cfg(target_arch = "x86_64")]
                    Kernel::Avx512 => drive::<Self, $avx512>(job, out, block),
                    #[cfg(target_arch = "x86_64")]
                    Kernel::Amx => drive::<Self, $amx>(job, out, block),
                    #[cfg(not(target_arch = "x86_64"))]
                    other => unreachable!("{other} is not available here"),
                }
            }

            fn rows_times(kernel: Kernel, a: Matrix<Self>, x: &[Self], out: &mut [Self], add: bool) {
                match kernel {
                    Kernel::Portable => vector::rows_times(a, x, out, add),
                    #[cfg(target_arch = "x86_64")]
                    Kernel::Avx2 => super::avx2::rows_times(a, x, out, add),
                    #[cfg(target_arch = "x86_64")]
                    Kernel::Avx512 | Kernel::Amx => super::avx512::rows_times(a, x, out, add),
                    #[cfg(not(target_arch = "x86_64"))]
                    other => unreachable!("{other} is not available here"),
                }
            }

            fn few_times(kernel: Kernel, a: Matrix<Self>, x: Matrix<Self>, out: &mut [Self]) {
                match kernel {
                    Kernel::Portable => vector::few_times(a, x, out),
                    #[cfg(target_arch = "x86_64")]
                    Kernel::Avx2 => super::avx2::few_times(a, x, out),
                    #[cfg(target_arch = "x86_64")]
                    Kernel::Avx512 | Kernel::Amx => super::avx512::few_times(a, x, out),
                    #[cfg(not(target_arch = "x86_64"))]
                    other => unreachable!("{other} is not available here"),
                }
            }

            fn direct(
                kernel: Kernel,
                lines: &Lines,
                weights: &[Self],
                x: &[Self],
                out: &mut [Self],
                scratch: &mut Scratch,
            ) {
                match kernel {
                    Kernel::Portable => direct::group(lines, weights, x, out, scratch),
                    #[cfg(target_arch = "x86_64")]
                    Kernel::Avx2 => super::avx2::direct(lines, weights, x, out, scratch),
                    #[cfg(target_arch = "x86_64")]
                    Kernel::Avx512 | Kernel::Amx => super::avx512::direct(lines, weights, x, out, scratch),
                    #[cfg(not(target_arch = "x86_64"))]
                    other => unreachable!("{other} is not available here"),
                }
            }

            #[cfg(target_arch = "x86_64")]
            fn keep(layout: &Layout, weights: &[Self]) -> Vec<Line> {
                super::amx::kept::keep(layout, weights)
            }

            #[cfg(target_arch = "x86_64")]
            fn kept(task: Task<Self>, out: &Out<Self>) {
                super::amx::kept::multiply(task, out);
            }

            #[cfg(target_arch = "x86_64")]
            fn channels_last(x: &[Self], rows: &[usize], out: &mut [Self]) {
                $channels_last(x, rows, out);
            }

            #[cfg(not(target_arch = "x86_64"))]
            fn keep(_: &Layout, _: &[Self]) -> Vec<Line> {
                unreachable!("{} is not available here", Kernel::Amx)
            }

            #[cfg(not(target_arch = "x86_64"))]
            fn kept(_: Task<Self>, _: &Out<Self>) {
                unreachable!("{} is not available here", Kernel::Amx)
            }

            #[cfg(not(target_arch = "x86_64"))]
            fn channels_last(_: &[Self], _: &[usize], _: &mut [Self]) {
                unreachable!("{} is not available here", Kernel::Amx)
            }
        }
    };
}

kernels!(u32, super::avx2::Avx2, super::avx512::Avx512, super::amx::Amx, super::amx::kept::last::channels_last_u32);
kernels!(u64, super::avx2::Avx2, super::avx512::Avx512, super::amx::Amx, super::amx::kept::last::channels_last_u64);

mod sealed {
    pub trait Sealed {}
    impl Sealed for u32 {}
    impl Sealed for u64 {}
}
