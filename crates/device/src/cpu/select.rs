//! Select: see `gates::select`.

use ariann_fss::Party;
use ariann_prg::{Loop, accelerate};
use ariann_ring::Ring;
use ariann_ring::pack::{self, PackError};

use super::address;
use super::pieces::{each, outputs, sources};
use crate::{GROUP, Lift, Piece, Source};

/// A select's public parameters at a party.
pub(super) struct Select {
    pub party: Party,
    pub width: u32,
    pub lift: Lift,
}

impl Select {
    /// See [`crate::Device::select`].
    pub fn run<R: Ring>(
        &self,
        table: Source<'_>,
        pieces: &[Piece],
        len: usize,
        d: &[u8],
        v: &[R],
        out: &mut [R],
    ) -> Result<(), PackError> {
        let bytes = |piece: &Piece| pack::packed_len(piece.elements.len() * self.lift.planes(), self.width);
        let parts = sources(pieces, table, bytes).into_iter().zip(outputs(pieces, len, out));
        let done = each(parts.collect(), |((piece, source), out): ((&Piece, Source<'_>), &mut [R])| {
            let at = piece.item * len + piece.elements.start;
            let (d, v) = (&d[at..at + out.len()], &v[at..at + out.len()]);
            let mut done = Ok(());
            accelerate(Work { select: self, source, piece, d, v, out, done: &mut done });
            done
        });
        done.into_iter().collect()
    }

    #[inline(always)]
    fn piece<R: Ring>(
        &self,
        source: Source<'_>,
        piece: &Piece,
        d: &[u8],
        v: &[R],
        out: &mut [R],
    ) -> Result<(), PackError> {
        let planes = self.lift.planes();
        let mut table = [R::ZERO; 5 * GROUP];
        let group_bytes = pack::packed_len(GROUP * planes, self.width);
        for (number, ((out, v), d)) in out.chunks_mut(GROUP).zip(v.chunks(GROUP)).zip(d.chunks(GROUP)).enumerate() {
            let table = &mut table[..planes * out.len()];
            match source {
                Source::Seed(prg, stream) => {
                    let first = (piece.elements.start + number * GROUP) * planes;
                    prg.fill(address(stream, stream.slots.start + piece.item as u32), first as u64, table);
                    if self.width < R::BITS {
                        let low = R::low_mask(self.width);
                        table.iter_mut().for_each(|word| *word = word.and(low));
                    }
                }
                Source::Dealt(bytes) => {
                    let bytes = &bytes[number * group_bytes..][..pack::packed_len(table.len(), self.width)];
                    pack::unpack(bytes, self.width, table)?;
                }
            }
            self.group(table, d, v, out);
        }
        Ok(())
    }

    #[inline(always)]
    fn group<R: Ring>(&self, table: &[R], d: &[u8], v: &[R], out: &mut [R]) {
        let second = R::spread(u8::from(self.party == Party::P1));
        let len = out.len();
        let plane = |index: usize| &table[index * len..][..len];
        let pick = |a: R, b: R, by: R| a.xor(a.xor(b).and(by));
        // Masks in place of branches, although d̂ and the top bit are public.
        let product = |r_d: R, v: R, is_one: R| {
            let product = r_d.mul(v);
            pick(product, v.and(second).sub(product), is_one)
        };
        let (v, d) = (&v[..len], &d[..len]);
        match self.lift {
            Lift::None => {
                let (r_d, u0, u1) = (plane(0), plane(1), plane(2));
                for i in 0..len {
                    let is_one = R::spread(d[i]);
                    out[i] = product(r_d[i], v[i], is_one).add(pick(u0[i], u1[i], is_one));
                }
            }
            Lift::From(width) | Lift::Signed(width) => {
                let (r_d, u0, u1, u2, u3) = (plane(0), plane(1), plane(2), plane(3), plane(4));
                let (offset, low) = (self.lift.offset::<R>(), R::low_mask(width));
                for i in 0..len {
                    let (v, is_one) = (v[i].add(offset).and(low), R::spread(d[i]));
                    let top = v.shr(width - 1).and(R::ONE).neg();
                    let u = pick(pick(u0[i], u1[i], is_one), pick(u2[i], u3[i], is_one), top);
                    out[i] = product(r_d[i], v, is_one).add(u);
                }
            }
        }
    }
}

/// A piece, and whether its table was well formed.
struct Work<'a, R: Ring> {
    select: &'a Select,
    source: Source<'a>,
    piece: &'a Piece,
    d: &'a [u8],
    v: &'a [R],
    out: &'a mut [R],
    done: &'a mut Result<(), PackError>,
}

impl<R: Ring> Loop for Work<'_, R> {
    #[inline(always)]
    fn run(self) {
        *self.done = self.select.piece(self.source, self.piece, self.d, self.v, self.out);
    }
}

/// See [`crate::Device::deal_select`].
pub(super) fn deal<R: Ring>(r_d: &[u8], c: &[R], r: &[R], lift: Lift, table: &mut [R]) {
    let planes = lift.planes();
    for (group, table) in table.chunks_mut(planes * GROUP).enumerate() {
        let (len, at) = (table.len() / planes, group * GROUP);
        for i in 0..len {
            let (bit, c, r) = (r_d[at + i], c[at + i], r[at + i]);
            let is_one = R::spread(bit);
            table[i] = R::from_u64(u64::from(bit)).sub(table[i]);
            let mut entry = |index: usize, c: R| {
                // d̂ = 0 selects by r_d, d̂ = 1 by its complement.
                let by = if index & 1 == 0 { is_one } else { is_one.xor(R::low_mask(R::BITS)) };
                let at = (1 + index) * len + i;
                table[at] = r.sub(c.and(by)).sub(table[at]);
            };
            match lift {
                Lift::None => (0..2).for_each(|index| entry(index, c)),
                Lift::From(width) | Lift::Signed(width) => {
                    let (wrap, c) = (c.shr(width - 1).shl(width), c.add(lift.offset()));
                    (0..2).for_each(|index| entry(index, c.sub(wrap)));
                    (2..4).for_each(|index| entry(index, c));
                }
            }
        }
    }
}
