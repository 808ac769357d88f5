//! The vectors of one digit of a group of instances.

use super::GROUP;

/// `len` vectors of 2^`bits` bits: layout as in [`super`].
#[derive(Clone, Copy)]
pub(super) struct Plane {
    pub bits: u32,
    pub len: usize,
}

/// A word of each instance.
pub(super) trait Lanes {
    /// The xor of all bits.
    fn parity(self) -> u64;
}

impl Lanes for u64 {
    #[inline(always)]
    fn parity(self) -> u64 {
        let folded = self ^ (self >> 32);
        let folded = folded ^ (folded >> 16);
        let folded = folded ^ (folded >> 8);
        let folded = folded ^ (folded >> 4);
        (0x6996 >> (folded & 15)) & 1
    }
}

impl Plane {
    /// Bytes of the plane.
    #[inline(always)]
    pub fn bytes(self) -> usize {
        (self.len << self.bits).div_ceil(8)
    }

    /// Word number `word` of all vectors; lanes that a short group lacks are 0.
    #[inline(always)]
    pub fn words(self, bytes: &[u8], word: usize) -> [u64; GROUP] {
        let mut words = [0; GROUP];
        if self.bits < 6 {
            self.short(bytes).into_iter().zip(&mut words).for_each(|(short, word)| *word = u64::from(short));
        } else {
            let bytes = &bytes[word * self.len * 8..][..self.len * 8];
            words.iter_mut().zip(bytes.as_chunks().0).for_each(|(word, bytes)| *word = u64::from_le_bytes(*bytes));
        }
        words
    }

    /// Vectors of up to 32 bits.
    #[inline(always)]
    fn short(self, bytes: &[u8]) -> [u32; GROUP] {
        let mut words = [0; GROUP];
        match self.bits {
            5 => {
                let bytes = bytes.as_chunks().0;
                words.iter_mut().zip(bytes).for_each(|(word, bytes)| *word = u32::from_le_bytes(*bytes));
            }
            4 => {
                let bytes = bytes.as_chunks().0;
                words.iter_mut().zip(bytes).for_each(|(word, bytes)| *word = u16::from_le_bytes(*bytes).into());
            }
            3 => words.iter_mut().zip(bytes).for_each(|(word, byte)| *word = u32::from(*byte)),
            _ => {
                let (each, mask) = (8 >> self.bits, (1 << (1 << self.bits)) - 1);
                for (i, word) in words.iter_mut().enumerate().take(self.len) {
                    *word = u32::from(bytes[i / each]) >> ((i % each) << self.bits) & mask;
                }
            }
        }
        words
    }

    /// Adds to `found`, from bit `place` on, the vectors' parities above the digits and, a bit higher, the bits at them.
    #[inline(always)]
    pub fn compare(self, bytes: &[u8], digits: &[u32; GROUP], place: u32, found: &mut [u32; GROUP]) {
        if self.bits < 6 {
            let words = self.short(bytes);
            for i in 0..GROUP {
                let from = words[i] >> digits[i];
                let folded = from ^ (from >> 16);
                let folded = folded ^ (folded >> 8);
                let folded = folded ^ (folded >> 4);
                let (parity, equal) = ((0x6996 >> (folded & 15)) & 1, from & 1);
                found[i] |= ((parity ^ equal) | equal << 1) << place;
            }
        } else {
            let (low, high) = (self.words(bytes, 0), if self.bits == 7 { self.words(bytes, 1) } else { [0; GROUP] });
            for i in 0..GROUP {
                let digit = u64::from(digits[i]);
                let in_high = (digit >> 6).wrapping_neg();
                // The half that the digit is in, and what is wholly above it.
                let (own, above) = (low[i] ^ ((low[i] ^ high[i]) & in_high), high[i] & !in_high);
                let from = own >> (digit & 63);
                let equal = from & 1;
                found[i] |= ((((from ^ above).parity() ^ equal) | equal << 1) as u32) << place;
            }
        }
    }

    /// Flips one bit of every vector; which one is secret.
    #[inline(always)]
    pub fn flip(self, at: &[u32; GROUP], bytes: &mut [u8]) {
        let unit = |at: u32, word: u32| u64::from(at >> 6 == word) << (at & 63);
        match self.bits {
            6.. => {
                for (word, bytes) in bytes.chunks_mut(self.len.max(1) * 8).enumerate() {
                    for (bytes, at) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(at) {
                        *bytes = (u64::from_le_bytes(*bytes) ^ unit(*at, word as u32)).to_le_bytes();
                    }
                }
            }
            5 => {
                for (bytes, at) in bytes.as_chunks_mut().0.iter_mut().zip(at) {
                    *bytes = (u32::from_le_bytes(*bytes) ^ 1 << at).to_le_bytes();
                }
            }
            4 => {
                for (bytes, at) in bytes.as_chunks_mut().0.iter_mut().zip(at) {
                    *bytes = (u16::from_le_bytes(*bytes) ^ 1 << at).to_le_bytes();
                }
            }
            3 => bytes.iter_mut().zip(at).for_each(|(byte, at)| *byte ^= 1 << at),
            _ => {
                let each = 8 >> self.bits;
                for (bytes, at) in bytes.iter_mut().zip(at[..self.len].chunks(each)) {
                    let units = at.iter().enumerate();
                    *bytes ^= units.fold(0, |byte, (i, at)| byte | 1u8 << (at + ((i as u32) << self.bits)));
                }
            }
        }
    }
}
