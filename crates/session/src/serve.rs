//! P0 at work: holds the model, listens for P1s, answers their requests, several at once.
//!
//! One thread accepts, one works for each session, and the thread that called [`serve`] tells what happens. The sessions
//! share the state folder; a batch of material belongs to one of them at a time.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Scope;
use std::time::{Duration, Instant};

use ariann_device::{Cpu, Device};
use ariann_gates::Party;
use ariann_gates::linear::Weights;
use ariann_material::BatchId;
use ariann_net::{Allowed, Gone, Listener, NetError, Peer};
use ariann_plan::Plan;
use ariann_ring::Ring;

use crate::config::{self, ServeConfig};
use crate::events::{Event, Events};
use crate::fetching::Source;
use crate::hooks::Hooks;
use crate::messages::{CONTROL, Request, Verdict};
use crate::outside::answering::{self, AtWork};
use crate::outside::{Desk, Heard};
use crate::report::{GateTime, PartyReport};
use crate::working::{Agreed, Worker, add_time};
use crate::{Fault, SessionError, handshake, query};

/// How long one call of accept waits; between two the role can be told to end.
const ACCEPT: Duration = Duration::from_millis(200);
/// Callers that are being told that there is no room for them; further ones are cut off.
const REFUSALS: usize = 16;
/// Words of the threads that wait to be told.
const WORDS: usize = 256;

/// Serves until the configured number of sessions ended well, or for ever.
pub fn serve(config: &ServeConfig, hooks: &Hooks, events: &mut dyn Events) -> Result<PartyReport, SessionError> {
    let plan = Plan::read(&config.plan)?;
    config::threads(config.threads)?;
    match plan.ring {
        32 => run::<u32>(config, &plan, hooks, events),
        _ => run::<u64>(config, &plan, hooks, events),
    }
}

fn run<R: Ring>(
    config: &ServeConfig,
    plan: &Plan,
    hooks: &Hooks,
    events: &mut dyn Events,
) -> Result<PartyReport, SessionError> {
    let allowed = allowed(config)?;
    if plan.for_clients() != config.outside.is_some() {
        let reason = match plan.for_clients() {
            true => "this plan is for outside clients: say under [outside] where they connect, and who they are",
            false => {
                "[outside] is set, and this plan's inputs are P1's: take it out, or make a plan with --reveal logits:client"
            }
        };
        return Err(SessionError::Config(reason.to_string()));
    }
    let graph = ariann_graph::import(&config.model)?;
    let identity = config.identity.load()?;
    let limits = config.deadlines.limits()?;
    if plan.weights == Weights::Public && !config.publish_weights {
        return Err(SessionError::Config(
            "this plan makes the model's weights public: P1 would receive them in clear; nothing was sent. Ask for a plan with \
             --weights held or shared, or agree with --publish-weights"
                .to_string(),
        ));
    }
    let mut worker = Worker::<R, Cpu>::open(plan, &Cpu, Party::P0, &config.state, Some(&graph), hooks, events)?;
    drop(graph);
    worker.import(&config.material, events)?;
    let shaped = config::shaped(&config.deadlines, config.link)?;
    let listener = Listener::bind(&config.listen, &identity, &allowed, &shaped)?;
    events.tell(Event::Listening { address: listener.local_addr()? });
    let (say, hear) = sync_channel(WORDS);
    let began = Instant::now();
    let opened = config.outside.as_ref().map(|outside| {
        let voice = say.clone();
        let tell = move |heard| {
            if let Heard::Tell(event) = heard {
                // Clients' threads may outlive the one who hears them.
                let _ = voice.send(Said::Event(event));
            }
        };
        Desk::open(plan, Party::P0, outside, config.max_batch, (&identity, &limits, hooks), tell)
    });
    let desk = opened.transpose()?;
    let stream = match &config.dealer {
        Some(dealer) if config.stream => {
            let (source, mut voice) = (Source { dealer: dealer.clone(), identity, limits }, Voice(say.clone()));
            let told = move |error: &SessionError| {
                let text = format!("the dealer brings no more, sessions go on with what is here: {error}");
                voice.tell(Event::Notice { text });
            };
            Some(worker.fetcher().stream(source, config.ahead, told)?)
        }
        Some(dealer) => {
            worker.fetch(dealer, &identity, &limits, events)?;
            None
        }
        None if config.stream => return Err(config::streams_from_nobody()),
        None => None,
    };
    let (permit, permits) = sync_channel(1);
    let over = AtomicBool::new(false);
    let done = std::thread::scope(|scope| {
        scope.spawn({
            let (say, over) = (say.clone(), &over);
            move || accept(listener, &permits, &say, over)
        });
        let desk = desk.as_deref();
        let mut house = House { config, plan, worker: &worker, desk, say, permit, refusals: Arc::default(), scope };
        let done = house.keep(&hear, events);
        over.store(true, Ordering::Relaxed);
        // Nobody listens any more: a session that goes on does not wait to be heard.
        drop((house, hear));
        done
    });
    desk.iter().for_each(|desk| desk.close());
    let done = done?;
    if let Some(thread) = stream {
        worker.arrivals().over();
        // Ends with the delivery that is on its way.
        let _ = thread.join();
        worker.note_stream(began);
    }
    let mut report = worker.take_report();
    absorb(&mut report, done);
    Ok(report)
}

