//! Select: d·v for a masked bit and a masked value, re-masked in the same step.
//!
//! Computes   a share of d·v + r from the public d̂ = d xor r_d and v̂ = v + C. With shares of r_d and of
//!            u_0 = r - r_d·C, u_1 = r - (1 - r_d)·C:
//!              d̂ = 0: y_b = r_d,b·v̂ + u_0,b          d̂ = 1: y_b = b·v̂ - r_d,b·v̂ + u_1,b
//!            Lifting from w to k bits makes C depend on the public bit m = top(v̂): C_m = α - 2^w·top(α)·(1 - m), so the table
//!            has an entry for each (d̂, m). Valid when v is not negative wherever d = 1.
//! Learns     nothing: no message. The result is opened by the caller under r; one entry is used, the rest stay padded.
//! Material   3 (lifting: 5) ring elements to P1, packed at their width; P0's part from its seed.
//! Online     no message.
//! Error      none.
//! Source     masked selection: Orca (S&P 2024), SIGMA (PoPETs 2024); the lift by the top bit: docs/protocol.md.

use ariann_device::{Device, Lift};
use ariann_fss::Party;
use ariann_ring::Ring;
use ariann_ring::pack::packed_len;

use crate::pieces::{Material, Part};
use crate::{Context, Dealing, GateError};

/// Selects `len` values; results live modulo 2^width.
#[derive(Clone, Copy, Debug)]
pub struct Select {
    /// Values an item.
    pub len: usize,
    /// Width of the results, and of the table's elements.
    pub width: u32,
    /// Whether the value is lifted from a narrower opening.
    pub lift: Lift,
    /// Kind of P0's part of the table.
    pub table: u8,
}

impl Select {
    /// Values of one item's table.
    fn table_len(&self) -> usize {
        self.len * self.lift.planes()
    }

    /// Bytes of one item's table, P1 only.
    pub fn table_bytes(&self) -> usize {
        packed_len(self.table_len(), self.width)
    }

    /// Appends P1's table of one slot. `c` is the mask of v, or α when lifting; `r` the mask of the result.
    pub fn deal<R: Ring, D: Device>(
        &self,
        dealing: &Dealing<'_, D>,
        r_d: &D::Bits,
        c: &D::Words<R>,
        r: &D::Words<R>,
        sections: &mut [Vec<u8>; 2],
    ) {
        let mut table = dealing.expand(Party::P0, self.table, self.table_len(), self.width);
        dealing.device.deal_select(r_d, c, r, self.lift, &mut table);
        sections[1].extend(dealing.device.pack(&table, self.width));
    }

    /// A share of d·v + r. `offset` is where the table begins in P1's section.
    pub fn share<R: Ring, D: Device>(
        &self,
        ctx: &Context<'_, D>,
        material: &Material<'_>,
        offset: usize,
        d: &D::Bits,
        v: &D::Words<R>,
    ) -> Result<D::Words<R>, GateError> {
        let planes = self.lift.planes();
        let part = Part { offset, len: self.len, bytes: |elements| packed_len(elements * planes, self.width) };
        let mut out = ctx.device.zeros(self.len * ctx.items());
        let Select { len, width, lift, .. } = *self;
        part.each_source(ctx, material, self.table, |pieces, table| {
            let done = ctx.device.select(ctx.party, table, pieces, len, width, d, v, lift, &mut out);
            done.map_err(GateError::Material)
        })?;
        Ok(out)
    }
}
