//! Sum: branches of a network join; also how a wire becomes a share.
//!
//! Computes   a share of Σ m_i·x_i + c for public factors m_i and public c, which P0 adds, from shares and from wires modulo 2^k: a wire x̂ = x + r counts as
//!            x̂ - r_0 at one party that knows x̂ and -r_1 at the other.
//! Learns     nothing: no message.
//! Material   none.
//! Online     no message.
//! Error      none: exact modulo 2^k.

use ariann_device::Device;
use ariann_fss::Party;
use ariann_ring::Ring;

use crate::{Context, Cost};

/// Sums `multipliers.len()` operands of `len` values each.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Add {
    /// Values an item.
    pub len: usize,
    /// The public factor of each operand; it brings all to one scale.
    pub multipliers: Vec<u64>,
    /// Public constants, added to the elements in turn: the first to the first, and from the start again; none in a prediction.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub constants: Vec<i64>,
}

/// What a party has of an operand.
pub enum Operand<'a, W> {
    /// A share.
    Share(&'a W),
    /// A wire: the masked value at the one party that counts it, and this party's part of the mask, where it has one.
    Wire {
        /// x̂.
        masked: Option<&'a W>,
        /// r_b.
        own_mask: Option<W>,
    },
}

impl Add {
    /// See the head of this file.
    pub fn cost(&self) -> Cost {
        Cost::default()
    }

    /// A share of the sum.
    pub fn share<R: Ring, D: Device>(
        &self,
        ctx: &Context<'_, D>,
        operands: Vec<Operand<'_, D::Words<R>>>,
    ) -> D::Words<R> {
        let device = ctx.device;
        let len = self.len * ctx.items();
        // The first operand begins the sum.
        let mut sum = (ctx.party == Party::P0 && !self.constants.is_empty()).then(|| {
            let words = self.constants.iter().map(|constant| R::from_u64(*constant as u64));
            device.upload(&words.cycle().take(len).collect::<Vec<_>>())
        });
        for (operand, factor) in operands.into_iter().zip(&self.multipliers) {
            let mut part = match operand {
                Operand::Share(share) => device.copy(share),
                Operand::Wire { masked, own_mask } => {
                    let mut part = match own_mask {
                        Some(mut mask) => {
                            device.negate(&mut mask);
                            mask
                        }
                        None => device.zeros(len),
                    };
                    if let Some(masked) = masked {
                        device.add(&mut part, masked);
                    }
                    part
                }
            };
            if *factor != 1 {
                device.scale(&mut part, *factor);
            }
            match &mut sum {
                Some(sum) => device.add(sum, &part),
                None => sum = Some(part),
            }
        }
        sum.unwrap_or_else(|| device.zeros(len))
    }
}
