//! The gates of each kind of layer.

use ariann_gates::add::Add;
use ariann_gates::argmax::ArgMax;
use ariann_gates::arrange::Rearrange;
use ariann_gates::clip::Clip;
use ariann_gates::input::{Input, OWNER};
use ariann_gates::linear::Linear;
use ariann_gates::max::Max;
use ariann_gates::open::Open;
use ariann_gates::relu::Relu;
use ariann_gates::{Comparison, LinearShape, Pooling, Receiver, SumShape, Window, Windows, reveal};
use ariann_graph::{AvgPool, Function, Node, Op, Pool, ValueId};
use ariann_ring::Arrange;

use super::{Builder, Choice, Natural};
use crate::compile::CompileError;
use crate::gate::Lookup;
use crate::scales::{self, LOOKUP_WIDTH};
use crate::{Gate, Revealed, Scale, Shared};

/// The largest constant factor that sums over windows may leave.
const LARGEST_FACTOR: u64 = 1 << 16;

pub(super) fn unsupported(node: &Node, reason: impl std::fmt::Display) -> CompileError {
    CompileError::Unsupported(vec![format!("  {} ({}): {reason}", node.name, node.op.name())])
}

/// The scale that operands of these scales are brought to, and their factors.
fn common(scales: &[Scale]) -> Option<(Scale, Vec<u64>)> {
    let frac = scales.iter().map(|scale| scale.frac).max()?;
    let factor = scales.iter().try_fold(1u64, |all, scale| {
        let all = scales::least_multiple(all, u64::from(scale.factor));
        (all <= LARGEST_FACTOR).then_some(all)
    })?;
    let multiplier = |scale: &Scale| {
        let shift = u32::try_from(i64::from(frac) - i64::from(scale.frac)).ok().filter(|shift| *shift < 40)?;
        Some((factor / u64::from(scale.factor)) << shift)
    };
    let multipliers = scales.iter().map(multiplier).collect::<Option<Vec<u64>>>()?;
    Some((Scale { frac, factor: factor as u32 }, multipliers))
}

