//! Rewriting passes over a whole graph. Each keeps what the graph computes.

mod fold;
mod relu;

use std::collections::{HashMap, HashSet};

use crate::graph::{Graph, Node, Op, ValueId};

pub use fold::{fold_scalings, join_biases};
pub use relu::{merge_relus, pool_before_relu, relu_after_arrange};

/// All passes: reshapes merged, scalings folded, fewer signs to decide, layers without effect removed.
pub fn run(graph: &mut Graph) {
    remove_dead(graph);
    merge_reshapes(graph);
    remove_dead(graph);
    drop_single_averages(graph);
    fold_scalings(graph);
    merge_reshapes(graph);
    remove_dead(graph);
    // What one of these moves gives the others more to do.
    let order = |graph: &Graph| -> Vec<_> { graph.nodes.iter().map(|node| (node.op.name(), node.len())).collect() };
    let mut before = Vec::new();
    while before != order(graph) {
        before = order(graph);
        merge_relus(graph);
        relu_after_arrange(graph);
        remove_dead(graph);
        pool_before_relu(graph);
        merge_relus(graph);
        remove_dead(graph);
    }
    leave_softmax(graph);
    name_uniquely(graph);
}

/// What a graph for training goes through: no weight changes and no layer moves, but terms added right behind a layer with weights
/// become its bias.
pub fn run_for_training(graph: &mut Graph) {
    remove_dead(graph);
    merge_reshapes(graph);
    remove_dead(graph);
    drop_single_averages(graph);
    join_biases(graph);
    merge_reshapes(graph);
    remove_dead(graph);
    leave_softmax(graph);
    name_uniquely(graph);
}

/// How often a value is read, by layers or as the result.
fn uses(graph: &Graph, value: ValueId) -> usize {
    let read = graph.nodes.iter().flat_map(|node| &node.inputs).filter(|input| **input == value).count();
    read + usize::from(graph.output == value)
}

/// All that read `value`, layers and the result, read `other` instead.
fn redirect(graph: &mut Graph, value: ValueId, other: ValueId) {
    let inputs = graph.nodes.iter_mut().flat_map(|node| &mut node.inputs);
    inputs.chain(std::iter::once(&mut graph.output)).filter(|read| **read == value).for_each(|read| *read = other);
}

/// Takes out a layer of one input; what read it reads its input. Later values are numbered anew.
fn remove(graph: &mut Graph, node: usize) {
    let Node { inputs, output, .. } = graph.nodes.remove(node);
    redirect(graph, output, inputs[0]);
    renumber(graph);
}

/// Puts a layer of the same shape behind layer `node`, before all that read it.
fn insert_after(graph: &mut Graph, node: usize, name: String, op: Op) {
    let before = &graph.nodes[node];
    let (value, shape) = (before.output, before.shape.clone());
    // A number that no layer has; all are numbered anew below.
    let fresh = ValueId(graph.nodes.len() + 1);
    redirect(graph, value, fresh);
    graph.nodes.insert(node + 1, Node { name, op, inputs: vec![value], output: fresh, shape });
    renumber(graph);
}

/// Removes layers on which the output does not depend.
fn remove_dead(graph: &mut Graph) {
    let mut needed = HashSet::from([graph.output]);
    for node in graph.nodes.iter().rev() {
        if needed.contains(&node.output) {
            needed.extend(&node.inputs);
        }
    }
    graph.nodes.retain(|node| needed.contains(&node.output));
    renumber(graph);
}

/// Numbers values by the places of their layers.
fn renumber(graph: &mut Graph) {
    let mut numbers = HashMap::from([(ValueId::INPUT, ValueId::INPUT)]);
    for (index, node) in graph.nodes.iter_mut().enumerate() {
        numbers.insert(node.output, ValueId(index + 1));
        node.output = ValueId(index + 1);
        node.inputs.iter_mut().for_each(|input| *input = numbers[input]);
    }
    graph.output = numbers[&graph.output];
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
        let vanishing = graph.nodes[node].output;
        if graph.shape(source) == graph.nodes[node].shape && may_stand_for(graph, source, vanishing) {
            redirect(graph, vanishing, source);
        }
    }
}

/// Whether `source` may take the place of `value`: the result of a graph is never its input.
fn may_stand_for(graph: &Graph, source: ValueId, value: ValueId) -> bool {
    source != ValueId::INPUT || graph.output != value
}

/// An average of single places vanishes.
fn drop_single_averages(graph: &mut Graph) {
    for node in (0..graph.nodes.len()).rev() {
        let Op::AvgPool(average) = &graph.nodes[node].op else { continue };
        let pool = &average.pool;
        let single = pool.kernel == [1, 1] && pool.stride == [1, 1] && pool.pads == [0; 4];
        let whole = average.counts.iter().flatten().all(|&count| count == 1);
        if single && whole && may_stand_for(graph, graph.nodes[node].inputs[0], graph.nodes[node].output) {
            remove(graph, node);
        }
    }
}

/// A Softmax over all results is left to their receiver: it changes no order and the logits are what is compared.
fn leave_softmax(graph: &mut Graph) {
    // Reshapes after it may stay.
    let mut value = graph.output;
    while let Some(node) = value.node().filter(|&node| graph.nodes[node].op == Op::Reshape) {
        value = graph.nodes[node].inputs[0];
    }
    let Some(node) = value.node() else { return };
    let whole = graph.nodes[node].op == Op::Softmax(graph.nodes[node].len());
    let logits = graph.nodes[node].inputs[0];
    if whole && uses(graph, value) == 1 && logits != ValueId::INPUT {
        remove(graph, node);
        graph.softmax = true;
    }
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
