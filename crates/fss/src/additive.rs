//! Comparison and equality whose results are additive shares modulo 2^k, k = 32 or 64, without a message.
//!
//! The half-tree DPF to its full depth (Guo et al., EUROCRYPT 2023) with words of correction, as in a DCF (Boyle et al., EUROCRYPT 2021).
//! Both parties' blocks are s at a node, t is its lowest bit; where x left α's path they are equal. With c_i the word of
//! level i, one for each level of a comparison and one at the end of an equality,
//!
//! ```text
//! [1{x < α}]_j = (-1)^j Σ over levels with x_i = 0 of (H'(s^(i-1)) + t^(i-1) c_i)     c_i makes it α_i on the path
//! [1{x = α}]_j = (-1)^j (H'(s^n) + t^n c)                                            c makes it 1 on the path
//! ```
//!
//! AriaNN's own gates take the smaller keys of [`crate::dpf`] and turn XOR shares into additive ones while they open
//! something anyway; these are for those who want one key and one result.
//!
//! Layout: one instance after another, each n correction words of 16 bytes, then its words of k/8 bytes, little-endian.
//! Any run of whole instances is itself a valid batch.

use ariann_prg::TreeHash;
use ariann_ring::Ring;
use rayon::prelude::*;

use crate::dpf::{check, check_output, is_large};
use crate::{FssError, Party};

/// Bytes of a block.
const BLOCK: usize = 16;
/// Instances that are hashed together.
const GROUP: usize = 64;
/// Instances that one thread takes at a time.
const TASK: usize = 16 * GROUP;

/// Which function a key is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Additive {
    /// 1{x < α}.
    LessThan,
    /// 1{x = α}.
    Equal,
}

impl Additive {
    /// Bytes of one key on a domain of `domain_bits` with results in `R`.
    pub const fn key_len<R: Ring>(self, domain_bits: u32) -> usize {
        domain_bits as usize * BLOCK + self.words(domain_bits) * size_of::<R>()
    }

    const fn words(self, domain_bits: u32) -> usize {
        match self {
            Additive::LessThan => domain_bits as usize,
            Additive::Equal => 1,
        }
    }
}

/// The dealer: keys for the secret points `alphas`, which both parties get. `roots` are P0's and P1's root blocks, 16
/// bytes an instance, from their seeds, fresh for every key (P0's low bit is read as 0, P1's as 1).
pub fn generate<R: Ring, A: Ring>(
    function: Additive,
    hash: &TreeHash,
    domain_bits: u32,
    roots: [&[u8]; 2],
    alphas: &[A],
    keys: &mut [u8],
) -> Result<(), FssError> {
    let [roots0, roots1] = roots;
    let length = function.key_len::<R>(domain_bits);
    check(domain_bits, "alphas", alphas, (keys.len(), length), &[("roots of P0", roots0), ("roots of P1", roots1)])?;
    let task = if is_large(alphas.len()) { TASK } else { alphas.len().max(1) };
    let tasks = keys.par_chunks_mut(task * length).zip(alphas.par_chunks(task));
    let roots = roots0.par_chunks(task * BLOCK).zip(roots1.par_chunks(task * BLOCK));
    tasks.zip(roots).for_each(|((keys, alphas), (roots0, roots1))| {
        let groups = keys.chunks_mut(GROUP * length).zip(alphas.chunks(GROUP));
        let roots = roots0.chunks(GROUP * BLOCK).zip(roots1.chunks(GROUP * BLOCK));
        for ((keys, alphas), (roots0, roots1)) in groups.zip(roots) {
            grow::<R, A>(function, hash, domain_bits, [roots0, roots1], alphas, keys);
        }
    });
    Ok(())
}

/// A party's additive shares of the function at public `xs`.
#[allow(clippy::too_many_arguments)]
pub fn evaluate<R: Ring, A: Ring>(
    function: Additive,
    hash: &TreeHash,
    party: Party,
    domain_bits: u32,
    roots: &[u8],
    keys: &[u8],
    xs: &[A],
    out: &mut [R],
) -> Result<(), FssError> {
    let length = function.key_len::<R>(domain_bits);
    check(domain_bits, "xs", xs, (keys.len(), length), &[("roots", roots)])?;
    check_output("shares", xs.len(), out)?;
    let task = if is_large(xs.len()) { TASK } else { xs.len().max(1) };
    let tasks = keys.par_chunks(task * length).zip(xs.par_chunks(task));
    tasks.zip(roots.par_chunks(task * BLOCK).zip(out.par_chunks_mut(task))).for_each(|((keys, xs), (roots, out))| {
        let groups = keys.chunks(GROUP * length).zip(xs.chunks(GROUP));
        for ((keys, xs), (roots, out)) in groups.zip(roots.chunks(GROUP * BLOCK).zip(out.chunks_mut(GROUP))) {
            walk(function, hash, party, domain_bits, roots, keys, xs, out);
        }
    });
    Ok(())
}

/// The root blocks of a group, with a party's control bit.
fn blocks(roots: &[u8], party: Party) -> [u128; GROUP] {
    let mut blocks = [0; GROUP];
    for (block, root) in blocks.iter_mut().zip(roots.as_chunks::<BLOCK>().0) {
        *block = u128::from_le_bytes(*root) & !1 | party.index() as u128;
    }
    blocks
}

fn hashed(blocks: &[u128], out: &mut [[u8; BLOCK]; GROUP], hash: impl Fn(&mut [[u8; BLOCK]])) {
    for (bytes, block) in out.iter_mut().zip(blocks) {
        *bytes = block.to_le_bytes();
    }
    hash(&mut out[..blocks.len()]);
}

