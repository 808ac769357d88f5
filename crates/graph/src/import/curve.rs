//! Gelu, recognised where an exporter wrote it out.
//!
//! Products of a value with itself, Erf and Pow cannot be computed privately by themselves. A value made of them is
//! followed as a curve: what it is at sample points of the value that it is made from. As soon as the curve is that of
//! Gelu, whatever the order of operators was, a lookup takes its place.

use std::rc::Rc;

use super::constant::Constant;
use super::error::Refusal;
use super::{Call, Importer, Value};
use crate::function::{Function, erf};
use crate::graph::{Op, ValueId};

/// Samples reach from -REACH to REACH, STEPS to a unit.
const REACH: i32 = 8;
const STEPS: i32 = 8;

/// Exporters write constants like sqrt(2) in float32.
const TOLERANCE: f64 = 1e-5;

/// A value that is a function of one other value.
#[derive(Debug)]
pub(super) struct Curve {
    root: ValueId,
    samples: Vec<f64>,
    made_by: String,
}

impl Curve {
    fn of(root: ValueId) -> Curve {
        let points = -REACH * STEPS..=REACH * STEPS;
        let samples = points.map(|point| f64::from(point) / f64::from(STEPS)).collect();
        Curve { root, samples, made_by: String::new() }
    }

    /// Why it cannot be used as a value.
    pub fn refusal(&self) -> Refusal {
        let hint = "export Gelu, or use another activation; of Erf, Pow and products of values only Gelu is recognised";
        Refusal::unsupported(format!("it reads {}, which is not supported by itself", self.made_by), hint)
    }

    fn equals(&self, wanted: impl Iterator<Item = f64>) -> bool {
        self.samples.iter().zip(wanted).all(|(a, b)| (a - b).abs() < TOLERANCE)
    }
}

impl Importer<'_> {
    fn curve(&self, value: &Value) -> Option<Rc<Curve>> {
        match value {
            Value::Data(value) => Some(self.curves.get(value).cloned().unwrap_or_else(|| Rc::new(Curve::of(*value)))),
            Value::Curve(curve) => Some(curve.clone()),
            _ => None,
        }
    }

    /// Remembers that layer `value` is `scale` times `x` plus `shift`.
    pub fn remember_line(&mut self, value: &Value, x: ValueId, scale: f32, shift: f32) {
        let (Value::Data(value), Some(from)) = (value, self.curve(&Value::Data(x))) else { return };
        let samples = from.samples.iter().map(|x| x * f64::from(scale) + f64::from(shift)).collect();
        self.curves.insert(*value, Rc::new(Curve { root: from.root, samples, made_by: String::new() }));
    }

    /// The function that a curve is, of whichever value that is known on the way to it.
    fn finish(&mut self, call: &Call<'_>, root: ValueId, samples: Vec<f64>) -> Result<Value, Refusal> {
        let made_by = format!("\"{}\" ({})", call.name, call.proto.op_type());
        let curve = Curve { root, samples, made_by };
        let start = (root, Rc::new(Curve::of(root)));
        let known = self.curves.iter().filter(|(_, known)| known.root == root).map(|(value, c)| (*value, c.clone()));
        // In the order of layers: the map has none.
        let mut known: Vec<_> = std::iter::once(start).chain(known).collect();
        known.sort_by_key(|(value, _)| *value);
        for (value, at) in known {
            for function in [Function::Gelu, Function::GeluTanh] {
                if curve.equals(at.samples.iter().map(|&x| function.of(x))) {
                    let shape = self.shape(value).to_vec();
                    return Ok(self.push(&call.name, Op::Function(function), vec![value], shape)?);
                }
            }
        }
        Ok(Value::Curve(Rc::new(curve)))
    }
}

/// Sum, difference, product or quotient where a curve or a product of values is involved; none where there is nothing
/// of that kind.
pub(super) fn binary(
    importer: &mut Importer<'_>,
    call: &Call<'_>,
    always: bool,
    of: fn(f64, f64) -> f64,
) -> Result<Option<Value>, Refusal> {
    let (a, b) = (call.needed(0)?.clone(), call.needed(1)?.clone());
    let involved = matches!(a, Value::Curve(_)) || matches!(b, Value::Curve(_));
    let both = matches!((&a, &b), (Value::Data(_), Value::Data(_)));
    if !(involved || always && both) {
        return Ok(None);
    }
    let product = || {
        let reason = format!("{} of two values that depend on the input", call.proto.op_type());
        Refusal::unsupported(reason, "one side must be a constant of the file; of products only Gelu is recognised")
    };
    let scalar = |constant: &Constant| constant.scalar().map(f64::from).ok_or_else(product);
    let (root, samples) = match (importer.curve(&a), importer.curve(&b), &a, &b) {
        (Some(a), Some(b), ..) if a.root == b.root => {
            (a.root, a.samples.iter().zip(&b.samples).map(|(&a, &b)| of(a, b)).collect())
        }
        (Some(a), _, _, Value::Constant(b)) => {
            let b = scalar(b)?;
            (a.root, a.samples.iter().map(|&a| of(a, b)).collect())
        }
        (_, Some(b), Value::Constant(a), _) => {
            let a = scalar(a)?;
            (b.root, b.samples.iter().map(|&b| of(a, b)).collect())
        }
        _ => return Err(product()),
    };
    importer.finish(call, root, samples).map(Some)
}

/// A function of a curve, or one that makes a curve of a value (`always`); none for other values.
pub(super) fn unary(
    importer: &mut Importer<'_>,
    call: &Call<'_>,
    always: bool,
    of: impl Fn(f64) -> f64,
) -> Result<Option<Value>, Refusal> {
    let x = call.needed(0)?.clone();
    if !always && !matches!(x, Value::Curve(_)) {
        return Ok(None);
    }
    let Some(curve) = importer.curve(&x) else { return Err(call.data(0).expect_err("no value of the input")) };
    let samples = curve.samples.iter().map(|&x| of(x)).collect();
    importer.finish(call, curve.root, samples).map(Some)
}

/// Erf: supported as a part of Gelu.
pub(super) fn erf_node(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
    Ok(unary(importer, call, true, erf)?.expect("every value has a curve"))
}

/// Pow with a constant exponent: supported as a part of Gelu.
pub(super) fn pow(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
    let exponent = call
        .constant(1, "exponent")?
        .scalar()
        .ok_or_else(|| Refusal::unsupported("its exponents are not one number", "of powers only Gelu is recognised"))?;
    Ok(unary(importer, call, true, |x| x.powf(exponent.into()))?.expect("every value has a curve"))
}
