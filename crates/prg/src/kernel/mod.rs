//! The loops that spend the time, written once over [`Vector`] and compiled for each back end.

#[cfg(target_arch = "aarch64")]
mod arm;
mod soft;
#[cfg(target_arch = "x86_64")]
mod x86;

mod accelerate;
mod tree;
mod words;

use crate::aes::Schedule;
use crate::backend::Backend;
pub use accelerate::{Loop, accelerate};
pub(crate) use tree::{Grow, Walk};
pub(crate) use words::{Hash, Words};

/// A register of AES blocks. A block is a little-endian number of 128 bits, its *low half* the first 8 bytes.
///
/// Every method is unsafe for one reason: the processor must have the instructions of the implementing type.
/// `load` and `store` ask for `16 * BLOCKS` readable or writable bytes as well.
pub(crate) trait Vector: Copy {
    /// Blocks in a register.
    const BLOCKS: usize;
    /// Half blocks picked out, in the form in which the processor selects by them.
    type Mask: Copy;

    unsafe fn load(from: *const u8) -> Self;
    unsafe fn store(self, to: *mut u8);
    /// Every block with these halves.
    unsafe fn splat(low: u64, high: u64) -> Self;
    /// Blocks with one low half and consecutive high halves.
    unsafe fn count(low: u64, high: u64) -> Self;
    /// Adds to every high half.
    unsafe fn advance(self, by: u64) -> Self;
    unsafe fn xor(self, other: Self) -> Self;
    unsafe fn and(self, other: Self) -> Self;
    /// σ(L‖R) = (L xor R)‖L, L the high half.
    unsafe fn sigma(self) -> Self;
    /// The halves that have one of `bits` (which has one bit a half).
    unsafe fn test(self, bits: Self) -> Self::Mask;
    /// Both halves of every block whose lowest bit is set.
    unsafe fn control(self) -> Self::Mask;
    /// `self xor other` on the halves in `mask`, `self` elsewhere.
    unsafe fn xor_where(self, mask: Self::Mask, other: Self) -> Self;
    /// `self` on the halves in `mask`, `self xor other` elsewhere.
    unsafe fn xor_unless(self, mask: Self::Mask, other: Self) -> Self;
    /// Asks for a cache line; any address will do.
    unsafe fn prefetch(from: *const u8);
    /// AES of every block, xor `tail`.
    unsafe fn encrypt<const N: usize>(keys: &Schedule, state: [Self; N], tail: [Self; N]) -> [Self; N];
}

/// A loop over registers, to be compiled for a back end.
pub(crate) trait Kernel {
    /// Runs with `N` registers in flight (16·N·BLOCKS bytes divide a row of lanes).
    ///
    /// # Safety
    /// The processor has the instructions of `V`.
    unsafe fn run<V: Vector, const N: usize>(self);
}

/// Whether this processor has the instructions of a back end.
pub(crate) fn is_available(backend: Backend) -> bool {
    match backend {
        #[cfg(target_arch = "x86_64")]
        Backend::Vaes512 | Backend::Vaes256 | Backend::AesNi => x86::is_available(backend),
        #[cfg(target_arch = "aarch64")]
        Backend::ArmV8 => arm::is_available(),
        Backend::Soft => true,
        _ => false,
    }
}

/// Runs a kernel on a back end that was found available.
#[inline]
pub(crate) fn run(backend: Backend, kernel: impl Kernel) {
    match backend {
        // SAFETY: a schedule is made for a `Backend` only after `is_available`; so in all arms
        #[cfg(target_arch = "x86_64")]
        Backend::Vaes512 => unsafe { x86::vaes512(kernel) },
        // SAFETY: as above
        #[cfg(target_arch = "x86_64")]
        Backend::Vaes256 => unsafe { x86::vaes256(kernel) },
        // SAFETY: as above
        #[cfg(target_arch = "x86_64")]
        Backend::AesNi => unsafe { x86::aesni(kernel) },
        // SAFETY: as above
        #[cfg(target_arch = "aarch64")]
        Backend::ArmV8 => unsafe { arm::armv8(kernel) },
        // SAFETY: the portable vector needs no instruction of its own
        _ => unsafe { kernel.run::<u128, 8>() },
    }
}
