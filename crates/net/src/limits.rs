//! Deadlines and bounds of a connection.

use std::time::Duration;

use crate::Shape;

/// Deadlines and bounds of one connection. Every wait of this crate ends by one of them.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How long [`Peer::connect`](crate::Peer::connect) tries while the peer is not up.
    pub connect: Duration,
    /// How long an accepted connection may take to show who it is.
    pub handshake: Duration,
    /// How long a peer may send nothing at all before it counts as gone.
    pub silence: Duration,
    /// How often an idle writer says that it is alive. Well below the peer's `silence`.
    pub keep_alive: Duration,
    /// How long a peer that says it is alive may work before it delivers.
    pub stall: Duration,
    /// Bytes a second below which a peer is too slow; a deadline grows with length / `min_rate`.
    pub min_rate: u64,
    /// How long closing waits for the peer to take the last bytes.
    pub linger: Duration,
    /// A send waits while more bytes than this are queued already.
    pub queue_bytes: usize,
    /// How slow the link shall be, for what this end sends after the greeting.
    pub shape: Shape,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connect: Duration::from_secs(30),
            handshake: Duration::from_secs(10),
            silence: Duration::from_secs(30),
            keep_alive: Duration::from_secs(5),
            stall: Duration::from_secs(600),
            min_rate: 64 << 10,
            linger: Duration::from_secs(5),
            queue_bytes: 64 << 20,
            shape: Shape::LOOPBACK,
        }
    }
}

impl Limits {
    /// Time that `bytes` may take at the lowest acceptable rate.
    pub(crate) fn transfer(&self, bytes: u64) -> Duration {
        Duration::from_secs_f64(bytes as f64 / self.min_rate.max(1) as f64)
    }
}
