//! The discrete Gaussian, drawn exactly: P(x) ∝ e^(-x²/2σ²) over the integers, σ a whole number.
//!
//! By rejection from a discrete Laplace distribution, with integers alone: Canonne, Kamath and Steinke, NeurIPS 2020, algorithms
//! 1 to 3. No floating point is involved, whose last bits would tell about what noise was added to (Mironov, CCS 2012).
//!
//! Not in constant time: how often it draws follows from what it draws (Jin, McMurtry, Rubinstein and Ohrimenko, S&P 2022). An
//! owner draws all noise of a round in a thread of its own while its pair trains, so that nobody waits for it; what a clock
//! could still see is the sum over all values.

use ariann_prg::{Address, Prg, Seed};
use zeroize::Zeroize;

/// A seed serves one vector of noise, so it has one address.
const NOISE: Address = Address { kind: 0x61, gate: 0, slot: 0 };
/// Words that are expanded at a time.
const WORDS: usize = 4096;
/// The greatest deviation: all products stay within 128 bits.
pub const MOST_DEVIATION: u64 = 1 << 40;

/// Random words of a secret seed, each used once. Wiped on drop.
pub struct Random {
    prg: Prg,
    next: u64,
    words: Vec<u64>,
    at: usize,
}

impl Drop for Random {
    fn drop(&mut self) {
        self.words.zeroize();
    }
}

impl Random {
    /// The words of a seed; for noise that protects, one from the operating system.
    pub fn new(seed: &Seed) -> Random {
        Random { prg: Prg::new(seed), next: 0, words: vec![0; WORDS], at: WORDS }
    }

    fn word(&mut self) -> u64 {
        if self.at == WORDS {
            self.prg.fill(NOISE, self.next, &mut self.words);
            (self.next, self.at) = (self.next + WORDS as u64, 0);
        }
        self.at += 1;
        self.words[self.at - 1]
    }

    /// Uniform below `bound`.
    fn below(&mut self, bound: u128) -> u128 {
        let bits = 128 - (bound - 1).leading_zeros();
        loop {
            let low = u128::from(self.word());
            let word = if bits > 64 { low | u128::from(self.word()) << 64 } else { low };
            let word = if bits == 128 { word } else { word & ((1 << bits) - 1) };
            if word < bound {
                return word;
            }
        }
    }

    /// True with probability e^(-over/under), for over <= under.
    fn decays(&mut self, over: u128, under: u128) -> bool {
        let mut k = 1;
        while self.below(under * k) < over {
            k += 1;
        }
        k % 2 == 1
    }
}

/// The distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiscreteGaussian {
    deviation: u64,
}

impl DiscreteGaussian {
    /// σ, from 1 to [`MOST_DEVIATION`].
    ///
    /// # Panics
    /// When it is another.
    pub fn new(deviation: u64) -> DiscreteGaussian {
        assert!((1..=MOST_DEVIATION).contains(&deviation), "a deviation of {deviation}");
        DiscreteGaussian { deviation }
    }

    /// One value.
    pub fn draw(&self, random: &mut Random) -> i64 {
        let sigma = u128::from(self.deviation);
        loop {
            let (magnitude, negative) = laplace(sigma, random);
            // e^(-|x|/σ) times e^(-(|x| - σ)²/2σ²) is e^(-x²/2σ²), but for a constant.
            let (over, under) = (magnitude.abs_diff(sigma).pow(2), 2 * sigma * sigma);
            let whole = (0..over / under).all(|_| random.decays(1, 1));
            if whole && random.decays(over % under, under) {
                // Beyond 2^62 it is as good as never: e^(-2^43).
                let magnitude = i64::try_from(magnitude).unwrap_or(i64::MAX);
                return if negative { -magnitude } else { magnitude };
            }
        }
    }
}

