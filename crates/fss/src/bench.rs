//! Speed on this machine, one thread, keys streamed from memory; the limits are measured in the same run.

use crate::{FssError, Party, generate, key_len, less_than};
use ariann_prg::{Address, Backend, EntropyError, HashKeys, Prg, Seed, TreeHash};
use ariann_ring::Ring;
use std::hint::black_box;
use std::time::Instant;

/// Domains that are measured, in bits.
pub const DOMAINS: [u32; 4] = [15, 19, 31, 63];

/// Each figure is the best of so many passes: what the code can do, not what else the machine did.
pub const PASSES: usize = 3;

/// What was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Figures {
    /// The AES in use.
    pub backend: Backend,
    /// Limit: AES blocks a second, counter blocks into the first-level cache.
    pub aes_blocks_per_second: f64,
    /// Limit: bytes a second when the same keys are only read and added up.
    pub memory_bytes_per_second: f64,
    /// One entry for each of [`DOMAINS`].
    pub domains: Vec<DomainFigures>,
}

/// Figures of one domain.
#[derive(Clone, Debug, PartialEq)]
pub struct DomainFigures {
    /// n.
    pub domain_bits: u32,
    /// Bytes of one key.
    pub key_bytes: usize,
    /// Comparisons of one pass.
    pub comparisons: usize,
    /// Bytes of keys of one pass.
    pub bytes_streamed: usize,
    /// Nanoseconds of a comparison by one party, roots and points read from memory too.
    pub ns_per_comparison: f64,
    /// AES blocks a second of the comparisons.
    pub aes_blocks_per_second: f64,
    /// Bytes of keys a second of the comparisons.
    pub key_bytes_per_second: f64,
    /// Key pairs a second that a dealer makes.
    pub key_pairs_per_second: f64,
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// No randomness for seeds.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The library refused its own input.
    #[error(transparent)]
    Fss(#[from] FssError),
    /// No thread to measure on.
    #[error("this machine: no thread for the measurement ({0})")]
    Threads(#[from] rayon::ThreadPoolBuildError),
    /// A comparison came out wrong.
    #[error(
        "this machine or build: {wrong} of {comparisons} comparisons on {domain_bits} bits are wrong; do not use it"
    )]
    Wrong {
        /// n.
        domain_bits: u32,
        /// Wrong results.
        wrong: usize,
        /// All results.
        comparisons: usize,
    },
}

/// Measures on one thread with `megabytes` (2^20 bytes) of keys for every domain. All results are checked.
/// `progress` hears how many domains are done, and of how many.
pub fn measure(megabytes: usize, progress: &mut (dyn FnMut(usize, usize) + Send)) -> Result<Figures, BenchError> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    pool.install(|| {
        let hash = TreeHash::new(&HashKeys::from_entropy()?);
        let prg = Prg::new(&Seed::from_entropy()?);
        let mut keys = vec![1u8; (megabytes << 20).max(LEAST)];
        let aes_blocks_per_second = aes_limit(&prg);
        let memory_bytes_per_second = memory_limit(&keys);
        let domains = DOMAINS
            .into_iter()
            .enumerate()
            .map(|(done, n)| {
                progress(done, DOMAINS.len());
                if n <= 32 {
                    domain::<u32>(&hash, &prg, n, &mut keys)
                } else {
                    domain::<u64>(&hash, &prg, n, &mut keys)
                }
            })
            .collect::<Result<_, _>>()?;
        Ok(Figures { backend: hash.backend(), aes_blocks_per_second, memory_bytes_per_second, domains })
    })
}

/// Room for a few groups of the widest domain, whatever was asked for.
const LEAST: usize = 1 << 17;

fn domain<R: Ring>(hash: &TreeHash, prg: &Prg, n: u32, keys: &mut [u8]) -> Result<DomainFigures, BenchError> {
    let comparisons = keys.len() / key_len(n);
    let keys = &mut keys[..comparisons * key_len(n)];
    let stream = |kind| Address { kind, gate: n, slot: 0 };
    let [roots0, roots1] = [0, 1].map(|kind| {
        let mut roots = vec![0; 16 * comparisons];
        prg.fill_blocks(stream(kind), 0, &mut roots);
        roots
    });
    let [alphas, xs] = [2, 3].map(|kind| {
        let mut points = vec![R::ZERO; comparisons];
        prg.fill(stream(kind), 0, &mut points);
        points.iter_mut().for_each(|point| *point = point.and(R::low_mask(n)));
        points
    });
    let generation = best(|| generate(hash, n, &roots0, &roots1, &alphas, keys))?;
    let mut shares = [vec![0; comparisons], vec![0; comparisons]];
    less_than(hash, Party::P0, n, &roots0, keys, &xs, &mut shares[0])?;
    let seconds = best(|| less_than(hash, Party::P1, n, &roots1, keys, &xs, &mut shares[1]))?;
    let wrong = (0..comparisons).filter(|&i| (shares[0][i] ^ shares[1][i] == 1) != (xs[i] < alphas[i])).count();
    if wrong != 0 {
        return Err(BenchError::Wrong { domain_bits: n, wrong, comparisons });
    }
    let per_second = comparisons as f64 / seconds;
    Ok(DomainFigures {
        domain_bits: n,
        key_bytes: key_len(n),
        comparisons,
        bytes_streamed: keys.len(),
        ns_per_comparison: 1e9 / per_second,
        aes_blocks_per_second: per_second * (key_len(n) / 16) as f64,
        key_bytes_per_second: per_second * key_len(n) as f64,
        key_pairs_per_second: comparisons as f64 / generation,
    })
}

fn aes_limit(prg: &Prg) -> f64 {
    const ROUNDS: u64 = 2000;
    let mut buffer = vec![0u8; 1 << 14];
    let blocks = buffer.len() as u64 / 16;
    let address = Address { kind: 4, gate: 0, slot: 0 };
    let pass = || {
        for round in 0..ROUNDS {
            prg.fill_blocks(address, round * blocks, black_box(&mut buffer));
        }
        Ok(())
    };
    (ROUNDS * blocks) as f64 / best(pass).unwrap_or(f64::INFINITY)
}

fn memory_limit(bytes: &[u8]) -> f64 {
    let (words, _) = bytes.as_chunks::<8>();
    let pass = || {
        black_box(words.iter().fold(0u64, |sum, word| sum.wrapping_add(u64::from_le_bytes(*word))));
        Ok(())
    };
    bytes.len() as f64 / best(pass).unwrap_or(f64::INFINITY)
}

/// Seconds of the fastest pass.
fn best(mut pass: impl FnMut() -> Result<(), FssError>) -> Result<f64, FssError> {
    let mut least = f64::INFINITY;
    for _ in 0..PASSES {
        let start = Instant::now();
        pass()?;
        least = least.min(start.elapsed().as_secs_f64());
    }
    Ok(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_of_the_keys_that_were_asked_for() {
        let figures = measure(1, &mut |_, _| {}).unwrap();
        assert_eq!(figures.backend, Backend::active().unwrap());
        assert_eq!(figures.domains.iter().map(|d| d.domain_bits).collect::<Vec<_>>(), DOMAINS);
        for d in &figures.domains {
            assert_eq!(d.bytes_streamed, d.comparisons * key_len(d.domain_bits));
            assert!(d.bytes_streamed <= 1 << 20 && d.bytes_streamed + d.key_bytes > 1 << 20);
            assert!([d.ns_per_comparison, d.key_pairs_per_second].iter().all(|f| f.is_finite() && *f > 0.0));
        }
    }
}
