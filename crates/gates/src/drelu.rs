//! DReLU: the masked sign bit of a wire.
//!
//! Computes   d̂ = d xor r_d, d = 1{x >= 0}, for a wire x̂ = x + α of w bits:
//!            d = 1 xor top(x̂) xor top(α) xor 1{lo(x̂) < lo(α)}, the comparison from one DPF key on w - 1 bits.
//! Learns     both: the uniform bit d̂. The comparison bit itself is never opened: it tells about lo(x).
//! Material   16(ν+1) bytes to each party, ν = max(w - 8, 0); roots and pads from the parties' seeds; r_d costs nothing:
//!            r_d := 1 xor top(α) xor ρ_0 xor ρ_1.
//! Online     1 exchange, 1 bit each way.
//! Error      none for |x| < 2^(w-1). After a rounding opening: the sign may be that of x ± 1 unit next to 0.
//! Source     comparison from a DPF's control bits: Grotto (CCS 2023), SIGMA (PoPETs 2024); masked bit: docs/protocol.md.

use ariann_device::Device;
use ariann_fss as fss;
use ariann_ring::Ring;
use ariann_ring::pack::packed_len;

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

impl DRelu {
    fn bits(&self) -> usize {
        self.points * self.len
    }

    /// Bytes of an item's keys, P0's and P1's.
    pub fn key_bytes(&self) -> [usize; 2] {
        [self.len * fss::key_len(self.width - 1); 2]
    }

    /// See the head of this file.
    pub fn cost(&self) -> Cost {
        Cost {
            comparisons: self.bits() as u64,
            material: self.key_bytes(),
            exchanges: vec![[Traffic::new(self.bits(), 1); 2]],
            ..Cost::default()
        }
    }

    /// Appends the keys of one slot to both parties' sections and returns r_d.
    pub fn deal<R: Ring, D: Device>(
        &self,
        dealing: &Dealing<'_, D>,
        alpha: &D::Words<R>,
        sections: &mut [Vec<u8>; 2],
    ) -> D::Bits {
        let pads = dealing.seeds.map(|seed| dealing.device.expand_bits(seed, &dealing.stream(kind::BIT, self.bits())));
        let roots = dealing.stream(kind::ROOT, self.len);
        let [section0, section1] = sections;
        let start = section0.len();
        let r_d = dealing.device.deal_drelu(dealing.hash, dealing.seeds, &roots, alpha, self.width, pads, section0);
        section1.extend_from_slice(&section0[start..]);
        r_d
    }

    /// This party's first message. The keys stand at the front of the sections.
    pub fn start<R: Ring, D: Device>(
        &self,
        ctx: &Context<'_, D>,
        material: &Material<'_>,
        x: &D::Words<R>,
    ) -> Result<(Vec<u8>, State<D>), GateError> {
        let mut own = ctx.device.expand_bits(ctx.prg, &ctx.stream(kind::BIT, self.bits()));
        let roots = ctx.stream(kind::ROOT, self.len);
        let key_len = fss::key_len(self.width - 1);
        let part = Part { offset: 0, len: self.len, bytes: |elements| elements * key_len };
        part.each(ctx.device, material, ctx.items(), |pieces, keys| {
            ctx.device.drelu(ctx.hash, ctx.party, ctx.prg, &roots, pieces, keys, x, self.width, &mut own);
            Ok(())
        })?;
        let message = ctx.device.pack_bits(&own);
        debug_assert_eq!(message.len(), packed_len(self.bits() * ctx.items(), 1));
        Ok((message, State { own }))
    }
}

/// A comparison whose last message is under way.
pub struct State<D: Device> {
    /// This party's part of d̂.
    own: D::Bits,
}

impl<D: Device> State<D> {
    /// d̂, or the next message.
    pub fn next<R: Ring>(
        self,
        ctx: &Context<'_, D>,
        _material: &Material<'_>,
        _x: &D::Words<R>,
        theirs: &[u8],
    ) -> Result<Step<D::Bits, Self>, GateError> {
        Ok(Step::Done(ctx.device.open_bits(self.own, theirs).map_err(GateError::Message)?))
    }
}
