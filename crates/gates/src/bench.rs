//! What a gate's element costs a party and the dealer, in one thread of the CPU: for `ariann bench gates`.

use std::time::Instant;

use ariann_device::{Cpu, Keys, Window};
use ariann_fss::Party;
use ariann_prg::{EntropyError, HashKeys, Prg, Seed, TreeHash};
use ariann_ring::Ring;

use crate::max::Max;
use crate::open::Open;
use crate::relu::Relu;
use crate::{Comparison, Context, Dealing, GateError, Receiver, Sign, Step, Windows, kind};

/// Figures of one gate.
#[derive(Clone, Debug)]
pub struct Row {
    /// The gate, and how it compares.
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

/// Each online figure is the best of so many passes: what the code can do, not what else the machine did.
const PASSES: usize = 5;

/// Rows of one ring and width.
const ROWS: usize = 5;

/// Measures open, ReLU and max on `elements` values each. `progress` hears how many rows are done, and of how many.
pub fn measure(elements: usize, progress: &mut (dyn FnMut(usize, usize) + Send)) -> Result<Vec<Row>, EntropyError> {
    let mut rows = Vec::new();
    for width in [16, 20] {
        progress(rows.len(), 3 * ROWS);
        rows.extend(Bench::draw(elements)?.all::<u32>(width));
    }
    progress(rows.len(), 3 * ROWS);
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

    fn all<R: Ring>(&self, width: u32) -> Vec<Row> {
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
        let parties = [Party::P0, Party::P1].map(|party| self.party(party, 0));
        let ([x, _], online) = best(|| {
            let started = parties.each_ref().map(|ctx| timed(|| open.start(ctx, &share)));
            let [((opening0, message0), start0), ((opening1, message1), start1)] = started;
            let (x0, finish0) = timed(|| opening0.finish(&parties[0], &message1));
            let (x1, finish1) = timed(|| opening1.finish(&parties[1], &message0));
            ([x0, x1], [start0 + finish0, start1 + finish1])
        });
        let x: Vec<R> = x.ok().flatten().expect("both receive");
        let mut rows = vec![row("open", len, deal_open, online, 0)];

        for (form, [relu_name, max_name]) in
            [(Comparison::Dpf, ["relu", "max"]), (Comparison::Chunks, ["relu by chunks", "max by chunks"])]
        {
            let relu = Relu { len, width, to: Receiver::Both, form, sign: Sign::Exact };
            let mut sections = [Vec::new(), Vec::new()];
            let (_, deal) = timed(|| relu.deal(&self.dealing(1), &alpha, &mut sections));
            let [keys0, keys1] = sections.each_ref().map(|bytes| keys(bytes));
            let [ctx0, ctx1] = [Party::P0, Party::P1].map(|party| self.party(party, 1));
            let online = both(
                &|| relu.start(&ctx0, &keys0, &x),
                &|| relu.start(&ctx1, &keys1, &x),
                |state, theirs| state.next(&ctx0, theirs),
                |state, theirs| state.next(&ctx1, theirs),
            );
            rows.push(row(relu_name, len, deal, online, sections[1].len()));

            let max = Max { windows: Windows::Row(len), level: 0, width, form };
            let level = max.level();
            let mut sections = [Vec::new(), Vec::new()];
            let (_, deal) = timed(|| max.deal(&self.dealing(2), &level, &alpha, &mut sections));
            let [keys0, keys1] = sections.each_ref().map(|bytes| keys(bytes));
            let [ctx0, ctx1] = [Party::P0, Party::P1].map(|party| self.party(party, 2));
            let online = both(
                &|| max.start(&ctx0, &keys0, &level, &x),
                &|| max.start(&ctx1, &keys1, &level, &x),
                |state, theirs| state.next(&ctx0, theirs),
                |state, theirs| state.next(&ctx1, theirs),
            );
            rows.push(row(max_name, len / 2, deal, online, sections[1].len()));
        }
        rows
    }
}

fn keys(bytes: &[u8]) -> Keys<'_> {
    Keys { sections: bytes, section_len: bytes.len() }
}

/// Least seconds of P0 and P1, from the start to the result.
fn both<T, S0, S1>(
    start0: &impl Fn() -> Result<Step<T, S0>, GateError>,
    start1: &impl Fn() -> Result<Step<T, S1>, GateError>,
    next0: impl Fn(S0, &[u8]) -> Result<Step<T, S0>, GateError>,
    next1: impl Fn(S1, &[u8]) -> Result<Step<T, S1>, GateError>,
) -> [f64; 2] {
    let run = || {
        let (mut step0, mut seconds0) = timed(start0);
        let (mut step1, mut seconds1) = timed(start1);
        loop {
            match (step0.expect("well formed"), step1.expect("well formed")) {
                (Step::Exchange(message0, state0), Step::Exchange(message1, state1)) => {
                    let (next, seconds) = timed(|| next0(state0, &message1));
                    (step0, seconds0) = (next, seconds0 + seconds);
                    let (next, seconds) = timed(|| next1(state1, &message0));
                    (step1, seconds1) = (next, seconds1 + seconds);
                }
                _ => return ((), [seconds0, seconds1]),
            }
        }
    };
    best(run).1
}

/// The result of the last pass, and the least seconds of each party.
fn best<T>(mut pass: impl FnMut() -> (T, [f64; 2])) -> (T, [f64; 2]) {
    let (mut result, mut least) = pass();
    for _ in 1..PASSES {
        let (again, seconds) = pass();
        result = again;
        (0..2).for_each(|party| least[party] = least[party].min(seconds[party]));
    }
    (result, least)
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let began = Instant::now();
    let out = std::hint::black_box(work());
    (out, began.elapsed().as_secs_f64())
}
