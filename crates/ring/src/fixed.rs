//! Fixed point: a real number x is held as the signed integer nearest to x * 2^f, f = `frac_bits`.

use crate::Ring;

/// Why a number has no fixed-point form.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum FixedError {
    /// NaN or an infinity.
    #[error("{0} is not a finite number")]
    NotFinite(f64),
    /// The scaled number does not lie in [-2^(k-1), 2^(k-1)).
    #[error("{value} with {frac_bits} fractional bits does not fit in {bits} signed bits")]
    OutOfRange {
        /// The number.
        value: f64,
        /// Its fractional bits.
        frac_bits: i32,
        /// Bits of an element.
        bits: u32,
    },
}

/// The element nearest to `x * 2^frac_bits`; a number halfway between two elements goes away from zero.
///
/// `frac_bits` may be negative. Error: at most half a unit, 2^-(frac_bits + 1).
pub fn encode<R: Ring>(x: f64, frac_bits: i32) -> Result<R, FixedError> {
    if !x.is_finite() {
        return Err(FixedError::NotFinite(x));
    }
    let scaled = scale(x, frac_bits).round();
    let limit = (2f64).powi(R::BITS as i32 - 1);
    if scaled >= -limit && scaled < limit {
        Ok(R::from_i64(scaled as i64))
    } else {
        Err(FixedError::OutOfRange { value: x, frac_bits, bits: R::BITS })
    }
}

/// The number that the signed element stands for: `v / 2^frac_bits`, rounded to the nearest `f64`.
pub fn decode<R: Ring>(v: R, frac_bits: i32) -> f64 {
    scale(v.to_i64() as f64, frac_bits.saturating_neg())
}

/// x * 2^e in two factors, so that neither leaves the range of `f64` while the product is in it.
fn scale(x: f64, e: i32) -> f64 {
    let e = e.clamp(-2000, 2000);
    let half = e / 2;
    x * (2f64).powi(half) * (2f64).powi(e - half)
}
