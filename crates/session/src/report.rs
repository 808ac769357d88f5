//! What a role has to say at the end.

use serde::{Deserialize, Serialize};

/// Seconds and bytes of one phase, at one role.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Phase {
    /// Wall time.
    pub seconds: f64,
    /// Payload bytes this role sent in it.
    pub bytes_sent: u64,
}

/// Time and bytes of one gate at one party, over all runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GateTime {
    /// Wall time of the gate, exchanges included.
    pub seconds: f64,
    /// Of that: sending, and waiting for the other party.
    pub exchange_seconds: f64,
    /// Payload bytes sent.
    pub bytes_sent: u64,
}

impl GateTime {
    /// Adds another run's.
    pub fn add(&mut self, other: &GateTime) {
        self.seconds += other.seconds;
        self.exchange_seconds += other.exchange_seconds;
        self.bytes_sent += other.bytes_sent;
    }
}

/// What the link between P0 and P1 was found to carry.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinkReport {
    /// Seconds there and back.
    pub round_trip_seconds: f64,
    /// Bits a second each way, both ways at once.
    pub bits_per_second: f64,
}

/// What a party that streamed needed of its disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StreamReport {
    /// Wall time from the connection to the dealer to the end. Receiving overlaps with runs, so the phases do not add up to it.
    pub seconds: f64,
    /// Deliveries that came whole.
    pub deliveries: u64,
    /// Greatest size of the material on disk, prepared data included.
    pub disk_bytes: u64,
}

/// The report of P0 or P1.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PartyReport {
    /// "p0" or "p1".
    pub role: String,
    /// Digest of the plan.
    pub plan_digest: String,
    /// Items predicted, padding not counted.
    pub items: u64,
    /// Items that material was spent for.
    pub slots: u64,
    /// Revealed logits, one row an item; only at their receiver.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub logits: Option<Vec<Vec<f32>>>,
    /// Predicted labels; only at the receiver.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub predictions: Option<Vec<u32>>,
    /// What is sent and computed once a weights version.
    pub setup: Phase,
    /// Material received, checked and prepared.
    pub offline: Phase,
    /// Bytes of material received.
    pub material_bytes: u64,
    /// From the first input byte to the last result byte.
    pub online: Phase,
    /// Exchanges of one batch.
    pub exchanges: u64,
    /// The link, where it was measured.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub link: Option<LinkReport>,
    /// Where it fetched material while sessions ran.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stream: Option<StreamReport>,
    /// What each gate took online, in plan order.
    #[serde(default)]
    pub gates: Vec<GateTime>,
    /// Greatest resident memory of the process.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub peak_rss_bytes: Option<u64>,
}

/// The report of the dealer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DealerReport {
    /// "dealer".
    pub role: String,
    /// Digest of the plan.
    pub plan_digest: String,
    /// Deliveries made.
    pub batches: Vec<String>,
    /// Slots in all.
    pub slots: u64,
    /// Wall time of making and delivering.
    pub seconds: f64,
    /// Bytes made for P0 and P1.
    pub material_bytes: [u64; 2],
    /// Greatest resident memory of the process.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub peak_rss_bytes: Option<u64>,
}

/// Greatest resident memory of this process so far, where the system tells.
pub fn peak_rss() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}
