//! An owner of rows: shares them among P0 and P1 of a pooled training, once, and leaves.

use std::time::Instant;

use ariann_gates::Party;
use ariann_net::{Fingerprint, Peer};
use ariann_plan::training::Source;
use ariann_prg::{Seed, entropy};
use ariann_ring::Ring;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::config::OwnerConfig;
use super::course::Course;
use super::data::Data;
use super::job::Job;
use super::learning::consent_to;
use super::messages::{Brings, ROWS_STEP, SHARING};
use super::pooled::{Form, subtract};
use crate::events::Events;
use crate::handshake::accepted;
use crate::hooks::Hooks;
use crate::messages::Verdict;
use crate::{PROTOCOL, SessionError, config};

/// What an owner did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ShareReport {
    /// "owner".
    pub role: String,
    /// Its name in the job.
    pub name: String,
    /// Digest of the job.
    pub job_digest: String,
    /// Items that it shared for the training set.
    pub rows: u64,
    /// And for the test set.
    pub test_rows: u64,
    /// Bytes of rows sent to P0 and to P1.
    pub bytes_sent: [u64; 2],
    /// Seconds from the first connection on.
    pub seconds: f64,
}

/// Shares the rows of `config` among P0 and P1. They are checked before anything is sent: nobody can check shares.
pub fn share_rows(config: &OwnerConfig, hooks: &Hooks, events: &mut dyn Events) -> Result<ShareReport, SessionError> {
    let course = Course::new(Job::read(&config.job)?)?;
    match course.job().choices.ring {
        32 => share::<u32>(config, &course, hooks, events),
        _ => share::<u64>(config, &course, hooks, events),
    }
}

fn share<R: Ring>(
    config: &OwnerConfig,
    course: &Course,
    hooks: &Hooks,
    events: &mut dyn Events,
) -> Result<ShareReport, SessionError> {
    let job = course.job();
    if job.features != Source::Owners {
        let reason = "in this job P0 or P1 brings the rows: there is nothing to share; make a job with owners";
        return Err(SessionError::Config(reason.to_string()));
    }
    let identity = config.identity.load()?;
    let owner = number(job, identity.fingerprint(), config.from_epoch)?;
    [Party::P0, Party::P1].into_iter().try_for_each(|party| consent_to(job, party, &config.allow))?;
    let form = Form::new(course);
    let mut rest = Data::of_owner(config, course, &job.owners[owner])?.parts::<R>(course, form.len(owner))?;
    debug_assert_eq!(rest.len(), form.len(owner));

    let (limits, began) = (config.deadlines.limits()?, Instant::now());
    let mut peers = Vec::with_capacity(2);
    for (party, remote) in [(Party::P0, &config.p0), (Party::P1, &config.p1)] {
        let name = config::name(party);
        let pin = config::pin(&remote.fingerprint, name)?;
        let mut peer = Peer::connect(&remote.address, &identity, &pin, name, &limits)?;
        let (mut observer, from) = ((hooks.observer)("owner"), name.to_lowercase());
        peer.tap(Box::new(move |bytes| observer.received(&from, bytes)));
        peers.push(peer);
    }
    let mut sharing = [0; SHARING];
    entropy(&mut sharing)?;
    for (party, peer) in peers.iter_mut().enumerate() {
        let from_epoch = config.from_epoch;
        peer.send_control(&Brings {
            protocol: PROTOCOL,
            party: party as u8,
            job: course.digest(),
            from_epoch,
            sharing,
        })?;
    }
    // Both agree to the job before either gets anything.
    peers.iter_mut().try_for_each(|peer| accepted(peer, "its word on what this owner brings"))?;
    let seed = Seed::from_entropy()?;
    subtract::<R>(&mut rest, &form.words(owner, &seed));
    let shares = [seed.expose().to_vec(), std::mem::take(&mut *rest)];
    drop(seed);
    let bytes_sent = [shares[0].len() as u64, shares[1].len() as u64];
    for (peer, share) in peers.iter_mut().zip(shares) {
        events.notice(format!("sends {} bytes to {}", share.len(), peer.name()));
        peer.send(ROWS_STEP, share)?;
    }
    peers.iter_mut().try_for_each(|peer| accepted(peer, "word that it has the rows"))?;
    peers.iter_mut().try_for_each(|peer| peer.send_control(&Verdict::Accepted))?;
    peers.iter_mut().try_for_each(|peer| accepted(peer, "word that it keeps the rows"))?;
    // Whether they hear the farewell does not matter.
    peers.into_iter().for_each(|peer| drop(peer.close()));
    let super::RowOwner { name, rows, test_rows, .. } = job.owners[owner].clone();
    let seconds = began.elapsed().as_secs_f64();
    let job_digest = job.digest_hex();
    Ok(ShareReport { role: "owner".to_string(), name, job_digest, rows, test_rows, bytes_sent, seconds })
}

/// Which of the job's owners one with this identity is, for items that take part from an epoch on.
pub(crate) fn number(job: &Job, own: Fingerprint, from_epoch: u32) -> Result<usize, SessionError> {
    let mine =
        || job.owners.iter().enumerate().filter(|(_, owner)| owner.fingerprint.parse().is_ok_and(|pin| own == pin));
    if let Some((owner, _)) = mine().find(|(_, owner)| owner.from_epoch == from_epoch) {
        return Ok(owner);
    }
    let epochs: Vec<String> = mine().map(|(_, owner)| owner.from_epoch.to_string()).collect();
    Err(SessionError::Config(match epochs.is_empty() {
        true => format!("the job names no owner with this identity ({own}); ask for a job that does"),
        false => format!(
            "the job knows items of this owner that take part from epoch {} on, and none from epoch {from_epoch}: set `from_epoch`",
            epochs.join(", ")
        ),
    }))
}

/// The words of encoded rows as bytes, at the end of `bytes`.
pub(super) fn append<R: Ring>(bytes: &mut Zeroizing<Vec<u8>>, words: &[R]) {
    let word = R::BITS as usize / 8;
    words.iter().for_each(|value| bytes.extend_from_slice(&value.to_u64().to_le_bytes()[..word]));
}
