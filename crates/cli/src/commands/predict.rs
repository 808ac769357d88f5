//! `ariann predict`: dealer, P0 and P1 as three processes on this machine, compared with the model in clear.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use ariann_data::{Items, bundled};
use ariann_graph::{Executor, Graph};
use ariann_net::Shape;
use ariann_plan::{Plan, Revealed, clear};
use ariann_report::{bytes, count, seconds, table};
use ariann_session::local::{Local, Reports};
use ariann_session::planning::Planned;
use ariann_session::query::argmax;
use ariann_session::{SessionError, config, reading};
use serde_json::{Value, json};

use super::plan;
use crate::forecast;
use crate::options::PlanOptions;
use crate::output::Output;

/// Arguments of `predict`. Without any, the bundled network predicts bundled images.
#[derive(clap::Args)]
pub struct Args {
    /// The model, ONNX; the bundled one by default.
    #[arg(long, requires = "input")]
    model: Option<PathBuf>,
    /// Images: IDX (also gzip), .npy, CIFAR-10 (.bin, .bin.gz), PNG, JPEG, or a folder; bundled test images by default.
    #[arg(long, requires = "model")]
    input: Option<PathBuf>,
    /// True labels, for the accuracy: a file, or the word folders when each image lies in the folder of its class. A
    /// CIFAR-10 file has its own.
    #[arg(long, value_name = "FILE|folders")]
    labels: Option<PathBuf>,
    /// First items of the input only.
    #[arg(long)]
    limit: Option<usize>,
    /// Items computed together; the last batch is filled up.
    #[arg(long, default_value_t = 100)]
    batch: u32,
    /// Threads of each party; half of the cores by default.
    #[arg(long)]
    threads: Option<usize>,
    /// Shape the link between P0 and P1 and measure it: loopback (as it is), lan (1 Gbit/s, 0.5 ms round trip) or wan
    /// (100 Mbit/s, 70 ms). The forms of the comparisons are chosen for it.
    #[arg(long)]
    link: Option<Shape>,
    /// Also run the clear fixed-point reference and name the first gate that leaves its bound. For one's own data.
    #[arg(long)]
    compare_clear: bool,
    /// Expected logits, float32 little-endian, one row an item: errors are measured against these.
    #[arg(long, value_name = "FILE.f32")]
    expected: Option<PathBuf>,
    /// Folder for the run's files, among them all material; a temporary one by default. Removed afterwards.
    #[arg(long, value_name = "FOLDER")]
    work_dir: Option<PathBuf>,
    #[command(flatten)]
    options: PlanOptions,
}

/// Set by SIGINT and SIGTERM.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

pub fn run(mut args: Args, output: &Output) -> Result<(), SessionError> {
    ctrlc::set_handler(|| INTERRUPTED.store(true, Ordering::Relaxed))
        .map_err(|error| SessionError::Config(error.to_string()))?;
    let base = args.work_dir.clone().unwrap_or_else(std::env::temp_dir);
    let failed = |source| SessionError::file("creating a folder in", &base, source);
    let folder = tempfile::Builder::new().prefix("ariann-").tempdir_in(&base).map_err(failed)?;
    if args.batch == 0 || args.limit == Some(0) {
        return Err(SessionError::Config("--batch and --limit are at least 1".to_string()));
    }
    let names = match args.model {
        Some(_) => None,
        None => Some(use_bundled(&mut args, folder.path())?),
    };
    let (model, input) = (args.model.clone().expect("given or bundled"), args.input.clone().expect("given or bundled"));
    let described = |path: &Path, name| args.options.pixels.described(path, folder.path(), name);
    if let Some(path) = args.options.calibration.clone() {
        args.options.pixels.apart(&path, &input)?;
        args.options.calibration = Some(described(&path, "calibration")?);
    }
    let input = described(&input, "input")?;
    let Planned { graph, plan, .. } = args.options.planning(model.clone(), Some(input.clone()), forecast::link(args.link), args.batch as usize).make()?;
    let items = reading::items(&plan, &input, args.limit)?;
    let labels = labels(args.labels.as_deref(), &input, items.count)?;

    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = args.threads.unwrap_or(cores / 2).max(1);
    let program = std::env::current_exe().map_err(|source| SessionError::file("finding", "this program", source))?;
    let work = folder.path().join("roles");
    std::fs::create_dir(&work).map_err(|source| SessionError::file("creating", &work, source))?;
    let local = Local {
        program,
        folder: &work,
        plan: &plan,
        model,
        input,
        items: items.count,
        batch: args.batch,
        threads,
        link: args.link,
        interrupted,
    };
    let reports = local.run(&mut output.progress())?;

    let comparison = Comparison::new(&args, &graph, &plan, &items, labels.as_deref(), &reports)?;
    if output.is_json() {
        output.document(&comparison.document(&plan, &reports));
    } else {
        output.line(&comparison.text(&plan, &reports, labels.as_deref(), names));
    }
    Ok(())
}

