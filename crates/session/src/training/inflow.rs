//! A party's end of the dealer's stream: a thread receives ahead of the gates into a bounded buffer, the engine takes sections
//! out of it in plan order.
//!
//! What was received lives in this process's memory only. A role that ends, however it ends, loses it, and the dealer
//! draws fresh seeds for every turn; so no mask can bind a second value, and no ledger entry is needed.

use std::collections::VecDeque;
use std::error::Error;
use std::ops::Range;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use ariann_gates::Party;
use ariann_material::BatchId;
use ariann_net::{Gone, NetError, Peer};
use ariann_prg::{HashKeys, Prg, Seed, TreeHash};
use zeroize::Zeroizing;

use super::course::Cursor;
use super::messages::{HEAD, MEASURED_STEP, TURN_STEP};
use super::turns::Turn;
use crate::messages::Verdict;
use crate::{Fault, SessionError};

/// Bytes of sections that wait at a party. A section that is larger is let in when it is the only one.
pub(crate) const WAITING: usize = 24 << 20;

/// What one turn's material begins with.
pub(crate) struct Head {
    /// The turn.
    pub turn: u64,
    /// Its material's id.
    pub id: BatchId,
    /// The first half of the digest of the plan that it was made for.
    pub plan: [u8; 16],
    /// The party's seed.
    pub prg: Prg,
    /// The turn's tree hash.
    pub hash: TreeHash,
}

impl Head {
    fn decode(bytes: &[u8; HEAD]) -> Head {
        let part = |index: usize| <[u8; 16]>::try_from(&bytes[8 + 16 * index..][..16]).expect("16 bytes");
        Head {
            turn: u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")),
            id: BatchId(part(0)),
            plan: part(1),
            prg: Prg::new(&Seed::from_bytes(part(2))),
            hash: TreeHash::new(&HashKeys { inner: part(3), leaf: part(4) }),
        }
    }
}

/// The bounded buffer between the receiving thread and the engine.
pub(crate) struct Inflow {
    state: Mutex<Flow>,
    changed: Condvar,
    limit: usize,
}

#[derive(Default)]
struct Flow {
    waiting: VecDeque<Arrival>,
    /// Bytes of all sections in it.
    bytes: usize,
    /// The most that there were.
    most: usize,
    /// Bytes that came in all.
    received: u64,
    /// Why no more comes.
    failure: Option<SessionError>,
    /// Nobody takes any more.
    abandoned: bool,
    /// Somebody sleeps.
    taker: bool,
    giver: bool,
}

enum Arrival {
    Turn(Box<Head>),
    Section { gate: u32, len: usize, bytes: Vec<u8> },
}

type Failure = Box<dyn Error + Send + Sync>;

/// Nobody takes what arrives.
struct Unwanted;

impl Inflow {
    pub fn new(limit: usize) -> Arc<Inflow> {
        Arc::new(Inflow { state: Mutex::new(Flow::default()), changed: Condvar::new(), limit })
    }

