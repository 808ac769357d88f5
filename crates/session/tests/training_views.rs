//! What a party sees while it trains: no more than the plan lists, uniform words, and the same whatever data and weights are.
//!
//! The statistics take their thresholds from the number of their tests, such that all of them together raise a false alarm
//! with a probability below [`ALARM`]; seeds are fixed, so one run is like another. That they see a mask which serves twice
//! is shown on runs that have this defect: with one step's seeds taken for two, and on a device that gives two gates one mask.

mod common;
mod statistics;
mod trained;

use std::collections::BTreeMap;
use std::sync::Mutex;

use ariann_gates::{Comparison, Party, Receiver, kind};
use ariann_graph::training::{Loss, Recipe, Rehearsal, StepGraph, StepRanges, Trainer, training_step};
use ariann_plan::training::{MARGIN, TrainingOptions, compile, encode_states, exponents, measure, measured};
use ariann_plan::{Gate, InputSpec, Link, Opens, Optimize, Plan, Revealed, SignChoice};
use ariann_prg::{Address, Prg, Seed};
use ariann_ring::{Ring, fixed, pack};
use ariann_session::hooks::{Hooks, Observer};
use ariann_session::training::Turn;
use common::recording::{Recording, Seen};
use common::{Seeds, networks};
use statistics::{Tests, words_of};
use trained::{Wanted, make, roles, run};

/// Probability of a false alarm, all tests of a run together.
const ALARM: f64 = 1e-9;
/// Steps with each data set.
const STEPS: u64 = 40;
/// Features at P1, labels at P0.
const OWNERS: [Party; 2] = [Party::P1, Party::P0];

/// A network of convolution, overlapping pooling, ReLU and dense layers, and a step of its training.
struct Subject {
    plan: Plan,
    step: StepGraph,
}

fn recipe() -> Recipe {
    Recipe { momentum: 0.9, seed: 1, ..Recipe::plain(Loss::Mse, 4, 0.02) }
}

fn subject(optimize: Optimize) -> Subject {
    let (step, ranges, options) = rehearsed(optimize);
    Subject { plan: compile(&step, &ranges, &options).unwrap(), step }
}

/// The turn that measures the ranges of such a step.
fn measuring(optimize: Optimize) -> Subject {
    let (step, ranges, options) = rehearsed(optimize);
    let states = compile(&step, &ranges, &options).unwrap().training.unwrap().states;
    let before = Some(states.into_iter().map(|state| state.after).collect());
    let plan = measure(&step, &ranges, &TrainingOptions { before, loss: None, ..options }).unwrap();
    Subject { plan, step }
}

fn rehearsed(optimize: Optimize) -> (StepGraph, StepRanges, TrainingOptions) {
    let (graph, recipe) = (networks::named(), recipe());
    let step = training_step(&graph, &recipe, recipe.lr, true).unwrap();
    let (mut trainer, mut rehearsal) = (Trainer::new(&step), Rehearsal::new(&step));
    for number in 0..4 {
        let (features, labels) = random_items(&step, number);
        rehearsal.step(&mut trainer, &step, &features, &labels, number).unwrap();
    }
    let input = InputSpec::plain("input", &graph.input.shape, [-1.0, 1.0]);
    let options = TrainingOptions {
        ring: 32,
        margin: MARGIN,
        features: OWNERS[0].into(),
        labels: OWNERS[1].into(),
        loss: Some(Receiver::P0),
        input,
        optimize,
        sign: SignChoice::Exact,
        link: Link::LOOPBACK,
        before: None,
        shared: None,
    };
    (step, rehearsal.ranges().unwrap(), options)
}

/// Words from a number, for data and shares of tests.
fn random<R: Ring>(number: u64, len: usize) -> Vec<R> {
    let mut words = vec![R::ZERO; len];
    let seed = *blake3::hash(&number.to_le_bytes()).as_bytes().first_chunk().unwrap();
    Prg::new(&Seed::from_bytes(seed)).fill(Address { kind: 0, gate: 0, slot: 0 }, 0, &mut words);
    words
}

