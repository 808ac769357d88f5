//! The plan file: JSON that people can read, with the digest that binds everything to it.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{CheckError, Plan};

/// Bytes of the largest plan file that is read.
const LARGEST: u64 = 64 << 20;

/// Why a plan file was refused.
#[derive(Debug, thiserror::Error)]
pub enum PlanFileError {
    /// The file cannot be read or written.
    #[error("plan {path}: {source}; check the path and its permissions")]
    Io {
        /// The file.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is larger than any plan.
    #[error("plan {path}: larger than {LARGEST} bytes, so not a plan; check the path")]
    Large {
        /// The file.
        path: String,
    },
    /// It is not a plan.
    #[error("plan {path}: {reason}; check the path, or make the plan again with `ariann plan`")]
    Form {
        /// The file.
        path: String,
        /// What the parser says.
        reason: String,
    },
    /// It was changed after it was made.
    #[error(
        "plan {path}: its digest does not match its content: it was edited or damaged; make it again with `ariann plan`"
    )]
    Digest {
        /// The file.
        path: String,
    },
    /// It does not fit together.
    #[error("plan {path}: {source}")]
    Check {
        /// The file.
        path: String,
        /// What is wrong.
        source: CheckError,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    digest: String,
    plan: Plan,
}

impl Plan {
    /// blake3 of the plan's canonical bytes: what parties and material are bound to.
    pub fn digest(&self) -> [u8; 32] {
        let bytes = postcard::to_stdvec(self).expect("a plan has a canonical form");
        let mut hasher = blake3::Hasher::new_derive_key("ariann plan v1");
        hasher.update(&bytes);
        *hasher.finalize().as_bytes()
    }

    /// The digest in hexadecimal.
    pub fn digest_hex(&self) -> String {
        blake3::Hash::from_bytes(self.digest()).to_hex().to_string()
    }

    /// The file's content.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(&File { digest: self.digest_hex(), plan: self.clone() }).expect("a plan is JSON")
            + "\n"
    }

    /// Reads a file's content; `path` is for the error.
    pub fn from_json(text: &str, path: &Path) -> Result<Plan, PlanFileError> {
        let path = path.display().to_string();
        let form = |reason: String| PlanFileError::Form { path: path.clone(), reason };
        let file: File = serde_json::from_str(text).map_err(|e| form(e.to_string()))?;
        // Nothing stands in the file that does not enter the digest: written again, it is the same.
        let known = serde_json::to_string(&file).map_err(|e| form(e.to_string()))?;
        let [read, known] = [text, known.as_str()].map(serde_json::from_str::<serde_json::Value>);
        if read.map_err(|e| form(e.to_string()))? != known.map_err(|e| form(e.to_string()))? {
            return Err(form("it holds keys that this version does not know".to_string()));
        }
        file.plan.check().map_err(|source| PlanFileError::Check { path: path.clone(), source })?;
        if file.plan.digest_hex() != file.digest {
            return Err(PlanFileError::Digest { path });
        }
        Ok(file.plan)
    }

    /// Writes the plan file.
    pub fn write(&self, path: &Path) -> Result<(), PlanFileError> {
        std::fs::write(path, self.to_json())
            .map_err(|source| PlanFileError::Io { path: path.display().to_string(), source })
    }

    /// Reads and checks a plan file.
    pub fn read(path: &Path) -> Result<Plan, PlanFileError> {
        let io = |source| PlanFileError::Io { path: path.display().to_string(), source };
        if std::fs::metadata(path).map_err(io)?.len() > LARGEST {
            return Err(PlanFileError::Large { path: path.display().to_string() });
        }
        Plan::from_json(&std::fs::read_to_string(path).map_err(io)?, path)
    }
}
