//! The computation itself: ring products, the same sums in floats beside them to see what wraps, and the other layers.

use ariann_ring::{Matrix, Ring, conv2d, encode, matmul};

use super::{ClearError, ClearRun, Excess, FixedPoint, LayerScale, Rounding, bound, encode_weights};
use crate::executor;
use crate::graph::{Graph, Op};
use crate::linear;

/// Items that pass through the layers together.
const CHUNK: usize = 16;

/// A graph with its weights as integers.
pub struct Reference<'g, R> {
    graph: &'g Graph,
    fixed: &'g FixedPoint,
    layers: Vec<Encoded<R>>,
    /// Fractional bits of every value.
    fracs: Vec<i32>,
}

/// A linear layer with weights as integers, and the same integers as floats.
struct Encoded<R> {
    node: usize,
    scale: LayerScale,
    bound: f64,
    weights: Vec<R>,
    bias: Vec<R>,
    float_weights: Vec<f64>,
    float_bias: Vec<f64>,
}

impl<'g, R: Ring> Reference<'g, R> {
    /// Encodes the weights; refuses scales that do not fit the graph or the ring.
    pub fn new(graph: &'g Graph, fixed: &'g FixedPoint) -> Result<Self, ClearError> {
        if fixed.ring_bits != R::BITS {
            return Err(ClearError::Ring { planned: fixed.ring_bits, ring: R::BITS });
        }
        let count = graph.linear_nodes().count();
        if count != fixed.layers.len() {
            return Err(ClearError::Layers { planned: fixed.layers.len(), layers: count });
        }
        let mut reference = Reference { graph, fixed, layers: Vec::new(), fracs: vec![fixed.input_frac] };
        for node in 0..graph.nodes.len() {
            let frac = reference.add_layer(node)?;
            reference.fracs.push(frac);
        }
        Ok(reference)
    }

    /// Takes over one node and returns the fractional bits of its output.
    fn add_layer(&mut self, node: usize) -> Result<i32, ClearError> {
        let layer = &self.graph.nodes[node];
        let frac = self.fracs[layer.inputs[0].0];
        match &layer.op {
            Op::Dense(_) | Op::Conv(_) => {
                let scale = self.fixed.layers[self.layers.len()];
                let z_frac = frac.saturating_add(scale.weight_frac);
                let (weights, bias) = encode_weights(layer, scale.weight_frac, z_frac)?;
                let LayerScale { shift, top, truncated, .. } = scale;
                if truncated && (top > R::BITS || top.saturating_sub(shift) < 3) {
                    return Err(ClearError::Window { layer: layer.name.clone(), shift, top, ring: R::BITS });
                }
                let floats = |values: &[R]| values.iter().map(|value| value.to_i64() as f64).collect();
                self.layers.push(Encoded {
                    node,
                    scale,
                    bound: bound(self.graph, node, &scale, R::BITS),
                    float_weights: floats(&weights),
                    float_bias: floats(&bias),
                    weights,
                    bias,
                });
                Ok(if truncated { z_frac - shift as i32 } else { z_frac })
            }
            Op::Add => {
                let other = self.fracs[layer.inputs[1].0];
                if frac != other {
                    return Err(ClearError::Scales { layer: layer.name.clone(), a: frac, b: other });
                }
                Ok(frac)
            }
            Op::Relu | Op::MaxPool(_) | Op::Reshape => Ok(frac),
        }
    }

    /// Computes `items` items.
    pub fn run(&self, items: usize, x: &[f32], rounding: &mut dyn Rounding<R>) -> Result<ClearRun<R>, ClearError> {
        executor::check(self.graph, items, x)?;
        let len = self.graph.input.len();
        let mut run = ClearRun { logits: Vec::new(), frac_bits: self.fracs[self.graph.output.0], excess: None };
        for (index, x) in x.chunks(CHUNK * len).enumerate() {
            let first = index * CHUNK;
            let encoded = x.iter().enumerate().map(|(place, &value)| {
                let refuse = |source| ClearError::Input { item: first + place / len, source };
                encode::<R>(value.into(), self.fixed.input_frac).map_err(refuse)
            });
            let encoded = encoded.collect::<Result<Vec<R>, _>>()?;
            run.logits.extend(self.chunk(first, encoded, rounding, &mut run.excess));
        }
        Ok(run)
    }

