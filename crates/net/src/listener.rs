//! The accepting end. Strangers neither block it nor pile up.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::{ServerConfig, ServerConnection};

use crate::channel::Channel;
use crate::connect::{resolve, resolve_loopback};
use crate::error::{ConfigError, Gone, system};
use crate::greeting::{Greeting, Refused};
use crate::link::{TcpLink, is_wait};
use crate::shape::shaped;
use crate::{Fingerprint, Identity, Limits, NetError, Peer};

/// Connections that have not shown who they are. When one more comes, the oldest of the silent ones goes.
const PENDING: usize = 256;
/// How long to sleep while connections are pending, and while none is.
const BUSY: Duration = Duration::from_millis(1);
const IDLE: Duration = Duration::from_millis(10);

/// A peer that may connect: its name in messages and its identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    /// Name, such as `P1`.
    pub name: String,
    /// Its identity.
    pub pin: Fingerprint,
}

/// Listens for pinned peers.
///
/// Nothing runs between two calls of [`accept`](Self::accept): strangers that come while a session is at work wait in
/// the system's bounded backlog and cost nothing.
pub struct Listener {
    socket: TcpListener,
    mode: Mode,
    limits: Limits,
    pending: Vec<Pending>,
    refused: u64,
    last: Option<String>,
}

enum Mode {
    Plain { name: String },
    Tls { config: Arc<ServerConfig>, ours: Fingerprint, allowed: Vec<Allowed> },
}

struct Pending {
    socket: TcpStream,
    from: SocketAddr,
    greeting: Greeting,
    since: Instant,
    silent: bool,
}

/// What became of a pending connection.
enum Fate {
    Waits,
    Greeted,
    Gone(Option<Refused>),
}

impl Pending {
    /// Reads and writes what the socket allows.
    fn advance(&mut self, deadline: Duration) -> Fate {
        match self.exchange() {
            Ok(()) if self.greeting.done() && self.greeting.outgoing().is_empty() => Fate::Greeted,
            Ok(()) if self.since.elapsed() >= deadline => Fate::Gone(None),
            Ok(()) => Fate::Waits,
            Err(why) => Fate::Gone(why),
        }
    }

    fn exchange(&mut self) -> Result<(), Option<Refused>> {
        let mut buffer = [0; 8 << 10];
        while !self.greeting.done() {
            match self.socket.read(&mut buffer) {
                Ok(0) => return Err(None),
                Ok(n) => {
                    self.silent = false;
                    let fed = self.greeting.feed(&buffer[..n]);
                    // On refusal this is the alert that tells the other end why.
                    let told = self.write();
                    fed.map_err(Some)?;
                    told?;
                }
                Err(e) if is_wait(&e) => break,
                Err(_) => return Err(None),
            }
        }
        self.write()
    }

    fn write(&mut self) -> Result<(), Option<Refused>> {
        let out = self.greeting.outgoing();
        while !out.is_empty() {
            match self.socket.write(out) {
                Ok(n) => drop(out.drain(..n)),
                Err(e) if is_wait(&e) => return Ok(()),
                Err(_) => return Err(None),
            }
        }
        Ok(())
    }
}

impl Listener {
    /// Listens at `addr` for TLS connections of the peers in `allowed`.
    pub fn bind(addr: &str, identity: &Identity, allowed: &[Allowed], limits: &Limits) -> Result<Listener, NetError> {
        if allowed.is_empty() {
            return Err(ConfigError::NoPins.into());
        }
        let pins: Vec<Fingerprint> = allowed.iter().map(|a| a.pin).collect();
        let (config, ours) = (crate::tls::server(identity, &pins)?, identity.fingerprint());
        let mode = Mode::Tls { config, ours, allowed: allowed.to_vec() };
        Listener::new(addr, &resolve(addr)?, mode, limits)
    }

    /// Listens at an address of this machine for plain TCP of a process of this machine, called `name`.
    pub fn bind_plain(addr: &str, name: &str, limits: &Limits) -> Result<Listener, NetError> {
        let mode = Mode::Plain { name: name.to_owned() };
        Listener::new(addr, &resolve_loopback(addr)?, mode, limits)
    }

    fn new(addr: &str, found: &[SocketAddr], mode: Mode, limits: &Limits) -> Result<Listener, NetError> {
        let bound = TcpListener::bind(found).and_then(|s| s.set_nonblocking(true).map(|()| s));
        let socket = bound.map_err(|e| ConfigError::Bind { addr: addr.to_owned(), reason: e.to_string() })?;
        let limits = limits.clone();
        Ok(Listener { socket, mode, limits, pending: Vec::new(), refused: 0, last: None })
    }

    /// Where it listens; tells the port when 0 was asked for.
    pub fn local_addr(&self) -> Result<SocketAddr, NetError> {
        self.socket.local_addr().map_err(|e| system("tell the local address", e))
    }

    /// How many connections were turned away.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Why the last one was turned away, if it said anything.
    pub fn last_refusal(&self) -> Option<&str> {
        self.last.as_deref()
    }

