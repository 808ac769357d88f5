//! What a gate is given: seeds, slots, the device; and how it refuses a message.

use std::error::Error;
use std::ops::Range;

use ariann_device::{Device, Keys, Stream};
use ariann_fss::Party;
use ariann_prg::{Prg, TreeHash};
use ariann_ring::Ring;
use ariann_ring::pack::PackError;

/// The other party.
pub const fn other(party: Party) -> Party {
    match party {
        Party::P0 => Party::P1,
        Party::P1 => Party::P0,
    }
}

/// Who gets an opened or revealed value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Receiver {
    /// P0 alone (a directed opening).
    P0,
    /// P1 alone.
    P1,
    /// Both parties.
    Both,
    /// An outside client, of results only: each party keeps its share for it.
    Client,
}

impl Receiver {
    /// Whether `party` gets the value.
    pub const fn includes(self, party: Party) -> bool {
        matches!((self, party), (Receiver::Both, _) | (Receiver::P0, Party::P0) | (Receiver::P1, Party::P1))
    }

    /// The receiver that is one party alone.
    pub const fn only(party: Party) -> Self {
        match party {
            Party::P0 => Receiver::P0,
            Party::P1 => Receiver::P1,
        }
    }
}

/// A gate's material of all items of a run, read a few items at a time.
pub trait Sections: Sync {
    /// Bytes of one item's section.
    fn section_len(&self) -> usize;
    /// Reads the sections of `items`, one after the other, into `out`.
    fn read(&self, items: Range<usize>, out: &mut [u8]) -> Result<(), Box<dyn Error + Send + Sync>>;
    /// Reads the bytes `range` of one item's section. Gates go through a section in order.
    fn read_part(&self, item: usize, range: Range<usize>, out: &mut [u8]) -> Result<(), Box<dyn Error + Send + Sync>> {
        let mut section = vec![0; self.section_len()];
        self.read(item..item + 1, &mut section)?;
        out.copy_from_slice(&section[range]);
        Ok(())
    }
}

impl Sections for Keys<'_> {
    fn section_len(&self) -> usize {
        self.section_len
    }

    fn read(&self, items: Range<usize>, out: &mut [u8]) -> Result<(), Box<dyn Error + Send + Sync>> {
        out.copy_from_slice(&self.sections[items.start * self.section_len..items.end * self.section_len]);
        Ok(())
    }

    fn read_part(&self, item: usize, range: Range<usize>, out: &mut [u8]) -> Result<(), Box<dyn Error + Send + Sync>> {
        let start = item * self.section_len;
        out.copy_from_slice(&self.sections[start + range.start..start + range.end]);
        Ok(())
    }
}

/// The sections of the first `items` items at once, for gates whose sections are small.
pub(crate) fn read_all(sections: &dyn Sections, items: usize) -> Result<Vec<u8>, GateError> {
    let mut bytes = vec![0; items * sections.section_len()];
    if !bytes.is_empty() {
        sections.read(0..items, &mut bytes).map_err(GateError::Sections)?;
    }
    Ok(bytes)
}

/// Why a gate stopped.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// The other party's message does not have the form that the plan gives it.
    #[error("the peer's message has the wrong form: {0}")]
    Message(PackError),
    /// A section of the material does not have the form that the plan gives it.
    #[error("the material has the wrong form: {0}")]
    Material(PackError),
    /// A section of the material cannot be read.
    #[error("the material cannot be read: {0}")]
    Sections(Box<dyn Error + Send + Sync>),
}

/// One party's view while it runs a gate for the items of a run, one slot an item.
pub struct Context<'a, D: Device> {
    /// Which party this is.
    pub party: Party,
    /// Where it computes.
    pub device: &'a D,
    /// The party's seed of this batch of material.
    pub prg: &'a Prg,
    /// The batch's tree hash.
    pub hash: &'a TreeHash,
    /// The gate's number in the plan.
    pub gate: u32,
    /// One-time slots, one an item.
    pub slots: Range<u32>,
}

impl<D: Device> Context<'_, D> {
    /// Items of this run.
    pub fn items(&self) -> usize {
        self.slots.len()
    }

    /// This gate's words of `kind`, `len` a slot.
    pub fn stream(&self, kind: u8, len: usize) -> Stream {
        Stream { kind, gate: self.gate, slots: self.slots.clone(), len }
    }

    /// Expands this gate's words of `kind`.
    pub fn expand<R: Ring>(&self, kind: u8, len: usize, width: u32) -> D::Words<R> {
        self.device.expand(self.prg, &self.stream(kind, len), width)
    }
}

/// The dealer's view while it makes a gate's material for one slot or more.
pub struct Dealing<'a, D: Device> {
    /// Where it computes.
    pub device: &'a D,
    /// The parties' seeds of this batch.
    pub seeds: [&'a Prg; 2],
    /// The dealer's own seed of this batch, for its coins.
    pub coins: &'a Prg,
    /// The batch's tree hash.
    pub hash: &'a TreeHash,
    /// The gate's number in the plan.
    pub gate: u32,
    /// The slot.
    pub slot: u32,
}

impl<D: Device> Dealing<'_, D> {
    /// This gate's words of `kind` in this slot.
    pub fn stream(&self, kind: u8, len: usize) -> Stream {
        Stream { kind, gate: self.gate, slots: self.slot..self.slot + 1, len }
    }

    /// Expands `party`'s words of `kind`.
    pub fn expand<R: Ring>(&self, party: Party, kind: u8, len: usize, width: u32) -> D::Words<R> {
        self.device.expand(self.seeds[party as usize], &self.stream(kind, len), width)
    }

    /// The sum of both parties' words of `kind`: the mask of a wire.
    pub fn mask<R: Ring>(&self, kind: u8, len: usize) -> D::Words<R> {
        let mut sum = self.expand(Party::P0, kind, len, R::BITS);
        self.device.add(&mut sum, &self.expand(Party::P1, kind, len, R::BITS));
        sum
    }
}
