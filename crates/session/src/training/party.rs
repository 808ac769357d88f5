//! P0 or P1 of a training: agree with the other party on job and beginning, then take the turns.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use ariann_device::Cpu;
use ariann_gates::{GateError, Party};
use ariann_graph::training::{Role, training_step};
use ariann_graph::{Graph, Network};
use ariann_net::{Identity, Peer};
use ariann_plan::training::{encode_states, exponents};
use ariann_prg::{Address, Prg, Seed};
use ariann_ring::Ring;
use zeroize::Zeroizing;

use super::checkpoint::{Checkpoint, Checkpoints};
use super::config::TrainPartyConfig;
use super::course::{Course, Cursor, Leg};
use super::data::Data;
use super::gather::Welcome;
use super::inflow::{Arriving, Head, Inflow, WAITING};
use super::job::Job;
use super::learning::{Learning, consent};
use super::meeting::{ask, greeting, meet};
use super::messages::{COMPARE, COMPARE_STEP, Mark, SHARES_STEP, Start};
use super::pair::{PairEnd, gather_step, subtract_start};
use super::report::TrainReport;
use super::turns::Turn;
use crate::SessionError;
use crate::config;
use crate::engine::{AllWeights, Dealt, Engine, Given, Opened};
use crate::events::Events;
use crate::hooks::{Hooks, Observer};
use crate::link::Link;
use crate::report::{GateTime, peak_rss};

/// Between two checkpoints, unless their number of steps is given.
const BETWEEN: Duration = Duration::from_secs(20);
/// Between two words about progress.
const WORDS: Duration = Duration::from_millis(200);

/// Trains as P0 or P1.
pub fn train(config: &TrainPartyConfig, hooks: &Hooks, events: &mut dyn Events) -> Result<TrainReport, SessionError> {
    config::threads(config.threads)?;
    let course = Arc::new(Course::new(Job::read(&config.job)?)?);
    let original = match (config.role, &config.model) {
        (Party::P0, Some(path)) => Some(read_model(path)?),
        (Party::P0, None) => return Err(SessionError::Config("P0 has no model: set `model`".to_string())),
        (Party::P1, Some(_)) => {
            return Err(SessionError::Config("the model is P0's: take `model` out".to_string()));
        }
        (Party::P1, None) => None,
    };
    let initial = original.as_deref().map(|bytes| initial_states(&course, bytes)).transpose()?;
    match course.job().choices.ring {
        32 => run::<u32>(config, course, initial, original.as_deref(), hooks, events),
        _ => run::<u64>(config, course, initial, original.as_deref(), hooks, events),
    }
}

fn read_model(path: &Path) -> Result<Vec<u8>, SessionError> {
    std::fs::read(path).map_err(|source| SessionError::file("reading the model", path, source))
}

/// The graph of a model, if it is of the job's network.
pub fn job_graph(course: &Course, model: &[u8]) -> Result<Graph, SessionError> {
    let graph = ariann_graph::import_for_training_bytes(model)?;
    if Network::of(&graph) != course.job().network {
        let reason =
            format!("it is not the network of the job (\"{}\"); make the job again with this model", graph.name);
        return Err(SessionError::ModelPlan(reason));
    }
    Ok(graph)
}

/// The states of the job as the model and the recipe begin.
pub fn initial_states(course: &Course, model: &[u8]) -> Result<Vec<Vec<f32>>, SessionError> {
    let (graph, job) = (job_graph(course, model)?, course.job());
    let step = training_step(&graph, &job.recipe, job.recipe.lr, false);
    let step = step.map_err(|error| SessionError::ModelPlan(error.to_string()))?;
    for (state, range) in step.states.iter().zip(&job.ranges.steps.states) {
        let beyond = state.initial.iter().find(|value| !(0.0..=range.max_abs).contains(&f64::from(value.abs())));
        if let Some(value) = beyond {
            let reason = format!(
                "\"{}\" has the value {value}, and the job's range for it ends at {:.4}; make the job again with this model",
                state.name, range.max_abs
            );
            return Err(SessionError::ModelPlan(reason));
        }
    }
    Ok(step.states.into_iter().map(|state| state.initial).collect())
}

