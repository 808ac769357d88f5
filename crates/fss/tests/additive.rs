//! Additive shares: every point of small domains, random and edge points of large ones, every back end, calls to refuse.

use ariann_fss::{Additive, FssError, HashKeys, Party, TreeHash, additive};
use ariann_prg::{Address, Backend, Prg, Seed};
use ariann_ring::Ring;
use proptest::prelude::*;

const FUNCTIONS: [Additive; 2] = [Additive::LessThan, Additive::Equal];

fn roots(count: usize) -> [Vec<u8>; 2] {
    let prg = Prg::with_backend(&Seed::from_bytes([5; 16]), Backend::Soft).unwrap();
    [0, 1].map(|kind| {
        let mut roots = vec![0; 16 * count];
        prg.fill_blocks(Address { kind, gate: 0, slot: 0 }, 0, &mut roots);
        roots
    })
}

fn hash(backend: Backend) -> TreeHash {
    TreeHash::with_backend(&HashKeys { inner: [3; 16], leaf: [4; 16] }, backend).unwrap()
}

/// Keys and both parties' shares.
fn shares<R: Ring, A: Ring>(
    function: Additive,
    backend: Backend,
    n: u32,
    alphas: &[A],
    xs: &[A],
) -> (Vec<u8>, [Vec<R>; 2]) {
    let (hash, roots) = (hash(backend), roots(xs.len()));
    let mut keys = vec![0; xs.len() * function.key_len::<R>(n)];
    additive::generate::<R, A>(function, &hash, n, [&roots[0], &roots[1]], alphas, &mut keys).unwrap();
    let shares = Party::BOTH.map(|party| {
        let mut out = vec![R::ONE; xs.len()];
        additive::evaluate(function, &hash, party, n, &roots[party.index()], &keys, xs, &mut out).unwrap();
        out
    });
    (keys, shares)
}

fn right<R: Ring, A: Ring>(function: Additive, n: u32, alphas: &[A], xs: &[A]) {
    let mut first = None;
    for backend in Backend::available() {
        let (keys, shares) = shares::<R, A>(function, backend, n, alphas, xs);
        for i in 0..xs.len() {
            let is = match function {
                Additive::LessThan => xs[i] < alphas[i],
                Additive::Equal => xs[i] == alphas[i],
            };
            let sum = shares[0][i].add(shares[1][i]);
            assert_eq!(
                sum.to_u64(),
                u64::from(is),
                "{backend}: {function:?} of {:?}, {:?} on {n} bits",
                xs[i],
                alphas[i]
            );
        }
        let first = first.get_or_insert((keys.clone(), shares.clone()));
        assert_eq!(*first, (keys, shares), "{backend}");
    }
}

#[test]
fn every_pair_of_small_domains() {
    for n in 1..=6u32 {
        let pairs = 0..1u32 << (2 * n);
        let (alphas, xs): (Vec<u32>, Vec<u32>) = pairs.map(|pair| (pair >> n, pair & ((1 << n) - 1))).unzip();
        for function in FUNCTIONS {
            right::<u32, u32>(function, n, &alphas, &xs);
            right::<u64, u32>(function, n, &alphas, &xs);
        }
    }
}

#[test]
fn a_share_alone_is_not_the_result() {
    // Off the path both shares are of the same blocks: they cancel, but neither is 0.
    let (alphas, xs) = (vec![9u32; 500], (0..500).collect::<Vec<u32>>());
    for function in FUNCTIONS {
        let (_, shares) = shares::<u64, u32>(function, Backend::Soft, 16, &alphas, &xs);
        for share in shares {
            let small = share.iter().filter(|share| **share < 2).count();
            // The last point of a comparison goes left nowhere, but 500 is far from it.
            assert_eq!(small, 0, "{function:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn points_of_large_domains(n in 1u32..=63, count in 0usize..300, seed: u64, near in -1i64..=1) {
        let prg = Prg::with_backend(&Seed::from_bytes([9; 16]), Backend::Soft).unwrap();
        let mut words = vec![0; 16 * count];
        prg.fill_blocks(Address { kind: 3, gate: 0, slot: seed as u32 }, 0, &mut words);
        let mask = (1u64 << n) - 1;
        let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap()) & mask;
        let alphas: Vec<u64> = words.chunks(16).map(|pair| word(&pair[..8])).collect();
        // Half of the points are at α or next to it.
        let xs: Vec<u64> = words.chunks(16).enumerate().map(|(i, pair)| match i % 2 {
            0 => word(&pair[..8]).wrapping_add_signed(near) & mask,
            _ => word(&pair[8..]),
        }).collect();
        for function in FUNCTIONS {
            right::<u64, u64>(function, n, &alphas, &xs);
            right::<u32, u64>(function, n, &alphas, &xs);
        }
    }
}

#[test]
fn threads_give_the_same_bytes() {
    let xs: Vec<u32> = (0..5000).map(|i| i * 13 % 8192).collect();
    let alphas: Vec<u32> = xs.iter().rev().copied().collect();
    for function in FUNCTIONS {
        let of = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| shares::<u32, u32>(function, Backend::active().unwrap(), 13, &alphas, &xs))
        };
        assert_eq!(of(1), of(3));
    }
}

#[test]
fn calls_that_do_not_fit_are_refused() {
    let (hash, roots) = (hash(Backend::Soft), roots(2));
    let keys = vec![0; 2 * Additive::LessThan.key_len::<u64>(8)];
    let call = |bits: u32, roots: &[u8], keys: &[u8], xs: &[u32], out: usize| {
        additive::evaluate(Additive::LessThan, &hash, Party::P0, bits, roots, keys, xs, &mut vec![0u64; out])
    };
    assert_eq!(call(8, &roots[0], &keys, &[1, 255], 2), Ok(()));
    assert!(matches!(call(0, &roots[0], &keys, &[0, 0], 2), Err(FssError::Domain { got: 0 })));
    assert!(matches!(call(64, &roots[0], &keys, &[0, 0], 2), Err(FssError::Domain { got: 64 })));
    assert!(matches!(call(8, &roots[0], &keys, &[1, 256], 2), Err(FssError::Outside { what: "xs", domain_bits: 8 })));
    assert!(matches!(call(8, &roots[0][1..], &keys, &[1, 2], 2), Err(FssError::Length { what: "roots", .. })));
    assert!(matches!(call(8, &roots[0], &keys[1..], &[1, 2], 2), Err(FssError::Length { what: "keys", .. })));
    assert!(matches!(call(8, &roots[0], &keys, &[1, 2], 1), Err(FssError::Length { what: "shares", .. })));
}
