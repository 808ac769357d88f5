//! A party's state folder: lock, instance id, batches, prepared data, ledger.

use std::fs::{DirBuilder, File};
use std::io::{Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use zeroize::Zeroizing;

use crate::batch::{Batch, inspect};
use crate::error::Error;
use crate::expected::Expected;
use crate::header::{Header, Kind, Label};
use crate::id::{BatchId, WeightsVersion, hex};
use crate::layout::Layout;
use crate::ledger::Ledger;
use crate::lock::lock;
use crate::part::{BatchWriter, PartFile, name_file, sync_folder};
use crate::record::Status;
use crate::verify::StreamVerifier;

const PIECE: usize = 1 << 18;

/// The state folder of one party, locked for this process.
///
/// `lock`, `instance`, `ledger.redb`, `batches/<batch>.mat`, `prepared/<batch>-<weights>.mat`.
pub struct Store {
    root: PathBuf,
    ledger: Ledger,
    instance: [u8; 16],
    party: u8,
    leftovers: usize,
    arrivals: AtomicU64,
    _lock: File,
}

/// One batch in a listing.
#[derive(Debug)]
pub struct Entry {
    /// The batch.
    pub batch: BatchId,
    /// How it stands; an error when its record is damaged or missing. Such a batch is refused.
    pub status: Result<Status, Error>,
    /// The header's public part; an error when the file is missing or no material.
    pub label: Result<Label, Error>,
    /// Bytes on disk, prepared data not included.
    pub bytes: u64,
    /// Weights versions that prepared data exist for.
    pub prepared: Vec<WeightsVersion>,
}

impl Store {
    /// Opens or creates (mode 0700) the folder of party 0 or 1; locks it until dropped; removes what an
    /// interrupted arrival left; burns what a crash left in flight.
    pub fn open(root: &Path, party: u8) -> Result<Self, Error> {
        Self::open_with(root, party, Ledger::open)
    }

    /// The same with the ledger opened by the caller, over a back end of its own.
    pub fn open_with(
        root: &Path,
        party: u8,
        open_ledger: impl FnOnce(&Path) -> Result<Ledger, Error>,
    ) -> Result<Self, Error> {
        for folder in [root.to_path_buf(), root.join("batches"), root.join("prepared")] {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
            made.map_err(|source| Error::io("creating folder", &folder, 0, source))?;
        }
        let lock = lock(root)?;
        let leftovers = clean(&root.join("batches"))? + clean(&root.join("prepared"))?;
        let (ledger_path, instance_path) = (root.join("ledger.redb"), root.join("instance"));
        let named = read_instance(root, &instance_path)?;
        if named.is_some() && !ledger_path.exists() {
            return Err(foreign(root, "its ledger is gone, so nobody knows which material is spent"));
        }
        let ledger = open_ledger(&ledger_path)?;
        let instance = match (ledger.record_of("store/instance")?, named) {
            (Some(own), Some(name)) if own == name => name,
            (Some(own), None) => {
                <[u8; 16]>::try_from(own).map_err(|_| foreign(root, "its ledger has no instance id"))?
            }
            (None, None) => {
                let mut fresh = [0u8; 16];
                getrandom::fill(&mut fresh).map_err(|error| Error::Entropy(error.to_string()))?;
                ledger.put_record("store/party", &[party])?;
                ledger.put_record("store/instance", &fresh)?;
                fresh
            }
            _ => return Err(foreign(root, "its ledger belongs to another folder")),
        };
        if ledger.record_of("store/party")? != Some(vec![party]) {
            return Err(foreign(root, "it belongs to the other party"));
        }
        if named.is_none() {
            write_small(&instance_path, hex(&instance).as_bytes())?;
        }
        Ok(Self { root: root.into(), ledger, instance, party, leftovers, arrivals: AtomicU64::new(0), _lock: lock })
    }

    /// The ledger.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Drawn when the folder was created.
    pub fn instance(&self) -> [u8; 16] {
        self.instance
    }

    /// The party whose folder this is: 0 or 1.
    pub fn party(&self) -> u8 {
        self.party
    }

    /// Files of interrupted arrivals that were removed when the folder was opened.
    pub fn leftovers(&self) -> usize {
        self.leftovers
    }

    /// Where a batch lies.
    pub fn batch_path(&self, batch: BatchId) -> PathBuf {
        self.root.join("batches").join(format!("{batch}.mat"))
    }

    /// Where prepared data lie.
    pub fn prepared_path(&self, batch: BatchId, weights: WeightsVersion) -> PathBuf {
        self.root.join("prepared").join(format!("{batch}-{weights}.mat"))
    }

    /// Begins the arrival of a dealt batch. `from` names the sender in errors.
    pub fn receive(&self, expected: &Expected, from: &str) -> Result<Incoming<'_>, Error> {
        if expected.kind != Kind::Dealt || expected.party != self.party {
            return Err(Error::Usage("only dealt material of the folder's own party arrives".into()));
        }
        let number = self.arrivals.fetch_add(1, Ordering::Relaxed);
        let part = PartFile::create(self.root.join("batches").join(format!("incoming-{number}.part")))?;
        let path = part.path().to_path_buf();
        let verifier = StreamVerifier::new(expected.clone(), from, part);
        Ok(Incoming { store: self, verifier, part: path, fresh: false })
    }

    /// Takes a batch from a file, checking all of it. The file stays where it is.
    pub fn import(&self, path: &Path, expected: &Expected) -> Result<BatchId, Error> {
        let failed = |source| Error::io("reading", path, 0, source);
        let mut file = File::open(path).map_err(failed)?;
        let mut incoming = self.receive(expected, &path.display().to_string())?;
        let mut piece = Zeroizing::new(vec![0; PIECE]);
        loop {
            match file.read(&mut piece).map_err(failed)? {
                0 => return incoming.finish(),
                got => incoming.push(&piece[..got])?,
            }
        }
    }

    /// Opens a batch that the ledger knows.
    pub fn open_batch(&self, batch: BatchId, expected: &Expected) -> Result<Batch, Error> {
        let slots = Some(self.ledger.status(batch)?.slots);
        Batch::open(&self.batch_path(batch), &Expected { batch: Some(batch), slots, ..expected.clone() })
    }

    /// Begins prepared data of a batch that the ledger knows; they replace those of the same weights.
    pub fn prepare(&self, header: &Header, layout: &Layout) -> Result<BatchWriter, Error> {
        let label = header.label();
        let fits = label.kind == Kind::Prepared && label.party == self.party;
        if !fits || self.ledger.status(label.batch)?.slots != label.slots {
            let what = "prepared data need kind prepared, the folder's party and the slots of their batch";
            return Err(Error::Usage(what.into()));
        }
        BatchWriter::create(&self.prepared_path(label.batch, label.weights), header, layout)
    }

    /// Opens prepared data of a batch that the ledger knows.
    pub fn open_prepared(&self, batch: BatchId, weights: WeightsVersion, expected: &Expected) -> Result<Batch, Error> {
        let slots = Some(self.ledger.status(batch)?.slots);
        let (batch_id, version) = (Some(batch), Some(weights));
        let expected = Expected { batch: batch_id, weights: version, slots, ..expected.clone() };
        Batch::open(&self.prepared_path(batch, weights), &expected)
    }

    /// Every batch that the ledger knows or that lies in the folder.
    pub fn ls(&self) -> Result<Vec<Entry>, Error> {
        let mut entries: Vec<Entry> = Vec::new();
        for (batch, status) in self.ledger.batches()? {
            entries.push(self.entry(batch, status));
        }
        for name in names(&self.root.join("batches"))? {
            let Some(batch) = name.strip_suffix(".mat").and_then(|id| id.parse::<BatchId>().ok()) else {
                continue;
            };
            if entries.iter().all(|entry| entry.batch != batch) {
                entries.push(self.entry(batch, self.ledger.status(batch)));
            }
        }
        for name in names(&self.root.join("prepared"))? {
            let parts = name.strip_suffix(".mat").and_then(|stem| stem.split_once('-'));
            let Some((Ok(batch), Ok(weights))) = parts.map(|(id, version)| (id.parse(), version.parse())) else {
                continue;
            };
            let owner = entries.iter_mut().find(|entry: &&mut Entry| entry.batch == batch);
            owner.map(|entry| entry.prepared.push(weights)).unwrap_or_default();
        }
        entries.sort_by_key(|entry| entry.batch);
        Ok(entries)
    }

    /// Burns what is left of a batch and removes its files. The ledger remembers it.
    pub fn discard(&self, batch: BatchId) -> Result<Status, Error> {
        let slots = self.ledger.status(batch)?.slots;
        self.ledger.burn_to(batch, slots)?;
        let mut doomed = vec![self.batch_path(batch)];
        for name in names(&self.root.join("prepared"))? {
            if name.starts_with(&format!("{batch}-")) {
                doomed.push(self.root.join("prepared").join(name));
            }
        }
        for path in doomed {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io("removing", &path, 0, error));
                }
                _ => sync_folder(&path)?,
            }
        }
        self.ledger.status(batch)
    }

    fn entry(&self, batch: BatchId, status: Result<Status, Error>) -> Entry {
        let path = self.batch_path(batch);
        let bytes = std::fs::metadata(&path).map_or(0, |meta| meta.len());
        Entry { batch, status, label: inspect(&path), bytes, prepared: Vec::new() }
    }
}

