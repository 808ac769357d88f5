//! What is revealed to a party in the course of a training: noted, told, watched for divergence, and written at the end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ariann_gates::Party;
use ariann_graph::training::Role;
use ariann_graph::{ExportError, export_onnx, export_safetensors};
use ariann_plan::Plan;
use ariann_plan::training::decode_state;
use ariann_ring::{Ring, fixed};

use super::checkpoint::Learned;
use super::course::{Course, Leg};
use super::job::Job;
use super::report::EpochReport;
use super::turns::Turn;
use crate::SessionError;
use crate::events::{Event, Events};

/// A loss so many times the first one, and rising, has diverged.
const DIVERGED: f64 = 20.0;
/// Steps that must say so, one after the other.
const IN_A_ROW: usize = 3;

/// What was revealed in this session and before it.
pub(crate) struct Learning {
    pub learned: Learned,
    /// Revealed states of the trained model.
    pub model: BTreeMap<usize, Vec<f32>>,
}

impl Learning {
    pub fn new(learned: Learned) -> Self {
        Learning { learned, model: BTreeMap::new() }
    }

    /// Notes the result of a turn.
    pub fn note<R: Ring>(
        &mut self,
        course: &Course,
        number: u64,
        (turn, leg): (Turn, &Leg),
        result: &[R],
        events: &mut dyn Events,
    ) -> Result<(), SessionError> {
        let (job, turns, plan) = (course.job(), course.turns(), &leg.plan);
        match turn {
            Turn::Step { epoch, batch } => {
                let loss = value(plan, result[0]) / job.recipe.batch as f64;
                let step = turns.steps_before(number) + 1;
                self.learned.losses.push(loss);
                events.tell(Event::Loss { step, loss });
                self.watch(plan, result[0], step)?;
                let report = self.epoch(epoch);
                let losses = &self.learned.losses;
                let of_epoch = &losses[losses.len().saturating_sub(batch as usize + 1)..];
                let mean = of_epoch.iter().sum::<f64>() / of_epoch.len() as f64;
                self.learned.epochs[report].loss = Some(mean);
            }
            Turn::Tally { epoch } => {
                let tested = u64::from(turns.tests) * job.recipe.batch as u64;
                let right = value(plan, result[0]);
                if !(0.0..=tested as f64).contains(&right) {
                    return Err(SessionError::Diverged(format!(
                        "the training left its ranges: the test after epoch {} counts {right} right answers of {tested}. Use a lower \
                         learning rate, less noise where noise is added, ranges calibrated with data like these, or the 64-bit ring \
                         (plan {})",
                        epoch + 1,
                        &plan.digest_hex()[..16]
                    )));
                }
                let accuracy = right / tested as f64;
                let report = self.epoch(epoch);
                self.learned.epochs[report].accuracy = Some(accuracy);
                let EpochReport { epoch, loss, .. } = self.learned.epochs[report];
                events.tell(Event::Epoch { epoch, accuracy: Some(accuracy), loss });
            }
            Turn::Reveal { index } => {
                let state = course.revealed(index);
                let scale = plan.gates.last().expect("a checked plan").scale;
                self.model.insert(state, decode_state(result, scale));
            }
            Turn::Measure { .. } | Turn::Evaluate { .. } | Turn::Weigh | Turn::Answer => {
                unreachable!("nothing is learned there")
            }
        }
        Ok(())
    }

    /// The report of an epoch, from 0.
    fn epoch(&mut self, epoch: u32) -> usize {
        let epochs = &mut self.learned.epochs;
        if epochs.last().is_none_or(|last| last.epoch != epoch + 1) {
            epochs.push(EpochReport { epoch: epoch + 1, ..EpochReport::default() });
        }
        epochs.len() - 1
    }

    /// Ends a training that its loss shows to be lost.
    fn watch<R: Ring>(&self, plan: &Plan, word: R, step: u64) -> Result<(), SessionError> {
        let losses = &self.learned.losses;
        // Half of what the ring holds: a loss beyond it has wrapped, or is about to.
        let wrapped = word.to_i64().unsigned_abs() >> (R::BITS - 2) != 0;
        let Some(what) = diverged(losses, wrapped) else { return Ok(()) };
        let (first, last) = (losses[0], losses[losses.len() - 1]);
        Err(SessionError::Diverged(format!(
            "the training diverged: the loss of an item is {last:.4} at step {step}, it was {first:.4} at the first one, and \
             {what}. Use a lower --lr, calibrate again with data like these, or use --ring 64 (plan {})",
            &plan.digest_hex()[..16]
        )))
    }

    /// What this party knows of the model beside what was revealed.
    pub fn know(&mut self, states: Vec<(usize, Vec<f32>)>) {
        if !self.model.is_empty() {
            self.model.extend(states);
        }
    }

