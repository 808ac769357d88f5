//! n data owners: cohort rounds and secure aggregation of their updates.
//!
//! A [`Server`] and owners ([`OwnerRound`], [`Book`]) as state machines: a message in, a message out, no socket, no thread, no
//! clock. Whoever drives them carries the messages over authenticated links, says which owner a message came from, and
//! decides when a phase has waited long enough. `docs/federated.md` has the formulas, and what each of them learns.
//!
//! A round: every owner advertises keys ([`Advert`]); the server fixes the candidates ([`Candidates`]); each of them seals
//! shares of its seeds to the others ([`Shares`]); those whose shares came are the cohort ([`Relay`]); each of them masks its
//! update ([`Masker`], [`Contribution`]); those whose update came are the survivors ([`Survivors`]); they sign that list
//! ([`Echo`]) and, when enough of them signed the same one ([`Echoes`]), release the shares that unmask the sum of
//! the survivors' updates and nothing else ([`Release`]).

#[cfg(test)]
extern crate self as ariann_federated;

pub mod bench;
mod book;
mod closing;
mod derive;
mod error;
mod group;
mod history;
mod keep;
mod keys;
mod masks;
mod messages;
mod model;
mod owner;
pub mod privacy;
pub mod roles;
mod roster;
mod seal;
mod server;
mod shamir;
mod spool;
#[cfg(test)]
#[path = "../../session/tests/statistics/mod.rs"]
mod statistics;
mod training;
mod weights;

pub use book::Book;
pub use closing::Closing;
pub use error::{FederatedError, Refusal, Who, Why};
pub use group::{GroupKeys, KeyGrant, KeyRequest, Request};
pub use history::{Position, Record, Survived};
pub use keep::{Keep, KeepFile, KeepMemory};
pub use masks::CHUNK;
pub use messages::{
    Advert, Candidates, Contribution, Echo, Echoes, MOST_LOST, Message, Parcel, Relay, Relayed, Release, Released,
    Shares, Survivors, decode, encode,
};
pub use model::ModelShare;
pub use owner::{Masker, OwnerRound};
pub use roster::{MOST_OWNERS, Roster};
pub use server::{Accepted, Phase, Server, Total};
pub use shamir::Share;
pub use spool::{FolderSpool, MemorySpool, Spool};
pub use training::Training;
pub use weights::{fed_avg, fed_sgd};
