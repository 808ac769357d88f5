//! The public agreement that all roles of a federated training hold, and what follows from it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use ariann_graph::training::{Initial, Role};
use ariann_net::Fingerprint;
use ariann_ring::Ring;
use ariann_session::SessionError;
use ariann_session::config::pin;
use ariann_session::training::{Course, FINER, Job, PairTask, is_averaged, weight_bits};
use serde::{Deserialize, Serialize};

use super::reveal::Reveal;
use crate::privacy::{Guard, Privacy, Protection};
use crate::{Roster, Training, derive, fed_avg, fed_sgd};

/// Version of the file.
const VERSION: u32 = 1;
/// Bytes of the largest file that is read.
const LARGEST: u64 = 256 << 20;

/// What a round is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// Owners train some epochs, and their updates are averaged.
    #[default]
    FedAvg,
    /// Owners compute one gradient at the same model, and the model makes one step by their average.
    FedSgd,
}

/// An owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Its number.
    pub number: u16,
    /// Fingerprint of its identity.
    pub fingerprint: String,
}

/// Who were the owners before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Former {
    /// Number of the group key of that time.
    pub epoch: u32,
    /// The owners.
    pub owners: Vec<Member>,
}

/// Who trains what with whom: public, and the same at all roles. Each role compares the fingerprints with those that it was told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Federation {
    /// Of this file.
    pub version: u32,
    /// Tells this training from all others: 64 hexadecimal digits, drawn by chance.
    pub id: String,
    /// Rounds with a result.
    pub rounds: u32,
    /// Epochs that an owner trains in a round.
    pub epochs: u32,
    /// T: owners that must reach the end of a round, more than half of them.
    pub threshold: u16,
    /// Grows by one when an owner has left.
    pub epoch: u32,
    /// Rows that an owner may have at most.
    pub most_rows: u64,
    /// The server.
    pub server: String,
    /// The dealer.
    pub dealer: String,
    /// The owners.
    pub owners: Vec<Member>,
    /// Who were the owners before, every change of them an entry, the first ones first: records of their rounds carry their
    /// signatures.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former: Vec<Former>,
    /// What a round is.
    #[serde(default, skip_serializing_if = "is_default")]
    pub algorithm: Algorithm,
    /// FedSGD: batches of an owner's gradient; all of its rows when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batches: Option<u32>,
    /// Who learns the trained model at the end; nobody when absent. Every role must agree in its own configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reveal: Option<Reveal>,
    /// The owner that brings the model to begin with, and keeps it secret from server and owners; the server brings it when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial: Option<u16>,
    /// Differential privacy of owners; none when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub privacy: Option<Privacy>,
    /// What a pair trains: its `epochs` are those of all rounds, its `rows` serve as an example.
    pub job: Job,
}

fn is_default(algorithm: &Algorithm) -> bool {
    *algorithm == Algorithm::default()
}

/// What every role computes from a federation for itself.
pub struct Plan {
    /// The agreement.
    pub federation: Federation,
    /// The plans of a pair.
    pub course: Arc<Course>,
    /// Without certificates.
    pub roster: Roster,
    /// Which states make up the model, in order, and their lengths.
    model: Vec<(usize, usize)>,
    guard: Option<Arc<Guard>>,
}

impl Federation {
    /// Reads the file.
    pub fn read(path: &Path) -> Result<Federation, SessionError> {
        let io = |source| SessionError::file("reading", path, source);
        if std::fs::metadata(path).map_err(io)?.len() > LARGEST {
            return Err(SessionError::Config(format!("{}: larger than any federation", path.display())));
        }
        let text = std::fs::read_to_string(path).map_err(io)?;
        serde_json::from_str(&text).map_err(|error| {
            SessionError::Config(format!("{}: {error}; it is no federation of this release", path.display()))
        })
    }

    /// Writes the file.
    pub fn write(&self, path: &Path) -> Result<(), SessionError> {
        let text = serde_json::to_string(self).expect("a federation is JSON");
        std::fs::write(path, text + "\n").map_err(|source| SessionError::file("writing", path, source))
    }

