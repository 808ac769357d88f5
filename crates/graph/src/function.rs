//! Functions of one value that are computed by lookup.

use serde::{Deserialize, Serialize};

/// A function of one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Function {
    /// 1 / (1 + e^-x).
    Sigmoid,
    /// The hyperbolic tangent.
    Tanh,
    /// x·Φ(x) by the error function.
    Gelu,
    /// Gelu by the hyperbolic tangent.
    GeluTanh,
    /// e^x.
    Exp,
    /// 1/x for x > 0, else 0.
    Reciprocal,
    /// 1/√(x + ε) for x + ε > 0, else 0; ε in units of 2^-40.
    InverseRoot(u64),
    /// The natural logarithm for x > 0, else 0.
    Log,
    /// The least integer e with x <= 2^e for x > 0, else [`Function::LEAST_EXPONENT`]. No layer has it.
    Exponent,
    /// What a vector of squared norm x is multiplied with, so that its norm is at most `norm`·`weight`: the weight, and less
    /// where x > norm². Beyond a place x_0, as a difference: its value at x_0 + x, for x > 0, less that at x_0. No layer has it.
    Shrink {
        /// In units of 2^-32.
        norm: u64,
        /// In units of 2^-40.
        weight: u64,
        /// x_0 in units of norm²·2^-16; 0 for the value itself.
        beyond: u64,
    },
}

impl Function {
    /// The exponent of what is not above 0.
    pub const LEAST_EXPONENT: i32 = -64;

    /// Its name, as ONNX calls it.
    pub fn name(self) -> &'static str {
        match self {
            Function::Sigmoid => "Sigmoid",
            Function::Tanh => "Tanh",
            Function::Gelu | Function::GeluTanh => "Gelu",
            Function::Exp => "Exp",
            Function::Reciprocal => "Reciprocal",
            Function::InverseRoot(_) => "InverseRoot",
            Function::Log => "Log",
            Function::Exponent => "Exponent",
            Function::Shrink { .. } => "Shrink",
        }
    }

    /// No value of it is below 0.
    pub fn never_negative(self) -> bool {
        use Function::{Exp, InverseRoot, Reciprocal, Shrink, Sigmoid};
        matches!(self, Sigmoid | Exp | Reciprocal | InverseRoot(_) | Shrink { beyond: 0, .. })
    }

    /// Where it turns from falling to rising, for those that do.
    pub fn least_at(self) -> Option<f64> {
        match self {
            Function::Gelu => Some(-0.751_791_524_693_564_5),
            Function::GeluTanh => Some(-0.752_461_422_071_016_3),
            _ => None,
        }
    }

    /// The greatest magnitude of its slope where |x| <= `bound`.
    pub fn greatest_slope(self, bound: f64) -> f64 {
        match self {
            Function::Sigmoid => 0.25,
            Function::Tanh => 1.0,
            // Near x = 1.43 for both forms.
            Function::Gelu | Function::GeluTanh => 1.13,
            Function::Exp => bound.exp(),
            // Near 0 it has none.
            Function::Reciprocal | Function::InverseRoot(_) | Function::Log | Function::Exponent => f64::INFINITY,
            Function::Shrink { .. } => f64::INFINITY,
        }
    }

    /// Its value.
    pub fn of(self, x: f64) -> f64 {
        match self {
            Function::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Function::Tanh => x.tanh(),
            Function::Gelu => 0.5 * x * (1.0 + erf(x / std::f64::consts::SQRT_2)),
            Function::GeluTanh => {
                let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
                0.5 * x * (1.0 + inner.tanh())
            }
            Function::Exp => x.exp(),
            Function::Reciprocal if x > 0.0 => 1.0 / x,
            Function::Reciprocal => 0.0,
            Function::InverseRoot(epsilon) => {
                let x = x + epsilon as f64 * 2f64.powi(-40);
                if x > 0.0 { 1.0 / x.sqrt() } else { 0.0 }
            }
            Function::Log => {
                if x > 0.0 {
                    x.ln()
                } else {
                    0.0
                }
            }
            Function::Exponent => exponent(x),
            Function::Shrink { norm, weight, beyond } => {
                let (norm, weight) = (norm as f64 * 2f64.powi(-32), weight as f64 * 2f64.powi(-40));
                let at = |x: f64| if x > norm * norm { weight * norm / x.sqrt() } else { weight };
                let first = beyond as f64 * norm * norm * 2f64.powi(-16);
                if beyond == 0 { at(x) } else { at(first + x.max(0.0)) - at(first) }
            }
        }
    }
}

