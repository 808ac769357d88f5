//! Key expansion, one for all back ends: it runs through the S-box circuit, so no table is indexed by a key.

use super::sbox::sub_bytes;
use zeroize::ZeroizeOnDrop;

/// The eleven round keys of AES-128. Secret whenever the key is; wiped on drop.
#[derive(ZeroizeOnDrop)]
#[repr(C, align(64))]
pub(crate) struct Schedule(pub(crate) [[u8; 16]; 11]);

impl Schedule {
    pub(crate) fn new(key: &[u8; 16]) -> Schedule {
        let mut rounds = Schedule([[0; 16]; 11]);
        rounds.0[0] = *key;
        let mut constant = 1u32;
        for round in 1..11 {
            let before = rounds.0[round - 1];
            let word =
                |i: usize| u32::from_le_bytes([before[4 * i], before[4 * i + 1], before[4 * i + 2], before[4 * i + 3]]);
            let mut last = sub_word(word(3).rotate_right(8)) ^ constant;
            for i in 0..4 {
                last ^= word(i);
                rounds.0[round][4 * i..4 * i + 4].copy_from_slice(&last.to_le_bytes());
            }
            constant = (constant << 1) ^ (0x11b & (constant >> 7).wrapping_neg());
        }
        rounds
    }

    /// Round key `round` as a little-endian number.
    pub(crate) fn block(&self, round: usize) -> u128 {
        u128::from_le_bytes(self.0[round])
    }
}

/// The S-box on the four bytes of a word.
fn sub_word(word: u32) -> u32 {
    let mut planes: [u32; 8] = std::array::from_fn(|p| (word >> p) & 0x0101_0101);
    sub_bytes(&mut planes);
    planes.iter().enumerate().fold(0, |sum, (p, plane)| sum | (plane & 0x0101_0101) << p)
}
