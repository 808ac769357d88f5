//! The connecting end.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use crate::channel::{Channel, TICK};
use crate::error::{ConfigError, Gone, system};
use crate::greeting::{Greeting, Refused};
use crate::incoming::Watch;
use crate::link::{Link, TcpLink, is_wait};
use crate::shape::shaped;
use crate::{Fingerprint, Identity, Limits, NetError, Peer};

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(100);
const WAITING_FOR: &str = "a connection";

impl Peer {
    /// Connects over TLS to the peer `name` at `addr`, which must show exactly the identity `pin`. Tries until
    /// [`Limits::connect`] while nobody answers; a wrong identity fails at once.
    pub fn connect(
        addr: &str,
        identity: &Identity,
        pin: &Fingerprint,
        name: &str,
        limits: &Limits,
    ) -> Result<Peer, NetError> {
        let config = crate::tls::client(identity, *pin)?;
        let tls = Some((config, identity.fingerprint()));
        Attempt { addr, tls, name, limits, watch: Watch::new(WAITING_FOR) }.repeat()
    }

    /// Connects without TLS to a process on this machine. Any other address is refused.
    pub fn connect_plain(addr: &str, name: &str, limits: &Limits) -> Result<Peer, NetError> {
        resolve_loopback(addr)?;
        Attempt { addr, tls: None, name, limits, watch: Watch::new(WAITING_FOR) }.repeat()
    }
}

pub(crate) fn resolve(addr: &str) -> Result<Vec<SocketAddr>, NetError> {
    let unusable = |reason: String| ConfigError::Address { addr: addr.to_owned(), reason };
    let found: Vec<SocketAddr> = addr.to_socket_addrs().map_err(|e| unusable(e.to_string()))?.collect();
    match found.is_empty() {
        true => Err(unusable("no address has this name".into()).into()),
        false => Ok(found),
    }
}

/// Addresses for plain TCP: all of them must be of this machine.
pub(crate) fn resolve_loopback(addr: &str) -> Result<Vec<SocketAddr>, NetError> {
    let found = resolve(addr)?;
    match found.iter().find(|a| !a.ip().is_loopback()) {
        Some(foreign) => Err(ConfigError::PlainOffLoopback(foreign.to_string()).into()),
        None => Ok(found),
    }
}

struct Attempt<'a> {
    addr: &'a str,
    tls: Option<(Arc<ClientConfig>, Fingerprint)>,
    name: &'a str,
    limits: &'a Limits,
    watch: Watch<'a>,
}

/// Worth another attempt, or not.
enum Failed {
    Again(String),
    Final(NetError),
}

impl From<std::io::Error> for Failed {
    fn from(error: std::io::Error) -> Failed {
        Failed::Again(error.to_string())
    }
}

impl Attempt<'_> {
    fn repeat(self) -> Result<Peer, NetError> {
        let end = self.watch.began + self.limits.connect;
        loop {
            let why = match self.once(end) {
                Ok(peer) => return Ok(peer),
                Err(Failed::Final(error)) => return Err(error),
                Err(Failed::Again(why)) => why,
            };
            if Instant::now() + PAUSE >= end {
                let why = format!("{} at {}: {why}", self.name, self.addr);
                return Err(self.gone(Gone::NotReached(why)));
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn once(&self, end: Instant) -> Result<Peer, Failed> {
        let link = self.reach(end)?;
        let link = TcpLink::new(link)?;
        let tls = self.tls.as_ref().map(|(config, _)| {
            // Pinned by fingerprint: the name is not looked at and not sent.
            let nobody = ServerName::try_from("ariann.invalid").expect("a valid name");
            ClientConnection::new(config.clone(), nobody)
        });
        let tls = tls.transpose().map_err(|e| Failed::Final(system("set up TLS", e)))?;
        let mut greeting = Greeting::connecting(tls);
        let mut buffer = vec![0; 16 << 10];
        loop {
            write_all(&link, greeting.outgoing(), end)?;
            if greeting.done() {
                break;
            }
            if Instant::now() >= end {
                return Err(Failed::Again("it accepts connections but does not answer".into()));
            }
            match link.read(&mut buffer, TICK) {
                Ok(0) => return Err(Failed::Again("it closed the connection".into())),
                Ok(n) => {
                    let fed = greeting.feed(&buffer[..n]);
                    // The alert tells the other end why.
                    let told = write_all(&link, greeting.outgoing(), end);
                    fed.map_err(|refused| self.refused(refused))?;
                    told?;
                }
                Err(e) if is_wait(&e) => {}
                Err(e) => return Err(e.into()),
            }
        }
        let (tls, fingerprint, rest) = greeting.finish();
        let link = shaped(Box::new(link), self.limits.shape).map_err(Failed::Final)?;
        let channel = Channel::new(link, tls);
        Peer::start(channel, self.name, fingerprint, rest, self.limits).map_err(Failed::Final)
    }

    fn reach(&self, end: Instant) -> Result<TcpStream, Failed> {
        let found = match self.tls {
            Some(_) => resolve(self.addr),
            None => resolve_loopback(self.addr),
        };
        let mut last = None;
        for addr in found.map_err(|e| Failed::Again(e.to_string()))? {
            let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            match TcpStream::connect_timeout(&addr, left.min(self.limits.handshake)) {
                Ok(socket) => return Ok(socket),
                Err(error) => last = Some(error),
            }
        }
        Err(last.expect("resolve gives an address").into())
    }

    fn refused(&self, refused: Refused) -> Failed {
        let ours = self.tls.as_ref().map_or(Fingerprint::from_bytes([0; 32]), |(_, ours)| *ours);
        Failed::Final(match refused.into_identity(self.name, ours) {
            Ok(identity) => identity.into(),
            Err(what) => {
                NetError::PeerMisbehaved { peer: self.name.to_owned(), waiting_for: WAITING_FOR.to_owned(), what }
            }
        })
    }

    fn gone(&self, how: Gone) -> NetError {
        NetError::PeerGone {
            peer: self.name.to_owned(),
            waiting_for: WAITING_FOR.to_owned(),
            waited: self.watch.began.elapsed(),
            how,
        }
    }
}

/// Writes and empties `bytes`.
pub(crate) fn write_all(link: &TcpLink, bytes: &mut Vec<u8>, end: Instant) -> std::io::Result<()> {
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        match link.write(rest, TICK) {
            Ok(n) => rest = &rest[n..],
            Err(e) if is_wait(&e) && Instant::now() < end => {}
            Err(e) => return Err(e),
        }
    }
    bytes.clear();
    Ok(())
}
