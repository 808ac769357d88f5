//! Chunks that stay in memory, checked, for whoever reads sections in parts.

use std::collections::VecDeque;
use std::ops::{Deref, Range};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::error::Error;
use crate::layout::Place;

/// The chunks read last, as many as threads may read at once and two more.
pub(crate) struct Kept {
    chunks: Mutex<VecDeque<Arc<Chunk>>>,
    most: usize,
    spare: Arc<Spare>,
}

/// Buffers of chunks that nobody needs any more: fresh pages would cost more than the check. Seeds never lie in them (they stand
/// in the header), and keys are spent when their chunk is dropped, so nothing is wiped: that would cost as much as the check.
struct Spare {
    buffers: Mutex<Buffers>,
}

#[derive(Default)]
struct Buffers {
    free: Vec<Vec<u8>>,
    bytes: usize,
}

/// Bytes of spare buffers at most.
const SPARE: usize = 16 << 20;

/// A chunk in memory. Its bytes are set once, after the check.
pub(crate) struct Chunk {
    place: Place,
    len: usize,
    /// Held by the thread that reads; the others that want the chunk wait for it.
    reading: Mutex<()>,
    bytes: OnceLock<Vec<u8>>,
    spare: Arc<Spare>,
}

/// No holder of a lock of this file leaves anything half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Kept {
    pub(crate) fn new() -> Self {
        let most = std::thread::available_parallelism().map_or(1, |threads| threads.get()) + 2;
        let spare = Spare { buffers: Mutex::default() };
        Self { chunks: Mutex::new(VecDeque::new()), most, spare: Arc::new(spare) }
    }

    pub(crate) fn holds(&self, place: Place) -> bool {
        lock(&self.chunks).iter().any(|chunk| chunk.place == place)
    }

    /// The chunk at `place`, of `len` bytes; `read` fills them unless they are here.
    pub(crate) fn get(
        &self,
        place: Place,
        len: usize,
        read: impl FnOnce(&mut [u8]) -> Result<(), Error>,
    ) -> Result<Arc<Chunk>, Error> {
        let chunk = self.entry(place, len);
        if chunk.bytes.get().is_some() {
            return Ok(chunk);
        }
        let reading = lock(&chunk.reading);
        if chunk.bytes.get().is_none() {
            let mut bytes = self.spare.take(len);
            // What failed is not kept: who wants it again is told again.
            if let Err(error) = read(&mut bytes[..len]) {
                lock(&self.chunks).retain(|kept| !Arc::ptr_eq(kept, &chunk));
                return Err(error);
            }
            let _ = chunk.bytes.set(bytes);
        }
        drop(reading);
        Ok(chunk)
    }

    /// A chunk that is read now and not kept here, in a spare buffer.
    pub(crate) fn aside(
        &self,
        place: Place,
        len: usize,
        read: impl FnOnce(&mut [u8]) -> Result<(), Error>,
    ) -> Result<Arc<Chunk>, Error> {
        let chunk = self.chunk(place, len);
        let mut bytes = self.spare.take(len);
        read(&mut bytes[..len])?;
        let _ = chunk.bytes.set(bytes);
        Ok(chunk)
    }

    fn chunk(&self, place: Place, len: usize) -> Arc<Chunk> {
        let (reading, bytes) = (Mutex::new(()), OnceLock::new());
        Arc::new(Chunk { place, len, reading, bytes, spare: self.spare.clone() })
    }

    fn entry(&self, place: Place, len: usize) -> Arc<Chunk> {
        let mut chunks = lock(&self.chunks);
        let found = chunks.iter().rposition(|chunk| chunk.place == place);
        let chunk = match found.and_then(|at| chunks.remove(at)) {
            Some(chunk) => chunk,
            None => self.chunk(place, len),
        };
        chunks.push_back(chunk.clone());
        let oldest = if chunks.len() > self.most { chunks.pop_front() } else { None };
        drop((chunks, oldest));
        chunk
    }
}

impl Spare {
    /// A buffer of at least `len` bytes with anything in it.
    fn take(&self, len: usize) -> Vec<u8> {
        let mut buffers = lock(&self.buffers);
        let found = buffers.free.iter().rposition(|buffer| buffer.capacity() >= len);
        let mut bytes = match found {
            Some(at) => {
                let buffer = buffers.free.swap_remove(at);
                buffers.bytes -= buffer.capacity();
                buffer
            }
            None => Vec::with_capacity(len),
        };
        drop(buffers);
        if bytes.len() < len {
            bytes.resize(len, 0);
        }
        bytes
    }

    fn keep(&self, bytes: Vec<u8>) {
        let mut buffers = lock(&self.buffers);
        if buffers.bytes + bytes.capacity() <= SPARE {
            buffers.bytes += bytes.capacity();
            buffers.free.push(bytes);
        }
    }
}

impl Chunk {
    pub(crate) fn place(&self) -> Place {
        self.place
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get().map_or(&[], |bytes| &bytes[..self.len])
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        let Some(bytes) = self.bytes.take() else { return };
        self.spare.keep(bytes);
    }
}

/// Checked bytes of a section.
pub struct Part(Bytes);

enum Bytes {
    Chunk(Arc<Chunk>, Range<usize>),
    Joined(Vec<u8>),
}

impl Part {
    pub(crate) fn of(chunk: Arc<Chunk>, range: Range<usize>) -> Self {
        Self(Bytes::Chunk(chunk, range))
    }

    pub(crate) fn joined(bytes: Vec<u8>) -> Self {
        Self(Bytes::Joined(bytes))
    }
}

impl Deref for Part {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Bytes::Chunk(chunk, range) => &chunk.bytes()[range.clone()],
            Bytes::Joined(bytes) => bytes,
        }
    }
}
