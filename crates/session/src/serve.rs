//! P0 at work: holds the model, listens for P1, answers its requests.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ariann_device::{Cpu, Device};
use ariann_gates::Party;
use ariann_gates::linear::Weights;
use ariann_material::BatchId;
use ariann_net::{Allowed, Listener, NetError, Peer};
use ariann_plan::Plan;
use ariann_ring::Ring;

use crate::config::{self, ServeConfig};
use crate::events::{Event, Events};
use crate::hooks::Hooks;
use crate::messages::{CONTROL, Request, Verdict};
use crate::report::PartyReport;
use crate::working::{Worker, add_time};
use crate::{SessionError, query};

/// How long one call of accept waits; between two the role can be told to end.
const ACCEPT: Duration = Duration::from_secs(1);

/// Serves until the configured number of sessions ended well, or for ever.
pub fn serve(config: &ServeConfig, hooks: &Hooks, events: &mut dyn Events) -> Result<PartyReport, SessionError> {
    let plan = Plan::read(&config.plan)?;
    let pool = config::pool(config.threads)?;
    match plan.ring {
        32 => run::<u32>(config, &plan, &pool, hooks, events),
        _ => run::<u64>(config, &plan, &pool, hooks, events),
    }
}

fn run<R: Ring>(
    config: &ServeConfig,
    plan: &Plan,
    pool: &rayon::ThreadPool,
    hooks: &Hooks,
    events: &mut dyn Events,
) -> Result<PartyReport, SessionError> {
    let graph = ariann_graph::import(&config.model)?;
    let identity = config.identity.load()?;
    let limits = config.deadlines.limits()?;
    if plan.weights == Weights::Public {
        events.notice("this plan makes the model's weights public: P1 receives them in clear");
    }
    let mut worker = Worker::<R, Cpu>::open(plan, &Cpu, Party::P0, &config.state, Some(&graph), hooks, events)?;
    drop(graph);
    worker.import(&config.material, events)?;
    let allowed = [Allowed { name: "P1".to_string(), pin: config::pin(&config.peer, "P1")? }];
    let mut listener = Listener::bind(&config.listen, &identity, &allowed, &limits)?;
    events.tell(Event::Listening { address: listener.local_addr()? });
    if let Some(dealer) = &config.dealer {
        worker.fetch(dealer, &identity, &limits, events)?;
    }
    let mut done = 0;
    let mut refused = 0;
    loop {
        let mut peer = match listener.accept(ACCEPT) {
            Ok(peer) => peer,
            Err(NetError::PeerGone { .. }) => {
                if listener.refused() > refused {
                    refused = listener.refused();
                    let why = listener.last_refusal().unwrap_or("it said nothing").to_string();
                    events.notice(format!("turned a connection away: {why}"));
                }
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        worker.tap(&mut peer, "p1");
        let outcome = pool.in_place_scope(|_| session(&mut worker, &mut peer, config.max_batch, events));
        worker.finish_session();
        match outcome {
            Ok(items) => {
                // P1 has what it asked for; whether it hears the farewell does not matter.
                let _ = peer.close();
                events.tell(Event::SessionDone { items });
                done += 1;
                if done == config.sessions {
                    return Ok(worker.take_report());
                }
            }
            Err(error) => events.tell(Event::SessionFailed { fault: error.fault().name(), error: error.to_string() }),
        }
    }
}

/// One session: everything that P1 asks for.
fn session<R: Ring, D: Device>(
    worker: &mut Worker<'_, R, D>,
    peer: &mut Peer,
    most_items: u32,
    events: &mut dyn Events,
) -> Result<u64, SessionError> {
    let agreed = worker.greet(peer, most_items, events)?;
    let known = |batch: [u8; 16]| {
        let found = agreed.batches.iter().find(|offer| offer.batch == batch);
        found.map(|offer| offer.id()).ok_or_else(|| SessionError::Mismatch {
            peer: "P1".to_string(),
            reason: format!("it asked for batch {}, which was not agreed on", BatchId(batch)),
        })
    };
    let (mut slots, mut prepared) = (0, BTreeSet::new());
    loop {
        match peer.recv_control(CONTROL, "its next request")? {
            Request::Done => return Ok(slots),
            Request::Setup(batch) => worker.prepare_weights(known(batch)?, Some(peer))?,
            Request::Prepare(batch) => {
                let batch = known(batch)?;
                worker.prepare_weights(batch, None)?;
                worker.prepare(batch, events)?;
                prepared.insert(batch);
                peer.send_control(&Verdict::Accepted)?;
            }
            Request::Run { batch, first, items } => {
                let batch = known(batch)?;
                let began = Instant::now();
                if !prepared.contains(&batch) {
                    let reason = format!("it wants to run batch {batch} before it asked to prepare it");
                    return Err(SessionError::Mismatch { peer: "P1".to_string(), reason });
                }
                if items > most_items {
                    let reason = format!("it wants {items} items computed together, at most {most_items} are allowed");
                    return Err(SessionError::Mismatch { peer: "P1".to_string(), reason });
                }
                let mark = worker.mark(batch)?;
                if first != mark {
                    let reason = format!("it begins at slot {first} of batch {batch}, the next free one is {mark}");
                    return Err(SessionError::Mismatch { peer: "P1".to_string(), reason });
                }
                let reservation = worker.reserve(batch, items)?;
                let result = worker.run(peer, reservation, None, events)?;
                if let Some(result) = result {
                    query::note(worker.plan, &result, items as usize, &mut worker.report);
                }
                worker.report.items += u64::from(items);
                add_time(&mut worker.report.online, began);
                slots += u64::from(items);
            }
        }
    }
}
