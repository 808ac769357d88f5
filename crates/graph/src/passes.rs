//! Rewriting passes over a whole graph. Each keeps what the graph computes.

use std::collections::{HashMap, HashSet};

use crate::graph::{Graph, Op, ValueId};

/// All passes: reshapes merged, pooling before ReLU, layers without effect removed.
pub fn run(graph: &mut Graph) {
    remove_dead(graph);
    merge_reshapes(graph);
    remove_dead(graph);
    pool_before_relu(graph);
    name_uniquely(graph);
}

/// Relu then MaxPool becomes MaxPool then Relu: the same result with fewer signs to decide.
pub fn pool_before_relu(graph: &mut Graph) {
    let mut users = vec![0usize; graph.nodes.len() + 1];
    graph.nodes.iter().flat_map(|node| &node.inputs).for_each(|input| users[input.0] += 1);
    users[graph.output.0] += 1;
    for place in 0..graph.nodes.len() {
        // The two layers exchange places; values and the number of their users stay.
        let mut pool = place;
        while let Some(relu) = relu_before(graph, pool).filter(|&relu| users[relu + 1] == 1) {
            let (before, after) = graph.nodes.split_at_mut(pool);
            let (first, second) = (&mut before[relu], &mut after[0]);
            std::mem::swap(&mut first.op, &mut second.op);
            std::mem::swap(&mut first.name, &mut second.name);
            first.shape.clone_from(&second.shape);
            pool = relu;
        }
    }
}

/// The ReLU whose output layer `pool`, a pooling, reads.
fn relu_before(graph: &Graph, pool: usize) -> Option<usize> {
    let node = &graph.nodes[pool];
    let maker = matches!(node.op, Op::MaxPool(_)).then(|| node.inputs[0].node())?;
    maker.filter(|&maker| graph.nodes[maker].op == Op::Relu)
}

/// A reshape of a reshape reads the first one's input; a reshape to the shape that is there already vanishes.
fn merge_reshapes(graph: &mut Graph) {
    for node in 0..graph.nodes.len() {
        if graph.nodes[node].op != Op::Reshape {
            continue;
        }
        let source = graph.nodes[node].inputs[0];
        let earlier = source.node().filter(|&earlier| graph.nodes[earlier].op == Op::Reshape);
        let source = earlier.map_or(source, |earlier| graph.nodes[earlier].inputs[0]);
        graph.nodes[node].inputs[0] = source;
        if graph.shape(source) == graph.nodes[node].shape && source != ValueId::INPUT {
            let vanishing = graph.nodes[node].output;
            let inputs = graph.nodes.iter_mut().skip(node + 1).flat_map(|later| &mut later.inputs);
            inputs.chain(std::iter::once(&mut graph.output)).filter(|value| **value == vanishing).for_each(|value| {
                *value = source;
            });
        }
    }
}

/// Removes layers on which the output does not depend, and numbers the values anew.
fn remove_dead(graph: &mut Graph) {
    let mut needed = HashSet::from([graph.output]);
    for node in graph.nodes.iter().rev() {
        if needed.contains(&node.output) {
            needed.extend(&node.inputs);
        }
    }
    graph.nodes.retain(|node| needed.contains(&node.output));
    let mut numbers = HashMap::from([(ValueId::INPUT, ValueId::INPUT)]);
    for (index, node) in graph.nodes.iter_mut().enumerate() {
        numbers.insert(node.output, ValueId(index + 1));
        node.output = ValueId(index + 1);
        node.inputs.iter_mut().for_each(|input| *input = numbers[input]);
    }
    graph.output = numbers[&graph.output];
}

/// A layer that had to be doubled gets another name.
fn name_uniquely(graph: &mut Graph) {
    let mut names = HashSet::new();
    for node in &mut graph.nodes {
        let base = node.name.clone();
        let mut copy = 2;
        while !names.insert(node.name.clone()) {
            node.name = format!("{base}_{copy}");
            copy += 1;
        }
    }
}