    fn lock(&self) -> MutexGuard<'_, Flow> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sleeps until something changes.
    fn sleep<'a>(&self, state: MutexGuard<'a, Flow>) -> MutexGuard<'a, Flow> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Receives the material of all turns from the cursor's on, in a thread of its own. `measured` brings the exponents of each
    /// measurement, which the dealer is told and the plans after it follow from.
    pub fn start(
        self: &Arc<Self>,
        mut dealer: Peer,
        mut cursor: Cursor,
        party: Party,
        measured: Receiver<Vec<i32>>,
    ) -> Result<(), SessionError> {
        let flow = self.clone();
        let work = move || match flow.receive(&mut dealer, &mut cursor, party, &measured) {
            // Whether the dealer hears the farewell does not matter.
            Ok(()) => drop(dealer.close()),
            Err(Ended::Failed(error)) => flow.end(error),
            Err(Ended::Unwanted) => {}
        };
        let spawned = std::thread::Builder::new().name("from the dealer".to_string()).spawn(work);
        spawned.map_err(|source| SessionError::file("starting", "a thread that receives material", source))?;
        Ok(())
    }

    fn receive(
        &self,
        dealer: &mut Peer,
        cursor: &mut Cursor,
        party: Party,
        measured: &Receiver<Vec<i32>>,
    ) -> Result<(), Ended> {
        while let Some(turn) = cursor.turn() {
            let leg = cursor.leg(turn).map_err(SessionError::from)?;
            let mut head = Zeroizing::new([0; HEAD]);
            dealer.recv_into(TURN_STEP, head.as_mut_slice(), "the material of the next turn")?;
            let head = Head::decode(&head);
            if head.turn != cursor.number() || head.plan != leg.digest[..16] {
                let reason = format!(
                    "it sent material of turn {} or of another plan where turn {} is next; give all roles the same job file and \
                     the same release of the program, and resume",
                    head.turn,
                    cursor.number()
                );
                return Err(Ended::Failed(SessionError::Mismatch { peer: "the dealer".to_string(), reason }));
            }
            self.give(Arrival::Turn(Box::new(head)))?;
            for (gate, len) in leg.lens[party as usize].iter().enumerate().filter(|(_, len)| **len > 0) {
                self.give(Arrival::Section { gate: gate as u32, len: *len as usize, bytes: Vec::new() })?;
                let each = |piece: &[u8]| self.add(piece, *len as usize).map_err(Ended::from);
                dealer.recv_stream(gate as u32, *len, "the material of a gate", each)?;
            }
            cursor.pass(&leg);
            if let Turn::Measure { .. } = turn {
                // Nobody brings them when the party has ended.
                let exponents = measured.recv().map_err(|_| Ended::Unwanted)?;
                dealer.send(MEASURED_STEP, exponents.iter().flat_map(|exponent| exponent.to_le_bytes()).collect())?;
                // The party itself tells what became of them.
                let _ = cursor.renew(&exponents);
            }
        }
        Ok(dealer.send_control(&Verdict::Accepted)?)
    }

    fn give(&self, arrival: Arrival) -> Result<(), Unwanted> {
        let mut state = self.lock();
        if state.abandoned {
            return Err(Unwanted);
        }
        state.waiting.push_back(arrival);
        if state.taker {
            self.changed.notify_all();
        }
        Ok(())
    }

    /// Adds to the section that came last.
    fn add(&self, piece: &[u8], whole: usize) -> Result<(), Unwanted> {
        let mut state = self.lock();
        loop {
            if state.abandoned {
                return Err(Unwanted);
            }
            // The gate at work needs all of the first one: it is never held up.
            if state.bytes + piece.len() <= self.limit || state.waiting.len() == 1 {
                break;
            }
            state.giver = true;
            state = self.sleep(state);
            state.giver = false;
        }
        state.bytes += piece.len();
        state.most = state.most.max(state.bytes);
        state.received += piece.len() as u64;
        let Some(Arrival::Section { bytes, .. }) = state.waiting.back_mut() else { unreachable!("it arrives") };
        if bytes.capacity() == 0 {
            bytes.reserve_exact(whole);
        }
        bytes.extend_from_slice(piece);
        if state.taker {
            self.changed.notify_all();
        }
        Ok(())
    }

    /// No more comes.
    fn end(&self, error: SessionError) {
        self.lock().failure = Some(error);
        self.changed.notify_all();
    }

    /// Nobody takes any more.
    pub fn abandon(&self) {
        self.lock().abandoned = true;
        self.changed.notify_all();
    }

    /// Takes why no more comes.
    pub fn take_failure(&self) -> Option<SessionError> {
        self.lock().failure.take()
    }

    /// The most bytes that waited.
    pub fn most(&self) -> usize {
        self.lock().most
    }

    /// Bytes received.
    pub fn received(&self) -> u64 {
        self.lock().received
    }

    /// Takes the first arrival, which is whole, unless it is a section that is wanted.
    fn drop_front(&self, state: &mut Flow) {
        if let Some(Arrival::Section { bytes, .. }) = state.waiting.pop_front() {
            state.bytes -= bytes.len();
        }
        if state.giver {
            self.changed.notify_all();
        }
    }

    /// The next turn's head, when it has come; what is left of the turn before is dropped.
    pub fn next_turn(&self) -> Result<Head, Failure> {
        let mut state = self.lock();
        loop {
            match state.waiting.front() {
                Some(Arrival::Turn(_)) => {
                    let Some(Arrival::Turn(head)) = state.waiting.pop_front() else { unreachable!("it is a turn") };
                    if state.giver {
                        self.changed.notify_all();
                    }
                    return Ok(*head);
                }
                Some(Arrival::Section { len, bytes, .. }) if bytes.len() == *len => self.drop_front(&mut state),
                _ => state = self.more(state)?,
            }
        }
    }

    /// Waits for more.
    fn more<'a>(&self, mut state: MutexGuard<'a, Flow>) -> Result<MutexGuard<'a, Flow>, Failure> {
        if let Some(error) = &state.failure {
            return Err(error.to_string().into());
        }
        state.taker = true;
        state = self.sleep(state);
        state.taker = false;
        Ok(state)
    }

    /// Copies the bytes `range` of the section of `gate`, when they have come; sections of gates before it are dropped.
    fn copy(&self, wanted: u32, range: Range<usize>, out: &mut [u8]) -> Result<(), Failure> {
        let mut state = self.lock();
        loop {
            match state.waiting.front() {
                Some(Arrival::Section { gate, bytes, .. }) if *gate == wanted && bytes.len() >= range.end => {
                    out.copy_from_slice(&bytes[range]);
                    return Ok(());
                }
                Some(Arrival::Section { gate, len, bytes }) if *gate < wanted && bytes.len() == *len => {
                    self.drop_front(&mut state);
                }
                Some(Arrival::Section { gate, .. }) if *gate > wanted => {
                    return Err(format!("the section of gate {wanted} was read and dropped").into());
                }
                Some(Arrival::Turn(_)) => return Err(format!("gate {wanted} has no section").into()),
                _ => state = self.more(state)?,
            }
        }
    }
}

