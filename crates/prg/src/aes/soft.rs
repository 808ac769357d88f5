//! The portable cipher: bitsliced, eight blocks at once, no table and no secret-dependent branch.
//!
//! Bit plane p holds bit p of 128 bytes: bit 8·j + b of the plane belongs to byte j of block b. A column of the AES
//! state is then 32 bits of a plane and a row every fourth byte, so ShiftRows and MixColumns are rotations and masks.

use super::Schedule;
use super::sbox::sub_bytes;

/// Blocks that go through the circuit together.
pub(crate) const WIDTH: usize = 8;

type Planes = [u128; 8];

/// Encrypts eight blocks (little-endian numbers) in place.
pub(crate) fn encrypt(keys: &Schedule, blocks: &mut [u128; WIDTH]) {
    let mut state = slice(blocks);
    add_key(&mut state, keys, 0);
    for round in 1..10 {
        sub_bytes(&mut state);
        state = state.map(shift_rows);
        mix_columns(&mut state);
        add_key(&mut state, keys, round);
    }
    sub_bytes(&mut state);
    state = state.map(shift_rows);
    add_key(&mut state, keys, 10);
    *blocks = unslice(&state);
}

const EACH_BYTE: u128 = 0x0101_0101_0101_0101_0101_0101_0101_0101;
const ROW_0: u128 = 0x0000_00ff_0000_00ff_0000_00ff_0000_00ff;

/// Every block gets the same key: a bit of the key fills one byte of its plane.
fn add_key(state: &mut Planes, keys: &Schedule, round: usize) {
    let key = keys.block(round);
    for (p, plane) in state.iter_mut().enumerate() {
        let bits = (key >> p) & EACH_BYTE;
        *plane ^= (bits << 8).wrapping_sub(bits);
    }
}

/// Row r moves r columns to the left.
fn shift_rows(plane: u128) -> u128 {
    (0..4).fold(0, |moved, r| moved | (plane & (ROW_0 << (8 * r))).rotate_right(32 * r))
}

/// Column (a0 a1 a2 a3) becomes 2·a_r + 3·a_(r+1) + a_(r+2) + a_(r+3) in GF(2^8).
fn mix_columns(state: &mut Planes) {
    let next = |plane: u128| ((plane >> 8) & !(ROW_0 << 24)) | ((plane & ROW_0) << 24);
    let turned = state.map(next);
    let sum: Planes = std::array::from_fn(|p| state[p] ^ turned[p]);
    let carry = sum[7];
    for p in 0..8 {
        // doubling moves every bit up one plane; the carry returns as x^4 + x^3 + x + 1
        let mut doubled = if p == 0 { 0 } else { sum[p - 1] };
        if [0, 1, 3, 4].contains(&p) {
            doubled ^= carry;
        }
        state[p] = doubled ^ turned[p] ^ next(next(sum[p]));
    }
}

fn slice(blocks: &[u128; WIDTH]) -> Planes {
    let bytes = blocks.map(u128::to_le_bytes);
    let mut planes = [[0u8; 16]; 8];
    for j in 0..16 {
        let rows = transpose(u64::from_le_bytes(std::array::from_fn(|b| bytes[b][j]))).to_le_bytes();
        for p in 0..8 {
            planes[p][j] = rows[p];
        }
    }
    planes.map(u128::from_le_bytes)
}

fn unslice(state: &Planes) -> [u128; WIDTH] {
    let planes = state.map(u128::to_le_bytes);
    let mut blocks = [[0u8; 16]; WIDTH];
    for j in 0..16 {
        let rows = transpose(u64::from_le_bytes(std::array::from_fn(|p| planes[p][j]))).to_le_bytes();
        for b in 0..8 {
            blocks[b][j] = rows[b];
        }
    }
    blocks.map(u128::from_le_bytes)
}

/// Transposes an 8×8 matrix of bits: bit c of byte r changes places with bit r of byte c.
fn transpose(mut m: u64) -> u64 {
    for (mask, shift) in [(0x00aa_00aa_00aa_00aa, 7), (0x0000_cccc_0000_cccc, 14), (0x0000_0000_f0f0_f0f0, 28)] {
        let swap = (m ^ (m >> shift)) & mask;
        m ^= swap ^ (swap << shift);
    }
    m
}
