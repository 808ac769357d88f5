//! Whole plans held against docs/security.md: addresses, openings, and what messages tell.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use ariann_data::Items;
use ariann_gates::linear::Weights;
use ariann_gates::{Comparison, Party, Receiver, kind, other};
use ariann_graph::Graph;
use ariann_plan::{Gate, Plan, Reveal, Revealed};
use ariann_plan::{Optimize, Options, SignChoice};
use ariann_prg::Prg;
use ariann_ring::{Ring, pack};
use ariann_session::hooks::Nothing;
use common::recording::{Expansion, Recording, Seen, Taken, seed_id};
use common::{Seeds, networks};

const MODES: [Weights; 3] = [Weights::Held, Weights::Shared, Weights::Public];

fn every_plan<R: Ring>(graph: &Graph, items: &Items) -> Vec<Plan> {
    let mut plans = Vec::new();
    for weights in MODES {
        for what in [Revealed::Logits, Revealed::Label] {
            for to in [Receiver::P0, Receiver::P1, Receiver::Both, Receiver::Client] {
                for optimize in [Optimize::Latency, Optimize::Material] {
                    for sign in [SignChoice::Exact, SignChoice::Coarse] {
                        let plain = common::options(R::BITS, weights, Reveal { what, to }, [-8.0, 8.0]);
                        plans.push(common::plan_with(graph, items, &Options { optimize, sign, ..plain }).0);
                    }
                }
            }
        }
    }
    plans.dedup();
    plans
}

/// The kinds of words that a gate of a plan has, at the parties' seeds.
fn kinds(plan: &Plan, number: usize) -> BTreeSet<u8> {
    let last = |len: usize, level: u32| ariann_gates::Windows::Row(len).levels() == level + 1;
    let compared = |form: Comparison, more: &[u8]| {
        let own: &[u8] = match form {
            Comparison::Dpf => &[kind::BIT, kind::ROOT],
            Comparison::Chunks => &[kind::BIT, kind::MARK, kind::VECTOR, kind::COMBINING],
        };
        [own, more].concat()
    };
    BTreeSet::from_iter(match &plan.gates[number].gate {
        Gate::Input(_) | Gate::Open(_) => vec![kind::MASK],
        Gate::Linear(gate) if gate.weights == Weights::Public => vec![],
        Gate::Linear(_) | Gate::Multiply(_) => vec![kind::CORRECTION],
        Gate::Max(gate) => compared(gate.form, &[kind::TABLE, kind::MASK]),
        Gate::Relu(gate) => compared(gate.form, &[kind::TABLE, kind::MASK]),
        Gate::Clip(gate) => compared(gate.form, &[kind::TABLE, kind::MASK]),
        Gate::Lookup(_) => vec![kind::ROOT, kind::SIGN, kind::PRODUCT, kind::TABLE, kind::MASK],
        Gate::Truncate(_) => vec![kind::ALPHA, kind::TOP],
        // At the last level the values' select is left out; their mask is drawn by the dealer and pads nothing.
        Gate::ArgMax(gate) if last(gate.len, gate.level) => {
            compared(gate.form, &[kind::MASK, kind::INDEX_MASK, kind::INDEX_TABLE])
        }
        Gate::ArgMax(gate) => compared(gate.form, &[kind::MASK, kind::TABLE, kind::INDEX_MASK, kind::INDEX_TABLE]),
        Gate::Product(_) => vec![kind::CORRECTION],
        Gate::ReluBack(_) | Gate::MaxBack(_) => vec![kind::TABLE, kind::MASK],
        Gate::Add(_) | Gate::Arrange(_) | Gate::Sum(_) | Gate::Cut(_) | Gate::Subtract(_) | Gate::Reveal(_) => vec![],
        Gate::Shared(_) | Gate::State(_) | Gate::Store(_) => vec![],
        Gate::Reduce(_) | Gate::Spread(_) | Gate::Dropout(_) | Gate::Times(_) => vec![],
    })
}

