//! What an owner must remember beyond a round: the group keys, which rounds it took part in, what it signed and what it released.

use std::collections::{BTreeMap, BTreeSet};

use ariann_net::Identity;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::error::refuse;
use crate::group::{self, GroupKeys, KeyGrant, KeyRequest, Request};
use crate::{FederatedError, Keep, Position, Record, Roster, Training, Who, Why, derive};

/// An owner's memory of one training, saved before anything that depends on it is sent.
pub struct Book {
    keys: GroupKeys,
    training: [u8; 32],
    notes: Notes,
    /// Tags of group keys that records tell, by epoch.
    tags: BTreeMap<u32, [u8; 16]>,
    keep: Box<dyn Keep + Send>,
}

/// What is no secret.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Notes {
    /// The last round that this owner took part in: masks of a round serve once.
    entered: u64,
    /// Digests of the lists of survivors that it signed, by round, as far as its share of the model has not gone beyond.
    signed: BTreeMap<u64, [u8; 32]>,
    /// Rounds in which it released shares, as far as it has seen no record of them.
    released: BTreeSet<u64>,
    /// Where it said that the training has ended.
    closed: Option<Position>,
    /// The place at which it last tested the model, and how often it did there.
    tested: (u64, u32),
}

/// Tests of the model after one round: one, and some that were cut off.
const MOST_TESTS: u32 = 3;

/// First byte of what is kept.
const VERSION: u8 = 2;

impl Book {
    /// The book that was kept, or a new one.
    pub fn open(training: &Training, keep: impl Keep + Send + 'static) -> Result<Book, FederatedError> {
        let (keys, notes) = (GroupKeys::none(training), Notes::default());
        let mut book = Book { keys, training: training.digest(), notes, tags: BTreeMap::new(), keep: Box::new(keep) };
        let Some(state) = book.keep.load()? else { return Ok(book) };
        let bad = || FederatedError::Config("an owner's book is of another training or release, or damaged".into());
        let (head, rest) = state.split_first_chunk::<33>().ok_or_else(bad)?;
        let (notes, keys) = postcard::take_from_bytes(rest).map_err(|_| bad())?;
        if head[0] != VERSION || head[1..] != book.training || !book.keys.learn(keys) {
            return Err(bad());
        }
        book.notes = notes;
        Ok(book)
    }

    fn save(&mut self) -> Result<(), FederatedError> {
        let (keys, notes) = (self.keys.expose(), derive::canonical(&self.notes));
        let mut state = Zeroizing::new(Vec::with_capacity(33 + notes.len() + keys.len()));
        state.push(VERSION);
        state.extend_from_slice(&self.training);
        state.extend_from_slice(&notes);
        state.extend_from_slice(&keys);
        self.keep.save(&state)
    }

    /// Writes something down; where that fails, it was not.
    fn note(&mut self, change: impl FnOnce(&mut Notes)) -> Result<(), FederatedError> {
        let before = self.notes.clone();
        change(&mut self.notes);
        self.save().inspect_err(|_| self.notes = before)
    }

    /// The group keys.
    pub fn keys(&self) -> &GroupKeys {
        &self.keys
    }

    /// The last round that this owner took part in.
    pub fn entered(&self) -> u64 {
        self.notes.entered
    }

    /// Rounds in which this owner released shares and of which it has seen no record: whoever helps the server may know their
    /// sums.
    pub fn lost(&self) -> &BTreeSet<u64> {
        &self.notes.released
    }

    /// Draws the group key of the roster's epoch, if it is not there. Only the roster's [`Roster::keeper`] does, and only where
    /// nobody has it yet: one that lost its book asks for it as the others do.
    pub fn draw(&mut self, roster: &Roster, owner: u16) -> Result<(), FederatedError> {
        if owner != roster.keeper() {
            let reason = format!("owner {} draws the group key, owner {owner} asks for it", roster.keeper());
            return Err(FederatedError::Config(reason));
        }
        if !self.keys.has(roster.epoch()) {
            self.keys.draw(roster.epoch())?;
            self.save()?;
        }
        Ok(())
    }

    /// Answers another owner's request for the keys.
    pub fn grant(
        &self,
        roster: &Roster,
        identity: &Identity,
        owner: u16,
        request: &KeyRequest,
    ) -> Result<KeyGrant, FederatedError> {
        group::grant(&self.keys, roster, identity, owner, request)
    }

