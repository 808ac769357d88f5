//! Lookup: every value under every mask, tables of any numbers.

mod common;

use ariann_gates::lookup::{self, Lookup};
use ariann_gates::{Receiver, other};
use ariann_ring::Ring;
use ariann_ring::pack::packed_len;
use common::*;

in_both_rings!(every_value_under_every_mask, wide_tables, costs_are_what_the_formulas_say);

/// Results of lookups, at each receiver.
fn look_up<R: Ring>(world: &World, gate: &Lookup, alpha: &[R], wire: &[R]) -> [Option<Vec<R>>; 2] {
    let (len, items) = (gate.len, wire.len() / gate.len);
    let cost = lookup::cost::<R>(len, gate.width, gate.to);
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
    let masks: Vec<R> = masks.concat();
    wires.map(|wire: Option<Vec<R>>| wire.map(|wire| wire.iter().zip(&masks).map(|(y, r)| y.sub(*r)).collect()))
}

fn table(random: &mut Random, width: u32) -> Vec<i64> {
    (0..1 << width).map(|_| random.next() as i64).collect()
}

fn hold<R: Ring>(gate: &Lookup, x: &[i64], results: [Option<Vec<R>>; 2]) {
    for party in BOTH {
        assert_eq!(results[party as usize].is_some(), gate.to.includes(party));
    }
    for out in results.into_iter().flatten() {
        for (x, y) in x.iter().zip(out) {
            assert_eq!(
                y,
                R::from_i64(gate.table[(x + (1 << (gate.width - 1))) as usize]),
                "w = {}, x = {x}",
                gate.width
            );
        }
    }
}

fn every_value_under_every_mask<R: Ring>() {
    let (world, mut random) = (World::new(1), Random::new(2));
    for width in 1..=9 {
        let bound = 1i64 << (width - 1);
        // Every value under every mask up to 7 bits, under every seventh above.
        let masks: Vec<u64> = (0..1 << width).step_by(if width > 7 { 7 } else { 1 }).collect();
        let x: Vec<i64> = masks.iter().flat_map(|_| -bound..bound).collect();
        let alpha: Vec<R> = masks.iter().flat_map(|a| (-bound..bound).map(|_| R::from_u64(*a))).collect();
        let to = [Receiver::Both, Receiver::P0, Receiver::P1][width as usize % 3];
        let gate = Lookup { len: x.len(), width, table: table(&mut random, width), to };
        hold(&gate, &x, look_up(&world, &gate, &alpha, &wires(&x, &alpha, width)));
    }
}

fn wide_tables<R: Ring>() {
    let (world, mut random) = (World::new(3), Random::new(4));
    for (width, len, items) in [(12, 37, 3), (16, 5, 2), (16, 1, 1)] {
        let bound = (1i64 << (width - 1)) - 1;
        let x: Vec<i64> = (0..len * items).map(|_| random.edgy(bound)).collect();
        let alpha: Vec<R> = random.words(x.len()).into_iter().map(|a: R| a.and(R::low_mask(width))).collect();
        let gate = Lookup { len, width, table: table(&mut random, width), to: Receiver::Both };
        hold(&gate, &x, look_up(&world, &gate, &alpha, &wires(&x, &alpha, width)));
    }
}

fn costs_are_what_the_formulas_say<R: Ring>() {
    for width in 1..=16 {
        for to in [Receiver::Both, Receiver::P0, Receiver::P1] {
            let cost = lookup::cost::<R>(8, width, to);
            let keys = 8 * 16 * (width.saturating_sub(7) as usize + 1);
            assert_eq!(cost.material, [keys, keys + 2 * packed_len(8, R::BITS)]);
            for party in BOTH {
                let sent: Vec<u64> = cost.exchanges.iter().map(|sent| sent[party as usize].bits()).collect();
                let opened = if to.includes(other(party)) { u64::from(R::BITS) } else { 0 };
                assert_eq!(sent, [8 * u64::from(R::BITS), 8 * opened]);
            }
        }
    }
}
