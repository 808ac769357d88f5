//! The seam for accelerators: a trait of bulk kernels over device buffers, and its CPU implementation.
//!
//! A gate is written once against [`Device`] and never knows where it runs. Everything between two messages of the online
//! phase stays in the device's buffers: [`Device::Words`] for ring elements, [`Device::Bits`] for bits. What crosses the
//! seam is material on its way in and packed messages on their way in and out.
//!
//! Buffers are item-major: the elements of item 0, then those of item 1, and so on. `slots` names which one-time slots the
//! items of a run use, one slot an item, so that every item expands its own words.

mod cpu;
mod shape;

use std::ops::Range;

use ariann_fss::Party;
use ariann_prg::{Prg, TreeHash};
use ariann_ring::pack::PackError;
use ariann_ring::{Arrange, Ring};

pub use ariann_ring::{Axes, Bilinear, LinearShape};
pub use cpu::Cpu;
pub use shape::SumShape;

/// Where words come from: `len` of them for each slot, at the addresses of `kind` and `gate`.
#[derive(Clone, Debug)]
pub struct Stream {
    /// What the words are for; one kind never serves two purposes.
    pub kind: u8,
    /// The gate that owns them.
    pub gate: u32,
    /// One-time slots, one an item.
    pub slots: Range<u32>,
    /// Elements a slot.
    pub len: usize,
}

impl Stream {
    /// Elements of all slots.
    pub fn total(&self) -> usize {
        self.slots.len() * self.len
    }
}

/// The bits `[shift, top)` of a value: what an opening sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Window {
    /// s: bits dropped below.
    pub shift: u32,
    /// m: the first bit dropped above.
    pub top: u32,
}

impl Window {
    /// w = m - s, the width of the opened value.
    pub const fn width(self) -> u32 {
        self.top - self.shift
    }

    /// h, half a unit of the opened value, which one party adds before it drops bits; none when nothing is dropped below.
    pub fn half<R: Ring>(self) -> R {
        if self.shift == 0 { R::ZERO } else { R::ONE.shl(self.shift - 1) }
    }
}

/// How a select turns the opened value into the selected one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lift {
    /// The value is used as it is, in the ring in which it was opened.
    None,
    /// The value is opened modulo 2^w and used in the whole ring: the mask depends on the public top bit. The value is not
    /// negative where it is selected.
    From(u32),
    /// As `From`, for values in [-2^(w-2), 2^(w-2)) of either sign: 2^(w-2) is added before the top bit is looked at.
    Signed(u32),
}

impl Lift {
    /// Planes of a select's table: the shares of r_d and one entry for each public index (d̂, and the top bit when lifting).
    pub const fn planes(self) -> usize {
        match self {
            Lift::None => 3,
            Lift::From(_) | Lift::Signed(_) => 5,
        }
    }

    /// What is added to the opened value and to its mask.
    pub fn offset<R: Ring>(self) -> R {
        match self {
            Lift::None | Lift::From(_) => R::ZERO,
            Lift::Signed(width) => R::ONE.shl(width - 2),
        }
    }
}

/// The keys of one gate for all items of a run.
#[derive(Clone, Copy)]
pub struct Keys<'a> {
    /// The gate's sections of all items, one after the other.
    pub sections: &'a [u8],
    /// Bytes of one item's section; its keys stand at the front.
    pub section_len: usize,
}

/// Elements of one item that are worked on together. `elements` begins at a multiple of [`GROUP`] and ends at one or at the
/// item's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The item, counted from the run's first.
    pub item: usize,
    /// Its elements.
    pub elements: Range<usize>,
}

/// Elements that stand together in a section: every part of a section is whole bytes up to a multiple of it.
pub const GROUP: usize = ariann_fss::chunks::GROUP;

/// Where a party's half of a gate's material comes from.
#[derive(Clone, Copy)]
pub enum Source<'a> {
    /// Its seed: the words of the stream.
    Seed(&'a Prg, &'a Stream),
    /// What the dealer sent: the bytes of the pieces, one after the other.
    Dealt(&'a [u8]),
}

/// Bulk kernels. Lengths are checked by the callers' plan; a kernel may panic when buffers disagree.
pub trait Device: Sync {
    /// Ring elements.
    type Words<R: Ring>: Send + Sync;
    /// A linear layer's weights, in the form in which they are multiplied.
    type Weights<R: Ring>: Send + Sync;
    /// Bits, one an element.
    type Bits: Send + Sync;
    /// A few bits an element: the marks of a comparison by chunks.
    type Marks: Send + Sync;

