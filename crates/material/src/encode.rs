//! From (header, sections in order) to the bytes of a batch.

use std::io::Write;

use crate::error::Error;
use crate::header::Header;
use crate::id::BatchId;
use crate::layout::{Layout, Place, TagKey, cut};

/// Writes a batch to `W` piece by piece: a network channel, memory, or a file through
/// [`BatchWriter`](crate::BatchWriter). Memory does not depend on the batch's size.
pub struct Encoder<W> {
    out: W,
    batch: BatchId,
    hash: [u8; 32],
    layout: Layout,
    slots: u32,
    /// The chunk being written; none when the batch is whole.
    place: Option<Place>,
    hasher: blake3::Hasher,
    filled: u64,
}

impl<W: Write> Encoder<W> {
    /// Writes the header. `layout` must be the one that the header was made with.
    pub fn new(header: &Header, layout: &Layout, mut out: W) -> Result<Self, Error> {
        let label = header.label();
        if label.layout_digest != layout.digest() {
            return Err(Error::Usage("the header was made for another layout".into()));
        }
        let (batch, hash) = (label.batch, *header.hash());
        out.write_all(&header.encode()).map_err(|source| Error::Send { batch, source })?;
        let place = layout.chunk_from(Place { slot: 0, section: 0, chunk: 0 }, label.slots);
        let hasher = tagger(&hash, place);
        Ok(Self { out, batch, hash, layout: layout.clone(), slots: label.slots, place, hasher, filled: 0 })
    }

    /// Appends bytes to a section. Sections come strictly in order (slot by slot, plan order within a
    /// slot), each in as many pieces as the caller likes; empty sections may be left out.
    pub fn write_section(&mut self, slot: u32, section: u32, mut data: &[u8]) -> Result<(), Error> {
        while !data.is_empty() {
            let Some(place) = self.place.filter(|place| (place.slot, place.section) == (slot, section)) else {
                return Err(Error::Usage(format!(
                    "bytes of slot {slot} section {section} came where {} was due",
                    self.place.map_or("the end".into(), |place| place.to_string())
                )));
            };
            let range = self.layout.chunk_range(section, place.chunk);
            let room = range.end - range.start - self.filled;
            let (piece, rest) = data.split_at(room.min(data.len() as u64) as usize);
            self.hasher.update(piece);
            self.put(piece)?;
            self.filled += piece.len() as u64;
            data = rest;
            if piece.len() as u64 == room {
                let tag = cut(&self.hasher.finalize());
                self.put(&tag)?;
                let next = Place { chunk: place.chunk + 1, ..place };
                self.place = self.layout.chunk_from(next, self.slots);
                self.hasher = tagger(&self.hash, self.place);
                self.filled = 0;
            }
        }
        Ok(())
    }

    /// Gives `W` back; refused while a section is missing.
    pub fn finish(mut self) -> Result<W, Error> {
        if let Some(place) = self.place {
            return Err(Error::Usage(format!("the batch ends before {place} is whole")));
        }
        self.out.flush().map_err(|source| Error::Send { batch: self.batch, source })?;
        Ok(self.out)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.out.write_all(bytes).map_err(|source| Error::Send { batch: self.batch, source })
    }
}

fn tagger(hash: &[u8; 32], place: Option<Place>) -> blake3::Hasher {
    place.map_or_else(blake3::Hasher::new, |place| TagKey::new(hash, place).hasher())
}
