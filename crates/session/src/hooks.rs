//! Seams for tests. What ships installs none of them.

use std::path::Path;

use ariann_gates::Party;
use ariann_material::{BatchId, Error, Reservation, Store};

/// Sees what leaves a party and what its openings open. All methods do nothing by default.
pub trait Observer: Send {
    /// Called before a masked message leaves: `exchange` of `gate`, for `slots` of `batch`.
    fn sending(&mut self, _batch: BatchId, _slots: std::ops::Range<u32>, _gate: u32, _exchange: u32, _message: &[u8]) {}
    /// Whether [`Observer::sending`] looks at messages: they are then computed whole before they leave.
    fn wants_messages(&self) -> bool {
        true
    }
    /// Whether [`Observer::opening`] wants its values.
    fn wants_shares(&self) -> bool {
        false
    }
    /// This party's share of what an opening is about to open, items in order.
    fn opening(&mut self, _gate: u32, _share: Vec<u64>) {}
    /// Plaintext bytes received from the connection to `peer`.
    fn received(&mut self, _peer: &str, _bytes: &[u8]) {}
}

/// Observes nothing.
pub struct Nothing;

impl Observer for Nothing {
    fn wants_messages(&self) -> bool {
        false
    }
}

/// How a role opens its state folder and reserves, and who observes. The program uses [`Hooks::default`].
#[derive(Clone)]
pub struct Hooks {
    /// Opens a party's state folder.
    pub open_store: fn(&Path, Party) -> Result<Store, Error>,
    /// Reserves slots before anything that depends on them leaves.
    pub reserve: fn(&Store, BatchId, u32) -> Result<Reservation, Error>,
    /// Makes an observer for a role ("dealer", "p0", "p1").
    pub observer: fn(&str) -> Box<dyn Observer>,
}

impl Default for Hooks {
    fn default() -> Self {
        Hooks {
            open_store: |path, party| Store::open(path, party as u8),
            reserve: |store, batch, count| store.ledger().reserve(batch, count),
            observer: |_| Box::new(Nothing),
        }
    }
}
