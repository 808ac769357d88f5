//! Where clients connect, at either party: each has a connection and a thread of its own, leaves its part of its items, and waits
//! for this party's part of the results.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ariann_gates::Party;
use ariann_net::{Allowed, Identity, Limits, Listener, NetError, Peer};
use ariann_plan::Plan;
use zeroize::Zeroizing;

use super::Outside;
use super::form::Form;
use super::messages::{Answer, Asks, Call, ITEMS_STEP, REQUEST, RESULTS_STEP, Refusal};
use crate::events::Event;
use crate::guests::Guests;
use crate::handshake::accepted;
use crate::hooks::Hooks;
use crate::messages::{CONTROL, Verdict};
use crate::{PROTOCOL, SessionError, config};

/// How long one call of accept waits.
const ACCEPT: Duration = Duration::from_millis(100);
/// A client that waits hears of the party this often, and the party of a client that has gone.
const SIGN: Duration = Duration::from_secs(1);
/// Connections at once; beyond it each client has one.
const MOST: usize = 64;

/// A request whose part of the items is here.
pub(crate) struct Ticket {
    /// Who asks.
    pub client: String,
    /// Its identity.
    pub pin: [u8; 32],
    /// Items.
    pub items: u32,
    /// What this party received of them.
    pub received: Zeroizing<Vec<u8>>,
    reply: SyncSender<Result<Vec<u8>, Refusal>>,
}

impl Ticket {
    /// This party's part of the results. The client may have gone.
    pub fn answer(self, part: Vec<u8>) {
        let _ = self.reply.send(Ok(part));
    }

    /// Nothing comes of it.
    pub fn refuse(self, refusal: Refusal) {
        let _ = self.reply.send(Err(refusal));
    }
}

/// What clients' threads say.
pub(crate) enum Heard {
    /// Something to tell.
    Tell(Event),
    /// A request is here, and at the other party.
    Asked([u8; REQUEST]),
    /// A client has all that it wanted.
    Served,
}

/// See the head of this file.
pub(crate) struct Desk {
    pub form: Form,
    party: Party,
    plan: [u8; 32],
    most_items: u32,
    tickets: Mutex<BTreeMap<[u8; REQUEST], Ticket>>,
    guests: Arc<Guests>,
    over: AtomicBool,
}

type Say = Arc<dyn Fn(Heard) + Send + Sync>;

impl Desk {
    /// Listens for clients. `say` must not wait for anything that a client does.
    pub fn open(
        plan: &Plan,
        party: Party,
        outside: &Outside,
        most_items: u32,
        (identity, limits, hooks): (&Identity, &Limits, &Hooks),
        say: impl Fn(Heard) + Send + Sync + 'static,
    ) -> Result<Arc<Desk>, SessionError> {
        if outside.clients.is_empty() {
            let reason = "no client may connect: put names and fingerprints under [outside.clients]";
            return Err(SessionError::Config(reason.to_string()));
        }
        let mut allowed: Vec<Allowed> = Vec::with_capacity(outside.clients.len());
        for (name, text) in &outside.clients {
            let pin = config::pin(text, name)?;
            if let Some(twin) = allowed.iter().find(|other| other.pin == pin) {
                let reason = format!("{name} has the fingerprint of {}: {pin}; name each once", twin.name);
                return Err(SessionError::Config(reason));
            }
            allowed.push(Allowed { name: name.clone(), pin });
        }
        let listener = Listener::bind(&outside.listen, identity, &allowed, limits)?;
        let say: Say = Arc::new(say);
        say(Heard::Tell(Event::ListeningForOwners { address: listener.local_addr()? }));
        let desk = Arc::new(Desk {
            form: Form::new(plan),
            party,
            plan: plan.digest(),
            most_items,
            tickets: Mutex::default(),
            guests: Arc::default(),
            over: AtomicBool::new(false),
        });
        let (open, observer) = (desk.clone(), hooks.observer);
        let spawned = std::thread::Builder::new()
            .name("clients".to_string())
            .spawn(move || open.accept(listener, observer, &say));
        spawned.map_err(|source| SessionError::file("starting", "a thread that listens", source))?;
        Ok(desk)
    }

    /// A request that both parties have, unless its client has gone.
    pub fn take(&self, request: &[u8; REQUEST]) -> Option<Ticket> {
        locked(&self.tickets).remove(request)
    }

