//! From a fresh connection to a peer that has shown who it is. No I/O: bytes in, bytes out.
//!
//! After the TLS handshake (or at once on plain TCP) the connecting end sends a hello frame and the accepting end
//! answers with a welcome frame. Without it a client would learn only later that its identity is refused.

use std::io::Read;
use std::sync::Arc;

use rustls::{ClientConnection, Connection, ServerConnection};

use crate::error::Misbehaviour;
use crate::frame::{HEADER, Header, Kind};
use crate::tls::{Refusal, refusal};
use crate::{Fingerprint, IdentityError};

/// More bytes than this before the greeting is complete are refused.
const MOST: usize = 64 << 10;

pub(crate) struct Greeting {
    tls: Option<Connection>,
    accepting: bool,
    fed: usize,
    plain: Vec<u8>,
    out: Vec<u8>,
    said: bool,
    done: bool,
}

/// Why a greeting failed.
#[derive(Debug)]
pub(crate) enum Refused {
    Misbehaved(Misbehaviour),
    /// Not pinned or out of date.
    Identity(Refusal),
    /// The other end sent a TLS alert.
    ByPeer(String),
}

impl Refused {
    /// As an error of identity where it is one.
    pub fn into_identity(self, peer: &str, ours: Fingerprint) -> Result<IdentityError, Misbehaviour> {
        let peer = peer.to_owned();
        match self {
            Refused::Misbehaved(what) => Err(what),
            Refused::ByPeer(alert) => Ok(IdentityError::Refused { peer, ours, alert }),
            Refused::Identity(Refusal::NotPinned { got, pinned }) => Ok(IdentityError::NotPinned { peer, got, pinned }),
            Refused::Identity(Refusal::OutOfDate { fingerprint, when }) => {
                Ok(IdentityError::PeerExpired { peer, fingerprint, when })
            }
            Refused::Identity(chain) => Err(Misbehaviour::Tls(chain.to_string())),
        }
    }
}

impl Greeting {
    pub fn connecting(tls: Option<ClientConnection>) -> Greeting {
        Greeting::new(tls.map(Into::into), false)
    }

    pub fn accepting(tls: Option<ServerConnection>) -> Greeting {
        Greeting::new(tls.map(Into::into), true)
    }

    fn new(mut tls: Option<Connection>, accepting: bool) -> Greeting {
        if let Some(tls) = &mut tls {
            tls.set_buffer_limit(None);
        }
        let (plain, out) = (Vec::new(), Vec::new());
        let mut greeting = Greeting { tls, accepting, fed: 0, plain, out, said: false, done: false };
        greeting.speak();
        greeting
    }

    /// Bytes to be written to the other end.
    pub fn outgoing(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Both ends have spoken; what is in [`outgoing`](Self::outgoing) must still be written.
    pub fn done(&self) -> bool {
        self.done
    }

    /// Takes bytes that came. After an error, [`outgoing`](Self::outgoing) may hold an alert for the other end.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        self.fed += bytes.len();
        if self.fed >= MOST {
            let reason = format!("more than {MOST} bytes before the greeting was complete");
            return Err(Refused::Misbehaved(Misbehaviour::Tls(reason)));
        }
        let result = match self.tls {
            None => {
                self.plain.extend_from_slice(bytes);
                Ok(())
            }
            Some(_) => self.feed_tls(bytes),
        };
        let result = result.and_then(|()| self.hear());
        if result.is_ok() {
            self.speak();
        }
        self.collect();
        result
    }

