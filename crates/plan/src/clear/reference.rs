//! The computation itself, gate by gate.

use std::collections::BTreeMap;
use std::ops::Range;

use ariann_gates::{LinearShape, Window};
use ariann_graph::Graph;
use ariann_ring::{Matrix, conv2d, fixed, matmul};

use super::{ClearError, ClearRun, ClearStep, Excess, Rounding, bound};
use crate::{Entry, Gate, LayerWords, Plan, encode_weights};

/// Values that pass through the gates together, at most.
const TOGETHER: usize = 1 << 20;

/// A plan with its weights as integers.
pub struct Reference<'p> {
    plan: &'p Plan,
    layers: BTreeMap<u32, LayerWords<u64>>,
    bounds: Vec<Option<f64>>,
    last: Vec<usize>,
}

/// A gate's result.
enum Value {
    Words(Vec<i64>),
    /// Candidates of an argmax and their indices.
    Ranked(Vec<i64>, Vec<i64>),
    Gone,
}

/// What the gates of some items are given.
struct Given<'a> {
    inputs: [Option<Vec<i64>>; 2],
    states: &'a [Vec<i64>],
    dropout: [u64; 2],
}

/// What they leave.
#[derive(Default)]
struct Left {
    result: Option<Vec<i64>>,
    stored: Vec<(usize, Vec<i64>)>,
}

impl Value {
    fn words(&self) -> &[i64] {
        match self {
            Value::Words(words) | Value::Ranked(words, _) => words,
            Value::Gone => unreachable!("a value is kept until its last use"),
        }
    }
}

impl<'p> Reference<'p> {
    /// Encodes the weights of `graph` as a run of `plan` does.
    pub fn new(plan: &'p Plan, graph: &Graph) -> Result<Self, ClearError> {
        let layers = encode_weights::<u64>(plan, graph)?.into_iter().map(|layer| (layer.gate, layer)).collect();
        let bounds = (0..plan.gates.len()).map(|gate| bound(plan, gate)).collect();
        Ok(Reference { plan, layers, bounds, last: plan.last_uses() })
    }

    /// Computes `items` items, rounding with `rounding`. A few items at a time pass through all gates.
    pub fn run(&self, items: usize, x: &[f32], rounding: &mut dyn Rounding) -> Result<ClearRun, ClearError> {
        let len = self.plan.input_len();
        if x.len() != items * len {
            return Err(ClearError::Length { items, len, got: x.len() });
        }
        let scale = self.plan.gates.last().expect("a plan has gates").scale;
        let mut run = ClearRun { results: Vec::new(), scale, excess: None };
        let widest = (0..self.plan.gates.len()).map(|gate| self.plan.result_len(gate)).max().unwrap_or(1).max(1);
        let together = (TOGETHER / widest).clamp(1, 64);
        for (index, x) in x.chunks(together * len).enumerate() {
            let first = index * together;
            let encoded = x.iter().enumerate().map(|(place, &value)| {
                let refuse = |source| ClearError::Input { item: first + place / len, source };
                fixed::encode::<u64>(f64::from(value), self.plan.input_frac()).map(|x| x as i64).map_err(refuse)
            });
            let encoded = encoded.collect::<Result<Vec<i64>, _>>()?;
            let items = first..first + encoded.len() / len;
            let given = Given { inputs: [Some(encoded), None], states: &[], dropout: [0; 2] };
            run.results.extend(self.items(items, given, rounding, &mut run.excess).result.unwrap_or_default());
        }
        Ok(run)
    }

    /// A plan of training, which has no weights of its own.
    pub fn of_step(plan: &'p Plan) -> Self {
        let bounds = (0..plan.gates.len()).map(|gate| bound(plan, gate)).collect();
        Reference { plan, layers: BTreeMap::new(), bounds, last: plan.last_uses() }
    }

