//! Items with their labels, as this machine reads them: to rehearse, to count, and to compare with training in clear.

use std::path::Path;

use ariann_data::{Choice, DataError, Items, Preprocess};
use ariann_plan::{Filter, InputSpec, Order, Pixels, Resize};
use ariann_session::SessionError;

use crate::run;

/// Items with a label each.
pub struct Set {
    pub items: Items,
    pub labels: Vec<u32>,
}

/// Reads items as a plan declares them.
pub fn items(declared: &InputSpec, path: &Path, choice: Choice) -> Result<Items, SessionError> {
    let preprocess = Preprocess { scale: declared.scale, mean: declared.mean.clone(), std: declared.std.clone() };
    let pixels = pixels(&declared.pixels);
    let unfit = |error| unfit(path, error);
    let items = ariann_data::load_images(path, &preprocess, &pixels, choice)?.fit(&declared.shape).map_err(unfit)?;
    let [lo, hi] = declared.range;
    ariann_data::check_range(&items, lo as f32, hi as f32).map_err(unfit)?;
    if items.count == 0 {
        return Err(SessionError::Input(format!("{}: no items; give at least one", path.display())));
    }
    Ok(items)
}

/// Items of this file that are not what the model takes: a training reads up to three sets of them.
fn unfit(path: &Path, error: DataError) -> SessionError {
    let path = path.display();
    SessionError::Input(match error {
        DataError::Shape { got, wanted } => format!(
            "{path}: items have the shape {got:?}, the model takes {wanted:?}; resize or convert them, or choose the model made for them"
        ),
        DataError::Range { item, position, value, lo, hi } => format!(
            "{path}: item {item} holds {value} at position {position}, outside the declared range [{lo}, {hi}]; mend the file, or check \
             --scale, --mean, --std and --input-range"
        ),
        error => return error.into(),
    })
}

/// What happens to pixels, as the readers take it.
fn pixels(pixels: &Pixels) -> ariann_data::Pixels {
    let filter = |resize: Resize| match resize.filter {
        Filter::Nearest => ariann_data::Filter::Nearest,
        Filter::Bilinear => ariann_data::Filter::Bilinear,
        Filter::Bicubic => ariann_data::Filter::Bicubic,
        Filter::Lanczos => ariann_data::Filter::Lanczos,
    };
    ariann_data::Pixels {
        resize: pixels.resize.map(|resize| resize.shorter),
        filter: pixels.resize.map(filter).unwrap_or_default(),
        crop: pixels.crop,
        order: match pixels.order {
            Order::Rgb => ariann_data::Order::Rgb,
            Order::Bgr => ariann_data::Order::Bgr,
        },
    }
}

impl Set {
    /// The first `limit` items of a file or folder, with labels of a file, of class folders, or their own.
    pub fn read(
        declared: &InputSpec,
        classes: usize,
        input: &Path,
        labels: Option<&Path>,
        limit: Option<usize>,
    ) -> Result<Set, SessionError> {
        let items = items(declared, input, limit.into())?;
        let Some(found) = run::labels(labels, input, items.count, limit)? else {
            let reason =
                "training needs labels: give --labels (--test-labels, --calibration-labels) FILE, or the word folders";
            return Err(SessionError::Config(format!("{}: {reason}", input.display())));
        };
        check(&found, classes, labels.unwrap_or(input))?;
        Ok(Set { items, labels: found })
    }

    /// Made-up items of the declared range with made-up labels: the same for everybody.
    pub fn made_up(declared: &InputSpec, classes: usize, count: usize) -> Set {
        let mut state = 0x6172_6961_6e6e_u64;
        let mut word = || {
            // SplitMix64: public, and the same on every machine.
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        };
        let len: usize = declared.shape.iter().product();
        let [lo, hi] = declared.range;
        let unit = 2f64.powi(-53);
        let values = (0..count * len).map(|_| (lo + (hi - lo) * (word() >> 11) as f64 * unit) as f32).collect();
        let labels = (0..count).map(|_| (word() % classes as u64) as u32).collect();
        Set { items: Items { shape: declared.shape.clone(), values, count }, labels }
    }

    pub fn count(&self) -> usize {
        self.items.count
    }

    /// Features and labels of a batch.
    pub fn batch(&self, places: &[u32]) -> (Vec<f32>, Vec<u32>) {
        let features = places.iter().flat_map(|place| self.items.item(*place as usize)).copied().collect();
        (features, places.iter().map(|place| self.labels[*place as usize]).collect())
    }
}

/// Refuses labels that are no class of the model.
fn check(labels: &[u32], classes: usize, path: &Path) -> Result<(), SessionError> {
    let Some(item) = labels.iter().position(|label| *label as usize >= classes) else { return Ok(()) };
    Err(SessionError::Input(format!(
        "{}: labels out of range: that of item {item} is {}, and the model has {classes} classes, counted from 0",
        path.display(),
        labels[item]
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared() -> InputSpec {
        InputSpec::plain("x", &[1, 2, 2], [-1.0, 3.0])
    }

    #[test]
    fn made_up_items_fill_the_range_and_are_the_same_again() {
        let set = Set::made_up(&declared(), 3, 500);
        assert_eq!((set.count(), set.items.values.len()), (500, 2000));
        assert!(set.items.values.iter().all(|value| (-1.0..=3.0).contains(value)));
        assert!(
            set.items.values.iter().any(|value| *value < -0.9) && set.items.values.iter().any(|value| *value > 2.9)
        );
        assert!((0..3).all(|class| set.labels.contains(&class)) && set.labels.iter().all(|label| *label < 3));
        assert_eq!(set.items.values, Set::made_up(&declared(), 3, 500).items.values);
    }

    #[test]
    fn a_batch_is_the_items_of_its_places() {
        let set = Set::made_up(&declared(), 3, 5);
        let (features, labels) = set.batch(&[4, 0]);
        assert_eq!(features, [set.items.item(4), set.items.item(0)].concat());
        assert_eq!(labels, [set.labels[4], set.labels[0]]);
    }

    #[test]
    fn labels_are_classes() {
        assert!(check(&[0, 9], 10, Path::new("l")).is_ok());
        let error = check(&[0, 10], 10, Path::new("l")).expect_err("no class").to_string();
        assert!(error.contains("item 1 is 10") && error.contains("10 classes"), "{error}");
    }
}
