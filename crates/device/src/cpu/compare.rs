//! DReLU by comparison keys.

use ariann_fss::{self as fss, Party};
use ariann_prg::{Prg, TreeHash};
use ariann_ring::Ring;

use super::pieces::{each, sources};
use super::{each_item, root_blocks};
use crate::{Piece, Source, Stream};

/// See [`crate::Device::drelu`].
#[allow(clippy::too_many_arguments)]
pub(super) fn drelu<R: Ring>(
    hash: &TreeHash,
    party: Party,
    prg: &Prg,
    roots: &Stream,
    pieces: &[Piece],
    keys: &[u8],
    x: &[R],
    width: u32,
    bits: &mut [u8],
) {
    let domain = width - 1;
    let (low, key_len) = (R::low_mask(domain), fss::key_len(domain));
    let points = points(roots, x.len());
    let shares = |piece: &Piece, keys: &[u8]| -> Vec<Vec<u8>> {
        let blocks = root_blocks(prg, roots, roots.slots.start + piece.item as u32, piece.elements.clone());
        let at = |point: usize| {
            let x = &x[at(piece, roots.len, points, point)..][..piece.elements.len()];
            let lo: Vec<R> = x.iter().map(|x| x.and(low)).collect();
            let mut less = vec![0; x.len()];
            fss::less_than(hash, party, domain, &blocks, keys, &lo, &mut less).expect("lengths follow from the plan");
            let top = u64::from(party == Party::P0);
            less.iter_mut().zip(x).for_each(|(less, x)| *less ^= (x.shr(domain).to_u64() & top) as u8);
            less
        };
        (0..points).map(at).collect()
    };
    let parts = sources(pieces, Source::Dealt(keys), |piece| piece.elements.len() * key_len);
    let shares = each(parts, |(piece, keys): (&Piece, Source<'_>)| match keys {
        Source::Dealt(keys) => shares(piece, keys),
        Source::Seed(..) => unreachable!("keys are dealt"),
    });
    for (piece, shares) in pieces.iter().zip(shares) {
        for (point, shares) in shares.iter().enumerate() {
            let bits = &mut bits[at(piece, roots.len, points, point)..][..shares.len()];
            bits.iter_mut().zip(shares).for_each(|(bit, share)| *bit ^= share);
        }
    }
}

/// Wires that each key is read at.
pub(super) fn points(keys: &Stream, wires: usize) -> usize {
    wires.checked_div(keys.total()).unwrap_or(1)
}

/// Where the wires of a piece stand that are its keys' `point`-th, among those of all items.
pub(super) fn at(piece: &Piece, len: usize, points: usize, point: usize) -> usize {
    (piece.item * points + point) * len + piece.elements.start
}

/// Appends the comparison keys at the low `width - 1` bits of α.
pub(super) fn deal_keys<R: Ring>(
    hash: &TreeHash,
    prgs: [&Prg; 2],
    roots: &Stream,
    alpha: &[R],
    width: u32,
    keys: &mut Vec<u8>,
) {
    let bits = width - 1;
    let (low, len, bytes) = (R::low_mask(bits), roots.len, roots.len * fss::key_len(bits));
    let start = keys.len();
    keys.resize(start + bytes * roots.slots.len(), 0);
    each_item(&mut keys[start..], bytes, |item, keys| {
        let lo: Vec<R> = alpha[item * len..][..len].iter().map(|a| a.and(low)).collect();
        let [blocks0, blocks1] = prgs.map(|prg| root_blocks(prg, roots, roots.slots.start + item as u32, 0..len));
        fss::generate(hash, bits, &blocks0, &blocks1, &lo, keys).expect("lengths follow from the plan");
    });
}

/// r_d = 1 xor top(α) xor pads; the pads of one item, α once for each of its wires.
pub(super) fn deal_bits<R: Ring>(alpha: &[R], width: u32, pads: [Vec<u8>; 2]) -> Vec<u8> {
    let [pad0, pad1] = pads;
    let alpha = alpha.iter().cycle();
    pad0.iter().zip(pad1).zip(alpha).map(|((a, b), alpha)| 1 ^ alpha.shr(width - 1).to_u64() as u8 ^ a ^ b).collect()
}
