//! A pair of links in memory, for tests and for both parties in one process.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crate::Link;

const CAPACITY: usize = 256 << 10;

/// One direction.
#[derive(Default)]
struct Pipe {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    bytes: VecDeque<u8>,
    /// Nothing will be written any more.
    finished: bool,
    /// The reader is gone.
    broken: bool,
}

/// One end of a pair of links in memory.
pub struct MemoryLink {
    incoming: Arc<Pipe>,
    outgoing: Arc<Pipe>,
}

/// Two ends that are connected to each other.
pub fn memory_links() -> (MemoryLink, MemoryLink) {
    let (a, b) = (Arc::new(Pipe::default()), Arc::new(Pipe::default()));
    let first = MemoryLink { incoming: a.clone(), outgoing: b.clone() };
    (first, MemoryLink { incoming: b, outgoing: a })
}

impl Pipe {
    /// Waits until `ready` or `wait` is over.
    fn when(&self, wait: Duration, ready: impl Fn(&State) -> bool) -> io::Result<std::sync::MutexGuard<'_, State>> {
        let state = self.state.lock().expect("no holder panics");
        let (state, timeout) = self.changed.wait_timeout_while(state, wait, |s| !ready(s)).expect("no holder panics");
        match timeout.timed_out() {
            true => Err(io::ErrorKind::TimedOut.into()),
            false => Ok(state),
        }
    }

    fn set(&self, change: impl Fn(&mut State)) {
        change(&mut self.state.lock().expect("no holder panics"));
        self.changed.notify_all();
    }
}

impl Link for MemoryLink {
    fn read(&self, buffer: &mut [u8], wait: Duration) -> io::Result<usize> {
        let pipe = &self.incoming;
        let mut state = pipe.when(wait, |s| !s.bytes.is_empty() || s.finished || s.broken)?;
        let n = buffer.len().min(state.bytes.len());
        let (front, back) = state.bytes.as_slices();
        let k = front.len().min(n);
        buffer[..k].copy_from_slice(&front[..k]);
        buffer[k..n].copy_from_slice(&back[..n - k]);
        state.bytes.drain(..n);
        pipe.changed.notify_all();
        Ok(n)
    }

    fn write(&self, bytes: &[u8], wait: Duration) -> io::Result<usize> {
        let pipe = &self.outgoing;
        let mut state = pipe.when(wait, |s| s.bytes.len() < CAPACITY || s.finished || s.broken)?;
        if state.finished || state.broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let n = bytes.len().min(CAPACITY - state.bytes.len());
        state.bytes.extend(&bytes[..n]);
        pipe.changed.notify_all();
        Ok(n)
    }

    fn finish(&self) {
        self.outgoing.set(|s| s.finished = true);
    }

    fn shutdown(&self) {
        self.finish();
        self.incoming.set(|s| s.broken = true);
    }
}

impl Drop for MemoryLink {
    fn drop(&mut self) {
        self.shutdown();
    }
}
