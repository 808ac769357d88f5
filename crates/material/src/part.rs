//! Files that appear whole or not at all.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::encode::Encoder;
use crate::error::Error;
use crate::header::Header;
use crate::layout::Layout;

const BUFFER: usize = 1 << 18;

/// A file under a `.part` name, mode 0600, created exclusively. Dropped unplaced, it is removed.
pub(crate) struct PartFile {
    file: File,
    path: PathBuf,
    /// Wiped: it holds keys and, once, the header's seeds.
    buffer: Zeroizing<Vec<u8>>,
    placed: bool,
}

impl PartFile {
    pub(crate) fn create(path: PathBuf) -> Result<Self, Error> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(|source| Error::io("creating", &path, 0, source))?;
        Ok(Self { file, path, buffer: Zeroizing::new(Vec::with_capacity(BUFFER)), placed: false })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the content durable under the `.part` name.
    pub(crate) fn sync(&mut self) -> Result<(), Error> {
        let synced = self.flush().and_then(|()| self.file.sync_all());
        synced.map_err(|source| Error::io("syncing", &self.path, self.buffer.len() as u64, source))
    }

    /// Gives the synced file its final name, and makes the name durable.
    pub(crate) fn place(mut self, name: &Path) -> Result<(), Error> {
        std::fs::rename(&self.path, name).map_err(|source| Error::io("renaming", &self.path, 0, source))?;
        self.placed = true;
        sync_folder(name)
    }
}

impl Write for PartFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() + bytes.len() > BUFFER {
            self.flush()?;
        }
        if bytes.len() >= BUFFER {
            self.file.write_all(bytes)?;
        } else {
            self.buffer.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        if !self.placed {
            // Whatever cannot be removed now is removed when the store is opened next.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Makes the entries of the folder that holds `path` durable.
pub(crate) fn sync_folder(path: &Path) -> Result<(), Error> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|source| Error::io("syncing folder", folder, 0, source))
}

/// Names the file in what the encoder and the verifier could only report as failed sending.
pub(crate) fn name_file(error: Error, path: &Path, bytes: u64) -> Error {
    match error {
        Error::Send { source, .. } => Error::io("writing", path, bytes, source),
        other => other,
    }
}

/// Writes a batch file: under `<path>.part` until [`BatchWriter::finish`], removed when dropped before.
pub struct BatchWriter {
    encoder: Encoder<PartFile>,
    path: PathBuf,
    part: PathBuf,
    bytes: u64,
}

impl BatchWriter {
    /// Begins `path`. Refused when its `.part` exists: somebody else is writing it.
    pub fn create(path: &Path, header: &Header, layout: &Layout) -> Result<Self, Error> {
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let bytes = header.encoded_len() as u64 + layout.body_bytes(header.label().slots)?;
        let out = PartFile::create(part.clone())?;
        let encoder = Encoder::new(header, layout, out).map_err(|error| name_file(error, &part, bytes))?;
        Ok(Self { encoder, path: path.into(), part, bytes })
    }

    /// See [`Encoder::write_section`].
    pub fn write_section(&mut self, slot: u32, section: u32, data: &[u8]) -> Result<(), Error> {
        let written = self.encoder.write_section(slot, section, data);
        written.map_err(|error| name_file(error, &self.part, self.bytes))
    }

    /// Syncs the file, gives it its name, syncs the folder. Returns the path.
    pub fn finish(self) -> Result<PathBuf, Error> {
        let mut out = self.encoder.finish().map_err(|error| name_file(error, &self.part, self.bytes))?;
        out.sync()?;
        out.place(&self.path)?;
        Ok(self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::BatchId;

    #[test]
    fn a_full_disk_names_file_and_bytes() {
        let full = || io::Error::from_raw_os_error(28);
        let path = Path::new("batches/x.part");
        let sent = Error::Send { batch: BatchId([0; 16]), source: full() };
        for error in [name_file(sent, path, 77), Error::io("syncing", path, 77, full())] {
            assert!(matches!(&error, Error::DiskFull { bytes: 77, .. }), "{error:?}");
            assert!(error.to_string().contains("77 bytes of batches/x.part"), "{error}");
        }
        let other = Error::io("syncing", path, 77, io::Error::from_raw_os_error(5));
        assert!(matches!(other, Error::Io { .. }));
    }

    #[test]
    fn content_in_pieces_of_any_size_is_kept_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let name = folder.path().join("x");
        let mut part = PartFile::create(folder.path().join("x.part")).unwrap();
        let mut whole = Vec::new();
        for (i, len) in [1, BUFFER - 1, 1, BUFFER, BUFFER + 1, 0, 3].into_iter().enumerate() {
            let piece = vec![i as u8; len];
            part.write_all(&piece).unwrap();
            whole.extend(piece);
        }
        part.sync().unwrap();
        part.place(&name).unwrap();
        assert!(std::fs::read(&name).unwrap() == whole);
    }
}
