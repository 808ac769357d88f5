//! `ariann bench networks`: whole networks, by three processes over TLS, as `predict` runs them.

use std::path::{Path, PathBuf};

use ariann_graph::zoo::{self, Options};
use ariann_graph::{Executor, Graph};
use ariann_net::Shape;
use ariann_report::{bytes, seconds, table};
use ariann_session::query::argmax;
use ariann_session::{SessionError, config};
use serde_json::{Value, json};

use crate::html;
use crate::options::PlanOptions;
use crate::output::Output;
use crate::run::{self, Outcome, Task};

/// Arguments of `bench networks`.
#[derive(clap::Args)]
pub struct Args {
    /// Networks of the zoo (see `ariann zoo`), or ONNX files; the whole zoo by default.
    names: Vec<String>,
    /// Items computed together.
    #[arg(long, default_value_t = 1, conflicts_with = "original_batch")]
    batch: u32,
    /// The batches of the original's evaluation: 128, 64 for vgg16-32, 16 for vgg16-64, 8 for resnet18.
    #[arg(long)]
    original_batch: bool,
    /// Runs of the batch, one after the other; each is told.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// Threads of each party; half of the cores by default.
    #[arg(long)]
    threads: Option<usize>,
    /// Shape the link between P0 and P1 and measure it: loopback (as it is), lan (1 Gbit/s, 0.5 ms round trip) or wan
    /// (100 Mbit/s, 70 ms). The forms of the comparisons are chosen for it.
    #[arg(long)]
    link: Option<Shape>,
    /// Where the inputs come from, and the calibration items unless --calibration names some.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Also write a page on where time, bytes and material go, gate by gate.
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// Folder for the runs' files, among them all material; a temporary one by default. Removed afterwards.
    #[arg(long, value_name = "FOLDER")]
    work_dir: Option<PathBuf>,
    #[command(flatten)]
    options: PlanOptions,
}

/// Items that the scales are set by.
const CALIBRATION: usize = 16;
/// Telling the two kinds of random items apart.
const OF_CALIBRATION: u64 = 1 << 63;

/// A network's figures beyond those of a run.
struct Figures {
    outcome: Outcome,
    /// What the float model predicts for inputs and calibration items: how many differ.
    distinct: usize,
    looked_at: usize,
}

pub fn run(args: &Args, output: &Output) -> Result<(), SessionError> {
    run::heed_interrupts()?;
    let names: Vec<&str> = match args.names.as_slice() {
        [] => zoo::NAMES.to_vec(),
        names => names.iter().map(String::as_str).collect(),
    };
    // A slip in the last name is told before the first network runs.
    if let Some(name) = names.iter().find(|name| !zoo::NAMES.contains(name) && !Path::new(name).is_file()) {
        let known = zoo::NAMES.join(", ");
        return Err(SessionError::Config(format!("{name}: neither a file nor a network of the zoo ({known})")));
    }
    args.report.as_deref().map_or(Ok(()), html::check)?;
    let (mut documents, mut rows, mut pages, mut threads) = (Vec::new(), Vec::new(), Vec::new(), 1);
    for name in names {
        let figures = network(name, args, output)?;
        threads = figures.outcome.threads;
        if args.report.is_some() {
            pages.push(html::run(name, &figures.outcome));
        }
        if output.is_json() {
            documents.push(figures.document(name));
        } else {
            rows.push(figures.row(name));
        }
    }
    if let Some(path) = &args.report {
        html::write(path, "Private predictions, network by network", threads, pages)?;
    }
    if output.is_json() {
        output.document(&documents);
    } else {
        output.line(&table(&HEAD, &rows));
    }
    Ok(())
}

/// Items that the original runs together.
fn original_batch(name: &str) -> u32 {
    match name {
        "vgg16-32" => 64,
        "vgg16-64" => 16,
        "resnet18" => 8,
        _ => 128,
    }
}

