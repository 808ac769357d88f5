//! The roles over TLS: a server, owners, and a dealer that serves their pairs.

mod clear;
mod config;
mod dealer;
mod error;
mod federation;
mod link;
mod owner;
mod report;
mod reveal;
mod rounds;
mod rows;
mod seats;
mod server;
mod shares;
mod simulate;
mod wire;

#[cfg(test)]
mod faulty;
#[cfg(test)]
#[path = "../../tests/loopback/mod.rs"]
mod loopback;
#[cfg(test)]
mod views;

pub use clear::{ClearRound, Set, Went, difference, in_clear, states_of};
pub use config::{Deadline, FederateDealConfig, FederateOwnerConfig, FederateServerConfig};
pub use dealer::deal;
pub use federation::{Algorithm, Federation, Former, Member, Plan};
pub use owner::own;
pub use report::{FederateReport, OwnerReport, OwnerStatus, RoundReport};
pub use reveal::{Reveal, needed};
pub use rows::rows;
pub use server::serve;
#[cfg(test)]
pub(crate) use shares::add_update;
pub use simulate::{Loss, Simulated, Simulation, write_config};
