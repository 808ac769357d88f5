//! The control messages between the roles, as a fake role says them: written down a second time, so that a change of the
//! real ones does not go unseen.

use serde::{Deserialize, Serialize};

/// Step of a delivery.
pub const DELIVERY_STEP: u32 = 1 << 31;

#[derive(Clone, Serialize, Deserialize)]
pub struct Hello {
    pub protocol: u32,
    pub party: u8,
    pub ring: u32,
    pub plan: [u8; 32],
    pub batches: Vec<Offer>,
    pub weights: Vec<[u8; 16]>,
    pub most_items: u32,
}

#[derive(Clone, Serialize, Deserialize)]
pub struct Offer {
    pub batch: [u8; 16],
    pub weights: [u8; 16],
    pub slots: u32,
    pub mark: u32,
}

#[derive(Serialize, Deserialize)]
pub enum Verdict {
    Accepted,
    Refused(String),
}

#[derive(Serialize, Deserialize)]
pub enum Request {
    Measure,
    Setup([u8; 16]),
    Prepare([u8; 16]),
    Run { batch: [u8; 16], first: u32, items: u32 },
    Done,
    Agree,
    Spent([u8; 16]),
}

#[derive(Serialize, Deserialize)]
pub struct Fetch {
    pub protocol: u32,
    pub party: u8,
    pub plan: [u8; 32],
    pub stream: bool,
}

#[derive(Serialize, Deserialize)]
pub enum Delivery {
    Batch { slots: u32, bytes: u64 },
    End,
    Refused(String),
}

#[derive(Serialize, Deserialize)]
pub struct Arrived {
    pub batch: [u8; 16],
}
