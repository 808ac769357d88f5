//! One connection to a peer.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::channel::Channel;
use crate::error::{Gone, LocalError, Misbehaviour, system};
use crate::frame::{Kind, PIECE};
use crate::incoming::{Expected, Incoming, Length, Partly, Tap, Watch};
use crate::outgoing::{Item, Outgoing, Room};
use crate::shape::shaped;
use crate::{Fingerprint, Limits, Link, NetError};

/// One connection to a peer that has shown who it is.
///
/// Sending does not wait for the other end: what the link does not take at once, and what is large, is queued for a
/// writer thread. Receiving happens in the caller's thread. After an error the connection is of no use: every later call
/// returns the same error.
pub struct Peer {
    incoming: Incoming,
    outgoing: Outgoing,
    channel: Arc<Channel>,
    fingerprint: Option<Fingerprint>,
    failed: Option<NetError>,
}

/// Bytes of a connection so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Payload of messages written.
    pub payload_sent: u64,
    /// Payload of messages received.
    pub payload_received: u64,
    /// Bytes written to the socket: payload, frame headers and TLS records. The TLS handshake is not counted.
    pub wire_sent: u64,
    /// Bytes read from the socket, likewise.
    pub wire_received: u64,
}

/// How long a blocked send sleeps before it looks whether the peer lives.
const LOOK: Duration = Duration::from_millis(500);

impl Peer {
    /// A connection over `link` without TLS and without authentication: for memory and tests. `name` is the peer's.
    pub fn over(link: Box<dyn Link>, name: &str, limits: &Limits) -> Result<Peer, NetError> {
        Peer::start(Channel::new(shaped(link, limits.shape)?, None), name, None, Vec::new(), limits)
    }

    /// Two connected peers in memory. The first is at P0 and is connected to P1, the second at P1.
    pub fn memory_pair() -> Result<(Peer, Peer), NetError> {
        let (a, b) = crate::memory_links();
        let limits = Limits::default();
        Ok((Peer::over(Box::new(a), "P1", &limits)?, Peer::over(Box::new(b), "P0", &limits)?))
    }

    pub(crate) fn start(
        channel: Channel,
        name: &str,
        fingerprint: Option<Fingerprint>,
        heard: Vec<u8>,
        limits: &Limits,
    ) -> Result<Peer, NetError> {
        let channel = Arc::new(channel);
        let outgoing = Outgoing::start(channel.clone(), name, limits)?;
        let incoming = Incoming::new(name, heard, limits);
        Ok(Peer { incoming, outgoing, channel, fingerprint, failed: None })
    }

    /// Name of the peer, as it stands in messages.
    pub fn name(&self) -> &str {
        &self.incoming.name
    }

    /// The peer's identity; `None` without TLS.
    pub fn fingerprint(&self) -> Option<&Fingerprint> {
        self.fingerprint.as_ref()
    }

    /// Bytes so far. What is queued and not yet written is not counted: [`flush`](Self::flush) before comparing.
    pub fn stats(&self) -> Stats {
        Stats {
            payload_sent: self.outgoing.payload(),
            payload_received: self.incoming.payload,
            wire_sent: self.channel.sent.load(Ordering::Relaxed),
            wire_received: self.channel.received.load(Ordering::Relaxed),
        }
    }

    /// From now on `tap` sees every byte of payload received, in order.
    pub fn tap(&mut self, tap: Tap) {
        self.incoming.tap = Some(tap);
    }

    /// Queues a message of the plan's step `step`. Waits only while more than
    /// [`Limits::queue_bytes`] are queued already, so one message each way at once never waits for the other.
    pub fn send(&mut self, step: u32, payload: Vec<u8>) -> Result<(), NetError> {
        let length = payload.len() as u64;
        self.queue(Item { kind: Kind::Data, step, length, bytes: payload })
    }

    /// Receives the message of step `step`, which has `len` bytes. `waiting_for` names it in errors.
    pub fn recv(&mut self, step: u32, len: usize, waiting_for: &str) -> Result<Vec<u8>, NetError> {
        let mut out = Vec::with_capacity(len);
        self.receive(data(step, len as u64), waiting_for, |part, _| {
            out.extend_from_slice(part);
            Ok::<_, NetError>(())
        })?;
        Ok(out)
    }

    /// [`recv`](Self::recv) into `out`, whose length is the message's.
    pub fn recv_into(&mut self, step: u32, out: &mut [u8], waiting_for: &str) -> Result<(), NetError> {
        let mut filled = 0;
        self.receive(data(step, out.len() as u64), waiting_for, |part, _| {
            out[filled..filled + part.len()].copy_from_slice(part);
            filled += part.len();
            Ok(())
        })
    }

    /// Receives a message of `len` bytes piece by piece: `each` gets consecutive pieces of [`PIECE`] bytes and the rest.
    /// An error of `each` ends the connection.
    pub fn recv_stream<E: From<NetError>>(
        &mut self,
        step: u32,
        len: u64,
        waiting_for: &str,
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut piece = Vec::with_capacity(PIECE.min(len as usize));
        self.receive(data(step, len), waiting_for, |part, complete| {
            piece.extend_from_slice(part);
            if complete {
                each(&piece)?;
                piece.clear();
            }
            Ok(())
        })
    }

