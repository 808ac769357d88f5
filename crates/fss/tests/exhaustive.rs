//! Every point of small domains, on every back end.

use ariann_fss::{HashKeys, Party, TreeHash, generate, key_len, less_than_and_equal, unit};
use ariann_prg::{Address, Backend, Prg, Seed};
use ariann_ring::Ring;

const KEYS: HashKeys = HashKeys { inner: *b"inner key of H..", leaf: *b"leaf key of H'.." };

fn bytes(kind: u8, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    Prg::with_backend(&Seed::from_bytes([7; 16]), Backend::Soft).unwrap().fill_blocks(
        Address { kind, gate: 1, slot: 2 },
        0,
        &mut out,
    );
    out
}

/// Every (α, x) of n bits as one batch, so that its last group is short for small n.
fn every_pair<R: Ring>(backend: Backend, n: u32) {
    let hash = TreeHash::with_backend(&KEYS, backend).unwrap();
    let size = 1u64 << n;
    let alphas: Vec<R> = (0..size * size).map(|i| R::from_u64(i / size)).collect();
    let xs: Vec<R> = (0..size * size).map(|i| R::from_u64(i % size)).collect();
    let roots = [bytes(0, 16 * xs.len()), bytes(1, 16 * xs.len())];
    let mut keys = vec![0; xs.len() * key_len(n)];
    generate(&hash, n, &roots[0], &roots[1], &alphas, &mut keys).unwrap();
    let [(less0, equal0), (less1, equal1)] = Party::BOTH.map(|party| {
        let (mut less, mut equal) = (vec![9; xs.len()], vec![9; xs.len()]);
        less_than_and_equal(&hash, party, n, &roots[party.index()], &keys, &xs, &mut less, &mut equal).unwrap();
        (less, equal)
    });
    for i in 0..xs.len() {
        assert_eq!(
            less0[i] ^ less1[i],
            u8::from(xs[i] < alphas[i]),
            "{backend}: {:?} < {:?} on {n} bits",
            xs[i],
            alphas[i]
        );
        assert_eq!(
            equal0[i] ^ equal1[i],
            u8::from(xs[i] == alphas[i]),
            "{backend}: {:?} = {:?} on {n} bits",
            xs[i],
            alphas[i]
        );
        assert!(less0[i] < 2 && less1[i] < 2 && equal0[i] < 2 && equal1[i] < 2);
    }
}

#[test]
fn comparison_and_equality_on_every_pair_up_to_10_bits() {
    for backend in Backend::available() {
        for n in 1..=10 {
            every_pair::<u32>(backend, n);
        }
        every_pair::<u64>(backend, 8);
    }
}

#[test]
fn unit_vectors_on_every_pair() {
    for v in 0..=unit::MAX_BITS {
        let size = 1u32 << v;
        let alphas: Vec<u32> = (0..size * size).map(|i| i / size).collect();
        let digits: Vec<u32> = (0..size * size).map(|i| i % size).collect();
        let share0 = bytes(2, unit::vectors_len(v, digits.len()));
        let mut share1 = vec![0; share0.len()];
        unit::generate(v, &alphas, &share0, &mut share1).unwrap();
        let [(less0, equal0), (less1, equal1)] = [&share0, &share1].map(|share| {
            let (mut less, mut equal) = (vec![9; digits.len()], vec![9; digits.len()]);
            unit::read(v, share, &digits, &mut less, &mut equal).unwrap();
            (less, equal)
        });
        for i in 0..digits.len() {
            assert_eq!(
                less0[i] ^ less1[i],
                u8::from(digits[i] < alphas[i]),
                "{} < {} on {v} bits",
                digits[i],
                alphas[i]
            );
            assert_eq!(
                equal0[i] ^ equal1[i],
                u8::from(digits[i] == alphas[i]),
                "{} = {} on {v} bits",
                digits[i],
                alphas[i]
            );
        }
    }
}
