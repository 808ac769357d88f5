//! The server: holds W_S, lets owners in, plays the rounds, and goes on where it was when it was killed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use ariann_net::{Allowed, Listener, NetError, Peer};
use ariann_plan::training::encode_states;
use ariann_ring::Ring;
use ariann_session::SessionError;
use ariann_session::config::{pin, threads};
use ariann_session::events::{Event, Events};
use ariann_session::hooks::Hooks;
use ariann_session::report::peak_rss;
use ariann_session::training::initial_states;
use serde::{Deserialize, Serialize};

use super::config::{FederateServerConfig, patient, seconds};
use super::dealer::name;
use super::federation::Federation;
use super::link::{self, Common, Heard, Order};
use super::report::{FederateReport, cpu_seconds, cpu_since};
use super::wire::{Ask, Hello};
use crate::{FederatedError, Keep, KeepFile, ModelShare, Record, Roster, derive, encode};

/// How long one call of accept waits.
const ACCEPT: Duration = Duration::from_millis(100);

/// What the server must remember beside its share: written before a round begins, and before a round is applied.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Ledger {
    /// The last round that was begun.
    pub begun: u64,
    /// Rounds with a result.
    pub records: Vec<Record>,
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
    pub share: ModelShare<R>,
    pub ledger: Ledger,
    keep: KeepFile,
    pub owners: BTreeMap<u16, Connected<R>>,
    pub hear: Receiver<Heard<R>>,
    pub report: FederateReport,
}

/// Serves a federated training to its end.
pub fn serve(
    config: &FederateServerConfig,
    hooks: &Hooks,
    events: &mut dyn Events,
) -> Result<FederateReport, SessionError> {
    threads(config.threads);
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
    let state = &config.state;
    std::fs::create_dir_all(state).map_err(|source| SessionError::file("creating", state, source))?;
    let path = state.join("model");
    let share = match path.exists() {
        true => ModelShare::open(&path, plan.training())?,
        false => {
            let model = std::fs::read(&config.model)
                .map_err(|source| SessionError::file("reading the model", &config.model, source))?;
            let states = initial_states(&plan.course, &model)?;
            let states = encode_states::<R>(&plan.course.step().plan, &states);
            let words = plan.words(&states.map_err(|error| SessionError::ModelPlan(error.to_string()))?);
            ModelShare::create(&path, plan.training(), |first, chunk: &mut [R]| {
                chunk.copy_from_slice(&words[first as usize..][..chunk.len()]);
                Ok(())
            })?
        }
    };
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
    let dealer = (config.dealer.clone(), pin(&plan.federation.dealer, "the dealer")?);
    let roster = plan.roster.clone();
    let limits = patient(&config.deadlines)?;
    let common = Arc::new(Common { plan, identity, dealer, limits, hooks: hooks.clone() });
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
    let mut serving = Serving { config, common, roster, share, ledger, keep, owners: BTreeMap::new(), hear, report };
    let worked = cpu_seconds();
    let served = serving.rounds(events);
    over.store(true, Ordering::Relaxed);
    served?;
    serving.end();
    let _ = accepting.join();
    let mut report = serving.report;
    let rounds = serving.ledger.reports.iter().map(|round| serde_json::from_str(round).ok());
    report.rounds = rounds.collect::<Option<_>>().unwrap_or_default();
    report.accuracies = serving.ledger.accuracies;
    report.took_part = serving.ledger.records.len() as u32;
    report.seconds = began.elapsed().as_secs_f64();
    report.cpu_seconds = cpu_since(worked);
    report.peak_rss_bytes = peak_rss();
    Ok(report)
}

fn admit<R: Ring>(common: &Arc<Common>, mut peer: Peer, link: u64, say: &Sender<Heard<R>>) {
    let mut observer = (common.hooks.observer)("server");
    let from = peer.name().to_string();
    peer.tap(Box::new(move |bytes| observer.received(&from, bytes)));
    let (common, say) = (common.clone(), say.clone());
    std::thread::spawn(move || link::run(&common, peer, link, &say));
}

impl<R: Ring> Serving<'_, R> {
    /// Plays rounds until there are as many results as the federation wants.
    fn rounds(&mut self, events: &mut dyn Events) -> Result<(), SessionError> {
        self.settle()?;
        while (self.ledger.records.len() as u32) < self.common.plan.federation.rounds {
            let done = self.ledger.records.len() as u64;
            events.progress("rounds", done, u64::from(self.common.plan.federation.rounds));
            self.round(events)?;
        }
        let rounds = u64::from(self.common.plan.federation.rounds);
        events.progress("rounds", rounds, rounds);
        Ok(())
    }

    /// The folder of a round.
    pub fn folder(&self, round: u64) -> PathBuf {
        self.config.state.join(format!("round-{round}"))
    }

    /// Writes the ledger.
    pub fn save(&mut self) -> Result<(), FederatedError> {
        self.keep.save(&derive::canonical(&self.ledger))
    }

    /// The records after a round, as bytes.
    pub fn records_after(&self, round: u64) -> Vec<Vec<u8>> {
        self.ledger.records.iter().filter(|record| record.round > round).map(encode).collect()
    }

    /// Notes who came and who went. The rest is the caller's.
    pub fn note(&mut self, heard: Heard<R>, events: &mut dyn Events) -> Option<Heard<R>> {
        match heard {
            Heard::Came(came) => {
                let (owner, link) = (came.owner, came.link);
                match self.roster.introduce(owner, &came.hello.certificate) {
                    Ok(()) => {
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

    /// Tells all who are there that the training has ended, and the dealer.
    fn end(&mut self) {
        for connected in self.owners.values() {
            let records = self.records_after(connected.hello.round.min(self.share.position().round));
            let accuracies = self.ledger.accuracies.clone();
            let _ = connected.tell.send(Order::Ask(super::wire::ToOwner::End { records, accuracies }));
        }
        let mut left = self.owners.len();
        let until = Instant::now() + Duration::from_secs(30);
        while left > 0
            && let Ok(heard) = self.hear.recv_timeout(until.saturating_duration_since(Instant::now()))
        {
            left -= usize::from(matches!(heard, Heard::Answer { .. } | Heard::Gone { .. }));
        }
        self.owners.clear();
        let Common { identity, dealer, limits, .. } = &*self.common;
        if let Ok(mut dealer) = Peer::connect(&dealer.0, identity, &dealer.1, "the dealer", limits) {
            let _ = dealer.send_control(&Ask::End);
            let _ = dealer.close();
        }
    }
}
