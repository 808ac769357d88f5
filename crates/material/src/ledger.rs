//! The durable ledger: no slot is given out before the disk knows it.

use std::fs::OpenOptions;
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{Builder, Database, Durability, ReadableTable, StorageBackend, TableDefinition};

use crate::error::Error;
use crate::id::{BatchId, hex};
use crate::lock::patiently;
use crate::part::sync_folder;
use crate::record::{Record, Status, seal, unseal};
use crate::watch::{Trouble, Watched, damaged, explain, refused};

const BATCHES: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("batches");
const RECORDS: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("records");
const META: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("meta");
const VERSION: &[u8] = b"1";
const CACHE: usize = 4 << 20;

/// Slots that are this caller's alone, on disk before it exists. Complete or burn it; dropped, or lost
/// in a crash, its slots stay burnt.
#[must_use = "slots of a dropped reservation are burnt"]
pub struct Reservation {
    batch: BatchId,
    range: Range<u32>,
}

impl Reservation {
    /// The batch.
    pub fn batch(&self) -> BatchId {
        self.batch
    }

    /// The slots.
    pub fn range(&self) -> Range<u32> {
        self.range.clone()
    }

    fn count(&self) -> u32 {
        self.range.end - self.range.start
    }
}

/// Slots that a crash had left in flight; burnt when the ledger was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovered {
    /// The batch.
    pub batch: BatchId,
    /// How many.
    pub burnt: u32,
}

/// A batch and how it stands; an error when its record is damaged.
pub type Standing = (BatchId, Result<Status, Error>);

/// Outcome of comparing high-water marks with the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reconciled {
    /// The marks are equal.
    Equal,
    /// This party's mark was lower: a crash before its last reservation, or its state folder was
    /// rolled back. It has burnt so many slots now.
    WeWereBehind {
        /// Slots burnt.
        burnt: u32,
    },
    /// The peer's mark was lower by so many slots; the peer burns them.
    PeerWasBehind {
        /// Slots the peer burns.
        by: u32,
    },
}

/// Which slots of which batches are spent, and a few durable records of the party.
///
/// Every change is synced before the call returns. A range is reserved by two commits, so that even
/// the loss of the last one leaves it given out.
pub struct Ledger {
    database: Database,
    path: PathBuf,
    trouble: Trouble,
    recovered: Vec<Recovered>,
}

impl Ledger {
    /// Opens or creates (mode 0600) the ledger at `path`, and burns what a crash left open.
    pub fn open(path: &Path) -> Result<Self, Error> {
        patiently(|| Self::open_file(path))
    }

