//! A link with or without TLS on it: plaintext in, plaintext out, bytes counted.

use std::io::{self, BufRead, IoSlice, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use rustls::Connection;

use crate::Link;
use crate::link::is_wait;

/// Bytes read at once.
const READ: usize = 64 << 10;
/// How long a blocked read or write sleeps before deadlines are looked at.
pub(crate) const TICK: Duration = Duration::from_millis(200);

pub(crate) struct Channel {
    link: Box<dyn Link>,
    tls: Option<Mutex<Connection>>,
    pub sent: AtomicU64,
    pub received: AtomicU64,
}

/// Why plaintext stopped.
#[derive(Debug)]
pub(crate) enum Fault {
    Io(io::Error),
    Tls(rustls::Error),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Fault::Io(error)
    }
}

/// What one look at the link brought.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pulled {
    /// Plaintext went to the sink.
    Plain(usize),
    /// Bytes came, but no plaintext yet.
    Bytes,
    /// Nothing came in time.
    Nothing,
    /// The other end closed.
    End,
}

impl Channel {
    pub fn new(link: Box<dyn Link>, tls: Option<Connection>) -> Channel {
        let (sent, received) = (AtomicU64::new(0), AtomicU64::new(0));
        Channel { link, tls: tls.map(Mutex::new), sent, received }
    }

    pub fn link(&self) -> &dyn Link {
        &*self.link
    }

    /// Adds a header and the bytes after it to `out`, as they go to the link.
    pub fn seal(&self, header: &[u8], bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        match &self.tls {
            None => {
                out.extend_from_slice(header);
                out.extend_from_slice(bytes);
            }
            Some(tls) => {
                let mut tls = lock(tls);
                let parts = [IoSlice::new(header), IoSlice::new(bytes)];
                let taken = tls.writer().write_vectored(&parts)?;
                debug_assert_eq!(taken, header.len() + bytes.len(), "the buffer has no limit");
                while tls.wants_write() {
                    tls.write_tls(out)?;
                }
            }
        }
        Ok(())
    }

    /// Tells the other end that nothing follows.
    pub fn finish(&self, scratch: &mut Vec<u8>, go_on: &dyn Fn() -> bool) -> Result<(), Fault> {
        if let Some(tls) = &self.tls {
            scratch.clear();
            let mut tls = lock(tls);
            tls.send_close_notify();
            while tls.wants_write() {
                tls.write_tls(scratch)?;
            }
            drop(tls);
            self.write(scratch, go_on)?;
        }
        self.link.finish();
        Ok(())
    }

