//! Handshake and the roles at work: dealer, P0 with the model, P1 with the data; configuration, progress, deadlines.
//!
//! The plan decides everything beforehand; this crate walks it. [`engine`] runs a plan's gates for one party over any
//! [`engine::Exchange`]; [`making`] makes the material; the roles connect these to files and sockets.

mod arrivals;
pub mod config;
pub mod deal;
mod delivery;
pub mod doctor;
pub mod engine;
mod error;
pub mod events;
mod fetching;
mod guests;
mod handshake;
pub mod hooks;
mod link;
pub mod local;
pub mod making;
pub mod masks;
mod messages;
pub mod outside;
pub mod planning;
mod preparing;
mod program;
pub mod query;
pub mod reading;
pub mod report;
mod sections;
pub mod serve;
mod setup;
mod state;
mod streaming;
mod suite;
pub mod training;
mod working;

pub use error::{Fault, SessionError};
pub use handshake::printable;
pub use program::Program;
pub use state::hold;
pub use suite::{PROTOCOL, SUITE, expected, prepared_expected};
