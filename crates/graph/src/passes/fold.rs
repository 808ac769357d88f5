//! Scalings folded into layers with weights.
//!
//! A scaling is a depthwise 1x1 convolution: y = s·x + b with one s a channel. Batch normalisation and arithmetic with
//! constants are imported as such. It goes into the layer with weights before it, else into the one after it, never
//! past a value that something else reads; otherwise it stays.

use super::{may_stand_for, remove, uses};
use crate::graph::{Conv, Dense, Graph, Op, ValueId};
use crate::linear;

/// Folds every scaling that has a neighbour with weights.
pub fn fold_scalings(graph: &mut Graph) {
    let mut node = 0;
    while node < graph.nodes.len() {
        let folded = scaling(graph, node).is_some_and(|scaling| {
            scaling.is_identity() && may_stand_for(graph, graph.nodes[node].inputs[0], graph.nodes[node].output)
                || fold_back(graph, node, &scaling)
                || may_stand_for(graph, graph.nodes[node].inputs[0], graph.nodes[node].output)
                    && fold_forward(graph, node, &scaling)
        });
        if folded { remove(graph, node) } else { node += 1 }
    }
}

/// Terms that are added behind a layer without bias become its bias, as exporters write dense layers as MatMul and Add.
pub fn join_biases(graph: &mut Graph) {
    let mut node = 0;
    while node < graph.nodes.len() {
        let joined = scaling(graph, node).is_some_and(|scaling| {
            let term = scaling.scale.iter().all(|&scale| scale == 1.0) && scaling.shift_by_channel();
            term && maker_of(graph, node).is_some_and(|maker| graph.nodes[maker].op.bias().is_none())
                && fold_back(graph, node, &scaling)
        });
        if joined { remove(graph, node) } else { node += 1 }
    }
}

/// The layer with weights before a scaling, reshapes between, where nothing else reads it.
fn maker_of(graph: &Graph, node: usize) -> Option<usize> {
    let mut value = graph.nodes[node].inputs[0];
    loop {
        let maker = value.node().filter(|_| uses(graph, value) == 1)?;
        match graph.nodes[maker].op {
            Op::Reshape => value = graph.nodes[maker].inputs[0],
            Op::Dense(_) | Op::Conv(_) => return Some(maker),
            _ => return None,
        }
    }
}

/// One item: element i becomes `scale[i / places] · x + shift`, the shift one a channel or one an element.
struct Scaling {
    scale: Vec<f32>,
    shift: Option<Vec<f32>>,
    shift_name: Option<String>,
    places: usize,
}

impl Scaling {
    fn is_identity(&self) -> bool {
        self.scale.iter().all(|&scale| scale == 1.0) && self.shift.iter().flatten().all(|&shift| shift == 0.0)
    }

    fn len(&self) -> usize {
        self.scale.len() * self.places
    }

    fn shift_of(&self, element: usize) -> f32 {
        match &self.shift {
            None => 0.0,
            Some(shift) if shift.len() == self.len() => shift[element],
            Some(shift) => shift[element / self.places],
        }
    }

    /// The shift has one value a channel.
    fn shift_by_channel(&self) -> bool {
        self.shift.as_ref().is_none_or(|shift| shift.len() == self.scale.len())
    }

    /// One scale for each run of `run` elements, none where a run has several.
    fn scale_of_runs(&self, run: usize) -> Option<Vec<f32>> {
        let first = self.scale[0];
        let uniform = self.scale.iter().all(|&scale| scale == first);
        let of = |start: usize| {
            let (from, to) = (start / self.places, (start + run - 1) / self.places);
            (uniform || from == to).then_some(self.scale[from])
        };
        (0..self.len() / run).map(|index| of(index * run)).collect()
    }
}

