//! P0 or P1 of a pooled training: owners connect, leave their shares of rows and go. Shares are kept with the checkpoints, so
//! that a training that goes on needs no owner.
//!
//! File of an owner's rows: "ariann rows 1\n", digest of job and plans (32), party (1), the owner's number (4), name of the
//! sharing (16), what the party received, BLAKE3 of all of it (32). Little-endian.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ariann_gates::Party;
use ariann_net::{Allowed, Identity, Listener, NetError, Peer};
use ariann_plan::training::Source;
use zeroize::Zeroizing;

use super::config::TrainPartyConfig;
use super::course::Course;
use super::messages::{Brings, ROWS_STEP, SHARING, SHARINGS_STEP};
use super::pooled::{Form, Pool};
use crate::config;
use crate::events::{Event, Events};
use crate::guests::{Guests, OF_ONE};
use crate::handshake::accepted;
use crate::hooks::Hooks;
use crate::messages::{CONTROL, Verdict};
use crate::{PROTOCOL, SessionError};

const MAGIC: &[u8] = b"ariann rows 1\n";
/// Bytes of a file beside what was received.
const AROUND: usize = MAGIC.len() + 32 + 1 + 4 + SHARING + 32;
/// How long one call of accept waits.
const ACCEPT: Duration = Duration::from_millis(100);
/// How long an owner that comes again waits until its connection before is seen to have ended.
const GRACE: Duration = Duration::from_secs(1);

/// What a party has of one owner.
struct Held {
    sharing: [u8; SHARING],
    received: Zeroizing<Vec<u8>>,
}

/// What came of a connection of an owner.
enum Taken {
    /// Its rows, by their number in the job.
    Rows(usize, Held),
    /// They were here, or were coming.
    Twice(String),
    /// Nothing.
    Nothing(String, SessionError),
}

/// What a connection of one owner is held against, and where its rows go.
struct Place {
    owner: usize,
    /// The epoch from which on these rows take part.
    from_epoch: u32,
    party: Party,
    course: [u8; 32],
    /// Courses that had these rows before others were added.
    earlier: Vec<[u8; 32]>,
    /// Bytes that the party receives.
    len: usize,
    folder: Option<PathBuf>,
}

impl Place {
    fn path(&self) -> Option<PathBuf> {
        Some(self.folder.as_ref()?.join(format!("p{}-owner-{:04}.rows", self.party as u8, self.owner + 1)))
    }

    fn head(&self, course: &[u8; 32], sharing: &[u8; SHARING]) -> Vec<u8> {
        let owner = (self.owner as u32).to_le_bytes();
        [MAGIC, course, &[self.party as u8], &owner, sharing].concat()
    }

    /// Keeps what was received, whole or not at all.
    fn write(&self, held: &Held) -> Result<(), SessionError> {
        let Some(path) = self.path() else { return Ok(()) };
        let mut bytes = Zeroizing::new(Vec::with_capacity(AROUND + held.received.len()));
        bytes.extend_from_slice(&self.head(&self.course, &held.sharing));
        bytes.extend_from_slice(&held.received);
        let digest = blake3::hash(&bytes);
        bytes.extend_from_slice(digest.as_bytes());
        let write = || -> std::io::Result<()> {
            let fresh = path.with_extension("part");
            let _ = std::fs::remove_file(&fresh);
            let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            std::fs::rename(&fresh, &path)?;
            std::fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
        };
        write().map_err(|source| SessionError::file("writing", &path, source))
    }

    /// What was kept, where it is whole and of this job; otherwise nothing, and why.
    fn read(&self) -> Result<Option<Held>, String> {
        let Some(path) = self.path().filter(|path| path.exists()) else { return Ok(None) };
        let refused = |reason: &str| format!("{}: {reason}; its owner must share anew", path.display());
        let failed = |error: std::io::Error| refused(&error.to_string());
        if std::fs::metadata(&path).map_err(failed)?.len() != (AROUND + self.len) as u64 {
            return Err(refused("it has not the length that the job gives it"));
        }
        let bytes = Zeroizing::new(std::fs::read(&path).map_err(failed)?);
        let whole = bytes.split_last_chunk::<32>().filter(|(content, digest)| blake3::hash(content) == **digest);
        let Some((content, _)) = whole.filter(|(content, _)| content.len() == AROUND - 32 + self.len) else {
            return Err(refused("it is damaged"));
        };
        let (head, received) = content.split_at(AROUND - 32);
        let mut sharing = [0; SHARING];
        sharing.copy_from_slice(&head[head.len() - SHARING..]);
        let mut courses = std::iter::once(&self.course).chain(&self.earlier);
        if sharing == [0; SHARING] || !courses.any(|course| head == self.head(course, &sharing)) {
            return Err(refused("it belongs to another job"));
        }
        Ok(Some(Held { sharing, received: Zeroizing::new(received.to_vec()) }))
    }

