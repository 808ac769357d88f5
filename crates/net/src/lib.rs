//! The only sockets: TLS 1.3 between pinned identities, framing, deadlines, the in-memory pair.
//!
//! A [`Peer`] is one connection to another process whose identity is pinned. Messages have a step and a length that
//! both ends know from the plan; every frame is compared with them before a byte of it is taken. Every wait has a
//! name and a deadline. `docs/transport.md` describes the bytes.

mod channel;
mod connect;
mod error;
pub mod faulty;
mod fingerprint;
mod frame;
mod greeting;
mod identity;
mod incoming;
mod limits;
mod link;
mod listener;
mod measure;
mod memory;
mod outgoing;
mod peer;
mod shape;
mod signature;
mod tls;
mod transfer;

pub use error::{ConfigError, Gone, IdentityError, LocalError, Misbehaviour, NetError};
pub use fingerprint::Fingerprint;
pub use frame::{HEADER, Header, Kind, PIECE};
pub use greeting::feed_stranger;
pub use identity::Identity;
pub use incoming::Tap;
pub use limits::Limits;
pub use link::Link;
pub use listener::{Allowed, Listener};
pub use measure::Measured;
pub use memory::{MemoryLink, memory_links};
pub use peer::{Peer, Stats, decode_control};
pub use shape::{Shape, ShapedLink};
pub use signature::{Certificate, MAX_CERTIFICATE, Signature};
pub use transfer::{SendStream, Transfer};