/// P(x) ∝ e^(-|x|/t): magnitude and sign.
fn laplace(t: u128, random: &mut Random) -> (u128, bool) {
    loop {
        let rest = random.below(t);
        if !random.decays(rest, t) {
            continue;
        }
        let mut times = 0;
        while random.decays(1, 1) {
            times += 1;
        }
        let (magnitude, negative) = (rest + t * times, random.word() & 1 == 1);
        if !(negative && magnitude == 0) {
            return (magnitude, negative);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(deviation: u64, count: usize, seed: u8) -> Vec<i64> {
        let mut random = Random::new(&Seed::from_bytes([seed; 16]));
        let gaussian = DiscreteGaussian::new(deviation);
        (0..count).map(|_| gaussian.draw(&mut random)).collect()
    }

    /// χ² of the counts of single values against the exact probabilities. With d degrees of freedom it is above
    /// d + 2·√(d·27) + 2·27 by chance in fewer than e^-27 of all seeds (Laurent and Massart, 2000).
    #[test]
    fn values_have_their_exact_probabilities() {
        for (deviation, seed) in [(1u64, 1u8), (2, 2), (3, 3), (8, 4), (30, 5)] {
            let count = 400_000;
            let weight = |x: i64| (-(x as f64).powi(2) / (2.0 * (deviation as f64).powi(2))).exp();
            let most = 40 * deviation as i64;
            let all: f64 = (-most..=most).map(weight).sum();
            let mut seen = std::collections::BTreeMap::new();
            drawn(deviation, count, seed).into_iter().for_each(|x| *seen.entry(x).or_insert(0u64) += 1);
            let (mut chi, mut values, mut rest, mut others) = (0.0, 0, 1.0, count as f64);
            for x in -most..=most {
                let expected = weight(x) / all * count as f64;
                if expected < 20.0 {
                    continue;
                }
                let got = seen.get(&x).copied().unwrap_or(0) as f64;
                chi += (got - expected).powi(2) / expected;
                (values, rest, others) = (values + 1, rest - expected / count as f64, others - got);
            }
            // All that are rare, together.
            if rest * count as f64 > 1.0 {
                chi += (others - rest * count as f64).powi(2) / (rest * count as f64);
            }
            let freedom = f64::from(values);
            assert!(chi < freedom + 2.0 * (freedom * 27.0).sqrt() + 54.0, "{chi} with {freedom} at σ = {deviation}");
        }
    }

    /// Mean and variance of wide ones: a sum of n squares is off by 5.2·√(2/n) of itself in fewer than one of 10^6 seeds.
    #[test]
    fn wide_ones_have_their_mean_and_variance() {
        for (deviation, seed) in [(1000, 6), (1 << 21, 7), (1 << 33, 8), (MOST_DEVIATION, 9)] {
            let n = 60_000;
            let values: Vec<f64> = drawn(deviation, n, seed).into_iter().map(|x| x as f64 / deviation as f64).collect();
            let mean = values.iter().sum::<f64>() / n as f64;
            let variance = values.iter().map(|x| x * x).sum::<f64>() / n as f64;
            assert!(mean.abs() < 5.2 / (n as f64).sqrt(), "{mean}");
            assert!((variance - 1.0).abs() < 5.2 * (2.0 / n as f64).sqrt(), "{variance}");
            let beyond = values.iter().filter(|x| x.abs() > 1.959_964).count() as f64 / n as f64;
            assert!((beyond - 0.05).abs() < 5.2 * (0.0475 / n as f64).sqrt(), "{beyond}");
        }
    }

    #[test]
    fn uniform_numbers_stay_below_their_bound_and_reach_all() {
        let mut random = Random::new(&Seed::from_bytes([9; 16]));
        for bound in 1..40u128 {
            let mut seen = vec![false; bound as usize];
            (0..2000).for_each(|_| seen[random.below(bound) as usize] = true);
            assert!(seen.into_iter().all(|seen| seen), "{bound}");
        }
        for bound in [1u128 << 64, (1 << 64) + 1, 3 << 100, u128::MAX] {
            let halves = (0..4000).filter(|_| random.below(bound) >= bound / 2).count();
            assert!((1800..2200).contains(&halves), "{halves} of {bound}");
        }
    }
}
