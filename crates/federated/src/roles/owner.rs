//! An owner: connects to the server, answers what it is asked, trains as P1 of its pair, and comes back when it was cut off.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ariann_gates::Party;
use ariann_net::{Fingerprint, Identity, Limits, NetError, Peer};
use ariann_plan::training::encode_states;
use ariann_prg::Seed;
use ariann_ring::Ring;
use ariann_session::config::{pin, threads};
use ariann_session::events::{Event, Events};
use ariann_session::hooks::Hooks;
use ariann_session::report::peak_rss;
use ariann_session::training::{Data, PairTask, initial_states, run_pair};
use ariann_session::{SessionError, hold, printable};
use zeroize::Zeroize;

use super::config::{FederateOwnerConfig, patient, seconds};
use super::dealer::ask;
use super::federation::{Federation, Plan};
use super::report::{FederateReport, cpu_seconds, cpu_since};
use super::reveal::{self, Reveal};
use super::rows::rows;
use super::seats;
use super::shares::{receive_share, send_share, whole};
use super::wire::{DIGEST_STEP, FromOwner, Hello, MOST, PROTOCOL, Past, ToOwner, UPDATE_STEP, Wanted};
use crate::privacy::{Protection, Spent};
use crate::{
    Advert, Book, CHUNK, Candidates, Closing, Contribution, Echoes, FederatedError, KeepFile, KeyGrant, KeyRequest,
    MOST_OWNERS, Message, ModelShare, OwnerRound, Position, Record, Relay, Request, Roster, Survivors, Who, decode,
    encode,
};

/// Between two attempts to reach the server.
const AGAIN: Duration = Duration::from_millis(500);

/// Takes part in a federated training until the server ends it.
pub fn own(
    config: &FederateOwnerConfig,
    hooks: &Hooks,
    events: &mut dyn Events,
) -> Result<FederateReport, SessionError> {
    threads(config.threads)?;
    let plan = Federation::read(&config.federation)?.plan()?;
    match plan.training().ring {
        32 => run::<u32>(config, hooks, plan, events),
        _ => run::<u64>(config, hooks, plan, events),
    }
}

fn run<R: Ring>(
    config: &FederateOwnerConfig,
    hooks: &Hooks,
    plan: Plan,
    events: &mut dyn Events,
) -> Result<FederateReport, SessionError> {
    let (owner, changed) = Owner::<R>::new(config, hooks, plan)?;
    changed.into_iter().for_each(|text| events.notice(text));
    owner.run(events)
}

/// A thread that draws an owner's noise.
type Drawing<R> = JoinHandle<Result<Vec<R>, FederatedError>>;

/// An update that is masked, and kept until the round is over: the masks cannot be had again.
struct Masked {
    head: Contribution,
    bytes: Vec<u8>,
    digest: [u8; 32],
}

/// What an owner keeps of the round that runs.
struct Running {
    number: u64,
    round: OwnerRound,
    cohort: Vec<u16>,
    masked: Option<Masked>,
    /// Rounds without a result that spend of the differential privacy all the same, as far as this owner knows.
    lost: BTreeSet<u64>,
    released: bool,
}

struct Owner<'a, R: Ring> {
    config: &'a FederateOwnerConfig,
    hooks: &'a Hooks,
    plan: Plan,
    roster: Roster,
    identity: Arc<Identity>,
    number: u16,
    pins: [Fingerprint; 2],
    limits: Limits,
    data: Data,
    book: Book,
    /// None before it can be computed: where another owner brings the model, with the group key.
    share: Option<ModelShare<R>>,
    /// The model that it was given.
    original: Option<Vec<u8>>,
    running: Option<Running>,
    /// Keeps other processes out of the state folder.
    _held: std::fs::File,
    /// An open request for the group key.
    request: Option<Request>,
    report: FederateReport,
}

