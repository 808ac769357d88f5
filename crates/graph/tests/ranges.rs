//! Ranges, observed and proven.

mod common;
#[path = "common/networks.rs"]
mod networks;

use ariann_graph::interval::{IntervalError, interval_by_channel};
use ariann_graph::{CalibrateError, Executor, Graph, Op, RangeSource, Ranges, calibrate, interval};
use networks::{Builder, Numbers, conv_shape, networks};
use proptest::prelude::*;

/// Greatest magnitude of each layer's outputs, taken directly.
fn greatest(graph: &Graph, items: usize, x: &[f32]) -> Vec<f64> {
    let mut greatest = vec![0f64; graph.nodes.len()];
    let run = Executor::new(graph).run_observed(items, x, |step| {
        let found = step.output.iter().fold(0f64, |max, &value| max.max(f64::from(value).abs()));
        greatest[step.node] = greatest[step.node].max(found);
    });
    run.expect("the items fit");
    greatest
}

fn check_within(ranges: &Ranges, observed: &[f64]) -> Result<(), TestCaseError> {
    prop_assert_eq!(ranges.nodes.len(), observed.len());
    for (layer, observed) in ranges.nodes.iter().zip(observed) {
        prop_assert!(*observed <= layer.output.max_abs, "{}: {} beyond {}", layer.name, observed, layer.output.max_abs);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// No input inside the range, its corners least of all, leaves the bounds.
    #[test]
    fn interval_bounds_hold(graph in networks(), lo in -3f32..1.0, width in 0f32..4.0, seed in any::<u64>()) {
        let hi = lo + width;
        let ranges = interval(&graph, lo, hi).expect("a right range");
        prop_assert_eq!(ranges.source, RangeSource::Proven);
        let mut numbers = Numbers(seed);
        let items = 24;
        let x: Vec<f32> = (0..items * graph.input.len())
            .map(|place| {
                let number = numbers.one();
                let inside = (lo + (number + 1.0) / 2.0 * width).clamp(lo, hi);
                let corner = if number < 0.0 { lo } else { hi };
                if place / graph.input.len() % 2 == 0 { inside } else { corner }
            })
            .collect();
        check_within(&ranges, &greatest(&graph, items, &x))?;
    }

    /// For a single layer the bound is reached by the corner that its signs choose: it is not merely large.
    #[test]
    fn the_bound_of_one_layer_is_tight(outputs in 1usize..5, inputs in 1usize..40, lo in -2f32..1.0, width in 0.1f32..3.0, seed in any::<u64>()) {
        let mut builder = Builder::new(&[inputs], seed);
        builder.dense(outputs, true);
        let graph = builder.graph;
        let hi = lo + width;
        let bound = interval(&graph, lo, hi).expect("a right range").nodes[0].output.max_abs;
        let Op::Dense(dense) = &graph.nodes[0].op else { unreachable!() };
        let corners = dense.weights.data().chunks_exact(inputs).flat_map(|row| {
            let up: Vec<f32> = row.iter().map(|&w| if w > 0.0 { hi } else { lo }).collect();
            let down: Vec<f32> = row.iter().map(|&w| if w > 0.0 { lo } else { hi }).collect();
            up.into_iter().chain(down)
        });
        let x: Vec<f32> = corners.collect();
        let reached = greatest(&graph, 2 * outputs, &x)[0];
        prop_assert!(reached <= bound && bound <= reached * 1.0001 + 1e-4, "{} reached of {}", reached, bound);
    }

    /// What was calibrated on covers itself, and never exceeds what is proven.
    #[test]
    fn calibration_lies_within_the_proof(graph in networks(), seed in any::<u64>()) {
        let x = Numbers(seed).many(20 * graph.input.len());
        let observed = calibrate(&graph, 20, &x).expect("the items fit");
        prop_assert_eq!(observed.source, RangeSource::Calibrated { items: 20 });
        let proven = interval(&graph, -1.0, 1.0).expect("a right range");
        let exact: Vec<f64> = observed.nodes.iter().map(|layer| layer.output.max_abs).collect();
        prop_assert_eq!(&exact, &greatest(&graph, 20, &x));
        check_within(&proven, &exact)?;
        prop_assert!(observed.input.max_abs <= 1.0 && observed.input.rms <= observed.input.max_abs);
        for layer in observed.nodes.iter().chain(&proven.nodes) {
            prop_assert!(layer.output.rms <= layer.output.max_abs && layer.weights.rms <= layer.weights.max_abs);
        }
    }
}

#[test]
fn one_range_a_channel_is_tighter_than_one_for_all() {
    let mut builder = Builder::new(&[2, 4, 4], 5);
    builder.conv(conv_shape(2, 4, 3, 3, 1, 1), true);
    let graph = builder.graph;
    let wide = interval(&graph, -4.0, 4.0).expect("a right range");
    let narrow = interval_by_channel(&graph, &[(-4.0, 4.0), (0.0, 1.0)]).expect("right ranges");
    assert!(narrow.nodes[0].output.max_abs < wide.nodes[0].output.max_abs);
    assert_eq!(narrow.input.max_abs, 4.0);
    let corner: Vec<f32> = (0..32).map(|place| if place < 16 { 4.0 } else { 1.0 }).collect();
    assert!(greatest(&graph, 1, &corner)[0] <= narrow.nodes[0].output.max_abs);
}

#[test]
fn known_statistics() {
    let mut builder = Builder::new(&[2], 1);
    builder.dense(1, false);
    let mut graph = builder.graph;
    let Op::Dense(dense) = &mut graph.nodes[0].op else { unreachable!() };
    dense.weights.data_mut().copy_from_slice(&[3.0, -4.0]);
    dense.bias = Some(vec![10.0]);
    let ranges = calibrate(&graph, 2, &[1.0, 0.0, 0.0, -1.0]).expect("the items fit");
    let layer = &ranges.nodes[0];
    assert_eq!((layer.name.as_str(), layer.output.max_abs, ranges.input.max_abs), ("layer1", 14.0, 1.0));
    assert_eq!((layer.weights.max_abs, layer.weights.rms), (10.0, 12.5f64.sqrt()));
    assert_eq!((layer.output.rms, ranges.input.rms), (((13.0f64 * 13.0 + 14.0 * 14.0) / 2.0).sqrt(), 0.5f64.sqrt()));
    let json = serde_json::to_string(&ranges).expect("ranges are plain data");
    assert!(json.contains(r#""source":{"calibrated":{"items":2}}"#), "{json}");
    assert_eq!(serde_json::from_str::<Ranges>(&json).expect("it was written so"), ranges);
}

#[test]
fn what_cannot_be_observed_or_proven_is_refused() {
    let mut builder = Builder::new(&[3, 2, 2], 1);
    builder.dense(2, true);
    let graph = builder.graph;
    assert_eq!(calibrate(&graph, 0, &[]), Err(CalibrateError::NoItems));
    let short = calibrate(&graph, 2, &[0.0; 23]).expect_err("an item is too short").to_string();
    assert!(short.contains("23 values where 2 items of shape [3, 2, 2]"), "{short}");
    let mut x = [0.0; 24];
    x[14] = f32::NAN;
    let text = calibrate(&graph, 2, &x).expect_err("a NaN").to_string();
    assert!(text.contains("value 2 of item 1 is NaN"), "{text}");
    assert!(matches!(interval(&graph, 1.0, 0.0), Err(IntervalError::Range { .. })));
    assert!(matches!(interval(&graph, f32::NAN, 0.0), Err(IntervalError::Range { .. })));
    assert!(matches!(interval(&graph, 0.0, f32::INFINITY), Err(IntervalError::Range { .. })));
    assert!(matches!(interval_by_channel(&graph, &[(0.0, 1.0); 2]), Err(IntervalError::Count { got: 2, .. })));
    assert!(matches!(interval_by_channel(&graph, &[]), Err(IntervalError::Count { got: 0, .. })));
}

#[test]
fn a_layer_that_leaves_the_floats_is_named() {
    let mut builder = Builder::new(&[2], 1);
    builder.dense(1, false);
    let mut graph = builder.graph;
    let Op::Dense(dense) = &mut graph.nodes[0].op else { unreachable!() };
    dense.weights.data_mut().copy_from_slice(&[f32::MAX, f32::MAX]);
    let error = calibrate(&graph, 1, &[2.0, 2.0]).expect_err("the sum is infinite");
    assert_eq!(error, CalibrateError::NotFinite { layer: "layer1".into() });
}
