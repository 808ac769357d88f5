//! npy, the format of NumPy: magic, version, length, a dictionary literal, elements.

use std::path::{Path, PathBuf};

use crate::preprocess::{Bytes, Preprocess};
use crate::source::Source;
use crate::{Choice, DataError, Items, Pixels};

/// Headers are padded to a few hundred bytes; this is far above.
const MOST_HEADER: usize = 1 << 16;

/// The chosen items: bytes through `preprocess`, floats as they are.
pub(crate) fn items(
    mut source: Source,
    preprocess: &Preprocess,
    pixels: &Pixels,
    choice: Choice,
) -> Result<Items, DataError> {
    let header = Header::read(&mut source)?;
    let (_, shape) = header.shape.split_first().ok_or_else(|| header.refuse("it holds one number, no items"))?;
    let shape = shape.to_vec();
    if header.kind == 'u' {
        pixels.none(&source.path)?;
    }
    let (bytes, taken) = header.elements(&mut source, choice)?;
    let values = match (header.kind, header.width) {
        ('u', 1) => {
            return preprocess.apply(&source.path, Bytes { shape, bytes, count: taken });
        }
        ('f', 4) => header.words(&bytes).map(f32::from_le_bytes).collect(),
        ('f', 8) => header.words(&bytes).map(|word| f64::from_le_bytes(word) as f32).collect(),
        _ => {
            return Err(header.refuse(format!("its elements are of type '{}{}'", header.kind, header.width)));
        }
    };
    Ok(Items { shape, values, count: taken })
}

/// The first `limit` integers of a file of one axis.
pub(crate) fn integers(mut source: Source, limit: Option<usize>) -> Result<Vec<i64>, DataError> {
    let header = Header::read(&mut source)?;
    let [_] = header.shape.as_slice() else {
        let reason = format!("labels have one axis, it has the shape {:?}", header.shape);
        return Err(header.refuse(reason));
    };
    let (bytes, _) = header.elements(&mut source, limit.into())?;
    Ok(match (header.kind, header.width) {
        ('u', 1) => bytes.iter().map(|&byte| byte.into()).collect(),
        ('i', 1) => bytes.iter().map(|&byte| (byte as i8).into()).collect(),
        ('i', 2) => header.words(&bytes).map(|word| i16::from_le_bytes(word).into()).collect(),
        ('u', 2) => header.words(&bytes).map(|word| u16::from_le_bytes(word).into()).collect(),
        ('i', 4) => header.words(&bytes).map(|word| i32::from_le_bytes(word).into()).collect(),
        ('u', 4) => header.words(&bytes).map(|word| u32::from_le_bytes(word).into()).collect(),
        ('i', 8) => header.words(&bytes).map(i64::from_le_bytes).collect(),
        _ => {
            return Err(header.refuse(format!("labels are integers, not '{}{}'", header.kind, header.width)));
        }
    })
}

/// What stands before the elements.
struct Header {
    path: PathBuf,
    kind: char,
    width: usize,
    big_endian: bool,
    column_major: bool,
    shape: Vec<usize>,
}

impl Header {
    fn read(source: &mut Source) -> Result<Header, DataError> {
        let path = source.path.clone();
        let refuse = |reason: &str| DataError::format(&path, reason, "write it again with numpy.save");
        let start = source.take(8)?;
        let len = match start[6] {
            1 => source.take(2)?.iter().rev().fold(0, |len, &byte| len << 8 | usize::from(byte)),
            2 | 3 => source.take(4)?.iter().rev().fold(0, |len, &byte| len << 8 | usize::from(byte)),
            _ => return Err(refuse("its version of the format is not known")),
        };
        if len > MOST_HEADER {
            return Err(refuse("its header is too long"));
        }
        let text = String::from_utf8(source.take(len)?).map_err(|_| refuse("its header is no text"))?;
        let header = parse(&path, &text).ok_or_else(|| refuse("its header is not understood"))?;
        if header.column_major && header.shape.len() > 1 {
            let advice = "save numpy.ascontiguousarray of it";
            return Err(DataError::format(&path, "its elements lie in column-major order", advice));
        }
        Ok(header)
    }

    /// Bytes of the chosen items, and how many these are, after a look at the length of the file.
    fn elements(&self, source: &mut Source, choice: Choice) -> Result<(Vec<u8>, usize), DataError> {
        let overflow = || self.refuse(format!("its shape {:?} overflows", self.shape));
        let whole = self.shape.iter().try_fold(self.width, |len, &size| len.checked_mul(size)).ok_or_else(overflow)?;
        if whole == 0 {
            return Err(self.refuse(format!("its shape {:?} holds nothing", self.shape)));
        }
        if whole as u64 > source.most {
            let (declared, held) = (whole as u64, format!("at most {}", source.most));
            return Err(DataError::Length { path: self.path.clone(), declared, held });
        }
        let places = choice.of(self.shape[0]);
        let taken = places.iter().map(ExactSizeIterator::len).sum();
        let bytes = source.pick(whole / self.shape[0], &places)?;
        if taken == self.shape[0] {
            source.end(whole as u64)?;
        }
        Ok((bytes, taken))
    }

    /// Elements as little-endian words.
    fn words<'b, const N: usize>(&self, bytes: &'b [u8]) -> impl Iterator<Item = [u8; N]> + 'b {
        let swap = self.big_endian;
        bytes.as_chunks::<N>().0.iter().map(move |&(mut word)| {
            if swap {
                word.reverse();
            }
            word
        })
    }

    fn refuse(&self, reason: impl Into<String>) -> DataError {
        let advice = "give an array [items, ...] of uint8, float32 or float64, labels as integers";
        DataError::format(&self.path, reason, advice)
    }
}

/// `{'descr': '<f4', 'fortran_order': False, 'shape': (60, 28, 28), }`
fn parse(path: &Path, text: &str) -> Option<Header> {
    let after = |key: &str| {
        let place = text.find(&format!("'{key}'"))? + key.len() + 2;
        text[place..].trim_start().strip_prefix(':').map(str::trim_start)
    };
    let descr = after("descr")?.strip_prefix('\'')?.split_once('\'')?.0;
    let mut signs = descr.chars();
    let (order, kind) = (signs.next()?, signs.next()?);
    let width = signs.as_str().parse().ok().filter(|width| [1, 2, 4, 8].contains(width))?;
    let big_endian = match order {
        '<' | '|' | '=' => false,
        '>' => true,
        _ => return None,
    };
    let column_major = match after("fortran_order")? {
        rest if rest.starts_with("False") => false,
        rest if rest.starts_with("True") => true,
        _ => return None,
    };
    let axes = after("shape")?.strip_prefix('(')?.split_once(')')?.0;
    let sizes = axes.split(',').map(str::trim).filter(|size| !size.is_empty());
    let shape = sizes.map(|size| size.parse().ok()).collect::<Option<Vec<usize>>>()?;
    Some(Header { path: path.into(), kind, width, big_endian, column_major, shape })
}
