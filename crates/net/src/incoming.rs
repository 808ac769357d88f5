//! The receiving half: frames compared with what is expected, and the deadlines.

use std::time::{Duration, Instant};

use crate::channel::{Buffers, Channel, Fault, Peeked, Pulled, TICK};
use crate::error::{Gone, Misbehaviour};
use crate::frame::{HEADER, Header, Kind, PIECE};
use crate::{Limits, NetError};

/// A function that sees every byte of payload received.
pub type Tap = Box<dyn FnMut(&[u8]) + Send>;

/// A message as the plan has it.
pub(crate) struct Expected {
    pub kind: Kind,
    pub step: u32,
    pub length: Length,
}

/// How the length of a message is known.
#[derive(Clone, Copy)]
pub(crate) enum Length {
    Exactly(u64),
    AtMost(u64),
}

/// How far a message that is read in pieces has come.
pub(crate) struct Partly {
    length: u64,
    done: u64,
    /// Bytes of the current frame that are still to come.
    frame: usize,
}

impl Partly {
    pub fn new(length: u64) -> Partly {
        Partly { length, done: 0, frame: 0 }
    }

    pub fn left(&self) -> u64 {
        self.length - self.done
    }
}

pub(crate) struct Incoming {
    pub name: String,
    pub limits: Limits,
    pub payload: u64,
    pub tap: Option<Tap>,
    buffers: Buffers,
    sequence: u64,
    heard: Instant,
}

/// One wait: for what, since when.
pub(crate) struct Watch<'a> {
    pub waiting_for: &'a str,
    pub began: Instant,
    /// When the frame that is awaited could have begun at the earliest.
    frame: Instant,
}

impl<'a> Watch<'a> {
    pub fn new(waiting_for: &'a str) -> Watch<'a> {
        let now = Instant::now();
        Watch { waiting_for, began: now, frame: now }
    }
}

impl Incoming {
    /// `heard` is what came together with the end of the greeting.
    pub fn new(name: &str, heard: Vec<u8>, limits: &Limits) -> Incoming {
        Incoming {
            name: name.to_owned(),
            limits: limits.clone(),
            payload: 0,
            tap: None,
            buffers: Buffers::with(heard),
            sequence: 1,
            heard: Instant::now(),
        }
    }

    /// Receives a message: `sink` gets its bytes in order, told where a frame ends. `keep` sees an error of ours.
    pub fn message<E: From<NetError>>(
        &mut self,
        channel: &Channel,
        expected: &Expected,
        waiting_for: &str,
        mut keep: impl FnMut(NetError) -> NetError,
        mut sink: impl FnMut(&[u8], bool) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut watch = Watch::new(waiting_for);
        let mut length = expected.length;
        let mut done = 0;
        loop {
            let header = self.header(channel, &mut watch, done).map_err(&mut keep)?;
            let total = compare(&header, expected, &length).map_err(|what| keep(self.misbehaved(waiting_for, what)))?;
            length = Length::Exactly(total);
            let piece = (total - done).min(PIECE as u64) as usize;
            self.take(channel, piece, done, &watch, &mut sink).map_err(&mut keep)??;
            done += piece as u64;
            // The sink may have worked for long (disk): its time is not the peer's.
            watch.frame = Instant::now();
            if done == total {
                return Ok(());
            }
        }
    }

    /// The next bytes of a message that is read in pieces, into all of `out`. Each call is a wait of its own: what the
    /// caller does in between is not the peer's time.
    pub fn part(
        &mut self,
        channel: &Channel,
        step: u32,
        partly: &mut Partly,
        out: &mut [u8],
        waiting_for: &str,
    ) -> Result<(), NetError> {
        let expected = Expected { kind: Kind::Data, step, length: Length::Exactly(partly.length) };
        let mut watch = Watch::new(waiting_for);
        let mut rest = out;
        while !rest.is_empty() {
            if partly.frame == 0 {
                let header = self.header(channel, &mut watch, partly.done)?;
                let compared = compare(&header, &expected, &expected.length);
                compared.map_err(|what| self.misbehaved(waiting_for, what))?;
                partly.frame = partly.left().min(PIECE as u64) as usize;
            }
            let n = rest.len().min(partly.frame);
            let (now, later) = rest.split_at_mut(n);
            let mut filled = 0;
            let copied = self.take(channel, n, partly.done, &watch, &mut |bytes: &[u8], _| {
                now[filled..filled + bytes.len()].copy_from_slice(bytes);
                filled += bytes.len();
                Ok::<_, NetError>(())
            })?;
            copied?;
            partly.done += n as u64;
            partly.frame -= n;
            watch.frame = Instant::now();
            rest = later;
        }
        Ok(())
    }

