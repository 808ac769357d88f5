//! From the graph of a training step to a plan: every value gets a scale by the rules of docs/protocol.md ("Training"), and
//! every node the gates that compute it.

mod build;
mod measure;
mod nodes;
mod refine;
mod renew;
mod scales;
mod states;
mod update;

use ariann_gates::{Party, Receiver, reveal};
use ariann_graph::RangeSource;
use ariann_graph::training::{StepGraph, StepRanges};
use serde::{Deserialize, Serialize};

use crate::compile::choose_forms;
use crate::{
    CompileError, Entry, Gate, InputSpec, Kept, Link, Optimize, OutputSpec, Plan, Reveal, Revealed, Scale, SignChoice,
    StateSpec, Training, VERSION,
};
use build::Builder;
use scales::Scales;

pub use measure::{RangesError, exponents, measured};
pub use renew::{renew, renew_evaluation};
pub use states::{StateError, decode_state, encode_states};

/// Bits of margin above the ranges of a rehearsal.
pub const MARGIN: u32 = 4;

/// Who brings items, or their labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// P0 has them.
    P0,
    /// P1 has them.
    P1,
    /// Data owners shared them among the parties, and neither knows any.
    Owners,
}

impl Source {
    /// The party that has them; none where owners shared them.
    pub fn party(self) -> Option<Party> {
        match self {
            Source::P0 => Some(Party::P0),
            Source::P1 => Some(Party::P1),
            Source::Owners => None,
        }
    }
}

impl From<Party> for Source {
    fn from(party: Party) -> Source {
        match party {
            Party::P0 => Source::P0,
            Party::P1 => Source::P1,
        }
    }
}

impl PartialEq<Party> for Source {
    fn eq(&self, party: &Party) -> bool {
        self.party() == Some(*party)
    }
}

/// What the planner may choose for training.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingOptions {
    /// k: 32 or 64.
    pub ring: u32,
    /// Bits of margin above the ranges: [`MARGIN`].
    pub margin: u32,
    /// Who brings the items.
    pub features: Source,
    /// Who brings the labels.
    pub labels: Source,
    /// Who learns the loss of each step, where anybody does; the graph must compute it.
    pub loss: Option<Receiver>,
    /// The declared input: shape of one item and what happens to its values first.
    pub input: InputSpec,
    /// What the form of each comparison is chosen for.
    pub optimize: Optimize,
    /// How ReLU decides a sign.
    pub sign: SignChoice,
    /// The link that the forecast is made for.
    pub link: Link,
    /// Scales of the states before the step, when another plan stored them; those of this plan otherwise.
    pub before: Option<Vec<Scale>>,
    /// Scales at which owners shared items and labels, when another plan chose them; those of this plan otherwise.
    pub shared: Option<[Scale; 2]>,
}

/// Compiles one step, or one evaluation, with the ranges of a rehearsal.
pub fn compile(step: &StepGraph, ranges: &StepRanges, options: &TrainingOptions) -> Result<Plan, CompileError> {
    let gates = builder(step, ranges, options)?.build()?;
    let reveal = match options.loss {
        Some(to) => Reveal { what: Revealed::Loss, to },
        None => Reveal { what: Revealed::Nothing, to: Receiver::Both },
    };
    Ok(planned(step, ranges, options, reveal, gates))
}

/// Compiles the plan that measures the ranges of a step: it reveals one exponent for each of [`measured`], to both parties, and
/// changes no state; [`exponents`] reads them. States have the scales of `options.before`, or their own; the loss is not computed.
pub fn measure(step: &StepGraph, ranges: &StepRanges, options: &TrainingOptions) -> Result<Plan, CompileError> {
    let gates = builder(step, ranges, options)?.build_measuring()?;
    Ok(planned(step, ranges, options, Reveal { what: Revealed::Ranges, to: Receiver::Both }, gates))
}

/// Compiles the forward pass of a model that stays shared, for outside clients: they share the items, and alone learn the outputs.
/// `ranges` are those of the evaluation, whose first nodes are those of `forward`. No state is changed.
pub fn answer(forward: &StepGraph, ranges: &StepRanges, options: &TrainingOptions) -> Result<Plan, CompileError> {
    let nodes = ranges.nodes.iter().take(forward.nodes.len()).copied().collect();
    let ranges = StepRanges { nodes, ..ranges.clone() };
    let options = TrainingOptions { features: Source::Owners, labels: Source::Owners, loss: None, ..options.clone() };
    let gates = builder(forward, &ranges, &options)?.build_answering()?;
    Ok(planned(forward, &ranges, &options, Reveal { what: Revealed::Logits, to: Receiver::Client }, gates))
}

fn builder<'a>(
    step: &'a StepGraph,
    ranges: &'a StepRanges,
    options: &'a TrainingOptions,
) -> Result<Builder<'a>, CompileError> {
    if options.ring != 32 && options.ring != 64 {
        return Err(CompileError::Ring(options.ring));
    }
    if step.nodes.len() != ranges.nodes.len() || step.states.len() != ranges.states.len() {
        return Err(CompileError::Ranges { expected: step.nodes.len(), got: ranges.nodes.len() });
    }
    Ok(Builder::new(step, Scales::new(step, ranges, options)?, options))
}

fn planned(
    step: &StepGraph,
    ranges: &StepRanges,
    options: &TrainingOptions,
    reveal: Reveal,
    (gates, states): (Vec<Entry>, Vec<StateSpec>),
) -> Plan {
    let mut plan = Plan {
        version: VERSION,
        model: step.name.clone(),
        ring: options.ring,
        weights: ariann_gates::linear::Weights::Shared,
        reveal,
        input: options.input.clone(),
        output: OutputSpec {
            name: "output".to_string(),
            classes: step.classes,
            scale: gates.last().expect("a plan has gates").scale,
            softmax: false,
        },
        ranges: RangeSource::Calibrated { items: usize::try_from(ranges.steps).unwrap_or(usize::MAX) },
        training: Some(Training { batch: step.batch, states }),
        gates,
    };
    choose_forms(&mut plan, options.optimize, &options.link, 1);
    plan
}

/// The plan that reveals one state of `plan`'s training as it is after its steps.
pub fn reveal_state(plan: &Plan, state: usize, to: Receiver) -> Plan {
    let training = plan.training.as_ref().expect("a plan of training");
    let stored = |state: &StateSpec| StateSpec { before: state.after, ..state.clone() };
    let states: Vec<StateSpec> = training.states.iter().map(stored).collect();
    let (len, scale, name) = (states[state].len(), states[state].after, states[state].name.clone());
    let entry = |inputs: Vec<u32>, gate: Gate| Entry { name: name.clone(), inputs, scale, gate };
    Plan {
        reveal: Reveal { what: Revealed::State, to },
        output: OutputSpec { scale, ..plan.output.clone() },
        training: Some(Training { batch: training.batch, states }),
        gates: vec![
            entry(vec![], Gate::State(Kept { state, len })),
            entry(vec![0], Gate::Reveal(reveal::Reveal { len, width: plan.ring, to })),
        ],
        ..plan.clone()
    }
}
