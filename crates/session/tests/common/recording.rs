//! What runs do, recorded: addresses expanded on a device, messages sent by a party, shares of what is opened.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;

use ariann_device::{Axes, Bilinear, Cpu, Device, Keys, Lift, LinearShape, Piece, Source, Stream, SumShape, Window};
use ariann_fss::Party;
use ariann_gates::kind;
use ariann_material::BatchId;
use ariann_prg::{Address, Prg, TreeHash};
use ariann_ring::pack::PackError;
use ariann_ring::{Arrange, Ring};
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
    /// Pads of marks of so many bits.
    Marks(u32),
    /// P0's unit vectors of comparisons by chunks.
    Vectors,
    /// P0's vectors that combine the marks.
    Tables,
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
    /// A defect on purpose: the mask of the second gate serves the first one, too.
    pub mask_twice: Option<[u32; 2]>,
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

    /// The words of those items of a stream that the pieces belong to, where they come from a seed.
    fn note_pieces(&self, source: &Source<'_>, pieces: &[Piece], taken: Taken) {
        let Source::Seed(prg, stream) = source else { return };
        let mut items: Vec<u32> = pieces.iter().map(|piece| piece.item as u32).collect();
        items.dedup();
        for item in items {
            let slot = stream.slots.start + item;
            self.note(prg, &Stream { slots: slot..slot + 1, ..(*stream).clone() }, taken);
        }
    }
}

impl Device for Recording {
    type Words<R: Ring> = Vec<R>;
    type Weights<R: Ring> = <Cpu as Device>::Weights<R>;
    type Bits = Vec<u8>;
    type Marks = <Cpu as Device>::Marks;

