//! One gate of a plan, with where its operands come from and the scale of its result.

use ariann_gates::add::Add;
use ariann_gates::argmax::ArgMax;
use ariann_gates::arrange::Rearrange;
use ariann_gates::axes::{Reduce, Spread};
use ariann_gates::clip::Clip;
use ariann_gates::cut::Cut;
use ariann_gates::dropout::Dropout;
use ariann_gates::input::Input;
use ariann_gates::linear::Linear;
use ariann_gates::max::Max;
use ariann_gates::max_back::MaxBack;
use ariann_gates::multiply::Multiply;
use ariann_gates::open::Open;
use ariann_gates::product::Product;
use ariann_gates::relu::Relu;
use ariann_gates::relu_back::ReluBack;
use ariann_gates::subtract::Subtract;
use ariann_gates::truncate::Truncate;
use ariann_gates::{Comparison, Receiver, Sign, SumShape, lookup, reveal};
use ariann_graph::Function;
use serde::{Deserialize, Serialize};

/// Fixed point of a tensor: the integer x stands for x / (2^frac · factor).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scale {
    /// Fractional bits.
    pub frac: i32,
    /// The constant factor that sums over windows leave: average pooling divides by it at no cost.
    pub factor: u32,
}

impl Scale {
    /// `frac` fractional bits and no factor.
    pub const fn bits(frac: i32) -> Self {
        Scale { frac, factor: 1 }
    }

    /// What one unit stands for.
    pub fn unit(self) -> f64 {
        2f64.powi(-self.frac) / f64::from(self.factor)
    }
}

/// One gate of the plan. Its number is its place in the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The layer it belongs to, and its part in it.
    pub name: String,
    /// The gates whose results it takes.
    pub inputs: Vec<u32>,
    /// Scale of its result.
    pub scale: Scale,
    /// What it does.
    pub gate: Gate,
}

impl Entry {
    /// The gates whose values it takes: all inputs but one whose bits alone it takes.
    pub fn operands(&self) -> &[u32] {
        match &self.gate {
            Gate::ReluBack(_) | Gate::MaxBack(_) => &self.inputs[..self.inputs.len().min(1)],
            _ => &self.inputs,
        }
    }

    /// The gate whose bits it takes.
    pub fn bits(&self) -> Option<u32> {
        match &self.gate {
            Gate::ReluBack(_) | Gate::MaxBack(_) => self.inputs.get(1).copied(),
            _ => None,
        }
    }
}

/// A gate and its parameters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Gate {
    /// The data owner's values become a wire.
    Input(Input),
    /// A share of values that outsiders shared among the parties.
    Shared(Shared),
    /// A linear layer: wire to share.
    Linear(Linear),
    /// Shares and wires to the share of their sum.
    Add(Add),
    /// Elements in other places: shares to a share, wires to a wire.
    Arrange(Rearrange),
    /// Sums over windows: share to share, wire to wire.
    Sum(SumShape),
    /// Share to wire, whole or by a window.
    Open(Open),
    /// Wire of k bits to wire of w bits.
    Cut(Cut),
    /// Difference of two wires of w bits.
    Subtract(Subtract),
    /// One level of a maximum: wires to wires.
    Max(Max),
    /// Wire of w bits to wire of k bits.
    Relu(Relu),
    /// Wire of w bits to wire of k bits, between two bounds.
    Clip(Clip),
    /// Wire of w bits to share, signed.
    Truncate(Truncate),
    /// Wire of at most 16 bits to wire of k bits, by a table.
    Lookup(Lookup),
    /// Two wires to the share of their product.
    Multiply(Multiply),
    /// One level of an argmax.
    ArgMax(ArgMax),
    /// The result, to its receiver.
    Reveal(reveal::Reveal),
    /// A tensor that outlives a step of training, as a share.
    State(Kept),
    /// The share of a state after the step.
    Store(Kept),
    /// Two wires to the share of a product over the batch.
    Product(Product),
    /// Sums over axes: share to share, wire to wire.
    Reduce(Reduce),
    /// Values spread over axes: share to share, wire to wire.
    Spread(Spread),
    /// A public pattern sets values to zero: share to share, wire to wire.
    Dropout(Dropout),
    /// Times a public constant: share to share, wire to wire.
    Times(Times),
    /// Wire of w bits to wire of k bits, by the bit of the ReLU that is its second operand.
    #[serde(rename = "relu_back")]
    ReluBack(ReluBack),
    /// Wire of k bits to wire of k bits, by the bits of the level of a maximum that is its second operand.
    #[serde(rename = "max_back")]
    MaxBack(MaxBack),
}

