//! IDX, the format of MNIST: two zero bytes, element type, number of axes, big-endian sizes, elements.

use crate::preprocess::Bytes;
use crate::source::Source;
use crate::{Choice, DataError};

const UBYTE: u8 = 8;

/// The chosen items; the first axis counts them.
pub(crate) fn read(mut source: Source, choice: Choice) -> Result<Bytes, DataError> {
    let path = source.path.clone();
    let refuse = |reason: String, advice: &str| DataError::format(&path, reason, advice);
    let start = source.take(4)?;
    if start[2] != UBYTE {
        return Err(refuse(format!("its elements have type {:#04x}", start[2]), "only unsigned bytes (0x08) are read"));
    }
    let axes = usize::from(start[3]);
    if axes == 0 || axes > 4 {
        return Err(refuse(format!("it has {axes} axes"), "give items of one to three axes"));
    }
    let sizes: Vec<usize> =
        source.take(4 * axes)?.as_chunks::<4>().0.iter().map(|&size| u32::from_be_bytes(size) as usize).collect();
    let (count, shape) = (sizes[0], sizes[1..].to_vec());
    if sizes.contains(&0) {
        return Err(refuse(format!("it declares the sizes {sizes:?} and so no items"), "give at least one item"));
    }
    let too_many = || refuse(format!("its sizes {sizes:?} overflow"), "fetch it again");
    let item = shape.iter().try_fold(1usize, |len, &size| len.checked_mul(size)).ok_or_else(too_many)?;
    let whole = item.checked_mul(count).ok_or_else(too_many)?;
    if whole as u64 > source.most {
        let held = format!("at most {}", source.most);
        return Err(DataError::Length { path, declared: whole as u64, held });
    }
    let places = choice.of(count);
    let taken = places.iter().map(ExactSizeIterator::len).sum();
    let bytes = source.pick(item, &places)?;
    if taken == count {
        source.end(whole as u64)?;
    }
    Ok(Bytes { shape, bytes, count: taken })
}
