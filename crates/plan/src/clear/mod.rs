//! The fixed-point reference: the integers of a private run, gate by gate, in clear.
//!
//! Whoever holds model and items computes with it what a private run gives: bit for bit where openings round as the run's
//! masks did, and within a unit a rounding where they round to the nearest. It computes modulo 2^64 whatever the plan's ring
//! is, so that a value that would leave a ring of 32 bits is seen and named.

mod reference;

use ariann_gates::{Sign, Window};
use ariann_ring::FixedError;

pub use reference::Reference;

use crate::{EncodeError, Gate, Plan, Scale};

/// How an opening rounds z / 2^s.
pub trait Rounding {
    /// Rounds the operand of the opening `gate` for consecutive items from `first_item` on.
    fn round(&mut self, gate: u32, first_item: usize, z: &[i64], window: Window, out: &mut [i64]);
}

/// To the nearest integer, halves upwards: floor((z + 2^(s-1)) / 2^s).
#[derive(Clone, Copy, Debug, Default)]
pub struct Nearest;

impl Rounding for Nearest {
    fn round(&mut self, _gate: u32, _first_item: usize, z: &[i64], window: Window, out: &mut [i64]) {
        let (shift, half) = (window.shift, (1i128 << window.shift) >> 1);
        out.iter_mut().zip(z).for_each(|(out, z)| *out = ((i128::from(*z) + half) >> shift) as i64);
    }
}

/// The first value that left its bound. Beyond it a private run gives garbage, and nobody can see that.
#[derive(Clone, Debug, PartialEq)]
pub struct Excess {
    /// Number of the gate.
    pub gate: usize,
    /// Its name.
    pub name: String,
    /// The item.
    pub item: usize,
    /// The value, in integer units.
    pub value: f64,
    /// What its magnitude may be at most.
    pub bound: f64,
    /// Scale of the value.
    pub scale: Scale,
}

/// Result of the reference.
#[derive(Clone, Debug, PartialEq)]
pub struct ClearRun {
    /// The results of all items: logits in integer units, or labels.
    pub results: Vec<i64>,
    /// Their scale.
    pub scale: Scale,
    /// The first value, in the order of gates and then items, that left its bound.
    pub excess: Option<Excess>,
}

/// What a step of training leaves beside its states.
#[derive(Clone, Debug, PartialEq)]
pub struct ClearStep {
    /// What it reveals, in integer units.
    pub result: Option<Vec<i64>>,
    /// The first value, in the order of gates, that left its bound.
    pub excess: Option<Excess>,
}

impl ClearRun {
    /// The results as numbers.
    pub fn decoded(&self) -> Vec<f32> {
        self.results.iter().map(|result| (*result as f64 * self.scale.unit()) as f32).collect()
    }
}

/// Why the reference computed nothing.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ClearError {
    /// The weights do not fit the plan.
    #[error(transparent)]
    Weights(#[from] EncodeError),
    /// An input does not fit.
    #[error("input: item {item}: {source}; check preprocessing and --input-range")]
    Input {
        /// The item.
        item: usize,
        /// What is wrong.
        source: FixedError,
    },
    /// Not as many values as the items have.
    #[error("input: {got} values where {items} items of {len} values were expected; give items of the model's shape")]
    Length {
        /// Items announced.
        items: usize,
        /// Values of an item.
        len: usize,
        /// Values given.
        got: usize,
    },
}

/// What the magnitude of the value that gate `number` opens, cuts or reveals may be at most, in its integer units; none for
/// gates that let every value pass.
///
/// A window [s, m) holds 2^(m-1) - 2^(s+1) where only an exact ReLU reads it, and 2^(m-2) - 2^(s+1) where a maximum or a
/// signed value does (docs/protocol.md, "Bounds").
pub fn bound(plan: &Plan, number: usize) -> Option<f64> {
    let exp2 = |exponent: u32| 2f64.powi(exponent as i32);
    let (window, whole) = match &plan.gates[number].gate {
        Gate::Open(open) => (open.window, open.window == Window { shift: 0, top: plan.ring }),
        Gate::Cut(cut) => (Window { shift: 0, top: cut.width }, false),
        Gate::Reveal(_) => return Some(exp2(plan.ring - 1) - 1.0),
        _ => return None,
    };
    if whole {
        return Some(exp2(plan.ring - 1) - 1.0);
    }
    let mut bound = exp2(window.top - 1);
    for entry in plan.gates[number + 1..].iter().filter(|entry| entry.inputs.contains(&(number as u32))) {
        let noise = |sign: Sign| match sign {
            Sign::Exact => 0.0,
            Sign::Coarse(bits) => exp2(window.top - 2) + exp2(window.shift + bits),
        };
        let room = match &entry.gate {
            Gate::Relu(gate) => noise(gate.sign),
            // The same key is read at both bounds.
            Gate::Clip(gate) => noise(gate.sign) + gate.lo.abs().max(gate.hi.abs()) as f64 * exp2(window.shift),
            // A table has an entry for every value.
            Gate::Lookup(_) => 0.0,
            _ => exp2(window.top - 2),
        };
        bound = bound.min(exp2(window.top - 1) - room);
    }
    Some(bound - exp2(window.shift + 1))
}
