//! Configuration of the roles: a TOML file each, where unknown keys are refused. The program's flags override it.

use std::path::{Path, PathBuf};

use ariann_gates::Party;
use ariann_net::{Fingerprint, Identity, Limits, Shape};
use serde::{Deserialize, Serialize};

use crate::SessionError;
use crate::outside::Outside;

/// This role's own identity: `NAME.key.pem` and `NAME.cert.pem` in a folder.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityConfig {
    /// The folder.
    pub folder: PathBuf,
    /// The name.
    pub name: String,
}

impl IdentityConfig {
    /// Reads it.
    pub fn load(&self) -> Result<Identity, SessionError> {
        Ok(Identity::load(&self.folder, &self.name)?)
    }
}

/// Another role: where it listens and who it must be.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remote {
    /// HOST:PORT.
    pub address: String,
    /// Fingerprint of its identity, as `ariann identity` prints it.
    pub fingerprint: String,
}

/// Deadlines, in seconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Deadlines {
    /// How long to try while the other side is not up.
    pub connect: f64,
    /// How long the other side may be silent.
    pub silence: f64,
    /// How long a living other side may work before it delivers.
    pub stall: f64,
}

impl Default for Deadlines {
    fn default() -> Self {
        let limits = Limits::default();
        Deadlines {
            connect: limits.connect.as_secs_f64(),
            silence: limits.silence.as_secs_f64(),
            stall: limits.stall.as_secs_f64(),
        }
    }
}

impl Deadlines {
    /// As limits of a connection.
    pub fn limits(&self) -> Result<Limits, SessionError> {
        let seconds = |value: f64, key: &str| {
            std::time::Duration::try_from_secs_f64(value).ok().filter(|duration| !duration.is_zero()).ok_or_else(|| {
                SessionError::Config(format!("deadlines.{key} = {value}: give a positive number of seconds"))
            })
        };
        let silence = seconds(self.silence, "silence")?;
        Ok(Limits {
            connect: seconds(self.connect, "connect")?,
            silence,
            keep_alive: (silence / 6).min(Limits::default().keep_alive),
            stall: seconds(self.stall, "stall")?,
            ..Limits::default()
        })
    }
}

/// The limits of a connection between P0 and P1, shaped as `link` says.
pub(crate) fn shaped(deadlines: &Deadlines, link: Option<Shape>) -> Result<Limits, SessionError> {
    Ok(Limits { shape: link.unwrap_or_default(), ..deadlines.limits()? })
}

/// P0: holds the model, listens for P1.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServeConfig {
    /// The plan file.
    pub plan: PathBuf,
    /// The model, ONNX.
    pub model: PathBuf,
    /// State folder: material and ledger.
    pub state: PathBuf,
    /// HOST:PORT to listen at.
    pub listen: String,
    /// Own identity.
    pub identity: IdentityConfig,
    /// Fingerprint of P1, when there is one.
    #[serde(default)]
    pub peer: String,
    /// Fingerprints of P1s, when there are several. Each has material of its own.
    #[serde(default)]
    pub clients: Vec<String>,
    /// Outside clients, where the plan is for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outside: Option<Outside>,
    /// The most sessions at once; one more is refused.
    #[serde(default = "most_sessions")]
    pub max_sessions: usize,
    /// The dealer, when it serves.
    #[serde(default)]
    pub dealer: Option<Remote>,
    /// Go on fetching from the dealer while sessions run.
    #[serde(default)]
    pub stream: bool,
    /// Deliveries that lie unspent at most while it streams.
    #[serde(default = "ahead")]
    pub ahead: usize,
    /// Material files to take in.
    #[serde(default)]
    pub material: Vec<PathBuf>,
    /// Behave like this link towards P1: loopback, lan or wan. For measurements on one machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<Shape>,
    /// Agrees to plans that send the model's weights to P1 in clear.
    #[serde(default)]
    pub publish_weights: bool,
    /// Threads; all cores when 0.
    #[serde(default)]
    pub threads: usize,
    /// End after so many sessions; never when 0.
    #[serde(default)]
    pub sessions: u64,
    /// The most items that P1 may have computed together: memory grows with them.
    #[serde(default = "most_items")]
    pub max_batch: u32,
    /// Deadlines.
    #[serde(default)]
    pub deadlines: Deadlines,
}

impl ServeConfig {
    /// Who may connect: name in messages, and fingerprint as it is written.
    pub fn pins(&self) -> Vec<(String, &str)> {
        let one = Some(&self.peer).filter(|pin| !pin.is_empty()).map(|pin| ("P1".to_string(), pin.as_str()));
        let several = self.clients.iter().enumerate();
        one.into_iter()
            .chain(several.map(|(number, pin)| (format!("P1 of client {}", number + 1), pin.as_str())))
            .collect()
    }
}