fn run<R: Ring>(
    config: &TrainPartyConfig,
    course: Arc<Course>,
    initial: Option<Vec<Vec<f32>>>,
    original: Option<&[u8]>,
    hooks: &Hooks,
    events: &mut dyn Events,
) -> Result<TrainReport, SessionError> {
    let (job, party, turns) = (course.job(), config.role, course.turns());
    consent(job, party, &config.allow)?;
    let mut data = Data::read(config, &course, party)?;
    let of_states = course.states().iter().zip(initial.iter().flatten()).enumerate();
    let frozen = of_states.filter(|(_, (state, _))| state.role == Role::Frozen);
    let frozen: Vec<_> = frozen.map(|(index, (_, values))| (index, values.clone())).collect();
    let initial = initial.map(|states| encode_states::<R>(&course.step().plan, &states)).transpose();
    let initial = initial.map_err(|error| SessionError::ModelPlan(error.to_string()))?;
    let mut checkpoints =
        config.checkpoint.as_deref().map(|folder| Checkpoints::open(folder, &course, party)).transpose()?;
    let marks = marks::<R>(config, &course, checkpoints.as_ref(), events)?;
    let identity = config.identity.load()?;
    let name = config::role(party);
    let welcome = Welcome::open(config, &course, &identity, events)?;
    let own = greeting(course.digest(), party, config.resume, marks);
    let (mut peer, Start { from, lineage }) = meet(config, &identity, &own, hooks, events)?;
    let mut late = None;
    if let Some(welcome) = welcome {
        let (pool, turned_away) = welcome.gather(&mut peer, hooks, events)?;
        (data, late) = (data.pooled(pool), turned_away);
    }
    let begin = match from {
        Some(mark) => {
            events.notice(format!("goes on before turn {} of {}", mark.turn + 1, turns.count()));
            let checkpoints = checkpoints.as_mut().expect("what was offered is here");
            checkpoints.goes_on(mark);
            checkpoints.read::<R>(&mark)?
        }
        None => {
            let lens = course.states().iter().map(|state| state.len());
            let states = share_states(&mut peer, initial, lens)?;
            let standing = course.cursor().standing().encode();
            Checkpoint { mark: Mark { turn: 0, lineage }, standing, states, learned: Default::default() }
        }
    };
    let first = begin.mark.turn;
    let standing = course.standing(first, &begin.standing);
    let standing = standing.map_err(|reason| SessionError::Config(reason.to_string()))?;
    let cursor = course.cursor_at(first, standing);
    let (measured, hear) = channel();
    let inflow = connect_dealer(config, &identity, &cursor, (course.digest(), first), lineage, hear, hooks)?;
    let mut trainee = Trainee {
        times: Vec::new(),
        start: None,
        gathered: None,
        course: &course,
        cursor,
        measured,
        party,
        data,
        states: begin.states,
        learning: Learning::new(begin.learned),
        checkpoints,
        every: config.checkpoint_every,
        lineage,
        written: None,
        inflow: inflow.clone(),
        observer: (hooks.observer)(name),
        report: TrainReport {
            role: name.to_string(),
            job_digest: job.digest_hex(),
            first_turn: first,
            ..TrainReport::default()
        },
        step_seconds: Duration::ZERO,
        waited: Duration::ZERO,
    };
    if let Err(error) = trainee.turns(&mut peer, events) {
        inflow.abandon();
        let error = trainee.why(error);
        if let SessionError::Diverged(_) = &error {
            // It came from a result that the other one may learn as well: what was sent of it arrives.
            let _ = peer.close();
        }
        return Err(error);
    }
    let mut report = trainee.finish(first);
    report.material_bytes[party as usize] = inflow.received();
    report.waiting_bytes = inflow.most() as u64;
    if let Some(folder) = &config.out {
        trainee.learning.know(frozen);
        report.files = trainee.learning.write(&course, folder, original)?;
    }
    report.epochs = trainee.learning.learned.epochs;
    report.losses = trainee.learning.learned.losses;
    // Whether the other hears the farewell does not matter.
    let _ = peer.close();
    drop(late);
    Ok(report)
}

