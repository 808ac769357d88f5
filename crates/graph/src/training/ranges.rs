//! Ranges of a step's values, as they are told to others.

use serde::{Deserialize, Serialize};

use super::step::StepGraph;
use crate::ValueRange;

/// No value in float32, nor its range rounded, is greater.
const GREATEST: f64 = (1u128 << 127) as f64 * 4.0;

/// Room that a plan leaves above a greatest magnitude.
const ROOM: f64 = 1.01;

/// Ranges of all values of a step graph, over the steps of a rehearsal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepRanges {
    /// Steps that were looked at.
    pub steps: u64,
    /// One entry a node: greatest magnitude over all steps, root mean square (its mean over the steps). An update's is that
    /// of the velocity, or of the gradient where there is none.
    pub nodes: Vec<ValueRange>,
    /// One entry a state: greatest magnitude before the first step and after each, root mean square after each.
    pub states: Vec<ValueRange>,
}

/// Ranges that are none of a graph.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RangesError {
    /// Another number of entries.
    #[error(
        "ranges of {nodes} values and {states} states for a step of {step_nodes} and {step_states}; make them for this network"
    )]
    Length {
        /// Values with a range.
        nodes: usize,
        /// States with a range.
        states: usize,
        /// Those of the step.
        step_nodes: usize,
        /// Those of the step.
        step_states: usize,
    },
    /// A range that no value has.
    #[error(
        "the range of {name:?} is {max_abs} by its greatest magnitude and {rms} by its root mean square; rehearse again"
    )]
    Value {
        /// The node or state.
        name: String,
        /// Greatest magnitude.
        max_abs: f64,
        /// Root mean square.
        rms: f64,
    },
}

impl StepRanges {
    /// The same, told by exponents only: each greatest magnitude becomes the largest one that leaves the exponent of a plan's
    /// room for it, ceil(log2(1.01 x)), as it is; each root mean square becomes the nearest power of √2. Zero stays zero.
    pub fn rounded(&self) -> StepRanges {
        let all = |ranges: &[ValueRange]| ranges.iter().map(|range| range.rounded()).collect();
        StepRanges { steps: self.steps, nodes: all(&self.nodes), states: all(&self.states) }
    }

    /// Whether these may be ranges of the step: one for each node and state, none negative or beyond float32.
    pub fn check(&self, step: &StepGraph) -> Result<(), RangesError> {
        let (nodes, states) = (self.nodes.len(), self.states.len());
        let (step_nodes, step_states) = (step.nodes.len(), step.states.len());
        if (nodes, states) != (step_nodes, step_states) {
            return Err(RangesError::Length { nodes, states, step_nodes, step_states });
        }
        let names = step.nodes.iter().map(|node| &node.name).chain(step.states.iter().map(|state| &state.name));
        let right = |range: &ValueRange| [range.max_abs, range.rms].iter().all(|part| (0.0..=GREATEST).contains(part));
        match names.zip(self.nodes.iter().chain(&self.states)).find(|(_, range)| !right(range)) {
            None => Ok(()),
            Some((name, &ValueRange { max_abs, rms })) => Err(RangesError::Value { name: name.clone(), max_abs, rms }),
        }
    }
}

impl ValueRange {
    /// The range told by exponents only: see [`StepRanges::rounded`].
    pub fn rounded(self) -> ValueRange {
        ValueRange { max_abs: largest(self.max_abs), rms: nearest(self.rms) }
    }
}

/// The largest number of the same exponent with a plan's room.
fn largest(max: f64) -> f64 {
    if !(max > 0.0 && max <= GREATEST) {
        return max;
    }
    let end = 2f64.powi(exponent(max * ROOM));
    let fits = |x: f64| x * ROOM <= end;
    let mut found = end / ROOM;
    while !fits(found) {
        found = found.next_down();
    }
    while fits(found.next_up()) {
        found = found.next_up();
    }
    found
}

/// ceil(log2 x) by the bits of a positive number, so that it is the same everywhere; those below all normal ones have one.
fn exponent(x: f64) -> i32 {
    let x = x.max(f64::MIN_POSITIVE).to_bits();
    let above = x & ((1 << 52) - 1) != 0;
    (x >> 52) as i32 - 1023 + i32::from(above)
}