/// P1: holds the data, connects to P0.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueryConfig {
    /// The plan file.
    pub plan: PathBuf,
    /// Images: IDX, npy, PNG, JPEG, or a folder.
    pub input: PathBuf,
    /// State folder: material and ledger.
    pub state: PathBuf,
    /// P0.
    pub peer: Remote,
    /// Own identity.
    pub identity: IdentityConfig,
    /// The dealer, when it serves.
    #[serde(default)]
    pub dealer: Option<Remote>,
    /// Begin with the first delivery and go on fetching from the dealer while the session runs.
    #[serde(default)]
    pub stream: bool,
    /// Deliveries that lie unspent at most while it streams.
    #[serde(default = "ahead")]
    pub ahead: usize,
    /// Material files to take in.
    #[serde(default)]
    pub material: Vec<PathBuf>,
    /// Items computed together.
    #[serde(default = "one")]
    pub batch: u32,
    /// First items of the input only.
    #[serde(default)]
    pub limit: Option<usize>,
    /// Whether P0 may learn the results, when the plan says so. P0 chooses the model: results may tell the inputs.
    #[serde(default)]
    pub reveal_to_p0: bool,
    /// Behave like this link towards P0, and measure it: loopback, lan or wan. For measurements on one machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<Shape>,
    /// Threads; all cores when 0.
    #[serde(default)]
    pub threads: usize,
    /// Deadlines.
    #[serde(default)]
    pub deadlines: Deadlines,
}

/// The dealer: to files, or serving two parties.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DealConfig {
    /// The plan file.
    pub plan: PathBuf,
    /// Slots to make: one for each item.
    pub count: u32,
    /// Slots of one delivery; by default as many as one may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_slots: Option<u32>,
    /// State folder: weights seeds.
    pub state: PathBuf,
    /// Begin a new weights version: when the model's weights changed.
    #[serde(default)]
    pub new_weights: bool,
    /// Folder for the files of both parties.
    #[serde(default)]
    pub out: Option<PathBuf>,
    /// Or: serve the parties over TLS.
    #[serde(default)]
    pub serve: Option<DealServe>,
    /// Threads; all cores when 0.
    #[serde(default)]
    pub threads: usize,
    /// Deadlines.
    #[serde(default)]
    pub deadlines: Deadlines,
}

/// A dealer that serves.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DealServe {
    /// HOST:PORT to listen at.
    pub listen: String,
    /// Own identity.
    pub identity: IdentityConfig,
    /// Fingerprint of P0.
    pub p0: String,
    /// Fingerprint of P1.
    pub p1: String,
}

/// The most threads of a role.
const MOST_THREADS: usize = 1024;

/// Items computed together at P0 unless said otherwise.
pub const MOST_ITEMS: u32 = 1024;

/// Sessions at once at P0 unless said otherwise.
pub const MOST_SESSIONS: usize = 8;

/// Deliveries that lie unspent at a party that streams, unless said otherwise: one in use, one on its way.
pub const AHEAD: usize = 2;

fn ahead() -> usize {
    AHEAD
}

fn most_items() -> u32 {
    MOST_ITEMS
}

fn most_sessions() -> usize {
    MOST_SESSIONS
}

fn one() -> u32 {
    1
}

/// A stream without a source.
pub(crate) fn streams_from_nobody() -> SessionError {
    let reason = "stream = true without a dealer: name it under [dealer], or take files in with `material`";
    SessionError::Config(reason.to_string())
}

/// Bytes of a configuration file at most.
const LARGEST: u64 = 1 << 20;

/// Reads a configuration file.
pub fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T, SessionError> {
    let failed = |source| SessionError::file("reading the configuration", path, source);
    if std::fs::metadata(path).map_err(failed)?.len() > LARGEST {
        return Err(SessionError::Config(format!("{}: larger than any configuration; check the path", path.display())));
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    toml::from_str(&text).map_err(|error| SessionError::Config(format!("{}: {error}", path.display())))
}

/// Parses a pinned fingerprint.
pub fn pin(text: &str, whose: &str) -> Result<Fingerprint, SessionError> {
    text.parse().map_err(|error| SessionError::Config(format!("the fingerprint of {whose}: {error}")))
}

/// The name of a party in messages.
pub fn name(party: Party) -> &'static str {
    match party {
        Party::P0 => "P0",
        Party::P1 => "P1",
    }
}

/// The name of a party in files, reports and configurations.
pub fn role(party: Party) -> &'static str {
    match party {
        Party::P0 => "p0",
        Party::P1 => "p1",
    }
}

/// A pool of `threads` threads, all cores when 0, for work beside a role's own.
pub fn pool(threads: usize) -> Result<rayon::ThreadPool, SessionError> {
    let built = rayon::ThreadPoolBuilder::new().num_threads(bounded(threads)?).build();
    built.map_err(|error| SessionError::Config(format!("--threads {threads}: {error}")))
}

/// The threads of this role's process, all cores when 0: every parallel loop of it runs in them. A process that has chosen
/// already, because it plays several roles, keeps its choice.
pub fn threads(threads: usize) -> Result<(), SessionError> {
    let _ = rayon::ThreadPoolBuilder::new().num_threads(bounded(threads)?).build_global();
    Ok(())
}

/// Refuses a number of threads that no machine has: each would be started.
fn bounded(threads: usize) -> Result<usize, SessionError> {
    if threads > MOST_THREADS {
        let reason =
            format!("{threads} threads are more than {MOST_THREADS}; set the number of cores, or 0 for all of them");
        return Err(SessionError::Config(reason));
    }
    Ok(threads)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_threads_that_no_machine_has_is_refused() {
        assert_eq!(pool(3).unwrap().current_num_threads(), 3);
        for refused in [pool(MOST_THREADS + 1).map(drop), threads(1_000_000)] {
            assert!(refused.unwrap_err().to_string().contains("more than 1024"));
        }
    }
}
