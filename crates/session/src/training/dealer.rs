//! The dealer of a training: makes each turn's material from fresh seeds and streams it to both parties, a little ahead of
//! them. Nothing of it is stored.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use ariann_device::Cpu;
use ariann_net::{Allowed, Listener, NetError, Peer};
use ariann_prg::{Seed, entropy};
use ariann_ring::Ring;
use zeroize::Zeroizing;

use super::answers::PATIENCE;
use super::config::TrainDealConfig;
use super::course::{Course, Cursor};
use super::job::Job;
use super::messages::{Ask, HEAD, MEASURED_STEP, STANDING_STEP, TURN_STEP};
use super::outflow::{Message, Outflow, WAITING};
use super::report::TrainReport;
use super::turns::Turn;
use crate::config;
use crate::events::{Event, Events};
use crate::hooks::Hooks;
use crate::making::{BatchSeeds, Maker};
use crate::messages::{CONTROL, Verdict};
use crate::report::peak_rss;
use crate::{PROTOCOL, SessionError};

/// How long one call of accept waits.
const ACCEPT: Duration = Duration::from_secs(1);
/// Bytes that the connection itself queues beside [`WAITING`], the message at hand not counted.
const QUEUED: usize = 1 << 20;
/// Between two words about progress.
const WORDS: Duration = Duration::from_secs(1);

/// Deals the material of a training to P0 and P1, from the turn on that they ask for.
pub fn deal_training(
    config: &TrainDealConfig,
    hooks: &Hooks,
    events: &mut dyn Events,
) -> Result<TrainReport, SessionError> {
    config::threads(config.threads)?;
    let course = Arc::new(Course::new(Job::read(&config.job)?)?);
    match course.job().choices.ring {
        32 => run::<u32>(config, &course, hooks, events),
        _ => run::<u64>(config, &course, hooks, events),
    }
}

fn run<R: Ring>(
    config: &TrainDealConfig,
    course: &Arc<Course>,
    hooks: &Hooks,
    events: &mut dyn Events,
) -> Result<TrainReport, SessionError> {
    let (peers, mut cursor) = accept_parties(config, course, hooks, events)?;
    let mut steps = course.turns().steps_in_all() - course.turns().steps_before(cursor.number());
    if let Some(answers) = config.answers {
        (cursor, steps) = (course.answering(answers, cursor.standing().clone())?, 0);
    }
    let (turns, began) = (cursor.count() - cursor.number(), Instant::now());
    // Who answers leaves when it likes.
    let Dealt { bytes, waiting } = deal::<R>(cursor, peers, config.answers.is_some(), events)?;
    let seconds = began.elapsed().as_secs_f64();
    Ok(TrainReport {
        role: "dealer".to_string(),
        job_digest: course.job().digest_hex(),
        turns,
        steps,
        seconds,
        seconds_per_step: seconds / steps.max(1) as f64,
        bytes_sent: bytes.iter().sum(),
        material_bytes: bytes,
        waiting_bytes: waiting,
        peak_rss_bytes: peak_rss(),
        ..TrainReport::default()
    })
}

/// What was dealt.
#[derive(Clone, Copy, Debug)]
pub struct Dealt {
    /// Bytes of material, for P0 and for P1.
    pub bytes: [u64; 2],
    /// The most that waited for one of them.
    pub waiting: u64,
}

/// Deals the material of a pair's task to its two parties, which are connected and expect it.
pub fn deal_pair(cursor: Cursor, peers: [Peer; 2], events: &mut dyn Events) -> Result<Dealt, SessionError> {
    match cursor.course().job().choices.ring {
        32 => deal::<u32>(cursor, peers.into(), false, events),
        _ => deal::<u64>(cursor, peers.into(), false, events),
    }
}

