//! The binary files of CIFAR-10: records of a label and 32x32 pixels, one plane a colour. They say nothing of their
//! length or kind, so they are known by their names, `.bin` and `.bin.gz`.

use std::ops::Range;
use std::path::Path;

use image::RgbImage;

use crate::pixels::{Pixels, Planes};
use crate::preprocess::Bytes;
use crate::source::Source;
use crate::{Choice, DataError};

const SIDE: usize = 32;
const PLANE: usize = SIDE * SIDE;
const RECORD: usize = 1 + 3 * PLANE;
const CLASSES: u8 = 10;

/// Whether the name is that of such a file.
pub(crate) fn is_named(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    name.ends_with(".bin") || name.ends_with(".bin.gz")
}

/// The chosen images.
pub(crate) fn images(source: Source, pixels: &Pixels, choice: Choice) -> Result<Bytes, DataError> {
    let path = source.path.clone();
    // How many there are is known at the end only.
    let places = match choice {
        Choice::All | Choice::First(_) => choice.of(usize::MAX),
        Choice::Spread(_) => choice.of(count(Source::open(&path)?)?),
    };
    let mut planes = Planes::new(pixels, 3);
    records(source, &places, |record| {
        let (red, rest) = record[1..].split_at(PLANE);
        let (green, blue) = rest.split_at(PLANE);
        let colours = red.iter().zip(green).zip(blue).flat_map(|((red, green), blue)| [*red, *green, *blue]).collect();
        let image = RgbImage::from_raw(SIDE as u32, SIDE as u32, colours).expect("a record holds 32x32 pixels");
        planes.add(&path, image.into())
    })?;
    planes.finish().ok_or_else(|| DataError::format(&path, "no images were asked for", "raise the limit"))
}

/// The first `limit` labels.
pub(crate) fn labels(source: Source, limit: Option<usize>) -> Result<Vec<usize>, DataError> {
    let mut labels = Vec::new();
    records(source, &Choice::from(limit).of(usize::MAX), |record| {
        labels.push(usize::from(record[0]));
        Ok(())
    })?;
    Ok(labels)
}

/// Records of a file, none of which is looked at.
fn count(mut source: Source) -> Result<usize, DataError> {
    let mut count = 0;
    while !source.up_to(RECORD)?.is_empty() {
        count += 1;
    }
    Ok(count)
}

/// Hands over the records of these places as far as there are.
fn records(
    mut source: Source,
    places: &[Range<usize>],
    mut take: impl FnMut(&[u8]) -> Result<(), DataError>,
) -> Result<(), DataError> {
    let path = source.path.clone();
    let refuse = |reason: String, advice: &str| Err(DataError::format(&path, reason, advice));
    let mut places = places.iter().cloned().flatten().peekable();
    let mut number = 0;
    while let Some(wanted) = places.peek() {
        let record = source.up_to(RECORD)?;
        if record.is_empty() && number > 0 {
            break;
        }
        if record.len() < RECORD {
            let reason = format!("record {number} has {} bytes, CIFAR-10 has {RECORD}", record.len());
            return refuse(reason, "fetch it again, or give the binary version of CIFAR-10");
        }
        if record[0] >= CLASSES {
            let reason = format!("record {number} has the label {}, CIFAR-10 has 0 to {}", record[0], CLASSES - 1);
            return refuse(reason, "give the binary version of CIFAR-10: a label byte, then 3072 bytes a record");
        }
        if number == *wanted {
            take(&record)?;
            places.next();
        }
        number += 1;
    }
    Ok(())
}
