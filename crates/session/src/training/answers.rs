//! A trained model that stays shared answers outside clients: P0 and P1 take their shares of it from the checkpoints of a training
//! that has ended, run the forward pass of a test on items that clients shared, and each hands its share of the outputs to the
//! client. Nothing else is revealed.
//!
//! Material is that of a training: the dealer streams it batch after batch from fresh seeds, and it lives in memory only. So every
//! opening of weights and items has masks of its own, and a session that ends takes its masks with it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use ariann_device::Cpu;
use ariann_gates::{GateError, Party};
use ariann_net::Peer;
use ariann_plan::Plan;
use ariann_ring::Ring;
use serde::{Deserialize, Serialize};

use super::checkpoint::{Checkpoint, Checkpoints};
use super::config::TrainPartyConfig;
use super::course::{Course, Cursor, Leg};
use super::inflow::{Arriving, Head, Inflow};
use super::job::Job;
use super::meeting::{greeting, meet};
use super::messages::Mark;
use super::party::connect_dealer;
use super::turns::Turn;
use crate::config::{self, Deadlines, IdentityConfig, MOST_ITEMS, Remote};
use crate::engine::{AllWeights, Dealt, Engine, Given, Opened};
use crate::events::Events;
use crate::hooks::{Hooks, Observer};
use crate::link::Link;
use crate::messages::{CONTROL, Request};
use crate::outside::answering::{self, AtWork};
use crate::outside::{Desk, Heard, Outside};
use crate::report::{PartyReport, peak_rss};
use crate::working::add_time;
use crate::{Fault, SessionError};

/// While no client asks, P0 hears of P1 this often.
const SIGN: Duration = Duration::from_secs(1);
/// Seconds that material and the other party may wait for clients.
pub(super) const PATIENCE: f64 = 7.0 * 86_400.0;

/// How many items a session can answer; the same at both parties and the dealer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answers {
    /// Items of a batch, which is always computed whole.
    pub items: u32,
    /// Batches that material is dealt for.
    pub batches: u64,
}

impl Answers {
    /// What roles compare in place of the training's digest.
    pub(crate) fn digest(&self, course: &Course) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("ariann answers v1");
        hasher.update(&course.digest());
        hasher.update(&self.items.to_le_bytes());
        hasher.update(&self.batches.to_le_bytes());
        *hasher.finalize().as_bytes()
    }
}

/// The training whose model answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trained {
    /// The job file.
    pub job: PathBuf,
    /// This party's folder of checkpoints.
    pub checkpoint: PathBuf,
}

/// P0 or P1 of a model that stays shared.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerConfig {
    /// "p0" or "p1".
    pub role: Party,
    /// Where the public plan is written that clients ask with.
    pub plan: PathBuf,
    /// The training.
    pub trained: Trained,
    /// How many items can be answered.
    pub answers: Answers,
    /// HOST:PORT to listen at; at P0.
    #[serde(default)]
    pub listen: Option<String>,
    /// HOST:PORT of P0; at P1.
    #[serde(default)]
    pub connect: Option<String>,
    /// Fingerprint of the other party.
    pub peer: String,
    /// The clients. Each party names those that it agrees to answer.
    pub outside: Outside,
    /// End after so many clients were served to their end; never when 0. P1 decides.
    #[serde(default)]
    pub sessions: u64,
    /// Threads; all cores when 0.
    #[serde(default)]
    pub threads: usize,
    /// Own identity.
    pub identity: IdentityConfig,
    /// The dealer, which serves this very training's answers.
    pub dealer: Remote,
    /// Deadlines.
    #[serde(default)]
    pub deadlines: Deadlines,
}

impl AnswerConfig {
    /// The same as of a party that goes on with the training.
    fn party(&self) -> TrainPartyConfig {
        TrainPartyConfig {
            role: self.role,
            job: self.trained.job.clone(),
            model: None,
            features: None,
            labels: None,
            test_features: None,
            test_labels: None,
            limit: None,
            test_limit: None,
            listen: self.listen.clone(),
            connect: self.connect.clone(),
            owners: None,
            peer: self.peer.clone(),
            checkpoint: Some(self.trained.checkpoint.clone()),
            checkpoint_every: None,
            resume: true,
            out: None,
            allow: Vec::new(),
            threads: self.threads,
            link: None,
            identity: self.identity.clone(),
            dealer: self.dealer.clone(),
            deadlines: Deadlines { stall: PATIENCE, ..self.deadlines },
        }
    }
}

/// Answers clients until the configured number of them were served, or material is used up and P1 ends.
pub fn answer(config: &AnswerConfig, hooks: &Hooks, events: &mut dyn Events) -> Result<PartyReport, SessionError> {
    config::threads(config.threads)?;
    let course = Arc::new(Course::new(Job::read(&config.trained.job)?)?);
    match course.job().choices.ring {
        32 => run::<u32>(config, &course, hooks, events),
        _ => run::<u64>(config, &course, hooks, events),
    }
}