/// The checkpoints that may be gone on from.
fn marks<R: Ring>(
    config: &TrainPartyConfig,
    course: &Arc<Course>,
    checkpoints: Option<&Checkpoints>,
    events: &mut dyn Events,
) -> Result<Vec<Mark>, SessionError> {
    match (config.resume, checkpoints) {
        (true, None) => {
            Err(SessionError::Config("resume without a folder of checkpoints: set `checkpoint`".to_string()))
        }
        (true, Some(checkpoints)) => {
            let usable = |checkpoint: &Checkpoint<R>| {
                let number = checkpoint.mark.turn;
                let cursor = course.cursor_at(number, course.standing(number, &checkpoint.standing)?);
                let leg = cursor.turn().map(|turn| cursor.leg(turn)).transpose();
                leg.map(drop).map_err(|error| format!("no plan follows from where it stands: {error}"))
            };
            let (whole, refused) = checkpoints.whole::<R>(usable)?;
            if whole.is_empty()
                && let Some(reason) = refused.first()
            {
                return Err(SessionError::Config(reason.clone()));
            }
            refused.into_iter().for_each(|reason| events.notice(reason));
            Ok(whole)
        }
        (false, Some(checkpoints)) if checkpoints.any()? => Err(SessionError::Config(
            "the folder of checkpoints holds those of an earlier training: set `resume` to go on with it, or give another folder"
                .to_string(),
        )),
        _ => Ok(Vec::new()),
    }
}

/// Both get shares of P0's states: P1's are the words of a seed that P0 draws, P0's are the rest.
fn share_states<R: Ring>(
    peer: &mut Peer,
    initial: Option<Vec<Vec<R>>>,
    lens: impl Iterator<Item = usize>,
) -> Result<Vec<Vec<R>>, SessionError> {
    let mut bytes = Zeroizing::new([0; 16]);
    match &initial {
        Some(_) => {
            let seed = Seed::from_entropy()?;
            bytes.copy_from_slice(seed.expose());
            peer.send(SHARES_STEP, bytes.to_vec())?;
        }
        None => peer.recv_into(SHARES_STEP, bytes.as_mut_slice(), "the seed of its first shares")?,
    }
    let prg = Prg::new(&Seed::from_bytes(*bytes));
    let words = |(state, len): (usize, usize)| {
        let mut words = vec![R::ZERO; len];
        prg.fill(Address { kind: 0, gate: state as u32, slot: 0 }, 0, &mut words);
        words
    };
    let theirs: Vec<Vec<R>> = lens.enumerate().map(words).collect();
    let Some(mut own) = initial else { return Ok(theirs) };
    for (own, theirs) in own.iter_mut().flatten().zip(theirs.iter().flatten()) {
        *own = own.sub(*theirs);
    }
    Ok(own)
}

/// Begins to receive the material of all turns from the cursor's on: of this job, and of a training that stands at this turn.
pub(super) fn connect_dealer(
    config: &TrainPartyConfig,
    identity: &Identity,
    cursor: &Cursor,
    (job, turn): ([u8; 32], u64),
    lineage: [u8; 16],
    measured: Receiver<Vec<i32>>,
    hooks: &Hooks,
) -> Result<Arc<Inflow>, SessionError> {
    let pin = config::pin(&config.dealer.fingerprint, "the dealer")?;
    let limits = config.deadlines.limits()?;
    let mut dealer = Peer::connect(&config.dealer.address, identity, &pin, "the dealer", &limits)?;
    let mut observer = (hooks.observer)(config::role(config.role));
    dealer.tap(Box::new(move |bytes| observer.received("dealer", bytes)));
    ask(&mut dealer, (job, turn), cursor.standing(), config.role, lineage)?;
    let inflow = Inflow::new(WAITING);
    inflow.start(dealer, cursor.clone(), config.role, measured)?;
    Ok(inflow)
}

