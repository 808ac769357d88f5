//! ReLU with and without its lift, alone and behind a window opening.

mod common;

use ariann_gates::open::Open;
use ariann_gates::relu::Relu;
use ariann_gates::{Comparison, Receiver, Sign, Window, other};
use ariann_ring::Ring;
use ariann_ring::pack::packed_len;
use common::*;

in_both_rings!(
    a_coarse_sign_is_wrong_only_near_zero,
    every_value_under_every_mask,
    without_a_lift,
    behind_a_window_at_its_bounds,
    costs_are_what_the_formulas_say
);

/// Results of a ReLU on wires, at each receiver.
fn relu<R: Ring>(world: &World, gate: &Relu, alpha: &[R], wire: &[R]) -> [Option<Vec<i64>>; 2] {
    let (len, items) = (gate.len, wire.len() / gate.len);
    let cost = gate.cost::<R>();
    let (masks, sections) = world.deal(6, items, &cost, |slot, dealing, sections| {
        gate.deal(dealing, &alpha[slot * len..][..len].to_vec(), sections)
    });
    let wire = wire.to_vec();
    let keys = sections.each_ref().map(Section::keys);
    let (wires, _) = play(
        &cost,
        &world.both(6, items),
        |ctx| gate.start(ctx, &keys[ctx.party as usize], &wire),
        |ctx, state, theirs| state.next(ctx, theirs),
    );
    let masks = masks.concat();
    wires.map(|wire: Option<Vec<R>>| wire.map(|wire| unwire(&wire, &masks, R::BITS)))
}

fn exact(form: Comparison, len: usize, width: u32, to: Receiver) -> Relu {
    Relu { len, width, to, form, sign: Sign::Exact }
}

fn rectified(x: &[i64]) -> Vec<i64> {
    x.iter().map(|x| (*x).max(0)).collect()
}

fn every_value_under_every_mask<R: Ring>() {
    let world = World::new(1);
    for width in 3..=9 {
        let bound = 1i64 << (width - 1);
        let (mut x, mut alpha) = (Vec::new(), Vec::new());
        for a in 0..1u64 << width {
            for value in -bound..bound {
                x.push(value);
                alpha.push(R::from_u64(a));
            }
        }
        for (form, to) in
            [Receiver::Both, Receiver::P0, Receiver::P1].into_iter().flat_map(|to| FORMS.map(|form| (form, to)))
        {
            let out = relu(&world, &exact(form, x.len(), width, to), &alpha, &wires(&x, &alpha, width));
            for party in BOTH {
                assert_eq!(out[party as usize].is_some(), to.includes(party));
            }
            for out in out.into_iter().flatten() {
                assert_eq!(out, rectified(&x), "w = {width}");
            }
        }
    }
}

fn without_a_lift<R: Ring>() {
    let world = World::new(2);
    let mut random = Random::new(3);
    let bound = ((1i128 << (R::BITS - 1)) - 1) as i64;
    let x: Vec<i64> = (0..100_000).map(|_| random.edgy(bound)).collect();
    let alpha: Vec<R> = random.words(x.len());
    let gate = exact(Comparison::Dpf, 1000, R::BITS, Receiver::Both);
    for out in relu(&world, &gate, &alpha, &wires(&x, &alpha, R::BITS)).into_iter().flatten() {
        assert_eq!(out, rectified(&x));
    }
}

/// |z| up to 2^(m-1) - 2^(s+1): less than two units from max(z / 2^s, 0), and no sign is wrong where |z| >= 2^(s+1).
fn behind_a_window_at_its_bounds<R: Ring>() {
    let world = World::new(4);
    let mut random = Random::new(5);
    let k = R::BITS;
    for (shift, top) in [(0, 3), (0, k), (1, 4), (2, 8), (12, 15), (12, 28), (12, 32), (k - 3, k)] {
        let window = Window { shift, top };
        let bound = ((1i128 << (top - 1)) - (1i128 << (shift + 1))) as i64;
        let len = 100_000;
        let near = (1i64 << (shift + 1)).min(bound);
        let z: Vec<i64> = (0..len).map(|i| if i % 4 == 0 { random.edgy(near) } else { random.edgy(bound) }).collect();
        let open = Open { len, window, to: Receiver::Both };
        let (alpha, _) = world.deal(3, 1, &open.cost(), |_, dealing, _| open.deal::<R, _>(dealing));
        let shares = share(&mut random, &z.iter().map(|z| R::from_i64(*z)).collect::<Vec<_>>());
        let [ctx0, ctx1] = world.both(3, 1);
        let (opening, _) = open.start(&ctx0, &shares[0]);
        let (_, message) = open.start(&ctx1, &shares[1]);
        let wire = opening.finish(&ctx0, &message).unwrap().unwrap();
        let rounded = unwire(&wire, &alpha[0], window.width());
        let outs: Vec<_> = forms(window.width())
            .map(|form| relu(&world, &exact(form, len, window.width(), Receiver::Both), &alpha[0], &wire))
            .collect();
        assert!(outs.iter().all(|out| *out == outs[0]), "the forms have the same results");
        let out = outs[0][0].clone().unwrap();
        assert_eq!(out, rectified(&rounded));
        for (y, z) in out.iter().zip(&z) {
            let error = (i128::from(*y) << shift) - i128::from((*z).max(0));
            assert!(if shift == 0 { error == 0 } else { error.abs() < 2 << shift }, "{z} by 2^{shift}, m = {top}: {y}");
            assert!(*z > -(2 << shift) || *y == 0, "a negative value passed: {z} by 2^{shift}: {y}");
        }
    }
}

