//! The gates of each kind of node.

use ariann_gates::add::Add;
use ariann_gates::arrange::Rearrange;
use ariann_gates::axes::{Reduce, Spread};
use ariann_gates::clip::Clip;
use ariann_gates::cut::Cut;
use ariann_gates::dropout::Dropout;
use ariann_gates::max::Max;
use ariann_gates::max_back::MaxBack;
use ariann_gates::open::Open;
use ariann_gates::product::Product;
use ariann_gates::relu::Relu;
use ariann_gates::relu_back::ReluBack;
use ariann_gates::truncate::Truncate;
use ariann_gates::{Receiver, Sign, Window, Windows};
use ariann_graph::training::StepOp;
use ariann_graph::{AvgPool, Function, Pool};
use ariann_ring::arrange::{Axis, Block};
use ariann_ring::{Arrange, Axes, Bilinear};

use super::build::{Builder, CONSTANT_BITS, Held};
use super::refine;
use super::scales::bits;
use crate::gate::Lookup;
use crate::scales::{LOOKUP_WIDTH, divisors};
use crate::{CompileError, Gate, Scale, SignChoice, build};

/// Fractional bits of results of lookups that a probability is made of.
const PROBABILITY: i32 = 14;
/// Fractional bits of outputs that are compared for the greatest.
const LOGITS: i32 = 16;
/// Where e^x is taken for zero: below 2^-17.
const LEAST_POWER: f64 = -12.0;
/// Margin of a table's operand.
const LOOKUP_MARGIN: i32 = 3;

fn unsupported(name: &str, reason: impl std::fmt::Display) -> CompileError {
    CompileError::Unsupported(vec![format!("  {name}: {reason}")])
}

