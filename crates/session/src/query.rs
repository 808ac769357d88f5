//! P1 at work: holds the data, connects to P0, asks for what it needs.

use std::time::Instant;

use ariann_device::{Cpu, Device};
use ariann_gates::Party;
use ariann_material::BatchId;
use ariann_net::Peer;
use ariann_plan::{Plan, Revealed};
use ariann_ring::{Ring, fixed};

use crate::config::{self, QueryConfig};
use crate::engine::receives;
use crate::events::{Event, Events};
use crate::fetching::Source;
use crate::hooks::Hooks;
use crate::messages::Request;
use crate::report::{LinkReport, PartyReport};
use crate::working::{Agreed, Worker, add_time};
use crate::{SessionError, handshake, reading, streaming};

/// Predicts the configured inputs.
pub fn query(config: &QueryConfig, hooks: &Hooks, events: &mut dyn Events) -> Result<PartyReport, SessionError> {
    let plan = Plan::read(&config.plan)?;
    config::threads(config.threads)?;
    match plan.ring {
        32 => run::<u32>(config, &plan, hooks, events),
        _ => run::<u64>(config, &plan, hooks, events),
    }
}

fn run<R: Ring>(
    config: &QueryConfig,
    plan: &Plan,
    hooks: &Hooks,
    events: &mut dyn Events,
) -> Result<PartyReport, SessionError> {
    if config.batch == 0 {
        return Err(SessionError::Config("--batch 0: give at least 1".to_string()));
    }
    if plan.for_clients() {
        let reason = "this plan is for outside clients: its P1 has no inputs (`ariann serve --role p1`), and who has inputs asks both \
                      parties (`ariann query --role client`)";
        return Err(SessionError::Config(reason.to_string()));
    }
    consent(plan, config.reveal_to_p0)?;
    let items = reading::items(plan, &config.input, config.limit)?;
    let encoded = reading::encode::<R>(plan, &items)?;
    let identity = config.identity.load()?;
    let limits = config.deadlines.limits()?;
    let mut worker = Worker::<R, Cpu>::open(plan, &Cpu, Party::P1, &config.state, None, hooks, events)?;
    worker.import(&config.material, events)?;
    let (began, mut stream) = (Instant::now(), None);
    match &config.dealer {
        Some(dealer) if config.stream => {
            let source = Source { dealer: dealer.clone(), identity: config.identity.load()?, limits };
            stream = Some(worker.fetcher().stream(source, config.ahead, |_| {})?);
        }
        Some(dealer) => worker.fetch(dealer, &identity, &limits, events)?,
        None if config.stream => return Err(config::streams_from_nobody()),
        None => {}
    }
    let pin = config::pin(&config.peer.fingerprint, "P0")?;
    if stream.is_some() {
        streaming::first(&worker, items.count, events)?;
    }
    let shaped = config::shaped(&config.deadlines, config.link)?;
    let mut peer = Peer::connect(&config.peer.address, &identity, &pin, "P0", &shaped)?;
    worker.tap(&mut peer, "p0");
    let task = Task { batch: config.batch, count: items.count, encoded: &encoded, measure: config.link.is_some() };
    session(&mut worker, &mut peer, &task, stream.is_some().then_some(config.ahead), events)?;
    // The results are here; whether P0 hears the farewell does not matter.
    let _ = peer.close();
    if let Some(thread) = stream {
        worker.arrivals().over();
        // Ends with the delivery that is on its way, which the next query finds.
        let _ = thread.join();
        worker.note_stream(began);
    }
    Ok(worker.take_report())
}

/// A plan that shows the results to the model's owner runs only when the data's owner says so: a model that copies its
/// input to its output is a model too.
fn consent(plan: &Plan, given: bool) -> Result<(), SessionError> {
    if given || !receives(plan, Party::P0) {
        return Ok(());
    }
    let what = match plan.reveal.what {
        Revealed::Logits => "logits",
        Revealed::Label => "label",
        Revealed::Loss | Revealed::State | Revealed::Nothing | Revealed::Ranges => {
            unreachable!("no result of a prediction")
        }
    };
    Err(SessionError::Config(format!(
        "this plan reveals the {what} of every input to P0, who chose the model and may learn the input from it; nothing was \
         sent. Ask for a plan with --reveal {what}:p1, or agree with --reveal-to-p0"
    )))
}

/// What a session is to do.
pub(crate) struct Task<'a, R> {
    /// Items computed together.
    pub batch: u32,
    /// Items in all.
    pub count: usize,
    /// Their values.
    pub encoded: &'a [R],
    /// Whether the link is measured first.
    pub measure: bool,
}

/// One session: all items, a batch at a time; over deliveries as they come when at most `ahead` of them lie here.
fn session<R: Ring, D: Device>(
    worker: &mut Worker<'_, R, D>,
    peer: &mut Peer,
    task: &Task<'_, R>,
    ahead: Option<usize>,
    events: &mut dyn Events,
) -> Result<(), SessionError> {
    let Task { batch, count, measure, .. } = *task;
    // Deliveries of which the greeting may not tell come after these.
    let came = worker.arrivals().standing().came;
    let agreed = worker.greet(peer, batch, events)?;
    if batch > agreed.most_items {
        return Err(SessionError::Config(format!(
            "--batch {batch}: P0 computes at most {} items together; use a smaller --batch, or have P0 raise max_batch",
            agreed.most_items
        )));
    }
    if measure {
        peer.send_control(&Request::Measure)?;
        let measured = peer.measure()?;
        worker.report.link = Some(LinkReport {
            round_trip_seconds: measured.round_trip.as_secs_f64(),
            bits_per_second: measured.bits_per_second,
        });
    }
    let mut session = Session { worker, peer, task, next: 0 };
    match ahead {
        Some(ahead) => streaming::run(&mut session, agreed, came, ahead, events)?,
        None => {
            let chosen = choose(session.worker, &agreed, batch, session.runs_left())?;
            for (batch, _) in &chosen {
                session.prepare(*batch, &agreed, events)?;
            }
            for (batch, runs) in chosen {
                session.run(batch, runs, events)?;
            }
        }
    }
    events.progress("predicting", count as u64, count as u64);
    // As with the farewell.
    let _ = session.peer.send_control(&Request::Done);
    Ok(())
}