    /// How many bytes of sections are best brought at once.
    fn bytes_at_once(&self) -> usize;

    // Movement.

    /// Brings ring elements to the device.
    fn upload<R: Ring>(&self, words: &[R]) -> Self::Words<R>;
    /// Brings ring elements back.
    fn download<R: Ring>(&self, words: &Self::Words<R>) -> Vec<R>;
    /// `len` zeros.
    fn zeros<R: Ring>(&self, len: usize) -> Self::Words<R>;
    /// The same elements in another buffer.
    fn copy<R: Ring>(&self, words: &Self::Words<R>) -> Self::Words<R>;
    /// Unpacks `count` words of `width` bits out of each item's section, from byte `offset` of it.
    fn unpack<R: Ring>(
        &self,
        keys: Keys<'_>,
        offset: usize,
        count: usize,
        width: u32,
    ) -> Result<Self::Words<R>, PackError>;
    /// Packs elements for a message or a section, `width` bits each.
    fn pack<R: Ring>(&self, words: &Self::Words<R>, width: u32) -> Vec<u8>;

    // Randomness.

    /// Expands masks and pads: words of the stream modulo 2^width.
    fn expand<R: Ring>(&self, prg: &Prg, stream: &Stream, width: u32) -> Self::Words<R>;
    /// Expands pads of marks of `width` bits.
    fn expand_marks(&self, prg: &Prg, stream: &Stream, width: u32) -> Self::Marks;
    /// Expands pads of bits.
    fn expand_bits(&self, prg: &Prg, stream: &Stream) -> Self::Bits;

    // Arithmetic.

    /// Brings a linear layer's weights into the form in which they are multiplied.
    fn weights<R: Ring>(&self, shape: &LinearShape, words: &Self::Words<R>) -> Self::Weights<R>;
    /// The product of a linear layer, without bias.
    fn linear<R: Ring>(&self, weights: &Self::Weights<R>, items: usize, x: &Self::Words<R>) -> Self::Words<R>;
    /// `a += b`; a shorter `b` is repeated (a bias already spread over one item's outputs).
    fn add<R: Ring>(&self, a: &mut Self::Words<R>, b: &Self::Words<R>);
    /// `a = (a + b)` modulo 2^width.
    fn add_reduce<R: Ring>(&self, a: &mut Self::Words<R>, b: &Self::Words<R>, width: u32) {
        self.add(a, b);
        self.reduce(a, width);
    }
    /// `a -= b`, `b` repeated likewise.
    fn sub<R: Ring>(&self, a: &mut Self::Words<R>, b: &Self::Words<R>);
    /// `a *= b`, element by element.
    fn multiply<R: Ring>(&self, a: &mut Self::Words<R>, b: &Self::Words<R>);
    /// `a` modulo 2^width.
    fn reduce<R: Ring>(&self, a: &mut Self::Words<R>, width: u32);
    /// `a *= factor`.
    fn scale<R: Ring>(&self, a: &mut Self::Words<R>, factor: u64);
    /// Rearranges `items` items of the operands.
    fn arrange<R: Ring>(&self, items: usize, arrange: &Arrange, operands: &[&Self::Words<R>]) -> Self::Words<R>;
    /// Sums over windows of `items` items.
    fn sum<R: Ring>(&self, items: usize, shape: &SumShape, x: &Self::Words<R>) -> Self::Words<R>;
    /// The product of two operands, summed as `of` says.
    fn bilinear<R: Ring>(&self, of: &Bilinear, a: &Self::Words<R>, b: &Self::Words<R>) -> Self::Words<R>;
    /// Sums over the outer and the inner axis.
    fn reduce_axes<R: Ring>(&self, axes: &Axes, x: &Self::Words<R>) -> Self::Words<R>;
    /// One value a kept place, for all places of the outer and the inner axis.
    fn spread_axes<R: Ring>(&self, axes: &Axes, x: &Self::Words<R>) -> Self::Words<R>;
    /// `a` where the public pattern is true, 0 elsewhere.
    fn keep<R: Ring>(&self, a: &mut Self::Words<R>, pattern: &[bool]);
    /// Backwards through pairs, for every item of `len` elements: from zeros, for each pair `out[a] += y`,
    /// `out[b] += g[paired] - y`, and for each element without a partner `out[single] += g[carried]`.
    fn part<R: Ring>(
        &self,
        items: usize,
        len: usize,
        pairs: [&[u32]; 3],
        singles: [&[u32]; 2],
        g: &Self::Words<R>,
        y: &Self::Words<R>,
    ) -> Self::Words<R>;
    /// `-a`.
    fn negate<R: Ring>(&self, a: &mut Self::Words<R>);
    /// For every item, the elements at `index` of its `len`.
    fn gather<R: Ring>(&self, x: &Self::Words<R>, items: usize, len: usize, index: &[u32]) -> Self::Words<R>;
    /// For every item, a - b modulo 2^width and b, for the elements at the places `a` and `b` of its `len`.
    fn differences<R: Ring>(
        &self,
        x: &Self::Words<R>,
        items: usize,
        len: usize,
        places: [&[u32]; 2],
        width: u32,
    ) -> (Self::Words<R>, Self::Words<R>) {
        let [mut difference, b] = places.map(|places| self.gather(x, items, len, places));
        self.sub(&mut difference, &b);
        self.reduce(&mut difference, width);
        (difference, b)
    }
    /// `gather`'s inverse: for every item, `out[position[i]] = x[i]`, for each pair of elements and positions; `len` elements an
    /// item, all positions covered.
    fn scatter<R: Ring>(&self, items: usize, len: usize, parts: &[(&Self::Words<R>, &[u32])]) -> Self::Words<R>;

