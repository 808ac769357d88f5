//! Rehearsal: ranges of all values of a step, observed while steps run in clear on public or made-up data.

use super::execute::{Outcome, Trainer};
use super::ranges::StepRanges;
use super::step::{State, StepGraph};
use crate::ValueRange;

/// Elements of a value whose squares are averaged, about; the greatest magnitude is that of all.
const SAMPLES: usize = 4096;

/// Why there are no ranges.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RehearsalError {
    /// Nothing ran.
    #[error("rehearsal: no batch was given; give items for at least one step, better for 20 to 100")]
    NoSteps,
    /// The training in clear leaves the range of floats.
    #[error(
        "rehearsal: \"{node}\" leaves the range of float32 in step {step}: the training diverges; lower the learning rate"
    )]
    NotFinite {
        /// The node.
        node: String,
        /// The step, counted from 0.
        step: u64,
    },
}

/// Ranges seen so far.
#[derive(Clone, Debug)]
pub struct Rehearsal {
    steps: u64,
    nodes: Vec<Seen>,
    states: Vec<Seen>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    max_abs: f64,
    /// Sum over the steps.
    rms: f64,
}

impl Rehearsal {
    /// Nothing seen yet of a graph, or of those that differ from it in the learning rate alone, but for the states that it begins
    /// with.
    pub fn new(step: &StepGraph) -> Self {
        let first = |state: &State| Seen { max_abs: greatest(&state.initial).into(), rms: 0.0 };
        let states = step.states.iter().map(first).collect();
        Rehearsal { steps: 0, nodes: vec![Seen::default(); step.nodes.len()], states }
    }

    /// Runs a step and looks at all its values.
    pub fn step(
        &mut self,
        trainer: &mut Trainer,
        step: &StepGraph,
        features: &[f32],
        labels: &[u32],
        number: u64,
    ) -> Result<Outcome, RehearsalError> {
        let mut wrong = None;
        let outcome = trainer.run_observed(step, features, labels, number, |node, values| {
            if !self.nodes[node].observe(values) {
                wrong.get_or_insert(node);
            }
        });
        if let Some(node) = wrong {
            return Err(RehearsalError::NotFinite { node: step.nodes[node].name.clone(), step: self.steps });
        }
        for ((seen, values), state) in self.states.iter_mut().zip(trainer.states()).zip(&step.states) {
            if !seen.observe(values) {
                return Err(RehearsalError::NotFinite { node: state.name.clone(), step: self.steps });
            }
        }
        self.steps += 1;
        Ok(outcome)
    }

    /// What was seen.
    pub fn ranges(&self) -> Result<StepRanges, RehearsalError> {
        if self.steps == 0 {
            return Err(RehearsalError::NoSteps);
        }
        let range = |seen: &Seen| ValueRange { max_abs: seen.max_abs, rms: seen.rms / self.steps as f64 };
        let all = |seen: &[Seen]| seen.iter().map(range).collect();
        Ok(StepRanges { steps: self.steps, nodes: all(&self.nodes), states: all(&self.states) })
    }
}

/// The greatest magnitude.
fn greatest(values: &[f32]) -> f32 {
    // Without their sign, floats are ordered as integers are, whatever is no number above all others.
    f32::from_bits(values.iter().fold(0, |greatest, value| greatest.max(value.to_bits() & 0x7fff_ffff)))
}

impl Seen {
    /// Whether all values are finite.
    fn observe(&mut self, values: &[f32]) -> bool {
        let greatest = greatest(values);
        self.max_abs = self.max_abs.max(greatest.into());
        // An odd step meets all columns of images.
        let step = (values.len() / SAMPLES) | 1;
        let squares = values.iter().step_by(step).map(|&value| f64::from(value).powi(2));
        self.rms += (squares.sum::<f64>() / values.len().div_ceil(step).max(1) as f64).sqrt();
        greatest.is_finite()
    }
}

/// Trains on `batches` of features and labels, from the states that `trainer` has, and gives the ranges of all steps.
pub fn rehearse<'a>(
    step: &StepGraph,
    trainer: &mut Trainer,
    batches: impl IntoIterator<Item = (&'a [f32], &'a [u32])>,
) -> Result<StepRanges, RehearsalError> {
    let mut rehearsal = Rehearsal::new(step);
    for (number, (features, labels)) in (0..).zip(batches) {
        rehearsal.step(trainer, step, features, labels, number)?;
    }
    rehearsal.ranges()
}
