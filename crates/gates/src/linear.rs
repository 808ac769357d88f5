//! Linear layers: dense and convolution, with weights held in clear by one party, shared, or public.
//!
//! Computes   shares of z = W·x + bias from a wire x̂ = x + r, r = r_0 + r_1.
//!   held     The holder h draws B from its weights seed and sends Ŵ = W - B once to the other party g.
//!            The dealer: c_h + c_g = B·r_g, fresh for each use.
//!              z_h = W·(x̂ - r_h) - c_h + bias      online, one product; only h needs x̂
//!              z_g = -Ŵ·r_g - c_g                  when the material arrives
//!   shared   Ŵ = W + R_W is opened once. c_0 + c_1 = R_W·r.
//!              z_b = (b·Ŵ - R_W,b)·x̂ + K_b,  K_b = c_b - Ŵ·r_b when the material arrives   (bias at P0)
//!   public   z_b = W·(b·x̂ - r_b): P0's part when the material arrives, P1's online.
//! Learns     g: Ŵ once, padded by B. The holder: x̂. Shared: both Ŵ, once a weights version. Nothing else is sent.
//! Material   held: k bits an output to g. shared: k bits an output to P1. public: none. The rest comes from seeds.
//! Online     no message.
//! Error      none: exact modulo 2^k.
//! Source     asymmetric layers: Delphi (USENIX Security 2020); masked operands: Boyle et al. (EUROCRYPT 2021).

use ariann_device::{Device, Keys, LinearShape};
use ariann_fss::Party;
use ariann_prg::Prg;
use ariann_ring::Ring;
use ariann_ring::pack::packed_len;

use crate::context::read_all;
use crate::{Context, Cost, Dealing, GateError, Sections, Stream, Traffic, kind, other};

/// Who knows the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Weights {
    /// P0 in clear, the other party only masked.
    Held,
    /// Nobody: both parties know them masked.
    Shared,
    /// Everybody.
    Public,
}

/// The party that brings the weights (and holds them, where they are held).
pub const HOLDER: Party = Party::P0;

/// A linear layer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Linear {
    /// Its shape, for one item.
    pub shape: LinearShape,
    /// Who knows the weights.
    pub weights: Weights,
}

/// What a party keeps of a layer's weights, for one weights version.
pub struct LayerWeights<R: Ring, D: Device> {
    /// Held: W at the holder, Ŵ at the other. Shared: Ŵ. Public: W.
    known: D::Weights<R>,
    /// Shared: b·Ŵ - R_W,b, the weights of the online product.
    online: Option<D::Weights<R>>,
    /// At P0: the bias over one item's outputs.
    bias: Option<D::Words<R>>,
}

impl Linear {
    /// Whether `party` multiplies online, so needs x̂.
    pub fn needs_operand(&self, party: Party) -> bool {
        match self.weights {
            Weights::Held => party == HOLDER,
            Weights::Shared => true,
            Weights::Public => party == Party::P1,
        }
    }

    /// Whether `party` computes its part of the output, or a summand of it, when the material arrives.
    pub fn prepares(&self, party: Party) -> bool {
        match self.weights {
            Weights::Held => party != HOLDER,
            Weights::Shared => true,
            Weights::Public => party == Party::P0,
        }
    }

    /// The party that receives the dealt part of c.
    fn corrected(&self) -> Option<Party> {
        match self.weights {
            Weights::Held => Some(other(HOLDER)),
            Weights::Shared => Some(Party::P1),
            Weights::Public => None,
        }
    }

    /// Bytes of one item's output.
    pub fn out_bytes<R: Ring>(&self) -> usize {
        packed_len(self.shape.out_len(), R::BITS)
    }

    /// See the head of this file.
    pub fn cost<R: Ring>(&self) -> Cost {
        let bytes = |wanted: bool| if wanted { self.out_bytes::<R>() } else { 0 };
        let parties = [Party::P0, Party::P1];
        Cost {
            multiply_adds: self.shape.multiply_adds(),
            material: parties.map(|party| bytes(self.corrected() == Some(party))),
            prepared: parties.map(|party| bytes(self.prepares(party))),
            ..Cost::default()
        }
    }