/// Who may connect.
fn allowed(config: &ServeConfig) -> Result<Vec<Allowed>, SessionError> {
    if config.max_sessions == 0 {
        return Err(SessionError::Config("max_sessions = 0: give at least 1".to_string()));
    }
    let mut allowed: Vec<Allowed> = Vec::new();
    for (name, text) in config.pins() {
        let pin = config::pin(text, &name)?;
        if let Some(twin) = allowed.iter().find(|other| other.pin == pin) {
            let reason = format!("{name} has the fingerprint of {}: {pin}; name each once", twin.name);
            return Err(SessionError::Config(reason));
        }
        allowed.push(Allowed { name, pin });
    }
    if allowed.is_empty() {
        let reason = "nobody may connect: put the fingerprint of P1 under `peer`, or those of several under `clients`";
        return Err(SessionError::Config(reason.to_string()));
    }
    Ok(allowed)
}

/// What the threads say.
enum Said {
    /// Somebody with a pinned identity came.
    Came(Box<Peer>),
    /// Something to tell.
    Event(Event),
    /// A session is over.
    Ended { name: String, ended: Ended, report: Box<PartyReport> },
    /// The listener is of no use any more.
    Broken(NetError),
}

/// How a session ended.
enum Ended {
    /// Well, after so many items.
    Done(u64),
    /// The other end left with a farewell before it had greeted: it looked whether somebody is here.
    Looked,
    /// With an error.
    Failed(SessionError),
}

/// Accepts one caller for each permit. Between permits, callers wait in the system's backlog.
fn accept(mut listener: Listener, permits: &Receiver<()>, say: &SyncSender<Said>, over: &AtomicBool) {
    let mut refused = 0;
    while permits.recv().is_ok() {
        let said = loop {
            match listener.accept(ACCEPT) {
                Ok(peer) => break Said::Came(peer.into()),
                Err(NetError::PeerGone { .. }) if over.load(Ordering::Relaxed) => return,
                Err(NetError::PeerGone { .. }) if listener.refused() > refused => {
                    refused = listener.refused();
                    let why = listener.last_refusal().unwrap_or("it said nothing");
                    let text = format!("turned a connection away: {why}");
                    if say.send(Said::Event(Event::Notice { text })).is_err() {
                        return;
                    }
                }
                Err(NetError::PeerGone { .. }) => {}
                Err(error) => break Said::Broken(error),
            }
        };
        if say.send(said).is_err() {
            return;
        }
    }
}

/// P0 and its sessions.
struct House<'scope, 'env, R: Ring> {
    config: &'env ServeConfig,
    plan: &'env Plan,
    worker: &'env Worker<'env, R, Cpu>,
    desk: Option<&'env Desk>,
    say: SyncSender<Said>,
    permit: SyncSender<()>,
    refusals: Arc<AtomicUsize>,
    scope: &'scope Scope<'scope, 'env>,
}

impl<'scope, 'env, R: Ring> House<'scope, 'env, R> {
    /// Begins sessions and tells what they say, until enough have ended well. Returns what they did.
    fn keep(&mut self, hear: &Receiver<Said>, events: &mut dyn Events) -> Result<PartyReport, SessionError> {
        let (mut live, mut done, mut permitted) = (0, 0, false);
        let mut report = PartyReport::default();
        let wanted = self.config.sessions;
        loop {
            if !permitted && (wanted == 0 || done + live < wanted) {
                permitted = self.permit.send(()).is_ok();
            }
            match hear.recv().expect("the house itself can speak") {
                Said::Event(event) => events.tell(event),
                Said::Broken(error) => return Err(error.into()),
                Said::Came(peer) => {
                    permitted = false;
                    if live < self.config.max_sessions as u64 {
                        live += 1;
                        self.begin(*peer, events);
                    } else {
                        self.refuse(*peer, events);
                    }
                }
                Said::Ended { name, ended, report: one } => {
                    live -= 1;
                    absorb(&mut report, *one);
                    done += u64::from(matches!(ended, Ended::Done(_)));
                    self.tell(&name, ended, events);
                    if wanted > 0 && done == wanted {
                        return Ok(report);
                    }
                }
            }
        }
    }

