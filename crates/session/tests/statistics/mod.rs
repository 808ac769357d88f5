//! Chi-squared tests of words, with one threshold for all tests of a run.
#![allow(dead_code)]

/// A test: its name, its statistic, its degrees of freedom.
struct Test {
    name: String,
    statistic: f64,
    freedom: f64,
}

/// Tests, and how many words they took.
#[derive(Default)]
pub struct Tests {
    tests: Vec<Test>,
    words: u64,
}

/// Words taken in all tests together.
pub fn words_of(tests: &Tests) -> u64 {
    tests.words
}

/// Expected words in a cell, at least.
const IN_A_CELL: usize = 10;

impl Tests {
    /// Whether all bytes of the words of `width` bits are uniform together, and the top bits by themselves.
    pub fn uniform(&mut self, name: &str, width: u32, words: &[u64]) {
        let tops = words.iter().map(|word| word >> (width - width.min(8)));
        let mut worst: Option<Test> = None;
        for counts in [counted(tops.collect(), width.min(8)), counted(bytes(words, width), width.min(8))] {
            let expected = counts.iter().sum::<u64>() as f64 / counts.len() as f64;
            let statistic = counts.iter().map(|count| (*count as f64 - expected).powi(2) / expected).sum();
            let test = Test { name: name.to_string(), statistic, freedom: (counts.len() - 1) as f64 };
            if worst.as_ref().is_none_or(|worst| worst.excess() < test.excess()) {
                worst = Some(test);
            }
        }
        self.words += words.len() as u64;
        self.tests.extend(worst);
    }

    /// Whether two samples of equally many words come from one distribution.
    pub fn alike(&mut self, name: &str, width: u32, a: &[u64], b: &[u64]) {
        assert_eq!(a.len(), b.len());
        let [a_counts, b_counts] = [a, b].map(|words| counted(bytes(words, width), width.min(8)));
        let cell = |(a, b): (&u64, &u64)| {
            let sum = (a + b) as f64;
            if sum == 0.0 { 0.0 } else { (*a as f64 - *b as f64).powi(2) / sum }
        };
        let statistic = a_counts.iter().zip(&b_counts).map(cell).sum();
        self.words += 2 * a.len() as u64;
        self.tests.push(Test { name: name.to_string(), statistic, freedom: (a_counts.len() - 1) as f64 });
    }

    /// How many tests there are.
    pub fn count(&self) -> usize {
        self.tests.len()
    }

    /// P(chi-squared of d degrees >= d + 2 sqrt(d x) + 2 x) <= exp(-x) (Laurent and Massart 2000). Of two statistics of one
    /// sample the worse one counts, so each has half of the probability.
    fn margin(&self, alarm: f64) -> f64 {
        (2.0 * self.tests.len() as f64 / alarm).ln()
    }

    /// The tests that fail, when all together may fail wrongly with probability `alarm`.
    pub fn alarms(&self, alarm: f64) -> Vec<String> {
        let margin = self.margin(alarm);
        self.tests.iter().filter(|test| test.excess() > margin).map(|test| test.name.clone()).collect()
    }

    /// The test that is nearest to its threshold, and how near: below 1 it is met.
    pub fn nearest(&self, alarm: f64) -> Option<(&str, f64)> {
        let margin = self.margin(alarm);
        let worst = self.tests.iter().max_by(|a, b| a.excess().total_cmp(&b.excess()))?;
        Some((&worst.name, worst.excess() / margin))
    }
}

impl Test {
    /// The x of the bound at which the statistic stands.
    fn excess(&self) -> f64 {
        let over = (self.statistic - self.freedom).max(0.0);
        // 2x + 2 sqrt(d x) = over, solved for sqrt(x).
        let root = ((self.freedom + 2.0 * over).sqrt() - self.freedom.sqrt()) / 2.0;
        root * root
    }
}

/// All whole bytes of each word, from the lowest; narrow words as they are.
fn bytes(words: &[u64], width: u32) -> Vec<u64> {
    let each = |word: &u64| {
        let word = *word;
        (0..(width / 8).max(1)).map(move |byte| word >> (8 * byte) & 255)
    };
    words.iter().flat_map(each).collect()
}

/// How often each value of `bits` bits occurs; only its top bits count where there are few values.
fn counted(values: Vec<u64>, bits: u32) -> Vec<u64> {
    let most = (values.len() / IN_A_CELL).max(2).ilog2();
    let dropped = bits.saturating_sub(most);
    let mut counts = vec![0; 1 << (bits - dropped)];
    values.into_iter().for_each(|value| counts[(value >> dropped) as usize] += 1);
    counts
}

#[test]
fn uniform_words_pass_and_others_do_not() {
    let mut state = 1u64;
    let mut word = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state ^ (state >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd) >> 32
    };
    let good: Vec<u64> = (0..16_000).map(|_| word()).collect();
    let other: Vec<u64> = (0..16_000).map(|_| word()).collect();
    let mut tests = Tests::default();
    tests.uniform("good", 32, &good);
    tests.uniform("bits", 1, &good.iter().map(|word| word >> 31).collect::<Vec<_>>());
    tests.alike("both", 32, &good, &other);
    assert!(tests.alarms(1e-9).is_empty());
    // One bit that is set in three of four words, low or high; one sample against another.
    for bit in [3, 31] {
        let bad: Vec<u64> = good.iter().zip(&other).map(|(a, b)| a | (b & 1) << bit).collect();
        tests.uniform("bad", 32, &bad);
        tests.alike("bad", 32, &bad, &other);
    }
    assert_eq!(tests.alarms(1e-9), ["bad"; 4]);
    assert!(tests.nearest(1e-9).unwrap().1 > 1.0);
}
