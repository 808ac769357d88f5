//! A text file that names images and says what happens to their pixels:
//!
//! ```toml
//! input = "photos"
//! resize = 256
//! crop = [224, 224]
//! order = "bgr"
//! ```

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{DataError, Filter, Order, Pixels};

/// Such a text is short.
const MOST_TEXT: u64 = 1 << 16;

/// Images, and what happens to their pixels. As a `.toml` file it is read by [`load`](crate::load) like data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageSet {
    /// A folder of images, an image, or a CIFAR-10 file; in a file relative to it.
    pub input: PathBuf,
    /// What happens to their pixels.
    pub pixels: Pixels,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    input: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    resize: Option<u32>,
    #[serde(default)]
    filter: Filter,
    #[serde(skip_serializing_if = "Option::is_none")]
    crop: Option<[u32; 2]>,
    #[serde(default)]
    order: Order,
}

impl ImageSet {
    /// Whether the name is that of such a file.
    pub(crate) fn is_named(path: &Path) -> bool {
        path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("toml")) && !path.is_dir()
    }

    /// Reads one.
    pub fn read(path: &Path) -> Result<Self, DataError> {
        let advice = "write input = \"PATH\" and what is wanted of resize, filter, crop and order";
        let text = crate::source::Source::open(path)?.rest(MOST_TEXT)?;
        let text = String::from_utf8(text).map_err(|_| DataError::format(path, "it is no text", advice))?;
        let refuse = |error: toml::de::Error| DataError::format(path, error.message().to_string(), advice);
        let Text { input, resize, filter, crop, order } = toml::from_str(&text).map_err(refuse)?;
        if ImageSet::is_named(&input) {
            return Err(DataError::format(path, "it names another file of its kind", "name the images themselves"));
        }
        let input = path.parent().map_or(input.clone(), |folder| folder.join(&input));
        Ok(ImageSet { input, pixels: Pixels { resize, filter, crop, order } })
    }

    /// The text of such a file; the images, which must exist, under their true path.
    pub fn text(&self) -> Result<String, DataError> {
        let input = self.input.canonicalize().map_err(DataError::read(&self.input))?;
        let Pixels { resize, filter, crop, order } = self.pixels;
        let unsaid = |_| DataError::format(&self.input, "its path is no text", "rename it");
        toml::to_string(&Text { input, resize, filter, crop, order }).map_err(unsaid)
    }
}