/// Everything that dealer and parties expand in a run: an address always gives the same words, of one form and number, for the one
/// purpose that its kind names; each seed serves its own kinds; a party expands its own seeds alone.
fn addresses<R: Ring>(graph: &Graph, items: &Items, plan: &Plan) {
    let device = Recording::default();
    let seeds = Seeds::numbered(1);
    common::run_on::<R, _>(&device, plan, graph, items, &seeds, [&mut Nothing, &mut Nothing]);
    let expansions = device.expansions.into_inner().unwrap();
    let batch = [0, 1].map(|party: usize| seed_id(&Prg::new(&seeds.batch.parties[party])));
    let weights = [0, 1].map(|party: usize| seed_id(&Prg::new(&seeds.weights[party])));
    let coins = seed_id(&Prg::new(&seeds.batch.coins));

    let mut forms: BTreeMap<_, BTreeSet<(Taken, usize)>> = BTreeMap::new();
    let mut of_gate: BTreeMap<u32, BTreeSet<u8>> = BTreeMap::new();
    for Expansion { seed, kind: what, gate, slot, taken, len, thread } in expansions {
        assert!(slot < items.count as u32 && (gate as usize) < plan.gates.len());
        forms.entry((seed, what, gate, slot)).or_default().insert((taken, len));
        assert_eq!(
            what == kind::WEIGHTS,
            weights.contains(&seed),
            "weights' masks come from weights' seeds, nothing else does"
        );
        assert_eq!(what == kind::COIN, seed == coins, "coins come from the dealer's own seed, nothing else does");
        if what == kind::WEIGHTS {
            assert_eq!(slot, 0);
        }
        if batch.contains(&seed) {
            of_gate.entry(gate).or_default().insert(what);
        }
        match thread.as_str() {
            "p0" => assert_eq!(seed, batch[0], "P0 expands its own seed"),
            "p1" => assert_eq!(seed, batch[1], "P1 expands its own seed"),
            _ => {}
        }
        let expected = match what {
            kind::BIT | kind::COIN => Taken::Bits,
            kind::ROOT => Taken::Roots,
            kind::VECTOR => Taken::Vectors,
            kind::COMBINING => Taken::Tables,
            _ => Taken::Words(R::BITS, R::BITS),
        };
        match (taken, what) {
            (Taken::Marks(_), kind::MARK) => {}
            // Tables and tops are dealt at the width at which they are used.
            (Taken::Words(bits, width), kind::TABLE | kind::INDEX_TABLE | kind::TOP) => {
                assert!(bits == R::BITS && width <= bits)
            }
            _ => assert_eq!(taken, expected, "kind {what} of gate {gate}"),
        }
    }
    for (address, forms) in &forms {
        assert_eq!(forms.len(), 1, "{address:?} is taken in several forms: {forms:?}");
    }
    for number in 0..plan.gates.len() {
        let expanded = of_gate.remove(&(number as u32)).unwrap_or_default();
        assert_eq!(expanded, kinds(plan, number), "gate {number} {}", plan.gates[number].name);
    }
}

#[test]
fn an_address_serves_one_purpose_once() {
    let (graph, items) = (networks::small(), networks::small_items(3, 1));
    every_plan::<u32>(&graph, &items).iter().for_each(|plan| addresses::<u32>(&graph, &items, plan));
    every_plan::<u64>(&graph, &items).iter().for_each(|plan| addresses::<u64>(&graph, &items, plan));
    for graph in [networks::branched(), networks::input_first(), networks::curved(true), networks::attentive()] {
        let items = networks::items_for(&graph.input.shape, 3, 1);
        every_plan::<u32>(&graph, &items).iter().step_by(5).for_each(|plan| addresses::<u32>(&graph, &items, plan));
        every_plan::<u64>(&graph, &items).iter().step_by(7).for_each(|plan| addresses::<u64>(&graph, &items, plan));
    }
    let (graph, items) = networks::bundled_model(2);
    every_plan::<u32>(&graph, &items).iter().step_by(11).for_each(|plan| addresses::<u32>(&graph, &items, plan));
}

/// A mask binds one value: no two gates of a plan, slots or parties share a word of any kind.
#[test]
fn kinds_are_distinct() {
    let all = [
        kind::MASK,
        kind::ROOT,
        kind::BIT,
        kind::TABLE,
        kind::CORRECTION,
        kind::ALPHA,
        kind::TOP,
        kind::WEIGHTS,
        kind::COIN,
        kind::INDEX_MASK,
        kind::INDEX_TABLE,
        kind::VECTOR,
        kind::COMBINING,
        kind::MARK,
        kind::SIGN,
        kind::PRODUCT,
    ];
    assert_eq!(BTreeSet::from(all).len(), all.len());
}

fn observed<R: Ring>(plan: &Plan, graph: &Graph, items: &Items, seeds: &Seeds) -> [Seen; 2] {
    let (mut p0, mut p1) = (Seen::default(), Seen::default());
    common::run::<R>(plan, graph, items, seeds, [&mut p0, &mut p1]);
    [p0, p1]
}

