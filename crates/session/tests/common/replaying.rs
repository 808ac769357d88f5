//! The rounding that a run's masks gave.

use std::collections::BTreeMap;

use ariann_device::{Cpu, Device, Stream, Window};
use ariann_gates::kind;
use ariann_plan::clear::Rounding;
use ariann_prg::{Prg, Seed};
use ariann_ring::Ring;

use super::Seeds;

/// Rounds as the window openings of one run do. The reference's own z is used: P0's share is z less P1's.
pub struct Replay<'a, R: Ring> {
    /// P1's shares of what each gate opens.
    shares: &'a BTreeMap<u32, Vec<u64>>,
    seeds: &'a Seeds,
    /// Items of the run.
    items: usize,
    pub rounded: usize,
    ring: std::marker::PhantomData<R>,
}

impl<'a, R: Ring> Replay<'a, R> {
    pub fn new(shares: &'a BTreeMap<u32, Vec<u64>>, seeds: &'a Seeds, items: usize) -> Self {
        Replay { shares, seeds, items, rounded: 0, ring: std::marker::PhantomData }
    }

    fn words(&self, seed: &Seed, gate: u32, len: usize, slot: u32) -> Vec<R> {
        Cpu.expand(&Prg::new(seed), &Stream { kind: kind::MASK, gate, slots: slot..slot + 1, len }, R::BITS)
    }
}

impl<R: Ring> Rounding for Replay<'_, R> {
    fn round(&mut self, gate: u32, first_item: usize, z: &[i64], window: Window, out: &mut [i64]) {
        let shares = &self.shares[&gate];
        let (low, up) = (R::low_mask(window.width()), R::BITS - window.width());
        let len = shares.len() / self.items;
        let [seed0, seed1] = &self.seeds.batch.parties;
        for item in 0..z.len() / len {
            let slot = (first_item + item) as u32;
            let (r0, r1) = (self.words(seed0, gate, len, slot), self.words(seed1, gate, len, slot));
            let stream = Stream { kind: kind::COIN, gate, slots: slot..slot + 1, len };
            let coins = Cpu.expand_bits(&Prg::new(&self.seeds.batch.coins), &stream);
            for i in 0..len {
                let z = R::from_i64(z[item * len + i]);
                let z1 = R::from_u64(shares[(first_item + item) * len + i]);
                let (a, b) = (z.sub(z1).add(r0[i]).add(window.half()), z1.add(r1[i]));
                let coin = if window.shift > 0 { R::from_u64(u64::from(coins[i])) } else { R::ZERO };
                let alpha = r0[i].add(r1[i]).add(coin).shr(window.shift);
                let wire = a.shr(window.shift).add(b.shr(window.shift)).sub(alpha).and(low);
                out[item * len + i] = R::from_i64(wire.shl(up).to_i64() >> up).to_i64();
                self.rounded += 1;
            }
        }
    }
}
