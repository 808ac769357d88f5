//! Scales: how many fractional bits each operand gets, and which window of each output is opened.
//!
//! The accumulator of a layer allows budget = k - 2 - margin - ceil(log2 max|z|) fractional bits. They are split so that
//! activation and weight have the same relative rounding error: f_x = (budget + log2(rms(w) / rms(x))) / 2, f_w the rest
//! (docs/protocol.md, "Choosing scales"). The output of one layer is cut to the next one's f_x by its window [s, m).

use ariann_graph::{FixedPoint, Graph, LayerRange, LayerScale, RangeSource, Ranges};

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
    #[error("layer {layer}: values up to {max_abs:.4} with {frac_bits} fractional bits do not fit the window of a ring of {ring} bits; use --ring 64")]
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

/// Bits above the ring point that hold `max_abs`, with the margin of its source.
fn magnitude(max_abs: f64, margin: u32) -> i32 {
    max_abs.max(f64::MIN_POSITIVE).log2().ceil().max(-40.0) as i32 + margin as i32
}

/// Scales of all linear layers, whose outputs' fates are `fates`.
pub(crate) fn choose(graph: &Graph, ranges: &Ranges, ring: u32, fates: &[Fate]) -> Result<FixedPoint, ScaleError> {
    let margin = match ranges.source {
        RangeSource::Calibrated { .. } => CALIBRATED_MARGIN,
        RangeSource::Proven => 0,
    };
    let splits = ranges.layers.iter().map(|layer| split(layer, ring, margin)).collect::<Result<Vec<_>, _>>()?;
    let mut layers = Vec::with_capacity(splits.len());
    for (index, layer) in ranges.layers.iter().enumerate() {
        let next = splits.get(index + 1).map_or(OUTPUT_FRAC, |next| next.0);
        layers.push(window(layer, ring, margin, splits[index], next, fates[index])?);
    }
    debug_assert_eq!(layers.len(), graph.linear_nodes().count());
    // A layer that had to give up weight bits keeps its input's: the chain of activations is untouched.
    let input_frac = splits.first().map_or(0, |first| first.0);
    Ok(FixedPoint { ring_bits: ring, input_frac, layers })
}

/// f_x and f_w of a layer.
fn split(layer: &LayerRange, ring: u32, margin: u32) -> Result<(i32, i32), ScaleError> {
    let finite = [layer.max_abs, layer.input_max, layer.input_rms, layer.weight_rms, layer.weight_max].iter().all(|x| x.is_finite());
    if !finite {
        return Err(ScaleError::Range { layer: layer.name.clone() });
    }
    let budget = ring as i32 - 2 - magnitude(layer.max_abs, margin);
    let (rms_x, rms_w) = (layer.input_rms.max(1e-12), layer.weight_rms.max(1e-12));
    let f_x = ((f64::from(budget) + (rms_w / rms_x).log2()) / 2.0).round() as i32;
    let f_x = f_x.min(ENOUGH[0]);
    let f_w = (budget - f_x).min(ENOUGH[1]);
    // An operand must also fit the ring by itself, sign included.
    let f_x = f_x.min(ring as i32 - 2 - magnitude(layer.input_max, margin));
    let f_w = f_w.min(ring as i32 - 2 - magnitude(layer.weight_max, 0));
    for (operand, f, rms) in [("activation", f_x, rms_x), ("weight", f_w, rms_w)] {
        let bits = f64::from(f) + rms.log2();
        if bits < LEAST_USEFUL_BITS && rms > 1e-12 {
            return Err(ScaleError::Narrow { layer: layer.name.clone(), max_abs: layer.max_abs, budget, ring, operand, bits });
        }
    }
    Ok((f_x, f_w))
}

/// The window of a layer's output, cut to `next` fractional bits; gives up bits of the weight where the bound needs it.
fn window(layer: &LayerRange, ring: u32, margin: u32, (f_x, mut f_w): (i32, i32), next: i32, fate: Fate) -> Result<LayerScale, ScaleError> {
    // In units of z: room above the value for the sign, for a difference of two, and for the rounding (2^(s+1)).
    let above = if fate == Fate::Rectified { 1 } else { 2 };
    loop {
        let f_z = f_x + f_w;
        let shift = (f_z - next).max(0) as u32;
        let truncated = fate != Fate::Logits;
        let greatest = layer.max_abs * 2f64.powi(f_z + margin as i32);
        let room = if truncated { 2f64.powi(shift as i32 + 1) } else { 0.0 };
        let needed = (greatest + room).max(1.0).log2().ceil() as u32 + above;
        let top = needed.max(shift + 3);
        if top <= ring {
            let top = if truncated { top } else { ring };
            return Ok(LayerScale { weight_frac: f_w, shift: if truncated { shift } else { 0 }, top, truncated });
        }
        f_w -= 1;
        if f64::from(f_w) + layer.weight_rms.max(1e-12).log2() < LEAST_USEFUL_BITS {
            return Err(ScaleError::Window { layer: layer.name.clone(), max_abs: layer.max_abs, frac_bits: f_z, ring });
        }
    }
}
