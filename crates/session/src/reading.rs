//! The data owner's items, read, checked against the plan and encoded.

use std::path::Path;

use ariann_data::{Items, Preprocess};
use ariann_plan::{Filter, Order, Pixels, Plan};
use ariann_ring::Ring;
use ariann_ring::fixed;

use crate::SessionError;

/// Reads the items of `path` as the plan declares them: preprocessing, shape and range.
pub fn items(plan: &Plan, path: &Path, limit: Option<usize>) -> Result<Items, SessionError> {
    let preprocess = Preprocess { scale: plan.input.scale, mean: plan.input.mean.clone(), std: plan.input.std.clone() };
    let pixels = pixels(&plan.input.pixels);
    let items = ariann_data::load_images(path, &preprocess, &pixels, limit.into())?.fit(&plan.input.shape)?;
    let [lo, hi] = plan.input.range;
    ariann_data::check_range(&items, lo as f32, hi as f32)?;
    if items.count == 0 {
        return Err(SessionError::Input(format!("{}: no items; give at least one", path.display())));
    }
    Ok(items)
}

/// Reads the labels of `path`: a file of them, or a folder whose folders are the classes.
pub fn labels(path: &Path, limit: Option<usize>) -> Result<Vec<usize>, SessionError> {
    Ok(match path.is_dir() {
        true => ariann_data::folder_labels(path, limit)?,
        false => ariann_data::load_labels(path, limit)?,
    })
}

/// What happens to pixels, as the readers take it.
pub(crate) fn pixels(pixels: &Pixels) -> ariann_data::Pixels {
    let filter = match pixels.resize.map(|resize| resize.filter).unwrap_or_default() {
        Filter::Nearest => ariann_data::Filter::Nearest,
        Filter::Bilinear => ariann_data::Filter::Bilinear,
        Filter::Bicubic => ariann_data::Filter::Bicubic,
        Filter::Lanczos => ariann_data::Filter::Lanczos,
    };
    let order = match pixels.order {
        Order::Rgb => ariann_data::Order::Rgb,
        Order::Bgr => ariann_data::Order::Bgr,
    };
    ariann_data::Pixels { resize: pixels.resize.map(|resize| resize.shorter), filter, crop: pixels.crop, order }
}

/// Items as ring elements.
pub fn encode<R: Ring>(plan: &Plan, items: &Items) -> Result<Vec<R>, SessionError> {
    let len = items.item_len();
    let value = |(at, x): (usize, &f32)| {
        fixed::encode(f64::from(*x), plan.input_frac())
            .map_err(|error| SessionError::Input(format!("item {}, value {}: {error}", at / len, at % len)))
    };
    items.values.iter().enumerate().map(value).collect()
}
