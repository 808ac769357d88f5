//! The plan that multiplies a pair's update with its public weight c / 2^q.
//!
//! A share cannot be divided locally. Each value is opened by a window that drops q bits, without bias, and its signed share is
//! multiplied with the integer c <= 2^q: the result has the scale that the state had, so that updates of several pairs can be
//! summed, and added to the state. Its error is below 1.5·c units of the state, with mean zero.
//!
//! Bound: |update| <= 2^(k-2) - 2^(q+1) units of the state, as for every signed truncation; |c·(update / 2^q)| then stays below
//! 2^(k-2) too. States are planned with three bits of room above what the rehearsal saw of them, within k - 2 bits: an update
//! that goes beyond the bound has moved a parameter eight times as far as it ever was from zero.

use ariann_device::Window;
use ariann_gates::Receiver;
use ariann_gates::open::Open;
use ariann_gates::truncate::Truncate;
use ariann_graph::training::Role;
use ariann_plan::{Entry, Gate, Kept, Plan, Reveal, Revealed, Scale, StateSpec, Times, Training};

/// q, the fractional bits of a weight, in a ring of 32 and of 64 bits.
const BITS: [u32; 2] = [12, 20];

/// Fractional bits of the weights of updates in a ring of `ring` bits.
pub fn weight_bits(ring: u32) -> u32 {
    BITS[usize::from(ring == 64)]
}

/// Whether a pair's training changes a state, so that its update enters the sum.
pub fn is_averaged(role: Role) -> bool {
    matches!(role, Role::Parameter | Role::Running)
}

/// The plan for states that hold updates, at these scales. `basis` is any plan of the training.
pub(crate) fn weigh(basis: &Plan, scales: &[Scale], weight: u64) -> Plan {
    weigh_finely(basis, scales, weight, weight_bits(basis.ring))
}

/// The same for a weight of q fractional bits.
pub(crate) fn weigh_finely(basis: &Plan, scales: &[Scale], weight: u64, q: u32) -> Plan {
    let mut training = Training::clone(basis.training.as_ref().expect("a plan of training"));
    for (state, scale) in training.states.iter_mut().zip(scales) {
        (state.before, state.after) = (*scale, *scale);
    }
    let window = Window { shift: q, top: basis.ring };
    let mut gates: Vec<Entry> = Vec::new();
    let averaged = |(_, state): &(usize, &StateSpec)| is_averaged(state.role) && !state.is_empty();
    for (index, state) in training.states.iter().enumerate().filter(averaged) {
        let (len, own) = (state.len(), state.before);
        let coarse = Scale { frac: own.frac - q as i32, ..own };
        let kept = Kept { state: index, len };
        let by = weight as f64 * 2f64.powi(-(q as i32));
        let parts = [
            ("update", own, Gate::State(kept)),
            ("window", coarse, Gate::Open(Open { len, window, to: Receiver::Both })),
            ("cut", coarse, Gate::Truncate(Truncate { len, width: window.width() })),
            ("weight", own, Gate::Times(Times { len, factor: weight as i64, by })),
            ("store", own, Gate::Store(kept)),
        ];
        for (place, (part, scale, gate)) in parts.into_iter().enumerate() {
            let inputs = if place == 0 { vec![] } else { vec![gates.len() as u32 - 1] };
            gates.push(Entry { name: format!("{}/{part}", state.name), inputs, scale, gate });
        }
    }
    Plan {
        reveal: Reveal { what: Revealed::Nothing, to: Receiver::Both },
        training: Some(training),
        gates,
        ..basis.clone()
    }
}
