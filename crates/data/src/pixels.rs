//! What happens to the pixels of an image before scale, mean and std: resized, cropped, colours in order.

use std::path::Path;

use image::imageops::FilterType;
use image::{DynamicImage, GrayImage, RgbImage};

use crate::DataError;
use crate::preprocess::Bytes;

/// Images are read up to this width and height.
pub(crate) const MOST_SIDE: u32 = 8192;

/// No image has more pixels than this while it is resized.
const MOST_PIXELS: u64 = 1 << 24;

/// What happens to the pixels of images and CIFAR records. By default nothing, and colours come red, green, blue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pixels {
    /// Length that the shorter side is given; the other one follows, rounded down.
    pub resize: Option<u32>,
    /// How it is resized.
    pub filter: Filter,
    /// Height and width that are cut out of the middle, after resizing.
    pub crop: Option<[u32; 2]>,
    /// Order of the colours, before mean and std.
    pub order: Order,
}

/// Order of colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Red, green, blue.
    #[default]
    Rgb,
    /// Blue, green, red.
    Bgr,
}

/// How images are resized. When an image shrinks, all filters but `Nearest` widen with it, so that no pixel is lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Filter {
    /// The nearest pixel.
    Nearest,
    /// Linear in both directions (triangle).
    Bilinear,
    /// Cubic, Catmull-Rom (a = -1/2).
    #[default]
    Bicubic,
    /// Lanczos with window 3.
    Lanczos,
}

impl Filter {
    fn kind(self) -> FilterType {
        match self {
            Filter::Nearest => FilterType::Nearest,
            Filter::Bilinear => FilterType::Triangle,
            Filter::Bicubic => FilterType::CatmullRom,
            Filter::Lanczos => FilterType::Lanczos3,
        }
    }
}

impl Pixels {
    /// Refuses sizes that no image has.
    pub fn check(&self) -> Result<(), DataError> {
        let sides = self.resize.iter().chain(self.crop.iter().flatten());
        match sides.copied().find(|side| !(1..=MOST_SIDE).contains(side)) {
            None => Ok(()),
            Some(side) => Err(DataError::Preprocess {
                reason: format!("images cannot be resized or cropped to {side} pixels"),
                advice: format!("give 1 to {MOST_SIDE}"),
            }),
        }
    }

    /// Refuses an array of bytes when something is to happen to pixels.
    pub(crate) fn none(&self, path: &Path) -> Result<(), DataError> {
        if *self == Pixels::default() {
            return Ok(());
        }
        let reason = format!("{} is an array: it is not resized, cropped or reordered", path.display());
        let advice = "give images, or an npy file of floats, which are taken as prepared".into();
        Err(DataError::Preprocess { reason, advice })
    }

    /// The image in its new size.
    fn sized(&self, path: &Path, mut image: DynamicImage) -> Result<DynamicImage, DataError> {
        if let Some(shorter) = self.resize {
            let (width, height) = (image.width(), image.height());
            let scaled = |side: u32| u64::from(side) * u64::from(shorter) / u64::from(width.min(height));
            let (new_width, new_height) = (scaled(width), scaled(height));
            // Rows are made first: the image has its old width and its new height for a while.
            if u64::from(width).max(new_width) * new_height > MOST_PIXELS {
                let reason = format!("{width}x{height} pixels would become {new_width}x{new_height}");
                return Err(DataError::format(path, reason, "crop it beforehand, or resize to fewer pixels"));
            }
            if (u64::from(width), u64::from(height)) != (new_width, new_height) {
                image = image.resize_exact(new_width as u32, new_height as u32, self.filter.kind());
            }
        }
        if let Some([height, width]) = self.crop {
            if image.width() < width || image.height() < height {
                let reason =
                    format!("{}x{} pixels are fewer than the crop {width}x{height}", image.width(), image.height());
                return Err(DataError::format(path, reason, "resize to more (--resize), or crop to less (--crop)"));
            }
            image = image.crop_imm((image.width() - width) / 2, (image.height() - height) / 2, width, height);
        }
        Ok(image)
    }
}

/// Images of one size, gathered as one plane a channel; one channel as long as all of them are grey.
pub(crate) struct Planes<'p> {
    pixels: &'p Pixels,
    channels: usize,
    size: Option<[u32; 2]>,
    bytes: Vec<u8>,
    count: usize,
}

impl<'p> Planes<'p> {
    /// No image yet; `channels` when something else says that there are three.
    pub fn new(pixels: &'p Pixels, channels: usize) -> Self {
        Planes { pixels, channels: if channels == 1 { 1 } else { 3 }, size: None, bytes: Vec::new(), count: 0 }
    }

    /// Adds an image of 8 bits a channel without alpha.
    pub fn add(&mut self, path: &Path, image: DynamicImage) -> Result<(), DataError> {
        let image = self.pixels.sized(path, image)?;
        let (width, height) = (image.width(), image.height());
        let [first_height, first_width] = *self.size.get_or_insert([height, width]);
        if (width, height) != (first_width, first_height) {
            let reason = format!("it has {width}x{height} pixels, the first {first_width}x{first_height}");
            return Err(DataError::format(path, reason, "resize all images to one size (--resize N --crop HxW)"));
        }
        match image {
            DynamicImage::ImageLuma8(image) => self.add_grey(&image),
            image => self.add_colours(&image.into_rgb8()),
        }
        self.count += 1;
        Ok(())
    }

    fn add_grey(&mut self, image: &GrayImage) {
        (0..self.channels).for_each(|_| self.bytes.extend_from_slice(image.as_raw()));
    }

    fn add_colours(&mut self, image: &RgbImage) {
        if self.channels == 1 {
            let len = image.width() as usize * image.height() as usize;
            self.bytes = self.bytes.chunks_exact(len).flat_map(|plane| plane.repeat(3)).collect();
            self.channels = 3;
        }
        let order = match self.pixels.order {
            Order::Rgb => [0, 1, 2],
            Order::Bgr => [2, 1, 0],
        };
        for channel in order {
            self.bytes.extend(image.pixels().map(|pixel| pixel.0[channel]));
        }
    }

    /// All of them; none where there was none.
    pub fn finish(self) -> Option<Bytes> {
        let [height, width] = self.size?;
        let shape = vec![self.channels, height as usize, width as usize];
        Some(Bytes { shape, bytes: self.bytes, count: self.count })
    }
}