fn random_items(step: &StepGraph, number: u64) -> (Vec<f32>, Vec<u32>) {
    let features = random::<u32>(2 * number, step.batch * step.item_len).into_iter();
    let labels = random::<u32>(2 * number + 1, step.batch).into_iter().map(|word| word % step.classes as u32);
    (features.map(|word| word as f32 / 2f32.powi(31) - 1.0).collect(), labels.collect())
}

/// Data and weights of a step.
#[derive(Clone, Copy, PartialEq)]
enum Data {
    /// All zero, one label, weights of zero.
    Blank,
    /// Random items and labels, weights as the network begins.
    Wild,
}

/// One step from the beginning, with new seeds, on a device.
fn observed<D: ariann_device::Device>(
    device: &D,
    subject: &Subject,
    data: Data,
    number: u64,
    seeds: &Seeds,
) -> [Seen; 2] {
    let Subject { plan, step } = subject;
    let (features, labels) = match data {
        Data::Blank => (vec![0.0; step.batch * step.item_len], vec![0; step.batch]),
        Data::Wild => random_items(step, 100 + number),
    };
    let scaled = |x: f32, gate: usize| fixed::encode::<u32>(f64::from(x), plan.gates[gate].scale.frac).unwrap();
    let features: Vec<u32> = features.into_iter().map(|x| scaled(x, 0)).collect();
    let hot = |label: u32| (0..step.classes as u32).map(move |class| f32::from(u8::from(class == label)));
    let labels: Vec<u32> = labels.into_iter().flat_map(hot).map(|x| scaled(x, 1)).collect();
    let initial: Vec<Vec<f32>> = step
        .states
        .iter()
        .map(|state| if data == Data::Blank { vec![0.0; state.initial.len()] } else { state.initial.clone() })
        .collect();
    let whole = encode_states::<u32>(plan, &initial).unwrap();
    let share: Vec<Vec<u32>> = (0u64..).zip(&whole).map(|(index, state)| random(7 + index, state.len())).collect();
    let rest = whole.iter().zip(&share).map(|(state, share)| state.iter().zip(share).map(|(x, a)| x.sub(*a)).collect());
    let states = [rest.collect(), share];
    let inputs = [Party::P0, Party::P1].map(|party| {
        [&features, &labels]
            .map(|words| words.as_slice())
            .into_iter()
            .zip(OWNERS)
            .map(move |(words, owner)| (owner == party).then_some(words))
    });
    let inputs = inputs.map(|mut each| [each.next().unwrap(), each.next().unwrap()]);
    let (mut p0, mut p1) = (Seen::default(), Seen::default());
    common::step_on(device, plan, states, inputs, [3, number], seeds, [&mut p0, &mut p1]);
    [p0, p1]
}

/// What both parties send at one place of the plan, and what both together make of it, over many steps.
struct Place {
    name: String,
    /// Of the values, and which bits of a ring element they are.
    width: u32,
    shift: u32,
    /// A list a step: from P0, from P1, what is open afterwards.
    steps: Vec<[Vec<u64>; 3]>,
}

/// By gate and exchange.
type View = BTreeMap<(u32, u32), Place>;

fn view(plan: &Plan, runs: &[[Seen; 2]]) -> View {
    let mut view = View::new();
    for (gate, opens, exchanges) in plan.opened().filter(|(_, opens, _)| !matches!(opens, Opens::Result { .. })) {
        let entry = &plan.gates[gate as usize];
        for exchange in 0..exchanges as u32 {
            let traffic = plan.cost(gate as usize).exchanges[exchange as usize];
            let (count, width) = traffic.iter().map(|sent| (sent.count, sent.width)).max().expect("two parties");
            let marks = exchange == 0 && entry.gate.compares().is_some_and(|it| it.form == Comparison::Chunks);
            let shift = if let Gate::Open(open) = &entry.gate { open.window.shift } else { 0 };
            let values = |seen: &Seen| {
                let of_gate = |(number, index, _): &&(u32, u32, Vec<u8>)| (*number, *index) == (gate, exchange);
                let message = seen.sent.iter().find(of_gate).map(|(.., message)| message.as_slice());
                message.map_or(Vec::new(), |message| unpacked(message, count, width))
            };
            let steps = runs.iter().map(|[p0, p1]| {
                let (a, b) = (values(p0), values(p1));
                let open = match (a.is_empty(), b.is_empty()) {
                    // A party's input, under a mask that the other knows nothing of.
                    (true, _) => b.clone(),
                    (_, true) => a.clone(),
                    _ if marks => a.iter().zip(&b).map(|(a, b)| a ^ b).collect(),
                    _ => a.iter().zip(&b).map(|(a, b)| a.wrapping_add(*b) & (u64::MAX >> (64 - width))).collect(),
                };
                assert_eq!(matches!(opens, Opens::Input), a.is_empty() || b.is_empty());
                [a, b, open]
            });
            let (name, steps) = (format!("{} {}/{exchange}", entry.gate.kind(), entry.name), steps.collect());
            view.insert((gate, exchange), Place { name, width, shift, steps });
        }
    }
    view
}