/// A party between two turns.
pub(super) struct Trainee<'a, R: Ring> {
    /// What a pair's training began with.
    pub start: Option<Vec<Vec<R>>>,
    /// What the steps of a gradient have changed so far, each from the start.
    pub gathered: Option<Vec<Vec<R>>>,
    course: &'a Course,
    cursor: Cursor,
    /// Tells the thread that receives material what was measured.
    measured: Sender<Vec<i32>>,
    party: Party,
    data: Data,
    states: Vec<Vec<R>>,
    learning: Learning,
    checkpoints: Option<Checkpoints>,
    /// Steps between checkpoints.
    every: Option<u32>,
    lineage: [u8; 16],
    /// When the last checkpoint was due, and how many steps have run since.
    written: Option<(Instant, u32)>,
    inflow: Arc<Inflow>,
    observer: Box<dyn Observer>,
    report: TrainReport,
    /// What each gate took in the steps of the first epoch's plan.
    times: Vec<GateTime>,
    /// Of all steps but the first.
    step_seconds: Duration,
    waited: Duration,
}

impl<'a, R: Ring> Trainee<'a, R> {
    /// One that writes no checkpoints.
    #[allow(clippy::too_many_arguments)]
    pub fn of_pair(
        course: &'a Course,
        cursor: Cursor,
        measured: Sender<Vec<i32>>,
        party: Party,
        data: Data,
        states: Vec<Vec<R>>,
        inflow: Arc<Inflow>,
        observer: Box<dyn Observer>,
    ) -> Self {
        let (role, job_digest) = (config::role(party).to_string(), course.job().digest_hex());
        Trainee {
            start: None,
            gathered: None,
            course,
            cursor,
            measured,
            party,
            data,
            states,
            learning: Learning::new(Default::default()),
            checkpoints: None,
            every: Some(u32::MAX),
            lineage: [0; 16],
            // None is due.
            written: Some((Instant::now(), 0)),
            inflow,
            observer,
            report: TrainReport { role, job_digest, ..TrainReport::default() },
            times: Vec::new(),
            step_seconds: Duration::ZERO,
            waited: Duration::ZERO,
        }
    }

    /// Walks a pair's turns: the states at the end, the accuracy of a test, and what it took.
    pub fn walk_pair(mut self, peer: &mut Peer, events: &mut dyn Events) -> Result<PairEnd<R>, SessionError> {
        let walked = self.turns(peer, events);
        self.inflow.abandon();
        if let Err(error) = walked {
            return Err(self.why(error));
        }
        let accuracy = self.learning.learned.epochs.last().and_then(|epoch| epoch.accuracy);
        let mut report = self.finish(0);
        report.material_bytes[self.party as usize] = self.inflow.received();
        report.waiting_bytes = self.inflow.most() as u64;
        Ok(PairEnd { states: self.states, accuracy, report })
    }

    /// Why a turn failed: what the dealer's stream ended with, where there was no material.
    fn why(&self, error: SessionError) -> SessionError {
        match error {
            SessionError::Gate { source: GateError::Sections(_), .. } | SessionError::Role { .. } => {
                self.inflow.take_failure().unwrap_or(error)
            }
            error => error,
        }
    }

