//! Lookup: see `gates::lookup`.

use ariann_fss::{self as fss, Party};
use ariann_prg::{Loop, Prg, TreeHash, accelerate};
use ariann_ring::Ring;

use super::pieces::{each, outputs, sources};
use super::root_blocks;
use crate::{Piece, Source, Stream};

/// A lookup's public parameters at a party, its seed and the table.
pub(super) struct Lookup<'a, R: Ring> {
    pub hash: &'a TreeHash,
    pub party: Party,
    pub prg: &'a Prg,
    pub roots: &'a Stream,
    pub width: u32,
    pub table: &'a [R],
}

impl<R: Ring> Lookup<'_, R> {
    /// See [`crate::Device::lookup`].
    pub fn run(&self, pieces: &[Piece], keys: &[u8], x: &[R], out: &mut [R]) {
        let len = self.roots.len;
        let parts = sources(pieces, Source::Dealt(keys), |piece| piece.elements.len() * fss::key_len(self.width));
        let parts = parts.into_iter().zip(outputs(pieces, len, out)).collect();
        each(parts, |((piece, keys), out): ((&Piece, Source<'_>), &mut [R])| {
            let Source::Dealt(keys) = keys else { unreachable!("keys are dealt") };
            let slot = self.roots.slots.start + piece.item as u32;
            let roots = root_blocks(self.prg, self.roots, slot, piece.elements.clone());
            let x = &x[piece.item * len + piece.elements.start..][..out.len()];
            let size = 1usize << self.width;
            let product = |i: usize, vector: &[u64]| {
                // T[x̂ - j] for j from 0 on stands from 2^w - x̂ on.
                let table = &self.table[size - x[i].to_u64() as usize..][..size];
                accelerate(Dot { vector, table, sum: &mut out[i] });
                if self.party == Party::P1 {
                    out[i] = out[i].neg();
                }
            };
            fss::unit_all(self.hash, self.party, self.width, &roots, keys, product)
                .expect("lengths follow from the plan");
        });
    }
}

/// The sum of the table's elements where the vector has ones.
struct Dot<'a, R: Ring> {
    vector: &'a [u64],
    table: &'a [R],
    sum: &'a mut R,
}

impl<R: Ring> Loop for Dot<'_, R> {
    #[inline(always)]
    fn run(self) {
        let mut sums = [R::ZERO; 64];
        for (word, table) in self.vector.iter().zip(self.table.chunks(64)) {
            // The vector is secret: masks in place of branches.
            for (i, (sum, element)) in sums.iter_mut().zip(table).enumerate() {
                *sum = sum.add(element.and(R::from_u64(word >> i & 1).neg()));
            }
        }
        *self.sum = sums.iter().fold(R::ZERO, |sum, part| sum.add(*part));
    }
}

/// See [`crate::Device::deal_lookup`].
pub(super) fn deal<R: Ring>(
    hash: &TreeHash,
    prgs: [&Prg; 2],
    roots: &Stream,
    alpha: &[R],
    width: u32,
    keys: &mut Vec<u8>,
) -> Vec<R> {
    let [blocks0, blocks1] = prgs.map(|prg| root_blocks(prg, roots, roots.slots.start, 0..roots.len));
    let start = keys.len();
    keys.resize(start + roots.len * fss::key_len(width), 0);
    let keys = &mut keys[start..];
    fss::generate(hash, width, &blocks0, &blocks1, alpha, keys).expect("lengths follow from the plan");
    let mut share0 = vec![0; alpha.len()];
    fss::equal(hash, Party::P0, width, &blocks0, keys, alpha, &mut share0).expect("lengths follow from the plan");
    // P0's bit there less P1's, which is the other one.
    share0.iter().map(|bit| R::from_u64(2 * u64::from(*bit)).sub(R::ONE)).collect()
}