/// Refuses a federation that spends more than this owner agrees to.
fn consent(plan: &Plan, most: Option<f64>) -> Result<(), SessionError> {
    let Some(most) = most else { return Ok(()) };
    let spare = plan.guard().map_or(0, |guard| guard.privacy().spare);
    let spent = match plan.protection(plan.federation.rounds, spare) {
        Protection::Differential(Spent { epsilon: Some(epsilon), .. }) if epsilon <= most => return Ok(()),
        other => other,
    };
    Err(SessionError::Config(format!(
        "the federation's differential privacy is: {spent}; this owner agrees to most_epsilon = {most} and takes no part. Ask for \
         more noise or fewer rounds, or agree to more"
    )))
}

impl<'a, R: Ring> Owner<'a, R> {
    fn new(
        config: &'a FederateOwnerConfig,
        hooks: &'a Hooks,
        plan: Plan,
    ) -> Result<(Owner<'a, R>, Option<String>), SessionError> {
        consent(&plan, config.most_epsilon)?;
        let identity = Arc::new(config.identity.load()?);
        let stranger = || {
            let pin = identity.fingerprint();
            SessionError::Config(format!("this identity ({pin}) is not among the owners of the federation"))
        };
        let number = plan.roster.number_of(identity.fingerprint()).ok_or_else(stranger)?;
        reveal::consent(plan.federation.reveal, &config.allow)?;
        let begins = plan.federation.initial == Some(number);
        let original = reveal::original(&plan, config.model.as_deref(), begins)?;
        if begins && original.is_none() {
            let reason = "this owner brings the model to begin with: set `model` to its ONNX file";
            return Err(SessionError::Config(reason.to_string()));
        }
        let data = rows(config, &plan)?;
        let state = &config.state;
        std::fs::create_dir_all(state).map_err(|source| SessionError::file("creating", state, source))?;
        let held = hold(state)?;
        let book = Book::open(plan.training(), KeepFile::at(&state.join("book")))?;
        let changed = seats::take(state, &plan.federation, None)?;
        let pins = [pin(&plan.federation.server, "the server")?, pin(&plan.federation.dealer, "the dealer")?];
        let mut roster = plan.roster.clone();
        roster.introduce(number, &identity.certificate())?;
        let mut owner = Owner {
            config,
            hooks,
            roster,
            identity,
            number,
            pins,
            limits: patient(&config.deadlines)?,
            data,
            book,
            share: None,
            original,
            running: None,
            _held: held,
            request: None,
            report: FederateReport { role: format!("owner-{number}"), ..FederateReport::default() },
            plan,
        };
        owner.open()?;
        Ok((owner, changed))
    }

    /// Opens its share of the model, or begins it where that can be done. None where the group key is not here yet.
    fn open(&mut self) -> Result<Option<&mut ModelShare<R>>, SessionError> {
        let (path, training, keys) = (self.config.state.join("model"), self.plan.training(), self.book.keys());
        if self.share.is_none() {
            self.share = match (path.exists(), self.plan.federation.initial, keys.first()) {
                (true, _, _) => Some(ModelShare::open(&path, training)?),
                // The server knows the model that it begins with.
                (false, None, _) => Some(ModelShare::create(&path, training, |_, _| Ok(()))?),
                (false, Some(_), None) => None,
                (false, Some(_), Some(epoch)) => {
                    Some(ModelShare::create(&path, training, |first, words| keys.initial(epoch, first, words))?)
                }
            };
        }
        Ok(self.share.as_mut())
    }

    /// Its share of the model, when it has the group key.
    fn share(&mut self) -> Result<&mut ModelShare<R>, SessionError> {
        let none =
            FederatedError::Order("the owners' share of the model follows from the group key, which is not here yet");
        Ok(self.open()?.ok_or(none)?)
    }

    /// Shares of all states of the model.
    fn states(&mut self) -> Result<Vec<Vec<R>>, SessionError> {
        let training = self.plan.training().clone();
        let words = whole(self.share()?, &training)?;
        Ok(self.plan.states(&words))
    }

