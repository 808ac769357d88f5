//! Both parties in one process over channels, with material in files: for tests of the engine.
#![allow(dead_code)]

pub mod builder;
pub mod networks;
pub mod recording;
pub mod replaying;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

use ariann_data::Items;
use ariann_device::{Cpu, Device};
use ariann_gates::Party;
use ariann_gates::linear::Weights;
use ariann_graph::{Graph, Ranges};
use ariann_material::{Batch, BatchId, BatchWriter, Header, Label, Secret, WeightsVersion};
use ariann_plan::{Link, Optimize, Options, Plan, Reveal, SignChoice, encode_weights};
use ariann_prg::{HashKeys, Prg, Seed, TreeHash};
use ariann_ring::Ring;
use ariann_session::engine::{AllWeights, Dealt, Engine, Exchange, Given, Opened, Schedule};
use ariann_session::hooks::Observer;
use ariann_session::making::{BatchSeeds, Maker};
use ariann_session::masks::OwnMasks;
use ariann_session::report::GateTime;
use ariann_session::{SessionError, expected, prepared_expected, reading};
use zeroize::Zeroizing;

/// Options with everything but the ring, the weights and the receiver left plain.
pub fn options(ring: u32, weights: Weights, reveal: Reveal, input_range: [f64; 2]) -> Options {
    Options {
        ring,
        weights,
        reveal,
        input_range,
        pixels: Default::default(),
        scale: 255.0,
        mean: Vec::new(),
        std: Vec::new(),
        optimize: Optimize::Latency,
        sign: SignChoice::Exact,
        link: Link::LOOPBACK,
        items: 1,
    }
}

/// A channel to the other thread.
struct Threads {
    send: Sender<Vec<u8>>,
    receive: Receiver<Vec<u8>>,
}

impl Exchange for Threads {
    fn exchange(&mut self, _: u32, message: Vec<u8>, expected: usize, _: &str) -> Result<Vec<u8>, SessionError> {
        if !message.is_empty() {
            self.send.send(message).expect("the other thread is there");
        }
        if expected == 0 {
            return Ok(Vec::new());
        }
        let message = self.receive.recv().expect("the other thread is there");
        assert_eq!(message.len(), expected);
        Ok(message)
    }
}

/// All seeds of a run.
pub struct Seeds {
    pub batch: BatchSeeds,
    pub weights: [Seed; 2],
}

impl Seeds {
    /// Fresh ones.
    pub fn draw() -> Self {
        Seeds {
            batch: BatchSeeds::draw().unwrap(),
            weights: [Seed::from_entropy().unwrap(), Seed::from_entropy().unwrap()],
        }
    }

    /// Known ones, for tests that must know them.
    pub fn numbered(number: u64) -> Self {
        let bytes = |index: u64| -> [u8; 16] {
            let hash = blake3::hash(&[number.to_le_bytes(), index.to_le_bytes()].concat());
            hash.as_bytes()[..16].try_into().unwrap()
        };
        let seed = |index| Seed::from_bytes(bytes(index));
        let hash = HashKeys { inner: bytes(3), leaf: bytes(4) };
        Seeds { batch: BatchSeeds { parties: [seed(0), seed(1)], coins: seed(2), hash }, weights: [seed(5), seed(6)] }
    }
}

/// Runs `items` privately and returns what P0 and P1 learn.
pub fn run<R: Ring>(
    plan: &Plan,
    graph: &Graph,
    items: &Items,
    seeds: &Seeds,
    observers: [&mut dyn Observer; 2],
) -> [Option<Vec<R>>; 2] {
    run_on::<R, Cpu>(&Cpu, plan, graph, items, seeds, observers)
}

