//! From planes to an image: halved planes are spread by the triangle filter, then luma and chroma become colours.

use image::{DynamicImage, GrayImage, RgbImage};

use super::frame::{Component, Frame};

/// The image of a frame that is complete.
pub(super) fn image(frame: Frame) -> DynamicImage {
    let Frame { width, height, components } = frame;
    let size = (width as u32, height as u32);
    let mut bytes = Vec::with_capacity(width * height * components.len());
    let mut rows = vec![vec![0u8; width + 1]; components.len()];
    for y in 0..height {
        for (component, row) in components.iter().zip(&mut rows) {
            spread(component, y, &mut row[..]);
        }
        match rows.as_slice() {
            [luma, blue, red] => {
                let pixels = luma.iter().zip(blue).zip(red).take(width);
                bytes.extend(pixels.flat_map(|((luma, blue), red)| colour(*luma, *blue, *red)));
            }
            rows => bytes.extend_from_slice(&rows[0][..width]),
        }
    }
    if components.len() == 1 {
        GrayImage::from_raw(size.0, size.1, bytes).expect("a byte a pixel").into()
    } else {
        RgbImage::from_raw(size.0, size.1, bytes).expect("three bytes a pixel").into()
    }
}

/// Row `y` of the image in one component.
///
/// A halved sample's two places take three parts of it and one of its neighbour on their side; it stands in for
/// neighbours that are not there. Rounding goes up and down by turns, so that nothing becomes brighter on the whole.
fn spread(component: &Component, y: usize, out: &mut [u8]) {
    let [across, down] = component.spread;
    let [width, height] = component.size;
    let row = |y: usize| &component.samples[y * component.pitch..][..width];
    let near = row(y / down);
    if across == 1 && down == 1 {
        out[..width].copy_from_slice(near);
        return;
    }
    let upper = y.is_multiple_of(2);
    let side = if upper { (y / 2).saturating_sub(1) } else { (y / 2 + 1).min(height - 1) };
    let far = if down == 2 { row(side) } else { near };
    // Without its last step libjpeg repeats samples of planes that are this narrow.
    let plain = across == 2 && width <= 2;
    let sum = |x: usize| if down == 2 && !plain { 3 * u32::from(near[x]) + u32::from(far[x]) } else { near[x].into() };
    if across == 1 {
        let rounding = if upper { 1 } else { 2 };
        out.iter_mut().zip(0..width).for_each(|(out, x)| *out = ((sum(x) + rounding) >> 2) as u8);
        return;
    }
    let (shift, roundings) = if down == 2 { (4, [8, 7]) } else { (2, [1, 2]) };
    for (at, out) in out.iter_mut().enumerate().take(2 * width) {
        let (x, right) = (at / 2, at % 2);
        if plain {
            *out = near[x];
            continue;
        }
        let other = if right == 1 { (x + 1).min(width - 1) } else { x.saturating_sub(1) };
        *out = ((3 * sum(x) + sum(other) + roundings[right]) >> shift) as u8;
    }
}

/// Red, green and blue, by the constants of JFIF with 16 fractional bits.
fn colour(luma: u8, blue: u8, red: u8) -> [u8; 3] {
    let [luma, blue, red] = [i32::from(luma), i32::from(blue) - 128, i32::from(red) - 128];
    const HALF: i32 = 1 << 15;
    [
        luma + ((91_881 * red + HALF) >> 16),
        luma + ((HALF - 22_554 * blue - 46_802 * red) >> 16),
        luma + ((116_130 * blue + HALF) >> 16),
    ]
    .map(|colour| colour.clamp(0, 255) as u8)
}
