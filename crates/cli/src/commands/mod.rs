//! The commands, one file each.

pub mod bench;
pub mod deal;
pub mod identity;
pub mod inspect;
pub mod material;
pub mod plan;
pub mod predict;
pub mod query;
pub mod serve;
