//! Where a training stands between two turns, and the bytes that tell it to a checkpoint and to the dealer.

use std::sync::Arc;

use ariann_plan::Scale;

use super::course::Course;
use super::job::Ranges;

/// Bytes of a range, and of a state's scale.
const RANGE: usize = 16;
const SCALE: usize = 8;
/// Fractional bits of a scale at most, either way.
const MOST_BITS: i32 = 100;

/// Where a training stands between two turns: what the plans to come follow from, beside the job. Public.
#[derive(Clone, PartialEq)]
pub struct Standing {
    /// How often ranges were measured.
    pub(super) generation: u64,
    pub(super) ranges: Arc<Ranges>,
    /// Scales that the states have.
    pub(super) scales: Vec<Scale>,
}

impl Standing {
    /// Plans that follow from both are the same.
    pub(super) fn same(&self, other: &Standing) -> bool {
        let ranges = Arc::ptr_eq(&self.ranges, &other.ranges) || self.ranges == other.ranges;
        ranges && self.scales == other.scales
    }

    /// As bytes, little-endian: generation (8), ranges of the nodes of a step and of a test (16 each), fractional bits of the
    /// states (8 each).
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.generation.to_le_bytes().to_vec();
        let test = self.ranges.evaluation.iter().flat_map(|test| &test.nodes);
        for range in self.ranges.steps.nodes.iter().chain(test) {
            bytes.extend_from_slice(&range.max_abs.to_le_bytes());
            bytes.extend_from_slice(&range.rms.to_le_bytes());
        }
        self.scales.iter().for_each(|scale| bytes.extend_from_slice(&i64::from(scale.frac).to_le_bytes()));
        bytes
    }
}

impl Course {
    /// Bytes of a [`Standing`].
    pub fn standing_len(&self) -> usize {
        let Ranges { steps, evaluation } = &self.job().ranges;
        let nodes = steps.nodes.len() + evaluation.as_ref().map_or(0, |test| test.nodes.len());
        8 + RANGE * nodes + SCALE * self.states().len()
    }

    /// Reads what [`Standing::encode`] wrote of a training before turn `number`.
    pub fn standing(&self, number: u64, bytes: &[u8]) -> Result<Standing, &'static str> {
        if number > self.turns().count() {
            return Err("it stands after the last turn of the job");
        }
        if bytes.len() != self.standing_len() {
            return Err("where it stands has not the length that the job gives it");
        }
        let (generation, mut rest) = bytes.split_first_chunk().expect("its length was checked");
        let generation = u64::from_le_bytes(*generation);
        if generation != self.turns().measured_before(number) {
            return Err("its ranges were not measured as often as the job says");
        }
        let mut word = || {
            let (word, tail) = rest.split_first_chunk().expect("its length was checked");
            rest = tail;
            *word
        };
        let mut ranges = self.job().ranges.clone();
        let all = ranges.steps.nodes.iter_mut().chain(ranges.evaluation.iter_mut().flat_map(|test| &mut test.nodes));
        for range in all {
            (range.max_abs, range.rms) = (f64::from_le_bytes(word()), f64::from_le_bytes(word()));
        }
        if self.fits(&ranges).is_err() {
            return Err("where it stands has a range that is none");
        }
        let mut scales = Vec::with_capacity(self.states().len());
        for _ in self.states() {
            let frac = i64::from_le_bytes(word());
            let frac = i32::try_from(frac).ok().filter(|frac| frac.abs() <= MOST_BITS);
            scales.push(Scale::bits(frac.ok_or("where it stands has a scale that is none")?));
        }
        Ok(Standing { generation, ranges: Arc::new(ranges), scales })
    }
}
