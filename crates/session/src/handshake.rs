//! First words between P0 and P1: version, plan, ring and material are compared before anything else is said.

use ariann_gates::Party;
use ariann_net::Peer;

use crate::messages::{BATCHES, CONTROL, Hello, Offer, Verdict};
use crate::{PROTOCOL, SessionError};

/// Exchanges greetings and verdicts. Returns both when both accept; P0 makes its own when it has heard P1's. `further` objects to more than form.
///
/// P0 has several clients: it hears first, and answers with what both have, so that none learns of another's material.
pub(crate) fn greet(
    peer: &mut Peer,
    party: Party,
    own: impl FnOnce(Option<&Hello>) -> Result<Hello, SessionError>,
    further: impl FnOnce(&Hello, &Hello) -> Result<Option<String>, SessionError>,
) -> Result<(Hello, Hello), SessionError> {
    let (own, theirs) = if party == Party::P1 {
        let own = own(None)?;
        peer.send_control(&own)?;
        (own, peer.recv_control::<Hello>(CONTROL, "its greeting")?)
    } else {
        let theirs: Hello = peer.recv_control(CONTROL, "its greeting")?;
        let own = own(Some(&theirs))?;
        let mut answer = own.clone();
        answer.batches.retain(|offer| theirs.batches.iter().any(|other| other.batch == offer.batch));
        answer.weights.retain(|version| answer.batches.iter().any(|offer| offer.weights == *version));
        peer.send_control(&answer)?;
        (own, theirs)
    };
    let objection = match objection(&own, &theirs, peer.name()) {
        None => further(&own, &theirs)?,
        known => known,
    };
    judge(peer, objection)?;
    Ok((own, theirs))
}

/// Exchanges verdicts on greetings: this party's objection, if it has one, and the other's word.
pub(crate) fn judge(peer: &mut Peer, objection: Option<String>) -> Result<(), SessionError> {
    let Some(reason) = objection else {
        peer.send_control(&Verdict::Accepted)?;
        return accepted(peer, "its verdict on the greeting");
    };
    peer.send_control(&Verdict::Refused(reason.clone()))?;
    // Let the other side hear it before the connection goes.
    let _ = peer.flush();
    Err(SessionError::Mismatch { peer: peer.name().to_string(), reason })
}

/// Receives a verdict; a refusal is the peer's word.
pub(crate) fn accepted(peer: &mut Peer, waiting_for: &str) -> Result<(), SessionError> {
    match peer.recv_control(CONTROL, waiting_for)? {
        Verdict::Accepted => Ok(()),
        Verdict::Refused(reason) => {
            let reason = format!("it refused: {}", printable(&reason));
            Err(SessionError::Mismatch { peer: peer.name().to_string(), reason })
        }
    }
}

/// Another role's words as they may stand on a terminal and in a log.
pub fn printable(words: &str) -> String {
    words.chars().filter(|c| !c.is_control()).take(1000).collect()
}

fn objection(own: &Hello, theirs: &Hello, peer: &str) -> Option<String> {
    let hex = |digest: &[u8; 32]| blake3::Hash::from_bytes(*digest).to_hex()[..16].to_string();
    if theirs.protocol != own.protocol {
        return Some(format!(
            "{peer} speaks protocol version {}, this role {PROTOCOL}: install the same release on both sides",
            theirs.protocol
        ));
    }
    if theirs.party == own.party || theirs.party > 1 {
        return Some(format!("both sides are party {}: one must `serve`, the other `query`", own.party));
    }
    if theirs.plan != own.plan || theirs.ring != own.ring {
        return Some(format!(
            "{peer} has plan {}… with a ring of {} bits, this role plan {}… with {}: give both the same plan file",
            hex(&theirs.plan),
            theirs.ring,
            hex(&own.plan),
            own.ring
        ));
    }
    if theirs.batches.len() > BATCHES {
        return Some(format!("{peer} offers {} batches of material, more than {BATCHES}", theirs.batches.len()));
    }
    None
}

/// Batches that both have, in this party's order, each with the other's mark.
pub(crate) fn common(own: &[Offer], theirs: &[Offer]) -> Vec<(Offer, u32)> {
    let matching = |own: &Offer| {
        let same =
            |other: &&Offer| other.batch == own.batch && other.weights == own.weights && other.slots == own.slots;
        theirs.iter().find(same).filter(|other| other.mark <= own.slots).map(|other| (*own, other.mark))
    };
    own.iter().filter_map(matching).collect()
}

/// The greeting of `party`.
pub(crate) fn hello(
    party: Party,
    plan: &ariann_plan::Plan,
    batches: Vec<Offer>,
    weights: Vec<[u8; 16]>,
    most_items: u32,
) -> Hello {
    Hello { protocol: PROTOCOL, party: party as u8, ring: plan.ring, plan: plan.digest(), batches, weights, most_items }
}