fn unpacked(message: &[u8], count: usize, width: u32) -> Vec<u64> {
    let mut out = vec![0; count];
    if width == 1 {
        let mut bits = vec![0; count];
        pack::unpack_bits(message, &mut bits).unwrap();
        return bits.into_iter().map(u64::from).collect();
    }
    pack::unpack(message, width, &mut out).unwrap();
    out
}

/// `a - b` on the bits that both have; none where they have none in common.
fn difference(a: &Place, b: &Place, steps: impl Fn(usize) -> [usize; 2], count: usize) -> Option<(u32, Vec<u64>)> {
    let (least, top) = (a.shift.max(b.shift), (a.shift + a.width).min(b.shift + b.width));
    let width = top.checked_sub(least).filter(|width| *width > 0)?;
    let aligned = |place: &Place, word: u64| word >> (least - place.shift);
    let one = |step: usize| {
        let [at, other] = steps(step);
        let (x, y) = (&a.steps[at][2], &b.steps[other][2]);
        x.iter()
            .zip(y)
            .map(|(x, y)| aligned(a, *x).wrapping_sub(aligned(b, *y)) & (u64::MAX >> (64 - width)))
            .collect::<Vec<_>>()
    };
    Some((width, (0..count).flat_map(one).collect()))
}

/// All that is tested of a view: words of all messages and of all that is open, and what is open against what is open
/// elsewhere in the step and in the step after it. One mask of two values would leave the difference of the values.
fn alone(view: &View, tests: &mut Tests) {
    for place in view.values() {
        for (of, name) in [(0, "from P0"), (1, "from P1"), (2, "open")] {
            let words: Vec<u64> = place.steps.iter().flat_map(|step| step[of].iter().copied()).collect();
            if !words.is_empty() {
                tests.uniform(&format!("{} {name}", place.name), place.width, &words);
            }
        }
    }
}

fn between_steps(view: &View, tests: &mut Tests) {
    for place in view.values() {
        let count = place.steps.len() / 2;
        let (width, words) = difference(place, place, |step| [2 * step, 2 * step + 1], count).expect("its own bits");
        tests.uniform(&format!("{} against the next step", place.name), width, &words);
    }
}

fn between_places(view: &View, tests: &mut Tests) {
    for (at, a) in view {
        for (_, b) in view.range((at.0, at.1 + 1)..) {
            if let Some((width, words)) = difference(a, b, |step| [step; 2], a.steps.len()) {
                tests.uniform(&format!("{} against {}", a.name, b.name), width, &words);
            }
        }
    }
}

fn between_data(one: &View, other: &View, tests: &mut Tests) {
    for (a, b) in one.values().zip(other.values()) {
        for (of, name) in [(0, "from P0"), (1, "from P1"), (2, "open")] {
            let [x, y] = [a, b].map(|place| place.steps.iter().flat_map(|step| step[of].clone()).collect::<Vec<_>>());
            if !x.is_empty() {
                tests.alike(&format!("{} {name} with other data", a.name), a.width, &x, &y);
            }
        }
    }
}

fn runs(subject: &Subject, data: Data, seed: impl Fn(u64) -> u64) -> Vec<[Seen; 2]> {
    let step = |number| observed(&ariann_device::Cpu, subject, data, number, &Seeds::numbered(seed(number)));
    (0..STEPS).map(step).collect()
}

