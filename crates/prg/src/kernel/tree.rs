//! The fused tree step: one level of many half-tree DPF instances in one pass over registers.
//!
//! A *row* is one block of every lane, side by side. Keys are rows, first level first, the leaf's row last.

use super::{Kernel, Vector};
use crate::aes::Schedule;
use crate::hash::{Ends, LANES, ROW};

/// How many bytes ahead of the row in work keys are fetched (of 1, 2, 4, 8 and 64 KiB the best where memory was contended).
const AHEAD: usize = 1024;

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
        let step = V::BLOCKS * 16;
        const { assert!(ROW.is_multiple_of(N * V::BLOCKS * 16)) };
        for pass in (0..ROW).step_by(N * step) {
            // SAFETY: the caller has the instructions of V; every row is ROW bytes and N·step divides it, so from
            // pass on a row has N registers; keys have levels + 1 rows, by the assertion
            unsafe {
                let points = points.0.as_ptr().cast::<u8>().add(pass);
                let mut row = self.keys.as_ptr().add(pass);
                let mut s = roots::<V, N>(self.roots, pass, self.party);
                let mut turns = [V::splat(0, 0); N];
                for level in 0..levels {
                    let bit = 1 << (self.domain_bits as usize - 1 - level);
                    let bit = V::splat(bit, bit);
                    let sigma = sigmas(s);
                    let mut tail = sigma;
                    for j in 0..N {
                        V::prefetch(row.wrapping_add(AHEAD + j * step));
                        let right = V::load(points.add(j * step)).test(bit);
                        tail[j] = tail[j].xor_where(right, s[j]).xor_where(s[j].control(), V::load(row.add(j * step)));
                    }
                    let next = V::encrypt(self.inner, sigma, tail);
                    for j in 0..N {
                        let right = V::load(points.add(j * step)).test(bit);
                        turns[j] = turns[j].xor_unless(right, s[j].xor(next[j]));
                    }
                    s = next;
                    row = row.add(ROW);
                }
                let sigma = sigmas(s);
                let mut tail = sigma;
                for j in 0..N {
                    V::prefetch(row.wrapping_add(AHEAD + j * step));
                    tail[j] = tail[j].xor_where(s[j].control(), V::load(row.add(j * step)));
                }
                let leaves = V::encrypt(self.leaf, sigma, tail);
                for j in 0..N {
                    turns[j].store(self.ends.turns.as_mut_ptr().cast::<u8>().add(pass + j * step));
                    leaves[j].store(self.ends.leaves.as_mut_ptr().cast::<u8>().add(pass + j * step));
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
        let units = units(self.points);
        let step = V::BLOCKS * 16;
        const { assert!(ROW.is_multiple_of(N * V::BLOCKS * 16)) };
        for pass in (0..ROW).step_by(N * step) {
            // SAFETY: as in the walk
            unsafe {
                let points = points.0.as_ptr().cast::<u8>().add(pass);
                let units = units.0.as_ptr().cast::<u8>().add(pass);
                let mut row = self.keys.as_mut_ptr().add(pass);
                let mut s = roots::<V, N>(self.roots[0], pass, false);
                // on the path the two parties' blocks differ by delta at every level, so P1's is never stored
                let mut delta = roots::<V, N>(self.roots[1], pass, true);
                for j in 0..N {
                    delta[j] = delta[j].xor(s[j]);
                }
                for level in 0..levels {
                    let bit = 1 << (self.domain_bits as usize - 1 - level);
                    let bit = V::splat(bit, bit);
                    let (h0, h1) = both(self.inner, &s, &delta);
                    for j in 0..N {
                        let right = V::load(points.add(j * step)).test(bit);
                        let correction = h0[j].xor(h1[j]).xor_unless(right, delta[j]);
                        correction.store(row.add(j * step));
                        s[j] = h0[j].xor_where(right, s[j]).xor_where(s[j].control(), correction);
                    }
                    row = row.add(ROW);
                }
                let (h0, h1) = both(self.leaf, &s, &delta);
                for j in 0..N {
                    h0[j].xor(h1[j]).xor(V::load(units.add(j * step))).store(row.add(j * step));
                }
            }
        }
    }
}

/// The root blocks of a pass, with a party's control bit.
///
/// # Safety
/// The processor has the instructions of `V`, and from `pass` on a row has `N` registers.
#[inline(always)]
unsafe fn roots<V: Vector, const N: usize>(row: &[u8; ROW], pass: usize, party: bool) -> [V; N] {
    // SAFETY: the caller's promise
    unsafe {
        let (clear, control) = (V::splat(!1, !0), V::splat(u64::from(party), 0));
        let mut roots = [control; N];
        for (j, root) in roots.iter_mut().enumerate() {
            *root = V::load(row.as_ptr().add(pass + j * V::BLOCKS * 16)).and(clear).xor(control);
        }
        roots
    }
}

/// σ of every block.
///
/// # Safety
/// The processor has the instructions of `V`.
#[inline(always)]
unsafe fn sigmas<V: Vector, const N: usize>(mut s: [V; N]) -> [V; N] {
    for block in &mut s {
        // SAFETY: the caller's promise
        *block = unsafe { block.sigma() };
    }
    s
}

/// The hashes of both parties' blocks.
///
/// # Safety
/// The processor has the instructions of `V`.
#[inline(always)]
unsafe fn both<V: Vector, const N: usize>(keys: &Schedule, s: &[V; N], delta: &[V; N]) -> ([V; N], [V; N]) {
    // SAFETY: the caller's promise
    unsafe {
        let first = sigmas(*s);
        let mut second = *s;
        for j in 0..N {
            second[j] = second[j].xor(delta[j]);
        }
        let second = sigmas(second);
        (V::encrypt(keys, first, first), V::encrypt(keys, second, second))
    }
}

/// 1 << (point mod 128) of every point in two halves. Points are secret: both halves are computed and one masked away.
fn units(points: &[u64; LANES]) -> Pairs {
    Pairs(points.map(|point| {
        let high = (point >> 6) & 1;
        let bit = 1u64 << (point & 63);
        [bit & high.wrapping_sub(1), bit & high.wrapping_neg()]
    }))
}
