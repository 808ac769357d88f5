//! Pooled training: data owners share their rows among P0 and P1, once, before the first step.
//!
//! Of every row P0 has the words of a seed that the owner drew, P1 the difference. Neither tells anything about the row; the
//! dealer never meets an owner. Rows stand in the order of the job's owners.

use std::collections::{BTreeMap, BTreeSet};

use ariann_gates::{Party, Receiver};
use ariann_net::Fingerprint;
use ariann_plan::training::Source;
use ariann_prg::{Address, Prg, Seed};
use ariann_ring::Ring;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::course::{Course, need};
use super::job::{Job, JobError};

/// Owners of a job at most.
const OWNERS: usize = 1024;
/// Characters of an owner's name at most.
const NAME: usize = 64;
/// Times that items are added at most.
const ADDED: usize = 64;
/// Bytes of P0's part of a sharing: a seed.
pub(crate) const SEED: usize = 16;

/// A data owner of a pooled training.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowOwner {
    /// Its name in messages.
    pub name: String,
    /// Fingerprint of its identity.
    pub fingerprint: String,
    /// Items that it brings to the training set.
    pub rows: u64,
    /// Items that it brings to the test set.
    pub test_rows: u64,
    /// The epoch, counted from 1, from which on these items take part: an owner that adds some stands in the list again.
    #[serde(default = "first", skip_serializing_if = "is_first")]
    pub from_epoch: u32,
}

impl RowOwner {
    /// Its name, and which of its rows.
    pub(crate) fn label(&self) -> String {
        match self.from_epoch {
            1 => self.name.clone(),
            epoch => format!("{} (from epoch {epoch} on)", self.name),
        }
    }
}

pub(super) fn first() -> u32 {
    1
}

pub(super) fn is_first(epoch: &u32) -> bool {
    *epoch == 1
}

/// The job's owners are those of its rows, and can be told apart.
pub(crate) fn check(job: &Job) -> Result<(), JobError> {
    let Job { owners, rows, test_rows, .. } = job;
    let inside = job.revealed().iter().all(|(_, to)| *to != Receiver::Client);
    need(inside, "results go to outside clients, who take no part in it")?;
    let pooled = job.features == Source::Owners;
    need(
        pooled == (job.labels == Source::Owners),
        "items and labels are not both shared by owners, or both a party's",
    )?;
    need(pooled != owners.is_empty(), "list of owners is not that of who brings its rows")?;
    if !pooled {
        return Ok(());
    }
    need(owners.len() <= OWNERS, "list of owners is too long")?;
    let sum = |of: fn(&RowOwner) -> u64| owners.iter().try_fold(0u64, |sum, owner| sum.checked_add(of(owner)));
    need(sum(|owner| owner.rows) == Some(*rows), "owners do not bring as many items as it has")?;
    need(sum(|owner| owner.test_rows) == Some(*test_rows), "owners do not bring as many items of the test as it has")?;
    need(job.reveals.accuracy.is_some() || *test_rows == 0, "owners bring a test set that nothing is told of")?;
    need(owners.iter().all(|owner| owner.rows > 0 || owner.test_rows > 0), "owners are some who bring nothing")?;
    let named = |name: &str| !name.is_empty() && name.len() <= NAME && !name.chars().any(char::is_control);
    need(owners.iter().all(|owner| named(&owner.name)), "owners have names that are none")?;
    let mut named: BTreeMap<&str, [u8; 32]> = BTreeMap::new();
    let (mut identities, mut places) = (BTreeMap::new(), BTreeSet::new());
    for owner in owners {
        let name = owner.name.as_str();
        let pin: Result<Fingerprint, _> = owner.fingerprint.parse();
        need(pin.is_ok(), &format!("owner {name} has a fingerprint that is none"))?;
        let Ok(pin) = pin.map(|pin| *pin.as_bytes()) else { continue };
        need(*named.entry(name).or_insert(pin) == pin, "owners have one name twice")?;
        need(*identities.entry(pin).or_insert(name) == name, "owners have one identity twice")?;
        need(places.insert((name, owner.from_epoch)), &format!("owner {name} stands twice at one epoch"))?;
    }
    let epochs: Vec<u32> = owners.iter().map(|owner| owner.from_epoch).collect();
    need(epochs.is_sorted(), "owners do not stand in the order of the epochs from which on they take part")?;
    let within = epochs.iter().all(|epoch| (1..=job.recipe.epochs).contains(epoch));
    need(within, "owners add items to an epoch that there is not")?;
    need(epochs.iter().filter(|epoch| **epoch > 1).count() <= ADDED, "owners add items too often")?;
    let added = |owner: &RowOwner| owner.from_epoch == 1 || owner.test_rows == 0;
    need(owners.iter().all(added), "owners add items to the test set on the way")?;
    need(rows_at(job, 0) >= job.recipe.batch as u64, "owners bring too few items for the first epoch")
}

