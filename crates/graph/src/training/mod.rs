//! Training: the step of a network as one graph of a whole batch, with its gradients and its update.
//!
//! A [`StepGraph`] is made from a [`Graph`](crate::Graph) and a [`Recipe`] by reverse-mode differentiation
//! (`differentiate.rs`). Its nodes are few and simple, so that a plan, the float executor (`execute.rs`) and the reader see
//! the same list: what is multiplied, summed, compared and looked up in one step. The batch is part of every shape.

mod builder;
mod differentiate;
mod execute;
mod float;
mod initial;
mod layers;
mod loss;
mod norm;
mod public;
mod ranges;
mod recipe;
mod rehearse;
mod states;
mod step;
mod windows;

#[cfg(test)]
mod tests;

pub use differentiate::{answering, evaluation, training_step};
pub use execute::{Outcome, Trainer, step_in_f64};
pub use public::{order, pattern};
pub use ranges::{RangesError, StepRanges};
pub use recipe::{Initial, Loss, Recipe, RecipeError, Schedule};
pub use rehearse::{Rehearsal, RehearsalError, rehearse};
pub use step::{Gradient, Role, State, StepGraph, StepNode, StepOp};