    /// Waits at most `wait` for a peer that shows a pinned identity. Whatever else connects is turned away.
    pub fn accept(&mut self, wait: Duration) -> Result<Peer, NetError> {
        let began = Instant::now();
        loop {
            let came = self.admit()?;
            let mut moved = false;
            let mut i = 0;
            while i < self.pending.len() {
                let silent = self.pending[i].silent;
                match self.pending[i].advance(self.limits.handshake) {
                    Fate::Waits => {
                        moved |= silent != self.pending[i].silent;
                        i += 1;
                    }
                    Fate::Greeted => {
                        let pending = self.pending.remove(i);
                        if let Some(peer) = self.welcome(pending)? {
                            return Ok(peer);
                        }
                    }
                    Fate::Gone(why) => {
                        let pending = self.pending.remove(i);
                        self.turn_away(&pending, why);
                    }
                }
            }
            if began.elapsed() >= wait {
                return Err(self.nobody(began));
            }
            if !came && !moved {
                std::thread::sleep(if self.pending.is_empty() { IDLE } else { BUSY });
            }
        }
    }

    /// Takes what waits in the backlog, a bounded number at a time.
    fn admit(&mut self) -> Result<bool, NetError> {
        let mut came = false;
        for _ in 0..PENDING / 4 {
            let (socket, from) = match self.socket.accept() {
                Ok(accepted) => accepted,
                Err(e) if is_wait(&e) => return Ok(came),
                // The connection ended before it was taken, or descriptors are short: neither is the listener's end.
                Err(e) if e.kind() == ErrorKind::ConnectionAborted => continue,
                Err(e) => {
                    self.last = Some(format!("cannot accept a connection: {e}"));
                    return Ok(came);
                }
            };
            came = true;
            let ready = socket.set_nonblocking(true).and_then(|()| socket.set_nodelay(true));
            let local = matches!(self.mode, Mode::Tls { .. }) || from.ip().is_loopback();
            if ready.is_err() || !local {
                self.refused += 1;
                continue;
            }
            if self.pending.len() >= PENDING {
                let silent = self.pending.iter().position(|p| p.silent).unwrap_or(0);
                let oldest = self.pending.remove(silent);
                self.turn_away(&oldest, None);
            }
            let greeting = Greeting::accepting(self.tls()?);
            let since = Instant::now();
            self.pending.push(Pending { socket, from, greeting, since, silent: true });
        }
        Ok(came)
    }

    fn tls(&self) -> Result<Option<ServerConnection>, NetError> {
        match &self.mode {
            Mode::Plain { .. } => Ok(None),
            Mode::Tls { config, .. } => {
                let tls = ServerConnection::new(config.clone());
                tls.map(Some).map_err(|e| system("set up TLS", e))
            }
        }
    }

    /// A peer that is greeted, unless its last step failed.
    fn welcome(&mut self, pending: Pending) -> Result<Option<Peer>, NetError> {
        let (tls, fingerprint, rest) = pending.greeting.finish();
        let name = match (&self.mode, fingerprint) {
            (Mode::Plain { name }, _) => Some(name.as_str()),
            (Mode::Tls { allowed, .. }, Some(shown)) => {
                allowed.iter().find(|a| a.pin == shown).map(|a| a.name.as_str())
            }
            (Mode::Tls { .. }, None) => None,
        };
        let (Some(name), Ok(link)) = (name, TcpLink::new(pending.socket)) else {
            self.refused += 1;
            return Ok(None);
        };
        let channel = Channel::new(shaped(Box::new(link), self.limits.shape)?, tls);
        Peer::start(channel, name, fingerprint, rest, &self.limits).map(Some)
    }

    fn turn_away(&mut self, pending: &Pending, why: Option<Refused>) {
        self.refused += 1;
        if let Some(why) = why {
            let ours = match self.mode {
                Mode::Tls { ours, .. } => ours,
                Mode::Plain { .. } => Fingerprint::from_bytes([0; 32]),
            };
            let from = format!("a caller from {}", pending.from);
            self.last = Some(match why.into_identity(&from, ours) {
                Ok(identity) => identity.to_string(),
                Err(what) => format!("{from}: {what}"),
            });
        }
        let _ = pending.socket.shutdown(std::net::Shutdown::Both);
    }

    fn nobody(&self, began: Instant) -> NetError {
        let peer = match &self.mode {
            Mode::Plain { name } => name.clone(),
            Mode::Tls { allowed, .. } => {
                let names: Vec<&str> = allowed.iter().map(|a| a.name.as_str()).collect();
                names.join(" or ")
            }
        };
        let mut how = "nobody with a pinned identity came".to_owned();
        if self.refused > 0 {
            how += &format!("; turned away: {}", self.refused);
        }
        if let Some(last) = &self.last {
            how += &format!(", the last because: {last}");
        }
        let (waiting_for, waited) = ("a connection".to_owned(), began.elapsed());
        NetError::PeerGone { peer, waiting_for, waited, how: Gone::NotReached(how) }
    }
}