    /// One of several is told by its name; the texts of errors have it already where they speak of the other end.
    fn tell(&self, name: &str, ended: Ended, events: &mut dyn Events) {
        let several = !self.config.clients.is_empty();
        match ended {
            Ended::Done(items) => {
                if several {
                    events.notice(format!("{name}: predicted {items} items"));
                }
                events.tell(Event::SessionDone { items });
            }
            Ended::Looked => events.notice(format!("{name} looked whether P0 is here")),
            Ended::Failed(error) => {
                let (fault, text) = (error.fault().name(), error.to_string());
                let error = if text.contains(name) { text } else { format!("{name}: {text}") };
                events.tell(Event::SessionFailed { fault, error });
            }
        }
    }

    /// A session in a thread of its own.
    fn begin(&self, mut peer: Peer, events: &mut dyn Events) {
        let name = peer.name().to_string();
        if !self.config.clients.is_empty() {
            events.notice(format!("{name} came"));
        }
        let mut worker = self.worker.for_session();
        worker.tap(&mut peer, "p1");
        let (most_items, streams, desk) = (self.config.max_batch, self.config.stream, self.desk);
        let mut voice = Voice(self.say.clone());
        self.scope.spawn(move || {
            let work = || session(&mut worker, &mut peer, (most_items, streams), desk, &mut voice);
            let ended = match catch_unwind(AssertUnwindSafe(work)) {
                Ok(Ok(ended)) => ended,
                Ok(Err(error)) => Ended::Failed(error),
                // The other sessions go on; what it had reserved stays burnt.
                Err(_) => {
                    let reason = "a bug ended this session; its panic is on standard error".to_string();
                    Ended::Failed(SessionError::Role { role: "P0".to_string(), reason, fault: Fault::Machine })
                }
            };
            // P1 has what it asked for, or hears that there is nothing for it; whether it hears the farewell does not matter.
            if !matches!(&ended, Ended::Failed(error) if !matches!(error, SessionError::Exhausted(_))) {
                let _ = peer.close();
            }
            let report = Box::new(worker.take_report());
            // Its batches are free again before anybody hears that it is over.
            drop(worker);
            let _ = voice.0.send(Said::Ended { name, ended, report });
        });
    }

