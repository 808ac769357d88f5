//! The bundled network on bundled images: the engine's results against the float model, for every mode.

mod common;

use ariann_gates::Receiver;
use ariann_gates::linear::Weights;
use ariann_graph::Executor;
use ariann_plan::{Plan, Reveal, Revealed};
use ariann_ring::Ring;
use ariann_session::hooks::Nothing;
use ariann_session::query::argmax;

fn agree<R: Ring>(weights: Weights, reveal: Reveal) {
    let (graph, items) = common::networks::bundled_model(6);
    let (plan, _): (Plan, _) = common::plan_for(&graph, &items, R::BITS, weights, reveal);
    let [p0, p1] = common::run::<R>(&plan, &graph, &items, &common::Seeds::draw(), [&mut Nothing, &mut Nothing]);
    assert_eq!(p0.is_some(), reveal.to != Receiver::P1);
    assert_eq!(p1.is_some(), reveal.to != Receiver::P0);
    let clear = Executor::new(&graph).run(items.count, &items.values).unwrap();
    for result in [p0, p1].into_iter().flatten() {
        for (item, row) in clear.chunks(plan.output.classes).enumerate() {
            match reveal.what {
                Revealed::Label => assert_eq!(result[item].to_u64(), u64::from(argmax(row)), "item {item}"),
                Revealed::Logits => {
                    for (class, logit) in row.iter().enumerate() {
                        let private = result[item * row.len() + class].to_i64() as f64 * plan.output.scale.unit();
                        assert!((private - f64::from(*logit)).abs() < 0.02, "item {item}: {private} for {logit}");
                    }
                }
                _ => unreachable!("no result of a prediction"),
            }
        }
    }
}

#[test]
fn logits_in_every_mode_and_ring() {
    for weights in [Weights::Held, Weights::Shared, Weights::Public] {
        for to in [Receiver::P0, Receiver::P1, Receiver::Both] {
            agree::<u32>(weights, Reveal { what: Revealed::Logits, to });
        }
        agree::<u64>(weights, Reveal { what: Revealed::Logits, to: Receiver::P1 });
    }
}

#[test]
fn labels_in_every_mode_and_ring() {
    for weights in [Weights::Held, Weights::Shared, Weights::Public] {
        for to in [Receiver::P0, Receiver::P1, Receiver::Both] {
            agree::<u32>(weights, Reveal { what: Revealed::Label, to });
        }
        agree::<u64>(weights, Reveal { what: Revealed::Label, to: Receiver::Both });
    }
}

#[test]
fn a_plan_knows_its_model() {
    let (graph, items) = common::networks::bundled_model(6);
    let reveal = Reveal { what: Revealed::Logits, to: Receiver::P1 };
    let (plan, _): (Plan, _) = common::plan_for(&graph, &items, 32, Weights::Held, reveal);
    assert!(plan.computes(&graph));
    // The same weights without one of the ReLUs.
    let mut other = graph.clone();
    let relu = other.nodes.iter().position(|node| matches!(node.op, ariann_graph::Op::Relu)).unwrap();
    other.nodes[relu].op = ariann_graph::Op::Reshape;
    assert!(!plan.computes(&other));
}
