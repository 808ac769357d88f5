//! Argmax: the first of the greatest, for all small rows; revealed to each receiver.

mod common;

use ariann_device::Cpu;
use ariann_gates::argmax::{ArgMax, Candidates, Ranked};
use ariann_gates::reveal::Reveal;
use ariann_gates::{Comparison, Context, Receiver, Windows, other};
use ariann_ring::Ring;
use ariann_ring::pack::packed_len;
use common::*;

in_both_rings!(all_small_rows, long_rows, costs_are_what_the_formulas_say);

/// The revealed labels of rows of `len` values, at each receiver.
fn labels<R: Ring>(
    world: &World,
    form: Comparison,
    len: usize,
    width: u32,
    x: &[i64],
    to: Receiver,
    random: &mut Random,
) -> [Option<Vec<u64>>; 2] {
    let items = x.len() / len;
    let mask =
        |random: &mut Random| -> Vec<R> { (0..len).map(|_| random.word::<R>().and(R::low_mask(width))).collect() };
    let mut masks: Vec<_> = (0..items).map(|_| Ranked { value: mask(random), index: vec![R::ZERO; len] }).collect();
    let alpha: Vec<R> = masks.iter().flat_map(|mask| mask.value.clone()).collect();
    let wire = wires(x, &alpha, width);
    let first = ArgMax { len, level: 0, width, form };
    let mut states = BOTH.map(|_| Candidates {
        open: Ranked { value: wire.clone(), index: first.indices::<R>(items) },
        own_index_mask: vec![R::ZERO; items * len],
    });
    let levels = Windows::Row(len).levels();
    for level in 0..levels {
        let gate = ArgMax { len, level, width, form };
        let (cost, number) = (gate.cost(), 9 + level);
        let before = masks;
        let (after, sections) =
            world.deal(number, items, &cost, |slot, dealing, sections| gate.deal(dealing, &before[slot], sections));
        let keys = sections.each_ref().map(Section::keys);
        let before = states.map(|state| std::cell::Cell::new(Some(state)));
        let start = |ctx: &Context<'_, Cpu>| {
            let party = ctx.party as usize;
            gate.start(ctx, &keys[party], before[party].take().unwrap())
        };
        let after_both = play(&cost, &world.both(number, items), start, |ctx, state, theirs| state.next(ctx, theirs));
        states = after_both.0;
        assert_eq!(states[0].open.index, states[1].open.index);
        masks = after;
    }
    let gate = Reveal { len: 1, width, to };
    let [ctx0, ctx1] = world.both(9 + levels, items);
    let [state0, state1] = states;
    let (opening0, message0) = gate.wire(&ctx0, Some(&state0.open.index), state0.own_index_mask);
    let (opening1, message1) = gate.wire(&ctx1, Some(&state1.open.index), state1.own_index_mask);
    check_sent(&gate.cost(), 0, items, [&message0, &message1]);
    let results = [gate.finish(&ctx0, opening0, &message1).unwrap(), gate.finish(&ctx1, opening1, &message0).unwrap()];
    results.map(|words| {
        words.map(|words| words.into_iter().map(|word: R| word.and(R::low_mask(width)).to_u64()).collect())
    })
}

/// The first of the greatest.
fn clear(row: &[i64]) -> u64 {
    let greatest = row.iter().max().unwrap();
    row.iter().position(|x| x == greatest).unwrap() as u64
}

fn hold<R: Ring>(world: &World, len: usize, width: u32, x: &[i64], to: Receiver, random: &mut Random) {
    let expected: Vec<u64> = x.chunks(len).map(clear).collect();
    for form in forms(width) {
        let out = labels::<R>(world, form, len, width, x, to, random);
        for party in BOTH {
            assert_eq!(out[party as usize].is_some(), to.includes(party));
        }
        out.into_iter().flatten().for_each(|out| assert_eq!(out, expected));
    }
}

/// All rows over a few values, equal ones among them.
fn all_small_rows<R: Ring>() {
    let mut random = Random::new(1);
    for (len, values) in [(2, 8), (3, 5), (4, 4), (5, 3), (6, 2), (7, 2)] {
        let mut x = Vec::new();
        for number in 0..(values as usize).pow(len as u32) {
            x.extend(
                (0..len)
                    .map(|place| (number / (values as usize).pow(place as u32) % values as usize) as i64 - values / 2),
            );
        }
        for (seed, to) in [Receiver::Both, Receiver::P0, Receiver::P1].into_iter().enumerate() {
            hold::<R>(&World::new(seed as u64), len, 5, &x, to, &mut random);
        }
    }
}

fn long_rows<R: Ring>() {
    let mut random = Random::new(2);
    for (len, width) in [(10, 14), (10, R::BITS), (33, 20), (100, 12), (1000, 16)] {
        let bound = (1i64 << (width - 2)) - 1;
        let mut x: Vec<i64> = (0..20 * len).map(|_| random.edgy(bound)).collect();
        // A row of equal values, and one of only the least.
        x[..len].fill(bound);
        x[len..2 * len].fill(-bound - 1);
        hold::<R>(&World::new(len as u64), len, width, &x, Receiver::Both, &mut random);
    }
}

/// n - 1 comparisons in all; two selects a pair, one at the last level.
fn costs_are_what_the_formulas_say<R: Ring>() {
    for len in 2..40 {
        let width = 14;
        let levels = Windows::Row(len).levels();
        let mut comparisons = 0;
        for level in 0..levels {
            let cost = ArgMax { len, level, width, form: Comparison::Dpf }.cost();
            let (pairs, selects) = (cost.comparisons as usize, if level + 1 == levels { 1 } else { 2 });
            assert_eq!(cost.material, [pairs * 16 * 7, pairs * 16 * 7 + selects * packed_len(3 * pairs, width)]);
            for party in BOTH {
                let sent: Vec<u64> = cost.exchanges.iter().map(|sent| sent[party as usize].bits()).collect();
                assert_eq!(sent, [pairs as u64, (selects * pairs) as u64 * u64::from(width)]);
                assert_eq!(cost.exchanges[0][party as usize], cost.exchanges[0][other(party) as usize]);
            }
            comparisons += pairs;
        }
        assert_eq!(comparisons, len - 1);
        assert!(1 << levels >= len && 1 << (levels - 1) < len);
        let _ = R::BITS;
    }
}
