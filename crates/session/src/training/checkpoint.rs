//! Checkpoints: a party's shares of the states between two turns, in files that are whole or not there.
//!
//! File: "ariann checkpoint 2\n", digest of job and plans (32), party (1), ring bits (1), turn (8), lineage (16), length of what
//! was revealed (4) and that as JSON, where the training stands, the shares in the order of the job's states, BLAKE3 of all of it
//! (32). Little-endian.
//!
//! Shares of two sessions do not fit together even when they stand at the same turn: the lineage, drawn anew by every
//! session, tells them apart. Material is in no checkpoint, so a session that goes on from one takes fresh material.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ariann_gates::Party;
use ariann_ring::Ring;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::course::{Course, Earlier};
use super::messages::Mark;
use super::report::EpochReport;
use crate::SessionError;

const MAGIC: &[u8] = b"ariann checkpoint 2\n";
/// Bytes before what was revealed.
const HEAD: usize = MAGIC.len() + 32 + 1 + 1 + 8 + 16 + 4;
/// Bytes of what was revealed at most.
const MOST_REVEALED: usize = 1 << 30;
/// Checkpoints that are kept.
const KEPT: usize = 2;

/// What was revealed to a party so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Learned {
    /// Loss of an item, a step each.
    pub losses: Vec<f64>,
    /// An entry an epoch.
    pub epochs: Vec<EpochReport>,
}

/// A checkpoint's content.
pub(crate) struct Checkpoint<R> {
    pub mark: Mark,
    /// [`Standing::encode`](super::course::Standing::encode).
    pub standing: Vec<u8>,
    pub states: Vec<Vec<R>>,
    pub learned: Learned,
}

/// The folder of one party's checkpoints of one job.
pub(crate) struct Checkpoints {
    folder: PathBuf,
    job: [u8; 32],
    /// Courses whose checkpoints are of use up to a turn.
    earlier: Vec<Earlier>,
    party: Party,
    ring: u32,
    /// Bytes of where a training stands.
    standing: usize,
    /// Values of each state.
    lens: Vec<usize>,
    /// The one that this session went on from.
    from: Option<Mark>,
}

