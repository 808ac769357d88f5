//! Less-than by chunks: every pair of small points, edges of large ones, all calls that are to be refused.

use ariann_fss::FssError;
use ariann_fss::chunks::{Chunks, GROUP, cut};
use ariann_prg::{Address, Prg, Seed};
use ariann_ring::Ring;

/// A seed for tests only.
fn prg(number: u8) -> Prg {
    Prg::new(&Seed::from_bytes([number; 16]))
}

fn bytes(prg: &Prg, kind: u8, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    prg.fill_blocks(Address { kind, gate: 0, slot: 0 }, 0, &mut out);
    out
}

/// 1{x < α} for every pair, through both openings.
fn less<R: Ring>(n: u32, alphas: &[R], xs: &[R]) -> Vec<u8> {
    let (chunks, prg, count) = (Chunks::new(n).unwrap(), prg(n as u8), alphas.len());
    let vectors0 = bytes(&prg, 0, chunks.vectors_len(count));
    let mut vectors1 = vectors0.clone();
    chunks.deal_vectors(alphas, &mut vectors1).unwrap();
    let words = bytes(&prg, 1, 2 * count);
    let pads: Vec<u16> = words
        .chunks(2)
        .map(|word| u16::from_le_bytes([word[0], word[1]]) & ((1u32 << chunks.marks()) - 1) as u16)
        .collect();
    let tables0 = bytes(&prg, 2, chunks.tables_len(count));
    let mut tables1 = tables0.clone();
    chunks.deal_tables(&pads, &mut tables1).unwrap();
    let mut marks = pads;
    chunks.read(&vectors0, xs, &mut marks).unwrap();
    chunks.read(&vectors1, xs, &mut marks).unwrap();
    assert!(marks.iter().all(|mark| u32::from(*mark) >> chunks.marks() == 0));
    let mut bits = vec![0; count];
    chunks.combine(&tables0, &marks, &mut bits).unwrap();
    chunks.combine(&tables1, &marks, &mut bits).unwrap();
    bits
}

fn holds<R: Ring>(n: u32, alphas: &[R], xs: &[R]) {
    let bits = less(n, alphas, xs);
    for ((bit, alpha), x) in bits.iter().zip(alphas).zip(xs) {
        assert_eq!(*bit, u8::from(x < alpha), "n = {n}: {x:?} < {alpha:?}");
    }
}

#[test]
fn every_pair_of_small_points() {
    for n in 2..=9 {
        let pairs = || (0..1u64 << n).flat_map(|alpha| (0..1u64 << n).map(move |x| (alpha, x)));
        holds::<u32>(
            n,
            &pairs().map(|p| p.0 as u32).collect::<Vec<_>>(),
            &pairs().map(|p| p.1 as u32).collect::<Vec<_>>(),
        );
        holds::<u64>(n, &pairs().map(|p| p.0).collect::<Vec<_>>(), &pairs().map(|p| p.1).collect::<Vec<_>>());
    }
}

#[test]
fn points_that_differ_in_few_digits_at_every_width() {
    for n in 2..=35 {
        let low = u64::low_mask(n);
        let mut words = vec![0u64; 6000];
        prg(9).fill(Address { kind: 7, gate: n, slot: 0 }, 0, &mut words);
        // x differs from α in nothing, in one bit, below one bit, or in all.
        let pairs: Vec<(u64, u64)> = words
            .chunks(2)
            .map(|pair| {
                let (alpha, bit) = (pair[0] & low, 1u64 << (((pair[1] >> 32) & 63) % u64::from(n)));
                let x = match (pair[1] >> 60) & 3 {
                    0 => alpha,
                    1 => alpha ^ bit,
                    2 => alpha ^ (pair[1] & (bit - 1)),
                    _ => pair[1],
                };
                (alpha, x & low)
            })
            .collect();
        let (alphas, xs): (Vec<u64>, Vec<u64>) = pairs.into_iter().unzip();
        // Groups that are short, whole, and more than one.
        for count in [1, 2, GROUP - 1, GROUP, GROUP + 1, alphas.len()] {
            holds(n, &alphas[..count], &xs[..count]);
            if n <= 32 {
                let narrow = |words: &[u64]| words[..count].iter().map(|word| *word as u32).collect::<Vec<_>>();
                holds(n, &narrow(&alphas), &narrow(&xs));
            }
        }
    }
}

