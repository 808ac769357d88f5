//! Training in float32: seconds a step of networks of the zoo, in one thread, and with `mnist` how well network1 learns.
//!
//! `cargo run --release -p ariann-graph --example training [-- NETWORK BATCH ...]`
//!
//! With some seeds the ReLU behind network1's last layer leaves classes without a gradient, and they stay so.
//! `ARIANN_DATA=FOLDER cargo run --release -p ariann-graph --example training -- mnist [STEPS [SEED]]`

use std::io::Read;
use std::path::Path;
use std::time::Instant;

use ariann_graph::import_for_training_bytes;
use ariann_graph::training::{Loss, Recipe, Rehearsal, Trainer, evaluation, order, training_step};
use ariann_graph::zoo::{Options, network};

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn recipe(loss: Loss, batch: usize, lr: f64) -> Recipe {
    Recipe { momentum: 0.9, dropout: 0.5, ..Recipe::plain(loss, batch, lr) }
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "mnist") {
        let steps = arguments.get(1).map_or(Ok(400), |steps| steps.parse())?;
        return mnist(steps, arguments.get(2).map_or(Ok(4), |seed| seed.parse())?);
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    println!("| network | batch | nodes | values | multiply-adds (M) | seconds a step | in a rehearsal |");
    println!("|---|---|---|---|---|---|---|");
    let own = arguments.as_chunks::<2>().0.iter().map(|[name, batch]| Ok((name.as_str(), batch.parse()?)));
    let mut networks = own.collect::<Result<Vec<(&str, usize)>, Failure>>()?;
    if networks.is_empty() {
        networks = vec![("network1", 128), ("lenet", 128), ("resnet8", 32), ("alexnet-cifar", 32)];
    }
    for (name, batch) in networks {
        pool.install(|| time(name, batch))?;
    }
    Ok(())
}

fn time(name: &str, batch: usize) -> Result<(), Failure> {
    let graph = import_for_training_bytes(&network(name, &Options::default())?.onnx)?;
    let step = training_step(&graph, &recipe(Loss::CrossEntropy, batch, 0.01), 0.01, true)?;
    let mut trainer = Trainer::new(&step);
    let features: Vec<f32> = (0..batch * step.item_len).map(|i| (i * 7919 % 256) as f32 / 256.0).collect();
    let labels: Vec<u32> = (0..batch).map(|item| (item % step.classes) as u32).collect();
    let mut rehearsal = Rehearsal::new(&step);
    let mut medians = [0.0; 2];
    for (observed, median) in medians.iter_mut().enumerate() {
        let mut seconds = Vec::new();
        for number in 0..8 {
            let start = Instant::now();
            match observed {
                0 => drop(trainer.run(&step, &features, &labels, number)),
                _ => drop(rehearsal.step(&mut trainer, &step, &features, &labels, number)?),
            }
            seconds.push(start.elapsed().as_secs_f64());
        }
        seconds.sort_by(f64::total_cmp);
        *median = seconds[3];
    }
    let [plain, observed] = medians;
    let products = step.nodes.iter().filter_map(|node| match &node.op {
        ariann_graph::training::StepOp::Product(product) => Some(product.multiply_adds()),
        _ => None,
    });
    let (values, products) = (step.nodes.iter().map(|node| node.len).sum::<usize>(), products.sum::<u64>());
    let (nodes, millions) = (step.nodes.len(), products as f64 / 1e6);
    println!("| {name} | {batch} | {nodes} | {values} | {millions:.0} | {plain:.4} | {observed:.4} |");
    Ok(())
}

fn unpacked(path: &Path, head: usize) -> Result<Vec<u8>, Failure> {
    let file = std::fs::File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(file).read_to_end(&mut bytes)?;
    Ok(bytes.split_off(head))
}

fn mnist(steps: usize, seed: u64) -> Result<(), Failure> {
    let folder = std::env::var("ARIANN_DATA").map_err(|_| "ARIANN_DATA names no folder")?;
    let folder = Path::new(&folder).join("mnist");
    let part = |name: &str| -> Result<(Vec<f32>, Vec<u32>), Failure> {
        let images = unpacked(&folder.join(format!("{name}-images-idx3-ubyte.gz")), 16)?;
        let labels = unpacked(&folder.join(format!("{name}-labels-idx1-ubyte.gz")), 8)?;
        let pixel = |&byte: &u8| (f32::from(byte) / 255.0 - 0.1307) / 0.3081;
        Ok((images.iter().map(pixel).collect(), labels.into_iter().map(u32::from).collect()))
    };
    let (images, labels) = part("train")?;
    let (test_images, test_labels) = part("test-even")?;
    let batch = 128;
    let graph = import_for_training_bytes(&network("network1", &Options::default())?.onnx)?;
    let recipe = Recipe { seed, ..recipe(Loss::Mse, batch, 0.01) };
    let step = training_step(&graph, &recipe, recipe.lr, true)?;
    let mut trainer = Trainer::new(&step);
    let order = order(labels.len() as u32, recipe.seed, 0);
    for (number, items) in order.chunks_exact(batch).cycle().take(steps).enumerate() {
        let features: Vec<f32> =
            items.iter().flat_map(|&item| &images[item as usize * 784..][..784]).copied().collect();
        let own: Vec<u32> = items.iter().map(|&item| labels[item as usize]).collect();
        let outcome = trainer.run(&step, &features, &own, number as u64);
        if number % 50 == 0 {
            println!("step {number}: loss {:.4}", outcome.loss.unwrap_or(f64::NAN) / batch as f64);
        }
    }
    let count = test_labels.len();
    let evaluation = evaluation(&graph, &recipe, count)?;
    trainer.run(&evaluation, &test_images, &test_labels, 0);
    let right = trainer.states().last().map_or(0.0, |count| count[0]);
    println!("{right} of {count} test images after {steps} steps: {:.2} %", 100.0 * right / count as f32);
    Ok(())
}
