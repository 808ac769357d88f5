//! DReLU: the masked sign bit of a wire.
//!
//! Computes   d̂ = d xor r_d, d = 1{x >= 0}, for a wire x̂ = x + α of w bits:
//!            d = 1 xor top(x̂) xor top(α) xor 1{lo(x̂) < lo(α)}, the comparison on n = w - 1 bits in one of two forms:
//!            from one DPF key, or from unit vectors of c chunks of lo(α) and one that combines them (`fss::chunks`).
//! Learns     both: the uniform bit d̂; by chunks also 2c - 1 uniform bits, under pads known to nobody (from both seeds).
//!            The comparison bit itself is never opened: it tells about lo(x).
//! Material   DPF: 16(ν+1) bytes to each party, ν = max(n - 7, 0). Chunks of v_i bits: (Σ 2^v_i + 2^(2c-1))/8 bytes to P1,
//!            nothing to P0: 16 bytes for n = 15, 30 for 19, 112 for 31. Roots, pads and P0's vectors from the seeds;
//!            r_d costs nothing: r_d := 1 xor top(α) xor ρ_0 xor ρ_1.
//! Online     DPF: 1 exchange, 1 bit each way. Chunks: 2 exchanges, 2c - 1 bits and 1 bit.
//!            Several wires under one mask share the key or the chunks' vectors; each has its own pads (and combining vector).
//! Error      none for |x| < 2^(w-1). After a rounding opening: the sign may be that of x ± 1 unit next to 0.
//! Source     comparison from a DPF's control bits: Grotto (CCS 2023), SIGMA (PoPETs 2024); masked bit and chunks:
//!            docs/protocol.md.

use ariann_device::{Device, Lift, Window};
use ariann_fss::chunks::{self, Chunks};
use ariann_fss::{self as fss, Party};
use ariann_ring::Ring;

use crate::pieces::{Material, Part};
use crate::{Context, Cost, Dealing, GateError, Step, Traffic, kind};

/// How signs are compared: alike in interface and results, unlike in cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Comparison {
    /// One DPF key: most material, fewest exchanges.
    #[default]
    Dpf,
    /// Unit vectors of a few bits of the wire each: least material, to P1 alone, one exchange more.
    Chunks,
}

/// Where the sign is decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sign {
    /// On all bits of the wire.
    #[default]
    Exact,
    /// Without so many bits below, after half a unit of what is left was subtracted: the sign of x in
    /// (-2^(t-1), 2^(t-1)) is left to chance.
    Coarse(u32),
}

impl Sign {
    /// The bits of a wire of `width` bits that are compared.
    pub(crate) fn window(self, width: u32) -> Window {
        let shift = match self {
            Sign::Exact => 0,
            Sign::Coarse(bits) => bits,
        };
        Window { shift, top: width }
    }

    /// Deals the comparison of a wire of `width` bits whose mask is `alpha`; see [`DRelu::deal`].
    pub(crate) fn deal<R: Ring, D: Device>(
        self,
        drelu: &DRelu,
        width: u32,
        dealing: &Dealing<'_, D>,
        alpha: &D::Words<R>,
        sections: &mut [Vec<u8>; 2],
    ) -> D::Bits {
        match self {
            Sign::Exact => drelu.deal(dealing, alpha, sections),
            Sign::Coarse(_) => {
                let coarse = dealing.device.offsets(alpha, 1, &[R::ZERO], self.window(width));
                drelu.deal(dealing, &coarse, sections)
            }
        }
    }

    /// Half a unit of what is compared.
    pub(crate) fn half<R: Ring>(self) -> R {
        self.window(R::BITS).half()
    }

    /// How a wire of `width` bits is selected by this sign: near 0 a coarse one selects negative values too.
    pub(crate) fn lift<R: Ring>(self, width: u32) -> Lift {
        match self {
            _ if width == R::BITS => Lift::None,
            Sign::Exact | Sign::Coarse(0) => Lift::From(width),
            Sign::Coarse(_) => Lift::Signed(width),
        }
    }
}

/// The sign of `len` wires of `width` bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DRelu {
    /// Masks an item.
    pub len: usize,
    /// Wires under each mask, of which every one gets its own bit.
    pub points: usize,
    /// w, at least 3.
    pub width: u32,
    /// How it is compared.
    pub form: Comparison,
}

/// The digits into which a comparison on `bits` bits is cut in its form by chunks; none where that form does not reach.
pub fn chunked(bits: u32) -> Option<Vec<u32>> {
    chunks::cut(bits)
}

impl DRelu {
    /// Wires an item.
    fn bits(&self) -> usize {
        self.points * self.len
    }

    fn chunks(&self) -> Chunks {
        Chunks::new(self.width - 1).expect("a checked plan compares by chunks only what can be cut")
    }

    /// Bytes of an item's keys or vectors, P0's and P1's.
    pub fn key_bytes(&self) -> [usize; 2] {
        match self.form {
            Comparison::Dpf => [self.len * fss::key_len(self.width - 1); 2],
            Comparison::Chunks => {
                let chunks = self.chunks();
                [0, chunks.vectors_len(self.len) + chunks.tables_len(self.bits())]
            }
        }
    }

