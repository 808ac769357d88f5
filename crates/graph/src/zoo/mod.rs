//! Networks with random weights, written as ONNX: for costs, and as a start for training.
//!
//! Weights are drawn nearly normal in the manner of He, from a public seed. Random networks forget their input with depth,
//! because what all activations after ReLU have in common, their mean, outgrows what tells inputs apart. So the weights of
//! an output are shifted to the mean zero, and their variance makes up for it and for pooling and padding: values keep a
//! variance near one through the depth, and the greatest logit differs between inputs.

mod builder;
mod networks;
mod random;
mod spread;

use prost::Message;

use builder::{Builder, MOST_SIZE};

/// Names of the networks.
pub const NAMES: [&str; 9] =
    ["network1", "network2", "lenet", "alexnet-cifar", "alexnet-64", "vgg16-32", "vgg16-64", "resnet8", "resnet18"];

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
    if input.iter().any(|size| !(1..=MOST_SIZE).contains(size)) {
        return Err(refuse(format!("the input {} has a size that is not within 1 and {MOST_SIZE}", shown(input))));
    }
    // Shapes first: a network that does not fit is refused before any weight is drawn.
    let mut sizes = Builder::sizes_only(input);
    (recipe.build)(&mut sizes, classes).map_err(refuse)?;
    let mut builder = Builder::new(input, options.seed);
    (recipe.build)(&mut builder, classes).map_err(refuse)?;
    let (parameters, multiply_adds) = (builder.parameters, builder.multiply_adds);
    let onnx = builder.finish(recipe.name, input, classes).encode_to_vec();
    Ok(Network { name: recipe.name, onnx, input, classes, parameters, multiply_adds })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::ModelProto;

    #[test]
    fn the_file_is_opset_13_with_a_free_batch_axis() {
        let network = network("lenet", &Options::default()).expect("a network");
        let model = ModelProto::decode(network.onnx.as_slice()).expect("ONNX");
        assert_eq!(model.opset_import[0].version, Some(13));
        let graph = model.graph.expect("a graph");
        let value = &graph.input[0];
        let shape = value.r#type.as_ref().and_then(|t| t.tensor_type.as_ref()?.shape.as_ref()).expect("a shape");
        let axes: Vec<_> = shape.dim.iter().map(|dim| (dim.dim_param.as_deref(), dim.dim_value)).collect();
        assert_eq!(axes, [(Some("N"), None), (None, Some(1)), (None, Some(28)), (None, Some(28))]);
        let names: Vec<&str> = graph.initializer.iter().map(|tensor| tensor.name()).collect();
        let layers = ["conv1", "conv2", "fc1", "fc2"];
        assert_eq!(names, layers.map(|layer| [format!("{layer}.weight"), format!("{layer}.bias")]).concat());
        let kinds: Vec<&str> = graph.node.iter().map(|node| node.op_type()).collect();
        assert_eq!(kinds[..6], ["Conv", "MaxPool", "Relu", "Conv", "MaxPool", "Relu"], "pooling stands before ReLU");
        assert_eq!(kinds[6..], ["Flatten", "Gemm", "Relu", "Gemm", "Relu"]);
    }

    #[test]
    fn batch_normalisation_is_real() {
        let network = network("resnet18", &Options::default()).expect("a network");
        let graph = ModelProto::decode(network.onnx.as_slice()).expect("ONNX").graph.expect("a graph");
        let count = |kind: &str| graph.node.iter().filter(|node| node.op_type() == kind).count();
        assert_eq!([count("Conv"), count("BatchNormalization"), count("Add"), count("Relu")], [20, 20, 8, 17]);
        let values = |name: &str| -> Vec<f32> {
            let tensor = graph.initializer.iter().find(|tensor| tensor.name() == name).expect(name);
            tensor.raw_data().as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
        };
        for name in ["layer1.0.bn2", "layer3.0.downsample.1", "layer4.1.bn1"] {
            for part in ["weight", "bias", "running_mean", "running_var"] {
                let values = values(&format!("{name}.{part}"));
                assert!(values.iter().any(|value| *value != values[0]), "{name}.{part} is the same everywhere");
                assert!(!part.ends_with("var") || values.iter().all(|value| *value > 0.0), "{name}.{part}");
            }
        }
        assert_eq!(values("layer1.0.conv1.weight").len(), 64 * 64 * 9);
        assert_eq!(values("fc.weight").len(), 2 * 512);
    }
}
