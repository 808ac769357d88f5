//! The server: holds W_S, lets owners in, plays the rounds, and goes on where it was when it was killed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use ariann_net::{Allowed, Fingerprint, Listener, NetError, Peer};
use ariann_plan::training::encode_states;
use ariann_ring::Ring;
use ariann_session::config::{pin, threads};
use ariann_session::events::{Event, Events};
use ariann_session::hooks::Hooks;
use ariann_session::report::peak_rss;
use ariann_session::training::initial_states;
use ariann_session::{SessionError, hold, printable};
use serde::{Deserialize, Serialize};

use super::config::{FederateServerConfig, patient, seconds};
use super::dealer::name;
use super::federation::Federation;
use super::link::{self, Common, Heard, Order};
use super::report::{FederateReport, cpu_seconds, cpu_since};
use super::reveal::{self, Reveal};
use super::seats;
use super::shares::whole;
use super::wire::{Ask, FromOwner, Hello, Past, ToOwner};
use crate::{
    Closing, FederatedError, Keep, KeepFile, MOST_OWNERS, ModelShare, Position, Record, Roster, Training, Who, decode,
    derive, encode,
};

/// How long one call of accept waits.
const ACCEPT: Duration = Duration::from_millis(100);
/// How long an owner may take for its last word.
pub(crate) const LAST: Duration = Duration::from_secs(30);

/// What the server must remember beside its share: written before a round begins, and before a round is applied.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Ledger {
    /// The last round that was begun.
    pub begun: u64,
    /// The last epoch whose group key an owner had.
    pub drawn: u32,
    /// Rounds with a result.
    pub records: Vec<Record>,
    /// Rounds without one that ended when shares had been asked for.
    pub lost: BTreeSet<u64>,
    /// Certificates of all owners, present and former, by their fingerprints.
    pub certificates: BTreeMap<[u8; 32], Vec<u8>>,
    /// Owners' words that the training has ended.
    pub closings: Vec<Closing>,
    /// What was revealed after them.
    pub accuracies: Vec<Option<f64>>,
    /// A report of every round, as JSON.
    pub reports: Vec<String>,
}

/// An owner that is connected.
pub(crate) struct Connected<R> {
    pub link: u64,
    pub hello: Hello,
    pub tell: Sender<Order<R>>,
    /// Payload bytes of the connection so far.
    pub bytes: Arc<AtomicU64>,
}

/// The server between two words of its owners.
pub(crate) struct Serving<'a, R: Ring> {
    pub config: &'a FederateServerConfig,
    pub common: Arc<Common>,
    pub roster: Roster,
    /// None before the owner that brings the model has brought it.
    pub share: Option<ModelShare<R>>,
    /// The model that the server was given.
    original: Option<Vec<u8>>,
    pub ledger: Ledger,
    keep: KeepFile,
    pub owners: BTreeMap<u16, Connected<R>>,
    /// Owners whose fault ended a round, with what it was: they take no part until the server is started again.
    pub barred: BTreeMap<u16, String>,
    pub hear: Receiver<Heard<R>>,
    pub report: FederateReport,
}

/// Serves a federated training to its end.
pub fn serve(
    config: &FederateServerConfig,
    hooks: &Hooks,
    events: &mut dyn Events,
) -> Result<FederateReport, SessionError> {
    threads(config.threads)?;
    let federation = Federation::read(&config.federation)?;
    match federation.job.choices.ring {
        32 => run::<u32>(config, federation, hooks, events),
        _ => run::<u64>(config, federation, hooks, events),
    }
}

