//! Outside clients: they hold neither model nor material, share their items among P0 and P1, and alone learn the results.
//!
//! Of its items P0 gets a seed that the client drew, P1 what the words of that seed leave; of the results each party sends its share,
//! under a word that both have in common and the client does not know. P0 serves as it always does; P1 is a party without data.

pub(crate) mod answering;
mod client;
mod desk;
mod form;
mod messages;
mod p1;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::{AHEAD, Deadlines, IdentityConfig, MOST_ITEMS, Remote};

pub use client::ask;
pub(crate) use desk::{Desk, Heard, Ticket};
pub(crate) use form::{SEED, seed_of};
pub(crate) use messages::{COMMON_STEP, Refusal};
pub use p1::assist;

/// Where a party awaits outside clients, and who they are.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outside {
    /// HOST:PORT to listen at.
    pub listen: String,
    /// Fingerprints of their identities, by name.
    pub clients: BTreeMap<String, String>,
}

/// P1 without data of its own: computes with P0 what outside clients ask.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AssistConfig {
    /// The plan file.
    pub plan: PathBuf,
    /// State folder: material and ledger.
    pub state: PathBuf,
    /// P0.
    pub peer: Remote,
    /// Own identity.
    pub identity: IdentityConfig,
    /// The clients.
    pub outside: Outside,
    /// The dealer, when it serves.
    #[serde(default)]
    pub dealer: Option<Remote>,
    /// Go on fetching from the dealer while clients are answered.
    #[serde(default)]
    pub stream: bool,
    /// Deliveries that lie unspent at most while it streams.
    #[serde(default = "ahead")]
    pub ahead: usize,
    /// Material files to take in.
    #[serde(default)]
    pub material: Vec<PathBuf>,
    /// Threads; all cores when 0.
    #[serde(default)]
    pub threads: usize,
    /// End after so many clients were served to their end; never when 0.
    #[serde(default)]
    pub sessions: u64,
    /// The most items that a client may have computed together: memory grows with them.
    #[serde(default = "most_items")]
    pub max_batch: u32,
    /// Deadlines.
    #[serde(default)]
    pub deadlines: Deadlines,
}

/// An outside client: holds the data, and knows both parties.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientConfig {
    /// The plan file.
    pub plan: PathBuf,
    /// Images: IDX, npy, PNG, JPEG, or a folder.
    pub input: PathBuf,
    /// P0, where it awaits clients.
    pub p0: Remote,
    /// P1, where it awaits clients.
    pub p1: Remote,
    /// Own identity.
    pub identity: IdentityConfig,
    /// Items computed together.
    #[serde(default = "one")]
    pub batch: u32,
    /// First items of the input only.
    #[serde(default)]
    pub limit: Option<usize>,
    /// Deadlines.
    #[serde(default)]
    pub deadlines: Deadlines,
}

fn ahead() -> usize {
    AHEAD
}

fn most_items() -> u32 {
    MOST_ITEMS
}

fn one() -> u32 {
    1
}
