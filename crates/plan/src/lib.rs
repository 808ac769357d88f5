//! The public plan: from a graph and options to ordered gates, from which everything else follows.
//!
//! The plan is what the dealer, both parties, the cost estimate and the tests walk alike. It holds shapes, widths and
//! exponents, and no weights. The exponents follow the logarithm of the model's value ranges: that is what a plan tells
//! about a model and its calibration data.

mod build;
mod check;
pub mod clear;
mod compile;
mod cost;
mod encode;
mod file;
mod forecast;
mod gate;
mod opened;
mod pixels;
mod scales;
pub mod training;

use std::collections::BTreeMap;

use ariann_gates::Receiver;
use ariann_gates::linear::{Linear, Weights};
use ariann_graph::RangeSource;
use ariann_graph::training::Role;
use serde::{Deserialize, Serialize};

pub use check::CheckError;
pub use compile::{CompileError, Optimize, Options, SignChoice, compile};
pub use cost::{Totals, gate_cost};
pub use encode::{EncodeError, LayerWords, encode_weights};
pub use file::PlanFileError;
pub use forecast::{Forecast, Link, Rates};
pub use gate::{Compared, Entry, Gate, Kept, Lookup, Scale, Shared, Times};
pub use opened::Opens;
pub use pixels::{Filter, Order, Pixels, Resize};
pub use scales::ScaleError;

/// Version of the plan's meaning; plans of another version are refused.
pub const VERSION: u32 = 2;

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
    /// What a step of training keeps; none in a prediction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<Training>,
    /// Gates in order.
    pub gates: Vec<Entry>,
}

/// What a step of training, or an evaluation between steps, takes and keeps. Its gates work on whole batches: it is run with
/// one item, which is the batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// Items of a batch.
    pub batch: usize,
    /// The states, which all plans of one training have in the same order.
    pub states: Vec<StateSpec>,
}

/// A tensor that outlives a step, as additive shares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateSpec {
    /// Its name in the model; a velocity has its parameter's.
    pub name: String,
    /// What it is.
    pub role: Role,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its scale before the step.
    pub before: Scale,
    /// Its scale after the step: the same, but where scales are chosen anew.
    pub after: Scale,
}

impl StateSpec {
    /// Values.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// It has no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
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
    /// The loss of a step of training, summed over its batch.
    Loss,
    /// A state: parameters of the model, or how many items were classified rightly.
    State,
    /// Nothing: what is computed stays shared.
    Nothing,
    /// A power of two for each product of a step of training, above its greatest magnitude: what new scales are chosen by.
    Ranges,
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
    /// What happens to the pixels of images first.
    pub pixels: Pixels,
    /// Bytes are divided by this.
    pub scale: f32,
    /// Subtracted, per channel.
    pub mean: Vec<f32>,
    /// Divided by, per channel.
    pub std: Vec<f32>,
}

impl InputSpec {
    /// Values that are taken as they are.
    pub fn plain(name: &str, shape: &[usize], range: [f64; 2]) -> InputSpec {
        InputSpec {
            name: name.to_string(),
            shape: shape.to_vec(),
            range,
            pixels: Pixels::default(),
            scale: 1.0,
            mean: vec![0.0],
            std: vec![1.0],
        }
    }
}

/// The form of the result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputSpec {
    /// Name in the model.
    pub name: String,
    /// Outputs of the model (classes), whatever is revealed of them.
    pub classes: usize,
    /// Scale of revealed logits.
    pub scale: Scale,
    /// The model ends in Softmax, which the receiver of the logits applies.
    pub softmax: bool,
}

impl Plan {
    /// Linear gates in order, with their numbers. The n-th belongs to the n-th linear layer of the graph.
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

    /// Whether outside clients share its inputs, and alone learn its results.
    pub fn for_clients(&self) -> bool {
        self.reveal.to == Receiver::Client
    }

    /// Fractional bits of the input.
    pub fn input_frac(&self) -> i32 {
        self.gates.first().map_or(0, |entry| entry.scale.frac)
    }

    /// Values that one item's result has at its receiver.
    pub fn revealed_len(&self) -> usize {
        match self.reveal.what {
            Revealed::Logits => self.output.classes,
            Revealed::Label | Revealed::Loss => 1,
            Revealed::State | Revealed::Ranges => self.gates.last().map_or(0, |entry| match &entry.gate {
                Gate::Reveal(gate) => gate.len,
                _ => 0,
            }),
            Revealed::Nothing => 0,
        }
    }

    /// Who knows the wire that gate `number` gives.
    pub fn wire_to(&self, number: u32) -> Receiver {
        let entry = &self.gates[number as usize];
        match &entry.gate {
            Gate::Open(gate) => gate.to,
            Gate::Relu(gate) => gate.to,
            Gate::Clip(gate) => gate.to,
            Gate::Lookup(gate) => gate.to,
            Gate::ReluBack(gate) => gate.to,
            Gate::Arrange(_) | Gate::Sum(_) | Gate::Reduce(_) | Gate::Spread(_) | Gate::Dropout(_) | Gate::Times(_) => {
                let known = entry.inputs.iter().map(|input| self.wire_to(*input));
                known.reduce(|a, b| if a == Receiver::Both { b } else { a }).unwrap_or(Receiver::Both)
            }
            _ => Receiver::Both,
        }
    }

    /// For every gate that compares and whose bits a later gate takes, the last one that does.
    pub fn kept_bits(&self) -> BTreeMap<u32, u32> {
        let takes = |(number, entry): (usize, &Entry)| Some((entry.bits()?, number as u32));
        self.gates.iter().enumerate().filter_map(takes).collect()
    }

    /// For every gate the last gate that reads its result.
    pub fn last_uses(&self) -> Vec<usize> {
        let mut last: Vec<usize> = (0..self.gates.len()).collect();
        for (number, entry) in self.gates.iter().enumerate() {
            entry.operands().iter().for_each(|input| last[*input as usize] = number);
        }
        last
    }
}
