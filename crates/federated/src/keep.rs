//! Where a small state is kept: whole and synced before it returns, or not changed.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::FederatedError;

/// Keeps one state. What is saved replaces what was saved before, whole or not at all.
pub trait Keep {
    /// Saves. When it returns, the state survives a crash.
    fn save(&mut self, state: &[u8]) -> Result<(), FederatedError>;
    /// What was saved last.
    fn load(&self) -> Result<Option<Zeroizing<Vec<u8>>>, FederatedError>;
}

/// Keeps a state in memory: for simulations, where nothing has to survive.
#[derive(Default)]
pub struct KeepMemory(Option<Zeroizing<Vec<u8>>>);

impl Keep for KeepMemory {
    fn save(&mut self, state: &[u8]) -> Result<(), FederatedError> {
        self.0 = Some(Zeroizing::new(state.to_vec()));
        Ok(())
    }

    fn load(&self) -> Result<Option<Zeroizing<Vec<u8>>>, FederatedError> {
        Ok(self.0.clone())
    }
}

/// Keeps a state in a file that only its owner can read, with its BLAKE3 at the end.
pub struct KeepFile(PathBuf);

/// States that are longer are none of ours.
const MOST: u64 = 1 << 30;

impl KeepFile {
    /// The file, which need not exist; its folder does.
    pub fn at(path: &Path) -> KeepFile {
        KeepFile(path.into())
    }
}

impl Keep for KeepFile {
    fn save(&mut self, state: &[u8]) -> Result<(), FederatedError> {
        replace(&self.0, |file| {
            file.write_all(state)?;
            file.write_all(blake3::hash(state).as_bytes())
        })
    }

    fn load(&self) -> Result<Option<Zeroizing<Vec<u8>>>, FederatedError> {
        let path = &self.0;
        let file = match std::fs::File::open(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(FederatedError::disk("open", path))?,
        };
        let size = file.metadata().map_err(FederatedError::disk("read", path))?.len();
        if size > MOST {
            return Err(FederatedError::file(path, "it is longer than any of ours"));
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(size as usize));
        file.take(MOST).read_to_end(&mut bytes).map_err(FederatedError::disk("read", path))?;
        let Some((state, digest)) = bytes.split_last_chunk::<32>() else {
            return Err(FederatedError::file(path, "it is cut off"));
        };
        if blake3::hash(state).as_bytes() != digest {
            return Err(FederatedError::file(path, "it is damaged or cut off"));
        }
        Ok(Some(Zeroizing::new(state.to_vec())))
    }
}

/// Writes a file anew beside the old one, syncs it and puts it in its place.
pub(crate) fn replace(
    path: &Path,
    write: impl FnOnce(&mut std::fs::File) -> std::io::Result<()>,
) -> Result<(), FederatedError> {
    let fresh = path.with_extension("part");
    let work = || -> std::io::Result<()> {
        let mut file = create(&fresh)?;
        write(&mut file)?;
        file.sync_all()?;
        settle(&fresh, path)
    };
    work().map_err(FederatedError::disk("write", path))
}

/// A new, empty file of mode 0600, in place of one that a crash may have left.
pub(crate) fn create(path: &Path) -> std::io::Result<std::fs::File> {
    let _ = std::fs::remove_file(path);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Renames, and syncs the folder, so that the name survives a crash too.
pub(crate) fn settle(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::rename(from, to)?;
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty());
    std::fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}
