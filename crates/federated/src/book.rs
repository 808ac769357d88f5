//! What an owner must remember beyond a round: the group keys, and which rounds it took part in.

use ariann_net::Identity;
use zeroize::Zeroizing;

use crate::error::refuse;
use crate::group::{self, GroupKeys, KeyGrant, KeyRequest, Request};
use crate::{FederatedError, Keep, Roster, Training, Who, Why};

/// An owner's memory of one training, saved before anything that depends on it is sent.
pub struct Book {
    keys: GroupKeys,
    training: [u8; 32],
    /// The last round that this owner took part in: masks of a round serve once.
    entered: u64,
    keep: Box<dyn Keep + Send>,
}

/// First byte of what is kept.
const VERSION: u8 = 1;

impl Book {
    /// The book that was kept, or a new one.
    pub fn open(training: &Training, keep: impl Keep + Send + 'static) -> Result<Book, FederatedError> {
        let keys = GroupKeys::none(training);
        let mut book = Book { keys, training: training.digest(), entered: 0, keep: Box::new(keep) };
        let Some(state) = book.keep.load()? else { return Ok(book) };
        let bad = || FederatedError::Config("an owner's book is of another training, or damaged".into());
        let (head, keys) = state.split_first_chunk::<41>().ok_or_else(bad)?;
        if head[0] != VERSION || head[1..33] != book.training || !book.keys.learn(keys) {
            return Err(bad());
        }
        book.entered = u64::from_le_bytes(*head.last_chunk().expect("8 of 41 bytes"));
        Ok(book)
    }

    fn save(&mut self) -> Result<(), FederatedError> {
        let keys = self.keys.expose();
        let mut state = Zeroizing::new(Vec::with_capacity(41 + keys.len()));
        state.push(VERSION);
        state.extend_from_slice(&self.training);
        state.extend_from_slice(&self.entered.to_le_bytes());
        state.extend_from_slice(&keys);
        self.keep.save(&state)
    }

    /// The group keys.
    pub fn keys(&self) -> &GroupKeys {
        &self.keys
    }

    /// The last round that this owner took part in.
    pub fn entered(&self) -> u64 {
        self.entered
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

    /// Takes the keys of an answer. Keys that contradict those at hand are refused.
    pub fn accept(&mut self, roster: &Roster, request: Request, grant: &KeyGrant) -> Result<(), FederatedError> {
        let keys = request.open(roster, grant)?;
        if !self.keys.learn(&keys) {
            return Err(refuse(Who::Owner(grant.from), Why::OtherGroup));
        }
        self.save()
    }

    /// This owner takes part in a round, in which it never did before.
    pub(crate) fn enter(&mut self, round: u64) -> Result<(), FederatedError> {
        if round <= self.entered {
            let reason = format!("round {round} was entered already (the last one is {})", self.entered);
            return Err(FederatedError::Config(format!("{reason}; its masks serve once, start the next round")));
        }
        self.entered = round;
        self.save()
    }
}
