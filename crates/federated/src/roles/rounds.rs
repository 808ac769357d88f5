//! One round at the server: who is there, what each phase asks of whom, what became of everybody, and the renewed model.

mod joining;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ariann_ring::Ring;
use ariann_session::events::{Event, Events};
use ariann_session::training::PairTask;
use ariann_session::{SessionError, printable};

use super::config::seconds;
use super::link::{Heard, Order, Shared};
use super::report::{OwnerReport, OwnerStatus, RoundReport};
use super::server::{LAST, Ledger, Serving};
use super::shares::{add_update, has_update};
use super::wire::{FromOwner, ToOwner};
use crate::privacy::Protection;
use crate::{
    FederatedError, FolderSpool, MOST_OWNERS, Message, Phase, Record, Refusal, Server, Who, Why, decode, encode,
};

/// Rounds without a result, one after the other, after which the training ends.
const FUTILE: u32 = 10;

/// A round that runs.
struct Play {
    number: u64,
    server: Shared,
    /// Owners that take part still.
    active: BTreeSet<u16>,
    owners: BTreeMap<u16, OwnerReport>,
    cohort: BTreeSet<u16>,
    began: Instant,
}

impl Play {
    fn server(&self) -> MutexGuard<'_, Server<FolderSpool>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leaves(&mut self, owner: u16, status: OwnerStatus, events: &mut dyn Events) {
        self.active.remove(&owner);
        let text = match &status {
            OwnerStatus::Counted | OwnerStatus::Absent => String::new(),
            OwnerStatus::Waits { why } => format!("waits: {why}"),
            OwnerStatus::Dropped { phase, why } => format!("dropped out in the phase of {phase}: {why}"),
            OwnerStatus::Refused { why } => format!("is refused: {why}"),
        };
        events.notice(format!("round {}: owner {owner} {text}", self.number));
        if let Some(report) = self.owners.get_mut(&owner) {
            report.status = status;
        }
    }
}

/// How a phase is asked.
struct Phased<'a> {
    name: &'a str,
    limit: Duration,
    /// Owners that are at it at the same time at most.
    at_once: usize,
}

fn answered<M: Message>(owner: u16, bytes: &[u8]) -> Result<M, FederatedError> {
    decode(Who::Owner(owner), MOST_OWNERS, bytes)
}

/// A report as the ledger has it.
fn kept(report: &RoundReport) -> String {
    serde_json::to_string(report).expect("a report is JSON")
}

/// An answer of another kind than the question's.
fn odd() -> FederatedError {
    FederatedError::Order("the answer is none to what was asked")
}