/// The checkpoints of this party at which all steps were made; why there is none, otherwise.
pub(crate) fn trained<R: Ring>(checkpoints: &Checkpoints, course: &Course) -> Result<Vec<Mark>, SessionError> {
    let turns = course.turns();
    let ended = |checkpoint: &Checkpoint<R>| {
        let number = checkpoint.mark.turn;
        course.standing(number, &checkpoint.standing)?;
        let left = turns.steps_in_all() - turns.steps_before(number);
        if left == 0 { Ok(()) } else { Err(format!("{left} steps of the training are left after it")) }
    };
    let (whole, refused) = checkpoints.whole::<R>(ended)?;
    if whole.is_empty() {
        return Err(SessionError::Config(match refused.last() {
            Some(reason) => format!("there is no checkpoint of a training that has ended: {reason}"),
            None => {
                "there is no checkpoint of a training that has ended; name the folder that it kept them in".to_string()
            }
        }));
    }
    Ok(whole)
}

fn run<R: Ring>(
    config: &AnswerConfig,
    course: &Arc<Course>,
    hooks: &Hooks,
    events: &mut dyn Events,
) -> Result<PartyReport, SessionError> {
    let (party, of_party) = (config.role, config.party());
    let checkpoints = Checkpoints::open(&config.trained.checkpoint, course, party)?;
    let marks = trained::<R>(&checkpoints, course)?;
    let (identity, limits) = (config.identity.load()?, config.deadlines.limits()?);
    let own = greeting(config.answers.digest(course), party, true, marks);
    let (mut peer, start) = meet(&of_party, &identity, &own, hooks, events)?;
    let mark = start.from.expect("both go on from a checkpoint");
    let Checkpoint { standing, states, .. } = checkpoints.read::<R>(&mark)?;
    let standing = course.standing(mark.turn, &standing).map_err(|reason| SessionError::Config(reason.to_string()))?;
    let cursor = course.answering(config.answers, standing)?;
    let leg = cursor.leg(Turn::Answer)?;
    publish(&leg.plan, &config.plan, events)?;
    // Nothing is measured.
    let (_, hear) = channel();
    let ask = (config.answers.digest(course), mark.turn);
    let inflow = connect_dealer(&of_party, &identity, &cursor, ask, start.lineage, hear, hooks)?;
    let (say, hear) = channel();
    // Clients' threads may outlive the one who hears them.
    let tell = move |heard| drop(say.send(heard));
    let Answers { items, batches } = config.answers;
    let most = u64::from(items).saturating_mul(batches).min(u64::from(MOST_ITEMS)) as u32;
    let desk = Desk::open(&leg.plan, party, &config.outside, most, (&identity, &limits, hooks), tell)?;
    let report = PartyReport {
        role: config::role(party).to_string(),
        plan_digest: leg.plan.digest_hex(),
        ..PartyReport::default()
    };
    let mut shared = SharedModel {
        leg,
        cursor,
        party,
        states,
        inflow: inflow.clone(),
        observer: (hooks.observer)(config::role(party)),
        items,
        report,
    };
    let ended = match party {
        Party::P0 => shared.follow(&mut peer, &desk, &hear, events),
        Party::P1 => shared.lead(&mut peer, &desk, &hear, config.sessions, events),
    };
    desk.close();
    inflow.abandon();
    // The dealer's stream says why there was no material.
    ended.map_err(|error| match error {
        SessionError::Gate { source: GateError::Sections(_), .. } | SessionError::Role { .. } => {
            inflow.take_failure().unwrap_or(error)
        }
        error => error,
    })?;
    // Whether the other hears the farewell does not matter.
    let _ = peer.close();
    let mut report = shared.report;
    report.material_bytes = inflow.received();
    report.peak_rss_bytes = peak_rss();
    Ok(report)
}

/// Writes the plan that clients ask with; another one is not overwritten.
fn publish(plan: &Plan, path: &Path, events: &mut dyn Events) -> Result<(), SessionError> {
    if path.exists() {
        if Plan::read(path)?.digest() == plan.digest() {
            return Ok(());
        }
        let reason =
            format!("{}: it is another plan than that of these answers; move it, or name another file", path.display());
        return Err(SessionError::Config(reason));
    }
    plan.write(path)?;
    events.notice(format!("wrote {}, the plan that clients ask with", path.display()));
    Ok(())
}

/// A party's shares of the model, and the material that comes for it.
struct SharedModel<R: Ring> {
    leg: Arc<Leg>,
    cursor: Cursor,
    party: Party,
    states: Vec<Vec<R>>,
    inflow: Arc<Inflow>,
    observer: Box<dyn Observer>,
    /// Of a batch.
    items: u32,
    report: PartyReport,
}

