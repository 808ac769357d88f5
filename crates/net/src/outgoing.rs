//! The sending half: a queue bounded by bytes and the thread that writes it out. A small message that finds the queue
//! empty goes out in the caller's thread, as far as the link takes it without waiting.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::channel::{Channel, Fault};
use crate::error::system;
use crate::frame::{Header, Kind, PIECE};
use crate::{Limits, NetError};

/// Bytes written at once: little, so that the other end begins early and what moves stays in the cache.
const WRITE: usize = 64 << 10;
/// Messages up to this length do not pay for another thread to wake up.
const DIRECT: usize = 128 << 10;

/// A message, or consecutive whole pieces of one.
pub(crate) struct Item {
    pub kind: Kind,
    pub step: u32,
    /// Length of the whole message.
    pub length: u64,
    pub bytes: Vec<u8>,
}

#[derive(Default)]
struct Queue {
    items: VecDeque<Item>,
    bytes: usize,
    /// The writer thread or the caller is at work on an item.
    busy: bool,
    /// Sealed bytes are left in the writer that the link did not take at once.
    rest: bool,
    /// After the queued items comes the farewell.
    closing: bool,
    /// Farewell sent, or failed: the writer has ended.
    ended: bool,
    failure: Option<String>,
}

struct Shared {
    channel: Arc<Channel>,
    queue: Mutex<Queue>,
    work: Condvar,
    room: Condvar,
    /// Held by whoever has set `busy`.
    writer: Mutex<Writer>,
    abort: AtomicBool,
    payload: AtomicU64,
}

pub(crate) struct Outgoing {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    limit: usize,
}

/// What a look at the queue told.
pub(crate) enum Room {
    Yes,
    /// Full, or not yet written out.
    Full,
    /// The link failed while writing.
    Failed(String),
}

impl Outgoing {
    pub fn start(channel: Arc<Channel>, name: &str, limits: &Limits) -> Result<Outgoing, NetError> {
        let shared = Arc::new(Shared {
            channel,
            queue: Mutex::default(),
            work: Condvar::new(),
            room: Condvar::new(),
            writer: Mutex::new(Writer { sequence: 1, sealed: Vec::new(), written: 0 }),
            abort: AtomicBool::new(false),
            payload: AtomicU64::new(0),
        });
        let (mine, keep_alive) = (shared.clone(), limits.keep_alive);
        let thread = std::thread::Builder::new()
            .name(format!("to {name}"))
            .spawn(move || mine.run(keep_alive))
            .map_err(|e| system("start a thread for writing", e))?;
        Ok(Outgoing { shared, thread: Some(thread), limit: limits.queue_bytes })
    }

    pub fn payload(&self) -> u64 {
        self.shared.payload.load(Ordering::Relaxed)
    }

    pub fn push(&self, item: Item) {
        let mut queue = self.shared.lock();
        let whole = item.bytes.len() as u64 == item.length;
        if whole && item.bytes.len() <= DIRECT && queue.idle() {
            queue.busy = true;
            drop(queue);
            return self.shared.direct(&item);
        }
        queue.bytes += item.bytes.len();
        queue.items.push_back(item);
        self.shared.work.notify_one();
    }

    /// Waits at most `wait` until a message may be queued.
    pub fn room(&self, wait: Duration) -> Room {
        self.wait(wait, |queue| queue.bytes <= self.limit)
    }

    /// Waits at most `wait` until everything is written.
    pub fn drained(&self, wait: Duration) -> Room {
        self.wait(wait, |queue| match queue.closing {
            true => queue.ended,
            false => queue.items.is_empty() && !queue.busy && !queue.rest,
        })
    }

    fn wait(&self, wait: Duration, done: impl Fn(&Queue) -> bool) -> Room {
        let waiting = |queue: &mut Queue| !done(queue) && queue.failure.is_none();
        let queue = self.shared.lock();
        let (queue, _) = (self.shared.room)
            .wait_timeout_while(queue, wait, waiting)
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        match &queue.failure {
            Some(failure) => Room::Failed(failure.clone()),
            None if done(&queue) => Room::Yes,
            None => Room::Full,
        }
    }

