//! A computing party at work: its state folder, its weights, its opened batches, and one run after another.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use ariann_device::Device;
use ariann_gates::Party;
use ariann_graph::Graph;
use ariann_material::{BatchId, Expected, Reconciled, Reservation, Store, WeightsVersion};
use ariann_net::{Identity, Limits, Peer};
use ariann_plan::Plan;
use ariann_prg::{Prg, TreeHash};
use ariann_ring::Ring;

use crate::arrivals::Arrivals;
use crate::config::{self, Remote};
use crate::engine::{AllWeights, Dealt, Engine, Given, Opened, Schedule};
use crate::events::Events;
use crate::fetching::Fetcher;
use crate::hooks::{Hooks, Observer};
use crate::link::Link;
use crate::messages::{BATCHES, Hello, Offer};
use crate::report::{PartyReport, Phase, StreamReport};
use crate::setup::{self, OwnWeights, Setup};
use crate::suite::Secrets;
use crate::{SessionError, expected, handshake, prepared_expected, preparing};

/// What all sessions of a role have in common: the state folder, locked once, and weights.
struct Shared<R: Ring, D: Device> {
    store: Arc<Store>,
    arrivals: Arc<Arrivals>,
    own: Option<OwnWeights<R>>,
    weights: Mutex<BTreeMap<WeightsVersion, Arc<AllWeights<R, D>>>>,
}

/// A party's lasting state and what a session has opened of it.
pub(crate) struct Worker<'a, R: Ring, D: Device> {
    pub plan: &'a Plan,
    pub device: &'a D,
    pub party: Party,
    pub report: PartyReport,
    schedule: Arc<Schedule>,
    shared: Arc<Shared<R, D>>,
    folder: PathBuf,
    hooks: &'a Hooks,
    observer: Box<dyn Observer>,
    expected: Expected,
    weights: BTreeMap<WeightsVersion, Arc<AllWeights<R, D>>>,
    leases: Leases,
    opened: BTreeMap<BatchId, Opened>,
}

impl<'a, R: Ring, D: Device> Worker<'a, R, D> {
    /// Opens the state folder; `model` at P0.
    pub fn open(
        plan: &'a Plan,
        device: &'a D,
        party: Party,
        state: &std::path::Path,
        model: Option<&Graph>,
        hooks: &'a Hooks,
        events: &mut dyn Events,
    ) -> Result<Self, SessionError> {
        let own = model.map(|graph| setup::encode::<R>(plan, graph)).transpose()?;
        let store = Arc::new((hooks.open_store)(state, party)?);
        for recovered in store.ledger().recovered() {
            events.notice(format!(
                "batch {}: burnt {} slots that a crash left in flight",
                recovered.batch, recovered.burnt
            ));
        }
        let role = config::name(party).to_lowercase();
        let report = PartyReport {
            role: role.clone(),
            plan_digest: plan.digest_hex(),
            exchanges: plan.totals(1).exchanges,
            ..PartyReport::default()
        };
        Ok(Worker {
            plan,
            device,
            party,
            report,
            schedule: Arc::new(Schedule::new(plan)),
            shared: Arc::new(Shared { store, arrivals: Arc::default(), own, weights: Mutex::default() }),
            folder: state.to_path_buf(),
            hooks,
            observer: (hooks.observer)(&role),
            expected: expected(plan, party)?,
            weights: BTreeMap::new(),
            leases: Leases::default(),
            opened: BTreeMap::new(),
        })
    }

    /// A worker for one more session, over the same state folder.
    pub fn for_session(&self) -> Self {
        Worker {
            plan: self.plan,
            device: self.device,
            party: self.party,
            report: PartyReport {
                role: self.report.role.clone(),
                plan_digest: self.report.plan_digest.clone(),
                exchanges: self.report.exchanges,
                ..PartyReport::default()
            },
            schedule: self.schedule.clone(),
            shared: self.shared.clone(),
            folder: self.folder.clone(),
            hooks: self.hooks,
            observer: (self.hooks.observer)(&self.report.role),
            expected: self.expected.clone(),
            weights: locked(&self.shared.weights).clone(),
            leases: Leases { taken: self.leases.taken.clone(), own: BTreeSet::new() },
            opened: BTreeMap::new(),
        }
    }

