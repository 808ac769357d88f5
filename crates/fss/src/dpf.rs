//! The half-tree DPF with early termination (Guo et al., EUROCRYPT 2023), and what is read from it
//! (comparison from control bits: Grotto, CCS 2023; SIGMA, PoPETs 2024).
//!
//! A key for the point α in [0, 2^n) is ν = max(n - 7, 0) correction words and a leaf, 16 bytes each, equal for both
//! parties; each party adds a root block from its own seed. Parties walk along a public x. Where x leaves α's path their
//! blocks become equal and stay so; the leaf vectors of 128 bits are XOR shares of the unit vector of α's low bits. So
//!
//! ```text
//! 1{x < α} = xor over levels with x_i = 0 of (t^(i-1) xor t^i)  xor  parity of the leaf vector above x mod 128
//! 1{x = α} = the leaf vector at x mod 128
//! ```
//!
//! Layout: instances stand in groups of [`LANES`]: the first correction words of all lanes side by side, then the
//! second ones, ..., then the leaves; the last group is interleaved by its own size. A run of whole groups is itself a
//! valid batch, so a stream may be cut at any multiple of [`LANES`] instances.
//!
//! Batches of thousands are divided among the threads of the current rayon pool; smaller ones, and all in a pool of one
//! thread, stay where they are. The bytes are the same.

mod evaluation;
mod generation;
mod whole;

use crate::{FssError, Party};
use ariann_prg::{Ends, LANES, TreeHash};
use ariann_ring::Ring;
use evaluation::Evaluation;
use generation::Generation;
use whole::Whole;

/// Bytes of a block.
const BLOCK: usize = 16;

/// Bytes of one block of every lane.
const ROW: usize = LANES * BLOCK;

/// Instances that one thread takes at a time; a batch below twice that asks no thread for help.
const TASK: usize = 64 * LANES;

/// The largest domain, in bits, whose whole vector is computed.
const WHOLE: u32 = 20;

/// Bytes of one key on a domain of `domain_bits`: 16·(max(n - 7, 0) + 1).
pub const fn key_len(domain_bits: u32) -> usize {
    BLOCK * (domain_bits.saturating_sub(7) as usize + 1)
}

/// The dealer: keys for the secret points `alphas`, which both parties get. `roots0` and `roots1` are the parties'
/// root blocks, 16 bytes an instance, from their seeds, fresh for every key (P0's low bit is read as 0, P1's as 1).
pub fn generate<R: Ring>(
    hash: &TreeHash,
    domain_bits: u32,
    roots0: &[u8],
    roots1: &[u8],
    alphas: &[R],
    keys: &mut [u8],
) -> Result<(), FssError> {
    check(
        domain_bits,
        "alphas",
        alphas,
        (keys.len(), key_len(domain_bits)),
        &[("roots of P0", roots0), ("roots of P1", roots1)],
    )?;
    Generation { hash, domain_bits }.run([roots0, roots1], alphas, keys, is_large(alphas.len()));
    Ok(())
}

/// A party's XOR shares (0 or 1) of 1{x < α}, for public `xs`.
pub fn less_than<R: Ring>(
    hash: &TreeHash,
    party: Party,
    domain_bits: u32,
    roots: &[u8],
    keys: &[u8],
    xs: &[R],
    out: &mut [u8],
) -> Result<(), FssError> {
    check_output("shares of less-than", xs.len(), out)?;
    evaluate(hash, party, domain_bits, roots, keys, xs, (out, &mut []), |point, ends, lane, (less, _)| {
        less[lane] = less_share(point, ends, lane);
    })
}

/// A party's XOR shares (0 or 1) of 1{x = α}, for public `xs`.
pub fn equal<R: Ring>(
    hash: &TreeHash,
    party: Party,
    domain_bits: u32,
    roots: &[u8],
    keys: &[u8],
    xs: &[R],
    out: &mut [u8],
) -> Result<(), FssError> {
    check_output("shares of equality", xs.len(), out)?;
    evaluate(hash, party, domain_bits, roots, keys, xs, (&mut [], out), |point, ends, lane, (_, equal)| {
        equal[lane] = equal_share(point, ends, lane);
    })
}

/// Both of the above from one walk. Each output bit needs its own pad before it is opened.
#[allow(clippy::too_many_arguments)]
pub fn less_than_and_equal<R: Ring>(
    hash: &TreeHash,
    party: Party,
    domain_bits: u32,
    roots: &[u8],
    keys: &[u8],
    xs: &[R],
    less: &mut [u8],
    equal: &mut [u8],
) -> Result<(), FssError> {
    check_output("shares of less-than", xs.len(), less)?;
    check_output("shares of equality", xs.len(), equal)?;
    evaluate(hash, party, domain_bits, roots, keys, xs, (less, equal), |point, ends, lane, (less, equal)| {
        less[lane] = less_share(point, ends, lane);
        equal[lane] = equal_share(point, ends, lane);
    })
}

