//! Random and edge points on domains up to 63 bits; batches of odd sizes; threads; runs of groups.

use ariann_fss::{
    FssError, HashKeys, LANES, Party, TreeHash, equal, generate, key_len, less_than, less_than_and_equal,
};
use ariann_prg::{Address, Backend, Prg, Seed};
use ariann_ring::Ring;
use proptest::prelude::*;

const SIZES: [usize; 12] = [0, 1, 2, 15, 16, 17, 31, 32, 33, 63, 65, 100];

fn stream(seed: u64) -> Prg {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    Prg::with_backend(&Seed::from_bytes(bytes), Backend::Soft).unwrap()
}

fn tree_hash(backend: Backend) -> TreeHash {
    TreeHash::with_backend(&HashKeys { inner: [0x11; 16], leaf: [0x22; 16] }, backend).unwrap()
}

struct Batch<R> {
    n: u32,
    roots: [Vec<u8>; 2],
    alphas: Vec<R>,
    xs: Vec<R>,
}

impl<R: Ring> Batch<R> {
    fn new(seed: u64, n: u32, pairs: &[(u64, u64)]) -> Batch<R> {
        let roots = [0, 1].map(|kind| {
            let mut roots = vec![0; 16 * pairs.len()];
            stream(seed).fill_blocks(Address { kind, gate: n, slot: 0 }, 0, &mut roots);
            roots
        });
        let (alphas, xs) = pairs.iter().map(|&(alpha, x)| (R::from_u64(alpha), R::from_u64(x))).unzip();
        Batch { n, roots, alphas, xs }
    }

    fn keys(&self, hash: &TreeHash) -> Vec<u8> {
        let mut keys = vec![0; self.xs.len() * key_len(self.n)];
        generate(hash, self.n, &self.roots[0], &self.roots[1], &self.alphas, &mut keys).unwrap();
        keys
    }

    fn shares(&self, hash: &TreeHash, keys: &[u8]) -> [(Vec<u8>, Vec<u8>); 2] {
        Party::BOTH.map(|party| {
            let roots = &self.roots[party.index()];
            let (mut less, mut same) = (vec![9; self.xs.len()], vec![9; self.xs.len()]);
            less_than_and_equal(hash, party, self.n, roots, keys, &self.xs, &mut less, &mut same).unwrap();
            let (mut less_alone, mut same_alone) = (vec![9; self.xs.len()], vec![9; self.xs.len()]);
            less_than(hash, party, self.n, roots, keys, &self.xs, &mut less_alone).unwrap();
            equal(hash, party, self.n, roots, keys, &self.xs, &mut same_alone).unwrap();
            assert_eq!((&less, &same), (&less_alone, &same_alone));
            (less, same)
        })
    }

    /// Right on every back end, and the same bits on all of them.
    fn check(&self) {
        let mut first = None;
        for backend in Backend::available() {
            let hash = tree_hash(backend);
            let keys = self.keys(&hash);
            let shares = self.shares(&hash, &keys);
            for i in 0..self.xs.len() {
                let (alpha, x) = (self.alphas[i], self.xs[i]);
                assert_eq!(
                    shares[0].0[i] ^ shares[1].0[i],
                    u8::from(x < alpha),
                    "{backend}: {x:?} < {alpha:?}, {} bits",
                    self.n
                );
                assert_eq!(
                    shares[0].1[i] ^ shares[1].1[i],
                    u8::from(x == alpha),
                    "{backend}: {x:?} = {alpha:?}, {} bits",
                    self.n
                );
            }
            let made = (keys, shares);
            assert!(*first.get_or_insert_with(|| made.clone()) == made, "{backend} differs on {} bits", self.n);
        }
    }
}

/// Pairs (α, x) at the edges of the domain and around every power of two.
fn edges(n: u32) -> Vec<(u64, u64)> {
    let top = (1u64 << n) - 1;
    let mut values: Vec<u64> = (0..n).flat_map(|bit| [(1 << bit) - 1, 1 << bit, top - (1 << bit)]).collect();
    values.extend([top, top - 1, top / 3, top / 5]);
    values.iter().flat_map(|&alpha| [0, 1, top, alpha, alpha ^ 1, alpha ^ (1 << (n - 1))].map(|x| (alpha, x))).collect()
}

#[test]
fn edges_of_every_domain() {
    for n in 1..=63 {
        Batch::<u64>::new(1, n, &edges(n)).check();
        if n <= 32 {
            Batch::<u32>::new(2, n, &edges(n)).check();
        }
    }
}

