//! The dealer delivers: batches are made in one thread and sent by another, so that the next one is made while the parties
//! take, check and use this one. A party that streams says before each delivery whether it has room.

use std::io::Write;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::Scope;

use ariann_material::Encoder;
use ariann_net::{NetError, Peer, SendStream};
use ariann_ring::Ring;

use crate::SessionError;
use crate::arrivals::PATIENCE;
use crate::deal::{Batch, Batches, Parcel, Told};
use crate::messages::{Arrived, CONTROL, DELIVERY_STEP, Delivery, Wanted};
use crate::report::DealerReport;

/// Bytes of sections that are handed over at once.
const BUNDLE: usize = 4 << 20;
/// Bundles that wait to be sent.
const QUEUED: usize = 8;

/// Both parties, connected.
pub(crate) struct Parties {
    /// P0 and P1.
    pub peers: Vec<Peer>,
    /// Whether they say before each delivery whether they have room.
    pub stream: bool,
}

/// What the making thread hands over, in order.
enum Made {
    /// A batch begins.
    Begin(Arc<Parcel>),
    /// The next sections of it.
    Sections(Vec<Section>),
    /// Making failed.
    Failed(SessionError),
}

struct Section {
    party: usize,
    slot: u32,
    gate: u32,
    bytes: Vec<u8>,
}

/// Delivers all batches, or as many as the parties want.
pub(crate) fn deliver<R: Ring>(
    mut parties: Parties,
    batches: Batches<'_>,
    pool: &rayon::ThreadPool,
    told: &mut Told<'_>,
    report: &mut DealerReport,
) -> Result<(), SessionError> {
    let Parties { peers, stream } = &mut parties;
    std::thread::scope(|scope| {
        // Dropped before the scope waits for the maker, which ends when nobody takes what it makes.
        let made = make::<R>(scope, batches, pool)?;
        loop {
            let parcel = match made.recv() {
                Ok(Made::Begin(parcel)) => Some(parcel),
                Ok(Made::Failed(error)) => return Err(error),
                Ok(Made::Sections(_)) => unreachable!("a batch begins before its sections"),
                Err(_) => None,
            };
            if *stream && !both_have_room(peers, parcel.is_none())? {
                return Ok(());
            }
            let Some(parcel) = parcel else { return Ok(()) };
            send(peers, &parcel, &made, told)?;
            parcel.note(report)?;
        }
    })?;
    for peer in &mut parties.peers {
        peer.send_control(&Delivery::End)?;
    }
    for peer in parties.peers {
        peer.close()?;
    }
    Ok(())
}

/// Makes batches in a thread. Memory is bounded by what waits in the channel and what is made at once.
fn make<'scope, R: Ring>(
    scope: &'scope Scope<'scope, '_>,
    mut batches: Batches<'scope>,
    pool: &'scope rayon::ThreadPool,
) -> Result<Receiver<Made>, SessionError> {
    let (say, made) = sync_channel(QUEUED);
    let work = move || {
        loop {
            let batch = match batches.draw::<R>() {
                Ok(Some(batch)) => batch,
                Ok(None) => return,
                Err(error) => return drop(say.send(Made::Failed(error))),
            };
            if say.send(Made::Begin(batch.parcel.clone())).is_err() || bundle(&batch, pool, &say).is_err() {
                return;
            }
        }
    };
    let spawned = std::thread::Builder::new().name("making".to_string()).spawn_scoped(scope, work);
    spawned.map_err(|source| SessionError::file("starting", "a thread that makes material", source))?;
    Ok(made)
}

/// Nobody takes what is made.
struct Unwanted;

/// Makes a batch and hands its sections over in bundles.
fn bundle<R: Ring>(batch: &Batch<'_, R>, pool: &rayon::ThreadPool, say: &SyncSender<Made>) -> Result<(), Unwanted> {
    let (mut sections, mut bytes) = (Vec::new(), 0);
    let hand_over =
        |sections: &mut Vec<Section>| say.send(Made::Sections(std::mem::take(sections))).map_err(|_| Unwanted);
    batch.make(pool, |piece| {
        bytes += piece.bytes.len();
        sections.push(Section { party: piece.party, slot: piece.slot, gate: piece.gate, bytes: piece.bytes.to_vec() });
        if bytes < BUNDLE {
            return Ok(());
        }
        bytes = 0;
        hand_over(&mut sections)
    })?;
    hand_over(&mut sections)
}