    fn bytes_at_once(&self) -> usize {
        // Few, so that a run takes several steps.
        700
    }
    fn upload<R: Ring>(&self, words: &[R]) -> Vec<R> {
        Cpu.upload(words)
    }
    fn download<R: Ring>(&self, words: &Vec<R>) -> Vec<R> {
        Cpu.download(words)
    }
    fn zeros<R: Ring>(&self, len: usize) -> Vec<R> {
        Cpu.zeros(len)
    }
    fn copy<R: Ring>(&self, words: &Vec<R>) -> Vec<R> {
        Cpu.copy(words)
    }
    fn unpack<R: Ring>(&self, keys: Keys<'_>, offset: usize, count: usize, width: u32) -> Result<Vec<R>, PackError> {
        Cpu.unpack(keys, offset, count, width)
    }
    fn pack<R: Ring>(&self, words: &Vec<R>, width: u32) -> Vec<u8> {
        Cpu.pack(words, width)
    }
    fn expand<R: Ring>(&self, prg: &Prg, stream: &Stream, width: u32) -> Vec<R> {
        self.note(prg, stream, Taken::Words(R::BITS, width));
        match self.mask_twice {
            Some([gate, other]) if stream.kind == kind::MASK && stream.gate == gate => {
                Cpu.expand(prg, &Stream { gate: other, ..stream.clone() }, width)
            }
            _ => Cpu.expand(prg, stream, width),
        }
    }
    fn expand_marks(&self, prg: &Prg, stream: &Stream, width: u32) -> Self::Marks {
        self.note(prg, stream, Taken::Marks(width));
        Cpu.expand_marks(prg, stream, width)
    }
    fn expand_bits(&self, prg: &Prg, stream: &Stream) -> Vec<u8> {
        self.note(prg, stream, Taken::Bits);
        Cpu.expand_bits(prg, stream)
    }
    fn weights<R: Ring>(&self, shape: &LinearShape, words: &Vec<R>) -> <Cpu as Device>::Weights<R> {
        Cpu.weights(shape, words)
    }
    fn linear<R: Ring>(&self, weights: &<Cpu as Device>::Weights<R>, items: usize, x: &Vec<R>) -> Vec<R> {
        Cpu.linear(weights, items, x)
    }
    fn add<R: Ring>(&self, a: &mut Vec<R>, b: &Vec<R>) {
        Cpu.add(a, b)
    }
    fn sub<R: Ring>(&self, a: &mut Vec<R>, b: &Vec<R>) {
        Cpu.sub(a, b)
    }
    fn multiply<R: Ring>(&self, a: &mut Vec<R>, b: &Vec<R>) {
        Cpu.multiply(a, b)
    }
    fn reduce<R: Ring>(&self, a: &mut Vec<R>, width: u32) {
        Cpu.reduce(a, width)
    }
    fn scale<R: Ring>(&self, a: &mut Vec<R>, factor: u64) {
        Cpu.scale(a, factor)
    }
    fn arrange<R: Ring>(&self, items: usize, arrange: &Arrange, operands: &[&Vec<R>]) -> Vec<R> {
        Cpu.arrange(items, arrange, operands)
    }
    fn sum<R: Ring>(&self, items: usize, shape: &SumShape, x: &Vec<R>) -> Vec<R> {
        Cpu.sum(items, shape, x)
    }
    fn bilinear<R: Ring>(&self, of: &Bilinear, a: &Vec<R>, b: &Vec<R>) -> Vec<R> {
        Cpu.bilinear(of, a, b)
    }
    fn reduce_axes<R: Ring>(&self, axes: &Axes, x: &Vec<R>) -> Vec<R> {
        Cpu.reduce_axes(axes, x)
    }
    fn spread_axes<R: Ring>(&self, axes: &Axes, x: &Vec<R>) -> Vec<R> {
        Cpu.spread_axes(axes, x)
    }
    fn keep<R: Ring>(&self, a: &mut Vec<R>, pattern: &[bool]) {
        Cpu.keep(a, pattern)
    }
    fn part<R: Ring>(
        &self,
        items: usize,
        len: usize,
        pairs: [&[u32]; 3],
        singles: [&[u32]; 2],
        g: &Vec<R>,
        y: &Vec<R>,
    ) -> Vec<R> {
        Cpu.part(items, len, pairs, singles, g, y)
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
    fn offsets<R: Ring>(&self, x: &Vec<R>, items: usize, add: &[R], window: Window) -> Vec<R> {
        Cpu.offsets(x, items, add, window)
    }
    fn sub_halves<R: Ring>(&self, x: &Vec<R>, items: usize) -> Vec<R> {
        Cpu.sub_halves(x, items)
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
    fn pack_marks(&self, marks: &Self::Marks, width: u32) -> Vec<u8> {
        Cpu.pack_marks(marks, width)
    }
    fn open_marks(&self, own: Self::Marks, theirs: &[u8], width: u32) -> Result<Self::Marks, PackError> {
        Cpu.open_marks(own, theirs, width)
    }
    #[allow(clippy::too_many_arguments)]
    fn drelu<R: Ring>(
        &self,
        hash: &TreeHash,
        party: Party,
        prg: &Prg,
        roots: &Stream,
        pieces: &[Piece],
        keys: &[u8],
        x: &Vec<R>,
        width: u32,
        bits: &mut Vec<u8>,
    ) {
        self.note_pieces(&Source::Seed(prg, roots), pieces, Taken::Roots);
        Cpu.drelu(hash, party, prg, roots, pieces, keys, x, width, bits)
    }
    #[allow(clippy::too_many_arguments)]
    fn mark<R: Ring>(
        &self,
        vectors: Source<'_>,
        pieces: &[Piece],
        len: usize,
        items: usize,
        x: &Vec<R>,
        width: u32,
        marks: &mut Self::Marks,
    ) {
        self.note_pieces(&vectors, pieces, Taken::Vectors);
        Cpu.mark(vectors, pieces, len, items, x, width, marks)
    }
    #[allow(clippy::too_many_arguments)]
    fn combine<R: Ring>(
        &self,
        party: Party,
        tables: Source<'_>,
        pieces: &[Piece],
        len: usize,
        marks: &Self::Marks,
        x: &Vec<R>,
        width: u32,
        bits: &mut Vec<u8>,
    ) {
        self.note_pieces(&tables, pieces, Taken::Tables);
        Cpu.combine(party, tables, pieces, len, marks, x, width, bits)
    }
    #[allow(clippy::too_many_arguments)]
    fn lookup<R: Ring>(
        &self,
        hash: &TreeHash,
        party: Party,
        prg: &Prg,
        roots: &Stream,
        pieces: &[Piece],
        keys: &[u8],
        x: &Vec<R>,
        width: u32,
        table: &Vec<R>,
        out: &mut Vec<R>,
    ) {
        self.note_pieces(&Source::Seed(prg, roots), pieces, Taken::Roots);
        Cpu.lookup(hash, party, prg, roots, pieces, keys, x, width, table, out)
    }
    #[allow(clippy::too_many_arguments)]
    fn select<R: Ring>(
        &self,
        party: Party,
        table: Source<'_>,
        pieces: &[Piece],
        len: usize,
        width: u32,
        d: &Vec<u8>,
        v: &Vec<R>,
        lift: Lift,
        out: &mut Vec<R>,
    ) -> Result<(), PackError> {
        if let Source::Seed(prg, stream) = table {
            // The stream counts elements, the table has a word for each and plane.
            let words = Stream { len: len * lift.planes(), ..stream.clone() };
            self.note_pieces(&Source::Seed(prg, &words), pieces, Taken::Words(R::BITS, width));
        }
        Cpu.select(party, table, pieces, len, width, d, v, lift, out)
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
    fn deal_lookup<R: Ring>(
        &self,
        hash: &TreeHash,
        prgs: [&Prg; 2],
        roots: &Stream,
        alpha: &Vec<R>,
        width: u32,
        keys: &mut Vec<u8>,
    ) -> Vec<R> {
        prgs.iter().for_each(|prg| self.note(prg, roots, Taken::Roots));
        Cpu.deal_lookup(hash, prgs, roots, alpha, width, keys)
    }
    #[allow(clippy::too_many_arguments)]
    fn deal_chunks<R: Ring>(
        &self,
        prg: &Prg,
        vectors: &Stream,
        tables: &Stream,
        alpha: &Vec<R>,
        width: u32,
        marks: [Self::Marks; 2],
        pads: [Vec<u8>; 2],
        section: &mut Vec<u8>,
    ) -> Vec<u8> {
        self.note(prg, vectors, Taken::Vectors);
        self.note(prg, tables, Taken::Tables);
        Cpu.deal_chunks(prg, vectors, tables, alpha, width, marks, pads, section)
    }
    fn deal_select<R: Ring>(&self, r_d: &Vec<u8>, c: &Vec<R>, r: &Vec<R>, lift: Lift, table: &mut Vec<R>) {
        Cpu.deal_select(r_d, c, r, lift, table)
    }
    fn deal_unmask<R: Ring>(&self, alpha: &Vec<R>, width: u32, pads: [Vec<R>; 2]) -> [Vec<R>; 2] {
        Cpu.deal_unmask(alpha, width, pads)
    }
}

/// What one party sent, and its shares of what it opened.
#[derive(Default)]
pub struct Seen {
    /// Gate, exchange, message; in order.
    pub sent: Vec<(u32, u32, Vec<u8>)>,
    /// Shares of the operands of openings, by the opening's gate.
    pub shares: BTreeMap<u32, Vec<u64>>,
}

impl Observer for Seen {
    fn sending(&mut self, _: BatchId, _: Range<u32>, gate: u32, exchange: u32, message: &[u8]) {
        self.sent.push((gate, exchange, message.to_vec()));
    }
    fn wants_shares(&self) -> bool {
        true
    }
    fn opening(&mut self, gate: u32, share: Vec<u64>) {
        self.shares.insert(gate, share);
    }
}
