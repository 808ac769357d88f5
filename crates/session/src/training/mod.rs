//! Private training: two parties take the turns of a public job, with material that a dealer streams meanwhile.
//!
//! A [`Job`] lists what is run in which order; all three roles hold it. Between turns the parties keep shares of the states.

mod checkpoint;
mod config;
mod data;
mod dealer;
mod inflow;
mod job;
mod learning;
mod local;
mod meeting;
mod messages;
mod outflow;
mod party;
mod report;

pub use config::{TrainDealConfig, TrainPartyConfig, allowed};
pub use dealer::deal_training;
pub use inflow::Arriving;
pub use job::{Epoch, Evaluation, Job, JobError, Turn, TurnKind, VERSION};
pub use local::{LocalTraining, TrainReports};
pub use party::{train, train_from};
pub use report::{EpochReport, TrainReport};
