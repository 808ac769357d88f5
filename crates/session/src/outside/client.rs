//! The outside client at work: shares its items, a batch at a time, and puts the parts of the results together.

use std::time::Instant;

use ariann_gates::Party;
use ariann_net::Peer;
use ariann_plan::Plan;
use ariann_prg::{Seed, entropy};
use ariann_ring::Ring;

use super::ClientConfig;
use super::form::Form;
use super::messages::{Answer, Asks, Call, ITEMS_STEP, REQUEST, RESULTS_STEP, Refusal};
use crate::events::{Event, Events};
use crate::handshake::{accepted, printable};
use crate::hooks::Hooks;
use crate::messages::{CONTROL, Verdict};
use crate::report::PartyReport;
use crate::working::add_time;
use crate::{PROTOCOL, SessionError, config, query, reading};

/// Has the configured items predicted. They are checked before anything is sent: nobody can check shares.
pub fn ask(config: &ClientConfig, hooks: &Hooks, events: &mut dyn Events) -> Result<PartyReport, SessionError> {
    let plan = Plan::read(&config.plan)?;
    if !plan.for_clients() {
        let reason =
            "this plan is not for outside clients, its inputs are P1's: ask for one with --reveal logits:client";
        return Err(SessionError::Config(reason.to_string()));
    }
    match plan.ring {
        32 => run::<u32>(config, &plan, hooks, events),
        _ => run::<u64>(config, &plan, hooks, events),
    }
}

fn run<R: Ring>(
    config: &ClientConfig,
    plan: &Plan,
    hooks: &Hooks,
    events: &mut dyn Events,
) -> Result<PartyReport, SessionError> {
    if config.batch == 0 {
        return Err(SessionError::Config("--batch 0: give at least 1".to_string()));
    }
    let items = reading::items(plan, &config.input, config.limit)?;
    let encoded = reading::encode::<R>(plan, &items)?;
    let (identity, limits) = (config.identity.load()?, config.deadlines.limits()?);
    let mut peers = Vec::with_capacity(2);
    for (party, remote) in [(Party::P0, &config.p0), (Party::P1, &config.p1)] {
        let name = config::name(party);
        let pin = config::pin(&remote.fingerprint, name)?;
        let mut peer = Peer::connect(&remote.address, &identity, &pin, name, &limits)?;
        let (mut observer, from) = ((hooks.observer)("client"), name.to_lowercase());
        peer.tap(Box::new(move |bytes| observer.received(&from, bytes)));
        peers.push(peer);
    }
    let mut report =
        PartyReport { role: "client".to_string(), plan_digest: plan.digest_hex(), ..PartyReport::default() };
    let (form, began) = (Form::new(plan), Instant::now());
    for (number, items) in encoded.chunks(config.batch as usize * plan.input_len()).enumerate() {
        let first = number * config.batch as usize;
        events.progress("predicting", first as u64, (encoded.len() / plan.input_len()) as u64);
        let here = items.len() / plan.input_len();
        // The last batch is filled up, so that the parties do not learn how many items there are.
        let mut items = items.to_vec();
        items.resize(config.batch as usize * plan.input_len(), R::ZERO);
        let results = predict(&mut peers, plan, &form, &items, config.batch)?;
        query::note(plan, &results, here, &mut report);
        let predictions = report.predictions.iter().flatten().skip(first).copied().collect();
        events.tell(Event::Predicted { first: first as u64, predictions });
        report.items += here as u64;
        report.slots += u64::from(config.batch);
    }
    let count = report.items;
    events.progress("predicting", count, count);
    add_time(&mut report.online, began);
    report.online.bytes_sent = peers.iter().map(|peer| peer.stats().payload_sent).sum();
    for mut peer in peers {
        // The results are here; whether the parties hear the farewell does not matter.
        let _ = peer.send_control(&Call::Done);
        let _ = peer.close();
    }
    Ok(PartyReport { peak_rss_bytes: crate::report::peak_rss(), ..report })
}

/// One request, of as many items as `items` has.
fn predict<R: Ring>(
    peers: &mut [Peer],
    plan: &Plan,
    form: &Form,
    encoded: &[R],
    items: u32,
) -> Result<Vec<R>, SessionError> {
    let mut request = [0; REQUEST];
    entropy(&mut request)?;
    for (party, peer) in peers.iter_mut().enumerate() {
        let asks = Asks { protocol: PROTOCOL, party: party as u8, plan: plan.digest(), request, items };
        peer.send_control(&Call::Ask(asks))?;
    }
    // Both agree to the plan before either gets anything.
    peers.iter_mut().try_for_each(|peer| accepted(peer, "its word on what this client asks"))?;
    let parts = form.split(encoded, Seed::from_entropy()?);
    for (peer, mut part) in peers.iter_mut().zip(parts) {
        peer.send(ITEMS_STEP, std::mem::take(&mut *part))?;
    }
    peers.iter_mut().try_for_each(|peer| accepted(peer, "word that it has the items"))?;
    peers.iter_mut().try_for_each(|peer| peer.send_control(&Verdict::Accepted))?;
    // P1 leads: it knows first when nothing comes of a request.
    let [p0, p1] = peers else { unreachable!("there are two parties") };
    let second = part(p1, form.results(items))?;
    let first = part(p0, form.results(items))?;
    Ok(form.join([&first, &second]))
}

/// A party's part of the results.
fn part(peer: &mut Peer, len: usize) -> Result<Vec<u8>, SessionError> {
    loop {
        match peer.recv_control(CONTROL, "the results")? {
            Answer::Later => {}
            Answer::Ready => return Ok(peer.recv(RESULTS_STEP, len, "the results")?),
            Answer::Refused(Refusal::Unequal { p0, p1 }) => return Err(SessionError::Unequal { p0, p1 }),
            Answer::Refused(Refusal::Because(reason)) => {
                let reason = format!("it refused: {}", printable(&reason));
                return Err(SessionError::Mismatch { peer: peer.name().to_string(), reason });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Fault;

    #[test]
    fn two_numbers_of_items_are_an_error_of_their_own() {
        let (mut client, mut p1) = Peer::memory_pair().unwrap();
        p1.send_control(&Answer::Later).unwrap();
        p1.send_control(&Answer::Refused(Refusal::Unequal { p0: 2, p1: 3 })).unwrap();
        p1.flush().unwrap();
        let error = part(&mut client, 40).unwrap_err();
        assert!(matches!(error, SessionError::Unequal { p0: 2, p1: 3 }), "{error}");
        assert_eq!(error.fault(), Fault::Operator);
    }
}
