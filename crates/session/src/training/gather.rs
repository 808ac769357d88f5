//! P0 or P1 of a pooled training: owners connect, leave their shares of rows and go. Shares are kept with the checkpoints, so
//! that a training that goes on needs no owner.
//!
//! File of an owner's rows: "ariann rows 1\n", digest of job and plans (32), party (1), the owner's number (4), name of the
//! sharing (16), what the party received, BLAKE3 of all of it (32). Little-endian.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
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
type Taken = (usize, Result<Held, SessionError>);

/// What a connection of one owner is held against, and where its rows go.
#[derive(Clone)]
struct Place {
    owner: usize,
    party: Party,
    course: [u8; 32],
    /// Bytes that the party receives.
    len: usize,
    folder: Option<PathBuf>,
}

impl Place {
    fn path(&self) -> Option<PathBuf> {
        Some(self.folder.as_ref()?.join(format!("p{}-owner-{:04}.rows", self.party as u8, self.owner + 1)))
    }

    fn head(&self, sharing: &[u8; SHARING]) -> Vec<u8> {
        let owner = (self.owner as u32).to_le_bytes();
        [MAGIC, &self.course, &[self.party as u8], &owner, sharing].concat()
    }

    /// Keeps what was received, whole or not at all.
    fn write(&self, held: &Held) -> Result<(), SessionError> {
        let Some(path) = self.path() else { return Ok(()) };
        let mut bytes = Zeroizing::new(Vec::with_capacity(AROUND + held.received.len()));
        bytes.extend_from_slice(&self.head(&held.sharing));
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
        if head != self.head(&sharing) || sharing == [0; SHARING] {
            return Err(refused("it belongs to another job"));
        }
        Ok(Some(Held { sharing, received: Zeroizing::new(received.to_vec()) }))
    }

    /// Takes the rows of an owner that has connected.
    fn take(&self, peer: &mut Peer) -> Result<Held, SessionError> {
        let brings: Brings = peer.recv_control(CONTROL, "what it brings")?;
        if let Some(reason) = self.objection(&brings) {
            peer.send_control(&Verdict::Refused(reason.clone()))?;
            let _ = peer.flush();
            return Err(SessionError::Mismatch { peer: peer.name().to_string(), reason });
        }
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

/// Where owners are awaited.
pub(crate) struct Welcome<'a> {
    course: &'a Course,
    form: Form,
    places: Vec<Place>,
    held: Vec<Option<Held>>,
    listener: Option<Listener>,
    /// How long owners are waited for.
    patience: Duration,
}

/// Tells owners that come when the training has begun that they are late. Ends when it is dropped.
pub(crate) struct Late(Arc<AtomicBool>);

impl Drop for Late {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
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
        let place = |owner: usize| Place {
            owner,
            party: config.role,
            course: course.digest(),
            len: form.sent(owner, config.role),
            folder: config.checkpoint.clone(),
        };
        let places: Vec<Place> = (0..form.owners()).map(place).collect();
        let mut held = Vec::with_capacity(places.len());
        for place in &places {
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
        let allowed = job.owners.iter().map(pinned).collect::<Result<Vec<_>, SessionError>>()?;
        let listen = |address: &String| Listener::bind(address, identity, &allowed, &limits);
        let listener = config.owners.as_ref().map(listen).transpose()?;
        if let Some(listener) = &listener {
            events.tell(Event::ListeningForOwners { address: listener.local_addr()? });
        }
        Ok(Some(Welcome { course, form, places, held, listener, patience: limits.stall }))
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
        let party = self.places[0].party;
        let held = self.held.into_iter().flatten().enumerate();
        let shares = held.map(|(owner, held)| self.form.expand(owner, party, held.received)).collect();
        Ok((Pool::new(self.form, shares), late))
    }

    /// Names of the owners whose rows are not here.
    fn missing(&self) -> Vec<&str> {
        let owners = self.course.job().owners.iter().zip(&self.held);
        owners.filter(|(_, held)| held.is_none()).map(|(owner, _)| owner.name.as_str()).collect()
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
    fn note(&mut self, (owner, taken): Taken, busy: &mut [bool], events: &mut dyn Events) {
        busy[owner] = false;
        let name = &self.course.job().owners[owner].name;
        match taken {
            Ok(held) => {
                self.held[owner] = Some(held);
                events.notice(format!("has the rows of {name}"));
            }
            Err(error) => events.notice(format!("took nothing from {name}: {}", reason(&error))),
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
        let role = config::name(self.places[0].party).to_lowercase();
        let (tell, hear) = channel::<Taken>();
        let (mut busy, mut strangers, until) = (vec![false; self.held.len()], 0, Instant::now() + self.patience);
        loop {
            hear.try_iter().for_each(|ended| self.note(ended, &mut busy, events));
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
            let owners = &self.course.job().owners;
            let owner = owners.iter().position(|owner| owner.name == peer.name()).expect("only owners are let in");
            let name = owners[owner].name.clone();
            // One that broke off and comes again may be back before it was seen that it had gone.
            let patience = Instant::now() + GRACE;
            while busy[owner] {
                let Some(left) = patience.checked_duration_since(Instant::now()) else { break };
                hear.recv_timeout(left).into_iter().for_each(|ended| self.note(ended, &mut busy, events));
            }
            if self.held[owner].is_some() || busy[owner] {
                let reason = format!("the rows of {name} came already, or are coming: an owner shares once");
                events.notice(format!("refused {name}: {reason}"));
                std::thread::spawn(move || refuse(peer, reason));
                continue;
            }
            busy[owner] = true;
            let mut observer = (hooks.observer)(&role);
            let from = format!("owner {name}");
            peer.tap(Box::new(move |bytes| observer.received(&from, bytes)));
            let (place, tell) = (self.places[owner].clone(), tell.clone());
            std::thread::spawn(move || {
                let taken = place.take(&mut peer);
                // The one who waited may have given up; whether the owner hears the farewell does not matter.
                let _ = tell.send((owner, taken));
                let _ = peer.close();
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
    spawned.map_err(|source| SessionError::file("starting", "a thread that listens", source))?;
    Ok(Late(ended))
}