/// Each party sends exactly what the plan lists: these gates, in this order, these lengths; nothing against a direction.
#[test]
fn nothing_is_opened_that_the_plan_does_not_name() {
    let mut all = vec![(networks::small(), every_plan::<u32>(&networks::small(), &networks::small_items(5, 2)))];
    for graph in [networks::branched(), networks::input_first(), networks::curved(true), networks::attentive()] {
        let plans = every_plan::<u32>(&graph, &networks::items_for(&graph.input.shape, 5, 2));
        all.push((graph, plans.into_iter().step_by(5).collect()));
    }
    for (graph, plan) in all.iter().flat_map(|(graph, plans)| plans.iter().map(move |plan| (graph, plan))) {
        let items = networks::items_for(&graph.input.shape, 5, 2);
        let seen = observed::<u32>(plan, graph, &items, &Seeds::numbered(2));
        let mut online = [0u64; 2];
        for party in [Party::P0, Party::P1] {
            let mut listed = Vec::new();
            for gate in 0..plan.gates.len() {
                for (exchange, sent) in plan.cost(gate).exchanges.iter().enumerate() {
                    let bytes = sent[party as usize].bytes(items.count);
                    if bytes > 0 {
                        listed.push((gate as u32, exchange as u32, bytes));
                    }
                }
            }
            let sent = &seen[party as usize].sent;
            assert_eq!(
                sent.iter().map(|(gate, exchange, message)| (*gate, *exchange, message.len())).collect::<Vec<_>>(),
                listed
            );
            for (gate, exchange, message) in sent {
                let last = *exchange as usize + 1 == plan.cost(*gate as usize).exchanges.len();
                let to = match &plan.gates[*gate as usize].gate {
                    Gate::Input(_) => Receiver::P0,
                    Gate::Open(open) => open.to,
                    Gate::Reveal(reveal) => reveal.to,
                    Gate::Relu(relu) if last => relu.to,
                    Gate::Clip(clip) if last => clip.to,
                    Gate::Lookup(lookup) if last => lookup.to,
                    _ => Receiver::Both,
                };
                assert!(to.includes(other(party)), "gate {gate} sends against its direction");
                online[party as usize] += message.len() as u64;
            }
        }
        // One item: what `plan` shows.
        let single = networks::items_for(&graph.input.shape, 1, 3);
        let seen = observed::<u32>(plan, graph, &single, &Seeds::numbered(3));
        let bytes = seen.map(|seen| seen.sent.iter().map(|(_, _, message)| message.len() as u64).sum::<u64>());
        assert_eq!(bytes, plan.totals(1).online_bytes);
    }
}

/// The values of one message, as the plan packs them, an item after the other.
fn values(plan: &Plan, party: Party, gate: u32, exchange: u32, items: usize, message: &[u8]) -> (usize, u32, Vec<u64>) {
    let traffic = plan.cost(gate as usize).exchanges[exchange as usize][party as usize];
    let mut out = vec![0u64; traffic.count * items];
    if traffic.width == 1 {
        let mut bits = vec![0; out.len()];
        pack::unpack_bits(message, &mut bits).unwrap();
        out = bits.into_iter().map(u64::from).collect();
    } else {
        pack::unpack(message, traffic.width, &mut out).unwrap();
    }
    (traffic.count, traffic.width, out)
}