/// Items that take part in an epoch, counted from 0.
pub(crate) fn rows_at(job: &Job, epoch: u32) -> u64 {
    if job.owners.is_empty() {
        return job.rows;
    }
    job.owners.iter().filter(|owner| owner.from_epoch <= epoch + 1).map(|owner| owner.rows).sum()
}

/// The epochs after the first, counted from 0, from which on more items take part.
pub(crate) fn joints(job: &Job) -> Vec<u32> {
    let mut joints: Vec<u32> =
        job.owners.iter().filter(|owner| owner.from_epoch > 1).map(|owner| owner.from_epoch - 1).collect();
    joints.dedup();
    joints
}

/// Every job that this one may have been made from by adding items, and the owners that it has.
pub(crate) fn before(job: &Job) -> impl Iterator<Item = (Job, usize)> + '_ {
    let settled = job.owners.iter().filter(|owner| owner.from_epoch == 1).count().max(1);
    (settled..job.owners.len()).map(|owners| {
        let mut before = job.clone();
        let added = before.owners.split_off(owners);
        before.rows -= added.iter().map(|owner| owner.rows).sum::<u64>();
        (before, owners)
    })
}

/// The form of shared rows: what follows from job and plans.
#[derive(Clone, Debug)]
pub(crate) struct Form {
    /// Values of an item, and of its label.
    values: [usize; 2],
    /// Bytes of a ring element.
    word: usize,
    /// Items of each owner in the training set, and in the test set.
    rows: Vec<[u64; 2]>,
}

impl Form {
    /// Of a job that owners bring rows to.
    pub fn new(course: &Course) -> Form {
        let (job, plan) = (course.job(), &course.step().plan);
        let rows = job.owners.iter().map(|owner| [owner.rows, owner.test_rows]).collect();
        Form { values: [plan.input_len(), plan.output.classes], word: job.choices.ring as usize / 8, rows }
    }

    /// Owners.
    pub fn owners(&self) -> usize {
        self.rows.len()
    }

    /// Bytes of an owner's four parts: items and labels of the training set, then those of the test set.
    pub fn parts(&self, owner: usize) -> [usize; 4] {
        let bytes = |set: usize, of: usize| self.rows[owner][set] as usize * self.values[of] * self.word;
        [bytes(0, 0), bytes(0, 1), bytes(1, 0), bytes(1, 1)]
    }

    /// Bytes of all of them.
    pub fn len(&self, owner: usize) -> usize {
        self.parts(owner).iter().sum()
    }

    /// Bytes that `party` receives.
    pub fn sent(&self, owner: usize, party: Party) -> usize {
        match party {
            Party::P0 => SEED,
            Party::P1 => self.len(owner),
        }
    }

    /// What a party's share is, from what it received.
    pub fn expand(&self, owner: usize, party: Party, received: Zeroizing<Vec<u8>>) -> Zeroizing<Vec<u8>> {
        match party {
            Party::P0 => {
                let mut seed = Zeroizing::new([0; SEED]);
                seed.copy_from_slice(&received);
                self.words(owner, &Seed::from_bytes(*seed))
            }
            Party::P1 => received,
        }
    }

    /// The words of a seed for all parts, as bytes.
    pub fn words(&self, owner: usize, seed: &Seed) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(vec![0; self.len(owner)]);
        let (prg, mut rest) = (Prg::new(seed), bytes.as_mut_slice());
        for (part, len) in self.parts(owner).into_iter().enumerate() {
            let (own, others) = rest.split_at_mut(len);
            prg.fill_blocks(Address { kind: 0, gate: part as u32, slot: 0 }, 0, own);
            rest = others;
        }
        bytes
    }
}

/// A party's shares of all rows.
pub(crate) struct Pool {
    form: Form,
    /// Of each owner, its four parts one after the other.
    shares: Vec<Zeroizing<Vec<u8>>>,
    /// The first row of each owner in each set.
    firsts: [Vec<u64>; 2],
}

