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

/// Appends bits `[shift, shift + width)` of every value, width at most 64.
pub fn pack<R: Ring>(values: &[R], shift: u32, width: u32, out: &mut Vec<u8>) {
    let from = out.len();
    let len = packed_len(values.len(), width);
    if shift == 0 && width == R::BITS && cfg!(target_endian = "little") {
        out.extend_from_slice(bytemuck::cast_slice(values));
        return;
    }
    // Stores are of 8 or 16 bytes and run beyond the last value.
    out.resize(from + len + 16, 0);
    let room = &mut out[from..];
    match width {
        0 => {}
        1..=7 => write::<R, u64, 8>(values, shift, width, room),
        8..=14 => write::<R, u64, 4>(values, shift, width, room),
        15..=28 => write::<R, u64, 2>(values, shift, width, room),
        29..=56 => write::<R, u64, 1>(values, shift, width, room),
        _ => write::<R, u128, 1>(values, shift, width, room),
    }
    out.truncate(from + len);
}

/// Reads values of `width` bits, at most 64; exactly the bytes that `out.len()` values take.
pub fn unpack<R: Ring>(bytes: &[u8], width: u32, out: &mut [R]) -> Result<(), PackError> {
    check(bytes, width, out.len())?;
    if width == R::BITS && cfg!(target_endian = "little") {
        bytemuck::cast_slice_mut(out).copy_from_slice(bytes);
    } else {
        read(bytes, width, out, |slot, value| *slot = value);
    }
    Ok(())
}

/// `own[i] = (own[i] + value[i]) mod 2^width` for the values in `bytes`, in one pass. `own` is as it was if the bytes are refused.
pub fn unpack_add<R: Ring>(bytes: &[u8], width: u32, own: &mut [R]) -> Result<(), PackError> {
    check(bytes, width, own.len())?;
    let mask = R::low_mask(width);
    read(bytes, width, own, |slot, value| *slot = slot.add(value).and(mask));
    Ok(())
}

/// Number of bytes, and zeros after the last value.
fn check(bytes: &[u8], width: u32, count: usize) -> Result<(), PackError> {
    let expected = packed_len(count, width);
    if bytes.len() != expected {
        return Err(PackError::Length { expected, got: bytes.len() });
    }
    let used = count * width as usize % 8;
    match bytes.last() {
        Some(last) if used > 0 && last >> used != 0 => Err(PackError::Trailing),
        _ => Ok(()),
    }
}

/// An integer that holds a value and the up to 7 bits before it.
trait Word:
    Copy
    + From<u64>
    + std::ops::BitOr<Output = Self>
    + std::ops::Shl<u32, Output = Self>
    + std::ops::Shr<u32, Output = Self>
{
    const BYTES: usize;
    fn store(self, to: &mut [u8]);
    /// Bits from `shift` on of the word at the beginning of `from`.
    fn load(from: &[u8], shift: u32) -> u64;
}

macro_rules! word {
    ($word:ty) => {
        impl Word for $word {
            const BYTES: usize = size_of::<$word>();
            #[inline(always)]
            fn store(self, to: &mut [u8]) {
                *to.first_chunk_mut().expect("room for a word") = self.to_le_bytes();
            }
            #[inline(always)]
            fn load(from: &[u8], shift: u32) -> u64 {
                (<$word>::from_le_bytes(*from.first_chunk().expect("a whole word")) >> shift) as u64
            }
        }
    };
}

word!(u64);
word!(u128);

