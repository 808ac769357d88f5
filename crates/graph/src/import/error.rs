//! Why a model was refused.

use std::fmt::Write as _;
use std::path::PathBuf;

/// Why a model was refused. The operator who chose the model file is the one to act, unless the disk failed.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file could not be read.
    #[error("disk: cannot read the model {path}: {source}; check the path and its permissions", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The bytes are no ONNX model.
    #[error("model: the file is truncated or is not ONNX ({reason}); export or copy it again")]
    Decode {
        /// What the decoder said.
        reason: String,
    },
    /// The operator set is too old or too new.
    #[error("model: operator set {found} is not supported, {first} to {last} are; export with opset_version=13")]
    Opset {
        /// The model's.
        found: i64,
        /// Oldest supported.
        first: i64,
        /// Newest supported.
        last: i64,
    },
    /// Some layers cannot be computed privately; all of them are listed.
    #[error("{}", list(nodes))]
    Unsupported {
        /// Every such layer.
        nodes: Vec<UnsupportedNode>,
    },
    /// Values depend on themselves.
    #[error("model: the graph has a cycle through {nodes}; export the model again")]
    Cycle {
        /// Names of the nodes on it.
        nodes: String,
    },
    /// A value that nothing makes.
    #[error("model: {user} reads the tensor \"{tensor}\", which nothing in the file makes; export the model again")]
    Missing {
        /// The tensor.
        tensor: String,
        /// Who reads it.
        user: String,
    },
    /// One name for two things.
    #[error("model: two {kind}s are named \"{name}\"; names must be unique, export the model again")]
    Duplicate {
        /// Node or tensor.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// Not exactly one input or output.
    #[error("model: it has {count} {kind}s ({names}), and exactly one is supported; export it with one {kind}")]
    Count {
        /// Input or output.
        kind: &'static str,
        /// How many.
        count: usize,
        /// Which.
        names: String,
    },
    /// The input's declaration cannot be used.
    #[error("model: input \"{name}\": {reason}")]
    Input {
        /// The input.
        name: String,
        /// What is wrong and what to do.
        reason: String,
    },
    /// A shape that overflows or exceeds every memory.
    #[error("model: the shape of {what} holds more than {limit} values, which is refused; check the model")]
    Overflow {
        /// Whose shape.
        what: String,
        /// The limit.
        limit: usize,
    },
    /// External data that may not or cannot be read.
    #[error("model: external data of tensor \"{tensor}\": {reason}")]
    External {
        /// The tensor.
        tensor: String,
        /// What is wrong and what to do.
        reason: String,
    },
    /// Declared sizes and bytes do not agree.
    #[error("model: tensor \"{tensor}\" declares {declared} and holds {held}; the file is damaged, export it again")]
    Data {
        /// The tensor.
        tensor: String,
        /// What its shape asks for.
        declared: String,
        /// What is there.
        held: String,
    },
    /// An element type that is not read.
    #[error("model: tensor \"{tensor}\" has elements of type {data_type}; export the model in float32")]
    DataType {
        /// The tensor.
        tensor: String,
        /// ONNX's name or number of the type.
        data_type: String,
    },
    /// A weight that is no number.
    #[error("model: element {index} of tensor \"{tensor}\" is {value}; train or export the model again")]
    NotFinite {
        /// The tensor.
        tensor: String,
        /// Row-major index.
        index: usize,
        /// NaN or an infinity.
        value: f32,
    },
    /// A node contradicts itself or its inputs.
    #[error("model: {operator} \"{node}\": {reason}; the file contradicts itself, export it again")]
    Invalid {
        /// Name of the node.
        node: String,
        /// Its operator.
        operator: String,
        /// How.
        reason: String,
    },
}

/// A layer that cannot be computed privately.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsupportedNode {
    /// Its name.
    pub name: String,
    /// Its operator, with its domain if that is not ONNX's own.
    pub operator: String,
    /// The operator set that the model names for it.
    pub opset: i64,
    /// What about it is not supported.
    pub reason: String,
    /// What the model's owner can do.
    pub hint: String,
}

fn list(nodes: &[UnsupportedNode]) -> String {
    let mut text =
        format!("model: {} layer{} not supported:", nodes.len(), if nodes.len() == 1 { " is" } else { "s are" });
    for UnsupportedNode { name, operator, opset, reason, hint } in nodes {
        let _ = write!(text, "\n  \"{name}\" ({operator}, opset {opset}): {reason}; {hint}");
    }
    text
}

/// Why one node was not taken over.
pub(super) enum Refusal {
    /// It is listed with all others.
    Unsupported { reason: String, hint: String },
    /// The import ends here.
    Fatal(ImportError),
}

impl Refusal {
    pub(super) fn unsupported(reason: impl Into<String>, hint: impl Into<String>) -> Self {
        Refusal::Unsupported { reason: reason.into(), hint: hint.into() }
    }
}

impl From<ImportError> for Refusal {
    fn from(error: ImportError) -> Self {
        Refusal::Fatal(error)
    }
}
