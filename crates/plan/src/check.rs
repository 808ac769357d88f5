//! Type check of a plan: every gate gets a value of the form and size it takes, known to whom it must be.
//!
//! A plan comes from a file or from the other party; nobody runs one that this does not accept.

use ariann_gates::linear::{HOLDER, Weights};
use ariann_gates::{LinearShape, Party, Receiver, Window, Windows};
use ariann_ring::ConvShape;

use crate::{Entry, Gate, InputSpec, Plan, Revealed, VERSION};

/// What is wrong with a plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// Another version.
    #[error("the plan has version {0}, this program runs version {VERSION}; make it again")]
    Version(u32),
    /// A field of the head.
    #[error("the plan's {0}; make it again with `ariann plan`")]
    Head(&'static str),
    /// A gate.
    #[error("the plan's gate {number} ({name}): {reason}; make it again with `ariann plan`")]
    Gate {
        /// Its number.
        number: usize,
        /// Its name.
        name: String,
        /// What is wrong.
        reason: &'static str,
    },
}

/// The form of a value between two gates.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Nothing,
    Share(usize),
    /// The owner's input: masked by the owner alone, so only a linear layer takes it.
    Input(usize),
    /// `own`: its mask is the parties' words of the gate before, whole. A linear layer and a revealed wire need that.
    Wire {
        len: usize,
        width: u32,
        to: Receiver,
        own: bool,
    },
    Ranked {
        len: usize,
        width: u32,
    },
}

const LARGEST: usize = 1 << 32;
/// The most fractional bits of a sensible scale.
const FRAC: i64 = 1 << 10;

impl Plan {
    /// Accepts or refuses the plan.
    pub fn check(&self) -> Result<(), CheckError> {
        if self.version != VERSION {
            return Err(CheckError::Version(self.version));
        }
        let head = |wrong: bool, reason| if wrong { Err(CheckError::Head(reason)) } else { Ok(()) };
        head(self.ring != 32 && self.ring != 64, "ring is neither 32 nor 64 bits wide")?;
        head(self.scales.ring_bits != self.ring, "scales belong to another ring")?;
        head(self.scales.layers.len() != self.linear_gates().count(), "scales do not match its linear gates")?;
        let product = self.input.shape.iter().try_fold(1usize, |a, b| a.checked_mul(*b));
        head(product.is_none_or(|len| len == 0 || len > LARGEST), "input shape is out of bounds")?;
        let [least, greatest] = self.input.range;
        head(!least.is_finite() || !greatest.is_finite() || least > greatest, "input range is empty or not finite")?;
        let InputSpec { scale, mean, std, .. } = &self.input;
        head(!scale.is_finite() || *scale <= 0.0, "input scale is not positive")?;
        head(mean.iter().any(|mean| !mean.is_finite()), "input mean is not finite")?;
        head(std.iter().any(|std| !std.is_finite() || *std <= 0.0), "input deviation is not positive")?;
        head(self.gates.len() < 3 || self.gates.len() >= 1 << 24, "number of gates is out of bounds")?;
        let mut form = Form::Nothing;
        for (number, entry) in self.gates.iter().enumerate() {
            form = self.step(number, &entry.gate, form).map_err(|reason| CheckError::Gate {
                number,
                name: entry.name.clone(),
                reason,
            })?;
        }
        head(!matches!(self.gates.last(), Some(Entry { gate: Gate::Reveal(_), .. })), "gates do not end in a result")?;
        self.check_scales()
    }

    /// The scales belong to the windows that the gates open.
    fn check_scales(&self) -> Result<(), CheckError> {
        let mut frac = i64::from(self.scales.input_frac);
        let small = |frac: i64| frac.abs() <= FRAC;
        let mut fits = small(frac);
        for ((number, _), scale) in self.linear_gates().zip(&self.scales.layers) {
            let opened = match self.gates.get(number as usize + 1).map(|entry| &entry.gate) {
                Some(Gate::Open(open)) => Some(open.window),
                _ => None,
            };
            fits &= opened == scale.truncated.then_some(Window { shift: scale.shift, top: scale.top });
            fits &= scale.truncated || (scale.shift == 0 && scale.top == self.ring);
            fits &= small(i64::from(scale.weight_frac));
            frac += i64::from(scale.weight_frac) - i64::from(scale.shift);
            fits &= small(frac);
        }
        fits &= frac == i64::from(self.output.frac_bits);
        if fits { Ok(()) } else { Err(CheckError::Head("scales are not those of its gates")) }
    }

