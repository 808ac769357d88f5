//! The computation itself, gate by gate.

use std::collections::BTreeMap;

use ariann_gates::{LinearShape, Window};
use ariann_graph::Graph;
use ariann_ring::{Matrix, conv2d, fixed, matmul};

use super::{ClearError, ClearRun, Excess, Rounding, bound};
use crate::{Gate, LayerWords, Plan, encode_weights};

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
            run.results.extend(self.items(first, encoded, rounding, &mut run.excess));
        }
        Ok(run)
    }

    fn items(&self, first: usize, x: Vec<i64>, rounding: &mut dyn Rounding, excess: &mut Option<Excess>) -> Vec<i64> {
        let items = x.len() / self.plan.input_len();
        let mut input = Some(x);
        let mut values: Vec<Value> = Vec::with_capacity(self.plan.gates.len());
        for (number, entry) in self.plan.gates.iter().enumerate() {
            if let Some(bound) = self.bounds[number] {
                let words = values[entry.inputs[0] as usize].words();
                self.watch(number, bound, first, items, words, excess);
            }
            let operand = |index: usize| values[entry.inputs[index] as usize].words();
            let value = match &entry.gate {
                Gate::Input(_) => Value::Words(input.take().expect("a plan has one input")),
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
                Gate::Reveal(_) => match &values[entry.inputs[0] as usize] {
                    Value::Ranked(_, indices) => Value::Words(indices.clone()),
                    other => Value::Words(other.words().to_vec()),
                },
                Gate::Open(open) => {
                    let z = operand(0);
                    let mut out = z.to_vec();
                    if open.window != (Window { shift: 0, top: self.plan.ring }) {
                        rounding.round(number as u32, first, z, open.window, &mut out);
                    }
                    Value::Words(out)
                }
                gate => {
                    let operands: Vec<&[i64]> = (0..entry.inputs.len()).map(operand).collect();
                    Value::Words(self.gate(number, gate, items, &operands))
                }
            };
            values.push(value);
            for input in &entry.inputs {
                if self.last[*input as usize] == number {
                    values[*input as usize] = Value::Gone;
                }
            }
        }
        match values.pop() {
            Some(Value::Words(words)) => words,
            _ => unreachable!("a checked plan ends in a result"),
        }
    }

    /// Gates that need no rounding.
    fn gate(&self, number: usize, gate: &Gate, items: usize, operands: &[&[i64]]) -> Vec<i64> {
        let x = operands[0];
        match gate {
            Gate::Linear(linear) => self.linear(number as u32, &linear.shape, items, x),
            Gate::Add(add) => {
                let mut sum = vec![0i64; x.len()];
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
            Gate::Input(_) | Gate::Open(_) | Gate::ArgMax(_) | Gate::Reveal(_) => {
                unreachable!("computed by the caller")
            }
            Gate::State(_)
            | Gate::Store(_)
            | Gate::Product(_)
            | Gate::Reduce(_)
            | Gate::Spread(_)
            | Gate::Dropout(_)
            | Gate::Times(_)
            | Gate::ReluBack(_)
            | Gate::MaxBack(_) => unreachable!("no gate of a prediction"),
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
