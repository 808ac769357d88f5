//! What a federated training has to say: for people, and as JSON.

use std::path::PathBuf;

use ariann_federated::roles::{FederateReport, OwnerStatus, RoundReport, Simulated};
use ariann_report::{bytes, count, seconds, table};
use serde_json::{Value, json};

use super::simulation::SimulateConfig;

/// A round, and the same in float.
pub struct RoundLine {
    pub round: RoundReport,
    pub clear: Option<f64>,
}

/// What was revealed of the trained model.
pub struct Trained {
    /// None where it was not.
    pub files: Vec<PathBuf>,
    /// How far it is from that of the training in float, as a part of what that changed.
    pub difference: Option<f64>,
}

/// A simulation that ended.
pub struct Outcome {
    pub config: SimulateConfig,
    /// Of each owner.
    pub rows: Vec<usize>,
    /// Of the model.
    pub values: u64,
    /// Rounds with a result.
    pub lines: Vec<RoundLine>,
    pub simulated: Simulated,
    pub trained: Trained,
}

/// A status in few words.
pub fn status(status: &OwnerStatus) -> String {
    match status {
        OwnerStatus::Counted => "counted".to_string(),
        OwnerStatus::Absent => "absent".to_string(),
        OwnerStatus::Waits { why } => format!("waits: {why}"),
        OwnerStatus::Dropped { phase, .. } => format!("dropped out ({phase})"),
        OwnerStatus::Refused { why } => format!("refused: {why}"),
    }
}

pub fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_string(), |share| format!("{:.2} %", 100.0 * share))
}

impl Outcome {
    pub fn text(&self) -> String {
        let rows = self.lines.iter().map(|line| {
            let round = &line.round;
            let others = round.owners.iter().filter(|owner| owner.status != OwnerStatus::Counted);
            let others: Vec<String> =
                others.map(|owner| format!("owner {}: {}", owner.owner, status(&owner.status))).collect();
            vec![
                round.round.to_string(),
                round.survivors.len().to_string(),
                percent(round.accuracy),
                percent(line.clear),
                seconds(round.seconds),
                bytes(round.owners.iter().map(|owner| owner.bytes).max().unwrap_or(0)),
                others.join("; "),
            ]
        });
        let head = ["round", "counted", "accuracy", "in float", "time", "most bytes of an owner", "others"];
        let rows: Vec<Vec<String>> = rows.collect();
        let failed = self.simulated.server.rounds.iter().filter_map(|round| round.failed.clone());
        let mut text = table(&head, &rows);
        failed.for_each(|failed| text += &format!("\n{failed}"));
        let all: usize = self.rows.iter().sum();
        text += &format!(
            "\n{} owners with {} rows in all, threshold {}; material {} in {}",
            self.config.owners,
            count(all as u64),
            self.config.threshold.unwrap_or(self.config.owners / 2 + 1),
            bytes(self.simulated.dealer.material_bytes),
            seconds(self.simulated.server.seconds)
        );
        let peak = |report: &FederateReport| report.peak_rss_bytes.map_or("unknown".to_string(), bytes);
        let owner = self.simulated.owners.iter().filter_map(|(_, owner)| owner.peak_rss_bytes).max();
        text += &format!("\ndifferential privacy: {}", self.simulated.server.privacy.unwrap_or_default());
        text += &format!(
            "\nmemory: server {}, dealer {}, an owner {}",
            peak(&self.simulated.server),
            peak(&self.simulated.dealer),
            owner.map_or("unknown".to_string(), bytes)
        );
        for file in &self.trained.files {
            text += &format!("\ntrained model: {}", file.display());
        }
        if let Some(difference) = self.trained.difference {
            text += &format!(
                "\nit differs from the one in float by {} of what that has changed",
                percent(Some(difference))
            );
        }
        text
    }

    pub fn document(&self) -> Value {
        let rounds: Vec<Value> =
            self.lines.iter().map(|line| json!({ "round": line.round, "clear_accuracy": line.clear })).collect();
        let owners: Vec<Value> =
            self.simulated.owners.iter().map(|(owner, report)| json!({ "owner": owner, "report": report })).collect();
        json!({
            "config": self.config, "rows": self.rows, "rounds": rounds,
            "files": self.trained.files, "difference_to_clear": self.trained.difference,
            "server": self.simulated.server, "dealer": self.simulated.dealer, "owners": owners,
        })
    }
}

/// One role's report.
pub fn role(report: &FederateReport) -> String {
    let mut text = format!(
        "{}: {} rounds with a result, {} with others, {} of material, {}",
        report.role,
        report.took_part,
        bytes(report.bytes),
        bytes(report.material_bytes),
        seconds(report.seconds)
    );
    if report.paused {
        text += "\nthe training pauses: it goes on when all roles are started again";
    }
    for file in &report.files {
        text += &format!("\ntrained model: {}", file.display());
    }
    if let Some(privacy) = report.privacy {
        text += &format!("\ndifferential privacy: {privacy}");
    }
    if report.accuracies.iter().any(Option::is_some) {
        let accuracies: Vec<String> = report.accuracies.iter().map(|accuracy| percent(*accuracy)).collect();
        text += &format!("\naccuracy round by round: {}", accuracies.join(", "));
    }
    text
}