/// The nearest power of √2.
fn nearest(rms: f64) -> f64 {
    if !(rms > 0.0 && rms <= GREATEST) {
        return rms;
    }
    let halves = (2.0 * rms.max(f64::MIN_POSITIVE).log2()).round() as i32;
    let odd = if halves % 2 == 0 { 1.0 } else { std::f64::consts::SQRT_2 };
    2f64.powi(halves.div_euclid(2)) * odd
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As plans take it.
    fn bits(x: f64) -> i32 {
        x.log2().ceil() as i32
    }

    /// Around powers of two, around those with room, and in between.
    fn numbers() -> Vec<f64> {
        let mut all = vec![f64::from(f32::MAX), f64::from(f32::MIN_POSITIVE), f64::from(f32::from_bits(1))];
        for power in -140..=127 {
            let power = 2f64.powi(power);
            for around in [power, power / ROOM] {
                let (mut below, mut above) = (around, around);
                for _ in 0..4 {
                    all.extend([below, above]);
                    (below, above) = (below.next_down(), above.next_up());
                }
                all.extend([around * (1.0 - 1e-9), around * (1.0 + 1e-9), around * 1.005, around * 1.3, around * 1.7]);
            }
        }
        all.sort_by(f64::total_cmp);
        all
    }

    #[test]
    fn a_rounded_magnitude_is_the_largest_of_its_exponent() {
        for x in numbers() {
            let found = largest(x);
            assert!(found >= x, "{x:e} {found:e}");
            assert_eq!(exponent(found * ROOM), exponent(x * ROOM), "{x:e}");
            assert_eq!(exponent(found.next_up() * ROOM), exponent(x * ROOM) + 1, "{x:e}");
            assert_eq!(largest(found), found, "{x:e}");
            assert_eq!(bits(found * ROOM), exponent(x * ROOM), "{x:e}");
            // By the logarithm, what lies above a power by its rounding alone counts as the power.
            let room = x * ROOM;
            let near = (room.log2() - room.log2().round()).abs() < 1e-12;
            assert!(bits(room) == bits(found * ROOM) || near && bits(room) + 1 == bits(found * ROOM), "{x:e}");
        }
        assert_eq!([largest(0.0), largest(1.0 / ROOM)], [0.0, 1.0 / ROOM]);
        assert!((largest(1.0) - 2.0 / 1.01).abs() < 1e-15 && (largest(0.99) - 1.0 / 1.01).abs() < 1e-15);
    }

    #[test]
    fn a_rounded_root_mean_square_is_the_nearest_power() {
        for x in numbers() {
            let found = nearest(x);
            let off = (found / x).log2().abs();
            assert!(off <= 0.25 + 1e-12, "{x:e} {found:e}");
            assert_eq!(nearest(found), found, "{x:e}");
        }
        let powers = [0.0, 1.0, std::f64::consts::SQRT_2, 0.5, 0.5f64.sqrt(), 2.0];
        assert_eq!([0.0, 1.1, 1.3, 0.5, 0.7, 1.7].map(nearest)[..5], powers[..5]);
        assert_eq!(nearest(1.7), 2.0);
    }

    #[test]
    fn rounding_keeps_the_order() {
        let all = numbers();
        assert!(all.is_sorted_by(|a, b| largest(*a) <= largest(*b) && nearest(*a) <= nearest(*b)));
        for odd in [f64::NAN, f64::INFINITY, -1.0] {
            assert_eq!([largest(odd), nearest(odd)].map(f64::to_bits), [odd.to_bits(); 2]);
        }
    }

    #[test]
    fn exponents_are_those_of_the_logarithm() {
        for power in -300..300 {
            let power = f64::from(power);
            assert_eq!(exponent(power.exp2()), power as i32);
            assert_eq!(exponent((power + 0.3).exp2()), power as i32 + 1);
            assert_eq!(exponent(power.exp2().next_up()), power as i32 + 1);
            assert_eq!(exponent(power.exp2().next_down()), power as i32);
        }
    }
}