    fn open_file(path: &Path) -> Result<Self, Error> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(path).map_err(|source| Error::io("opening", path, 0, source))?;
        sync_folder(path)?;
        let backend = FileBackend::new(file);
        let backend = backend.map_err(|error| refused(path, &Trouble::default(), error))?;
        Self::open_with(backend, path)
    }

    /// The same over any storage; `path` names it in errors.
    pub fn open_with(backend: impl StorageBackend, path: &Path) -> Result<Self, Error> {
        let trouble = Trouble::default();
        let watched = Watched::new(backend, trouble.clone());
        // Checksums of all pages are compared; storage that is damaged in a way that the database does
        // not foresee may still end in a panic there, and is as unusable.
        let opened = catch_unwind(AssertUnwindSafe(|| {
            Builder::new().set_cache_size(CACHE).set_check_integrity_on_open(true).create_with_backend(watched)
        }));
        let database = match opened {
            Ok(Ok(database)) => database,
            Ok(Err(error)) => return Err(refused(path, &trouble, error)),
            Err(_) => return Err(damaged(path, "its pages contradict each other")),
        };
        let mut ledger = Self { database, path: path.into(), trouble, recovered: Vec::new() };
        ledger.check_version()?;
        ledger.recovered = ledger.burn_open()?;
        Ok(ledger)
    }

    /// What the last crash left in flight.
    pub fn recovered(&self) -> &[Recovered] {
        &self.recovered
    }

    /// Enters a batch; refused for ever after.
    pub fn register(&self, batch: BatchId, slots: u32) -> Result<(), Error> {
        self.write(|table| {
            if table.get(&batch.0[..])?.is_some() {
                return Ok(Err(Error::SeenBefore { batch, path: self.path.clone() }));
            }
            table.insert(&batch.0[..], &Record::fresh(slots).encode(&batch.0)[..])?;
            Ok(Ok(()))
        })
    }

    /// First slot that was never given out.
    pub fn high_water(&self, batch: BatchId) -> Result<u32, Error> {
        Ok(self.record(batch)?.mark)
    }

    /// How a batch stands.
    pub fn status(&self, batch: BatchId) -> Result<Status, Error> {
        Ok(self.record(batch)?.status())
    }

    /// Whether the batch was ever registered, even if its record is damaged.
    pub fn knows(&self, batch: BatchId) -> Result<bool, Error> {
        match self.record(batch) {
            Ok(_) | Err(Error::RecordDamaged { .. }) => Ok(true),
            Err(Error::Unknown { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// All batches in order of id.
    pub fn batches(&self) -> Result<Vec<Standing>, Error> {
        self.read(|transaction| {
            let table = transaction.open_table(BATCHES)?;
            let mut found = Vec::new();
            for row in table.iter()? {
                let (key, value) = row?;
                let Ok(id) = <[u8; 16]>::try_from(key.value()) else {
                    continue;
                };
                let record = Record::decode(&id, value.value());
                let status = record.map(|record| record.status()).ok_or_else(|| self.bad_batch(BatchId(id)));
                found.push((BatchId(id), status));
            }
            Ok(found)
        })
    }

    /// Takes the next `count` slots. They are on disk when this returns; all of them or none.
    pub fn reserve(&self, batch: BatchId, count: u32) -> Result<Reservation, Error> {
        if count == 0 {
            return Err(Error::Usage("a reservation of no slot".into()));
        }
        let start = self.change(batch, |record| {
            let left = record.slots - record.mark;
            if count > left {
                return Err(Error::Exhausted { batch, wanted: count, left });
            }
            let start = record.mark;
            record.mark += count;
            record.open += count;
            Ok(start)
        })?;
        // The database keeps its last two states. After this both contain the reservation.
        self.change(batch, |_| Ok(()))?;
        Ok(Reservation { batch, range: start..start + count })
    }

    /// The slots were used as intended. Returns how many.
    pub fn complete(&self, reservation: Reservation) -> Result<u32, Error> {
        self.close(reservation, true)
    }

    /// The slots are given up. Returns how many were burnt.
    pub fn burn(&self, reservation: Reservation) -> Result<u32, Error> {
        self.close(reservation, false)
    }

    /// Burns every slot below `mark` that was never given out. Returns how many.
    pub fn burn_to(&self, batch: BatchId, mark: u32) -> Result<u32, Error> {
        let burnt = self.change(batch, |record| {
            if mark > record.slots {
                let slots = record.slots;
                return Err(Error::Usage(format!("mark {mark} beyond the {slots} slots of batch {batch}")));
            }
            let burnt = mark.saturating_sub(record.mark);
            record.mark += burnt;
            Ok(burnt)
        })?;
        if burnt > 0 {
            self.change(batch, |_| Ok(()))?;
        }
        Ok(burnt)
    }

    /// Compares with the peer's high-water mark and burns up to the higher one, durably.
    ///
    /// `before`: this party's own mark as it was told to the peer.
    pub fn reconcile(&self, batch: BatchId, before: u32, peer: u32) -> Result<Reconciled, Error> {
        let burnt = self.burn_to(batch, peer)?;
        Ok(match peer.cmp(&before) {
            std::cmp::Ordering::Equal => Reconciled::Equal,
            std::cmp::Ordering::Greater => Reconciled::WeWereBehind { burnt },
            std::cmp::Ordering::Less => Reconciled::PeerWasBehind { by: before - peer },
        })
    }

    /// Stores a durable record of the party, such as the digest of a weights version.
    pub fn put_record(&self, key: &str, value: &[u8]) -> Result<(), Error> {
        self.put(RECORDS, key, &seal(key.as_bytes(), value))
    }

    /// The record, if there is one.
    pub fn record_of(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        match self.get(RECORDS, key)? {
            None => Ok(None),
            Some(sealed) => match unseal(key.as_bytes(), &sealed) {
                Some(value) => Ok(Some(value.to_vec())),
                None => Err(Error::RecordDamaged { path: self.path.clone(), what: format!("{key:?}") }),
            },
        }
    }

    /// Removes a record.
    pub fn remove_record(&self, key: &str) -> Result<(), Error> {
        self.guard(|| {
            let transaction = self.begin()?;
            transaction.open_table(RECORDS)?.remove(key)?;
            transaction.commit()?;
            Ok(())
        })
    }

    fn close(&self, reservation: Reservation, used: bool) -> Result<u32, Error> {
        let (count, end) = (reservation.count(), reservation.range.end);
        self.change(reservation.batch, |record| {
            if record.open < count || record.mark < end {
                return Err(Error::Usage("a reservation of another ledger".into()));
            }
            record.open -= count;
            record.used += if used { count } else { 0 };
            Ok(count)
        })
    }

    fn check_version(&self) -> Result<(), Error> {
        match self.get(META, "version")?.as_deref() {
            Some(VERSION) => return Ok(()),
            Some(_) => return Err(damaged(&self.path, "it was written by another version")),
            None => {}
        }
        // All tables exist from the first commit on, so that reading never meets a missing one.
        self.guard(|| {
            let transaction = self.begin()?;
            transaction.open_table(BATCHES)?;
            transaction.open_table(RECORDS)?;
            transaction.open_table(META)?.insert("version", VERSION)?;
            transaction.commit()?;
            Ok(())
        })
    }

    fn burn_open(&self) -> Result<Vec<Recovered>, Error> {
        let mut recovered = Vec::new();
        for (batch, status) in self.batches()? {
            match status {
                Ok(Status { open, .. }) if open > 0 => {
                    self.change(batch, |record| {
                        record.open = 0;
                        Ok(())
                    })?;
                    recovered.push(Recovered { batch, burnt: open });
                }
                _ => {}
            }
        }
        Ok(recovered)
    }

    fn record(&self, batch: BatchId) -> Result<Record, Error> {
        let bytes = self.read(|transaction| {
            Ok(transaction.open_table(BATCHES)?.get(&batch.0[..])?.map(|value| value.value().to_vec()))
        })?;
        self.decode(batch, bytes.as_deref())
    }

    fn decode(&self, batch: BatchId, bytes: Option<&[u8]>) -> Result<Record, Error> {
        let bytes = bytes.ok_or_else(|| Error::Unknown { batch, path: self.path.clone() })?;
        Record::decode(&batch.0, bytes).ok_or_else(|| self.bad_batch(batch))
    }

    fn bad_batch(&self, batch: BatchId) -> Error {
        Error::RecordDamaged { path: self.path.clone(), what: format!("batch {}", hex(&batch.0)) }
    }

    /// Reads a record, changes it and commits, in one transaction.
    fn change<T>(&self, batch: BatchId, edit: impl FnOnce(&mut Record) -> Result<T, Error>) -> Result<T, Error> {
        self.write(|table| {
            let bytes = table.get(&batch.0[..])?.map(|value| value.value().to_vec());
            let edited = self.decode(batch, bytes.as_deref()).and_then(|mut record| {
                let answer = edit(&mut record)?;
                Ok((answer, record))
            });
            match edited {
                Ok((answer, record)) => {
                    table.insert(&batch.0[..], &record.encode(&batch.0)[..])?;
                    Ok(Ok(answer))
                }
                Err(error) => Ok(Err(error)),
            }
        })
    }

    /// One durable transaction on the batches. The inner result is the caller's: an error aborts.
    fn write<T>(
        &self,
        work: impl FnOnce(&mut redb::Table<'_, &'static [u8], &'static [u8]>) -> Result<Result<T, Error>, redb::Error>,
    ) -> Result<T, Error> {
        self.guard(|| {
            let transaction = self.begin()?;
            let outcome = work(&mut transaction.open_table(BATCHES)?)?;
            match outcome {
                Ok(_) => transaction.commit()?,
                Err(_) => transaction.abort()?,
            }
            Ok(outcome)
        })?
    }

    fn read<T>(&self, work: impl FnOnce(&redb::ReadTransaction) -> Result<T, redb::Error>) -> Result<T, Error> {
        use redb::ReadableDatabase;
        self.guard(|| work(&self.database.begin_read()?))
    }

    fn put(&self, table: TableDefinition<'static, &str, &[u8]>, key: &str, value: &[u8]) -> Result<(), Error> {
        self.guard(|| {
            let transaction = self.begin()?;
            transaction.open_table(table)?.insert(key, value)?;
            transaction.commit()?;
            Ok(())
        })
    }

    fn get(&self, table: TableDefinition<'static, &str, &[u8]>, key: &str) -> Result<Option<Vec<u8>>, Error> {
        self.read(|transaction| match transaction.open_table(table) {
            Ok(table) => Ok(table.get(key)?.map(|value| value.value().to_vec())),
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(error.into()),
        })
    }

    fn begin(&self) -> Result<redb::WriteTransaction, redb::Error> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        Ok(transaction)
    }

    /// Says what of the storage failed.
    fn guard<T>(&self, work: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, Error> {
        match catch_unwind(AssertUnwindSafe(work)) {
            Ok(outcome) => outcome.map_err(|error| self.storage(error)),
            Err(_) => Err(damaged(&self.path, "its pages contradict each other")),
        }
    }

    fn storage(&self, error: redb::Error) -> Error {
        explain(&self.path, &self.trouble, error)
    }
}
