//! What a role of a training has to say at the end.

use serde::{Deserialize, Serialize};

use crate::report::GateTime;

/// The report of the dealer, P0 or P1 of a training.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainReport {
    /// "dealer", "p0" or "p1".
    pub role: String,
    /// Digest of the job.
    pub job_digest: String,
    /// Turns of this session: steps, batches of tests, reveals.
    pub turns: u64,
    /// Steps of training of this session.
    pub steps: u64,
    /// The turn that this session began with: 0 unless it went on from a checkpoint.
    #[serde(default)]
    pub first_turn: u64,
    /// Wall time from the first turn to the last.
    pub seconds: f64,
    /// Of a step, the first of the session left out.
    pub seconds_per_step: f64,
    /// Of that: waiting for the dealer, before the first gate of the step.
    #[serde(default)]
    pub material_seconds_per_step: f64,
    /// Payload bytes sent to the other party; at the dealer, to both.
    pub bytes_sent: u64,
    /// Payload bytes sent in all steps.
    #[serde(default)]
    pub step_bytes_sent: u64,
    /// Bytes of material: at the dealer, made for P0 and for P1; at a party, received, in its own place.
    pub material_bytes: [u64; 2],
    /// The most bytes of material that waited: at the dealer, for one party.
    #[serde(default)]
    pub waiting_bytes: u64,
    /// Checkpoints written.
    #[serde(default)]
    pub checkpoints: u64,
    /// What was revealed to this party, an entry an epoch.
    #[serde(default)]
    pub epochs: Vec<EpochReport>,
    /// The loss of each step, an item's, where it was revealed to this party.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub losses: Vec<f64>,
    /// Files of the trained model, where this party learned it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<std::path::PathBuf>,
    /// What each gate of a step took, in the order of the plan of the steps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<GateTime>,
    /// Greatest resident memory of the process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_rss_bytes: Option<u64>,
}

/// What was revealed of one epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochReport {
    /// The epoch, from 1.
    pub epoch: u32,
    /// Part of the tested items that were classified rightly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// Mean loss of an item over its steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
}
