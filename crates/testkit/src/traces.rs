//! Looking for a secret where it must not be: runs of its bytes in whatever a role received, stored or holds in memory.

use std::collections::HashSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// Bytes of a run. Chance finds none of them: a run has no zeros and at least three different words.
const RUN: usize = 16;

/// Runs of a secret's bytes, in one encoding or several.
#[derive(Default)]
pub struct Needles {
    runs: HashSet<[u8; RUN]>,
    begins: Vec<bool>,
}

impl Needles {
    /// Adds runs of `bytes` whose values are `word` bytes long.
    pub fn add(&mut self, bytes: &[u8], word: usize) {
        self.begins.resize(1 << 16, false);
        for run in bytes.windows(RUN).step_by(word) {
            let words: HashSet<&[u8]> = run.chunks(word).collect();
            let empty = run.chunks(word).any(|word| word.iter().all(|byte| *byte == 0));
            if !empty && words.len() >= 3.min(RUN / word) {
                self.begins[begin(run)] = true;
                self.runs.insert(run.try_into().expect("a run"));
            }
        }
        assert!(!self.runs.is_empty(), "nothing to look for");
    }

    /// Adds float32 values, little-endian.
    pub fn add_floats(&mut self, values: &[f32]) {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.add(&bytes, 4);
    }

    /// Adds 32-bit ring elements, little-endian.
    pub fn add_words(&mut self, values: &[u32]) {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.add(&bytes, 4);
    }

    /// How many different runs are looked for.
    pub fn len(&self) -> usize {
        self.runs.len()
    }

    /// Whether there is nothing to look for.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Where a run stands in `bytes`.
    pub fn find(&self, bytes: &[u8]) -> Option<usize> {
        bytes.windows(RUN).position(|window| self.begins[begin(window)] && self.runs.contains(window))
    }

    /// The first file below `folder` that holds a run.
    pub fn find_in_folder(&self, folder: &Path) -> Option<String> {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let found = match path.is_dir() {
                true => self.find_in_folder(&path),
                false => {
                    self.find(&std::fs::read(&path).expect("a file")).map(|at| format!("{} at {at}", path.display()))
                }
            };
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// Whether the writable memory of a stopped process holds a run; none when the system does not let us look.
    pub fn find_in_memory(&self, pid: u32) -> Option<bool> {
        let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
        let mut memory = File::open(format!("/proc/{pid}/mem")).ok()?;
        let mut looked_at = 0;
        for line in maps.lines() {
            let mut fields = line.split_whitespace();
            let (range, mode) = (fields.next()?, fields.next()?);
            if !mode.starts_with("rw") {
                continue;
            }
            let (start, end) = range.split_once('-')?;
            let number = |text| u64::from_str_radix(text, 16).ok();
            let (start, end) = (number(start)?, number(end)?);
            let mut bytes = vec![0; (end - start) as usize];
            memory.seek(SeekFrom::Start(start)).ok()?;
            if memory.read_exact(&mut bytes).is_err() {
                continue;
            }
            looked_at += bytes.len();
            if self.find(&bytes).is_some() {
                return Some(true);
            }
        }
        (looked_at > 0).then_some(false)
    }
}

fn begin(run: &[u8]) -> usize {
    usize::from(run[0]) << 8 | usize::from(run[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_found_at_any_offset_and_near_misses_are_not() {
        let mut needles = Needles::default();
        needles.add_floats(&[0.5, -1.25, 3.0, 0.1, 7.5]);
        assert_eq!(needles.len(), 2);
        let mut bytes = vec![9; 101];
        bytes.extend([-1.25f32, 3.0, 0.1, 7.5].iter().flat_map(|value| value.to_le_bytes()));
        assert_eq!(needles.find(&bytes), Some(101));
        bytes.truncate(116);
        assert_eq!(needles.find(&bytes), None);
    }

    #[test]
    fn own_memory_is_searched() {
        let values: Vec<f32> = (1..2000).map(|i| (i as f32).sqrt() * std::f32::consts::E).collect();
        let mut needles = Needles::default();
        needles.add_floats(&values[..100]);
        assert_ne!(needles.find_in_memory(std::process::id()), Some(false));
        assert!(values.len() == 1999);
    }
}
