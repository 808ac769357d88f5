//! How far the gradients of one step in fixed point and in float32 are from those in float64, layer by layer:
//! `cargo run --release -p ariann-testkit --example gradients -- alexnet-cifar 32 32 ce DATA [RESIZE]`
//! (network, batch, ring, loss, items with their labels). The step is computed by the reference that a private run agrees
//! with, rounded without bias as there. The last lines are all gradients together, the median and the worst one.

use ariann_data::{Choice, Preprocess, load_images, own_labels};
use ariann_gates::Window;
use ariann_graph::training::{Initial, Loss, Recipe, Rehearsal, Role, Trainer, order, step_in_f64, training_step};
use ariann_graph::{import, zoo};
use ariann_plan::clear::{Reference, Rounding};
use ariann_plan::training::{MARGIN, Source, TrainingOptions, compile, encode_states};
use ariann_plan::{InputSpec, Link, Optimize, SignChoice};

/// Up or down by chance, without bias: what the dealer's coin and the parties' masks make of a window's opening.
struct Chance(u64);

impl Rounding for Chance {
    fn round(&mut self, _gate: u32, _first: usize, z: &[i64], window: Window, out: &mut [i64]) {
        for (out, z) in out.iter_mut().zip(z) {
            self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let noise = (u128::from(self.0) << window.shift >> 64) as i128;
            *out = ((i128::from(*z) + noise) >> window.shift) as i64;
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, name, batch, ring, loss, data, rest @ ..] = arguments.as_slice() else {
        return Err("give a network, the batch, 32 or 64, mse or ce, and a file or folder of items".into());
    };
    let (batch, ring): (usize, u32) = (batch.parse()?, ring.parse()?);
    let input = rest.first().map(|size| size.parse::<usize>()).transpose()?.map(|size| [3, size, size]);
    let network = zoo::network(name, &zoo::Options { input, ..zoo::Options::default() })?;
    let graph = import::import_for_training_bytes(&network.onnx)?;
    let loss = if loss == "ce" { Loss::CrossEntropy } else { Loss::Mse };
    let recipe = Recipe { momentum: 0.9, seed: 1, initial: Initial::Model, ..Recipe::plain(loss, batch, 0.01) };
    let step = training_step(&graph, &recipe, recipe.lr, false)?;
    let spec = InputSpec {
        scale: 255.0,
        mean: vec![0.5],
        std: vec![0.5],
        ..InputSpec::plain("input", &network.input, [-1.0, 1.0])
    };
    let preprocess = Preprocess { scale: spec.scale, mean: spec.mean.clone(), std: spec.std.clone() };
    let size = input.map(|[_, size, _]| size);
    let pixels = ariann_data::Pixels {
        resize: size.map(|size| size as _),
        crop: size.map(|size| [size as _; 2]),
        ..Default::default()
    };
    let path = std::path::Path::new(data);
    let items = load_images(path, &preprocess, &pixels, Choice::All)?;
    let labels = match own_labels(path, None)? {
        Some(labels) => labels,
        None => ariann_data::folder_labels(path, None)?,
    };
    let classes = step.classes as u32;
    let shuffled = order(labels.len() as u32, 7, 0);
    let chosen = |from: usize| {
        let places = (0..batch).map(|place| shuffled[(from + place) % shuffled.len()] as usize);
        let (mut features, mut targets) = (Vec::new(), Vec::new());
        for place in places {
            features.extend_from_slice(items.item(place));
            targets.push(labels[place] as u32 % classes);
        }
        (features, targets)
    };
    // Ranges of a few steps on other items.
    let mut trainer = Trainer::new(&step);
    let mut rehearsal = Rehearsal::new(&step);
    for number in 1..5 {
        let (features, labels) = chosen(number * batch);
        rehearsal.step(&mut trainer, &step, &features, &labels, number as u64)?;
    }
    let options = TrainingOptions {
        ring,
        margin: MARGIN,
        features: Source::P1,
        labels: Source::P1,
        loss: None,
        input: spec,
        optimize: Optimize::Time,
        sign: SignChoice::Exact,
        link: Link::LOOPBACK,
        before: None,
        shared: None,
    };
    let plan = compile(&step, &rehearsal.ranges()?, &options)?;
    plan.check()?;
    let (features, labels) = chosen(0);
    let mut float = Trainer::new(&step);
    float.run(&step, &features, &labels, 0);
    let start: Vec<Vec<f32>> = step.states.iter().map(|state| state.initial.clone()).collect();
    let words = encode_states::<u64>(&plan, &start)?;
    let mut states: Vec<Vec<i64>> =
        words.into_iter().map(|state| state.into_iter().map(|x| x as i64).collect()).collect();
    let unit = plan.gates[0].scale.unit();
    let encoded = features.iter().map(|x| (f64::from(*x) / unit).round() as i64).collect();
    let mut hot = vec![0i64; batch * step.classes];
    labels.iter().enumerate().for_each(|(item, label)| hot[item * step.classes + *label as usize] = 1);
    let done = Reference::of_step(&plan).run_step(&mut states, encoded, hot, &mut Chance(1), [0, 0]);
    if let Some(excess) = done.excess {
        println!("left its bound: {excess:?}");
    }
    let wide = step_in_f64(&step, &features, &labels, |_, _| ());
    let line = |name: &str, [fixed, float, both]: [f64; 3]| println!("{name:40} {fixed:12.6} {float:12.6} {both:12.6}");
    println!("{:40} {:>12} {:>12} {:>12}", "relative L2, %", "fixed, f64", "f32, f64", "fixed, f32");
    let (mut all, mut each) = (Distances::default(), Vec::new());
    let specs = &plan.training.as_ref().ok_or("a plan of training")?.states;
    for (index, state) in step.states.iter().enumerate().filter(|(_, state)| state.role == Role::Velocity) {
        let scale = specs[index].after.unit();
        let mut one = Distances::default();
        for ((fixed, float), wide) in states[index].iter().zip(&float.states()[index]).zip(&wide[index]) {
            one.add(*fixed as f64 * scale, f64::from(*float), *wide);
        }
        line(&state.name, one.percent());
        all.join(&one);
        each.push(one.percent());
    }
    let ranked = |place: usize| {
        [0, 1, 2].map(|column| {
            let mut column: Vec<f64> = each.iter().map(|of| of[column]).collect();
            column.sort_by(f64::total_cmp);
            column[place]
        })
    };
    line("all", all.percent());
    line("median", ranked(each.len() / 2));
    line("worst", ranked(each.len() - 1));
    Ok(())
}

/// Squared distances of gradients in three arithmetics, and their squared norm in float64.
#[derive(Default)]
struct Distances {
    squares: [f64; 3],
    norm: f64,
}

impl Distances {
    fn add(&mut self, fixed: f64, float: f64, wide: f64) {
        let differences = [fixed - wide, float - wide, fixed - float];
        self.squares.iter_mut().zip(differences).for_each(|(sum, x)| *sum += x * x);
        self.norm += wide * wide;
    }

    fn join(&mut self, other: &Distances) {
        self.squares.iter_mut().zip(other.squares).for_each(|(sum, x)| *sum += x);
        self.norm += other.norm;
    }

    fn percent(&self) -> [f64; 3] {
        self.squares.map(|square| 100.0 * (square / self.norm).sqrt())
    }
}
