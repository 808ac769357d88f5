//! Readers for IDX, npy and images, and their preprocessing.
//!
//! [`load`] reads a file or folder into [`Items`], [`Items::fit`] gives them a model's shape. Bytes become numbers as
//! x = (byte / scale - mean_c) / std_c; files that hold floats are taken as they are. [`bundled`] holds images, labels
//! and a small network that come with the program. Nothing is allocated from a length that a file declares before the
//! file has shown that it is that long.

pub mod bundled;
mod error;
mod idx;
mod images;
mod items;
mod labels;
mod npy;
mod preprocess;
mod source;

use std::path::Path;

pub use error::DataError;
pub use items::{Items, check_range};
pub use labels::load_labels;
pub use preprocess::Preprocess;

use source::{Kind, Source};

/// Reads items from an IDX file (also gzip'd), an npy file, a PNG or JPEG file, or a folder of these images.
///
/// At most `limit` items, the first ones; those of a folder in the order of their whole relative paths. Items of an npy
/// file with floats are taken as they are, without `preprocess`.
pub fn load(path: &Path, preprocess: &Preprocess, limit: Option<usize>) -> Result<Items, DataError> {
    preprocess.check()?;
    if path.is_dir() {
        return images::folder(path, preprocess, limit);
    }
    let source = Source::open(path)?;
    match source.kind {
        Kind::Idx => preprocess.apply(path, idx::read(source, limit)?),
        Kind::Npy => npy::items(source, preprocess, limit),
        Kind::Image => images::file(path, preprocess, limit),
        Kind::Text => Err(DataError::format(path, "it is none of IDX, npy, PNG and JPEG", "convert it to one of them")),
    }
}