    /// Until the training has ended, over as many connections as it takes.
    fn run(mut self, events: &mut dyn Events) -> Result<FederateReport, SessionError> {
        events.notice(self.plan.privacy_text());
        let (began, worked) = (Instant::now(), cpu_seconds());
        let patience = seconds(self.config.patience, "patience")?;
        let mut lost = Instant::now();
        loop {
            match self.session(&mut lost, events) {
                Ok(()) => break,
                Err(SessionError::Net(error)) if retried(&error) && lost.elapsed() < patience => {
                    events.notice(format!("{error}; it tries again"));
                    std::thread::sleep(AGAIN);
                }
                Err(error) => return Err(error),
            }
        }
        self.report.seconds = began.elapsed().as_secs_f64();
        self.report.cpu_seconds = cpu_since(worked);
        self.report.peak_rss_bytes = peak_rss();
        Ok(self.report)
    }

    /// One connection to the server, to the end of the training.
    fn session(&mut self, lost: &mut Instant, events: &mut dyn Events) -> Result<(), SessionError> {
        let mut peer = Peer::connect(&self.config.server, &self.identity, &self.pins[0], "the server", &self.limits)?;
        let mut observer = (self.hooks.observer)(&self.report.role);
        peer.tap(Box::new(move |bytes| observer.received("server", bytes)));
        let tests = self.config.reveal_accuracy && self.data.test_rows() > 0;
        peer.send_control(&Hello {
            protocol: PROTOCOL,
            roster: self.roster.digest(),
            certificate: self.identity.certificate(),
            round: self.share.as_ref().map_or(0, |share| share.position().round),
            has_key: self.book.keys().has(self.roster.epoch()),
            tests,
        })?;
        let ended = loop {
            let message: ToOwner = peer.recv_control(MOST, "the server's next word")?;
            *lost = Instant::now();
            if let ToOwner::End { past, accuracies, paused, closings } = message {
                self.acquaint(&past);
                match self.lacks(&past)? {
                    false => self.follow(&past)?,
                    true => {
                        events.notice("the rounds so far are masked with a group key that is not here; it is asked for when a round begins")
                    }
                }
                let lost = self.lost(&past).len() as u32;
                let rounds = self.share.as_ref().map_or(accuracies.len() as u32, |it| it.position().rounds as u32);
                self.report.privacy = Some(self.plan.protection(rounds, lost));
                (self.report.accuracies, self.report.paused) = (accuracies, paused);
                if let Some(closings) = closings {
                    self.learn(&mut peer, &closings)?;
                }
                peer.send_control(&FromOwner::Joins)?;
                break Ok(());
            }
            if let ToOwner::Refused(reason) = message {
                break Err(mismatch(printable(&reason)));
            }
            let answered = self.answer(&mut peer, message, events);
            let reason = match answered {
                Ok(()) => continue,
                Err(error @ (SessionError::Net(_) | SessionError::Role { .. })) => break Err(error),
                Err(error) => error.to_string(),
            };
            // The round goes on without this owner; it comes back for the next one.
            events.notice(reason.clone());
            peer.send_control(&FromOwner::Refuses(reason))?;
        };
        let stats = peer.stats();
        self.report.bytes += stats.payload_sent + stats.payload_received;
        let _ = peer.close();
        ended
    }