    /// Tells a caller that there is no room for it.
    fn refuse(&self, mut peer: Peer, events: &mut dyn Events) {
        let most = self.config.max_sessions;
        events.notice(format!("refused {}: {most} sessions are at work (max_sessions)", peer.name()));
        let (waiting, own) = (self.refusals.clone(), handshake::hello(Party::P0, self.plan, vec![], vec![], 0));
        if waiting.fetch_add(1, Ordering::Relaxed) >= REFUSALS {
            waiting.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        self.scope.spawn(move || {
            let reason =
                format!("{most} sessions are at work already (max_sessions at P0): come again when one has ended");
            let _ = handshake::greet(&mut peer, Party::P0, |_| Ok(own), |_, _| Ok(Some(reason)));
            let _ = peer.close();
            waiting.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

/// Hands a session's events to the thread that tells them.
struct Voice(SyncSender<Said>);

impl Events for Voice {
    fn tell(&mut self, event: Event) {
        let _ = self.0.send(Said::Event(event));
    }
}

/// One session: everything that a P1 asks for.
fn session<R: Ring, D: Device>(
    worker: &mut Worker<'_, R, D>,
    peer: &mut Peer,
    (most_items, streams): (u32, bool),
    desk: Option<&Desk>,
    events: &mut dyn Events,
) -> Result<Ended, SessionError> {
    let name = peer.name().to_string();
    let mut agreed = match worker.greet(peer, most_items, events) {
        Err(SessionError::Net(NetError::PeerGone { how: Gone::Closed, .. })) => return Ok(Ended::Looked),
        greeted => greeted?,
    };
    // With clients outside P1 stays, and tells them when there is nothing for them.
    if agreed.batches.is_empty() && desk.is_none() {
        return Err(SessionError::Exhausted(format!(
            "refused {name}: of its batches of material none is left that P0 has too and that no other session works \
             with; deal a batch for both (`ariann deal`)"
        )));
    }
    let misfit = |reason: String| SessionError::Mismatch { peer: name.clone(), reason };
    let known = |agreed: &Agreed, batch: [u8; 16]| {
        let found = agreed.batches.iter().find(|offer| offer.batch == batch);
        found
            .map(|offer| offer.id())
            .ok_or_else(|| misfit(format!("it asked for batch {}, which was not agreed on", BatchId(batch))))
    };
    let (mut slots, mut prepared) = (0, BTreeSet::new());
    let mut at_work: Option<AtWork<'_, R>> = None;
    loop {
        match peer.recv_control(CONTROL, "its next request")? {
            Request::Done => return Ok(Ended::Done(slots)),
            Request::Wait => {}
            Request::Answer { request, client, items } => match desk {
                Some(desk) => at_work = answering::follow(desk, peer, (request, client, items), events)?,
                None => return Err(misfit("it speaks of outside clients, and this plan is not for them".to_string())),
            },
            Request::Measure => drop(peer.measure()?),
            Request::Setup(batch) => worker.prepare_weights(known(&agreed, batch)?, Some(peer))?,
            Request::Agree => agreed = worker.greet(peer, most_items, events)?,
            Request::Spent(batch) => drop(worker.retire(known(&agreed, batch)?)?),
            Request::Prepare(batch) => {
                let batch = known(&agreed, batch)?;
                worker.prepare_weights(batch, None)?;
                worker.prepare(batch, events)?;
                prepared.insert(batch);
                peer.send_control(&Verdict::Accepted)?;
            }
            Request::Run { batch, first, items } => {
                let batch = known(&agreed, batch)?;
                let began = Instant::now();
                if !prepared.contains(&batch) {
                    return Err(misfit(format!("it wants to run batch {batch} before it asked to prepare it")));
                }
                if items > most_items {
                    let reason = format!("it wants {items} items computed together, at most {most_items} are allowed");
                    return Err(misfit(reason));
                }
                let mark = worker.mark(batch)?;
                if first != mark {
                    let reason = format!("it begins at slot {first} of batch {batch}, the next free one is {mark}");
                    return Err(misfit(reason));
                }
                let share = match &at_work {
                    Some(at_work) => at_work.next(items),
                    None => None,
                };
                if desk.is_some() && share.is_none() {
                    return Err(misfit(format!("it wants {items} items computed, and no client asks for as many")));
                }
                let reservation = worker.reserve(batch, items)?;
                let result = worker.run(peer, reservation, share, events)?;
                match (&mut at_work, result) {
                    (Some(request), Some(result)) => {
                        request.add(items, result);
                        if request.left() == 0 {
                            at_work.take().into_iter().for_each(AtWork::finish);
                        }
                    }
                    (None, Some(result)) => query::note(worker.plan, &result, items as usize, &mut worker.report),
                    (_, None) => {}
                }
                worker.report.items += u64::from(items);
                add_time(&mut worker.report.online, began);
                slots += u64::from(items);
                // Without a word of P1, which may not stream: its disk is bounded all the same.
                if streams && worker.left(batch)? == 0 {
                    worker.retire(batch)?;
                }
            }
        }
    }
}

/// Adds what a session did to what was done so far.
fn absorb(sum: &mut PartyReport, one: PartyReport) {
    sum.items += one.items;
    sum.slots += one.slots;
    sum.material_bytes += one.material_bytes;
    for (sum, one) in [(&mut sum.setup, one.setup), (&mut sum.offline, one.offline), (&mut sum.online, one.online)] {
        sum.seconds += one.seconds;
        sum.bytes_sent += one.bytes_sent;
    }
    sum.gates.resize(sum.gates.len().max(one.gates.len()), GateTime::default());
    sum.gates.iter_mut().zip(&one.gates).for_each(|(sum, one)| sum.add(one));
    if let Some(logits) = one.logits {
        sum.logits.get_or_insert_default().extend(logits);
    }
    if let Some(predictions) = one.predictions {
        sum.predictions.get_or_insert_default().extend(predictions);
    }
    sum.peak_rss_bytes = sum.peak_rss_bytes.max(one.peak_rss_bytes);
}
