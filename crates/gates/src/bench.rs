//! What a gate's element costs a party and the dealer, in one thread of the CPU: for `ariann bench gates`.

use std::time::Instant;

use ariann_device::{Cpu, Keys, Window};
use ariann_fss::Party;
use ariann_prg::{EntropyError, HashKeys, Prg, Seed, TreeHash};
use ariann_ring::Ring;

use crate::max::Max;
use crate::open::Open;
use crate::relu::Relu;
use crate::{Context, Dealing, Receiver, Windows, kind};

/// Figures of one gate.
#[derive(Clone, Debug)]
pub struct Row {
    /// The gate.
    pub gate: &'static str,
    /// Bits of the ring.
    pub ring: u32,
    /// w.
    pub width: u32,
    /// Elements measured (comparisons; opened values for open).
    pub elements: usize,
    /// Nanoseconds an element to make the material.
    pub deal_ns: f64,
    /// Nanoseconds an element of P0's online work.
    pub p0_ns: f64,
    /// Nanoseconds an element of P1's online work.
    pub p1_ns: f64,
    /// Bytes of material an element, P1.
    pub material_bytes: f64,
}

/// Measures open, ReLU and max on `elements` values each. `progress` hears how many rows are done, and of how many.
pub fn measure(elements: usize, progress: &mut (dyn FnMut(usize, usize) + Send)) -> Result<Vec<Row>, EntropyError> {
    let mut rows = Vec::new();
    for width in [16, 20] {
        progress(rows.len(), 9);
        rows.extend(Bench::draw(elements)?.all::<u32>(width));
    }
    progress(rows.len(), 9);
    rows.extend(Bench::draw(elements)?.all::<u64>(32));
    Ok(rows)
}

struct Bench {
    elements: usize,
    seeds: [Prg; 2],
    coins: Prg,
    hash: TreeHash,
}

impl Bench {
    fn draw(elements: usize) -> Result<Self, EntropyError> {
        let seed = || Seed::from_entropy().map(|seed| Prg::new(&seed));
        Ok(Bench {
            elements,
            seeds: [seed()?, seed()?],
            coins: seed()?,
            hash: TreeHash::new(&HashKeys::from_entropy()?),
        })
    }

    fn dealing(&self, gate: u32) -> Dealing<'_, Cpu> {
        Dealing {
            device: &Cpu,
            seeds: [&self.seeds[0], &self.seeds[1]],
            coins: &self.coins,
            hash: &self.hash,
            gate,
            slot: 0,
        }
    }

    fn party(&self, party: Party, gate: u32) -> Context<'_, Cpu> {
        Context { party, device: &Cpu, prg: &self.seeds[party as usize], hash: &self.hash, gate, slots: 0..1 }
    }

    fn all<R: Ring>(&self, width: u32) -> [Row; 3] {
        let len = self.elements;
        let window = Window { shift: 8, top: 8 + width };
        let row = |gate, elements: usize, deal: f64, parties: [f64; 2], bytes: usize| {
            let each = |seconds: f64| seconds * 1e9 / elements as f64;
            let (p0_ns, p1_ns) = (each(parties[0]), each(parties[1]));
            Row {
                gate,
                ring: R::BITS,
                width,
                elements,
                deal_ns: each(deal),
                p0_ns,
                p1_ns,
                material_bytes: bytes as f64 / elements as f64,
            }
        };
        // Any shares do: what they hold costs nothing.
        let share: Vec<R> = self.dealing(9).expand(Party::P0, kind::MASK, len, R::BITS);

        let open = Open { len, window, to: Receiver::Both };
        let (alpha, deal_open) = timed(|| open.deal::<R, Cpu>(&self.dealing(0)));
        let started = [Party::P0, Party::P1].map(|party| timed(|| open.start(&self.party(party, 0), &share)));
        let [((opening0, message0), start0), ((opening1, message1), start1)] = started;
        let (x, finish0) = timed(|| opening0.finish(&self.party(Party::P0, 0), &message1));
        let (_, finish1) = timed(|| opening1.finish(&self.party(Party::P1, 0), &message0));
        let x: Vec<R> = x.ok().flatten().expect("both receive");

        let relu = Relu { len, width, to: Receiver::Both };
        let mut sections = [Vec::new(), Vec::new()];
        let (_, deal_relu) = timed(|| relu.deal(&self.dealing(1), &alpha, &mut sections));
        let relus = self.both(1, &sections, |ctx, keys, theirs| match theirs {
            [] => relu.start(ctx, &keys, &x).expect("well formed").1,
            [bit, rest @ ..] => {
                let (own, _) = relu.start(ctx, &keys, &x).expect("well formed");
                let (opening, message) = relu.select_open(ctx, &x, own, bit).expect("well formed");
                rest.first().map_or(message, |theirs| seen(opening.finish(ctx, theirs)))
            }
        });

        let max = Max { windows: Windows::Row(len), level: 0, width };
        let mut pooled = [Vec::new(), Vec::new()];
        let (_, deal_max) = timed(|| max.deal(&self.dealing(2), &alpha, &mut pooled));
        let maxima = self.both(2, &pooled, |ctx, keys, theirs| match theirs {
            [] => max.start(ctx, &keys, x.clone()).expect("well formed").1,
            [bit, rest @ ..] => {
                let (own, _) = max.start(ctx, &keys, x.clone()).expect("well formed");
                let (selected, message) = max.select_open(ctx, own, bit).expect("well formed");
                rest.first().map_or(message, |theirs| seen(max.finish(ctx, selected, theirs).map(Some)))
            }
        });
        [
            row("open", len, deal_open, [start0 + finish0, start1 + finish1], 0),
            row("relu", len, deal_relu, relus, sections[1].len()),
            row("max", len / 2, deal_max, maxima, pooled[1].len()),
        ]
    }

    /// Seconds of P0 and P1 for a gate of two exchanges. `run` computes from the start up to the message after those received.
    fn both(
        &self,
        gate: u32,
        sections: &[Vec<u8>; 2],
        run: impl Fn(&Context<'_, Cpu>, Keys<'_>, &[Vec<u8>]) -> Vec<u8>,
    ) -> [f64; 2] {
        let parties = [Party::P0, Party::P1];
        let go = |party: Party, theirs: &[Vec<u8>]| {
            let section = &sections[party as usize];
            run(&self.party(party, gate), Keys { sections: section, section_len: section.len() }, theirs)
        };
        let bits = parties.map(|party| go(party, &[]));
        let values = parties.map(|party| go(party, &bits[1 - party as usize..][..1]));
        parties.map(|party| {
            let other = 1 - party as usize;
            timed(|| go(party, &[bits[other].clone(), values[other].clone()])).1
        })
    }
}

/// Keeps a result from being optimised away.
fn seen<R: Ring>(result: Result<Option<Vec<R>>, crate::GateError>) -> Vec<u8> {
    let words = result.expect("well formed").unwrap_or_default();
    words.first().map_or(Vec::new(), |word| word.to_u64().to_le_bytes().to_vec())
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let began = Instant::now();
    let out = std::hint::black_box(work());
    (out, began.elapsed().as_secs_f64())
}
