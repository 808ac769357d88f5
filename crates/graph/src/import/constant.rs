//! Weights and other constants: from the file's tensors to numbers, nothing allocated before the bytes are there.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path};

use super::ImportError;
use super::shape::checked_len;
use crate::onnx::TensorProto;

/// A constant tensor.
#[derive(Clone, Debug)]
pub(super) struct Constant {
    pub name: String,
    pub shape: Vec<usize>,
    pub numbers: Numbers,
}

/// Its elements, row-major.
#[derive(Clone, Debug)]
pub(super) enum Numbers {
    Float(Vec<f32>),
    Int(Vec<i64>),
}

impl Numbers {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Numbers::Float(values) => values.len(),
            Numbers::Int(values) => values.len(),
        }
    }
}

const FLOAT: i32 = 1;
const INT32: i32 = 6;
const INT64: i32 = 7;
const BOOL: i32 = 9;
const DOUBLE: i32 = 11;
const EXTERNAL: i32 = 1;

/// Reads a tensor of the file; external data lies in files below `folder`.
pub(super) fn constant(tensor: &TensorProto, name: &str, folder: Option<&Path>) -> Result<Constant, ImportError> {
    let shape = dimensions(tensor, name)?;
    let count = checked_len(&shape, || format!("tensor \"{name}\""))?;
    let kind = tensor.data_type.unwrap_or(0);
    let width = match kind {
        FLOAT | INT32 => 4,
        INT64 | DOUBLE => 8,
        BOOL => 1,
        other => {
            return Err(ImportError::DataType { tensor: name.into(), data_type: type_name(other) });
        }
    };
    let bytes = if tensor.data_location == Some(EXTERNAL) {
        Some(external(tensor, name, folder, count * width)?)
    } else {
        tensor.raw_data.clone()
    };
    let held = match (&bytes, kind) {
        (Some(bytes), _) => {
            expect_bytes(name, count * width, bytes.len())?;
            count
        }
        (None, FLOAT) => tensor.float_data.len(),
        (None, INT32 | BOOL) => tensor.int32_data.len(),
        (None, INT64) => tensor.int64_data.len(),
        (None, _) => tensor.double_data.len(),
    };
    if held != count {
        let (declared, held) = (format!("{count} elements"), format!("{held}"));
        return Err(ImportError::Data { tensor: name.into(), declared, held });
    }
    let numbers = match (kind, bytes) {
        (FLOAT, Some(bytes)) => Numbers::Float(words(&bytes).map(f32::from_le_bytes).collect()),
        (FLOAT, None) => Numbers::Float(tensor.float_data.clone()),
        (DOUBLE, Some(bytes)) => Numbers::Float(words(&bytes).map(|word| f64::from_le_bytes(word) as f32).collect()),
        (DOUBLE, None) => Numbers::Float(tensor.double_data.iter().map(|&x| x as f32).collect()),
        (INT32, Some(bytes)) => Numbers::Int(words(&bytes).map(|word| i32::from_le_bytes(word).into()).collect()),
        (INT32 | BOOL, None) => Numbers::Int(tensor.int32_data.iter().map(|&x| x.into()).collect()),
        (BOOL, Some(bytes)) => Numbers::Int(bytes.iter().map(|&byte| byte.into()).collect()),
        (_, Some(bytes)) => Numbers::Int(words(&bytes).map(i64::from_le_bytes).collect()),
        (_, None) => Numbers::Int(tensor.int64_data.clone()),
    };
    let constant = Constant { name: name.into(), shape, numbers };
    constant.check_finite()?;
    Ok(constant)
}

impl Constant {
    /// Refuses NaN and infinities.
    pub fn check_finite(&self) -> Result<(), ImportError> {
        let Numbers::Float(values) = &self.numbers else {
            return Ok(());
        };
        match values.iter().position(|x| !x.is_finite()) {
            None => Ok(()),
            Some(index) => Err(ImportError::NotFinite { tensor: self.name.clone(), index, value: values[index] }),
        }
    }

    /// Its floats.
    pub fn floats(&self) -> Option<&[f32]> {
        match &self.numbers {
            Numbers::Float(values) => Some(values),
            Numbers::Int(_) => None,
        }
    }

    /// Its integers.
    pub fn integers(&self) -> Option<&[i64]> {
        match &self.numbers {
            Numbers::Int(values) => Some(values),
            Numbers::Float(_) => None,
        }
    }

