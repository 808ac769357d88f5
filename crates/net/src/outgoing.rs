//! The sending half: a queue bounded by bytes and the thread that writes it out.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::channel::{Channel, Fault};
use crate::error::system;
use crate::frame::{Header, Kind, PIECE};
use crate::{Limits, NetError};

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
    /// The writer is at work on an item.
    busy: bool,
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
            false => queue.items.is_empty() && !queue.busy,
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
    Item(Item),
    KeepAlive,
    Farewell,
    Abort,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn run(&self, keep_alive: Duration) {
        let mut writer = Writer { shared: self, sequence: 1, scratch: Vec::new() };
        let result = loop {
            let result = match self.next(keep_alive) {
                Job::Item(item) => writer.item(&item),
                Job::KeepAlive => writer.empty(Kind::KeepAlive),
                Job::Farewell => break writer.farewell(),
                Job::Abort => break Ok(()),
            };
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
        queue.failure = result.err().map(|fault| match fault {
            Fault::Io(e) => e.to_string(),
            Fault::Tls(e) => e.to_string(),
        });
        self.room.notify_all();
    }

    fn next(&self, keep_alive: Duration) -> Job {
        let idle = |queue: &mut Queue| queue.items.is_empty() && !queue.closing && !self.abort.load(Ordering::Relaxed);
        let (mut queue, _) = self
            .work
            .wait_timeout_while(self.lock(), keep_alive, idle)
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        if self.abort.load(Ordering::Relaxed) {
            return Job::Abort;
        }
        queue.busy = true;
        match queue.items.pop_front() {
            Some(item) => Job::Item(item),
            None if queue.closing => Job::Farewell,
            None => Job::KeepAlive,
        }
    }
}

struct Writer<'a> {
    shared: &'a Shared,
    sequence: u64,
    scratch: Vec<u8>,
}

impl Writer<'_> {
    fn item(&mut self, item: &Item) -> Result<(), Fault> {
        let mut rest = &item.bytes[..];
        loop {
            let (piece, after) = rest.split_at(rest.len().min(PIECE));
            let Item { kind, step, length, .. } = *item;
            self.frame(Header { kind, step, sequence: self.sequence, length }, piece)?;
            self.shared.payload.fetch_add(piece.len() as u64, Ordering::Relaxed);
            self.shared.lock().bytes -= piece.len();
            self.shared.room.notify_all();
            if after.is_empty() {
                return Ok(());
            }
            rest = after;
        }
    }

    fn empty(&mut self, kind: Kind) -> Result<(), Fault> {
        self.frame(Header::empty(kind, self.sequence), &[])
    }

    fn farewell(&mut self) -> Result<(), Fault> {
        self.empty(Kind::Farewell)?;
        self.shared.channel.finish(&mut self.scratch, &|| self.shared.go_on())
    }

    fn frame(&mut self, header: Header, bytes: &[u8]) -> Result<(), Fault> {
        self.sequence += 1;
        let go_on = || self.shared.go_on();
        self.shared.channel.write(&header.encode(), bytes, &mut self.scratch, &go_on)
    }
}

impl Shared {
    fn go_on(&self) -> bool {
        !self.abort.load(Ordering::Relaxed)
    }
}
