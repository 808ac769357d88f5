//! The public list of rounds: from it every owner, also one that was absent, brings its share of the model up to date. Nobody
//! can make an entry but T owners of that time: each carries their signatures.

use ariann_net::Signature;
use serde::{Deserialize, Serialize};

use crate::error::refuse;
use crate::messages::{Echo, Message, Survivors, ascending, message};
use crate::{FederatedError, Roster, Training, Who, Why, derive};

/// A round that had a result: the list of survivors that the owners signed, and who did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// [`Training::digest`].
    pub training: [u8; 32],
    /// [`Roster::digest`] of that time.
    pub roster: [u8; 32],
    /// Number of the group key that was in force.
    pub epoch: u32,
    /// Tells that key from others: an owner with another one does not follow.
    pub group: [u8; 16],
    /// The round.
    pub round: u64,
    /// Digest of its cohort.
    pub cohort: [u8; 32],
    /// Whose updates were counted, ascending.
    pub survivors: Vec<u16>,
    /// [`Position::head`] before this round.
    pub previous: [u8; 32],
    /// Signatures of T survivors or more under their list ([`Echo`]), by owner.
    pub echoes: Vec<(u16, Signature)>,
}
message!(10, "record of a round", Record);

impl Record {
    /// The list that was signed.
    pub fn list(&self) -> Survivors {
        Survivors {
            roster: self.roster,
            round: self.round,
            group: self.group,
            history: self.previous,
            cohort: self.cohort,
            survivors: self.survivors.clone(),
        }
    }

    /// Refuses a record that not T survivors of its time signed. The roster knows who that was.
    pub fn verify(&self, roster: &Roster) -> Result<(), FederatedError> {
        let (who, what) = (Who::Server, Record::NAME);
        let unknown = || refuse(who, Why::Unknown(self.round));
        let seating = roster.seating(&self.roster).filter(|seating| seating.epoch == self.epoch);
        let (seating, list) = (seating.ok_or_else(unknown)?, self.list().digest());
        ascending(who, what, self.echoes.iter().map(|(owner, _)| *owner))?;
        let (have, need) = (self.echoes.len(), roster.threshold());
        if have < need {
            return Err(refuse(who, Why::BelowThreshold { what, have, need }));
        }
        for (owner, signature) in &self.echoes {
            if !self.survivors.contains(owner) {
                return Err(refuse(who, Why::NotInCohort(*owner)));
            }
            let echo =
                Echo { roster: self.roster, round: self.round, owner: *owner, list, signature: Signature::default() };
            let verified = roster.verify_of(seating, *owner, Echo::NAME, &echo.signed(), signature);
            // It is not the owner who shows it.
            verified.map_err(|error| match error {
                FederatedError::Refused(refusal) => refuse(who, refusal.why),
                other => other,
            })?;
        }
        Ok(())
    }
}

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

/// How far a share of the model is: the last round in it, how many there are, and a digest of all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The last round in it; 0 before the first.
    pub round: u64,
    /// Rounds in it.
    pub rounds: u64,
    /// Digest of the list of rounds so far. Owners compare theirs when a round begins.
    pub head: [u8; 32],
}

impl Position {
    /// Before the first round.
    pub fn start(training: &Training) -> Position {
        Position { round: 0, rounds: 0, head: *derive::key("ariann federated 1 history", &[&training.digest()]) }
    }

    /// After this round. Refuses a record that does not follow. Who signed it is [`Record::verify`]'s to look at.
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
        // Not of the signatures: which T of them the server shows does not matter.
        let head = derive::digest("ariann federated 2 record", &(record.training, record.list().digest()));
        Ok(Position { round: record.round, rounds: self.rounds + 1, head })
    }

    /// After all of these, of which those that were applied already are passed over; and what is left to apply. All of that is
    /// verified.
    pub fn after_all(&self, roster: &Roster, records: &[Record]) -> Result<(Position, Vec<Survived>), FederatedError> {
        let (mut position, mut rounds) = (*self, Vec::new());
        for record in records.iter().filter(|record| record.round > self.round) {
            position = position.after(roster.training(), record)?;
            record.verify(roster)?;
            let owners = record.survivors.clone();
            rounds.push(Survived { epoch: record.epoch, round: record.round, owners });
        }
        Ok((position, rounds))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ariann_net::Identity;

    use super::*;
    use crate::roster::purpose;
    use crate::{Book, KeepMemory, ModelShare};

    #[test]
    fn an_owner_follows_no_other_list_than_it_signed() {
        let identities = [(); 3].map(|()| Arc::new(Identity::ephemeral("owner").unwrap()));
        let training = Training { id: [0; 32], ring: 32, values: 1, threshold: 2, most_rows: 1 };
        let pins: Vec<_> = (1..).zip(identities.iter().map(|it| it.fingerprint())).collect();
        let mut roster = Roster::new(training.clone(), 1, &pins).unwrap();
        identities.iter().for_each(|it| roster.acquaint(&it.certificate()));
        let mut book = Book::open(&training, KeepMemory::default()).unwrap();
        book.draw(&roster, 1).unwrap();
        let start = Position::start(&training);
        // Two owners sign whatever the server wants.
        let record = |survivors: &[u16]| {
            let mut record = Record {
                training: training.digest(),
                roster: roster.digest(),
                epoch: 1,
                group: book.keys().tag(1).unwrap(),
                round: 4,
                cohort: [0; 32],
                survivors: survivors.to_vec(),
                previous: start.head,
                echoes: Vec::new(),
            };
            for owner in [2, 3] {
                let list = record.list().digest();
                let (roster, round, signature) = (record.roster, record.round, Signature::default());
                let signed = Echo { roster, round, owner, list, signature }.signed();
                let signature = identities[usize::from(owner) - 1].sign(&purpose(Echo::NAME), &signed).unwrap();
                record.echoes.push((owner, signature));
            }
            record
        };
        let (own, other) = (record(&[1, 2, 3]), record(&[2, 3]));
        book.sign(4, own.list().digest()).unwrap();
        let refused = |result: Result<(), FederatedError>| result.unwrap_err().refusal().unwrap().why.clone();
        assert_eq!(refused(book.sign(4, other.list().digest())), Why::OtherSigned(4));
        let folder = tempfile::tempdir().unwrap();
        let mut share = ModelShare::<u32>::create(&folder.path().join("share"), &training, |_, _| Ok(())).unwrap();
        let mut follow = |record: &Record| share.follow(std::slice::from_ref(record), &roster, &mut book).map(drop);
        assert_eq!(refused(follow(&other)), Why::OtherSigned(4));
        follow(&own).unwrap();
    }
}