impl Builder<'_> {
    pub(super) fn input(&mut self) {
        let frac = match &self.choice {
            Choice::Ranges { scales, .. } => scales.frac(ValueId::INPUT),
            Choice::Plan(plan) => plan.input_frac(),
        };
        if let Choice::Ranges { scales, .. } = &mut self.choice {
            // Nearest encoding of the input.
            scales.note(ValueId::INPUT, &[], 0.5 * Scale::bits(frac).unit());
        }
        let (name, len) = (self.graph.input.name.clone(), self.graph.input.len());
        let scale = Scale::bits(frac);
        if self.head.reveal.to != Receiver::Client {
            let gate = self.push(&name, "", &[], scale, Gate::Input(Input { len, owner: OWNER }));
            return self.give_wire(ValueId::INPUT, gate, scale);
        }
        let shared = self.push(&name, "", &[], scale, Gate::Shared(Shared { len }));
        let window = Window { shift: 0, top: self.head.ring };
        let open = Gate::Open(Open { len, window, to: self.to(ValueId::INPUT) });
        let gate = self.push(&name, "open", &[shared], scale, open);
        self.give_wire(ValueId::INPUT, gate, scale);
    }

    pub(super) fn layer(&mut self, node: &Node) -> Result<(), CompileError> {
        match &node.op {
            Op::Dense(_) | Op::Conv(_) => self.linear(node),
            Op::Add => self.add(node),
            Op::Arrange(arrange) => self.arrange(node, arrange),
            Op::AvgPool(average) => self.average(node, average),
            Op::MaxPool(pool) => self.pool(node, pool),
            Op::Relu => self.relu(node),
            Op::Clip { lo, hi } => self.clip(node, [*lo, *hi]),
            Op::Function(function) => self.function(node, *function),
            Op::Softmax(row) => self.softmax(node, *row),
            Op::BatchNorm(_) | Op::Dropout { .. } => {
                Err(unsupported(node, "it is folded when a model is imported to predict"))
            }
            Op::Reshape => {
                self.note_greatest(node);
                Ok(())
            }
        }
    }

    /// What a layer hands on of its operands' errors.
    fn note_greatest(&mut self, node: &Node) {
        if let Choice::Ranges { scales, .. } = &mut self.choice {
            scales.note_greatest(node.output, &node.inputs);
        }
    }

    fn linear(&mut self, node: &Node) -> Result<(), CompileError> {
        let (x, scale) = self.wire(node.inputs[0])?;
        let frac = match &mut self.choice {
            Choice::Ranges { scales, .. } => scales.linear(node, scale)?,
            Choice::Plan(plan) => plan.gates.get(self.gates.len()).map_or(0, |entry| entry.scale.frac),
        };
        let shape = match &node.op {
            Op::Conv(conv) => LinearShape::Conv(conv.shape.clone()),
            _ => LinearShape::Dense { inputs: self.graph.len(node.inputs[0]), outputs: node.len() },
        };
        let gate = Gate::Linear(Linear { shape, weights: self.head.weights });
        let gate = self.push(&node.name, "", &[x], Scale::bits(frac), gate);
        self.give_share(node.output, gate, Scale::bits(frac));
        Ok(())
    }

    fn add(&mut self, node: &Node) -> Result<(), CompileError> {
        let mut operands = Vec::with_capacity(node.inputs.len());
        for input in &node.inputs {
            // A wire is counted as it is; sums of shares keep all their bits.
            operands.push(match self.natural[input.0] {
                Natural::Wire => self.wire(*input)?,
                _ => self.share(*input)?,
            });
        }
        let scales: Vec<Scale> = operands.iter().map(|operand| operand.1).collect();
        let (scale, multipliers) =
            common(&scales).ok_or_else(|| unsupported(node, "its operands' scales are too far apart"))?;
        let inputs: Vec<u32> = operands.iter().map(|operand| operand.0).collect();
        if let Choice::Ranges { scales, .. } = &mut self.choice {
            scales.note(node.output, &node.inputs, 0.0);
        }
        let gate = self.push(
            &node.name,
            "",
            &inputs,
            scale,
            Gate::Add(Add { len: node.len(), multipliers, constants: Vec::new() }),
        );
        self.give_share(node.output, gate, scale);
        Ok(())
    }

    fn arrange(&mut self, node: &Node, arrange: &Arrange) -> Result<(), CompileError> {
        let wires = self.natural[node.output.0] == Natural::Wire;
        let mut operands = Vec::with_capacity(node.inputs.len());
        for input in &node.inputs {
            operands.push(if wires { self.wire(*input)? } else { self.share(*input)? });
        }
        let scales: Vec<Scale> = operands.iter().map(|operand| operand.1).collect();
        let (scale, multipliers) =
            common(&scales).ok_or_else(|| unsupported(node, "its operands' scales are too far apart"))?;
        let inputs: Vec<u32> = operands.iter().map(|operand| operand.0).collect();
        self.note_greatest(node);
        let gate = Gate::Arrange(Rearrange { arrange: arrange.clone(), multipliers });
        let gate = self.push(&node.name, "", &inputs, scale, gate);
        if wires {
            self.give_wire(node.output, gate, scale);
        } else {
            self.give_share(node.output, gate, scale);
        }
        Ok(())
    }

    fn average(&mut self, node: &Node, average: &AvgPool) -> Result<(), CompileError> {
        let wires = self.natural[node.output.0] == Natural::Wire;
        let (x, scale) = if wires { self.wire(node.inputs[0])? } else { self.share(node.inputs[0])? };
        let divisors = scales::divisors(average);
        let factor = divisors[0].saturating_mul(divisors[1]).saturating_mul(u64::from(scale.factor));
        if factor > LARGEST_FACTOR {
            return Err(unsupported(node, format!("its windows' sizes have no common divisor below {LARGEST_FACTOR}")));
        }
        let scale = Scale { frac: scale.frac, factor: factor as u32 };
        self.note_greatest(node);
        let gate = self.push(&node.name, "", &[x], scale, Gate::Sum(sums(average)));
        if wires {
            self.give_wire(node.output, gate, scale);
        } else {
            self.give_share(node.output, gate, scale);
        }
        Ok(())
    }

    fn pool(&mut self, node: &Node, pool: &Pool) -> Result<(), CompileError> {
        let (mut x, scale, width) = self.narrow(node.inputs[0])?;
        let mut part = 0;
        for step in steps(pool) {
            let windows = Windows::Pool(step);
            for level in 0..windows.levels() {
                part += 1;
                let gate = Gate::Max(Max { windows: windows.clone(), level, width, form: self.form() });
                x = self.push(&node.name, &format!("max {part}"), &[x], scale, gate);
            }
        }
        self.note_greatest(node);
        self.give_narrow(node.output, x, scale, width);
        Ok(())
    }

    /// The form of the next comparison: that of the plan taken over; chosen later otherwise.
    pub(super) fn form(&self) -> Comparison {
        let Choice::Plan(plan) = &self.choice else { return Comparison::Dpf };
        self.next_of(plan).and_then(|entry| entry.gate.compares()).map_or(Comparison::Dpf, |compared| compared.form)
    }

    fn relu(&mut self, node: &Node) -> Result<(), CompileError> {
        let (x, scale, width) = self.narrow(node.inputs[0])?;
        let sign = self.sign(self.resolve(node.inputs[0]), scale);
        let gate = Relu { len: node.len(), width, to: self.to(node.output), form: self.form(), sign };
        self.note_greatest(node);
        let gate = self.push(&node.name, "", &[x], scale, Gate::Relu(gate));
        self.give_wire(node.output, gate, scale);
        Ok(())
    }

    fn clip(&mut self, node: &Node, bounds: [f32; 2]) -> Result<(), CompileError> {
        let (x, scale, width) = self.narrow(node.inputs[0])?;
        let sign = self.sign(self.resolve(node.inputs[0]), scale);
        let [lo, hi] = bounds.map(|bound| (f64::from(bound) / scale.unit()).round() as i64);
        if lo >= hi {
            return Err(unsupported(node, "its bounds are closer than the fixed point"));
        }
        let gate = Clip { len: node.len(), width, to: self.to(node.output), lo, hi, form: self.form(), sign };
        self.note_greatest(node);
        if let Choice::Ranges { scales, .. } = &mut self.choice {
            // The bounds are encoded to the nearest.
            scales.note_rounding(node.output, scale);
        }
        let gate = self.push(&node.name, "", &[x], scale, Gate::Clip(gate));
        self.give_wire(node.output, gate, scale);
        Ok(())
    }

    fn function(&mut self, node: &Node, function: Function) -> Result<(), CompileError> {
        let (x, operand, width) = self.operand_of_lookup(node.inputs[0])?;
        if width > LOOKUP_WIDTH {
            return Err(unsupported(node, format!("its operand has {width} bits, a table at most {LOOKUP_WIDTH}")));
        }
        let scale = match &self.choice {
            Choice::Ranges { scales, .. } => Scale::bits(scales.frac(node.output)),
            Choice::Plan(plan) => self.next_of(plan).map_or(Scale::bits(0), |entry| entry.scale),
        };
        if let Choice::Ranges { scales, .. } = &mut self.choice {
            let slope = function.greatest_slope(scales.greatest(node.inputs[0]));
            let operand_error = scales.error(node.inputs[0]) + operand.unit();
            scales.note(node.output, &[], slope * operand_error + scale.unit());
        }
        let gate = Lookup { len: node.len(), width, to: self.to(node.output), function };
        let gate = self.push(&node.name, "", &[x], scale, Gate::Lookup(gate));
        self.give_wire(node.output, gate, scale);
        Ok(())
    }

    pub(super) fn finish(&mut self) -> Result<(), CompileError> {
        let output = self.graph.output;
        let (name, classes, to) = (self.graph.output_name.clone(), self.graph.output_len(), self.head.reveal.to);
        if self.head.reveal.what == Revealed::Logits {
            let (x, scale) = match self.natural[output.0] {
                Natural::Wire if !self.of_input[output.0] => self.wire(output)?,
                _ => self.share(output)?,
            };
            if let Choice::Ranges { scales, .. } = &self.choice {
                scales.fits(&name, output, scale)?;
            }
            let reveal = reveal::Reveal { len: classes, width: self.head.ring, to };
            self.push(&name, "reveal", &[x], scale, Gate::Reveal(reveal));
            return Ok(());
        }
        let (mut x, _, width) = self.narrow(output)?;
        for level in 0..Windows::Row(classes).levels() {
            let gate = Gate::ArgMax(ArgMax { len: classes, level, width, form: self.form() });
            x = self.push(&name, &format!("argmax {}", level + 1), &[x], Scale::bits(0), gate);
        }
        let reveal = reveal::Reveal { len: 1, width, to };
        self.push(&name, "reveal", &[x], Scale::bits(0), Gate::Reveal(reveal));
        Ok(())
    }
}

