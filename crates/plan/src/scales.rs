//! Scales: how many fractional bits each tensor gets, and which window of each sum is opened.
//!
//! The accumulator of a layer allows budget = k - 2 - margin - ceil(log2 max|z|) fractional bits, where z is the layer's output
//! and every sum that it enters before the next opening. They are split so that activation and weight have the same relative
//! rounding error: f_x = (budget + log2(rms(w) / rms(x))) / 2, f_w the rest (docs/protocol.md, "Scales"). A value that
//! several layers read has one scale: the mean of what they ask for.
//!
//! Observed ranges get a margin of 2 bits. Proven ones get none, but what fixed point adds to the float values is bounded
//! layer by layer and added to them, so that a proven window holds whatever the masks are.

use ariann_gates::Window;
use ariann_graph::{AvgPool, Graph, Node, Op, RangeSource, Ranges, ValueId, ValueRange};

use crate::Scale;

/// Bits of margin above a range that was only observed.
pub const CALIBRATED_MARGIN: u32 = 2;
/// The least root mean square of an operand, in units of its last bit, as a power of two: below it a layer is refused.
const LEAST_USEFUL_BITS: f64 = 4.0;
/// Fractional bits that suffice for any operand; a wide ring needs no more.
const ENOUGH: [i32; 2] = [18, 24];
/// Fractional bits of what no linear layer reads: logits that are compared or rectified before they are revealed.
const OUTPUT_FRAC: i32 = 14;
/// Widest operand of a lookup.
pub const LOOKUP_WIDTH: u32 = 16;

/// A model that the ring cannot hold.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ScaleError {
    /// Too few bits are left for an operand.
    #[error(
        "layer {layer}: values up to {max_abs:.4} leave {budget} fractional bits in a ring of {ring} bits, its {operand} would keep \
         {bits:.1} significant bits and needs {LEAST_USEFUL_BITS}; use --ring 64, or --calibration FILE for tighter ranges"
    )]
    Narrow {
        /// The layer.
        layer: String,
        /// Greatest magnitude of its output, and of the sums that it enters.
        max_abs: f64,
        /// Fractional bits for activation and weight together.
        budget: i32,
        /// k.
        ring: u32,
        /// Which operand suffers.
        operand: &'static str,
        /// Its significant bits.
        bits: f64,
    },
    /// The range is no number.
    #[error("layer {layer}: its value range is not finite; check the calibration items and the weights")]
    Range {
        /// The layer.
        layer: String,
    },
    /// The bound of a window cannot be met.
    #[error(
        "layer {layer}: values up to {max_abs:.4} with {frac_bits} fractional bits do not fit the window of a ring of {ring} bits; use --ring 64"
    )]
    Window {
        /// The layer.
        layer: String,
        /// Greatest magnitude of its output.
        max_abs: f64,
        /// Fractional bits of the output.
        frac_bits: i32,
        /// k.
        ring: u32,
    },
}

/// What a window must hold.
#[derive(Clone, Copy)]
pub struct Wanted {
    /// Only the sign and the value where it is positive are used; not for maxima, signed values and coarse signs.
    pub rectified: bool,
    /// Least width.
    pub least: u32,
    /// Room besides the value, in real numbers: a bound that is compared with, or the noise of a coarse sign.
    pub room: f64,
}

/// Ranges and the scales that they ask for.
pub struct Scales<'a> {
    ranges: &'a Ranges,
    ring: u32,
    margin: u32,
    /// Greatest magnitude of each value and of the sums that its share enters before it is opened.
    reach: Vec<f64>,
    /// Fractional bits that the readers of each value ask for.
    asked: Vec<Option<f64>>,
    /// How far the fixed-point values are from the float ones at most; zero where ranges were only observed.
    error: Vec<f64>,
}

fn exp2(exponent: i32) -> f64 {
    2f64.powi(exponent)
}

/// ceil(log2 max|x|) with its margin.
fn magnitude(max_abs: f64, margin: u32) -> i32 {
    max_abs.max(f64::MIN_POSITIVE).log2().ceil().max(-40.0) as i32 + margin as i32
}

