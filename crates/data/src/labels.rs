//! Labels: IDX, npy, text with one number a line, those of a CIFAR-10 file, or the class folders of images.

use std::path::Path;

use crate::source::{Kind, Source};
use crate::{Choice, DataError, cifar, idx, images, npy};

/// The longest text of labels that is read: a hundred million bytes.
const MOST_TEXT: u64 = 100_000_000;

/// The first `limit` labels of an IDX file (also gzip'd), an npy file of integers, a text with one number a line, or a
/// CIFAR-10 file.
pub fn load_labels(path: &Path, limit: Option<usize>) -> Result<Vec<usize>, DataError> {
    let source = Source::open(path)?;
    if cifar::is_named(path) && source.kind.is_unsaid() {
        return cifar::labels(source, limit);
    }
    match source.kind {
        Kind::Idx => {
            let labels = idx::read(source, Choice::from(limit))?;
            if labels.shape.is_empty() {
                return Ok(labels.bytes.into_iter().map(usize::from).collect());
            }
            let reason = format!("its items have the shape {:?}, a label is one number", labels.shape);
            Err(DataError::format(path, reason, "name the file of labels, not that of images"))
        }
        Kind::Npy => npy::integers(source, limit)?.into_iter().enumerate().map(|(i, n)| label(path, i, n)).collect(),
        Kind::Text => text(path, source, limit),
        Kind::Image => Err(DataError::format(path, "it is an image", "name a file of labels")),
    }
}

/// The labels that items bring along: those of a CIFAR-10 file. None for other items.
pub fn own_labels(input: &Path, limit: Option<usize>) -> Result<Option<Vec<usize>>, DataError> {
    if cifar::is_named(input) && !input.is_dir() {
        return load_labels(input, limit).map(Some);
    }
    Ok(None)
}

/// Labels of the first `limit` images below a folder of class folders: classes are counted from 0 in the order of the
/// folders' names, images come in the order of [`load`](crate::load).
pub fn folder_labels(input: &Path, limit: Option<usize>) -> Result<Vec<usize>, DataError> {
    if !input.is_dir() {
        let advice = "name a folder with one folder a class, or give a file of labels";
        return Err(DataError::format(input, "it has no class folders", advice));
    }
    images::classes(input, limit)
}

fn text(path: &Path, mut source: Source, limit: Option<usize>) -> Result<Vec<usize>, DataError> {
    let not_text = |_| DataError::format(path, "it is none of IDX, npy and text", "give one label a line");
    let text = String::from_utf8(source.rest(MOST_TEXT)?).map_err(not_text)?;
    let lines = text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty());
    let numbers = lines.take(limit.unwrap_or(usize::MAX)).map(|(index, line)| {
        let reason = || format!("line {} is \"{line}\", not a label", index + 1);
        let number = line.parse().map_err(|_| DataError::format(path, reason(), "write one class number a line"))?;
        label(path, index, number)
    });
    let labels = numbers.collect::<Result<Vec<usize>, _>>()?;
    if labels.is_empty() && limit != Some(0) {
        return Err(DataError::format(path, "it holds no labels", "write one class number a line"));
    }
    Ok(labels)
}

fn label(path: &Path, index: usize, number: i64) -> Result<usize, DataError> {
    let negative = |_| DataError::format(path, format!("label {index} is {number}"), "classes are counted from 0");
    usize::try_from(number).map_err(negative)
}
