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

use ariann_device::{Device, Keys};
use ariann_fss::{self as fss};
use ariann_ring::Ring;
use ariann_ring::pack::packed_len;

use crate::{Context, Cost, Dealing, GateError, Traffic, kind};

/// The sign of `len` wires of `width` bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DRelu {
    /// Values an item.
    pub len: usize,
    /// w, at least 3.
    pub width: u32,
}

impl DRelu {
    /// Bytes of an item's keys.
    pub fn key_len(&self) -> usize {
        self.len * fss::key_len(self.width - 1)
    }

    /// See the head of this file.
    pub fn cost(&self) -> Cost {
        Cost {
            comparisons: self.len as u64,
            material: [self.key_len(); 2],
            exchanges: vec![[Traffic::new(self.len, 1); 2]],
            ..Cost::default()
        }
    }

    /// Appends the keys of one slot to both parties' sections and returns r_d.
    pub fn deal<R: Ring, D: Device>(&self, dealing: &Dealing<'_, D>, alpha: &D::Words<R>, sections: &mut [Vec<u8>; 2]) -> D::Bits {
        let pads = dealing.seeds.map(|seed| dealing.device.expand_bits(seed, &dealing.stream(kind::BIT, self.len)));
        let roots = dealing.stream(kind::ROOT, self.len);
        let [section0, section1] = sections;
        let start = section0.len();
        let r_d = dealing.device.deal_drelu(dealing.hash, dealing.seeds, &roots, alpha, self.width, pads, section0);
        section1.extend_from_slice(&section0[start..]);
        r_d
    }

    /// This party's part of d̂ and its message.
    pub fn start<R: Ring, D: Device>(&self, ctx: &Context<'_, D>, keys: Keys<'_>, x: &D::Words<R>) -> (MaskedBit<D>, Vec<u8>) {
        let pad = ctx.device.expand_bits(ctx.prg, &ctx.stream(kind::BIT, self.len));
        let roots = ctx.stream(kind::ROOT, self.len);
        let own = ctx.device.drelu(ctx.hash, ctx.party, ctx.prg, &roots, keys, x, self.width, pad);
        let message = ctx.device.pack_bits(&own);
        debug_assert_eq!(message.len(), packed_len(self.len * ctx.items(), 1));
        (MaskedBit { own }, message)
    }
}

/// A party's part of d̂, until the other's comes.
pub struct MaskedBit<D: Device> {
    own: D::Bits,
}

impl<D: Device> MaskedBit<D> {
    /// d̂.
    pub fn finish(self, ctx: &Context<'_, D>, theirs: &[u8]) -> Result<D::Bits, GateError> {
        ctx.device.open_bits(self.own, theirs).map_err(GateError::Message)
    }
}
