//! P1 without data: connects to P0, awaits clients, and leads the runs that they ask for, one request after the other.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use ariann_device::Cpu;
use ariann_gates::Party;
use ariann_material::BatchId;
use ariann_net::Peer;
use ariann_plan::Plan;
use ariann_ring::Ring;

use super::answering;
use super::messages::REQUEST;
use super::{AssistConfig, Desk, Heard, Ticket};
use crate::SessionError;
use crate::config;
use crate::events::Events;
use crate::fetching::Source;
use crate::handshake::accepted;
use crate::hooks::Hooks;
use crate::messages::Request;
use crate::report::PartyReport;
use crate::working::{Agreed, Worker, add_time};

/// While no client asks, P0 hears of P1 this often, and P1 of a P0 that has gone.
const SIGN: Duration = Duration::from_secs(1);

/// Answers clients until the configured number of them were served, or for ever.
pub fn assist(config: &AssistConfig, hooks: &Hooks, events: &mut dyn Events) -> Result<PartyReport, SessionError> {
    let plan = Plan::read(&config.plan)?;
    if !plan.for_clients() {
        let reason = "this plan is not for outside clients, its inputs are P1's: use `ariann query`, or ask for a plan with --reveal \
                      logits:client";
        return Err(SessionError::Config(reason.to_string()));
    }
    config::threads(config.threads)?;
    match plan.ring {
        32 => run::<u32>(config, &plan, hooks, events),
        _ => run::<u64>(config, &plan, hooks, events),
    }
}

fn run<R: Ring>(
    config: &AssistConfig,
    plan: &Plan,
    hooks: &Hooks,
    events: &mut dyn Events,
) -> Result<PartyReport, SessionError> {
    if config.max_batch == 0 {
        return Err(SessionError::Config("max_batch = 0: give at least 1".to_string()));
    }
    let (identity, limits) = (config.identity.load()?, config.deadlines.limits()?);
    let pin = config::pin(&config.peer.fingerprint, "P0")?;
    let mut worker = Worker::<R, Cpu>::open(plan, &Cpu, Party::P1, &config.state, None, hooks, events)?;
    worker.import(&config.material, events)?;
    let (began, mut stream) = (Instant::now(), None);
    match &config.dealer {
        Some(dealer) if config.stream => {
            let source = Source { dealer: dealer.clone(), identity: config.identity.load()?, limits: limits.clone() };
            stream = Some(worker.fetcher().stream(source, config.ahead, |_| {})?);
        }
        Some(dealer) => worker.fetch(dealer, &identity, &limits, events)?,
        None if config.stream => return Err(config::streams_from_nobody()),
        None => {}
    }
    let (say, hear) = channel();
    let guard = (&identity, &limits, hooks);
    // Clients' threads may outlive the one who hears them.
    let tell = move |heard| drop(say.send(heard));
    let desk = Desk::open(plan, Party::P1, &config.outside, config.max_batch, guard, tell)?;
    let streams = stream.is_some();
    let mut house = House { worker, desk: desk.clone(), hear, streams, most: config.max_batch, served: 0 };
    let ended = loop {
        let mut peer = match Peer::connect(&config.peer.address, &identity, &pin, "P0", &limits) {
            Ok(peer) => peer,
            Err(error) => break Err(error.into()),
        };
        house.worker.tap(&mut peer, "p0");
        match house.keep(&mut peer, config.sessions, events) {
            Ok(()) => {
                // Whether P0 hears the farewell does not matter.
                let _ = peer.send_control(&Request::Done);
                let _ = peer.close();
                break Ok(());
            }
            Err(SessionError::Net(error)) => {
                events.notice(format!("lost P0, connects again: {error}"));
                std::thread::sleep(SIGN);
            }
            Err(error) => break Err(error),
        }
    };
    desk.close();
    let mut worker = house.worker;
    if let Some(thread) = stream {
        worker.arrivals().over();
        // Ends with the delivery that is on its way.
        let _ = thread.join();
        worker.note_stream(began);
    }
    ended.map(|()| worker.take_report())
}

/// P1, its clients, and one connection to P0 after the other.
struct House<'a, R: Ring> {
    worker: Worker<'a, R, Cpu>,
    desk: Arc<Desk>,
    hear: Receiver<Heard>,
    /// Deliveries may come while it works.
    streams: bool,
    /// Items computed together at most.
    most: u32,
    /// Clients served to their end.
    served: u64,
}

/// What P0 and P1 agreed on over a connection.
struct Standing<'p> {
    peer: &'p mut Peer,
    agreed: Agreed,
    /// Deliveries that had come before.
    came: u64,
    prepared: BTreeSet<BatchId>,
}

