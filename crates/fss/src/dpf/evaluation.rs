//! A party's pass over a batch.

use super::{BLOCK, LANES, Party, ROW, Ring, TASK, key_len, pad, points};
use ariann_prg::{Ends, TreeHash};

/// How to evaluate; `read` takes a lane's point and end to the wanted outputs.
pub(super) struct Evaluation<'a, F> {
    pub(super) hash: &'a TreeHash,
    pub(super) party: Party,
    pub(super) domain_bits: u32,
    pub(super) read: F,
}

impl<F: Fn(u64, &Ends, usize, (&mut [u8], &mut [u8])) + Sync> Evaluation<'_, F> {
    /// Halves a large batch between threads, then goes through the groups in order.
    pub(super) fn run<R: Ring>(&self, roots: &[u8], keys: &[u8], xs: &[R], out: (&mut [u8], &mut [u8]), split: bool) {
        if split && xs.len() > TASK {
            let half = (xs.len() / 2).next_multiple_of(LANES);
            let (roots, keys, xs) =
                (roots.split_at(half * BLOCK), keys.split_at(half * key_len(self.domain_bits)), xs.split_at(half));
            let (less, equal) = (cut(out.0, half), cut(out.1, half));
            rayon::join(
                || self.run(roots.0, keys.0, xs.0, (less.0, equal.0), true),
                || self.run(roots.1, keys.1, xs.1, (less.1, equal.1), true),
            );
            return;
        }
        let mut ends = Ends::default();
        let groups = roots.chunks(ROW).zip(keys.chunks(LANES * key_len(self.domain_bits))).zip(xs.chunks(LANES));
        let (mut less, mut equal) = out;
        for ((roots, keys), xs) in groups {
            let points = points(xs);
            self.walk(roots, keys, xs.len(), &points, &mut ends);
            let (now, later) = (cut(less, xs.len()), cut(equal, xs.len()));
            for (lane, &point) in points.iter().enumerate().take(xs.len()) {
                (self.read)(point, &ends, lane, (now.0, later.0));
            }
            (less, equal) = (now.1, later.1);
        }
    }

    fn walk(&self, roots: &[u8], keys: &[u8], lanes: usize, points: &[u64; LANES], ends: &mut Ends) {
        let party = self.party == Party::P1;
        if let Ok(roots) = roots.try_into() {
            self.hash.walk(party, self.domain_bits, roots, keys, points, ends);
        } else {
            let mut padded = vec![0; LANES * key_len(self.domain_bits)];
            for (row, from) in padded.chunks_mut(ROW).zip(keys.chunks(lanes * BLOCK)) {
                row[..from.len()].copy_from_slice(from);
            }
            self.hash.walk(party, self.domain_bits, &pad(roots), &padded, points, ends);
        }
    }
}

/// Splits an output, which is empty when it is not wanted.
fn cut(out: &mut [u8], at: usize) -> (&mut [u8], &mut [u8]) {
    out.split_at_mut(at.min(out.len()))
}
