//! The messages of a round, and their bytes.
//!
//! Bytes: "ariann federated", version (1), kind (1), then the fields by postcard. What does not encode to the same bytes
//! again is refused. An update follows its [`Contribution`] as raw little-endian words and a digest.

use ariann_net::Signature;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::refuse;
use crate::training::Round;
use crate::{FederatedError, Share, Who, Why, derive};

const MAGIC: &[u8; 16] = b"ariann federated";
/// Version of all messages.
const VERSION: u8 = 2;
/// Bytes of a message that grows with the owners, for each of them; a share sealed has 80.
const EACH: usize = 1024;
/// Rounds at most that an advert names as lost.
pub const MOST_LOST: usize = 64;
/// Bytes of a message beyond that.
const FIXED: usize = 1024;
/// Bytes of two shares, sealed.
pub(crate) const SEALED: usize = 80;

/// A message: what it is called, and its number on the wire.
pub trait Message: Serialize + DeserializeOwned {
    /// As errors call it.
    const NAME: &'static str;
    /// The byte that stands for it.
    const KIND: u8;
}

macro_rules! message {
    ($kind:literal, $name:literal, $type:ty) => {
        impl Message for $type {
            const NAME: &'static str = $name;
            const KIND: u8 = $kind;
        }
    };
}
pub(crate) use message;

/// An owner is there, with this round's keys. To the server, and by it to all candidates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advert {
    /// [`crate::Roster::digest`].
    pub roster: [u8; 32],
    /// The round.
    pub round: u64,
    /// The owner.
    pub owner: u16,
    /// Rows that it trains on. Public.
    pub rows: u64,
    /// X25519 key that seals shares.
    pub channel: [u8; 32],
    /// X25519 key of the pairwise masks.
    pub mask: [u8; 32],
    /// Tells whether owners hold the same group key.
    pub group: [u8; 16],
    /// [`crate::Position::head`] of the rounds that it has applied.
    pub history: [u8; 32],
    /// Rounds in which it released shares and of which there is no record, ascending; the last [`MOST_LOST`] of them.
    pub lost: Vec<u64>,
    /// By the owner's identity, over all of the above.
    pub signature: Signature,
}
message!(1, "advert", Advert);

impl Advert {
    pub(crate) fn signed(&self) -> [u8; 32] {
        let owner = (self.roster, self.round, self.owner, self.rows);
        let stands = (self.group, self.history, &self.lost);
        derive::digest("ariann federated 2 advert", &(owner, self.channel, self.mask, stands))
    }
}

/// All whom the round begins with. From the server to all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidates {
    /// The roster.
    pub roster: [u8; 32],
    /// The round.
    pub round: u64,
    /// By owner, ascending.
    pub adverts: Vec<Advert>,
}
message!(2, "list of candidates", Candidates);

impl Candidates {
    pub(crate) fn digest(&self) -> [u8; 32] {
        derive::digest("ariann federated 1 candidates", self)
    }
}

/// Shares for one owner, which the server relays and cannot read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parcel {
    /// Whom they are for.
    pub to: u16,
    /// Tags of its share of the self mask and of its share of the mask key: who releases another share is found out.
    pub tags: [[u8; 16]; 2],
    /// Both shares, sealed; empty in the parcel to oneself.
    pub sealed: Vec<u8>,
}

/// An owner's secrets, shared among all candidates. To the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shares {
    /// The roster.
    pub roster: [u8; 32],
    /// The round.
    pub round: u64,
    /// The owner.
    pub owner: u16,
    /// Digest of the list of candidates that it saw.
    pub candidates: [u8; 32],
    /// Tag of the seed of its self mask.
    pub self_mask: [u8; 16],
    /// One for every candidate, ascending.
    pub parcels: Vec<Parcel>,
    /// By the owner's identity.
    pub signature: Signature,
}
message!(3, "shares", Shares);

impl Shares {
    pub(crate) fn signed(&self) -> [u8; 32] {
        let owner = (self.roster, self.round, self.owner, self.candidates, self.self_mask);
        derive::digest("ariann federated 1 shares", &(owner, &self.parcels))
    }
}

/// What one owner sealed for the receiver of a [`Relay`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relayed {
    /// Who sealed it.
    pub from: u16,
    /// [`Shares::self_mask`].
    pub self_mask: [u8; 16],
    /// [`Parcel::tags`].
    pub tags: [[u8; 16]; 2],
    /// [`Parcel::sealed`].
    pub sealed: Vec<u8>,
}

/// The cohort, and what its members sealed for one of them. From the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relay {
    /// The roster.
    pub roster: [u8; 32],
    /// The round.
    pub round: u64,
    /// Whom it is for.
    pub to: u16,
    /// Digest of the list of candidates.
    pub candidates: [u8; 32],
    /// A: all whose shares came, ascending.
    pub cohort: Vec<u16>,
    /// From all of them but the receiver, ascending.
    pub parcels: Vec<Relayed>,
}
message!(4, "list of the cohort", Relay);

