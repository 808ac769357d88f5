//! `ariann train`: dealer, P0 and P1 as three processes on this machine, or one of them by its configuration.

use std::path::{Path, PathBuf};

use ariann_data::bundled;
use ariann_gates::{Party, Receiver};
use ariann_graph::zoo;
use ariann_net::Shape;
use ariann_plan::{Optimize, SignChoice};
use ariann_session::SessionError;
use serde_json::json;

use crate::forecast;
use crate::options::{self, PixelOptions, PreprocessOptions};
use crate::output::Output;
use crate::run::{self};
use crate::train::cost::Cost;
use crate::train::data::Set;
use crate::train::job::{self, Choices};
use crate::train::prepare::{Calibration, Prepared, classes, declare};
use crate::train::recipe::{Chosen, RecipeOptions};
use crate::train::reveal::{self, RevealOption, Reveals};

/// Arguments of `train`. Without any, network1 learns the bundled images.
///
/// P0 brings the model (or fresh weights of a public seed), P1 the data, unless --features-from and --labels-from say otherwise.
/// Weights, gradients, items and labels stay hidden from both; what is revealed is named by --reveal and told before the start.
#[derive(clap::Args)]
pub struct Args {
    /// A network of the zoo, with fresh weights: network1 by default.
    #[arg(long, value_name = "NAME", conflicts_with = "model")]
    network: Option<String>,
    /// The model to begin with, ONNX, with its own weights.
    #[arg(long, value_name = "FILE.onnx", requires = "input")]
    model: Option<PathBuf>,
    /// Training items: IDX (also gzip), .npy, CIFAR-10 (.bin, .bin.gz), PNG, JPEG, or a folder; bundled images by default.
    #[arg(long, value_name = "DATA")]
    input: Option<PathBuf>,
    /// Their labels: a file, or the word folders when each image lies in the folder of its class. A CIFAR-10 file has its own.
    #[arg(long, value_name = "FILE|folders")]
    labels: Option<PathBuf>,
    /// Items of the test set.
    #[arg(long, value_name = "DATA")]
    test_input: Option<PathBuf>,
    /// Their labels.
    #[arg(long, value_name = "FILE|folders")]
    test_labels: Option<PathBuf>,
    /// First items of the training set only.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    #[command(flatten)]
    recipe: RecipeOptions,
    /// Bits of the ring: 32 by default where there is --calibration, 64 otherwise.
    #[arg(long, value_parser = options::parse_ring)]
    ring: Option<u32>,
    /// Items that a rehearsal in clear trains on, to observe ranges: public ones, or the model owner's; never the private ones.
    /// Without it, items are made up.
    #[arg(long, value_name = "DATA")]
    calibration: Option<PathBuf>,
    /// Their labels.
    #[arg(long, value_name = "FILE|folders", requires = "calibration")]
    calibration_labels: Option<PathBuf>,
    /// Items of the calibration data that are used at most, the first ones.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    calibration_limit: usize,
    /// Steps of the rehearsal.
    #[arg(long, value_name = "STEPS", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    rehearse: u32,
    /// What the form of each comparison is chosen for: time (of the forecast for the link), latency (fewest exchanges) or
    /// material (least).
    #[arg(long, default_value = "time", value_parser = options::parse_optimize)]
    optimize: Optimize,
    /// How ReLU decides a sign: exact, or coarse, on the top bits alone (docs/accuracy.md).
    #[arg(long, default_value = "exact", value_parser = options::parse_sign)]
    sign: SignChoice,
    #[command(flatten)]
    preprocess: PreprocessOptions,
    #[command(flatten)]
    pixels: PixelOptions,
    /// Least and greatest value of an input; others are refused. By default what all bytes become.
    #[arg(long, value_name = "LO,HI", value_parser = options::parse_range, allow_hyphen_values = true)]
    input_range: Option<[f64; 2]>,
    /// What somebody learns: model:p0, p1, both or none (p0 by default), loss[:WHO] (of every step), accuracy[:WHO] (on the
    /// test set, after every epoch; p1 by default). May be repeated; nothing else is revealed.
    #[arg(long, value_name = "WHAT:WHO", value_parser = reveal::parse)]
    reveal: Vec<RevealOption>,
    /// Who brings the items: p0 or p1.
    #[arg(long, value_name = "WHO", default_value = "p1", value_parser = parse_party)]
    features_from: Party,
    /// Who brings the labels: p0 or p1.
    #[arg(long, value_name = "WHO", default_value = "p1", value_parser = parse_party)]
    labels_from: Party,
    /// Also train in float with the same recipe, order and start, and tell its accuracy beside the private one. For one's
    /// own data: it reveals the accuracy.
    #[arg(long)]
    compare_clear: bool,
    /// The link between P0 and P1: loopback (as it is), lan (1 Gbit/s, 0.5 ms round trip) or wan (100 Mbit/s, 70 ms).
    #[arg(long)]
    link: Option<Shape>,
    /// Write the public job for roles on separate machines, and end.
    #[arg(long, value_name = "FILE")]
    job_only: Option<PathBuf>,
    /// Items of the training set, where it is not here.
    #[arg(long, value_name = "N", requires = "job_only", conflicts_with = "input")]
    rows: Option<usize>,
    /// Items of the test set, where it is not here.
    #[arg(long, value_name = "N", requires = "job_only", conflicts_with = "test_input")]
    test_rows: Option<usize>,
}

