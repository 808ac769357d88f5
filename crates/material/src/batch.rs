//! Reading a batch file. Every chunk is checked as it is read; what fails is never handed out.
//!
//! Sections are read whole, or in parts. Parts come from chunks that stay in memory, checked once, until others take
//! their place: so whoever reads a section in small consecutive parts does not pay for a chunk twice.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::error::Error;
use crate::expected::{Expected, Prefix};
use crate::header::{FIXED, Header, Label, malformed};
use crate::kept::{Chunk, Kept, Part};
use crate::layout::{CHUNK, Layout, Place, TAG, TagKey};

/// An open batch file. Reads by position, so threads may share it.
pub struct Batch {
    pub(crate) file: Arc<BatchFile>,
}

/// What a batch shares with those that read ahead in it.
pub(crate) struct BatchFile {
    file: File,
    path: PathBuf,
    header: Header,
    pub(crate) layout: Layout,
    body: u64,
    kept: Kept,
}

impl Batch {
    /// Opens a file, compares its header with `expected` and its length with both.
    pub fn open(path: &Path, expected: &Expected) -> Result<Self, Error> {
        let from = path.display().to_string();
        let (file, prefix, len) = open_prefix(path)?;
        prefix.check(expected, &from)?;
        let mut bytes = Zeroizing::new(vec![0; prefix.header_len()]);
        if len < bytes.len() as u64 {
            return Err(malformed(&from, "the header is cut"));
        }
        file.read_exact_at(&mut bytes, 0).map_err(|source| Error::io("reading", path, 0, source))?;
        let header = Header::decode(&bytes, expected, &from)?;
        let layout = expected.layout.clone();
        let body = bytes.len() as u64;
        let expected = body + layout.body_bytes(header.label().slots)?;
        if len != expected {
            let lost = if len < expected { layout.locate(len - body) } else { None };
            return Err(Error::Length { from, expected, got: len, lost });
        }
        let kept = Kept::new();
        Ok(Self { file: Arc::new(BatchFile { file, path: path.into(), header, layout, body, kept }) })
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.file.header
    }

    /// The layout.
    pub fn layout(&self) -> &Layout {
        &self.file.layout
    }

    /// Number of slots.
    pub fn slots(&self) -> u32 {
        self.file.slots()
    }

    /// Reads a section of one slot into `out`, which must have its length.
    ///
    /// On an error `out` is zeroed: nothing unchecked is handed out.
    pub fn read(&self, slot: u32, section: u32, out: &mut [u8]) -> Result<(), Error> {
        self.read_slots(slot..slot.saturating_add(1), section, out)
    }

    /// Reads the same section of consecutive slots, one after the other, into `out`.
    ///
    /// On an error `out` is zeroed: nothing unchecked is handed out.
    pub fn read_slots(&self, slots: Range<u32>, section: u32, out: &mut [u8]) -> Result<(), Error> {
        let layout = self.layout();
        let len = layout.len_of(section).filter(|_| slots.start <= slots.end && slots.end <= self.slots());
        let len = len.ok_or_else(|| Error::Usage(format!("no section {section} of slots {slots:?}")))?;
        let count = u64::from(slots.end - slots.start);
        if len.checked_mul(count) != Some(out.len() as u64) {
            return Err(Error::Usage(format!("{} bytes for {count} sections of {len} bytes", out.len())));
        }
        if len == 0 {
            return Ok(());
        }
        let mut rest = &mut out[..];
        let mut outcome = Ok(());
        for slot in slots {
            for chunk in 0..len.div_ceil(CHUNK) as u32 {
                let range = layout.chunk_range(section, chunk);
                let (data, tail) = rest.split_at_mut((range.end - range.start) as usize);
                rest = tail;
                outcome = outcome.and_then(|()| self.file.read_chunk(Place { slot, section, chunk }, data));
            }
        }
        if outcome.is_err() {
            out.fill(0);
        }
        outcome
    }

    /// Reads bytes `range` of a section of one slot into `out`, which must have its length. Of the file, only the chunks
    /// that the range touches are read and checked; what is left of a chunk serves the next parts.
    ///
    /// On an error `out` is zeroed: nothing unchecked is handed out.
    pub fn read_part(&self, slot: u32, section: u32, range: Range<u64>, out: &mut [u8]) -> Result<(), Error> {
        self.file.check_part(slot, section, &range)?;
        if range.end - range.start != out.len() as u64 {
            let what = format!("{} bytes for a part of {} bytes", out.len(), range.end - range.start);
            return Err(Error::Usage(what));
        }
        let mut rest = &mut out[..];
        let mut outcome = Ok(());
        for (place, inside) in self.file.layout.pieces(slot, section, range) {
            let (data, tail) = rest.split_at_mut(inside.len());
            rest = tail;
            outcome = self.file.copy(place, inside, data);
            if outcome.is_err() {
                break;
            }
        }
        if outcome.is_err() {
            out.fill(0);
        }
        outcome
    }