/// The two statements on a view of training: it is uniform, and it is the same with other data and weights.
#[test]
fn what_a_party_sees_is_uniform_whatever_data_and_weights_are() {
    for optimize in [Optimize::Latency, Optimize::Material] {
        let subject = subject(optimize);
        let form = if optimize == Optimize::Material { Comparison::Chunks } else { Comparison::Dpf };
        let compares = subject.plan.gates.iter().filter_map(|entry| entry.gate.compares());
        assert!(compares.into_iter().all(|compared| compared.form == form));
        let blank = view(&subject.plan, &runs(&subject, Data::Blank, |number| 1000 + number));
        let wild = view(&subject.plan, &runs(&subject, Data::Wild, |number| 2000 + number));
        let mut tests = Tests::default();
        for view in [&blank, &wild] {
            alone(view, &mut tests);
            between_steps(view, &mut tests);
            between_places(view, &mut tests);
        }
        between_data(&blank, &wild, &mut tests);
        let alarms = tests.alarms(ALARM);
        println!(
            "{optimize:?}: {} places, {} tests, {} words; nearest {:?}",
            blank.len(),
            tests.count(),
            words_of(&tests),
            tests.nearest(ALARM)
        );
        assert!(alarms.is_empty(), "{alarms:#?}");
        assert!(blank.len() > 20 && tests.count() > 1000, "{} places, {} tests", blank.len(), tests.count());
        for kind in ["input", "open", "max", "relu", "relu back", "max back"] {
            assert!(blank.values().any(|place| place.name.starts_with(kind)), "no {kind} is opened");
        }
    }
}

/// With one step's seeds taken for two, the detector raises an alarm at every place of the plan: equal values give equal words.
#[test]
fn seeds_that_serve_two_steps_are_detected() {
    let subject = subject(Optimize::Latency);
    for data in [Data::Blank, Data::Wild] {
        let reused = view(&subject.plan, &runs(&subject, data, |number| 3000 + number / 2));
        let mut tests = Tests::default();
        between_steps(&reused, &mut tests);
        let found = tests.alarms(ALARM);
        println!("{} of {} places", found.len(), reused.len());
        match data {
            Data::Blank => assert_eq!(found.len(), reused.len(), "{found:#?}"),
            // Values differ from step to step, and some of the bits.
            Data::Wild => assert!(2 * found.len() > reused.len(), "{found:#?}"),
        }
        // Each message by itself looks as it should: only together do they tell.
        let mut tests = Tests::default();
        alone(&view(&subject.plan, &runs(&subject, data, |number| 3000 + number)), &mut tests);
        assert!(tests.alarms(ALARM).is_empty());
    }
}

/// On a device that gives two gates of a step one mask, the detector names these two, and no others.
#[test]
fn one_mask_of_two_gates_is_detected() {
    let subject = subject(Optimize::Latency);
    let has_mask = |entry: &ariann_plan::Entry| {
        matches!(entry.gate, Gate::Open(_) | Gate::Relu(_) | Gate::ReluBack(_) | Gate::MaxBack(_) | Gate::Max(_))
    };
    let masked: Vec<(u32, &ariann_plan::Entry)> =
        (0u32..).zip(&subject.plan.gates).filter(|(_, entry)| has_mask(entry)).collect();
    let last = |name: &str| masked.iter().rev().find(|(_, entry)| entry.gate.kind() == name).expect("there is one").0;
    let first = masked.iter().find(|(_, entry)| matches!(&entry.gate, Gate::Open(open) if open.window.shift == 0));
    let first = first.expect("weights are opened whole").0;
    for (gate, other) in [(last("open"), first), (last("relu back"), first), (last("max back"), last("relu back"))] {
        let device = Recording { mask_twice: Some([gate, other]), ..Recording::default() };
        let step = |number| observed(&device, &subject, Data::Blank, number, &Seeds::numbered(5000 + number));
        let seen = view(&subject.plan, &(0..STEPS).map(step).collect::<Vec<_>>());
        let expanded = device.expansions.into_inner().unwrap();
        assert!(expanded.iter().any(|one| one.kind == kind::MASK && one.gate == gate));
        let mut tests = Tests::default();
        alone(&seen, &mut tests);
        between_steps(&seen, &mut tests);
        between_places(&seen, &mut tests);
        let alarms = tests.alarms(ALARM);
        let names = [gate, other].map(|gate| subject.plan.gates[gate as usize].name.clone());
        println!("{names:?}: {alarms:?}");
        assert_eq!(alarms.len(), 1, "gates {gate} and {other} {names:?}: {alarms:#?}");
        assert!(names.iter().all(|name| alarms[0].contains(name.as_str())), "{names:?}: {alarms:#?}");
    }
}

