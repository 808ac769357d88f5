//! `ariann predict`: dealer, P0 and P1 as three processes on this machine, compared with the model in clear.

use std::path::{Path, PathBuf};

use ariann_data::bundled;
use ariann_net::Shape;
use ariann_report::{bytes, count, seconds, table};
use ariann_session::SessionError;
use ariann_session::local::Reports;

use crate::options::PlanOptions;
use crate::output::Output;
use crate::run::{self, Outcome, Task};
use crate::{forecast, html};

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
    /// Deal while the parties predict: the disk holds a few deliveries of material, not all.
    #[arg(long)]
    stream: bool,
    /// Slots of one delivery, a multiple of --batch; one batch by default.
    #[arg(long, value_name = "N", requires = "stream")]
    batch_slots: Option<u32>,
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
    /// Also write a page on where time, bytes and material go, gate by gate. It shows no input and no weight.
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    #[command(flatten)]
    options: PlanOptions,
}

pub fn run(mut args: Args, output: &Output) -> Result<(), SessionError> {
    run::heed_interrupts()?;
    args.report.as_deref().map_or(Ok(()), html::check)?;
    let folder = run::folder(args.work_dir.as_deref())?;
    let names = match args.model {
        Some(_) => None,
        None => Some(use_bundled(&mut args, folder.path())?),
    };
    let (model, input) = (args.model.clone().expect("given or bundled"), args.input.clone().expect("given or bundled"));
    let task = Task {
        model,
        input,
        labels: args.labels.as_deref(),
        expected: args.expected.as_deref(),
        limit: args.limit,
        batch: args.batch,
        stream: args.stream.then_some(args.batch_slots.unwrap_or(args.batch)),
        threads: args.threads,
        link: args.link,
        compare_clear: args.compare_clear,
        folder: folder.path(),
        options: &args.options,
    };
    let outcome = task.run(output)?;
    if let Some(path) = &args.report {
        html::write(path, "A private prediction", outcome.threads, vec![html::run(&outcome.plan.model, &outcome)])?;
    }
    if output.is_json() {
        output.document(&outcome.document());
    } else {
        output.line(&text(&outcome, names));
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

/// What came out, for people.
fn text(outcome: &Outcome, names: Option<&[&str]>) -> String {
    let Outcome { plan, comparison, .. } = outcome;
    let Reports { dealer, p0, p1 } = &outcome.reports;
    let labels = outcome.labels.as_deref();
    let name = |label: u32| {
        names.and_then(|names| names.get(label as usize)).map_or(label.to_string(), |name| (*name).to_string())
    };
    let rows = comparison.predictions.iter().enumerate().take(10).map(|(item, predicted)| {
        let label = labels.map_or(String::new(), |labels| name(labels[item]));
        vec![item.to_string(), name(*predicted), label]
    });
    let mut text = table(&["item", "predicted privately", "label"], &rows.collect::<Vec<_>>());
    if comparison.predictions.len() > 10 {
        text += &format!("\n… and {} more", comparison.predictions.len() - 10);
    }
    let percent = |share: f64| format!("{:.2} %", 100.0 * share);
    let totals = plan.totals(1);
    let items = p1.items.max(1);
    let mut facts: Vec<[String; 2]> = Vec::new();
    let mut fact = |what: &str, value: String| facts.push([what.to_string(), value]);
    if let (Some(accuracy), Some(clear)) = (comparison.accuracy, comparison.clear_accuracy) {
        fact("accuracy, private / in clear", format!("{} / {}", percent(accuracy), percent(clear)));
    }
    fact("same prediction as the float model", percent(comparison.agreement));
    if let Some(error) = comparison.max_abs_error {
        fact("greatest error of a logit", format!("{error:.5}"));
    }
    if let Some(reference) = &comparison.reference {
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
    if let (Some(at_p0), Some(at_p1)) = (p0.stream, p1.stream) {
        let (count, most) = (at_p1.deliveries, [at_p0, at_p1].map(|one| bytes(one.disk_bytes)));
        let whole = seconds(at_p1.seconds);
        let text = format!("{whole}, {count} deliveries; on disk at most {} at P0, {} at P1", most[0], most[1]);
        fact("dealt, prepared and predicted", text);
    }
    let sent = format!(
        "P0 {}, P1 {}, {} exchanges a batch",
        bytes(p0.online.bytes_sent),
        bytes(p1.online.bytes_sent),
        p1.exchanges
    );
    fact("sent online", sent);
    if let Some(line) = forecast::text(plan, p1, outcome.batch as usize, outcome.link) {
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
