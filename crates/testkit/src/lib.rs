//! For tests only: seeded randomness for secrets, the record of masked values, fault simulation.

pub mod storage;
