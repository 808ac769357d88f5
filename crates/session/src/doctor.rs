//! What a role needs of its machine, its configuration and the others, looked at before it starts; each finding with who is at
//! fault and what to do. Nothing is changed but a file that is written, synced and removed again to see how fast the disk is.

mod disk;
mod inference;
mod look;
mod machine;
mod material;
mod training;
mod validity;

use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};

use crate::config;
use crate::{Fault, SessionError};

pub use look::{Look, Room};

/// How a finding is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// As it should be.
    Ok,
    /// It works, but look at it.
    Warning,
    /// It will not work.
    Problem,
}

impl Grade {
    /// The word in tables and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Grade::Ok => "ok",
            Grade::Warning => "warning",
            Grade::Problem => "problem",
        }
    }
}

/// One finding.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What was looked at: "aes", "products", "clock", "config", "plan", "job", "federation", "consent", "file", "data", "identity",
    /// "pin", "disk", "checkpoints", "rows", "listen", "reach" or "material".
    pub check: &'static str,
    /// Which one of its kind: a file, a folder, an address, a role; empty where there is one only.
    pub subject: String,
    /// How it is meant.
    pub grade: Grade,
    /// What was found.
    pub finding: String,
    /// Who is at fault, as errors name it: "operator", "peer", "dealer", "input" or "machine"; none when all is well.
    pub fault: Option<&'static str>,
    /// What to do; none when all is well.
    pub advice: Option<String>,
    /// Figures of the finding, by name.
    pub facts: Value,
}

impl Check {
    /// All is well.
    pub fn ok(check: &'static str, subject: impl Into<String>, finding: impl Into<String>) -> Check {
        let (subject, finding) = (subject.into(), finding.into());
        Check { check, subject, grade: Grade::Ok, finding, fault: None, advice: None, facts: json!({}) }
    }

    /// It works, but: what to do.
    pub fn warning(mut self, fault: Fault, advice: impl Into<String>) -> Check {
        (self.grade, self.fault, self.advice) = (Grade::Warning, Some(fault.name()), Some(advice.into()));
        self
    }

    /// It will not work: what to do.
    pub fn problem(mut self, fault: Fault, advice: impl Into<String>) -> Check {
        (self.grade, self.fault, self.advice) = (Grade::Problem, Some(fault.name()), Some(advice.into()));
        self
    }

    /// With figures.
    pub fn facts(mut self, facts: Value) -> Check {
        self.facts = facts;
        self
    }

    /// An error of this program: what happened, and after the last semicolon what to do.
    pub fn error(check: &'static str, subject: impl Into<String>, error: &SessionError) -> Check {
        let text = plain(error);
        let (finding, advice) = text.rsplit_once("; ").unwrap_or((&text, "put this right and look again"));
        Check::ok(check, subject, finding).problem(error.fault(), advice)
    }
}

/// An error without the word of who is at fault, which some begin with.
fn plain(error: &dyn std::fmt::Display) -> String {
    let text = error.to_string();
    let split = text.split_once(": ").filter(|(word, _)| ["operator", "dealer", "disk"].contains(word));
    split.map_or(text.clone(), |(_, rest)| rest.to_string())
}

/// What was examined, and how it stands.
#[derive(Clone, Debug, Serialize)]
pub struct Findings {
    /// Whether there is no problem.
    pub ok: bool,
    /// "p0", "p1", "dealer", "client", "owner" or "server", when a configuration was given that can be read.
    pub role: Option<&'static str>,
    /// All findings.
    pub checks: Vec<Check>,
}

/// A role whose configuration was read.
pub trait Subject {
    /// As in [`Findings::role`].
    fn name(&self) -> &'static str;
    /// As people read it.
    fn title(&self) -> &'static str;
    /// Its state folder.
    fn state(&self) -> Option<&Path>;
    /// Looks at all that it needs.
    fn examine(&self, look: &mut Look);
}

/// Tells by the keys on the top level of a file whether it is the configuration of a role that this crate does not know, and
/// reads it then.
pub type Reader = fn(&[String], &Path) -> Option<Result<Box<dyn Subject>, SessionError>>;

/// Examines this machine, and with a configuration file what its role needs.
pub fn examine(config: Option<&Path>, others: Reader) -> Findings {
    let mut look = Look::default();
    look.add(machine::aes());
    look.add(machine::products());
    let role = config.and_then(|path| {
        look.parsed("config", path.display().to_string(), read(path, others), |role| {
            format!("the configuration of {}", role.title())
        })
    });
    look.add(machine::clock(role.as_ref().and_then(|role| role.state())));
    if let Some(role) = &role {
        role.examine(&mut look);
    }
    let checks = look.into_checks();
    let ok = checks.iter().all(|check| check.grade != Grade::Problem);
    Findings { ok, role: role.as_ref().map(|role| role.name()), checks }
}

/// The role is told by keys that only its configuration has.
fn read(path: &Path, others: Reader) -> Result<Box<dyn Subject>, SessionError> {
    let table = config::read::<toml::Table>(path)?;
    let keys: Vec<String> = table.keys().cloned().collect();
    let has = |key: &str| table.contains_key(key);
    if let Some(role) = others(&keys, path) {
        return role;
    }
    Ok(if has("trained") {
        Box::new(training::Answers(config::read(path)?))
    } else if has("job") && has("role") {
        Box::new(training::Trains(config::read(path)?))
    } else if has("job") && has("listen") {
        Box::new(training::Deals(config::read(path)?))
    } else if has("job") {
        Box::new(training::Owns(config::read(path)?))
    } else if has("model") {
        Box::new(inference::Serves(config::read(path)?))
    } else if has("outside") {
        Box::new(inference::Assists(config::read(path)?))
    } else if has("input") && has("state") {
        Box::new(inference::Queries(config::read(path)?))
    } else if has("input") {
        Box::new(inference::Asks(config::read(path)?))
    } else if has("count") {
        Box::new(inference::Deals(config::read(path)?))
    } else {
        let reason = "it has neither `model` (P0), `input` (P1 or a client), `outside` (P1 for clients), `count` (the dealer), `job` (a \
                      training) nor `federation`; docs/walkthrough.md, docs/pooled.md and docs/federated.md have them all";
        return Err(SessionError::Config(format!("{}: {reason}", path.display())));
    })
}
