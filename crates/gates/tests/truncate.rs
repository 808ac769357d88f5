//! The signed value of a wire as a share.

mod common;

use ariann_gates::open::Open;
use ariann_gates::truncate::Truncate;
use ariann_gates::{Receiver, Window};
use ariann_ring::Ring;
use ariann_ring::pack::packed_len;
use common::*;

in_both_rings!(
    every_value_under_every_mask,
    every_width_at_its_edges,
    opened_windows_at_their_bounds,
    material_is_what_the_formula_says
);

/// The signed values that come out, checked on both parties' shares.
fn truncate<R: Ring>(world: &World, width: u32, len: usize, alpha: &[R], wire: &[R]) -> Vec<i64> {
    let gate = Truncate { len, width };
    let items = wire.len() / len;
    let (_, sections) = world.deal(4, items, &gate.cost::<R>(), |slot, dealing, sections| {
        gate.deal(dealing, &alpha[slot * len..][..len].to_vec(), sections);
    });
    let wire = wire.to_vec();
    let [own0, own1] =
        BOTH.map(|party| gate.share(&world.ctx(party, 4, items), &sections[party as usize].keys(), &wire).unwrap());
    join(&own0, &own1, R::BITS).into_iter().map(|z| signed(z, R::BITS)).collect()
}

fn every_value_under_every_mask<R: Ring>() {
    let world = World::new(1);
    for width in 3..=9 {
        let bound = 1i64 << (width - 2);
        let (mut x, mut alpha) = (Vec::new(), Vec::new());
        for a in 0..1u64 << width {
            for value in -bound..bound {
                x.push(value);
                alpha.push(R::from_u64(a));
            }
        }
        assert_eq!(truncate(&world, width, x.len(), &alpha, &wires(&x, &alpha, width)), x);
    }
}

fn every_width_at_its_edges<R: Ring>() {
    let world = World::new(2);
    let mut random = Random::new(3);
    for width in 3..=R::BITS {
        let bound = 1i64 << (width - 2);
        let mut x: Vec<i64> = (0..998).map(|_| random.edgy(bound - 1)).collect();
        x.extend([-bound, bound - 1]);
        let alpha: Vec<R> = x.iter().map(|_| random.word::<R>().and(R::low_mask(width))).collect();
        assert_eq!(truncate(&world, width, 250, &alpha, &wires(&x, &alpha, width)), x);
    }
}

/// |z| up to 2^(m-2) - 2^(s+1): the result is the opening's rounding, never a wrap.
fn opened_windows_at_their_bounds<R: Ring>() {
    let world = World::new(4);
    let mut random = Random::new(5);
    let k = R::BITS;
    for (shift, top) in [(0, 4), (0, k), (1, 5), (3, 8), (10, 14), (10, 28), (12, k), (k - 4, k)] {
        let window = Window { shift, top };
        let bound = ((1i128 << (top - 2)) - (1i128 << (shift + 1))) as i64;
        let len = 20_000;
        let z: Vec<i64> = (0..len).map(|_| random.edgy(bound)).collect();
        let open = Open { len, window, to: Receiver::Both };
        let (alpha, _) = world.deal(3, 1, &open.cost(), |_, dealing, _| open.deal::<R, _>(dealing));
        let shares = share(&mut random, &z.iter().map(|z| R::from_i64(*z)).collect::<Vec<_>>());
        let [ctx0, ctx1] = world.both(3, 1);
        let (opening, _) = open.start(&ctx0, &shares[0]);
        let (_, message) = open.start(&ctx1, &shares[1]);
        let wire = opening.finish(&ctx0, &message).unwrap().unwrap();
        let out = truncate(&world, window.width(), len, &alpha[0], &wire);
        for (x, z) in out.iter().zip(&z) {
            let error = (i128::from(*x) << shift) - i128::from(*z);
            assert!(
                if shift == 0 { error == 0 } else { 2 * error.abs() < 3 << shift },
                "{z} by 2^{shift}, m = {top}: {x}"
            );
        }
    }
}

fn material_is_what_the_formula_says<R: Ring>() {
    for width in 3..=R::BITS {
        for len in [1, 7, 8, 100] {
            let cost = Truncate { len, width }.cost::<R>();
            assert_eq!(cost.material, [0, packed_len(len, R::BITS) + packed_len(len, R::BITS - width)]);
            assert!(cost.exchanges.is_empty());
        }
    }
}
