//! What can go wrong, and who is at fault.

use std::io;
use std::path::{Path, PathBuf};

use crate::id::BatchId;
use crate::layout::Place;

/// Who can put an error right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Whoever runs this party.
    Operator,
    /// Whoever made or carried the material.
    Dealer,
    /// The storage below.
    Disk,
    /// The program that calls this crate.
    Caller,
}

/// Errors of material files, the store and the ledger.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a file operation.
    #[error("disk: {doing} {path}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// No space is left.
    #[error("disk: no space left for {bytes} bytes of {path}; nothing was given out; free space and start again")]
    DiskFull {
        /// The file that could not grow.
        path: PathBuf,
        /// Bytes that were to be written.
        bytes: u64,
    },
    /// The receiver of encoded bytes failed.
    #[error("while sending batch {batch}: {source}")]
    Send {
        /// The batch.
        batch: BatchId,
        /// The reason.
        source: io::Error,
    },
    /// The bytes are not a material file of this version.
    #[error("dealer: {from} is no valid material: {what}; have it dealt again")]
    Malformed {
        /// File or stream.
        from: String,
        /// What is wrong.
        what: &'static str,
    },
    /// Valid material, but not the one asked for.
    #[error(
        "operator: {from} is other material: its {field} is {got}, expected {expected}; use the batch dealt for this plan and party"
    )]
    Mismatch {
        /// File or stream.
        from: String,
        /// The differing field.
        field: &'static str,
        /// The caller's value.
        expected: String,
        /// The file's value.
        got: String,
    },
    /// The file is longer or shorter than its header and the plan's layout say.
    #[error("dealer: {from} has {got} bytes where {expected} belong{}; have it dealt again", first_lost(.lost))]
    Length {
        /// File or stream.
        from: String,
        /// Bytes that belong there.
        expected: u64,
        /// Bytes found.
        got: u64,
        /// First chunk that is not whole; none when the file is too long or the header is cut.
        lost: Option<Place>,
    },
    /// A chunk differs from what the dealer wrote.
    #[error("dealer: {from}, batch {batch}, {place} is damaged; nothing of it was used; have it dealt again")]
    Chunk {
        /// File or stream.
        from: String,
        /// The batch.
        batch: BatchId,
        /// The chunk.
        place: Place,
    },
    /// A call that does not fit the layout or the order of sections.
    #[error("material used wrongly: {0}")]
    Usage(String),
    /// The batch was registered before.
    #[error("dealer: material seen before: batch {batch} is in the ledger {path}; deal a fresh batch")]
    SeenBefore {
        /// The batch.
        batch: BatchId,
        /// The ledger.
        path: PathBuf,
    },
    /// The ledger does not know the batch.
    #[error(
        "operator: batch {batch} is not in the ledger {path}, so its use cannot be tracked; import it first, or deal a fresh batch"
    )]
    Unknown {
        /// The batch.
        batch: BatchId,
        /// The ledger.
        path: PathBuf,
    },
    /// Not enough slots are left.
    #[error("operator: batch {batch} has {left} slots left where {wanted} are wanted; deal more material")]
    Exhausted {
        /// The batch.
        batch: BatchId,
        /// Slots asked for.
        wanted: u32,
        /// Slots left.
        left: u32,
    },
    /// The ledger as a whole cannot be trusted.
    #[error(
        "disk: ledger {path} is damaged ({what}); every batch it tracks is refused; start with a new state folder and fresh material"
    )]
    LedgerDamaged {
        /// The ledger.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// One record of the ledger cannot be trusted.
    #[error("disk: the record of {what} in ledger {path} is damaged; it is refused; deal a fresh batch")]
    RecordDamaged {
        /// The ledger.
        path: PathBuf,
        /// Which record.
        what: String,
    },
    /// The state folder had a ledger, and it is gone or is another folder's.
    #[error(
        "operator: state folder {path}: {what}; put the folder's own ledger back or start with an empty folder and fresh material"
    )]
    ForeignLedger {
        /// The state folder.
        path: PathBuf,
        /// What was found.
        what: &'static str,
    },
    /// The ledger's storage failed; nothing was given out.
    #[error("disk: ledger {path}: {what}; nothing was given out; see to the disk and start again")]
    Ledger {
        /// The ledger.
        path: PathBuf,
        /// What failed.
        what: String,
    },
    /// Another process works on the state folder.
    #[error("operator: state folder {path} is in use by {holder}; stop it or give this party another folder")]
    Locked {
        /// The state folder.
        path: PathBuf,
        /// Who holds it.
        holder: String,
    },
    /// The operating system gave no randomness.
    #[error("operator: no randomness from the operating system: {0}")]
    Entropy(String),
}

fn first_lost(lost: &Option<Place>) -> String {
    lost.map(|place| format!(", cut in {place}")).unwrap_or_default()
}

impl Error {
    /// Who can put it right.
    pub fn fault(&self) -> Fault {
        use Error::*;
        match self {
            Io { .. } | DiskFull { .. } | LedgerDamaged { .. } | RecordDamaged { .. } | Ledger { .. } => Fault::Disk,
            Malformed { .. } | Length { .. } | Chunk { .. } | SeenBefore { .. } => Fault::Dealer,
            Usage(_) | Send { .. } => Fault::Caller,
            Mismatch { .. } | Unknown { .. } | Exhausted { .. } | ForeignLedger { .. } | Locked { .. } | Entropy(_) => {
                Fault::Operator
            }
        }
    }

    pub(crate) fn io(doing: &'static str, path: &Path, bytes: u64, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::DiskFull { path, bytes },
            _ => Error::Io { doing, path, source },
        }
    }
}