fn run<R: Ring>(
    config: &FederateServerConfig,
    federation: Federation,
    hooks: &Hooks,
    events: &mut dyn Events,
) -> Result<FederateReport, SessionError> {
    let (began, plan, identity) = (Instant::now(), federation.plan()?, config.identity.load()?);
    if identity.fingerprint() != pin(&plan.federation.server, "the server")? {
        return Err(SessionError::Config("this identity is not the federation's server".to_string()));
    }
    reveal::consent(plan.federation.reveal, &config.allow)?;
    let original = reveal::original(&plan, config.model.as_deref(), plan.federation.initial.is_none())?;
    let state = &config.state;
    std::fs::create_dir_all(state).map_err(|source| SessionError::file("creating", state, source))?;
    let _held = hold(state)?;
    let path = state.join("model");
    let share = match path.exists() {
        true => Some(ModelShare::open(&path, plan.training())?),
        false if plan.federation.initial.is_some() => None,
        false => {
            let none = || SessionError::Config("the server brings the model to begin with: set `model`".to_string());
            let states = initial_states(&plan.course, original.as_deref().ok_or_else(none)?)?;
            let states = encode_states::<R>(&plan.course.step().plan, &states);
            let words = plan.words(&states.map_err(|error| SessionError::ModelPlan(error.to_string()))?);
            Some(keep_share(&path, plan.training(), &words)?)
        }
    };
    let applied = share.as_ref().map_or(0, |share| share.position().round);
    let changed = seats::take(state, &plan.federation, open_round(state, applied))?;
    changed.into_iter().for_each(|text| events.notice(text));
    let keep = KeepFile::at(&state.join("ledger"));
    let ledger = match keep.load()? {
        None => Ledger::default(),
        Some(bytes) => postcard::from_bytes(&bytes)
            .map_err(|_| SessionError::Config(format!("{}: it is no ledger of this release", state.display())))?,
    };
    let mut allowed = Vec::new();
    for owner in &plan.federation.owners {
        allowed.push(Allowed { name: name(owner.number), pin: pin(&owner.fingerprint, "an owner")? });
    }
    // An owner that lets all others wait is given up.
    let stall = seconds(config.deadline.training, "deadline.training")?;
    let limits = ariann_net::Limits { stall, ..config.deadlines.limits()? };
    let mut listener = Listener::bind(&config.listen, &identity, &allowed, &limits)?;
    events.tell(Event::Listening { address: listener.local_addr()? });
    events.notice(plan.privacy_text());
    let dealer = (config.dealer.clone(), pin(&plan.federation.dealer, "the dealer")?);
    let mut roster = plan.roster.clone();
    let limits = patient(&config.deadlines)?;
    let common = Arc::new(Common { plan, identity, dealer, limits, hooks: hooks.clone() });
    ledger.certificates.values().for_each(|der| roster.acquaint(der));
    let (say, hear) = channel();
    let over = Arc::new(AtomicBool::new(false));
    let accepting = {
        let (common, over) = (common.clone(), over.clone());
        std::thread::spawn(move || {
            let mut links = 0;
            while !over.load(Ordering::Relaxed) {
                match listener.accept(ACCEPT) {
                    Ok(peer) => {
                        links += 1;
                        admit(&common, peer, links, &say);
                    }
                    Err(NetError::PeerGone { .. }) => {}
                    Err(_) => std::thread::sleep(ACCEPT),
                }
            }
        })
    };
    let report = FederateReport { role: "server".to_string(), ..FederateReport::default() };
    let mut serving = Serving {
        config,
        common,
        roster,
        share,
        ledger,
        keep,
        owners: BTreeMap::new(),
        barred: BTreeMap::new(),
        hear,
        report,
        original,
    };
    let worked = cpu_seconds();
    let served = serving.rounds(events);
    let ended = served.and_then(|played| serving.end(played, events));
    over.store(true, Ordering::Relaxed);
    ended?;
    let _ = accepting.join();
    let mut report = serving.report;
    let rounds = serving.ledger.reports.iter().map(|round| serde_json::from_str(round).ok());
    report.rounds = rounds.collect::<Option<_>>().unwrap_or_default();
    report.accuracies = serving.ledger.accuracies;
    report.took_part = serving.ledger.records.len() as u32;
    report.paused = report.took_part < serving.common.plan.federation.rounds;
    let lost = serving.ledger.lost.len() as u32;
    report.privacy = Some(serving.common.plan.protection(report.took_part, lost));
    report.seconds = began.elapsed().as_secs_f64();
    report.cpu_seconds = cpu_since(worked);
    report.peak_rss_bytes = peak_rss();
    Ok(report)
}

/// Writes the server's first share of the model.
pub(crate) fn keep_share<R: Ring>(
    path: &Path,
    training: &Training,
    words: &[R],
) -> Result<ModelShare<R>, FederatedError> {
    ModelShare::create(path, training, |first, chunk: &mut [R]| {
        chunk.copy_from_slice(&words[first as usize..][..chunk.len()]);
        Ok(())
    })
}

