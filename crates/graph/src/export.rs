//! Trained parameters leave: in the ONNX file that they came in, or as safetensors.
//!
//! The ONNX file is edited, not written anew: all that is not a replaced tensor stays byte for byte, also what the importer does
//! not read. Values go back in the layout of the file, which for the weights of dense layers may be the transposed one.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use safetensors::tensor::{Dtype, TensorView};

use crate::onnx::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto};

/// Why a model cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    /// The original is no ONNX file.
    #[error("model: the original is no ONNX file that can be read ({0}); give the file that the graph came from")]
    Decode(String),
    /// The file has no such tensor of its own.
    #[error(
        "model: \"{0}\" is no tensor of the original but computed from others; simplify the model (constant folding) \
         before training, or take safetensors"
    )]
    Missing(String),
    /// Another number of values.
    #[error(
        "model: \"{name}\" has {found} values and the original's has {expected}; give the file that the graph came from"
    )]
    Length {
        /// The tensor.
        name: String,
        /// Values given.
        found: usize,
        /// Values of the file's.
        expected: usize,
    },
    /// Layers read it in different ways, or in one that cannot be undone.
    #[error(
        "model: \"{0}\" is read in several layouts, or changed before a layer reads it; give each layer weights of its own, or take \
         safetensors"
    )]
    Layouts(String),
    /// The library refused.
    #[error("model: no safetensors file could be made: {0}")]
    Tensors(String),
}

const FLOAT: i32 = 1;
const DOUBLE: i32 = 11;

/// Fields of the schema: the graph in a model, a tensor in a graph.
const GRAPH: u64 = 7;
const INITIALIZER: u64 = 5;

/// The model `original` with the values of `parameters`, under the names they have in it. Parameters are laid out as
/// [`StepGraph`](crate::training::StepGraph) has them: dense weights `[outputs, inputs]`.
pub fn export_onnx(original: &[u8], parameters: &BTreeMap<String, Vec<f32>>) -> Result<Vec<u8>, ExportError> {
    let decode = |error: prost::DecodeError| ExportError::Decode(error.to_string());
    let model = ModelProto::decode(original).map_err(decode)?;
    let graph = model.graph.as_ref().ok_or_else(|| ExportError::Decode("it holds no graph".into()))?;
    let layouts = layouts(graph, parameters)?;
    let mut left: BTreeSet<&str> = parameters.keys().map(String::as_str).collect();
    let edited = edit(original, GRAPH, &mut |bytes| {
        edit(bytes, INITIALIZER, &mut |bytes| {
            let tensor = TensorProto::decode(bytes).map_err(decode)?;
            let Some(values) = parameters.get(tensor.name()) else { return Ok(bytes.to_vec()) };
            left.remove(tensor.name());
            let layout = layouts.get(tensor.name()).copied().unwrap_or(Layout::SAME);
            Ok(replaced(&tensor, values, layout)?.encode_to_vec())
        })
    })?;
    match left.first() {
        Some(name) => Err(ExportError::Missing((*name).to_string())),
        None => Ok(edited),
    }
}

/// How the file holds a parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Layout {
    transposed: bool,
    /// What the layer multiplies the file's values by.
    factor: f32,
}

impl Layout {
    const SAME: Layout = Layout { transposed: false, factor: 1.0 };
}

/// Layouts of what layers read, as [`crate::import`] takes them over.
fn layouts(
    graph: &GraphProto,
    parameters: &BTreeMap<String, Vec<f32>>,
) -> Result<BTreeMap<String, Layout>, ExportError> {
    // Values that hold a parameter's elements, in another shape or transposed.
    let mut forms: BTreeMap<&str, (&str, bool)> =
        parameters.keys().map(|name| (name.as_str(), (name.as_str(), false))).collect();
    let mut layouts = BTreeMap::new();
    let mut waiting: Vec<&NodeProto> = graph.node.iter().collect();
    // Nodes stand in any order; each turn finds the forms of forms.
    loop {
        let before = forms.len();
        waiting.retain(|node| {
            let form = node.input.first().and_then(|input| forms.get(input.as_str())).copied();
            let turned = match node.op_type() {
                "Identity" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => false,
                "Transpose" if swaps_rows_and_columns(graph, node) => true,
                _ => return true,
            };
            let (Some((name, transposed)), Some(output)) = (form, node.output.first()) else { return true };
            forms.insert(output, (name, transposed ^ turned));
            false
        });
        if forms.len() == before {
            break;
        }
    }
    for node in waiting {
        for (place, (name, transposed)) in
            node.input.iter().enumerate().filter_map(|(place, input)| Some((place, *forms.get(input.as_str())?)))
        {
            let layout =
                layout(node, place).map(|layout| Layout { transposed: layout.transposed ^ transposed, ..layout });
            let layout = layout.ok_or_else(|| ExportError::Layouts(name.into()))?;
            if layouts.insert(name.to_string(), layout).is_some_and(|other| other != layout) {
                return Err(ExportError::Layouts(name.into()));
            }
        }
    }
    Ok(layouts)
}

