//! The form of what a client sends and gets: all lengths follow from the plan and from the number of items.

use ariann_gates::Party;
use ariann_plan::{Gate, Plan};
use ariann_prg::{Address, Prg, Seed};
use ariann_ring::Ring;
use zeroize::Zeroizing;

use crate::training::{from_bytes, subtract};

/// Bytes of P0's part of a sharing, and of the word that the parties have in common: a seed.
pub const SEED: usize = 16;
/// Kinds of words of these seeds.
const ITEMS: u8 = 0;
const RESULTS: u8 = 1;

/// See the head of this file.
#[derive(Clone, Copy)]
pub struct Form {
    /// Values of an item, and of its result.
    values: [usize; 2],
    /// Bits of a result's value.
    width: u32,
    /// Bytes of a ring element.
    word: usize,
}

impl Form {
    /// Of a plan for outside clients.
    pub fn new(plan: &Plan) -> Form {
        let width = match plan.gates.last().map(|entry| &entry.gate) {
            Some(Gate::Reveal(reveal)) => reveal.width,
            _ => unreachable!("a prediction ends in a result"),
        };
        Form { values: [plan.input_len(), plan.revealed_len()], width, word: plan.ring as usize / 8 }
    }

    /// Bytes that `party` receives of so many items.
    pub fn sent(&self, party: Party, items: u32) -> usize {
        match party {
            Party::P0 => SEED,
            Party::P1 => self.values[0] * self.word * items as usize,
        }
    }

    /// Bytes of a party's part of the results of so many items.
    pub fn results(&self, items: u32) -> usize {
        self.values[1] * self.word * items as usize
    }

    /// Splits encoded items: what P0 and P1 receive.
    pub fn split<R: Ring>(&self, items: &[R], seed: Seed) -> [Zeroizing<Vec<u8>>; 2] {
        let mut rest = Zeroizing::new(Vec::with_capacity(items.len() * self.word));
        items.iter().for_each(|value| rest.extend_from_slice(&value.to_u64().to_le_bytes()[..self.word]));
        let words = words(&seed, ITEMS, rest.len());
        subtract::<R>(&mut rest, &words);
        [Zeroizing::new(seed.expose().to_vec()), rest]
    }

    /// A party's share of the items, from what it received.
    pub fn share<R: Ring>(&self, party: Party, items: u32, received: &[u8]) -> Vec<R> {
        let words = match party {
            Party::P0 => &words(&seed_of(received), ITEMS, self.sent(Party::P1, items))[..],
            Party::P1 => received,
        };
        words.chunks_exact(self.word).map(from_bytes).collect()
    }

    /// A party's part of the results as it leaves: its share and, with the other sign at the other party, words of a seed that both
    /// have. The low bits that count, and no other.
    pub fn pad<R: Ring>(&self, party: Party, share: &[R], common: Seed) -> Vec<u8> {
        let pads = words(&common, RESULTS, share.len() * self.word);
        let mut out = Vec::with_capacity(pads.len());
        for (share, pad) in share.iter().zip(pads.chunks_exact(self.word).map(from_bytes::<R>)) {
            let word = match party {
                Party::P0 => share.add(pad),
                Party::P1 => share.sub(pad),
            };
            out.extend_from_slice(&(word.to_u64() & self.counts()).to_le_bytes()[..self.word]);
        }
        out
    }

    /// The results, from both parts.
    pub fn join<R: Ring>(&self, parts: [&[u8]; 2]) -> Vec<R> {
        let [own, other] = parts.map(|part| part.chunks_exact(self.word).map(from_bytes::<R>));
        own.zip(other).map(|(a, b)| R::from_u64(a.add(b).to_u64() & self.counts())).collect()
    }

    fn counts(&self) -> u64 {
        u64::MAX >> (64 - self.width)
    }
}

/// A seed from its bytes.
pub fn seed_of(bytes: &[u8]) -> Seed {
    let mut seed = Zeroizing::new([0; SEED]);
    seed.copy_from_slice(bytes);
    Seed::from_bytes(*seed)
}

fn words(seed: &Seed, kind: u8, len: usize) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(vec![0; len]);
    Prg::new(seed).fill_blocks(Address { kind, gate: 0, slot: 0 }, 0, &mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold<R: Ring>(width: u32) {
        let form = Form { values: [7, 3], width, word: R::BITS as usize / 8 };
        let seed = |byte| Seed::from_bytes([byte; 16]);
        let items: Vec<R> = (0..14).map(|at| R::from_u64(at * 0x1234_5678_9abc)).collect();
        let sent = form.split(&items, seed(1));
        let parties = [Party::P0, Party::P1];
        let shares = parties.map(|party| form.share::<R>(party, 2, &sent[party as usize]));
        parties.iter().for_each(|party| assert_eq!(sent[*party as usize].len(), form.sent(*party, 2)));
        let sums: Vec<R> = shares[0].iter().zip(shares[1].iter()).map(|(a, b)| a.add(*b)).collect();
        assert!(sums == items && shares[1][..] != items[..]);
        // Shares of results, of which the bits above `width` are of no account.
        let results: Vec<R> = (0..6).map(|at| R::from_u64((at * 77) & form.counts())).collect();
        let own: Vec<R> = (0..6u64).map(|at| R::from_u64(at.wrapping_mul(0x7654_3210_1234_5677))).collect();
        let rest: Vec<R> = results.iter().zip(&own).map(|(x, own)| x.sub(*own)).collect();
        let parts = [form.pad(Party::P0, &own, seed(9)), form.pad(Party::P1, &rest, seed(9))];
        parts.iter().for_each(|part| assert_eq!(part.len(), form.results(2)));
        assert!(form.join::<R>([&parts[0], &parts[1]]) == results);
        // A part is not the share, and nothing of it is above the bits that count.
        let words: Vec<R> = parts[0].chunks_exact(form.word).map(from_bytes).collect();
        assert!(words.iter().zip(&own).all(|(word, own)| word.to_u64() & !form.counts() == 0 && word != own));
    }

    #[test]
    fn both_parts_are_the_items_and_the_results() {
        hold::<u32>(32);
        hold::<u32>(11);
        hold::<u64>(64);
        hold::<u64>(20);
    }
}
