//! What runs do, recorded: addresses expanded on a device, messages sent by a party, shares of linear layers.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;

use ariann_device::{Cpu, Device, Keys, Lift, LinearShape, Stream, Window};
use ariann_fss::Party;
use ariann_material::BatchId;
use ariann_prg::{Address, Prg, TreeHash};
use ariann_ring::Ring;
use ariann_ring::pack::PackError;
use ariann_session::hooks::Observer;

/// A seed, known by what it gives at an address that no gate has.
pub type SeedId = [u8; 16];

/// The seed's name in a record.
pub fn seed_id(prg: &Prg) -> SeedId {
    let mut id = [0; 16];
    prg.fill_blocks(Address { kind: 255, gate: (1 << 24) - 1, slot: u32::MAX }, 0, &mut id);
    id
}

/// What words of an address are taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Taken {
    /// Ring elements of so many bits, cut to so many.
    Words(u32, u32),
    /// Bits.
    Bits,
    /// Root blocks of comparison keys.
    Roots,
}

/// One expansion of one slot of a stream.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Expansion {
    pub seed: SeedId,
    pub kind: u8,
    pub gate: u32,
    pub slot: u32,
    pub taken: Taken,
    pub len: usize,
    /// "p0", "p1", or else the dealer.
    pub thread: String,
}

/// The CPU, with a record of every expansion.
#[derive(Default)]
pub struct Recording {
    pub expansions: Mutex<Vec<Expansion>>,
}

impl Recording {
    fn note(&self, prg: &Prg, stream: &Stream, taken: Taken) {
        let thread =
            std::thread::current().name().filter(|name| ["p0", "p1"].contains(name)).unwrap_or("dealer").to_string();
        let Stream { kind, gate, len, .. } = *stream;
        let seed = seed_id(prg);
        let each = |slot| Expansion { seed, kind, gate, slot, taken, len, thread: thread.clone() };
        self.expansions.lock().unwrap().extend(stream.slots.clone().map(each));
    }
}

impl Device for Recording {
    type Words<R: Ring> = Vec<R>;
    type Bits = Vec<u8>;

