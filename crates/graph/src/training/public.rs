//! Public randomness of training: the order of items, dropped values, fresh weights. The same on every machine and for every role,
//! it hides nothing.

use blake3::{Hasher, OutputReader};

/// The words of a stream that a purpose, a seed and some numbers name.
pub(super) struct Stream {
    reader: OutputReader,
    buffer: [u8; 4096],
    used: usize,
}

impl Stream {
    pub fn new(purpose: &str, seed: u64, numbers: &[u64], name: &str) -> Self {
        let mut hasher = Hasher::new_derive_key(purpose);
        hasher.update(&seed.to_le_bytes());
        numbers.iter().for_each(|number| {
            hasher.update(&number.to_le_bytes());
        });
        hasher.update(name.as_bytes());
        let reader = hasher.finalize_xof();
        Stream { reader, buffer: [0; 4096], used: 4096 }
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        if self.used + N > self.buffer.len() {
            self.reader.fill(&mut self.buffer);
            self.used = 0;
        }
        let bytes = std::array::from_fn(|i| self.buffer[self.used + i]);
        self.used += N;
        bytes
    }

    pub fn byte(&mut self) -> u8 {
        let [byte] = self.bytes();
        byte
    }

    pub fn word(&mut self) -> u32 {
        u32::from_le_bytes(self.bytes())
    }

    /// Below `bound`, each number as likely as another.
    pub fn below(&mut self, bound: u32) -> u32 {
        let rest = (u32::MAX % bound + 1) % bound;
        loop {
            let word = self.word();
            if word <= u32::MAX - rest {
                return word % bound;
            }
        }
    }
}

/// The order in which the items of a training set are taken in an epoch: a permutation of `0..items`.
pub fn order(items: u32, seed: u64, epoch: u32) -> Vec<u32> {
    let mut stream = Stream::new("ariann 2026 training: order of items", seed, &[epoch.into()], "");
    let mut order: Vec<u32> = (0..items).collect();
    for place in (1..items).rev() {
        order.swap(place as usize, stream.below(place + 1) as usize);
    }
    order
}

/// Pattern number `pattern` of step `step`: which of `len` values dropout keeps, `keep` of 256 on average.
pub fn pattern(seed: u64, step: u64, pattern: u32, len: usize, keep: u32) -> Vec<bool> {
    let mut stream = Stream::new("ariann 2026 training: dropout", seed, &[step, pattern.into()], "");
    (0..len).map(|_| u32::from(stream.byte()) < keep).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_a_permutation_that_seed_and_epoch_name() {
        let mut sorted = order(1000, 3, 1);
        assert_eq!(sorted, order(1000, 3, 1));
        assert_ne!(sorted, order(1000, 3, 2));
        assert_ne!(sorted, order(1000, 4, 1));
        sorted.sort_unstable();
        assert!(sorted.iter().copied().eq(0..1000));
        assert!(order(0, 0, 0).is_empty());
        assert_eq!(order(1, 0, 0), [0]);
    }

    #[test]
    fn every_order_of_three_is_as_likely() {
        let mut counts = std::collections::BTreeMap::new();
        (0..6000).for_each(|epoch| *counts.entry(order(3, 1, epoch)).or_insert(0) += 1);
        assert_eq!(counts.len(), 6);
        // The standard deviation is 29.
        assert!(counts.values().all(|&count| (850..1150).contains(&count)), "{counts:?}");
    }

    #[test]
    fn bounds_that_do_not_divide_the_words_are_even() {
        let mut stream = Stream::new("test", 0, &[], "");
        let bound = 3 << 30;
        let above = (0..3000).filter(|_| stream.below(bound) >= 1 << 31).count();
        // A third; by a remainder alone it would be a quarter.
        assert!((900..1100).contains(&above), "{above}");
    }

    #[test]
    fn a_pattern_keeps_its_part_and_differs_between_steps() {
        let one = pattern(7, 0, 0, 100_000, 192);
        let kept = one.iter().filter(|&&kept| kept).count();
        assert!((74_000..76_000).contains(&kept), "{kept}");
        assert_eq!(one, pattern(7, 0, 0, 100_000, 192));
        for other in [pattern(8, 0, 0, 100_000, 192), pattern(7, 1, 0, 100_000, 192), pattern(7, 0, 1, 100_000, 192)] {
            assert_ne!(one, other);
        }
        assert!(pattern(0, 0, 0, 1000, 256).iter().all(|&kept| kept));
        assert!(pattern(0, 0, 0, 1000, 0).iter().all(|&kept| !kept));
    }
}
