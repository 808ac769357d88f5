//! Private training: from flags to a public job, what it costs, the run on this machine, and beside it the same in clear.

pub mod clear;
pub mod cost;
pub mod data;
pub mod job;
pub mod outcome;
pub mod page;
pub mod prepare;
pub mod progress;
pub mod recipe;
pub mod reveal;
