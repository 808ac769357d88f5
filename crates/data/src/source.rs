//! A file, unpacked if it is gzip'd, and what kind it is by its first bytes.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use crate::DataError;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Idx,
    Npy,
    Image,
    /// None of the others.
    Text,
}

impl Kind {
    /// The first bytes do not tell for certain: two of the format of IDX are zero, as those of many files are.
    pub fn is_unsaid(self) -> bool {
        matches!(self, Kind::Idx | Kind::Text)
    }
}

/// An open file.
pub(crate) struct Source {
    pub path: PathBuf,
    pub kind: Kind,
    /// No more bytes than this can come.
    pub most: u64,
    reader: Box<dyn BufRead>,
}

/// Deflate makes at most this many bytes of one.
const MOST_EXPANSION: u64 = 1032;

impl Source {
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let file = File::open(path).map_err(DataError::read(path))?;
        let size = file.metadata().map_err(DataError::read(path))?.len();
        let mut file = BufReader::with_capacity(1 << 16, file);
        let packed = file.fill_buf().map_err(DataError::read(path))?.starts_with(&[0x1f, 0x8b]);
        let (mut reader, most): (Box<dyn BufRead>, u64) = if packed {
            (
                Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(file))),
                size.saturating_mul(MOST_EXPANSION),
            )
        } else {
            (Box::new(file), size)
        };
        let kind = kind(reader.fill_buf().map_err(|e| damaged(path, &e))?);
        Ok(Source { path: path.into(), kind, most, reader })
    }

    /// Exactly `len` bytes. Memory grows with what comes, not with what was announced.
    pub fn take(&mut self, len: usize) -> Result<Vec<u8>, DataError> {
        let path = self.path.clone();
        let refuse = |held: String| DataError::Length { path, declared: len as u64, held };
        if len as u64 > self.most {
            return Err(refuse(format!("at most {}", self.most)));
        }
        let bytes = self.up_to(len)?;
        if bytes.len() == len { Ok(bytes) } else { Err(refuse(bytes.len().to_string())) }
    }

    /// The items of these places, each of `len` bytes.
    pub fn pick(&mut self, len: usize, places: &[Range<usize>]) -> Result<Vec<u8>, DataError> {
        let (mut bytes, mut at) = (Vec::new(), 0);
        for Range { start, end } in places.iter().cloned() {
            let path = self.path.clone();
            let gap = (&mut self.reader).take(((start - at) * len) as u64);
            std::io::copy(&mut { gap }, &mut std::io::sink()).map_err(|e| damaged(&path, &e))?;
            bytes.extend(self.take((end - start) * len)?);
            at = end;
        }
        Ok(bytes)
    }

    /// `len` bytes, or fewer at the end.
    pub fn up_to(&mut self, len: usize) -> Result<Vec<u8>, DataError> {
        let mut bytes = Vec::new();
        let path = self.path.clone();
        (&mut self.reader).take(len as u64).read_to_end(&mut bytes).map_err(|e| damaged(&path, &e))?;
        Ok(bytes)
    }

    /// Refuses bytes after what was announced.
    pub fn end(&mut self, declared: u64) -> Result<(), DataError> {
        let path = self.path.clone();
        let rest = self.reader.fill_buf().map_err(|e| damaged(&path, &e))?;
        if rest.is_empty() { Ok(()) } else { Err(DataError::Length { path, declared, held: "more".into() }) }
    }

    /// Everything, if it is no more than `limit` bytes.
    pub fn rest(&mut self, limit: u64) -> Result<Vec<u8>, DataError> {
        let mut bytes = Vec::new();
        let path = self.path.clone();
        (&mut self.reader).take(limit + 1).read_to_end(&mut bytes).map_err(|e| damaged(&path, &e))?;
        if bytes.len() as u64 > limit {
            return Err(DataError::format(&path, format!("it is longer than {limit} bytes"), "give a smaller file"));
        }
        Ok(bytes)
    }
}

fn kind(start: &[u8]) -> Kind {
    if start.starts_with(b"\x93NUMPY") {
        Kind::Npy
    } else if start.starts_with(&[0, 0]) {
        Kind::Idx
    } else if start.starts_with(b"\x89PNG") || start.starts_with(&[0xff, 0xd8, 0xff]) {
        Kind::Image
    } else {
        Kind::Text
    }
}

fn damaged(path: &Path, error: &std::io::Error) -> DataError {
    DataError::format(path, format!("it is damaged ({error})"), "fetch it again")
}