impl Builder<'_> {
    pub(super) fn node(&mut self, index: usize) -> Result<(), CompileError> {
        let step = self.step;
        let node = &step.nodes[index];
        let (name, inputs, len) = (node.name.as_str(), &node.inputs, node.len);
        match &node.op {
            StepOp::Features | StepOp::Labels => {}
            StepOp::State(state) => self.state(index, *state),
            StepOp::Product(of) => {
                let [a, b] = [self.wire(inputs[0])?, self.wire(inputs[1])?];
                let scale = Scale { frac: a.1.frac + b.1.frac, factor: a.1.factor * b.1.factor };
                let gate = Gate::Product(Product { of: of.clone() });
                let gate = self.push(name, "", &[a.0, b.0], scale, gate);
                self.forms[index].share = Some((gate, scale));
            }
            StepOp::Add => self.sum(index, &vec![1; inputs.len()])?,
            StepOp::Subtract => self.sum(index, &[1, -1])?,
            StepOp::Scale(by) => self.scaled(index, *by)?,
            StepOp::Spread(axes) => self.spread(index, *axes)?,
            StepOp::Reduce(axes) => {
                let (x, scale) = self.operand(inputs[0])?;
                let is_wire = self.forms[inputs[0]].share.is_none();
                let gate = self.push(name, "", &[x], scale, Gate::Reduce(Reduce { axes: *axes }));
                let held = if is_wire { self.shared(name, (gate, scale), len) } else { (gate, scale) };
                self.forms[index].share = Some(held);
            }
            StepOp::Arrange(arrange) => self.arrange(index, arrange)?,
            StepOp::Relu => {
                let (x, scale, width) = self.narrow(inputs[0])?;
                let sign = self.sign(inputs[0], scale, width);
                let gate = Relu { len, width, to: Receiver::Both, form: self.form(), sign };
                let gate = self.push(name, "", &[x], scale, Gate::Relu(gate));
                self.levels[index] = vec![gate];
                self.forms[index].wire = Some((gate, scale));
            }
            StepOp::Clip { lo, hi } => {
                let (x, scale, width) = self.narrow(inputs[0])?;
                self.clip(index, x, scale, width, [f64::from(*lo), f64::from(*hi)])?;
            }
            StepOp::ReluBack { relu } => {
                let (x, scale, width) = self.narrow(inputs[0])?;
                let bits = self.levels[*relu][0];
                let gate = Gate::ReluBack(ReluBack { len, width, to: Receiver::Both });
                let gate = self.push(name, "", &[x, bits], scale, gate);
                self.forms[index].wire = Some((gate, scale));
            }
            StepOp::MaxPool(pool) => {
                let (x, scale, width) = self.narrow(inputs[0])?;
                let (x, levels) = self.maximum(name, x, scale, width, pool);
                self.levels[index] = levels;
                self.forms[index].narrow = Some((x, scale, width));
            }
            StepOp::MaxBack { pool } => {
                let (mut x, scale) = self.wire(inputs[0])?;
                for forward in self.levels[*pool].clone().into_iter().rev() {
                    let Gate::Max(max) = &self.gates[forward as usize].gate else {
                        unreachable!("a level of a maximum")
                    };
                    let gate = MaxBack { windows: max.windows.clone(), level: max.level };
                    x = self.push(name, &format!("level {}", gate.level), &[x, forward], scale, Gate::MaxBack(gate));
                }
                self.forms[index].wire = Some((x, scale));
            }
            StepOp::AvgPool(average) => self.average(index, average)?,
            StepOp::AvgBack(average) => self.average_back(index, average)?,
            StepOp::Function(function) => self.function(index, *function)?,
            StepOp::Dropout { pattern, keep } => {
                let (x, scale) = self.operand(inputs[0])?;
                let is_wire = self.forms[inputs[0]].share.is_none();
                // What is kept counts 256 / keep times.
                let zeros = keep.trailing_zeros().min(8);
                let scale = Scale { frac: scale.frac - 8 + zeros as i32, factor: scale.factor * (keep >> zeros) };
                let gate = Gate::Dropout(Dropout { len, keep: *keep, pattern: *pattern });
                let held = Some((self.push(name, "", &[x], scale, gate), scale));
                if is_wire {
                    self.forms[index].wire = held;
                } else {
                    self.forms[index].share = held;
                }
            }
            StepOp::Update { .. } => self.update(index)?,
            StepOp::Running { state, momentum } => self.running(index, *state, *momentum)?,
            StepOp::Correct => self.correct(index)?,
            StepOp::Count { state } => self.count(index, *state)?,
        }
        Ok(())
    }

    /// A sum of values with the signs ±1, at the finest of their scales.
    fn sum(&mut self, index: usize, signs: &[i64]) -> Result<(), CompileError> {
        let (name, len, inputs) = (self.name(index), self.len(index), self.step.nodes[index].inputs.clone());
        let mut operands = Vec::with_capacity(inputs.len());
        for input in &inputs {
            operands.push(self.operand(*input)?);
        }
        // A rounded value keeps its scale when its mean is taken off; otherwise the finest of plain units decides, as far as
        // there is room.
        let plain = operands.iter().filter(|operand| operand.1.factor == 1).map(|operand| operand.1.frac).max();
        let frac = match self.rounds(index) {
            true => operands[0].1.frac,
            false => plain.unwrap_or(operands[0].1.frac).min(self.scales.budget(index)),
        };
        for (operand, input) in operands.iter_mut().zip(&inputs) {
            let (max, of) = (self.scales.max(*input), self.len(*input));
            if operand.1.factor != 1 {
                if self.forms[*input].share.is_none() {
                    *operand = self.shared(name, *operand, of);
                }
                *operand = self.plain(name, *operand, frac, max, of)?;
            }
            if operand.1.frac > frac {
                if self.forms[*input].share.is_none() {
                    *operand = self.shared(name, *operand, of);
                }
                *operand = self.cut(name, "aligned", *operand, operand.1.frac - frac, max, of)?;
            }
        }
        let held = self.weighted(name, &operands, signs, len)?;
        self.forms[index].share = Some(held);
        Ok(())
    }

    /// Whether a node takes something off a rounded value, which keeps its scale.
    fn rounds(&self, index: usize) -> bool {
        let node = &self.step.nodes[index];
        matches!(node.op, StepOp::Subtract) && self.scales.is_cut(node.inputs[0])
    }

    /// Σ sign·operand for operands of plain units.
    pub(super) fn weighted(
        &mut self,
        name: &str,
        operands: &[Held],
        signs: &[i64],
        len: usize,
    ) -> Result<Held, CompileError> {
        self.affine(name, operands, signs, &[], len)
    }

    /// The same and constants, which are added in turn.
    pub(super) fn affine(
        &mut self,
        name: &str,
        operands: &[Held],
        signs: &[i64],
        constants: &[f64],
        len: usize,
    ) -> Result<Held, CompileError> {
        let frac = operands.iter().map(|operand| operand.1.frac).max().expect("a sum has operands");
        let mut multipliers = Vec::with_capacity(operands.len());
        for ((_, scale), sign) in operands.iter().zip(signs) {
            let shift = frac - scale.frac;
            if scale.factor != 1 || shift > 60 {
                return Err(unsupported(name, "its operands' scales are too far apart"));
            }
            multipliers.push((sign << shift) as u64);
        }
        let inputs: Vec<u32> = operands.iter().map(|operand| operand.0).collect();
        let scale = Scale::bits(frac);
        let constants = constants.iter().map(|constant| (constant / scale.unit()).round() as i64).collect();
        Ok((self.push(name, "", &inputs, scale, Gate::Add(Add { len, multipliers, constants })), scale))
    }

    /// A constant is a matter of scale, where it is a fraction of small integers.
    fn scaled(&mut self, index: usize, by: f64) -> Result<(), CompileError> {
        let (name, len, input) = (self.name(index), self.len(index), self.step.nodes[index].inputs[0]);
        let held = self.share(input)?;
        let scale = held.1;
        // 1 / by = odd · 2^up for the constants of averages.
        let inverse = 1.0 / by;
        let exact = (0..12).map(|up| (up, inverse * 2f64.powi(up))).find(|(_, odd)| odd.fract() == 0.0 && *odd < 1e9);
        let (mut up, mut odd) = exact.map_or((0, 0), |(up, odd)| (-up, odd as i64));
        while odd != 0 && odd % 2 == 0 {
            (odd, up) = (odd / 2, up + 1);
        }
        let held = match odd {
            1 | -1 => self.times(name, "", held, by, odd, Scale { frac: scale.frac + up, ..scale }, len),
            _ if odd > 0 && odd * i64::from(scale.factor) < 1 << 16 => {
                let result = Scale { frac: scale.frac + up, factor: scale.factor * odd as u32 };
                self.times(name, "", held, by, 1, result, len)
            }
            _ => {
                // A constant of some bits; it takes them from the value, which is rounded first where it has no room.
                let max = self.scales.max(input);
                let held = self.plain(name, held, scale.frac, max, len)?;
                let magnitude = bits(max / held.1.unit()) + self.scales.margin();
                let constant_bits = CONSTANT_BITS[usize::from(self.options.ring == 64)];
                let held = self.cut(name, "fit", held, magnitude + constant_bits + 1 - self.scales.ring(), max, len)?;
                let up = constant_bits - 2 - by.abs().log2().floor() as i32;
                let factor = (by * 2f64.powi(up)).round() as i64;
                self.times(name, "", held, by, factor, Scale::bits(held.1.frac + up), len)
            }
        };
        self.forms[index].share = Some(held);
        Ok(())
    }

    fn spread(&mut self, index: usize, axes: Axes) -> Result<(), CompileError> {
        let (name, input) = (self.name(index), self.step.nodes[index].inputs[0]);
        let gate = Gate::Spread(Spread { axes });
        let forms = self.forms[input];
        if let (Some((x, scale, width)), None, None) = (forms.narrow, forms.share, forms.wire) {
            let gate = self.push(name, "", &[x], scale, gate);
            self.forms[index].narrow = Some((gate, scale, width));
            return Ok(());
        }
        let mut held = self.operand(input)?;
        let is_wire = self.forms[input].share.is_none();
        if !is_wire {
            // Rounded while it is small, to what the sums that it enters have room for.
            let taken = |reader: &usize| self.rounds(*reader) && self.step.nodes[*reader].inputs[1] == index;
            let reader = (0..self.step.nodes.len()).find(taken);
            let frac = match reader {
                Some(reader) => self.scales.frac(self.step.nodes[reader].inputs[0]),
                None => self.scales.budget(index),
            };
            let (max, len) = (self.scales.max(input), self.len(input));
            held = self.plain(name, held, frac, max, len)?;
            held = self.cut(name, "fit", held, held.1.frac - frac, max, len)?;
        }
        let (x, scale) = held;
        let held = Some((self.push(name, "", &[x], scale, gate), scale));
        if is_wire {
            self.forms[index].wire = held;
        } else {
            self.forms[index].share = held;
        }
        Ok(())
    }

    fn arrange(&mut self, index: usize, arrange: &Arrange) -> Result<(), CompileError> {
        let (name, inputs) = (self.name(index), self.step.nodes[index].inputs.clone());
        let wires = inputs.iter().all(|input| self.forms[*input].wire.is_some());
        let mut operands = Vec::with_capacity(inputs.len());
        for input in &inputs {
            let held = if wires { self.wire(*input)? } else { self.share(*input)? };
            let (max, of) = (self.scales.max(*input), self.len(*input));
            operands.push(if wires { held } else { self.plain(name, held, held.1.frac, max, of)? });
        }
        let frac = operands.iter().map(|operand| operand.1.frac).max().expect("it has operands");
        let multipliers = operands.iter().map(|(_, scale)| 1u64 << (frac - scale.frac).min(62)).collect();
        let scale = Scale { frac, factor: operands[0].1.factor };
        let gates: Vec<u32> = operands.iter().map(|operand| operand.0).collect();
        let gate = Gate::Arrange(Rearrange { arrange: arrange.clone(), multipliers });
        let held = Some((self.push(name, "", &gates, scale, gate), scale));
        if wires {
            self.forms[index].wire = held;
        } else {
            self.forms[index].share = held;
        }
        Ok(())
    }

    /// On the top bits where that is asked for: a unit of a quarter of the root mean square.
    fn sign(&self, node: usize, scale: Scale, width: u32) -> Sign {
        let bits = (self.scales.rms(node) / 4.0 / scale.unit()).log2().floor();
        match self.options.sign {
            SignChoice::Coarse if bits >= 1.0 => Sign::Coarse((bits as u32).min(width.saturating_sub(4)).max(1)),
            _ => Sign::Exact,
        }
    }

    fn clip(&mut self, index: usize, x: u32, scale: Scale, width: u32, bounds: [f64; 2]) -> Result<(), CompileError> {
        let (name, len) = (self.name(index), self.len(index));
        let [lo, hi] = bounds.map(|bound| (bound / scale.unit()).round() as i64);
        if lo >= hi {
            return Err(unsupported(name, "its bounds are closer than the fixed point"));
        }
        let form = self.form();
        let gate = Clip { len, width, to: Receiver::Both, lo, hi, form, sign: Sign::Exact };
        let gate = self.push(name, "clip", &[x], scale, Gate::Clip(gate));
        self.forms[index].wire = Some((gate, scale));
        Ok(())
    }

    /// The levels of a maximum, by rows and then by columns where that needs fewer comparisons.
    fn maximum(&mut self, name: &str, mut x: u32, scale: Scale, width: u32, pool: &Pool) -> (u32, Vec<u32>) {
        let mut levels = Vec::new();
        for step in build::steps(pool) {
            let windows = Windows::Pool(step);
            for level in 0..windows.levels() {
                let gate = Gate::Max(Max { windows: windows.clone(), level, width, form: self.form() });
                x = self.push(name, &format!("max {}", levels.len() + 1), &[x], scale, gate);
                levels.push(x);
            }
        }
        (x, levels)
    }

    fn average(&mut self, index: usize, average: &AvgPool) -> Result<(), CompileError> {
        let (name, input) = (self.name(index), self.step.nodes[index].inputs[0]);
        let (x, scale) = self.operand(input)?;
        let is_wire = self.forms[input].share.is_none();
        let divisors = divisors(average);
        let factor = divisors[0].saturating_mul(divisors[1]);
        if factor.saturating_mul(u64::from(scale.factor)) > 1 << 16 {
            return Err(unsupported(name, "its windows' sizes have no small common divisor"));
        }
        let zeros = factor.trailing_zeros();
        let scale = Scale { frac: scale.frac, factor: scale.factor * factor as u32 };
        let gate = self.push(name, "", &[x], scale, Gate::Sum(build::sums(average)));
        let held = if is_wire { self.shared(name, (gate, scale), self.len(index)) } else { (gate, scale) };
        // Powers of two are bits.
        let result = Scale { frac: scale.frac + zeros as i32, factor: scale.factor >> zeros };
        let held = self.times(name, "unit", held, 1.0, 1, result, self.len(index));
        self.forms[index].share = Some(held);
        Ok(())
    }

    /// Each gradient to all places of its window; windows that overlap would have to be summed.
    fn average_back(&mut self, index: usize, average: &AvgPool) -> Result<(), CompileError> {
        let (name, len, input) = (self.name(index), self.len(index), self.step.nodes[index].inputs[0]);
        let pool = &average.pool;
        let windows = [pool.out_height(), pool.out_width()];
        let alone = |axis: usize| windows[axis] == 1 || pool.stride[axis] >= pool.kernel[axis];
        let apart = (0..2).all(|axis| alone(axis) && pool.dilation[axis] == 1);
        let count = u64::from(average.counts[0][0]) * u64::from(average.counts[1][0]);
        let even = (0..2).all(|axis| average.counts[axis].iter().all(|count| *count == average.counts[axis][0]));
        if !apart || !even || pool.pads != [0; 4] {
            return Err(unsupported(name, "gradients of overlapping or padded averages"));
        }
        let [rows, columns] = windows;
        let taps = (0..pool.kernel[0]).flat_map(|y| (0..pool.kernel[1]).map(move |x| (y, x)));
        let block = |(y, x): (usize, usize)| Block {
            source: 0,
            from: 0,
            to: y * pool.in_width + x,
            axes: vec![
                Axis {
                    len: pool.channels,
                    from: (rows * columns) as isize,
                    to: (pool.in_height * pool.in_width) as isize,
                },
                Axis { len: rows, from: columns as isize, to: (pool.stride[0] * pool.in_width) as isize },
                Axis { len: columns, from: 1, to: pool.stride[1] as isize },
            ],
        };
        let arrange = Arrange { len, blocks: taps.map(block).collect() };
        let held = self.share(input)?;
        let (x, scale) = self.plain(name, held, held.1.frac, self.scales.max(input), self.len(input))?;
        let gate = Gate::Arrange(Rearrange { arrange, multipliers: vec![1] });
        let held = (self.push(name, "", &[x], scale, gate), scale);
        let zeros = count.trailing_zeros();
        let result = Scale { frac: scale.frac + zeros as i32, factor: scale.factor * (count >> zeros) as u32 };
        let held = self.times(name, "unit", held, 1.0 / count as f64, 1, result, len);
        self.forms[index].share = Some(held);
        Ok(())
    }

    fn function(&mut self, index: usize, function: Function) -> Result<(), CompileError> {
        let (name, len, input) = (self.name(index), self.len(index), self.step.nodes[index].inputs[0]);
        let held = self.share(input)?;
        let max = self.scales.max(input);
        let held = self.plain(name, held, held.1.frac, max, len)?;
        let width = LOOKUP_WIDTH;
        let frac = match function {
            Function::Exp => width as i32 - 2 - bits(-LEAST_POWER),
            _ => width as i32 - 2 - LOOKUP_MARGIN - bits(max),
        };
        let fine = if self.options.ring == 64 { frac.max(refine::FRAC) } else { frac };
        // Rounded first where a window above the table's bits would not fit the ring.
        let high = held.1.frac - frac + width as i32 > self.scales.ring();
        let mut held = if high { self.cut(name, "operand", held, held.1.frac - fine, max, len)? } else { held };
        if function == Function::Exp {
            // Powers of what is far below zero are zero; beyond the table they would be anything.
            let least = (width as i32 + fine - frac) as u32;
            let (x, scale, wide) = self.window(name, "powers", held, (held.1.frac - fine, least), max, len)?;
            self.clip(index, x, scale, wide, [LEAST_POWER, 0.0])?;
            let clipped = self.forms[index].wire.take().expect("a clip gives a wire");
            held = self.shared(name, clipped, len);
        }
        let shift = (held.1.frac - frac).max(0) as u32;
        let window = Window { shift, top: shift + width };
        let scale = Scale { frac: held.1.frac - shift as i32, ..held.1 };
        let open = Gate::Open(Open { len, window, to: Receiver::Both });
        let x = self.push(name, "table operand", &[held.0], scale, open);
        let frac = match function {
            Function::Exp | Function::Reciprocal => PROBABILITY.min(self.scales.frac(index).max(PROBABILITY - 4)),
            _ if self.options.ring == 64 => self.scales.frac(index).min(refine::FRAC - bits(self.scales.max(index))),
            _ => self.scales.frac(index),
        };
        let gate = Lookup { len, width, to: Receiver::Both, function };
        let scale = Scale::bits(frac);
        let gate = self.push(name, "", &[x], scale, Gate::Lookup(gate));
        let wire = (gate, scale);
        // A table knows 11 to 15 bits of its operand. A wide ring has room for more.
        if self.options.ring == 64 {
            let refined = refine::Operand { index, value: held, table: x, max };
            return self.refine(refined, wire, function);
        }
        self.forms[index].wire = Some(wire);
        Ok(())
    }

    /// Whether the label's output is the greatest, the first of equal ones: z·2^t - index has no equals, so label's less the
    /// greatest is zero or below. One unit is added, so that ReLU of it is one or zero, exactly.
    fn correct(&mut self, index: usize) -> Result<(), CompileError> {
        let node = &self.step.nodes[index];
        let (name, logits, labels) = (node.name.as_str(), node.inputs[0], node.inputs[1]);
        let (batch, classes, max) = (self.step.batch, self.step.classes, self.scales.max(logits));
        let len = batch * classes;
        let room = self.scales.room();
        let (share, scale) = match self.forms[logits].wire {
            // As it is: rounding would tell equal outputs apart, such as all those that ReLU left at zero.
            Some(wire) => self.shared(name, wire, len),
            None => {
                let held = self.share(logits)?;
                let frac = self.scales.frac(logits).min(LOGITS);
                let held = self.plain(name, held, frac, max, len)?;
                self.cut(name, "logits", held, held.1.frac - frac, max, len)?
            }
        };
        let fine = Scale::bits(scale.frac + room);
        let constants = (0..classes as i64).map(|place| -place).collect();
        let gate = Gate::Add(Add { len, multipliers: vec![1 << room], constants });
        let ranked = self.push(name, "ranked", &[share], fine, gate);
        let window = Window { shift: 0, top: self.options.ring };
        let open = Gate::Open(Open { len, window, to: Receiver::Both });
        let opened = self.push(name, "operand", &[ranked], fine, open);
        let most = max + scale.unit();
        let width = self.top(name, most, fine, 0)?;
        let narrow = self.push(name, "narrow", &[opened], fine, Gate::Cut(Cut { len, width }));
        let pool = Pool {
            channels: batch,
            in_height: 1,
            in_width: classes,
            kernel: [1, classes],
            stride: [1, 1],
            pads: [0; 4],
            dilation: [1, 1],
        };
        let (greatest, _) = self.maximum(name, narrow, fine, width, &pool);
        let gate = Gate::Truncate(Truncate { len: batch, width });
        let greatest = self.push(name, "greatest", &[greatest], fine, gate);
        let (label, label_scale) = self.wire(labels)?;
        let axes = Axes { outer: 1, kept: batch, inner: classes };
        let product = Gate::Product(Product { of: Bilinear::Inner(axes) });
        let product_scale = Scale::bits(fine.frac + label_scale.frac);
        let chosen = self.push(name, "label's", &[opened, label], product_scale, product);
        let operands = [(chosen, product_scale), (greatest, fine)];
        let difference = self.affine(name, &operands, &[1, -1], &[product_scale.unit()], batch)?;
        let (difference, scale, width) = self.window(name, "compared", difference, (0, 3), 2.0 * most, batch)?;
        let relu = Relu { len: batch, width, to: Receiver::Both, form: self.form(), sign: Sign::Exact };
        let right = self.push(name, "right", &[difference], scale, Gate::Relu(relu));
        let axes = Axes { outer: batch, kept: 1, inner: 1 };
        let sum = self.push(name, "sum", &[right], scale, Gate::Reduce(Reduce { axes }));
        let (sum, scale) = self.times(name, "items", (sum, scale), 1.0 / scale.unit(), 1, Scale::bits(0), 1);
        let held = self.shared(name, (sum, scale), 1);
        self.forms[index].share = Some(held);
        Ok(())
    }
}