    /// The same elements with axes in another order.
    pub fn transposed(&self, order: &[usize]) -> Constant {
        let shape: Vec<usize> = order.iter().map(|&axis| self.shape[axis]).collect();
        let mut strides = vec![1usize; self.shape.len()];
        for axis in (1..strides.len()).rev() {
            // Beside an axis of size 0 the others may be of any size; nothing is read then.
            strides[axis - 1] = strides[axis].saturating_mul(self.shape[axis]);
        }
        let source = |mut index: usize| {
            let mut place = 0;
            for (&axis, &size) in order.iter().zip(&shape).rev() {
                place += index % size * strides[axis];
                index /= size;
            }
            place
        };
        let numbers = match &self.numbers {
            Numbers::Float(values) => Numbers::Float((0..values.len()).map(|i| values[source(i)]).collect()),
            Numbers::Int(values) => Numbers::Int((0..values.len()).map(|i| values[source(i)]).collect()),
        };
        Constant { name: self.name.clone(), shape, numbers }
    }
}

fn dimensions(tensor: &TensorProto, name: &str) -> Result<Vec<usize>, ImportError> {
    let size = |&dim: &i64| {
        usize::try_from(dim).map_err(|_| ImportError::Data {
            tensor: name.into(),
            declared: format!("the dimension {dim}"),
            held: "no such thing".into(),
        })
    };
    tensor.dims.iter().map(size).collect()
}

fn expect_bytes(name: &str, declared: usize, held: usize) -> Result<(), ImportError> {
    if declared == held {
        return Ok(());
    }
    let (declared, held) = (format!("{declared} bytes"), format!("{held}"));
    Err(ImportError::Data { tensor: name.into(), declared, held })
}

fn words<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> + '_ {
    bytes.as_chunks::<N>().0.iter().copied()
}

/// Reads external data: a file in the model's folder or below it, links followed before that is decided.
fn external(tensor: &TensorProto, name: &str, folder: Option<&Path>, len: usize) -> Result<Vec<u8>, ImportError> {
    let refuse = |reason: String| ImportError::External { tensor: name.into(), reason };
    let entry = |key: &str| {
        tensor.external_data.iter().find(|entry| entry.key.as_deref() == Some(key)).and_then(|e| e.value.as_deref())
    };
    let number = |key: &str| match entry(key) {
        None => Ok(None),
        Some(text) => text
            .parse::<u64>()
            .map(Some)
            .map_err(|_| refuse(format!("its {key} \"{text}\" is no number; export again"))),
    };
    let location = entry("location").ok_or_else(|| refuse("it names no file; export the model again".into()))?;
    let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
    let folder = folder.ok_or_else(|| refuse("the model was not read from a folder; export it as one file".into()))?;
    let outside = || refuse(format!("\"{location}\" lies outside the model's folder; put the file beside the model"));
    if !Path::new(location).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
        return Err(outside());
    }
    let unreadable =
        |e: std::io::Error| refuse(format!("cannot read \"{location}\" ({e}); put the file beside the model"));
    let folder = folder.canonicalize().map_err(unreadable)?;
    let path = folder.join(location).canonicalize().map_err(unreadable)?;
    if !path.starts_with(&folder) {
        return Err(outside());
    }
    let mut file = File::open(&path).map_err(unreadable)?;
    let size = file.metadata().map_err(unreadable)?.len();
    let available = size.saturating_sub(offset);
    expect_bytes(name, len, length.map_or(len, |length| usize::try_from(length).unwrap_or(usize::MAX)))?;
    if (len as u64) > available {
        let (declared, held) = (format!("{len} bytes at {offset} of \"{location}\""), format!("{available}"));
        return Err(ImportError::Data { tensor: name.into(), declared, held });
    }
    let mut bytes = vec![0; len];
    file.seek(SeekFrom::Start(offset)).and_then(|_| file.read_exact(&mut bytes)).map_err(unreadable)?;
    Ok(bytes)
}

/// ONNX's name of an element type.
pub(super) fn type_name(kind: i32) -> String {
    const NAMES: [&str; 17] = [
        "UNDEFINED",
        "FLOAT",
        "UINT8",
        "INT8",
        "UINT16",
        "INT16",
        "INT32",
        "INT64",
        "STRING",
        "BOOL",
        "FLOAT16",
        "DOUBLE",
        "UINT32",
        "UINT64",
        "COMPLEX64",
        "COMPLEX128",
        "BFLOAT16",
    ];
    usize::try_from(kind).ok().and_then(|kind| NAMES.get(kind)).map_or(format!("number {kind}"), |name| (*name).into())
}