/// Writes the bundled files to the run's folder and names them as if they had been given.
fn use_bundled(args: &mut Args, folder: &Path) -> Result<&'static [&'static str], SessionError> {
    let place = |file: bundled::File| -> Result<PathBuf, SessionError> {
        let path = folder.join(file.name);
        std::fs::write(&path, file.bytes).map_err(|source| SessionError::file("writing", &path, source))?;
        Ok(path)
    };
    args.model = Some(place(bundled::model())?);
    args.input = Some(place(bundled::test_images())?);
    if args.labels.is_none() {
        args.labels = Some(place(bundled::test_labels())?);
    }
    if args.options.calibration.is_none() {
        args.options.calibration = Some(place(bundled::train_images())?);
    }
    Ok(&bundled::CLASSES)
}

/// True labels of `count` items: of a file, of class folders, or those that the items bring along.
fn labels(given: Option<&Path>, input: &Path, count: usize) -> Result<Option<Vec<u32>>, SessionError> {
    let labels = match given {
        Some(path) if path == Path::new("folders") => ariann_data::folder_labels(input, Some(count))?,
        Some(path) => ariann_data::load_labels(path, Some(count))?,
        None => match ariann_data::own_labels(input, Some(count))? {
            Some(labels) => labels,
            None => return Ok(None),
        },
    };
    if labels.len() < count {
        let path = given.unwrap_or(input);
        let reason = format!("{}: {} labels for {count} items", path.display(), labels.len());
        return Err(SessionError::Input(reason));
    }
    Ok(Some(labels.into_iter().map(|label| label as u32).collect()))
}

/// The private results beside the model in clear.
struct Comparison {
    predictions: Vec<u32>,
    accuracy: Option<f64>,
    clear_accuracy: Option<f64>,
    agreement: f64,
    max_abs_error: Option<f64>,
    reference: Option<Reference>,
    batch: u32,
    link: Option<Shape>,
}

/// What the clear fixed-point reference says.
struct Reference {
    agreement: f64,
    /// Where logits are revealed.
    max_abs_error: Option<f64>,
    excess: Option<String>,
}

fn share(equal: usize, of: usize) -> f64 {
    equal as f64 / of.max(1) as f64
}

fn equal(a: &[u32], b: &[u32]) -> f64 {
    share(a.iter().zip(b).filter(|(a, b)| a == b).count(), a.len())
}