    /// Lets the writer say farewell after what is queued.
    pub fn close(&self) {
        self.shared.lock().closing = true;
        self.shared.work.notify_one();
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.shared.abort.store(true, Ordering::Relaxed);
        self.shared.channel.link().shutdown();
        // Taken and released so that the writer is either before its look at `abort` or asleep.
        drop(self.shared.lock());
        self.shared.work.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

enum Job {
    Rest,
    Item(Item),
    KeepAlive,
    Farewell,
    Abort,
}

impl Queue {
    /// Nothing is queued or being written, and more may be.
    fn idle(&self) -> bool {
        self.items.is_empty() && !self.busy && !self.rest && !self.closing && !self.ended && self.failure.is_none()
    }

    fn fail(&mut self, fault: Fault) {
        self.failure = Some(match fault {
            Fault::Io(e) => e.to_string(),
            Fault::Tls(e) => e.to_string(),
        });
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Writes a message in the caller's thread; what the link does not take at once is left to the writer thread.
    fn direct(&self, item: &Item) {
        let outcome = self.writer().item(self, item, false);
        let mut queue = self.lock();
        queue.busy = false;
        match outcome {
            Ok(Wrote::All) => return,
            Ok(Wrote::Part) => queue.rest = true,
            Err(fault) => queue.fail(fault),
        }
        self.work.notify_one();
    }

    /// The writer thread.
    fn run(&self, keep_alive: Duration) {
        let result = loop {
            let job = self.next(keep_alive);
            let mut writer = self.writer();
            let result = match job {
                Job::Rest => writer.rest(self),
                Job::Item(item) => writer.item(self, &item, true).map(drop),
                Job::KeepAlive => writer.empty(self, Kind::KeepAlive),
                Job::Farewell => break writer.farewell(self),
                Job::Abort => break Ok(()),
            };
            drop(writer);
            // A writer that failed is busy until its failure is there to be seen.
            if result.is_err() {
                break result;
            }
            self.lock().busy = false;
            self.room.notify_all();
        };
        let mut queue = self.lock();
        queue.ended = true;
        queue.busy = false;
        if let Err(fault) = result {
            queue.fail(fault);
        }
        self.room.notify_all();
    }

    fn next(&self, keep_alive: Duration) -> Job {
        let nothing = |queue: &mut Queue| {
            let work = !queue.items.is_empty() || queue.rest || queue.closing;
            (queue.busy || !work) && queue.failure.is_none() && self.go_on()
        };
        let mut queue = self.lock();
        loop {
            let waited = self.work.wait_timeout_while(queue, keep_alive, nothing);
            (queue, _) = waited.unwrap_or_else(|poisoned| poisoned.into_inner());
            if !self.go_on() || queue.failure.is_some() {
                return Job::Abort;
            }
            // The caller is writing: a sign of life is not needed.
            if queue.busy {
                continue;
            }
            queue.busy = true;
            if std::mem::take(&mut queue.rest) {
                return Job::Rest;
            }
            return match queue.items.pop_front() {
                Some(item) => Job::Item(item),
                None if queue.closing => Job::Farewell,
                None => Job::KeepAlive,
            };
        }
    }

    fn go_on(&self) -> bool {
        !self.abort.load(Ordering::Relaxed)
    }
}

struct Writer {
    sequence: u64,
    /// Frames as they go to the link.
    sealed: Vec<u8>,
    /// So many of these bytes have gone.
    written: usize,
}

enum Wrote {
    All,
    /// The rest is in the writer.
    Part,
}

impl Writer {
    /// Writes a message or pieces of one. Without `wait`, only as much as the link takes at once.
    fn item(&mut self, shared: &Shared, item: &Item, wait: bool) -> Result<Wrote, Fault> {
        let mut rest = &item.bytes[..];
        let mut pending = 0;
        loop {
            let (piece, after) = rest.split_at(rest.len().min(PIECE));
            let Item { kind, step, length, .. } = *item;
            self.seal(shared, Header { kind, step, sequence: self.sequence, length }, piece)?;
            shared.payload.fetch_add(piece.len() as u64, Ordering::Relaxed);
            pending += piece.len();
            rest = after;
            if !wait {
                if rest.is_empty() {
                    return self.now(shared);
                }
                continue;
            }
            if rest.is_empty() || self.sealed.len() >= WRITE {
                self.rest(shared)?;
                shared.lock().bytes -= pending;
                shared.room.notify_all();
                pending = 0;
            }
            if rest.is_empty() {
                return Ok(Wrote::All);
            }
        }
    }

    fn empty(&mut self, shared: &Shared, kind: Kind) -> Result<(), Fault> {
        self.seal(shared, Header::empty(kind, self.sequence), &[])?;
        self.rest(shared)
    }

    fn farewell(&mut self, shared: &Shared) -> Result<(), Fault> {
        self.empty(shared, Kind::Farewell)?;
        shared.channel.finish(&mut self.sealed, &|| shared.go_on())
    }

    fn seal(&mut self, shared: &Shared, header: Header, bytes: &[u8]) -> Result<(), Fault> {
        self.sequence += 1;
        shared.channel.seal(&header.encode(), bytes, &mut self.sealed)
    }

    /// Writes what is sealed, waiting for the link.
    fn rest(&mut self, shared: &Shared) -> Result<(), Fault> {
        shared.channel.write(&self.sealed[self.written..], &|| shared.go_on())?;
        self.sealed.clear();
        self.written = 0;
        Ok(())
    }

    /// Writes what the link takes at once of what is sealed.
    fn now(&mut self, shared: &Shared) -> Result<Wrote, Fault> {
        self.written += shared.channel.write_now(&self.sealed[self.written..])?;
        if self.written < self.sealed.len() {
            return Ok(Wrote::Part);
        }
        self.sealed.clear();
        self.written = 0;
        Ok(Wrote::All)
    }
}
