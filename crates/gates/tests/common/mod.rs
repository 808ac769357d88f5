//! Dealer, P0 and P1 in memory: seeds from a number, sections by hand, messages passed as bytes.
#![allow(dead_code)]

use ariann_device::Cpu;
use ariann_gates::{Comparison, Context, Cost, Dealing, GateError, Keys, Party, Step};
use ariann_prg::{HashKeys, Prg, Seed, TreeHash};
use ariann_ring::Ring;

/// Both parties, in order.
pub const BOTH: [Party; 2] = [Party::P0, Party::P1];

/// Both forms of a comparison.
pub const FORMS: [Comparison; 2] = [Comparison::Dpf, Comparison::Chunks];

/// The forms that a comparison on wires of `width` bits can have.
pub fn forms(width: u32) -> impl Iterator<Item = Comparison> {
    let chunks = ariann_gates::drelu::chunked(width - 1).is_some();
    FORMS.into_iter().filter(move |form| *form == Comparison::Dpf || chunks)
}

/// Bytes of the keys or vectors of one comparison on wires of `width` bits, to P0 and to P1, from the formulas.
pub fn key_bytes(form: Comparison, width: u32, comparisons: usize) -> [usize; 2] {
    match form {
        Comparison::Dpf => [comparisons * 16 * (width.saturating_sub(8) as usize + 1); 2],
        Comparison::Chunks => {
            let digits = ariann_gates::drelu::chunked(width - 1).unwrap();
            assert_eq!(comparisons % 8, 0, "whole bytes");
            let bits = digits.iter().map(|bits| 1usize << bits).sum::<usize>() + (1 << (2 * digits.len() - 1));
            [0, comparisons * bits / 8]
        }
    }
}

/// Bits that are opened before the select, exchange by exchange.
pub fn compared_bits(form: Comparison, width: u32) -> Vec<u64> {
    match form {
        Comparison::Dpf => vec![1],
        Comparison::Chunks => vec![2 * ariann_gates::drelu::chunked(width - 1).unwrap().len() as u64 - 1, 1],
    }
}

/// A fixed sequence of numbers (splitmix64), for tests only.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Any element.
    pub fn word<R: Ring>(&mut self) -> R {
        R::from_u64(self.next())
    }

    pub fn words<R: Ring>(&mut self, len: usize) -> Vec<R> {
        (0..len).map(|_| self.word()).collect()
    }

    /// A number in [least, greatest].
    pub fn within(&mut self, least: i64, greatest: i64) -> i64 {
        let span = (greatest as i128 - least as i128 + 1) as u128;
        (least as i128 + (u128::from(self.next()) % span) as i128) as i64
    }

    /// A number in [-bound, bound], a third of the time at an edge or near zero.
    pub fn edgy(&mut self, bound: i64) -> i64 {
        match self.next() % 6 {
            0 => [bound, -bound, bound - 1, 1 - bound][(self.next() % 4) as usize],
            1 => self.within(-bound.min(3), bound.min(3)),
            _ => self.within(-bound, bound),
        }
    }

    fn seed(&mut self) -> Seed {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.next().to_le_bytes());
        bytes[8..].copy_from_slice(&self.next().to_le_bytes());
        Seed::from_bytes(bytes)
    }

    fn block(&mut self) -> [u8; 16] {
        *self.seed().expose()
    }
}

/// One batch: the parties' seeds, the dealer's, the hash, and the weights seeds.
pub struct World {
    pub parties: [Prg; 2],
    pub coins: Prg,
    pub hash: TreeHash,
    pub weights: [Prg; 2],
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x5eed);
        let mut prg = || Prg::new(&random.seed());
        let (parties, coins, weights) = ([prg(), prg()], prg(), [prg(), prg()]);
        let hash = TreeHash::new(&HashKeys { inner: random.block(), leaf: random.block() });
        World { parties, coins, hash, weights }
    }

    /// A party's view of gate `gate` with `items` items in slots from 0 on.
    pub fn ctx(&self, party: Party, gate: u32, items: usize) -> Context<'_, Cpu> {
        let prg = &self.parties[party as usize];
        Context { party, device: &Cpu, prg, hash: &self.hash, gate, slots: 0..items as u32 }
    }

    /// Both parties' views.
    pub fn both(&self, gate: u32, items: usize) -> [Context<'_, Cpu>; 2] {
        BOTH.map(|party| self.ctx(party, gate, items))
    }

    pub fn dealing(&self, gate: u32, slot: u32) -> Dealing<'_, Cpu> {
        let [seed0, seed1] = &self.parties;
        Dealing { device: &Cpu, seeds: [seed0, seed1], coins: &self.coins, hash: &self.hash, gate, slot }
    }

    /// Deals slots 0.. of a gate, holding each section against `cost`. Returns what `deal` returns (masks), a slot after the other,
    /// and the sections.
    pub fn deal<T>(
        &self,
        gate: u32,
        items: usize,
        cost: &Cost,
        mut deal: impl FnMut(usize, &Dealing<'_, Cpu>, &mut [Vec<u8>; 2]) -> T,
    ) -> (Vec<T>, [Section; 2]) {
        let mut all = [Section::default(), Section::default()];
        let mut masks = Vec::new();
        for slot in 0..items {
            let mut sections = [Vec::new(), Vec::new()];
            masks.push(deal(slot, &self.dealing(gate, slot as u32), &mut sections));
            for (party, section) in sections.into_iter().enumerate() {
                assert_eq!(section.len(), cost.material[party], "material of one item to P{party}");
                all[party].len = section.len();
                all[party].bytes.extend(section);
            }
        }
        (masks, all)
    }
}

