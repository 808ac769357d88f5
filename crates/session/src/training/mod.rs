//! Private training: two parties take the turns of a public job, with material that a dealer streams meanwhile.
//!
//! A [`Job`] lists what is run in which order; all three roles hold it. Between turns the parties keep shares of the states.

mod inflow;
mod job;
mod messages;

pub use inflow::Arriving;
pub use job::{Epoch, Evaluation, Job, JobError, Turn, TurnKind};
