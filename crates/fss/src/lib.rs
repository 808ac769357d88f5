//! Function secret sharing for two parties: comparison and equality with a secret point, and shared unit vectors.

pub mod bench;
pub mod dpf;
mod error;
mod party;
pub mod unit;

pub use ariann_prg::{HashKeys, LANES, TreeHash};
pub use dpf::{equal, generate, key_len, less_than, less_than_and_equal};
pub use error::FssError;
pub use party::Party;
