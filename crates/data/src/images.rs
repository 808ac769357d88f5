//! PNG and JPEG files, one or a folder of them.

use std::path::{Path, PathBuf};

use image::{DynamicImage, ImageReader};

use crate::preprocess::{Bytes, Preprocess};
use crate::{DataError, Items};

const ENDINGS: [&str; 3] = ["png", "jpg", "jpeg"];

/// Folders within folders are followed this far.
const MOST_DEPTH: usize = 16;

/// One image.
pub(crate) fn file(path: &Path, preprocess: &Preprocess, limit: Option<usize>) -> Result<Items, DataError> {
    read(path, &[path.to_path_buf()][..limit.unwrap_or(1).min(1)], preprocess)
}

/// All images below a folder, in the order of their whole relative paths.
pub(crate) fn folder(path: &Path, preprocess: &Preprocess, limit: Option<usize>) -> Result<Items, DataError> {
    let mut files = Vec::new();
    collect(path, path, 0, &mut files)?;
    if files.is_empty() {
        return Err(DataError::format(path, "it holds no PNG or JPEG file", "name the folder of the images"));
    }
    files.sort_unstable();
    let files: Vec<PathBuf> = files.into_iter().map(|(_, file)| file).collect();
    read(path, &files[..limit.unwrap_or(files.len()).min(files.len())], preprocess)
}

/// Files with their path relative to the folder, by which they are sorted: `ants/2.jpg` before `bees/1.jpg`.
fn collect(root: &Path, folder: &Path, depth: usize, files: &mut Vec<(String, PathBuf)>) -> Result<(), DataError> {
    if depth > MOST_DEPTH {
        let reason = format!("folders lie more than {MOST_DEPTH} deep");
        return Err(DataError::format(folder, reason, "name the folder of the images"));
    }
    for entry in std::fs::read_dir(folder).map_err(DataError::read(folder))? {
        let path = entry.map_err(DataError::read(folder))?.path();
        let ending = path.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase);
        if path.is_dir() {
            collect(root, &path, depth + 1, files)?;
        } else if ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str())) {
            let relative = path.strip_prefix(root).unwrap_or(&path).components();
            let parts: Vec<_> = relative.map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
            files.push((parts.join("/"), path));
        }
    }
    Ok(())
}

/// Reads images of one size. Grey ones are given three equal channels where others, or mean and std, have three.
fn read(path: &Path, files: &[PathBuf], preprocess: &Preprocess) -> Result<Items, DataError> {
    let images = files.iter().map(|file| decode(file)).collect::<Result<Vec<_>, _>>()?;
    let Some(first) = images.first() else {
        return Err(DataError::format(path, "no images were asked for", "raise the limit"));
    };
    let (width, height) = (first.width(), first.height());
    let grey = preprocess.channels() == 1 && images.iter().all(|image| matches!(image, DynamicImage::ImageLuma8(_)));
    let channels = if grey { 1 } else { 3 };
    let mut bytes = Vec::new();
    for (image, file) in images.iter().zip(files) {
        if (image.width(), image.height()) != (width, height) {
            let reason = format!("it has {}x{} pixels, the first {width}x{height}", image.width(), image.height());
            return Err(DataError::format(file, reason, "resize all images to one size"));
        }
        append_planes(image, channels, &mut bytes);
    }
    let shape = vec![channels, height as usize, width as usize];
    preprocess.apply(path, Bytes { shape, bytes, count: images.len() })
}

/// From interleaved pixels to one plane a channel.
fn append_planes(image: &DynamicImage, channels: usize, bytes: &mut Vec<u8>) {
    if channels == 1 {
        return bytes.extend_from_slice(image.as_bytes());
    }
    let pixels = image.to_rgb8();
    for channel in 0..channels {
        bytes.extend(pixels.pixels().map(|pixel| pixel.0[channel]));
    }
}

fn decode(path: &Path) -> Result<DynamicImage, DataError> {
    let reader = ImageReader::open(path).map_err(DataError::read(path))?;
    let reader = reader.with_guessed_format().map_err(DataError::read(path))?;
    let damaged = |e: image::ImageError| DataError::format(path, format!("it is damaged ({e})"), "fetch it again");
    match reader.decode().map_err(damaged)? {
        image @ (DynamicImage::ImageLuma8(_) | DynamicImage::ImageRgb8(_)) => Ok(image),
        DynamicImage::ImageLumaA8(image) if image.pixels().all(|pixel| pixel.0[1] == 255) => {
            Ok(DynamicImage::ImageLumaA8(image).to_luma8().into())
        }
        DynamicImage::ImageRgba8(image) if image.pixels().all(|pixel| pixel.0[3] == 255) => {
            Ok(DynamicImage::ImageRgba8(image).to_rgb8().into())
        }
        DynamicImage::ImageLumaA8(_) | DynamicImage::ImageRgba8(_) => Err(DataError::format(
            path,
            "it has transparent pixels",
            "put it on a background and save it without alpha",
        )),
        _ => Err(DataError::format(path, "it has more than 8 bits a channel", "save it with 8 bits a channel")),
    }
}