pub fn run(mut args: Args, output: &Output) -> Result<(), SessionError> {
    run::heed_interrupts()?;
    let folder = run::folder(None)?;
    let demonstration = args.input.is_none() && args.rows.is_none();
    if demonstration {
        use_bundled(&mut args, folder.path())?;
    }
    let (model, network) = args.the_model(folder.path())?;
    let Chosen { recipe, taken } = args.recipe.choose(network.as_deref(), demonstration);
    let graph = ariann_graph::import_for_training(&model)?;
    let declared = declare(&graph, &args.preprocess, &args.pixels, args.input_range)?;
    let classes = classes(&graph);
    let read = |input: &Option<PathBuf>, labels: &Option<PathBuf>, limit| {
        let set = |input: &PathBuf| Set::read(&declared, classes, input, labels.as_deref(), limit);
        input.as_ref().map(set).transpose()
    };
    let (train, test) =
        (read(&args.input, &args.labels, args.limit)?, read(&args.test_input, &args.test_labels, None)?);
    let reveals = args.reveals()?;
    let rows = [(&train, args.rows), (&test, args.test_rows)]
        .map(|(set, rows)| set.as_ref().map_or(rows.unwrap_or(0), Set::count));
    let rows = [rows[0], if reveals.accuracy.is_some() { rows[1] } else { 0 }];
    let prepared = Prepared::new(graph, declared, recipe, rows, reveals.loss.is_some() || args.compare_clear)?;
    if !output.is_json() && !taken.is_empty() {
        output.line(&taken);
    }
    let calibration = Calibration {
        path: args.calibration.as_ref(),
        labels: args.calibration_labels.as_deref(),
        limit: args.calibration_limit,
    };
    let private = args.input.as_deref().filter(|_| !demonstration);
    let public = calibration.read(&prepared, classes, private)?;
    let rehearsed = prepared.rehearse(&public, args.rehearse as usize, &mut output.progress())?;
    let choices = Choices {
        ring: args.ring.unwrap_or(if args.calibration.is_some() { 32 } else { 64 }),
        features: args.features_from,
        labels: args.labels_from,
        reveals,
        optimize: args.optimize,
        sign: args.sign,
        link: forecast::link(args.link),
    };
    let job = job::make(&prepared, &rehearsed, &choices)?;
    let cost = Cost::new(&job, &choices.link);
    if let Some(path) = &args.job_only {
        job.write(path).map_err(|error| SessionError::Config(error.to_string()))?;
        if output.is_json() {
            output.document(&json!({ "job": path, "digest": job.digest_hex(), "plans": job.plans.len(), "steps": cost.steps, "reveals": reveals.names(), "step": cost.document() }));
        } else {
            output.line(&cost.text(&prepared, &job));
            output.line(&format!("written to {} (digest {})", path.display(), &job.digest_hex()[..16]));
        }
        return Ok(());
    }
    Ok(())
}

impl Args {
    /// The model file, and the name of the network where it is one of the zoo.
    fn the_model(&self, folder: &Path) -> Result<(PathBuf, Option<String>), SessionError> {
        if let Some(model) = &self.model {
            return Ok((model.clone(), None));
        }
        let name = self.network.as_deref().unwrap_or("network1");
        let options = zoo::Options { seed: self.recipe.seed, ..zoo::Options::default() };
        let network = zoo::network(name, &options).map_err(|error| SessionError::Config(error.to_string()))?;
        let path = folder.join(format!("{name}.onnx"));
        std::fs::write(&path, &network.onnx).map_err(|source| SessionError::file("writing", &path, source))?;
        Ok((path, Some(name.to_string())))
    }

    /// Who learns what. Comparing with training in clear wants the accuracy, where there is a test set.
    fn reveals(&self) -> Result<Reveals, SessionError> {
        let mut reveals = Reveals::new(&self.reveal);
        let tested = self.test_input.is_some() || self.test_rows.is_some();
        if self.compare_clear && tested && reveals.accuracy.is_none() {
            reveals.accuracy = Some(Receiver::P1);
        }
        if reveals.accuracy.is_some() && !tested {
            let reason = "--reveal accuracy: on which items? give --test-input and --test-labels";
            return Err(SessionError::Config(reason.to_string()));
        }
        Ok(reveals)
    }
}

/// Writes the bundled images to the run's folder and names them as if they had been given.
fn use_bundled(args: &mut Args, folder: &Path) -> Result<(), SessionError> {
    if args.labels.is_some() || args.test_input.is_some() {
        return Err(SessionError::Config("--labels and --test-input go with --input".to_string()));
    }
    let place = |file: bundled::File| -> Result<PathBuf, SessionError> {
        let path = folder.join(file.name);
        std::fs::write(&path, file.bytes).map_err(|source| SessionError::file("writing", &path, source))?;
        Ok(path)
    };
    args.input = Some(place(bundled::train_images())?);
    args.labels = Some(place(bundled::train_labels())?);
    args.test_input = Some(place(bundled::test_images())?);
    args.test_labels = Some(place(bundled::test_labels())?);
    if args.calibration.is_none() {
        // They are public, so they may shape the plan.
        (args.calibration, args.calibration_labels) = (args.input.clone(), args.labels.clone());
    }
    args.compare_clear = true;
    Ok(())
}

fn parse_party(text: &str) -> Result<Party, String> {
    match text {
        "p0" => Ok(Party::P0),
        "p1" => Ok(Party::P1),
        _ => Err("give p0 or p1".to_string()),
    }
}
