//! A link that fails on purpose: for tests of whoever uses a peer.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::Link;

/// What goes wrong when the given number of bytes has been written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection is cut at this byte.
    Cut(u64),
    /// Nothing is delivered from this byte on; writes seem to work.
    Silence(u64),
    /// This byte is inverted.
    Flip(u64),
    /// From this byte on, one byte each `Duration`.
    Trickle(u64, Duration),
    /// A pause once, before this byte.
    Delay(u64, Duration),
}

/// A link whose written bytes suffer a [`Fault`].
pub struct FaultyLink<L> {
    inner: L,
    fault: Fault,
    written: AtomicU64,
    paused: AtomicBool,
}

impl<L: Link> FaultyLink<L> {
    /// `inner` with `fault` in what is written to it.
    pub fn new(inner: L, fault: Fault) -> FaultyLink<L> {
        FaultyLink { inner, fault, written: AtomicU64::new(0), paused: AtomicBool::new(false) }
    }
}

impl<L: Link> Link for FaultyLink<L> {
    fn read(&self, buffer: &mut [u8], wait: Duration) -> io::Result<usize> {
        self.inner.read(buffer, wait)
    }

    fn write(&self, bytes: &[u8], wait: Duration) -> io::Result<usize> {
        let (Fault::Cut(at) | Fault::Silence(at) | Fault::Flip(at) | Fault::Trickle(at, _) | Fault::Delay(at, _)) =
            self.fault;
        let done = self.written.load(Ordering::Relaxed);
        let before = usize::try_from(at.saturating_sub(done)).unwrap_or(usize::MAX);
        let count = |n: usize| {
            self.written.fetch_add(n as u64, Ordering::Relaxed);
            n
        };
        if before > 0 {
            return self.inner.write(&bytes[..bytes.len().min(before)], wait).map(count);
        }
        match self.fault {
            Fault::Cut(_) => {
                self.inner.shutdown();
                Err(io::ErrorKind::BrokenPipe.into())
            }
            Fault::Silence(_) => Ok(count(bytes.len())),
            Fault::Flip(_) if done == at => self.inner.write(&[!bytes[0]], wait).map(count),
            Fault::Flip(_) => self.inner.write(bytes, wait).map(count),
            Fault::Trickle(_, pause) => {
                std::thread::sleep(pause);
                self.inner.write(&bytes[..1], wait).map(count)
            }
            Fault::Delay(_, pause) => {
                if !self.paused.swap(true, Ordering::Relaxed) {
                    std::thread::sleep(pause);
                }
                self.inner.write(bytes, wait).map(count)
            }
        }
    }

    fn write_now(&self, bytes: &[u8]) -> io::Result<usize> {
        match self.fault {
            // A link that sleeps in a write never has room at once.
            Fault::Trickle(..) | Fault::Delay(..) => Err(io::ErrorKind::WouldBlock.into()),
            _ => self.write(bytes, Duration::ZERO),
        }
    }

    fn finish(&self) {
        if !matches!(self.fault, Fault::Silence(_)) {
            self.inner.finish();
        }
    }

    fn shutdown(&self) {
        self.inner.shutdown();
    }
}
