//! Which items of a file or folder are read.

use std::iter::once;
use std::ops::Range;

/// Which items of a file or folder are read, of those in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// All of them.
    All,
    /// The first ones, at most so many.
    First(usize),
    /// At most so many, evenly spaced over all: in a sorted folder they come from every class.
    Spread(usize),
}

impl From<Option<usize>> for Choice {
    fn from(limit: Option<usize>) -> Self {
        limit.map_or(Choice::All, Choice::First)
    }
}

impl Choice {
    /// The places that are read of `count`, ascending.
    pub(crate) fn of(self, count: usize) -> Vec<Range<usize>> {
        match self {
            Choice::Spread(limit) if limit < count => {
                let place = |index: usize| (index as u128 * count as u128 / limit as u128) as usize;
                (0..limit).map(|index| place(index)..place(index) + 1).collect()
            }
            Choice::First(limit) => once(0..limit.min(count)).collect(),
            _ => once(0..count).collect(),
        }
    }
}
