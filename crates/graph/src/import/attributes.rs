//! A node's attributes, read with their types.

use super::Refusal;
use super::error::ImportError;
use super::shape::MAX_VALUES;
use crate::onnx::{AttributeProto, NodeProto};

/// Attributes of one node.
pub(super) struct Attributes<'m> {
    node: &'m NodeProto,
    name: String,
}

const FLOAT: i32 = 1;
const INT: i32 = 2;
const STRING: i32 = 3;
const INTS: i32 = 7;

impl<'m> Attributes<'m> {
    pub fn new(node: &'m NodeProto, name: &str) -> Result<Self, ImportError> {
        let attributes = Attributes { node, name: name.into() };
        for (index, one) in node.attribute.iter().enumerate() {
            if node.attribute[..index].iter().any(|other| other.name() == one.name()) {
                return Err(attributes.invalid(format!("attribute \"{}\" stands there twice", one.name())));
            }
        }
        Ok(attributes)
    }

    /// Refuses attributes whose meaning is not known.
    pub fn allow(&mut self, known: &[&str]) -> Result<(), Refusal> {
        match self.node.attribute.iter().find(|a| !known.contains(&a.name())) {
            None => Ok(()),
            Some(other) => Err(Refusal::unsupported(
                format!("attribute \"{}\" is not known", other.name()),
                "export with opset_version=13",
            )),
        }
    }

    /// The attribute itself.
    pub fn get(&self, name: &str) -> Option<&'m AttributeProto> {
        self.node.attribute.iter().find(|attribute| attribute.name() == name)
    }

    fn typed(&self, name: &str, kind: i32) -> Result<Option<&'m AttributeProto>, ImportError> {
        let Some(attribute) = self.get(name) else {
            return Ok(None);
        };
        if attribute.r#type.is_none_or(|found| found == kind || found == 0) {
            return Ok(Some(attribute));
        }
        Err(self.invalid(format!("attribute \"{name}\" has the wrong type")))
    }

    pub fn int(&self, name: &str, default: i64) -> Result<i64, ImportError> {
        Ok(self.typed(name, INT)?.map_or(default, |attribute| attribute.i()))
    }

    /// A switch, 0 or 1.
    pub fn flag(&self, name: &str, default: bool) -> Result<bool, ImportError> {
        Ok(self.int(name, default.into())? != 0)
    }

    /// A finite number.
    pub fn float(&self, name: &str, default: f32) -> Result<f32, ImportError> {
        let value = self.typed(name, FLOAT)?.map_or(default, |attribute| attribute.f());
        if value.is_finite() { Ok(value) } else { Err(self.invalid(format!("attribute \"{name}\" is {value}"))) }
    }

    pub fn string(&self, name: &str, default: &str) -> Result<String, ImportError> {
        let text = self.typed(name, STRING)?.map(|attribute| String::from_utf8_lossy(attribute.s()).into_owned());
        Ok(text.unwrap_or_else(|| default.into()))
    }

    pub fn ints(&self, name: &str) -> Result<Option<&'m [i64]>, ImportError> {
        Ok(self.typed(name, INTS)?.map(|attribute| attribute.ints.as_slice()))
    }

    /// `N` sizes, each from `least` to the greatest that a shape may have.
    pub fn sizes<const N: usize>(&self, name: &str, default: usize, least: usize) -> Result<[usize; N], ImportError> {
        let Some(values) = self.ints(name)? else {
            return Ok([default; N]);
        };
        let values: &[i64; N] = values
            .try_into()
            .map_err(|_| self.invalid(format!("attribute \"{name}\" has {} values, {N} are needed", values.len())))?;
        let mut sizes = [0; N];
        for (size, &value) in sizes.iter_mut().zip(values) {
            let fits = usize::try_from(value).ok().filter(|size| (least..=MAX_VALUES).contains(size));
            *size = fits.ok_or_else(|| self.invalid(format!("attribute \"{name}\" holds {value}")))?;
        }
        Ok(sizes)
    }

    /// The error of a node that contradicts itself.
    pub fn invalid(&self, reason: impl Into<String>) -> ImportError {
        let operator = self.node.op_type().to_string();
        ImportError::Invalid { node: self.name.clone(), operator, reason: reason.into() }
    }
}