impl<R: Ring> Serving<'_, R> {
    /// Applies a round that was recorded when the server was killed.
    pub fn settle(&mut self) -> Result<(), SessionError> {
        let Some(last) = self.ledger.records.last().cloned() else { return Ok(()) };
        if last.round > self.position().round {
            let spool = FolderSpool::open(&self.folder(last.round))?;
            let server = Server::open(Arc::new(self.roster.clone()), self.position(), last.round, spool)?;
            self.apply(&server, &last)?;
        }
        Ok(())
    }

    /// W_S ← W_S + Σ Δ_S,i + Y, once.
    fn apply(&mut self, server: &Server<FolderSpool>, record: &Record) -> Result<(), SessionError> {
        let training = self.common.plan.training();
        let (to, folder) = (self.position().after(training, record)?, self.folder(record.round));
        #[cfg(test)]
        crate::owner::faults::applying(server, &record.survivors, &folder);
        let mut sum = vec![R::ZERO; training.values as usize];
        for owner in &record.survivors {
            add_update(&folder, *owner, &mut sum)?;
        }
        let total = server.total::<R>()?;
        let none = FederatedError::Order("a round has a result, and the model that it changes is not here");
        self.share.as_mut().ok_or(none)?.apply(to, |first, words| {
            let part = &sum[first as usize..][..words.len()];
            words.iter_mut().zip(part).for_each(|(word, part)| *word = word.add(*part));
            total.add_to(first, words)
        })?;
        std::fs::remove_dir_all(&folder).map_err(|source| SessionError::file("removing", folder, source))
    }

    /// What was spent so far.
    fn protection(&self) -> Protection {
        let Ledger { records, lost, .. } = &self.ledger;
        self.common.plan.protection(records.len() as u32, lost.len() as u32)
    }

    /// Ends the training where differential privacy leaves no round, and tells those who are there.
    fn check_spent(&mut self, events: &mut dyn Events) -> Result<(), SessionError> {
        let (rounds, lost) = (self.ledger.records.len() as u64, &self.ledger.lost);
        let Err(error) = self.common.plan.has_round(rounds, lost) else { return Ok(()) };
        for at in self.owners.values() {
            let _ = at.tell.send(Order::Ask(ToOwner::Refused(error.to_string())));
        }
        let until = Instant::now() + LAST;
        while !self.owners.is_empty()
            && let Ok(heard) = self.hear.recv_timeout(until.saturating_duration_since(Instant::now()))
        {
            if let Some(Heard::Gone { link, .. }) = self.note(heard, events)
                && let Some(owner) = self.owner_of(link)
            {
                self.owners.remove(&owner);
            }
        }
        Err(error)
    }

    /// Plays rounds until one has a result.
    pub fn round(&mut self, events: &mut dyn Events) -> Result<(), SessionError> {
        for _ in 0..FUTILE {
            if self.attempt(events)? {
                return Ok(());
            }
        }
        let reason = format!("{FUTILE} rounds one after the other ended without a result; look at the owners");
        Err(SessionError::Config(reason))
    }

    fn attempt(&mut self, events: &mut dyn Events) -> Result<bool, SessionError> {
        let last = self.ledger.records.last().map_or(0, |record| record.round);
        let goes_on = self.ledger.begun > last && self.folder(self.ledger.begun).join("state").exists();
        self.wait_for_owners(events)?;
        if !goes_on {
            self.check_spent(events)?;
            self.ledger.begun += 1;
            self.save()?;
        }
        let number = self.ledger.begun;
        if goes_on {
            events.notice(format!("goes on with round {number}"));
        }
        let spool = FolderSpool::open(&self.folder(number))?;
        let server = Server::open(Arc::new(self.roster.clone()), self.position(), number, spool)?;
        let of = |owner| OwnerReport { owner, status: OwnerStatus::Absent, rows: 0, seconds: 0.0, bytes: 0 };
        let mut play = Play {
            number,
            server: Arc::new(Mutex::new(server)),
            active: self.owners.keys().copied().filter(|owner| !self.barred.contains_key(owner)).collect(),
            owners: self.roster.owners().map(|owner| (owner, of(owner))).collect(),
            cohort: BTreeSet::new(),
            began: Instant::now(),
        };
        for (owner, why) in &self.barred {
            if let Some(report) = play.owners.get_mut(owner) {
                report.status = OwnerStatus::Refused { why: why.clone() };
            }
        }
        let before: BTreeMap<u16, u64> =
            self.owners.iter().map(|(owner, at)| (*owner, at.bytes.load(Ordering::Relaxed))).collect();
        let result = self.play(&mut play, events);
        for (owner, report) in &mut play.owners {
            let now = self.owners.get(owner).map_or(0, |at| at.bytes.load(Ordering::Relaxed));
            report.bytes = now.saturating_sub(before.get(owner).copied().unwrap_or(0));
        }
        let mut report = RoundReport {
            round: number,
            cohort: Vec::new(),
            survivors: Vec::new(),
            owners: Vec::new(),
            accuracy: None,
            privacy: self.protection(),
            seconds: 0.0,
            failed: None,
        };
        let record = match result {
            Ok(record) => record,
            Err(SessionError::Role { reason, .. }) => {
                events.notice(reason.clone());
                for (owner, why) in &self.barred {
                    if let Some(report) = play.owners.get_mut(owner) {
                        report.status = OwnerStatus::Refused { why: why.clone() };
                    }
                }
                report.failed = Some(reason);
                report.seconds = play.began.elapsed().as_secs_f64();
                // Shares that were released cannot be taken back.
                if play.server().phase() >= Phase::Releases {
                    #[cfg(test)]
                    let quiet = crate::owner::faults::quiet(self.roster.digest());
                    #[cfg(not(test))]
                    let quiet = false;
                    if !quiet {
                        self.ledger.lost.insert(number);
                    }
                    report.privacy = self.protection();
                    if self.common.plan.guard().is_some() {
                        events.notice(format!("round {number}: differential privacy: {}", report.privacy));
                    }
                }
                report.owners = play.owners.into_values().collect();
                self.ledger.reports.push(kept(&report));
                self.save()?;
                let folder = self.folder(number);
                std::fs::remove_dir_all(&folder).map_err(|source| SessionError::file("removing", folder, source))?;
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        for owner in &record.survivors {
            if let Some(report) = play.owners.get_mut(owner) {
                report.status = OwnerStatus::Counted;
            }
        }
        report.survivors = record.survivors.clone();
        report.cohort = play.cohort.iter().copied().collect();
        self.ledger.records.push(record.clone());
        let done = self.ledger.records.len() as u32;
        report.privacy = self.protection();
        report.seconds = play.began.elapsed().as_secs_f64();
        report.owners = play.owners.values().cloned().collect();
        // What is reported goes with the record: a server that is killed before the test has it all the same.
        self.ledger.accuracies.resize(self.ledger.records.len(), None);
        self.ledger.reports.push(kept(&report));
        self.save()?;
        self.apply(&play.server(), &record)?;
        report.seconds = play.began.elapsed().as_secs_f64();
        report.accuracy = self.test(&mut play, events)?;
        *self.ledger.accuracies.last_mut().expect("a record was added") = report.accuracy;
        let counted: Vec<String> = report.survivors.iter().map(u16::to_string).collect();
        events.notice(format!("round {number}: counted owners {}", counted.join(", ")));
        if self.common.plan.guard().is_some() {
            events.notice(format!("round {number}: differential privacy: {}", report.privacy));
        }
        if report.accuracy.is_some() {
            events.tell(Event::Epoch { epoch: done, accuracy: report.accuracy, loss: None });
        }
        *self.ledger.reports.last_mut().expect("it was added") = kept(&report);
        self.save()?;
        Ok(true)
    }

    fn wait_for_owners(&mut self, events: &mut dyn Events) -> Result<(), SessionError> {
        let deadline = &self.config.deadline;
        let (join, patience) =
            (seconds(deadline.join, "deadline.join")?, seconds(deadline.patience, "deadline.patience")?);
        let threshold = usize::from(self.common.plan.training().threshold);
        let least = self.config.least.map_or(threshold, usize::from).max(threshold);
        let (all, began) = (self.roster.owners().count(), Instant::now());
        loop {
            let (there, waited) = (self.owners.len(), began.elapsed());
            let brings = |owner: &u16| self.share.is_some() || self.owners.contains_key(owner);
            let model = self.common.plan.federation.initial.iter().all(brings);
            if model && (there == all || there >= least && waited >= join) {
                return Ok(());
            }
            if waited >= patience {
                let reason = match model {
                    true => format!("{there} of at least {least} owners came within {patience:?}: start the others"),
                    false => format!("the owner that brings the model did not come within {patience:?}: start it"),
                };
                return Err(SessionError::Config(reason));
            }
            let next = if there >= least && model { join } else { patience };
            if let Ok(heard) = self.hear.recv_timeout(next.saturating_sub(waited))
                && let Some(Heard::Gone { link, error }) = self.note(heard, events)
                && let Some(owner) = self.owner_of(link)
            {
                events.notice(format!("owner {owner} has gone: {error}"));
                self.owners.remove(&owner);
            }
        }
    }

    /// Gives orders to owners, and hears them out: who answers in time and rightly stays in the round.
    fn gather(
        &mut self,
        play: &mut Play,
        phase: &Phased<'_>,
        orders: Vec<(u16, Order<R>)>,
        events: &mut dyn Events,
        mut take: impl FnMut(u16, Heard<R>) -> Result<(), FederatedError>,
    ) -> Result<(), SessionError> {
        let mut orders: VecDeque<_> = orders.into();
        let mut pending: BTreeMap<u16, (u64, Instant)> = BTreeMap::new();
        let dropped = |why: String| OwnerStatus::Dropped { phase: phase.name.to_string(), why };
        loop {
            while pending.len() < phase.at_once
                && let Some((owner, order)) = orders.pop_front()
            {
                let there = self.owners.get(&owner).filter(|at| at.tell.send(order).is_ok());
                match there {
                    Some(at) => drop(pending.insert(owner, (at.link, Instant::now() + phase.limit))),
                    None => play.leaves(owner, dropped("its connection is gone".to_string()), events),
                }
            }
            let Some(until) = pending.values().map(|(_, until)| *until).min() else { return Ok(()) };
            let heard = self.hear.recv_timeout(until.saturating_duration_since(Instant::now()));
            let now = Instant::now();
            let late: Vec<u16> = pending.iter().filter(|(_, (_, until))| *until <= now).map(|(it, _)| *it).collect();
            let heard = heard.ok().and_then(|heard| self.note(heard, events));
            // One that came again lost the connection that it was asked on.
            let link_now = |at: &Self, owner: &u16| at.owners.get(owner).map(|at| at.link);
            let anew: Vec<u16> =
                pending.iter().filter(|(it, (link, _))| link_now(self, it) != Some(*link)).map(|(it, _)| *it).collect();
            for owner in anew {
                pending.remove(&owner);
                play.leaves(owner, dropped("it was cut off".to_string()), events);
            }
            if let Some(heard) = heard {
                let link = match &heard {
                    Heard::Answer { link, .. }
                    | Heard::Updated { link, .. }
                    | Heard::Fetched { link, .. }
                    | Heard::Tested { link, .. }
                    | Heard::Gone { link, .. } => *link,
                    Heard::Came(_) => unreachable!("it was noted"),
                };
                let Some(owner) = self.owner_of(link) else { continue };
                let asked = pending.remove(&owner).is_some();
                match heard {
                    Heard::Gone { error, .. } => {
                        self.owners.remove(&owner);
                        let status = match error {
                            SessionError::Mismatch { reason, .. } => OwnerStatus::Refused { why: reason },
                            error => dropped(error.to_string()),
                        };
                        if play.active.contains(&owner) {
                            play.leaves(owner, status, events);
                        }
                    }
                    Heard::Answer { answer: FromOwner::Refuses(why) | FromOwner::Absent(why), .. } if asked => {
                        let why = printable(&why);
                        play.leaves(owner, OwnerStatus::Waits { why }, events);
                    }
                    heard if asked => match take(owner, heard) {
                        Ok(()) => {}
                        Err(FederatedError::Refused(refusal)) => {
                            play.leaves(owner, OwnerStatus::Refused { why: refusal.why.to_string() }, events);
                        }
                        Err(error @ FederatedError::Order(_)) => {
                            self.owners.remove(&owner);
                            play.leaves(owner, OwnerStatus::Refused { why: error.to_string() }, events);
                        }
                        Err(error) => return Err(error.into()),
                    },
                    _ => {}
                }
            }
            for owner in late {
                if pending.remove(&owner).is_some() {
                    // Its thread ends by itself; the owner comes back by another connection.
                    self.owners.remove(&owner);
                    play.leaves(owner, dropped("it gave no answer before the deadline".to_string()), events);
                }
            }
        }
    }

    /// Asks all who take part the same.
    fn ask(
        &mut self,
        play: &mut Play,
        name: &str,
        events: &mut dyn Events,
        message: impl Fn(u16) -> Option<ToOwner>,
        take: impl FnMut(u16, Heard<R>) -> Result<(), FederatedError>,
    ) -> Result<(), SessionError> {
        let limit = seconds(self.config.deadline.phase, "deadline.phase")?;
        let orders = play.active.iter().filter_map(|owner| Some((*owner, Order::Ask(message(*owner)?))));
        let orders = orders.collect();
        self.gather(play, &Phased { name, limit, at_once: usize::MAX }, orders, events, take)
    }

    /// All phases, from the one on that the round stands in.
    fn play(&mut self, play: &mut Play, events: &mut dyn Events) -> Result<Record, SessionError> {
        let server = play.server.clone();
        let server = || server.lock().unwrap_or_else(PoisonError::into_inner);
        self.begin(play, events)?;
        self.fetch_initial(play, events)?;
        if server().phase() == Phase::Adverts {
            self.ask(
                play,
                "keys",
                events,
                |_| Some(ToOwner::Advertise),
                |owner, heard| match heard {
                    Heard::Answer { answer: FromOwner::Advert(bytes), .. } => {
                        server().advert(owner, answered(owner, &bytes)?).map(drop)
                    }
                    _ => Err(odd()),
                },
            )?;
            let (_, refused) = server().close_adverts().map_err(ended)?;
            for refusal in refused {
                if let Who::Owner(owner) = refusal.who {
                    play.leaves(owner, OwnerStatus::Refused { why: refusal.why.to_string() }, events);
                }
            }
        }
        for (owner, rows) in server().rows() {
            if let Some(report) = play.owners.get_mut(&owner) {
                report.rows = rows;
            }
        }
        let candidates = server().candidates()?;
        play.active.retain(|owner| candidates.adverts.iter().any(|advert| advert.owner == *owner));
        let candidates = encode(&candidates);
        self.ask(
            play,
            "shares",
            events,
            |_| Some(ToOwner::Candidates(candidates.clone())),
            |owner, heard| match heard {
                Heard::Answer { answer: FromOwner::Shares(bytes), .. } => {
                    server().shares(owner, answered(owner, &bytes)?).map(drop)
                }
                _ => Err(odd()),
            },
        )?;
        if server().phase() == Phase::Shares {
            server().close_shares().map_err(ended)?;
        }
        let of_cohort = |owner: &u16| server().relay(*owner).is_ok();
        let cohort: BTreeSet<u16> = play.owners.keys().copied().filter(of_cohort).collect();
        play.active.retain(|owner| cohort.contains(owner));
        play.cohort.clone_from(&cohort);
        let mut complaints = Vec::new();
        let relay = |owner| server().relay(owner).ok().map(|relay| ToOwner::Relay(encode(&relay)));
        self.ask(play, "cohort", events, relay, |owner, heard| match heard {
            Heard::Answer { answer: FromOwner::Taken(refused), .. } => {
                server().taken(owner, &refused.iter().map(|(of, _)| *of).collect::<Vec<_>>())?;
                let told = refused.iter().map(|(_, why)| format!("owner {owner} says: {}", printable(why)));
                complaints.extend(told);
                Ok(())
            }
            _ => Err(odd()),
        })?;
        complaints.into_iter().for_each(|text| events.notice(text));
        if server().phase() == Phase::Updates {
            let checked = server().check_boxes();
            checked.map_err(|error| self.bars(error))?;
            self.train(play, &cohort, events)?;
            server().close_updates().map_err(ended)?;
        }
        let survivors = server().survivors()?;
        play.active.retain(|owner| survivors.survivors.contains(owner));
        let survivors = encode(&survivors);
        let message = |_| Some(ToOwner::Survivors(survivors.clone()));
        self.ask(play, "signatures", events, message, |owner, heard| match heard {
            Heard::Answer { answer: FromOwner::Echo(bytes), .. } => {
                server().echo(owner, answered(owner, &bytes)?).map(drop)
            }
            _ => Err(odd()),
        })?;
        if server().phase() == Phase::Echoes {
            server().close_echoes().map_err(ended)?;
        }
        if server().phase() == Phase::Releases {
            self.take_releases(play, events)?;
            let closed = server().close_releases();
            return closed.map_err(|error| self.bars(error));
        }
        Ok(server().record()?)
    }

    /// Takes shares of the survivors. What some have released cannot be taken back, so those that were cut off meanwhile are asked
    /// again, if they come back in time.
    fn take_releases(&mut self, play: &mut Play, events: &mut dyn Events) -> Result<(), SessionError> {
        let until = Instant::now() + seconds(self.config.deadline.phase, "deadline.phase")?;
        let (shared, mut tried) = (play.server.clone(), BTreeSet::new());
        let server = || shared.lock().unwrap_or_else(PoisonError::into_inner);
        let echoes = encode(&server().echoes()?);
        let survivors = server().survivors()?.survivors;
        loop {
            let arrived = server().arrived()?;
            tried.extend(play.active.iter().filter_map(|owner| Some(self.owners.get(owner)?.link)));
            let message = |owner| (!arrived.contains(&owner)).then(|| ToOwner::Echoes(echoes.clone()));
            self.ask(play, "releases", events, message, |owner, heard| match heard {
                Heard::Answer { answer: FromOwner::Release(bytes), .. } => {
                    server().release(owner, answered(owner, &bytes)?).map(drop)
                }
                _ => Err(odd()),
            })?;
            loop {
                if server().is_enough() {
                    return Ok(());
                }
                let arrived = server().arrived()?;
                let missing = survivors.iter().filter(|owner| !arrived.contains(owner));
                // Who is there and does not give its shares need not be waited for.
                let refuses = |owner: &&u16| self.owners.get(owner).is_some_and(|at| tried.contains(&at.link));
                if missing.clone().all(|owner| refuses(&owner)) {
                    return Ok(());
                }
                let back = missing.filter(|owner| self.owners.get(owner).is_some_and(|at| !tried.contains(&at.link)));
                let back: Vec<u16> = back.copied().collect();
                if !back.is_empty() {
                    play.active.extend(back);
                    break;
                }
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Ok(());
                }
                if let Ok(heard) = self.hear.recv_timeout(left)
                    && let Some(Heard::Gone { link, .. }) = self.note(heard, events)
                    && let Some(owner) = self.owner_of(link)
                {
                    self.owners.remove(&owner);
                }
            }
        }
    }

    /// Bars an owner whose fault has ended a round.
    fn bars(&mut self, error: FederatedError) -> SessionError {
        if let FederatedError::Refused(Refusal { who: Who::Owner(owner), why }) = &error
            && ends_a_round(why)
        {
            self.barred.insert(*owner, why.to_string());
        }
        ended(error)
    }

    fn one(
        &mut self,
        play: &mut Play,
        name: &str,
        order: Vec<(u16, Order<R>)>,
        events: &mut dyn Events,
        take: impl FnMut(u16, Heard<R>) -> Result<(), FederatedError>,
    ) -> Result<(), SessionError> {
        let limit = seconds(self.config.deadline.phase, "deadline.phase")?;
        self.gather(play, &Phased { name, limit, at_once: 1 }, order, events, take)
    }

    /// Trains with all of the cohort who are there, and takes their updates in.
    fn train(&mut self, play: &mut Play, cohort: &BTreeSet<u16>, events: &mut dyn Events) -> Result<(), SessionError> {
        let rows: Vec<(u16, u64)> = play.server().rows();
        let rows: Vec<(u16, u64)> = rows.into_iter().filter(|(owner, _)| cohort.contains(owner)).collect();
        let arrived = play.server().arrived()?;
        let words = Arc::new(self.words()?);
        let (done, round, folder) = (self.ledger.records.len() as u32, play.number, self.folder(play.number));
        let mut orders = Vec::new();
        for owner in play.active.iter().filter(|owner| !(arrived.contains(owner) && has_update(&folder, **owner))) {
            let task = self.common.plan.task(*owner, round, done, &rows)?;
            let (words, server, folder) = (words.clone(), play.server.clone(), folder.clone());
            orders.push((*owner, Order::Train { done, round, task, words, server, folder }));
        }
        let limit = seconds(self.config.deadline.training, "deadline.training")?;
        let at_once = self.config.pairs.max(1);
        let (mut took, mut material) = (Vec::new(), 0);
        self.gather(play, &Phased { name: "training", limit, at_once }, orders, events, |owner, heard| match heard {
            Heard::Updated { seconds, material: bytes, .. } => {
                took.push((owner, seconds));
                material += bytes;
                Ok(())
            }
            _ => Err(odd()),
        })?;
        self.report.material_bytes += material;
        for (owner, seconds) in took {
            if let Some(report) = play.owners.get_mut(&owner) {
                report.seconds = seconds;
            }
        }
        Ok(())
    }

    /// The accuracy of the renewed model, with the first owner that brings a test set and agrees.
    fn test(&mut self, play: &mut Play, events: &mut dyn Events) -> Result<Option<f64>, SessionError> {
        let course = &self.common.plan.course;
        if course.job().reveals.accuracy.is_none() {
            return Ok(None);
        }
        let task = PairTask::Test { round: self.ledger.records.len() as u32 };
        let words = Arc::new(self.words()?);
        let able: Vec<u16> = self.owners.iter().filter(|(_, at)| at.hello.tests).map(|(owner, _)| *owner).collect();
        let limit = seconds(self.config.deadline.training, "deadline.training")?;
        for owner in able {
            let past = self.past(self.owners.get(&owner).map_or(0, |at| at.hello.round));
            let order = Order::Test { past, task, words: words.clone() };
            let mut told = None;
            // What becomes of it here does not change what became of it in the round.
            let statuses = play.owners.clone();
            self.gather(
                play,
                &Phased { name: "test", limit, at_once: 1 },
                vec![(owner, order)],
                events,
                |_, heard| match heard {
                    Heard::Tested { accuracy: tested, .. } => {
                        told = Some(tested);
                        Ok(())
                    }
                    _ => Err(odd()),
                },
            )?;
            play.owners = statuses;
            if let Some(accuracy) = told {
                if accuracy.is_none() {
                    events.notice(
                        "the test gave no number that a test set can have: the model has left the ranges of the job. A lower learning \
                         rate, less noise where noise is added, other ranges or the 64-bit ring would have kept it"
                    );
                }
                let round = self.position().round;
                if let Some(at) = self.owners.get_mut(&owner) {
                    at.hello.round = round;
                }
                return Ok(accuracy);
            }
        }
        events.notice(
            "nobody who is there tests the model: no owner brings the test set and agrees to reveal the accuracy",
        );
        Ok(None)
    }
}

/// Too few owners end a round, not the training; nor does one that dealt shares which give another secret than it announced.
fn ended(error: FederatedError) -> SessionError {
    match error {
        error @ FederatedError::Refused(_) if !error.refusal().is_some_and(|it| ends_a_round(&it.why)) => error.into(),
        FederatedError::BelowThreshold { .. } | FederatedError::Unshared { .. } | FederatedError::Refused(_) => {
            SessionError::Role {
                role: "the round".to_string(),
                reason: error.to_string(),
                fault: ariann_session::Fault::Peer,
            }
        }
        error => error.into(),
    }
}

fn ends_a_round(why: &Why) -> bool {
    matches!(why, Why::Secret | Why::Boxes { .. })
}
