//! What an outside client and a party say to each other.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Bytes of a request's name.
pub const REQUEST: usize = 16;
/// Step of a client's part of its items.
pub const ITEMS_STEP: u32 = (1 << 30) + 1;
/// Step of a party's part of the results.
pub const RESULTS_STEP: u32 = (1 << 30) + 2;
/// Step of the seed that P1 draws for both parties, under whose words the results of a request leave.
pub const COMMON_STEP: u32 = (1 << 30) + 3;

/// A client's next word.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Call {
    /// It asks. The party's verdict follows, then the items, the party's word that it has them, the client's that both have, and
    /// [`Answer`]s.
    Ask(Asks),
    /// No more.
    Done,
}

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Asks {
    /// [`crate::PROTOCOL`].
    pub protocol: u32,
    /// The party that it takes the other end for: 0 or 1.
    pub party: u8,
    /// Digest of the plan: shape, preprocessing, scale and result follow from it.
    pub plan: [u8; 32],
    /// Name of the request, drawn anew for each.
    pub request: [u8; REQUEST],
    /// Items.
    pub items: u32,
}

/// A party on a request that it has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    /// Not yet: others come first, or the parties compute.
    Later,
    /// Its part of the results follows.
    Ready,
    /// No.
    Refused(Refusal),
}

/// Why nothing comes of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// For this reason.
    Because(String),
    /// The client told the parties different numbers of items.
    Unequal {
        /// What P0 was told.
        p0: u32,
        /// What P1 was told.
        p1: u32,
    },
}

impl From<&str> for Refusal {
    fn from(reason: &str) -> Refusal {
        Refusal::Because(reason.to_string())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, form: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Because(reason) => form.write_str(reason),
            Refusal::Unequal { p0, p1 } => write!(
                form,
                "the client is at fault: it asked P0 for {p0} items and P1 for {p1}; no material was used, and it must ask both for as many"
            ),
        }
    }
}
