//! Backwards through one level of a maximum: the gradient goes to the greater of each pair, by one select on the kept bit.
//!
//! Computes   for every pair (a, b) with bit d and gradient g of its maximum: d·g at a, g - d·g at b, added up where windows
//!            overlap; unpaired places hand their gradient on. A wire modulo 2^k, from one that both know.
//! Learns     both: k uniform bits a pair. d̂ is known from the forward gate.
//! Material   3k/8 bytes a pair to P1: r_d is dealt again.
//! Online     1 exchange: k bits each way, a pair.
//! Error      none.
//! Source     docs/protocol.md, "Training".

use ariann_device::Lift;
use ariann_ring::Ring;

use crate::select::Select;
use crate::{Cost, Receiver, Windows, kind, open};

/// Backwards through level `level` of the maximum of `windows`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaxBack {
    /// Which elements met.
    pub windows: Windows,
    /// The level, from 0.
    pub level: u32,
}

impl MaxBack {
    fn select<R: Ring>(&self) -> Select {
        let len = self.windows.pairs(self.level);
        Select { len, width: R::BITS, lift: Lift::None, table: kind::TABLE }
    }

    /// See the head of this file.
    pub fn cost<R: Ring>(&self) -> Cost {
        let select = self.select::<R>();
        let exchanges = vec![open::traffic(select.len, R::BITS, Receiver::Both)];
        Cost { material: [0, select.table_bytes()], exchanges, ..Cost::default() }
    }
}
