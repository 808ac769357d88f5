//! Shared unit vectors of 2^v bits, v at most 7: a DPF without a tree.
//!
//! P0's share is pseudorandom bits from its seed; P1's is the same bits with the one at α flipped, and is the only
//! part that is sent. Vectors stand in a stream of bits without gaps, lowest bit first: vector i has the bits
//! [i·2^v, (i + 1)·2^v), bit d of it belongs to the digit d. At a public digit x the vector gives an XOR share of
//! 1{x = α} (the bit there) and of 1{x < α} (the parity above it).

use crate::FssError;
use ariann_ring::Ring;

/// The largest v.
pub const MAX_BITS: u32 = 7;

/// Bytes of `count` vectors of 2^`digit_bits` bits.
pub const fn vectors_len(digit_bits: u32, count: usize) -> usize {
    (count << digit_bits).div_ceil(8)
}

/// The dealer: P1's shares of the unit vectors of the secret `alphas`, from P0's, which are `vectors_len` bytes of its
/// seed's stream.
pub fn generate<R: Ring>(digit_bits: u32, alphas: &[R], share0: &[u8], share1: &mut [u8]) -> Result<(), FssError> {
    check(digit_bits, "alphas", alphas, &[("P0's vectors", share0), ("P1's vectors", share1)])?;
    share1.copy_from_slice(share0);
    if digit_bits >= 3 {
        for (alpha, vector) in alphas.iter().zip(share1.chunks_mut(1 << (digit_bits - 3))) {
            let (unit, low) = (alpha.to_u64() >> 3, alpha.to_u64() & 7);
            for (i, byte) in vector.iter_mut().enumerate() {
                // 1 only where i is the byte of α: i xor unit is below 16
                let here = ((i as u64 ^ unit).wrapping_sub(1) >> 63) as u8;
                *byte ^= here << low;
            }
        }
    } else {
        for (i, alpha) in alphas.iter().enumerate() {
            let start = i << digit_bits;
            share1[start / 8] ^= 1u8 << (start as u64 % 8 + alpha.to_u64());
        }
    }
    Ok(())
}

/// A party's XOR shares (0 or 1), at public `digits`, of 1{digit < α} into `less` and of 1{digit = α} into `equal`.
pub fn read<R: Ring>(
    digit_bits: u32,
    share: &[u8],
    digits: &[R],
    less: &mut [u8],
    equal: &mut [u8],
) -> Result<(), FssError> {
    check(digit_bits, "digits", digits, &[("vectors", share)])?;
    for (what, out) in [("shares of less-than", &*less), ("shares of equality", &*equal)] {
        if out.len() != digits.len() {
            return Err(FssError::Length { what, instances: digits.len(), expected: digits.len(), got: out.len() });
        }
    }
    for (i, digit) in digits.iter().enumerate() {
        let vector = vector(digit_bits, share, i);
        let from = vector >> digit.to_u64();
        equal[i] = from as u8 & 1;
        less[i] = (from >> 1).count_ones() as u8 & 1;
    }
    Ok(())
}

/// Vector i of a share, as a number whose bit d belongs to the digit d.
fn vector(digit_bits: u32, share: &[u8], i: usize) -> u128 {
    let start = i << digit_bits;
    let bytes = &share[start / 8..(start + (1 << digit_bits)).div_ceil(8)];
    let mut number = [0; 16];
    number[..bytes.len()].copy_from_slice(bytes);
    let mask = u128::MAX >> (128 - (1u32 << digit_bits));
    (u128::from_le_bytes(number) >> (start % 8)) & mask
}

fn check<R: Ring>(
    digit_bits: u32,
    what: &'static str,
    points: &[R],
    vectors: &[(&'static str, &[u8])],
) -> Result<(), FssError> {
    if digit_bits > MAX_BITS {
        return Err(FssError::Domain { got: digit_bits });
    }
    let (instances, expected) = (points.len(), vectors_len(digit_bits, points.len()));
    for (what, share) in vectors {
        if share.len() != expected {
            return Err(FssError::Length { what, instances, expected, got: share.len() });
        }
    }
    let all = points.iter().fold(R::ZERO, |all, point| all.xor(*point).xor(all.and(*point)));
    if all.to_u64() >> digit_bits != 0 {
        return Err(FssError::Outside { what, domain_bits: digit_bits });
    }
    Ok(())
}
