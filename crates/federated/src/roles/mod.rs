//! The roles over TLS: a server, owners, and a dealer that serves their pairs.

mod clear;
mod config;
mod dealer;
mod error;
mod federation;
mod link;
mod owner;
mod report;
mod rounds;
mod server;
mod shares;
mod simulate;
mod wire;

pub use clear::{ClearRound, Set, Went, in_clear};
pub use config::{Deadline, FederateDealConfig, FederateOwnerConfig, FederateServerConfig};
pub use dealer::deal;
pub use federation::{Federation, Member, Plan};
pub use owner::own;
pub use report::{FederateReport, OwnerReport, OwnerStatus, RoundReport};
pub use server::serve;
pub use simulate::{Loss, Simulated, Simulation};