    /// What P0 and P1 send once for a weights version.
    pub fn setup<R: Ring>(&self) -> [Traffic; 2] {
        let all = Traffic::new(self.shape.weight_len(), R::BITS);
        match self.weights {
            Weights::Held | Weights::Public => [all, Traffic::NONE],
            Weights::Shared => [all, all],
        }
    }

    fn weight_stream(&self, gate: u32) -> Stream {
        Stream { kind: kind::WEIGHTS, gate, slots: 0..1, len: self.shape.weight_len() }
    }

    // The dealer.

    /// The mask of the weights: B, or R_W. None for public weights. The same for all slots.
    pub fn deal_weights<R: Ring, D: Device>(&self, device: &D, gate: u32, seeds: [&Prg; 2]) -> Option<D::Weights<R>> {
        let part = |party: Party| device.expand(seeds[party as usize], &self.weight_stream(gate), R::BITS);
        let mask = match self.weights {
            Weights::Held => Some(part(HOLDER)),
            Weights::Shared => {
                let mut sum = part(Party::P0);
                device.add(&mut sum, &part(Party::P1));
                Some(sum)
            }
            Weights::Public => None,
        };
        mask.map(|mask| device.weights(&self.shape, &mask))
    }

    /// Whether the part of the operand's mask that `party` knows enters the dealt product.
    pub fn corrects(&self, party: Party) -> bool {
        match self.weights {
            Weights::Held => party != HOLDER,
            Weights::Shared => true,
            Weights::Public => false,
        }
    }

    /// Makes one slot's material; `mask` is what `deal_weights` returned, `operand` the sum of those parts of the operand's
    /// mask that enter (`corrects`), none when there are none.
    pub fn deal<R: Ring, D: Device>(
        &self,
        dealing: &Dealing<'_, D>,
        mask: Option<&D::Weights<R>>,
        operand: Option<D::Words<R>>,
        sections: &mut [Vec<u8>; 2],
    ) {
        let (Some(mask), Some(receiver)) = (mask, self.corrected()) else { return };
        let mut correction = match operand {
            Some(r) => dealing.device.linear(mask, 1, &r),
            None => dealing.device.upload(&vec![R::ZERO; self.shape.out_len()]),
        };
        dealing
            .device
            .sub(&mut correction, &dealing.expand(other(receiver), kind::CORRECTION, self.shape.out_len(), R::BITS));
        sections[receiver as usize].extend(dealing.device.pack(&correction, R::BITS));
    }

    // The parties, once for a weights version.

    /// This party's setup message; `weights` at P0.
    pub fn mask_weights<R: Ring, D: Device>(
        &self,
        device: &D,
        party: Party,
        gate: u32,
        seed: &Prg,
        weights: Option<&D::Words<R>>,
    ) -> Vec<u8> {
        if self.setup::<R>()[party as usize] == Traffic::NONE {
            return Vec::new();
        }
        let mask = || device.expand(seed, &self.weight_stream(gate), R::BITS);
        let message = match (self.weights, weights) {
            (Weights::Held, Some(weights)) => {
                let mut masked = mask();
                device.negate(&mut masked);
                device.add(&mut masked, weights);
                masked
            }
            (Weights::Shared, Some(weights)) => {
                let mut masked = mask();
                device.add(&mut masked, weights);
                masked
            }
            (Weights::Shared, None) => mask(),
            (Weights::Public, Some(weights)) => return device.pack(weights, R::BITS),
            (Weights::Held | Weights::Public, None) => unreachable!("the holder has weights"),
        };
        device.pack(&message, R::BITS)
    }