/// Digest of a cohort.
pub(crate) fn cohort_digest(round: Round, candidates: &[u8; 32], cohort: &[u16]) -> [u8; 32] {
    derive::digest("ariann federated 1 cohort", &(round.roster, round.number, candidates, cohort))
}

/// Precedes an owner's masked update y_i: `values` words and 32 bytes of digest follow. To the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contribution {
    /// The roster.
    pub roster: [u8; 32],
    /// The round.
    pub round: u64,
    /// The owner.
    pub owner: u16,
    /// Digest of the cohort under whose masks it stands.
    pub cohort: [u8; 32],
    /// Bits of a word.
    pub ring: u32,
    /// Words.
    pub values: u64,
}
message!(5, "update", Contribution);

/// U: all whose updates came. From the server, the same to all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Survivors {
    /// The roster.
    pub roster: [u8; 32],
    /// The round.
    pub round: u64,
    /// [`Advert::group`] of all of them.
    pub group: [u8; 16],
    /// [`Advert::history`] of all of them: the list of rounds that this one follows.
    pub history: [u8; 32],
    /// Digest of the cohort.
    pub cohort: [u8; 32],
    /// Ascending.
    pub survivors: Vec<u16>,
}
message!(6, "list of survivors", Survivors);

impl Survivors {
    pub(crate) fn digest(&self) -> [u8; 32] {
        derive::digest("ariann federated 2 survivors", self)
    }
}

/// A survivor has seen one list of survivors, and will see no other. To the server, and by it to all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Echo {
    /// The roster.
    pub roster: [u8; 32],
    /// The round.
    pub round: u64,
    /// The owner.
    pub owner: u16,
    /// Digest of the list.
    pub list: [u8; 32],
    /// By the owner's identity.
    pub signature: Signature,
}
message!(7, "echo", Echo);

impl Echo {
    pub(crate) fn signed(&self) -> [u8; 32] {
        derive::digest("ariann federated 1 echo", &(self.roster, self.round, self.owner, self.list))
    }
}

/// Who signed the list of survivors. From the server to all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Echoes {
    /// The roster.
    pub roster: [u8; 32],
    /// The round.
    pub round: u64,
    /// By owner, ascending.
    pub echoes: Vec<Echo>,
}
message!(8, "list of echoes", Echoes);

/// A share that is released to the server.
#[derive(Serialize, Deserialize)]
pub enum Released {
    /// Of the seed of a survivor's self mask.
    SelfMask(Share),
    /// Of the seed of the mask key of one who is no survivor.
    MaskKey(Share),
}

/// A survivor's shares of one secret of every member of the cohort. To the server. Its shares are wiped when it goes.
#[derive(Serialize, Deserialize)]
pub struct Release {
    /// The roster.
    pub roster: [u8; 32],
    /// The round.
    pub round: u64,
    /// The owner.
    pub owner: u16,
    /// Digest of the list of survivors.
    pub list: [u8; 32],
    /// Whose secret, and the share; ascending.
    pub shares: Vec<(u16, Released)>,
}
message!(9, "release", Release);

/// A message as bytes.
pub fn encode<M: Message>(message: &M) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend([VERSION, M::KIND]);
    bytes.extend(derive::canonical(message));
    bytes
}

/// A message from bytes that came from `who`, of a training with `owners` owners.
pub fn decode<M: Message>(who: Who, owners: usize, bytes: &[u8]) -> Result<M, FederatedError> {
    let bad = |reason: String| refuse(who, Why::Malformed { what: M::NAME, reason });
    let most = FIXED + EACH * owners;
    if bytes.len() > most {
        return Err(bad(format!("{} bytes, at most {most} are accepted", bytes.len())));
    }
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(|| bad("it is no message of a federated training".into()))?;
    match rest {
        [VERSION, kind, body @ ..] if *kind == M::KIND => {
            let message: M = postcard::from_bytes(body).map_err(|error| bad(error.to_string()))?;
            let again = zeroize::Zeroizing::new(derive::canonical(&message));
            if again[..] != *body {
                return Err(bad("its bytes are not canonical".into()));
            }
            Ok(message)
        }
        [VERSION, kind, ..] => Err(bad(format!("a message of kind {kind} came instead"))),
        [version, ..] => Err(bad(format!("it is of version {version}, this is version {VERSION}"))),
        [] => Err(bad("it is cut off".into())),
    }
}

/// Refuses lists that are not strictly ascending.
pub(crate) fn ascending(who: Who, what: &'static str, list: impl Iterator<Item = u16>) -> Result<(), FederatedError> {
    let mut last = None;
    for owner in list {
        if last.is_some_and(|last| last >= owner) {
            return Err(refuse(who, Why::Order { what, owner }));
        }
        last = Some(owner);
    }
    Ok(())
}

/// Refuses messages of another training, roster or round.
pub(crate) fn of_round(who: Who, round: Round, roster: &[u8; 32], number: u64) -> Result<(), FederatedError> {
    if *roster != round.roster {
        return Err(refuse(who, Why::Training));
    }
    if number != round.number {
        return Err(refuse(who, Why::Round { expected: round.number, got: number }));
    }
    Ok(())
}
