//! What happens to the pixels of an image before its bytes become numbers. It stands in the plan, so that whoever has the
//! inputs prepares them as the model was made for and calibrated with.

use serde::{Deserialize, Serialize};

/// Steps in their order: resized, cropped, colours ordered. By default none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pixels {
    /// How images are resized.
    pub resize: Option<Resize>,
    /// Height and width that are cut out of the middle.
    pub crop: Option<[u32; 2]>,
    /// Order of the colours, as the model takes them.
    pub order: Order,
}

/// A new size, with the sides' proportion kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resize {
    /// Pixels of the shorter side.
    pub shorter: u32,
    /// How pixels are mixed.
    pub filter: Filter,
}

/// How pixels are mixed when an image is resized.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Filter {
    /// Not: the nearest one is taken.
    Nearest,
    /// Linearly in both directions.
    Bilinear,
    /// By the cubic of Catmull and Rom.
    #[default]
    Bicubic,
    /// By Lanczos' window of 3.
    Lanczos,
}

/// Order of colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Red, green, blue.
    #[default]
    Rgb,
    /// Blue, green, red.
    Bgr,
}

impl Pixels {
    /// The longest side of an image.
    pub const MOST_SIDE: u32 = 8192;

    /// Refuses steps that do not lead to items of `shape`.
    pub fn check(&self, shape: &[usize]) -> Result<(), &'static str> {
        let side = |side: u32| (1..=Self::MOST_SIDE).contains(&side);
        let len: usize = shape.iter().product();
        let sizes = |pixels: usize| len == pixels || len == 3 * pixels;
        let [height, width] = match *shape {
            [.., height, width] if sizes(height * width) => [Some(height), Some(width)],
            _ => [None; 2],
        };
        if let Some([h, w]) = self.crop {
            if !side(h) || !side(w) {
                return Err("crop is out of bounds");
            }
            let [h, w] = [h as usize, w as usize];
            if !sizes(h * w) || height.is_some_and(|height| height != h) || width.is_some_and(|width| width != w) {
                return Err("crop is not the size of the model's input");
            }
        }
        if let Some(Resize { shorter, .. }) = self.resize {
            if !side(shorter) {
                return Err("resize is out of bounds");
            }
            match (self.crop, height.min(width)) {
                (Some([height, width]), _) if height.min(width) > shorter => {
                    return Err("resize leaves less than its crop");
                }
                (None, Some(least)) if least != shorter as usize => {
                    return Err("resize is not the shorter side of the model's input, and nothing is cropped");
                }
                _ => {}
            }
        }
        let coloured = match *shape {
            [_, _] => false,
            [channels, _, _] => channels == 3,
            _ => len.is_multiple_of(3),
        };
        if self.order != Order::Rgb && !coloured {
            return Err("order is of colours, which the model does not take");
        }
        Ok(())
    }
}
