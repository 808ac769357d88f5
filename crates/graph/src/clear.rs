//! The fixed-point reference: the integers of a private run, computed in clear.

use ariann_ring::{FixedError, Matrix, Ring, conv2d, decode, encode, matmul};
use serde::{Deserialize, Serialize};

use crate::executor::{self, ExecuteError};
use crate::graph::{Graph, Node, Op};
use crate::linear;

/// Scales of a fixed-point computation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FixedPoint {
    /// k: values are integers modulo 2^k.
    pub ring_bits: u32,
    /// Fractional bits of the input.
    pub input_frac: i32,
    /// The linear layers, in the order of [`crate::Graph::linear_nodes`].
    pub layers: Vec<LayerScale>,
}

/// Scales of one linear layer: z = W·x + b, cut to the window [shift, top).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerScale {
    /// Fractional bits of the weights.
    pub weight_frac: i32,
    /// s: the output is divided by 2^s.
    pub shift: u32,
    /// m: the window ends below this bit.
    pub top: u32,
    /// The output is divided at all; not so where logits are revealed as they are.
    pub truncated: bool,
}

/// How z / 2^s becomes an integer.
pub trait Rounding<R: Ring> {
    /// Rounds the output of linear layer number `layer` for consecutive items from `first_item` on.
    fn round(
        &mut self,
        layer: usize,
        first_item: usize,
        z: &[R],
        shift: u32,
        top: u32,
        out: &mut [R],
    );
}

/// To the nearest integer, halves upwards: floor((z + 2^(s-1)) / 2^s).
#[derive(Clone, Copy, Debug, Default)]
pub struct Nearest;

impl<R: Ring> Rounding<R> for Nearest {
    fn round(
        &mut self,
        _layer: usize,
        _first_item: usize,
        z: &[R],
        shift: u32,
        _top: u32,
        out: &mut [R],
    ) {
        for (out, z) in out.iter_mut().zip(z) {
            *out = nearest(*z, shift);
        }
    }
}

/// floor((z + 2^(shift-1)) / 2^shift) of the signed element; the sum is taken without wrapping.
fn nearest<R: Ring>(z: R, shift: u32) -> R {
    if shift == 0 {
        return z;
    }
    R::from_i64(((i128::from(z.to_i64()) + (1i128 << (shift - 1))) >> shift) as i64)
}

/// Why nothing was computed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ClearError {
    /// The input does not fit the model.
    #[error("{0}")]
    Items(#[from] ExecuteError),
    /// Scales of another ring.
    #[error(
        "plan: its scales are for a ring of {planned} bits, the run computes in {ring}; use the plan's ring"
    )]
    Ring {
        /// The scales'.
        planned: u32,
        /// The run's.
        ring: u32,
    },
    /// Scales of another model.
    #[error(
        "plan: it has scales for {planned} linear layers, the model has {layers}; use the model's own plan"
    )]
    Layers {
        /// Layers in the scales.
        planned: usize,
        /// Layers of the model.
        layers: usize,
    },
    /// A window outside the ring.
    #[error(
        "plan: window [{shift}, {top}) of layer \"{layer}\" does not lie in {ring} bits; make the plan again"
    )]
    Window {
        /// The layer.
        layer: String,
        /// s.
        shift: u32,
        /// m.
        top: u32,
        /// k.
        ring: u32,
    },
    /// A sum of values of different scales.
    #[error(
        "plan: layer \"{layer}\" adds values of {a} and {b} fractional bits; make the plan again"
    )]
    Scales {
        /// The layer.
        layer: String,
        /// Scale of the first.
        a: i32,
        /// Scale of the second.
        b: i32,
    },
    /// A weight or bias that the ring cannot hold.
    #[error("model: layer \"{layer}\" does not fit the ring: {source}; use --ring 64 or calibrate")]
    Weights {
        /// The layer.
        layer: String,
        /// Which number, and why.
        source: FixedError,
    },
    /// An input that the ring cannot hold.
    #[error("input: item {item} does not fit the ring: {source}; check the preprocessing")]
    Input {
        /// The item.
        item: usize,
        /// Which number, and why.
        source: FixedError,
    },
}