fn scaling(graph: &Graph, node: usize) -> Option<Scaling> {
    let Op::Conv(conv) = &graph.nodes[node].op else { return None };
    let shape = &conv.shape;
    let depthwise = shape.groups == shape.in_channels && shape.groups == shape.out_channels;
    let single = shape.kernel == [1, 1] && shape.stride == [1, 1] && shape.pads == [0; 4];
    (depthwise && single).then(|| Scaling {
        scale: conv.weights.data().to_vec(),
        shift: conv.bias.clone(),
        shift_name: conv.bias_name.clone(),
        places: shape.in_height * shape.in_width,
    })
}

/// Into the layer before it: rows of the weights and the bias are scaled, the shift is added.
fn fold_back(graph: &mut Graph, node: usize, scaling: &Scaling) -> bool {
    let Some(maker) = maker_of(graph, node) else { return false };
    let layer = &mut graph.nodes[maker];
    let outputs = match &layer.op {
        Op::Dense(dense) => dense.weights.shape()[0],
        Op::Conv(conv) => conv.shape.out_channels,
        _ => unreachable!("maker_of finds layers with weights"),
    };
    let places = scaling.len() / outputs;
    let Some(scale) = scaling.scale_of_runs(places) else { return false };
    let (Op::Dense(Dense { weights, bias, bias_name, .. }) | Op::Conv(Conv { weights, bias, bias_name, .. })) =
        &mut layer.op
    else {
        unreachable!("maker_of finds layers with weights");
    };
    let old = |element: usize| match bias.as_deref() {
        None => 0.0,
        Some(bias) if bias.len() == outputs => bias[element / places],
        Some(bias) => bias[element],
    };
    let new = |element: usize| {
        (f64::from(old(element)) * f64::from(scale[element / places]) + f64::from(scaling.shift_of(element))) as f32
    };
    let new_bias = (bias.is_some() || scaling.shift.is_some())
        .then(|| by_channel_if_equal((0..scaling.len()).map(new).collect(), places));
    let row = weights.len() / outputs;
    let scaled: Vec<f32> = weights.data().iter().enumerate().map(|(index, w)| w * scale[index / row]).collect();
    if !finite(&scaled) || !new_bias.as_deref().is_none_or(finite) {
        return false;
    }
    weights.data_mut().copy_from_slice(&scaled);
    if bias_name.is_none() {
        bias_name.clone_from(&scaling.shift_name);
    }
    *bias = new_bias;
    true
}

/// Into the layer after it: columns of the weights are scaled, and the shift goes through the layer into its bias. Where
/// the layer pads, the padding is not shifted, so the bias depends on the place.
fn fold_forward(graph: &mut Graph, node: usize, scaling: &Scaling) -> bool {
    let Some((user, pooled)) = linear_after(graph, node, scaling) else { return false };
    let layer = &mut graph.nodes[user];
    let len = match &layer.op {
        Op::Dense(dense) => dense.weights.shape()[1],
        Op::Conv(conv) => conv.shape.in_len(),
        _ => unreachable!("linear_after finds layers with weights"),
    };
    // Pooling left the channels and changed the places.
    let scaling = &Scaling {
        scale: scaling.scale.clone(),
        shift: scaling.shift.clone(),
        shift_name: scaling.shift_name.clone(),
        places: if pooled { len / scaling.scale.len() } else { scaling.places },
    };
    let (run, by_channel) = match &layer.op {
        Op::Conv(conv) => {
            let run = conv.shape.in_height * conv.shape.in_width;
            (run, conv.shape.pads == [0; 4] && scaling.shift_by_channel() && run <= scaling.places)
        }
        _ => (1, false),
    };
    let Some(scale) = scaling.scale_of_runs(run) else { return false };
    let old = layer.op.weights().expect("a layer with weights");
    let row = old.len() / old.shape()[0];
    let column = |index: usize| match &layer.op {
        Op::Conv(conv) => {
            let (per_group, taps) = (conv.shape.in_channels / conv.shape.groups, conv.weights.shape()[2..].iter());
            let group = index / row / (conv.shape.out_channels / conv.shape.groups);
            group * per_group + index % row / taps.product::<usize>()
        }
        _ => index % row,
    };
    let scaled: Vec<f32> = old.data().iter().enumerate().map(|(index, w)| w * scale[column(index)]).collect();
    let shifted = scaling.shift.iter().flatten().any(|&shift| shift != 0.0);
    let new_bias = shifted.then(|| shifted_bias(&layer.op, scaling, graph_len(&layer.shape), by_channel));
    if !finite(&scaled) || !new_bias.as_deref().is_none_or(finite) {
        return false;
    }
    let (Op::Dense(Dense { weights, bias, bias_name, .. }) | Op::Conv(Conv { weights, bias, bias_name, .. })) =
        &mut layer.op
    else {
        unreachable!("linear_after finds layers with weights");
    };
    weights.data_mut().copy_from_slice(&scaled);
    if let Some(new) = new_bias {
        *bias = Some(new);
        if bias_name.is_none() {
            bias_name.clone_from(&scaling.shift_name);
        }
    }
    true
}