impl Comparison {
    fn new(
        args: &Args,
        graph: &Graph,
        plan: &Plan,
        items: &Items,
        labels: Option<&[u32]>,
        reports: &Reports,
    ) -> Result<Self, SessionError> {
        let report = if reports.p1.predictions.is_some() { &reports.p1 } else { &reports.p0 };
        // P0 does not know how many items of the last batch are fillings.
        let mut predictions = report.predictions.clone().unwrap_or_default();
        predictions.truncate(items.count);
        let private: Option<Vec<f32>> =
            report.logits.as_ref().map(|rows| rows.iter().take(items.count).flatten().copied().collect());
        let pool = config::pool(0)?;
        let float = pool.install(|| Executor::new(graph).run(items.count, &items.values));
        let float = float.map_err(|error| SessionError::Input(error.to_string()))?;
        let classes = plan.output.classes;
        let top = |rows: &[f32]| -> Vec<u32> { rows.chunks(classes).map(argmax).collect() };
        let clear = top(&float);
        let expected = args.expected.as_ref().map(|path| expected(path, items.count * classes)).transpose()?;
        let target = expected.as_deref().unwrap_or(&float);
        let error = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max);
        let reference = if args.compare_clear {
            Some(pool.install(|| reference(graph, plan, items, &predictions, private.as_deref()))?)
        } else {
            None
        };
        Ok(Comparison {
            accuracy: labels.map(|labels| equal(&predictions, labels)),
            clear_accuracy: labels.map(|labels| equal(&clear, labels)),
            agreement: equal(&predictions, &clear),
            max_abs_error: private.map(|private| error(&private, target)),
            predictions,
            reference,
            batch: args.batch,
            link: args.link,
        })
    }

    fn document(&self, plan: &Plan, reports: &Reports) -> Value {
        let Reports { dealer, p0, p1 } = reports;
        let totals = plan.totals(1);
        let mut document = json!({
            "predictions": self.predictions,
            "accuracy": self.accuracy,
            "clear_accuracy": self.clear_accuracy,
            "agreement": self.agreement,
            "max_abs_error": self.max_abs_error,
            "ranges": plan::ranges(plan),
            "items": p1.items,
            "slots": p1.slots,
            "setup": { "seconds": p0.setup.seconds.max(p1.setup.seconds), "bytes": p0.setup.bytes_sent + p1.setup.bytes_sent },
            "offline": {
                "seconds": p0.offline.seconds.max(p1.offline.seconds),
                "dealing_seconds": dealer.seconds,
                "material_bytes": { "p0": p0.material_bytes, "p1": p1.material_bytes },
            },
            "online": {
                "seconds": p1.online.seconds,
                "seconds_per_item": p1.online.seconds / p1.items.max(1) as f64,
                "bytes_sent": { "p0": p0.online.bytes_sent, "p1": p1.online.bytes_sent },
                "exchanges": p1.exchanges,
            },
            "link": forecast::document(plan, p1, self.batch as usize, self.link),
            "peak_rss_bytes": { "dealer": dealer.peak_rss_bytes, "p0": p0.peak_rss_bytes, "p1": p1.peak_rss_bytes },
            "plan": {
                "digest": plan.digest_hex(),
                "ring": plan.ring,
                "weights": plan.weights,
                "reveal": plan.reveal,
                "comparisons": totals.comparisons,
                "multiply_adds": totals.multiply_adds,
            },
        });
        if let Some(reference) = &self.reference {
            document["fixed_point"] = json!({
                "agreement": reference.agreement, "max_abs_error": reference.max_abs_error, "first_excess": reference.excess,
            });
        }
        document
    }

    fn text(&self, plan: &Plan, reports: &Reports, labels: Option<&[u32]>, names: Option<&[&str]>) -> String {
        let Reports { dealer, p0, p1 } = reports;
        let name = |label: u32| {
            names.and_then(|names| names.get(label as usize)).map_or(label.to_string(), |name| (*name).to_string())
        };
        let rows = self.predictions.iter().enumerate().take(10).map(|(item, predicted)| {
            let label = labels.map_or(String::new(), |labels| name(labels[item]));
            vec![item.to_string(), name(*predicted), label]
        });
        let mut text = table(&["item", "predicted privately", "label"], &rows.collect::<Vec<_>>());
        if self.predictions.len() > 10 {
            text += &format!("\n… and {} more", self.predictions.len() - 10);
        }
        let percent = |share: f64| format!("{:.2} %", 100.0 * share);
        let totals = plan.totals(1);
        let items = p1.items.max(1);
        let mut facts: Vec<[String; 2]> = Vec::new();
        let mut fact = |what: &str, value: String| facts.push([what.to_string(), value]);
        if let (Some(accuracy), Some(clear)) = (self.accuracy, self.clear_accuracy) {
            fact("accuracy, private / in clear", format!("{} / {}", percent(accuracy), percent(clear)));
        }
        fact("same prediction as the float model", percent(self.agreement));
        if let Some(error) = self.max_abs_error {
            fact("greatest error of a logit", format!("{error:.5}"));
        }
        if let Some(reference) = &self.reference {
            let excess = reference.excess.clone().unwrap_or_else(|| "no layer leaves its bound".to_string());
            let error = reference.max_abs_error.map_or(String::new(), |error| format!("error {error:.5}; "));
            fact("against the fixed-point reference", format!("{error}{excess}"));
        }
        fact(
            "comparisons, multiply-adds an item",
            format!("{}, {}", count(totals.comparisons), count(totals.multiply_adds)),
        );
        let setup = p0.setup.bytes_sent + p1.setup.bytes_sent;
        fact("setup, once a model", format!("{}, {}", seconds(p0.setup.seconds.max(p1.setup.seconds)), bytes(setup)));
        let offline = p0.offline.seconds.max(p1.offline.seconds);
        fact(
            "offline",
            format!(
                "{}, material {} for P0, {} for P1",
                seconds(offline),
                bytes(p0.material_bytes),
                bytes(p1.material_bytes)
            ),
        );
        let online = format!("{}, {} an item", seconds(p1.online.seconds), seconds(p1.online.seconds / items as f64));
        fact("online", online);
        let sent = format!(
            "P0 {}, P1 {}, {} exchanges a batch",
            bytes(p0.online.bytes_sent),
            bytes(p1.online.bytes_sent),
            p1.exchanges
        );
        fact("sent online", sent);
        if let Some(line) = forecast::text(plan, p1, self.batch as usize, self.link) {
            fact("link", line);
        }
        let memory =
            [dealer.peak_rss_bytes, p0.peak_rss_bytes, p1.peak_rss_bytes].map(|rss| rss.map_or("?".to_string(), bytes));
        fact("greatest memory", format!("dealer {}, P0 {}, P1 {}", memory[0], memory[1], memory[2]));
        let width = facts.iter().map(|fact| fact[0].chars().count()).max().unwrap_or(0);
        for [what, value] in &facts {
            text += &format!("\n{what:width$}  {value}");
        }
        text
    }
}