    fn turns(&mut self, peer: &mut Peer, events: &mut dyn Events) -> Result<(), SessionError> {
        let began = Instant::now();
        let mut told: Option<Instant> = None;
        let [steps, _] = self.cursor.steps();
        while let Some(turn) = self.cursor.turn() {
            if told.is_none_or(|told| told.elapsed() >= WORDS) {
                told = Some(Instant::now());
                events.progress("training", self.cursor.steps()[1], steps);
            }
            let began = Instant::now();
            let head = self.inflow.next_turn().map_err(|reason| SessionError::Role {
                role: "the dealer".to_string(),
                reason: reason.to_string(),
                fault: crate::Fault::Dealer,
            })?;
            let waited = began.elapsed();
            let leg = self.cursor.leg(turn)?;
            self.compare(peer, turn, &leg, &head)?;
            let sent = self.report.bytes_sent;
            self.take(peer, turn, &leg, head, events)?;
            if let Turn::Step { .. } = turn {
                if let (Some(gathered), Some(start)) = (&mut self.gathered, &self.start) {
                    gather_step(self.course, gathered, &mut self.states, start);
                }
                self.report.steps += 1;
                self.report.step_bytes_sent += self.report.bytes_sent - sent;
                if let Some((_, steps)) = &mut self.written {
                    *steps += 1;
                }
                if self.report.steps > 1 {
                    self.step_seconds += began.elapsed();
                    self.waited += waited;
                }
            }
        }
        if self.checkpoints.is_some() && self.course.turns().reveals == 0 {
            // The trained model stays as shares, and here.
            self.keep()?;
        }
        events.progress("training", steps, steps);
        self.report.seconds = began.elapsed().as_secs_f64();
        Ok(())
    }

    /// Both must be about to use the same material for the same turn and plan. With it P1 says whether shares are written first.
    fn compare(&mut self, peer: &mut Peer, turn: Turn, leg: &Leg, head: &Head) -> Result<(), SessionError> {
        let misfit = |peer: &Peer, reason: String| SessionError::Mismatch { peer: peer.name().to_string(), reason };
        let number = self.cursor.number();
        let mut keep = self.party == Party::P1 && self.due(turn);
        let mut own = Vec::with_capacity(COMPARE);
        own.extend_from_slice(&number.to_le_bytes());
        own.extend_from_slice(&head.id.0);
        own.extend_from_slice(&leg.digest[..16]);
        own.push(u8::from(keep));
        self.report.bytes_sent += own.len() as u64;
        peer.send(COMPARE_STEP, own.clone())?;
        let mut theirs = [0; COMPARE];
        peer.recv_into(COMPARE_STEP, &mut theirs, "word about the next turn")?;
        if own[..8] != theirs[..8] {
            let turn = u64::from_le_bytes(theirs[..8].try_into().expect("8 bytes"));
            return Err(misfit(peer, format!("it is at turn {turn}, this party at turn {number}; resume both")));
        }
        if own[8..24] != theirs[8..24] {
            let reason =
                format!("it has other material for turn {number}: one of the parties has another dealer; resume both");
            return Err(misfit(peer, reason));
        }
        if own[24..40] != theirs[24..40] {
            let reason =
                format!("it has another plan for turn {number}; use the same release of the program, and resume both");
            return Err(misfit(peer, reason));
        }
        if theirs[40] > 1 || self.party == Party::P1 && theirs[40] != 0 {
            return Err(misfit(peer, "its word about the next turn has another form".to_string()));
        }
        keep |= theirs[40] == 1;
        if keep { self.keep() } else { Ok(()) }
    }

    /// Writes a checkpoint, where there is a folder for them.
    fn keep(&mut self) -> Result<(), SessionError> {
        self.written = Some((Instant::now(), 0));
        if let Some(checkpoints) = &self.checkpoints {
            // Lent for the time of writing: shares are not copied.
            let checkpoint = Checkpoint {
                mark: Mark { turn: self.cursor.number(), lineage: self.lineage },
                standing: self.cursor.standing().encode(),
                states: std::mem::take(&mut self.states),
                learned: std::mem::take(&mut self.learning.learned),
            };
            let written = checkpoints.write(&checkpoint);
            (self.states, self.learning.learned) = (checkpoint.states, checkpoint.learned);
            written?;
            self.report.checkpoints += 1;
        }
        Ok(())
    }

