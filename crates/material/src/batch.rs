//! Reading a batch file. Every chunk is checked as it is read; what fails is never handed out.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::error::Error;
use crate::expected::{Expected, Prefix};
use crate::header::{FIXED, Header, Label, malformed};
use crate::layout::{CHUNK, Layout, Place, TAG, TagKey};

/// An open batch file. Reads by position, so threads may share it.
pub struct Batch {
    file: File,
    path: PathBuf,
    header: Header,
    layout: Layout,
    body: u64,
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
        Ok(Self { file, path: path.into(), header, layout, body })
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The layout.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Number of slots.
    pub fn slots(&self) -> u32 {
        self.header.label().slots
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
        let len = self.layout.len_of(section).filter(|_| slots.start <= slots.end && slots.end <= self.slots());
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
                let range = self.layout.chunk_range(section, chunk);
                let (data, tail) = rest.split_at_mut((range.end - range.start) as usize);
                rest = tail;
                outcome = outcome.and_then(|()| self.read_chunk(Place { slot, section, chunk }, data));
            }
        }
        if outcome.is_err() {
            out.fill(0);
        }
        outcome
    }

    /// Reads and checks the whole file. `progress` is told bytes done and bytes in all.
    pub fn verify_all(&self, mut progress: impl FnMut(u64, u64)) -> Result<(), Error> {
        let mut data = Zeroizing::new(vec![0; self.layout.longest_chunk()]);
        let total = self.body + self.layout.body_bytes(self.slots())?;
        let mut next = self.layout.chunk_from(Place { slot: 0, section: 0, chunk: 0 }, self.slots());
        while let Some(place) = next {
            let range = self.layout.chunk_range(place.section, place.chunk);
            let len = range.end - range.start;
            self.read_chunk(place, &mut data[..len as usize])?;
            progress(self.body + self.layout.chunk_start(place) + len + TAG, total);
            next = self.layout.chunk_from(Place { chunk: place.chunk + 1, ..place }, self.slots());
        }
        Ok(())
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