/// A batch on its way in. Dropped unfinished, it leaves nothing behind.
pub struct Incoming<'a> {
    store: &'a Store,
    verifier: StreamVerifier<PartFile>,
    part: PathBuf,
    /// The header is here, and the batch is not known yet.
    fresh: bool,
}

impl Incoming<'_> {
    /// Takes the next bytes, in pieces of any size.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let taken = self.verifier.taken() + bytes.len() as u64;
        self.verifier.push(bytes).map_err(|error| name_file(error, &self.part, taken))?;
        match self.verifier.header().map(|header| header.label().batch) {
            Some(batch) if !self.fresh => {
                let path = self.store.batch_path(batch);
                if self.store.ledger.knows(batch)? || path.exists() {
                    return Err(Error::SeenBefore { batch, path: self.store.ledger_path() });
                }
                self.fresh = true;
            }
            _ => {}
        }
        Ok(())
    }

    /// Bytes taken so far.
    pub fn taken(&self) -> u64 {
        self.verifier.taken()
    }

    /// The last byte has come: syncs the file, enters the batch in the ledger, gives the file its name.
    /// In this order: a batch with a file always has a record.
    pub fn finish(self) -> Result<BatchId, Error> {
        let taken = self.verifier.taken();
        let (header, mut part) = self.verifier.finish().map_err(|error| name_file(error, &self.part, taken))?;
        let label = header.label();
        part.sync()?;
        self.store.ledger.register(label.batch, label.slots)?;
        part.place(&self.store.batch_path(label.batch))?;
        Ok(label.batch)
    }
}

