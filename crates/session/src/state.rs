//! State folders that have no ledger of material.

use std::fs::File;
use std::path::Path;

use crate::SessionError;

/// Keeps other processes out of a state folder until the file is dropped.
pub fn hold(folder: &Path) -> Result<File, SessionError> {
    Ok(ariann_material::lock(folder)?)
}
