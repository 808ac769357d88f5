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
/// `lock`, `instance`, `ledger.redb`, `batches/<batch>.mat`, `prepared/<batch>-<weights>.mat`; and, written by sessions,
/// `weights-<weights>.bin` with the other party's masked weights.
pub struct Store {
    root: PathBuf,
    ledger: Ledger,
    instance: [u8; 16],
    party: u8,
    leftovers: Leftovers,
    arrivals: AtomicU64,
    _lock: File,
}

/// What interrupted writing left behind, and was removed.
#[derive(Debug, Clone, Copy, Default)]
struct Leftovers {
    files: usize,
    bytes: u64,
}

/// What [`Store::prune`] removes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Batches without a usable slot whose file was there.
    pub batches: Vec<BatchId>,
    /// Files of prepared data that nothing can run with any more.
    pub prepared: usize,
    /// Weights versions that no usable batch has, of which masked weights were kept.
    pub weights: Vec<WeightsVersion>,
    /// Files that interrupted writing left; opening the folder removes them too.
    pub leftovers: usize,
    /// Bytes of all these.
    pub bytes: u64,
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
        let mut leftovers = Leftovers::default();
        for folder in ["batches", "prepared"] {
            clean(&root.join(folder), &mut leftovers)?;
        }
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
        self.leftovers.files
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

    /// Bytes of the material in the folder: batches, prepared data, and what is being written of either.
    pub fn bytes(&self) -> Result<u64, Error> {
        let mut sum = 0;
        for folder in ["batches", "prepared"].map(|name| self.root.join(name)) {
            // Files come and go meanwhile.
            let size = |name| std::fs::metadata(folder.join(name)).map_or(0, |meta| meta.len());
            sum += names(&folder)?.into_iter().map(size).sum::<u64>();
        }
        Ok(sum)
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
        doomed.iter().try_for_each(|path| remove(path))?;
        self.ledger.status(batch)
    }

    /// Removes what no run can use any more: files of batches that are wholly used or burnt, prepared data of these,
    /// masked weights of versions without a usable batch, and leftovers. The ledger keeps every record, so what was
    /// spent is never taken in again. A batch with a slot left or in flight, or with a damaged record, is not touched.
    /// With `dry_run` only told.
    pub fn prune(&self, dry_run: bool) -> Result<Pruned, Error> {
        let entries = self.ls()?;
        let spent = |entry: &Entry| entry.status.as_ref().is_ok_and(|status| status.left == 0 && status.open == 0);
        let Leftovers { files: leftovers, bytes } = self.leftovers;
        let (mut pruned, mut doomed) = (Pruned { leftovers, bytes, ..Pruned::default() }, Vec::new());
        for entry in entries.iter().filter(|entry| spent(entry) && self.batch_path(entry.batch).exists()) {
            pruned.batches.push(entry.batch);
            doomed.push(self.batch_path(entry.batch));
        }
        for name in names(&self.root.join("prepared"))? {
            let batch = name.strip_suffix(".mat").and_then(|stem| stem.split_once('-')?.0.parse::<BatchId>().ok());
            let Some(batch) = batch else { continue };
            let owner = entries.iter().find(|entry| entry.batch == batch);
            // Prepared data can be computed again from their batch, and are nothing without it.
            if owner.is_some_and(spent) || !self.batch_path(batch).exists() {
                pruned.prepared += 1;
                doomed.push(self.root.join("prepared").join(name));
            }
        }
        let usable = entries.iter().filter(|entry| !spent(entry)).filter_map(|entry| entry.label.as_ref().ok());
        let used: Vec<WeightsVersion> = usable.map(|label| label.weights).collect();
        for name in names(&self.root)? {
            let version = name.strip_prefix("weights-").and_then(|rest| rest.strip_suffix(".bin")?.parse().ok());
            if let Some(version) = version.filter(|version| !used.contains(version)) {
                pruned.weights.push(version);
                doomed.push(self.root.join(name));
            } else if name.starts_with(".tmp") {
                // Masked weights that were not written to their end.
                pruned.leftovers += 1;
                doomed.push(self.root.join(name));
            }
        }
        for path in doomed {
            pruned.bytes += std::fs::metadata(&path).map_or(0, |meta| meta.len());
            if !dry_run {
                remove(&path)?;
            }
        }
        Ok(pruned)
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

    /// The batch, once its header is here.
    pub fn batch(&self) -> Option<BatchId> {
        self.verifier.header().map(|header| header.label().batch)
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
fn clean(folder: &Path, removed: &mut Leftovers) -> Result<(), Error> {
    for name in names(folder)? {
        if name.ends_with(".part") {
            let path = folder.join(name);
            let bytes = std::fs::metadata(&path).map_or(0, |meta| meta.len());
            std::fs::remove_file(&path).map_err(|source| Error::io("removing", &path, 0, source))?;
            removed.files += 1;
            removed.bytes += bytes;
        }
    }
    Ok(())
}

/// Removes a file that may be gone already; durably.
fn remove(path: &Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("removing", path, 0, error)),
        _ => sync_folder(path),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Encoder, Secret};

    const SLOTS: u32 = 4;

    fn layout() -> Layout {
        Layout::new(vec![3, 8]).unwrap()
    }

    fn header(kind: Kind, batch: BatchId, weights: WeightsVersion) -> Header {
        let label = Label {
            kind,
            suite: "suite".into(),
            plan_digest: [7; 32],
            batch,
            party: 1,
            ring_bits: 32,
            weights,
            slots: SLOTS,
            sections: 0,
            layout_digest: [0; 32],
        };
        Header::new(label, &layout(), Secret::new(Zeroizing::new(Vec::new())).unwrap()).unwrap()
    }

    fn bytes(header: &Header) -> Vec<u8> {
        let layout = layout();
        let mut encoder = Encoder::new(header, &layout, Vec::new()).unwrap();
        for slot in 0..SLOTS {
            encoder.write_section(slot, 0, &[1; 3]).unwrap();
            encoder.write_section(slot, 1, &[2; 8]).unwrap();
        }
        encoder.finish().unwrap()
    }

    fn expected() -> Expected {
        Expected {
            kind: Kind::Dealt,
            suite: "suite".into(),
            plan_digest: [7; 32],
            party: 1,
            ring_bits: 32,
            layout: layout(),
            secret_len: 0,
            batch: None,
            weights: None,
            slots: None,
        }
    }

    /// Takes batch `id` in, prepares it, and keeps masked weights of its version.
    fn arrive(store: &Store, id: u8) -> Result<BatchId, Error> {
        let (batch, weights) = (BatchId([id; 16]), WeightsVersion([id / 2; 16]));
        let mut incoming = store.receive(&expected(), "the dealer")?;
        incoming.push(&bytes(&header(Kind::Dealt, batch, weights)))?;
        incoming.finish()?;
        std::fs::write(store.prepared_path(batch, weights), [0; 100]).unwrap();
        std::fs::write(store.root.join(format!("weights-{weights}.bin")), [0; 1000]).unwrap();
        Ok(batch)
    }

    fn all_files(root: &Path) -> Vec<PathBuf> {
        let folders = [root.to_path_buf(), root.join("batches"), root.join("prepared")];
        let mut found: Vec<PathBuf> = folders
            .iter()
            .flat_map(|folder| names(folder).unwrap().into_iter().map(|name| folder.join(name)))
            .filter(|path| path.is_file())
            .collect();
        found.sort();
        found
    }

    #[test]
    fn pruning_removes_what_is_spent_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("state");
        let store = Store::open(&root, 1).unwrap();
        // Versions: 1 of batches 2 and 3, 2 of 4 and 5, 3 of 6.
        let [used, burnt, half, fresh, flying] = [2, 3, 4, 5, 6].map(|id| arrive(&store, id).unwrap());
        store.ledger().complete(store.ledger().reserve(used, SLOTS).unwrap()).unwrap();
        store.ledger().burn_to(burnt, SLOTS).unwrap();
        store.ledger().complete(store.ledger().reserve(half, SLOTS - 1).unwrap()).unwrap();
        let in_flight = store.ledger().reserve(flying, SLOTS).unwrap();
        std::fs::write(root.join(".tmpabc"), [0; 7]).unwrap();
        let orphan = store.prepared_path(BatchId([0xff; 16]), WeightsVersion([2; 16]));
        std::fs::write(&orphan, [0; 30]).unwrap();

        let before = all_files(&root);
        let size = |batch| std::fs::metadata(store.batch_path(batch)).unwrap().len();
        let all = [used, burnt, half, fresh, flying].map(size).iter().sum::<u64>();
        assert_eq!(store.bytes().unwrap(), all + 5 * 100 + 30);
        let bytes = size(used) + size(burnt) + 2 * 100 + 1000 + 7 + 30;
        let version = WeightsVersion([1; 16]);
        let wanted = Pruned { batches: vec![used, burnt], prepared: 3, weights: vec![version], leftovers: 1, bytes };
        assert_eq!(store.prune(true).unwrap(), wanted);
        assert_eq!(all_files(&root), before, "a dry run removes nothing");
        assert_eq!(store.prune(false).unwrap(), wanted);

        let gone: Vec<PathBuf> = before.into_iter().filter(|path| !path.exists()).collect();
        let mut expected_gone = vec![store.batch_path(used), store.batch_path(burnt), orphan, root.join(".tmpabc")];
        expected_gone.extend([used, burnt].map(|batch| store.prepared_path(batch, version)));
        expected_gone.push(root.join(format!("weights-{version}.bin")));
        expected_gone.sort();
        assert_eq!(gone, expected_gone);
        assert_eq!(store.prune(false).unwrap(), Pruned::default(), "there is nothing more");

        // What was spent stays spent, also after a restart.
        assert!(matches!(arrive(&store, 2), Err(Error::SeenBefore { .. })));
        store.ledger().complete(in_flight).unwrap();
        assert_eq!(store.prune(false).unwrap().batches, [flying]);
        drop(store);
        let store = Store::open(&root, 1).unwrap();
        assert!(matches!(arrive(&store, 3), Err(Error::SeenBefore { .. })));
        assert_eq!(store.ledger().status(half).unwrap().left, 1);
        for batch in [half, fresh] {
            store.open_batch(batch, &expected()).unwrap();
            assert!(store.prepared_path(batch, WeightsVersion([2; 16])).exists());
        }
    }

    #[test]
    fn leftovers_of_arrivals_are_counted_and_a_file_without_a_record_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("state");
        let batch = {
            let store = Store::open(&root, 1).unwrap();
            std::fs::write(root.join("batches/incoming-7.part"), [0; 50]).unwrap();
            arrive(&store, 2).unwrap()
        };
        let store = Store::open(&root, 1).unwrap();
        assert_eq!(store.prune(true).unwrap(), Pruned { leftovers: 1, bytes: 50, ..Pruned::default() });
        // A file that the ledger does not know is the operator's.
        std::fs::copy(store.batch_path(batch), store.batch_path(BatchId([9; 16]))).unwrap();
        store.prune(false).unwrap();
        assert!(store.batch_path(BatchId([9; 16])).exists() && store.batch_path(batch).exists());
    }
}