    /// Queues a control message.
    pub fn send_control<T: Serialize>(&mut self, message: &T) -> Result<(), NetError> {
        let bytes = postcard::to_stdvec(message).map_err(|e| system("encode a control message", e))?;
        let length = bytes.len() as u64;
        self.queue(Item { kind: Kind::Control, step: 0, length, bytes })
    }

    /// Receives a control message of at most `max_len` bytes. Trailing bytes and other encodings of the same
    /// value are refused.
    pub fn recv_control<T: Serialize + DeserializeOwned>(
        &mut self,
        max_len: usize,
        waiting_for: &str,
    ) -> Result<T, NetError> {
        let expected = Expected { kind: Kind::Control, step: 0, length: Length::AtMost(max_len as u64) };
        let mut bytes = Vec::new();
        self.receive(expected, waiting_for, |part, _| {
            bytes.extend_from_slice(part);
            Ok::<_, NetError>(())
        })?;
        let decoded = decode_control(&bytes);
        decoded.map_err(|what| {
            let error = self.incoming.misbehaved(waiting_for, what);
            self.fail(error)
        })
    }

    /// Waits until everything queued is written to the socket.
    pub fn flush(&mut self) -> Result<(), NetError> {
        self.usable()?;
        self.wait("it to take what was sent", |outgoing| outgoing.drained(LOOK))
    }

    /// Writes what is queued, says farewell and waits, at most [`Limits::linger`], for the peer to close too.
    /// Dropping a peer instead cuts the connection at once.
    pub fn close(mut self) -> Result<(), NetError> {
        self.usable()?;
        self.outgoing.close();
        self.wait("it to take what was sent before the end", |outgoing| outgoing.drained(LOOK)).or_else(|error| {
            match error {
                NetError::PeerGone { how: Gone::Closed, .. } => Ok(()),
                error => Err(error),
            }
        })?;
        let linger = self.incoming.limits.linger;
        self.incoming.drain(&self.channel, Instant::now() + linger);
        Ok(())
    }

    pub(crate) fn queue(&mut self, item: Item) -> Result<(), NetError> {
        self.usable()?;
        self.wait("it to take what was sent before", |outgoing| outgoing.room(LOOK))?;
        self.outgoing.push(item);
        Ok(())
    }

    /// Repeats `look` until it says yes, listening for the peer in between.
    fn wait(&mut self, waiting_for: &str, look: impl Fn(&Outgoing) -> Room) -> Result<(), NetError> {
        let mut watch = Watch::new(waiting_for);
        loop {
            let lost = match look(&self.outgoing) {
                Room::Yes => return Ok(()),
                Room::Full => self.incoming.listen(&self.channel, &mut watch),
                Room::Failed(why) => Err(self.incoming.gone(&watch, Gone::Broken(why))),
            };
            lost.map_err(|error| self.fail(error))?;
        }
    }

    fn receive<E: From<NetError>>(
        &mut self,
        expected: Expected,
        waiting_for: &str,
        sink: impl FnMut(&[u8], bool) -> Result<(), E>,
    ) -> Result<(), E> {
        self.usable()?;
        // An error of the sink leaves the message half taken; one of ours is put in its place below.
        let mut ours = None;
        let keep = |error: NetError| {
            ours = Some(error.clone());
            error
        };
        let result = self.incoming.message(&self.channel, &expected, waiting_for, keep, sink);
        if result.is_err() {
            let left = || LocalError::Unfinished { peer: self.incoming.name.clone() };
            self.failed = Some(ours.unwrap_or_else(|| left().into()));
        }
        result
    }

    /// The next bytes of a message that is read in pieces.
    pub(crate) fn recv_part(
        &mut self,
        step: u32,
        partly: &mut Partly,
        out: &mut [u8],
        waiting_for: &str,
    ) -> Result<(), NetError> {
        self.usable()?;
        let read = self.incoming.part(&self.channel, step, partly, out, waiting_for);
        read.map_err(|error| self.fail(error))
    }

    pub(crate) fn usable(&self) -> Result<(), NetError> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    pub(crate) fn fail(&mut self, error: NetError) -> NetError {
        self.failed = Some(error.clone());
        error
    }
}

fn data(step: u32, len: u64) -> Expected {
    Expected { kind: Kind::Data, step, length: Length::Exactly(len) }
}

/// Decodes a control message and demands that it is the encoding of what it decodes to. Never panics.
pub fn decode_control<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T, Misbehaviour> {
    let control = |reason: &str| Misbehaviour::Control(reason.to_owned());
    let value: T = postcard::from_bytes(bytes).map_err(|e| Misbehaviour::Control(e.to_string()))?;
    let again = postcard::to_stdvec(&value).map_err(|e| Misbehaviour::Control(e.to_string()))?;
    match again == bytes {
        true => Ok(value),
        false if bytes.starts_with(&again) => Err(control("bytes follow its end")),
        false => Err(control("it is not in canonical form")),
    }
}
