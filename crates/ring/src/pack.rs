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
        return Err(PackError::Length {
            expected,
            got: bytes.len(),
        });
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
    if buffer != 0 {
        Err(PackError::Trailing)
    } else {
        Ok(())
    }
}

/// Appends bits, one a byte (0 or 1), eight to a byte: the same bytes as `pack` at width 1.
pub fn pack_bits(bits: &[u8], out: &mut Vec<u8>) {
    out.reserve(bits.len().div_ceil(8));
    let (whole, rest) = bits.as_chunks::<8>();
    out.extend(whole.iter().map(gather));
    if !rest.is_empty() {
        let mut last = [0u8; 8];
        last[..rest.len()].copy_from_slice(rest);
        out.push(gather(&last));
    }
}

/// Reads bits into bytes of 0 or 1; exactly the bytes that `out.len()` bits take.
pub fn unpack_bits(bytes: &[u8], out: &mut [u8]) -> Result<(), PackError> {
    let expected = packed_len(out.len(), 1);
    if bytes.len() != expected {
        return Err(PackError::Length {
            expected,
            got: bytes.len(),
        });
    }
    let (whole, rest) = out.as_chunks_mut::<8>();
    for (eight, &byte) in whole.iter_mut().zip(bytes) {
        *eight = spread(byte);
    }
    if !rest.is_empty() {
        let byte = bytes[expected - 1];
        rest.copy_from_slice(&spread(byte)[..rest.len()]);
        if byte >> rest.len() != 0 {
            return Err(PackError::Trailing);
        }
    }
    Ok(())
}

/// The low bits of eight bytes as one byte: the product moves bit i to bit 56 + i, and no two terms meet.
fn gather(eight: &[u8; 8]) -> u8 {
    (((u64::from_le_bytes(*eight) & 0x0101_0101_0101_0101).wrapping_mul(0x0102_0408_1020_4080))
        >> 56) as u8
}

/// The bits of one byte as eight bytes of 0 or 1.
fn spread(byte: u8) -> [u8; 8] {
    let own = u64::from(byte).wrapping_mul(0x0101_0101_0101_0101) & 0x8040_2010_0804_0201;
    // Bit i stands alone in byte i: adding 0x7f carries it into the top bit (bit 7 is there already).
    let top = ((own & 0x7f7f_7f7f_7f7f_7f7f) + 0x7f7f_7f7f_7f7f_7f7f) | own;
    ((top >> 7) & 0x0101_0101_0101_0101).to_le_bytes()
}

/// `own[i] = (own[i] + value[i]) mod 2^width` in one pass over the packed values.
pub fn unpack_add<R: Ring>(bytes: &[u8], width: u32, own: &mut [R]) -> Result<(), PackError> {
    let mut values = vec![R::ZERO; own.len()];
    unpack(bytes, width, &mut values)?;
    let mask = R::low_mask(width);
    for (mine, value) in own.iter_mut().zip(values) {
        *mine = mine.add(value).and(mask);
    }
    Ok(())
}
