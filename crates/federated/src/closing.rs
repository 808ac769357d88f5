//! The end of a training: each owner says once which list of rounds is the whole one. Whoever has T such words knows that no
//! other list has as many, and that the share of the model that goes with it is the last one.

use ariann_net::{Identity, Signature};
use serde::{Deserialize, Serialize};

use crate::error::refuse;
use crate::messages::{Message, ascending, message};
use crate::roster::purpose;
use crate::{Book, FederatedError, Position, Roster, Who, Why, derive};

/// An owner's word that a training has ended with this list of rounds. To the server, and by it to all owners.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closing {
    /// [`Roster::digest`].
    pub roster: [u8; 32],
    /// The owner.
    pub owner: u16,
    /// The last round, how many there were, and the digest of all.
    pub position: Position,
    /// By the owner's identity.
    pub signature: Signature,
}
message!(13, "word that the training has ended", Closing);

impl Closing {
    /// The owner says that the training has ended where its share of the model stands. It says so of one place alone, which
    /// is in its book before the word is out.
    pub fn new(
        roster: &Roster,
        identity: &Identity,
        book: &mut Book,
        position: Position,
    ) -> Result<Closing, FederatedError> {
        let none = || FederatedError::Config(format!("the identity {} is not in the roster", identity.fingerprint()));
        let owner = roster.number_of(identity.fingerprint()).ok_or_else(none)?;
        book.close(position)?;
        let mut closing = Closing { roster: roster.digest(), owner, position, signature: Signature::default() };
        closing.signature = identity.sign(&purpose(Closing::NAME), &closing.signed())?;
        Ok(closing)
    }

    fn signed(&self) -> [u8; 32] {
        derive::digest("ariann federated 2 closing", &(self.roster, self.owner, self.position))
    }

    /// Refuses one of another roster or another place, or that its owner did not sign.
    pub fn verify(&self, roster: &Roster, position: &Position) -> Result<(), FederatedError> {
        let who = Who::Owner(self.owner);
        if self.roster != roster.digest() {
            return Err(refuse(who, Why::Training));
        }
        if self.position != *position {
            return Err(refuse(who, Why::OtherHistory));
        }
        roster.verify(self.owner, Closing::NAME, &self.signed(), &self.signature)
    }

    /// Refuses fewer than T of them, of different owners, all of this place.
    pub fn verify_all(closings: &[Closing], roster: &Roster, position: &Position) -> Result<(), FederatedError> {
        let (who, what) = (Who::Server, Closing::NAME);
        ascending(who, what, closings.iter().map(|closing| closing.owner))?;
        let (have, need) = (closings.len(), roster.threshold());
        if have < need {
            return Err(refuse(who, Why::BelowThreshold { what, have, need }));
        }
        closings.iter().try_for_each(|closing| closing.verify(roster, position))
    }
}
