//! Elements of Z_2^32 and Z_2^64.

use bytemuck::Pod;

use crate::product::kernel::Kernels;

/// An element of Z_2^k, k = `BITS`. All arithmetic is modulo 2^k. Implemented for u32 and u64 only: the products' kernels are theirs.
pub trait Ring: Kernels + Pod + Default + Eq + Ord + std::fmt::Debug + Send + Sync + 'static {
    /// k, the number of bits of an element: 32 or 64.
    const BITS: u32;
    /// The neutral element of addition.
    const ZERO: Self;
    /// The neutral element of multiplication.
    const ONE: Self;

    /// `self + other` modulo 2^k.
    fn add(self, other: Self) -> Self;
    /// `self - other` modulo 2^k.
    fn sub(self, other: Self) -> Self;
    /// `self * other` modulo 2^k.
    fn mul(self, other: Self) -> Self;
    /// `-self` modulo 2^k.
    fn neg(self) -> Self;
    /// Bitwise and.
    fn and(self, other: Self) -> Self;
    /// Bitwise exclusive or.
    fn xor(self, other: Self) -> Self;
    /// Left shift; zero when `bits >= BITS`.
    fn shl(self, bits: u32) -> Self;
    /// Logical right shift; zero when `bits >= BITS`.
    fn shr(self, bits: u32) -> Self;
    /// The low k bits of `value`.
    fn from_u64(value: u64) -> Self;
    /// The element as an unsigned integer below 2^k.
    fn to_u64(self) -> u64;
    /// `value` modulo 2^k.
    fn from_i64(value: i64) -> Self;
    /// The element as a signed integer in [-2^(k-1), 2^(k-1)).
    fn to_i64(self) -> i64;

    /// The element with its low `bits` bits set; all of them when `bits >= BITS`.
    fn low_mask(bits: u32) -> Self {
        if bits >= Self::BITS { Self::ZERO.sub(Self::ONE) } else { Self::ONE.shl(bits).sub(Self::ONE) }
    }

    /// All ones for `bit` = 1, zero for `bit` = 0, without a branch.
    fn spread(bit: u8) -> Self {
        Self::from_u64(u64::from(bit)).neg()
    }
}

macro_rules! ring {
    ($unsigned:ty, $signed:ty) => {
        impl Ring for $unsigned {
            const BITS: u32 = <$unsigned>::BITS;
            const ZERO: Self = 0;
            const ONE: Self = 1;

            #[inline(always)]
            fn add(self, other: Self) -> Self {
                self.wrapping_add(other)
            }
            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                self.wrapping_sub(other)
            }
            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                self.wrapping_mul(other)
            }
            #[inline(always)]
            fn neg(self) -> Self {
                self.wrapping_neg()
            }
            #[inline(always)]
            fn and(self, other: Self) -> Self {
                self & other
            }
            #[inline(always)]
            fn xor(self, other: Self) -> Self {
                self ^ other
            }
            #[inline(always)]
            fn shl(self, bits: u32) -> Self {
                self.checked_shl(bits).unwrap_or(0)
            }
            #[inline(always)]
            fn shr(self, bits: u32) -> Self {
                self.checked_shr(bits).unwrap_or(0)
            }
            #[inline(always)]
            fn from_u64(value: u64) -> Self {
                value as $unsigned
            }
            #[inline(always)]
            fn to_u64(self) -> u64 {
                self as u64
            }
            #[inline(always)]
            fn from_i64(value: i64) -> Self {
                value as $unsigned
            }
            #[inline(always)]
            fn to_i64(self) -> i64 {
                self as $signed as i64
            }
        }
    };
}

ring!(u32, i32);
ring!(u64, i64);
