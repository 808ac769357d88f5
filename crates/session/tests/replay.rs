//! The fixed-point reference with the rounding that a run's masks give: equal to the private result, bit for bit.

mod common;

use ariann_data::Items;
use ariann_device::{Cpu, Device, Stream, Window};
use ariann_gates::linear::Weights;
use ariann_gates::{Receiver, kind};
use ariann_graph::{Graph, Nearest, Rounding, clear};
use ariann_plan::{Gate, Plan, Reveal, Revealed};
use ariann_prg::{Prg, Seed};
use ariann_ring::{Ring, fixed};
use ariann_session::query::argmax;
use common::recording::Seen;
use common::{Seeds, networks};

/// Rounds as the window openings of one run do. The reference's own z is used: P0's share is z less P1's.
struct Replay<'a> {
    /// For each linear layer: the gate that opens it, and P1's shares of it.
    layers: Vec<(u32, &'a [u64])>,
    seeds: &'a Seeds,
    /// Items of the run.
    items: usize,
    rounded: usize,
}

impl Replay<'_> {
    fn words<R: Ring>(&self, seed: &Seed, gate: u32, len: usize, slot: u32) -> Vec<R> {
        Cpu.expand(&Prg::new(seed), &Stream { kind: kind::MASK, gate, slots: slot..slot + 1, len }, R::BITS)
    }
}

impl<R: Ring> Rounding<R> for Replay<'_> {
    fn round(&mut self, layer: usize, first_item: usize, z: &[R], shift: u32, top: u32, out: &mut [R]) {
        let (gate, shares) = self.layers[layer];
        let window = Window { shift, top };
        let (low, up) = (R::low_mask(window.width()), R::BITS - window.width());
        let len = shares.len() / self.items;
        let [seed0, seed1] = &self.seeds.batch.parties;
        for item in 0..z.len() / len {
            let slot = (first_item + item) as u32;
            let (r0, r1) = (self.words::<R>(seed0, gate, len, slot), self.words::<R>(seed1, gate, len, slot));
            let stream = Stream { kind: kind::COIN, gate, slots: slot..slot + 1, len };
            let coins = Cpu.expand_bits(&Prg::new(&self.seeds.batch.coins), &stream);
            for i in 0..len {
                let z = z[item * len + i];
                let z1 = R::from_u64(shares[(first_item + item) * len + i]);
                let (a, b) = (z.sub(z1).add(r0[i]).add(window.half()), z1.add(r1[i]));
                let coin = if shift > 0 { R::from_u64(u64::from(coins[i])) } else { R::ZERO };
                let alpha = r0[i].add(r1[i]).add(coin).shr(shift);
                let wire = a.shr(shift).add(b.shr(shift)).sub(alpha).and(low);
                out[item * len + i] = R::from_i64(wire.shl(up).to_i64() >> up);
                self.rounded += 1;
            }
        }
    }
}

/// One run: private, replayed, and rounded to the nearest.
fn replay<R: Ring>(graph: &Graph, items: &Items, weights: Weights, number: u64) -> Plan {
    let reveal = Reveal { what: Revealed::Logits, to: Receiver::Both };
    let (plan, _) = common::plan_for(graph, items, R::BITS, weights, reveal);
    let seeds = Seeds::numbered(number);
    let (mut p0, mut p1) = (Seen::default(), Seen::default());
    let [result, same] = common::run::<R>(&plan, graph, items, &seeds, [&mut p0, &mut p1]).map(Option::unwrap);
    assert_eq!(result, same);

    let layer = |(number, _): (u32, _)| (number + 1, p1.shares[&number].as_slice());
    let mut rounding =
        Replay { layers: plan.linear_gates().map(layer).collect(), seeds: &seeds, items: items.count, rounded: 0 };
    let run = clear::run::<R>(graph, &plan.scales, items.count, &items.values, &mut rounding).unwrap();
    assert_eq!(run.excess, None);
    assert_eq!(run.logits, result, "the replayed reference and the private run");
    let opened = |entry: &ariann_plan::Entry| match &entry.gate {
        Gate::Open(open) if open.window.top < R::BITS || open.window.shift > 0 => open.len * items.count,
        _ => 0,
    };
    assert_eq!(rounding.rounded, plan.gates.iter().map(opened).sum::<usize>());

    // The shares are shares of the reference's own integers.
    let last = plan.linear_gates().last().unwrap().0;
    let sum = |(a, b): (&u64, &u64)| R::from_u64(*a).add(R::from_u64(*b));
    assert_eq!(p0.shares[&last].iter().zip(&p1.shares[&last]).map(sum).collect::<Vec<R>>(), result);

    // Rounding to the nearest: within the bound of docs/accuracy and docs/protocol.md.
    let nearest = clear::run::<R>(graph, &plan.scales, items.count, &items.values, &mut Nearest).unwrap();
    let bound = rounding_bound::<R>(graph, &plan);
    let apart = |(a, b): (&R, &R)| a.sub(*b).to_i64().unsigned_abs() as f64;
    let greatest = nearest.logits.iter().zip(&result).map(apart).fold(0.0, f64::max);
    assert!(greatest <= bound, "{greatest} units from the nearest rounding, at most {bound}");
    println!(
        "{}, ring {}, {weights:?}: logits at most {:.6} from nearest rounding, bound {:.6}",
        graph.name,
        R::BITS,
        greatest * 2f64.powi(-plan.output.frac_bits),
        bound * 2f64.powi(-plan.output.frac_bits)
    );
    plan
}