impl Store {
    fn ledger_path(&self) -> PathBuf {
        self.root.join("ledger.redb")
    }
}

/// Removes what interrupted arrivals left.
fn clean(folder: &Path) -> Result<usize, Error> {
    let mut removed = 0;
    for name in names(folder)? {
        if name.ends_with(".part") {
            let path = folder.join(name);
            std::fs::remove_file(&path).map_err(|source| Error::io("removing", &path, 0, source))?;
            removed += 1;
        }
    }
    Ok(removed)
}

fn names(folder: &Path) -> Result<Vec<String>, Error> {
    let failed = |source| Error::io("listing", folder, 0, source);
    let entries: Result<Vec<_>, _> = std::fs::read_dir(folder).map_err(failed)?.collect();
    Ok(entries.map_err(failed)?.iter().filter_map(|entry| entry.file_name().into_string().ok()).collect())
}

fn read_instance(root: &Path, path: &Path) -> Result<Option<[u8; 16]>, Error> {
    match std::fs::read_to_string(path) {
        Ok(text) => match text.trim().parse::<BatchId>() {
            Ok(BatchId(id)) => Ok(Some(id)),
            Err(_) => Err(foreign(root, "its file `instance` is damaged")),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::io("reading", path, 0, source)),
    }
}

/// A small file, whole or not at all.
fn write_small(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let part = path.with_extension("part");
    match std::fs::remove_file(&part) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::io("removing", &part, 0, source));
        }
        _ => {}
    }
    let mut file = PartFile::create(part.clone())?;
    file.write_all(bytes).map_err(|source| Error::io("writing", &part, bytes.len() as u64, source))?;
    file.sync()?;
    file.place(path)
}

fn foreign(path: &Path, what: &'static str) -> Error {
    Error::ForeignLedger { path: path.into(), what }
}
