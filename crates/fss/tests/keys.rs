//! Batches of keys: results, shares of α, bytes there and back, bytes to refuse.

use std::sync::atomic::AtomicBool;

use ariann_fss::{Evaluated, Function, KeyKind, Keys, KeysError, Shares};
use proptest::prelude::*;

fn kinds() -> impl Iterator<Item = KeyKind> {
    let functions = [Function::LessThan, Function::Equal];
    let shares = [Shares::Xor, Shares::Additive32, Shares::Additive64];
    functions.into_iter().flat_map(move |function| {
        shares
            .into_iter()
            .flat_map(move |shares| [1, 7, 8, 32, 33, 63].map(|domain_bits| KeyKind { function, shares, domain_bits }))
    })
}

fn result(keys: &[Keys; 2], xs: &[u64]) -> Vec<u64> {
    match (keys[0].evaluate(xs).unwrap(), keys[1].evaluate(xs).unwrap()) {
        (Evaluated::Bits(a), Evaluated::Bits(b)) => a.iter().zip(b).map(|(a, b)| u64::from(a ^ b)).collect(),
        (Evaluated::Words32(a), Evaluated::Words32(b)) => {
            a.iter().zip(b).map(|(a, b)| u64::from(a.wrapping_add(b))).collect()
        }
        (Evaluated::Words64(a), Evaluated::Words64(b)) => a.iter().zip(b).map(|(a, b)| a.wrapping_add(b)).collect(),
        _ => panic!("the parties have different results"),
    }
}

fn alphas(keys: &[Keys; 2]) -> Vec<u64> {
    let mask = (1 << keys[0].kind().domain_bits) - 1;
    keys[0].alpha_shares().iter().zip(keys[1].alpha_shares()).map(|(a, b)| a.wrapping_add(b) & mask).collect()
}

#[test]
fn drawn_points_are_shared_and_compared() {
    for kind in kinds() {
        let keys = Keys::random(kind, 40).unwrap();
        let alphas = alphas(&keys);
        let mask = (1u64 << kind.domain_bits) - 1;
        for by in [-1, 0, 1] {
            let xs: Vec<u64> = alphas.iter().map(|alpha| alpha.wrapping_add_signed(by) & mask).collect();
            let is = |(x, alpha): (&u64, &u64)| match kind.function {
                Function::LessThan => u64::from(x < alpha),
                Function::Equal => u64::from(x == alpha),
            };
            assert_eq!(result(&keys, &xs), xs.iter().zip(&alphas).map(is).collect::<Vec<_>>(), "{kind:?}");
        }
        if kind.domain_bits >= 32 {
            assert_ne!(alphas, Keys::random(kind, 40).unwrap().map(|keys| keys.alpha_shares())[0]);
        }
    }
}

/// Large batches are worked in stretches.
#[test]
fn batches_of_many_stretches_are_as_right() {
    for kind in kinds().filter(|kind| kind.domain_bits == 8 || kind.domain_bits == 33) {
        let points: Vec<u64> = (0..40_000).map(|i| i * 7 % 256).collect();
        let keys = Keys::generate(kind, &points).unwrap();
        assert_eq!(alphas(&keys), points);
        let xs: Vec<u64> = (0..40_000).map(|i| i * 5 % 256).collect();
        let is = |(x, alpha): (&u64, &u64)| match kind.function {
            Function::LessThan => u64::from(x < alpha),
            Function::Equal => u64::from(x == alpha),
        };
        assert_eq!(result(&keys, &xs), xs.iter().zip(&points).map(is).collect::<Vec<_>>(), "{kind:?}");
    }
}

#[test]
fn work_stops_when_asked_to() {
    let stop = AtomicBool::new(true);
    for kind in kinds() {
        assert!(matches!(Keys::random_until(&stop, kind, 3), Err(KeysError::Stopped)));
        assert!(matches!(Keys::generate_until(&stop, kind, &[0, 1]), Err(KeysError::Stopped)));
        let [key, _] = Keys::random(kind, 3).unwrap();
        assert!(matches!(key.evaluate_until(&stop, &[0u64, 1, 0]), Err(KeysError::Stopped)));
    }
}

#[test]
fn bytes_come_back() {
    for kind in kinds() {
        let top = (1u64 << kind.domain_bits) - 1;
        let keys = Keys::generate(kind, &[0, 1, top]).unwrap();
        assert_eq!(alphas(&keys), [0, 1, top]);
        let back = [0, 1].map(|party: usize| {
            let bytes = keys[party].encode();
            assert_eq!(bytes.len(), keys[party].encoded_len());
            let back = Keys::decode(&bytes).unwrap();
            assert_eq!((back.kind(), back.party(), back.count()), (kind, keys[party].party(), 3));
            back
        });
        assert_eq!(result(&back, &[top, 1, 0]), result(&keys, &[top, 1, 0]));
        assert_eq!(alphas(&back), [0, 1, top]);
    }
}

#[test]
fn a_key_of_32_bits_has_416_bytes() {
    let kind = KeyKind { function: Function::LessThan, shares: Shares::Xor, domain_bits: 32 };
    assert_eq!(kind.key_len(), 416);
    assert_eq!(KeyKind { shares: Shares::Additive64, ..kind }.key_len(), 32 * 24);
    let of = |count| Keys::random(kind, count).unwrap()[1].encoded_len();
    assert_eq!(of(1000) - of(0), 1000 * 420);
}

#[test]
fn calls_that_do_not_fit_are_refused() {
    let kind = KeyKind { function: Function::Equal, shares: Shares::Xor, domain_bits: 8 };
    assert!(matches!(Keys::random(KeyKind { domain_bits: 0, ..kind }, 1), Err(KeysError::Fss(_))));
    assert!(matches!(Keys::random(KeyKind { domain_bits: 64, ..kind }, 1), Err(KeysError::Fss(_))));
    assert!(matches!(Keys::random(kind, 1 << 40), Err(KeysError::TooMany { .. })));
    assert!(matches!(Keys::generate(kind, &[256]), Err(KeysError::Fss(_))));
    let keys = Keys::random(kind, 2).unwrap();
    assert!(matches!(keys[0].evaluate(&[1u32]), Err(KeysError::Count { points: 1, keys: 2 })));
    assert!(matches!(keys[0].evaluate(&[1u32, 256]), Err(KeysError::Fss(_))));
}

proptest! {
    #[test]
    fn changed_bytes_are_refused_or_evaluate(at in 0usize..90, by in 1u8.., cut in 0usize..100) {
        let kind = KeyKind { function: Function::LessThan, shares: Shares::Xor, domain_bits: 12 };
        for keys in Keys::random(kind, 3).unwrap() {
            let mut bytes = keys.encode();
            prop_assert!(Keys::decode(&bytes[..bytes.len() - 1 - cut]).is_err());
            bytes[at] ^= by;
            if let Ok(keys) = Keys::decode(&bytes) {
                prop_assert!(keys.evaluate(&vec![0u32; keys.count()]).is_ok());
            }
            bytes[at] ^= by;
            bytes.push(0);
            prop_assert!(Keys::decode(&bytes).is_err());
        }
    }
}
