//! The device interface on the CPU: buffers are vectors, kernels run on rayon's current pool, one slot a task.

use std::ops::Range;

use ariann_fss::Party;
use ariann_prg::{Address, Prg, TreeHash, accelerate};
use ariann_ring::pack::{self, PackError};
use ariann_ring::{Arrange, PackedWeights, Ring};
use rayon::prelude::*;

use crate::{Axes, Bilinear, Device, Keys, Lift, LinearShape, Piece, Source, Stream, SumShape, Window};

mod chunks;
mod compare;
mod lookup;
mod loops;
mod marks;
mod opening;
mod pieces;
mod select;

/// The CPU. Which SIMD kernels run is decided once, in `ring` and `prg`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu;

/// Bytes that stay in a core's own cache.
const CACHED: usize = 1 << 20;

fn address(stream: &Stream, slot: u32) -> Address {
    Address { kind: stream.kind, gate: stream.gate, slot }
}

/// The root blocks of elements of a slot.
fn root_blocks(prg: &Prg, stream: &Stream, slot: u32, elements: Range<usize>) -> Vec<u8> {
    let mut roots = vec![0u8; 16 * elements.len()];
    prg.fill_blocks(address(stream, slot), elements.start as u64, &mut roots);
    roots
}

/// Runs `task` on each item's part of `out`, in parallel when the pool has more than one thread.
fn each_item<T: Send>(out: &mut [T], len: usize, task: impl Fn(usize, &mut [T]) + Sync) {
    if len == 0 {
        return;
    }
    if rayon::current_num_threads() > 1 {
        out.par_chunks_mut(len).enumerate().for_each(|(item, part)| task(item, part));
    } else {
        out.chunks_mut(len).enumerate().for_each(|(item, part)| task(item, part));
    }
}

impl Device for Cpu {
    type Words<R: Ring> = Vec<R>;
    type Weights<R: Ring> = PackedWeights<R>;
    type Bits = Vec<u8>;
    type Marks = Vec<u16>;

    fn bytes_at_once(&self) -> usize {
        // What a core reads, checks and evaluates then stays in its cache.
        rayon::current_num_threads() * CACHED
    }

    fn upload<R: Ring>(&self, words: &[R]) -> Vec<R> {
        words.to_vec()
    }

    fn download<R: Ring>(&self, words: &Vec<R>) -> Vec<R> {
        words.clone()
    }

    fn zeros<R: Ring>(&self, len: usize) -> Vec<R> {
        vec![R::ZERO; len]
    }

    fn copy<R: Ring>(&self, words: &Vec<R>) -> Vec<R> {
        words.clone()
    }

    fn unpack<R: Ring>(&self, keys: Keys<'_>, offset: usize, count: usize, width: u32) -> Result<Vec<R>, PackError> {
        let bytes = pack::packed_len(count, width);
        let items = keys.sections.len().checked_div(keys.section_len).unwrap_or(0);
        let mut out = vec![R::ZERO; items * count];
        for (section, part) in keys.sections.chunks(keys.section_len.max(1)).zip(out.chunks_mut(count.max(1))) {
            pack::unpack(&section[offset..offset + bytes], width, part)?;
        }
        Ok(out)
    }

    fn pack<R: Ring>(&self, words: &Vec<R>, width: u32) -> Vec<u8> {
        let mut out = Vec::with_capacity(pack::packed_len(words.len(), width));
        pack::pack(words, 0, width, &mut out);
        out
    }

    fn expand<R: Ring>(&self, prg: &Prg, stream: &Stream, width: u32) -> Vec<R> {
        let mut out = vec![R::ZERO; stream.total()];
        let mask = R::low_mask(width);
        each_item(&mut out, stream.len, |item, part| {
            prg.fill(address(stream, stream.slots.start + item as u32), 0, part);
            if width < R::BITS {
                part.iter_mut().for_each(|word| *word = word.and(mask));
            }
        });
        out
    }

    fn expand_marks(&self, prg: &Prg, stream: &Stream, width: u32) -> Vec<u16> {
        let mut out = vec![0; stream.total()];
        each_item(&mut out, stream.len, |item, part| {
            marks::expand(prg, address(stream, stream.slots.start + item as u32), width, part)
        });
        out
    }

