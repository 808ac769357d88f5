//! How fast a model is computed in clear: in floats, in fixed point, and its ranges observed.
//!
//! `cargo run --release -p ariann-graph --example clear_speed -- MODEL.onnx ITEMS`

use std::time::Instant;

use ariann_graph::clear::{self, FixedPoint, LayerScale, Nearest};
use ariann_graph::{Executor, calibrate, import, interval};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let model = arguments.next().ok_or("usage: clear_speed MODEL.onnx ITEMS")?;
    let items: usize = arguments.next().ok_or("usage: clear_speed MODEL.onnx ITEMS")?.parse()?;
    let graph = timed("import", || import(model.as_ref()))?;
    let x: Vec<f32> = (0..items * graph.input.len()).map(|i| (i * 7919 % 256) as f32 / 255.0).collect();
    timed("float executor", || Executor::new(&graph).run(items, &x))?;
    timed("calibration", || calibrate(&graph, items, &x))?;
    timed("interval bounds", || interval(&graph, 0.0, 1.0))?;
    let count = graph.linear_nodes().count();
    let layer = |index| LayerScale { weight_frac: 10, shift: 10, top: 32, truncated: index + 1 < count };
    let mut fixed = FixedPoint { ring_bits: 32, input_frac: 10, layers: (0..count).map(layer).collect() };
    timed("fixed point, 32 bits", || clear::run::<u32>(&graph, &fixed, items, &x, &mut Nearest))?;
    fixed.ring_bits = 64;
    timed("fixed point, 64 bits", || clear::run::<u64>(&graph, &fixed, items, &x, &mut Nearest))?;
    Ok(())
}

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    println!("{what}: {:.3} s", start.elapsed().as_secs_f64());
    result
}