    /// For every item, for each of `add`, bits `[s, m)` of all its elements + add.
    fn offsets<R: Ring>(&self, x: &Self::Words<R>, items: usize, add: &[R], window: Window) -> Self::Words<R>;
    /// For every item, the first half of its elements less the second.
    fn sub_halves<R: Ring>(&self, x: &Self::Words<R>, items: usize) -> Self::Words<R>;

    // Openings.

    /// A party's own part of an opening: bits `[s, m)` of share + mask (+ h when `half`).
    fn window<R: Ring>(
        &self,
        share: &Self::Words<R>,
        mask: &Self::Words<R>,
        window: Window,
        half: bool,
    ) -> Self::Words<R>;
    /// The same with the mask expanded from `stream`; the packed message is handed to `send` in pieces as they are ready.
    fn open_in_pieces<R: Ring, E>(
        &self,
        prg: &Prg,
        stream: &Stream,
        share: &Self::Words<R>,
        window: Window,
        half: bool,
        send: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Self::Words<R>, E> {
        let own = self.window(share, &self.expand(prg, stream, R::BITS), window, half);
        send(&self.pack(&own, window.width()))?;
        Ok(own)
    }
    /// own + theirs modulo 2^width, theirs as it came from the wire.
    fn open<R: Ring>(&self, own: Self::Words<R>, theirs: &[u8], width: u32) -> Result<Self::Words<R>, PackError>;
    /// A message of bits.
    fn pack_bits(&self, bits: &Self::Bits) -> Vec<u8>;
    /// own xor theirs, theirs as it came from the wire.
    fn open_bits(&self, own: Self::Bits, theirs: &[u8]) -> Result<Self::Bits, PackError>;

    /// A message of marks of `width` bits.
    fn pack_marks(&self, marks: &Self::Marks, width: u32) -> Vec<u8>;
    /// own xor theirs, theirs as it came from the wire.
    fn open_marks(&self, own: Self::Marks, theirs: &[u8], width: u32) -> Result<Self::Marks, PackError>;

    // Gates, a party's half.

    /// This party's part of the masked bit d̂ = 1{x >= 0} xor r_d of wires of `width` bits, for the given pieces, which
    /// follow one another: the comparison key's less-than at the low `width - 1` bits, xor (at P0) the wire's top bit,
    /// xored into `bits`, which holds the pads of all items. An item has `roots.len` keys and a multiple of as many
    /// wires: every key is read at each of its wires. `keys` holds the pieces' keys.
    #[allow(clippy::too_many_arguments)]
    fn drelu<R: Ring>(
        &self,
        hash: &TreeHash,
        party: Party,
        prg: &Prg,
        roots: &Stream,
        pieces: &[Piece],
        keys: &[u8],
        x: &Self::Words<R>,
        width: u32,
        bits: &mut Self::Bits,
    );
    /// This party's marks of wires of `width` bits at their low `width - 1` bits, xored into `marks`, which holds the pads of
    /// all items: see `fss::chunks`. An item has `len` vectors and a multiple of as many wires, as in `drelu`.
    #[allow(clippy::too_many_arguments)]
    fn mark<R: Ring>(
        &self,
        vectors: Source<'_>,
        pieces: &[Piece],
        len: usize,
        items: usize,
        x: &Self::Words<R>,
        width: u32,
        marks: &mut Self::Marks,
    );
    /// What `drelu` computes, from the opened marks; `pieces` are of `len` wires an item.
    #[allow(clippy::too_many_arguments)]
    fn combine<R: Ring>(
        &self,
        party: Party,
        tables: Source<'_>,
        pieces: &[Piece],
        len: usize,
        marks: &Self::Marks,
        x: &Self::Words<R>,
        width: u32,
        bits: &mut Self::Bits,
    );
    /// A share of e·T(x) for wires of `width` bits, for the given pieces, written to `out`: see `gates::lookup`. `keys` holds the
    /// pieces' DPF keys at the wires' masks, `table` T(-i mod 2^w) at i, twice over.
    #[allow(clippy::too_many_arguments)]
    fn lookup<R: Ring>(
        &self,
        hash: &TreeHash,
        party: Party,
        prg: &Prg,
        roots: &Stream,
        pieces: &[Piece],
        keys: &[u8],
        x: &Self::Words<R>,
        width: u32,
        table: &Self::Words<R>,
        out: &mut Self::Words<R>,
    );
    /// A share of (select by d̂) + r for the given pieces of `len` elements an item, written to `out`: see `gates::select`.
    /// `table` gives, for every [`GROUP`] of elements, the planes r_d, u_0, u_1 (, u_2, u_3), of `width` bits.
    #[allow(clippy::too_many_arguments)]
    fn select<R: Ring>(
        &self,
        party: Party,
        table: Source<'_>,
        pieces: &[Piece],
        len: usize,
        width: u32,
        d: &Self::Bits,
        v: &Self::Words<R>,
        lift: Lift,
        out: &mut Self::Words<R>,
    ) -> Result<(), PackError>;
    /// A share of the signed value of a wire of `width` bits: see `gates::truncate`. `alpha` and `top` are shares of the
    /// wire's mask and of its top bit.
    fn unmask<R: Ring>(
        &self,
        party: Party,
        x: &Self::Words<R>,
        width: u32,
        alpha: &Self::Words<R>,
        top: &Self::Words<R>,
    ) -> Self::Words<R>;

    // Gates, the dealer's half.

    /// α = ((mask + coin) >> s) mod 2^w, without coins when nothing is dropped below.
    fn deal_window<R: Ring>(&self, mask: &Self::Words<R>, coins: Option<&Self::Bits>, window: Window)
    -> Self::Words<R>;
    /// Comparison keys at the low `width - 1` bits of α (appended to `keys`), and r_d = 1 xor top(α) xor pads, for each of the
    /// key's wires.
    #[allow(clippy::too_many_arguments)]
    fn deal_drelu<R: Ring>(
        &self,
        hash: &TreeHash,
        prgs: [&Prg; 2],
        roots: &Stream,
        alpha: &Self::Words<R>,
        width: u32,
        pads: [Self::Bits; 2],
        keys: &mut Vec<u8>,
    ) -> Self::Bits;
    /// DPF keys at α, of `width` bits (appended to `keys`), and e = ±1 for each: the difference of the parties' vectors at α.
    fn deal_lookup<R: Ring>(
        &self,
        hash: &TreeHash,
        prgs: [&Prg; 2],
        roots: &Stream,
        alpha: &Self::Words<R>,
        width: u32,
        keys: &mut Vec<u8>,
    ) -> Self::Words<R>;
    /// P1's vectors and combining vectors for the low `width - 1` bits of one item's α (appended to `section`), from P0's
    /// streams of both and the pads of the marks; and r_d as `deal_drelu`.
    #[allow(clippy::too_many_arguments)]
    fn deal_chunks<R: Ring>(
        &self,
        prg: &Prg,
        vectors: &Stream,
        tables: &Stream,
        alpha: &Self::Words<R>,
        width: u32,
        marks: [Self::Marks; 2],
        pads: [Self::Bits; 2],
        section: &mut Vec<u8>,
    ) -> Self::Bits;
    /// The planes of a select's table of one item, less P0's pads (which `table` holds on entry), for every [`GROUP`] of
    /// elements: r_d, then r - (r_d or 1 - r_d)·C for every public index.
    fn deal_select<R: Ring>(
        &self,
        r_d: &Self::Bits,
        c: &Self::Words<R>,
        r: &Self::Words<R>,
        lift: Lift,
        table: &mut Self::Words<R>,
    );
    /// α and top(α), each less P0's pads.
    fn deal_unmask<R: Ring>(
        &self,
        alpha: &Self::Words<R>,
        width: u32,
        pads: [Self::Words<R>; 2],
    ) -> [Self::Words<R>; 2];
}