/// The node transposes a matrix of the file.
fn swaps_rows_and_columns(graph: &GraphProto, node: &NodeProto) -> bool {
    let order =
        node.attribute.iter().find(|attribute| attribute.name() == "perm").map_or(&[1, 0][..], |perm| &perm.ints);
    let matrix =
        |tensor: &TensorProto| node.input.first().is_some_and(|input| input == tensor.name()) && tensor.dims.len() == 2;
    order == [1, 0] && graph.initializer.iter().any(matrix)
}

/// How a node reads a parameter as its input number `place`; none where it is no parameter's reader.
fn layout(node: &NodeProto, place: usize) -> Option<Layout> {
    let attribute = |name: &str| node.attribute.iter().find(|attribute| attribute.name() == name);
    let float = |name: &str| attribute(name).and_then(|attribute: &AttributeProto| attribute.f).unwrap_or(1.0);
    match (node.op_type(), place) {
        ("MatMul", 1) => Some(Layout { transposed: true, factor: 1.0 }),
        ("Gemm", 1) => {
            let transposed = attribute("transB").and_then(|attribute| attribute.i).unwrap_or(0) == 0;
            Some(Layout { transposed, factor: float("alpha") })
        }
        ("Gemm", 2) => Some(Layout { transposed: false, factor: float("beta") }),
        ("Conv", 1 | 2) | ("BatchNormalization", 1..=4) | ("Add", _) => Some(Layout::SAME),
        _ => None,
    }
}

/// The tensor with other values, in the bytes of its own type.
fn replaced(tensor: &TensorProto, values: &[f32], layout: Layout) -> Result<TensorProto, ExportError> {
    let sizes: Vec<usize> = tensor.dims.iter().map(|&size| usize::try_from(size).unwrap_or(0)).collect();
    let expected = sizes.iter().product();
    if values.len() != expected {
        return Err(ExportError::Length { name: tensor.name().into(), found: values.len(), expected });
    }
    // Of dense layers, all axes but the last are inputs.
    let values: Vec<f32> = match sizes.last() {
        Some(&columns) if layout.transposed => {
            let rows = expected / columns.max(1);
            (0..expected).map(|place| values[place % columns * rows + place / columns]).collect()
        }
        _ => values.to_vec(),
    };
    let values = values.into_iter().map(|value| if layout.factor == 1.0 { value } else { value / layout.factor });
    let double = tensor.data_type == Some(DOUBLE);
    let raw = if double {
        values.flat_map(|value| f64::from(value).to_le_bytes()).collect()
    } else {
        values.flat_map(f32::to_le_bytes).collect()
    };
    Ok(TensorProto {
        dims: tensor.dims.clone(),
        data_type: Some(if double { DOUBLE } else { FLOAT }),
        name: tensor.name.clone(),
        raw_data: Some(raw),
        ..TensorProto::default()
    })
}

type Change<'a> = &'a mut dyn FnMut(&[u8]) -> Result<Vec<u8>, ExportError>;

/// A message with every field `number`, a message as well, replaced by what `change` makes of it; the rest stays.
fn edit(message: &[u8], number: u64, change: Change<'_>) -> Result<Vec<u8>, ExportError> {
    let mut result = Vec::with_capacity(message.len());
    let mut rest = message;
    while !rest.is_empty() {
        let start = rest;
        let tag = varint(&mut rest)?;
        let content = match tag & 7 {
            0 => {
                varint(&mut rest)?;
                None
            }
            1 => Some(take(&mut rest, 8)?),
            2 => {
                let len = varint(&mut rest)?;
                Some(take(&mut rest, usize::try_from(len).unwrap_or(usize::MAX))?)
            }
            5 => Some(take(&mut rest, 4)?),
            kind => return Err(ExportError::Decode(format!("a field of kind {kind}"))),
        };
        match content {
            Some(content) if tag == number << 3 | 2 => {
                let new = change(content)?;
                put_varint(&mut result, tag);
                put_varint(&mut result, new.len() as u64);
                result.extend(new);
            }
            _ => result.extend_from_slice(&start[..start.len() - rest.len()]),
        }
    }
    Ok(result)
}