    fn feed_tls(&mut self, mut bytes: &[u8]) -> Result<(), Refused> {
        let tls = self.tls.as_mut().expect("asked by feed");
        let failed = |reason: String| Refused::Misbehaved(Misbehaviour::Tls(reason));
        while !bytes.is_empty() {
            tls.read_tls(&mut bytes).map_err(|e| failed(e.to_string()))?;
            tls.process_new_packets().map_err(|error| match (refusal(&error), &error) {
                (Some(refusal), _) => Refused::Identity(refusal.clone()),
                (None, rustls::Error::AlertReceived(alert)) => Refused::ByPeer(format!("TLS alert {alert:?}")),
                (None, error) => failed(error.to_string()),
            })?;
            let mut part = [0; 2 * HEADER];
            while let Ok(n @ 1..) = tls.reader().read(&mut part) {
                self.plain.extend_from_slice(&part[..n]);
            }
        }
        Ok(())
    }

    /// Looks at what the other end said.
    fn hear(&mut self) -> Result<(), Refused> {
        let Some(bytes) = self.plain.first_chunk::<HEADER>() else {
            return match self.plain.get(..4) {
                // Garbage is refused at its first bytes.
                Some(tag) if tag != &self.expected()[..4] => Err(self.garbage()),
                _ => Ok(()),
            };
        };
        let kind = if self.accepting { Kind::Hello } else { Kind::Welcome };
        let heard = Header::decode(bytes).and_then(|header| header.expect_empty(kind, 0));
        heard.map_err(Refused::Misbehaved)?;
        // The accepting end is done first and may go on at once; the connecting end has nothing to say before the welcome.
        if self.accepting && self.plain.len() > HEADER {
            let reason = "it goes on before the greeting is complete".to_owned();
            return Err(Refused::Misbehaved(Misbehaviour::Control(reason)));
        }
        self.done = true;
        Ok(())
    }

    fn expected(&self) -> [u8; HEADER] {
        let kind = if self.accepting { Kind::Hello } else { Kind::Welcome };
        Header::empty(kind, 0).encode()
    }

    fn garbage(&self) -> Refused {
        let tag = self.plain[..4].try_into().expect("4 bytes");
        Refused::Misbehaved(Misbehaviour::NotAFrame(u32::from_be_bytes(tag)))
    }

    /// Says hello or welcome once it is our turn.
    fn speak(&mut self) {
        let turn = match self.accepting {
            true => self.done,
            false => self.tls.as_ref().is_none_or(|tls| !tls.is_handshaking()),
        };
        if turn && !self.said {
            self.said = true;
            let kind = if self.accepting { Kind::Welcome } else { Kind::Hello };
            let frame = Header::empty(kind, 0).encode();
            match &mut self.tls {
                None => self.out.extend_from_slice(&frame),
                Some(tls) => std::io::Write::write_all(&mut tls.writer(), &frame).expect("the buffer has no limit"),
            }
        }
        self.collect();
    }

    fn collect(&mut self) {
        while let Some(tls) = self.tls.as_mut().filter(|tls| tls.wants_write()) {
            tls.write_tls(&mut self.out).expect("a vector takes all");
        }
    }

    /// The connection, the identity that the other end has shown, and what it said after the greeting.
    pub fn finish(mut self) -> (Option<Connection>, Option<Fingerprint>, Vec<u8>) {
        let certificates = self.tls.as_ref().and_then(|tls| tls.peer_certificates());
        let fingerprint =
            certificates.and_then(<[_]>::first).map(|certificate| Fingerprint::of_certificate(certificate));
        let rest = self.plain.split_off(HEADER.min(self.plain.len()));
        (self.tls, fingerprint, rest)
    }
}

/// Feeds bytes to the accepting end of a greeting as a stranger could, `identity` or plain. For fuzzing.
pub fn feed_stranger(identity: Option<&crate::Identity>, bytes: &[u8]) -> bool {
    let tls = identity.map(|identity| {
        let config = crate::tls::server(identity, &[identity.fingerprint()]).expect("our own settings");
        ServerConnection::new(Arc::clone(&config)).expect("our own settings")
    });
    let mut greeting = Greeting::accepting(tls);
    bytes.chunks(97).all(|part| greeting.feed(part).is_ok()) && greeting.done()
}
