//! The fused tree step: one level of many half-tree DPF instances in one pass over registers.
//!
//! A *row* is one block of every lane, side by side. Keys are rows, first level first, the leaf's row last.

use super::{Kernel, Vector};
use crate::aes::Schedule;
use crate::hash::{Ends, LANES, ROW};

/// How far ahead of the row in work keys are fetched: enough to cover the latency of memory.
const AHEAD: usize = 4096;

/// A party's walk along public points; lengths were checked by the caller.
pub(crate) struct Walk<'a> {
    pub(crate) inner: &'a Schedule,
    pub(crate) leaf: &'a Schedule,
    pub(crate) party: bool,
    pub(crate) domain_bits: u32,
    pub(crate) roots: &'a [u8; ROW],
    pub(crate) keys: &'a [u8],
    pub(crate) points: &'a [u64; LANES],
    pub(crate) ends: &'a mut Ends,
}

/// The dealer's walk along secret points, which makes the keys; lengths were checked by the caller.
pub(crate) struct Grow<'a> {
    pub(crate) inner: &'a Schedule,
    pub(crate) leaf: &'a Schedule,
    pub(crate) domain_bits: u32,
    pub(crate) roots: [&'a [u8; ROW]; 2],
    pub(crate) points: &'a [u64; LANES],
    pub(crate) keys: &'a mut [u8],
}

/// Each point twice, once for each half of its lane's block, to be tested against a level's bit.
#[repr(align(64))]
struct Pairs([[u64; 2]; LANES]);

fn pairs(points: &[u64; LANES]) -> Pairs {
    Pairs(points.map(|point| [point, point]))
}

impl Kernel for Walk<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector, const N: usize>(self) {
        let levels = self.domain_bits.saturating_sub(7) as usize;
        assert_eq!(self.keys.len(), (levels + 1) * ROW);
        let points = pairs(self.points);
        let width = N * V::BLOCKS * 16;
        for pass in (0..ROW).step_by(width) {
            let at = |j: usize| pass + j * V::BLOCKS * 16;
            // SAFETY: the caller has the instructions of V; every row is ROW bytes, and at(j) + 16·BLOCKS <= ROW because
            // N·BLOCKS divides LANES; keys have levels + 1 rows, by the assertion
            unsafe {
                let point = |j: usize| V::load(points.0.as_ptr().cast::<u8>().add(at(j)));
                let clear = V::splat(!1, !0);
                let party = V::splat(u64::from(self.party), 0);
                let mut s: [V; N] = std::array::from_fn(|j| {
                    V::load(self.roots.as_ptr().add(at(j)))
                        .and(clear)
                        .xor(party)
                });
                let mut turns = [V::splat(0, 0); N];
                let mut row = self.keys.as_ptr();
                for level in 0..levels {
                    let bit = 1 << (self.domain_bits as usize - 1 - level);
                    let bit = V::splat(bit, bit);
                    let sigma: [V; N] = std::array::from_fn(|j| s[j].sigma());
                    let tail = std::array::from_fn(|j| {
                        V::prefetch(row.wrapping_add(AHEAD + at(j)));
                        let right = sigma[j].xor_where(point(j).test(bit), s[j]);
                        right.xor_where(s[j].control(), V::load(row.add(at(j))))
                    });
                    let next = V::encrypt(self.inner, sigma, tail);
                    for j in 0..N {
                        turns[j] = turns[j].xor_unless(point(j).test(bit), s[j].xor(next[j]));
                    }
                    s = next;
                    row = row.add(ROW);
                }
                let sigma: [V; N] = std::array::from_fn(|j| s[j].sigma());
                let tail = std::array::from_fn(|j| {
                    V::prefetch(row.wrapping_add(AHEAD + at(j)));
                    sigma[j].xor_where(s[j].control(), V::load(row.add(at(j))))
                });
                let leaves = V::encrypt(self.leaf, sigma, tail);
                for j in 0..N {
                    turns[j].store(self.ends.turns.as_mut_ptr().cast::<u8>().add(at(j)));
                    leaves[j].store(self.ends.leaves.as_mut_ptr().cast::<u8>().add(at(j)));
                }
            }
        }
    }
}

impl Kernel for Grow<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector, const N: usize>(self) {
        let levels = self.domain_bits.saturating_sub(7) as usize;
        assert_eq!(self.keys.len(), (levels + 1) * ROW);
        let points = pairs(self.points);
        let units = Pairs(self.points.map(unit));
        let width = N * V::BLOCKS * 16;
        for pass in (0..ROW).step_by(width) {
            let at = |j: usize| pass + j * V::BLOCKS * 16;
            // SAFETY: as in the walk
            unsafe {
                let clear = V::splat(!1, !0);
                let one = V::splat(1, 0);
                let mut s: [V; N] =
                    std::array::from_fn(|j| V::load(self.roots[0].as_ptr().add(at(j))).and(clear));
                // on the path the two parties' blocks differ by delta at every level, so P1's is never stored
                let delta: [V; N] = std::array::from_fn(|j| {
                    V::load(self.roots[1].as_ptr().add(at(j)))
                        .and(clear)
                        .xor(one)
                        .xor(s[j])
                });
                let mut row = self.keys.as_mut_ptr();
                for level in 0..levels {
                    let bit = 1 << (self.domain_bits as usize - 1 - level);
                    let bit = V::splat(bit, bit);
                    let (h0, h1) = both(self.inner, &s, &delta);
                    for j in 0..N {
                        let right = V::load(points.0.as_ptr().cast::<u8>().add(at(j))).test(bit);
                        let correction = h0[j].xor(h1[j]).xor_unless(right, delta[j]);
                        correction.store(row.add(at(j)));
                        s[j] = h0[j]
                            .xor_where(right, s[j])
                            .xor_where(s[j].control(), correction);
                    }
                    row = row.add(ROW);
                }
                let (h0, h1) = both(self.leaf, &s, &delta);
                for j in 0..N {
                    let unit = V::load(units.0.as_ptr().cast::<u8>().add(at(j)));
                    h0[j].xor(h1[j]).xor(unit).store(row.add(at(j)));
                }
            }
        }
    }
}

/// The hashes of both parties' blocks.
///
/// # Safety
/// The processor has the instructions of `V`.
#[inline(always)]
unsafe fn both<V: Vector, const N: usize>(
    keys: &Schedule,
    s: &[V; N],
    delta: &[V; N],
) -> ([V; N], [V; N]) {
    // SAFETY: the caller has the instructions of V
    unsafe {
        let first: [V; N] = std::array::from_fn(|j| s[j].sigma());
        let second: [V; N] = std::array::from_fn(|j| s[j].xor(delta[j]).sigma());
        (
            V::encrypt(keys, first, first),
            V::encrypt(keys, second, second),
        )
    }
}

/// 1 << (point mod 128) in two halves, the point being secret: both halves are computed and one is masked away.
fn unit(point: u64) -> [u64; 2] {
    let high = (point >> 6) & 1;
    let bit = 1u64 << (point & 63);
    [bit & high.wrapping_sub(1), bit & high.wrapping_neg()]
}
