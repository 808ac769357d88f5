//! Why data was refused.

use std::path::{Path, PathBuf};

/// Why data was refused: by the disk, because of the file, or because of what the operator asked for.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A file or folder could not be read.
    #[error("disk: cannot read {path}: {source}; check the path and its permissions", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("input: {path}: {reason}; {advice}", path = path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
        /// What to do.
        advice: String,
    },
    /// A file is shorter or longer than it declares.
    #[error("input: {path} declares {declared} bytes and holds {held}; it is damaged, fetch it again", path = path.display())]
    Length {
        /// The file.
        path: PathBuf,
        /// What its header says.
        declared: u64,
        /// What is there.
        held: String,
    },
    /// Preprocessing that cannot be done.
    #[error("operator: {reason}; {advice}")]
    Preprocess {
        /// What is wrong.
        reason: String,
        /// What to do.
        advice: String,
    },
    /// Items of another shape than the model takes.
    #[error(
        "input: items have the shape {got:?}, the model takes {wanted:?}; resize or convert them, or choose the model made for them"
    )]
    Shape {
        /// Shape of the items.
        got: Vec<usize>,
        /// Shape of the model's input.
        wanted: Vec<usize>,
    },
    /// A value outside the declared range.
    #[error(
        "input: item {item} holds {value} at position {position}, outside the declared range [{lo}, {hi}]; check scale, mean and std, or make the plan for a wider range"
    )]
    Range {
        /// The item.
        item: usize,
        /// Row-major position in it.
        position: usize,
        /// The value.
        value: f32,
        /// Least value declared.
        lo: f32,
        /// Greatest value declared.
        hi: f32,
    },
}

impl DataError {
    pub(crate) fn format(path: &Path, reason: impl Into<String>, advice: impl Into<String>) -> Self {
        DataError::Format { path: path.into(), reason: reason.into(), advice: advice.into() }
    }

    pub(crate) fn read(path: &Path) -> impl FnOnce(std::io::Error) -> DataError {
        let path = path.to_path_buf();
        move |source| DataError::Read { path, source }
    }
}