/// A public constant `by`, as an integer factor and another scale: the result's unit is by·(operand's unit) / factor, to a
/// relative error of 2^-5.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Times {
    /// Values.
    pub len: usize,
    /// What ring elements are multiplied by.
    pub factor: i64,
    /// What the values are multiplied by.
    pub by: f64,
}

impl Eq for Times {}

/// Values that neither party knows: who owns them gave each party its share before the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shared {
    /// Values.
    pub len: usize,
}

/// A tensor that a party keeps from step to step, as its share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// Which of the plan's states.
    pub state: usize,
    /// Values.
    pub len: usize,
}

/// A function by lookup. The table follows from the scales of operand and result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lookup {
    /// Values an item.
    pub len: usize,
    /// Bits of the operand, at most 16.
    pub width: u32,
    /// Who gets the resulting wire.
    pub to: Receiver,
    /// What it computes.
    pub function: Function,
}

impl Lookup {
    /// The gate with its table: for every signed operand, from the least, the nearest value of the function.
    pub fn gate(&self, operand: Scale, result: Scale) -> lookup::Lookup {
        let half = 1i64 << (self.width - 1);
        let value = |x: i64| {
            let y = self.function.of(x as f64 * operand.unit()) / result.unit();
            // The plan keeps results within the ring; a table beyond it saturates.
            y.round().clamp(-(2f64.powi(62)), 2f64.powi(62)) as i64
        };
        lookup::Lookup { len: self.len, width: self.width, table: (-half..half).map(value).collect(), to: self.to }
    }
}

/// What a gate compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compared {
    /// In which form.
    pub form: Comparison,
    /// On which bits.
    pub sign: Sign,
    /// How many bits that are.
    pub bits: u32,
}

impl Gate {
    /// What it compares, where it compares.
    pub fn compares(&self) -> Option<Compared> {
        let (width, form, sign) = match self {
            Gate::Max(gate) => (gate.width, gate.form, Sign::Exact),
            Gate::Relu(gate) => (gate.width, gate.form, gate.sign),
            Gate::Clip(gate) => (gate.width, gate.form, gate.sign),
            Gate::ArgMax(gate) => (gate.width, gate.form, Sign::Exact),
            _ => return None,
        };
        let dropped = if let Sign::Coarse(bits) = sign { bits } else { 0 };
        Some(Compared { form, sign, bits: width - 1 - dropped })
    }

    /// The form of its comparison, where it compares.
    pub fn form_mut(&mut self) -> Option<&mut Comparison> {
        match self {
            Gate::Max(gate) => Some(&mut gate.form),
            Gate::Relu(gate) => Some(&mut gate.form),
            Gate::Clip(gate) => Some(&mut gate.form),
            Gate::ArgMax(gate) => Some(&mut gate.form),
            _ => None,
        }
    }

    /// The gate's name in tables and errors.
    pub fn kind(&self) -> &'static str {
        match self {
            Gate::Input(_) => "input",
            Gate::Shared(_) => "shared",
            Gate::Linear(_) => "linear",
            Gate::Add(_) => "add",
            Gate::Arrange(_) => "arrange",
            Gate::Sum(_) => "sum",
            Gate::Open(_) => "open",
            Gate::Cut(_) => "cut",
            Gate::Subtract(_) => "subtract",
            Gate::Max(_) => "max",
            Gate::Relu(_) => "relu",
            Gate::Clip(_) => "clip",
            Gate::Truncate(_) => "truncate",
            Gate::Lookup(_) => "lookup",
            Gate::Multiply(_) => "multiply",
            Gate::ArgMax(_) => "argmax",
            Gate::Reveal(_) => "reveal",
            Gate::State(_) => "state",
            Gate::Store(_) => "store",
            Gate::Product(_) => "product",
            Gate::Reduce(_) => "reduce",
            Gate::Spread(_) => "spread",
            Gate::Dropout(_) => "dropout",
            Gate::Times(_) => "times",
            Gate::ReluBack(_) => "relu back",
            Gate::MaxBack(_) => "max back",
        }
    }
}
