//! Product of two wires that both know: the linear layers of training, forwards and backwards, and products by channels.
//!
//! Computes   z_b = f(x̂, b·ŷ - r_y,b) - f(r_x,b, ŷ) + c_b, f linear in each operand, c = f(r_x, r_y): a share of f(x, y).
//!            At P1 as f(x̂ - r_x,1, ŷ) - f(x̂, r_y,1) where x is the shorter one. Of a party's own input the other has no
//!            part of the mask, and leaves out its product.
//! Learns     nothing: no message. c_1 is padded by c_0.
//! Material   k/8 bytes an element of the result to P1; c_0 from P0's seed.
//! Online     no message: at most two products a party, one at the dealer.
//! Error      none: exact modulo 2^k.
//! Source     Beaver (CRYPTO 1991) for bilinear maps, on masked values: Boyle et al., EUROCRYPT 2021.

use ariann_device::{Bilinear, Device, Keys};
use ariann_fss::Party;
use ariann_ring::Ring;
use ariann_ring::pack::packed_len;

use crate::context::read_all;
use crate::{Context, Cost, Dealing, GateError, Sections, kind};

/// A product of two wires of k bits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Product {
    /// What is multiplied and summed.
    pub of: Bilinear,
}

impl Product {
    /// See the head of this file.
    pub fn cost<R: Ring>(&self) -> Cost {
        let material = [0, packed_len(self.of.out_len(), R::BITS)];
        Cost { multiply_adds: self.of.multiply_adds(), material, ..Cost::default() }
    }

    /// Makes one slot's material; `masks` are those of the two wires.
    pub fn deal<R: Ring, D: Device>(
        &self,
        dealing: &Dealing<'_, D>,
        masks: [&D::Words<R>; 2],
        sections: &mut [Vec<u8>; 2],
    ) {
        let device = dealing.device;
        let mut correction = device.bilinear(&self.of, masks[0], masks[1]);
        device.sub(&mut correction, &dealing.expand(Party::P0, kind::CORRECTION, self.of.out_len(), R::BITS));
        sections[1].extend(device.pack(&correction, R::BITS));
    }

    /// A share of the product; `own_masks` are this party's parts of the wires' masks, none where it has no part.
    pub fn share<R: Ring, D: Device>(
        &self,
        ctx: &Context<'_, D>,
        sections: &dyn Sections,
        wires: [&D::Words<R>; 2],
        own_masks: [Option<D::Words<R>>; 2],
    ) -> Result<D::Words<R>, GateError> {
        let (device, [x, y], [r_x, r_y]) = (ctx.device, wires, own_masks);
        let product = |a: &D::Words<R>, b: &D::Words<R>| device.bilinear(&self.of, a, b);
        if ctx.party == Party::P0 {
            let mut share = ctx.expand(kind::CORRECTION, self.of.out_len(), R::BITS);
            r_y.iter().for_each(|r_y| device.sub(&mut share, &product(x, r_y)));
            r_x.iter().for_each(|r_x| device.sub(&mut share, &product(r_x, y)));
            return Ok(share);
        }
        let bytes = read_all(sections, ctx.items())?;
        let keys = Keys { sections: &bytes, section_len: sections.section_len() };
        let mut share = device.unpack(keys, 0, self.of.out_len(), R::BITS).map_err(GateError::Material)?;
        drop(bytes);
        // x̂ - r or ŷ - r in place of the mask.
        let less = |wire: &D::Words<R>, mut mask: D::Words<R>| {
            device.negate(&mut mask);
            device.add(&mut mask, wire);
            mask
        };
        let [x_len, y_len] = self.of.lens();
        match (r_x, r_y) {
            (None, None) => device.add(&mut share, &product(x, y)),
            (None, Some(r_y)) => device.add(&mut share, &product(x, &less(y, r_y))),
            (Some(r_x), None) => device.add(&mut share, &product(&less(x, r_x), y)),
            (Some(r_x), Some(r_y)) if x_len < y_len => {
                device.sub(&mut share, &product(x, &r_y));
                device.add(&mut share, &product(&less(x, r_x), y));
            }
            (Some(r_x), Some(r_y)) => {
                device.sub(&mut share, &product(&r_x, y));
                device.add(&mut share, &product(x, &less(y, r_y)));
            }
        }
        Ok(share)
    }
}