/// The same on `device`. The parties run in threads named "p0" and "p1".
pub fn run_on<R: Ring, D: Device>(
    device: &D,
    plan: &Plan,
    graph: &Graph,
    items: &Items,
    seeds: &Seeds,
    observers: [&mut dyn Observer; 2],
) -> [Option<Vec<R>>; 2] {
    plan.check().expect("a compiled plan is well formed");
    let folder = tempfile::tempdir().unwrap();
    let Seeds { batch: seeds, weights: weight_seeds } = seeds;
    let weight_prgs = [Prg::new(&weight_seeds[0]), Prg::new(&weight_seeds[1])];
    let schedule = Arc::new(Schedule::new(plan));
    let maker = Maker::<R, D>::new(plan, schedule, device, seeds, [&weight_seeds[0], &weight_seeds[1]]);
    let slots = items.count as u32;
    let dealt = deal(plan, &maker, slots, folder.path());

    let own = encode_weights::<R>(plan, graph).unwrap();
    let setup = |party: Party| -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        for ((gate, linear), own) in plan.linear_gates().zip(&own) {
            let weights = (party == Party::P0).then(|| device.upload(&own.weights));
            messages.push(linear.mask_weights(device, party, gate, &weight_prgs[party as usize], weights.as_ref()));
        }
        messages
    };
    let messages = [setup(Party::P0), setup(Party::P1)];
    let weights = |party: Party| -> AllWeights<R, D> {
        let mut all = AllWeights::new();
        for (((gate, linear), own), theirs) in plan.linear_gates().zip(&own).zip(&messages[1 - party as usize]) {
            let mine = party == Party::P0;
            let (weights, bias) = (mine.then_some(own.weights.as_slice()), mine.then_some(own.bias.as_slice()));
            let seed = &weight_prgs[party as usize];
            all.insert(gate, linear.weights(device, party, gate, seed, weights, bias, theirs).unwrap());
        }
        all
    };
    let weights = [weights(Party::P0), weights(Party::P1)];
    let input = reading::encode::<R>(plan, items).unwrap();
    // An outside client's items are shared, and so are its results.
    let outside = plan.for_clients();
    let words: Vec<R> = (0..input.len() as u64).map(|at| R::from_u64(at.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    let rest: Vec<R> = input.iter().zip(&words).map(|(x, word)| x.sub(*word)).collect();
    let given = if outside { [Some(words.as_slice()), Some(rest.as_slice())] } else { [None, Some(input.as_slice())] };

    let [dealt0, dealt1] = dealt;
    let (to1, from0) = channel();
    let (to0, from1) = channel();
    let [observer0, observer1] = observers;
    let party = |party: Party, dealt: Batch, send, receive, observer: &mut dyn Observer, input: Option<&[R]>| {
        let mut opened = Opened {
            id: BatchId([7; 16]),
            dealt: Dealt::Stored(dealt),
            prepared: None,
            prg: Prg::new(&seeds.parties[party as usize]),
            hash: TreeHash::new(&seeds.hash),
        };
        opened.prepared = prepare(device, plan, party, &opened, &weights[party as usize], folder.path());
        let schedule = Schedule::new(plan);
        let engine = Engine { plan, schedule: &schedule, device, party, weights: &weights[party as usize] };
        let mut times = Vec::new();
        engine
            .run(&opened, 0..slots, Given::items(input), &mut Threads { send, receive }, observer, &mut times)
            .unwrap()
    };
    let results = std::thread::scope(|scope| {
        let named = |name: &str| std::thread::Builder::new().name(name.to_string());
        let p0 = named("p0").spawn_scoped(scope, || party(Party::P0, dealt0, to1, from1, observer0, given[0])).unwrap();
        let p1 = named("p1").spawn_scoped(scope, || party(Party::P1, dealt1, to0, from0, observer1, given[1])).unwrap();
        [p0.join().unwrap(), p1.join().unwrap()]
    });
    if !outside {
        return results;
    }
    let Some(ariann_plan::Gate::Reveal(reveal)) = plan.gates.last().map(|entry| &entry.gate) else { unreachable!() };
    let [own, rest] = results.map(Option::unwrap);
    let sums = own.iter().zip(&rest).map(|(a, b)| a.add(*b).and(R::low_mask(reveal.width)));
    let sums: Vec<R> = sums.collect();
    [Some(sums.clone()), Some(sums)]
}

/// The material of all slots, in files.
fn deal<R: Ring, D: Device>(plan: &Plan, maker: &Maker<'_, R, D>, slots: u32, folder: &std::path::Path) -> [Batch; 2] {
    [Party::P0, Party::P1].map(|party| {
        let form = expected(plan, party).unwrap();
        let label = Label {
            kind: form.kind,
            suite: form.suite.clone(),
            plan_digest: form.plan_digest,
            batch: BatchId([7; 16]),
            party: form.party,
            ring_bits: form.ring_bits,
            weights: WeightsVersion([1; 16]),
            slots,
            sections: 0,
            layout_digest: [0; 32],
        };
        let header = Header::new(label, &form.layout, Secret::new(Zeroizing::new(vec![0; 64])).unwrap()).unwrap();
        let mut writer =
            BatchWriter::create(&folder.join(format!("{}.mat", party as u8)), &header, &form.layout).unwrap();
        for slot in 0..slots {
            maker.slot(slot, |gate, sections| writer.write_section(slot, gate, &sections[party as usize])).unwrap();
        }
        Batch::open(&writer.finish().unwrap(), &form).unwrap()
    })
}

/// What a step of training left.
pub struct Stepped<R> {
    /// The parties' shares of the states.
    pub states: [Vec<Vec<R>>; 2],
    /// What they learned.
    pub results: [Option<Vec<R>>; 2],
    /// Seconds of the dealer.
    pub dealing: f64,
    /// Seconds of each party.
    pub seconds: [f64; 2],
    /// What each gate took at P0.
    pub times: Vec<GateTime>,
}

/// Runs one step of training privately: `inputs` are each party's own.
pub fn step<R: Ring>(
    plan: &Plan,
    states: [Vec<Vec<R>>; 2],
    inputs: [[Option<&[R]>; 2]; 2],
    dropout: [u64; 2],
    seeds: &Seeds,
    observers: [&mut dyn Observer; 2],
) -> Stepped<R> {
    step_on(&Cpu, plan, states, inputs, dropout, seeds, observers)
}

/// The same on `device`.
pub fn step_on<R: Ring, D: Device>(
    device: &D,
    plan: &Plan,
    states: [Vec<Vec<R>>; 2],
    inputs: [[Option<&[R]>; 2]; 2],
    dropout: [u64; 2],
    seeds: &Seeds,
    observers: [&mut dyn Observer; 2],
) -> Stepped<R> {
    plan.check().expect("a compiled plan is well formed");
    let folder = tempfile::tempdir().unwrap();
    let schedule = Arc::new(Schedule::new(plan));
    let weights = [&seeds.weights[0], &seeds.weights[1]];
    let maker = Maker::<R, D>::new(plan, schedule.clone(), device, &seeds.batch, weights).of_step(dropout);
    let began = Instant::now();
    maker.slot(0, |_, _| Ok::<_, std::convert::Infallible>(())).unwrap_or_else(|never| match never {});
    let dealing = began.elapsed().as_secs_f64();
    let [dealt0, dealt1] = deal(plan, &maker, 1, folder.path());
    let (to1, from0) = channel();
    let (to0, from1) = channel();
    let none = AllWeights::new();
    let party = |party: Party, dealt: Batch, mut states: Vec<Vec<R>>, send, receive, observer: &mut dyn Observer| {
        let opened = Opened {
            id: BatchId([7; 16]),
            dealt: Dealt::Stored(dealt),
            prepared: None,
            prg: Prg::new(&seeds.batch.parties[party as usize]),
            hash: TreeHash::new(&seeds.batch.hash),
        };
        let engine = Engine { plan, schedule: &schedule, device, party, weights: &none };
        let given = Given { inputs: inputs[party as usize], states: Some(&mut states), dropout };
        let (began, mut times) = (Instant::now(), Vec::new());
        let result = engine.run(&opened, 0..1, given, &mut Threads { send, receive }, observer, &mut times).unwrap();
        (states, result, began.elapsed().as_secs_f64(), times)
    };
    let [states0, states1] = states;
    let [observer0, observer1] = observers;
    std::thread::scope(|scope| {
        let named = |name: &str| std::thread::Builder::new().name(name.to_string());
        let p0 = named("p0").spawn_scoped(scope, || party(Party::P0, dealt0, states0, to1, from1, observer0)).unwrap();
        let p1 = named("p1").spawn_scoped(scope, || party(Party::P1, dealt1, states1, to0, from0, observer1)).unwrap();
        let ((states0, result0, seconds0, times), (states1, result1, seconds1, _)) =
            (p0.join().unwrap(), p1.join().unwrap());
        let (states, results, seconds) = ([states0, states1], [result0, result1], [seconds0, seconds1]);
        Stepped { states, results, dealing, seconds, times }
    })
}

fn prepare<R: Ring, D: Device>(
    device: &D,
    plan: &Plan,
    party: Party,
    opened: &Opened,
    weights: &AllWeights<R, D>,
    folder: &std::path::Path,
) -> Option<Batch> {
    use ariann_gates::{Context, Keys};
    let form = prepared_expected(plan, party).unwrap();
    if form.layout.slot_bytes() == 0 {
        return None;
    }
    let label = Label { kind: form.kind, ..opened.dealt.stored().header().label().clone() };
    let header = Header::new(label, &form.layout, Secret::new(Zeroizing::new(Vec::new())).unwrap()).unwrap();
    let mut writer =
        BatchWriter::create(&folder.join(format!("{}.prepared", party as u8)), &header, &form.layout).unwrap();
    for slot in 0..opened.dealt.stored().slots() {
        for (gate, linear) in plan.linear_gates().filter(|(_, linear)| linear.prepares(party)) {
            let mut section = vec![0; opened.dealt.stored().layout().sections()[gate as usize] as usize];
            opened.dealt.stored().read(slot, gate, &mut section).unwrap();
            let ctx = Context { party, device, prg: &opened.prg, hash: &opened.hash, gate, slots: slot..slot + 1 };
            let keys = Keys { sections: &section, section_len: section.len() };
            let masks = OwnMasks { plan, device, party, prg: &opened.prg, slots: slot..slot + 1, step: None };
            let own = masks.of(plan.gates[gate as usize].inputs[0]);
            let share = linear.prepare(&ctx, &weights[&gate], &keys, own).unwrap();
            writer.write_section(slot, gate, &device.pack(&share, R::BITS)).unwrap();
        }
    }
    Some(Batch::open(&writer.finish().unwrap(), &form).unwrap())
}

/// Plans `graph` for the items' own ranges.
pub fn plan_for(graph: &Graph, items: &Items, ring: u32, weights: Weights, reveal: Reveal) -> (Plan, Ranges) {
    plan_with(graph, items, &options(ring, weights, reveal, [-8.0, 8.0]))
}

/// The same with all options.
pub fn plan_with(graph: &Graph, items: &Items, options: &Options) -> (Plan, Ranges) {
    let ranges = ariann_graph::calibrate(graph, items.count, &items.values).unwrap();
    let plan = ariann_plan::compile(graph, &ranges, options).unwrap();
    plan.check().unwrap();
    assert!(plan.computes(graph), "a plan knows the model that it was made from");
    (plan, ranges)
}