/// Least common multiple.
pub fn least_multiple(a: u64, b: u64) -> u64 {
    let (mut x, mut y) = (a, b);
    while y != 0 {
        (x, y) = (y, x % y);
    }
    a / x * b
}

/// The constant factor of the sums of an average pooling: a multiple of every divisor.
pub fn divisors(average: &AvgPool) -> [u64; 2] {
    [0, 1].map(|axis| average.counts[axis].iter().fold(1, |all, count| least_multiple(all, u64::from(*count))))
}

impl<'a> Scales<'a> {
    /// Looks at all layers; refuses ranges that are no numbers.
    pub fn new(graph: &'a Graph, ranges: &'a Ranges, ring: u32) -> Result<Self, ScaleError> {
        for node in &ranges.nodes {
            let all = [node.output.max_abs, node.output.rms, node.weights.max_abs, node.weights.rms];
            if !all.iter().all(|x| x.is_finite()) {
                return Err(ScaleError::Range { layer: node.name.clone() });
            }
        }
        if !(ranges.input.max_abs.is_finite() && ranges.input.rms.is_finite()) {
            return Err(ScaleError::Range { layer: graph.input.name.clone() });
        }
        let margin = if ranges.source == RangeSource::Proven { 0 } else { CALIBRATED_MARGIN };
        let values = graph.nodes.len() + 1;
        let mut scales = Scales {
            ranges,
            ring,
            margin,
            reach: (0..values).map(|value| ranges.value(ValueId(value)).max_abs).collect(),
            asked: vec![None; values],
            error: vec![0.0; values],
        };
        let mut asking: Vec<Vec<f64>> = vec![Vec::new(); values];
        asking[graph.output.0].push(f64::from(OUTPUT_FRAC));
        for node in graph.nodes.iter().rev() {
            let out = node.output.0;
            let asked = match asking[out].len() {
                0 => None,
                count => Some(asking[out].iter().sum::<f64>() / count as f64),
            };
            scales.asked[out] = asked;
            for &input in &node.inputs {
                if let Some(asks) = scales.asks(node, input, asked) {
                    // The result itself asks for little: what a layer reads matters more.
                    if input == graph.output && asking[input.0].len() == 1 {
                        asking[input.0].clear();
                    }
                    asking[input.0].push(asks);
                }
            }
            let enters = match &node.op {
                Op::Add | Op::Arrange(_) | Op::Reshape | Op::MaxPool(_) => scales.reach[out],
                // The bounds are compared with in the value's own units.
                Op::Clip { lo, hi } => {
                    let bound = f64::from(lo.abs().max(hi.abs()));
                    scales.range(node.inputs[0]).max_abs + bound * exp2(-(margin as i32))
                }
                Op::AvgPool(average) => scales.reach[out] * divisors(average).map(|d| d as f64).iter().product::<f64>(),
                _ => 0.0,
            };
            for input in &node.inputs {
                scales.reach[input.0] = scales.reach[input.0].max(enters);
            }
        }
        for node in &graph.nodes {
            scales.holds(node)?;
        }
        let input = &asking[0];
        scales.asked[0] = (!input.is_empty()).then(|| input.iter().sum::<f64>() / input.len() as f64);
        Ok(scales)
    }

    /// Refuses a linear layer that leaves no bits to its operands, before its neighbours suffer from it.
    fn holds(&self, node: &Node) -> Result<(), ScaleError> {
        if !node.op.is_linear() {
            return Ok(());
        }
        let (out, weights) = (node.output, self.ranges.nodes[node.output.0 - 1].weights);
        let rms = self.range(node.inputs[0]).rms * weights.rms;
        let bits = (f64::from(self.budget(out)) + rms.log2()) / 2.0;
        if rms > 0.0 && bits < LEAST_USEFUL_BITS {
            return Err(ScaleError::Narrow {
                layer: node.name.clone(),
                max_abs: self.reach[out.0],
                budget: self.budget(out),
                ring: self.ring,
                operand: "weight",
                bits,
            });
        }
        Ok(())
    }

