//! PNG and JPEG files, one or a folder of them.

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

use image::{DynamicImage, ImageReader, Limits};

use crate::pixels::{MOST_SIDE, Pixels, Planes};
use crate::preprocess::Preprocess;
use crate::{Choice, DataError, Items, jpeg};

const ENDINGS: [&str; 3] = ["png", "jpg", "jpeg"];

/// A decoder takes no more memory than this: an image of the greatest size and one copy.
const MOST_MEMORY: u64 = 256 << 20;

/// Folders within folders are followed this far.
const MOST_DEPTH: usize = 16;

/// One image, or the chosen ones below a folder, in the order of their whole relative paths.
pub(crate) fn items(path: &Path, preprocess: &Preprocess, pixels: &Pixels, choice: Choice) -> Result<Items, DataError> {
    let files = if path.is_dir() { files(path)? } else { vec![path.to_path_buf()] };
    let chosen = choice.of(files.len()).into_iter().flatten().map(|place| files[place].as_path());
    read(path, chosen, preprocess, pixels)
}

/// All images below a folder, in the order of their whole relative paths.
pub(crate) fn files(path: &Path) -> Result<Vec<PathBuf>, DataError> {
    Ok(listed(path)?.into_iter().map(|(_, file)| file).collect())
}

/// The class of each image below a folder of class folders: the place of its class folder among all, by name.
pub(crate) fn classes(path: &Path, limit: Option<usize>) -> Result<Vec<usize>, DataError> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path).map_err(DataError::read(path))? {
        let entry = entry.map_err(DataError::read(path))?;
        if entry.path().is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort_unstable();
    let files = listed(path)?;
    let class = |(relative, file): &(String, PathBuf)| {
        let name = relative.split_once('/').map(|(name, _)| name);
        let class = name.and_then(|name| names.binary_search_by(|other| other.as_str().cmp(name)).ok());
        let advice = "put each image below the folder of its class, or give a file of labels";
        class.ok_or_else(|| DataError::format(file, "it lies in no class folder", advice))
    };
    files.iter().take(limit.unwrap_or(usize::MAX)).map(class).collect()
}

/// Images below a folder with their relative paths, in the order of these.
fn listed(path: &Path) -> Result<Vec<(String, PathBuf)>, DataError> {
    let mut files = Vec::new();
    collect(path, path, 0, &mut files)?;
    if files.is_empty() {
        return Err(DataError::format(path, "it holds no PNG or JPEG file", "name the folder of the images"));
    }
    files.sort_unstable();
    Ok(files)
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

/// Reads images of one size, one after the other. Grey ones are given three equal channels where others, or mean and std,
/// have three.
fn read<'f>(
    path: &Path,
    files: impl Iterator<Item = &'f Path>,
    preprocess: &Preprocess,
    pixels: &Pixels,
) -> Result<Items, DataError> {
    let mut planes = Planes::new(pixels, preprocess.channels());
    for file in files {
        planes.add(file, decode(file)?)?;
    }
    let none = || DataError::format(path, "no images were asked for", "raise the limit");
    preprocess.apply(path, planes.finish().ok_or_else(none)?)
}

fn decode(path: &Path) -> Result<DynamicImage, DataError> {
    let mut file = Vec::new();
    let most = MOST_MEMORY + 1;
    File::open(path).and_then(|open| open.take(most).read_to_end(&mut file)).map_err(DataError::read(path))?;
    if file.len() as u64 == most {
        let reason = format!("it is longer than {MOST_MEMORY} bytes");
        return Err(DataError::format(path, reason, "give a smaller file"));
    }
    if file.starts_with(&[0xff, 0xd8, 0xff])
        && let Some(image) = jpeg::decode(&file, MOST_SIDE)
            .map_err(|reason| DataError::format(path, format!("it is damaged ({reason})"), "fetch it again"))?
    {
        return Ok(image);
    }
    let mut reader = ImageReader::new(Cursor::new(file)).with_guessed_format().map_err(DataError::read(path))?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(MOST_SIDE);
    limits.max_image_height = Some(MOST_SIDE);
    limits.max_alloc = Some(MOST_MEMORY);
    reader.limits(limits);
    let damaged = |e: image::ImageError| match e {
        image::ImageError::Limits(_) => DataError::format(
            path,
            "it is too large to be decoded",
            format!("give images of at most {MOST_SIDE}x{MOST_SIDE} pixels"),
        ),
        e => DataError::format(path, format!("it is damaged ({e})"), "fetch it again"),
    };
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