    fn expand_bits(&self, prg: &Prg, stream: &Stream) -> Vec<u8> {
        let mut out = vec![0; stream.total()];
        each_item(&mut out, stream.len, |item, part| {
            prg.fill_bits(address(stream, stream.slots.start + item as u32), 0, part)
        });
        out
    }

    fn weights<R: Ring>(&self, shape: &LinearShape, words: &Vec<R>) -> PackedWeights<R> {
        match shape {
            LinearShape::Dense { inputs, outputs } => PackedWeights::dense(*inputs, *outputs, words),
            LinearShape::Conv(shape) => PackedWeights::conv(shape, words),
        }
    }

    fn linear<R: Ring>(&self, weights: &PackedWeights<R>, items: usize, x: &Vec<R>) -> Vec<R> {
        let mut out = vec![R::ZERO; items * weights.shape().out_len()];
        weights.product(items, x, &mut out);
        out
    }

    fn add<R: Ring>(&self, a: &mut Vec<R>, b: &Vec<R>) {
        for part in a.chunks_mut(b.len().max(1)) {
            part.iter_mut().zip(b).for_each(|(a, b)| *a = a.add(*b));
        }
    }

    fn add_reduce<R: Ring>(&self, a: &mut Vec<R>, b: &Vec<R>, width: u32) {
        let low = R::low_mask(width);
        a.iter_mut().zip(b).for_each(|(a, b)| *a = a.add(*b).and(low));
    }

    fn sub<R: Ring>(&self, a: &mut Vec<R>, b: &Vec<R>) {
        for part in a.chunks_mut(b.len().max(1)) {
            part.iter_mut().zip(b).for_each(|(a, b)| *a = a.sub(*b));
        }
    }

    fn multiply<R: Ring>(&self, a: &mut Vec<R>, b: &Vec<R>) {
        a.iter_mut().zip(b).for_each(|(a, b)| *a = a.mul(*b));
    }

    fn reduce<R: Ring>(&self, a: &mut Vec<R>, width: u32) {
        let low = R::low_mask(width);
        a.iter_mut().for_each(|a| *a = a.and(low));
    }

    fn scale<R: Ring>(&self, a: &mut Vec<R>, factor: u64) {
        let factor = R::from_u64(factor);
        a.iter_mut().for_each(|a| *a = a.mul(factor));
    }

    fn arrange<R: Ring>(&self, items: usize, arrange: &Arrange, operands: &[&Vec<R>]) -> Vec<R> {
        let operands: Vec<&[R]> = operands.iter().map(|operand| operand.as_slice()).collect();
        let mut out = vec![R::ZERO; items * arrange.len];
        arrange.apply(items, &operands, &mut out);
        out
    }

    fn sum<R: Ring>(&self, items: usize, shape: &SumShape, x: &Vec<R>) -> Vec<R> {
        let mut out = vec![R::ZERO; items * shape.out_len()];
        shape.apply(items, x, &mut out);
        out
    }

    fn bilinear<R: Ring>(&self, of: &Bilinear, a: &Vec<R>, b: &Vec<R>) -> Vec<R> {
        let mut out = vec![R::ZERO; of.out_len()];
        match of {
            Bilinear::Channels(axes) => accelerate(loops::Channels { axes, x: a, by: b, out: &mut out }),
            Bilinear::Inner(axes) => accelerate(loops::Inner { axes, x: a, y: b, out: &mut out }),
            product => product.apply(a, b, &mut out),
        }
        out
    }

    fn reduce_axes<R: Ring>(&self, axes: &Axes, x: &Vec<R>) -> Vec<R> {
        let mut out = vec![R::ZERO; axes.kept];
        accelerate(loops::Reduce { axes, x, out: &mut out });
        out
    }

    fn spread_axes<R: Ring>(&self, axes: &Axes, x: &Vec<R>) -> Vec<R> {
        let mut out = vec![R::ZERO; axes.len()];
        axes.spread(x, &mut out);
        out
    }