    /// What reader `node` asks of its operand `input`, when its own readers ask for `asked`.
    fn asks(&self, node: &Node, input: ValueId, asked: Option<f64>) -> Option<f64> {
        match &node.op {
            Op::Dense(_) | Op::Conv(_) => {
                let weights = self.ranges.nodes[node.output.0 - 1].weights;
                let (rms_x, rms_w) = (self.range(input).rms, weights.rms);
                // An operand that is all zeros needs no bits.
                let balance = if rms_x > 0.0 && rms_w > 0.0 { (rms_w / rms_x).log2() } else { 0.0 };
                Some((f64::from(self.budget(node.output)) + balance) / 2.0)
            }
            Op::AvgPool(average) => {
                // Rounding errors of the summed values average out; half of the bits that the sum gains are left to it.
                let count: f64 = divisors(average).map(|d| (d as f64).log2()).iter().sum();
                asked.map(|asked| asked - count / 2.0)
            }
            Op::Relu | Op::Clip { .. } | Op::MaxPool(_) | Op::Arrange(_) | Op::Reshape => asked,
            Op::Add | Op::Function(_) | Op::Softmax(_) | Op::BatchNorm(_) | Op::Dropout { .. } => None,
        }
    }

    fn range(&self, value: ValueId) -> ValueRange {
        self.ranges.value(value)
    }

    /// Fractional bits that the sums of a value's share leave.
    fn budget(&self, value: ValueId) -> i32 {
        self.ring as i32 - 2 - magnitude(self.reach[value.0], self.margin)
    }

    /// How far a value is off at most.
    pub fn error(&self, value: ValueId) -> f64 {
        self.error[value.0]
    }

    /// Root mean square of a value.
    pub fn rms(&self, value: ValueId) -> f64 {
        self.range(value).rms
    }

    /// Greatest magnitude of a value with its margin and with what fixed point adds.
    pub fn greatest(&self, value: ValueId) -> f64 {
        (self.range(value).max_abs + self.error[value.0]) * exp2(self.margin as i32)
    }

    /// Fractional bits of a value that is rounded for its readers.
    pub fn frac(&self, value: ValueId) -> i32 {
        let fits = self.ring as i32 - 2 - magnitude(self.range(value).max_abs + self.error[value.0], self.margin);
        let asked = self.asked[value.0].map_or(OUTPUT_FRAC, |asked| asked.round() as i32);
        asked.min(ENOUGH[0]).min(fits)
    }

    /// Fractional bits of a value that goes into a lookup of the widest operand.
    pub fn lookup_frac(&self, value: ValueId) -> i32 {
        // With room for what rounding adds: two units of the operand.
        let most = (self.range(value).max_abs + self.error[value.0]) * (1.0 + exp2(4 - LOOKUP_WIDTH as i32));
        LOOKUP_WIDTH as i32 - 2 - magnitude(most, self.margin)
    }

    /// Fractional bits of the output of linear layer `node`, whose operand has scale `x`.
    pub fn linear(&mut self, node: &Node, x: Scale) -> Result<i32, ScaleError> {
        let (input, out) = (node.inputs[0], node.output);
        let weights = self.ranges.nodes[out.0 - 1].weights;
        let (ring, budget) = (self.ring, self.budget(out));
        let factor = f64::from(x.factor).log2();
        let most = f64::from(x.frac) + factor + f64::from(ENOUGH[1]);
        let mut f_z = budget.min(most.floor() as i32);
        // Weights must also fit the ring by themselves, sign included.
        f_z = f_z.min(x.frac + factor.floor() as i32 + ring as i32 - 2 - magnitude(weights.max_abs, 0));
        let refuse = |operand, bits| ScaleError::Narrow {
            layer: node.name.clone(),
            max_abs: self.reach[out.0],
            budget,
            ring,
            operand,
            bits,
        };
        let useful = |f: f64, rms: f64| if rms > 0.0 { f + rms.log2() } else { f64::INFINITY };
        let x_bits = useful(f64::from(x.frac) + factor, self.range(input).rms);
        if x_bits < LEAST_USEFUL_BITS {
            return Err(refuse("activation", x_bits));
        }
        loop {
            let w_bits = useful(f64::from(f_z - x.frac) - factor, weights.rms);
            if w_bits < LEAST_USEFUL_BITS || f_z < x.frac - 64 {
                return Err(refuse("weight", w_bits));
            }
            let error = self.linear_error(node, x, f_z);
            let shift = (f_z - self.frac(out)).max(0);
            let greatest = (self.reach[out.0].max(self.range(out).max_abs) + error) * exp2(self.margin as i32);
            // A window for a coarse sign has room for its noise.
            let greatest = greatest + self.rms(out) / 2.0;
            if greatest * exp2(f_z) + exp2(shift + 1) <= exp2(ring as i32 - 2) {
                self.error[out.0] = error;
                return Ok(f_z);
            }
            f_z -= 1;
        }
    }