/// The first value that left its bound. Beyond it a private run gives garbage, and nobody can see that.
#[derive(Clone, Debug, PartialEq)]
pub struct Excess {
    /// Number of the linear layer.
    pub layer: usize,
    /// Its name.
    pub name: String,
    /// The item.
    pub item: usize,
    /// The value before truncation, in integer units; exact below 2^53.
    pub value: f64,
    /// What its magnitude may be at most.
    pub bound: f64,
}

/// Result of the fixed-point reference.
#[derive(Clone, Debug, PartialEq)]
pub struct ClearRun<R> {
    /// The outputs of all items.
    pub logits: Vec<R>,
    /// Their fractional bits.
    pub frac_bits: i32,
    /// The first value, in the order of layers and then items, that left its bound.
    pub excess: Option<Excess>,
}

impl<R: Ring> ClearRun<R> {
    /// The outputs as numbers.
    pub fn decoded(&self) -> Vec<f32> {
        self.logits
            .iter()
            .map(|&logit| decode(logit, self.frac_bits) as f32)
            .collect()
    }
}

/// Weights and bias of a linear layer as ring elements, row-major as in the layer. Without a bias: zeros.
pub fn encode_weights<R: Ring>(
    layer: &Node,
    weight_frac: i32,
    bias_frac: i32,
) -> Result<(Vec<R>, Vec<R>), ClearError> {
    let all = |values: &[f32], frac: i32| {
        let encoded = values.iter().map(|&value| encode::<R>(value.into(), frac));
        encoded
            .collect::<Result<Vec<R>, _>>()
            .map_err(|source| ClearError::Weights {
                layer: layer.name.clone(),
                source,
            })
    };
    let weights = layer
        .op
        .weights()
        .expect("encode_weights is for linear layers");
    let bias = match layer.op.bias() {
        Some(bias) => all(bias, bias_frac)?,
        None => vec![R::ZERO; layer.shape[0]],
    };
    Ok((all(weights.data(), weight_frac)?, bias))
}

/// What |z| of linear node `node` may be at most, in integer units.
///
/// A window [s, m) of a value that enters a maximum holds 2^(m-2) - 2^(s+1), one of which only the sign and the
/// positive part are taken 2^(m-1) - 2^(s+1); an output that is not truncated must fit the ring.
pub fn bound(graph: &Graph, node: usize, scale: &LayerScale, ring_bits: u32) -> f64 {
    if !scale.truncated {
        return 2f64.powi(ring_bits as i32 - 1) - 1.0;
    }
    let pooled = graph.pooled_before_next_linear(node);
    let top = scale.top as i32 - if pooled { 2 } else { 1 };
    2f64.powi(top) - 2f64.powi(scale.shift as i32 + 1)
}