/// P1 in the middle of its items.
pub(crate) struct Session<'a, 'w, R: Ring, D: Device> {
    pub worker: &'a mut Worker<'w, R, D>,
    pub peer: &'a mut Peer,
    pub task: &'a Task<'a, R>,
    /// The first item that was not predicted.
    pub next: usize,
}

impl<R: Ring, D: Device> Session<'_, '_, R, D> {
    /// Runs that the items still need.
    pub fn runs_left(&self) -> usize {
        (self.task.count - self.next).div_ceil(self.task.batch as usize)
    }

    /// Setup for a batch's weights version, unless that is done, and the batch's preparation, at both parties.
    pub fn prepare(&mut self, batch: BatchId, agreed: &Agreed, events: &mut dyn Events) -> Result<(), SessionError> {
        let Session { worker, peer, .. } = self;
        let version = worker.version(batch)?;
        if agreed.both_kept.contains(&version.0) || worker.knows_weights(version) {
            worker.prepare_weights(batch, None)?;
        } else {
            peer.send_control(&Request::Setup(batch.0))?;
            worker.prepare_weights(batch, Some(peer))?;
        }
        peer.send_control(&Request::Prepare(batch.0))?;
        worker.prepare(batch, events)?;
        let began = Instant::now();
        handshake::accepted(peer, "its part of the preparation")?;
        add_time(&mut worker.report.offline, began);
        Ok(())
    }

    /// The next runs, with slots of a prepared batch.
    pub fn run(&mut self, id: BatchId, runs: usize, events: &mut dyn Events) -> Result<(), SessionError> {
        let Session { worker, peer, task, next } = self;
        let Task { batch, count, encoded, .. } = **task;
        let len = worker.plan.input_len();
        let began = Instant::now();
        for _ in 0..runs {
            events.progress("predicting", *next as u64, count as u64);
            let here = (batch as usize).min(count - *next);
            // The last batch is filled up, so that P0 does not learn how many items it has.
            let mut input = encoded[*next * len..(*next + here) * len].to_vec();
            input.resize(batch as usize * len, R::ZERO);
            // The request depends on no mask: both parties reserve, and sync, at the same time.
            let first = worker.mark(id)?;
            peer.send_control(&Request::Run { batch: id.0, first, items: batch })?;
            let reservation = worker.reserve(id, batch)?;
            debug_assert!(reservation.range().start == first);
            let result = worker.run(peer, reservation, Some(&input), events)?;
            if let Some(result) = result {
                note(worker.plan, &result, here, &mut worker.report);
                // Told at once: what is predicted is not lost when a later run fails.
                let predictions = worker.report.predictions.iter().flatten().skip(*next).copied().collect();
                events.tell(Event::Predicted { first: *next as u64, predictions });
            }
            worker.report.items += here as u64;
            *next += here;
        }
        add_time(&mut worker.report.online, began);
        Ok(())
    }
}

/// Batches of material for `runs` runs of `batch` items each, in order.
fn choose<R: Ring, D: Device>(
    worker: &Worker<'_, R, D>,
    agreed: &Agreed,
    batch: u32,
    runs: usize,
) -> Result<Vec<(BatchId, usize)>, SessionError> {
    let (mut chosen, mut missing, mut left) = (Vec::new(), runs, 0);
    for offer in &agreed.batches {
        let free = worker.left(offer.id())?;
        left += free;
        let here = ((free / batch) as usize).min(missing);
        if here > 0 {
            chosen.push((offer.id(), here));
            missing -= here;
        }
    }
    if missing > 0 {
        return Err(SessionError::Exhausted(format!(
            "{runs} runs of {batch} items need {} slots of material, and both parties together have {left} left of {} batches; nothing \
             was used. Deal more (`ariann deal`), or use a smaller --batch",
            runs * batch as usize,
            agreed.batches.len()
        )));
    }
    Ok(chosen)
}

/// Adds `count` items' results to a report.
pub(crate) fn note<R: Ring>(plan: &Plan, result: &[R], count: usize, report: &mut PartyReport) {
    let predictions = report.predictions.get_or_insert_default();
    if plan.reveal.what == Revealed::Label {
        predictions.extend(result[..count].iter().map(|label| label.to_u64() as u32));
        return;
    }
    let rows = report.logits.get_or_insert_default();
    for row in result.chunks(plan.output.classes).take(count) {
        let row: Vec<f32> = row.iter().map(|x| (fixed::decode(*x, 0) * plan.output.scale.unit()) as f32).collect();
        predictions.push(argmax(&row));
        rows.push(row);
    }
}

/// Index of the greatest value, the first of equal ones.
pub fn argmax(row: &[f32]) -> u32 {
    let mut best = 0;
    for (index, value) in row.iter().enumerate() {
        if *value > row[best] {
            best = index;
        }
    }
    best as u32
}