/// How many units logits of two roundings can differ: a window's rounding is below 1.5 units off, the nearest at most half a
/// unit, and weights enlarge what came before by at most their greatest sum of magnitudes.
fn rounding_bound<R: Ring>(graph: &Graph, plan: &Plan) -> f64 {
    let (mut apart, mut frac) = (0.0f64, plan.scales.input_frac);
    for (node, scale) in graph.linear_nodes().zip(&plan.scales.layers) {
        let node = &graph.nodes[node];
        let (weights, _) = clear::encode_weights::<R>(node, scale.weight_frac, frac + scale.weight_frac).unwrap();
        let terms = weights.len() / node.shape[0];
        let norms = weights.chunks(terms).map(|row| row.iter().map(|w| w.to_i64().unsigned_abs() as f64).sum());
        apart *= norms.fold(0.0, f64::max);
        if scale.truncated {
            apart = apart / 2f64.powi(scale.shift as i32) + if scale.shift > 0 { 2.0 } else { 0.0 };
        }
        frac += scale.weight_frac - scale.shift as i32;
    }
    apart
}

fn in_every_mode(graph: &Graph, items: &Items) {
    for (number, weights) in [Weights::Held, Weights::Shared, Weights::Public].into_iter().enumerate() {
        replay::<u32>(graph, items, weights, 10 + number as u64);
        replay::<u64>(graph, items, weights, 20 + number as u64);
    }
}

#[test]
fn small_network() {
    let graph = networks::small();
    let items = networks::small_items(37, 3);
    for number in 0..4 {
        replay::<u32>(&graph, &items, Weights::Held, number);
        replay::<u64>(&graph, &items, Weights::Shared, number);
    }
    in_every_mode(&graph, &items);
}

#[test]
fn bundled_network() {
    let (graph, items) = networks::bundled_model(20);
    in_every_mode(&graph, &items);
}

#[test]
fn lenet() {
    let Some((graph, items)) = networks::sample_model("lenet-mnist", "test-even", 20) else { return };
    in_every_mode(&graph, &items);
}

#[test]
fn mlp() {
    let Some((graph, items)) = networks::sample_model("mlp-128-128-mnist", "test-even", 40) else { return };
    in_every_mode(&graph, &items);
}

/// The label is the first of the greatest of the replayed logits, ties among them.
#[test]
fn labels_follow_the_replayed_reference() {
    let graph = networks::small();
    let items = networks::small_items(60, 5);
    for (number, weights) in [Weights::Held, Weights::Shared, Weights::Public].into_iter().enumerate() {
        let reveal = Reveal { what: Revealed::Label, to: Receiver::P1 };
        let (plan, _) = common::plan_for(&graph, &items, 32, weights, reveal);
        let seeds = Seeds::numbered(40 + number as u64);
        let (mut p0, mut p1) = (Seen::default(), Seen::default());
        let [none, labels] = common::run::<u32>(&plan, &graph, &items, &seeds, [&mut p0, &mut p1]);
        assert!(none.is_none());
        let layer = |(number, _): (u32, _)| (number + 1, p1.shares[&number].as_slice());
        let mut rounding =
            Replay { layers: plan.linear_gates().map(layer).collect(), seeds: &seeds, items: items.count, rounded: 0 };
        let run = clear::run::<u32>(&graph, &plan.scales, items.count, &items.values, &mut rounding).unwrap();
        for (row, label) in run.logits.chunks(3).zip(labels.unwrap()) {
            let row: Vec<f32> = row.iter().map(|logit| fixed::decode(*logit, 0) as f32).collect();
            assert_eq!(argmax(&row), label);
        }
    }
}
