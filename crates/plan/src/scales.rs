//! Scales: how many fractional bits each operand gets, and which window of each output is opened.
//!
//! The accumulator of a layer allows budget = k - 2 - margin - ceil(log2 max|z|) fractional bits. They are split so that
//! activation and weight have the same relative rounding error: f_x = (budget + log2(rms(w) / rms(x))) / 2, f_w the rest
//! (docs/protocol.md, "Choosing scales"). The output of one layer is cut to the next one's f_x by its window [s, m).
//!
//! Observed ranges get a margin of 2 bits. Proven ones get none, but what fixed point adds to the float values is bounded
//! layer by layer and added to them, so that a proven window holds whatever the masks are.

use ariann_graph::{FixedPoint, Graph, LayerRange, LayerScale, Node, RangeSource, Ranges};

/// Bits of margin above a range that was only observed.
pub const CALIBRATED_MARGIN: u32 = 2;
/// The least root mean square of an operand, in units of its last bit, as a power of two: below it a layer is refused.
const LEAST_USEFUL_BITS: f64 = 4.0;
/// Fractional bits that suffice for any operand; a wide ring needs no more.
const ENOUGH: [i32; 2] = [18, 24];
/// Fractional bits of logits that are compared or rectified before they are revealed.
const OUTPUT_FRAC: i32 = 14;

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
        /// Greatest magnitude of its output.
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

/// What becomes of a linear layer's output.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Revealed as it is.
    Logits,
    /// Only its sign and its positive part are used.
    Rectified,
    /// It enters a maximum, or is truncated with its sign.
    Signed,
}

/// A linear layer's output on its way.
#[derive(Clone, Copy)]
pub(crate) struct Way {
    pub fate: Fate,
    /// The least width of its window: 3, more where an argmax carries indices in wires of the same width.
    pub least: u32,
}

/// Bits above the ring point that hold `max_abs`, with the margin of its source.
fn magnitude(max_abs: f64, margin: u32) -> i32 {
    max_abs.max(f64::MIN_POSITIVE).log2().ceil().max(-40.0) as i32 + margin as i32
}

/// Scales of all linear layers, whose outputs go the `ways`.
pub(crate) fn choose(graph: &Graph, ranges: &Ranges, ring: u32, ways: &[Way]) -> Result<FixedPoint, ScaleError> {
    let proven = ranges.source == RangeSource::Proven;
    let margin = if proven { 0 } else { CALIBRATED_MARGIN };
    let splits = ranges.layers.iter().map(|layer| split(layer, ring, margin)).collect::<Result<Vec<_>, _>>()?;
    let mut layers = Vec::with_capacity(splits.len());
    let input_frac = splits.first().map_or(0, |first| first.0);
    let mut f_x = input_frac;
    // Nearest encoding of the input.
    let mut error = Error { of_input: 0.5 * exp2(-f_x) };
    for (index, (layer, node)) in ranges.layers.iter().zip(graph.linear_nodes()).enumerate() {
        let next = splits.get(index + 1).map_or(OUTPUT_FRAC, |next| next.0);
        let norm = Norm::of(&graph.nodes[node]);
        let add = |f_w: i32| if proven { error.of_output(layer, &norm, f_x, f_w) } else { 0.0 };
        let wanted = Wanted { ring, margin, f_x, f_w: splits[index].1, next, way: ways[index] };
        let scale = window(layer, wanted, add)?;
        let f_z = f_x + scale.weight_frac;
        f_x = f_z - scale.shift as i32;
        let rounding = if scale.shift > 0 { 1.5 * exp2(-f_x) } else { 0.0 };
        error =
            Error { of_input: error.of_output(layer, &norm, f_z - scale.weight_frac, scale.weight_frac) + rounding };
        layers.push(scale);
    }
    Ok(FixedPoint { ring_bits: ring, input_frac, layers })
}

fn exp2(exponent: i32) -> f64 {
    2f64.powi(exponent)
}

/// What a linear layer makes of errors.
struct Norm {
    /// The greatest sum of magnitudes of one output's weights.
    sum: f64,
    /// Weights of one output.
    terms: f64,
}

