//! Control messages of training, and the steps of its bulk messages.

use serde::{Deserialize, Serialize};

/// Step of a turn's head from the dealer; the sections that follow have their gates' numbers.
pub(crate) const TURN_STEP: u32 = 1 << 31;
/// Bytes of it: turn, id, first half of the plan's digest, seed, K, K'.
pub(crate) const HEAD: usize = 88;
/// Step of the few bytes that P0 and P1 compare before each turn.
pub(crate) const COMPARE_STEP: u32 = (1 << 31) + 1;
/// Bytes of them: turn, id, first half of the plan's digest, whether shares are written first.
pub(crate) const COMPARE: usize = 41;
/// Step of the seed of P1's first shares.
pub(crate) const SHARES_STEP: u32 = (1 << 31) + 2;
/// Step of where a training stands, which a party tells the dealer after it has asked.
pub(crate) const STANDING_STEP: u32 = (1 << 31) + 3;
/// Step of measured exponents, four bytes each, which both parties tell the dealer.
pub(crate) const MEASURED_STEP: u32 = (1 << 31) + 4;
/// Step of an owner's rows: a seed to P0, words to P1.
pub(crate) const ROWS_STEP: u32 = (1 << 31) + 5;
/// Step of the sharings that P0 and P1 have of each owner's rows.
pub(crate) const SHARINGS_STEP: u32 = (1 << 31) + 6;
/// Bytes of a sharing's name.
pub(crate) const SHARING: usize = 16;
/// Checkpoints that a party offers at most.
pub(crate) const CHECKPOINTS: usize = 16;

/// A party asks the dealer for the material of all turns from one on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ask {
    /// [`crate::PROTOCOL`].
    pub protocol: u32,
    /// 0 or 1.
    pub party: u8,
    /// Digest of the course: the job, and the plans that it begins with.
    pub job: [u8; 32],
    /// The first turn.
    pub turn: u64,
    /// Lineage of this session: both parties ask with the same one.
    pub lineage: [u8; 16],
}

/// First message each way between P0 and P1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Greeting {
    /// [`crate::PROTOCOL`].
    pub protocol: u32,
    /// 0 or 1.
    pub party: u8,
    /// Digest of the course: the job, and the plans that it begins with.
    pub job: [u8; 32],
    /// Whether it wants to go on from a checkpoint.
    pub resume: bool,
    /// Checkpoints at hand.
    pub checkpoints: Vec<Mark>,
}

/// Names a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// The turn that follows.
    pub turn: u64,
    /// The session that it was written in: shares of two sessions do not fit together.
    pub lineage: [u8; 16],
}

/// P0 tells where the session begins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Start {
    /// The checkpoint to go on from; none for a new beginning.
    pub from: Option<Mark>,
    /// The new session's.
    pub lineage: [u8; 16],
}

/// An owner of rows tells a party what it brings. The party's verdict follows, then the rows, the party's word that it has
/// them, and the owner's that both have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Brings {
    /// [`crate::PROTOCOL`].
    pub protocol: u32,
    /// The party that it takes the other end for: 0 or 1.
    pub party: u8,
    /// Digest of the course: the job, and the plans that it begins with.
    pub job: [u8; 32],
    /// Which of its items: those that take part from this epoch on.
    pub from_epoch: u32,
    /// Name of the sharing, drawn anew for each: P0's part and P1's fit together when they have one name.
    pub sharing: [u8; SHARING],
}