/// From the bits of x, so that all machines make the same table.
fn exponent(x: f64) -> f64 {
    if !(x >= f64::MIN_POSITIVE && x.is_finite()) {
        return f64::from(Function::LEAST_EXPONENT);
    }
    let (exponent, rest) = ((x.to_bits() >> 52) as i32 - 1023, x.to_bits() << 12);
    f64::from(exponent + i32::from(rest != 0))
}

/// The error function, by its series near 0 and its continued fraction further out; error below 1e-12.
pub(crate) fn erf(x: f64) -> f64 {
    let t = x.abs();
    if t > 6.0 {
        return x.signum();
    }
    let value = if t < 2.5 {
        let (mut term, mut sum, mut n) = (t, t, 0.0);
        while term.abs() > 1e-17 * sum.abs() {
            n += 1.0;
            term *= -t * t / n;
            sum += term / (2.0 * n + 1.0);
            if n > 200.0 {
                break;
            }
        }
        sum * 2.0 / std::f64::consts::PI.sqrt()
    } else {
        let fraction = (1..=120).rev().fold(t, |below, k| t + f64::from(k) / 2.0 / below);
        1.0 - (-t * t).exp() / (fraction * std::f64::consts::PI.sqrt())
    };
    value.copysign(x)
}

#[cfg(test)]
mod tests {
    use super::{Function, erf};

    #[test]
    fn an_exponent_is_the_least_whose_power_holds_the_value() {
        for e in -60..60 {
            let power = 2f64.powi(e);
            assert_eq!(Function::Exponent.of(power), f64::from(e));
            assert_eq!(Function::Exponent.of(power * (1.0 + 1e-15)), f64::from(e + 1));
            assert_eq!(Function::Exponent.of(power * 0.75), f64::from(e));
        }
        for none in [0.0, -1.0, -1e300, f64::NAN] {
            assert_eq!(Function::Exponent.of(none), f64::from(Function::LEAST_EXPONENT));
        }
    }

    #[test]
    fn a_shrunk_vector_has_at_most_its_norm() {
        let shrink = Function::Shrink { norm: 3 << 31, weight: 1 << 38, beyond: 0 };
        for inside in [-1.0, 0.0, 1.0, 2.25] {
            assert_eq!(shrink.of(inside), 0.25);
        }
        assert_eq!(shrink.of(9.0), 0.125);
        assert_eq!(shrink.of(2f64.powi(100)) * 2f64.powi(50), 0.375);
        // From 4 norm² on.
        let further = Function::Shrink { norm: 3 << 31, weight: 1 << 38, beyond: 4 << 16 };
        assert_eq!([further.of(-1.0), further.of(0.0), further.of(27.0)], [0.0, 0.0, 0.0625 - 0.125]);
    }

    #[test]
    fn erf_has_its_known_values() {
        // Abramowitz and Stegun, table 7.1.
        for (x, value) in
            [(0.0, 0.0), (0.5, 0.5204998778), (1.0, 0.8427007929), (2.0, 0.9953222650), (3.0, 0.9999779095)]
        {
            assert!((erf(x) - value).abs() < 1e-10 && (erf(-x) + value).abs() < 1e-10);
        }
        assert!((erf(2.4999999) - erf(2.5000001)).abs() < 1e-8);
    }
}