    /// Computes one step of training from `states`, the encoded features and labels of the batch, and `dropout`: the public
    /// seed of the patterns and the number of the step. It leaves the states as they are after it.
    pub fn run_step(
        &self,
        states: &mut [Vec<i64>],
        features: Vec<i64>,
        labels: Vec<i64>,
        rounding: &mut dyn Rounding,
        dropout: [u64; 2],
    ) -> ClearStep {
        let mut excess = None;
        let given = Given { inputs: [Some(features), Some(labels)], states, dropout };
        let Left { result, stored } = self.items(0..1, given, rounding, &mut excess);
        stored.into_iter().for_each(|(state, words)| states[state] = words);
        ClearStep { result, excess }
    }

    fn items(
        &self,
        of: Range<usize>,
        given: Given<'_>,
        rounding: &mut dyn Rounding,
        excess: &mut Option<Excess>,
    ) -> Left {
        let (first, items) = (of.start, of.len());
        let Given { mut inputs, states, dropout } = given;
        let mut values: Vec<Value> = Vec::with_capacity(self.plan.gates.len());
        let mut left = Left::default();
        // The bits of gates that a later gate takes.
        let kept = self.plan.kept_bits();
        let mut bits: BTreeMap<u32, Vec<bool>> = BTreeMap::new();
        for (number, entry) in self.plan.gates.iter().enumerate() {
            if let Some(bound) = self.bounds[number] {
                let words = values[entry.inputs[0] as usize].words();
                self.watch(number, bound, first, items, words, excess);
            }
            let operand = |index: usize| values[entry.inputs[index] as usize].words();
            if kept.contains_key(&(number as u32)) {
                bits.insert(number as u32, decided(&entry.gate, items, operand(0)));
            }
            let value = match &entry.gate {
                Gate::Input(_) | Gate::Shared(_) => Value::Words(inputs[number].take().expect("inputs come first")),
                Gate::State(kept) => Value::Words(states[kept.state].clone()),
                Gate::Store(kept) => {
                    left.stored.push((kept.state, operand(0).to_vec()));
                    Value::Gone
                }
                Gate::ArgMax(gate) => {
                    let ranked = match &values[entry.inputs[0] as usize] {
                        Value::Ranked(words, indices) => (words.clone(), indices.clone()),
                        other => {
                            let indices = (0..items * gate.len).map(|i| (i % gate.len) as i64).collect();
                            (other.words().to_vec(), indices)
                        }
                    };
                    argmax(gate.len, gate.level, items, ranked)
                }
                Gate::Reveal(_) => {
                    left.result = Some(match &values[entry.inputs[0] as usize] {
                        Value::Ranked(_, indices) => indices.clone(),
                        other => other.words().to_vec(),
                    });
                    Value::Gone
                }
                Gate::Open(open) => {
                    let z = operand(0);
                    let mut out = z.to_vec();
                    if open.window != (Window { shift: 0, top: self.plan.ring }) {
                        rounding.round(number as u32, first, z, open.window, &mut out);
                    }
                    Value::Words(out)
                }
                Gate::Dropout(gate) => {
                    let [seed, step] = dropout;
                    let pattern = ariann_graph::training::pattern(seed, step, gate.pattern, gate.len, gate.keep);
                    Value::Words(operand(0).iter().zip(pattern).map(|(x, kept)| x * i64::from(kept)).collect())
                }
                Gate::ReluBack(_) | Gate::MaxBack(_) => {
                    Value::Words(self.backwards(entry, &bits[&entry.bits().expect("a checked plan")], operand(0)))
                }
                gate => {
                    let operands: Vec<&[i64]> = (0..entry.inputs.len()).map(operand).collect();
                    Value::Words(self.gate(number, gate, items, &operands))
                }
            };
            values.push(value);
            for input in entry.operands() {
                if self.last[*input as usize] == number {
                    values[*input as usize] = Value::Gone;
                }
            }
            bits.retain(|of, _| kept[of] as usize != number);
        }
        left
    }