    /// Checks it, and compiles the plans of its pairs.
    pub fn plan(self) -> Result<Plan, SessionError> {
        let bad = |reason: String| Err(SessionError::Config(format!("the federation: {reason}")));
        if self.version != VERSION {
            return bad(format!("it has version {}, this program runs version {VERSION}", self.version));
        }
        if self.rounds == 0 || self.rounds.checked_mul(self.epochs) != Some(self.job.recipe.epochs) {
            return bad("the epochs of its job are not its rounds times its epochs".to_string());
        }
        if self.job.reveals.model.is_some() {
            return bad("its job reveals the model, which no pair does".to_string());
        }
        let gradients = self.algorithm == Algorithm::FedSgd;
        if gradients && (self.epochs != 1 || self.job.recipe.momentum != 0.0) {
            return bad("a round of FedSGD is one gradient: epochs must be 1, and the momentum 0".to_string());
        }
        if gradients && self.privacy.is_some() {
            return bad("differential privacy clips the updates of FedAvg, and its algorithm is FedSGD".to_string());
        }
        if self.batches.is_some_and(|batches| batches == 0 || !gradients) {
            return bad("batches are those of a gradient of FedSGD, and at least 1".to_string());
        }
        if self.initial.is_some() && self.job.recipe.initial == Initial::Fresh {
            return bad(
                "an owner brings the model to begin with, and its job draws weights from a public seed".to_string()
            );
        }
        let Ok(id) = blake3::Hash::from_hex(&self.id) else {
            return bad("its id has not 64 hexadecimal digits".to_string());
        };
        let course = Arc::new(Course::new(self.job.clone())?);
        let of_model = |role| is_averaged(role) || role == Role::Frozen;
        let states = course.states().iter().enumerate().filter(|(_, state)| of_model(state.role));
        let model: Vec<(usize, usize)> = states.map(|(index, state)| (index, state.len())).collect();
        let values = model.iter().map(|(_, len)| *len as u64).sum();
        // All that anybody computes by is bound to the id, and with it to every key and signature.
        let id = derive::digest("ariann federated 1 federation", &(id.as_bytes(), course.digest(), self.terms()));
        let (ring, threshold) = (self.job.choices.ring, self.threshold);
        let training = Training { id, ring, values, threshold, most_rows: self.most_rows };
        let pinned = |owners: &[Member]| -> Result<Vec<(u16, Fingerprint)>, SessionError> {
            owners.iter().map(|owner| Ok((owner.number, pin(&owner.fingerprint, "an owner")?))).collect()
        };
        let pins = pinned(&self.owners)?;
        // A dealer that is a party as well would know what the party does not.
        let (server, dealer) = (pin(&self.server, "the server")?, pin(&self.dealer, "the dealer")?);
        if server == dealer || pins.iter().any(|(_, owner)| [server, dealer].contains(owner)) {
            return bad(
                "server, dealer and owners are different parties, and two of them have one identity".to_string()
            );
        }
        let mut roster: Option<Roster> = None;
        for former in &self.former {
            let pins = pinned(&former.owners)?;
            roster = Some(match roster {
                None => Roster::new(training.clone(), former.epoch, &pins)?,
                Some(roster) => roster.followed(former.epoch, &pins)?,
            });
        }
        let roster = match roster {
            None => Roster::new(training, self.epoch, &pins)?,
            Some(roster) => roster.followed(self.epoch, &pins)?,
        };
        let size = (self.threshold, self.owners.len(), self.rounds);
        let guard = self.privacy.map(|privacy| Guard::new(privacy, &course, &model, size)).transpose()?;
        Ok(Plan { federation: self, course, roster, model, guard: guard.map(Arc::new) })
    }

    fn terms(&self) -> impl Serialize + '_ {
        let Federation { rounds, epochs, server, dealer, privacy, algorithm, batches, reveal, initial, .. } = self;
        (rounds, epochs, server, dealer, privacy, algorithm, batches, reveal, initial)
    }
}

impl Plan {
    /// What the aggregation is told.
    pub fn training(&self) -> &Training {
        self.roster.training()
    }

    /// The version that new files have.
    pub const VERSION: u32 = VERSION;

    /// Differential privacy, where it is agreed on.
    pub fn guard(&self) -> Option<&Arc<Guard>> {
        self.guard.as_ref()
    }

