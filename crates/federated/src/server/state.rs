//! What a server must remember of a round to go on with it after a crash.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::training::Round;
use crate::{Advert, Echo, FederatedError, Position, Release, Shares, derive};

/// What a round waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Phase {
    /// Keys of owners.
    Adverts,
    /// Sealed shares of the candidates.
    Shares,
    /// Masked updates of the cohort.
    Updates,
    /// Signatures of the survivors under their list.
    Echoes,
    /// Shares that unmask the sum.
    Releases,
    /// Nothing: the sum can be had.
    Done,
}

const VERSION: u8 = 2;

/// Fixed lists are those of phases that are over.
#[derive(Serialize, Deserialize)]
pub(crate) struct State {
    version: u8,
    roster: [u8; 32],
    round: u64,
    position: Position,
    pub phase: Phase,
    pub adverts: BTreeMap<u16, Advert>,
    pub shares: BTreeMap<u16, Shares>,
    /// Whose boxes a receiver could not open.
    pub closed: BTreeMap<u16, Vec<u16>>,
    pub survivors: Vec<u16>,
    pub echoes: BTreeMap<u16, Echo>,
    pub releases: BTreeMap<u16, Release>,
}

impl State {
    pub fn new(round: Round, position: Position) -> State {
        State {
            version: VERSION,
            roster: round.roster,
            round: round.number,
            position,
            phase: Phase::Adverts,
            adverts: BTreeMap::new(),
            shares: BTreeMap::new(),
            closed: BTreeMap::new(),
            survivors: Vec::new(),
            echoes: BTreeMap::new(),
            releases: BTreeMap::new(),
        }
    }

    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(derive::canonical(self))
    }

    pub fn decode(bytes: &[u8], round: Round, position: Position) -> Result<State, FederatedError> {
        let bad = |reason: &str| Err(FederatedError::Config(format!("the state of round {}: {reason}", round.number)));
        if bytes.first() != Some(&VERSION) {
            return bad("it is of another version");
        }
        let Ok(state) = postcard::from_bytes::<State>(bytes) else { return bad("it cannot be read") };
        if (state.roster, state.round, state.position) != (round.roster, round.number, position) {
            return bad("it belongs to another training, roster, round or list of rounds");
        }
        Ok(state)
    }
}
