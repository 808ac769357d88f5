//! From bytes to the numbers that a model takes.

use std::path::Path;

use crate::{DataError, Items};

/// x = (byte / scale - mean_c) / std_c.
#[derive(Clone, Debug, PartialEq)]
pub struct Preprocess {
    /// Bytes are divided by this.
    pub scale: f32,
    /// Subtracted, one value a channel or one for all; empty for none.
    pub mean: Vec<f32>,
    /// Divided by, one value a channel or one for all; empty for none.
    pub std: Vec<f32>,
}

impl Default for Preprocess {
    fn default() -> Self {
        Preprocess { scale: 255.0, mean: Vec::new(), std: Vec::new() }
    }
}

/// Items as bytes.
pub(crate) struct Bytes {
    pub shape: Vec<usize>,
    pub bytes: Vec<u8>,
    pub count: usize,
}

impl Preprocess {
    /// Refuses numbers that cannot be divided by or that are none.
    pub fn check(&self) -> Result<(), DataError> {
        let refuse = |reason: String| {
            let advice = "give finite numbers, and divide by none that is 0".into();
            Err(DataError::Preprocess { reason, advice })
        };
        if !self.scale.is_normal() {
            return refuse(format!("scale is {}", self.scale));
        }
        if let Some(std) = self.std.iter().find(|std| !std.is_normal()) {
            return refuse(format!("std holds {std}"));
        }
        if let Some(mean) = self.mean.iter().find(|mean| !mean.is_finite()) {
            return refuse(format!("mean holds {mean}"));
        }
        Ok(())
    }

    /// Number of channels that mean and std ask for.
    pub(crate) fn channels(&self) -> usize {
        self.mean.len().max(self.std.len()).max(1)
    }

    /// The least and the greatest number that a byte can become, for each channel.
    ///
    /// This is the range within which a plan must hold for such inputs.
    pub fn range(&self) -> Vec<(f32, f32)> {
        let ends = |channel| {
            let (a, b) = (self.number(0, channel), self.number(255, channel));
            (a.min(b), a.max(b))
        };
        (0..self.channels()).map(ends).collect()
    }

    fn number(&self, byte: u8, channel: usize) -> f32 {
        let of = |values: &[f32], default| match values {
            [] => default,
            [value] => *value,
            values => values[channel],
        };
        (f32::from(byte) / self.scale - of(&self.mean, 0.0)) / of(&self.std, 1.0)
    }

    /// The items as numbers.
    pub(crate) fn apply(&self, path: &Path, items: Bytes) -> Result<Items, DataError> {
        let Bytes { shape, bytes, count } = items;
        // An image has channels if three axes say so; everything else has one.
        let channels = if shape.len() == 3 { shape[0] } else { 1 };
        for (name, values) in [("mean", &self.mean), ("std", &self.std)] {
            if values.len() > 1 && values.len() != channels {
                let reason =
                    format!("{name} has {} values and {} has {channels} channels", values.len(), path.display());
                let advice = "give one value a channel, or one for all".into();
                return Err(DataError::Preprocess { reason, advice });
            }
        }
        let tables: Vec<[f32; 256]> =
            (0..channels).map(|channel| std::array::from_fn(|byte| self.number(byte as u8, channel))).collect();
        let plane = shape.iter().product::<usize>() / channels.max(1);
        let mut values = Vec::with_capacity(bytes.len());
        for (index, plane) in bytes.chunks_exact(plane.max(1)).enumerate() {
            let table = &tables[index % channels];
            values.extend(plane.iter().map(|&byte| table[usize::from(byte)]));
        }
        Ok(Items { shape, values, count })
    }
}
