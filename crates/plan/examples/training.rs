//! The plan of a training step: `cargo run --release -p ariann-plan --example training lenet 128 32`. Ranges are those of a
//! few steps on made-up items. The last line is what it costs to measure them anew.

use ariann_gates::Cost;
use ariann_graph::training::{Loss, Recipe, Rehearsal, Trainer, training_step};
use ariann_graph::{import, zoo};
use ariann_plan::training::{MARGIN, Source, TrainingOptions, compile, measure, measured};
use ariann_plan::{Gate, InputSpec, Link, Optimize, SignChoice, Totals};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let given = |place: usize, otherwise: &str| arguments.get(place).cloned().unwrap_or_else(|| otherwise.to_string());
    let (name, batch, ring) = (given(1, "lenet"), given(2, "128").parse()?, given(3, "32").parse()?);
    let loss = if given(4, "mse") == "ce" { Loss::CrossEntropy } else { Loss::Mse };
    let network = zoo::network(&name, &zoo::Options::default())?;
    let graph = import::import_for_training_bytes(&network.onnx)?;
    let recipe = Recipe { momentum: 0.9, seed: 1, ..Recipe::plain(loss, batch, 0.01) };
    let step = training_step(&graph, &recipe, recipe.lr, false)?;
    let mut trainer = Trainer::new(&step);
    let mut rehearsal = Rehearsal::new(&step);
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1 << 24) as f32
    };
    for number in 0..4 {
        let features: Vec<f32> = (0..batch * step.item_len).map(|_| next() * 2.0 - 0.6).collect();
        let labels: Vec<u32> = (0..batch).map(|_| (next() * step.classes as f32) as u32).collect();
        rehearsal.step(&mut trainer, &step, &features, &labels, number)?;
    }
    let ranges = rehearsal.ranges()?;
    let options = TrainingOptions {
        ring,
        margin: MARGIN,
        features: Source::P1,
        labels: Source::P1,
        loss: None,
        input: InputSpec::plain("input", &network.input, [-3.0, 3.0]),
        optimize: Optimize::Time,
        sign: SignChoice::Exact,
        link: Link::LOOPBACK,
        before: None,
        shared: None,
    };
    let plan = compile(&step, &ranges, &options)?;
    plan.check()?;
    for (number, entry) in plan.gates.iter().enumerate() {
        let Cost { comparisons, material, exchanges, .. } = plan.cost(number);
        let width = match &entry.gate {
            Gate::Open(open) => format!("[{}, {})", open.window.shift, open.window.top),
            Gate::Relu(relu) => format!("{} bits {:?}", relu.width, relu.form),
            Gate::Max(max) => format!("{} bits {:?}", max.width, max.form),
            _ => String::new(),
        };
        println!(
            "{number:4} {:42} {:9} {:9} frac {:3} x{:<4} {comparisons:8} {:10} {} {width}",
            entry.name,
            entry.gate.kind(),
            plan.result_len(number),
            entry.scale.frac,
            entry.scale.factor,
            material[0] + material[1],
            exchanges.len(),
        );
    }
    let totals = plan.totals(1);
    println!("{totals:?}");
    let left = plan.training.iter().flat_map(|training| &training.states).map(|state| state.after).collect();
    let turn = measure(&step, &ranges, &TrainingOptions { before: Some(left), ..options })?;
    turn.check()?;
    let measuring = turn.totals(1);
    println!("{measuring:?}");
    let part = |of: u64, all: u64| of as f64 / all as f64;
    let bytes = |totals: &Totals| (totals.material_bytes.iter().sum(), totals.online_bytes.iter().sum());
    let ((material, online), (of_step, sent)) = (bytes(&measuring), bytes(&totals));
    println!(
        "a turn that measures {} ranges: {} comparisons ({:.2} of a step's), {material} bytes of material ({:.2}), {online} bytes \
         online ({:.2}), {} exchanges ({:.2}), {} bytes of memory ({:.2})",
        measured(&step).len(),
        measuring.comparisons,
        part(measuring.comparisons, totals.comparisons),
        part(material, of_step),
        part(online, sent),
        measuring.exchanges,
        part(measuring.exchanges, totals.exchanges),
        measuring.memory_bytes[1],
        part(measuring.memory_bytes[1], totals.memory_bytes[1]),
    );
    Ok(())
}