    /// Gates that take the bits of a forward one.
    fn backwards(&self, entry: &Entry, bits: &[bool], g: &[i64]) -> Vec<i64> {
        let Gate::MaxBack(gate) = &entry.gate else {
            return g.iter().zip(bits).map(|(g, bit)| g * i64::from(*bit)).collect();
        };
        let level = gate.windows.level(gate.level);
        let mut out = vec![0i64; g.len() / level.out_len * level.in_len];
        for (item, (out, g)) in out.chunks_mut(level.in_len).zip(g.chunks(level.out_len)).enumerate() {
            let mut add = |to: u32, from: u32| {
                out[to as usize] = out[to as usize].wrapping_add(g[from as usize]);
            };
            let bits = &bits[item * level.a.len()..];
            for (bit, ((a, b), paired)) in bits.iter().zip(level.a.iter().zip(&level.b).zip(&level.paired)) {
                add(if *bit { *a } else { *b }, *paired);
            }
            level.single.iter().zip(&level.carried).for_each(|(single, carried)| add(*single, *carried));
        }
        out
    }

    /// Gates that need no rounding.
    fn gate(&self, number: usize, gate: &Gate, items: usize, operands: &[&[i64]]) -> Vec<i64> {
        let x = operands[0];
        match gate {
            Gate::Linear(linear) => self.linear(number as u32, &linear.shape, items, x),
            Gate::Add(add) => {
                let constants = if add.constants.is_empty() { &[0][..] } else { &add.constants };
                let mut sum: Vec<i64> = constants.iter().copied().cycle().take(x.len()).collect();
                for (operand, factor) in operands.iter().zip(&add.multipliers) {
                    let scaled = |x: &i64| x.wrapping_mul(*factor as i64);
                    sum.iter_mut().zip(*operand).for_each(|(sum, x)| *sum = sum.wrapping_add(scaled(x)));
                }
                sum
            }
            Gate::Arrange(gate) => {
                let scaled: Vec<Vec<i64>> = operands
                    .iter()
                    .zip(&gate.multipliers)
                    .map(|(operand, factor)| operand.iter().map(|x| x.wrapping_mul(*factor as i64)).collect())
                    .collect();
                let mut out = vec![0i64; items * gate.arrange.len];
                gate.arrange.apply(items, &scaled.iter().map(Vec::as_slice).collect::<Vec<_>>(), &mut out);
                out
            }
            Gate::Sum(shape) => {
                let mut out = vec![0u64; items * shape.out_len()];
                shape.apply(items, &unsigned(x), &mut out);
                signed(out)
            }
            Gate::Max(gate) => {
                let level = gate.level();
                let mut out = vec![0i64; items * level.out_len];
                for (x, out) in x.chunks(level.in_len).zip(out.chunks_mut(level.out_len)) {
                    for ((a, b), to) in level.a.iter().zip(&level.b).zip(&level.paired) {
                        out[*to as usize] = x[*a as usize].max(x[*b as usize]);
                    }
                    for (from, to) in level.single.iter().zip(&level.carried) {
                        out[*to as usize] = x[*from as usize];
                    }
                }
                out
            }
            Gate::Relu(_) => x.iter().map(|x| (*x).max(0)).collect(),
            Gate::Clip(gate) => x.iter().map(|x| (*x).clamp(gate.lo, gate.hi)).collect(),
            Gate::Lookup(gate) => {
                let operand = self.plan.gates[self.plan.gates[number].inputs[0] as usize].scale;
                let table = gate.gate(operand, self.plan.gates[number].scale).table;
                let half = 1i64 << (gate.width - 1);
                x.iter().map(|x| table[(x.wrapping_add(half) & (2 * half - 1)) as usize]).collect()
            }
            Gate::Multiply(_) => x.iter().zip(operands[1]).map(|(x, y)| x.wrapping_mul(*y)).collect(),
            Gate::Subtract(_) => x.iter().zip(operands[1]).map(|(x, y)| x.wrapping_sub(*y)).collect(),
            Gate::Cut(_) | Gate::Truncate(_) => x.to_vec(),
            Gate::Product(gate) => {
                let mut out = vec![0u64; gate.of.out_len()];
                gate.of.apply(&unsigned(x), &unsigned(operands[1]), &mut out);
                signed(out)
            }
            Gate::Reduce(gate) => {
                let mut out = vec![0u64; gate.axes.kept];
                gate.axes.reduce(&unsigned(x), &mut out);
                signed(out)
            }
            Gate::Spread(gate) => {
                let mut out = vec![0u64; gate.axes.len()];
                gate.axes.spread(&unsigned(x), &mut out);
                signed(out)
            }
            Gate::Times(gate) => x.iter().map(|x| x.wrapping_mul(gate.factor)).collect(),
            Gate::Input(_)
            | Gate::Shared(_)
            | Gate::Open(_)
            | Gate::ArgMax(_)
            | Gate::Reveal(_)
            | Gate::State(_)
            | Gate::Store(_)
            | Gate::Dropout(_)
            | Gate::ReluBack(_)
            | Gate::MaxBack(_) => unreachable!("computed by the caller"),
        }
    }

