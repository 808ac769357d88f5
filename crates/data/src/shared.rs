//! Whether two inputs have a file in common.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::source::Source;
use crate::{Choice, DataError, images};

/// Bytes that are compared at once.
const PIECE: usize = 1 << 16;

/// A file that is read of `a` and whose content, unpacked, also `b` holds: as that file, or among a folder's images.
pub fn shared(a: &Path, choice: Choice, b: &Path) -> Result<Option<PathBuf>, DataError> {
    if !a.is_dir() && !b.is_dir() {
        return Ok(equal(a, b)?.then(|| a.to_path_buf()));
    }
    let mut by_length: BTreeMap<u64, Vec<PathBuf>> = BTreeMap::new();
    for file in members(b)? {
        by_length.entry(length(&file)?).or_default().push(file);
    }
    let files = members(a)?;
    for file in choice.of(files.len()).into_iter().flatten().map(|place| &files[place]) {
        for other in by_length.get(&length(file)?).into_iter().flatten() {
            if equal(file, other)? {
                return Ok(Some(file.clone()));
            }
        }
    }
    Ok(None)
}

fn members(path: &Path) -> Result<Vec<PathBuf>, DataError> {
    if path.is_dir() { images::files(path) } else { Ok(vec![path.to_path_buf()]) }
}

fn length(path: &Path) -> Result<u64, DataError> {
    std::fs::metadata(path).map(|data| data.len()).map_err(DataError::read(path))
}

/// Whether two files have the same content; it is read as far as it agrees.
fn equal(a: &Path, b: &Path) -> Result<bool, DataError> {
    let (mut a, mut b) = (Source::open(a)?, Source::open(b)?);
    loop {
        let piece = a.up_to(PIECE)?;
        if piece != b.up_to(PIECE)? {
            return Ok(false);
        }
        if piece.is_empty() {
            return Ok(true);
        }
    }
}
