//! AES-128 (FIPS 197): key expansion for every back end, and the portable cipher.

mod sbox;
mod schedule;
pub(crate) mod soft;

pub(crate) use schedule::Schedule;
