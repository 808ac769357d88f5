//! Where every byte of a slot lies, from the section lengths alone.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::error::Error;

/// Most data bytes of one chunk.
pub const CHUNK: u64 = 1 << 20;
/// Bytes of the tag that follows every chunk.
pub const TAG: u64 = 16;
/// More than any disk holds; keeps every sum below far from 2^64.
const MAX_BATCH: u64 = 1 << 56;

/// The sections of a slot, one a gate in plan order, and their lengths in bytes. Equal for all slots.
///
/// On disk a section of L bytes is cut into ceil(L / [`CHUNK`]) chunks, all full but the last, each
/// followed by its tag. An empty section takes no byte.
#[derive(Clone, PartialEq, Eq)]
pub struct Layout(Arc<Parts>);

#[derive(PartialEq, Eq)]
struct Parts {
    sections: Vec<u64>,
    /// Where each section begins in a slot; last: bytes of a slot, tags included.
    offsets: Vec<u64>,
    digest: [u8; 32],
}

/// A chunk of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Slot, from 0.
    pub slot: u32,
    /// Section in plan order, from 0.
    pub section: u32,
    /// Chunk of the section, from 0.
    pub chunk: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "slot {} section {} chunk {}", self.slot, self.section, self.chunk)
    }
}

impl fmt::Debug for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Layout({} sections, {} bytes a slot)", self.sections().len(), self.slot_bytes())
    }
}

impl Layout {
    /// The layout of sections of these lengths.
    pub fn new(sections: Vec<u64>) -> Result<Self, Error> {
        if u32::try_from(sections.len()).is_err() {
            return Err(Error::Usage("more than 2^32 - 1 sections".into()));
        }
        let mut offsets = Vec::with_capacity(sections.len() + 1);
        let mut hasher = blake3::Hasher::new_derive_key("ariann material layout 1");
        let mut at = 0u64;
        for &len in &sections {
            offsets.push(at);
            hasher.update(&len.to_le_bytes());
            at = Some(len)
                .filter(|&len| len < MAX_BATCH)
                .map(|len| at + stored(len))
                .filter(|&at| at < MAX_BATCH)
                .ok_or_else(|| Error::Usage("a slot of 2^56 bytes or more".into()))?;
        }
        offsets.push(at);
        let digest = *hasher.finalize().as_bytes();
        Ok(Self(Arc::new(Parts { sections, offsets, digest })))
    }

    /// Section lengths in bytes, without tags.
    pub fn sections(&self) -> &[u64] {
        &self.0.sections
    }

    /// Digest of the section lengths; stands in the header.
    pub fn digest(&self) -> [u8; 32] {
        self.0.digest
    }

    /// Bytes of one slot on disk, tags included.
    pub fn slot_bytes(&self) -> u64 {
        self.0.offsets[self.0.sections.len()]
    }

    /// Data bytes of one slot, without tags.
    pub fn data_bytes(&self) -> u64 {
        self.0.sections.iter().sum()
    }

    /// Bytes of `slots` slots on disk; refused at 2^56 and more.
    pub fn body_bytes(&self, slots: u32) -> Result<u64, Error> {
        self.slot_bytes()
            .checked_mul(u64::from(slots))
            .filter(|&bytes| bytes < MAX_BATCH)
            .ok_or_else(|| Error::Usage("a batch of 2^56 bytes or more".into()))
    }

    /// The longest chunk of this layout, without tag.
    pub fn longest_chunk(&self) -> usize {
        self.0.sections.iter().max().map_or(0, |&len| len.min(CHUNK)) as usize
    }

    /// Length of a section, if it exists.
    pub(crate) fn len_of(&self, section: u32) -> Option<u64> {
        self.0.sections.get(section as usize).copied()
    }

    /// Where a chunk begins, counted from the first byte after the header.
    pub(crate) fn chunk_start(&self, place: Place) -> u64 {
        u64::from(place.slot) * self.slot_bytes()
            + self.0.offsets[place.section as usize]
            + u64::from(place.chunk) * (CHUNK + TAG)
    }

    /// Data bytes of a section that a chunk holds.
    pub(crate) fn chunk_range(&self, section: u32, chunk: u32) -> Range<u64> {
        let len = self.0.sections[section as usize];
        let start = (u64::from(chunk) * CHUNK).min(len);
        start..(start + CHUNK).min(len)
    }

    /// The chunks that bytes `range` of a section lie in, and which bytes of each.
    pub(crate) fn pieces(
        &self,
        slot: u32,
        section: u32,
        range: Range<u64>,
    ) -> impl Iterator<Item = (Place, Range<usize>)> + use<> {
        let mut at = range.start;
        std::iter::from_fn(move || {
            (at < range.end).then(|| {
                let (chunk, inside) = (at / CHUNK, (at % CHUNK) as usize);
                let end = range.end.min((chunk + 1) * CHUNK);
                let taken = (end - at) as usize;
                at = end;
                (Place { slot, section, chunk: chunk as u32 }, inside..inside + taken)
            })
        })
    }

    /// The first chunk at or after `place`, skipping what is empty; none after the last slot.
    pub(crate) fn chunk_from(&self, mut place: Place, slots: u32) -> Option<Place> {
        if self.slot_bytes() == 0 {
            return None;
        }
        while place.slot < slots {
            match self.len_of(place.section) {
                None => place = Place { slot: place.slot + 1, section: 0, chunk: 0 },
                Some(len) if u64::from(place.chunk) < len.div_ceil(CHUNK) => return Some(place),
                Some(_) => place = Place { section: place.section + 1, chunk: 0, ..place },
            }
        }
        None
    }

    /// The chunk that holds byte `at` after the header.
    pub(crate) fn locate(&self, at: u64) -> Option<Place> {
        let slot = u32::try_from(at.checked_div(self.slot_bytes())?).ok()?;
        let inside = at % self.slot_bytes();
        let section = self.0.offsets.partition_point(|&start| start <= inside) - 1;
        let chunk = (inside - self.0.offsets[section]) / (CHUNK + TAG);
        Some(Place { slot, section: section as u32, chunk: chunk as u32 })
    }
}

/// Bytes of a section on disk.
fn stored(len: u64) -> u64 {
    len + len.div_ceil(CHUNK) * TAG
}

/// The tag of a chunk. The key binds header and place; the data is hashed alone, so that it starts at
/// a block boundary and the hash runs at full width.
pub(crate) struct TagKey([u8; 32]);

impl TagKey {
    pub(crate) fn new(header_hash: &[u8; 32], place: Place) -> Self {
        let mut input = [0u8; 44];
        input[..32].copy_from_slice(header_hash);
        input[32..36].copy_from_slice(&place.slot.to_le_bytes());
        input[36..40].copy_from_slice(&place.section.to_le_bytes());
        input[40..].copy_from_slice(&place.chunk.to_le_bytes());
        Self(*blake3::hash(&input).as_bytes())
    }

    pub(crate) fn tag(&self, data: &[u8]) -> [u8; 16] {
        cut(&blake3::keyed_hash(&self.0, data))
    }

    pub(crate) fn hasher(&self) -> blake3::Hasher {
        blake3::Hasher::new_keyed(&self.0)
    }
}

/// The first 16 bytes of a hash.
pub(crate) fn cut(hash: &blake3::Hash) -> [u8; 16] {
    std::array::from_fn(|i| hash.as_bytes()[i])
}