/// The clear fixed-point reference with nearest rounding beside the private results.
fn reference(
    graph: &Graph,
    plan: &Plan,
    items: &Items,
    predictions: &[u32],
    private: Option<&[f32]>,
) -> Result<Reference, SessionError> {
    let failed = |error: clear::ClearError| SessionError::Input(error.to_string());
    let reference = clear::Reference::new(plan, graph).map_err(failed)?;
    let run = reference.run(items.count, &items.values, &mut clear::Nearest).map_err(failed)?;
    let labels = |rows: &[f32]| -> Vec<u32> {
        match plan.reveal.what {
            Revealed::Logits => rows.chunks(plan.output.classes).map(argmax).collect(),
            Revealed::Label => rows.iter().map(|label| *label as u32).collect(),
        }
    };
    let results = run.decoded();
    let greatest =
        |private: &[f32]| private.iter().zip(&results).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max);
    let error = private.map(greatest);
    Ok(Reference {
        agreement: equal(predictions, &labels(&results)),
        max_abs_error: error,
        excess: run.excess.map(told),
    })
}

/// The first gate that leaves its bound.
fn told(excess: clear::Excess) -> String {
    let clear::Excess { gate, name, item, value, bound, scale } = excess;
    let real = |value: f64| value * scale.unit();
    format!(
        "gate {gate} ({name}) leaves its bound first, at item {item}: {:.4} where {:.4} is the most; calibrate on items like \
         these, or use --ring 64",
        real(value),
        real(bound)
    )
}

/// A file of float32 little-endian values; the first `len` of it.
fn expected(path: &Path, len: usize) -> Result<Vec<f32>, SessionError> {
    let content = std::fs::read(path).map_err(|source| SessionError::file("reading", path, source))?;
    if content.len() < 4 * len || content.len() % 4 != 0 {
        let reason = format!("{}: {} bytes, {} values of 4 bytes are needed", path.display(), content.len(), len);
        return Err(SessionError::Input(reason));
    }
    Ok(content[..4 * len].chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().expect("4 bytes"))).collect())
}
