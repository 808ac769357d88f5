//! The declared input and output of a graph.

use std::collections::HashSet;

use super::ImportError;
use super::constant::type_name;
use super::shape::{MAX_VALUES, checked_len};
use crate::graph::Input;
use crate::onnx::{DimensionProto, GraphProto, ValueInfoProto};

const FLOAT: i32 = 1;

/// The one input that is no weight, and the size of its batch axis where the model fixes it.
pub(super) fn input(graph: &GraphProto) -> Result<(Input, Option<usize>), ImportError> {
    // Before IR version 4 weights were listed among the inputs.
    let weights: HashSet<&str> = graph.initializer.iter().map(|tensor| tensor.name()).collect();
    let inputs: Vec<_> = graph.input.iter().filter(|input| !weights.contains(input.name())).collect();
    let input = one("input", &inputs)?;
    let name = input.name().to_string();
    let refuse = |reason: String| ImportError::Input { name: name.clone(), reason };
    let tensor = input.r#type.as_ref().and_then(|kind| kind.tensor_type.as_ref());
    let tensor = tensor.ok_or_else(|| refuse("it is no tensor; export a model of one tensor".into()))?;
    match tensor.elem_type.unwrap_or(0) {
        FLOAT => (),
        other => {
            return Err(ImportError::DataType { tensor: name, data_type: type_name(other) });
        }
    }
    let shape = tensor.shape.as_ref().ok_or_else(|| refuse("it declares no shape; export with one".into()))?;
    let Some((batch, item)) = shape.dim.split_first().filter(|(_, item)| !item.is_empty()) else {
        return Err(refuse("its shape has no axis besides the batch; export with [N, ...]".into()));
    };
    let mut sizes = Vec::with_capacity(item.len());
    for (axis, dim) in item.iter().enumerate() {
        sizes.push(size(dim).ok_or_else(|| {
            let what = dim.dim_param.as_deref().map_or("open".into(), |symbol| format!("\"{symbol}\""));
            refuse(format!("axis {} is {what}, only the batch axis 0 may be free; export with a fixed size", axis + 1))
        })??);
    }
    checked_len(&sizes, || format!("input \"{name}\""))?;
    let batch = size(batch).transpose()?;
    Ok((Input { name, shape: sizes }, batch))
}

/// Name of the one output.
pub(super) fn output(graph: &GraphProto) -> Result<String, ImportError> {
    let outputs: Vec<_> = graph.output.iter().collect();
    Ok(one("output", &outputs)?.name().to_string())
}

fn one<'m>(kind: &'static str, values: &[&'m ValueInfoProto]) -> Result<&'m ValueInfoProto, ImportError> {
    match values {
        [value] => Ok(value),
        _ => {
            let names: Vec<_> = values.iter().map(|value| value.name()).collect();
            Err(ImportError::Count { kind, count: values.len(), names: names.join(", ") })
        }
    }
}

/// A declared size; none when it is symbolic or left open.
fn size(dim: &DimensionProto) -> Option<Result<usize, ImportError>> {
    let value = dim.dim_value.filter(|&value| value > 0)?;
    let overflow = || ImportError::Overflow { what: "the input".into(), limit: MAX_VALUES };
    Some(usize::try_from(value).ok().filter(|&value| value <= MAX_VALUES).ok_or_else(overflow))
}
