//! First words between P0 and P1 of a training: version, job, and where to begin.

use std::time::Duration;

use ariann_gates::Party;
use ariann_net::{Allowed, Gone, Identity, Listener, NetError, Peer};
use ariann_prg::entropy;

use super::config::TrainPartyConfig;
use super::messages::{Ask, CHECKPOINTS, Greeting, Mark, STANDING_STEP, Start};
use super::standing::Standing;
use crate::events::{Event, Events};
use crate::handshake::{judge, printable};
use crate::hooks::Hooks;
use crate::messages::{CONTROL, Verdict};
use crate::{PROTOCOL, SessionError, config};

/// How long one call of accept waits.
const ACCEPT: Duration = Duration::from_secs(1);

/// What a party says.
pub(crate) fn greeting(job: [u8; 32], party: Party, resume: bool, mut marks: Vec<Mark>) -> Greeting {
    marks.drain(..marks.len().saturating_sub(CHECKPOINTS));
    Greeting { protocol: PROTOCOL, party: party as u8, job, resume, checkpoints: marks }
}

/// Meets the other party: P0 awaits P1, also where it is looked for before, and P1 connects.
pub(super) fn meet(
    config: &TrainPartyConfig,
    identity: &Identity,
    own: &Greeting,
    hooks: &Hooks,
    events: &mut dyn Events,
) -> Result<(Peer, Start), SessionError> {
    let (party, other) = (config.role, ariann_gates::other(config.role));
    let mut door = door(config, identity, other, events)?;
    loop {
        let mut peer = reach(config, identity, other, door.as_mut())?;
        let mut observer = (hooks.observer)(config::role(party));
        peer.tap(Box::new(move |bytes| observer.received(config::role(other), bytes)));
        match greet(&mut peer, party, own) {
            Err(SessionError::Net(NetError::PeerGone { how: Gone::Closed, .. })) if party == Party::P0 => {
                events.notice("P1 looked whether P0 is here".to_string());
            }
            met => return Ok((peer, met?)),
        }
    }
}

/// Where P0 awaits P1.
fn door(
    config: &TrainPartyConfig,
    identity: &Identity,
    other: Party,
    events: &mut dyn Events,
) -> Result<Option<Listener>, SessionError> {
    if other == Party::P0 {
        return Ok(None);
    }
    let (limits, name) = (config::shaped(&config.deadlines, config.link)?, config::name(other).to_string());
    let missing = || SessionError::Config("P0 has no `listen`: set it to HOST:PORT".to_string());
    let allowed = [Allowed { pin: config::pin(&config.peer, &name)?, name }];
    let listener = Listener::bind(config.listen.as_ref().ok_or_else(missing)?, identity, &allowed, &limits)?;
    events.tell(Event::Listening { address: listener.local_addr()? });
    Ok(Some(listener))
}

/// Connects to the other party.
fn reach(
    config: &TrainPartyConfig,
    identity: &Identity,
    other: Party,
    door: Option<&mut Listener>,
) -> Result<Peer, SessionError> {
    let Some(listener) = door else {
        let (limits, name) = (config::shaped(&config.deadlines, config.link)?, config::name(other));
        let missing = || SessionError::Config("P1 has no `connect`: set it to HOST:PORT".to_string());
        let address = config.connect.as_ref().ok_or_else(missing)?;
        return Ok(Peer::connect(address, identity, &config::pin(&config.peer, name)?, name, &limits)?);
    };
    loop {
        match listener.accept(ACCEPT) {
            Ok(peer) => return Ok(peer),
            Err(NetError::PeerGone { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Exchanges greetings and verdicts; both then know where the session begins and its lineage.
fn greet(peer: &mut Peer, party: Party, own: &Greeting) -> Result<Start, SessionError> {
    peer.send_control(own)?;
    let theirs: Greeting = peer.recv_control(CONTROL, "its greeting")?;
    judge(peer, objection(own, &theirs, peer.name()))?;
    let from = common(own, &theirs).filter(|_| own.resume);
    if party == Party::P0 {
        let mut lineage = [0; 16];
        entropy(&mut lineage)?;
        let start = Start { from, lineage };
        peer.send_control(&start)?;
        return Ok(start);
    }
    let start: Start = peer.recv_control(CONTROL, "where to begin")?;
    if start.from != from {
        let reason = "it begins at another checkpoint than the newest that both have; install the same release of the program on both \
                      sides"
            .to_string();
        return Err(SessionError::Mismatch { peer: peer.name().to_string(), reason });
    }
    Ok(start)
}

/// The newest checkpoint that both have.
fn common(own: &Greeting, theirs: &Greeting) -> Option<Mark> {
    own.checkpoints.iter().filter(|mark| theirs.checkpoints.contains(mark)).max().copied()
}

fn objection(own: &Greeting, theirs: &Greeting, peer: &str) -> Option<String> {
    if theirs.protocol != own.protocol {
        return Some(format!(
            "{peer} speaks protocol version {}, this role {PROTOCOL}: install the same release on both sides",
            theirs.protocol
        ));
    }
    if theirs.party == own.party || theirs.party > 1 {
        return Some(format!("both sides are party {}: one must be p0, the other p1", own.party));
    }
    if theirs.job != own.job {
        let hex = |digest: &[u8; 32]| blake3::Hash::from_bytes(*digest).to_hex()[..16].to_string();
        let (theirs, own) = (hex(&theirs.job), hex(&own.job));
        return Some(format!(
            "{peer} has job {theirs}…, this role job {own}…: give all roles the same job file, and the same release of the program"
        ));
    }
    if theirs.checkpoints.len() > CHECKPOINTS {
        return Some(format!("{peer} offers more than {CHECKPOINTS} checkpoints"));
    }
    if theirs.resume != own.resume {
        return Some("one party resumes and the other begins anew: set `resume` at both or at none".to_string());
    }
    if own.resume && common(own, theirs).is_none() {
        let count = |greeting: &Greeting| greeting.checkpoints.len();
        return Some(format!(
            "there is no checkpoint that both parties have ({} here, {} at {peer}): begin anew without resume, or bring the folders \
             of one session",
            count(own),
            count(theirs)
        ));
    }
    None
}

/// Asks the dealer for the material of all turns from the cursor's on.
pub(crate) fn ask(
    dealer: &mut Peer,
    (job, turn): ([u8; 32], u64),
    standing: &Standing,
    party: Party,
    lineage: [u8; 16],
) -> Result<(), SessionError> {
    dealer.send_control(&Ask { protocol: PROTOCOL, party: party as u8, job, turn, lineage })?;
    match dealer.recv_control(CONTROL, "its verdict")? {
        Verdict::Accepted => Ok(dealer.send(STANDING_STEP, standing.encode())?),
        Verdict::Refused(reason) => {
            let reason = format!("it refused {}: {}", config::name(party), printable(&reason));
            Err(SessionError::Mismatch { peer: "the dealer".to_string(), reason })
        }
    }
}
