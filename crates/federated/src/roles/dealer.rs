//! The dealer: serves all pairs of a federation, each task of each pair with fresh seeds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use ariann_net::{Allowed, Fingerprint, Limits, Listener, NetError, Peer};
use ariann_session::config::{pin, threads};
use ariann_session::events::{Event, Events, Silent};
use ariann_session::hooks::Hooks;
use ariann_session::report::peak_rss;
use ariann_session::training::deal_pair;
use ariann_session::{SessionError, printable};

use super::config::{FederateDealConfig, patient};
use super::federation::{Federation, Plan};
use super::report::FederateReport;
use super::wire::{Ask, MOST, PROTOCOL, Verdict, Wanted};

/// How long one call of accept waits.
const ACCEPT: Duration = Duration::from_millis(50);
/// How long one party of a pair waits for the other.
const ALONE: Duration = Duration::from_secs(60);
/// Bytes that a connection queues beside the material that is made ahead.
const QUEUED: usize = 1 << 20;

/// A pair's party that waits for the other.
struct Waiting {
    peer: Peer,
    wanted: Wanted,
    since: Instant,
}

/// What the threads tell.
enum Heard {
    Asked(Box<Peer>, Ask),
    Dealt(u16, Result<u64, SessionError>),
}

/// Deals until the server says that the training has ended.
pub fn deal(
    config: &FederateDealConfig,
    hooks: &Hooks,
    events: &mut dyn Events,
) -> Result<FederateReport, SessionError> {
    threads(config.threads)?;
    let (began, plan) = (Instant::now(), Arc::new(Federation::read(&config.federation)?.plan()?));
    let server = pin(&plan.federation.server, "the server")?;
    let mut allowed = vec![Allowed { name: "server".to_string(), pin: server }];
    for owner in &plan.federation.owners {
        allowed.push(Allowed { name: name(owner.number), pin: pin(&owner.fingerprint, "an owner")? });
    }
    let limits = Limits { queue_bytes: QUEUED, ..patient(&config.deadlines)? };
    let mut listener = Listener::bind(&config.listen, &config.identity.load()?, &allowed, &limits)?;
    events.tell(Event::Listening { address: listener.local_addr()? });
    let (say, hear) = channel();
    let mut waiting: BTreeMap<(u16, u8), Waiting> = BTreeMap::new();
    let (mut busy, mut ended, mut bytes) = (0, false, 0);
    while !ended || busy > 0 {
        match listener.accept(ACCEPT) {
            Ok(mut peer) => {
                let mut observer = (hooks.observer)("dealer");
                let from = peer.name().to_string();
                peer.tap(Box::new(move |bytes| observer.received(&from, bytes)));
                let say = say.clone();
                // One that leaves again before it has asked may come back.
                std::thread::spawn(move || {
                    if let Ok(ask) = peer.recv_control::<Ask>(MOST, "what it wants") {
                        let _ = say.send(Heard::Asked(Box::new(peer), ask));
                    }
                });
            }
            Err(NetError::PeerGone { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        for heard in waiting_words(&hear) {
            match heard {
                Heard::Asked(peer, Ask::End) if peer.fingerprint() == Some(&server) => {
                    ended = true;
                    let _ = peer.close();
                }
                Heard::Asked(peer, Ask::End) => refuse(*peer, "only the server ends the training".to_string(), events),
                Heard::Asked(peer, Ask::Deal(wanted)) => {
                    if let Some(reason) = objection(&plan, peer.fingerprint(), &server, &wanted) {
                        refuse(*peer, reason, events);
                        continue;
                    }
                    waiting
                        .insert((wanted.owner, wanted.party), Waiting { peer: *peer, wanted, since: Instant::now() });
                    if let Some(pair) = pair(&mut waiting, wanted.owner) {
                        busy += 1;
                        let (say, plan) = (say.clone(), plan.clone());
                        std::thread::spawn(move || {
                            let _ = say.send(Heard::Dealt(wanted.owner, work(&plan, wanted, pair)));
                        });
                    }
                }
                Heard::Dealt(owner, dealt) => {
                    busy -= 1;
                    match dealt {
                        Ok(made) => bytes += made,
                        Err(error) => events.notice(format!("the pair of owner {owner} stopped: {error}")),
                    }
                }
            }
        }
        let late: Vec<(u16, u8)> =
            waiting.iter().filter(|(_, it)| it.since.elapsed() >= ALONE).map(|(key, _)| *key).collect();
        for key in late {
            let gone = waiting.remove(&key).expect("just found");
            refuse(gone.peer, format!("the other party of the pair of owner {} did not come", key.0), events);
        }
    }
    Ok(FederateReport {
        role: "dealer".to_string(),
        material_bytes: bytes,
        seconds: began.elapsed().as_secs_f64(),
        peak_rss_bytes: peak_rss(),
        ..FederateReport::default()
    })
}

fn waiting_words(hear: &Receiver<Heard>) -> Vec<Heard> {
    hear.try_iter().collect()
}

/// An owner's name in messages.
pub(crate) fn name(number: u16) -> String {
    format!("owner {number}")
}

fn objection(plan: &Plan, from: Option<&Fingerprint>, server: &Fingerprint, wanted: &Wanted) -> Option<String> {
    if wanted.protocol != PROTOCOL {
        return Some(format!("the dealer speaks version {PROTOCOL} of the federated messages, it {}", wanted.protocol));
    }
    if wanted.roster != plan.roster.digest() {
        return Some("it has another federation: give all roles the same file, and the same release".to_string());
    }
    let is_server = from == Some(server);
    let number = from.and_then(|from| plan.roster.number_of(*from));
    if wanted.party > 1 || is_server != (wanted.party == 0) || (!is_server && number != Some(wanted.owner)) {
        return Some(format!("it is not party {} of the pair of owner {}", wanted.party, wanted.owner));
    }
    plan.course.pair(wanted.task).err().map(|error| error.to_string())
}

/// Both parties of an owner's pair, when they are there and want the same.
fn pair(waiting: &mut BTreeMap<(u16, u8), Waiting>, owner: u16) -> Option<[Peer; 2]> {
    let [first, second] = [waiting.get(&(owner, 0))?, waiting.get(&(owner, 1))?];
    let same = |wanted: &Wanted| Wanted { party: 0, ..*wanted };
    if same(&first.wanted) != same(&second.wanted) {
        // The older one is of a pair that was cut off.
        let old = if first.since < second.since { 0 } else { 1 };
        waiting.remove(&(owner, old));
        return None;
    }
    Some([waiting.remove(&(owner, 0))?.peer, waiting.remove(&(owner, 1))?.peer])
}

fn work(plan: &Plan, wanted: Wanted, mut pair: [Peer; 2]) -> Result<u64, SessionError> {
    let cursor = plan.course.pair(wanted.task)?;
    for peer in &mut pair {
        peer.send_control(&Verdict::Accepted)?;
    }
    Ok(deal_pair(cursor, pair, &mut Silent)?.bytes.iter().sum())
}

fn refuse(mut peer: Peer, reason: String, events: &mut dyn Events) {
    events.notice(format!("refused {}: {reason}", peer.name()));
    std::thread::spawn(move || {
        let _ = peer.send_control(&Verdict::Refused(reason));
        let _ = peer.close();
    });
}

/// Asks the dealer for the material of a task, as one party of a pair.
pub(crate) fn ask(mut dealer: Peer, wanted: Wanted) -> Result<Peer, SessionError> {
    dealer.send_control(&Ask::Deal(wanted))?;
    match dealer.recv_control(MOST, "its verdict")? {
        Verdict::Accepted => Ok(dealer),
        Verdict::Refused(reason) => {
            let reason = printable(&reason);
            Err(SessionError::Mismatch { peer: "the dealer".to_string(), reason })
        }
    }
}
