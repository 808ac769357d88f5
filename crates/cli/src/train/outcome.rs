//! What came out of a training, for people and for scripts.

use std::sync::Arc;

use ariann_plan::Link;
use ariann_report::{bytes, count, seconds, table};
use ariann_session::training::{Course, ShareReport, TrainReport};
use serde_json::{Value, json};

use super::clear::ClearEpoch;
use super::cost::{Cost, aligned, duration, of_turns};
use super::prepare::Prepared;
use super::recipe::loss_name;
use super::reveal;

/// What came out.
pub struct Outcome {
    pub prepared: Prepared,
    pub course: Arc<Course>,
    pub cost: Cost,
    pub dealer: TrainReport,
    pub p0: TrainReport,
    pub p1: TrainReport,
    /// The same training in float, where it was asked for.
    pub clear: Option<Vec<ClearEpoch>>,
    pub link: Link,
    pub threads: usize,
}

/// What is known of one epoch.
#[derive(Clone, Copy, Debug)]
pub struct EpochLine {
    pub epoch: usize,
    pub accuracy: Option<f64>,
    pub clear_accuracy: Option<f64>,
    pub loss: Option<f64>,
    pub clear_loss: Option<f64>,
}

/// A column of the table of epochs.
type Column<'a> = (&'a str, &'a dyn Fn(&EpochLine) -> String);

impl Outcome {
    /// Epoch by epoch: what was revealed to a party, and the same in clear.
    pub fn epochs(&self) -> Vec<EpochLine> {
        let line = |epoch: usize| {
            let revealed = [&self.p0, &self.p1].into_iter().flat_map(|report| &report.epochs);
            let own = || revealed.clone().filter(|own| own.epoch as usize == epoch);
            let clear = self.clear.as_ref().and_then(|clear| clear.get(epoch - 1));
            EpochLine {
                epoch,
                accuracy: own().find_map(|own| own.accuracy),
                clear_accuracy: clear.and_then(|clear| clear.accuracy),
                loss: own().find_map(|own| own.loss),
                clear_loss: clear.map(|clear| clear.loss),
            }
        };
        (1..=self.course.turns().epochs as usize).map(line).collect()
    }

    /// The loss of each step, where it was revealed.
    pub fn losses(&self) -> &[f64] {
        if self.p0.losses.is_empty() { &self.p1.losses } else { &self.p0.losses }
    }

    /// Wall time of the session, and of one step.
    pub fn seconds(&self) -> [f64; 2] {
        [self.p0.seconds.max(self.p1.seconds), self.p0.seconds_per_step.max(self.p1.seconds_per_step)]
    }

    /// Bytes that both parties sent to each other.
    pub fn bytes(&self) -> u64 {
        self.p0.bytes_sent + self.p1.bytes_sent
    }

    /// Bytes of material, P0's and P1's.
    pub fn material(&self) -> [u64; 2] {
        self.dealer.material_bytes
    }

    /// Files of the trained model.
    pub fn files(&self) -> Vec<String> {
        let files = [&self.p0, &self.p1].into_iter().flat_map(|report| &report.files);
        files.map(|file| file.display().to_string()).collect()
    }

    /// Everything that scripts read.
    pub fn document(&self) -> Value {
        let Prepared { recipe, .. } = &self.prepared;
        let epochs = self.epochs().into_iter().map(|line| {
            json!({
                "epoch": line.epoch,
                "accuracy": line.accuracy,
                "clear_accuracy": line.clear_accuracy,
                "loss": line.loss,
                "clear_loss": line.clear_loss,
            })
        });
        let [all, step] = self.seconds();
        let Outcome { dealer, p0, p1, .. } = self;
        let (job, turns) = (self.course.job(), self.course.turns());
        let [trained, frozen] = self.prepared.parameters();
        json!({
            "network": self.prepared.graph.name,
            "ring": job.choices.ring,
            "loss": loss_name(recipe.loss),
            "recipe": recipe,
            "parameters": { "trained": trained, "frozen": frozen },
            "items": job.rows,
            "test_items": u64::from(turns.tests) * recipe.batch as u64,
            "epochs": epochs.collect::<Vec<_>>(),
            "losses": self.losses(),
            "clear_losses": self.clear.as_ref().map(|clear| clear.iter().flat_map(|epoch| &epoch.losses).collect::<Vec<_>>()),
            "steps": p1.steps,
            "first_turn": p1.first_turn,
            "seconds": all,
            "seconds_per_step": step,
            "bytes": self.bytes(),
            "material_bytes": self.material().iter().sum::<u64>(),
            "peak_rss_bytes": { "dealer": dealer.peak_rss_bytes, "p0": p0.peak_rss_bytes, "p1": p1.peak_rss_bytes },
            "rescale_every": job.rescale_every,
            "reveals": reveal::names(job),
            "out": self.files(),
            "job": job.digest_hex(),
            "step": self.cost.step.document(),
            "test": self.cost.evaluation.map(of_turns),
            "measurement": self.cost.measurement.map(of_turns),
            "machine": crate::run::machine(self.threads),
        })
    }