/// Makes the material of all turns from the cursor's on, and sends it to P0 and P1; until they leave, where they may.
fn deal<R: Ring>(
    cursor: Cursor,
    peers: Vec<Peer>,
    may_leave: bool,
    events: &mut dyn Events,
) -> Result<Dealt, SessionError> {
    let flows = [Outflow::new(WAITING), Outflow::new(WAITING)];
    let bytes = std::thread::scope(|scope| {
        let (mut threads, mut measured) = (Vec::with_capacity(2), Vec::with_capacity(2));
        for (peer, flow) in peers.into_iter().zip(&flows) {
            let name = format!("to {}", peer.name());
            let (tell, hear) = channel();
            measured.push(hear);
            let spawned = std::thread::Builder::new().name(name).spawn_scoped(scope, move || send(peer, flow, &tell));
            threads.push(spawned.map_err(|source| SessionError::file("starting", "a thread that sends", source)));
        }
        let made = if threads.iter().all(Result::is_ok) {
            make::<R>(cursor, &flows, &measured, events)
        } else {
            Ok(Made::default())
        };
        match &made {
            Ok(Made { whole: true, .. }) => flows.iter().for_each(Outflow::finish),
            // One has left. The other, which may wait for material alone, must hear of it.
            Ok(Made { whole: false, .. }) => flows.iter().for_each(Outflow::part),
            Err(_) => flows.iter().for_each(Outflow::abandon),
        }
        let mut failed = None;
        for thread in threads {
            let ended = thread?.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            failed = failed.or(ended.err());
        }
        // A making that failed by itself knows why; one that was stopped was stopped by the sending.
        match (made, failed) {
            (Ok(made), Some(NetError::PeerGone { .. })) if may_leave => Ok(made.bytes),
            (Ok(_), Some(error)) => Err(error.into()),
            (made, _) => made.map(|made| made.bytes),
        }
    })?;
    Ok(Dealt { bytes, waiting: flows.iter().map(|flow| flow.most() as u64).max().unwrap_or(0) })
}

/// Sends what is made for one party, hears what was measured on the way, and at the end that everything came.
fn send(mut peer: Peer, flow: &Outflow, measured: &Sender<Vec<u8>>) -> Result<(), NetError> {
    let mut deliver = || {
        while let Some(message) = flow.take() {
            match message {
                Message::Send { step, bytes } => peer.send(step, bytes)?,
                Message::Hear { bytes } => {
                    // Nobody listens when the making has failed.
                    let _ = measured.send(peer.recv(MEASURED_STEP, bytes, "the ranges that were measured")?);
                }
            }
        }
        Ok(())
    };
    let sent = deliver().and_then(|()| match (flow.is_abandoned(), flow.is_parted()) {
        (_, true) => Ok(true),
        // The making failed, and says why: what follows never comes.
        (true, false) => Ok(false),
        (false, false) => {
            let arrived = peer.recv_control::<Verdict>(CONTROL, "word that the material arrived");
            arrived.map(|_| true)
        }
    });
    flow.abandon();
    if sent? {
        // It has everything, or the other one has left; whether it hears the farewell does not matter to this role.
        let _ = peer.close();
    }
    Ok(())
}

/// What was made.
#[derive(Default)]
struct Made {
    /// Bytes for each party.
    bytes: [u64; 2],
    /// Of all turns: nobody left before.
    whole: bool,
}

