//! The gates of a step of training: forms and scales.

use ariann_gates::{Bilinear, LinearShape, Receiver, Windows};
use ariann_graph::Function;

use super::{Checked, FRAC, Form, LARGEST, len_of, moved, need, small, valid};
use crate::{Entry, Gate, Plan, Scale};

/// The most that a product's scale may be off the constant it stands for, relatively.
const NEAR: f64 = 1.0 / 32.0;

impl Plan {
    /// A plan that reveals ranges reveals exponents alone, to both parties, at most one for each product and function, and
    /// changes nothing.
    pub(super) fn measures(&self) -> bool {
        let [.., table, reveal] = self.gates.as_slice() else { return false };
        let exponents = matches!(&table.gate, Gate::Lookup(gate) if gate.function == Function::Exponent);
        let directly = reveal.inputs == [self.gates.len() as u32 - 2];
        let stores = self.gates.iter().any(|entry| matches!(entry.gate, Gate::Store(_)));
        let measurable = |entry: &&Entry| match &entry.gate {
            Gate::Product(_) => true,
            Gate::Lookup(gate) => gate.function != Function::Exponent,
            _ => false,
        };
        let most = self.gates.iter().filter(measurable).count();
        let to_both = self.reveal.to == Receiver::Both;
        exponents && table.scale == Scale::bits(0) && directly && !stores && to_both && self.revealed_len() <= most
    }

    /// The form of the result of a gate of training.
    pub(super) fn trained(&self, entry: &Entry, operands: &[Form]) -> Checked<Form> {
        let training = self.training.as_ref().ok_or("it belongs to training, and this plan is none")?;
        match (&entry.gate, operands) {
            (Gate::State(kept), []) => {
                let state = training.states.get(kept.state).ok_or("there is no such state")?;
                need(kept.len == state.len() && kept.len > 0, "its length is not that of the state")?;
                need(entry.scale == state.before, "its scale is not that of the state")?;
                Ok(Form::Share(kept.len))
            }
            (Gate::Store(kept), [Form::Share(len)]) => {
                let state = training.states.get(kept.state).ok_or("there is no such state")?;
                need(kept.len == state.len() && kept.len == *len, "its length is not that of the state")?;
                need(entry.scale == state.after, "its scale is not that of the state")?;
                Ok(Form::Result)
            }
            (Gate::Product(gate), [a, b]) => {
                need(bounded(&gate.of), "it has no valid shape")?;
                let both = |form: &Form| matches!(form, Form::Wire { to: Receiver::Both, .. });
                need(both(a) && both(b), "its operands are no wires that both know")?;
                need(gate.of.lens() == [len_of(a), len_of(b)], "its operands have another size")?;
                Ok(Form::Share(gate.of.out_len()))
            }
            (Gate::Reduce(gate), [operand]) => {
                let axes = gate.axes;
                need(sized([axes.outer, axes.kept, axes.inner]), "its axes are out of bounds")?;
                need(axes.len() == len_of(operand), "its operand has another size")?;
                moved(&[*operand], axes.kept)
            }
            (Gate::Spread(gate), [operand]) => {
                let axes = gate.axes;
                need(sized([axes.outer, axes.kept, axes.inner]), "its axes are out of bounds")?;
                need(axes.kept == len_of(operand), "its operand has another size")?;
                if let Form::Narrow { width, .. } = operand {
                    return Ok(Form::Narrow { len: axes.len(), width: *width });
                }
                moved(&[*operand], axes.len())
            }
            (Gate::Dropout(gate), [operand]) => {
                need((1..=256).contains(&gate.keep), "it keeps no value, or more than there are")?;
                need(gate.len == len_of(operand), "its operand has another size")?;
                moved(&[*operand], gate.len)
            }
            (Gate::Times(gate), [operand]) => {
                need(gate.factor != 0 && gate.by.is_finite() && gate.by != 0.0, "its factor is no number")?;
                need(gate.len == len_of(operand), "its operand has another size")?;
                moved(&[*operand], gate.len)
            }
            (Gate::ReluBack(gate), [operand, _]) => {
                let width = match operand {
                    Form::Narrow { width, .. } => *width,
                    Form::Wire { to: Receiver::Both, of_owner: false, .. } => self.ring,
                    _ => return Err("its operand is no wire that both know"),
                };
                need(gate.len == len_of(operand) && gate.width == width && width >= 3, "its wires have another size")?;
                let bits = entry.bits().map(|gate| &self.gates[gate as usize].gate);
                let fits = matches!(bits, Some(Gate::Relu(relu)) if relu.len == gate.len);
                need(fits, "its second operand is no ReLU of its size")?;
                Ok(Form::Wire { len: gate.len, to: gate.to, of_owner: false })
            }
            // Both have a part in the mask: of an input, one party has none.
            (Gate::MaxBack(gate), [Form::Wire { len, to: Receiver::Both, of_owner: false }, _]) => {
                need(valid(&gate.windows) && matches!(gate.windows, Windows::Pool(_)), "it has no pooling windows")?;
                need(gate.level < gate.windows.levels(), "it has no such level")?;
                need(*len == gate.windows.len_before(gate.level + 1), "its operand has another size")?;
                let bits = entry.bits().map(|gate| &self.gates[gate as usize].gate);
                let fits =
                    matches!(bits, Some(Gate::Max(max)) if max.windows == gate.windows && max.level == gate.level);
                need(fits, "its second operand is no maximum over its windows")?;
                Ok(Form::Wire { len: gate.windows.len_before(gate.level), to: Receiver::Both, of_owner: false })
            }
            _ => Err("it does not take the operands that it is given"),
        }
    }

    /// Whether the scale of the result of a gate of training follows from its operands'.
    pub(super) fn trained_scale(&self, entry: &Entry, of: impl Fn(usize) -> Scale) -> bool {
        let own = entry.scale;
        let near = |unit: f64| (own.unit() / unit - 1.0).abs() <= NEAR;
        match &entry.gate {
            // Held against the states with the form.
            Gate::State(_) => true,
            Gate::Product(_) => {
                i64::from(own.frac) == i64::from(of(0).frac) + i64::from(of(1).frac)
                    && u64::from(own.factor) == u64::from(of(0).factor) * u64::from(of(1).factor)
            }
            Gate::Dropout(gate) => near(of(0).unit() * 256.0 / f64::from(gate.keep)),
            Gate::Times(gate) => near(of(0).unit() * gate.by / gate.factor as f64),
            _ => own == of(0),
        }
    }
}

fn sized(sizes: [usize; 3]) -> bool {
    let product = sizes.iter().try_fold(1usize, |a, b| a.checked_mul(*b));
    product.is_some_and(|len| len > 0 && len <= LARGEST)
}

/// The shape of a product, before anything is computed from it.
fn bounded(of: &Bilinear) -> bool {
    match of {
        Bilinear::Forward { shape, items }
        | Bilinear::BackwardInput { shape, items }
        | Bilinear::BackwardWeights { shape, items } => {
            let layer = match shape {
                LinearShape::Conv(shape) => shape.validate().is_ok() && small(shape),
                LinearShape::Dense { inputs, outputs } => sized([*inputs, *outputs, 1]),
            };
            layer && sized([shape.in_len(), *items, 1]) && sized([shape.out_len(), *items, 1])
        }
        Bilinear::Channels(axes) | Bilinear::Inner(axes) => sized([axes.outer, axes.kept, axes.inner]),
    }
}

/// Scales of states are within bounds.
pub(super) fn sensible(scale: Scale) -> bool {
    (-FRAC..=FRAC).contains(&scale.frac) && scale.factor > 0
}
