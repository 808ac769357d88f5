//! The same federated training in float, of one's own data: same owners, order of rows, start and weights; clipped where that is
//! agreed, and without noise.

use ariann_data::Items;
use ariann_graph::Graph;
use ariann_graph::training::{Initial, Recipe, Role, StepGraph, Trainer, evaluation, order, training_step};
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

/// What an owner changes in a round; nothing where states are not averaged.
fn change(
    plan: &Plan,
    graph: &Graph,
    first: &StepGraph,
    states: &[Vec<f32>],
    set: &Set,
    task: PairTask,
) -> Result<Vec<Vec<f32>>, SessionError> {
    let recipe = &plan.course.job().recipe;
    let step = |epoch: u32| {
        let rate = recipe.schedule.lr(recipe.lr, epoch, recipe.epochs);
        training_step(graph, recipe, rate, false).map_err(|error| SessionError::ModelPlan(error.to_string()))
    };
    let begin = |seed: u64| {
        let mut trainer = Trainer::with_seed(first, seed);
        for ((own, state), global) in trainer.states_mut().iter_mut().zip(&first.states).zip(states) {
            match is_averaged(state.role) || state.role == Role::Frozen {
                true => own.clone_from(global),
                false => own.fill(0.0),
            }
        }
        trainer
    };
    let mut change: Vec<Vec<f32>> = states.iter().map(|state| vec![0.0; state.len()]).collect();
    let mut add = |trainer: &Trainer, weight: f32| {
        let averaged = first.states.iter().enumerate().filter(|(_, state)| is_averaged(state.role));
        for (index, _) in averaged {
            let pairs = trainer.states()[index].iter().zip(&states[index]);
            change[index].iter_mut().zip(pairs).for_each(|(sum, (own, global))| *sum += weight * (own - global));
        }
    };
    match task {
        PairTask::Train { first_epoch, epochs, rows, seed, .. } => {
            let (mut trainer, mut number) = (begin(seed), 0);
            for epoch in first_epoch..first_epoch + epochs {
                let step = step(epoch)?;
                for places in order(rows as u32, seed, epoch).chunks_exact(recipe.batch) {
                    let (features, labels) = batch(set, places);
                    trainer.run(&step, &features, &labels, number);
                    number += 1;
                }
            }
            add(&trainer, 1.0);
        }
        PairTask::Gradient { epoch, batches, rows, seed, .. } => {
            let (step, order) = (step(epoch)?, order(rows as u32, seed, epoch));
            for (number, places) in order.chunks_exact(recipe.batch).take(batches as usize).enumerate() {
                let (mut trainer, (features, labels)) = (begin(seed), batch(set, places));
                trainer.run(&step, &features, &labels, number as u64);
                add(&trainer, 1.0 / batches as f32);
            }
        }
        PairTask::Test { .. } => unreachable!("a round trains"),
    }
    Ok(change)
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
            let task = plan.task(*owner, went.round, done as u32, &rows)?;
            let change = change(plan, graph, &first, &states, set, task)?;
            let squares = change.iter().flatten().map(|x| f64::from(*x).powi(2));
            let weight = match plan.guard() {
                None => set.1.len() as f64 / all as f64,
                Some(guard) => (guard.privacy().clip / squares.sum::<f64>().sqrt()).min(1.0) / went.cohort.len() as f64,
            } as f32;
            for (sum, change) in next.iter_mut().zip(&change) {
                sum.iter_mut().zip(change).for_each(|(sum, change)| *sum += weight * change);
            }
        }
        states = next;
        let accuracy = test.zip(tested.as_ref()).map(|(test, step)| accuracy(step, recipe.seed, &states, test));
        played.push(ClearRound { states: states.clone(), accuracy });
        events.progress("training in clear", done as u64 + 1, rounds.len() as u64);
    }
    Ok(played)
}

/// The states that an ONNX file of the trained network holds.
pub fn states_of(plan: &Plan, model: &[u8]) -> Result<Vec<Vec<f32>>, SessionError> {
    let recipe = Recipe { initial: Initial::Model, ..plan.course.job().recipe.clone() };
    first_states(&ariann_graph::import_for_training_bytes(model)?, &recipe)
}

fn first_states(graph: &Graph, recipe: &Recipe) -> Result<Vec<Vec<f32>>, SessionError> {
    let step = training_step(graph, recipe, recipe.lr, false);
    let step = step.map_err(|error| SessionError::ModelPlan(error.to_string()))?;
    Ok(step.states.into_iter().map(|state| state.initial).collect())
}

/// How far states are from those of the training in clear, as a part of how far the latter are from where both began (L2).
pub fn difference(plan: &Plan, graph: &Graph, private: &[Vec<f32>], clear: &[Vec<f32>]) -> Result<f64, SessionError> {
    let first = first_states(graph, &plan.course.job().recipe)?;
    let square = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
    let states = plan.course.states().iter().enumerate().filter(|(_, state)| is_averaged(state.role));
    let (mut off, mut moved) = (0.0, 0.0);
    for (index, _) in states {
        off += square(&private[index], &clear[index]);
        moved += square(&first[index], &clear[index]);
    }
    Ok(f64::sqrt(off / moved))
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
