//! The two computing servers.

/// One of the two computing servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Party {
    /// The party whose roots have control bit 0.
    P0,
    /// The party whose roots have control bit 1.
    P1,
}

impl Party {
    /// Both, in order.
    pub const BOTH: [Party; 2] = [Party::P0, Party::P1];

    /// 0 or 1.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The other one.
    pub const fn other(self) -> Party {
        match self {
            Party::P0 => Party::P1,
            Party::P1 => Party::P0,
        }
    }
}