    /// Writes sealed bytes. `go_on` is asked whenever the link is blocked.
    pub fn write(&self, mut bytes: &[u8], go_on: &dyn Fn() -> bool) -> Result<(), Fault> {
        while !bytes.is_empty() {
            match self.link.write(bytes, TICK) {
                Ok(n) => {
                    self.sent.fetch_add(n as u64, Ordering::Relaxed);
                    bytes = &bytes[n..];
                }
                Err(e) if is_wait(&e) && go_on() => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    /// Writes as many sealed bytes as the link takes without waiting.
    pub fn write_now(&self, bytes: &[u8]) -> Result<usize, Fault> {
        let mut done = 0;
        while done < bytes.len() {
            match self.link.write_now(&bytes[done..]) {
                Ok(n) => {
                    self.sent.fetch_add(n as u64, Ordering::Relaxed);
                    done += n;
                }
                Err(e) if is_wait(&e) => break,
                Err(e) => return Err(e.into()),
            }
        }
        Ok(done)
    }
}

/// A panic while the lock is held leaves a connection that nobody uses again: the peer is dropped by unwinding.
fn lock(tls: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    tls.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// The receiving half's buffers.
pub(crate) struct Buffers {
    raw: Vec<u8>,
    start: usize,
    end: usize,
    /// Plaintext that was decrypted beyond what was asked for.
    plain: Vec<u8>,
    taken: usize,
}

impl Buffers {
    /// Buffers that hold `plain` already.
    pub fn with(plain: Vec<u8>) -> Buffers {
        Buffers { raw: vec![0; READ], start: 0, end: 0, plain, taken: 0 }
    }

    /// Hands at most `want` bytes of plaintext to `sink`, looking at the link at most once.
    pub fn pull(
        &mut self,
        channel: &Channel,
        want: usize,
        wait: Duration,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<Pulled, Fault> {
        if self.taken < self.plain.len() {
            let n = want.min(self.plain.len() - self.taken);
            sink(&self.plain[self.taken..self.taken + n]);
            self.taken += n;
            return Ok(Pulled::Plain(n));
        }
        self.plain.clear();
        self.taken = 0;
        if let Some(n) = self.open(channel, want, sink)? {
            return Ok(n);
        }
        debug_assert_eq!(self.start, self.end, "all bytes were taken");
        match channel.link.read(&mut self.raw, wait) {
            Ok(0) => Ok(Pulled::End),
            Ok(n) => {
                channel.received.fetch_add(n as u64, Ordering::Relaxed);
                (self.start, self.end) = (0, n);
                Ok(self.open(channel, want, sink)?.unwrap_or(Pulled::Bytes))
            }
            Err(e) if is_wait(&e) => Ok(Pulled::Nothing),
            Err(e) => Err(e.into()),
        }
    }

    /// Takes all raw bytes through TLS; what is more than `want` stays in `plain`.
    fn open(&mut self, channel: &Channel, want: usize, sink: &mut dyn FnMut(&[u8])) -> Result<Option<Pulled>, Fault> {
        let Some(tls) = &channel.tls else {
            let n = want.min(self.end - self.start);
            sink(&self.raw[self.start..self.start + n]);
            self.start += n;
            return Ok((n > 0).then_some(Pulled::Plain(n)));
        };
        let mut tls = lock(tls);
        let mut given = 0;
        loop {
            let closed = loop {
                let mut reader = tls.reader();
                let chunk = match reader.fill_buf() {
                    Ok([]) => break true,
                    Ok(chunk) => chunk,
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => break false,
                    Err(e) => return Err(e.into()),
                };
                let (n, k) = (chunk.len(), chunk.len().min(want - given));
                if k > 0 {
                    sink(&chunk[..k]);
                    given += k;
                }
                self.plain.extend_from_slice(&chunk[k..]);
                reader.consume(n);
            };
            if closed && given == 0 && self.plain.is_empty() {
                return Ok(Some(Pulled::End));
            }
            if closed || self.start == self.end {
                return Ok((given > 0).then_some(Pulled::Plain(given)));
            }
            let mut input = &self.raw[self.start..self.end];
            tls.read_tls(&mut input)?;
            self.start = self.end - input.len();
            tls.process_new_packets().map_err(Fault::Tls)?;
        }
    }

    /// The next `n` bytes of plaintext without taking them; at most one look at the link.
    pub fn peek(&mut self, channel: &Channel, n: usize, wait: Duration) -> Result<Peeked<'_>, Fault> {
        let mut ahead = self.plain.split_off(self.taken);
        self.plain.clear();
        self.taken = 0;
        let mut end = false;
        if ahead.len() < n {
            let want = n - ahead.len();
            let pulled = self.pull(channel, want, wait, &mut |bytes| ahead.extend_from_slice(bytes));
            end = pulled? == Pulled::End;
        }
        ahead.extend_from_slice(&self.plain[self.taken..]);
        (self.plain, self.taken) = (ahead, 0);
        Ok(match self.plain.get(..n) {
            Some(bytes) => Peeked::Bytes(bytes),
            None if end => Peeked::End,
            None => Peeked::Short,
        })
    }
}

/// What lies ahead.
pub(crate) enum Peeked<'a> {
    Bytes(&'a [u8]),
    Short,
    End,
}