    /// What so many rounds with a result have spent of it, and so many without one whose shares were released.
    pub fn protection(&self, rounds: u32, lost: u32) -> Protection {
        self.guard.as_ref().map_or(Protection::None, |guard| Protection::Differential(guard.spent(rounds, lost)))
    }

    /// Where differential privacy is agreed on, every round spends of it that ends with a result, or that ends without one
    /// after shares were released. Refuses one more than the federation has.
    pub(crate) fn has_round(&self, rounds: u64, lost: &BTreeSet<u64>) -> Result<(), SessionError> {
        let Some(guard) = &self.guard else { return Ok(()) };
        let most = u64::from(self.federation.rounds) + u64::from(guard.privacy().spare);
        if rounds + (lost.len() as u64) < most {
            return Ok(());
        }
        let named: Vec<String> = lost.iter().map(u64::to_string).collect();
        let lost = match named.is_empty() {
            true => String::new(),
            false => {
                format!(" and {} without one after shares were released (round {})", named.len(), named.join(", "))
            }
        };
        Err(SessionError::Config(format!(
            "differential privacy: the federation has {most} rounds with those to spare, and they are spent: {rounds} with a result{lost}. None is left; \
             train on with another federation, whose id and privacy count anew"
        )))
    }

    /// What is agreed on, in words.
    pub(crate) fn privacy_text(&self) -> String {
        let rounds = self.federation.rounds;
        self.guard.as_ref().map_or("differential privacy: none".to_string(), |guard| guard.text(rounds))
    }

    /// The task of an owner in a round after `done` rounds with a result, from all rows of the cohort.
    pub(crate) fn task(
        &self,
        owner: u16,
        round: u64,
        done: u32,
        rows: &[(u16, u64)],
    ) -> Result<PairTask, SessionError> {
        let counts: Vec<u64> = rows.iter().map(|(_, rows)| *rows).collect();
        let bits = weight_bits(self.training().ring);
        let place = rows.iter().position(|(number, _)| *number == owner);
        let place = place.ok_or_else(|| SessionError::Config(format!("owner {owner} is not in the cohort")))?;
        let digest = derive::digest("ariann federated 1 order", &(self.training().digest(), round, owner));
        let seed = u64::from_le_bytes(*digest.first_chunk().expect("8 of 32 bytes"));
        let epochs = self.federation.epochs;
        let rows = counts[place];
        if self.federation.algorithm == Algorithm::FedAvg {
            let weight = match &self.guard {
                None => fed_avg(&counts, bits)?[place],
                // Rows are not what bounds an owner's part.
                Some(guard) => guard.weight(counts.len())?,
            };
            let clip = self.guard.as_ref().map(|guard| guard.norm());
            return Ok(PairTask::Train { first_epoch: done * epochs, epochs, rows, seed, weight, clip });
        }
        let batch = self.course.job().recipe.batch as u64;
        let most = self.federation.batches.map_or(u64::from(u32::MAX), u64::from);
        // One that has no whole batch is refused with its task.
        let batches: Vec<u64> = counts.iter().map(|rows| (rows / batch).clamp(1, most)).collect();
        // Many batches have small weights.
        let largest = batches.iter().max().expect("the owner is among them");
        let bits = bits + (64 - (largest - 1).leading_zeros()).min(FINER);
        let weight = fed_sgd(&counts, &batches, bits)?[place];
        Ok(PairTask::Gradient { epoch: done, batches: batches[place] as u32, rows, seed, weight, bits })
    }

    /// Shares of all states from words of the model's share.
    pub(crate) fn states<R: Ring>(&self, words: &[R]) -> Vec<Vec<R>> {
        let mut states: Vec<Vec<R>> = self.course.states().iter().map(|state| vec![R::ZERO; state.len()]).collect();
        let mut rest = words;
        for (state, len) in &self.model {
            let (own, others) = rest.split_at(*len);
            states[*state].copy_from_slice(own);
            rest = others;
        }
        states
    }

    /// The opposite of `states`.
    pub(crate) fn words<R: Ring>(&self, states: &[Vec<R>]) -> Vec<R> {
        self.model.iter().flat_map(|(state, _)| states[*state].iter().copied()).collect()
    }
}
