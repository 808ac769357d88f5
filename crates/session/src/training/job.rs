//! The public job: network, recipe, ranges and what is revealed. All three roles hold it, and each compiles the plans from it
//! for itself ([`Course`](super::course::Course)).

use std::path::Path;

use ariann_gates::Receiver;
use ariann_graph::Network;
use ariann_graph::training::{Recipe, StepRanges};
use ariann_plan::training::Source;
use ariann_plan::{InputSpec, Link, Optimize, SignChoice};
use serde::{Deserialize, Serialize};

use super::pooled::RowOwner;

/// Version of the job's meaning; jobs of another version are refused.
pub const VERSION: u32 = 2;
/// Bytes of the largest job file that is read.
const LARGEST: u64 = 256 << 20;

/// A job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// [`VERSION`].
    pub version: u32,
    /// What is trained; without weights.
    pub network: Network,
    /// The declared input: shape of one item and what happens to its values first.
    pub input: InputSpec,
    /// What training does.
    pub recipe: Recipe,
    /// Who brings the items.
    pub features: Source,
    /// Who brings their labels.
    pub labels: Source,
    /// The owners who share them, in the order of their rows; none where a party brings them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owners: Vec<RowOwner>,
    /// Who learns what.
    pub reveals: Reveals,
    /// Items of the training set.
    pub rows: u64,
    /// Items of the test set; 0 for none.
    pub test_rows: u64,
    /// Ranges of the first steps, and of the test where there is one.
    pub ranges: Ranges,
    /// Ranges are measured and renewed every so many steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rescale_every: Option<u32>,
    /// What the planner chooses.
    pub choices: Choices,
}

/// Who learns what of a training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reveals {
    /// The trained model.
    pub model: Option<Receiver>,
    /// The loss of each step.
    pub loss: Option<Receiver>,
    /// The accuracy on the test set after each epoch.
    pub accuracy: Option<Receiver>,
}

/// Ranges of values, as exponents tell them: [`StepRanges::rounded`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ranges {
    /// Of a step.
    pub steps: StepRanges,
    /// Of a batch of the test.
    pub evaluation: Option<StepRanges>,
}

impl Ranges {
    /// As exponents tell them.
    pub fn rounded(&self) -> Ranges {
        let evaluation = self.evaluation.as_ref().map(StepRanges::rounded);
        Ranges { steps: self.steps.rounded(), evaluation }
    }
}

/// What the planner is free in.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choices {
    /// Bits of the ring: 32 or 64.
    pub ring: u32,
    /// Bits of margin above the ranges.
    pub margin: u32,
    /// What the form of each comparison is chosen for.
    pub optimize: Optimize,
    /// How ReLU decides a sign.
    pub sign: SignChoice,
    /// The link that the forecast is made for.
    pub link: Link,
}

/// Why a job was refused.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The file cannot be read or written.
    #[error("job {path}: {source}; check the path and its permissions")]
    Io {
        /// The file.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is no job.
    #[error("job {path}: {reason}; check the path, or make the job again with `ariann train --job-only`")]
    Form {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// Another version.
    #[error("the job has version {0}, this program runs version {VERSION}; make it again")]
    Version(u32),
    /// It does not fit together.
    #[error("the job's {0}; make it again")]
    Head(String),
    /// Its network cannot be trained, or not so.
    #[error("{0}")]
    Plan(String),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    digest: String,
    job: Job,
}

impl Job {
    /// Of everything that the job says.
    pub fn digest(&self) -> [u8; 32] {
        let bytes = serde_json::to_vec(self).expect("a job has a canonical form");
        *blake3::Hasher::new_derive_key("ariann training job v2").update(&bytes).finalize().as_bytes()
    }

    /// The digest in hexadecimal.
    pub fn digest_hex(&self) -> String {
        blake3::Hash::from_bytes(self.digest()).to_hex().to_string()
    }

    /// The file's content.
    pub fn to_json(&self) -> String {
        let file = File { digest: self.digest_hex(), job: self.clone() };
        serde_json::to_string(&file).expect("a job is JSON") + "\n"
    }

    /// Reads a file's content; `path` is for the error. A [`Course`](super::course::Course) checks what it says.
    pub fn from_json(text: &str, path: &Path) -> Result<Job, JobError> {
        #[derive(Deserialize)]
        struct Versioned {
            job: Version,
        }
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let form = |reason: String| JobError::Form { path: path.display().to_string(), reason };
        let Versioned { job: Version { version } } =
            serde_json::from_str(text).map_err(|error| form(error.to_string()))?;
        if version != VERSION {
            return Err(JobError::Version(version));
        }
        let file: File = serde_json::from_str(text).map_err(|error| form(error.to_string()))?;
        if file.job.digest_hex() != file.digest {
            return Err(form("its digest does not match its content: it was edited or damaged".to_string()));
        }
        Ok(file.job)
    }

    /// Writes the job file.
    pub fn write(&self, path: &Path) -> Result<(), JobError> {
        let io = |source| JobError::Io { path: path.display().to_string(), source };
        std::fs::write(path, self.to_json()).map_err(io)
    }

    /// Reads a job file.
    pub fn read(path: &Path) -> Result<Job, JobError> {
        let io = |source| JobError::Io { path: path.display().to_string(), source };
        if std::fs::metadata(path).map_err(io)?.len() > LARGEST {
            let reason = format!("larger than {LARGEST} bytes, so not a job");
            return Err(JobError::Form { path: path.display().to_string(), reason });
        }
        Job::from_json(&std::fs::read_to_string(path).map_err(io)?, path)
    }

    /// What is revealed, and to whom: "model", "loss", "accuracy" and "ranges".
    pub fn revealed(&self) -> Vec<(&'static str, Receiver)> {
        let Reveals { model, loss, accuracy } = self.reveals;
        let ranges = self.rescale_every.map(|_| Receiver::Both);
        let each = [("model", model), ("loss", loss), ("accuracy", accuracy), ("ranges", ranges)];
        each.into_iter().filter_map(|(what, to)| Some((what, to?))).collect()
    }

    /// The same in words, for users.
    pub fn reveals_list(&self) -> Vec<String> {
        let what = |what: &str| match what {
            "loss" => "the loss of every step".to_string(),
            "accuracy" => "the number of right answers on the test set, after every epoch".to_string(),
            "model" => "the trained model, at the end".to_string(),
            _ => {
                let every = self.rescale_every.unwrap_or(0);
                format!("the range of every product as one power of two, every {every} steps (--rescale-every)")
            }
        };
        let to = |of: &str, to: Receiver| match to {
            Receiver::P0 => "P0",
            Receiver::P1 => "P1",
            Receiver::Both if of == "ranges" => "both parties and the dealer",
            Receiver::Both => "both parties",
            Receiver::Client => "outside clients",
        };
        let line = |(of, receiver)| format!("{}, to {}", what(of), to(of, receiver));
        self.revealed().into_iter().map(line).collect()
    }
}
