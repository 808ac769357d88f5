//! Networks with random weights, written as ONNX: for costs, and as a start for training.
//!
//! Weights are drawn nearly normal with He's variance, from a public seed. Random networks forget their input with depth,
//! because activations after ReLU have a mean in common that outgrows what tells inputs apart. So the weights of an output
//! are shifted to mean zero in all layers but the first, and their variance makes up for it; values keep a variance near
//! one through the depth, and the greatest logit differs between inputs.

mod builder;
mod networks;
mod random;
mod spread;

use prost::Message;

use builder::Builder;

/// Names of the networks.
pub const NAMES: [&str; 8] =
    ["network1", "network2", "lenet", "alexnet-cifar", "alexnet-64", "vgg16-32", "vgg16-64", "resnet18"];

/// What can be chosen of a network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Channels, height and width of the input; the network's own when none are given.
    pub input: Option<[usize; 3]>,
    /// Outputs; the network's own number when none is given.
    pub classes: Option<usize>,
    /// Where the weights come from.
    pub seed: u64,
}

/// A network as ONNX, opset 13: input `input` with a free batch axis, output `logits`.
#[derive(Clone, PartialEq)]
pub struct Network {
    /// Its name.
    pub name: &'static str,
    /// The file.
    pub onnx: Vec<u8>,
    /// Channels, height and width of the input.
    pub input: [usize; 3],
    /// Outputs.
    pub classes: usize,
    /// Values that training changes: weights, biases, factors and terms of batch normalisation.
    pub parameters: u64,
    /// Multiply-adds of convolutions and dense layers for one item, padding counted like pixels.
    pub multiply_adds: u64,
}

/// Why there is no such network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ZooError {
    /// No network has this name.
    #[error("operator: there is no network \"{0}\"; choose one of {names}", names = NAMES.join(", "))]
    Name(String),
    /// The network cannot take such an input, or have so many outputs.
    #[error("operator: {name} does not fit: {reason}; its own input is {own}", own = shown(*own))]
    Size {
        /// The network.
        name: &'static str,
        /// What does not fit.
        reason: String,
        /// The input that it has by default.
        own: [usize; 3],
    },
}

fn shown([channels, height, width]: [usize; 3]) -> String {
    format!("{channels}x{height}x{width}")
}

/// The network called `name`.
pub fn network(name: &str, options: &Options) -> Result<Network, ZooError> {
    let recipe = networks::ALL.iter().find(|recipe| recipe.name == name);
    let recipe = recipe.ok_or_else(|| ZooError::Name(name.to_string()))?;
    let (input, classes) = (options.input.unwrap_or(recipe.input), options.classes.unwrap_or(recipe.classes));
    let refuse = |reason| ZooError::Size { name: recipe.name, reason, own: recipe.input };
    // Shapes first: a network that does not fit is refused before any weight is drawn.
    let mut sizes = Builder::sizes_only(input);
    (recipe.build)(&mut sizes, classes).map_err(refuse)?;
    let mut builder = Builder::new(input, options.seed);
    (recipe.build)(&mut builder, classes).map_err(refuse)?;
    let (parameters, multiply_adds) = (builder.parameters, builder.multiply_adds);
    let onnx = builder.finish(recipe.name, input, classes).encode_to_vec();
    Ok(Network { name: recipe.name, onnx, input, classes, parameters, multiply_adds })
}