    /// From now on keys are taken only if rounds were masked with them that T owners have signed. Refuses other records.
    pub fn expect(&mut self, roster: &Roster, records: &[Record]) -> Result<(), FederatedError> {
        for record in records {
            record.verify(roster)?;
            self.tags.insert(record.epoch, record.group);
        }
        Ok(())
    }

    /// Takes the keys of an answer. Keys that contradict those at hand, or the records, are refused.
    pub fn accept(&mut self, roster: &Roster, request: Request, grant: &KeyGrant) -> Result<(), FederatedError> {
        let keys = request.open(roster, grant)?;
        let mut told = GroupKeys::none(roster.training());
        let known = told.learn(&keys)
            && self.tags.iter().all(|(epoch, tag)| !told.has(*epoch) || told.tag(*epoch).is_ok_and(|it| it == *tag));
        if !known || !self.keys.learn(&keys) {
            return Err(refuse(Who::Owner(grant.from), Why::OtherGroup));
        }
        self.save()
    }

    /// This owner takes part in a round, in which it never did before, after those up to `stands`.
    pub(crate) fn enter(&mut self, round: u64, stands: u64) -> Result<(), FederatedError> {
        let entered = self.notes.entered;
        if round <= entered {
            let reason = format!("round {round} was entered already (the last one is {entered})");
            return Err(FederatedError::Config(format!("{reason}; its masks serve once, start the next round")));
        }
        if self.notes.closed.is_some() {
            let reason = "this owner has signed that the training has ended; it enters no round any more";
            return Err(FederatedError::Config(reason.to_string()));
        }
        self.note(|notes| {
            notes.entered = round;
            notes.signed.retain(|signed, _| *signed > stands);
        })
    }

    /// It is about to sign a list of survivors: no other one in this round.
    pub(crate) fn sign(&mut self, round: u64, list: [u8; 32]) -> Result<(), FederatedError> {
        match self.notes.signed.get(&round) {
            Some(first) if *first == list => Ok(()),
            Some(_) => Err(refuse(Who::Server, Why::OtherSigned(round))),
            None => self.note(|notes| {
                notes.signed.insert(round, list);
            }),
        }
    }

    /// It is about to release shares.
    pub(crate) fn release(&mut self, round: u64) -> Result<(), FederatedError> {
        match self.notes.released.contains(&round) {
            true => Ok(()),
            false => self.note(|notes| {
                notes.released.insert(round);
            }),
        }
    }

    /// Refuses records whose list is not the one that this owner signed in their round.
    pub(crate) fn check<'a>(&self, mut records: impl Iterator<Item = &'a Record>) -> Result<(), FederatedError> {
        let signed = |record: &Record| self.notes.signed.get(&record.round).copied();
        match records.find(|record| signed(record).is_some_and(|signed| signed != record.list().digest())) {
            Some(record) => Err(refuse(Who::Server, Why::OtherSigned(record.round))),
            None => Ok(()),
        }
    }

    /// These rounds have a record, which its share of the model is about to follow.
    pub(crate) fn recorded<'a>(&mut self, records: impl Iterator<Item = &'a Record>) -> Result<(), FederatedError> {
        let rounds: Vec<u64> =
            records.map(|record| record.round).filter(|round| self.notes.released.contains(round)).collect();
        match rounds.is_empty() {
            true => Ok(()),
            false => self.note(|notes| notes.released.retain(|round| !rounds.contains(round))),
        }
    }

    /// It is about to reveal how good the model is, at this place: not often, as each answer tells something of the rows.
    pub(crate) fn test(&mut self, position: &Position) -> Result<(), FederatedError> {
        let times = if self.notes.tested.0 == position.round { self.notes.tested.1 } else { 0 };
        if times >= MOST_TESTS {
            return Err(refuse(Who::Server, Why::Tested { round: position.round, times }));
        }
        self.note(|notes| notes.tested = (position.round, times + 1))
    }

    /// It is about to sign that the training has ended here, and nowhere else.
    pub(crate) fn close(&mut self, position: Position) -> Result<(), FederatedError> {
        match self.notes.closed {
            Some(closed) if closed == position => Ok(()),
            Some(closed) => Err(refuse(Who::Server, Why::Closed(closed.round))),
            None => self.note(|notes| notes.closed = Some(position)),
        }
    }
}