/// Makes the material of all turns from the cursor's on, until one of the parties leaves.
fn make<R: Ring>(
    mut cursor: Cursor,
    flows: &[Outflow; 2],
    measured: &[Receiver<Vec<u8>>],
    events: &mut dyn Events,
) -> Result<Made, SessionError> {
    // No gate of a training holds weights.
    let unused = [Seed::from_entropy()?, Seed::from_entropy()?];
    let (mut bytes, mut told, turns) = ([0; 2], Instant::now(), cursor.count());
    while let Some(turn) = cursor.turn() {
        let (number, leg) = (cursor.number(), cursor.leg(turn)?);
        let seeds = BatchSeeds::draw()?;
        let mut id = [0; 16];
        entropy(&mut id)?;
        let mut give = |party: usize, step: u32, message: Vec<u8>| {
            bytes[party] += message.len() as u64;
            flows[party].give(Message::Send { step, bytes: message })
        };
        for (party, seed) in seeds.parties.iter().enumerate() {
            let mut head = Zeroizing::new(Vec::with_capacity(HEAD));
            head.extend_from_slice(&number.to_le_bytes());
            for part in [&id, &leg.digest[..16], seed.expose(), &seeds.hash.inner, &seeds.hash.leaf] {
                head.extend_from_slice(part);
            }
            if !give(party, TURN_STEP, std::mem::take(&mut *head)) {
                return Ok(Made { bytes, whole: false });
            }
        }
        let step = [cursor.seed(), cursor.steps()[1]];
        let maker = Maker::<R, Cpu>::new(&leg.plan, leg.schedule.clone(), &Cpu, &seeds, [&unused[0], &unused[1]]);
        let made = maker.of_step(step).slot(0, |gate, sections| {
            for (party, section) in sections.iter_mut().enumerate().filter(|(_, section)| !section.is_empty()) {
                if !give(party, gate, std::mem::take(section)) {
                    return Err(Unwanted);
                }
            }
            Ok(())
        });
        if let Err(Unwanted) = made {
            return Ok(Made { bytes, whole: false });
        }
        cursor.pass(&leg);
        if let Turn::Measure { .. } = turn {
            let count = cursor.measured();
            if !flows.iter().all(|flow| flow.give(Message::Hear { bytes: 4 * count })) {
                return Ok(Made { bytes, whole: false });
            }
            let [Ok(ours), Ok(theirs)] = [measured[0].recv(), measured[1].recv()] else {
                return Ok(Made { bytes, whole: false });
            };
            if ours != theirs {
                let reason = format!("they measured other ranges before step {}: resume both", cursor.steps()[1] + 1);
                return Err(SessionError::Mismatch { peer: "both parties".to_string(), reason });
            }
            let exponents = ours.chunks_exact(4).map(|word| i32::from_le_bytes(word.try_into().expect("4 bytes")));
            let _ = cursor.renew(&exponents.collect::<Vec<_>>());
        }
        if told.elapsed() >= WORDS || number + 1 == turns {
            told = Instant::now();
            events.progress("dealing turns", number + 1, turns);
        }
    }
    Ok(Made { bytes, whole: true })
}

/// Nobody takes what is made.
struct Unwanted;

/// What to do about parties that stand where nobody can go on.
const ADVICE: &str = "use the same release of the program at all roles, or begin anew without resume";

