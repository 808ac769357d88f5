//! Control messages between the roles. Bulk messages have no form of their own: their lengths follow from the plan.

use ariann_material::BatchId;
use serde::{Deserialize, Serialize};

/// Batches that a party offers in a handshake at most.
pub const BATCHES: usize = 256;
/// Bytes of a control message at most.
pub const CONTROL: usize = 64 << 10;
/// Step of the first setup message; gates follow.
pub const SETUP_STEP: u32 = 1 << 30;
/// Step of a delivery.
pub const DELIVERY_STEP: u32 = 1 << 31;

/// A batch that a party has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Its id.
    pub batch: [u8; 16],
    /// Weights version it fits.
    pub weights: [u8; 16],
    /// Slots of it.
    pub slots: u32,
    /// First slot that was never given out.
    pub mark: u32,
}

impl Offer {
    pub fn id(&self) -> BatchId {
        BatchId(self.batch)
    }
}

/// First message each way between P0 and P1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// [`crate::PROTOCOL`].
    pub protocol: u32,
    /// 0 or 1.
    pub party: u8,
    /// Ring bits.
    pub ring: u32,
    /// Digest of the plan.
    pub plan: [u8; 32],
    /// Material at hand.
    pub batches: Vec<Offer>,
    /// Weights versions whose masked weights this party keeps.
    pub weights: Vec<[u8; 16]>,
    /// The most items that it runs at once.
    pub most_items: u32,
}

/// Answers a [`Hello`] that is refused; sent in place of what would come next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Verdict {
    /// Go on.
    Accepted,
    /// No, for this reason.
    Refused(String),
}

/// What P1 wants next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// Measure the link, both ends together.
    Measure,
    /// Exchange the masked weights of this version.
    Setup([u8; 16]),
    /// Prepare this batch and say when it is done.
    Prepare([u8; 16]),
    /// Run `items` items with the slots from `first` on.
    Run {
        /// The batch.
        batch: [u8; 16],
        /// First slot.
        first: u32,
        /// Items, one slot each.
        items: u32,
    },
    /// No more.
    Done,
    /// Greet and agree on material anew: deliveries came. Runs go on with what was agreed then.
    Agree,
    /// No more runs of this batch: what is left of it is given up, and its files go.
    Spent([u8; 16]),
    /// Answer an outside client: the next runs take its items. P0's [`Standing`] follows, and where it fits the seed of what pads the
    /// results.
    Answer {
        /// Name of its request.
        request: [u8; 16],
        /// Its identity.
        client: [u8; 32],
        /// How many items P1 was told.
        items: u32,
    },
    /// Nothing for now.
    Wait,
}

/// What P0 has of an outside client's request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// Its part of the same items.
    Here,
    /// Nothing: the client has gone, or brought it to one party only.
    Absent,
    /// Another number of items, this one: the client is at fault.
    Unequal(u32),
}

/// A party asks the dealer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fetch {
    /// [`crate::PROTOCOL`].
    pub protocol: u32,
    /// 0 or 1.
    pub party: u8,
    /// Digest of the plan.
    pub plan: [u8; 32],
    /// Whether it takes deliveries while it works: it then says before each one whether it has room ([`Wanted`]).
    pub stream: bool,
}

/// A party that streams asks for a delivery; the dealer answers each with a [`Delivery`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wanted {
    /// The next one.
    Next,
    /// None yet: it has no room. It asks again.
    Later,
    /// None any more.
    Enough,
}

/// The dealer announces a delivery, or that there are no more, or refuses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Delivery {
    /// A batch of so many bytes follows.
    Batch {
        /// Slots in it.
        slots: u32,
        /// Bytes.
        bytes: u64,
    },
    /// That was the last one.
    End,
    /// No, for this reason.
    Refused(String),
    /// Not yet: ask again.
    Later,
}

/// A party has a delivery, checked and synced; or the dealer knows that both have it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Arrived {
    /// The batch.
    pub batch: [u8; 16],
}