    /// See the head of this file.
    pub fn cost(&self) -> Cost {
        let mut exchanges = vec![[Traffic::new(self.bits(), 1); 2]];
        if self.form == Comparison::Chunks {
            exchanges.insert(0, [Traffic::new(self.bits(), self.chunks().marks()); 2]);
        }
        Cost { comparisons: self.bits() as u64, material: self.key_bytes(), exchanges, ..Cost::default() }
    }

    /// Appends the keys of one slot to both parties' sections and returns r_d.
    pub fn deal<R: Ring, D: Device>(
        &self,
        dealing: &Dealing<'_, D>,
        alpha: &D::Words<R>,
        sections: &mut [Vec<u8>; 2],
    ) -> D::Bits {
        let (device, bits) = (dealing.device, self.bits());
        let pads = dealing.seeds.map(|seed| device.expand_bits(seed, &dealing.stream(kind::BIT, bits)));
        let [section0, section1] = sections;
        match self.form {
            Comparison::Dpf => {
                let (roots, start) = (dealing.stream(kind::ROOT, self.len), section0.len());
                let r_d = device.deal_drelu(dealing.hash, dealing.seeds, &roots, alpha, self.width, pads, section0);
                section1.extend_from_slice(&section0[start..]);
                r_d
            }
            Comparison::Chunks => {
                let (marks, count) = (dealing.stream(kind::MARK, bits), self.chunks().marks());
                let marks = dealing.seeds.map(|seed| device.expand_marks(seed, &marks, count));
                let vectors = dealing.stream(kind::VECTOR, self.len);
                let tables = dealing.stream(kind::COMBINING, bits);
                let prg = dealing.seeds[Party::P0 as usize];
                device.deal_chunks(prg, &vectors, &tables, alpha, self.width, marks, pads, section1)
            }
        }
    }

    /// This party's first message. The keys stand at the front of the sections.
    pub fn start<R: Ring, D: Device>(
        &self,
        ctx: &Context<'_, D>,
        material: &Material<'_>,
        x: &D::Words<R>,
    ) -> Result<(Vec<u8>, State<D>), GateError> {
        match self.form {
            Comparison::Dpf => {
                let mut own = self.pads(ctx);
                let roots = ctx.stream(kind::ROOT, self.len);
                let key_len = fss::key_len(self.width - 1);
                let part = Part { offset: 0, len: self.len, bytes: |elements| elements * key_len };
                part.each(ctx.device, material, ctx.items(), |pieces, keys| {
                    ctx.device.drelu(ctx.hash, ctx.party, ctx.prg, &roots, pieces, keys, x, self.width, &mut own);
                    Ok(())
                })?;
                Ok((ctx.device.pack_bits(&own), State { gate: *self, own: Own::Bit(own) }))
            }
            Comparison::Chunks => {
                let chunks = self.chunks();
                let count = chunks.marks();
                let mut own = ctx.device.expand_marks(ctx.prg, &ctx.stream(kind::MARK, self.bits()), count);
                let part = Part { offset: 0, len: self.len, bytes: |elements| chunks.vectors_len(elements) };
                part.each_source(ctx, material, kind::VECTOR, |pieces, vectors| {
                    ctx.device.mark(vectors, pieces, self.len, ctx.items(), x, self.width, &mut own);
                    Ok(())
                })?;
                Ok((ctx.device.pack_marks(&own, count), State { gate: *self, own: Own::Marks(own) }))
            }
        }
    }

    fn pads<D: Device>(&self, ctx: &Context<'_, D>) -> D::Bits {
        ctx.device.expand_bits(ctx.prg, &ctx.stream(kind::BIT, self.bits()))
    }
}

/// A comparison that waits for a message.
pub struct State<D: Device> {
    gate: DRelu,
    own: Own<D>,
}

/// This party's part of what is being opened.
enum Own<D: Device> {
    Marks(D::Marks),
    Bit(D::Bits),
}

impl<D: Device> State<D> {
    /// d̂, or the next message.
    pub fn next<R: Ring>(
        self,
        ctx: &Context<'_, D>,
        material: &Material<'_>,
        x: &D::Words<R>,
        theirs: &[u8],
    ) -> Result<Step<D::Bits, Self>, GateError> {
        let State { gate, own } = self;
        let own = match own {
            Own::Bit(own) => return Ok(Step::Done(ctx.device.open_bits(own, theirs).map_err(GateError::Message)?)),
            Own::Marks(own) => own,
        };
        let chunks = gate.chunks();
        let marks = ctx.device.open_marks(own, theirs, chunks.marks()).map_err(GateError::Message)?;
        let mut bits = gate.pads(ctx);
        let (offset, len) = (chunks.vectors_len(gate.len), gate.bits());
        let part = Part { offset, len, bytes: |elements| chunks.tables_len(elements) };
        part.each_source(ctx, material, kind::COMBINING, |pieces, tables| {
            ctx.device.combine(ctx.party, tables, pieces, len, &marks, x, gate.width, &mut bits);
            Ok(())
        })?;
        Ok(Step::Exchange(ctx.device.pack_bits(&bits), State { gate, own: Own::Bit(bits) }))
    }
}
