//! The same training in float: recipe, order of items and initial weights as in the private one.

use ariann_graph::training::{Role, StepGraph, Trainer, order};
use ariann_session::SessionError;
use ariann_session::events::Events;

use super::data::Set;
use super::prepare::Prepared;
use crate::run;

/// What an epoch in clear gave.
#[derive(Clone, Debug, Default)]
pub struct ClearEpoch {
    /// Mean loss of an item over the epoch's steps.
    pub loss: f64,
    /// That of each step.
    pub losses: Vec<f64>,
    /// On the test set, where there is one.
    pub accuracy: Option<f64>,
}

/// Trains in float.
pub fn train(
    prepared: &Prepared,
    train: &Set,
    test: Option<&Set>,
    events: &mut dyn Events,
) -> Result<Vec<ClearEpoch>, SessionError> {
    let recipe = &prepared.recipe;
    let steps = prepared.steps_of_epoch();
    let mut trainer = Trainer::with_seed(&prepared.clear_steps[0], recipe.seed);
    let mut number = 0;
    let all = u64::from(recipe.epochs) * steps as u64;
    let epochs = prepared.of_epoch.iter().enumerate().map(|(epoch, step)| {
        let step = &prepared.clear_steps[*step];
        let order = order(train.count() as u32, recipe.seed, epoch as u32);
        let mut losses = Vec::with_capacity(steps);
        for places in order.chunks_exact(recipe.batch) {
            if run::interrupted() {
                let reason = "interrupted while training in clear; the private training had ended, and its model is where --out says";
                return Err(SessionError::Config(reason.to_string()));
            }
            let (features, labels) = train.batch(places);
            let loss = trainer.run(step, &features, &labels, number).loss.unwrap_or(f64::NAN);
            losses.push(loss / recipe.batch as f64);
            number += 1;
            events.progress("training in clear", number, all);
        }
        let accuracy = test.zip(prepared.evaluation.as_ref());
        let accuracy = accuracy.map(|(test, evaluation)| evaluate(evaluation, &mut trainer, test));
        Ok(ClearEpoch { loss: losses.iter().sum::<f64>() / steps as f64, losses, accuracy })
    });
    epochs.collect()
}

/// The share of items, in whole batches, that are classified rightly.
fn evaluate(evaluation: &StepGraph, trainer: &mut Trainer, test: &Set) -> f64 {
    let count = evaluation.states.iter().position(|state| state.role == Role::Count).expect("an evaluation counts");
    trainer.states_mut()[count][0] = 0.0;
    let places: Vec<u32> = (0..test.count() as u32).collect();
    let batches = places.chunks_exact(evaluation.batch);
    let items = batches.len() * evaluation.batch;
    for places in batches {
        let (features, labels) = test.batch(places);
        trainer.run(evaluation, &features, &labels, 0);
    }
    f64::from(trainer.states()[count][0]) / items.max(1) as f64
}