    /// Takes these rows of an owner that has connected and said which they are.
    fn take(&self, peer: &mut Peer, brings: &Brings) -> Result<Held, SessionError> {
        peer.send_control(&Verdict::Accepted)?;
        let mut received = Zeroizing::new(vec![0; self.len]);
        peer.recv_into(ROWS_STEP, &mut received, "its rows")?;
        peer.send_control(&Verdict::Accepted)?;
        accepted(peer, "word that the other party has its rows, too")?;
        let held = Held { sharing: brings.sharing, received };
        self.write(&held)?;
        peer.send_control(&Verdict::Accepted)?;
        Ok(held)
    }

    fn objection(&self, brings: &Brings) -> Option<String> {
        let own = self.party;
        if brings.protocol != PROTOCOL {
            return Some(format!(
                "{} speaks protocol version {PROTOCOL}, the owner {}",
                config::name(own),
                brings.protocol
            ));
        }
        if brings.party != own as u8 {
            let own = config::name(own);
            return Some(format!("this is {own}, and the owner takes it for the other party: exchange p0 and p1"));
        }
        if brings.job != self.course {
            let reason = "the owner has another job: shapes, classes, scales or what is revealed differ; give all roles the same \
                          job file, and the same release";
            return Some(reason.to_string());
        }
        (brings.sharing == [0; SHARING]).then(|| "the owner's sharing has no name".to_string())
    }
}

/// The places of all rows, and which of them are here or on their way.
struct Places {
    all: Vec<Place>,
    names: Vec<String>,
    claimed: Mutex<Vec<bool>>,
}

impl Places {
    /// Takes what an owner brings that has connected.
    fn attend(&self, peer: &mut Peer) -> Taken {
        let name = peer.name().to_string();
        let own = || self.all.iter().filter(|place| self.names[place.owner] == name);
        let brings: Brings = match peer.recv_control(CONTROL, "what it brings") {
            Ok(brings) => brings,
            Err(error) => return Taken::Nothing(name, error.into()),
        };
        let place = own().find(|place| place.from_epoch == brings.from_epoch);
        let any = place.or(own().next()).expect("only owners are let in");
        let objection = any.objection(&brings).or_else(|| {
            let epoch = brings.from_epoch;
            place.is_none().then(|| format!("the job knows no rows of {name} that take part from epoch {epoch} on"))
        });
        let refused = |peer: &mut Peer, reason: &str| {
            let _ = peer.send_control(&Verdict::Refused(reason.to_string()));
            let _ = peer.flush();
        };
        if let Some(reason) = objection {
            refused(peer, &reason);
            return Taken::Nothing(name.clone(), SessionError::Mismatch { peer: name, reason });
        }
        if !self.claim(any.owner) {
            let reason = format!("the rows of {name} came already, or are coming: an owner shares once");
            refused(peer, &reason);
            return Taken::Twice(format!("refused {name}: {reason}"));
        }
        match any.take(peer, &brings) {
            Ok(held) => Taken::Rows(any.owner, held),
            Err(error) => {
                self.claims()[any.owner] = false;
                Taken::Nothing(name, error)
            }
        }
    }

    /// Whether these rows are neither here nor on their way. One that broke off and comes again may be back before it was seen
    /// that it had gone.
    fn claim(&self, owner: usize) -> bool {
        let until = Instant::now() + GRACE;
        loop {
            let free = !std::mem::replace(&mut self.claims()[owner], true);
            if free || Instant::now() >= until {
                return free;
            }
            std::thread::sleep(ACCEPT / 4);
        }
    }

    fn claims(&self) -> MutexGuard<'_, Vec<bool>> {
        self.claimed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The places of the rows of all owners at a party.
fn places(config: &TrainPartyConfig, course: &Course, form: &Form) -> Vec<Place> {
    let earlier = |owner: usize| {
        let had = course.earlier().iter().filter(|earlier| earlier.owners > owner);
        had.map(|earlier| earlier.digest).collect()
    };
    let place = |owner: usize| Place {
        owner,
        from_epoch: course.job().owners[owner].from_epoch,
        party: config.role,
        course: course.digest(),
        earlier: earlier(owner),
        len: form.sent(owner, config.role),
        folder: config.checkpoint.clone(),
    };
    (0..form.owners()).map(place).collect()
}

/// What a party keeps of the rows of owners.
pub(crate) struct Kept {
    /// Whose rows are to come.
    pub missing: Vec<String>,
    /// What is wrong with files that are there.
    pub refused: Vec<String>,
    /// Bytes of all files, while one is written.
    pub room: u64,
}

/// Looks at what a party keeps, and changes nothing.
pub(crate) fn kept(config: &TrainPartyConfig, course: &Course) -> Kept {
    let all = places(config, course, &Form::new(course));
    let sizes = || all.iter().map(|place| (AROUND + place.len) as u64);
    let mut kept = Kept { missing: vec![], refused: vec![], room: sizes().sum::<u64>() + sizes().max().unwrap_or(0) };
    for place in &all {
        match place.read() {
            Ok(Some(_)) => continue,
            Ok(None) => {}
            Err(reason) => kept.refused.push(reason),
        }
        kept.missing.push(course.job().owners[place.owner].label());
    }
    kept
}

/// Where owners are awaited.
pub(crate) struct Welcome<'a> {
    course: &'a Course,
    form: Form,
    party: Party,
    places: Arc<Places>,
    held: Vec<Option<Held>>,
    listener: Option<Listener>,
    /// How long owners are waited for.
    patience: Duration,
}