    /// The same for people.
    pub fn text(&self) -> String {
        let lines = self.epochs();
        let percent = |share: Option<f64>| share.map_or(String::new(), |share| format!("{:.2} %", 100.0 * share));
        let loss = |loss: Option<f64>| loss.map_or(String::new(), |loss| format!("{loss:.5}"));
        let columns: [Column<'_>; 5] = [
            ("epoch", &|line| line.epoch.to_string()),
            ("accuracy", &|line| percent(line.accuracy)),
            ("in clear", &|line| percent(line.clear_accuracy)),
            ("loss", &|line| loss(line.loss)),
            ("loss in clear", &|line| loss(line.clear_loss)),
        ];
        // What nobody learned has no column.
        let shown: Vec<_> =
            columns.iter().filter(|(_, cell)| lines.iter().any(|line| !cell(line).is_empty())).collect();
        let head: Vec<&str> = shown.iter().map(|(head, _)| *head).collect();
        let rows: Vec<Vec<String>> =
            lines.iter().map(|line| shown.iter().map(|(_, cell)| cell(line)).collect()).collect();
        let [all, step] = self.seconds();
        let [m0, m1] = self.material();
        let memory = [&self.dealer, &self.p0, &self.p1].map(|role| role.peak_rss_bytes.map_or("?".to_string(), bytes));
        let mut facts = vec![
            ("time", format!("{}; forecast {} a step", took(all, step), seconds(self.cost.step.seconds))),
            ("steps", count(self.p1.steps)),
            ("sent online", format!("P0 {}, P1 {}", bytes(self.p0.bytes_sent), bytes(self.p1.bytes_sent))),
            ("material", format!("{} for P0, {} for P1", bytes(m0), bytes(m1))),
            ("greatest memory", format!("dealer {}, P0 {}, P1 {}", memory[0], memory[1], memory[2])),
        ];
        let files = self.files();
        if !files.is_empty() {
            facts.push(("trained model", files.join(", ")));
        } else if self.course.job().reveals.model.is_some() {
            facts.push(("trained model", "not kept; --out DIR writes it".to_string()));
        }
        let epochs = if shown.len() > 1 { table(&head, &rows) + "\n" } else { String::new() };
        format!("{epochs}{}", aligned(&facts))
    }
}

/// Wall time, and that of a step where there was one to measure.
fn took(all: f64, step: f64) -> String {
    if step > 0.0 { format!("{}, {} a step", duration(all), seconds(step)) } else { duration(all) }
}

/// What one role of a training has to say, for people.
pub fn role(report: &TrainReport) -> String {
    let mut facts = vec![
        ("steps", count(report.steps)),
        ("time", took(report.seconds, report.seconds_per_step)),
        ("sent", bytes(report.bytes_sent)),
        ("material", bytes(report.material_bytes.iter().sum())),
    ];
    if !report.files.is_empty() {
        let files: Vec<String> = report.files.iter().map(|file| file.display().to_string()).collect();
        facts.push(("trained model", files.join(", ")));
    }
    aligned(&facts)
}

/// What an owner of rows did.
pub fn owner(report: &ShareReport) -> String {
    aligned(&[
        ("shared", format!("{} items to train on and {} to test, as {}", report.rows, report.test_rows, report.name)),
        ("sent", format!("{} to P0, {} to P1", bytes(report.bytes_sent[0]), bytes(report.bytes_sent[1]))),
        ("time", duration(report.seconds)),
    ])
}