    /// Writes the trained model, where it was revealed.
    pub fn write(&self, course: &Course, folder: &Path, original: Option<&[u8]>) -> Result<Vec<PathBuf>, SessionError> {
        match self.model.is_empty() {
            true => Ok(Vec::new()),
            false => write_model(course, &self.model, folder, original),
        }
    }
}

/// Writes a trained model, from its states by their number: as ONNX where the model that it came from is at hand, and as
/// safetensors.
pub fn write_model(
    course: &Course,
    model: &BTreeMap<usize, Vec<f32>>,
    folder: &Path,
    original: Option<&[u8]>,
) -> Result<Vec<PathBuf>, SessionError> {
    std::fs::create_dir_all(folder).map_err(|source| SessionError::file("creating", folder, source))?;
    let of_model = |role: Role| matches!(role, Role::Parameter | Role::Frozen | Role::Running);
    let states = course.states().iter().enumerate().filter(|(_, state)| of_model(state.role));
    let tensors: Vec<(String, Vec<usize>, Vec<f32>)> = states
        .filter_map(|(index, state)| Some((state.name.clone(), state.shape.clone(), model.get(&index)?.clone())))
        .collect();
    let refused = |error: ExportError| SessionError::ModelPlan(error.to_string());
    let mut files = Vec::new();
    let mut write = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        std::fs::write(&path, bytes).map_err(|source| SessionError::file("writing", &path, source))?;
        files.push(path);
        Ok::<_, SessionError>(())
    };
    if let Some(original) = original {
        let parameters = tensors.iter().map(|(name, _, values)| (name.clone(), values.clone())).collect();
        write("model.onnx", &export_onnx(original, &parameters).map_err(refused)?)?;
    }
    write("model.safetensors", &export_safetensors(&tensors).map_err(refused)?)?;
    Ok(files)
}

/// What is wrong with the last of the losses, if the training is lost.
fn diverged(losses: &[f64], wrapped: bool) -> Option<&'static str> {
    let (first, last) = (*losses.first()?, *losses.last()?);
    // No loss is negative, but for rounding.
    if wrapped || !last.is_finite() || last < -first.abs().max(1.0) {
        return Some("is outside what the plan can hold");
    }
    let (before, recent) = losses.split_at(losses.len().saturating_sub(IN_A_ROW));
    let high = !before.is_empty() && recent.iter().all(|loss| *loss > DIVERGED * first.max(0.0));
    (high && recent.is_sorted() && recent[0] < last).then_some("keeps rising")
}

/// A revealed number.
fn value<R: Ring>(plan: &Plan, word: R) -> f64 {
    let reveal = plan.gates.iter().find(|entry| matches!(entry.gate, ariann_plan::Gate::Reveal(_)));
    fixed::decode(word, 0) * reveal.expect("a checked plan that reveals").scale.unit()
}

/// A job that shows the other party more than this one agrees to is refused.
pub(crate) fn consent(job: &Job, party: Party, allow: &[String]) -> Result<(), SessionError> {
    consent_to(job, ariann_gates::other(party), allow)
}

/// Refuses a job that reveals to `party` what one who brings something to it does not allow.
pub(crate) fn consent_to(job: &Job, party: Party, allow: &[String]) -> Result<(), SessionError> {
    let name = crate::config::role(party);
    let known = ["loss", "accuracy", "model", "ranges"].map(|what| ["p0", "p1"].map(|role| format!("{what}:{role}")));
    if let Some(unknown) = allow.iter().find(|word| !known.as_flattened().contains(word)) {
        let known = known.as_flattened().join(", ");
        return Err(SessionError::Config(format!("allow = \"{unknown}\" names nothing; there are {known}")));
    }
    for (what, to) in job.revealed() {
        let word = format!("{what}:{name}");
        if to.includes(party) && !allow.contains(&word) {
            return Err(SessionError::Config(format!(
                "this job reveals the {what} to {}, and this role does not agree; nothing was sent. Ask for another job, or agree \
                 with allow = [\"{word}\"]",
                crate::config::name(party)
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_that_keeps_rising_or_wraps_has_diverged() {
        for fine in [
            &[2.0][..],
            &[2.0, 1.9, 39.0, 39.5, 39.9],
            &[2.0, 41.0, 45.0],
            &[2.0, 50.0, 41.0, 42.0, 41.5],
            &[0.1, -0.2],
        ] {
            assert_eq!(diverged(fine, false), None, "{fine:?}");
        }
        assert_eq!(diverged(&[2.0, 1.0, 41.0, 42.0, 43.0], false), Some("keeps rising"));
        for lost in [&[2.0, -2.1][..], &[2.0, f64::NAN]] {
            assert!(diverged(lost, false).is_some(), "{lost:?}");
        }
        assert!(diverged(&[2.0, 1.0], true).is_some());
    }
}
