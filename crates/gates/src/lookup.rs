//! Lookup: any public function of a wire of few bits, by its table.
//!
//! Computes   T(x) as a fresh wire modulo 2^k, for a wire x̂ = x + α of w bits that both know. The parties evaluate a DPF at α
//!            on the whole domain: their vectors v_0 and v_1 are equal but at α. So Σ T(x̂ - j)·v_0(j) - Σ T(x̂ - j)·v_1(j) =
//!            e·T(x), e = v_0(α) - v_1(α) = ±1. Opened under a pad ρ as Â; then y_b = e_b·Â + u_b, u = r - e·ρ.
//! Learns     both: Â (k uniform bits); the receiver of the wire: k uniform bits. e stays shared: P0 knows v_0, and e in
//!            clear, or always the same, would exclude half of all masks.
//! Material   16(ν+1) bytes to each, ν = max(w - 7, 0), plus 2k/8 bytes to P1; e_0 and u_0 from P0's seed.
//! Online     2 exchanges: k bits each way, then k bits each way (one way when directed). 2^(ν+1) - 1 AES calls and 2^w
//!            additions a value.
//! Error      none.
//! Source     Pika (PoPETs 2022); the shared sign: docs/protocol.md.

use ariann_device::{Device, Keys};
use ariann_fss::{self as fss, Party};
use ariann_ring::Ring;
use ariann_ring::pack::packed_len;

use crate::open::{self, Opening};
use crate::pieces::Part;
use crate::{Context, Cost, Dealing, GateError, Material, Progress, Receiver, Sections, Step, kind};

/// A function of `len` wires of `width` bits by a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// Values an item.
    pub len: usize,
    /// w, at most 16.
    pub width: u32,
    /// The results for every signed value of the wire, from the least.
    pub table: Vec<i64>,
    /// Who gets the resulting wire.
    pub to: Receiver,
}

/// Cost of `len` lookups of `width` bits.
pub fn cost<R: Ring>(len: usize, width: u32, to: Receiver) -> Cost {
    let keys = len * fss::key_len(width);
    let exchanges = vec![open::traffic(len, R::BITS, Receiver::Both), open::traffic(len, R::BITS, to)];
    Cost { material: [keys, keys + 2 * packed_len(len, R::BITS)], exchanges, ..Cost::default() }
}

impl Lookup {
    fn key_bytes(&self) -> usize {
        self.len * fss::key_len(self.width)
    }

    /// Makes one slot's material and returns the mask of the result; `alpha` is the mask of the wire.
    pub fn deal<R: Ring, D: Device>(
        &self,
        dealing: &Dealing<'_, D>,
        alpha: &D::Words<R>,
        sections: &mut [Vec<u8>; 2],
    ) -> D::Words<R> {
        let (device, len) = (dealing.device, self.len);
        let (roots, [section0, section1]) = (dealing.stream(kind::ROOT, len), sections);
        let start = section0.len();
        let mut sign = device.deal_lookup(dealing.hash, dealing.seeds, &roots, alpha, self.width, section0);
        section1.extend_from_slice(&section0[start..]);
        let r = dealing.mask(kind::MASK, len);
        let mut moved = dealing.mask(kind::PRODUCT, len);
        device.multiply(&mut moved, &sign);
        device.negate(&mut moved);
        device.add(&mut moved, &r);
        for (words, kind) in [(&mut sign, kind::SIGN), (&mut moved, kind::TABLE)] {
            device.sub(words, &dealing.expand(Party::P0, kind, len, R::BITS));
            section1.extend(device.pack(words, R::BITS));
        }
        r
    }

    /// The first message.
    pub fn start<'a, R: Ring, D: Device>(
        &'a self,
        ctx: &Context<'_, D>,
        sections: &'a dyn Sections,
        x: &D::Words<R>,
    ) -> Progress<Option<D::Words<R>>, State<'a, R, D>> {
        let material = Material::new(sections, ctx.items())?;
        let table = ctx.device.upload(&self.turned::<R>());
        let mut own = ctx.device.zeros(self.len * ctx.items());
        let (roots, key_len) = (ctx.stream(kind::ROOT, self.len), fss::key_len(self.width));
        let part = Part { offset: 0, len: self.len, bytes: |elements| elements * key_len };
        part.each(ctx.device, &material, ctx.items(), |pieces, keys| {
            let (hash, party, prg) = (ctx.hash, ctx.party, ctx.prg);
            ctx.device.lookup(hash, party, prg, &roots, pieces, keys, x, self.width, &table, &mut own);
            Ok(())
        })?;
        ctx.device.add(&mut own, &ctx.expand(kind::PRODUCT, self.len, R::BITS));
        let (opening, message) = Opening::new(ctx, own, R::BITS, Receiver::Both);
        Ok(Step::Exchange(message, State(Stage::Product { lookup: self, material, opening })))
    }

    /// T[-i mod 2^w] at i, twice over.
    fn turned<R: Ring>(&self) -> Vec<R> {
        let size = 1usize << self.width;
        let signed = |i: usize| R::from_i64(self.table[(size - i % size + size / 2) % size]);
        (0..2 * size).map(signed).collect()
    }

    /// This party's shares of e and of u.
    fn shares<R: Ring, D: Device>(
        &self,
        ctx: &Context<'_, D>,
        material: &Material<'_>,
    ) -> Result<[D::Words<R>; 2], GateError> {
        if ctx.party == Party::P0 {
            return Ok([kind::SIGN, kind::TABLE].map(|kind| ctx.expand(kind, self.len, R::BITS)));
        }
        let (tails, each) = (material.tails(self.key_bytes(), ctx.items())?, packed_len(self.len, R::BITS));
        let keys = Keys { sections: &tails, section_len: 2 * each };
        let share = |offset| ctx.device.unpack(keys, offset, self.len, R::BITS).map_err(GateError::Material);
        Ok([share(0)?, share(each)?])
    }
}

/// A lookup that waits for a message.
pub struct State<'a, R: Ring, D: Device>(Stage<'a, R, D>);

enum Stage<'a, R: Ring, D: Device> {
    Product { lookup: &'a Lookup, material: Material<'a>, opening: Opening<R, D> },
    Result(Opening<R, D>),
}

impl<R: Ring, D: Device> State<'_, R, D> {
    /// The wire at a party that receives it, or the next message.
    pub fn next(self, ctx: &Context<'_, D>, theirs: &[u8]) -> Progress<Option<D::Words<R>>, Self> {
        let (lookup, material, opening) = match self.0 {
            Stage::Product { lookup, material, opening } => (lookup, material, opening),
            Stage::Result(opening) => return Ok(Step::Done(opening.finish(ctx, theirs)?)),
        };
        let product = opening.finish(ctx, theirs)?.expect("both receive");
        let [mut share, moved] = lookup.shares(ctx, &material)?;
        ctx.device.multiply(&mut share, &product);
        ctx.device.add(&mut share, &moved);
        let (opening, message) = Opening::new(ctx, share, R::BITS, lookup.to);
        Ok(Step::Exchange(message, State(Stage::Result(opening))))
    }
}