/// Waits for both parties; they must want the same turns of the same job. Returns them, and the first of the turns.
fn accept_parties(
    config: &TrainDealConfig,
    course: &Arc<Course>,
    hooks: &Hooks,
    events: &mut dyn Events,
) -> Result<(Vec<Peer>, Cursor), SessionError> {
    let mut limits = ariann_net::Limits { queue_bytes: QUEUED, ..config.deadlines.limits()? };
    if config.answers.is_some() {
        limits.stall = Duration::from_secs_f64(PATIENCE);
    }
    let allowed = [
        Allowed { name: "P0".to_string(), pin: config::pin(&config.p0, "P0")? },
        Allowed { name: "P1".to_string(), pin: config::pin(&config.p1, "P1")? },
    ];
    let mut listener = Listener::bind(&config.listen, &config.identity.load()?, &allowed, &limits)?;
    events.tell(Event::Listening { address: listener.local_addr()? });
    let digest = config.answers.map_or(course.digest(), |answers| answers.digest(course));
    let mut found: [Option<(Peer, Ask)>; 2] = [None, None];
    while found.iter().any(Option::is_none) {
        let mut peer = match listener.accept(ACCEPT) {
            Ok(peer) => peer,
            Err(NetError::PeerGone { .. }) => continue,
            Err(error) => return Err(error.into()),
        };
        let mut observer = (hooks.observer)("dealer");
        let party = usize::from(peer.name() == "P1");
        let name = ["p0", "p1"][party];
        peer.tap(Box::new(move |bytes| observer.received(name, bytes)));
        // One that leaves again before it has asked may come back.
        let Ok(ask) = peer.recv_control::<Ask>(CONTROL, "what it wants") else { continue };
        if let Some(reason) = objection(&ask, party, &digest, course.turns().count(), peer.name()) {
            events.notice(format!("refused {}: {reason}", peer.name()));
            refuse(peer, reason);
            continue;
        }
        found[party] = Some((peer, ask));
    }
    let (mut peers, asks): (Vec<Peer>, Vec<Ask>) = found.into_iter().flatten().unzip();
    if (asks[0].turn, asks[0].lineage) != (asks[1].turn, asks[1].lineage) {
        let reason = format!(
            "P0 wants the material of turn {} on and P1 that of turn {}, or they are not in one session; start all three roles \
             again",
            asks[0].turn, asks[1].turn
        );
        peers.into_iter().for_each(|peer| refuse(peer, reason.clone()));
        return Err(SessionError::Mismatch { peer: "both parties".to_string(), reason });
    }
    for peer in &mut peers {
        peer.send_control(&Verdict::Accepted)?;
    }
    let len = course.standing_len();
    let stands = peers.iter_mut().map(|peer| peer.recv(STANDING_STEP, len, "where the training stands"));
    let stands = stands.collect::<Result<Vec<_>, _>>()?;
    let misfit = |reason: &str| SessionError::Mismatch { peer: "both parties".to_string(), reason: reason.to_string() };
    if stands[0] != stands[1] {
        return Err(misfit(
            "their checkpoints stand at other ranges or scales; begin anew, or bring the folders of one session",
        ));
    }
    let standing =
        course.standing(asks[0].turn, &stands[0]).map_err(|reason| misfit(&format!("{reason}; {ADVICE}")))?;
    Ok((peers, course.cursor_at(asks[0].turn, standing)))
}

fn objection(ask: &Ask, party: usize, job: &[u8; 32], turns: u64, name: &str) -> Option<String> {
    if ask.protocol != PROTOCOL {
        return Some(format!("the dealer speaks protocol version {PROTOCOL}, {name} {}", ask.protocol));
    }
    if usize::from(ask.party) != party {
        return Some(format!("{name} has the identity of the other party"));
    }
    if ask.job != *job {
        return Some("the dealer has another job: give all roles the same job file, and the same release".to_string());
    }
    (ask.turn > turns).then(|| format!("{name} asks for turn {}, the job has {turns}", ask.turn))
}

/// Whether it hears the reason does not matter to the other party.
fn refuse(mut peer: Peer, reason: String) {
    let _ = peer.send_control(&Verdict::Refused(reason));
    let _ = peer.close();
}

#[cfg(test)]
mod tests {
    use ariann_graph::training::{Loss, Recipe, StepRanges, training_step};
    use ariann_graph::{Network, ValueRange, import_for_training_bytes, zoo};
    use ariann_plan::training::MARGIN;
    use ariann_plan::{InputSpec, Link, Optimize, SignChoice};

    use super::super::answers::Answers;
    use super::*;
    use crate::Fault;
    use crate::events::Silent;
    use crate::training::{Choices, Ranges, Reveals, VERSION};

