//! x86-64: VAES on 512 and 256 bits, AES-NI.

mod one;
mod quad;
mod twin;

use super::{Backend, Kernel};
use one::One;
use quad::Quad;
use twin::Twin;

pub(super) fn is_available(backend: Backend) -> bool {
    let base =
        is_x86_feature_detected!("aes") && is_x86_feature_detected!("sse4.1") && is_x86_feature_detected!("popcnt");
    let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("vaes");
    let avx512 = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl");
    match backend {
        Backend::Vaes512 => base && avx2 && avx512,
        Backend::Vaes256 => base && avx2,
        Backend::AesNi => base,
        _ => false,
    }
}

/// # Safety
/// `is_available(Backend::Vaes512)`.
#[target_feature(enable = "aes,sse4.1,popcnt,avx2,vaes,avx512f,avx512dq,avx512vl")]
pub(super) unsafe fn vaes512(kernel: impl Kernel) {
    // SAFETY: the features of this function are those of Quad
    unsafe { kernel.run::<Quad, 4>() }
}

/// # Safety
/// `is_available(Backend::Vaes256)`.
#[target_feature(enable = "aes,sse4.1,popcnt,avx2,vaes")]
pub(super) unsafe fn vaes256(kernel: impl Kernel) {
    // SAFETY: the features of this function are those of Twin
    unsafe { kernel.run::<Twin, 8>() }
}

/// # Safety
/// `is_available(Backend::AesNi)`.
#[target_feature(enable = "aes,sse4.1,popcnt")]
pub(super) unsafe fn aesni(kernel: impl Kernel) {
    // SAFETY: the features of this function are those of One
    unsafe { kernel.run::<One, 8>() }
}