    fn linear(&self, number: u32, shape: &LinearShape, items: usize, x: &[i64]) -> Vec<i64> {
        let layer = &self.layers[&number];
        let mut z = vec![0u64; items * shape.out_len()];
        match shape {
            LinearShape::Conv(shape) => conv2d(shape, items, &layer.weights, &unsigned(x), &mut z),
            LinearShape::Dense { inputs, outputs } => {
                let weights = Matrix::new(&layer.weights, *outputs, *inputs);
                matmul(Matrix::new(&unsigned(x), items, *inputs), weights.transposed(), &mut z);
            }
        }
        let spread = shape.out_len() / layer.bias.len();
        for (index, places) in z.chunks_exact_mut(spread).enumerate() {
            let bias = layer.bias[index % layer.bias.len()];
            places.iter_mut().for_each(|z| *z = z.wrapping_add(bias));
        }
        signed(z)
    }

    /// Notes the first value of a gate that is beyond its bound.
    fn watch(&self, number: usize, bound: f64, first: usize, items: usize, words: &[i64], excess: &mut Option<Excess>) {
        // Groups of items come one after the other: an earlier gate counts before an earlier item.
        if excess.as_ref().is_some_and(|known| known.gate <= number) {
            return;
        }
        let Some(place) = words.iter().position(|x| x.unsigned_abs() as f64 > bound) else { return };
        let entry = &self.plan.gates[number];
        *excess = Some(Excess {
            gate: number,
            name: entry.name.clone(),
            item: first + place / (words.len() / items),
            value: words[place] as f64,
            bound,
            scale: self.plan.gates[entry.inputs[0] as usize].scale,
        });
    }
}

/// The bits that a gate compares: of each value, or of each pair.
fn decided(gate: &Gate, items: usize, x: &[i64]) -> Vec<bool> {
    let Gate::Max(gate) = gate else {
        return x.iter().map(|x| *x >= 0).collect();
    };
    let level = gate.level();
    let pairs = |x: &'_ [i64]| -> Vec<bool> {
        level.a.iter().zip(&level.b).map(|(a, b)| x[*a as usize] >= x[*b as usize]).collect()
    };
    debug_assert_eq!(x.len(), items * level.in_len);
    x.chunks(level.in_len).flat_map(pairs).collect()
}

fn argmax(len: usize, level: u32, items: usize, ranked: (Vec<i64>, Vec<i64>)) -> Value {
    let level = ariann_gates::Windows::Row(len).level(level);
    let (words, indices) = ranked;
    let mut out = (vec![0i64; items * level.out_len], vec![0i64; items * level.out_len]);
    for item in 0..items {
        let (x, i) = (&words[item * level.in_len..][..level.in_len], &indices[item * level.in_len..][..level.in_len]);
        let at = item * level.out_len;
        let mut give = |to: u32, from: u32| {
            out.0[at + to as usize] = x[from as usize];
            out.1[at + to as usize] = i[from as usize];
        };
        for ((a, b), to) in level.a.iter().zip(&level.b).zip(&level.paired) {
            give(*to, if x[*a as usize] >= x[*b as usize] { *a } else { *b });
        }
        level.single.iter().zip(&level.carried).for_each(|(from, to)| give(*to, *from));
    }
    Value::Ranked(out.0, out.1)
}

fn unsigned(x: &[i64]) -> Vec<u64> {
    x.iter().map(|x| *x as u64).collect()
}

fn signed(x: Vec<u64>) -> Vec<i64> {
    x.into_iter().map(|x| x as i64).collect()
}