/// What a party sends in a run, from the list of what the plan opens: gate, exchange, bytes.
fn listed(plan: &Plan, party: Party) -> Vec<(u32, u32, usize)> {
    let each = plan.opened().flat_map(|(gate, _, exchanges)| (0..exchanges).map(move |exchange| (gate, exchange)));
    let bytes = |gate: u32, exchange: usize| plan.cost(gate as usize).exchanges[exchange][party as usize].bytes(1);
    each.map(|(gate, exchange)| (gate, exchange as u32, bytes(gate, exchange)))
        .filter(|(.., bytes)| *bytes > 0)
        .collect()
}

/// A step opens its inputs and masked values, and its loss to the one who is named: these messages and no others leave.
#[test]
fn a_step_sends_what_its_plan_lists() {
    for optimize in [Optimize::Latency, Optimize::Material] {
        let subject = subject(optimize);
        let plan = &subject.plan;
        let mut results = Vec::new();
        for (gate, opens, _) in plan.opened() {
            match opens {
                Opens::Input => assert!(gate < 2),
                Opens::Masked => {}
                Opens::Result { what, to } => results.push((what, to)),
            }
        }
        assert_eq!(results, [(Revealed::Loss, Receiver::P0)]);
        for data in [Data::Blank, Data::Wild] {
            let seen = observed(&ariann_device::Cpu, &subject, data, 1, &Seeds::numbered(1));
            for party in [Party::P0, Party::P1] {
                let sent: Vec<_> = seen[party as usize].sent.iter().map(|(g, e, m)| (*g, *e, m.len())).collect();
                assert_eq!(sent, listed(plan, party));
            }
        }
        let to_p1 = plan.gates.iter().position(|entry| matches!(entry.gate, Gate::Reveal(_))).expect("a loss");
        assert!(
            listed(plan, Party::P0).iter().all(|(gate, ..)| *gate != to_p1 as u32),
            "P0 keeps its share of the loss"
        );
    }
}

/// Bytes that came from the other party, at P0 and at P1.
static CAME: Mutex<[Vec<u8>; 2]> = Mutex::new([Vec::new(), Vec::new()]);

struct Taps(usize);

impl Observer for Taps {
    fn wants_messages(&self) -> bool {
        false
    }

    fn received(&mut self, peer: &str, bytes: &[u8]) {
        if peer != "dealer" {
            CAME.lock().unwrap()[self.0].extend_from_slice(bytes);
        }
    }
}

/// A turn that measures opens inputs and masked values, which are uniform whatever data and weights are, and to both parties one
/// exponent a product.
#[test]
fn what_a_party_sees_of_a_measurement_is_uniform_but_for_the_exponents() {
    for optimize in [Optimize::Latency, Optimize::Material] {
        let subject = measuring(optimize);
        let plan = &subject.plan;
        let results = plan.opened().filter_map(|(gate, opens, _)| match opens {
            Opens::Result { what, to } => Some((gate as usize, what, to)),
            _ => None,
        });
        assert_eq!(results.collect::<Vec<_>>(), [(plan.gates.len() - 1, Revealed::Ranges, Receiver::Both)]);
        let Gate::Reveal(reveal) = &plan.gates[plan.gates.len() - 1].gate else { panic!("it ends with a reveal") };
        assert_eq!(reveal.len, measured(&subject.step).len());
        let runs = [(Data::Blank, 6000), (Data::Wild, 7000)].map(|(data, first)| {
            let runs = runs(&subject, data, |number| first + number);
            for seen in &runs {
                for party in [Party::P0, Party::P1] {
                    let sent: Vec<_> = seen[party as usize].sent.iter().map(|(g, e, m)| (*g, *e, m.len())).collect();
                    assert_eq!(sent, listed(plan, party));
                }
            }
            runs
        });
        let views = runs.each_ref().map(|runs| view(plan, runs));
        let mut tests = Tests::default();
        for view in &views {
            alone(view, &mut tests);
            between_steps(view, &mut tests);
        }
        between_data(&views[0], &views[1], &mut tests);
        let alarms = tests.alarms(ALARM);
        println!("{optimize:?}: {} places, {} tests, {} words", views[0].len(), tests.count(), words_of(&tests));
        assert!(alarms.is_empty(), "{alarms:#?}");
        assert!(views[0].len() > 20 && tests.count() > 200, "{} places, {} tests", views[0].len(), tests.count());
    }
}

