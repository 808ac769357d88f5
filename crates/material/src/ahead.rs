//! Reading ahead: a thread reads and checks the chunks that will be needed next while the caller computes or waits.

use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use crate::batch::{Batch, BatchFile};
use crate::error::Error;
use crate::kept::{Chunk, Part};
use crate::layout::{CHUNK, Place};

/// Sections of a batch in the order in which they were announced. Memory: the chunks announced as `chunks`, the one that
/// is being read and the one that is in use.
pub struct Ahead {
    file: Arc<BatchFile>,
    /// (slot, section), in order.
    order: Arc<[(u32, u32)]>,
    /// Which of them the last chunk taken belongs to.
    at: usize,
    taken: Option<Arc<Chunk>>,
    /// None once dropped or failed.
    read: Option<Receiver<Read>>,
    thread: Option<JoinHandle<()>>,
}

/// A chunk of the section at this place of the order.
type Read = Result<(usize, Arc<Chunk>), Error>;

impl Batch {
    /// Reads the sections `order`, each given as (slot, section), ahead of the caller, at most `chunks` chunks of 1 MiB.
    pub fn ahead(&self, order: impl IntoIterator<Item = (u32, u32)>, chunks: usize) -> Result<Ahead, Error> {
        let order: Arc<[(u32, u32)]> = order.into_iter().collect();
        for &(slot, section) in order.iter() {
            self.file.check_part(slot, section, &(0..0))?;
        }
        let (send, read) = sync_channel(chunks.max(1) - 1);
        let (file, all) = (self.file.clone(), order.clone());
        let thread = std::thread::Builder::new().name("reading ahead".into()).spawn(move || run(&file, &all, &send));
        let thread = thread.map_err(|source| Error::io("starting a thread to read", self.file.path(), 0, source))?;
        Ok(Ahead { file: self.file.clone(), order, at: 0, taken: None, read: Some(read), thread: Some(thread) })
    }
}

/// Ends with the last chunk, with the first error, or when nobody listens any more.
fn run(file: &BatchFile, order: &[(u32, u32)], send: &SyncSender<Read>) {
    for (at, &(slot, section)) in order.iter().enumerate() {
        for chunk in 0..file.layout.sections()[section as usize].div_ceil(CHUNK) as u32 {
            let read = file.chunk_aside(Place { slot, section, chunk }).map(|chunk| (at, chunk));
            let failed = read.is_err();
            if send.send(read).is_err() || failed {
                return;
            }
        }
    }
}

impl Ahead {
    /// Bytes `range` of a section. Sections come in the order announced, parts of a section from its beginning to its
    /// end; what is skipped cannot be asked for later.
    pub fn part(&mut self, slot: u32, section: u32, range: Range<u64>) -> Result<Part, Error> {
        self.file.check_part(slot, section, &range)?;
        let mut pieces = self.file.layout.pieces(slot, section, range.clone());
        let Some((place, inside)) = pieces.next() else { return Ok(Part::joined(Vec::new())) };
        let chunk = self.chunk(place)?;
        let Some(second) = pieces.next() else { return Ok(Part::of(chunk, inside)) };
        let mut joined = Vec::with_capacity((range.end - range.start) as usize);
        joined.extend_from_slice(&chunk.bytes()[inside]);
        for (place, inside) in std::iter::once(second).chain(pieces) {
            joined.extend_from_slice(&self.chunk(place)?.bytes()[inside]);
        }
        Ok(Part::joined(joined))
    }

    /// [`part`](Self::part) into `out`, which must have its length. On an error `out` is zeroed.
    pub fn read_part(&mut self, slot: u32, section: u32, range: Range<u64>, out: &mut [u8]) -> Result<(), Error> {
        let outcome = self.copy(slot, section, range, out);
        if outcome.is_err() {
            out.fill(0);
        }
        outcome
    }

    fn copy(&mut self, slot: u32, section: u32, range: Range<u64>, out: &mut [u8]) -> Result<(), Error> {
        self.file.check_part(slot, section, &range)?;
        if range.end - range.start != out.len() as u64 {
            let what = format!("{} bytes for a part of {} bytes", out.len(), range.end - range.start);
            return Err(Error::Usage(what));
        }
        let mut rest = out;
        for (place, inside) in self.file.layout.pieces(slot, section, range) {
            let (data, tail) = rest.split_at_mut(inside.len());
            data.copy_from_slice(&self.chunk(place)?.bytes()[inside]);
            rest = tail;
        }
        Ok(())
    }

    /// The chunk at `place`, waiting for it where it is not here yet.
    fn chunk(&mut self, place: Place) -> Result<Arc<Chunk>, Error> {
        let key = (place.slot, place.section);
        if let Some(taken) = self.taken.as_ref().filter(|taken| taken.place() == place && self.order[self.at] == key) {
            return Ok(taken.clone());
        }
        // In the section at hand only what lies behind the chunk at hand still comes.
        let here = self.taken.as_ref().is_some_and(|taken| taken.place().chunk >= place.chunk);
        let from = self.at + usize::from(here);
        let Some(goal) = (from..self.order.len()).find(|&at| self.order[at] == key) else {
            return Err(Error::Usage(format!("{place} is not what comes next in reading ahead")));
        };
        loop {
            let ended = || Error::Usage("reading ahead has failed before".into());
            let (at, chunk) = match self.read.as_ref().and_then(|read| read.recv().ok()).ok_or_else(ended)? {
                Ok(read) => read,
                Err(error) => {
                    self.read = None;
                    return Err(error);
                }
            };
            self.at = at;
            let found = at == goal && chunk.place() == place;
            self.taken = Some(chunk.clone());
            if found {
                return Ok(chunk);
            }
        }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.read = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
