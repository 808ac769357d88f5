//! Why the fixed-point reference was not computed.

use ariann_ring::FixedError;

use crate::executor::ExecuteError;

/// Why nothing was computed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ClearError {
    /// The input does not fit the model.
    #[error("{0}")]
    Items(#[from] ExecuteError),
    /// Scales of another ring.
    #[error("plan: its scales are for a ring of {planned} bits, the run computes in {ring}; use the plan's ring")]
    Ring {
        /// The scales'.
        planned: u32,
        /// The run's.
        ring: u32,
    },
    /// Scales of another model.
    #[error("plan: it has scales for {planned} linear layers, the model has {layers}; use the model's own plan")]
    Layers {
        /// Layers in the scales.
        planned: usize,
        /// Layers of the model.
        layers: usize,
    },
    /// A window outside the ring.
    #[error("plan: window [{shift}, {top}) of layer \"{layer}\" does not lie in {ring} bits; make the plan again")]
    Window {
        /// The layer.
        layer: String,
        /// s.
        shift: u32,
        /// m.
        top: u32,
        /// k.
        ring: u32,
    },
    /// A sum of values of different scales.
    #[error("plan: layer \"{layer}\" adds values of {a} and {b} fractional bits; make the plan again")]
    Scales {
        /// The layer.
        layer: String,
        /// Scale of the first.
        a: i32,
        /// Scale of the second.
        b: i32,
    },
    /// A weight or bias that the ring cannot hold.
    #[error("model: layer \"{layer}\" does not fit the ring: {source}; use --ring 64 or calibrate")]
    Weights {
        /// The layer.
        layer: String,
        /// Which number, and why.
        source: FixedError,
    },
    /// An input that the ring cannot hold.
    #[error("input: item {item} does not fit the ring: {source}; check the preprocessing")]
    Input {
        /// The item.
        item: usize,
        /// Which number, and why.
        source: FixedError,
    },
}
