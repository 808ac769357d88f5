//! The public plan: from a graph and options to ordered gates, from which everything else follows.
//!
//! The plan is what the dealer, both parties, the cost estimate and the tests walk alike. It holds shapes, widths and
//! exponents, and no weights. The exponents follow the logarithm of the model's value ranges: that is what a plan tells
//! about a model and its calibration data.

mod check;
mod compile;
mod cost;
mod file;
mod scales;

use ariann_gates::argmax::ArgMax;
use ariann_gates::input::Input;
use ariann_gates::linear::{Linear, Weights};
use ariann_gates::max::Max;
use ariann_gates::open::Open;
use ariann_gates::relu::Relu;
use ariann_gates::truncate::Truncate;
use ariann_gates::{Receiver, reveal};
use ariann_graph::{FixedPoint, RangeSource};
use serde::{Deserialize, Serialize};

pub use check::CheckError;
pub use compile::{CompileError, Options, compile};
pub use cost::{Totals, gate_cost};
pub use file::PlanFileError;
pub use scales::ScaleError;

/// Version of the plan's meaning; plans of another version are refused.
pub const VERSION: u32 = 1;

/// The compiled public schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// [`VERSION`].
    pub version: u32,
    /// The model's name.
    pub model: String,
    /// k: 32 or 64.
    pub ring: u32,
    /// Who knows the weights.
    pub weights: Weights,
    /// What comes out, and to whom.
    pub reveal: Reveal,
    /// What goes in.
    pub input: InputSpec,
    /// The form of the result.
    pub output: OutputSpec,
    /// Where the value ranges come from.
    pub ranges: RangeSource,
    /// Scales of the fixed-point computation.
    pub scales: FixedPoint,
    /// Gates in order.
    pub gates: Vec<Entry>,
}

/// The one thing that a run reveals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reveal {
    /// Logits, or the label alone.
    pub what: Revealed,
    /// Who learns it.
    pub to: Receiver,
}

/// Kinds of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Revealed {
    /// All outputs of the model.
    Logits,
    /// The index of the greatest.
    Label,
}

/// The declared input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputSpec {
    /// Name in the model.
    pub name: String,
    /// Shape of one item.
    pub shape: Vec<usize>,
    /// Least and greatest value; others are refused before anything is sent.
    pub range: [f64; 2],
    /// Bytes are divided by this.
    pub scale: f32,
    /// Subtracted, per channel.
    pub mean: Vec<f32>,
    /// Divided by, per channel.
    pub std: Vec<f32>,
}

/// The form of the result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputSpec {
    /// Name in the model.
    pub name: String,
    /// Outputs of the model (classes), whatever is revealed of them.
    pub classes: usize,
    /// Fractional bits of revealed logits.
    pub frac_bits: i32,
    /// The model ends in Softmax, which the receiver of the logits applies.
    pub softmax: bool,
}

/// One gate of the plan. Its number is its place in the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The layer it belongs to, and its part in it.
    pub name: String,
    /// What it does.
    pub gate: Gate,
}

/// A gate and its parameters. Each gate takes the result of the one before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Gate {
    /// The data owner's values become a wire.
    Input(Input),
    /// A linear layer: wire to share.
    Linear(Linear),
    /// Share to wire, whole or by a window.
    Open(Open),
    /// One level of a maximum: wires to wires.
    Max(Max),
    /// Wire of w bits to wire of k bits.
    Relu(Relu),
    /// Wire of w bits to share, signed.
    Truncate(Truncate),
    /// One level of an argmax.
    ArgMax(ArgMax),
    /// The result, to its receiver.
    Reveal(reveal::Reveal),
}

impl Gate {
    /// The gate's name in tables and errors.
    pub fn kind(&self) -> &'static str {
        match self {
            Gate::Input(_) => "input",
            Gate::Linear(_) => "linear",
            Gate::Open(_) => "open",
            Gate::Max(_) => "max",
            Gate::Relu(_) => "relu",
            Gate::Truncate(_) => "truncate",
            Gate::ArgMax(_) => "argmax",
            Gate::Reveal(_) => "reveal",
        }
    }
}

impl Plan {
    /// Linear gates in order, with their numbers. The n-th belongs to the n-th linear layer of the graph and of `scales`.
    pub fn linear_gates(&self) -> impl Iterator<Item = (u32, &Linear)> {
        self.gates.iter().enumerate().filter_map(|(number, entry)| match &entry.gate {
            Gate::Linear(linear) => Some((number as u32, linear)),
            _ => None,
        })
    }

    /// Values of one item's input.
    pub fn input_len(&self) -> usize {
        self.input.shape.iter().product()
    }

    /// Values that one item's result has at its receiver.
    pub fn revealed_len(&self) -> usize {
        match self.reveal.what {
            Revealed::Logits => self.output.classes,
            Revealed::Label => 1,
        }
    }
}
