//! One process at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use crate::error::Error;

const PAUSE: Duration = Duration::from_millis(20);
const TRIES: u32 = 50;

/// Tries again for a second: a killed process holds its locks until the kernel has taken it apart,
/// and a process that is being started holds a copy of its parent's until it runs.
pub(crate) fn patiently<T>(mut attempt: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    for _ in 1..TRIES {
        match attempt() {
            Err(Error::Locked { .. }) => sleep(PAUSE),
            other => return other,
        }
    }
    attempt()
}

/// Locks a state folder until the file is dropped: no other process may be in it.
pub fn lock(root: &Path) -> Result<File, Error> {
    patiently(|| try_lock(root))
}

fn try_lock(root: &Path) -> Result<File, Error> {
    let path = root.join("lock");
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
    let mut file = opened.map_err(|source| Error::io("opening", &path, 0, source))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let named = (&file).take(64).read_to_string(&mut holder).is_ok() && !holder.trim().is_empty();
            let holder = if named { holder.trim().into() } else { "another process".into() };
            return Err(Error::Locked { path: root.into(), holder });
        }
        Err(TryLockError::Error(source)) => return Err(Error::io("locking", &path, 0, source)),
    }
    let line = format!("process {}\n", std::process::id());
    let written = file.set_len(0).and_then(|()| file.write_all(line.as_bytes()));
    written.map_err(|source| Error::io("writing", &path, line.len() as u64, source))?;
    Ok(file)
}