    /// What this party keeps: from its own weights (P0), its seed, and the other's setup message.
    #[allow(clippy::too_many_arguments)]
    pub fn weights<R: Ring, D: Device>(
        &self,
        device: &D,
        party: Party,
        gate: u32,
        seed: &Prg,
        own: Option<&[R]>,
        bias: Option<&[R]>,
        theirs: &[u8],
    ) -> Result<LayerWeights<R, D>, GateError> {
        let received = || {
            let zeros = device.upload(&vec![R::ZERO; self.shape.weight_len()]);
            device.open(zeros, theirs, R::BITS).map_err(GateError::Message)
        };
        let bias = bias.map(|bias| {
            // One value a channel, or one an output place.
            let spread = self.shape.out_len() / bias.len();
            let all: Vec<R> = bias.iter().flat_map(|b| std::iter::repeat_n(*b, spread)).collect();
            device.upload(&all)
        });
        let (known, online) = match (self.weights, own) {
            (Weights::Held | Weights::Public, Some(own)) => (device.upload(own), None),
            (Weights::Held | Weights::Public, None) => (received()?, None),
            (Weights::Shared, own) => {
                let mask = device.expand(seed, &self.weight_stream(gate), R::BITS);
                let mut known = received()?;
                device.add(&mut known, &mask);
                if let Some(own) = own {
                    device.add(&mut known, &device.upload(own));
                }
                let mut online = mask;
                device.negate(&mut online);
                if party == Party::P1 {
                    device.add(&mut online, &known);
                }
                (known, Some(online))
            }
        };
        let formed = |words: D::Words<R>| device.weights(&self.shape, &words);
        Ok(LayerWeights { known: formed(known), online: online.map(formed), bias })
    }

    // The parties, for each item.

    /// The part of the output that no input enters, when the material arrives. `sections` are the dealt ones, `own_mask` is
    /// this party's part of the operand's mask, where it has one.
    pub fn prepare<R: Ring, D: Device>(
        &self,
        ctx: &Context<'_, D>,
        weights: &LayerWeights<R, D>,
        sections: &dyn Sections,
        own_mask: Option<D::Words<R>>,
    ) -> Result<D::Words<R>, GateError> {
        let (device, len) = (ctx.device, self.shape.out_len());
        // -W·r_b, W masked or not.
        let mut out = match own_mask {
            Some(mask) => device.linear(&weights.known, ctx.items(), &mask),
            None => device.upload(&vec![R::ZERO; ctx.items() * len]),
        };
        device.negate(&mut out);
        let correction = match self.corrected() {
            None => return Ok(out),
            Some(receiver) if receiver == ctx.party => {
                let bytes = read_all(sections, ctx.items())?;
                let keys = Keys { sections: &bytes, section_len: sections.section_len() };
                device.unpack(keys, 0, len, R::BITS).map_err(GateError::Material)?
            }
            Some(_) => ctx.expand(kind::CORRECTION, len, R::BITS),
        };
        match self.weights {
            Weights::Held => device.sub(&mut out, &correction),
            _ => device.add(&mut out, &correction),
        }
        Ok(out)
    }

    /// Whether `share` needs this party's part of the operand's mask.
    pub fn needs_own_mask(&self, party: Party) -> bool {
        self.needs_operand(party) && self.weights != Weights::Shared
    }

    /// A share of z. `x` is the masked operand, for a party that needs it, `own_mask` its part of the operand's mask, where it
    /// has one and needs it; `prepared` what `prepare` returned, for one that prepares.
    pub fn share<R: Ring, D: Device>(
        &self,
        ctx: &Context<'_, D>,
        weights: &LayerWeights<R, D>,
        x: Option<&D::Words<R>>,
        own_mask: Option<D::Words<R>>,
        prepared: Option<D::Words<R>>,
    ) -> D::Words<R> {
        let device = ctx.device;
        let mut out = match (x.filter(|_| self.needs_operand(ctx.party)), self.weights) {
            (None, _) => prepared.expect("a party that does not multiply online has prepared its part"),
            (Some(x), Weights::Shared) => {
                let online = weights.online.as_ref().expect("shared weights");
                let mut out = device.linear(online, ctx.items(), x);
                device.add(&mut out, &prepared.expect("shared weights are prepared"));
                out
            }
            (Some(x), _) => {
                let unmasked = own_mask.map(|mut mask| {
                    device.negate(&mut mask);
                    device.add(&mut mask, x);
                    mask
                });
                let x = unmasked.as_ref().unwrap_or(x);
                let mut out = device.linear(&weights.known, ctx.items(), x);
                if self.weights == Weights::Held {
                    device.sub(&mut out, &ctx.expand(kind::CORRECTION, self.shape.out_len(), R::BITS));
                }
                out
            }
        };
        if let Some(bias) = &weights.bias {
            device.add(&mut out, bias);
        }
        out
    }
}