/// The sums of an average, each times what the number of its places lacks of their common multiple.
pub(crate) fn sums(average: &AvgPool) -> SumShape {
    let (pool, divisors) = (&average.pool, scales::divisors(average));
    let factors = [0, 1]
        .map(|axis| average.counts[axis].iter().map(|count| (divisors[axis] / u64::from(*count)) as u32).collect());
    SumShape {
        channels: pool.channels,
        input: [pool.in_height, pool.in_width],
        kernel: pool.kernel,
        stride: pool.stride,
        pads: [pool.pads[0], pool.pads[1]],
        dilation: pool.dilation,
        factors,
    }
}

/// A pooling as it is computed: by rows and then by columns where that needs fewer comparisons.
pub(crate) fn steps(pool: &Pool) -> Vec<Pooling> {
    let whole = Pooling {
        channels: pool.channels,
        input: [pool.in_height, pool.in_width],
        output: [pool.out_height(), pool.out_width()],
        kernel: pool.kernel,
        stride: pool.stride,
        pads: [pool.pads[0], pool.pads[1]],
        dilation: pool.dilation,
    };
    let comparisons = |steps: &[Pooling]| -> usize {
        let of = |windows: Windows| (0..windows.levels()).map(|level| windows.pairs(level)).sum::<usize>();
        steps.iter().map(|step| of(Windows::Pool(step.clone()))).sum()
    };
    let separate = separated(&whole);
    let whole = vec![whole];
    if comparisons(&separate) < comparisons(&whole) { separate } else { whole }
}

/// A pooling as two: windows of one column, then of one row.
fn separated(pool: &Pooling) -> Vec<Pooling> {
    let [height, width] = pool.kernel;
    if height == 1 || width == 1 {
        return vec![pool.clone()];
    }
    let rows = Pooling {
        output: [pool.output[0], pool.input[1]],
        kernel: [height, 1],
        stride: [pool.stride[0], 1],
        pads: [pool.pads[0], 0],
        dilation: [pool.dilation[0], 1],
        ..pool.clone()
    };
    let columns = Pooling {
        input: rows.output,
        kernel: [1, width],
        stride: [1, pool.stride[1]],
        pads: [0, pool.pads[1]],
        dilation: [1, pool.dilation[1]],
        ..pool.clone()
    };
    vec![rows, columns]
}
