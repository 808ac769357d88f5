//! The public list of rounds: from it every owner, also one that was absent, brings its share of the model up to date.

use serde::{Deserialize, Serialize};

use crate::error::refuse;
use crate::messages::{Message, ascending, message};
use crate::{FederatedError, Training, Who, Why, derive};

/// A round that had a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// [`Training::digest`].
    pub training: [u8; 32],
    /// Number of the group key that was in force.
    pub epoch: u32,
    /// Tells that key from others: an owner with another one does not follow.
    pub group: [u8; 16],
    /// The round.
    pub round: u64,
    /// Whose updates were counted, ascending.
    pub survivors: Vec<u16>,
    /// [`Position::head`] before this round.
    pub previous: [u8; 32],
}
message!(10, "record of a round", Record);

/// Survivors of one round, for the masks of its result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survived {
    /// Number of the group key.
    pub epoch: u32,
    /// The round.
    pub round: u64,
    /// The survivors.
    pub owners: Vec<u16>,
}

/// How far a share of the model is: the last round in it, and a digest of all rounds in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The last round in it; 0 before the first.
    pub round: u64,
    /// Digest of the list of rounds so far. Owners compare theirs when a round begins.
    pub head: [u8; 32],
}

impl Position {
    /// Before the first round.
    pub fn start(training: &Training) -> Position {
        Position { round: 0, head: *derive::key("ariann federated 1 history", &[&training.digest()]) }
    }

    /// After this round. Refuses a record that does not follow.
    pub fn after(&self, training: &Training, record: &Record) -> Result<Position, FederatedError> {
        if record.training != training.digest() {
            return Err(refuse(Who::Server, Why::Training));
        }
        ascending(Who::Server, Record::NAME, record.survivors.iter().copied())?;
        if record.previous != self.head || record.round <= self.round {
            return Err(refuse(Who::Server, Why::Records(record.round)));
        }
        let (have, need) = (record.survivors.len(), usize::from(training.threshold));
        if have < need {
            return Err(refuse(Who::Server, Why::BelowThreshold { what: Record::NAME, have, need }));
        }
        Ok(Position { round: record.round, head: derive::digest("ariann federated 1 record", record) })
    }

    /// After all of these, of which those that were applied already are passed over; and what is left to apply.
    pub fn after_all(
        &self,
        training: &Training,
        records: &[Record],
    ) -> Result<(Position, Vec<Survived>), FederatedError> {
        let (mut position, mut rounds) = (*self, Vec::new());
        for record in records.iter().filter(|record| record.round > self.round) {
            position = position.after(training, record)?;
            let owners = record.survivors.clone();
            rounds.push(Survived { epoch: record.epoch, round: record.round, owners });
        }
        Ok((position, rounds))
    }
}
