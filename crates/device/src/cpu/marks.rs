//! Marks: a few bits an element, at most 9, packed without gaps.

use ariann_prg::{Address, Prg};
use ariann_ring::pack::{PackError, packed_len};

/// Marks worked on at a time: as many take whole bytes.
const EIGHT: usize = 8;

/// Pads: two bytes of the stream each.
pub(super) fn expand(prg: &Prg, address: Address, width: u32, out: &mut [u16]) {
    let low = ((1u32 << width) - 1) as u16;
    let mut words = [0u8; 4096];
    for (number, part) in out.chunks_mut(words.len() / 2).enumerate() {
        let bytes = &mut words[..2 * part.len()];
        prg.fill_blocks(address, (number * 4096 / 16) as u64, bytes);
        part.iter_mut().zip(bytes.as_chunks().0).for_each(|(mark, word)| *mark = u16::from_le_bytes(*word) & low);
    }
}

/// Packs marks of `width` bits.
pub(super) fn pack(marks: &[u16], width: u32) -> Vec<u8> {
    let mut out = vec![0; packed_len(marks.len(), width)];
    for (eight, bytes) in marks.chunks(EIGHT).zip(out.chunks_mut(width as usize)) {
        let mut lanes = [0; EIGHT];
        lanes[..eight.len()].copy_from_slice(eight);
        let [a, b, c, d, e, f, g, h] = lanes.map(u64::from);
        let low = u128::from(a | b << width | c << (2 * width) | d << (3 * width));
        let high = u128::from(e | f << width | g << (2 * width) | h << (3 * width));
        let joined = (low | high << (4 * width)).to_le_bytes();
        let len = bytes.len();
        bytes.copy_from_slice(&joined[..len]);
    }
    out
}

/// `own[i] ^= mark[i]` for the marks in `bytes`.
pub(super) fn unpack_xor(bytes: &[u8], width: u32, own: &mut [u16]) -> Result<(), PackError> {
    let expected = packed_len(own.len(), width);
    if bytes.len() != expected {
        return Err(PackError::Length { expected, got: bytes.len() });
    }
    let used = own.len() * width as usize % 8;
    if used > 0 && bytes.last().is_some_and(|last| last >> used != 0) {
        return Err(PackError::Trailing);
    }
    let low = ((1u32 << width) - 1) as u16;
    for (eight, bytes) in own.chunks_mut(EIGHT).zip(bytes.chunks(width as usize)) {
        let mut joined = [0; 16];
        joined[..bytes.len()].copy_from_slice(bytes);
        let joined = u128::from_le_bytes(joined);
        let halves = [joined as u64, (joined >> (4 * width)) as u64];
        for (own, half) in eight.chunks_mut(4).zip(halves) {
            own.iter_mut().zip(0..).for_each(|(own, i)| *own ^= (half >> (i * width)) as u16 & low);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_opened_at_every_width_and_length() {
        for width in 3..=9 {
            for len in [0, 1, 3, 7, 8, 9, 16, 61, 1000] {
                let marks: Vec<u16> = (0..len).map(|i| (i as u16).wrapping_mul(40503) & ((1 << width) - 1)).collect();
                let bytes = pack(&marks, width);
                assert_eq!(bytes.len(), packed_len(len, width));
                let mut bits = vec![0u64; len];
                ariann_ring::pack::unpack(&bytes, width, &mut bits).unwrap();
                assert!(bits.iter().zip(&marks).all(|(a, b)| *a == u64::from(*b)), "as other values of that width");
                let mut own = vec![0x1f & ((1 << width) - 1); len];
                unpack_xor(&bytes, width, &mut own).unwrap();
                assert!(own.iter().zip(&marks).all(|(a, b)| *a == 0x1f & ((1 << width) - 1) ^ b));
                assert!(unpack_xor(&[&bytes[..], &[0]].concat(), width, &mut own).is_err());
                if !(len * width as usize).is_multiple_of(8) {
                    let mut bytes = bytes;
                    *bytes.last_mut().unwrap() |= 0x80;
                    assert_eq!(unpack_xor(&bytes, width, &mut own), Err(PackError::Trailing));
                }
            }
        }
    }
}
