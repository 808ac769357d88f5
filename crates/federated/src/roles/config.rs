//! Configuration of the three roles: a TOML file each, where unknown keys are refused.

use std::path::PathBuf;
use std::time::Duration;

use ariann_net::Limits;
use ariann_session::SessionError;
use ariann_session::config::{Deadlines, IdentityConfig};
use serde::{Deserialize, Serialize};

/// How long the server waits for owners, in seconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Deadline {
    /// For owners that are not there yet when a round could begin with the least number of them.
    pub join: f64,
    /// For the least number of owners; without them the training ends.
    pub patience: f64,
    /// For the keys, shares and signatures of each phase.
    pub phase: f64,
    /// For the training of an owner, and its update.
    pub training: f64,
}

impl Default for Deadline {
    fn default() -> Self {
        Deadline { join: 30.0, patience: 600.0, phase: 60.0, training: 3600.0 }
    }
}

/// The server.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FederateServerConfig {
    /// The federation's file.
    pub federation: PathBuf,
    /// The model to begin with, ONNX; where an owner brings it, none. Where the server learns the trained model, it leaves under
    /// the names of this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<PathBuf>,
    /// Folder for the share of the model, and the round that runs. A server that was killed goes on from it.
    pub state: PathBuf,
    /// HOST:PORT to listen at.
    pub listen: String,
    /// HOST:PORT of the dealer.
    pub dealer: String,
    /// Owners that a round begins with at least; the threshold when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub least: Option<u16>,
    /// It ends when so many rounds have a result, though the training goes on at the next start: then owners may leave or join.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u32>,
    /// Agrees to what the federation reveals: "model:owners", "model:server".
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    /// Folder for the trained model, where the server learns it; `trained` in the state folder when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out: Option<PathBuf>,
    /// Pairs that train at the same time at most.
    #[serde(default = "pairs")]
    pub pairs: usize,
    /// Threads; all cores when 0.
    #[serde(default)]
    pub threads: usize,
    /// Own identity.
    pub identity: IdentityConfig,
    /// How long it waits for owners.
    #[serde(default)]
    pub deadline: Deadline,
    /// Deadlines of connections.
    #[serde(default)]
    pub deadlines: Deadlines,
}

fn pairs() -> usize {
    4
}

/// An owner.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FederateOwnerConfig {
    /// The federation's file.
    pub federation: PathBuf,
    /// Items of the training set.
    pub features: PathBuf,
    /// Their labels.
    pub labels: PathBuf,
    /// Places of its items in the file, where it does not take all: one number a line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub places: Option<PathBuf>,
    /// Items of a test set, where this owner has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_features: Option<PathBuf>,
    /// Their labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_labels: Option<PathBuf>,
    /// First items of the test set only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_limit: Option<usize>,
    /// ONNX: the model to begin with at the owner that brings it. Where owners learn the trained model, it leaves under the
    /// names of this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<PathBuf>,
    /// Agrees to what the federation reveals: "model:owners", "model:server".
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    /// Folder for the trained model, where owners learn it; `trained` in the state folder when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out: Option<PathBuf>,
    /// Folder for the share of the model and the group key. An owner that was killed comes back with it.
    pub state: PathBuf,
    /// HOST:PORT of the server.
    pub server: String,
    /// HOST:PORT of the dealer.
    pub dealer: String,
    /// Agrees to reveal to the server how many of the test items are classified rightly, after every round.
    #[serde(default)]
    pub reveal_accuracy: bool,
    /// The greatest ε after all rounds that it agrees to, at the federation's δ. Without differential privacy it then takes no
    /// part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most_epsilon: Option<f64>,
    /// Seconds for which it tries to reach the server again.
    #[serde(default = "patience")]
    pub patience: f64,
    /// Threads; all cores when 0.
    #[serde(default)]
    pub threads: usize,
    /// Own identity.
    pub identity: IdentityConfig,
    /// Deadlines of connections.
    #[serde(default)]
    pub deadlines: Deadlines,
}

fn patience() -> f64 {
    600.0
}

/// The dealer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FederateDealConfig {
    /// The federation's file.
    pub federation: PathBuf,
    /// HOST:PORT to listen at.
    pub listen: String,
    /// Threads; all cores when 0.
    #[serde(default)]
    pub threads: usize,
    /// Own identity.
    pub identity: IdentityConfig,
    /// Deadlines of connections.
    #[serde(default)]
    pub deadlines: Deadlines,
}

/// Seconds of a configuration.
pub(crate) fn seconds(value: f64, key: &str) -> Result<Duration, SessionError> {
    let duration = Duration::try_from_secs_f64(value).ok().filter(|duration| !duration.is_zero());
    duration.ok_or_else(|| SessionError::Config(format!("{key} = {value}: give a positive number of seconds")))
}

/// Limits of a connection on which a living peer may wait for others as long as a round takes.
pub(crate) fn patient(deadlines: &Deadlines) -> Result<Limits, SessionError> {
    Ok(Limits { stall: Duration::from_secs(7 * 86_400), ..deadlines.limits()? })
}