impl Checkpoints {
    /// Makes the folder unless it is there.
    pub fn open(folder: &Path, course: &Course, party: Party) -> Result<Checkpoints, SessionError> {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|source| SessionError::file("creating", folder, source))?;
        let lens = course.states().iter().map(|state| state.len()).collect();
        Ok(Checkpoints {
            folder: folder.to_path_buf(),
            job: course.digest(),
            earlier: course.earlier().to_vec(),
            party,
            ring: course.job().choices.ring,
            standing: course.standing_len(),
            lens,
            from: None,
        })
    }

    /// This session goes on from `mark`, which both parties have.
    pub fn goes_on(&mut self, mark: Mark) {
        self.from = Some(mark);
    }

    fn path(&self, mark: &Mark) -> PathBuf {
        let lineage: String = mark.lineage.iter().map(|byte| format!("{byte:02x}")).collect();
        self.folder.join(format!("p{}-{:012}-{lineage}.shares", self.party as u8, mark.turn))
    }

    /// The files here that bear the name of this party's checkpoints, oldest turn first.
    fn files(&self) -> Result<Vec<(Mark, PathBuf)>, SessionError> {
        let failed = |source| SessionError::file("reading", &self.folder, source);
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&self.folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if let Some(mark) = path.file_name().and_then(|name| name.to_str()).and_then(|name| self.parse(name)) {
                files.push((mark, path));
            }
        }
        files.sort();
        Ok(files)
    }

    fn parse(&self, name: &str) -> Option<Mark> {
        let rest = name.strip_suffix(".shares")?.strip_prefix(&format!("p{}-", self.party as u8))?;
        let (turn, lineage) = rest.split_once('-')?;
        if lineage.len() != 32 || !lineage.is_ascii() {
            return None;
        }
        let byte = |at: usize| u8::from_str_radix(&lineage[2 * at..2 * at + 2], 16).ok();
        let mut bytes = [0; 16];
        for (at, slot) in bytes.iter_mut().enumerate() {
            *slot = byte(at)?;
        }
        let mark = Mark { turn: turn.parse().ok()?, lineage: bytes };
        // Numbers can be written in other ways; a file has one name.
        (self.path(&mark).file_name()?.to_str()? == name).then_some(mark)
    }

    /// Whether there are any.
    pub fn any(&self) -> Result<bool, SessionError> {
        Ok(!self.files()?.is_empty())
    }

    /// The checkpoints here that are whole, of this job and usable, newest last; and why others are not.
    pub fn whole<R: Ring>(
        &self,
        usable: impl Fn(&Checkpoint<R>) -> Result<(), String>,
    ) -> Result<(Vec<Mark>, Vec<String>), SessionError> {
        let (mut whole, mut others) = (Vec::new(), Vec::new());
        for (mark, _) in self.files()? {
            let unusable = |reason: String| refused(&self.path(&mark), &reason);
            match self.read::<R>(&mark).and_then(|read| usable(&read).map_err(unusable)) {
                Ok(()) => whole.push(mark),
                Err(error) => others.push(error.to_string()),
            }
        }
        Ok((whole, others))
    }

    /// Reads and checks one.
    pub fn read<R: Ring>(&self, mark: &Mark) -> Result<Checkpoint<R>, SessionError> {
        let path = self.path(mark);
        let shares: u64 = self.lens.iter().map(|len| *len as u64 * u64::from(R::BITS / 8)).sum();
        let io = |source| SessionError::file("reading the checkpoint", &path, source);
        let most = (HEAD + MOST_REVEALED + self.standing + 32) as u64 + shares;
        if std::fs::metadata(&path).map_err(io)?.len() > most {
            return Err(refused(&path, "it is larger than any of this job"));
        }
        let bytes = Zeroizing::new(std::fs::read(&path).map_err(io)?);
        self.decode(&bytes, mark).map_err(|reason| refused(&path, reason))
    }

    fn decode<R: Ring>(&self, bytes: &[u8], mark: &Mark) -> Result<Checkpoint<R>, &'static str> {
        let Some((content, digest)) = bytes.split_last_chunk::<32>().filter(|(content, _)| content.len() >= HEAD)
        else {
            return Err("it is cut off");
        };
        if !content.starts_with(MAGIC) {
            return Err("it is no checkpoint of this version");
        }
        if blake3::hash(content).as_bytes() != digest {
            return Err("it is damaged or cut off");
        }
        let mut rest = &content[MAGIC.len()..];
        let mut take = |len: usize| {
            let (head, tail) = rest.split_at(len);
            rest = tail;
            head
        };
        let job = take(32);
        let earlier = self.earlier.iter().find(|earlier| earlier.digest == job);
        if job != self.job && earlier.is_none() {
            return Err("it belongs to another job");
        }
        if take(1)[0] != self.party as u8 || u32::from(take(1)[0]) != self.ring || self.ring != R::BITS {
            return Err("it belongs to the other party, or to another ring");
        }
        let turn = u64::from_le_bytes(take(8).try_into().expect("8 bytes"));
        let lineage = take(16).try_into().expect("16 bytes");
        if (Mark { turn, lineage }) != *mark {
            return Err("it was renamed");
        }
        if earlier.is_some_and(|earlier| turn > earlier.until) {
            return Err(
                "it stands in or behind the epoch that items are added to; let them take part from a later one",
            );
        }
        let told = u32::from_le_bytes(take(4).try_into().expect("4 bytes")) as usize;
        let word = R::BITS as usize / 8;
        let values: usize = self.lens.iter().sum();
        if rest.len() != told + self.standing + values * word {
            return Err("it has not the length that the job gives it");
        }
        let (told, rest) = rest.split_at(told);
        let (standing, mut shares) = rest.split_at(self.standing);
        let learned = serde_json::from_slice(told).map_err(|_| "what was revealed cannot be read")?;
        let mut states = Vec::with_capacity(self.lens.len());
        for len in &self.lens {
            let (own, others) = shares.split_at(len * word);
            states.push(own.chunks_exact(word).map(from_bytes).collect());
            shares = others;
        }
        Ok(Checkpoint { mark: *mark, standing: standing.to_vec(), states, learned })
    }

    fn encode<R: Ring>(&self, checkpoint: &Checkpoint<R>) -> Zeroizing<Vec<u8>> {
        let Checkpoint { mark, standing, states, learned } = checkpoint;
        let told = serde_json::to_vec(learned).expect("numbers are JSON");
        let word = R::BITS as usize / 8;
        let len = HEAD + told.len() + standing.len() + self.lens.iter().sum::<usize>() * word + 32;
        // Of full size from the start: a vector that grows leaves its old bytes behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(len));
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.job);
        bytes.extend_from_slice(&[self.party as u8, self.ring as u8]);
        bytes.extend_from_slice(&mark.turn.to_le_bytes());
        bytes.extend_from_slice(&mark.lineage);
        bytes.extend_from_slice(&(told.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&told);
        bytes.extend_from_slice(standing);
        for value in states.iter().flatten() {
            bytes.extend_from_slice(&value.to_u64().to_le_bytes()[..word]);
        }
        let digest = blake3::hash(&bytes);
        bytes.extend_from_slice(digest.as_bytes());
        bytes
    }

    /// Writes one, whole or not at all; the last ones stay, older ones and those of other sessions go.
    pub fn write<R: Ring>(&self, checkpoint: &Checkpoint<R>) -> Result<(), SessionError> {
        let (path, bytes) = (self.path(&checkpoint.mark), self.encode(checkpoint));
        let write = || -> std::io::Result<()> {
            let fresh = path.with_extension("part");
            let _ = std::fs::remove_file(&fresh);
            let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            std::fs::rename(&fresh, &path)?;
            std::fs::File::open(&self.folder)?.sync_all()
        };
        write().map_err(|source| SessionError::file("writing the checkpoint", &path, source))?;
        self.sweep(&checkpoint.mark)
    }

    /// Removes all but the newest ones up to `newest`. Until this session has two of its own, the one that it went on from
    /// stays: the other party may have been killed before it wrote. No other one will do: it may be this party's alone.
    fn sweep(&self, newest: &Mark) -> Result<(), SessionError> {
        let files = self.files()?;
        let (own, others): (Vec<_>, Vec<_>) = files.into_iter().partition(|(mark, _)| mark.lineage == newest.lineage);
        let spare = own.len().saturating_sub(KEPT);
        let needed = self.from.filter(|_| own.len() < KEPT);
        let old = others.iter().filter(|(mark, _)| Some(*mark) != needed);
        for (_, path) in own.iter().take(spare).chain(old) {
            std::fs::remove_file(path).map_err(|source| SessionError::file("removing", path, source))?;
        }
        Ok(())
    }
}

