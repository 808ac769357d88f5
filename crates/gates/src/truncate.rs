//! Signed value of a wire as a share: after a window opening this is the signed truncation.
//!
//! Computes   z >> s = ẑ⁺ - α + 2^w·a·(1 - m⁺) - 2^(w-2), a = top(α), ẑ⁺ = (ẑ + 2^(w-2)) mod 2^w, m⁺ = top(ẑ⁺).
//!            The offset is added after opening, so that one opening serves sign and truncation.
//! Learns     nothing: no message.
//! Material   shares of α (k bits) and of a (k - w bits) to P1; P0's from its seed.
//! Online     no message; the result is a share and is opened again to be an operand.
//! Error      that of the opening: below 1.5 units, no bias. No comparison, no wrap.
//! Bound      |z| <= 2^(m-2) - 2^(s+1), the wire's value within [-2^(w-2), 2^(w-2)).
//! Source     docs/protocol.md, after LLAMA's and Orca's truncations by masked values.

use ariann_device::{Device, Keys};
use ariann_fss::Party;
use ariann_ring::Ring;
use ariann_ring::pack::packed_len;

use crate::context::read_all;
use crate::{Context, Cost, Dealing, GateError, Sections, kind};

/// `len` wires of `width` bits to shares.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Truncate {
    /// Values an item.
    pub len: usize,
    /// w.
    pub width: u32,
}

impl Truncate {
    fn top_bits<R: Ring>(&self) -> u32 {
        R::BITS - self.width
    }

    fn alpha_bytes<R: Ring>(&self) -> usize {
        packed_len(self.len, R::BITS)
    }

    /// See the head of this file.
    pub fn cost<R: Ring>(&self) -> Cost {
        let top = packed_len(self.len, self.top_bits::<R>());
        Cost { material: [0, self.alpha_bytes::<R>() + top], ..Cost::default() }
    }

    /// Makes one slot's material; `alpha` is the mask of the wire.
    pub fn deal<R: Ring, D: Device>(&self, dealing: &Dealing<'_, D>, alpha: &D::Words<R>, sections: &mut [Vec<u8>; 2]) {
        let pads = [(kind::ALPHA, R::BITS), (kind::TOP, self.top_bits::<R>())]
            .map(|(kind, width)| dealing.expand(Party::P0, kind, self.len, width));
        let [low, top] = dealing.device.deal_unmask(alpha, self.width, pads);
        sections[1].extend(dealing.device.pack(&low, R::BITS));
        sections[1].extend(dealing.device.pack(&top, self.top_bits::<R>()));
    }

    /// A share of the wire's signed value.
    pub fn share<R: Ring, D: Device>(
        &self,
        ctx: &Context<'_, D>,
        sections: &dyn Sections,
        x: &D::Words<R>,
    ) -> Result<D::Words<R>, GateError> {
        let parts = [(kind::ALPHA, R::BITS, 0), (kind::TOP, self.top_bits::<R>(), self.alpha_bytes::<R>())];
        let bytes = read_all(sections, ctx.items())?;
        let keys = Keys { sections: &bytes, section_len: sections.section_len() };
        let mut shares = Vec::with_capacity(2);
        for (kind, width, offset) in parts {
            shares.push(match ctx.party {
                Party::P0 => ctx.expand(kind, self.len, width),
                Party::P1 => ctx.device.unpack(keys, offset, self.len, width).map_err(GateError::Material)?,
            });
        }
        Ok(ctx.device.unmask(ctx.party, x, self.width, &shares[0], &shares[1]))
    }
}