fn network(name: &str, args: &Args, output: &Output) -> Result<Figures, SessionError> {
    let folder = run::folder(args.work_dir.as_deref())?;
    let write = |file: &str, bytes: &[u8]| -> Result<PathBuf, SessionError> {
        let path = folder.path().join(file);
        std::fs::write(&path, bytes).map_err(|source| SessionError::file("writing", &path, source))?;
        Ok(path)
    };
    let model = if zoo::NAMES.contains(&name) {
        let network =
            zoo::network(name, &Options::default()).map_err(|error| SessionError::Config(error.to_string()))?;
        write(&format!("{name}.onnx"), &network.onnx)?
    } else {
        PathBuf::from(name)
    };
    let shape = ariann_graph::import(&model)?.input.shape;
    let batch = if args.original_batch { original_batch(name) } else { args.batch };
    let count = batch as usize * args.runs as usize;
    let range = range(&args.options)?;
    let len = shape.iter().product::<usize>();
    let input = write("inputs.npy", &npy(count, &shape, &items(args.seed, count * len, range)))?;
    let calibration = items(args.seed ^ OF_CALIBRATION, CALIBRATION * len, range);
    let mut options = args.options.clone();
    if options.calibration.is_none() {
        options.calibration = Some(write("calibration.npy", &npy(CALIBRATION, &shape, &calibration))?);
    }
    options.input_range = Some(range.map(f64::from));
    let task = Task {
        model,
        input,
        labels: None,
        expected: None,
        limit: None,
        batch,
        stream: None,
        threads: args.threads,
        link: args.link,
        compare_clear: false,
        folder: folder.path(),
        options: &options,
    };
    let outcome = task.run(output)?;
    let mut clear = outcome.comparison.clear.clone();
    clear.extend(predictions(&outcome.graph, &calibration)?);
    let looked_at = clear.len();
    clear.sort_unstable();
    clear.dedup();
    Ok(Figures { outcome, distinct: clear.len(), looked_at })
}

/// What the float model predicts.
fn predictions(graph: &Graph, values: &[f32]) -> Result<Vec<u32>, SessionError> {
    let logits = config::pool(0)?.install(|| Executor::new(graph).run(values.len() / graph.input.len(), values));
    let logits = logits.map_err(|error| SessionError::Input(error.to_string()))?;
    Ok(logits.chunks(graph.output_len()).map(argmax).collect())
}

/// The range that inputs are drawn from: the declared one, or what bytes become in every channel.
fn range(options: &PlanOptions) -> Result<[f32; 2], SessionError> {
    let declared = options.input_range.map(|range| range.map(|value| value as f32));
    let preprocess = options.preprocess.preprocess();
    preprocess.check()?;
    let common = || preprocess.range().into_iter().reduce(|a, b| (a.0.max(b.0), a.1.min(b.1))).map(|(lo, hi)| [lo, hi]);
    let range = declared.or_else(common).unwrap_or([0.0, 1.0]);
    let [lo, hi] = range;
    if !(lo < hi && lo.is_finite() && hi.is_finite()) {
        return Err(SessionError::Config(format!("inputs between {lo} and {hi}: give --input-range LO,HI")));
    }
    Ok(range)
}

/// Public test items: `count` values, evenly spread over `range`, the same for the same seed.
fn items(seed: u64, count: usize, [lo, hi]: [f32; 2]) -> Vec<f32> {
    // SplitMix64.
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((word ^ (word >> 31)) >> 40) as f32 / (1u32 << 24) as f32
    };
    (0..count).map(|_| (lo + (hi - lo) * next()).clamp(lo, hi)).collect()
}

/// Items of `shape` as a file of NumPy.
fn npy(count: usize, shape: &[usize], values: &[f32]) -> Vec<u8> {
    let axes: Vec<String> = std::iter::once(&count).chain(shape).map(usize::to_string).collect();
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({},), }}", axes.join(", "));
    // Magic, version and length take 10 bytes; the values begin at a multiple of 64, after a line feed.
    let padded = (10 + header.len() + 1).next_multiple_of(64) - 10;
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((padded as u16).to_le_bytes());
    file.extend(format!("{header:<width$}\n", width = padded - 1).bytes());
    file.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    file
}

/// The least and the middle one.
fn least_and_median(runs: &[f64]) -> [f64; 2] {
    let mut sorted = runs.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let median = match sorted.len() {
        0 => 0.0,
        len if len % 2 == 0 => (sorted[middle - 1] + sorted[middle]) / 2.0,
        _ => sorted[middle],
    };
    [sorted.first().copied().unwrap_or(0.0), median]
}

