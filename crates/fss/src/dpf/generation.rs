//! The dealer's pass over a batch.

use super::{BLOCK, LANES, ROW, Ring, TASK, key_len, pad, points};
use ariann_prg::TreeHash;

/// How to generate.
#[derive(Clone, Copy)]
pub(super) struct Generation<'a> {
    pub(super) hash: &'a TreeHash,
    pub(super) domain_bits: u32,
}

impl Generation<'_> {
    /// Halves a large batch between threads, then goes through the groups in order. `roots` are P0's and P1's.
    pub(super) fn run<R: Ring>(self, roots: [&[u8]; 2], alphas: &[R], keys: &mut [u8], split: bool) {
        if split && alphas.len() > TASK {
            let half = (alphas.len() / 2).next_multiple_of(LANES);
            let [roots0, roots1] = roots.map(|roots| roots.split_at(half * BLOCK));
            let keys = keys.split_at_mut(half * key_len(self.domain_bits));
            let alphas = alphas.split_at(half);
            rayon::join(
                || self.run([roots0.0, roots1.0], alphas.0, keys.0, true),
                || self.run([roots0.1, roots1.1], alphas.1, keys.1, true),
            );
            return;
        }
        let groups = keys.chunks_mut(LANES * key_len(self.domain_bits)).zip(alphas.chunks(LANES));
        for ((keys, alphas), roots) in groups.zip(roots[0].chunks(ROW).zip(roots[1].chunks(ROW))) {
            self.group(roots, alphas, keys);
        }
    }

    fn group<R: Ring>(self, (roots0, roots1): (&[u8], &[u8]), alphas: &[R], keys: &mut [u8]) {
        let points = points(alphas);
        if let (Ok(roots0), Ok(roots1)) = (roots0.try_into(), roots1.try_into()) {
            self.hash.grow(self.domain_bits, [roots0, roots1], &points, keys);
            return;
        }
        let mut padded = vec![0; LANES * key_len(self.domain_bits)];
        self.hash.grow(self.domain_bits, [&pad(roots0), &pad(roots1)], &points, &mut padded);
        for (row, to) in padded.chunks(ROW).zip(keys.chunks_mut(alphas.len() * BLOCK)) {
            to.copy_from_slice(&row[..to.len()]);
        }
    }
}
