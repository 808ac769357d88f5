//! The states of a recipe on a graph: parameters in the order of layers, their velocities, running statistics, a count.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::initial;
use super::recipe::{Initial, Recipe, RecipeError};
use super::step::{Role, State};
use crate::graph::{Graph, Node, Op};

/// Name of the state that counts items classified rightly.
const CORRECT: &str = "correct";

/// All states, and which are whose.
pub(super) struct States {
    pub list: Vec<State>,
    /// One entry a layer.
    pub layers: Vec<Layer>,
    /// Where the count is.
    pub correct: usize,
}

/// States of one layer.
#[derive(Default)]
pub(super) struct Layer {
    /// Weights or γ.
    pub weights: Option<Parameter>,
    /// Bias or β.
    pub bias: Option<Parameter>,
    /// Running mean and variance.
    pub statistics: Option<[usize; 2]>,
    /// The layer's parameters change.
    pub trained: bool,
}

/// A parameter and its velocity.
#[derive(Clone, Copy)]
pub(super) struct Parameter {
    pub state: usize,
    pub velocity: Option<usize>,
}

impl States {
    pub fn new(graph: &Graph, recipe: &Recipe) -> Result<States, RecipeError> {
        recipe.check(graph)?;
        let mut states = States { list: Vec::new(), layers: Vec::new(), correct: 0 };
        for node in &graph.nodes {
            let layer = states.layer(node, recipe);
            states.layers.push(layer);
        }
        let shared = states.shared();
        if !shared.is_empty() {
            return Err(RecipeError::Unsupported(shared));
        }
        states.correct = states.list.len();
        states.list.push(State { name: CORRECT.into(), shape: vec![1], role: Role::Count, initial: vec![0.0] });
        Ok(states)
    }

    /// What is wrong with tensors of one name: one that is trained belongs to one layer.
    fn shared(&self) -> Vec<String> {
        let (mut first, mut shared) = (HashMap::new(), Vec::new());
        for state in self.list.iter().filter(|state| state.role != Role::Velocity) {
            match first.entry(state.name.as_str()) {
                Entry::Vacant(entry) => drop(entry.insert(state.role)),
                Entry::Occupied(earlier) => {
                    if [*earlier.get(), state.role].contains(&Role::Parameter) {
                        shared.push(format!(
                            "\"{}\" is the parameter of two layers; freeze them or give each its own",
                            state.name
                        ));
                    }
                }
            }
        }
        shared
    }

    fn layer(&mut self, node: &Node, recipe: &Recipe) -> Layer {
        let trained = recipe.trains(node);
        let mut add = |name: &str, shape: Vec<usize>, values: &[f32], fan_in: Option<usize>, constant: f32| {
            let fresh = trained && recipe.initial == Initial::Fresh;
            let initial = match fan_in {
                _ if !fresh => values.to_vec(),
                Some(inputs) => initial::uniform(recipe.seed, name, inputs, values.len()),
                None => vec![constant; values.len()],
            };
            self.parameter(name, shape, initial, trained.then_some(recipe))
        };
        let mut layer = Layer { trained, ..Layer::default() };
        match &node.op {
            Op::Dense(dense) => {
                let shape = dense.weights.shape().to_vec();
                let inputs = Some(shape[1]);
                layer.weights = Some(add(&dense.weight_name, shape, dense.weights.data(), inputs, 0.0));
                if let Some(bias) = &dense.bias {
                    let name = bias_name(node, dense.bias_name.as_ref());
                    layer.bias = Some(add(&name, vec![bias.len()], bias, inputs, 0.0));
                }
            }
            Op::Conv(conv) => {
                let shape = conv.weights.shape().to_vec();
                let inputs = Some(shape[1..].iter().product());
                layer.weights = Some(add(&conv.weight_name, shape, conv.weights.data(), inputs, 0.0));
                if let Some(bias) = &conv.bias {
                    let name = bias_name(node, conv.bias_name.as_ref());
                    layer.bias = Some(add(&name, vec![bias.len()], bias, inputs, 0.0));
                }
            }
            Op::BatchNorm(norm) => {
                let channels = vec![norm.gamma.len()];
                layer.weights = Some(add(&norm.names[0], channels.clone(), &norm.gamma, None, 1.0));
                layer.bias = Some(add(&norm.names[1], channels.clone(), &norm.beta, None, 0.0));
                let first = self.list.len();
                for (name, values, constant) in
                    [(&norm.names[2], &norm.mean, 0.0), (&norm.names[3], &norm.variance, 1.0)]
                {
                    let fresh = trained && recipe.initial == Initial::Fresh;
                    let initial = if fresh { vec![constant; values.len()] } else { values.clone() };
                    let role = if trained { Role::Running } else { Role::Frozen };
                    self.list.push(State { name: name.clone(), shape: channels.clone(), role, initial });
                }
                layer.statistics = Some([first, first + 1]);
            }
            _ => (),
        }
        layer
    }

    fn parameter(&mut self, name: &str, shape: Vec<usize>, initial: Vec<f32>, trained: Option<&Recipe>) -> Parameter {
        let state = self.list.len();
        let role = if trained.is_some() { Role::Parameter } else { Role::Frozen };
        self.list.push(State { name: name.into(), shape: shape.clone(), role, initial });
        let velocity = trained.is_some_and(|recipe| recipe.momentum > 0.0).then(|| {
            let initial = vec![0.0; shape.iter().product()];
            self.list.push(State { name: name.into(), shape, role: Role::Velocity, initial });
            state + 1
        });
        Parameter { state, velocity }
    }
}

fn bias_name(node: &Node, name: Option<&String>) -> String {
    name.cloned().unwrap_or_else(|| format!("{}.bias", node.name))
}
