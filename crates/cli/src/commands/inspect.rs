//! `ariann inspect MODEL`: layers, shapes, parameters; unsupported nodes all at once.

use std::path::PathBuf;

use ariann_report::{count, table};
use ariann_session::SessionError;
use serde_json::json;

use crate::output::Output;

/// Arguments of `inspect`.
#[derive(clap::Args)]
pub struct Args {
    /// The model, ONNX.
    #[arg(required_unless_present = "operators")]
    model: Option<PathBuf>,
    /// List the operators that can be imported instead.
    #[arg(long)]
    operators: bool,
}

pub fn run(args: &Args, output: &Output) -> Result<(), SessionError> {
    if args.operators {
        return operators(output);
    }
    let model = args.model.as_ref().expect("required by the parser");
    let graph = ariann_graph::import(model)?;
    let shape = |shape: &[usize]| shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x");
    let parameters = |node: &ariann_graph::Node| {
        node.op.weights().map_or(0, |w| w.data().len()) + node.op.bias().map_or(0, <[f32]>::len)
    };
    if output.is_json() {
        let layers: Vec<_> = graph
            .nodes
            .iter()
            .map(|node| json!({ "name": node.name, "operator": node.op.name(), "output": node.shape, "parameters": parameters(node) }))
            .collect();
        output.document(&json!({
            "name": graph.name,
            "input": { "name": graph.input.name, "shape": graph.input.shape },
            "output": { "name": graph.output_name, "values": graph.output_len(), "softmax_left_to_receiver": graph.softmax },
            "parameters": graph.parameters(),
            "layers": layers,
        }));
        return Ok(());
    }
    output.line(&format!("{}: input {} {}", graph.name, graph.input.name, shape(&graph.input.shape)));
    let rows: Vec<Vec<String>> = graph
        .nodes
        .iter()
        .map(|node| {
            vec![node.name.clone(), node.op.name().to_string(), shape(&node.shape), count(parameters(node) as u64)]
        })
        .collect();
    output.line(&table(&["layer", "operator", "output", "parameters"], &rows));
    output.line(&format!("{} parameters", count(graph.parameters() as u64)));
    if graph.softmax {
        output.line("ends in Softmax, which the receiver of the logits applies");
    }
    Ok(())
}

fn operators(output: &Output) -> Result<(), SessionError> {
    let known = ariann_graph::supported_operators();
    if output.is_json() {
        let list: Vec<_> = known
            .iter()
            .map(|op| json!({ "operator": op.name, "attributes": op.attributes, "notes": op.notes }))
            .collect();
        output.document(&list);
    } else {
        let row = |op: &ariann_graph::import::SupportedOperator| {
            vec![op.name.to_string(), op.attributes.join(" "), op.notes.to_string()]
        };
        output.line(&table(&["operator", "attributes", "notes"], &known.iter().map(row).collect::<Vec<_>>()));
    }
    Ok(())
}
