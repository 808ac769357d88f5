//! P1's session over deliveries that come while it runs: agree on what came, prepare it, spend it, remove it.

use std::time::Duration;

use ariann_device::Device;
use ariann_material::BatchId;
use ariann_ring::Ring;

use crate::SessionError;
use crate::arrivals::Standing;
use crate::events::Events;
use crate::messages::Request;
use crate::query::Session;
use crate::working::{Agreed, Worker};

/// While no delivery comes, P0 hears of P1 this often: a wait for the dealer is no silence.
const SIGN: Duration = Duration::from_secs(5);

/// Waits for material to begin with: a delivery, or what an earlier session left. The thread that fetches has a deadline
/// for each of its waits, so this ends.
pub(crate) fn first<R: Ring, D: Device>(
    worker: &Worker<'_, R, D>,
    count: usize,
    events: &mut dyn Events,
) -> Result<(), SessionError> {
    if !worker.has_material(events)? && worker.arrivals().more_than(0, Duration::MAX).came == 0 {
        return Err(exhausted(worker, 0, count));
    }
    Ok(())
}

/// All items; `came` deliveries had come before `agreed` was found out.
pub(crate) fn run<R: Ring, D: Device>(
    session: &mut Session<'_, '_, R, D>,
    mut agreed: Agreed,
    mut came: u64,
    ahead: usize,
    events: &mut dyn Events,
) -> Result<(), SessionError> {
    while session.runs_left() > 0 {
        match usable(session, &agreed)? {
            Some((batch, runs)) => {
                session.prepare(batch, &agreed, events)?;
                session.run(batch, runs, events)?;
                retire(session, batch, events)?;
            }
            None => {
                let patience = if stuck(session, came, ahead) { Duration::ZERO } else { SIGN };
                let Standing { came: now, ended, .. } = session.worker.arrivals().more_than(came, patience);
                if now == came && ended {
                    return Err(exhausted(session.worker, session.next, session.task.count));
                }
                if now == came && patience.is_zero() {
                    return Err(SessionError::Config(format!(
                        "no run of {batch} items fits the deliveries that came: deal with --batch-slots {batch} or a multiple of \
                         it, or use a smaller --batch",
                        batch = session.task.batch
                    )));
                }
                came = session.worker.arrivals().standing().came;
                session.peer.send_control(&Request::Agree)?;
                agreed = session.worker.greet(session.peer, session.task.batch, events)?;
            }
        }
    }
    Ok(())
}

/// The first batch that has slots for a run, and for how many of those that are left.
fn usable<R: Ring, D: Device>(
    session: &Session<'_, '_, R, D>,
    agreed: &Agreed,
) -> Result<Option<(BatchId, usize)>, SessionError> {
    for offer in &agreed.batches {
        let runs = session.worker.left(offer.id())? / session.task.batch;
        if runs > 0 {
            return Ok(Some((offer.id(), session.runs_left().min(runs as usize))));
        }
    }
    Ok(None)
}

/// Whether nothing more comes because what lies here is of no use, and the greeting has told of all of it.
fn stuck<R: Ring, D: Device>(session: &Session<'_, '_, R, D>, came: u64, ahead: usize) -> bool {
    let standing = session.worker.arrivals().standing();
    standing.came == came && standing.unspent >= ahead
}

/// Removes a batch that has no run left, at both parties; one that has is kept for the next session.
fn retire<R: Ring, D: Device>(
    session: &mut Session<'_, '_, R, D>,
    batch: BatchId,
    events: &mut dyn Events,
) -> Result<(), SessionError> {
    if session.worker.left(batch)? >= session.task.batch {
        return Ok(());
    }
    session.peer.send_control(&Request::Spent(batch.0))?;
    let left = session.worker.retire(batch)?;
    if left > 0 {
        events.notice(format!(
            "batch {batch}: {left} slots are given up, too few for a run; deal with --batch-slots a multiple of {}",
            session.task.batch
        ));
    }
    Ok(())
}

/// Nothing is left and nothing comes: the dealer's fault if it broke off.
fn exhausted<R: Ring, D: Device>(worker: &Worker<'_, R, D>, done: usize, count: usize) -> SessionError {
    let standing = format!("{done} of {count} items were predicted with what had come");
    match worker.arrivals().take_failure() {
        Some(error) => SessionError::Role {
            role: "the dealer's stream".to_string(),
            reason: format!("{error}; {standing}"),
            fault: error.fault(),
        },
        None => SessionError::Exhausted(format!(
            "the dealer has no more deliveries, and both parties together have no material for a run left: {standing}. Deal \
             more (`ariann deal --count`)"
        )),
    }
}
