//! Clip: every value under every mask, both forms, exact and coarse signs.

mod common;

use ariann_gates::clip::Clip;
use ariann_gates::{Comparison, Receiver, Sign, other};
use ariann_ring::Ring;
use ariann_ring::pack::packed_len;
use common::*;

in_both_rings!(
    every_value_under_every_mask,
    wide_values_in_several_items,
    a_coarse_sign_is_wrong_only_near_a_bound,
    costs_are_what_the_formulas_say
);

/// Results of a clip on wires, at each receiver.
fn clip<R: Ring>(world: &World, gate: &Clip, alpha: &[R], wire: &[R]) -> [Option<Vec<i64>>; 2] {
    let (len, items) = (gate.len, wire.len() / gate.len);
    let cost = gate.cost::<R>();
    let (masks, sections) = world.deal(6, items, &cost, |slot, dealing, sections| {
        gate.deal(dealing, &alpha[slot * len..][..len].to_vec(), sections)
    });
    let (wire, keys) = (wire.to_vec(), sections.each_ref().map(Section::keys));
    let (wires, _) = play(
        &cost,
        &world.both(6, items),
        |ctx| gate.start(ctx, &keys[ctx.party as usize], &wire),
        |ctx, state, theirs| state.next(ctx, theirs),
    );
    let masks = masks.concat();
    wires.map(|wire: Option<Vec<R>>| wire.map(|wire| unwire(&wire, &masks, R::BITS)))
}

/// Every x of [-bound, bound) under every mask.
fn all<R: Ring>(width: u32, least: i64, greatest: i64) -> (Vec<i64>, Vec<R>) {
    let x = (0..1u64 << width).flat_map(|_| least..greatest).collect();
    (x, (0..1 << width).flat_map(|a| (least..greatest).map(move |_| R::from_u64(a))).collect())
}

fn every_value_under_every_mask<R: Ring>() {
    let world = World::new(1);
    for (width, lo, hi) in [(4, 0, 3), (5, 0, 6), (6, -5, 9), (7, -20, -3), (8, 0, 63), (8, 1, 2)] {
        // x - lo and x - hi have a sign in w bits.
        let bound = 1i64 << (width - 1);
        let (x, alpha) = all::<R>(width, hi - bound, bound + lo.min(0));
        for (form, to) in [Receiver::Both, Receiver::P0, Receiver::P1].into_iter().flat_map(|to| FORMS.map(|f| (f, to)))
        {
            let gate = Clip { len: x.len(), width, to, lo, hi, form, sign: Sign::Exact };
            let out = clip(&world, &gate, &alpha, &wires(&x, &alpha, width));
            for party in BOTH {
                assert_eq!(out[party as usize].is_some(), to.includes(party));
            }
            for out in out.into_iter().flatten() {
                assert!(out.iter().zip(&x).all(|(y, x)| *y == (*x).clamp(lo, hi)), "{form:?}, w = {width}, {lo}..{hi}");
            }
        }
    }
}

fn wide_values_in_several_items<R: Ring>() {
    let mut random = Random::new(3);
    for (width, len) in [(12, 1), (16, 63), (20, 130), (32, 64), (64, 10)].into_iter().filter(|(w, _)| *w <= R::BITS) {
        let bound = (1i64 << (width - 2)) - 1;
        let (lo, hi) = (0, random.within(1, bound));
        let x: Vec<i64> = (0..300 * len).map(|_| random.edgy(bound)).collect();
        let alpha: Vec<R> = random.words(x.len()).into_iter().map(|a: R| a.and(R::low_mask(width))).collect();
        let results: Vec<_> = forms(width)
            .map(|form| {
                let gate = Clip { len, width, to: Receiver::Both, lo, hi, form, sign: Sign::Exact };
                clip(&World::new(u64::from(width)), &gate, &alpha, &wires(&x, &alpha, width))[0].clone().unwrap()
            })
            .collect();
        for out in results {
            assert!(out.iter().zip(&x).all(|(y, x)| *y == (*x).clamp(lo, hi)), "w = {width}");
        }
    }
}

/// Nearer to a bound than 2^(t-1), x comes out by the one select or the other, off by its distance from that bound at most.
fn a_coarse_sign_is_wrong_only_near_a_bound<R: Ring>() {
    let world = World::new(4);
    for (width, drop, lo, hi) in [(8, 2, 0, 24), (8, 3, -10, 20), (8, 4, 0, 9)] {
        let (bound, half) = (1i64 << (width - 2), (1i64 << drop) / 2);
        let (x, alpha) = all::<R>(width, hi - bound, bound + lo.min(0));
        for form in FORMS {
            let gate = Clip { len: x.len(), width, to: Receiver::Both, lo, hi, form, sign: Sign::Coarse(drop) };
            let out = clip(&world, &gate, &alpha, &wires(&x, &alpha, width))[0].clone().unwrap();
            for (x, y) in x.iter().zip(&out) {
                let error = y - (*x).clamp(lo, hi);
                let near = [lo, hi].map(|bound| (x - bound).abs()).into_iter().filter(|near| *near < half).sum();
                assert!(error.abs() <= near, "{x} in {lo}..{hi} without {drop} bits: {y}");
            }
        }
    }
}

/// One key or set of vectors, two combining vectors, two tables; twice the comparison's bits, then k bits.
fn costs_are_what_the_formulas_say<R: Ring>() {
    for (width, form) in (4..=R::BITS).flat_map(|width| forms(width).map(move |form| (width, form))) {
        for to in [Receiver::Both, Receiver::P0, Receiver::P1] {
            let cost = Clip { len: 8, width, to, lo: 0, hi: 1, form, sign: Sign::Exact }.cost::<R>();
            let mut keys = key_bytes(form, width, 8);
            if form == Comparison::Chunks {
                keys[1] += 1 << (compared_bits(form, width)[0]);
            }
            let planes = if width == R::BITS { 3 } else { 5 };
            assert_eq!(cost.comparisons, 16);
            assert_eq!(cost.material, [keys[0], keys[1] + packed_len(16 * planes, R::BITS)]);
            for party in BOTH {
                let sent: Vec<u64> = cost.exchanges.iter().map(|sent| sent[party as usize].bits()).collect();
                let mut each: Vec<u64> = compared_bits(form, width).into_iter().map(|bits| 16 * bits).collect();
                each.push(if to.includes(other(party)) { 8 * u64::from(R::BITS) } else { 0 });
                assert_eq!(sent, each);
            }
        }
    }
}