/// One party's material of a gate.
#[derive(Default)]
pub struct Section {
    pub bytes: Vec<u8>,
    pub len: usize,
}

impl Section {
    pub fn keys(&self) -> Keys<'_> {
        Keys { sections: &self.bytes, section_len: self.len }
    }
}

/// Runs a gate at both parties, each message held against `cost`: both results, and what was sent in each exchange.
pub fn play<T, S>(
    cost: &Cost,
    contexts: &[Context<'_, Cpu>; 2],
    start: impl Fn(&Context<'_, Cpu>) -> Result<Step<T, S>, GateError>,
    next: impl Fn(&Context<'_, Cpu>, S, &[u8]) -> Result<Step<T, S>, GateError>,
) -> ([T; 2], Vec<[Vec<u8>; 2]>) {
    let (mut sent, [ctx0, ctx1]) = (Vec::new(), contexts);
    let (mut step0, mut step1) = (start(ctx0).unwrap(), start(ctx1).unwrap());
    loop {
        match (step0, step1) {
            (Step::Exchange(message0, state0), Step::Exchange(message1, state1)) => {
                check_sent(cost, sent.len(), ctx0.items(), [&message0, &message1]);
                step0 = next(ctx0, state0, &message1).unwrap();
                step1 = next(ctx1, state1, &message0).unwrap();
                sent.push([message0, message1]);
            }
            (Step::Done(result0), Step::Done(result1)) => {
                assert_eq!(sent.len(), cost.exchanges.len(), "exchanges");
                return ([result0, result1], sent);
            }
            _ => panic!("the parties do not end together"),
        }
    }
}

/// Holds both messages of exchange `index` against the cost.
pub fn check_sent(cost: &Cost, index: usize, items: usize, messages: [&[u8]; 2]) {
    for (party, message) in messages.iter().enumerate() {
        assert_eq!(message.len(), cost.exchanges[index][party].bytes(items), "P{party}'s message in exchange {index}");
    }
}

/// Splits values into additive shares.
pub fn share<R: Ring>(random: &mut Random, z: &[R]) -> [Vec<R>; 2] {
    let first: Vec<R> = random.words(z.len());
    let second = z.iter().zip(&first).map(|(z, a)| z.sub(*a)).collect();
    [first, second]
}

/// a + b modulo 2^width.
pub fn join<R: Ring>(a: &[R], b: &[R], width: u32) -> Vec<R> {
    a.iter().zip(b).map(|(a, b)| a.add(*b).and(R::low_mask(width))).collect()
}

/// x + α modulo 2^width: wires of signed values.
pub fn wires<R: Ring>(x: &[i64], alpha: &[R], width: u32) -> Vec<R> {
    x.iter().zip(alpha).map(|(x, a)| R::from_i64(*x).add(*a).and(R::low_mask(width))).collect()
}

/// The signed value of an element of `width` bits.
pub fn signed<R: Ring>(x: R, width: u32) -> i64 {
    let up = R::BITS - width;
    x.shl(up).to_i64() >> up
}

/// Signed values of wires x̂ with masks α.
pub fn unwire<R: Ring>(x: &[R], alpha: &[R], width: u32) -> Vec<i64> {
    x.iter().zip(alpha).map(|(x, a)| signed(x.sub(*a).and(R::low_mask(width)), width)).collect()
}

/// Runs a test for both rings.
#[macro_export]
macro_rules! in_both_rings {
    ($($name:ident),* $(,)?) => { $(
        mod $name {
            #[test]
            fn ring32() { super::$name::<u32>(); }
            #[test]
            fn ring64() { super::$name::<u64>(); }
        }
    )* };
}
