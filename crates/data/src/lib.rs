//! Readers for IDX, npy, CIFAR-10 and images, and their preprocessing.
//!
//! [`load`] reads a file or folder into [`Items`], [`Items::fit`] gives them a model's shape. Bytes become numbers as
//! x = (byte / scale - mean_c) / std_c; files that hold floats are taken as they are. [`Pixels`] says what happens to images
//! before that. [`bundled`] holds images, labels
//! and a small network that come with the program. Nothing is allocated from a length that a file declares before the
//! file has shown that it is that long.

pub mod bundled;
mod cifar;
mod error;
mod idx;
mod image_set;
mod images;
mod items;
mod labels;
mod npy;
mod pixels;
mod preprocess;
mod source;

use std::path::Path;

pub use error::DataError;
pub use image_set::ImageSet;
pub use items::{Items, check_range};
pub use labels::{folder_labels, load_labels, own_labels};
pub use pixels::{Filter, Order, Pixels};
pub use preprocess::Preprocess;

use source::{Kind, Source};

/// Reads items from an IDX file (also gzip'd), an npy file, a CIFAR-10 file (`.bin`, `.bin.gz`), a PNG or JPEG file, a
/// folder of these images, or an [`ImageSet`] (`.toml`).
///
/// At most `limit` items, the first ones; those of a folder in the order of their whole relative paths. Items of an npy
/// file with floats are taken as they are, without `preprocess`.
pub fn load(path: &Path, preprocess: &Preprocess, limit: Option<usize>) -> Result<Items, DataError> {
    if ImageSet::is_named(path) {
        let set = ImageSet::read(path)?;
        return load_images(&set.input, preprocess, &set.pixels, limit);
    }
    load_images(path, preprocess, &Pixels::default(), limit)
}

/// The same with something done to the pixels beforehand, which images and CIFAR-10 files alone have.
pub fn load_images(
    path: &Path,
    preprocess: &Preprocess,
    pixels: &Pixels,
    limit: Option<usize>,
) -> Result<Items, DataError> {
    preprocess.check()?;
    pixels.check()?;
    if path.is_dir() {
        return images::folder(path, preprocess, pixels, limit);
    }
    let source = Source::open(path)?;
    match source.kind {
        kind if cifar::is_named(path) && kind.is_unsaid() => {
            preprocess.apply(path, cifar::images(source, pixels, limit)?)
        }
        Kind::Image => images::file(path, preprocess, pixels, limit),
        Kind::Idx | Kind::Npy if *pixels != Pixels::default() => Err(DataError::Preprocess {
            reason: format!("{} is an array: it is not resized, cropped or reordered", path.display()),
            advice: "prepare the array beforehand, or give images".into(),
        }),
        Kind::Idx => preprocess.apply(path, idx::read(source, limit)?),
        Kind::Npy => npy::items(source, preprocess, limit),
        Kind::Text => {
            let reason = "it is none of IDX, npy, CIFAR-10 (.bin), PNG and JPEG";
            Err(DataError::format(path, reason, "convert it to one of them"))
        }
    }
}