impl<R: Ring> SharedModel<R> {
    /// P1: takes requests, one after the other.
    fn lead(
        &mut self,
        peer: &mut Peer,
        desk: &Desk,
        hear: &Receiver<Heard>,
        wanted: u64,
        events: &mut dyn Events,
    ) -> Result<(), SessionError> {
        let mut served = 0;
        loop {
            match hear.recv_timeout(SIGN) {
                Ok(Heard::Tell(event)) => events.tell(event),
                Ok(Heard::Served) => {
                    served += 1;
                    if served == wanted {
                        peer.send_control(&Request::Done)?;
                        return Ok(peer.flush()?);
                    }
                }
                Ok(Heard::Asked(request)) => {
                    // None: its client has gone.
                    let Some(ticket) = desk.take(&request) else { continue };
                    let left = (self.cursor.count() - self.cursor.number()) * u64::from(self.items);
                    if left < u64::from(ticket.items) {
                        let text = format!("refused {}: material is left for {left} items", ticket.client);
                        events.notice(format!("{text}; start the three roles again for more"));
                        ticket.refuse("the parties have no material left for as many items; ask them for more".into());
                        continue;
                    }
                    let Some(mut at_work) = answering::lead(desk, peer, request, ticket, events)? else { continue };
                    while at_work.left() > 0 {
                        let (head, items) = (self.head()?, at_work.left().min(self.items));
                        let first = self.cursor.number() as u32;
                        peer.send_control(&Request::Run { batch: head.id.0, first, items })?;
                        self.batch(peer, head, &mut at_work, items)?;
                    }
                    at_work.finish();
                }
                Err(RecvTimeoutError::Timeout) => {
                    peer.send_control(&Request::Wait)?;
                    peer.flush()?;
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(SessionError::Config("no client can connect any more; start again".to_string()));
                }
            }
        }
    }

    /// P0: does what P1 asks for.
    fn follow(
        &mut self,
        peer: &mut Peer,
        desk: &Desk,
        hear: &Receiver<Heard>,
        events: &mut dyn Events,
    ) -> Result<(), SessionError> {
        let misfit = |reason: &str| SessionError::Mismatch { peer: "P1".to_string(), reason: reason.to_string() };
        let mut at_work: Option<AtWork<'_, R>> = None;
        loop {
            for heard in hear.try_iter() {
                if let Heard::Tell(event) = heard {
                    events.tell(event);
                }
            }
            match peer.recv_control(CONTROL, "its next request")? {
                Request::Done => return Ok(()),
                Request::Wait => {}
                Request::Answer { request, client, items } => {
                    at_work = answering::follow(desk, peer, (request, client, items), events)?;
                }
                Request::Run { batch, first, items } => {
                    let Some(mut request) = at_work.take() else {
                        return Err(misfit("it wants items computed, and no client asks"));
                    };
                    if u64::from(first) != self.cursor.number() || items != request.left().min(self.items) {
                        return Err(misfit("it is at another batch, or wants another number of items computed"));
                    }
                    let head = self.head()?;
                    if head.id.0 != batch {
                        return Err(misfit(
                            "it has other material: the parties have different dealers; start all roles again",
                        ));
                    }
                    self.batch(peer, head, &mut request, items)?;
                    if request.left() == 0 {
                        request.finish();
                    } else {
                        at_work = Some(request);
                    }
                }
                _ => return Err(misfit("it asks for what a shared model does not do; install the same release")),
            }
        }
    }

    /// The next batch's material.
    fn head(&self) -> Result<Head, SessionError> {
        let failed = |reason: Box<dyn std::error::Error + Send + Sync>| SessionError::Role {
            role: "the dealer".to_string(),
            reason: reason.to_string(),
            fault: Fault::Dealer,
        };
        self.inflow.next_turn().map_err(failed)
    }

    /// Computes the next items of a request. A batch that they do not fill is filled up with zeros.
    fn batch(
        &mut self,
        peer: &mut Peer,
        head: Head,
        request: &mut AtWork<'_, R>,
        items: u32,
    ) -> Result<(), SessionError> {
        let (began, leg, plan) = (Instant::now(), &self.leg, &self.leg.plan);
        let mut batch = vec![R::ZERO; self.items as usize * plan.input_len()];
        let share = request.next(items).expect("no more than are left");
        batch[..share.len()].copy_from_slice(share);
        let weights = AllWeights::new();
        let engine = Engine { plan, schedule: &leg.schedule, device: &Cpu, party: self.party, weights: &weights };
        let Head { id, prg, hash, .. } = head;
        let arriving = Arriving::new(self.inflow.clone(), leg.lens[self.party as usize].clone());
        let opened = Opened { id, dealt: Dealt::Arriving(arriving), prepared: None, prg, hash };
        let given = Given { inputs: [Some(&batch), None], states: Some(&mut self.states), dropout: [0; 2] };
        let mut link = Link::new(peer);
        let times = &mut self.report.gates;
        let result = engine.run(&opened, 0..1, given, &mut link, self.observer.as_mut(), times)?;
        self.report.online.bytes_sent += link.sent();
        let mut outputs = result.expect("each party has its share of a client's results");
        outputs.truncate(items as usize * plan.output.classes);
        request.add(items, outputs);
        self.cursor.pass(leg);
        self.report.items += u64::from(items);
        self.report.slots += u64::from(self.items);
        add_time(&mut self.report.online, began);
        Ok(())
    }
}