/// The same item many times, each time with its own slot, and with several dealers: every bit of every message but the result's
/// is one half of the time, and so is every bit of the masked value that both know afterwards. Seeds are fixed.
#[test]
fn messages_of_whole_plans_are_uniform() {
    // Lookups cost the most: fewer samples tell a bit that is not padded, or masks that serve twice, as surely.
    let (many, some, few) = (250, 100, 40);
    const DEALERS: u64 = 4;
    let cases = [
        (networks::small(), many, MODES[0], Revealed::Logits, Optimize::Latency, SignChoice::Exact),
        (networks::small(), many, MODES[1], Revealed::Label, Optimize::Material, SignChoice::Exact),
        (networks::small(), many, MODES[2], Revealed::Logits, Optimize::Latency, SignChoice::Coarse),
        (networks::branched(), many, MODES[0], Revealed::Logits, Optimize::Material, SignChoice::Exact),
        (networks::branched(), many, MODES[1], Revealed::Logits, Optimize::Latency, SignChoice::Exact),
        (networks::input_first(), many, MODES[1], Revealed::Logits, Optimize::Latency, SignChoice::Exact),
        (networks::curved(true), few, MODES[0], Revealed::Label, Optimize::Material, SignChoice::Coarse),
        (networks::attentive(), some, MODES[1], Revealed::Logits, Optimize::Material, SignChoice::Exact),
    ];
    for (graph, count, weights, what, optimize, sign) in cases {
        let one = networks::items_for(&graph.input.shape, 1, 9);
        let items = Items { values: one.values.repeat(count), count, ..one };
        let plain = common::options(32, weights, Reveal { what, to: Receiver::P1 }, [-8.0, 8.0]);
        let plan = common::plan_with(&graph, &items, &Options { optimize, sign, ..plain }).0;
        // By gate, exchange and sender (2, 3: what both know, by addition and bit by bit): width, and how often each bit is one.
        let mut ones: BTreeMap<(u32, u32, usize), (u32, Vec<u32>)> = BTreeMap::new();
        let mut add = |gate, exchange, sender, (count, width, words): &(usize, u32, Vec<u64>)| {
            let (_, counts) =
                ones.entry((gate, exchange, sender)).or_insert_with(|| (*width, vec![0; count * *width as usize]));
            for item in words.chunks(*count) {
                for (at, sum) in counts.iter_mut().enumerate() {
                    *sum += (item[at / *width as usize] >> (at % *width as usize) & 1) as u32;
                }
            }
        };
        for dealer in 0..DEALERS {
            let [p0, p1] = observed::<u32>(&plan, &graph, &items, &Seeds::numbered(1000 + dealer));
            let mut halves = BTreeMap::new();
            for (party, seen) in [(Party::P0, &p0), (Party::P1, &p1)] {
                for (gate, exchange, message) in &seen.sent {
                    if matches!(plan.gates[*gate as usize].gate, Gate::Reveal(_)) {
                        continue;
                    }
                    let (count, width, words) = values(&plan, party, *gate, *exchange, items.count, message);
                    if let Some(theirs) = halves.insert((*gate, *exchange), words.clone()) {
                        let theirs: Vec<u64> = theirs;
                        let sum = words.iter().zip(&theirs).map(|(a, b)| a + b).collect();
                        add(*gate, *exchange, 2, &(count, width, sum));
                        let xor = words.iter().zip(&theirs).map(|(a, b)| a ^ b).collect();
                        add(*gate, *exchange, 3, &(count, width, xor));
                    }
                    add(*gate, *exchange, party as usize, &(count, width, words));
                }
            }
        }
        let samples = items.count as f64 * DEALERS as f64;
        for ((gate, exchange, sender), (width, counts)) in &ones {
            for (at, count) in counts.iter().enumerate() {
                let (name, bit) = (&plan.gates[*gate as usize].name, at % *width as usize);
                let off = (f64::from(*count) - samples / 2.0).abs();
                assert!(
                    off < 6.0 * samples.sqrt() / 2.0,
                    "{name}, exchange {exchange}, P{sender}, bit {bit} of {width}: {count}"
                );
            }
        }
        assert!(ones.len() > 15);
    }
}

/// Same seeds, two inputs: the wire of the input moves by exactly the difference, all lengths are the same, and what P0 sends
/// before it has seen an input does not move at all.
#[test]
fn inputs_move_messages_only_under_their_masks() {
    let graph = networks::small();
    let (one, two) = (networks::small_items(2, 11), networks::small_items(2, 12));
    for weights in MODES {
        let reveal = Reveal { what: Revealed::Logits, to: Receiver::P1 };
        let plan = common::plan_for(&graph, &one, 32, weights, reveal).0;
        let seeds = Seeds::numbered(5);
        let [a, b] = [&one, &two].map(|items| observed::<u32>(&plan, &graph, items, &seeds));
        for party in 0..2 {
            let shape = |seen: &Seen| -> Vec<_> {
                seen.sent.iter().map(|(gate, exchange, m)| (*gate, *exchange, m.len())).collect()
            };
            assert_eq!(shape(&a[party]), shape(&b[party]));
        }
        let wire = |seen: &Seen| -> Vec<u32> {
            let mut words = vec![0u32; 98];
            pack::unpack(&seen.sent[0].2, 32, &mut words).unwrap();
            words
        };
        let encode = |items: &Items| ariann_session::reading::encode::<u32>(&plan, items).unwrap();
        let moved = wire(&a[1]).into_iter().zip(wire(&b[1])).map(|(a, b)| a.wrapping_sub(b));
        let difference = encode(&one).into_iter().zip(encode(&two)).map(|(a, b)| a.wrapping_sub(b));
        assert!(moved.eq(difference));
        // A share of a first layer that does not depend on the input: prepared from masks alone.
        let prepared = plan.linear_gates().next().unwrap().1.needs_operand(Party::P1);
        assert_eq!(a[1].sent[1].2 == b[1].sent[1].2, !prepared, "P1 multiplies online: {prepared}");
        let prepared = plan.linear_gates().next().unwrap().1.needs_operand(Party::P0);
        assert_eq!(a[0].sent[0].2 == b[0].sent[0].2, !prepared, "P0 multiplies online: {prepared}");
    }
}
