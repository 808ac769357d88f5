//! States as ring elements, at the scales that a plan gives them.

use ariann_ring::{FixedError, Ring, fixed};

use crate::{Plan, Scale};

/// States that do not belong to the plan, or do not fit its scales.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum StateError {
    /// Another number of states, or of values in one.
    #[error("model: state {state} has {got} values where the plan has {expected}; plan this model again")]
    Length {
        /// Which state.
        state: usize,
        /// The plan's.
        expected: usize,
        /// Given.
        got: usize,
    },
    /// A value does not fit.
    #[error("model: \"{name}\": {source}; calibrate again with this model's weights, or use --ring 64")]
    Value {
        /// The state.
        name: String,
        /// What is wrong.
        source: FixedError,
    },
}

/// The states at their scales before the first step of `plan`.
pub fn encode_states<R: Ring>(plan: &Plan, states: &[Vec<f32>]) -> Result<Vec<Vec<R>>, StateError> {
    let specs = plan.training.as_ref().map_or(&[][..], |training| &training.states);
    if specs.len() != states.len() {
        return Err(StateError::Length { state: specs.len(), expected: 0, got: states.len() });
    }
    let encode = |(state, (spec, values)): (usize, (&crate::StateSpec, &Vec<f32>))| {
        if spec.len() != values.len() {
            return Err(StateError::Length { state, expected: spec.len(), got: values.len() });
        }
        let Scale { frac, factor } = spec.before;
        let words = values.iter().map(|value| fixed::encode::<R>(f64::from(*value) * f64::from(factor), frac));
        let words: Result<Vec<R>, _> = words.collect();
        words.map_err(|source| StateError::Value { name: spec.name.clone(), source })
    };
    specs.iter().zip(states).enumerate().map(encode).collect()
}

/// Values of a revealed state.
pub fn decode_state<R: Ring>(words: &[R], scale: Scale) -> Vec<f32> {
    words.iter().map(|word| (fixed::decode(*word, 0) * scale.unit()) as f32).collect()
}
