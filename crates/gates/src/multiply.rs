//! Multiply: element-wise products of two wires that both know.
//!
//! Computes   z_b = b·x̂·ŷ - x̂·r_y,b - ŷ·r_x,b + c_b, c = r_x·r_y: a share of x·y.
//! Learns     nothing: no message. c_1 is padded by c_0.
//! Material   k/8 bytes a product to P1; c_0 from P0's seed.
//! Online     no message.
//! Error      none.
//! Source     Beaver (CRYPTO 1991), on masked values: Boyle et al., EUROCRYPT 2021.

use ariann_device::{Device, Keys};
use ariann_fss::Party;
use ariann_ring::Ring;
use ariann_ring::pack::packed_len;

use crate::context::read_all;
use crate::{Context, Cost, Dealing, GateError, Sections, kind};

/// Element-wise products of `len` pairs of wires of k bits that both know.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Multiply {
    /// Values an item.
    pub len: usize,
}

impl Multiply {
    /// See the head of this file.
    pub fn cost<R: Ring>(&self) -> Cost {
        Cost { multiply_adds: self.len as u64, material: [0, packed_len(self.len, R::BITS)], ..Cost::default() }
    }

    /// Makes one slot's material; `masks` are those of the two wires.
    pub fn deal<R: Ring, D: Device>(
        &self,
        dealing: &Dealing<'_, D>,
        masks: [&D::Words<R>; 2],
        sections: &mut [Vec<u8>; 2],
    ) {
        let device = dealing.device;
        let mut correction = device.copy(masks[0]);
        device.multiply(&mut correction, masks[1]);
        device.sub(&mut correction, &dealing.expand(Party::P0, kind::CORRECTION, self.len, R::BITS));
        sections[1].extend(device.pack(&correction, R::BITS));
    }

    /// A share of the products; `own_masks` are this party's parts of the wires' masks.
    pub fn share<R: Ring, D: Device>(
        &self,
        ctx: &Context<'_, D>,
        sections: &dyn Sections,
        wires: [&D::Words<R>; 2],
        own_masks: [&D::Words<R>; 2],
    ) -> Result<D::Words<R>, GateError> {
        let (device, [x, y], [r_x, r_y]) = (ctx.device, wires, own_masks);
        let mut share = match ctx.party {
            Party::P0 => ctx.expand(kind::CORRECTION, self.len, R::BITS),
            Party::P1 => {
                let bytes = read_all(sections, ctx.items())?;
                let keys = Keys { sections: &bytes, section_len: sections.section_len() };
                device.unpack(keys, 0, self.len, R::BITS).map_err(GateError::Material)?
            }
        };
        let mut product = device.copy(r_x);
        device.multiply(&mut product, y);
        device.sub(&mut share, &product);
        // x̂·(b·ŷ - r_y,b)
        let mut left = device.copy(r_y);
        device.negate(&mut left);
        if ctx.party == Party::P1 {
            device.add(&mut left, y);
        }
        device.multiply(&mut left, x);
        device.add(&mut share, &left);
        Ok(share)
    }
}
