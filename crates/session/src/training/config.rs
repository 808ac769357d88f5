//! Configuration of the three roles of a training: a TOML file each, where unknown keys are refused.

use std::path::PathBuf;

use ariann_gates::Party;
use ariann_net::Shape;
use serde::{Deserialize, Serialize};

use super::answers::Answers;
use super::pooled::{first, is_first};
use crate::config::{Deadlines, IdentityConfig, Remote};

/// The dealer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainDealConfig {
    /// The job file.
    pub job: PathBuf,
    /// HOST:PORT to listen at.
    pub listen: String,
    /// Fingerprint of P0.
    pub p0: String,
    /// Fingerprint of P1.
    pub p1: String,
    /// Deals for answers of the trained model, which stays shared, instead of the training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<Answers>,
    /// Threads; all cores when 0.
    #[serde(default)]
    pub threads: usize,
    /// Own identity.
    pub identity: IdentityConfig,
    /// Deadlines.
    #[serde(default)]
    pub deadlines: Deadlines,
}

/// P0 or P1.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainPartyConfig {
    /// "p0" or "p1".
    pub role: Party,
    /// The job file.
    pub job: PathBuf,
    /// The model, ONNX; at P0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<PathBuf>,
    /// Items of the training set, where this party brings them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<PathBuf>,
    /// Their labels, where this party brings them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<PathBuf>,
    /// Items of the test set, where this party brings them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_features: Option<PathBuf>,
    /// Their labels, where this party brings them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_labels: Option<PathBuf>,
    /// First items of the training set only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// First items of the test set only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_limit: Option<usize>,
    /// HOST:PORT to listen at; at P0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,
    /// HOST:PORT of P0; at P1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect: Option<String>,
    /// HOST:PORT where owners of rows connect, when the job's rows are shared by owners.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owners: Option<String>,
    /// Fingerprint of the other party.
    pub peer: String,
    /// Folder for checkpoints; none are written without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<PathBuf>,
    /// Steps between checkpoints; by default one is written about every 20 seconds. P1 decides for both. One is always
    /// written at the beginning and after an epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint_every: Option<u32>,
    /// Go on from the newest checkpoint that both parties have.
    #[serde(default)]
    pub resume: bool,
    /// Folder for the trained model, where this party learns it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out: Option<PathBuf>,
    /// What the other party may learn: "loss:p0", "accuracy:p0", "model:p0", "ranges:p0" and the same with p1.
    #[serde(default = "allowed")]
    pub allow: Vec<String>,
    /// Threads; all cores when 0.
    #[serde(default)]
    pub threads: usize,
    /// Behave like this link towards the other party: loopback, lan or wan. For measurements on one machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<Shape>,
    /// Own identity.
    pub identity: IdentityConfig,
    /// The dealer.
    pub dealer: Remote,
    /// Deadlines.
    #[serde(default)]
    pub deadlines: Deadlines,
}

/// An owner of rows, which shares them among P0 and P1 and leaves.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnerConfig {
    /// The job file.
    pub job: PathBuf,
    /// The epoch from which on the items take part, counted from 1: another than the first where the owner adds some.
    #[serde(default = "first", skip_serializing_if = "is_first")]
    pub from_epoch: u32,
    /// Items for the training set, where the job says that it brings some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<PathBuf>,
    /// Their labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<PathBuf>,
    /// Items for the test set, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_features: Option<PathBuf>,
    /// Their labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_labels: Option<PathBuf>,
    /// First items for the training set only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// First items for the test set only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_limit: Option<usize>,
    /// P0, where it listens for owners.
    pub p0: Remote,
    /// P1, where it listens for owners.
    pub p1: Remote,
    /// What the parties may learn: "loss:p0", "accuracy:p0", "model:p0", "ranges:p0" and the same with p1.
    #[serde(default = "allowed")]
    pub allow: Vec<String>,
    /// Own identity.
    pub identity: IdentityConfig,
    /// Deadlines.
    #[serde(default)]
    pub deadlines: Deadlines,
}

/// The model's owner learns the trained model, and nobody anything else.
pub fn allowed() -> Vec<String> {
    vec!["model:p0".to_string()]
}
