//! The graph of one step.

use ariann_ring::{Arrange, Axes, Bilinear};
use serde::{Deserialize, Serialize};

use crate::{AvgPool, Function, Pool};

/// One step of training, or one evaluation, over a whole batch. Node `i` computes value `i`, from values before it.
#[derive(Clone, Debug, PartialEq)]
pub struct StepGraph {
    /// The model's name.
    pub name: String,
    /// Items of a batch.
    pub batch: usize,
    /// Values of one item's input.
    pub item_len: usize,
    /// Classes: values of one item's output and label.
    pub classes: usize,
    /// What outlives a step.
    pub states: Vec<State>,
    /// In order of computation.
    pub nodes: Vec<StepNode>,
    /// The logits, `[batch, classes]`.
    pub output: usize,
    /// The loss summed over the batch, one value, where the graph computes it.
    pub loss: Option<usize>,
    /// Gradients of parameters, summed over the batch (not divided by it).
    pub gradients: Vec<Gradient>,
}

/// A parameter's gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gradient {
    /// The parameter.
    pub state: usize,
    /// The value.
    pub node: usize,
}

/// A tensor that outlives a step.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// Its name in the model; a velocity has its parameter's.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// What it is.
    pub role: Role,
    /// Its value before the first step; empty where the graph is public and its owner's weights are not.
    pub initial: Vec<f32>,
}

impl State {
    /// Values that it has.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// It has no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a state is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A parameter of the model that is trained.
    Parameter,
    /// A parameter of the model that stays as it is.
    Frozen,
    /// The velocity (momentum) of a parameter: the state before it. Of gradients summed over the batch.
    Velocity,
    /// A running statistic of batch normalisation.
    Running,
    /// How many items were classified rightly.
    Count,
}

impl Role {
    /// A tensor of the model: it leaves with it.
    pub fn is_of_model(self) -> bool {
        matches!(self, Role::Parameter | Role::Frozen | Role::Running)
    }
}

/// One operation.
#[derive(Clone, Debug, PartialEq)]
pub struct StepNode {
    /// The layer, and its part in it: unique.
    pub name: String,
    /// What it computes.
    pub op: StepOp,
    /// Values that it reads.
    pub inputs: Vec<usize>,
    /// Elements of the result; 0 where there is none.
    pub len: usize,
}

/// What a node computes.
#[derive(Clone, Debug, PartialEq)]
pub enum StepOp {
    /// The batch's items, `[batch, ...]`.
    Features,
    /// Their labels, one-hot, `[batch, classes]`.
    Labels,
    /// A state as it is before the step.
    State(usize),
    /// A product of the two inputs.
    Product(Bilinear),
    /// Sum of two inputs or more.
    Add,
    /// The first input less the second.
    Subtract,
    /// Times a public constant.
    Scale(f64),
    /// One value a kept place, spread over the other axes.
    Spread(Axes),
    /// Sums over the outer and the inner axis.
    Reduce(Axes),
    /// Elements in other places; the batch is one of the axes.
    Arrange(Arrange),
    /// max(x, 0).
    Relu,
    /// min(max(x, lo), hi).
    Clip {
        /// Least value.
        lo: f32,
        /// Greatest value.
        hi: f32,
    },
    /// The gradient, the one input, where the bit of `relu` (a node) is one, else 0.
    ReluBack {
        /// The forward node.
        relu: usize,
    },
    /// Maximum over windows; its channels are those of all items.
    MaxPool(Pool),
    /// The gradient, the one input, to the greatest of each window of `pool` (a node).
    MaxBack {
        /// The forward node.
        pool: usize,
    },
    /// Average over windows; its channels are those of all items.
    AvgPool(AvgPool),
    /// Backwards through it: each gradient, divided as it was, to all places of its window.
    AvgBack(AvgPool),
    /// A function of each value, by lookup.
    Function(Function),
    /// The public pattern number `pattern` of the step, which keeps `keep` of 256 values on average, times 256 / keep.
    Dropout {
        /// Which pattern: backwards the same as forwards.
        pattern: u32,
        /// Values kept of 256.
        keep: u32,
    },
    /// Stochastic gradient descent: input 0 is the parameter's state, 1 the velocity's where there is momentum, the last one the
    /// gradient. g += weight_decay·batch·w; v = momentum·v + g; w -= lr/batch·v (Nesterov: w -= lr/batch·(g + momentum·v)).
    Update {
        /// The parameter.
        state: usize,
        /// Its velocity.
        velocity: Option<usize>,
        /// Learning rate.
        lr: f64,
        /// Momentum.
        momentum: f64,
        /// In Nesterov's form.
        nesterov: bool,
        /// Weight decay.
        weight_decay: f64,
    },
    /// A running statistic: input 0 is the state, input 1 what it moves to by the factor `momentum`.
    Running {
        /// The statistic.
        state: usize,
        /// How far: 0.1 in PyTorch.
        momentum: f64,
    },
    /// How many items' greatest output (input 0) is that of their label (input 1): one value.
    Correct,
    /// Adds the one input to a state.
    Count {
        /// The state.
        state: usize,
    },
}
