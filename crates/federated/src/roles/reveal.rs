//! The trained model, for those whom the federation names, when all of them agreed: from both shares, under the names that it
//! came with.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ariann_plan::training::decode_state;
use ariann_ring::Ring;
use ariann_session::SessionError;
use ariann_session::training::{initial_states, job_graph, write_model};
use serde::{Deserialize, Serialize};

use super::federation::Plan;

/// Who learns the trained model at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reveal {
    /// All owners that are there at the end.
    #[serde(rename = "model:owners")]
    Owners,
    /// The server.
    #[serde(rename = "model:server")]
    Server,
    /// Both.
    #[serde(rename = "model:all")]
    All,
}

const OWNERS: &str = "model:owners";
const SERVER: &str = "model:server";

impl Reveal {
    /// Whether owners learn it.
    pub fn to_owners(self) -> bool {
        self != Reveal::Server
    }

    /// Whether the server learns it.
    pub fn to_server(self) -> bool {
        self != Reveal::Owners
    }
}

/// What a role must allow for a federation that reveals so.
pub fn needed(reveal: Option<Reveal>) -> Vec<String> {
    let words = [(OWNERS, reveal.is_some_and(Reveal::to_owners)), (SERVER, reveal.is_some_and(Reveal::to_server))];
    words.into_iter().filter(|(_, needed)| *needed).map(|(word, _)| word.to_string()).collect()
}

/// Refuses a federation that reveals what this role does not agree to. Every role asks itself, before it sends anything.
pub(crate) fn consent(reveal: Option<Reveal>, allow: &[String]) -> Result<(), SessionError> {
    if let Some(unknown) = allow.iter().find(|word| ![OWNERS, SERVER].contains(&word.as_str())) {
        let reason = format!("allow = \"{unknown}\" names nothing; there are {OWNERS} and {SERVER}");
        return Err(SessionError::Config(reason));
    }
    match needed(reveal).into_iter().find(|word| !allow.contains(word)) {
        None => Ok(()),
        Some(word) => Err(SessionError::Config(format!(
            "this federation reveals the trained model (\"{word}\"), and this role does not agree; nothing was sent. Ask for another \
             federation, or agree with allow = [\"{word}\"]"
        ))),
    }
}

/// Reads the model that a role was given, and refuses one of another network. The weights of one that `begins` the training must
/// fit its ranges; of others, names are taken alone.
pub(crate) fn original(plan: &Plan, path: Option<&Path>, begins: bool) -> Result<Option<Vec<u8>>, SessionError> {
    let Some(path) = path else { return Ok(None) };
    let model = std::fs::read(path).map_err(|source| SessionError::file("reading the model", path, source))?;
    match begins {
        true => drop(initial_states(&plan.course, &model)?),
        false => drop(job_graph(&plan.course, &model)?),
    }
    Ok(Some(model))
}

/// Writes the model W = W_S + W_O.
pub(crate) fn write<R: Ring>(
    plan: &Plan,
    [one, other]: [&[R]; 2],
    folder: &Path,
    original: Option<&[u8]>,
) -> Result<Vec<PathBuf>, SessionError> {
    let sum: Vec<R> = one.iter().zip(other).map(|(one, other)| one.add(*other)).collect();
    let states = plan.states(&sum);
    let decoded = states.iter().zip(plan.course.states()).map(|(words, state)| decode_state(words, state.after));
    let model: BTreeMap<usize, Vec<f32>> = decoded.enumerate().collect();
    write_model(&plan.course, &model, folder, original)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_must_be_allowed_and_known() {
        let allow = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert!(consent(None, &[]).is_ok() && consent(None, &allow(&[SERVER])).is_ok());
        assert!(consent(Some(Reveal::Owners), &allow(&[OWNERS])).is_ok());
        assert!(consent(Some(Reveal::All), &allow(&[OWNERS, SERVER])).is_ok());
        for (reveal, words, lacks) in [
            (Reveal::Owners, &[][..], OWNERS),
            (Reveal::Server, &[OWNERS], SERVER),
            (Reveal::All, &[OWNERS], SERVER),
            (Reveal::All, &[SERVER], OWNERS),
        ] {
            let error = consent(Some(reveal), &allow(words)).unwrap_err().to_string();
            assert!(error.contains(&format!("allow = [\"{lacks}\"]")), "{error}");
        }
        assert!(consent(None, &allow(&["model:p0"])).unwrap_err().to_string().contains("names nothing"));
    }
}
