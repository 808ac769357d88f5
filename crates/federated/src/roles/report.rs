//! What the roles have to say at the end.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::privacy::Protection;

/// What became of an owner in a round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "status")]
pub enum OwnerStatus {
    /// Its update is in the sum.
    Counted,
    /// It was not connected.
    Absent,
    /// It was there, and could not take part.
    Waits {
        /// Why.
        why: String,
    },
    /// It dropped out.
    Dropped {
        /// In which phase.
        phase: String,
        /// What the connection said.
        why: String,
    },
    /// What it sent was refused.
    Refused {
        /// Why.
        why: String,
    },
}

/// An owner in a round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OwnerReport {
    /// Its number.
    pub owner: u16,
    /// What became of it.
    #[serde(flatten)]
    pub status: OwnerStatus,
    /// Its rows, where it told them.
    pub rows: u64,
    /// Seconds that its pair trained.
    pub seconds: f64,
    /// Payload bytes that the server sent it and received from it.
    pub bytes: u64,
}

/// A round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoundReport {
    /// Its number.
    pub round: u64,
    /// The cohort: the public weights are taken of its rows.
    pub cohort: Vec<u16>,
    /// Whose updates were counted; empty for a round without a result.
    pub survivors: Vec<u16>,
    /// All owners of the federation.
    pub owners: Vec<OwnerReport>,
    /// Accuracy on the test set, where it is revealed.
    pub accuracy: Option<f64>,
    /// Differential privacy of this round and those before it.
    #[serde(default)]
    pub privacy: Protection,
    /// Seconds from the first key to the renewed model.
    pub seconds: f64,
    /// Why it had no result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// A role's report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FederateReport {
    /// "server", "owner-3", "dealer".
    pub role: String,
    /// The rounds: at the server all, elsewhere none.
    #[serde(default)]
    pub rounds: Vec<RoundReport>,
    /// Accuracies that were revealed, a round with a result each.
    #[serde(default)]
    pub accuracies: Vec<Option<f64>>,
    /// Differential privacy of all rounds; the dealer does not know how many there were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub privacy: Option<Protection>,
    /// Rounds with a result that this role had a part in.
    pub took_part: u32,
    /// Payload bytes sent to and received from server or owners.
    pub bytes: u64,
    /// Bytes of material: received; at the dealer, made.
    pub material_bytes: u64,
    /// Seconds in all.
    pub seconds: f64,
    /// It ended before the training did, which goes on at the next start.
    #[serde(default)]
    pub paused: bool,
    /// The trained model, where this role learned it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<PathBuf>,
    /// Seconds that processors worked for it, from its first round on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_seconds: Option<f64>,
    /// Greatest resident memory of the process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_rss_bytes: Option<u64>,
}

/// Seconds that processors have worked for this process, where the system tells.
pub(crate) fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name, in brackets, may hold anything; user and system time are the 12th and 13th field after it.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    // Linux counts in hundredths there, whatever its own clock.
    Some((ticks()? + ticks()?) / 100.0)
}

/// What was worked since it was `before`.
pub(crate) fn cpu_since(before: Option<f64>) -> Option<f64> {
    Some(cpu_seconds()? - before?)
}