/// Eight values take `width` whole bytes: each eight begin anew, so that the processor works on several at once. `TOGETHER` values, at most 56 bits, are joined
/// before they are stored.
fn write<R: Ring, W: Word, const TOGETHER: usize>(values: &[R], shift: u32, width: u32, out: &mut [u8]) {
    let mask = R::low_mask(width);
    let cut = |value: &R| W::from(value.shr(shift).and(mask).to_u64());
    let (groups, rest) = values.as_chunks::<8>();
    for (at, group) in groups.iter().enumerate() {
        let out = &mut out[at * width as usize..][..width as usize + W::BYTES];
        let (mut held, mut place, mut word) = (0, 0, W::from(0));
        for few in group.as_chunks::<TOGETHER>().0 {
            let mut joined = cut(&few[0]);
            for (j, value) in few.iter().enumerate().skip(1) {
                joined = joined | cut(value) << (j as u32 * width);
            }
            word = word | joined << held;
            word.store(&mut out[place..]);
            (held, place, word) = advance(held + TOGETHER as u32 * width, place, word);
        }
    }
    let out = &mut out[groups.len() * width as usize..];
    let (mut held, mut place, mut word) = (0, 0, W::from(0));
    for value in rest {
        word = word | cut(value) << held;
        word.store(&mut out[place..]);
        (held, place, word) = advance(held + width, place, word);
    }
}

/// Whole bytes among the `held` bits are done with.
#[inline(always)]
fn advance<W: Word>(held: u32, place: usize, word: W) -> (u32, usize, W) {
    // At most 56 bits are joined, 7 were held: a u64 is never shifted out whole.
    (held % 8, place + (held / 8) as usize, word >> (held / 8 * 8))
}

#[inline(always)]
fn read<R: Ring>(bytes: &[u8], width: u32, out: &mut [R], put: impl Fn(&mut R, R)) {
    if width <= 57 {
        read_by::<R, u64>(bytes, width, out, put);
    } else {
        read_by::<R, u128>(bytes, width, out, put);
    }
}

#[inline(always)]
fn read_by<R: Ring, W: Word>(bytes: &[u8], width: u32, out: &mut [R], put: impl Fn(&mut R, R)) {
    let mask = R::low_mask(width);
    let width = width as usize;
    // Eights whose words all lie inside.
    let whole = (bytes.len().saturating_sub(W::BYTES)).checked_div(width).unwrap_or(0).min(out.len() / 8);
    let (first, rest) = out.split_at_mut(8 * whole);
    for (group, eight) in first.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        let window = &bytes[group * width..][..width + W::BYTES];
        for (j, slot) in eight.iter_mut().enumerate() {
            let value = W::load(&window[j * width / 8..], (j * width % 8) as u32);
            put(slot, R::from_u64(value).and(mask));
        }
    }
    let bytes = &bytes[whole * width..];
    for (j, slot) in rest.iter_mut().enumerate() {
        let from = &bytes[(j * width / 8).min(bytes.len())..];
        let mut word = [0; 16];
        let len = from.len().min(16);
        word[..len].copy_from_slice(&from[..len]);
        put(slot, R::from_u64(u128::load(&word, (j * width % 8) as u32)).and(mask));
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
    check(bytes, 1, out.len())?;
    let (whole, rest) = out.as_chunks_mut::<8>();
    for (eight, &byte) in whole.iter_mut().zip(bytes) {
        *eight = spread(byte);
    }
    if let (Some(&byte), false) = (bytes.last(), rest.is_empty()) {
        rest.copy_from_slice(&spread(byte)[..rest.len()]);
    }
    Ok(())
}

/// The low bits of eight bytes as one byte: the product moves bit i to bit 56 + i, and no two terms meet.
fn gather(eight: &[u8; 8]) -> u8 {
    (((u64::from_le_bytes(*eight) & 0x0101_0101_0101_0101).wrapping_mul(0x0102_0408_1020_4080)) >> 56) as u8
}

/// The bits of one byte as eight bytes of 0 or 1.
fn spread(byte: u8) -> [u8; 8] {
    let own = u64::from(byte).wrapping_mul(0x0101_0101_0101_0101) & 0x8040_2010_0804_0201;
    // Bit i stands alone in byte i: adding 0x7f carries it into the top bit (bit 7 is there already).
    let top = ((own & 0x7f7f_7f7f_7f7f_7f7f) + 0x7f7f_7f7f_7f7f_7f7f) | own;
    ((top >> 7) & 0x0101_0101_0101_0101).to_le_bytes()
}
