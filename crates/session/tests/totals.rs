//! What whole plans cost, held against the promises of docs/protocol.md.

mod common;

use ariann_gates::Receiver;
use ariann_gates::linear::Weights;
use ariann_plan::{Gate, Reveal, Revealed, compile};
use common::networks;

/// Online bytes of an image in the original, both directions, without argmax (AriaNN, LeNet).
const ORIGINAL: f64 = 432_000.0;

/// LeNet, held weights, ring 32: material of at most 300 bytes a comparison, online bytes of at most 45 % of the original's, three
/// exchanges a ReLU layer with its opening, two a pooling level.
#[test]
fn lenet_with_held_weights() {
    let Some((graph, items)) = networks::sample_model("lenet-mnist", "train", 100) else { return };
    let ranges = ariann_graph::calibrate(&graph, items.count, &items.values).unwrap();
    let reveal = Reveal { what: Revealed::Logits, to: Receiver::P1 };
    let plan = compile(&graph, &ranges, &common::options(32, Weights::Held, reveal, [0.0, 1.0])).unwrap();
    let totals = plan.totals(1);
    let comparisons = totals.comparisons as f64;
    let material = totals.material_bytes.map(|bytes| bytes as f64 / comparisons);
    let online = totals.online_bytes.iter().sum::<u64>() as f64;
    println!(
        "LeNet, held, ring 32: {comparisons} comparisons, material {:?} bytes ({:.1} and {:.1} a comparison), online {:?} bytes \
         ({:.1} % of the original), {} exchanges",
        totals.material_bytes,
        material[0],
        material[1],
        totals.online_bytes,
        100.0 * online / ORIGINAL,
        totals.exchanges
    );
    assert!(material.iter().all(|bytes| *bytes <= 300.0), "{material:?} bytes a comparison");
    assert!(online <= 0.45 * ORIGINAL, "{online} bytes online");
    let exchanges = |number: usize| plan.cost(number).exchanges.len();
    for (number, entry) in plan.gates.iter().enumerate() {
        match entry.gate {
            Gate::Max(_) => assert!(exchanges(number) <= 2),
            Gate::Relu(_) => {
                let mut open = number;
                while !matches!(plan.gates[open].gate, Gate::Open(_)) {
                    open = plan.gates[open].inputs[0] as usize;
                }
                assert!(exchanges(open) + exchanges(number) <= 3);
            }
            _ => {}
        }
    }
}

/// The totals are those of the gates, of which each is held against what is really dealt and sent in the tests of `gates` and in
/// `security.rs`; here against a formula written out for one network.
#[test]
fn the_small_networks_material_is_the_sum_of_its_formulas() {
    let (graph, items) = (networks::small(), networks::small_items(8, 4));
    let reveal = Reveal { what: Revealed::Logits, to: Receiver::P1 };
    let (plan, _) = common::plan_for(&graph, &items, 32, Weights::Held, reveal);
    let mut expected = [0u64; 2];
    let keys = |len: usize, width: u32| len as u64 * 16 * (u64::from(width.saturating_sub(8)) + 1);
    for entry in &plan.gates {
        let [p0, p1] = match &entry.gate {
            Gate::Linear(gate) => [0, 4 * gate.shape.out_len() as u64],
            Gate::Max(gate) => {
                let pairs = gate.windows.pairs(gate.level);
                let both = keys(pairs, gate.width);
                [both, both + (3 * pairs as u64 * u64::from(gate.width)).div_ceil(8)]
            }
            Gate::Relu(gate) => [keys(gate.len, gate.width), keys(gate.len, gate.width) + 5 * 4 * gate.len as u64],
            Gate::Truncate(gate) => {
                [0, 4 * gate.len as u64 + (gate.len as u64 * u64::from(32 - gate.width)).div_ceil(8)]
            }
            _ => [0, 0],
        };
        expected = [expected[0] + p0, expected[1] + p1];
    }
    assert_eq!(plan.totals(1).material_bytes, expected);
}
