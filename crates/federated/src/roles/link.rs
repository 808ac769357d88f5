//! The server's end of one owner's connection: a thread that asks what it is told to ask, and hands on the answers. It trains
//! as P0 of the pair, so that pairs train at the same time.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use ariann_gates::Party;
use ariann_net::{Fingerprint, Identity, Limits, Peer};
use ariann_ring::Ring;
use ariann_session::SessionError;
use ariann_session::events::Silent;
use ariann_session::hooks::Hooks;
use ariann_session::training::{Data, PairEnd, PairTask, run_pair};

use super::dealer::ask;
use super::federation::Plan;
use super::shares::{forget_update, has_update, keep_update, receive_share, send_share};
use super::wire::{DIGEST_STEP, FromOwner, Hello, MOST, PROTOCOL, Past, ToOwner, UPDATE_STEP, Wanted};
use crate::{CHUNK, FederatedError, FolderSpool, MOST_OWNERS, Server, Who, decode};

/// A round's state machine, which links feed with updates.
pub(crate) type Shared = Arc<Mutex<Server<FolderSpool>>>;

/// What a link is to do.
pub(crate) enum Order<R> {
    /// Ask, and hand on the answer.
    Ask(ToOwner),
    /// Train with this share of the model, and take the update in.
    Train { done: u32, round: u64, task: PairTask, words: Arc<Vec<R>>, server: Shared, folder: PathBuf },
    /// Ask for a share of the model, and take it in.
    Fetch(ToOwner),
    /// Say the last word, and with it the server's share of the model where it is revealed.
    End { message: ToOwner, words: Option<Arc<Vec<R>>> },
    /// Test the model.
    Test { past: Past, task: PairTask, words: Arc<Vec<R>> },
}

/// What a link says.
pub(crate) enum Heard<R> {
    /// An owner is there.
    Came(Box<Came<R>>),
    /// Its answer.
    Answer { link: u64, answer: FromOwner },
    /// Its update is in, after so many seconds of training and so many bytes of material.
    Updated { link: u64, seconds: f64, material: u64 },
    /// A share of the model.
    Fetched { link: u64, words: Vec<R> },
    /// The accuracy of the model.
    Tested { link: u64, accuracy: Option<f64> },
    /// The connection is of no use any more.
    Gone { link: u64, error: SessionError },
}

/// An owner that has said who it is.
pub(crate) struct Came<R> {
    pub link: u64,
    pub owner: u16,
    pub hello: Hello,
    pub tell: Sender<Order<R>>,
    pub bytes: Arc<AtomicU64>,
}

/// What all links share.
pub(crate) struct Common {
    pub plan: Plan,
    pub identity: Identity,
    pub dealer: (String, Fingerprint),
    pub limits: Limits,
    pub hooks: Hooks,
}

/// Runs in a thread of its own, to the end of the connection.
pub(crate) fn run<R: Ring>(common: &Common, mut peer: Peer, link: u64, say: &Sender<Heard<R>>) {
    let (tell, hear) = channel();
    let bytes = Arc::new(AtomicU64::new(0));
    let ended = greet(common, &mut peer).and_then(|(owner, hello)| {
        let _ = say.send(Heard::Came(Box::new(Came { link, owner, hello, tell, bytes: bytes.clone() })));
        work(common, &mut peer, (link, owner), say, &hear, &bytes)
    });
    match ended {
        // The server has ended, or has another connection of this owner.
        Ok(()) => drop(peer.close()),
        Err(error) => drop(say.send(Heard::Gone { link, error })),
    }
}

fn greet(common: &Common, peer: &mut Peer) -> Result<(u16, Hello), SessionError> {
    let number = peer.fingerprint().and_then(|pin| common.plan.roster.number_of(*pin));
    let number = number.expect("only owners are let in");
    let hello: Hello = peer.recv_control(MOST, "its first word")?;
    let reason = if hello.protocol != PROTOCOL {
        format!("the server speaks version {PROTOCOL} of the federated messages, it {}", hello.protocol)
    } else if hello.roster != common.plan.roster.digest() {
        "the server has another federation: give all roles the same file, and the same release".to_string()
    } else {
        return Ok((number, hello));
    };
    peer.send_control(&ToOwner::Refused(reason.clone()))?;
    let _ = peer.flush();
    Err(SessionError::Mismatch { peer: peer.name().to_string(), reason })
}