    fn keep<R: Ring>(&self, a: &mut Vec<R>, pattern: &[bool]) {
        a.iter_mut().zip(pattern).for_each(|(a, kept)| *a = a.and(R::spread(u8::from(*kept))));
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
        let mut out = vec![R::ZERO; items * len];
        let (ys, gs) = (y.chunks(pairs[0].len().max(1)), g.chunks((g.len() / items.max(1)).max(1)));
        for ((out, g), y) in out.chunks_mut(len.max(1)).zip(gs).zip(ys.chain(std::iter::repeat(&[][..]))) {
            accelerate(loops::Part { pairs, singles, g, y, out });
        }
        out
    }

    fn negate<R: Ring>(&self, a: &mut Vec<R>) {
        a.iter_mut().for_each(|a| *a = a.neg());
    }

    fn gather<R: Ring>(&self, x: &Vec<R>, items: usize, len: usize, index: &[u32]) -> Vec<R> {
        let mut out = vec![R::ZERO; items * index.len()];
        for (x, out) in x.chunks(len).zip(out.chunks_mut(index.len().max(1))) {
            out.iter_mut().zip(index).for_each(|(out, i)| *out = x[*i as usize]);
        }
        out
    }

    fn differences<R: Ring>(
        &self,
        x: &Vec<R>,
        items: usize,
        len: usize,
        places: [&[u32]; 2],
        width: u32,
    ) -> (Vec<R>, Vec<R>) {
        let total = items * places[0].len();
        let (mut differences, mut b) = (vec![R::ZERO; total], vec![R::ZERO; total]);
        let low = R::low_mask(width);
        accelerate(loops::Differences { x, len, places, low, out: [&mut differences, &mut b] });
        (differences, b)
    }

    fn scatter<R: Ring>(&self, items: usize, len: usize, parts: &[(&Vec<R>, &[u32])]) -> Vec<R> {
        let mut out = vec![R::ZERO; items * len];
        for (x, position) in parts {
            for (x, out) in x.chunks(position.len().max(1)).zip(out.chunks_mut(len)) {
                x.iter().zip(*position).for_each(|(x, i)| out[*i as usize] = *x);
            }
        }
        out
    }

    fn offsets<R: Ring>(&self, x: &Vec<R>, items: usize, add: &[R], window: Window) -> Vec<R> {
        let len = x.len() / items.max(1);
        let low = R::low_mask(window.width());
        let mut out = vec![R::ZERO; x.len() * add.len()];
        for (number, out) in out.chunks_mut(len.max(1)).enumerate() {
            let (x, add) = (&x[number / add.len() * len..][..len], add[number % add.len()]);
            out.iter_mut().zip(x).for_each(|(out, x)| *out = x.add(add).shr(window.shift).and(low));
        }
        out
    }

    fn sub_halves<R: Ring>(&self, x: &Vec<R>, items: usize) -> Vec<R> {
        let half = x.len() / items.max(1) / 2;
        let mut out = Vec::with_capacity(x.len() / 2);
        for item in x.chunks(2 * half.max(1)) {
            let (first, second) = item.split_at(half);
            out.extend(first.iter().zip(second).map(|(a, b)| a.sub(*b)));
        }
        out
    }

    fn window<R: Ring>(&self, share: &Vec<R>, mask: &Vec<R>, window: Window, half: bool) -> Vec<R> {
        let add = if half { window.half() } else { R::ZERO };
        let (shift, low) = (window.shift, R::low_mask(window.width()));
        let mut out = vec![R::ZERO; share.len()];
        accelerate(loops::Cut { share, mask, add, shift, low, out: &mut out });
        out
    }