const HEAD: [&str; 11] = [
    "network",
    "batch",
    "least run",
    "median run",
    "forecast",
    "material P0",
    "material P1",
    "sent",
    "exchanges",
    "error / logit",
    "agreement",
];

impl Figures {
    /// Error of the logits as a share of the greatest one.
    fn relative_error(&self) -> Option<f64> {
        let comparison = &self.outcome.comparison;
        comparison.max_abs_error.map(|error| error / comparison.greatest_logit.max(f64::MIN_POSITIVE))
    }

    fn document(&self, name: &str) -> Value {
        let [least, median] = least_and_median(&self.outcome.run_seconds);
        let mut document = self.outcome.document();
        let run = document.as_object_mut().expect("a run is an object");
        let more = json!({
            "network": name,
            "batch": self.outcome.batch,
            "runs": self.outcome.run_seconds.len(),
            "least_run_seconds": least,
            "median_run_seconds": median,
            "greatest_logit": self.outcome.comparison.greatest_logit,
            "relative_error": self.relative_error(),
            "clear_argmax": { "items": self.looked_at, "distinct": self.distinct, "differs": self.distinct > 1 },
        });
        let Value::Object(mut all) = more else { unreachable!("an object") };
        all.append(run);
        Value::Object(all)
    }

    fn row(&self, name: &str) -> Vec<String> {
        let Outcome { reports, plan, batch, run_seconds, comparison, .. } = &self.outcome;
        let [least, median] = least_and_median(run_seconds);
        let shape = crate::forecast::link(self.outcome.link);
        let forecast = plan.forecast_seconds(*batch as usize, &shape, &ariann_plan::Rates::default());
        let runs = run_seconds.len().max(1) as u64;
        let totals = plan.totals(*batch as usize);
        let differs = if self.distinct > 1 { "" } else { ", clear argmax always the same" };
        vec![
            name.to_string(),
            batch.to_string(),
            seconds(least),
            seconds(median),
            seconds(forecast),
            bytes(totals.material_bytes[0] * u64::from(*batch)),
            bytes(totals.material_bytes[1] * u64::from(*batch)),
            bytes((reports.p0.online.bytes_sent + reports.p1.online.bytes_sent) / runs),
            ariann_report::count(reports.p1.exchanges),
            self.relative_error().map_or(String::new(), |error| format!("{:.3} %", 100.0 * error)),
            format!("{:.1} %{differs}", 100.0 * comparison.agreement),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_written_as_numpy_does() {
        let folder = tempfile::tempdir().expect("a folder");
        for shape in [vec![3], vec![1, 28, 28], vec![3, 1, 1]] {
            let len: usize = shape.iter().product();
            let values = items(7, 2 * len, [-1.0, 0.5]);
            let file = npy(2, &shape, &values);
            assert_eq!((file.len() - 8 * len) % 64, 0, "values are aligned");
            let path = folder.path().join("items.npy");
            std::fs::write(&path, file).expect("written");
            let read = ariann_data::load(&path, &Default::default(), None).expect("an npy file");
            assert_eq!((read.shape, read.values, read.count), (shape, values, 2));
        }
    }

    #[test]
    fn items_fill_their_range_and_follow_their_seed() {
        let values = items(1, 10_000, [-2.0, 3.0]);
        assert!(values.iter().all(|value| (-2.0..=3.0).contains(value)));
        let mean = values.iter().sum::<f32>() / 10_000.0;
        assert!(
            (mean - 0.5).abs() < 0.1 && values.iter().any(|value| *value < -1.99) && values.iter().any(|v| *v > 2.99)
        );
        assert_eq!(values, items(1, 10_000, [-2.0, 3.0]));
        assert_ne!(values, items(1 ^ OF_CALIBRATION, 10_000, [-2.0, 3.0]));
    }

    #[test]
    fn the_middle_of_runs() {
        assert_eq!(least_and_median(&[3.0, 1.0, 2.0]), [1.0, 2.0]);
        assert_eq!(least_and_median(&[4.0, 1.0, 2.0, 3.0]), [1.0, 2.5]);
        assert_eq!(least_and_median(&[]), [0.0, 0.0]);
    }
}
