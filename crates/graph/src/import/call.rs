//! One node of the file, ready to be taken over: its inputs and attributes by what they must be.

use std::rc::Rc;

use super::Value;
use super::attributes::Attributes;
use super::constant::{Constant, Numbers};
use super::error::Refusal;
use super::shape::AutoPad;
use crate::graph::ValueId;
use crate::onnx::NodeProto;

pub(super) struct Call<'m> {
    pub proto: &'m NodeProto,
    pub name: String,
    pub inputs: Vec<Option<Value>>,
    pub attributes: Attributes<'m>,
}

impl Call<'_> {
    /// Input number `index`, which the operator needs.
    pub fn needed(&self, index: usize) -> Result<&Value, Refusal> {
        let missing = || Refusal::Fatal(self.attributes.invalid(format!("input {index} is missing")));
        self.optional(index).ok_or_else(missing)
    }

    /// Input number `index`, if it is given.
    pub fn optional(&self, index: usize) -> Option<&Value> {
        self.inputs.get(index).and_then(Option::as_ref)
    }

    /// An input that depends on the graph's input.
    pub fn data(&self, index: usize) -> Result<ValueId, Refusal> {
        match self.needed(index)? {
            Value::Data(value) => Ok(*value),
            Value::LogSoftmax(_) => Err(Refusal::unsupported(
                "it follows a LogSoftmax",
                "LogSoftmax is supported at the end of the model only, where the receiver computes it",
            )),
            Value::Curve(curve) => Err(curve.refusal()),
            Value::Constant(_) | Value::Unknown | Value::Several(_) => Err(Refusal::unsupported(
                "all its inputs are constants",
                "fold constants before exporting (do_constant_folding)",
            )),
        }
    }

    /// An input that is a constant.
    pub fn constant(&self, index: usize, what: &str) -> Result<Rc<Constant>, Refusal> {
        match self.needed(index)? {
            Value::Constant(constant) => Ok(constant.clone()),
            _ => Err(Refusal::unsupported(
                format!("its {what} depends on the input of the model"),
                "only constants of the file can stand there",
            )),
        }
    }

    /// Integers that newer operator sets give as input number `index` and older ones as an attribute; none if neither.
    pub fn integers(&self, index: usize, attribute: &str) -> Result<Option<Vec<i64>>, Refusal> {
        if self.optional(index).is_none() {
            return Ok(self.attributes.ints(attribute)?.map(<[i64]>::to_vec));
        }
        let constant = self.constant(index, attribute)?;
        let integers = constant.integers().map(<[i64]>::to_vec);
        let wrong = || self.attributes.invalid(format!("its {attribute} is not made of integers"));
        Ok(Some(integers.ok_or_else(wrong)?))
    }

    /// A number that newer operator sets give as input number `index` and older ones as an attribute; none if neither.
    pub fn number(&self, index: usize, attribute: &str) -> Result<Option<f32>, Refusal> {
        if self.optional(index).is_none() {
            let given = self.attributes.get(attribute).is_some();
            return Ok(if given { Some(self.attributes.float(attribute, 0.0)?) } else { None });
        }
        let constant = self.constant(index, attribute)?;
        let number = constant.scalar();
        let wrong = || self.attributes.invalid(format!("its {attribute} is not one number"));
        Ok(Some(number.ok_or_else(wrong)?))
    }

    /// The floats of a constant.
    pub fn floats<'c>(&self, constant: &'c Constant) -> Result<&'c [f32], Refusal> {
        let wrong = || Refusal::Fatal(self.attributes.invalid(format!("\"{}\" holds integers", constant.name)));
        constant.floats().ok_or_else(wrong)
    }

    /// Name of the first output.
    pub fn output(&self) -> &str {
        self.proto.output.first().map_or("", String::as_str)
    }

    /// Axis `axis`, counted from the end where negative, of `rank`.
    pub fn axis(&self, axis: i64, rank: usize) -> Result<usize, Refusal> {
        let place = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
        let found = usize::try_from(place).ok().filter(|&place| place < rank);
        found.ok_or_else(|| self.attributes.invalid(format!("axis {axis} does not exist in {rank} axes")).into())
    }

    /// An axis of an item, of `rank` axes behind the batch axis.
    pub fn item_axis(&self, axis: i64, rank: usize) -> Result<usize, Refusal> {
        let mixes = || {
            let hint = "only axes of an item can be worked on, the batch axis 0 stays";
            Refusal::unsupported("it works along the batch axis", hint)
        };
        self.axis(axis, rank + 1)?.checked_sub(1).ok_or_else(mixes)
    }

    /// Padding as convolutions and poolings give it: top, left, bottom, right.
    pub fn padding(&self) -> Result<(AutoPad, [usize; 4]), Refusal> {
        let auto = match self.attributes.string("auto_pad", "NOTSET")?.as_str() {
            "NOTSET" | "" => AutoPad::NotSet,
            "SAME_UPPER" => AutoPad::SameUpper,
            "SAME_LOWER" => AutoPad::SameLower,
            "VALID" => AutoPad::Valid,
            other => {
                return Err(self.attributes.invalid(format!("auto_pad \"{other}\" does not exist")).into());
            }
        };
        if self.attributes.ints("pads")?.is_some_and(|pads| pads.iter().any(|&pad| pad < 0)) {
            return Err(Refusal::unsupported("negative padding", "crop the images before the model"));
        }
        Ok((auto, self.attributes.sizes("pads", 0, 0)?))
    }
}

impl Constant {
    /// Its only element, as a float.
    pub fn scalar(&self) -> Option<f32> {
        match &self.numbers {
            Numbers::Float(values) => values.first().copied().filter(|_| values.len() == 1),
            Numbers::Int(values) => values.first().map(|&value| value as f32).filter(|_| values.len() == 1),
        }
    }
}

/// The refusal of an input without channels, height and width.
pub(super) fn not_an_image(shape: &[usize]) -> Refusal {
    let reason = format!("its input has {} axes besides the batch, not channels, height, width", shape.len());
    Refusal::unsupported(reason, "only two-dimensional images are supported")
}
