//! What is computed: operators, shapes, ONNX import, rewriting passes, value ranges and the float executor.
//!
//! Everything here is public or belongs to the one that runs it: this crate knows no share, no mask and no key.
//!
//! * [`import()`] reads an ONNX file into a [`Graph`]: layers with names and weights in an order in which they can be
//!   computed, free of batch axes, identities and what depends on constants alone.
//! * [`passes`] fold scalings into layers with weights and leave fewer signs to decide.
//! * [`executor`] computes it in `f32`, the model that a private run is compared with.
//! * [`calibrate()`] observes value ranges on sample items, [`interval()`] proves them from the range of the input;
//!   both give [`Ranges`], from which a plan chooses scales.
//! * [`training`] makes the graph of a training step of a graph and a recipe, and trains in clear; [`export`] writes what
//!   was trained.
//! * [`Network`] is what is public of a graph: what the other roles of a training compile their plans from.
//! * [`zoo`] writes well-known networks with random weights.

pub mod average;
pub mod calibrate;
pub mod executor;
pub mod export;
pub mod function;
pub mod graph;
pub mod import;
pub mod interval;
mod linear;
pub mod network;
mod onnx;
pub mod passes;
pub mod pool;
pub mod training;
pub mod zoo;

pub use average::AvgPool;
pub use calibrate::{CalibrateError, NodeRange, RangeSource, Ranges, ValueRange, calibrate};
pub use executor::{ExecuteError, Executor};
pub use export::{ExportError, export_onnx, export_safetensors};
pub use function::Function;
pub use graph::{BatchNorm, Conv, Dense, Graph, Input, Node, Op, ValueId};
pub use import::{
    ImportError, import, import_bytes, import_for_training, import_for_training_bytes, supported_operators,
};
pub use interval::interval;
pub use network::{Network, NetworkError};
pub use pool::Pool;