/// Bytes of a party's checkpoints of a job at most: those that are kept, the one that it went on from, and the one being written.
pub(crate) fn room(course: &Course) -> u64 {
    /// Of a loss or an accuracy, as JSON.
    const NUMBER: u64 = 24;
    let values: u64 = course.states().iter().map(|state| state.len() as u64).sum();
    let told = NUMBER * (course.turns().steps_in_all() + 4 * u64::from(course.job().recipe.epochs));
    let around = (HEAD + course.standing_len() + 32) as u64;
    (KEPT as u64 + 2) * (around + told + values * u64::from(course.job().choices.ring / 8))
}

fn refused(path: &Path, reason: &str) -> SessionError {
    let advice = "take it out of the folder, or begin anew without resume";
    SessionError::Config(format!("the checkpoint {}: {reason}; {advice}", path.display()))
}

fn from_bytes<R: Ring>(bytes: &[u8]) -> R {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    // Wraps to the ring: the bytes are an element's.
    R::from_i64(u64::from_le_bytes(word) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A party whose checkpoints fit no job, with one state of two values.
    fn folder(path: &Path, party: Party, from: Option<Mark>) -> Checkpoints {
        Checkpoints {
            folder: path.to_path_buf(),
            job: [7; 32],
            earlier: vec![],
            party,
            ring: 32,
            standing: 3,
            lens: vec![2],
            from,
        }
    }

    fn write(path: &Path, party: Party, from: Option<Mark>, mark: Mark) {
        let states = vec![vec![1u32, 2]];
        let checkpoint = Checkpoint { mark, standing: vec![7; 3], states, learned: Learned::default() };
        folder(path, party, from).write(&checkpoint).unwrap();
    }

    #[test]
    fn a_checkpoint_has_one_name() {
        let folder = folder(Path::new("."), Party::P1, None);
        let mark = Mark { turn: 12, lineage: [0xab; 16] };
        let name = folder.path(&mark).file_name().unwrap().to_str().unwrap().to_string();
        assert_eq!(folder.parse(&name), Some(mark));
        let long = Mark { turn: u64::MAX, ..mark };
        assert_eq!(folder.parse(folder.path(&long).file_name().unwrap().to_str().unwrap()), Some(long));
        for (from, to) in [
            ("p1-000000000012", "p1-12"),
            ("p1-000000000012", "p1-+00000000012"),
            ("p1-000000000012", "p1-0000000000012"),
            ("p1-000000000012", "p0-000000000012"),
            ("p1-000000000012", "p1-99999999999999999999"),
            ("abab", "ABab"),
            ("abab", "+bab"),
            ("abab", "ab"),
            ("abab", "ä"),
            (".shares", ".part"),
        ] {
            let other = name.replacen(from, to, 1);
            assert!(other != name && folder.parse(&other).is_none(), "{other}");
        }
    }

    #[test]
    fn however_often_one_party_alone_writes_both_keep_a_common_one() {
        let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let [p0, p1] = [0, 1].map(|party: usize| folders[party].path());
        let begun = |lineage: u8, turn: u64| Mark { turn, lineage: [lineage; 16] };
        for turn in [0, 5, 9] {
            write(p0, Party::P0, None, begun(200, turn));
            write(p1, Party::P1, None, begun(200, turn));
        }
        let mut common = begun(200, 9);
        // Sessions whose first checkpoint is written by P1 alone, with lineages above and below the common one.
        for lineage in [250, 100, 251, 99, 98, 252] {
            write(p1, Party::P1, Some(common), begun(lineage, common.turn));
            let [a, b] = [(p0, Party::P0), (p1, Party::P1)].map(|(path, party)| folder(path, party, None));
            let (a, b) = (a.whole::<u32>(|_| Ok(())).unwrap().0, b.whole::<u32>(|_| Ok(())).unwrap().0);
            assert!(b.len() <= KEPT, "{b:?}");
            let newest = a.iter().filter(|mark| b.contains(mark)).max();
            assert_eq!(newest, Some(&common), "{a:?} and {b:?}");
        }
        // A session that both write in takes its place.
        for turn in [9, 12, 15] {
            for (path, party) in [(p0, Party::P0), (p1, Party::P1)] {
                write(path, party, Some(common), begun(50, turn));
            }
        }
        common = begun(50, 15);
        for (path, party) in [(p0, Party::P0), (p1, Party::P1)] {
            let whole = folder(path, party, None).whole::<u32>(|_| Ok(())).unwrap().0;
            assert_eq!(whole, [begun(50, 12), common]);
        }
    }
}
