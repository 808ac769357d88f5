//! The program's seams, set by environment variables: what is recorded, and how the ledger is broken.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use ariann_gates::Party;
use ariann_material::{BatchId, Error, Ledger, Reservation, StorageBackend, Store};
use ariann_session::hooks::{Hooks, Observer};

use crate::record;
use crate::storage::{Sync, Volatile};

/// Names the file that every role appends its masked values to, before they leave.
pub const MASKED: &str = "ARIANN_TEST_MASKED";
/// Names the folder for the plaintext bytes that a role receives: `ROLE-from-PEER`.
pub const RECEIVED: &str = "ARIANN_TEST_RECEIVED";
/// Names the ledger: see [`Variant`].
pub const LEDGER: &str = "ARIANN_TEST_LEDGER";

/// How a party keeps its ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// As shipped.
    Real,
    /// As shipped, over storage that forgets on a kill what was not synced, as a machine does when it loses power.
    PowerLoss,
    /// Reservations are not on disk when they are given out: they get there before the next one.
    NoReservation,
    /// Nothing is ever synced, over storage that forgets.
    NoSync,
}

impl Variant {
    /// The value of [`LEDGER`].
    pub fn name(self) -> &'static str {
        match self {
            Variant::Real => "real",
            Variant::PowerLoss => "power-loss",
            Variant::NoReservation => "no-reservation",
            Variant::NoSync => "no-sync",
        }
    }
}

/// Hooks as the environment wants them; those of the program where it wants none.
pub fn from_env() -> Hooks {
    let hooks = Hooks { observer: |role| Box::new(Recorder::new(role)), ..Hooks::default() };
    match std::env::var(LEDGER).as_deref() {
        Err(_) | Ok("real") => hooks,
        Ok("power-loss") => Hooks { open_store: |path, party| open(path, party, Sync::Honest), ..hooks },
        Ok("no-sync") => Hooks { open_store: |path, party| open(path, party, Sync::Skipped), ..hooks },
        Ok("no-reservation") => {
            Hooks { open_store: |path, party| open(path, party, Sync::Honest), reserve: reserve_in_memory, ..hooks }
        }
        Ok(other) => panic!("{LEDGER}={other}: no such ledger"),
    }
}

/// While set, storage does not sync.
static HELD: AtomicBool = AtomicBool::new(false);

fn open(path: &Path, party: Party, sync: Sync) -> Result<Store, Error> {
    Store::open_with(path, party as u8, |path| {
        let failed = |source| Error::Io { doing: "opening", path: path.to_path_buf(), source };
        Ledger::open_with(Holdable(Volatile::open(path, sync).map_err(failed)?), path)
    })
}

fn reserve_in_memory(store: &Store, batch: BatchId, count: u32) -> Result<Reservation, Error> {
    HELD.store(false, Ordering::SeqCst);
    store.ledger().put_record("sync what was held", &[])?;
    HELD.store(true, Ordering::SeqCst);
    store.ledger().reserve(batch, count)
}

/// Storage whose syncs can be held back until a later one.
#[derive(Debug)]
struct Holdable(Volatile);

impl StorageBackend for Holdable {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        if HELD.load(Ordering::SeqCst) { Ok(()) } else { self.0.sync_data() }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
}

/// Writes down what leaves a role and what reaches it.
struct Recorder {
    role: String,
    masked: Option<PathBuf>,
    received: Option<PathBuf>,
    open: Vec<(PathBuf, File)>,
}

impl Recorder {
    fn new(role: &str) -> Self {
        let named = |variable| std::env::var_os(variable).map(PathBuf::from);
        Recorder { role: role.to_string(), masked: named(MASKED), received: named(RECEIVED), open: Vec::new() }
    }

    /// Appends in one write: what is in the page cache survives the kill of a process.
    fn append(&mut self, path: &Path, bytes: &[u8]) {
        let index = self.open.iter().position(|(known, _)| known == path).unwrap_or_else(|| {
            let file = OpenOptions::new().append(true).create(true).open(path).expect("a file of the test");
            self.open.push((path.to_path_buf(), file));
            self.open.len() - 1
        });
        self.open[index].1.write_all(bytes).expect("space for the record of a test");
    }
}

impl Observer for Recorder {
    fn sending(&mut self, batch: BatchId, slots: Range<u32>, gate: u32, exchange: u32, message: &[u8]) {
        if let Some(path) = self.masked.clone() {
            let line = record::line(&self.role, &batch.to_string(), slots, gate, exchange, message);
            self.append(&path, line.as_bytes());
        }
    }

    fn received(&mut self, peer: &str, bytes: &[u8]) {
        if let Some(folder) = &self.received {
            let path = folder.join(format!("{}-from-{peer}", self.role));
            self.append(&path, bytes);
        }
    }
}