impl Pool {
    /// Of all owners, in their order.
    pub fn new(form: Form, shares: Vec<Zeroizing<Vec<u8>>>) -> Pool {
        let firsts = [0, 1].map(|set| {
            let mut sum = 0;
            let mut first = |rows: &[u64; 2]| {
                sum += rows[set];
                sum - rows[set]
            };
            form.rows.iter().map(&mut first).collect()
        });
        Pool { form, shares, firsts }
    }

    /// The shares of rows of the training set (0) or of the test set (1): items, then labels.
    pub fn rows<R: Ring>(&self, set: usize, rows: &[usize]) -> [Vec<R>; 2] {
        [0, 1].map(|of| {
            let len = self.form.values[of] * self.form.word;
            let mut out = Vec::with_capacity(rows.len() * self.form.values[of]);
            for row in rows {
                // Of owners with no row in this set, the last one that begins here has it.
                let owner = self.firsts[set].partition_point(|first| *first <= *row as u64) - 1;
                let at: usize = self.form.parts(owner)[..2 * set + of].iter().sum();
                let at = at + (*row - self.firsts[set][owner] as usize) * len;
                let words = self.shares[owner][at..at + len].chunks_exact(self.form.word);
                out.extend(words.map(from_bytes::<R>));
            }
            out
        })
    }
}

/// A ring element from its bytes.
pub(crate) fn from_bytes<R: Ring>(bytes: &[u8]) -> R {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    R::from_u64(u64::from_le_bytes(word))
}

/// Takes the words of P0's seed from encoded rows, given as bytes: what P1 receives.
pub(crate) fn subtract<R: Ring>(encoded: &mut [u8], words: &[u8]) {
    let word = R::BITS as usize / 8;
    for (own, theirs) in encoded.chunks_exact_mut(word).zip(words.chunks_exact(word)) {
        let rest = from_bytes::<R>(own).sub(from_bytes::<R>(theirs));
        own.copy_from_slice(&rest.to_u64().to_le_bytes()[..word]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three owners, the second with no row to train on and the third with none to test.
    fn form() -> Form {
        Form { values: [5, 3], word: 4, rows: vec![[4, 2], [0, 3], [6, 0]] }
    }

    fn encoded(form: &Form, owner: usize) -> Vec<u8> {
        let word = |at: usize| (1000 * owner as u32 + at as u32).to_le_bytes();
        (0..form.len(owner) / 4).flat_map(word).collect()
    }

    #[test]
    fn both_shares_of_a_row_are_its_words() {
        let form = form();
        let mut shares = [Vec::new(), Vec::new()];
        for owner in 0..form.owners() {
            let seed = || Seed::from_bytes([owner as u8 + 1; 16]);
            let mut rest = encoded(&form, owner);
            subtract::<u32>(&mut rest, &form.words(owner, &seed()));
            let received = [Zeroizing::new(seed().expose().to_vec()), Zeroizing::new(rest)];
            for (party, received) in [Party::P0, Party::P1].into_iter().zip(received) {
                assert_eq!(received.len(), form.sent(owner, party));
                shares[party as usize].push(form.expand(owner, party, received));
            }
        }
        let pools = shares.map(|shares| Pool::new(form.clone(), shares));
        // Where each row is: its owner, and its number there.
        let places = [
            [(0, 0), (0, 1), (0, 2), (0, 3), (2, 0), (2, 1), (2, 2), (2, 3), (2, 4), (2, 5)].to_vec(),
            [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)].to_vec(),
        ];
        for (set, places) in places.iter().enumerate() {
            let rows: Vec<usize> = (0..places.len()).rev().collect();
            let [ours, theirs] = [0, 1].map(|party| pools[party].rows::<u32>(set, &rows));
            for of in [0, 1] {
                let sums: Vec<u32> = ours[of].iter().zip(&theirs[of]).map(|(a, b)| a.wrapping_add(*b)).collect();
                let wanted = places.iter().rev().flat_map(|(owner, row)| {
                    let before: usize = form.parts(*owner)[..2 * set + of].iter().sum::<usize>() / 4;
                    let len = form.values[of];
                    (0..len).map(move |at| (1000 * owner + before + row * len + at) as u32)
                });
                assert_eq!(sums, wanted.collect::<Vec<_>>(), "set {set}, part {of}");
            }
        }
    }
}
