//! Type check of a plan: every gate gets a value of the form and size it takes, known to whom it must be.
//!
//! A plan comes from a file or from the other party; nobody runs one that this does not accept.

use ariann_gates::linear::{HOLDER, Weights};
use ariann_gates::{LinearShape, Party, Receiver, Windows};

use crate::{Gate, Plan, Revealed, VERSION};

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
    Wire { len: usize, width: u32, to: Receiver },
    Ranked { len: usize, width: u32 },
}

const LARGEST: usize = 1 << 32;

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
        head(!(self.input.range[0] <= self.input.range[1]), "input range is empty")?;
        head(self.gates.len() < 3 || self.gates.len() >= 1 << 24, "number of gates is out of bounds")?;
        let mut form = Form::Nothing;
        for (number, entry) in self.gates.iter().enumerate() {
            form = self.step(number, &entry.gate, form).map_err(|reason| CheckError::Gate { number, name: entry.name.clone(), reason })?;
        }
        head(form != Form::Nothing, "gates do not end in a result")
    }

    fn step(&self, number: usize, gate: &Gate, form: Form) -> Result<Form, &'static str> {
        let need = |ok: bool, reason| if ok { Ok(()) } else { Err(reason) };
        need((number == 0) == matches!(gate, Gate::Input(_)), "an input is the first gate and no other")?;
        match (gate, form) {
            (Gate::Input(gate), Form::Nothing) => {
                need(gate.len == self.input_len(), "its length is not that of the input")?;
                Ok(Form::Wire { len: gate.len, width: self.ring, to: Receiver::Both })
            }
            (Gate::Linear(gate), Form::Wire { len, width, to }) => {
                if let LinearShape::Conv(shape) = &gate.shape {
                    need(shape.validate().is_ok(), "its convolution has no valid shape")?;
                }
                need(gate.weights == self.weights, "its weights are not known to whom the plan says")?;
                need(gate.shape.in_len() == len && width == self.ring, "its operand has another size")?;
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
                Ok(Form::Wire { len, width: window.width(), to: gate.to })
            }
            (Gate::Max(gate), Form::Wire { len, width, to: Receiver::Both }) => {
                need(valid(&gate.windows), "its windows have no valid shape")?;
                need(gate.level < gate.windows.levels(), "it has no such level")?;
                need(gate.windows.len_before(gate.level) == len && gate.width == width, "its wires have another size")?;
                Ok(Form::Wire { len: gate.windows.len_before(gate.level + 1), width, to: Receiver::Both })
            }
            (Gate::Relu(gate), Form::Wire { len, width, to: Receiver::Both }) => {
                need(gate.len == len && gate.width == width && width >= 3, "its wires have another size")?;
                Ok(Form::Wire { len, width: self.ring, to: gate.to })
            }
            (Gate::Truncate(gate), Form::Wire { len, width, to: Receiver::Both }) => {
                need(gate.len == len && gate.width == width && width >= 3, "its wires have another size")?;
                Ok(Form::Share(len))
            }
            (Gate::ArgMax(gate), Form::Wire { len, width, to: Receiver::Both } | Form::Ranked { len, width }) => {
                let windows = Windows::Row(gate.len);
                need((gate.level == 0) == matches!(form, Form::Wire { .. }), "its levels are out of order")?;
                need(gate.level < windows.levels(), "it has no such level")?;
                need(gate.width == width && width >= 3 && gate.len >> (width - 1) == 0, "its wires are too narrow for its indices")?;
                need(windows.len_before(gate.level) == len, "it compares another number of values")?;
                Ok(Form::Ranked { len: windows.len_before(gate.level + 1), width })
            }
            (Gate::Reveal(gate), form) => {
                need(number + 1 == self.gates.len(), "a result is the last gate")?;
                need(gate.to == self.reveal.to, "it reveals to another receiver than the plan says")?;
                let (len, width) = match form {
                    Form::Share(len) => (len, self.ring),
                    Form::Wire { len, width, to } => {
                        need(to == Receiver::Both || to == gate.to, "its wire is not known to the receiver")?;
                        (len, width)
                    }
                    Form::Ranked { len, width } => (len, width),
                    Form::Nothing => (0, 0),
                };
                need((self.reveal.what == Revealed::Label) == matches!(form, Form::Ranked { .. }), "it reveals another kind of result")?;
                need(gate.len == len && gate.width == width && len == self.revealed_len(), "it reveals another number of values")?;
                Ok(Form::Nothing)
            }
            _ => Err("it does not take what the gate before it gives"),
        }
    }
}

/// The geometry of a pooling, before anything is computed from it.
fn valid(windows: &Windows) -> bool {
    let Windows::Pool(pool) = windows else { return true };
    let axis = |axis: usize| {
        let positive = [pool.input[axis], pool.output[axis], pool.kernel[axis], pool.stride[axis], pool.dilation[axis]];
        let small = positive.iter().chain([&pool.pads[axis]]).all(|value| *value < 1 << 16);
        // Every window begins inside the image or reaches into it.
        let reach = (pool.kernel[axis].wrapping_sub(1)).wrapping_mul(pool.dilation[axis]);
        positive.iter().all(|value| *value > 0)
            && small
            && pool.pads[axis] <= reach
            && (pool.output[axis] - 1) * pool.stride[axis] < pool.input[axis] + pool.pads[axis]
    };
    pool.channels > 0 && pool.channels < 1 << 24 && axis(0) && axis(1)
}