    /// Whether shares are written before `turn`: at the beginning, after each epoch, and in between as configured. Not among the
    /// reveals at the end, which are all made again.
    fn due(&self, turn: Turn) -> bool {
        let Some((when, steps)) = self.written else { return true };
        match turn {
            Turn::Step { batch: 0, .. } | Turn::Reveal { index: 0 } => true,
            Turn::Step { .. } => match self.every {
                Some(every) => steps >= every.max(1),
                None => when.elapsed() >= BETWEEN,
            },
            Turn::Evaluate { batch: 0, .. } => steps > 0 && self.every.is_none(),
            Turn::Measure { .. }
            | Turn::Evaluate { .. }
            | Turn::Tally { .. }
            | Turn::Reveal { .. }
            | Turn::Weigh
            | Turn::Answer => false,
        }
    }

    /// Takes one turn.
    fn take(
        &mut self,
        peer: &mut Peer,
        turn: Turn,
        leg: &Leg,
        head: Head,
        events: &mut dyn Events,
    ) -> Result<(), SessionError> {
        let Trainee { course, party, .. } = *self;
        let (plan, number) = (&leg.plan, self.cursor.number());
        if let Turn::Evaluate { batch: 0, .. } = turn {
            self.states[course.count()].fill(R::ZERO);
        }
        if turn == Turn::Weigh
            && let Some(start) = self.start.take()
        {
            match self.gathered.take() {
                Some(gathered) => self.states = gathered,
                None => subtract_start(course, &mut self.states, &start),
            }
        }
        let inputs = self.data.inputs::<R>(&self.cursor, plan, turn)?;
        let weights = AllWeights::new();
        let engine = Engine { plan, schedule: &leg.schedule, device: &Cpu, party, weights: &weights };
        let Head { id, prg, hash, .. } = head;
        let arriving = Arriving::new(self.inflow.clone(), leg.lens[party as usize].clone());
        let opened = Opened { id, dealt: Dealt::Arriving(arriving), prepared: None, prg, hash };
        let given = Given {
            inputs: [inputs[0].as_deref(), inputs[1].as_deref()],
            states: Some(&mut self.states),
            dropout: [self.cursor.seed(), self.cursor.steps()[1]],
        };
        let mut link = Link::new(peer);
        let mut others = Vec::new();
        let of_steps = matches!(turn, Turn::Step { .. }) && leg.digest == course.step().digest;
        let times = if of_steps { &mut self.times } else { &mut others };
        let result = engine.run(&opened, 0..1, given, &mut link, self.observer.as_mut(), times)?;
        self.report.bytes_sent += link.sent();
        self.cursor.pass(leg);
        match (turn, result) {
            (Turn::Measure { .. }, Some(result)) => {
                let measured = exponents(plan, &result).map_err(|error| SessionError::Diverged(error.to_string()))?;
                if let Some(reason) = self.cursor.renew(&measured) {
                    let step = self.cursor.steps()[1] + 1;
                    events.notice(format!(
                        "ranges measured before step {step} are not taken, those before stay: {reason}"
                    ));
                }
                // When that thread has ended, what it ended with is told where the next material is waited for.
                let _ = self.measured.send(measured);
            }
            (_, Some(result)) => match self.learning.note(course, number, (turn, leg), &result, events) {
                // Another pair's update may be what the model needs.
                Err(SessionError::Diverged(reason)) if self.cursor.task().is_some() => events.notice(reason),
                noted => noted?,
            },
            (_, None) => {}
        }
        Ok(())
    }

    fn finish(&mut self, first: u64) -> TrainReport {
        let timed = self.report.steps.saturating_sub(1).max(1) as f64;
        TrainReport {
            turns: self.cursor.count() - first,
            seconds_per_step: self.step_seconds.as_secs_f64() / timed,
            material_seconds_per_step: self.waited.as_secs_f64() / timed,
            gates: std::mem::take(&mut self.times),
            peak_rss_bytes: peak_rss(),
            ..std::mem::take(&mut self.report)
        }
    }
}