impl<R: Ring> House<'_, R> {
    /// Answers over one connection to P0, until `wanted` clients were served.
    fn keep(&mut self, peer: &mut Peer, wanted: u64, events: &mut dyn Events) -> Result<(), SessionError> {
        let came = self.worker.arrivals().standing().came;
        let agreed = self.worker.greet(peer, self.most, events)?;
        let mut standing = Standing { peer, agreed, came, prepared: BTreeSet::new() };
        loop {
            match self.hear.recv_timeout(SIGN) {
                Ok(Heard::Tell(event)) => events.tell(event),
                Ok(Heard::Served) => {
                    self.served += 1;
                    if self.served == wanted {
                        return Ok(());
                    }
                }
                Ok(Heard::Asked(request)) => {
                    // None: its client has gone.
                    let Some(ticket) = self.desk.take(&request) else { continue };
                    self.answer(&mut standing, request, ticket, events)?;
                }
                Err(RecvTimeoutError::Timeout) => {
                    standing.peer.send_control(&Request::Wait)?;
                    standing.peer.flush()?;
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(SessionError::Config("no client can connect any more; start again".to_string()));
                }
            }
        }
    }

    /// One request: all its items, or none when material or P0's part is missing.
    fn answer(
        &mut self,
        standing: &mut Standing<'_>,
        request: [u8; REQUEST],
        ticket: Ticket,
        events: &mut dyn Events,
    ) -> Result<(), SessionError> {
        let client = ticket.client.clone();
        if !self.supplied(standing, ticket.items, events)? {
            events.notice(format!("refused {client}: no material for {} items is left; deal more", ticket.items));
            ticket.refuse("the parties have no material left for as many items; ask them to have more dealt".into());
            return Ok(());
        }
        let desk = self.desk.clone();
        let Some(mut at_work) = answering::lead::<R>(&desk, standing.peer, request, ticket, events)? else {
            return Ok(());
        };
        let began = Instant::now();
        while at_work.left() > 0 {
            let Some(batch) = self.usable(&standing.agreed)? else {
                if self.supplied(standing, at_work.left(), events)? {
                    continue;
                }
                events.notice(format!("gave up a request of {client}: no material is left; deal more"));
                at_work.refuse("the parties' material came to an end; ask them to have more dealt");
                return Ok(());
            };
            self.prepare(standing, batch, events)?;
            let most = self.most.min(standing.agreed.most_items);
            let items = at_work.left().min(self.worker.left(batch)?).min(most);
            let first = self.worker.mark(batch)?;
            standing.peer.send_control(&Request::Run { batch: batch.0, first, items })?;
            let reservation = self.worker.reserve(batch, items)?;
            let share = at_work.next(items).expect("no more than are left");
            let results = self.worker.run(standing.peer, reservation, Some(share), events)?;
            at_work.add(items, results.expect("each party has its share of a client's results"));
            self.worker.report.items += u64::from(items);
            if self.streams && self.worker.left(batch)? == 0 {
                standing.peer.send_control(&Request::Spent(batch.0))?;
                self.worker.retire(batch)?;
            }
        }
        add_time(&mut self.worker.report.online, began);
        at_work.finish();
        Ok(())
    }

    /// The first batch with a slot left.
    fn usable(&self, agreed: &Agreed) -> Result<Option<BatchId>, SessionError> {
        for offer in &agreed.batches {
            if self.worker.left(offer.id())? > 0 {
                return Ok(Some(offer.id()));
            }
        }
        Ok(None)
    }

    /// Whether there is material for so many items; of a stream, for one of them. What came meanwhile is agreed on.
    fn supplied(
        &mut self,
        standing: &mut Standing<'_>,
        items: u32,
        events: &mut dyn Events,
    ) -> Result<bool, SessionError> {
        let mut asked = false;
        loop {
            let mut left = 0;
            for offer in &standing.agreed.batches {
                left += u64::from(self.worker.left(offer.id())?);
            }
            if left >= u64::from(items) || self.streams && left > 0 {
                return Ok(true);
            }
            let patience = if asked && self.streams { SIGN } else { Duration::ZERO };
            let now = self.worker.arrivals().more_than(standing.came, patience);
            if asked && now.came == standing.came && (!self.streams || now.ended) {
                if let Some(error) = self.worker.arrivals().take_failure() {
                    events.notice(format!("the dealer brings no more: {error}"));
                }
                return Ok(false);
            }
            // Also for the first time: P0 may have had it first.
            if asked && now.came == standing.came {
                standing.peer.send_control(&Request::Wait)?;
                continue;
            }
            asked = true;
            standing.came = now.came;
            standing.peer.send_control(&Request::Agree)?;
            standing.agreed = self.worker.greet(standing.peer, self.most, events)?;
        }
    }

    /// Setup and preparation of a batch, unless done over this connection.
    fn prepare(
        &mut self,
        standing: &mut Standing<'_>,
        batch: BatchId,
        events: &mut dyn Events,
    ) -> Result<(), SessionError> {
        if standing.prepared.contains(&batch) {
            return Ok(());
        }
        let version = self.worker.version(batch)?;
        if standing.agreed.both_kept.contains(&version.0) || self.worker.knows_weights(version) {
            self.worker.prepare_weights(batch, None)?;
        } else {
            standing.peer.send_control(&Request::Setup(batch.0))?;
            self.worker.prepare_weights(batch, Some(standing.peer))?;
        }
        standing.peer.send_control(&Request::Prepare(batch.0))?;
        self.worker.prepare(batch, events)?;
        accepted(standing.peer, "its part of the preparation")?;
        standing.prepared.insert(batch);
        Ok(())
    }
}
