//! One-time material: file format, checksummed chunks, store and durable ledger.
//!
//! This crate knows bytes, not gates. A *batch* is one delivery of the dealer for one party: a
//! [`Header`] and, for each slot, the sections of a [`Layout`] that follows from the plan. The same
//! bytes travel over the network and lie in the file (`docs/formats.md`).
//!
//! * dealer: [`Encoder`] turns (header, sections in order) into the byte stream;
//! * arrival: [`StreamVerifier`] checks that stream chunk by chunk with bounded memory;
//! * at rest: [`BatchWriter`] writes a file whole or not at all, [`Batch`] reads it, checking as it reads, and
//!   [`Ahead`] reads and checks what will be needed next;
//! * a party's state folder: [`Store`], with its lock and its [`Ledger`], which makes every use of a slot
//!   durable before it happens.

mod ahead;
mod batch;
mod encode;
mod error;
mod expected;
mod header;
mod id;
mod kept;
mod layout;
mod ledger;
mod lock;
mod part;
mod record;
mod store;
mod verify;
mod watch;

pub use ahead::Ahead;
pub use batch::{Batch, inspect};
pub use encode::Encoder;
pub use error::{Error, Fault};
pub use expected::Expected;
pub use header::{Header, Kind, Label, MAX_SECRET, MAX_SUITE, Secret};
pub use id::{BatchId, WeightsVersion};
pub use kept::Part;
pub use layout::{CHUNK, Layout, Place, TAG};
pub use ledger::{Ledger, Reconciled, Recovered, Reservation, Standing};
pub use lock::lock;
pub use part::BatchWriter;
pub use record::Status;
pub use store::{Entry, Incoming, Store};
pub use verify::StreamVerifier;

/// The seam under the ledger: what a back end for tests implements (`Ledger::open_with`).
pub use redb::{BackendError, StorageBackend, backends::FileBackend};