    fn step(&self, number: usize, gate: &Gate, form: Form) -> Result<Form, &'static str> {
        let need = |ok: bool, reason| if ok { Ok(()) } else { Err(reason) };
        need((number == 0) == matches!(gate, Gate::Input(_)), "an input is the first gate and no other")?;
        match (gate, form) {
            (Gate::Input(gate), Form::Nothing) => {
                need(gate.len == self.input_len(), "its length is not that of the input")?;
                Ok(Form::Input(gate.len))
            }
            (Gate::Linear(gate), form @ (Form::Wire { .. } | Form::Input(_))) => {
                let (len, to) = match form {
                    Form::Wire { len, width, to, own } => {
                        need(own && width == self.ring, "its operand is no freshly opened wire of the whole ring")?;
                        (len, to)
                    }
                    _ => (self.input_len(), Receiver::Both),
                };
                let bounded = match &gate.shape {
                    LinearShape::Conv(shape) => shape.validate().is_ok() && small(shape),
                    LinearShape::Dense { inputs, outputs } => {
                        inputs.checked_mul(*outputs).is_some_and(|len| len <= LARGEST)
                    }
                };
                need(bounded, "it has no valid shape")?;
                need(gate.weights == self.weights, "its weights are not known to whom the plan says")?;
                need(gate.shape.in_len() == len, "its operand has another size")?;
                need(gate.shape.out_len() > 0 && gate.shape.out_len() <= LARGEST, "its output is out of bounds")?;
                need(gate.source as usize + 1 == number, "its operand's mask is another gate's")?;
                need(gate.masked_by == [number > 1, true], "its operand is masked by others")?;
                let multiplier = match gate.weights {
                    Weights::Held => HOLDER,
                    Weights::Shared | Weights::Public => Party::P1,
                };
                let both = gate.weights != Weights::Shared || to == Receiver::Both;
                need(both && to.includes(multiplier), "its operand is not open to the party that multiplies")?;
                Ok(Form::Share(gate.shape.out_len()))
            }
            (Gate::Open(gate), Form::Share(len)) => {
                need(gate.len == len, "it opens another number of values")?;
                let window = gate.window;
                need(window.top <= self.ring && window.shift < window.top, "its window is not within the ring")?;
                let whole = window.shift == 0 && window.top == self.ring;
                need(whole || window.width() >= 3, "its window is narrower than 3 bits")?;
                need(whole || gate.to == Receiver::Both, "a window is opened to both")?;
                Ok(Form::Wire { len, width: window.width(), to: gate.to, own: whole })
            }
            (Gate::Max(gate), Form::Wire { len, width, to: Receiver::Both, .. }) => {
                need(valid(&gate.windows), "its windows have no valid shape")?;
                need(matches!(gate.windows, Windows::Pool(_)), "it has no pooling windows")?;
                need(gate.level < gate.windows.levels(), "it has no such level")?;
                need(gate.windows.len_before(gate.level) == len && gate.width == width, "its wires have another size")?;
                Ok(Form::Wire { len: gate.windows.len_before(gate.level + 1), width, to: Receiver::Both, own: false })
            }
            (Gate::Relu(gate), Form::Wire { len, width, to: Receiver::Both, .. }) => {
                need(gate.len == len && gate.width == width && width >= 3, "its wires have another size")?;
                Ok(Form::Wire { len, width: self.ring, to: gate.to, own: true })
            }
            (Gate::Truncate(gate), Form::Wire { len, width, to: Receiver::Both, .. }) => {
                need(gate.len == len && gate.width == width && width >= 3, "its wires have another size")?;
                Ok(Form::Share(len))
            }
            (Gate::ArgMax(gate), Form::Wire { len, width, to: Receiver::Both, .. } | Form::Ranked { len, width }) => {
                let windows = Windows::Row(gate.len);
                need((gate.level == 0) == matches!(form, Form::Wire { .. }), "its levels are out of order")?;
                need(gate.len == self.output.classes, "it compares another number of values")?;
                need(gate.level < windows.levels(), "it has no such level")?;
                need(
                    gate.width == width && width >= 3 && gate.len >> (width - 1) == 0,
                    "its wires are too narrow for its indices",
                )?;
                need(windows.len_before(gate.level) == len, "it compares another number of values")?;
                Ok(Form::Ranked { len: windows.len_before(gate.level + 1), width })
            }
            (Gate::Reveal(gate), form) => {
                need(number + 1 == self.gates.len(), "a result is the last gate")?;
                need(gate.to == self.reveal.to, "it reveals to another receiver than the plan says")?;
                let (len, width) = match form {
                    Form::Share(len) => (len, self.ring),
                    Form::Wire { len, width, to, own } => {
                        need(own, "its wire's mask is not the gate's before it")?;
                        need(to == Receiver::Both || to == gate.to, "its wire is not known to the receiver")?;
                        (len, width)
                    }
                    Form::Ranked { len, width } => (len, width),
                    Form::Input(_) | Form::Nothing => return Err("it reveals no result"),
                };
                need(
                    (self.reveal.what == Revealed::Label) == matches!(form, Form::Ranked { .. }),
                    "it reveals another kind of result",
                )?;
                need(
                    gate.len == len && gate.width == width && len == self.revealed_len(),
                    "it reveals another number of values",
                )?;
                Ok(Form::Nothing)
            }
            _ => Err("it does not take what the gate before it gives"),
        }
    }
}

/// A valid convolution's weights and padded input are within bounds, too.
fn small(shape: &ConvShape) -> bool {
    let [top, left, bottom, right] = shape.pads;
    let padded = shape.in_channels * (shape.in_height + top + bottom) * (shape.in_width + left + right);
    shape.weight_len() <= LARGEST && padded <= LARGEST
}

/// The geometry of a pooling, before anything is computed from it: every window has a place inside the image.
fn valid(windows: &Windows) -> bool {
    let Windows::Pool(pool) = windows else { return true };
    let axis = |axis: usize| {
        let (input, pad, dilation) = (pool.input[axis], pool.pads[axis], pool.dilation[axis]);
        let positive = [input, pool.output[axis], pool.kernel[axis], pool.stride[axis], dilation];
        let small =
            positive.iter().chain([&pad]).all(|value| *value < 1 << 16) && positive.iter().all(|value| *value > 0);
        small
            && (0..pool.output[axis]).all(|at| {
                let start = at * pool.stride[axis];
                let tap = pad.saturating_sub(start).div_ceil(dilation);
                tap < pool.kernel[axis] && start + tap * dilation < pad + input
            })
    };
    let candidates = [pool.channels, pool.output[0], pool.output[1], pool.kernel[0], pool.kernel[1]];
    let product = |sizes: &[usize]| sizes.iter().try_fold(1usize, |a, b| a.checked_mul(*b));
    let bounded = |sizes: &[usize]| product(sizes).is_some_and(|len| len > 0 && len <= LARGEST);
    axis(0) && axis(1) && bounded(&candidates) && bounded(&[pool.channels, pool.input[0], pool.input[1]])
}