/// A stream cut at any group is read as the whole is.
#[test]
fn streams_are_cut_at_groups() {
    let (chunks, count) = (Chunks::new(19).unwrap(), 5 * GROUP + 3);
    let vectors = bytes(&prg(3), 0, chunks.vectors_len(count));
    let xs: Vec<u32> = (0..count as u32).map(|i| i * 7919 % (1 << 19)).collect();
    let mut whole = vec![0; count];
    chunks.read(&vectors, &xs, &mut whole).unwrap();
    for at in [GROUP, 3 * GROUP, 5 * GROUP] {
        let mut tail = vec![0; count - at];
        chunks.read(&vectors[chunks.vectors_len(at)..], &xs[at..], &mut tail).unwrap();
        assert_eq!(tail, whole[at..]);
    }
}

/// Bytes to P1: digits of at most 7 bits, five of them at most, none better.
#[test]
fn cuts_cost_least() {
    let cost = |digits: &[u32]| digits.iter().map(|bits| 1u32 << bits).sum::<u32>() + (1 << (2 * digits.len() - 1));
    fn all(left: u32, count: usize, most: u32) -> Vec<Vec<u32>> {
        if count == 0 {
            return if left == 0 { vec![Vec::new()] } else { Vec::new() };
        }
        let first =
            |bits: u32| all(left - bits, count - 1, bits).into_iter().map(move |rest| [vec![bits], rest].concat());
        (1..=most.min(left)).flat_map(first).collect()
    }
    for n in 2..=35 {
        let digits = cut(n).unwrap();
        assert_eq!(digits.iter().sum::<u32>(), n);
        let least = (2..=5).flat_map(|count| all(n, count, 7)).map(|digits| cost(&digits)).min().unwrap();
        assert_eq!(cost(&digits), least, "{n} bits as {digits:?}");
        let chunks = Chunks::new(n).unwrap();
        assert_eq!(8 * (chunks.vectors_len(8) + chunks.tables_len(8)), 8 * least as usize);
    }
    assert_eq!([0, 1, 36, 63, u32::MAX].map(cut), [const { None }; 5]);
    assert_eq!(cut(15), Some(vec![5, 5, 5]));
    assert_eq!(cut(31), Some(vec![7, 6, 6, 6, 6]));
    assert_eq!(cut(19), Some(vec![5, 5, 5, 4]));
}

#[test]
fn wrong_lengths_and_points_are_refused() {
    let chunks = Chunks::new(15).unwrap();
    assert_eq!(Chunks::new(36), Err(FssError::Domain { got: 36 }));
    let (vectors, tables) = (vec![0; chunks.vectors_len(3)], vec![0; chunks.tables_len(3)]);
    let (mut marks, mut bits) = (vec![0; 3], vec![0; 3]);
    assert!(chunks.read(&vectors, &[0u32; 3], &mut marks).is_ok());
    assert!(matches!(chunks.read(&vectors[1..], &[0u32; 3], &mut marks), Err(FssError::Length { .. })));
    assert!(matches!(chunks.read(&vectors, &[0u32; 3], &mut marks[1..]), Err(FssError::Length { .. })));
    assert!(matches!(chunks.read(&vectors, &[1u32 << 15, 0, 0], &mut marks), Err(FssError::Outside { .. })));
    assert!(matches!(chunks.combine(&tables[1..], &marks, &mut bits), Err(FssError::Length { .. })));
    assert!(matches!(chunks.combine(&tables, &marks, &mut bits[1..]), Err(FssError::Length { .. })));
    assert!(matches!(chunks.deal_vectors(&[1u32 << 15; 3], &mut vectors.clone()), Err(FssError::Outside { .. })));
    assert!(matches!(chunks.deal_tables(&marks, &mut tables[1..].to_vec()), Err(FssError::Length { .. })));
}