/// Over TLS, in a whole training with tests and reveals: after the greetings a party receives the seed of its first shares, a word
/// before each turn, and the messages that the turn's plan lists, to the byte.
#[test]
fn a_whole_training_sends_what_its_job_lists() {
    const WORD: usize = 41;
    const SHARES: usize = 16;
    let hooks = Hooks { observer: |role| Box::new(Taps(usize::from(role == "p1"))), ..Hooks::default() };
    let quiet = Hooks::default();
    let made = make(Wanted { rows: 70, test_rows: 32, rescale_every: Some(2), ..Wanted::default() });
    let ended = run(roles(&made), [&quiet, &hooks, &hooks]);
    ended.into_iter().for_each(|end| drop(end.unwrap()));
    let came = CAME.lock().unwrap();
    // Plans after a measurement follow from what it told both: their words of its last message, added.
    let mut told = Vec::new();
    for (party, from) in [(0, Party::P1), (1, Party::P0)] {
        let mut cursor = made.course.cursor();
        let mut lens: Vec<usize> = Vec::new();
        let mut measurements = 0;
        while let Some(turn) = cursor.turn() {
            let leg = cursor.leg(turn).unwrap();
            lens.push(WORD + listed(&leg.plan, from).iter().map(|(.., bytes)| bytes).sum::<usize>());
            cursor.pass(&leg);
            if let Turn::Measure { .. } = turn {
                if told.len() == measurements {
                    let number = (cursor.number() - 1).to_le_bytes();
                    let count = cursor.measured();
                    let last = |party: usize| {
                        let from = [Party::P1, Party::P0][party];
                        let begins = |word: &[u8]| word[..8] == number && word[24..40] == leg.digest[..16];
                        let at = came[party].windows(WORD).position(begins).expect("a word before the measurement");
                        let len = WORD + listed(&leg.plan, from).iter().map(|(.., bytes)| bytes).sum::<usize>();
                        let words = came[party][at + len - 4 * count..at + len].chunks_exact(4);
                        words.map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect::<Vec<_>>()
                    };
                    told.push(last(0).iter().zip(last(1)).map(|(a, b)| a.wrapping_add(b)).collect::<Vec<u32>>());
                }
                let exponents = exponents(&leg.plan, &told[measurements]).unwrap();
                assert!(cursor.renew(&exponents).is_none(), "ranges of a healthy training are taken");
                measurements += 1;
            }
        }
        assert_eq!(measurements, 1);
        let shares = if from == Party::P0 { SHARES } else { 0 };
        // Greeting, verdict and where to begin come first and have no fixed length; nothing comes after the last turn.
        let head = came[party].len().checked_sub(shares + lens.iter().sum::<usize>());
        let head = head.unwrap_or_else(|| panic!("P{party} received too little: {} bytes", came[party].len()));
        assert!((30..600).contains(&head), "P{party} received {head} bytes that are not listed");
        let mut at = head + shares;
        for (turn, len) in lens.iter().enumerate() {
            assert_eq!(came[party][at..at + 8], (turn as u64).to_le_bytes(), "turn {turn} begins where it should");
            at += len;
        }
        assert!(came[party].len() > 100_000 && at == came[party].len());
    }
}
