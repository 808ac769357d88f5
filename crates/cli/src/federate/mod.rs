//! Federated training on this machine: from one file to the roles' configurations, and what there is to say afterwards.

pub mod outcome;
pub mod page;
pub mod simulation;