/// On wires of w bits without t of them: the sign is that of x wherever |x| >= 2^(t-1), and nearer to 0 it is no matter what
/// it is, x or 0 comes out: each for the share of the masks that the distance from -2^(t-1) tells.
fn a_coarse_sign_is_wrong_only_near_zero<R: Ring>() {
    let world = World::new(6);
    for (width, drop) in [(6, 0), (6, 1), (6, 3), (8, 2), (8, 4), (8, 5)] {
        // Signed values: one bit less than for a sign alone.
        let bound = 1i64 << if drop == 0 { width - 1 } else { width - 2 };
        let x: Vec<i64> = (0..1u64 << width).flat_map(|_| -bound..bound).collect();
        let alpha: Vec<R> = (0..1 << width).flat_map(|a| (-bound..bound).map(move |_| R::from_u64(a))).collect();
        let half = (1i64 << drop) / 2;
        for form in FORMS {
            let gate = Relu { sign: Sign::Coarse(drop), ..exact(form, x.len(), width, Receiver::Both) };
            let [out, _] = relu(&world, &gate, &alpha, &wires(&x, &alpha, width));
            let out = out.unwrap();
            let mut passed = vec![0i64; 2 * bound as usize];
            for (x, y) in x.iter().zip(&out) {
                assert!(*y == *x || *y == 0, "{x}: {y}");
                assert!(*y == (*x).max(0) || x.abs() < half, "{x} without {drop} bits: {y}");
                passed[(x + bound) as usize] += i64::from(*y == *x);
            }
            for (x, passed) in (-bound..bound).zip(passed).filter(|(x, _)| x.abs() < half && *x != 0) {
                assert_eq!(passed, (x + half) << (width - drop), "masks under which {x} passes");
            }
        }
    }
    // At w = k nothing is lifted.
    let mut random = Random::new(8);
    let x: Vec<i64> = (0..50_000).map(|_| random.edgy((1 << (R::BITS - 2)) - 1)).collect();
    let alpha: Vec<R> = random.words(x.len());
    let gate = Relu { sign: Sign::Coarse(9), ..exact(Comparison::Dpf, 500, R::BITS, Receiver::Both) };
    let [out, _] = relu(&world, &gate, &alpha, &wires(&x, &alpha, R::BITS));
    assert!(out.unwrap().iter().zip(&x).all(|(y, x)| *y == (*x).max(0) || (x.abs() < 256 && (*y == *x || *y == 0))));
}

/// Keys or vectors, and 5k/8 (3k/8 without a lift) to P1; the comparison's bits, then k bits.
fn costs_are_what_the_formulas_say<R: Ring>() {
    for width in 3..=R::BITS {
        for to in [Receiver::Both, Receiver::P0, Receiver::P1] {
            for form in forms(width) {
                let cost = exact(form, 8, width, to).cost::<R>();
                let keys = key_bytes(form, width, 8);
                let planes = if width == R::BITS { 3 } else { 5 };
                assert_eq!(cost.material, [keys[0], keys[1] + packed_len(8 * planes, R::BITS)]);
                assert_eq!(packed_len(8 * planes, R::BITS), 8 * planes * R::BITS as usize / 8);
                for party in BOTH {
                    let sent: Vec<u64> = cost.exchanges.iter().map(|sent| sent[party as usize].bits()).collect();
                    let opened = if to.includes(other(party)) { u64::from(R::BITS) } else { 0 };
                    let each = [compared_bits(form, width), vec![opened]].concat();
                    assert_eq!(sent, each.into_iter().map(|bits| 8 * bits).collect::<Vec<_>>());
                }
            }
        }
    }
    if R::BITS == 32 {
        // The table of docs/protocol.md, one element.
        for (width, bytes) in [(20, [208, 228]), (16, [144, 164])] {
            assert_eq!(exact(Comparison::Dpf, 1, width, Receiver::Both).cost::<R>().material, bytes);
        }
    }
}