/// Words of 64 bits in which the unit vector of a domain is read.
pub const fn unit_words(domain_bits: u32) -> usize {
    1 << domain_bits.saturating_sub(6)
}

/// A party's XOR shares of the whole unit vectors of all instances, domains of up to 20 bits: brings each instance's number and
/// vector (bit x of it, lowest first, belongs to the point x) to `each`. 2^(ν+1) - 1 AES calls an instance.
pub fn unit_all(
    hash: &TreeHash,
    party: Party,
    domain_bits: u32,
    roots: &[u8],
    keys: &[u8],
    mut each: impl FnMut(usize, &[u64]),
) -> Result<(), FssError> {
    if domain_bits > WHOLE {
        return Err(FssError::Domain { got: domain_bits });
    }
    let instances = roots.len() / BLOCK;
    check(domain_bits, "xs", &vec![0u32; instances], (keys.len(), key_len(domain_bits)), &[("roots", roots)])?;
    let whole = Whole::new(hash, party, domain_bits);
    whole.run(roots, keys, &mut each);
    Ok(())
}

#[inline(always)]
fn less_share(point: u64, ends: &Ends, lane: usize) -> u8 {
    let above = ends.leaves[lane] & (!1u128 << (point % 128));
    let folded = (above >> 64) as u64 ^ above as u64;
    (folded.count_ones() as u8 ^ ends.turns[lane] as u8) & 1
}

#[inline(always)]
fn equal_share(point: u64, ends: &Ends, lane: usize) -> u8 {
    // The dealer asks at a secret point: the half is chosen by a mask, and the shift is one of a machine word.
    let leaf = ends.leaves[lane];
    let (low, high) = (leaf as u64, (leaf >> 64) as u64);
    let upper = (point >> 6 & 1).wrapping_neg();
    ((low ^ ((low ^ high) & upper)) >> (point & 63)) as u8 & 1
}

/// Walks every instance and reads its end. An output that is not wanted is empty.
#[allow(clippy::too_many_arguments)]
fn evaluate<R: Ring>(
    hash: &TreeHash,
    party: Party,
    domain_bits: u32,
    roots: &[u8],
    keys: &[u8],
    xs: &[R],
    out: (&mut [u8], &mut [u8]),
    read: impl Fn(u64, &Ends, usize, (&mut [u8], &mut [u8])) + Sync,
) -> Result<(), FssError> {
    check(domain_bits, "xs", xs, (keys.len(), key_len(domain_bits)), &[("roots", roots)])?;
    Evaluation { hash, party, domain_bits, read }.run(roots, keys, xs, out, is_large(xs.len()));
    Ok(())
}

/// The roots of a short group, on as many lanes as a whole one has.
fn pad(roots: &[u8]) -> [u8; ROW] {
    let mut padded = [0; ROW];
    padded[..roots.len()].copy_from_slice(roots);
    padded
}

/// The points of a group; lanes that a short one lacks are 0.
fn points<R: Ring>(values: &[R]) -> [u64; LANES] {
    let mut points = [0; LANES];
    for (point, value) in points.iter_mut().zip(values) {
        *point = value.to_u64();
    }
    points
}

/// Whether several threads pay.
pub(crate) fn is_large(instances: usize) -> bool {
    instances >= 2 * TASK && rayon::current_num_threads() > 1
}

/// Lengths and points of a call; `keys` are their bytes and those of one key.
pub(crate) fn check<R: Ring>(
    domain_bits: u32,
    what: &'static str,
    points: &[R],
    (keys, key_len): (usize, usize),
    roots: &[(&'static str, &[u8])],
) -> Result<(), FssError> {
    if !(1..=63).contains(&domain_bits) {
        return Err(FssError::Domain { got: domain_bits });
    }
    let instances = points.len();
    let length = |what, expected, got| FssError::Length { what, instances, expected, got };
    for (what, roots) in roots {
        if roots.len() != instances * BLOCK {
            return Err(length(*what, instances * BLOCK, roots.len()));
        }
    }
    if keys != instances * key_len {
        return Err(length("keys", instances * key_len, keys));
    }
    // one decision for all points, since those of the dealer are secret
    let all = points.iter().fold(R::ZERO, |all, point| all.xor(*point).xor(all.and(*point)));
    if all.to_u64() >> domain_bits != 0 {
        return Err(FssError::Outside { what, domain_bits });
    }
    Ok(())
}

pub(crate) fn check_output<T>(what: &'static str, instances: usize, out: &[T]) -> Result<(), FssError> {
    if out.len() == instances {
        return Ok(());
    }
    Err(FssError::Length { what, instances, expected: instances, got: out.len() })
}