    fn open_in_pieces<R: Ring, E>(
        &self,
        prg: &Prg,
        stream: &Stream,
        share: &Vec<R>,
        window: Window,
        half: bool,
        send: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Vec<R>, E> {
        opening::open(prg, stream, share, window, half, send)
    }

    fn open<R: Ring>(&self, mut own: Vec<R>, theirs: &[u8], width: u32) -> Result<Vec<R>, PackError> {
        pack::unpack_add(theirs, width, &mut own)?;
        Ok(own)
    }

    fn pack_bits(&self, bits: &Vec<u8>) -> Vec<u8> {
        let mut out = Vec::with_capacity(pack::packed_len(bits.len(), 1));
        pack::pack_bits(bits, &mut out);
        out
    }

    fn open_bits(&self, mut own: Vec<u8>, theirs: &[u8]) -> Result<Vec<u8>, PackError> {
        let mut bits = vec![0; own.len()];
        pack::unpack_bits(theirs, &mut bits)?;
        own.iter_mut().zip(bits).for_each(|(own, bit)| *own ^= bit);
        Ok(own)
    }

    fn pack_marks(&self, marks: &Vec<u16>, width: u32) -> Vec<u8> {
        marks::pack(marks, width)
    }

    fn open_marks(&self, mut own: Vec<u16>, theirs: &[u8], width: u32) -> Result<Vec<u16>, PackError> {
        marks::unpack_xor(theirs, width, &mut own)?;
        Ok(own)
    }

    fn mark<R: Ring>(
        &self,
        vectors: Source<'_>,
        pieces: &[Piece],
        len: usize,
        items: usize,
        x: &Vec<R>,
        width: u32,
        marks: &mut Vec<u16>,
    ) {
        chunks::mark(vectors, pieces, (len, x.len() / (len * items).max(1)), x, width, marks);
    }

    fn combine<R: Ring>(
        &self,
        party: Party,
        tables: Source<'_>,
        pieces: &[Piece],
        len: usize,
        marks: &Vec<u16>,
        x: &Vec<R>,
        width: u32,
        bits: &mut Vec<u8>,
    ) {
        chunks::combine(party, tables, pieces, len, marks, x, width, bits);
    }

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
        compare::drelu(hash, party, prg, roots, pieces, keys, x, width, bits);
    }

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
        lookup::Lookup { hash, party, prg, roots, width, table }.run(pieces, keys, x, out);
    }

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
        let select = select::Select { party, width, lift };
        select.run(table, pieces, len, d, v, out)
    }

    fn unmask<R: Ring>(&self, party: Party, x: &Vec<R>, width: u32, alpha: &Vec<R>, top: &Vec<R>) -> Vec<R> {
        let (offset, low) = (R::ONE.shl(width - 2), R::low_mask(width));
        let second = R::spread(u8::from(party == Party::P1));
        let value = |((x, alpha), top): ((&R, &R), &R)| {
            let plus = x.add(offset).and(low);
            let keep = plus.shr(width - 1).sub(R::ONE);
            plus.sub(offset).and(second).sub(*alpha).add(top.shl(width).and(keep))
        };
        x.iter().zip(alpha).zip(top).map(value).collect()
    }

    fn deal_window<R: Ring>(&self, mask: &Vec<R>, coins: Option<&Vec<u8>>, window: Window) -> Vec<R> {
        let low = R::low_mask(window.width());
        let cut = |r: R| r.shr(window.shift).and(low);
        match coins {
            None => mask.iter().map(|r| cut(*r)).collect(),
            Some(coins) => mask.iter().zip(coins).map(|(r, c)| cut(r.add(R::from_u64(u64::from(*c))))).collect(),
        }
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
        compare::deal_keys(hash, prgs, roots, alpha, width, keys);
        compare::deal_bits(alpha, width, pads)
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
        lookup::deal(hash, prgs, roots, alpha, width, keys)
    }

    fn deal_chunks<R: Ring>(
        &self,
        prg: &Prg,
        vectors: &Stream,
        tables: &Stream,
        alpha: &Vec<R>,
        width: u32,
        marks: [Vec<u16>; 2],
        pads: [Vec<u8>; 2],
        section: &mut Vec<u8>,
    ) -> Vec<u8> {
        chunks::deal(prg, vectors, tables, alpha, width, marks, section);
        compare::deal_bits(alpha, width, pads)
    }

    fn deal_select<R: Ring>(&self, r_d: &Vec<u8>, c: &Vec<R>, r: &Vec<R>, lift: Lift, table: &mut Vec<R>) {
        select::deal(r_d, c, r, lift, table);
    }

    fn deal_unmask<R: Ring>(&self, alpha: &Vec<R>, width: u32, pads: [Vec<R>; 2]) -> [Vec<R>; 2] {
        let [mut low, mut top] = pads;
        low.iter_mut().zip(alpha).for_each(|(pad, alpha)| *pad = alpha.sub(*pad));
        top.iter_mut().zip(alpha).for_each(|(pad, alpha)| *pad = alpha.shr(width - 1).sub(*pad));
        [low, top]
    }
}
