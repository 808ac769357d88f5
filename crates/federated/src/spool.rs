//! Where the server keeps a round: its state, and the updates as they came, so that the sum is taken of files that are whole
//! and of each once, however often the server was killed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::keep::{create, settle};
use crate::{FederatedError, Keep, KeepFile, KeepMemory};

/// Keeps a round's state and updates.
pub trait Spool: Keep {
    /// An update begins; what came of an earlier attempt of this owner goes.
    fn begin(&mut self, owner: u16) -> Result<(), FederatedError>;
    /// More bytes of it.
    fn append(&mut self, owner: u16, bytes: &[u8]) -> Result<(), FederatedError>;
    /// It is whole and its digest is right. When this returns, it survives a crash.
    fn finish(&mut self, owner: u16, digest: [u8; 32]) -> Result<(), FederatedError>;
    /// What came of it so far goes.
    fn drop_part(&mut self, owner: u16);
    /// The whole ones, with their digests.
    fn finished(&self) -> Result<BTreeMap<u16, [u8; 32]>, FederatedError>;
    /// Bytes of a whole one.
    fn read(&self, owner: u16, first: u64, out: &mut [u8]) -> Result<(), FederatedError>;
}

/// A round in memory: for simulations, where nothing has to survive.
#[derive(Default)]
pub struct MemorySpool {
    state: KeepMemory,
    parts: BTreeMap<u16, Vec<u8>>,
    whole: BTreeMap<u16, ([u8; 32], Vec<u8>)>,
}

impl Keep for MemorySpool {
    fn save(&mut self, state: &[u8]) -> Result<(), FederatedError> {
        self.state.save(state)
    }

    fn load(&self) -> Result<Option<Zeroizing<Vec<u8>>>, FederatedError> {
        self.state.load()
    }
}

const NOT_BEGUN: FederatedError = FederatedError::Order("an update goes on that was not begun");

impl Spool for MemorySpool {
    fn begin(&mut self, owner: u16) -> Result<(), FederatedError> {
        self.parts.insert(owner, Vec::new());
        Ok(())
    }

    fn append(&mut self, owner: u16, bytes: &[u8]) -> Result<(), FederatedError> {
        self.parts.get_mut(&owner).ok_or(NOT_BEGUN)?.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(&mut self, owner: u16, digest: [u8; 32]) -> Result<(), FederatedError> {
        let bytes = self.parts.remove(&owner).ok_or(NOT_BEGUN)?;
        self.whole.insert(owner, (digest, bytes));
        Ok(())
    }

    fn drop_part(&mut self, owner: u16) {
        self.parts.remove(&owner);
    }

    fn finished(&self) -> Result<BTreeMap<u16, [u8; 32]>, FederatedError> {
        Ok(self.whole.iter().map(|(owner, (digest, _))| (*owner, *digest)).collect())
    }

    fn read(&self, owner: u16, first: u64, out: &mut [u8]) -> Result<(), FederatedError> {
        let (_, bytes) = self.whole.get(&owner).ok_or(FederatedError::Order("an update is read that is not there"))?;
        out.copy_from_slice(&bytes[first as usize..][..out.len()]);
        Ok(())
    }
}

/// A round in a folder of its own: `state`, and `y-OWNER-DIGEST` for every update that is whole.
pub struct FolderSpool {
    folder: PathBuf,
    state: KeepFile,
    parts: BTreeMap<u16, File>,
    whole: BTreeMap<u16, ([u8; 32], File)>,
}

impl FolderSpool {
    /// Makes the folder unless it is there, and looks what is in it.
    pub fn open(folder: &Path) -> Result<FolderSpool, FederatedError> {
        let io = FederatedError::disk("open", folder);
        let mut builder = std::fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.recursive(true).create(folder).map_err(&io)?;
        let mut whole = BTreeMap::new();
        for entry in std::fs::read_dir(folder).map_err(&io)? {
            let path = entry.map_err(&io)?.path();
            if let Some((owner, digest)) = path.file_name().and_then(|name| name.to_str()).and_then(parse) {
                let file = File::open(&path).map_err(FederatedError::disk("open", &path))?;
                if whole.insert(owner, (digest, file)).is_some() {
                    return Err(FederatedError::file(&path, format!("owner {owner} has two updates here")));
                }
            }
        }
        let state = KeepFile::at(&folder.join("state"));
        Ok(FolderSpool { folder: folder.into(), state, parts: BTreeMap::new(), whole })
    }

    fn part(&self, owner: u16) -> PathBuf {
        self.folder.join(format!("y-{owner:05}.part"))
    }
}

fn name(owner: u16, digest: &[u8; 32]) -> String {
    format!("y-{owner:05}-{}", blake3::Hash::from_bytes(*digest).to_hex())
}

fn parse(file: &str) -> Option<(u16, [u8; 32])> {
    let (owner, digest) = file.strip_prefix("y-")?.split_once('-')?;
    let (owner, digest) = (owner.parse().ok()?, *blake3::Hash::from_hex(digest).ok()?.as_bytes());
    (name(owner, &digest) == file).then_some((owner, digest))
}

impl Keep for FolderSpool {
    fn save(&mut self, state: &[u8]) -> Result<(), FederatedError> {
        self.state.save(state)
    }

    fn load(&self) -> Result<Option<Zeroizing<Vec<u8>>>, FederatedError> {
        self.state.load()
    }
}

impl Spool for FolderSpool {
    fn begin(&mut self, owner: u16) -> Result<(), FederatedError> {
        let path = self.part(owner);
        let file = create(&path).map_err(FederatedError::disk("create", &path))?;
        self.parts.insert(owner, file);
        Ok(())
    }

    fn append(&mut self, owner: u16, bytes: &[u8]) -> Result<(), FederatedError> {
        let path = self.part(owner);
        let file = self.parts.get_mut(&owner).ok_or(NOT_BEGUN)?;
        file.write_all(bytes).map_err(FederatedError::disk("write", &path))
    }

    fn finish(&mut self, owner: u16, digest: [u8; 32]) -> Result<(), FederatedError> {
        let (part, path) = (self.part(owner), self.folder.join(name(owner, &digest)));
        let file = self.parts.remove(&owner).ok_or(NOT_BEGUN)?;
        let settled = file.sync_all().and_then(|()| settle(&part, &path)).and_then(|()| File::open(&path));
        self.whole.insert(owner, (digest, settled.map_err(FederatedError::disk("write", &path))?));
        Ok(())
    }

    fn drop_part(&mut self, owner: u16) {
        self.parts.remove(&owner);
        let _ = std::fs::remove_file(self.part(owner));
    }

    fn finished(&self) -> Result<BTreeMap<u16, [u8; 32]>, FederatedError> {
        Ok(self.whole.iter().map(|(owner, (digest, _))| (*owner, *digest)).collect())
    }

    fn read(&self, owner: u16, first: u64, out: &mut [u8]) -> Result<(), FederatedError> {
        let (digest, file) =
            self.whole.get(&owner).ok_or(FederatedError::Order("an update is read that is not there"))?;
        let path = self.folder.join(name(owner, digest));
        file.read_exact_at(out, first).map_err(FederatedError::disk("read", &path))
    }
}
