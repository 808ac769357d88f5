//! What training does: loss, optimiser, schedule.

use serde::{Deserialize, Serialize};

/// A recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// What is minimised.
    pub loss: Loss,
    /// Passes over the training set.
    pub epochs: u32,
    /// Items of a step. What is left of an epoch is not used in it.
    pub batch: usize,
    /// Learning rate of the first epoch.
    pub lr: f64,
    /// How it changes.
    pub schedule: Schedule,
    /// Of stochastic gradient descent; 0 for none.
    pub momentum: f64,
    /// Nesterov's form of momentum.
    pub nesterov: bool,
    /// Weight decay (L2).
    pub weight_decay: f64,
    /// Parts of names of layers whose parameters stay as they are: a layer is frozen when its name begins with one of them.
    pub freeze: Vec<String>,
    /// Fraction of the values that dropout layers set to zero, where the model does not say.
    pub dropout: f64,
    /// Seed of initial weights, of the order of items and of dropout: public.
    pub seed: u64,
    /// Where weights come from.
    pub initial: Initial,
}

impl Recipe {
    /// One epoch of plain stochastic gradient descent from fresh weights of seed 0: no momentum, no decay, no dropout, nothing
    /// frozen, one learning rate.
    pub fn plain(loss: Loss, batch: usize, lr: f64) -> Recipe {
        Recipe {
            loss,
            epochs: 1,
            batch,
            lr,
            schedule: Schedule::Constant,
            momentum: 0.0,
            nesterov: false,
            weight_decay: 0.0,
            freeze: Vec::new(),
            dropout: 0.0,
            seed: 0,
            initial: Initial::Fresh,
        }
    }
}

/// A loss, divided by the number of items of the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Squared difference of outputs and one-hot label, summed over the classes.
    Mse,
    /// Softmax cross-entropy.
    CrossEntropy,
}

/// Learning rates: one an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// The same for all epochs.
    Constant,
    /// Multiplied by `factor` every `epochs` epochs.
    Step {
        /// Epochs of one rate.
        epochs: u32,
        /// What it is multiplied by.
        factor: f64,
    },
    /// Half a cosine from the first rate to zero after the last epoch.
    Cosine,
}

/// Where weights come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Initial {
    /// The model's own.
    Model,
    /// Drawn anew from the recipe's seed: uniform within ±1/√inputs for weights and biases, as PyTorch's layers are.
    Fresh,
}

/// A recipe that cannot be carried out.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RecipeError {
    /// A number is out of bounds.
    #[error("operator: {what} is {value}; give {advice}")]
    Number {
        /// The option.
        what: &'static str,
        /// What was given.
        value: f64,
        /// What may be given.
        advice: &'static str,
    },
    /// Layers that have no gradient.
    #[error("model: these layers cannot be trained or trained through:\n{}", .0.join("\n"))]
    Unsupported(Vec<String>),
    /// A name to freeze that no layer has.
    #[error("operator: no layer's name begins with \"{name}\"; the layers with parameters are {layers}")]
    Freeze {
        /// The name.
        name: String,
        /// Those that there are.
        layers: String,
    },
    /// Everything is frozen.
    #[error("operator: all parameters are frozen; freeze fewer layers")]
    Frozen,
}