    /// Nobody new is let in.
    pub fn close(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    fn accept(
        self: Arc<Self>,
        mut listener: Listener,
        observer: fn(&str) -> Box<dyn crate::hooks::Observer>,
        say: &Say,
    ) {
        let notice = |text: String| say(Heard::Tell(Event::Notice { text }));
        let mut strangers = 0;
        while !self.over.load(Ordering::Relaxed) {
            if listener.refused() > strangers {
                strangers = listener.refused();
                let who = listener.last_refusal().unwrap_or("a caller that showed no identity");
                notice(format!("turned away where clients connect: {who}"));
            }
            let mut peer = match listener.accept(ACCEPT) {
                Ok(peer) => peer,
                Err(NetError::PeerGone { .. }) => continue,
                Err(error) => return notice(format!("no client can connect any more: {error}")),
            };
            let name = peer.name().to_string();
            let Some(guest) = self.guests.enter(pin_of(&peer), MOST) else {
                notice(format!("refused {name}: too many connections"));
                // A thread for it is what there shall not be more of.
                continue;
            };
            let mut observer = observer(&config::name(self.party).to_lowercase());
            let from = format!("client {name}");
            peer.tap(Box::new(move |bytes| observer.received(&from, bytes)));
            let (desk, say) = (self.clone(), say.clone());
            std::thread::spawn(move || {
                let attended = desk.attend(&mut peer, &say);
                // Whether it hears the farewell does not matter.
                let _ = peer.close();
                drop(guest);
                match attended {
                    Ok(items) => {
                        say(Heard::Tell(Event::Notice { text: format!("{name}: {items} items were answered") }));
                        say(Heard::Served);
                    }
                    Err(error) => {
                        say(Heard::Tell(Event::Notice {
                            text: format!("{name} got nothing more: {}", reason(&error)),
                        }));
                    }
                }
            });
        }
    }

    /// All requests of a client that has connected. Returns how many items were answered.
    fn attend(&self, peer: &mut Peer, say: &Say) -> Result<u64, SessionError> {
        let mut answered = 0;
        loop {
            let Call::Ask(asks) = peer.recv_control(CONTROL, "what it asks")? else { return Ok(answered) };
            if let Some(reason) = self.objection(&asks) {
                peer.send_control(&Verdict::Refused(reason.clone()))?;
                let _ = peer.flush();
                return Err(SessionError::Mismatch { peer: peer.name().to_string(), reason });
            }
            peer.send_control(&Verdict::Accepted)?;
            let mut received = Zeroizing::new(vec![0; self.form.sent(self.party, asks.items)]);
            peer.recv_into(ITEMS_STEP, &mut received, "its items")?;
            let kept = self.keep(peer, &asks, received)?;
            peer.send_control(&Verdict::Accepted)?;
            accepted(peer, "word that the other party has its items, too")?;
            say(Heard::Asked(asks.request));
            self.wait(peer, &kept)?;
            answered += u64::from(asks.items);
        }
    }

    fn objection(&self, asks: &Asks) -> Option<String> {
        let own = config::name(self.party);
        if asks.protocol != PROTOCOL {
            return Some(format!(
                "{own} speaks protocol version {PROTOCOL}, the client {}: install the same release",
                asks.protocol
            ));
        }
        if asks.party != self.party as u8 {
            return Some(format!("this is {own}, and the client takes it for the other party: exchange p0 and p1"));
        }
        if asks.plan != self.plan {
            let reason = "the client has another plan: shape, preprocessing, scales or result differ; give it the parties' plan file";
            return Some(reason.to_string());
        }
        let most = self.most_items;
        (asks.items == 0 || asks.items > most).then(|| {
            format!(
                "it asks for {} items computed together, from 1 to {most} are allowed: use another --batch",
                asks.items
            )
        })
    }

    /// Keeps a client's part of its items where the party's sessions find it.
    fn keep<'a>(&'a self, peer: &Peer, asks: &Asks, received: Zeroizing<Vec<u8>>) -> Result<Kept<'a>, SessionError> {
        let (reply, replies) = sync_channel(1);
        let ticket = Ticket { client: peer.name().to_string(), pin: pin_of(peer), items: asks.items, received, reply };
        let mut tickets = locked(&self.tickets);
        if tickets.contains_key(&asks.request) {
            let reason = "its request has the name of another that waits".to_string();
            return Err(SessionError::Mismatch { peer: peer.name().to_string(), reason });
        }
        tickets.insert(asks.request, ticket);
        Ok(Kept { desk: self, request: asks.request, items: asks.items, replies })
    }

    /// Waits for this party's part of the results, and hands it over.
    fn wait(&self, peer: &mut Peer, kept: &Kept<'_>) -> Result<(), SessionError> {
        let refused = loop {
            match kept.replies.recv_timeout(SIGN) {
                Ok(Ok(part)) => {
                    debug_assert_eq!(part.len(), self.form.results(kept.items));
                    peer.send_control(&Answer::Ready)?;
                    return Ok(peer.send(RESULTS_STEP, part)?);
                }
                Ok(Err(refusal)) => break refusal,
                Err(RecvTimeoutError::Disconnected) => {
                    break Refusal::Because("the parties gave its request up; ask again".to_string());
                }
                Err(RecvTimeoutError::Timeout) => {
                    peer.send_control(&Answer::Later)?;
                    peer.flush()?;
                }
            }
        };
        peer.send_control(&Answer::Refused(refused.clone()))?;
        let _ = peer.flush();
        Err(SessionError::Mismatch { peer: peer.name().to_string(), reason: refused.to_string() })
    }
}

/// A request that a client's thread keeps for the sessions, until it ends.
struct Kept<'a> {
    desk: &'a Desk,
    request: [u8; REQUEST],
    items: u32,
    replies: Receiver<Result<Vec<u8>, Refusal>>,
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        drop(self.desk.take(&self.request));
    }
}

fn pin_of(peer: &Peer) -> [u8; 32] {
    *peer.fingerprint().expect("clients come over TLS").as_bytes()
}

/// What an error says of a client that is named anyway.
fn reason(error: &SessionError) -> String {
    match error {
        SessionError::Mismatch { reason, .. } => reason.clone(),
        error => error.to_string(),
    }
}

/// Each change is one insertion or removal: what a thread that panicked left is whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
