//! A share of the model in a file: W_S at the server, W_O at an owner. It is changed a round at a time, whole or not at all,
//! and says which rounds are in it, so that none is applied twice.
//!
//! File: "ariann model share 2\n", digest of the training (32), ring bits (4), values (8), last round (8), rounds (8), head of the
//! list of rounds (32), the words, BLAKE3 of all of it (32). Little-endian.

use std::fs::File;
use std::io::Write;
use std::marker::PhantomData;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use ariann_ring::Ring;
use zeroize::{Zeroize, Zeroizing};

use crate::error::refuse;
use crate::keep::{create, settle};
use crate::masks::{CHUNK, from_bytes, to_bytes};
use crate::{Book, FederatedError, Position, Record, Roster, Training, Who, Why};

const MAGIC: &[u8] = b"ariann model share 2\n";
/// Bytes before the words.
const HEAD: usize = MAGIC.len() + 32 + 4 + 8 + 8 + 8 + 32;

/// A share of the model, in a file.
pub struct ModelShare<R> {
    path: PathBuf,
    file: File,
    training: Training,
    position: Position,
    ring: PhantomData<R>,
}

fn head(training: &Training, position: &Position) -> Vec<u8> {
    let mut head = MAGIC.to_vec();
    head.extend(training.digest());
    head.extend(training.ring.to_le_bytes());
    head.extend(training.values.to_le_bytes());
    head.extend(position.round.to_le_bytes());
    head.extend(position.rounds.to_le_bytes());
    head.extend(position.head);
    head
}

impl<R: Ring> ModelShare<R> {
    /// Writes a new one, chunk by chunk: `fill` gets the first word's number and words that are zero.
    pub fn create(
        path: &Path,
        training: &Training,
        fill: impl FnMut(u64, &mut [R]) -> Result<(), FederatedError>,
    ) -> Result<ModelShare<R>, FederatedError> {
        check_ring::<R>(training)?;
        if path.exists() {
            return Err(FederatedError::file(path, "it exists and is not overwritten"));
        }
        write(path, training, &Position::start(training), fill)?;
        Self::open(path, training)
    }

    /// Opens one, and checks it to its last byte.
    pub fn open(path: &Path, training: &Training) -> Result<ModelShare<R>, FederatedError> {
        check_ring::<R>(training)?;
        let io = FederatedError::disk("read", path);
        let file = File::open(path).map_err(&io)?;
        let size = file.metadata().map_err(&io)?.len();
        if size != HEAD as u64 + training.bytes() + 32 {
            return Err(FederatedError::file(path, "it has not the length that the training gives it"));
        }
        let mut hasher = blake3::Hasher::new();
        let mut chunk = Zeroizing::new(vec![0; 1 << 16]);
        let mut at = 0;
        while at < size - 32 {
            let part = &mut chunk[..(size - 32 - at).min(1 << 16) as usize];
            file.read_exact_at(part, at).map_err(&io)?;
            hasher.update(part);
            at += part.len() as u64;
        }
        let (mut digest, mut bytes) = ([0; 32], [0; HEAD]);
        file.read_exact_at(&mut digest, size - 32).map_err(&io)?;
        file.read_exact_at(&mut bytes, 0).map_err(&io)?;
        if *hasher.finalize().as_bytes() != digest {
            return Err(FederatedError::file(path, "it is damaged or cut off"));
        }
        let (before, last) = bytes.split_last_chunk::<48>().expect("48 bytes of the head");
        let (round, last) = last.split_first_chunk::<8>().expect("8 of 48 bytes");
        let (rounds, digest) = last.split_first_chunk::<8>().expect("8 of 40 bytes");
        let [round, rounds] = [round, rounds].map(|bytes| u64::from_le_bytes(*bytes));
        let position = Position { round, rounds, head: digest.try_into().expect("32 of 32 bytes") };
        if head(training, &position) != bytes {
            let what = if before.starts_with(MAGIC) { "it is of another training" } else { "it is no model share" };
            return Err(FederatedError::file(path, what));
        }
        Ok(ModelShare { path: path.into(), file, training: training.clone(), position, ring: PhantomData })
    }