/// The layer with weights that alone reads a scaling, reshapes and poolings that commute with it in between; whether
/// there were poolings.
fn linear_after(graph: &Graph, node: usize, scaling: &Scaling) -> Option<(usize, bool)> {
    let mut value = graph.nodes[node].output;
    let mut pooled = false;
    loop {
        let user = (uses(graph, value) == 1).then(|| graph.users(value).next())??;
        let commutes = |channels: usize| scaling.shift_by_channel() && [1, channels].contains(&scaling.scale.len());
        match &graph.nodes[user].op {
            Op::Dense(_) | Op::Conv(_) => return Some((user, pooled)),
            Op::Reshape => (),
            Op::MaxPool(pool) if commutes(pool.channels) && scaling.scale.iter().all(|&scale| scale > 0.0) => {
                pooled = true;
            }
            Op::AvgPool(average) if commutes(average.pool.channels) => {
                let counted = (0..2).all(|axis| {
                    let counts = average.counts[axis].iter().enumerate();
                    counts.clone().all(|(w, &count)| average.pool.places(axis, w).count() == count as usize)
                });
                let shifted = scaling.shift.iter().flatten().any(|&shift| shift != 0.0);
                // Padding that is counted would have to be shifted as well.
                if shifted && !counted {
                    return None;
                }
                pooled = true;
            }
            _ => return None,
        }
        value = ValueId(user + 1);
    }
}

/// W·shift + bias, by the layer's weights before they are scaled.
fn shifted_bias(op: &Op, scaling: &Scaling, out_len: usize, by_channel: bool) -> Vec<f32> {
    let widen = |values: &[f32]| -> Vec<f64> { values.iter().map(|&value| value.into()).collect() };
    let weights = widen(op.weights().expect("a layer with weights").data());
    let image: Vec<f64> = (0..scaling.len()).map(|element| scaling.shift_of(element).into()).collect();
    let mut out = vec![0.0; out_len];
    linear::apply(op, 1, &weights, op.bias().map(widen).as_deref(), &image, &mut out);
    let out: Vec<f32> = out.into_iter().map(|value| value as f32).collect();
    let Op::Conv(conv) = op else { return out };
    let places = out_len / conv.shape.out_channels;
    if by_channel && conv.bias.as_ref().is_none_or(|bias| bias.len() == conv.shape.out_channels) {
        // The same sum at every place, whatever its rounding.
        return out.into_iter().step_by(places).collect();
    }
    by_channel_if_equal(out, places)
}

/// One value for each run of `places` equal ones; all of them when some run is not equal.
fn by_channel_if_equal(values: Vec<f32>, places: usize) -> Vec<f32> {
    let equal = values.chunks_exact(places).all(|run| run.iter().all(|value| *value == run[0]));
    if equal { values.into_iter().step_by(places).collect() } else { values }
}

fn graph_len(shape: &[usize]) -> usize {
    shape.iter().product()
}

fn finite(values: &[f32]) -> bool {
    values.iter().all(|value| value.is_finite())
}
