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

use crate::{Context, Cost, Dealing, GateError, Sections, Traffic, kind};

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
    pub fn deal<R: Ring, D: Device>(
        &self,
        dealing: &Dealing<'_, D>,
        alpha: &D::Words<R>,
        sections: &mut [Vec<u8>; 2],
    ) -> D::Bits {
        let pads = dealing.seeds.map(|seed| dealing.device.expand_bits(seed, &dealing.stream(kind::BIT, self.len)));
        let roots = dealing.stream(kind::ROOT, self.len);
        let [section0, section1] = sections;
        let start = section0.len();
        let r_d = dealing.device.deal_drelu(dealing.hash, dealing.seeds, &roots, alpha, self.width, pads, section0);
        section1.extend_from_slice(&section0[start..]);
        r_d
    }

    /// This party's part of d̂ and its message. Sections are read a few items at a time; what stands in them behind the keys
    /// is kept for the select.
    pub fn start<R: Ring, D: Device>(
        &self,
        ctx: &Context<'_, D>,
        sections: &dyn Sections,
        x: &D::Words<R>,
    ) -> Result<(MaskedBit<D>, Vec<u8>), GateError> {
        let mut own = ctx.device.expand_bits(ctx.prg, &ctx.stream(kind::BIT, self.len));
        let roots = ctx.stream(kind::ROOT, self.len);
        let (section_len, table_at) = (sections.section_len(), self.key_len());
        let once = ctx.device.items_at_once(section_len).clamp(1, ctx.items().max(1));
        let mut buffer = vec![0; once * section_len];
        let mut tables = Vec::with_capacity(ctx.items() * (section_len - table_at));
        let mut first = 0;
        while first < ctx.items() {
            let items = first..(first + once).min(ctx.items());
            let bytes = &mut buffer[..items.len() * section_len];
            sections.read(items.clone(), bytes).map_err(GateError::Sections)?;
            let keys = Keys { sections: bytes, section_len };
            ctx.device.drelu(ctx.hash, ctx.party, ctx.prg, &roots, items.clone(), keys, x, self.width, &mut own);
            bytes.chunks(section_len).for_each(|section| tables.extend_from_slice(&section[table_at..]));
            first = items.end;
        }
        let message = ctx.device.pack_bits(&own);
        debug_assert_eq!(message.len(), packed_len(self.len * ctx.items(), 1));
        Ok((MaskedBit { own, tables, table_len: section_len - table_at }, message))
    }
}

/// A party's part of d̂, until the other's comes, and the tables of the select that follows.
pub struct MaskedBit<D: Device> {
    own: D::Bits,
    tables: Vec<u8>,
    table_len: usize,
}

impl<D: Device> MaskedBit<D> {
    /// d̂, and the tables.
    pub fn finish(self, ctx: &Context<'_, D>, theirs: &[u8]) -> Result<(D::Bits, Tables), GateError> {
        let bits = ctx.device.open_bits(self.own, theirs).map_err(GateError::Message)?;
        Ok((bits, Tables { bytes: self.tables, len: self.table_len }))
    }
}

/// What stands behind the keys in the sections of all items.
pub struct Tables {
    bytes: Vec<u8>,
    len: usize,
}

impl Tables {
    /// As sections.
    pub fn keys(&self) -> Keys<'_> {
        Keys { sections: &self.bytes, section_len: self.len }
    }
}
