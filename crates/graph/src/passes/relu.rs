//! Fewer signs to decide: pooling and slices before ReLU, one ReLU for joined branches, none where it changes nothing.

use super::{insert_after, may_stand_for, redirect, uses};
use crate::graph::{Graph, Op, ValueId};

/// Relu then MaxPool becomes MaxPool then Relu: the same result with fewer signs to decide. The same for Clip.
pub fn pool_before_relu(graph: &mut Graph) {
    for place in 0..graph.nodes.len() {
        // The two layers exchange places; values and the number of their users stay.
        let mut pool = place;
        while let Some(cut) = cut_before(graph, pool).filter(|&cut| uses(graph, graph.nodes[cut].output) == 1) {
            let (before, after) = graph.nodes.split_at_mut(pool);
            let (first, second) = (&mut before[cut], &mut after[0]);
            std::mem::swap(&mut first.op, &mut second.op);
            std::mem::swap(&mut first.name, &mut second.name);
            first.shape.clone_from(&second.shape);
            pool = cut;
        }
    }
}

/// The ReLU or clip whose output layer `pool`, a pooling to no more values, reads.
fn cut_before(graph: &Graph, pool: usize) -> Option<usize> {
    let node = &graph.nodes[pool];
    let fewer = node.len() <= node.inputs.first().map_or(0, |&input| graph.len(input));
    let maker = (fewer && matches!(node.op, Op::MaxPool(_))).then(|| node.inputs[0].node())?;
    maker.filter(|&maker| is_cut(&graph.nodes[maker].op))
}

fn is_cut(op: &Op) -> bool {
    matches!(op, Op::Relu | Op::Clip { .. })
}

/// Several ReLUs (or equal clips) that are only joined, or one of which only a part is read, become one behind that.
pub fn relu_after_arrange(graph: &mut Graph) {
    let mut node = 0;
    while node < graph.nodes.len() {
        if let Some(op) = cut_of_all_inputs(graph, node) {
            let makers: Vec<usize> = graph.nodes[node].inputs.iter().filter_map(|input| input.node()).collect();
            graph.nodes[node].inputs = makers.iter().map(|&maker| graph.nodes[maker].inputs[0]).collect();
            let name = graph.nodes[makers[0]].name.clone();
            insert_after(graph, node, name, op);
        }
        node += 1;
    }
}

fn cut_of_all_inputs(graph: &Graph, node: usize) -> Option<Op> {
    let layer = &graph.nodes[node];
    let Op::Arrange(arrange) = &layer.op else { return None };
    let maker = |value: &ValueId| value.node().map(|maker| &graph.nodes[maker]);
    let op = maker(layer.inputs.first()?)?.op.clone();
    let alone = |value: &ValueId| uses(graph, *value) == 1 && maker(value).is_some_and(|maker| maker.op == op);
    let read: usize = layer.inputs.iter().map(|&input| graph.len(input)).sum();
    // Places that no box covers hold zeros, which the cut must keep.
    let covered: usize = arrange.blocks.iter().map(|block| block.len()).sum();
    let keeps_zeros = match op {
        Op::Relu => true,
        Op::Clip { lo, hi } => covered == arrange.len || (lo <= 0.0 && hi >= 0.0),
        _ => return None,
    };
    (keeps_zeros && layer.len() <= read && layer.inputs.iter().all(alone)).then_some(op)
}

/// A ReLU of values that are never negative vanishes; a ReLU and a clip one after the other become one clip.
pub fn merge_relus(graph: &mut Graph) {
    let mut never_negative = vec![false; graph.nodes.len() + 1];
    for node in 0..graph.nodes.len() {
        merge_with_maker(graph, node);
        let layer = &graph.nodes[node];
        let (source, output) = (layer.inputs[0], layer.output);
        if layer.op == Op::Relu && never_negative[source.0] && may_stand_for(graph, source, output) {
            redirect(graph, output, source);
        }
        let layer = &graph.nodes[node];
        never_negative[output.0] = match &layer.op {
            Op::Relu | Op::Softmax(_) => true,
            Op::Clip { lo, .. } => *lo >= 0.0,
            Op::Function(function) => function.never_negative(),
            Op::MaxPool(_) | Op::AvgPool(_) | Op::Arrange(_) | Op::Add | Op::Reshape | Op::Dropout { .. } => {
                layer.inputs.iter().all(|input| never_negative[input.0])
            }
            Op::Dense(_) | Op::Conv(_) | Op::BatchNorm(_) => false,
        };
    }
}

/// Clip after ReLU, or ReLU after a clip that nothing else reads: one clip of what stands before both.
fn merge_with_maker(graph: &mut Graph, node: usize) {
    let Some(maker) = graph.nodes[node].inputs[0].node().filter(|&maker| is_cut(&graph.nodes[maker].op)) else {
        return;
    };
    let merged = match (&graph.nodes[maker].op, &graph.nodes[node].op) {
        (Op::Relu, Op::Clip { lo, hi }) => Op::Clip { lo: lo.max(0.0), hi: *hi },
        (Op::Clip { lo, hi }, Op::Relu) if *lo < 0.0 => Op::Clip { lo: 0.0, hi: *hi },
        _ => return,
    };
    let right = matches!(merged, Op::Clip { lo, hi } if lo < hi);
    if right && uses(graph, graph.nodes[maker].output) == 1 {
        graph.nodes[node].op = merged;
        graph.nodes[node].inputs = graph.nodes[maker].inputs.clone();
    }
}