/// A round that was begun and has not ended: it belongs to the owners that it was begun with.
fn open_round(state: &Path, applied: u64) -> Option<u64> {
    let folders = std::fs::read_dir(state).ok()?.filter_map(Result::ok);
    let rounds = folders.filter(|folder| folder.path().join("state").exists());
    let number = |name: &str| name.strip_prefix("round-")?.parse().ok();
    rounds.filter_map(|folder| number(folder.file_name().to_str()?)).find(|round| *round > applied)
}

fn admit<R: Ring>(common: &Arc<Common>, mut peer: Peer, link: u64, say: &Sender<Heard<R>>) {
    let mut observer = (common.hooks.observer)("server");
    let from = peer.name().to_string();
    peer.tap(Box::new(move |bytes| observer.received(&from, bytes)));
    let (common, say) = (common.clone(), say.clone());
    std::thread::spawn(move || link::run(&common, peer, link, &say));
}

impl<R: Ring> Serving<'_, R> {
    /// Plays rounds until there are as many results as the federation wants, or as this start is to see. False when there were
    /// already.
    fn rounds(&mut self, events: &mut dyn Events) -> Result<bool, SessionError> {
        self.settle()?;
        let (rounds, mut played) = (self.common.plan.federation.rounds, false);
        let until = self.config.until.map_or(rounds, |until| until.min(rounds));
        loop {
            let done = self.ledger.records.len() as u32;
            events.progress("rounds", u64::from(done), u64::from(rounds));
            if done >= until {
                return Ok(played);
            }
            self.round(events)?;
            played = true;
        }
    }

    /// Where its share of the model stands.
    pub fn position(&self) -> Position {
        self.share.as_ref().map_or(Position::start(self.common.plan.training()), ModelShare::position)
    }

    /// All words of its share of the model.
    pub fn words(&self) -> Result<Vec<R>, FederatedError> {
        let none = FederatedError::Order("the model to begin with is not here yet");
        whole(self.share.as_ref().ok_or(none)?, self.common.plan.training())
    }

    /// The folder of a round.
    pub fn folder(&self, round: u64) -> PathBuf {
        self.config.state.join(format!("round-{round}"))
    }

    /// Writes the ledger.
    pub fn save(&mut self) -> Result<(), FederatedError> {
        self.keep.save(&derive::canonical(&self.ledger))
    }

    /// What an owner is told that stands at a round.
    pub fn past(&self, round: u64) -> Past {
        Past {
            records: self.ledger.records.iter().filter(|record| record.round > round).map(encode).collect(),
            certificates: self.ledger.certificates.values().cloned().collect(),
            lost: self.ledger.lost.iter().copied().collect(),
        }
    }

    /// Notes who came and who went. The rest is the caller's.
    pub fn note(&mut self, heard: Heard<R>, events: &mut dyn Events) -> Option<Heard<R>> {
        match heard {
            Heard::Came(came) => {
                let (owner, link) = (came.owner, came.link);
                match self.roster.introduce(owner, &came.hello.certificate) {
                    Ok(()) => {
                        let pin = *Fingerprint::of_certificate(&came.hello.certificate).as_bytes();
                        self.ledger.certificates.insert(pin, came.hello.certificate.clone());
                        events.notice(format!("owner {owner} is there"));
                        // An older connection of it ends with its sender.
                        self.owners
                            .insert(owner, Connected { link, hello: came.hello, tell: came.tell, bytes: came.bytes });
                    }
                    Err(error) => events.notice(error.to_string()),
                }
                None
            }
            other => Some(other),
        }
    }

    /// The owner of a connection that is still the owner's own.
    pub fn owner_of(&self, link: u64) -> Option<u16> {
        self.owners.iter().find(|(_, connected)| connected.link == link).map(|(owner, _)| *owner)
    }

    /// Tells all owners that the training has ended, or pauses, and the dealer; and reveals the model to whom it is revealed.
    /// Owners that are not there are waited for when they are to learn the model, or when this start is for them alone.
    fn end(&mut self, played: bool, events: &mut dyn Events) -> Result<(), SessionError> {
        let federation = &self.common.plan.federation;
        let paused = (self.ledger.records.len() as u32) < federation.rounds;
        let reveal = federation.reveal.filter(|_| !paused);
        let wait = match reveal.is_some() || !played {
            true => seconds(self.config.deadline.join, "deadline.join")?,
            false => Duration::ZERO,
        };
        let until = Instant::now() + wait;
        if reveal.is_some() {
            self.close(until, events)?;
        }
        let closings: Vec<Vec<u8>> = self.ledger.closings.iter().map(encode).collect();
        if reveal.is_some_and(Reveal::to_server) {
            self.learn(&closings, until, events)?;
        }
        let model = reveal.is_some_and(Reveal::to_owners);
        let words = model.then(|| self.words().map(Arc::new)).transpose()?;
        let limit = if model { seconds(self.config.deadline.training, "deadline.training")? } else { LAST };
        let all: BTreeSet<u16> = self.roster.owners().collect();
        let mut told = BTreeSet::new();
        let mut asked: BTreeMap<u64, (u16, Instant)> = BTreeMap::new();
        loop {
            let now = Instant::now();
            // Whoever gave no last word has had its time.
            asked.retain(|_, (owner, until)| {
                let late = *until <= now;
                if late {
                    self.owners.remove(owner);
                }
                !late
            });
            for (owner, at) in self.owners.iter().filter(|(owner, _)| !told.contains(*owner)) {
                if asked.contains_key(&at.link) {
                    continue;
                }
                let past = self.past(at.hello.round.min(self.position().round));
                let accuracies = self.ledger.accuracies.clone();
                let message = ToOwner::End { past, accuracies, paused, closings: model.then(|| closings.clone()) };
                if at.tell.send(Order::End { message, words: words.clone() }).is_ok() {
                    asked.insert(at.link, (*owner, now + limit));
                }
            }
            if asked.is_empty() && (told == all || now >= until) {
                break;
            }
            let next = asked.values().map(|(_, until)| *until).min().unwrap_or(until);
            let Ok(heard) = self.hear.recv_timeout(next.saturating_duration_since(now)) else { continue };
            match self.note(heard, events) {
                Some(Heard::Answer { link, answer: FromOwner::Joins }) => {
                    told.extend(asked.remove(&link).map(|(owner, _)| owner));
                }
                Some(Heard::Answer { link, .. } | Heard::Gone { link, .. }) => {
                    asked.remove(&link);
                    if let Some(owner) = self.owner_of(link) {
                        self.owners.remove(&owner);
                    }
                }
                _ => {}
            }
        }
        let away: Vec<String> = all.difference(&told).map(u16::to_string).collect();
        if !away.is_empty() && !paused {
            let away = away.join(", ");
            events.notice(format!("owner {away} was not there at the end; start the server again to tell it"));
        }
        self.owners.clear();
        let Common { identity, dealer, limits, .. } = &*self.common;
        if let Ok(mut dealer) = Peer::connect(&dealer.0, identity, &dealer.1, "the dealer", limits) {
            let _ = dealer.send_control(&Ask::End);
            let _ = dealer.close();
        }
        Ok(())
    }

    /// Has T owners say that the training has ended here: without that nobody gives its share of the model away.
    fn close(&mut self, until: Instant, events: &mut dyn Events) -> Result<(), SessionError> {
        let (position, roster) = (self.position(), self.roster.digest());
        self.ledger.closings.retain(|it| it.roster == roster && it.position == position);
        let (need, limit) = (self.roster.threshold(), seconds(self.config.deadline.phase, "deadline.phase")?);
        let mut tried = BTreeSet::new();
        let mut asked: BTreeMap<u64, Instant> = BTreeMap::new();
        loop {
            let now = Instant::now();
            let enough = self.ledger.closings.len() >= need;
            let fresh = self.owners.values().filter(|at| !enough && !tried.contains(&at.link));
            for (link, tell, round) in fresh.map(|at| (at.link, at.tell.clone(), at.hello.round)).collect::<Vec<_>>() {
                tried.insert(link);
                let past = self.past(round.min(position.round));
                if tell.send(Order::Ask(ToOwner::Close { past })).is_ok() {
                    asked.insert(link, now + limit);
                }
            }
            let late: Vec<u64> = asked.iter().filter(|(_, until)| **until <= now).map(|(link, _)| *link).collect();
            for link in late {
                asked.remove(&link);
                self.owner_of(link).and_then(|owner| self.owners.remove(&owner));
            }
            if asked.is_empty() && enough {
                return Ok(self.save()?);
            }
            if asked.is_empty() && now >= until {
                self.save()?;
                let have = self.ledger.closings.len();
                return Err(SessionError::Config(format!(
                    "{have} owners said that the training has ended, the threshold is {need}; start the roles again, for that alone"
                )));
            }
            let next = asked.values().min().copied().unwrap_or(until);
            let Ok(heard) = self.hear.recv_timeout(next.saturating_duration_since(now)) else { continue };
            match self.note(heard, events) {
                Some(Heard::Answer { link, answer }) => {
                    asked.remove(&link);
                    if let Some(owner) = self.owner_of(link) {
                        self.take_closing(owner, answer, &position, events);
                    }
                }
                Some(Heard::Gone { link, .. }) => {
                    asked.remove(&link);
                    self.owner_of(link).and_then(|owner| self.owners.remove(&owner));
                }
                _ => {}
            }
        }
    }

    fn take_closing(&mut self, owner: u16, answer: FromOwner, position: &Position, events: &mut dyn Events) {
        let taken = match answer {
            FromOwner::Closing(bytes) => decode::<Closing>(Who::Owner(owner), MOST_OWNERS, &bytes)
                .and_then(|closing| closing.verify(&self.roster, position).map(|()| closing))
                .map_err(|error| error.to_string()),
            FromOwner::Refuses(why) => Err(printable(&why)),
            _ => Err("its answer is none to what was asked".to_string()),
        };
        match taken {
            Ok(closing) if closing.owner == owner => {
                self.ledger.closings.retain(|it| it.owner != owner);
                self.ledger.closings.push(closing);
                self.ledger.closings.sort_by_key(|closing| closing.owner);
            }
            Ok(_) => events.notice(format!("owner {owner} sent another owner's word that the training has ended")),
            Err(why) => events.notice(format!("owner {owner} does not say that the training has ended: {why}")),
        }
    }

    /// Takes the owners' share of the trained model, of the first owner that gives it, and writes the model.
    fn learn(&mut self, closings: &[Vec<u8>], until: Instant, events: &mut dyn Events) -> Result<(), SessionError> {
        let past = self.past(0);
        let limit = seconds(self.config.deadline.training, "deadline.training")?;
        let mut tried = BTreeSet::new();
        let mut asked: Option<(u64, Instant)> = None;
        loop {
            let now = Instant::now();
            if asked.is_none()
                && let Some((_, at)) = self.owners.iter().find(|(_, at)| !tried.contains(&at.link))
            {
                tried.insert(at.link);
                let sent =
                    at.tell.send(Order::Fetch(ToOwner::Reveal { past: past.clone(), closings: closings.to_vec() }));
                asked = sent.ok().map(|()| (at.link, now + limit));
                continue;
            }
            let next = asked.map_or(until, |(_, until)| until);
            if next <= now {
                let reason =
                    "no owner that is there gave its share of the trained model; start the roles again, for that alone";
                return Err(SessionError::Config(reason.to_string()));
            }
            let Ok(heard) = self.hear.recv_timeout(next - now) else {
                asked = None;
                continue;
            };
            let of_asked = |link: u64| asked.is_some_and(|(asked, _)| asked == link);
            match self.note(heard, events) {
                Some(Heard::Fetched { link, words }) if of_asked(link) => {
                    let folder = self.config.out.clone().unwrap_or_else(|| self.config.state.join("trained"));
                    let shares = [&self.words()?[..], &words];
                    self.report.files = reveal::write(&self.common.plan, shares, &folder, self.original.as_deref())?;
                    return Ok(());
                }
                Some(Heard::Answer { link, answer }) if of_asked(link) => {
                    if let FromOwner::Refuses(why) = answer {
                        events.notice(format!("an owner does not give its share of the model: {}", printable(&why)));
                    }
                    asked = None;
                }
                Some(Heard::Gone { link, .. }) => {
                    if let Some(owner) = self.owner_of(link) {
                        self.owners.remove(&owner);
                    }
                    if of_asked(link) {
                        asked = None;
                    }
                }
                _ => {}
            }
        }
    }
}
