//! The order of nodes: names checked, cycles refused, nodes without effect left out.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::ImportError;
use crate::onnx::GraphProto;

/// All nodes in topological order, as near to the file's order as possible.
pub(super) fn sorted(graph: &GraphProto) -> Result<Vec<usize>, ImportError> {
    let makers = makers(graph)?;
    let mut users = vec![Vec::new(); graph.node.len()];
    let mut waiting = vec![0usize; graph.node.len()];
    for (node, proto) in graph.node.iter().enumerate() {
        for maker in proto.input.iter().filter_map(|input| makers.get(input.as_str())) {
            users[*maker].push(node);
            waiting[node] += 1;
        }
    }
    let mut ready: BTreeSet<usize> = (0..waiting.len()).filter(|&node| waiting[node] == 0).collect();
    let mut order = Vec::with_capacity(waiting.len());
    while let Some(node) = ready.pop_first() {
        order.push(node);
        for &user in &users[node] {
            waiting[user] -= 1;
            if waiting[user] == 0 {
                ready.insert(user);
            }
        }
    }
    if order.len() == waiting.len() { Ok(order) } else { Err(cycle(graph, &makers, &waiting)) }
}

/// The nodes of `sorted` on which `output` depends.
pub(super) fn live(graph: &GraphProto, sorted: &[usize], output: &str) -> Vec<usize> {
    let mut needed = HashSet::from([output]);
    let mut live = Vec::new();
    for &node in sorted.iter().rev() {
        let proto = &graph.node[node];
        if proto.output.iter().any(|name| needed.contains(name.as_str())) {
            needed.extend(proto.input.iter().map(String::as_str));
            live.push(node);
        }
    }
    live.reverse();
    live
}

/// Which node makes which value. Every value is made once, every node is named once.
fn makers(graph: &GraphProto) -> Result<HashMap<&str, usize>, ImportError> {
    let duplicate = |kind, name: &str| ImportError::Duplicate { kind, name: name.into() };
    let mut tensors = HashSet::new();
    for tensor in &graph.initializer {
        if !tensors.insert(tensor.name()) {
            return Err(duplicate("tensor", tensor.name()));
        }
    }
    let mut inputs = HashSet::new();
    for input in &graph.input {
        if !inputs.insert(input.name()) {
            return Err(duplicate("input", input.name()));
        }
    }
    let mut nodes = HashSet::new();
    let mut makers = HashMap::new();
    for (node, proto) in graph.node.iter().enumerate() {
        if !proto.name().is_empty() && !nodes.insert(proto.name()) {
            return Err(duplicate("node", proto.name()));
        }
        for output in proto.output.iter().map(String::as_str).filter(|output| !output.is_empty()) {
            let taken = tensors.contains(output) || inputs.contains(output);
            if taken || makers.insert(output, node).is_some() {
                return Err(duplicate("tensor", output));
            }
        }
    }
    Ok(makers)
}

fn cycle(graph: &GraphProto, makers: &HashMap<&str, usize>, waiting: &[usize]) -> ImportError {
    // From any node left over, walking from users to makers that are left over too ends up in a cycle.
    let before = |node: usize| {
        let inputs = graph.node[node].input.iter();
        inputs.filter_map(|input| makers.get(input.as_str())).copied().find(|&maker| waiting[maker] > 0)
    };
    let mut node = (0..waiting.len()).find(|&node| waiting[node] > 0).expect("a node is left over");
    let mut path = Vec::new();
    while !path.contains(&node) {
        path.push(node);
        node = before(node).expect("a node that waits has a maker that waits");
    }
    let start = path.iter().position(|&seen| seen == node).expect("the walk came back");
    let label = |&node: &usize| match graph.node[node].name() {
        "" => format!("\"{}\"", graph.node[node].output.first().map_or("", String::as_str)),
        name => format!("\"{name}\""),
    };
    let mut on_cycle: Vec<usize> = path[start..].iter().rev().copied().collect();
    let first = (0..on_cycle.len()).min_by_key(|&place| on_cycle[place]).unwrap_or(0);
    on_cycle.rotate_left(first);
    ImportError::Cycle { nodes: on_cycle.iter().map(label).collect::<Vec<_>>().join(", ") }
}
