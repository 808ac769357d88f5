//! Control messages between server and owners, and of both to the dealer. Messages of the aggregation are inside, as the
//! bytes that they are signed as.

use ariann_session::training::PairTask;
use serde::{Deserialize, Serialize};

/// Version of these messages.
pub(crate) const PROTOCOL: u32 = 4;
/// Bytes of a control message at most: lists of all owners are among them.
pub(crate) const MOST: usize = 16 << 20;
/// Step of the words of an update.
pub(crate) const UPDATE_STEP: u32 = 1 << 30;
/// Step of its digest.
pub(crate) const DIGEST_STEP: u32 = (1 << 30) + 1;
/// Step of the words of a share of the model.
pub(crate) const MODEL_STEP: u32 = (1 << 30) + 2;

/// First message of an owner.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub protocol: u32,
    /// [`crate::Roster::digest`].
    pub roster: [u8; 32],
    /// DER; its fingerprint is pinned.
    pub certificate: Vec<u8>,
    /// The last round in its share of the model.
    pub round: u64,
    /// Whether it has the group key of the roster's epoch.
    pub has_key: bool,
    /// Whether it brings the test set, and agrees to reveal the accuracy.
    pub tests: bool,
}

/// What an owner is told of the rounds so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Past {
    /// The records that it lacks.
    pub records: Vec<Vec<u8>>,
    /// Certificates of all owners, present and former, that are known.
    pub certificates: Vec<Vec<u8>>,
    /// Rounds without a result whose shares were released, or may have been.
    pub lost: Vec<u64>,
}

/// From the server. Each is answered by one [`FromOwner`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum ToOwner {
    /// The owner is not let in.
    Refused(String),
    /// A round begins; and whether the group key in force was drawn already.
    Round { round: u64, past: Past, drawn: bool },
    /// Another owner asks for the group key.
    Request(Vec<u8>),
    /// The answer to this owner's request.
    Grant(Vec<u8>),
    /// Wants the keys of the round.
    Advertise,
    /// [`crate::Candidates`].
    Candidates(Vec<u8>),
    /// [`crate::Relay`].
    Relay(Vec<u8>),
    /// Training begins, after so many rounds with a result; when the owner is ready, both ask the dealer.
    Train { done: u32, task: PairTask },
    /// [`crate::Survivors`].
    Survivors(Vec<u8>),
    /// [`crate::Echoes`].
    Echoes(Vec<u8>),
    /// The model is tested, with these records in it.
    Test { past: Past, task: PairTask },
    /// Wants the server's share of the model to begin with, of the owner that brings it.
    Initial,
    /// Wants the owner's word that the training has ended.
    Close { past: Past },
    /// Wants the owners' share of the trained model, and shows that T of them said so ([`crate::Closing`]).
    Reveal { past: Past, closings: Vec<Vec<u8>> },
    /// The training has ended, or pauses until the next start of the roles. With closings the server's share of the trained model
    /// follows.
    End { past: Past, accuracies: Vec<Option<f64>>, paused: bool, closings: Option<Vec<Vec<u8>>> },
}

/// From an owner.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum FromOwner {
    /// It stands where the records lead, and takes part.
    Joins,
    /// It cannot take part in this round, and waits for the next one.
    Absent(String),
    /// It lacks a group key and asks for it; nothing, where it was asked for keys and has none.
    Lacks(Vec<u8>),
    /// [`crate::KeyGrant`].
    Grant(Vec<u8>),
    /// [`crate::Advert`].
    Advert(Vec<u8>),
    /// [`crate::Shares`].
    Shares(Vec<u8>),
    /// It took the relayed shares; and whose parcels it could not use, and why.
    Taken(Vec<(u16, String)>),
    /// It is about to ask the dealer.
    Ready,
    /// It has trained in this round: its update follows.
    Trained,
    /// [`crate::Contribution`]; words and digest follow.
    Update(Vec<u8>),
    /// The words of a share of the model follow.
    Share,
    /// [`crate::Closing`].
    Closing(Vec<u8>),
    /// [`crate::Echo`].
    Echo(Vec<u8>),
    /// [`crate::Release`].
    Release(Vec<u8>),
    /// It refuses what it was sent, and says why.
    Refuses(String),
}

/// To the dealer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// The material of a pair's task.
    Deal(Wanted),
    /// The training has ended: from the server.
    End,
}

/// Which material.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Wanted {
    pub protocol: u32,
    /// Digest of the roster, and with it of the federation.
    pub roster: [u8; 32],
    pub owner: u16,
    pub round: u64,
    /// 0 or 1.
    pub party: u8,
    pub task: PairTask,
}

/// The dealer's answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Verdict {
    Accepted,
    Refused(String),
}