    /// The next header that is no keep-alive; its sequence number is right.
    fn header(&mut self, channel: &Channel, watch: &mut Watch<'_>, done: u64) -> Result<Header, NetError> {
        loop {
            let mut bytes = [0; HEADER];
            let mut filled = 0;
            self.fill(channel, HEADER, done, watch, &mut |part| {
                bytes[filled..filled + part.len()].copy_from_slice(part);
                filled += part.len();
            })?;
            let header = self.checked(&bytes, watch.waiting_for)?;
            watch.frame = Instant::now();
            match header.kind {
                // Signs of life alone must not be waited for without end.
                Kind::KeepAlive => self.deadlines(watch, 0, HEADER as u64, done)?,
                Kind::Farewell => return Err(self.gone(watch, Gone::Closed)),
                _ => return Ok(header),
            }
        }
    }

    fn checked(&mut self, bytes: &[u8; HEADER], waiting_for: &str) -> Result<Header, NetError> {
        let checked = Header::decode(bytes).and_then(|header| {
            header.expect_sequence(self.sequence)?;
            if matches!(header.kind, Kind::KeepAlive | Kind::Farewell) {
                header.expect_empty(header.kind, self.sequence)?;
            }
            Ok(header)
        });
        self.sequence += 1;
        checked.map_err(|what| self.misbehaved(waiting_for, what))
    }

    /// The bytes after a header. The inner error is the sink's.
    fn take<E>(
        &mut self,
        channel: &Channel,
        piece: usize,
        done: u64,
        watch: &Watch<'_>,
        sink: &mut impl FnMut(&[u8], bool) -> Result<(), E>,
    ) -> Result<Result<(), E>, NetError> {
        let mut tap = self.tap.take();
        let (mut left, mut result) = (piece, Ok(()));
        let filled = self.fill(channel, piece, done, watch, &mut |part| {
            left -= part.len();
            if let Some(tap) = &mut tap {
                tap(part);
            }
            if result.is_ok() {
                result = sink(part, left == 0);
            }
        });
        self.tap = tap;
        self.payload += (piece - left) as u64;
        filled?;
        Ok(result)
    }

    /// Exactly `n` bytes of plaintext, or the reason why not.
    fn fill(
        &mut self,
        channel: &Channel,
        n: usize,
        done: u64,
        watch: &Watch<'_>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<(), NetError> {
        let mut got = 0;
        while got < n {
            match self.buffers.pull(channel, n - got, TICK, sink) {
                Ok(Pulled::Plain(k)) => {
                    self.heard = Instant::now();
                    got += k;
                }
                Ok(Pulled::Bytes) => self.heard = Instant::now(),
                Ok(Pulled::Nothing) => {}
                Ok(Pulled::End) => return Err(self.gone(watch, Gone::Died)),
                Err(fault) => return Err(self.fault(watch, fault)),
            }
            if got < n {
                self.deadlines(watch, got as u64, n as u64, done)?;
            }
        }
        Ok(())
    }

    fn deadlines(&self, watch: &Watch<'_>, got: u64, n: u64, done: u64) -> Result<(), NetError> {
        let (now, limits) = (Instant::now(), &self.limits);
        let since = |then: Instant| now.saturating_duration_since(then);
        if since(self.heard.max(watch.began)) >= limits.silence {
            return Err(self.gone(watch, Gone::Silent(limits.silence)));
        }
        let within = limits.silence + limits.transfer(n);
        if since(watch.frame) >= within {
            return Err(self.gone(watch, Gone::Slow { got, expected: n, within }));
        }
        let whole = limits.stall + limits.transfer(done + n);
        if since(watch.began) >= whole {
            return Err(self.gone(watch, Gone::Stalled(whole)));
        }
        Ok(())
    }

