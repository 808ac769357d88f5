//! From a graph and options to a plan.

use ariann_gates::Comparison;
use ariann_gates::linear::Weights;
use ariann_graph::{Graph, RangeSource, Ranges};
use serde::{Deserialize, Serialize};

use crate::build::{Builder, Choice};
use crate::scales::{ScaleError, Scales};
use crate::{Forecast, InputSpec, Link, OutputSpec, Pixels, Plan, Rates, Reveal, Revealed, VERSION, gate_cost};

/// What the planner may choose.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// k: 32 or 64.
    pub ring: u32,
    /// Who knows the weights.
    pub weights: Weights,
    /// What comes out, and to whom.
    pub reveal: Reveal,
    /// Declared range of the input.
    pub input_range: [f64; 2],
    /// What happens to the pixels of images first.
    pub pixels: Pixels,
    /// Preprocessing of bytes: scale, mean and deviation per channel.
    pub scale: f32,
    /// Subtracted, per channel.
    pub mean: Vec<f32>,
    /// Divided by, per channel.
    pub std: Vec<f32>,
    /// What the form of each comparison is chosen for.
    pub optimize: Optimize,
    /// How ReLU decides a sign.
    pub sign: SignChoice,
    /// The link that the forecast is made for.
    pub link: Link,
    /// Items that are run together, for the forecast.
    pub items: usize,
}

/// What the form of each comparison is chosen for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Optimize {
    /// The least forecast time.
    #[default]
    Time,
    /// The fewest exchanges.
    Latency,
    /// The least material.
    Material,
}

/// How ReLU decides a sign.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignChoice {
    /// On the whole opened value.
    #[default]
    Exact,
    /// On its top bits, with a unit of a small part of the value's root mean square (docs/accuracy.md).
    Coarse,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// Rings are 32 or 64 bits wide.
    #[error("a ring of {0} bits is not supported; use --ring 32 or --ring 64")]
    Ring(u32),
    /// The model cannot be held by the ring.
    #[error(transparent)]
    Scale(#[from] ScaleError),
    /// Layers that no gate computes, all of them.
    #[error("these layers cannot be computed privately yet:\n{}", .0.join("\n"))]
    Unsupported(Vec<String>),
    /// The label of one output says nothing.
    #[error("the model has one output ({0}), so its label is always 0; use --reveal logits")]
    OneClass(String),
    /// A coarse unit follows what values really are.
    #[error("--sign coarse takes its units from observed values; give --calibration FILE, or use --sign exact")]
    CoarseUnproven,
    /// A step of the optimiser is below what fixed point tells.
    #[error(
        "{layer}: a rate of {lr:e} changes a parameter by at most {max:.1e} a step, less than the {least:.1e} that this ring tells \
         apart; use a greater rate, or --ring 64"
    )]
    Rate {
        /// The parameter.
        layer: String,
        /// The learning rate, or the weight decay.
        lr: f64,
        /// The least change.
        least: f64,
        /// The greatest change that the rehearsal saw.
        max: f64,
    },
    /// The ranges belong to another graph.
    #[error("the value ranges list {got} layers and the model has {expected}; calibrate again with this model")]
    Ranges {
        /// Layers of the model.
        expected: usize,
        /// Layers of the ranges.
        got: usize,
    },
}

/// Compiles `graph` with the value ranges in `ranges`.
pub fn compile(graph: &Graph, ranges: &Ranges, options: &Options) -> Result<Plan, CompileError> {
    if options.ring != 32 && options.ring != 64 {
        return Err(CompileError::Ring(options.ring));
    }
    if graph.nodes.len() != ranges.nodes.len() {
        return Err(CompileError::Ranges { expected: graph.nodes.len(), got: ranges.nodes.len() });
    }
    if options.reveal.what == Revealed::Label && graph.output_len() < 2 {
        return Err(CompileError::OneClass(graph.output_name.clone()));
    }
    if options.sign == SignChoice::Coarse && ranges.source == RangeSource::Proven {
        return Err(CompileError::CoarseUnproven);
    }
    let scales = Scales::new(graph, ranges, options.ring)?;
    let head = Head { ring: options.ring, weights: options.weights, reveal: options.reveal };
    let gates = Builder::new(graph, head, Choice::Ranges { scales: Box::new(scales), sign: options.sign }).build()?;
    let mut plan = Plan {
        version: VERSION,
        model: graph.name.clone(),
        ring: options.ring,
        weights: options.weights,
        reveal: options.reveal,
        input: InputSpec {
            name: graph.input.name.clone(),
            shape: graph.input.shape.clone(),
            range: options.input_range,
            pixels: options.pixels,
            scale: options.scale,
            mean: options.mean.clone(),
            std: options.std.clone(),
        },
        output: OutputSpec {
            name: graph.output_name.clone(),
            classes: graph.output_len(),
            scale: gates.last().expect("a plan has gates").scale,
            softmax: graph.softmax,
        },
        ranges: ranges.source,
        training: None,
        gates,
    };
    choose_forms(&mut plan, options.optimize, &options.link, options.items);
    Ok(plan)
}

/// The head of a plan, as far as gates depend on it.
#[derive(Clone, Copy)]
pub(crate) struct Head {
    pub ring: u32,
    pub weights: Weights,
    pub reveal: Reveal,
}

impl Plan {
    /// Whether this plan computes `graph`: the gates are those that its layers compile to, with this plan's scales.
    pub fn computes(&self, graph: &Graph) -> bool {
        if graph.input.shape != self.input.shape {
            return false;
        }
        let head = Head { ring: self.ring, weights: self.weights, reveal: self.reveal };
        let Ok(gates) = Builder::new(graph, head, Choice::Plan(self)).build() else { return false };
        let same =
            |(a, b): (&crate::Entry, &crate::Entry)| a.gate == b.gate && a.inputs == b.inputs && a.scale == b.scale;
        gates.len() == self.gates.len() && gates.iter().zip(&self.gates).all(same)
    }
}

/// Gives each comparison the form that `optimize` asks for.
pub(crate) fn choose_forms(plan: &mut Plan, optimize: Optimize, link: &Link, items: usize) {
    let (ring, rates) = (plan.ring, Rates::default());
    for entry in &mut plan.gates {
        let Some(bits) = entry.gate.compares().map(|compared| compared.bits) else { continue };
        if ariann_gates::drelu::chunked(bits).is_none() {
            continue;
        }
        let with = |form: Comparison| {
            let mut gate = entry.gate.clone();
            *gate.form_mut().expect("it compares") = form;
            let cost = gate_cost(&gate, ring);
            let seconds =
                Forecast::of(&cost, gate.compares().map(|compared| compared.bits), form, items, link, &rates).seconds();
            (seconds, cost.material.iter().sum::<usize>(), cost.exchanges.len())
        };
        let (dpf, chunks) = (with(Comparison::Dpf), with(Comparison::Chunks));
        let better = match optimize {
            Optimize::Time => chunks.0 < dpf.0,
            Optimize::Latency => chunks.2 < dpf.2 || (chunks.2 == dpf.2 && chunks.0 < dpf.0),
            Optimize::Material => chunks.1 < dpf.1,
        };
        *entry.gate.form_mut().expect("it compares") = if better { Comparison::Chunks } else { Comparison::Dpf };
    }
}