enum Ended {
    Failed(SessionError),
    Unwanted,
}

impl From<SessionError> for Ended {
    fn from(error: SessionError) -> Self {
        Ended::Failed(error)
    }
}

impl From<NetError> for Ended {
    fn from(error: NetError) -> Self {
        Ended::Failed(match error {
            // Before all has come, a dealer says farewell for this reason alone.
            NetError::PeerGone { how: Gone::Closed, .. } => SessionError::Role {
                role: "the other party".to_string(),
                reason: "the dealer saw it leave and ended the session; look there why, and start again".to_string(),
                fault: Fault::Peer,
            },
            error => error.into(),
        })
    }
}

impl From<Unwanted> for Ended {
    fn from(_: Unwanted) -> Self {
        Ended::Unwanted
    }
}

/// The material of one turn, as it arrives.
pub struct Arriving {
    flow: Arc<Inflow>,
    lens: Arc<Vec<u64>>,
}

impl Arriving {
    pub(crate) fn new(flow: Arc<Inflow>, lens: Arc<Vec<u64>>) -> Self {
        Arriving { flow, lens }
    }

    pub(crate) fn section_len(&self, gate: u32) -> u64 {
        self.lens[gate as usize]
    }

    pub(crate) fn copy(&self, gate: u32, range: Range<usize>, out: &mut [u8]) -> Result<(), Failure> {
        self.flow.copy(gate, range, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(flow: &Inflow, gate: u32, len: usize) {
        flow.give(Arrival::Section { gate, len, bytes: Vec::new() }).ok().unwrap();
        for start in (0..len).step_by(10) {
            let piece: Vec<u8> = (start..(start + 10).min(len)).map(|at| (at as u8) ^ gate as u8).collect();
            flow.add(&piece, len).ok().unwrap();
        }
    }

    fn head(turn: u64) -> Arrival {
        let mut bytes = [0; HEAD];
        bytes[..8].copy_from_slice(&turn.to_le_bytes());
        Arrival::Turn(Box::new(Head::decode(&bytes)))
    }

    #[test]
    fn sections_come_in_order_and_what_waits_is_bounded() {
        let flow = Inflow::new(100);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for turn in 0..20 {
                    flow.give(head(turn)).ok().unwrap();
                    for (gate, len) in [(1, 35), (2, 50), (4, 300), (5, 1)] {
                        section(&flow, gate, len);
                    }
                }
                flow.give(head(20)).ok().unwrap();
            });
            for turn in 0..20 {
                assert_eq!(flow.next_turn().unwrap().turn, turn);
                // The second gate reads nothing of its own.
                for (gate, len) in [(1u32, 35usize), (4, 300), (5, 1)] {
                    for range in [0..len / 2, len / 2..len, 0..len] {
                        let mut out = vec![0; range.len()];
                        flow.copy(gate, range.clone(), &mut out).unwrap();
                        let told: Vec<u8> = range.map(|at| (at as u8) ^ gate as u8).collect();
                        assert_eq!(out, told);
                    }
                }
                assert!(flow.copy(4, 0..1, &mut [0]).is_err(), "what was dropped is gone");
            }
            assert_eq!(flow.next_turn().unwrap().turn, 20);
        });
        // The limit, or the one section that is larger.
        assert!(flow.lock().most <= 310, "{} bytes waited", flow.lock().most);
        assert_eq!(flow.received(), 20 * 386);
    }

    #[test]
    fn a_giver_waits_for_room_and_ends_when_nobody_takes() {
        let flow = Inflow::new(20);
        std::thread::scope(|scope| {
            let giver = scope.spawn(|| {
                flow.give(Arrival::Section { gate: 0, len: 20, bytes: Vec::new() }).ok().unwrap();
                flow.add(&[0; 20], 20).ok().unwrap();
                flow.give(Arrival::Section { gate: 1, len: 20, bytes: Vec::new() }).ok().unwrap();
                flow.add(&[0; 20], 20).is_err()
            });
            while !flow.lock().giver {
                std::thread::yield_now();
            }
            flow.abandon();
            assert!(giver.join().unwrap());
        });
        assert_eq!(flow.lock().most, 20);
    }

    #[test]
    fn an_end_is_told_to_the_one_that_waits() {
        let flow = Inflow::new(20);
        std::thread::scope(|scope| {
            let taker = scope.spawn(|| flow.next_turn().is_err());
            flow.end(SessionError::Exhausted("over".to_string()));
            assert!(taker.join().unwrap());
        });
        assert_eq!(flow.take_failure().unwrap().to_string(), "over");
        assert!(flow.take_failure().is_none());
    }
}