    /// What fixed point adds to a linear layer's output: the operand's error through the weights, the weights' encoding, and
    /// the bias's.
    fn linear_error(&self, node: &Node, x: Scale, f_z: i32) -> f64 {
        if self.ranges.source != RangeSource::Proven {
            return 0.0;
        }
        let weights = node.op.weights().map_or(&[] as &[f32], |weights| weights.data());
        let terms = (weights.len() / node.shape[0].max(1)).max(1);
        let sums = weights.chunks(terms).map(|row| row.iter().map(|w| f64::from(w.abs())).sum::<f64>());
        let norm = sums.fold(0.0, f64::max);
        let operand = self.error[node.inputs[0].0];
        let input_max = self.range(node.inputs[0]).max_abs;
        // One unit of an encoded weight: the factor of the operand is taken out by the weights.
        let unit = exp2(x.frac - f_z) * f64::from(x.factor);
        norm * operand + terms as f64 * 0.5 * unit * (input_max + operand) + 0.5 * exp2(-f_z)
    }

    /// Records how far a value is off: `of` are the values it is made from, `rounding` what is added, in real numbers.
    pub fn note(&mut self, value: ValueId, of: &[ValueId], rounding: f64) {
        if self.ranges.source == RangeSource::Proven {
            self.error[value.0] = of.iter().map(|value| self.error[value.0]).sum::<f64>() + rounding;
        }
    }

    /// The greatest of the values' errors: what a maximum or a rearrangement hands on.
    pub fn note_greatest(&mut self, value: ValueId, of: &[ValueId]) {
        self.error[value.0] = of.iter().map(|value| self.error[value.0]).fold(0.0, f64::max);
    }

    /// Adds the rounding of a window to a value's own error.
    pub fn note_rounding(&mut self, value: ValueId, scale: Scale) {
        if self.ranges.source == RangeSource::Proven {
            self.error[value.0] += 1.5 * scale.unit();
        }
    }

    /// Refuses a value that leaves the ring at `scale`: it is decoded as it is.
    pub fn fits(&self, name: &str, value: ValueId, scale: Scale) -> Result<(), ScaleError> {
        if self.greatest(value) / scale.unit() < exp2(self.ring as i32 - 1) {
            return Ok(());
        }
        let max_abs = self.range(value).max_abs;
        Err(ScaleError::Window { layer: name.to_string(), max_abs, frac_bits: scale.frac, ring: self.ring })
    }

    /// The window of `value`, whose share has scale `z`, cut to `frac` fractional bits.
    pub fn window(
        &self,
        name: &str,
        value: ValueId,
        z: Scale,
        frac: i32,
        wanted: Wanted,
    ) -> Result<Window, ScaleError> {
        // In units of z: room above the value for the sign, for a difference of two, and for the rounding (2^(s+1)).
        let above = if wanted.rectified { 1 } else { 2 };
        // Small values of many fractional bits keep more of them where the least width asks for it.
        let shift = ((z.frac - frac).max(0) as u32).min(self.ring.saturating_sub(wanted.least));
        let greatest = (self.greatest(value) + wanted.room) / z.unit();
        let needed = (greatest + exp2(shift as i32 + 1)).max(1.0).log2().ceil() as u32 + above;
        let top = needed.max(shift + wanted.least);
        if top <= self.ring {
            return Ok(Window { shift, top });
        }
        let max_abs = self.range(value).max_abs;
        Err(ScaleError::Window { layer: name.to_string(), max_abs, frac_bits: z.frac, ring: self.ring })
    }
}
