//! A party gets what a serving dealer has for it: everything at once, or, in a thread, as much as there is room for.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use ariann_gates::Party;
use ariann_material::{BatchId, Expected, Store};
use ariann_net::{Identity, Limits, Peer};

use crate::arrivals::Arrivals;
use crate::config::{self, Remote};
use crate::events::{Events, Silent};
use crate::hooks::Observer;
use crate::messages::{Arrived, CONTROL, DELIVERY_STEP, Delivery, Fetch, Wanted};
use crate::{Fault, PROTOCOL, SessionError, handshake};

/// A party towards the dealer.
pub(crate) struct Fetcher {
    pub store: Arc<Store>,
    pub arrivals: Arc<Arrivals>,
    pub expected: Expected,
    pub party: Party,
    pub observer: fn(&str) -> Box<dyn Observer>,
}

/// Where the dealer is, and how to speak to it.
pub(crate) struct Source {
    pub dealer: Remote,
    pub identity: Identity,
    pub limits: Limits,
}

impl Fetcher {
    /// Takes in all deliveries. Returns their bytes.
    pub fn all(
        &self,
        dealer: &Remote,
        identity: &Identity,
        limits: &Limits,
        events: &mut dyn Events,
    ) -> Result<u64, SessionError> {
        let mut peer = self.connect(dealer, identity, limits, false)?;
        let mut sum = 0;
        loop {
            match self.answer(&mut peer)? {
                Delivery::Batch { slots, bytes } => {
                    self.take(&mut peer, slots, bytes, events)?;
                    sum += bytes;
                }
                Delivery::Later => return Err(unasked("to come back later")),
                _ => break,
            }
        }
        peer.close()?;
        Ok(sum)
    }

    /// Goes on fetching in a thread, while fewer than `ahead` deliveries are unspent, until the dealer has no more, nobody
    /// wants more, or something fails; `failed` hears of that, and so does who asks [`Arrivals`].
    pub fn stream(
        self,
        source: Source,
        ahead: usize,
        failed: impl FnOnce(&SessionError) + Send + 'static,
    ) -> Result<JoinHandle<()>, SessionError> {
        if ahead == 0 {
            return Err(SessionError::Config("ahead = 0: give at least 1, better 2".to_string()));
        }
        config::pin(&source.dealer.fingerprint, "the dealer")?;
        let spawned = std::thread::Builder::new().name("fetching material".to_string()).spawn(move || {
            let outcome = match catch_unwind(AssertUnwindSafe(|| self.as_there_is_room(&source, ahead))) {
                Ok(outcome) => outcome,
                Err(_) => {
                    let reason = "a bug ended the thread that fetches; its panic is on standard error".to_string();
                    let role = config::name(self.party).to_string();
                    Err(SessionError::Role { role, reason, fault: Fault::Machine })
                }
            };
            // Whoever waits for a word of the dealer does so no longer.
            self.arrivals.withdrawn();
            let failure = outcome.err();
            failure.as_ref().map(failed).unwrap_or_default();
            self.arrivals.end(failure);
        });
        spawned.map_err(|source| SessionError::file("starting", "a thread that fetches", source))
    }

    fn as_there_is_room(&self, source: &Source, ahead: usize) -> Result<(), SessionError> {
        let mut peer = self.connect(&source.dealer, &source.identity, &source.limits, true)?;
        loop {
            let wanted = self.arrivals.room(ahead);
            peer.send_control(&wanted)?;
            match self.answer(&mut peer)? {
                Delivery::Batch { .. } if wanted != Wanted::Next => return Err(unasked("that a delivery comes")),
                Delivery::Batch { slots, bytes } => self.take(&mut peer, slots, bytes, &mut Silent)?,
                Delivery::Later => {}
                _ => return Ok(peer.close()?),
            }
        }
    }

    fn connect(
        &self,
        dealer: &Remote,
        identity: &Identity,
        limits: &Limits,
        stream: bool,
    ) -> Result<Peer, SessionError> {
        let pin = config::pin(&dealer.fingerprint, "the dealer")?;
        let mut peer = Peer::connect(&dealer.address, identity, &pin, "the dealer", limits)?;
        let mut observer = (self.observer)(&config::name(self.party).to_lowercase());
        peer.tap(Box::new(move |bytes| observer.received("dealer", bytes)));
        let (party, plan) = (self.party as u8, self.expected.plan_digest);
        peer.send_control(&Fetch { protocol: PROTOCOL, party, plan, stream })?;
        Ok(peer)
    }

    /// What the dealer says next; a refusal is an error.
    fn answer(&self, peer: &mut Peer) -> Result<Delivery, SessionError> {
        match peer.recv_control(CONTROL, "a delivery of material")? {
            Delivery::Refused(reason) => {
                let reason = format!("it refused: {}", handshake::printable(&reason));
                Err(SessionError::Mismatch { peer: "the dealer".to_string(), reason })
            }
            said => Ok(said),
        }
    }

    /// Receives a delivery, checks it, and waits for the word that the other party has its half.
    fn take(&self, peer: &mut Peer, slots: u32, bytes: u64, events: &mut dyn Events) -> Result<(), SessionError> {
        let began = Instant::now();
        let whole = self.expected.layout.body_bytes(slots)?;
        if slots == 0 || bytes < whole || bytes > whole + CONTROL as u64 {
            let reason =
                format!("it announced {bytes} bytes for {slots} slots, the plan makes that {whole} and a header");
            return Err(SessionError::Mismatch { peer: "the dealer".to_string(), reason });
        }
        let only = Expected { slots: Some(slots), ..self.expected.clone() };
        let mut incoming = self.store.receive(&only, "the dealer")?;
        peer.recv_stream(DELIVERY_STEP, bytes, "material", |piece| {
            incoming.push(piece)?;
            events.progress("receiving material", incoming.taken(), bytes);
            Ok::<_, SessionError>(())
        })?;
        // Before it has its place among the others: no session may use it until the other party has its half.
        incoming.batch().into_iter().for_each(|batch| self.arrivals.await_word(batch));
        let batch = incoming.finish()?;
        self.arrivals.weigh(&self.store)?;
        self.confirm(peer, batch)?;
        self.arrivals.confirmed(bytes, began.elapsed().as_secs_f64());
        Ok(())
    }

    /// Tells the dealer that a batch is here and waits until the other party has its half; without that it is discarded.
    fn confirm(&self, peer: &mut Peer, batch: BatchId) -> Result<(), SessionError> {
        let told = peer.send_control(&Arrived { batch: batch.0 });
        let confirmed =
            told.and_then(|()| peer.recv_control::<Arrived>(CONTROL, "word that both parties have the delivery"));
        match confirmed {
            Ok(arrived) if arrived.batch == batch.0 => Ok(()),
            other => {
                self.store.discard(batch)?;
                other?;
                let reason = "it confirmed another delivery".to_string();
                Err(SessionError::Mismatch { peer: "the dealer".to_string(), reason })
            }
        }
    }
}

fn unasked(what: &str) -> SessionError {
    let reason = format!("it said {what}, which it was not asked for");
    SessionError::Mismatch { peer: "the dealer".to_string(), reason }
}