    /// Takes in material files that are not in the store yet.
    pub fn import(&mut self, files: &[PathBuf], events: &mut dyn Events) -> Result<(), SessionError> {
        for file in files {
            let began = Instant::now();
            match self.shared.store.import(file, &self.expected) {
                Ok(batch) => {
                    self.report.material_bytes += std::fs::metadata(file).map_or(0, |meta| meta.len());
                    self.report.offline.seconds += began.elapsed().as_secs_f64();
                    events.notice(format!("took in batch {batch} from {}", file.display()));
                }
                // A configuration file names its material at every start.
                Err(ariann_material::Error::SeenBefore { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Gets what a serving dealer has for this party.
    pub fn fetch(
        &mut self,
        dealer: &Remote,
        identity: &Identity,
        limits: &Limits,
        events: &mut dyn Events,
    ) -> Result<(), SessionError> {
        let began = Instant::now();
        self.report.material_bytes += self.fetcher().all(dealer, identity, limits, events)?;
        self.report.offline.seconds += began.elapsed().as_secs_f64();
        Ok(())
    }

    /// What fetches from a dealer for this party.
    pub fn fetcher(&self) -> Fetcher {
        Fetcher {
            store: self.shared.store.clone(),
            arrivals: self.shared.arrivals.clone(),
            expected: self.expected.clone(),
            party: self.party,
            observer: self.hooks.observer,
        }
    }

    /// What comes while sessions run.
    pub fn arrivals(&self) -> &Arc<Arrivals> {
        &self.shared.arrivals
    }

    /// Adds what a stream that began at `began` has brought to the report.
    pub fn note_stream(&mut self, began: Instant) {
        let (arrivals, report) = (&self.shared.arrivals, &mut self.report);
        let (bytes, seconds) = arrivals.take_received();
        report.material_bytes += bytes;
        report.offline.seconds += seconds;
        report.stream = Some(StreamReport {
            seconds: began.elapsed().as_secs_f64(),
            deliveries: arrivals.standing().came,
            disk_bytes: arrivals.most_on_disk(),
        });
    }

    /// No more runs of a batch: what is left of it is given up, and its files go. Returns how many slots that were.
    pub fn retire(&mut self, batch: BatchId) -> Result<u32, SessionError> {
        self.opened.remove(&batch);
        self.shared.arrivals.weigh(&self.shared.store)?;
        let left = self.left(batch)?;
        self.shared.store.discard(batch)?;
        self.shared.arrivals.spent(batch);
        Ok(left)
    }

    /// Lets the observer of a test see what is received.
    pub fn tap(&self, peer: &mut Peer, name: &'static str) {
        let mut observer = (self.hooks.observer)(&self.report.role);
        peer.tap(Box::new(move |bytes| observer.received(name, bytes)));
    }

    /// Usable batches of this plan, oldest id first.
    fn offers(&self, events: &mut dyn Events) -> Result<Vec<Offer>, SessionError> {
        let mut offers = Vec::new();
        for entry in self.shared.store.ls()? {
            // Spent: its file may be gone. Or another session works with it.
            if entry.status.as_ref().is_ok_and(|status| status.left == 0) || self.leases.elsewhere(entry.batch) {
                continue;
            }
            if self.shared.arrivals.is_pending(entry.batch) {
                continue;
            }
            let (Ok(_), Ok(label)) = (entry.status, entry.label) else {
                events.notice(format!("batch {}: damaged, not used; see `ariann material ls`", entry.batch));
                continue;
            };
            // P0 tells only of those that P1 names.
            let room = self.party == Party::P0 || offers.len() < BATCHES;
            if label.plan_digest == self.expected.plan_digest && room {
                let mark = self.shared.store.ledger().high_water(entry.batch)?;
                offers.push(Offer { batch: entry.batch.0, weights: label.weights.0, slots: label.slots, mark });
            }
        }
        Ok(offers)
    }

    /// Whether there is a batch that the other party might have too.
    pub fn has_material(&self, events: &mut dyn Events) -> Result<bool, SessionError> {
        Ok(!self.offers(events)?.is_empty())
    }

    /// Greets the other party and agrees on material: batches both have, burnt up to the higher mark. Returns them with
    /// the versions whose masked weights both keep.
    pub fn greet(&mut self, peer: &mut Peer, most_items: u32, events: &mut dyn Events) -> Result<Agreed, SessionError> {
        let (own, theirs) = handshake::greet(
            peer,
            self.party,
            |theirs| self.greeting(theirs, most_items, events),
            |own, theirs| self.rolled_back(own, theirs),
        )?;
        self.agree(peer.name(), own, theirs, events)
    }

    /// This party's greeting: P1's, or P0's answer to it.
    fn greeting(
        &self,
        theirs: Option<&Hello>,
        most_items: u32,
        events: &mut dyn Events,
    ) -> Result<Hello, SessionError> {
        // The other party names it, so both have it; this one may not have heard that yet.
        theirs.iter().flat_map(|theirs| &theirs.batches).for_each(|offer| self.shared.arrivals.settle(offer.id()));
        let offers = self.offers(events)?;
        let mut versions: Vec<[u8; 16]> = offers.iter().map(|offer| offer.weights).collect();
        versions.sort_unstable();
        versions.dedup();
        let mut kept = Vec::new();
        for version in versions {
            let version = WeightsVersion(version);
            // What a session computes with already is not read again.
            if self.knows_weights(version)
                || setup::kept(&self.shared.store, &self.folder, self.plan, self.party, version)?.is_some()
            {
                kept.push(version.0);
            }
        }
        Ok(handshake::hello(self.party, self.plan, offers, kept, most_items))
    }

    /// P0's objection to a P1 that keeps masked weights of which P0 knows nothing.
    fn rolled_back(&self, own: &Hello, theirs: &Hello) -> Result<Option<String>, SessionError> {
        for version in theirs.weights.iter().filter(|_| self.shared.own.is_some()) {
            let used = own.batches.iter().any(|offer| offer.weights == *version);
            if used && !setup::is_bound(&self.shared.store, WeightsVersion(*version))? {
                return Ok(Some(format!(
                    "P1 keeps masked weights of version {}, of which P0's state folder knows nothing: it was lost or rolled \
                     back. Other weights under the same mask would reveal the difference; deal new material with \
                     --new-weights, and let P0 take it into an empty state folder",
                    WeightsVersion(*version)
                )));
            }
        }
        Ok(None)
    }

    /// The batches of both greetings, burnt up to the higher mark.
    fn agree(
        &mut self,
        name: &str,
        own: Hello,
        theirs: Hello,
        events: &mut dyn Events,
    ) -> Result<Agreed, SessionError> {
        let mut batches = Vec::new();
        for (offer, mark) in handshake::common(&own.batches, &theirs.batches) {
            // Another session may have taken it since it was offered.
            if !self.leases.take(offer.id()) {
                continue;
            }
            match self.shared.store.ledger().reconcile(offer.id(), offer.mark, mark)? {
                Reconciled::Equal => {}
                Reconciled::WeWereBehind { burnt } => events.notice(format!(
                    "batch {}: {name} had used {burnt} slots more than this role knew of; they are burnt. Expected after a crash; \
                     otherwise the state folder was rolled back",
                    offer.id()
                )),
                Reconciled::PeerWasBehind { by } => events.notice(format!(
                    "batch {}: {name} knew of {by} slots less than this role had used, and burns them. Expected after a crash; \
                     otherwise its state folder was rolled back",
                    offer.id()
                )),
            }
            batches.push(offer);
        }
        Ok(Agreed {
            batches,
            both_kept: own.weights.into_iter().filter(|version| theirs.weights.contains(version)).collect(),
            most_items: theirs.most_items,
        })
    }

    /// Slots left of a batch.
    pub fn left(&self, batch: BatchId) -> Result<u32, SessionError> {
        Ok(self.shared.store.ledger().status(batch)?.left)
    }

    /// First free slot of a batch.
    pub fn mark(&self, batch: BatchId) -> Result<u32, SessionError> {
        Ok(self.shared.store.ledger().high_water(batch)?)
    }

    /// The weights version of a batch.
    pub fn version(&mut self, batch: BatchId) -> Result<WeightsVersion, SessionError> {
        self.open_dealt(batch)?;
        Ok(self.opened[&batch].dealt.stored().header().label().weights)
    }

    fn open_dealt(&mut self, batch: BatchId) -> Result<(), SessionError> {
        if !self.opened.contains_key(&batch) {
            let dealt = self.shared.store.open_batch(batch, &self.expected)?;
            let secrets = Secrets::decode(dealt.header());
            let (prg, hash) = (Prg::new(&secrets.seed), TreeHash::new(&secrets.hash));
            self.opened.insert(batch, Opened { id: batch, dealt: Dealt::Stored(dealt), prepared: None, prg, hash });
        }
        Ok(())
    }

    fn setup<'b>(&'b self) -> Setup<'b, R, D> {
        let Worker { plan, device, party, .. } = *self;
        Setup { plan, device, party, store: &self.shared.store, folder: &self.folder, own: self.shared.own.as_ref() }
    }

    /// Whether this session has the weights of a version at hand already.
    pub fn knows_weights(&self, version: WeightsVersion) -> bool {
        self.weights.contains_key(&version)
    }

    /// Setup for the weights version of `batch`: exchanged when `send`, else from what is kept.
    pub fn prepare_weights(&mut self, batch: BatchId, send: Option<&mut Peer>) -> Result<(), SessionError> {
        let version = self.version(batch)?;
        let secrets = Secrets::decode(self.opened[&batch].dealt.stored().header());
        let seed = Prg::new(&secrets.weights);
        if let Some(own) = &self.shared.own {
            setup::bind_version(&self.shared.store, version, own)?;
        }
        match send {
            Some(peer) => {
                // What was said before is no part of setup.
                peer.flush()?;
                let (began, sent) = (Instant::now(), peer.stats().payload_sent);
                let content = self.setup().exchange(peer, version, &seed)?;
                self.report.setup.bytes_sent += peer.stats().payload_sent - sent;
                self.take_weights(version, &seed, &content)?;
                add_time(&mut self.report.setup, began);
            }
            None => {
                let known = locked(&self.shared.weights).get(&version).cloned();
                if let Some(known) = known {
                    self.weights.insert(version, known);
                    return Ok(());
                }
                let kept = setup::kept(&self.shared.store, &self.folder, self.plan, self.party, version)?;
                let content = kept.ok_or_else(|| {
                    SessionError::Config(format!("masked weights of version {version} are gone; start again"))
                })?;
                self.take_weights(version, &seed, &content)?;
            }
        }
        Ok(())
    }

    /// Computes the weights of a version, unless another session has done it.
    fn take_weights(&mut self, version: WeightsVersion, seed: &Prg, content: &[u8]) -> Result<(), SessionError> {
        let known = locked(&self.shared.weights).get(&version).cloned();
        let weights = match known {
            Some(weights) => weights,
            None => {
                let computed = Arc::new(self.setup().weights(seed, content)?);
                locked(&self.shared.weights).entry(version).or_insert(computed).clone()
            }
        };
        self.weights.insert(version, weights);
        Ok(())
    }

    /// Prepares `batch` for use, unless that is done already.
    pub fn prepare(&mut self, batch: BatchId, events: &mut dyn Events) -> Result<(), SessionError> {
        let version = self.version(batch)?;
        if !preparing::needed(self.plan, self.party) || self.opened[&batch].prepared.is_some() {
            return Ok(());
        }
        let began = Instant::now();
        let wanted = prepared_expected(self.plan, self.party)?;
        let prepared = match self.shared.store.open_prepared(batch, version, &wanted) {
            Ok(prepared) => prepared,
            // Not there, or not whole: it can be computed again.
            Err(_) => {
                let (opened, weights) = (&self.opened[&batch], &self.weights[&version]);
                preparing::prepare(
                    self.plan,
                    self.device,
                    self.party,
                    &self.shared.store,
                    opened,
                    weights,
                    self.mark(batch)?,
                    events,
                )?;
                self.shared.store.open_prepared(batch, version, &wanted)?
            }
        };
        self.opened.get_mut(&batch).expect("opened above").prepared = Some(prepared);
        self.report.offline.seconds += began.elapsed().as_secs_f64();
        self.shared.arrivals.weigh(&self.shared.store)
    }

    /// Takes the next slots: on disk and synced when this returns.
    pub fn reserve(&self, batch: BatchId, items: u32) -> Result<Reservation, SessionError> {
        Ok((self.hooks.reserve)(&self.shared.store, batch, items)?)
    }

    /// Runs the reserved slots; afterwards they are used, or burnt when it failed.
    pub fn run(
        &mut self,
        peer: &mut Peer,
        reservation: Reservation,
        input: Option<&[R]>,
        events: &mut dyn Events,
    ) -> Result<Option<Vec<R>>, SessionError> {
        let (batch, slots) = (reservation.batch(), reservation.range());
        let items = slots.len() as u64;
        let version = self.version(batch)?;
        let engine = Engine {
            plan: self.plan,
            schedule: &self.schedule,
            device: self.device,
            party: self.party,
            weights: &self.weights[&version],
        };
        let mut link = Link::telling(peer, events);
        let given = Given::items(input);
        match engine.run(&self.opened[&batch], slots, given, &mut link, self.observer.as_mut(), &mut self.report.gates)
        {
            Ok(result) => {
                self.report.online.bytes_sent += link.sent();
                self.shared.store.ledger().complete(reservation)?;
                self.report.slots += items;
                Ok(result)
            }
            Err(error) => {
                // Slots that cannot be closed stay burnt all the same; what stopped the run is what must be told.
                let _ = self.shared.store.ledger().burn(reservation);
                Err(error)
            }
        }
    }

    /// The report so far.
    pub fn take_report(&mut self) -> PartyReport {
        let empty = PartyReport {
            role: self.report.role.clone(),
            plan_digest: self.report.plan_digest.clone(),
            ..PartyReport::default()
        };
        let report = std::mem::replace(&mut self.report, empty);
        self.report.exchanges = report.exchanges;
        PartyReport { peak_rss_bytes: crate::report::peak_rss(), ..report }
    }
}

/// Batches that a session works with, so that no other does. Given back when dropped.
#[derive(Default)]
struct Leases {
    taken: Arc<Mutex<BTreeSet<BatchId>>>,
    own: BTreeSet<BatchId>,
}

impl Leases {
    /// Whether another session has the batch.
    fn elsewhere(&self, batch: BatchId) -> bool {
        !self.own.contains(&batch) && locked(&self.taken).contains(&batch)
    }

    /// Takes the batch, unless another session has it.
    fn take(&mut self, batch: BatchId) -> bool {
        if !self.own.contains(&batch) && locked(&self.taken).insert(batch) {
            self.own.insert(batch);
        }
        self.own.contains(&batch)
    }
}

impl Drop for Leases {
    fn drop(&mut self) {
        locked(&self.taken).retain(|batch| !self.own.contains(batch));
    }
}

/// What a session that panicked left is as whole as before: each change is one insertion.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a greeting led to.
pub(crate) struct Agreed {
    /// Batches that both have.
    pub batches: Vec<Offer>,
    /// Weights versions whose masked weights both keep.
    pub both_kept: Vec<[u8; 16]>,
    /// The most items that the other runs at once.
    pub most_items: u32,
}

/// Wall time since `began`, added to a phase.
pub(crate) fn add_time(phase: &mut Phase, began: Instant) {
    phase.seconds += began.elapsed().as_secs_f64();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_one_session_s_until_it_ends() {
        let batch = BatchId([1; 16]);
        let mut first = Leases::default();
        let mut second = Leases { taken: first.taken.clone(), own: BTreeSet::new() };
        assert!(first.take(batch) && first.take(batch));
        assert!(!first.elsewhere(batch) && second.elsewhere(batch) && !second.take(batch));
        assert!(second.take(BatchId([2; 16])));
        drop(first);
        assert!(!second.elsewhere(batch) && second.take(batch));
        let third = Leases { taken: second.taken.clone(), own: BTreeSet::new() };
        drop(second);
        assert!(locked(&third.taken).is_empty());
    }
}