/// Computes `items` items with the integers of `fixed`, truncating with `rounding`.
///
/// A few items at a time pass through all layers, so `rounding` is called for each layer in turn, once for every
/// such group of items.
pub fn run<R: Ring>(
    graph: &Graph,
    fixed: &FixedPoint,
    items: usize,
    x: &[f32],
    rounding: &mut dyn Rounding<R>,
) -> Result<ClearRun<R>, ClearError> {
    Reference::new(graph, fixed)?.run(items, x, rounding)
}

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
            return Err(ClearError::Ring {
                planned: fixed.ring_bits,
                ring: R::BITS,
            });
        }
        let count = graph.linear_nodes().count();
        if count != fixed.layers.len() {
            return Err(ClearError::Layers {
                planned: fixed.layers.len(),
                layers: count,
            });
        }
        let mut reference = Reference {
            graph,
            fixed,
            layers: Vec::new(),
            fracs: vec![fixed.input_frac],
        };
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
                let LayerScale {
                    shift,
                    top,
                    truncated,
                    ..
                } = scale;
                if truncated && !(top <= R::BITS && shift + 3 <= top) {
                    return Err(ClearError::Window {
                        layer: layer.name.clone(),
                        shift,
                        top,
                        ring: R::BITS,
                    });
                }
                let floats =
                    |values: &[R]| values.iter().map(|value| value.to_i64() as f64).collect();
                self.layers.push(Encoded {
                    node,
                    scale,
                    bound: bound(self.graph, node, &scale, R::BITS),
                    float_weights: floats(&weights),
                    float_bias: floats(&bias),
                    weights,
                    bias,
                });
                Ok(if truncated {
                    z_frac - shift as i32
                } else {
                    z_frac
                })
            }
            Op::Add => {
                let other = self.fracs[layer.inputs[1].0];
                if frac != other {
                    return Err(ClearError::Scales {
                        layer: layer.name.clone(),
                        a: frac,
                        b: other,
                    });
                }
                Ok(frac)
            }
            Op::Relu | Op::MaxPool(_) | Op::Reshape => Ok(frac),
        }
    }

    /// Computes `items` items.
    pub fn run(
        &self,
        items: usize,
        x: &[f32],
        rounding: &mut dyn Rounding<R>,
    ) -> Result<ClearRun<R>, ClearError> {
        executor::check(self.graph, items, x)?;
        let len = self.graph.input.len();
        let mut run = ClearRun {
            logits: Vec::new(),
            frac_bits: self.fracs[self.graph.output.0],
            excess: None,
        };
        for (index, x) in x.chunks(CHUNK * len).enumerate() {
            let first = index * CHUNK;
            let encoded = x.iter().enumerate().map(|(place, &value)| {
                let refuse = |source| ClearError::Input {
                    item: first + place / len,
                    source,
                };
                encode::<R>(value.into(), self.fixed.input_frac).map_err(refuse)
            });
            let encoded = encoded.collect::<Result<Vec<R>, _>>()?;
            run.logits
                .extend(self.chunk(first, encoded, rounding, &mut run.excess));
        }
        Ok(run)
    }

    fn chunk(
        &self,
        first: usize,
        x: Vec<R>,
        rounding: &mut dyn Rounding<R>,
        excess: &mut Option<Excess>,
    ) -> Vec<R> {
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
                        if excess
                            .as_ref()
                            .is_none_or(|known| found.layer < known.layer)
                        {
                            *excess = Some(found);
                        }
                    }
                    if encoded.scale.truncated {
                        rounding.round(
                            linear,
                            first,
                            &z,
                            encoded.scale.shift,
                            encoded.scale.top,
                            &mut out,
                        );
                    } else {
                        out = z;
                    }
                    linear += 1;
                }
                Op::Relu => out
                    .iter_mut()
                    .zip(x)
                    .for_each(|(out, &x)| *out = if x.to_i64() > 0 { x } else { R::ZERO }),
                Op::MaxPool(pool) => pool.apply(items, x, &mut out, |a, b| {
                    if a.to_i64() >= b.to_i64() { a } else { b }
                }),
                Op::Add => {
                    let y = &values[layer.inputs[1].0];
                    out.iter_mut()
                        .zip(x)
                        .zip(y)
                        .for_each(|((out, &x), &y)| *out = x.add(y));
                }
                Op::Reshape => out.copy_from_slice(x),
            }
            for input in layer
                .inputs
                .iter()
                .filter(|input| last_use[input.0] == index)
            {
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
    fn excess(
        &self,
        graph: &Graph,
        number: usize,
        first: usize,
        items: usize,
        x: &[R],
        z: &[R],
    ) -> Option<Excess> {
        let layer = &graph.nodes[self.node];
        let x: Vec<f64> = x.iter().map(|x| x.to_i64() as f64).collect();
        let mut sums = vec![0.0; z.len()];
        linear::apply(
            &layer.op,
            items,
            &self.float_weights,
            Some(&self.float_bias),
            &x,
            &mut sums,
        );
        // Near the bound the integer decides, beyond the ring only the float can.
        let half = 2f64.powi(R::BITS as i32 - 1);
        let value = |(sum, z): (&f64, &R)| {
            if sum.abs() < 0.75 * half {
                z.to_i64() as f64
            } else {
                *sum
            }
        };
        let mut found = sums.iter().zip(z).map(value).enumerate();
        let (place, value) = found.find(|(_, value)| value.abs() > self.bound)?;
        let (name, item) = (layer.name.clone(), first + place / layer.len());
        Some(Excess {
            layer: number,
            name,
            item,
            value,
            bound: self.bound,
        })
    }
}
