//! A back end that remembers which operation failed, so that errors name bytes, and the errors made of it.

use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use redb::{BackendError, DatabaseError, StorageBackend, StorageError};

use crate::error::Error;

/// The last operation of the storage that failed.
#[derive(Debug, Clone)]
pub(crate) struct Failed {
    pub(crate) doing: &'static str,
    pub(crate) bytes: u64,
    pub(crate) kind: io::ErrorKind,
    pub(crate) why: String,
}

/// Shared between the back end and the ledger above it.
pub(crate) type Trouble = Arc<Mutex<Option<Failed>>>;

/// Takes the last failure out.
fn take(trouble: &Trouble) -> Option<Failed> {
    trouble.lock().unwrap_or_else(PoisonError::into_inner).take()
}

#[derive(Debug)]
pub(crate) struct Watched<B> {
    inner: B,
    trouble: Trouble,
}

impl<B> Watched<B> {
    pub(crate) fn new(inner: B, trouble: Trouble) -> Self {
        Self { inner, trouble }
    }

    fn note<T>(&self, doing: &'static str, bytes: u64, outcome: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &outcome {
            let failed = Failed { doing, bytes, kind: error.kind(), why: error.to_string() };
            *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(failed);
        }
        outcome
    }
}

impl<B: StorageBackend> StorageBackend for Watched<B> {
    fn len(&self) -> io::Result<u64> {
        self.note("measuring", 0, self.inner.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.note("reading", out.len() as u64, self.inner.read(offset, out))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.note("growing to", len, self.inner.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.note("syncing", 0, self.inner.sync_data())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.note("writing", data.len() as u64, self.inner.write(offset, data))
    }

    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.query_lock_range(start, end)
    }
}

pub(crate) fn refused(path: &Path, trouble: &Trouble, error: DatabaseError) -> Error {
    match error {
        DatabaseError::DatabaseAlreadyOpen => {
            Error::Locked { path: path.into(), holder: "another process (the ledger is open)".into() }
        }
        DatabaseError::Storage(StorageError::Corrupted(what)) => damaged(path, &what),
        other => explain(path, trouble, other.into()),
    }
}

pub(crate) fn explain(path: &Path, trouble: &Trouble, error: redb::Error) -> Error {
    let path = path.to_path_buf();
    if let redb::Error::Corrupted(what) = error {
        return Error::LedgerDamaged { path, what };
    }
    match take(trouble) {
        Some(failed) if matches!(failed.kind, std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded) => {
            Error::DiskFull { path, bytes: failed.bytes }
        }
        Some(failed) if matches!(failed.kind, std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof) => {
            Error::LedgerDamaged { path, what: format!("{} {} bytes: {}", failed.doing, failed.bytes, failed.why) }
        }
        Some(failed) => {
            let what = format!("{} {} bytes failed: {}", failed.doing, failed.bytes, failed.why);
            Error::Ledger { path, what }
        }
        None => match error {
            // Not a database, or cut inside its own header.
            redb::Error::Io(source) if source.kind() == std::io::ErrorKind::InvalidData => {
                Error::LedgerDamaged { path, what: source.to_string() }
            }
            other => Error::Ledger { path, what: other.to_string() },
        },
    }
}

pub(crate) fn damaged(path: &Path, what: &str) -> Error {
    Error::LedgerDamaged { path: path.into(), what: what.into() }
}
