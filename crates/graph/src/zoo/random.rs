//! A seeded generator for public weights, the same on every machine: integers until the last step.

/// SplitMix64.
pub(super) struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// In [0, 1).
    pub fn uniform(&mut self) -> f32 {
        (self.word() >> 40) as f32 / (1u32 << 24) as f32
    }

    /// Mean 0 and variance 1, nearly normal: the sum of twelve uniform numbers of 16 bits.
    pub fn normal(&mut self) -> f32 {
        let sum = |word: u64| (word & 0xffff) + (word >> 16 & 0xffff) + (word >> 32 & 0xffff) + (word >> 48);
        let sum = sum(self.word()) + sum(self.word()) + sum(self.word());
        (sum as i64 - 6 * 0xffff) as f32 / 65536.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_nearly_normal_and_follow_from_the_seed() {
        let draw = |seed| {
            let mut random = Random::new(seed);
            (0..100_000).map(|_| random.normal()).collect::<Vec<f32>>()
        };
        let numbers = draw(3);
        assert_eq!(numbers, draw(3));
        assert_ne!(numbers, draw(4));
        let moment = |power| numbers.iter().map(|x| f64::from(*x).powi(power)).sum::<f64>() / numbers.len() as f64;
        assert!(moment(1).abs() < 0.02, "mean {}", moment(1));
        assert!((moment(2) - 1.0).abs() < 0.02, "variance {}", moment(2));
        assert!(moment(3).abs() < 0.05, "skew {}", moment(3));
        assert!((moment(4) - 2.9).abs() < 0.1, "a sum of twelve has the fourth moment 2.9, not {}", moment(4));
    }

    #[test]
    fn uniform_numbers_fill_the_interval() {
        let mut random = Random::new(0);
        let numbers: Vec<f32> = (0..10_000).map(|_| random.uniform()).collect();
        assert!(numbers.iter().all(|x| (0.0..1.0).contains(x)));
        let mean = numbers.iter().sum::<f32>() / 10_000.0;
        assert!((mean - 0.5).abs() < 0.02, "{mean}");
    }
}
