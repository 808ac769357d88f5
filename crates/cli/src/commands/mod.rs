//! The commands, one file each.

pub mod bench;
pub mod completions;
pub mod deal;
pub mod doctor;
pub mod federate;
pub mod identity;
pub mod inspect;
pub mod man;
pub mod material;
pub mod plan;
pub mod predict;
pub mod query;
pub mod serve;
pub mod train;
pub mod zoo;