    /// While the caller waits for room to send: looks whether the peer lives, taking keep-alives only.
    pub fn listen(&mut self, channel: &Channel, watch: &mut Watch<'_>) -> Result<(), NetError> {
        let wait = Duration::from_millis(1);
        loop {
            let before = channel.received.load(std::sync::atomic::Ordering::Relaxed);
            let ahead = match self.buffers.peek(channel, HEADER, wait) {
                Ok(Peeked::Bytes(bytes)) => Some(<[u8; HEADER]>::try_from(bytes).expect("its length")),
                Ok(Peeked::Short) => None,
                Ok(Peeked::End) => return Err(self.gone(watch, Gone::Died)),
                Err(fault) => return Err(self.fault(watch, fault)),
            };
            if channel.received.load(std::sync::atomic::Ordering::Relaxed) != before {
                self.heard = Instant::now();
            }
            let since = self.heard.max(watch.began).elapsed();
            match ahead {
                Some(bytes) => match Header::decode(&bytes) {
                    Ok(Header { kind: Kind::KeepAlive, .. }) => self.header_ahead(channel, watch)?,
                    Ok(Header { kind: Kind::Farewell, .. }) => return Err(self.gone(watch, Gone::Closed)),
                    // A message waits: the peer was well when it sent it, and more is only seen after it is taken.
                    _ if watch.began.elapsed() >= self.limits.stall => {
                        return Err(self.gone(watch, Gone::Stalled(self.limits.stall)));
                    }
                    _ => return Ok(()),
                },
                None if since >= self.limits.silence => {
                    return Err(self.gone(watch, Gone::Silent(self.limits.silence)));
                }
                None if watch.began.elapsed() >= self.limits.stall => {
                    return Err(self.gone(watch, Gone::Stalled(self.limits.stall)));
                }
                None => return Ok(()),
            }
        }
    }

    /// Takes the header that [`Buffers::peek`] has shown.
    fn header_ahead(&mut self, channel: &Channel, watch: &Watch<'_>) -> Result<(), NetError> {
        let mut bytes = Vec::with_capacity(HEADER);
        self.fill(channel, HEADER, 0, watch, &mut |part| bytes.extend_from_slice(part))?;
        let bytes = bytes.try_into().expect("fill gives all or fails");
        self.checked(&bytes, watch.waiting_for).map(drop)
    }

    /// After our farewell: takes what still comes until the other end closes, so that nothing of ours is cut off.
    pub fn drain(&mut self, channel: &Channel, until: Instant) {
        while Instant::now() < until {
            match self.buffers.pull(channel, PIECE, TICK, &mut |_| {}) {
                Ok(Pulled::End) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }

    pub fn misbehaved(&self, waiting_for: &str, what: Misbehaviour) -> NetError {
        let (peer, waiting_for) = (self.name.clone(), waiting_for.to_owned());
        NetError::PeerMisbehaved { peer, waiting_for, what }
    }

    pub fn gone(&self, watch: &Watch<'_>, how: Gone) -> NetError {
        NetError::PeerGone {
            peer: self.name.clone(),
            waiting_for: watch.waiting_for.to_owned(),
            waited: watch.began.elapsed(),
            how,
        }
    }

    fn fault(&self, watch: &Watch<'_>, fault: Fault) -> NetError {
        match fault {
            Fault::Io(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => self.gone(watch, Gone::Died),
            Fault::Io(e) => self.gone(watch, Gone::Broken(e.to_string())),
            Fault::Tls(e) => self.misbehaved(watch.waiting_for, Misbehaviour::Tls(e.to_string())),
        }
    }
}

/// Everything of a header but its sequence number, which was compared before.
fn compare(header: &Header, expected: &Expected, length: &Length) -> Result<u64, Misbehaviour> {
    header.expect_kind(expected.kind)?;
    header.expect_step(expected.step)?;
    match *length {
        Length::Exactly(n) => header.expect_length(n)?,
        Length::AtMost(limit) if header.length > limit => {
            return Err(Misbehaviour::TooLong { limit, got: header.length });
        }
        Length::AtMost(_) => {}
    }
    Ok(header.length)
}