impl Norm {
    fn of(node: &Node) -> Norm {
        let weights = node.op.weights().map_or(&[] as &[f32], |weights| weights.data());
        let terms = (weights.len() / node.shape[0].max(1)).max(1);
        let sums = weights.chunks(terms).map(|row| row.iter().map(|w| f64::from(w.abs())).sum());
        Norm { sum: sums.fold(0.0, f64::max), terms: terms as f64 }
    }
}

/// How far fixed-point values are from the float ones at most. ReLU and maxima do not enlarge it.
struct Error {
    of_input: f64,
}

impl Error {
    /// At a linear layer's output: the input's error through the weights, the weights' encoding, and the bias's.
    fn of_output(&self, layer: &LayerRange, norm: &Norm, f_x: i32, f_w: i32) -> f64 {
        let weights = norm.terms * 0.5 * exp2(-f_w) * (layer.input_max + self.of_input);
        norm.sum * self.of_input + weights + 0.5 * exp2(-(f_x + f_w))
    }
}

/// f_x and f_w of a layer.
fn split(layer: &LayerRange, ring: u32, margin: u32) -> Result<(i32, i32), ScaleError> {
    let finite = [layer.max_abs, layer.input_max, layer.input_rms, layer.weight_rms, layer.weight_max]
        .iter()
        .all(|x| x.is_finite());
    if !finite {
        return Err(ScaleError::Range { layer: layer.name.clone() });
    }
    let budget = ring as i32 - 2 - magnitude(layer.max_abs, margin);
    let (rms_x, rms_w) = (layer.input_rms, layer.weight_rms);
    // An operand that is all zeros needs no bits.
    let balance = if rms_x > 0.0 && rms_w > 0.0 { (rms_w / rms_x).log2() } else { 0.0 };
    let f_x = ((f64::from(budget) + balance) / 2.0).round() as i32;
    let f_x = f_x.min(ENOUGH[0]);
    let f_w = (budget - f_x).min(ENOUGH[1]);
    // An operand must also fit the ring by itself, sign included.
    let f_x = f_x.min(ring as i32 - 2 - magnitude(layer.input_max, margin));
    let f_w = f_w.min(ring as i32 - 2 - magnitude(layer.weight_max, 0));
    for (operand, f, rms) in [("activation", f_x, rms_x), ("weight", f_w, rms_w)] {
        let bits = f64::from(f) + rms.log2();
        if bits < LEAST_USEFUL_BITS && rms > 0.0 {
            return Err(ScaleError::Narrow {
                layer: layer.name.clone(),
                max_abs: layer.max_abs,
                budget,
                ring,
                operand,
                bits,
            });
        }
    }
    Ok((f_x, f_w))
}

/// What a window is chosen for.
#[derive(Clone, Copy)]
struct Wanted {
    ring: u32,
    margin: u32,
    f_x: i32,
    f_w: i32,
    next: i32,
    way: Way,
}

/// The window of a layer's output, cut to `next` fractional bits; gives up bits of the weight where the bound needs it.
/// `add` is what fixed point may add to the range, for each f_w.
fn window(layer: &LayerRange, wanted: Wanted, add: impl Fn(i32) -> f64) -> Result<LayerScale, ScaleError> {
    let Wanted { ring, margin, f_x, mut f_w, next, way: Way { fate, least } } = wanted;
    // In units of z: room above the value for the sign, for a difference of two, and for the rounding (2^(s+1)).
    let above = if fate == Fate::Rectified { 1 } else { 2 };
    let truncated = fate != Fate::Logits;
    loop {
        let f_z = f_x + f_w;
        let shift = if truncated { (f_z - next).max(0) as u32 } else { 0 };
        let greatest = (layer.max_abs + add(f_w)) * exp2(f_z + margin as i32);
        let room = if truncated { exp2(shift as i32 + 1) } else { 0.0 };
        let needed = (greatest + room).max(1.0).log2().ceil() as u32 + above;
        let top = needed.max(shift + least);
        if top <= ring {
            return Ok(LayerScale { weight_frac: f_w, shift, top: if truncated { top } else { ring }, truncated });
        }
        f_w -= 1;
        let useless = layer.weight_rms > 0.0 && f64::from(f_w) + layer.weight_rms.log2() < LEAST_USEFUL_BITS;
        if useless || f_w < -64 {
            return Err(ScaleError::Window { layer: layer.name.clone(), max_abs: layer.max_abs, frac_bits: f_z, ring });
        }
    }
}