fn work<R: Ring>(
    common: &Common,
    peer: &mut Peer,
    (link, owner): (u64, u16),
    say: &Sender<Heard<R>>,
    hear: &Receiver<Order<R>>,
    bytes: &AtomicU64,
) -> Result<(), SessionError> {
    while let Ok(order) = hear.recv() {
        let heard = match order {
            Order::Ask(message) => {
                peer.send_control(&message)?;
                Heard::Answer { link, answer: peer.recv_control(MOST, "its answer")? }
            }
            Order::Fetch(message) => {
                peer.send_control(&message)?;
                match peer.recv_control(MOST, "word of its share")? {
                    FromOwner::Share => Heard::Fetched { link, words: receive_share(peer, common.plan.training())? },
                    answer => Heard::Answer { link, answer },
                }
            }
            Order::End { message, words } => {
                peer.send_control(&message)?;
                if let Some(words) = words {
                    send_share(peer, &words)?;
                }
                Heard::Answer { link, answer: peer.recv_control(MOST, "its last word")? }
            }
            Order::Train { done, round, task, words, server, folder } => {
                let began = Instant::now();
                peer.send_control(&ToOwner::Train { done, task })?;
                let answer = peer.recv_control(MOST, "word that it trains")?;
                let mut material = 0;
                match answer {
                    FromOwner::Ready => {
                        forget_update(&folder, owner)?;
                        let end = pair(common, peer, (owner, round), task, &words)?;
                        keep_update(&folder, owner, &common.plan.words(&end.states))?;
                        material = end.report.material_bytes[0];
                    }
                    // It sends again what the server did not get whole; the server's own share is on its disk.
                    FromOwner::Trained if has_update(&folder, owner) => {}
                    FromOwner::Trained => return Err(SessionError::Mismatch {
                        peer: peer.name().to_string(),
                        reason: "it has trained already, and the server has lost its share of that; it counts again in the next round".to_string(),
                    }),
                    answer => {
                        let _ = say.send(Heard::Answer { link, answer });
                        continue;
                    }
                }
                take_update(common, peer, owner, &server)?;
                Heard::Updated { link, seconds: began.elapsed().as_secs_f64(), material }
            }
            Order::Test { past, task, words } => {
                peer.send_control(&ToOwner::Test { past, task })?;
                match peer.recv_control(MOST, "word that it tests")? {
                    FromOwner::Ready => {
                        let PairTask::Test { round } = task else { unreachable!("a test") };
                        let end = pair(common, peer, (owner, u64::from(round)), task, &words)?;
                        Heard::Tested { link, accuracy: end.accuracy }
                    }
                    answer => Heard::Answer { link, answer },
                }
            }
        };
        let stats = peer.stats();
        bytes.store(stats.payload_sent + stats.payload_received, Ordering::Relaxed);
        if say.send(heard).is_err() {
            break;
        }
    }
    Ok(())
}

/// P0 of the pair.
fn pair<R: Ring>(
    common: &Common,
    peer: &mut Peer,
    (owner, round): (u16, u64),
    task: PairTask,
    words: &[R],
) -> Result<PairEnd<R>, SessionError> {
    let Common { plan, identity, dealer, limits, hooks } = common;
    let wanted = Wanted { protocol: PROTOCOL, roster: plan.roster.digest(), owner, round, party: 0, task };
    let material = ask(Peer::connect(&dealer.0, identity, &dealer.1, "the dealer", limits)?, wanted)?;
    let (cursor, data) = (plan.course.pair(task)?, Data::none(&plan.course));
    let observer = (hooks.observer)("server");
    run_pair(cursor, Party::P0, data, plan.states(words), peer, material, observer, &mut Silent)
}

/// Takes an update in, chunk by chunk.
fn take_update(common: &Common, peer: &mut Peer, owner: u16, server: &Shared) -> Result<(), SessionError> {
    let lock = || server.lock().unwrap_or_else(PoisonError::into_inner);
    let training = common.plan.training();
    let FromOwner::Update(head) = peer.recv_control(MOST, "its update")? else {
        let reason = "it sent something else where its update was due".to_string();
        return Err(SessionError::Mismatch { peer: peer.name().to_string(), reason });
    };
    let head = decode(Who::Owner(owner), MOST_OWNERS, &head)?;
    lock().begin_update(owner, &head)?;
    let most = CHUNK * training.ring as usize / 8;
    let mut held = Vec::with_capacity(most);
    peer.recv_stream(UPDATE_STEP, training.bytes(), "its update", |piece| -> Result<(), SessionError> {
        held.extend_from_slice(piece);
        if held.len() >= most {
            lock().update_bytes(owner, &held)?;
            held.clear();
        }
        Ok(())
    })?;
    if !held.is_empty() {
        lock().update_bytes(owner, &held)?;
    }
    let mut digest = [0; 32];
    peer.recv_into(DIGEST_STEP, &mut digest, "the digest of its update")?;
    let finished: Result<_, FederatedError> = lock().finish_update(owner, digest);
    finished?;
    Ok(())
}
