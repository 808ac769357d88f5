//! What a connection carries: round trip and bandwidth, found by both ends together.

use std::time::{Duration, Instant};

use crate::{NetError, Peer};

/// Of no gate: plans are shorter.
const STEP: u32 = u32::MAX;
const WAITING_FOR: &str = "its part in measuring the link";
/// Round trips of which the shortest counts: what a busy machine adds is not the link's.
const TRIPS: u32 = 3;
/// Bytes of the first measurement of bandwidth and at most of the second.
const FIRST: u64 = 256 << 10;
const MOST: u64 = 8 << 20;
/// How long the second is meant to take.
const AIM: Duration = Duration::from_millis(40);

/// What was measured between two ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// The least time of two exchanges of small messages, one after the other.
    pub round_trip: Duration,
    /// Bits of payload a second that arrive here while this end sends as much.
    pub bits_per_second: f64,
}

impl Peer {
    /// Measures the link. The other end calls this too, at the same point of the conversation. Takes about five round
    /// trips and 0.1 s.
    pub fn measure(&mut self) -> Result<Measured, NetError> {
        // The ends do not begin at the same time.
        self.swap(&[0; 16])?;
        let mut round_trip = Duration::MAX;
        for _ in 0..TRIPS {
            // The first answer may be here already; the second follows from what this end sent first.
            let began = Instant::now();
            self.swap(&[0; 16])?;
            self.swap(&[0; 16])?;
            round_trip = round_trip.min(began.elapsed());
        }
        let rough = self.rate(FIRST)?;
        let wanted = ((rough / 8.0 * AIM.as_secs_f64()) as u64).clamp(FIRST, MOST);
        let theirs = u64::from_le_bytes(self.swap(&wanted.to_le_bytes())?);
        let bits_per_second = self.rate(wanted.min(theirs).clamp(FIRST, MOST))?;
        Ok(Measured { round_trip, bits_per_second })
    }

    fn swap<const N: usize>(&mut self, ours: &[u8; N]) -> Result<[u8; N], NetError> {
        let mut theirs = [0; N];
        self.send(STEP, ours.to_vec())?;
        self.recv_into(STEP, &mut theirs, WAITING_FOR)?;
        Ok(theirs)
    }

    /// Both ends send `bytes` behind a short message; the time between the two arrivals is the line's.
    fn rate(&mut self, bytes: u64) -> Result<f64, NetError> {
        self.send(STEP, vec![0; 16])?;
        self.send(STEP, vec![0; bytes as usize])?;
        self.recv_into(STEP, &mut [0; 16], WAITING_FOR)?;
        let began = Instant::now();
        self.recv_stream(STEP, bytes, WAITING_FOR, |_| Ok::<_, NetError>(()))?;
        Ok(bytes as f64 * 8.0 / began.elapsed().as_secs_f64())
    }
}
