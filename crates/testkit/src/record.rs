//! The record of masked values, and the question that it answers: did any mask hide two values?
//!
//! A message of `n` items is `n` runs of equally many bits. Where that is whole bytes, each slot has a digest of its own;
//! otherwise the message's digest stands for each of its slots.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

/// One line for a message that is about to leave.
pub fn line(role: &str, batch: &str, slots: Range<u32>, gate: u32, exchange: u32, message: &[u8]) -> String {
    let digest = |bytes: &[u8]| blake3::hash(bytes).to_hex()[..16].to_string();
    let items = slots.len();
    let of_slot = |index: usize| match message.len() % items {
        0 => digest(&message[message.len() / items * index..][..message.len() / items]),
        _ => digest(message),
    };
    let digests: Vec<String> = (0..items).map(of_slot).collect();
    format!("{role} {batch} {gate} {exchange} {} {}\n", slots.start, digests.join(" "))
}

/// What a mask belongs to: role, batch, slot, gate, exchange.
pub type Place = (String, String, u32, u32, u32);

/// Every masked value that left, by the place of its mask.
#[derive(Debug, Default)]
pub struct Record {
    values: BTreeMap<Place, Vec<String>>,
}

impl Record {
    /// Reads a record; an empty one when there is no file yet.
    pub fn read(path: &Path) -> Record {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let mut record = Record::default();
        // A line without its end was being written when its role was killed: nothing of it left.
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let number = |index: usize| fields[index].parse::<u32>().expect("a number in the record");
            let (gate, exchange, first) = (number(2), number(3), number(4));
            for (slot, digest) in (first..).zip(&fields[5..]) {
                let place = (fields[0].to_string(), fields[1].to_string(), slot, gate, exchange);
                record.values.entry(place).or_default().push(digest.to_string());
            }
        }
        record
    }

    /// Masks that anything left under.
    pub fn masks(&self) -> usize {
        self.values.len()
    }

    /// Whether `role` sent anything.
    pub fn has(&self, role: &str) -> bool {
        self.values.keys().any(|place| place.0 == role)
    }

    /// Slots of all batches that anything left under.
    pub fn slots(&self, role: &str) -> usize {
        let mut slots: Vec<(&str, u32)> =
            self.values.keys().filter(|place| place.0 == role).map(|place| (place.1.as_str(), place.2)).collect();
        slots.dedup();
        slots.len()
    }

    /// Places where something left twice.
    pub fn used_twice(&self) -> Vec<&Place> {
        self.values.iter().filter(|(_, values)| values.len() > 1).map(|(place, _)| place).collect()
    }

    /// Places where two different values left under one mask.
    pub fn two_values(&self) -> Vec<&Place> {
        let differ = |values: &Vec<String>| values.iter().any(|value| *value != values[0]);
        self.values.iter().filter(|(_, values)| differ(values)).map(|(place, _)| place).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(lines: &[String]) -> Record {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record");
        std::fs::write(&path, lines.concat()).unwrap();
        Record::read(&path)
    }

    #[test]
    fn a_mask_with_two_values_is_found_whatever_the_ranges() {
        let first = line("p1", "b", 0..2, 3, 0, &[1, 2, 3, 4]);
        let other_slots = line("p1", "b", 2..4, 3, 0, &[9, 9, 9, 9]);
        let other_gate = line("p1", "b", 0..2, 4, 0, &[9, 9, 9, 9]);
        let other_role = line("p0", "b", 0..2, 3, 0, &[9, 9, 9, 9]);
        let clean = record(&[first.clone(), other_slots, other_gate, other_role]);
        assert!(clean.used_twice().is_empty() && clean.two_values().is_empty());
        assert_eq!((clean.masks(), clean.slots("p1"), clean.slots("p0")), (8, 4, 2));

        let same = record(&[first.clone(), line("p1", "b", 1..2, 3, 0, &[3, 4])]);
        assert_eq!((same.used_twice().len(), same.two_values().len()), (1, 0));
        let differs = record(&[first.clone(), line("p1", "b", 1..2, 3, 0, &[3, 5])]);
        assert_eq!(differs.two_values(), [&("p1".to_string(), "b".to_string(), 1, 3, 0)]);
        let uneven = record(&[line("p1", "b", 0..2, 3, 0, &[1, 2, 3]), line("p1", "b", 0..2, 3, 0, &[1, 2, 4])]);
        assert_eq!(uneven.two_values().len(), 2);
    }

    #[test]
    fn a_line_cut_by_a_kill_is_left_out() {
        let whole = line("p1", "b", 0..1, 0, 0, &[1]);
        let cut = line("p1", "b", 1..2, 0, 0, &[1]).trim_end().to_string();
        assert_eq!(record(&[whole, cut]).masks(), 1);
    }
}
