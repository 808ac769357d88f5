//! Items ready for a model.

use crate::DataError;

/// Items ready for a model, all of one shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Items {
    /// Shape of one item: `[channels, height, width]`, `[height, width]` or `[features]`.
    pub shape: Vec<usize>,
    /// Values of all items, one after the other, row-major.
    pub values: Vec<f32>,
    /// Number of items.
    pub count: usize,
}

impl Items {
    /// Values of one item.
    pub fn item_len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Values of item number `index`.
    pub fn item(&self, index: usize) -> &[f32] {
        let len = self.item_len();
        &self.values[index * len..][..len]
    }

    /// The same items in the shape that a model takes: axes of size 1 may come or go at the front (28x28 is 1x28x28),
    /// items may become a row of features, and grey images are repeated for a model that takes three colours.
    pub fn fit(self, shape: &[usize]) -> Result<Items, DataError> {
        let core = |shape: &[usize]| -> Vec<usize> { shape.iter().copied().skip_while(|&size| size == 1).collect() };
        if let (&[1, height, width], &[3, ..]) = (self.shape.as_slice(), shape)
            && shape[1..] == [height, width]
        {
            let values = self.values.chunks_exact((height * width).max(1)).flat_map(|plane| plane.repeat(3)).collect();
            return Ok(Items { shape: shape.to_vec(), values, count: self.count });
        }
        let flat = shape.len() == 1 && shape[0] == self.item_len();
        if core(&self.shape) != core(shape) && !flat {
            return Err(DataError::Shape { got: self.shape, wanted: shape.to_vec() });
        }
        Ok(Items { shape: shape.to_vec(), ..self })
    }
}

/// Refuses values outside `[lo, hi]`, NaN among them; the first one is named.
pub fn check_range(items: &Items, lo: f32, hi: f32) -> Result<(), DataError> {
    let Some(place) = items.values.iter().position(|value| !(lo..=hi).contains(value)) else {
        return Ok(());
    };
    let len = items.item_len();
    Err(DataError::Range { item: place / len, position: place % len, value: items.values[place], lo, hi })
}