fn take<'b>(rest: &mut &'b [u8], len: usize) -> Result<&'b [u8], ExportError> {
    let (taken, after) = rest.split_at_checked(len).ok_or_else(|| ExportError::Decode("it ends too early".into()))?;
    *rest = after;
    Ok(taken)
}

fn varint(rest: &mut &[u8]) -> Result<u64, ExportError> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(rest, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(ExportError::Decode("a number has too many bytes".into()))
}

fn put_varint(result: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        result.push(value as u8 | 0x80);
        value >>= 7;
    }
    result.push(value as u8);
}

/// Tensors of name, shape and values as a safetensors file.
pub fn export_safetensors(tensors: &[(String, Vec<usize>, Vec<f32>)]) -> Result<Vec<u8>, ExportError> {
    let failed = |error: safetensors::SafeTensorError| ExportError::Tensors(error.to_string());
    let bytes: Vec<Vec<u8>> =
        tensors.iter().map(|(_, _, values)| values.iter().flat_map(|value| value.to_le_bytes()).collect()).collect();
    let views = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
        Ok((name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).map_err(failed)?))
    });
    let views = views.collect::<Result<Vec<_>, ExportError>>()?;
    safetensors::serialize(views, None).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::{OperatorSetIdProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto};
    use crate::{Executor, Op, import_bytes, import_for_training_bytes};

    fn node(operator: &str, inputs: &[&str], output: &str, attribute: Vec<AttributeProto>) -> NodeProto {
        NodeProto {
            input: inputs.iter().map(|input| input.to_string()).collect(),
            output: vec![output.into()],
            name: Some(format!("{output}.node")),
            op_type: Some(operator.into()),
            attribute,
            domain: None,
        }
    }

    fn float(name: &str, f: f32) -> AttributeProto {
        AttributeProto { name: Some(name.into()), f: Some(f), r#type: Some(1), ..AttributeProto::default() }
    }

    fn tensor(name: &str, dims: &[i64], first: f32) -> TensorProto {
        let count = dims.iter().product::<i64>();
        TensorProto {
            dims: dims.to_vec(),
            data_type: Some(FLOAT),
            name: Some(name.into()),
            float_data: (0..count).map(|i| first + i as f32 / 8.0).collect(),
            ..TensorProto::default()
        }
    }

    fn value(name: &str, size: i64) -> ValueInfoProto {
        let dimension = |size| crate::onnx::DimensionProto { dim_value: Some(size), dim_param: None };
        let shape = TensorShapeProto { dim: vec![dimension(1), dimension(size)] };
        let tensor_type = TensorTypeProto { elem_type: Some(FLOAT), shape: Some(shape) };
        ValueInfoProto { name: Some(name.into()), r#type: Some(TypeProto { tensor_type: Some(tensor_type) }) }
    }

    /// MatMul and Add as one layer, normalisation, dropout, Gemm with factors.
    fn model() -> Vec<u8> {
        let norm = ["h2", "g", "b", "m", "v"];
        let graph = GraphProto {
            node: vec![
                node("MatMul", &["x", "w1"], "h1", vec![]),
                node("Add", &["h1", "b1"], "h2", vec![]),
                node("BatchNormalization", &norm, "h3", vec![float("momentum", 0.8), float("epsilon", 1e-3)]),
                node("Dropout", &["h3", "ratio"], "h4", vec![]),
                node("Relu", &["h4"], "h5", vec![]),
                node("Gemm", &["h5", "w2", "b2"], "y", vec![float("alpha", 2.0), float("beta", 0.5)]),
            ],
            name: Some("made".into()),
            initializer: vec![
                tensor("w1", &[3, 4], -0.7),
                tensor("b1", &[4], 0.1),
                tensor("g", &[4], 0.5),
                tensor("b", &[4], -0.1),
                tensor("m", &[4], 0.2),
                tensor("v", &[4], 1.0),
                tensor("ratio", &[], 0.25),
                tensor("w2", &[4, 2], -0.4),
                tensor("b2", &[2], 0.3),
            ],
            input: vec![value("x", 3)],
            output: vec![value("y", 2)],
        };
        let model = ModelProto {
            ir_version: Some(7),
            graph: Some(graph),
            opset_import: vec![OperatorSetIdProto { domain: None, version: Some(13) }],
            ..ModelProto::default()
        };
        let mut bytes = model.encode_to_vec();
        // A field that the importer does not read: the model's documentation.
        bytes.extend([6 << 3 | 2, 5]);
        bytes.extend(b"hello");
        bytes
    }

    #[test]
    fn layers_of_exporters_are_those_of_training() {
        let graph = import_for_training_bytes(&model()).expect("a graph");
        let layers: Vec<_> = graph.nodes.iter().map(|node| (node.name.as_str(), node.op.name())).collect();
        let wanted = [("h1.node", "Gemm"), ("h3.node", "BatchNormalization"), ("h4.node", "Dropout")];
        assert_eq!(layers, [&wanted[..], &[("h5.node", "Relu"), ("y.node", "Gemm")]].concat());
        let Op::Dense(first) = &graph.nodes[0].op else { panic!("a dense layer") };
        assert_eq!((first.weight_name.as_str(), first.bias_name.as_deref()), ("w1", Some("b1")));
        let Op::BatchNorm(norm) = &graph.nodes[1].op else { panic!("a normalisation") };
        assert_eq!((norm.momentum, norm.names.each_ref().map(String::as_str)), (0.2, ["g", "b", "m", "v"]));
        assert_eq!(graph.nodes[2].op, Op::Dropout { ratio: Some(0.25) });
        let x = [0.3, -0.5, 0.9, 0.2, 0.8, -0.1];
        let run = |graph| Executor::new(graph).run(2, &x).expect("a result");
        let (found, wanted) = (run(&graph), run(&import_bytes(&model()).expect("a graph")));
        found.iter().zip(&wanted).for_each(|(a, b)| assert!((a - b).abs() < 1e-5, "{found:?} {wanted:?}"));
    }

    #[test]
    fn values_go_back_in_the_layout_of_the_file_and_the_rest_stays() {
        let original = model();
        let mut graph = import_for_training_bytes(&original).expect("a graph");
        let mut parameters = BTreeMap::new();
        for node in &mut graph.nodes {
            if let Op::Dense(dense) = &mut node.op {
                dense.weights.data_mut().iter_mut().enumerate().for_each(|(i, w)| *w += i as f32 / 16.0);
                let bias = dense.bias.as_mut().expect("a bias");
                bias.iter_mut().enumerate().for_each(|(i, b)| *b -= i as f32 / 4.0);
                parameters.insert(dense.weight_name.clone(), dense.weights.data().to_vec());
                parameters.insert(dense.bias_name.clone().expect("a name"), bias.clone());
            }
            if let Op::BatchNorm(norm) = &mut node.op {
                norm.variance = vec![4.0; 4];
                parameters.insert("v".into(), norm.variance.clone());
            }
        }
        let written = export_onnx(&original, &parameters).expect("a model");
        assert_eq!(import_for_training_bytes(&written).expect("a graph"), graph);
        assert!(written.ends_with(b"hello"));
        // Everything but the replaced tensors is as it was.
        let rest = |bytes: &[u8]| {
            let mut model = ModelProto::decode(bytes).expect("a model");
            let tensors = &mut model.graph.as_mut().expect("a graph").initializer;
            tensors.retain(|tensor| !parameters.contains_key(tensor.name()));
            assert_eq!(tensors.len(), 4);
            model
        };
        assert_eq!(rest(&written), rest(&original));
        // The same weights behind a transposition, and behind one that cannot be followed.
        for (shape, right) in [(vec![4, 3], true), (vec![2, 2, 3], false)] {
            let mut model = ModelProto::decode(original.as_slice()).expect("a model");
            let graph = model.graph.as_mut().expect("a graph");
            graph.initializer[0].dims = shape;
            graph.node[0].input[1] = "turned".into();
            graph.node.push(node("Transpose", &["w1"], "turned", vec![]));
            let turned = model.encode_to_vec();
            let parameters = BTreeMap::from([("w1".to_string(), (0..12).map(|i| i as f32).collect())]);
            let written = export_onnx(&turned, &parameters);
            if !right {
                assert_eq!(written, Err(ExportError::Layouts("w1".into())));
                continue;
            }
            let graph = import_for_training_bytes(&written.expect("a model")).expect("a graph");
            assert_eq!(graph.nodes[0].op.weights().expect("weights").data(), parameters["w1"]);
        }
        let two = BTreeMap::from([("w1".to_string(), vec![0.0; 12])]);
        let mut shared = ModelProto::decode(original.as_slice()).expect("a model");
        shared.graph.as_mut().expect("a graph").node[1].input[1] = "w1".into();
        assert_eq!(export_onnx(&shared.encode_to_vec(), &two), Err(ExportError::Layouts("w1".into())));
    }

    #[test]
    fn broken_files_are_refused() {
        let original = model();
        let parameters = BTreeMap::from([("b1".to_string(), vec![0.0; 4])]);
        // Within the graph; behind it stand 4 bytes of the operator set and 7 of the documentation.
        for end in 0..original.len() - 11 {
            assert!(export_onnx(&original[..end], &parameters).is_err(), "{end}");
        }
    }
}