/// Sends a batch to both parties as it is made, and tells each when both have it.
fn send(peers: &mut [Peer], parcel: &Parcel, made: &Receiver<Made>, told: &mut Told<'_>) -> Result<(), SessionError> {
    let bytes = parcel.bytes()?;
    for (peer, bytes) in peers.iter_mut().zip(bytes) {
        peer.send_control(&Delivery::Batch { slots: parcel.slots, bytes })?;
    }
    let mut streams = Vec::with_capacity(2);
    for (party, peer) in peers.iter_mut().enumerate() {
        let stream = Outgoing(peer.send_stream(DELIVERY_STEP, bytes[party])?);
        streams.push(Encoder::new(&parcel.headers[party], &parcel.forms[party].layout, stream)?);
    }
    let mut slots = 0;
    while slots < parcel.slots {
        let sections = match made.recv() {
            Ok(Made::Sections(sections)) => sections,
            Ok(Made::Failed(error)) => return Err(error),
            Ok(Made::Begin(_)) | Err(_) => unreachable!("a batch is made to its end, unless that fails"),
        };
        for Section { party, slot, gate, bytes } in sections {
            streams[party].write_section(slot, gate, &bytes).map_err(sent)?;
            let ends = u32::from(parcel.ends_slot(party, gate));
            slots += ends;
            told.add(ends);
        }
    }
    for stream in streams {
        stream.finish().map_err(sent)?.0.finish()?;
    }
    for peer in peers.iter_mut() {
        let arrived: Arrived = peer.recv_control(CONTROL, "word that the delivery arrived")?;
        if arrived.batch != parcel.id.0 {
            let reason = "it confirmed another delivery".to_string();
            return Err(SessionError::Mismatch { peer: peer.name().to_string(), reason });
        }
    }
    for peer in peers.iter_mut() {
        peer.send_control(&Arrived { batch: parcel.id.0 })?;
    }
    Ok(())
}

/// Asks both parties whether they have room; true when both have. False when one wants no more, or there is no more: then
/// each waits for an answer.
fn both_have_room(peers: &mut [Peer], last: bool) -> Result<bool, SessionError> {
    let meeting = Meeting { state: Mutex::new(Answers { ready: [false; 2], over: last }), changed: Condvar::new() };
    let answers: Vec<Result<bool, SessionError>> = std::thread::scope(|scope| {
        let meeting = &meeting;
        let asked: Vec<_> =
            peers.iter_mut().enumerate().map(|(party, peer)| scope.spawn(move || meeting.with(party, peer))).collect();
        asked.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    answers.into_iter().try_fold(true, |both, one| Ok(both & one?))
}

/// Where the answers of both parties meet.
struct Meeting {
    state: Mutex<Answers>,
    changed: Condvar,
}

struct Answers {
    ready: [bool; 2],
    /// There is nothing to deliver any more.
    over: bool,
}

impl Meeting {
    /// Hears one party until both have room, or it is over.
    fn with(&self, party: usize, peer: &mut Peer) -> Result<bool, SessionError> {
        let heard = self.hear(party, peer);
        if heard.is_err() {
            self.change(|answers| answers.over = true);
        }
        heard
    }

    fn hear(&self, party: usize, peer: &mut Peer) -> Result<bool, SessionError> {
        loop {
            let wanted = peer.recv_control(CONTROL, "word whether it has room for a delivery")?;
            if let Some(deliver) = self.answer(party, wanted) {
                return Ok(deliver);
            }
            peer.send_control(&Delivery::Later)?;
        }
    }

    /// Whether a delivery comes, as far as that is known soon.
    fn answer(&self, party: usize, wanted: Wanted) -> Option<bool> {
        self.change(|answers| match wanted {
            Wanted::Next => answers.ready[party] = true,
            Wanted::Later => {}
            Wanted::Enough => answers.over = true,
        });
        let undecided = |answers: &mut Answers| wanted == Wanted::Next && !answers.over && answers.ready != [true; 2];
        let answers = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(answers, PATIENCE, undecided);
        let mut answers = waited.unwrap_or_else(PoisonError::into_inner).0;
        if answers.over || answers.ready == [true; 2] {
            return Some(!answers.over);
        }
        answers.ready[party] = false;
        None
    }

    fn change(&self, change: impl FnOnce(&mut Answers)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }
}

/// A party that does not take its delivery is at fault itself.
fn sent(error: ariann_material::Error) -> SessionError {
    match error {
        ariann_material::Error::Send { batch, source } => match source.downcast::<NetError>() {
            Ok(error) => error.into(),
            Err(source) => ariann_material::Error::Send { batch, source }.into(),
        },
        error => error.into(),
    }
}

/// A stream to a party as a place to write to.
struct Outgoing<'a>(SendStream<'a>);

impl Write for Outgoing<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let sent: Result<(), NetError> = self.0.write(bytes);
        sent.map(|()| bytes.len()).map_err(std::io::Error::other)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_comes_when_both_have_room_and_ends_for_both() {
        let meeting =
            |over| Meeting { state: Mutex::new(Answers { ready: [false; 2], over }), changed: Condvar::new() };
        let open = meeting(false);
        assert_eq!(open.answer(0, Wanted::Later), None);
        // The other has none: it is asked again, and asked for again.
        assert_eq!(open.answer(0, Wanted::Next), None);
        std::thread::scope(|scope| {
            let first = scope.spawn(|| {
                loop {
                    if let Some(deliver) = open.answer(0, Wanted::Next) {
                        return deliver;
                    }
                }
            });
            assert_eq!(open.answer(1, Wanted::Later), None);
            assert_eq!(open.answer(1, Wanted::Next), Some(true));
            assert!(first.join().unwrap());
        });
        let ending = meeting(false);
        std::thread::scope(|scope| {
            let first = scope.spawn(|| {
                loop {
                    if let Some(deliver) = ending.answer(0, Wanted::Next) {
                        return deliver;
                    }
                }
            });
            assert_eq!(ending.answer(1, Wanted::Enough), Some(false));
            assert!(!first.join().unwrap());
        });
        for wanted in [Wanted::Next, Wanted::Later, Wanted::Enough] {
            assert_eq!(meeting(true).answer(1, wanted), Some(false));
        }
    }
}
