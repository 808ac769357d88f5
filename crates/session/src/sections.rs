//! A run's material, read ahead of its gates: while a party computes or waits, a thread reads and checks what comes next, from
//! the disk or, in training, from the dealer.

use std::error::Error;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use ariann_gates::Sections;
use ariann_material::{Ahead, Batch, Part};
use ariann_plan::{Gate, Plan};

use crate::training::Arriving;

/// Bytes of one gate's sections, of all items of a run, that are in memory at once; larger ones are read in parts.
const WHOLE: u64 = 64 << 20;
/// Bytes that are read ahead.
const AHEAD: u64 = 48 << 20;
/// Parts of a section as they are kept: one chunk each.
const PART: u64 = 1 << 20;

/// Where dealt material is.
pub enum Dealt {
    /// In a file of the state folder.
    Stored(Batch),
    /// On its way from the dealer: one turn of training.
    Arriving(Arriving),
}

impl Dealt {
    /// The batch of a prediction.
    pub fn stored(&self) -> &Batch {
        match self {
            Dealt::Stored(batch) => batch,
            Dealt::Arriving(_) => unreachable!("a prediction's material is stored before it is used"),
        }
    }
}

/// The sections of a run, in plan order.
pub(crate) enum Reading<'a> {
    Stored(Shelf<'a>),
    Arriving(&'a Arriving),
}

impl<'a> Reading<'a> {
    /// Begins to read the sections of `slots` that are kept whole, of the gates that use them online: linear ones are used when
    /// they are prepared.
    pub fn online(dealt: &'a Dealt, slots: Range<u32>, plan: &Plan) -> Result<Self, ariann_material::Error> {
        let gates = plan.gates.iter().enumerate().filter(|(_, entry)| !matches!(entry.gate, Gate::Linear(_)));
        match dealt {
            Dealt::Stored(batch) => Shelf::of_gates(batch, slots, gates.map(|(gate, _)| gate as u32)),
            Dealt::Arriving(arriving) => Ok(Reading::Arriving(arriving)),
        }
    }

    /// The same, of the plan's linear gates.
    pub fn of_linear(batch: &'a Batch, slots: Range<u32>, plan: &Plan) -> Result<Self, ariann_material::Error> {
        Shelf::of_gates(batch, slots, plan.linear_gates().map(|(gate, _)| gate))
    }

    /// The sections of one gate.
    pub fn of(&self, gate: u32) -> Stored<'_> {
        Stored { reading: self, gate }
    }

    fn section_len(&self, gate: u32) -> u64 {
        match self {
            Reading::Stored(shelf) => shelf.section_len(gate),
            Reading::Arriving(arriving) => arriving.section_len(gate),
        }
    }

    fn copy(&self, gate: u32, item: usize, range: Range<u64>, out: &mut [u8]) -> Result<(), Failure> {
        match self {
            Reading::Stored(shelf) => shelf.copy(gate, item, range, out),
            Reading::Arriving(arriving) => arriving.copy(gate, range.start as usize..range.end as usize, out),
        }
    }
}

/// The sections of a batch for the slots of one run.
pub(crate) struct Shelf<'a> {
    batch: &'a Batch,
    slots: Range<u32>,
    state: Mutex<State>,
}

struct State {
    ahead: Option<Ahead>,
    /// The gate whose sections are in memory, and these, an item's parts one after the other.
    gate: Option<u32>,
    kept: Vec<Vec<Part>>,
}

type Failure = Box<dyn Error + Send + Sync>;

impl<'a> Shelf<'a> {
    fn of_gates(
        batch: &'a Batch,
        slots: Range<u32>,
        gates: impl Iterator<Item = u32>,
    ) -> Result<Reading<'a>, ariann_material::Error> {
        let sections = batch.layout().sections();
        let whole = |gate: &u32| (1..=WHOLE).contains(&(sections[*gate as usize] * slots.len() as u64));
        let gates: Vec<u32> = gates.filter(whole).collect();
        let ahead = if gates.is_empty() {
            None
        } else {
            let chunks: u64 = gates.iter().map(|gate| sections[*gate as usize].div_ceil(PART)).sum();
            let bytes: u64 = gates.iter().map(|gate| sections[*gate as usize]).sum();
            let at_once = (AHEAD * chunks / bytes).clamp(4, 1 << 14);
            let order = gates.into_iter().flat_map(|gate| slots.clone().map(move |slot| (slot, gate)));
            Some(batch.ahead(order, at_once as usize)?)
        };
        let state = Mutex::new(State { ahead, gate: None, kept: Vec::new() });
        Ok(Reading::Stored(Shelf { batch, slots, state }))
    }

    fn section_len(&self, gate: u32) -> u64 {
        self.batch.layout().sections()[gate as usize]
    }

    fn copy(&self, gate: u32, item: usize, range: Range<u64>, out: &mut [u8]) -> Result<(), Failure> {
        let len = self.section_len(gate);
        if !(1..=WHOLE).contains(&(len * self.slots.len() as u64)) {
            return Ok(self.batch.read_part(self.slots.start + item as u32, gate, range, out)?);
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { ahead, gate: held, kept } = &mut *state;
        if *held != Some(gate) {
            kept.clear();
            let ahead = ahead.as_mut().expect("gates that are kept whole are read ahead");
            for slot in self.slots.clone() {
                let starts = (0..len.div_ceil(PART)).map(|part| part * PART);
                let parts = starts.map(|start| ahead.part(slot, gate, start..(start + PART).min(len)));
                kept.push(parts.collect::<Result<_, _>>()?);
            }
            *held = Some(gate);
        }
        let mut at = range.start;
        let mut rest = out;
        while at < range.end {
            let part = &kept[item][(at / PART) as usize];
            let inside = (at % PART) as usize;
            let taken = rest.len().min(part.len() - inside);
            let (here, tail) = rest.split_at_mut(taken);
            here.copy_from_slice(&part[inside..inside + taken]);
            rest = tail;
            at += taken as u64;
        }
        Ok(())
    }
}

/// The sections of a gate in a batch, for the slots of a run.
pub(crate) struct Stored<'a> {
    reading: &'a Reading<'a>,
    gate: u32,
}

impl Sections for Stored<'_> {
    fn section_len(&self) -> usize {
        self.reading.section_len(self.gate) as usize
    }

    fn read(&self, items: Range<usize>, out: &mut [u8]) -> Result<(), Failure> {
        let len = self.section_len();
        if len == 0 {
            return Ok(());
        }
        items.zip(out.chunks_mut(len)).try_for_each(|(item, out)| self.read_part(item, 0..len, out))
    }

    fn read_part(&self, item: usize, range: Range<usize>, out: &mut [u8]) -> Result<(), Failure> {
        self.reading.copy(self.gate, item, range.start as u64..range.end as u64, out)
    }
}