#[test]
fn batches_of_odd_sizes() {
    for n in [3, 7, 8, 15, 31, 63] {
        for size in SIZES {
            let pairs: Vec<_> = edges(n).into_iter().cycle().take(size).collect();
            Batch::<u64>::new(3, n, &pairs).check();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn random_points(seed: u64, n in 1u32..=63, pairs in proptest::collection::vec(any::<(u64, u64)>(), 1..80), near: bool) {
        let mask = (1u64 << n) - 1;
        // near: x shares a random number of leading bits with α
        let cut = |alpha: u64, x: u64| if near { alpha ^ (x & mask) >> (x % u64::from(n)) } else { x };
        let pairs: Vec<_> = pairs.into_iter().map(|(alpha, x)| (alpha & mask, cut(alpha, x) & mask)).collect();
        Batch::<u64>::new(seed, n, &pairs).check();
    }
}

#[test]
fn a_million_comparisons_by_several_threads_are_those_of_one() {
    const COUNT: usize = 1 << 20;
    let random = |kind| {
        let mut words = vec![0u32; COUNT];
        stream(4).fill(Address { kind, gate: 0, slot: 0 }, 0, &mut words);
        words
    };
    let (alphas, near) = (random(2), random(3));
    let pairs: Vec<_> =
        alphas.iter().zip(&near).map(|(&a, &d)| (u64::from(a >> 13), u64::from((a ^ d >> (d % 32)) >> 13))).collect();
    let batch = Batch::<u32>::new(5, 19, &pairs);
    let hash = tree_hash(Backend::active().unwrap());
    let with = |threads| {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| {
            let keys = batch.keys(&hash);
            let shares = batch.shares(&hash, &keys);
            (keys, shares)
        })
    };
    let one = with(1);
    assert!(with(3) == one);
    let [(less0, equal0), (less1, equal1)] = &one.1;
    for i in 0..COUNT {
        assert_eq!(less0[i] ^ less1[i], u8::from(batch.xs[i] < batch.alphas[i]));
        assert_eq!(equal0[i] ^ equal1[i], u8::from(batch.xs[i] == batch.alphas[i]));
    }
}

#[test]
fn a_run_of_whole_groups_is_a_batch() {
    let n = 15;
    let batch = Batch::<u64>::new(6, n, &edges(n)[..5 * LANES + 3]);
    let hash = tree_hash(Backend::active().unwrap());
    let keys = batch.keys(&hash);
    let whole = batch.shares(&hash, &keys);
    for (from, to) in [(0, LANES), (LANES, 4 * LANES), (3 * LANES, batch.xs.len())] {
        let roots = batch.roots.clone().map(|roots| roots[16 * from..16 * to].to_vec());
        let part = Batch { n, roots, alphas: batch.alphas[from..to].to_vec(), xs: batch.xs[from..to].to_vec() };
        let bytes = &keys[from * key_len(n)..to * key_len(n)];
        assert_eq!(part.keys(&hash), bytes);
        for (part, whole) in part.shares(&hash, bytes).iter().zip(&whole) {
            assert_eq!(part.0, whole.0[from..to]);
            assert_eq!(part.1, whole.1[from..to]);
        }
    }
}

#[test]
fn the_low_bits_of_the_roots_do_not_matter() {
    let hash = tree_hash(Backend::active().unwrap());
    let mut batch = Batch::<u64>::new(7, 20, &edges(20)[..40]);
    let keys = batch.keys(&hash);
    let shares = batch.shares(&hash, &keys);
    batch.roots.iter_mut().for_each(|roots| roots.chunks_mut(16).for_each(|root| root[0] ^= 1));
    assert!(batch.keys(&hash) == keys && batch.shares(&hash, &keys) == shares);
}

#[test]
fn one_value_outside_its_domain_spoils_the_batch_wherever_it_stands() {
    let hash = tree_hash(Backend::active().unwrap());
    for n in [1, 7, 15, 31, 32, 63] {
        for at in [0, 20, 39] {
            let mut values = vec![0u64; 40];
            values[at] = 1 << n;
            let outcome = less_than(&hash, Party::P0, n, &[0; 640], &vec![0; 40 * key_len(n)], &values, &mut [0; 40]);
            assert_eq!(outcome, Err(FssError::Outside { what: "xs", domain_bits: n }));
            let outcome = generate(&hash, n, &[0; 640], &[0; 640], &values, &mut vec![0; 40 * key_len(n)]);
            assert_eq!(outcome, Err(FssError::Outside { what: "alphas", domain_bits: n }));
        }
    }
}

#[test]
fn key_lengths_are_those_of_the_protocol() {
    let lengths = [1, 7, 8, 15, 19, 31, 63].map(key_len);
    assert_eq!(lengths, [16, 16, 32, 144, 208, 400, 912]);
}