    fn chunk(&self, first: usize, x: Vec<R>, rounding: &mut dyn Rounding<R>, excess: &mut Option<Excess>) -> Vec<R> {
        let items = x.len() / self.graph.input.len();
        let last_use = executor::last_uses(self.graph);
        let mut values: Vec<Vec<R>> = vec![x];
        let mut linear = 0;
        for (index, layer) in self.graph.nodes.iter().enumerate() {
            let x = &values[layer.inputs[0].0];
            let mut out = vec![R::ZERO; items * layer.len()];
            match &layer.op {
                Op::Dense(_) | Op::Conv(_) => {
                    let encoded = &self.layers[linear];
                    let z = encoded.product(self.graph, items, x);
                    if let Some(found) = encoded.excess(self.graph, linear, first, items, x, &z) {
                        // Groups of items come one after the other: an earlier layer counts before an earlier item.
                        if excess.as_ref().is_none_or(|known| found.layer < known.layer) {
                            *excess = Some(found);
                        }
                    }
                    if encoded.scale.truncated {
                        rounding.round(linear, first, &z, encoded.scale.shift, encoded.scale.top, &mut out);
                    } else {
                        out = z;
                    }
                    linear += 1;
                }
                Op::Relu => out.iter_mut().zip(x).for_each(|(out, &x)| *out = if x.to_i64() > 0 { x } else { R::ZERO }),
                Op::MaxPool(pool) => {
                    pool.apply(items, x, &mut out, |a, b| if a.to_i64() >= b.to_i64() { a } else { b })
                }
                Op::Add => {
                    let y = &values[layer.inputs[1].0];
                    out.iter_mut().zip(x).zip(y).for_each(|((out, &x), &y)| *out = x.add(y));
                }
                Op::Reshape => out.copy_from_slice(x),
            }
            for input in layer.inputs.iter().filter(|input| last_use[input.0] == index) {
                values[input.0] = Vec::new();
            }
            values.push(out);
        }
        values.swap_remove(self.graph.output.0)
    }
}

impl<R: Ring> Encoded<R> {
    /// z = W·x + b modulo 2^k.
    fn product(&self, graph: &Graph, items: usize, x: &[R]) -> Vec<R> {
        let layer = &graph.nodes[self.node];
        let mut z = vec![R::ZERO; items * layer.len()];
        let places = match &layer.op {
            Op::Conv(conv) => {
                conv2d(&conv.shape, items, &self.weights, x, &mut z);
                conv.shape.out_height() * conv.shape.out_width()
            }
            _ => {
                let (outputs, inputs) = (self.bias.len(), self.weights.len() / self.bias.len());
                let weights = Matrix::new(&self.weights, outputs, inputs);
                matmul(Matrix::new(x, items, inputs), weights.transposed(), &mut z);
                1
            }
        };
        for (index, plane) in z.chunks_exact_mut(places).enumerate() {
            let bias = self.bias[index % self.bias.len()];
            plane.iter_mut().for_each(|z| *z = z.add(bias));
        }
        z
    }

    /// The first value beyond the bound. A wrapped z is found too: the same sum is taken in floats beside it.
    fn excess(&self, graph: &Graph, number: usize, first: usize, items: usize, x: &[R], z: &[R]) -> Option<Excess> {
        let layer = &graph.nodes[self.node];
        let x: Vec<f64> = x.iter().map(|x| x.to_i64() as f64).collect();
        let mut sums = vec![0.0; z.len()];
        linear::apply(&layer.op, items, &self.float_weights, Some(&self.float_bias), &x, &mut sums);
        // Near the bound the integer decides, beyond the ring only the float can.
        let half = 2f64.powi(R::BITS as i32 - 1);
        let value = |(sum, z): (&f64, &R)| {
            if sum.abs() < 0.75 * half { z.to_i64() as f64 } else { *sum }
        };
        let mut found = sums.iter().zip(z).map(value).enumerate();
        let (place, value) = found.find(|(_, value)| value.abs() > self.bound)?;
        let (name, item) = (layer.name.clone(), first + place / layer.len());
        Some(Excess { layer: number, name, item, value, bound: self.bound })
    }
}