/// Tells owners that come when the training has begun that they are late. Ends when it is dropped.
pub(crate) struct Late {
    ended: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Drop for Late {
    /// Whoever starts the party again finds the address free, unless an owner just now holds up its farewell.
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        let until = Instant::now() + GRACE;
        while !self.thread.is_finished() && Instant::now() < until {
            std::thread::sleep(ACCEPT / 10);
        }
    }
}

impl<'a> Welcome<'a> {
    /// Reads what is kept, and listens for owners; none where a party brings the rows.
    pub fn open(
        config: &TrainPartyConfig,
        course: &'a Course,
        identity: &Identity,
        events: &mut dyn Events,
    ) -> Result<Option<Welcome<'a>>, SessionError> {
        let job = course.job();
        if job.features != Source::Owners {
            return match config.owners {
                None => Ok(None),
                Some(_) => Err(SessionError::Config(
                    "`owners` is set, and in this job a party brings the rows: take it out".to_string(),
                )),
            };
        }
        let form = Form::new(course);
        let all = places(config, course, &form);
        let mut held = Vec::with_capacity(all.len());
        for place in &all {
            held.push(place.read().unwrap_or_else(|reason| {
                events.notice(reason);
                None
            }));
        }
        let limits = config.deadlines.limits()?;
        let pinned = |owner: &super::pooled::RowOwner| {
            let pin = config::pin(&owner.fingerprint, &owner.name)?;
            Ok(Allowed { name: owner.name.clone(), pin })
        };
        let mut allowed = job.owners.iter().map(pinned).collect::<Result<Vec<_>, SessionError>>()?;
        // Who adds rows stands there again.
        allowed.sort_by(|one, other| one.name.cmp(&other.name));
        allowed.dedup_by(|one, other| one.name == other.name);
        let listen = |address: &String| Listener::bind(address, identity, &allowed, &limits);
        let listener = config.owners.as_ref().map(listen).transpose()?;
        if let Some(listener) = &listener {
            events.tell(Event::ListeningForOwners { address: listener.local_addr()? });
        }
        let names = job.owners.iter().map(|owner| owner.name.clone()).collect();
        let places = Arc::new(Places { all, names, claimed: Mutex::default() });
        Ok(Some(Welcome { course, form, party: config.role, places, held, listener, patience: limits.stall }))
    }

    /// Waits until both parties have the rows of all owners, of one sharing each.
    pub fn gather(
        mut self,
        peer: &mut Peer,
        hooks: &Hooks,
        events: &mut dyn Events,
    ) -> Result<(Pool, Option<Late>), SessionError> {
        self.compare(peer)?;
        let missing = self.missing();
        if !missing.is_empty() {
            events.notice(format!("waits for the rows of {}", missing.join(", ")));
            self.receive(hooks, events)?;
            self.compare(peer)?;
            let torn = self.missing();
            if !torn.is_empty() {
                let reason = format!(
                    "the rows of {} that it has and those that are here are of two sharings; start both parties again, and let \
                     these owners share anew",
                    torn.join(", ")
                );
                return Err(SessionError::Mismatch { peer: peer.name().to_string(), reason });
            }
        }
        let late = self.listener.take().map(late).transpose()?;
        let party = self.party;
        let held = self.held.into_iter().flatten().enumerate();
        let shares = held.map(|(owner, held)| self.form.expand(owner, party, held.received)).collect();
        Ok((Pool::new(self.form, shares), late))
    }

    /// Names of the owners whose rows are not here.
    fn missing(&self) -> Vec<String> {
        let owners = self.course.job().owners.iter().zip(&self.held);
        owners.filter(|(_, held)| held.is_none()).map(|(owner, _)| owner.label()).collect()
    }

    /// Gives up rows that the other party has not, or has of another sharing.
    fn compare(&mut self, peer: &mut Peer) -> Result<(), SessionError> {
        let name = |held: &Option<Held>| held.as_ref().map_or([0; SHARING], |held| held.sharing);
        let own: Vec<[u8; SHARING]> = self.held.iter().map(name).collect();
        peer.send(SHARINGS_STEP, own.concat())?;
        let theirs = peer.recv(SHARINGS_STEP, own.len() * SHARING, "which owners' rows it has")?;
        for ((held, own), theirs) in self.held.iter_mut().zip(&own).zip(theirs.chunks_exact(SHARING)) {
            if own != theirs {
                *held = None;
            }
        }
        Ok(())
    }

    /// A connection of an owner ended.
    fn note(&mut self, taken: Taken, events: &mut dyn Events) {
        match taken {
            Taken::Rows(owner, held) => {
                self.held[owner] = Some(held);
                events.notice(format!("has the rows of {}", self.course.job().owners[owner].label()));
            }
            Taken::Twice(refused) => events.notice(refused),
            Taken::Nothing(name, error) => events.notice(format!("took nothing from {name}: {}", reason(&error))),
        }
    }

    /// Takes rows until none is missing. Each owner has a connection and a thread of its own: one that is slow holds up no other.
    fn receive(&mut self, hooks: &Hooks, events: &mut dyn Events) -> Result<(), SessionError> {
        let Some(mut listener) = self.listener.take() else {
            let names = self.missing().join(", ");
            let reason =
                format!("the rows of {names} are not here, and no address for owners: set `owners` to HOST:PORT");
            return Err(SessionError::Config(reason));
        };
        let role = config::name(self.party).to_lowercase();
        let (tell, hear) = channel::<Taken>();
        let (guests, mut strangers, until) = (Arc::new(Guests::default()), 0, Instant::now() + self.patience);
        *self.places.claims() = self.held.iter().map(Option::is_some).collect();
        loop {
            hear.try_iter().for_each(|ended| self.note(ended, events));
            if listener.refused() > strangers {
                strangers = listener.refused();
                let who = listener.last_refusal().unwrap_or("a caller that showed no identity");
                events.notice(format!("turned away where owners connect: {who}"));
            }
            let missing = self.missing();
            if missing.is_empty() {
                break;
            }
            if Instant::now() >= until {
                let reason = format!(
                    "no rows came from {} in {:.0} s; start both parties again (rows that came are kept with the checkpoints), or \
                     wait longer (deadlines.stall)",
                    missing.join(", "),
                    self.patience.as_secs_f64()
                );
                return Err(SessionError::Mismatch { peer: missing.join(", "), reason });
            }
            let mut peer = match listener.accept(ACCEPT) {
                Ok(peer) => peer,
                Err(NetError::PeerGone { .. }) => continue,
                Err(error) => return Err(error.into()),
            };
            let name = peer.name().to_string();
            let pin = *peer.fingerprint().expect("owners come over TLS").as_bytes();
            let Some(guest) = guests.enter(pin, OF_ONE * self.held.len()) else {
                events.notice(format!("refused {name}: it has {OF_ONE} connections already"));
                continue;
            };
            let mut observer = (hooks.observer)(&role);
            let from = format!("owner {name}");
            peer.tap(Box::new(move |bytes| observer.received(&from, bytes)));
            let (places, tell) = (self.places.clone(), tell.clone());
            std::thread::spawn(move || {
                let taken = places.attend(&mut peer);
                // The one who waited may have given up; whether the owner hears the farewell does not matter.
                let _ = tell.send(taken);
                let _ = peer.close();
                drop(guest);
            });
        }
        self.listener = Some(listener);
        Ok(())
    }
}

/// What an error says of an owner that is named anyway.
fn reason(error: &SessionError) -> String {
    match error {
        SessionError::Mismatch { reason, .. } => reason.clone(),
        error => error.to_string(),
    }
}

/// Whether it hears the reason does not matter to this party.
fn refuse(mut peer: Peer, reason: String) {
    let _ = peer.send_control(&Verdict::Refused(reason));
    let _ = peer.close();
}

fn late(mut listener: Listener) -> Result<Late, SessionError> {
    let ended = Arc::new(AtomicBool::new(false));
    let stop = ended.clone();
    let serve = move || {
        while !stop.load(Ordering::Relaxed) {
            match listener.accept(ACCEPT) {
                Ok(peer) => {
                    let reason =
                        "it is late: the rows of all owners came already, and the training has begun".to_string();
                    refuse(peer, reason);
                }
                Err(NetError::PeerGone { .. }) => {}
                Err(_) => return,
            }
        }
    };
    let spawned = std::thread::Builder::new().name("late owners".to_string()).spawn(serve);
    let thread = spawned.map_err(|source| SessionError::file("starting", "a thread that listens", source))?;
    Ok(Late { ended, thread })
}