    fn items_at_once(&self, _: usize) -> usize {
        // Few, so that a run takes several steps.
        2
    }
    fn upload<R: Ring>(&self, words: &[R]) -> Vec<R> {
        Cpu.upload(words)
    }
    fn download<R: Ring>(&self, words: &Vec<R>) -> Vec<R> {
        Cpu.download(words)
    }
    fn unpack<R: Ring>(&self, keys: Keys<'_>, offset: usize, count: usize, width: u32) -> Result<Vec<R>, PackError> {
        Cpu.unpack(keys, offset, count, width)
    }
    fn pack<R: Ring>(&self, words: &Vec<R>, width: u32) -> Vec<u8> {
        Cpu.pack(words, width)
    }
    fn expand<R: Ring>(&self, prg: &Prg, stream: &Stream, width: u32) -> Vec<R> {
        self.note(prg, stream, Taken::Words(R::BITS, width));
        Cpu.expand(prg, stream, width)
    }
    fn expand_bits(&self, prg: &Prg, stream: &Stream) -> Vec<u8> {
        self.note(prg, stream, Taken::Bits);
        Cpu.expand_bits(prg, stream)
    }
    fn linear<R: Ring>(&self, shape: &LinearShape, items: usize, weights: &Vec<R>, x: &Vec<R>) -> Vec<R> {
        Cpu.linear(shape, items, weights, x)
    }
    fn add<R: Ring>(&self, a: &mut Vec<R>, b: &Vec<R>) {
        Cpu.add(a, b)
    }
    fn sub<R: Ring>(&self, a: &mut Vec<R>, b: &Vec<R>) {
        Cpu.sub(a, b)
    }
    fn reduce<R: Ring>(&self, a: &mut Vec<R>, width: u32) {
        Cpu.reduce(a, width)
    }
    fn negate<R: Ring>(&self, a: &mut Vec<R>) {
        Cpu.negate(a)
    }
    fn gather<R: Ring>(&self, x: &Vec<R>, items: usize, len: usize, index: &[u32]) -> Vec<R> {
        Cpu.gather(x, items, len, index)
    }
    fn scatter<R: Ring>(&self, items: usize, len: usize, parts: &[(&Vec<R>, &[u32])]) -> Vec<R> {
        Cpu.scatter(items, len, parts)
    }
    fn window<R: Ring>(&self, share: &Vec<R>, mask: &Vec<R>, window: Window, half: bool) -> Vec<R> {
        Cpu.window(share, mask, window, half)
    }
    fn open<R: Ring>(&self, own: Vec<R>, theirs: &[u8], width: u32) -> Result<Vec<R>, PackError> {
        Cpu.open(own, theirs, width)
    }
    fn pack_bits(&self, bits: &Vec<u8>) -> Vec<u8> {
        Cpu.pack_bits(bits)
    }
    fn open_bits(&self, own: Vec<u8>, theirs: &[u8]) -> Result<Vec<u8>, PackError> {
        Cpu.open_bits(own, theirs)
    }
    #[allow(clippy::too_many_arguments)]
    fn drelu<R: Ring>(
        &self,
        hash: &TreeHash,
        party: Party,
        prg: &Prg,
        roots: &Stream,
        items: Range<usize>,
        keys: Keys<'_>,
        x: &Vec<R>,
        width: u32,
        bits: &mut Vec<u8>,
    ) {
        let first = roots.slots.start;
        let slots = first + items.start as u32..first + items.end as u32;
        self.note(prg, &Stream { slots, ..roots.clone() }, Taken::Roots);
        Cpu.drelu(hash, party, prg, roots, items, keys, x, width, bits)
    }
    fn select<R: Ring>(&self, party: Party, d: &Vec<u8>, v: &Vec<R>, lift: Lift, len: usize, table: &Vec<R>) -> Vec<R> {
        Cpu.select(party, d, v, lift, len, table)
    }
    fn unmask<R: Ring>(&self, party: Party, x: &Vec<R>, width: u32, alpha: &Vec<R>, top: &Vec<R>) -> Vec<R> {
        Cpu.unmask(party, x, width, alpha, top)
    }
    fn deal_window<R: Ring>(&self, mask: &Vec<R>, coins: Option<&Vec<u8>>, window: Window) -> Vec<R> {
        Cpu.deal_window(mask, coins, window)
    }
    fn deal_drelu<R: Ring>(
        &self,
        hash: &TreeHash,
        prgs: [&Prg; 2],
        roots: &Stream,
        alpha: &Vec<R>,
        width: u32,
        pads: [Vec<u8>; 2],
        keys: &mut Vec<u8>,
    ) -> Vec<u8> {
        prgs.iter().for_each(|prg| self.note(prg, roots, Taken::Roots));
        Cpu.deal_drelu(hash, prgs, roots, alpha, width, pads, keys)
    }
    fn deal_select<R: Ring>(&self, r_d: &Vec<u8>, c: &Vec<R>, r: &Vec<R>, lift: Lift, table: &mut Vec<R>) {
        Cpu.deal_select(r_d, c, r, lift, table)
    }
    fn deal_unmask<R: Ring>(&self, alpha: &Vec<R>, width: u32, pads: [Vec<R>; 2]) -> [Vec<R>; 2] {
        Cpu.deal_unmask(alpha, width, pads)
    }
}

/// What one party sent, and its shares of linear layers.
#[derive(Default)]
pub struct Seen {
    /// Gate, exchange, message; in order.
    pub sent: Vec<(u32, u32, Vec<u8>)>,
    /// Shares of linear gates' outputs.
    pub shares: BTreeMap<u32, Vec<u64>>,
}

impl Observer for Seen {
    fn sending(&mut self, _: BatchId, _: Range<u32>, gate: u32, exchange: u32, message: &[u8]) {
        self.sent.push((gate, exchange, message.to_vec()));
    }
    fn wants_shares(&self) -> bool {
        true
    }
    fn linear(&mut self, gate: u32, share: Vec<u64>) {
        self.shares.insert(gate, share);
    }
}
