//! Storage that fails: back ends under the ledger for tests.
//!
//! [`Volatile`] keeps what was not synced in process memory only, as a machine keeps it in its page
//! cache: kill -9 loses it. [`Disk`] is the same over memory, with crashes in the middle of writes.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ariann_material::StorageBackend;

/// What a sync does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// What it should.
    Honest,
    /// Nothing, and says that all is well.
    Skipped,
}

#[derive(Debug, Clone)]
enum Change {
    Write(u64, Vec<u8>),
    Resize(u64),
}

fn apply(image: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write(at, data) => image[*at as usize..][..data.len()].copy_from_slice(data),
        Change::Resize(len) => image.resize(*len as usize, 0),
    }
}

fn read(image: &[u8], offset: u64, out: &mut [u8]) -> io::Result<()> {
    let range = offset as usize..(offset as usize).saturating_add(out.len());
    out.copy_from_slice(image.get(range).ok_or(io::ErrorKind::UnexpectedEof)?);
    Ok(())
}

/// A file whose unsynced writes live in this process only.
#[derive(Debug)]
pub struct Volatile {
    file: File,
    sync: Sync,
    state: Mutex<(Vec<u8>, Vec<Change>)>,
}

impl Volatile {
    /// Opens or creates the file.
    pub fn open(path: &Path, sync: Sync) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let len = file.seek(io::SeekFrom::End(0))?;
        let mut image = vec![0; len as usize];
        file.read_exact_at(&mut image, 0)?;
        Ok(Self { file, sync, state: Mutex::new((image, Vec::new())) })
    }

    fn change(&self, change: Change) -> io::Result<()> {
        let mut state = held(&self.state);
        apply(&mut state.0, &change);
        state.1.push(change);
        Ok(())
    }
}

impl StorageBackend for Volatile {
    fn len(&self) -> io::Result<u64> {
        Ok(held(&self.state).0.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        read(&held(&self.state).0, offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Change::Resize(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.sync == Sync::Skipped {
            return Ok(());
        }
        for change in held(&self.state).1.drain(..) {
            match change {
                Change::Write(at, data) => self.file.write_all_at(&data, at)?,
                Change::Resize(len) => self.file.set_len(len)?,
            }
        }
        (&self.file).flush()?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(Change::Write(offset, data.to_vec()))
    }
}

#[derive(Debug, Default)]
struct Platter {
    durable: Vec<u8>,
    now: Vec<u8>,
    pending: Vec<Change>,
    capacity: Option<u64>,
    writes_left: Option<u64>,
}

/// A disk in memory. Clones are the same disk.
#[derive(Debug, Clone)]
pub struct Disk {
    platter: Arc<Mutex<Platter>>,
    sync: Sync,
}

impl Disk {
    /// An empty disk.
    pub fn new(sync: Sync) -> Self {
        Self::with_image(Vec::new(), sync)
    }

    /// A disk with this content.
    pub fn with_image(image: Vec<u8>, sync: Sync) -> Self {
        let platter = Platter { now: image.clone(), durable: image, ..Platter::default() };
        Self { platter: Arc::new(Mutex::new(platter)), sync }
    }

    /// From now on the disk is full after so many further writes; each fails with ENOSPC.
    pub fn full_after(&self, writes: u64) {
        held(&self.platter).writes_left = Some(writes);
    }

    /// The disk cannot grow beyond so many bytes.
    pub fn limit(&self, bytes: u64) {
        held(&self.platter).capacity = Some(bytes);
    }

    /// Space is there again.
    pub fn relieve(&self) {
        let mut platter = held(&self.platter);
        (platter.capacity, platter.writes_left) = (None, None);
    }

    /// What is on the disk after a crash: all that was synced and, of the writes since, those that
    /// `keep` picks by their number.
    pub fn after_crash(&self, mut keep: impl FnMut(usize) -> bool) -> Vec<u8> {
        let platter = held(&self.platter);
        let mut image = platter.durable.clone();
        for (number, change) in platter.pending.iter().enumerate() {
            // A file's length is changed in order; data blocks are not.
            let fits = match change {
                Change::Write(at, data) => *at as usize + data.len() <= image.len(),
                Change::Resize(_) => true,
            };
            if fits && (matches!(change, Change::Resize(_)) || keep(number)) {
                apply(&mut image, change);
            }
        }
        image
    }

    /// What a reader sees now, synced or not.
    pub fn image(&self) -> Vec<u8> {
        held(&self.platter).now.clone()
    }

    fn change(&self, change: Change) -> io::Result<()> {
        let mut platter = held(&self.platter);
        let full = io::Error::from_raw_os_error(28); // ENOSPC
        if let Some(left) = &mut platter.writes_left {
            match left.checked_sub(1) {
                Some(rest) => *left = rest,
                None => return Err(full),
            }
        }
        match (&change, platter.capacity) {
            (Change::Resize(len), Some(capacity)) if *len > capacity => return Err(full),
            _ => {}
        }
        apply(&mut platter.now, &change);
        platter.pending.push(change);
        Ok(())
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(held(&self.platter).now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        read(&held(&self.platter).now, offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Change::Resize(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.sync == Sync::Honest {
            let mut platter = held(&self.platter);
            platter.pending.clear();
            platter.durable = platter.now.clone();
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(Change::Write(offset, data.to_vec()))
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