    /// Bytes `range` of a section of one slot as they lie in memory: without a copy where one chunk holds them all.
    pub fn part(&self, slot: u32, section: u32, range: Range<u64>) -> Result<Part, Error> {
        self.file.check_part(slot, section, &range)?;
        let mut pieces = self.file.layout.pieces(slot, section, range.clone());
        match (pieces.next(), pieces.next()) {
            (None, _) => Ok(Part::joined(Vec::new())),
            (Some((place, inside)), None) => Ok(Part::of(self.file.chunk(place)?, inside)),
            _ => {
                let mut joined = vec![0; (range.end - range.start) as usize];
                self.read_part(slot, section, range, &mut joined)?;
                Ok(Part::joined(joined))
            }
        }
    }

    /// Reads and checks the whole file. `progress` is told bytes done and bytes in all.
    pub fn verify_all(&self, mut progress: impl FnMut(u64, u64)) -> Result<(), Error> {
        let (layout, body) = (self.layout(), self.file.body);
        let mut data = Zeroizing::new(vec![0; layout.longest_chunk()]);
        let total = body + layout.body_bytes(self.slots())?;
        let mut next = layout.chunk_from(Place { slot: 0, section: 0, chunk: 0 }, self.slots());
        while let Some(place) = next {
            let range = layout.chunk_range(place.section, place.chunk);
            let len = range.end - range.start;
            self.file.read_chunk(place, &mut data[..len as usize])?;
            progress(body + layout.chunk_start(place) + len + TAG, total);
            next = layout.chunk_from(Place { chunk: place.chunk + 1, ..place }, self.slots());
        }
        Ok(())
    }
}

impl BatchFile {
    pub(crate) fn slots(&self) -> u32 {
        self.header.label().slots
    }

    /// That a range lies in a section.
    pub(crate) fn check_part(&self, slot: u32, section: u32, range: &Range<u64>) -> Result<(), Error> {
        let len = self.layout.len_of(section).filter(|_| slot < self.slots());
        match len {
            Some(len) if range.start <= range.end && range.end <= len => Ok(()),
            _ => Err(Error::Usage(format!("no bytes {range:?} of slot {slot} section {section}"))),
        }
    }

    /// Copies bytes of a chunk; a chunk that is wanted whole goes past the kept ones.
    fn copy(&self, place: Place, inside: Range<usize>, out: &mut [u8]) -> Result<(), Error> {
        let whole = self.layout.chunk_range(place.section, place.chunk);
        if inside.len() as u64 == whole.end - whole.start && !self.kept.holds(place) {
            return self.read_chunk(place, out);
        }
        out.copy_from_slice(&self.chunk(place)?.bytes()[inside]);
        Ok(())
    }

    /// A chunk, checked: a kept one, or read now.
    pub(crate) fn chunk(&self, place: Place) -> Result<Arc<Chunk>, Error> {
        let range = self.layout.chunk_range(place.section, place.chunk);
        self.kept.get(place, (range.end - range.start) as usize, |data| self.read_chunk(place, data))
    }

    /// A chunk, checked, read now for one reader.
    pub(crate) fn chunk_aside(&self, place: Place) -> Result<Arc<Chunk>, Error> {
        let range = self.layout.chunk_range(place.section, place.chunk);
        self.kept.aside(place, (range.end - range.start) as usize, |data| self.read_chunk(place, data))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn read_chunk(&self, place: Place, data: &mut [u8]) -> Result<(), Error> {
        let start = self.body + self.layout.chunk_start(place);
        let mut tag = [0u8; TAG as usize];
        let read = self.file.read_exact_at(data, start);
        let read = read.and_then(|()| self.file.read_exact_at(&mut tag, start + data.len() as u64));
        read.map_err(|source| Error::io("reading", &self.path, 0, source))?;
        if TagKey::new(self.header.hash(), place).tag(data) != tag {
            let (from, batch) = (self.path.display().to_string(), self.header.label().batch);
            return Err(Error::Chunk { from, batch, place });
        }
        Ok(())
    }
}

/// The public part of a file's header, without an expectation: for listings, not for use. Its hash is
/// not checked.
pub fn inspect(path: &Path) -> Result<Label, Error> {
    let from = path.display().to_string();
    let (file, prefix, len) = open_prefix(path)?;
    let mut bytes = vec![0; prefix.suite_end()];
    if len < prefix.header_len() as u64 {
        return Err(malformed(&from, "the header is cut"));
    }
    file.read_exact_at(&mut bytes, 0).map_err(|source| Error::io("reading", path, 0, source))?;
    prefix.label(&bytes, &from)
}

fn open_prefix(path: &Path) -> Result<(File, Prefix, u64), Error> {
    let from = path.display().to_string();
    let file = File::open(path).map_err(|source| Error::io("opening", path, 0, source))?;
    let len = file.metadata().map_err(|source| Error::io("reading", path, 0, source))?.len();
    let mut fixed = [0u8; FIXED];
    if len < FIXED as u64 {
        return Err(malformed(&from, "the header is cut"));
    }
    file.read_exact_at(&mut fixed, 0).map_err(|source| Error::io("reading", path, 0, source))?;
    Ok((file, Prefix::parse(&fixed, &from)?, len))
}
