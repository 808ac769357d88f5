//! Readers for IDX, npy, CIFAR-10 and images, and their preprocessing.
//!
//! [`load`] reads a file or folder into [`Items`], [`Items::fit`] gives them a model's shape. Bytes become numbers as
//! x = (byte / scale - mean_c) / std_c; files that hold floats are taken as they are. [`Pixels`] says what happens to images
//! before that. JPEG files become the pixels that libjpeg gives. [`bundled`] holds images, labels and a small network that
//! come with the program. Nothing is allocated from a length that a file declares before the
//! file has shown that it is that long.

pub mod bundled;
mod choice;
mod cifar;
mod error;
mod idx;
mod images;
mod items;
mod jpeg;
mod labels;
mod npy;
mod pixels;
mod preprocess;
mod shared;
mod source;

use std::path::Path;

pub use choice::Choice;
pub use error::DataError;
pub use items::{Items, check_range};
pub use labels::{folder_labels, load_labels, own_labels};
pub use pixels::{Filter, Order, Pixels};
pub use preprocess::Preprocess;
pub use shared::shared;

use source::{Kind, Source};

/// Reads items from an IDX file (also gzip'd), an npy file, a CIFAR-10 file (`.bin`, `.bin.gz`), a PNG or JPEG file, or a
/// folder of these images.
///
/// At most `limit` items, the first ones; those of a folder in the order of their whole relative paths. Items of an npy
/// file with floats are taken as they are, without `preprocess`.
pub fn load(path: &Path, preprocess: &Preprocess, limit: Option<usize>) -> Result<Items, DataError> {
    load_images(path, preprocess, &Pixels::default(), limit.into())
}

/// The same with something done to the pixels of images and CIFAR-10 records beforehand, and any choice of items.
pub fn load_images(path: &Path, preprocess: &Preprocess, pixels: &Pixels, choice: Choice) -> Result<Items, DataError> {
    preprocess.check()?;
    pixels.check()?;
    if path.is_dir() {
        return images::items(path, preprocess, pixels, choice);
    }
    let source = Source::open(path)?;
    match source.kind {
        kind if cifar::is_named(path) && kind.is_unsaid() => {
            preprocess.apply(path, cifar::images(source, pixels, choice)?)
        }
        Kind::Image => images::items(path, preprocess, pixels, choice),
        Kind::Idx => {
            pixels.none(path)?;
            preprocess.apply(path, idx::read(source, choice)?)
        }
        Kind::Npy => npy::items(source, preprocess, pixels, choice),
        Kind::Text => {
            let reason = "it is none of IDX, npy, CIFAR-10 (.bin), PNG and JPEG";
            Err(DataError::format(path, reason, "convert it to one of them"))
        }
    }
}
