//! Exact bit packing: `count` values of `width` bits take ceil(count * width / 8) bytes, little-endian, no padding between values.

use crate::Ring;

/// Why packed bytes were refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PackError {
    /// The number of bytes is not that of the values.
    #[error("{got} bytes where {expected} were expected")]
    Length {
        /// Bytes that the values take.
        expected: usize,
        /// Bytes that came.
        got: usize,
    },
    /// A bit after the last value is set.
    #[error("a bit after the last value is set")]
    Trailing,
}

/// Bytes of `count` values of `width` bits.
pub const fn packed_len(count: usize, width: u32) -> usize {
    (count * width as usize).div_ceil(8)
}

/// Appends bits `[shift, shift + width)` of every value.
pub fn pack<R: Ring>(values: &[R], shift: u32, width: u32, out: &mut Vec<u8>) {
    let mask = R::low_mask(width);
    let (mut buffer, mut held) = (0u128, 0u32);
    out.reserve(packed_len(values.len(), width));
    for value in values {
        buffer |= u128::from(value.shr(shift).and(mask).to_u64()) << held;
        held += width;
        while held >= 8 {
            out.push(buffer as u8);
            buffer >>= 8;
            held -= 8;
        }
    }
    if held > 0 {
        out.push(buffer as u8);
    }
}

/// Reads values of `width` bits; exactly the bytes that `out.len()` values take.
pub fn unpack<R: Ring>(bytes: &[u8], width: u32, out: &mut [R]) -> Result<(), PackError> {
    let expected = packed_len(out.len(), width);
    if bytes.len() != expected {
        return Err(PackError::Length { expected, got: bytes.len() });
    }
    let mask = R::low_mask(width);
    let (mut buffer, mut held) = (0u128, 0u32);
    let mut next = bytes.iter();
    for value in out {
        while held < width {
            buffer |= u128::from(*next.next().expect("length checked")) << held;
            held += 8;
        }
        *value = R::from_u64(buffer as u64).and(mask);
        buffer >>= width;
        held -= width;
    }
    if buffer != 0 { Err(PackError::Trailing) } else { Ok(()) }
}
