//! Reverse-mode differentiation: a network and a recipe become the graph of one step.

use super::builder::Builder;
use super::initial::check_batch;
use super::layers::Pass;
use super::loss;
use super::recipe::{Recipe, RecipeError};
use super::states::States;
use super::step::{Gradient, StepGraph, StepOp};
use crate::graph::Graph;

/// One step of training with learning rate `lr`: forward pass, gradients, updates; its loss as well if `loss` says so.
///
/// Nodes that change states come last. Frozen layers compute as in an evaluation, but for dropout.
pub fn training_step(graph: &Graph, recipe: &Recipe, lr: f64, loss: bool) -> Result<StepGraph, RecipeError> {
    let states = States::new(graph, recipe)?;
    if !(lr.is_finite() && lr >= 0.0) {
        return Err(RecipeError::Number { what: "the learning rate", value: lr, advice: "a number above 0" });
    }
    let mut builder = Builder::new(states.list.len());
    let mut pass = Pass::new(graph, recipe, &states, &mut builder, recipe.batch, true);
    let output = pass.forward()?;
    let labels = pass.labels();
    let result = loss::loss(pass.builder, recipe.loss, recipe.batch, output, labels, loss);
    pass.backward(result.gradient)?;
    let (gradients, running) = (std::mem::take(&mut pass.gradients), std::mem::take(&mut pass.running));
    for (name, op, inputs) in running {
        builder.push(&name, op, inputs, 0);
    }
    for found in &gradients {
        let state = &states.list[found.parameter.state];
        let len = state.len();
        let mut inputs = vec![builder.state(&state.name, found.parameter.state, len)];
        if let Some(velocity) = found.parameter.velocity {
            inputs.push(builder.state(&format!("{}.velocity", state.name), velocity, len));
        }
        inputs.push(found.node);
        let op = StepOp::Update {
            state: found.parameter.state,
            velocity: found.parameter.velocity,
            lr,
            momentum: recipe.momentum,
            nesterov: recipe.nesterov,
            weight_decay: recipe.weight_decay,
        };
        builder.push(&format!("{}.update", state.name), op, inputs, 0);
    }
    let gradients = gradients.iter().map(|g| Gradient { state: g.parameter.state, node: g.node }).collect();
    Ok(finish(graph, recipe.batch, states, builder, output, (result.loss, gradients)))
}

/// One evaluation of `batch` items: forward pass with running statistics and without dropout, and how many are classified
/// rightly, added to the last state. The states are those of [`training_step`].
pub fn evaluation(graph: &Graph, recipe: &Recipe, batch: usize) -> Result<StepGraph, RecipeError> {
    let states = States::new(graph, recipe)?;
    check_batch(batch)?;
    let mut builder = Builder::new(states.list.len());
    let mut pass = Pass::new(graph, recipe, &states, &mut builder, batch, false);
    let output = pass.forward()?;
    let labels = pass.labels();
    let correct = builder.push("correct", StepOp::Correct, vec![output, labels], 1);
    builder.push("count", StepOp::Count { state: states.correct }, vec![correct], 0);
    Ok(finish(graph, batch, states, builder, output, (None, Vec::new())))
}

/// The forward pass of [`evaluation`] alone, for items whose labels nobody brings: its nodes are the first ones of that graph.
pub fn answering(graph: &Graph, recipe: &Recipe, batch: usize) -> Result<StepGraph, RecipeError> {
    let states = States::new(graph, recipe)?;
    check_batch(batch)?;
    let mut builder = Builder::new(states.list.len());
    let output = Pass::new(graph, recipe, &states, &mut builder, batch, false).forward()?;
    Ok(finish(graph, batch, states, builder, output, (None, Vec::new())))
}

fn finish(
    graph: &Graph,
    batch: usize,
    states: States,
    builder: Builder,
    output: usize,
    (loss, gradients): (Option<usize>, Vec<Gradient>),
) -> StepGraph {
    let finished = builder.finish(output, loss, gradients);
    StepGraph {
        name: graph.name.clone(),
        batch,
        item_len: graph.input.len(),
        classes: graph.output_len(),
        states: states.list,
        nodes: finished.nodes,
        output: finished.output,
        loss: finished.loss,
        gradients: finished.gradients,
    }
}