/// All ones where the lowest bit is set.
fn spread(block: u128) -> u128 {
    (block & 1).wrapping_neg()
}

fn word<R: Ring>(block: [u8; BLOCK]) -> R {
    R::from_u64(u128::from_le_bytes(block) as u64)
}

#[allow(clippy::too_many_arguments)]
fn walk<R: Ring, A: Ring>(
    function: Additive,
    hash: &TreeHash,
    party: Party,
    domain_bits: u32,
    roots: &[u8],
    keys: &[u8],
    xs: &[A],
    out: &mut [R],
) {
    let (levels, count) = (domain_bits as usize, xs.len());
    let length = function.key_len::<R>(domain_bits);
    let mut s = blocks(roots, party);
    let (mut inner, mut leaf) = ([[0; BLOCK]; GROUP], [[0; BLOCK]; GROUP]);
    // What the word at `place` of the key adds: H'(s) + t c.
    let value = |s: u128, leaf: [u8; BLOCK], key: &[u8], place: usize| {
        let at = levels * BLOCK + place * size_of::<R>();
        let correction: R = bytemuck::pod_read_unaligned(&key[at..at + size_of::<R>()]);
        word::<R>(leaf).add(correction.and(R::spread(s as u8 & 1)))
    };
    out.fill(R::ZERO);
    for level in 0..levels {
        hashed(&s[..count], &mut inner, |blocks| hash.inner(blocks));
        if function == Additive::LessThan {
            hashed(&s[..count], &mut leaf, |blocks| hash.leaf(blocks));
        }
        for (i, key) in keys.chunks_exact(length).enumerate() {
            let right = (xs[i].to_u64() >> (levels - 1 - level)) as u8 & 1;
            if function == Additive::LessThan {
                out[i] = out[i].add(value(s[i], leaf[i], key, level).and(R::spread(right ^ 1)));
            }
            let correction = u128::from_le_bytes(key[level * BLOCK..][..BLOCK].try_into().expect("a block"));
            s[i] = u128::from_le_bytes(inner[i]) ^ (s[i] & spread(u128::from(right))) ^ (correction & spread(s[i]));
        }
    }
    if function == Additive::Equal {
        hashed(&s[..count], &mut leaf, |blocks| hash.leaf(blocks));
        for (i, key) in keys.chunks_exact(length).enumerate() {
            out[i] = value(s[i], leaf[i], key, 0);
        }
    }
    if party == Party::P1 {
        out.iter_mut().for_each(|share| *share = share.neg());
    }
}

fn grow<R: Ring, A: Ring>(
    function: Additive,
    hash: &TreeHash,
    domain_bits: u32,
    [roots0, roots1]: [&[u8]; 2],
    alphas: &[A],
    keys: &mut [u8],
) {
    let (levels, count) = (domain_bits as usize, alphas.len());
    let length = function.key_len::<R>(domain_bits);
    let (mut s0, mut s1) = (blocks(roots0, Party::P0), blocks(roots1, Party::P1));
    let mut sides = [[[0; BLOCK]; GROUP]; 2];
    // The word that makes the parties' sum `wanted` on the path: t0 - t1 is 1 or -1 there.
    let correction = |wanted: R, sides: &[[[u8; BLOCK]; GROUP]; 2], s1: u128, i: usize| {
        let missing = wanted.sub(word::<R>(sides[0][i])).add(word::<R>(sides[1][i]));
        let negative = R::spread(s1 as u8 & 1);
        missing.xor(negative).sub(negative)
    };
    let put = |key: &mut [u8], place: usize, word: R| {
        let at = levels * BLOCK + place * size_of::<R>();
        key[at..at + size_of::<R>()].copy_from_slice(bytemuck::bytes_of(&word));
    };
    for level in 0..levels {
        let bit = |i: usize| (alphas[i].to_u64() >> (levels - 1 - level)) & 1;
        if function == Additive::LessThan {
            hashed(&s0[..count], &mut sides[0], |blocks| hash.leaf(blocks));
            hashed(&s1[..count], &mut sides[1], |blocks| hash.leaf(blocks));
            for (i, key) in keys.chunks_exact_mut(length).enumerate() {
                put(key, level, correction(R::from_u64(bit(i)), &sides, s1[i], i));
            }
        }
        hashed(&s0[..count], &mut sides[0], |blocks| hash.inner(blocks));
        hashed(&s1[..count], &mut sides[1], |blocks| hash.inner(blocks));
        for (i, key) in keys.chunks_exact_mut(length).enumerate() {
            let right = spread(u128::from(bit(i)));
            let next = sides.map(|side| u128::from_le_bytes(side[i]));
            let correction = next[0] ^ next[1] ^ ((s0[i] ^ s1[i]) & !right);
            key[level * BLOCK..][..BLOCK].copy_from_slice(&correction.to_le_bytes());
            s0[i] = next[0] ^ (s0[i] & right) ^ (correction & spread(s0[i]));
            s1[i] = next[1] ^ (s1[i] & right) ^ (correction & spread(s1[i]));
        }
    }
    if function == Additive::Equal {
        hashed(&s0[..count], &mut sides[0], |blocks| hash.leaf(blocks));
        hashed(&s1[..count], &mut sides[1], |blocks| hash.leaf(blocks));
        for (i, key) in keys.chunks_exact_mut(length).enumerate() {
            put(key, 0, correction(R::ONE, &sides, s1[i], i));
        }
    }
}