    fn answer(&mut self, peer: &mut Peer, message: ToOwner, events: &mut dyn Events) -> Result<(), SessionError> {
        let answer = match message {
            ToOwner::Round { round, past, drawn } => self.begin(round, &past, drawn)?,
            ToOwner::Request(_) if self.book.keys().first().is_none() => FromOwner::Lacks(Vec::new()),
            ToOwner::Request(bytes) => {
                let request: KeyRequest = server_sent(&bytes)?;
                FromOwner::Grant(encode(&self.book.grant(&self.roster, &self.identity, self.number, &request)?))
            }
            ToOwner::Grant(bytes) => {
                let grant: KeyGrant = server_sent(&bytes)?;
                let none = FederatedError::Order("a grant came that was not asked for");
                let request = self.request.take().ok_or(none)?;
                match self.book.accept(&self.roster, request, &grant) {
                    Ok(()) => FromOwner::Joins,
                    // Another owner may give the right ones.
                    Err(FederatedError::Refused(refusal)) => {
                        events.notice(refusal.to_string());
                        FromOwner::Lacks(Vec::new())
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            ToOwner::Advertise => FromOwner::Advert(encode(self.running()?.round.advert())),
            ToOwner::Candidates(bytes) => {
                let candidates: Candidates = server_sent(&bytes)?;
                self.agree(&candidates)?;
                FromOwner::Shares(encode(self.running()?.round.candidates(&candidates)?))
            }
            ToOwner::Relay(bytes) => {
                let relay: Relay = server_sent(&bytes)?;
                let running = self.running()?;
                let why: Vec<String> = running.round.relay(&relay)?.iter().map(ToString::to_string).collect();
                running.cohort = relay.cohort;
                FromOwner::Taken(running.round.closed().iter().copied().zip(why).collect())
            }
            ToOwner::Train { done, task } => return self.train(peer, done, task, events),
            ToOwner::Survivors(bytes) => {
                let survivors: Survivors = server_sent(&bytes)?;
                let (running, book) = self.running_with_book()?;
                FromOwner::Echo(encode(running.round.survivors(book, &survivors)?))
            }
            ToOwner::Echoes(bytes) => {
                let echoes: Echoes = server_sent(&bytes)?;
                #[cfg(test)]
                match crate::owner::faults::releasing(self.roster.digest(), self.number, self.running()?.number) {
                    Some(true) => return Err(gone(peer, &SessionError::Config("it is cut off".to_string()))),
                    Some(false) => return Err(mismatch("nothing is released to it".to_string())),
                    None => {}
                }
                let (running, book) = self.running_with_book()?;
                let release = FromOwner::Release(encode(running.round.echoes(book, &echoes)?));
                let first = !std::mem::replace(&mut running.released, true);
                self.report.took_part += u32::from(first);
                release
            }
            ToOwner::Test { past, task } => {
                self.acquaint(&past);
                self.follow(&past)?;
                return self.test(peer, task, events);
            }
            ToOwner::Initial => {
                let words = self.initial()?;
                peer.send_control(&FromOwner::Share)?;
                return send_share(peer, &words);
            }
            ToOwner::Close { past } => {
                self.acquaint(&past);
                FromOwner::Closing(encode(&self.close(&past)?))
            }
            ToOwner::Reveal { past, closings } => {
                self.acquaint(&past);
                let words = self.reveal(&past, &closings)?;
                peer.send_control(&FromOwner::Share)?;
                return send_share(peer, &words);
            }
            ToOwner::End { .. } | ToOwner::Refused(_) => unreachable!("handled before"),
        };
        Ok(peer.send_control(&answer)?)
    }

    fn running(&mut self) -> Result<&mut Running, FederatedError> {
        self.running.as_mut().ok_or(FederatedError::Order("no round runs at this owner"))
    }

    fn running_with_book(&mut self) -> Result<(&mut Running, &mut Book), FederatedError> {
        let none = FederatedError::Order("no round runs at this owner");
        Ok((self.running.as_mut().ok_or(none)?, &mut self.book))
    }

    /// Takes the certificates of owners that it does not know yet.
    fn acquaint(&mut self, past: &Past) {
        past.certificates.iter().for_each(|der| self.roster.acquaint(der));
    }

    /// Rounds without a result whose shares were released: by this owner, or as the server says.
    fn lost(&self, past: &Past) -> BTreeSet<u64> {
        self.book.lost().iter().chain(&past.lost).copied().collect()
    }

    /// Brings its share of the model up to date.
    fn follow(&mut self, past: &Past) -> Result<(), SessionError> {
        let records: Vec<Record> = all(&past.records)?;
        self.share()?;
        let share = self.share.as_mut().expect("just opened");
        share.follow(&records, &self.roster, &mut self.book)?;
        Ok(())
    }

    /// Whether it lacks a group key that some of these rounds were masked with.
    fn lacks(&self, past: &Past) -> Result<bool, SessionError> {
        let records: Vec<Record> = all(&past.records)?;
        Ok(records.iter().any(|record| !self.book.keys().has(record.epoch)))
    }

    /// The server's share of the model that this owner brings: W - W_O.
    fn initial(&self) -> Result<Vec<R>, SessionError> {
        let (plan, epoch) = (&self.plan, self.book.keys().first());
        let (Some(model), Some(epoch), true) = (&self.original, epoch, plan.federation.initial == Some(self.number))
        else {
            return Err(mismatch("it asks for a model to begin with, which this owner does not bring".to_string()));
        };
        let states = encode_states::<R>(&plan.course.step().plan, &initial_states(&plan.course, model)?);
        let mut words = plan.words(&states.map_err(|error| SessionError::ModelPlan(error.to_string()))?);
        let mut own = vec![R::ZERO; words.len()];
        self.book.keys().initial(epoch, 0, &mut own)?;
        words.iter_mut().zip(&own).for_each(|(word, own)| *word = word.sub(*own));
        Ok(words)
    }

    /// Refuses what belongs to the end of the training, where its share of the model does not stand there.
    fn at_end(&mut self, what: &str) -> Result<Position, SessionError> {
        let position = self.share()?.position();
        match position.rounds == u64::from(self.plan.federation.rounds) {
            true => Ok(position),
            false => Err(mismatch(format!("it asks for {what} before the last round"))),
        }
    }

    /// Its word that the training has ended, once.
    fn close(&mut self, past: &Past) -> Result<Closing, SessionError> {
        self.follow(past)?;
        let position = self.at_end("the word that the training has ended")?;
        Ok(Closing::new(&self.roster, &self.identity, &mut self.book, position)?)
    }

    /// The owners' share of the trained model, for a server that the federation lets learn it, when the training has ended, and so
    /// T owners say.
    fn reveal(&mut self, past: &Past, closings: &[Vec<u8>]) -> Result<Vec<R>, SessionError> {
        if !self.plan.federation.reveal.is_some_and(Reveal::to_server) {
            return Err(mismatch("it asks for the model which is not revealed to it".to_string()));
        }
        self.follow(past)?;
        let position = self.at_end("the model")?;
        Closing::verify_all(&all(closings)?, &self.roster, &position)?;
        let training = self.plan.training().clone();
        Ok(whole(self.share()?, &training)?)
    }

    /// Takes the server's share of the trained model, and writes the model.
    fn learn(&mut self, peer: &mut Peer, closings: &[Vec<u8>]) -> Result<(), SessionError> {
        if !self.plan.federation.reveal.is_some_and(Reveal::to_owners) {
            return Err(mismatch("it reveals a model that the federation does not reveal to owners".to_string()));
        }
        let position = self.at_end("that the model is learnt")?;
        Closing::verify_all(&all(closings)?, &self.roster, &position)?;
        let training = self.plan.training().clone();
        let (theirs, own) = (receive_share::<R>(peer, &training)?, whole(self.share()?, &training)?);
        let folder = self.config.out.clone().unwrap_or_else(|| self.config.state.join("trained"));
        self.report.files = reveal::write(&self.plan, [&theirs, &own], &folder, self.original.as_deref())?;
        Ok(())
    }

    /// A round begins.
    fn begin(&mut self, round: u64, past: &Past, drawn: bool) -> Result<FromOwner, SessionError> {
        self.acquaint(past);
        let (epoch, former) = (self.roster.epoch(), self.lacks(past)?);
        if !drawn && !former && self.number == self.roster.keeper() {
            self.book.draw(&self.roster, self.number)?;
        }
        if former || !self.book.keys().has(epoch) {
            self.book.expect(&self.roster, &all(&past.records)?)?;
            let request = Request::new(&self.roster, &self.identity, self.number)?;
            let message = encode(request.message());
            self.request = Some(request);
            return Ok(FromOwner::Lacks(message));
        }
        if self.running.as_ref().is_some_and(|running| running.number == round) {
            return Ok(FromOwner::Joins);
        }
        self.running = None;
        self.follow(past)?;
        if self.book.entered() >= round {
            let reason = format!("this owner took part in round {round} and lost its secrets of it");
            return Ok(FromOwner::Absent(reason));
        }
        let (roster, identity) = (Arc::new(self.roster.clone()), self.identity.clone());
        let (position, rows) = (self.share()?.position(), self.data.rows());
        let lost = self.lost(past);
        self.plan.has_round(position.rounds, &lost)?;
        let own = OwnerRound::begin(roster, identity, &mut self.book, position, round, rows)?;
        self.running =
            Some(Running { number: round, round: own, cohort: Vec::new(), masked: None, lost, released: false });
        Ok(FromOwner::Joins)
    }

    /// Refuses candidates some of whom released shares in so many rounds without a result that none is left, whatever the server
    /// said of them.
    fn agree(&mut self, candidates: &Candidates) -> Result<(), SessionError> {
        let (rounds, running) = (self.share()?.position().rounds, self.running()?);
        let told = |advert: &Advert| advert.lost.iter().any(|round| !running.lost.contains(round));
        let others: Vec<String> =
            candidates.adverts.iter().filter(|it| told(it)).map(|it| it.owner.to_string()).collect();
        let all = candidates.adverts.iter().flat_map(|advert| &advert.lost);
        let lost = running.lost.iter().chain(all).copied().collect();
        self.plan.has_round(rounds, &lost).map_err(|error| {
            let others = others.join(", ");
            SessionError::Config(format!(
                "{error} (of some of these rounds owner {others} tells, and the server does not)"
            ))
        })
    }

    fn dealer(&self, round: u64, task: PairTask) -> Result<Peer, SessionError> {
        let dealer = Peer::connect(&self.config.dealer, &self.identity, &self.pins[1], "the dealer", &self.limits)?;
        let roster = self.roster.digest();
        ask(dealer, Wanted { protocol: PROTOCOL, roster, owner: self.number, round, party: 1, task })
    }

    /// Draws this owner's noise for a cohort of this size, where it is agreed on, while its pair trains: how long it takes
    /// follows from what is drawn, and nobody is to wait for it.
    fn noise(&self, cohort: usize) -> Result<Option<Drawing<R>>, SessionError> {
        let Some(guard) = self.plan.guard().cloned() else { return Ok(None) };
        let seed = Seed::from_entropy()?;
        let named = std::thread::Builder::new().name("noise".to_string());
        let drawing = named.spawn(move || guard.noise::<R>(cohort, &seed));
        Ok(Some(drawing.map_err(|source| SessionError::file("starting", "a thread that draws noise", source))?))
    }

    /// Trains, masks the update and sends it; or sends it again.
    fn train(
        &mut self,
        peer: &mut Peer,
        done: u32,
        task: PairTask,
        events: &mut dyn Events,
    ) -> Result<(), SessionError> {
        let (number, stands) = (self.number, self.share()?.position().rounds);
        let running = self.running()?;
        let (round, mut rows) = (running.number, running.round.rows());
        rows.retain(|(owner, _)| running.cohort.contains(owner));
        if running.masked.is_some() {
            peer.send_control(&FromOwner::Trained)?;
            return self.send_update(peer);
        }
        if u64::from(done) != stands || self.plan.task(number, round, done, &rows)? != task {
            return Err(mismatch("it wants another training than rows, round and cohort give".to_string()));
        }
        let (cursor, states) = (self.plan.course.pair(task)?, self.states()?);
        peer.send_control(&FromOwner::Ready)?;
        let noise = self.noise(rows.len())?;
        let work = || {
            let dealer = self.dealer(round, task)?;
            let observer = (self.hooks.observer)(&self.report.role);
            run_pair(cursor, Party::P1, self.data.clone(), states, peer, dealer, observer, events)
        };
        // The server is in the midst of the training: there is no way to tell it but to go.
        let end = work().map_err(|error| gone(peer, &error))?;
        self.report.material_bytes += end.report.material_bytes[1];
        let mut words = self.plan.words(&end.states);
        if let Some(noise) = noise {
            let mut noise = noise.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            words.iter_mut().zip(&noise).for_each(|(word, noise)| *word = word.add(*noise));
            bytemuck::cast_slice_mut::<R, u8>(&mut noise).zeroize();
        }
        let running = self.running()?;
        let mut masker = running.round.masker::<R>()?;
        let head = masker.head().clone();
        let mut bytes = Vec::with_capacity(size_of_val(&words[..]));
        for chunk in words.chunks_mut(CHUNK) {
            bytes.extend(masker.mask(chunk)?);
        }
        running.masked = Some(Masked { head, bytes, digest: masker.finish()? });
        self.send_update(peer)
    }

    fn send_update(&mut self, peer: &mut Peer) -> Result<(), SessionError> {
        let masked = self.running()?.masked.as_ref().expect("it is masked");
        peer.send_control(&FromOwner::Update(encode(&masked.head)))?;
        peer.send(UPDATE_STEP, masked.bytes.clone())?;
        Ok(peer.send(DIGEST_STEP, masked.digest.to_vec())?)
    }

    /// Tests the model on its test set, and reveals the count to the server.
    fn test(&mut self, peer: &mut Peer, task: PairTask, events: &mut dyn Events) -> Result<(), SessionError> {
        let (true, PairTask::Test { round }) = (self.config.reveal_accuracy, task) else {
            return Err(mismatch(
                "it asks for the accuracy, and this owner does not agree: set reveal_accuracy".to_string(),
            ));
        };
        let position = self.share()?.position();
        if u64::from(round) != position.rounds {
            let reason = format!("it asks for the accuracy after {round} rounds, and {} are done", position.rounds);
            return Err(mismatch(reason));
        }
        self.book.test(&position)?;
        let (cursor, states) = (self.plan.course.pair(task)?, self.states()?);
        peer.send_control(&FromOwner::Ready)?;
        let work = || {
            let dealer = self.dealer(u64::from(round), task)?;
            let observer = (self.hooks.observer)(&self.report.role);
            run_pair(cursor, Party::P1, self.data.clone(), states, peer, dealer, observer, events)
        };
        let end = work().map_err(|error| gone(peer, &error))?;
        self.report.material_bytes += end.report.material_bytes[1];
        if let Some(accuracy) = end.accuracy {
            events.tell(Event::Epoch { epoch: round, accuracy: Some(accuracy), loss: None });
        }
        Ok(())
    }
}

/// A pair's run failed: the connection is of no use, and another one is made.
fn gone(peer: &Peer, error: &SessionError) -> SessionError {
    match error {
        SessionError::Net(error) => SessionError::Net(error.clone()),
        error => SessionError::Net(NetError::PeerGone {
            peer: peer.name().to_string(),
            waiting_for: "the training of this pair".to_string(),
            waited: Duration::ZERO,
            how: ariann_net::Gone::NotReached(error.to_string()),
        }),
    }
}

/// Whether another connection may do better.
fn retried(error: &NetError) -> bool {
    !matches!(error, NetError::Config(_) | NetError::Identity(_))
}

fn mismatch(reason: String) -> SessionError {
    SessionError::Mismatch { peer: "the server".to_string(), reason }
}

fn all<M: Message>(messages: &[Vec<u8>]) -> Result<Vec<M>, FederatedError> {
    messages.iter().map(|bytes| server_sent(bytes)).collect()
}

fn server_sent<M: Message>(bytes: &[u8]) -> Result<M, FederatedError> {
    decode(Who::Server, MOST_OWNERS, bytes)
}