    /// Three steps of a small network, whose ranges are measured before the second and the third.
    fn course() -> Arc<Course> {
        let input = [1, 3, 3];
        let made = zoo::network("network1", &zoo::Options { input: Some(input), classes: Some(2), seed: 0 }).unwrap();
        let graph = import_for_training_bytes(&made.onnx).unwrap();
        let recipe = Recipe::plain(Loss::Mse, 2, 0.1);
        let step = training_step(&graph, &recipe, recipe.lr, false).unwrap();
        let same = |len| vec![ValueRange { max_abs: 2.0, rms: 0.5 }.rounded(); len];
        let steps = StepRanges { steps: 1, nodes: same(step.nodes.len()), states: same(step.states.len()) };
        let choices = Choices {
            ring: 32,
            margin: MARGIN,
            optimize: Optimize::Time,
            sign: SignChoice::Exact,
            link: Link::LOOPBACK,
        };
        let job = Job {
            version: VERSION,
            network: Network::of(&graph),
            input: InputSpec::plain("input", &input, [0.0, 1.0]),
            recipe,
            features: ariann_gates::Party::P1.into(),
            labels: ariann_gates::Party::P1.into(),
            owners: Vec::new(),
            reveals: Reveals { model: None, loss: None, accuracy: None },
            rows: 6,
            test_rows: 0,
            ranges: Ranges { steps, evaluation: None },
            rescale_every: Some(1),
            choices,
        };
        Arc::new(Course::new(job).unwrap())
    }

    /// Takes all material, and tells of every product that it has this exponent.
    fn party(mut dealer: Peer, mut cursor: Cursor, party: usize, exponent: i32) -> Result<(), NetError> {
        while let Some(turn) = cursor.turn() {
            let leg = cursor.leg(turn).unwrap();
            dealer.recv(TURN_STEP, HEAD, "a head")?;
            for (gate, len) in leg.lens[party].iter().enumerate().filter(|(_, len)| **len > 0) {
                dealer.recv(gate as u32, *len as usize, "a section")?;
            }
            cursor.pass(&leg);
            if let Turn::Measure { .. } = turn {
                let exponents = vec![exponent; cursor.measured()];
                dealer.send(MEASURED_STEP, exponents.iter().flat_map(|exponent| exponent.to_le_bytes()).collect())?;
                let _ = cursor.renew(&exponents);
            }
        }
        dealer.send_control(&Verdict::Accepted)?;
        dealer.close()
    }

    /// Deals to two parties that tell these exponents.
    fn dealt(exponents: [i32; 2]) -> (Result<Dealt, SessionError>, [Result<(), NetError>; 2]) {
        let course = course();
        let [(a, of_a), (b, of_b)] = [(); 2].map(|()| Peer::memory_pair().unwrap());
        std::thread::scope(|scope| {
            let ends = [(of_a, 0), (of_b, 1)].map(|(peer, number)| {
                let cursor = course.cursor();
                scope.spawn(move || party(peer, cursor, number, exponents[number]))
            });
            let dealt = deal::<u32>(course.cursor(), vec![a, b], false, &mut Silent);
            (dealt, ends.map(|end| end.join().unwrap()))
        })
    }

    #[test]
    fn answers_need_the_ranges_of_a_test_and_are_some() {
        let course = course();
        let refused = |items, batches| {
            let standing = course.cursor().standing().clone();
            course.answering(Answers { items, batches }, standing).err().expect("no plan").to_string()
        };
        assert!(refused(4, 2).contains("answers need those of a test"), "{}", refused(4, 2));
        assert!(refused(0, 2).contains("at least one item") && refused(4, 0).contains("at least one item"));
        let digests = [(4, 2), (4, 3), (5, 2)].map(|(items, batches)| Answers { items, batches }.digest(&course));
        assert!(digests[0] != digests[1] && digests[0] != digests[2] && digests[0] != course.digest());
    }

    #[test]
    fn parties_that_measured_differently_are_told_apart_from_those_that_went() {
        let (made, parties) = dealt([1, 1]);
        assert!(made.unwrap().bytes.iter().all(|bytes| *bytes > 0) && parties.iter().all(Result::is_ok));
        // Both wait for the next turn's material when the dealer ends; that they are gone then is not why.
        let (made, parties) = dealt([1, 2]);
        let error = made.unwrap_err();
        assert_eq!(error.fault(), Fault::Peer);
        assert!(error.to_string().contains("measured other ranges before step 2: resume both"), "{error}");
        assert!(parties.iter().all(Result::is_err));
    }
}