    /// The rounds that are in it.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Words `first`, `first + 1`, ...
    pub fn read(&self, first: u64, words: &mut [R]) -> Result<(), FederatedError> {
        read(&self.file, &self.path, first, words)
    }

    /// Applies a round, chunk by chunk: `change` gets the first word's number and the words. False, without a change, when
    /// the round is in it already.
    pub fn apply(
        &mut self,
        to: Position,
        mut change: impl FnMut(u64, &mut [R]) -> Result<(), FederatedError>,
    ) -> Result<bool, FederatedError> {
        if to.round <= self.position.round {
            return Ok(false);
        }
        let (file, path) = (&self.file, &self.path);
        write(path, &self.training, &to, |first, words: &mut [R]| {
            read(file, path, first, words)?;
            change(first, words)
        })?;
        self.file = File::open(&self.path).map_err(FederatedError::disk("open", &self.path))?;
        self.position = to;
        Ok(true)
    }

    /// An owner brings its share up to date: W_O ← W_O - ρ for every round of the list that is not in it, in one pass.
    /// Says how many they were. Records that not T owners signed, or not as this one signed them, are refused.
    pub fn follow(&mut self, records: &[Record], roster: &Roster, book: &mut Book) -> Result<usize, FederatedError> {
        let (to, rounds) = self.position.after_all(roster, records)?;
        let fresh = || records.iter().filter(|record| record.round > self.position.round);
        for record in fresh() {
            if book.keys().tag(record.epoch)? != record.group {
                return Err(refuse(Who::Server, Why::OtherKey { epoch: record.epoch, round: record.round }));
            }
        }
        book.check(fresh())?;
        let masks = book.keys().without::<R>(&rounds)?;
        book.recorded(fresh())?;
        self.apply(to, |first, words| {
            masks.apply(first, words);
            Ok(())
        })?;
        Ok(rounds.len())
    }
}

fn read<R: Ring>(file: &File, path: &Path, first: u64, words: &mut [R]) -> Result<(), FederatedError> {
    let mut bytes = Zeroizing::new(vec![0; size_of_val(words)]);
    let at = HEAD as u64 + first * size_of::<R>() as u64;
    file.read_exact_at(&mut bytes, at).map_err(FederatedError::disk("read", path))?;
    from_bytes(&bytes, words);
    Ok(())
}

fn write<R: Ring>(
    path: &Path,
    training: &Training,
    position: &Position,
    mut fill: impl FnMut(u64, &mut [R]) -> Result<(), FederatedError>,
) -> Result<(), FederatedError> {
    let (io, fresh) = (FederatedError::disk("write", path), path.with_extension("part"));
    let mut file = create(&fresh).map_err(&io)?;
    let mut hasher = blake3::Hasher::new();
    let mut put = |bytes: &[u8]| {
        hasher.update(bytes);
        file.write_all(bytes)
    };
    put(&head(training, position)).map_err(&io)?;
    let mut chunk = vec![R::ZERO; CHUNK.min(training.values as usize)];
    let mut first = 0;
    while first < training.values {
        let words = &mut chunk[..(training.values - first).min(CHUNK as u64) as usize];
        words.fill(R::ZERO);
        fill(first, words)?;
        put(&Zeroizing::new(to_bytes(words))).map_err(&io)?;
        first += words.len() as u64;
    }
    bytemuck::cast_slice_mut::<R, u8>(&mut chunk).zeroize();
    let digest = hasher.finalize();
    let settled = file.write_all(digest.as_bytes()).and_then(|()| file.sync_all()).and_then(|()| settle(&fresh, path));
    settled.map_err(&io)
}

/// Refuses a ring that is not the training's.
pub(crate) fn check_ring<R: Ring>(training: &Training) -> Result<(), FederatedError> {
    if R::BITS != training.ring {
        let reason = format!("the training is in ring {}, the values are of ring {}", training.ring, R::BITS);
        return Err(FederatedError::Config(reason));
    }
    Ok(())
}
