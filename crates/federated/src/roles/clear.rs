//! The same federated averaging in float, of one's own data: same owners, order of rows, start and weights.

use ariann_data::Items;
use ariann_graph::Graph;
use ariann_graph::training::{Role, StepGraph, Trainer, evaluation, order, training_step};
use ariann_session::SessionError;
use ariann_session::events::Events;
use ariann_session::training::{PairTask, is_averaged};

use super::federation::Plan;

/// Items with their labels.
pub type Set = (Items, Vec<usize>);

/// A round as it went: its number, the cohort that weights are taken of, and whose updates were counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Went {
    /// The round.
    pub round: u64,
    /// The cohort.
    pub cohort: Vec<u16>,
    /// Of it, those who were counted.
    pub survivors: Vec<u16>,
}

/// What a round in clear gave.
pub struct ClearRound {
    /// All states after it.
    pub states: Vec<Vec<f32>>,
    /// On the test set, in whole batches.
    pub accuracy: Option<f64>,
}

fn batch((items, labels): &Set, places: &[u32]) -> (Vec<f32>, Vec<u32>) {
    let features = places.iter().flat_map(|place| items.item(*place as usize)).copied().collect();
    (features, places.iter().map(|place| labels[*place as usize] as u32).collect())
}

/// Plays rounds in float, as they went.
pub fn in_clear(
    plan: &Plan,
    graph: &Graph,
    owners: &[(u16, Set)],
    test: Option<&Set>,
    rounds: &[Went],
    events: &mut dyn Events,
) -> Result<Vec<ClearRound>, SessionError> {
    let recipe = &plan.course.job().recipe;
    let refused = |error: ariann_graph::training::RecipeError| SessionError::ModelPlan(error.to_string());
    let rate = |epoch: u32| recipe.schedule.lr(recipe.lr, epoch, recipe.epochs);
    let first = training_step(graph, recipe, rate(0), false).map_err(refused)?;
    let tested = test.map(|_| evaluation(graph, recipe, recipe.batch).map_err(refused)).transpose()?;
    let mut states: Vec<Vec<f32>> = first.states.iter().map(|state| state.initial.clone()).collect();
    let mut played = Vec::with_capacity(rounds.len());
    for (done, went) in rounds.iter().enumerate() {
        let of = |owner: &u16| owners.iter().find(|(number, _)| number == owner).map(|(_, set)| set);
        let rows = went.cohort.iter().filter_map(|owner| Some((*owner, of(owner)?.1.len() as u64)));
        let rows: Vec<(u16, u64)> = rows.collect();
        let all: u64 = rows.iter().map(|(_, rows)| rows).sum();
        let mut next = states.clone();
        for owner in &went.survivors {
            let Some(set) = of(owner) else { continue };
            let PairTask::Train { first_epoch, epochs, rows, seed, .. } =
                plan.task(*owner, went.round, done as u32, &rows)?
            else {
                unreachable!("a training")
            };
            let mut trainer = Trainer::with_seed(&first, seed);
            for ((own, state), global) in trainer.states_mut().iter_mut().zip(&first.states).zip(&states) {
                match is_averaged(state.role) || state.role == Role::Frozen {
                    true => own.clone_from(global),
                    false => own.fill(0.0),
                }
            }
            let mut number = 0;
            for epoch in first_epoch..first_epoch + epochs {
                let step: StepGraph = training_step(graph, recipe, rate(epoch), false).map_err(refused)?;
                for places in order(rows as u32, seed, epoch).chunks_exact(recipe.batch) {
                    let (features, labels) = batch(set, places);
                    trainer.run(&step, &features, &labels, number);
                    number += 1;
                }
            }
            let weight = (rows as f64 / all as f64) as f32;
            for (index, state) in first.states.iter().enumerate().filter(|(_, state)| is_averaged(state.role)) {
                debug_assert_eq!(state.initial.len(), next[index].len());
                let (own, global) = (&trainer.states()[index], &states[index]);
                let pairs = own.iter().zip(global);
                next[index].iter_mut().zip(pairs).for_each(|(sum, (own, global))| *sum += weight * (own - global));
            }
        }
        states = next;
        let accuracy = test.zip(tested.as_ref()).map(|(test, step)| accuracy(step, recipe.seed, &states, test));
        played.push(ClearRound { states: states.clone(), accuracy });
        events.progress("training in clear", done as u64 + 1, rounds.len() as u64);
    }
    Ok(played)
}

fn accuracy(step: &StepGraph, seed: u64, states: &[Vec<f32>], test: &Set) -> f64 {
    let mut trainer = Trainer::with_seed(step, seed);
    trainer.states_mut().clone_from_slice(states);
    let count = step.states.iter().position(|state| state.role == Role::Count).expect("an evaluation counts");
    trainer.states_mut()[count][0] = 0.0;
    let places: Vec<u32> = (0..test.1.len() as u32).collect();
    let batches = places.chunks_exact(step.batch);
    let items = batches.len() * step.batch;
    for places in batches {
        let (features, labels) = batch(test, places);
        trainer.run(step, &features, &labels, 0);
    }
    f64::from(trainer.states()[count][0]) / items.max(1) as f64
}
