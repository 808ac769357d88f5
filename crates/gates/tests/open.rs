//! Opening: whole, by a window, directed; its rounding.

mod common;

use ariann_gates::open::Open;
use ariann_gates::{Party, Receiver, Window, kind, other};
use ariann_ring::Ring;
use common::*;

in_both_rings!(
    whole_is_exact,
    window_rounds_within_one_and_a_half_units,
    window_without_shift_is_exact,
    rounding_is_unbiased
);

/// Opens shares of `z` at gate 3; returns the wire at each receiver and the dealer's α.
fn open<R: Ring>(
    world: &World,
    gate: &Open,
    z: &[R],
    items: usize,
    random: &mut Random,
) -> ([Option<Vec<R>>; 2], Vec<R>) {
    let cost = gate.cost();
    let (alpha, _) = world.deal(3, items, &cost, |_, dealing, _| gate.deal::<R, _>(dealing));
    let shares = share(random, z);
    let [ctx0, ctx1] = world.both(3, items);
    let (opening0, message0) = gate.start(&ctx0, &shares[0]);
    let (opening1, message1) = gate.start(&ctx1, &shares[1]);
    check_sent(&cost, 0, items, [&message0, &message1]);
    let wires = [opening0.finish(&ctx0, &message1).unwrap(), opening1.finish(&ctx1, &message0).unwrap()];
    (wires, alpha.concat())
}

fn whole_is_exact<R: Ring>() {
    let world = World::new(1);
    let mut random = Random::new(2);
    for to in [Receiver::Both, Receiver::P0, Receiver::P1] {
        let gate = Open { len: 37, window: Window { shift: 0, top: R::BITS }, to };
        for party in BOTH {
            let sent = gate.cost().exchanges[0][party as usize].bits();
            let expected = if to.includes(other(party)) { 37 * u64::from(R::BITS) } else { 0 };
            assert_eq!(sent, expected, "a directed opening sends nothing the other way");
        }
        let z: Vec<R> = random.words(37 * 3);
        let (wires, alpha) = open(&world, &gate, &z, 3, &mut random);
        for party in BOTH {
            assert_eq!(wires[party as usize].is_some(), to.includes(party));
        }
        for wire in wires.into_iter().flatten() {
            let opened: Vec<R> = wire.iter().zip(&alpha).map(|(x, a)| x.sub(*a)).collect();
            assert_eq!(opened, z);
        }
        // The mask is the sum of both parties' words, nothing else.
        let mask = BOTH.map(|party| world.ctx(party, 3, 3).expand::<R>(kind::MASK, 37, R::BITS));
        assert_eq!(join(&mask[0], &mask[1], R::BITS), alpha);
    }
}

fn window_without_shift_is_exact<R: Ring>() {
    let world = World::new(3);
    let mut random = Random::new(4);
    for top in [3, 4, 9, 17, 31, R::BITS] {
        let z: Vec<i64> = (0..400).map(|_| random.edgy(((1i128 << (top - 1)) - 1) as i64)).collect();
        let gate = Open { len: 200, window: Window { shift: 0, top }, to: Receiver::Both };
        let words: Vec<R> = z.iter().map(|z| R::from_i64(*z)).collect();
        let (wires, alpha) = open(&world, &gate, &words, 2, &mut random);
        for wire in wires.into_iter().flatten() {
            assert_eq!(unwire(&wire, &alpha, top), z);
        }
    }
}

/// Every z that the window holds, under many masks, shares and coins; and every edge of wide windows.
fn window_rounds_within_one_and_a_half_units<R: Ring>() {
    let world = World::new(5);
    let mut random = Random::new(6);
    let mut hold = |shift: u32, top: u32, z: &[i64], items: usize| {
        let window = Window { shift, top };
        let gate = Open { len: z.len(), window, to: Receiver::Both };
        let words: Vec<R> = z.iter().map(|z| R::from_i64(*z)).collect::<Vec<_>>().repeat(items);
        let (wires, alpha) = open(&world, &gate, &words, items, &mut random);
        let [wire0, wire1] = wires.map(Option::unwrap);
        assert_eq!(wire0, wire1);
        for (x, z) in unwire(&wire0, &alpha, window.width()).into_iter().zip(z.iter().cycle()) {
            let error = (i128::from(x) << shift) - i128::from(*z);
            assert!(2 * error.abs() < 3 << shift, "{z} by 2^{shift}: {x}");
        }
    };
    for (shift, top) in [(1, 4), (1, 6), (2, 7), (3, 8), (5, 9), (4, 10)] {
        let bound = (1i64 << (top - 1)) - (2 << shift);
        hold(shift, top, &(-bound..=bound).collect::<Vec<_>>(), 300);
    }
    let k = R::BITS;
    for (shift, top) in [(1, 4), (1, k), (12, 15), (12, 30), (12, k), (k - 3, k), (k / 2, k - 1)] {
        let bound = ((1i128 << (top - 1)) - (1i128 << (shift + 1))) as i64;
        let edges = [bound, -bound, bound - 1, 1 - bound, 0, 1, -1, (1 << shift) - 1, -(1 << shift)];
        let inside: Vec<i64> = edges.into_iter().filter(|z| z.unsigned_abs() <= bound as u64).collect();
        hold(shift, top, &inside, 3000);
    }
}

/// Mean 0 and variance 1/4 over masks and coins, whatever z is: 2^16 masks a value, limits at more than six deviations.
fn rounding_is_unbiased<R: Ring>() {
    let world = World::new(7);
    let mut random = Random::new(8);
    const MASKS: usize = 1 << 16;
    for (shift, z) in [(1, 5), (1, 4), (4, 0), (4, 8), (4, -3), (4, 129), (12, 12345), (12, -2048), (12, 7), (12, 4095)]
    {
        let window = Window { shift, top: 20 };
        let gate = Open { len: MASKS, window, to: Receiver::Both };
        let (wires, alpha) = open(&world, &gate, &[R::from_i64(z)].repeat(MASKS), 1, &mut random);
        let exact = z as f64 / f64::from(1 << shift);
        let errors: Vec<f64> =
            unwire(&wires[0].clone().unwrap(), &alpha, window.width()).iter().map(|x| *x as f64 - exact).collect();
        let mean = errors.iter().sum::<f64>() / MASKS as f64;
        let variance = errors.iter().map(|e| e * e).sum::<f64>() / MASKS as f64;
        assert!(mean.abs() < 0.0125, "z = {z}, s = {shift}: mean {mean}");
        assert!((variance - 0.25).abs() < 0.0125 || shift < 4, "z = {z}, s = {shift}: variance {variance}");
        println!("z = {z}, s = {shift}: mean {mean:.4}, variance {variance:.4}");
    }
}

#[test]
fn a_message_of_another_form_is_refused() {
    let world = World::new(9);
    let ctx = world.ctx(Party::P0, 3, 2);
    let gate = Open { len: 5, window: Window { shift: 2, top: 9 }, to: Receiver::Both };
    for bytes in [0, 8, 10] {
        let (opening, message) = gate.start::<u32, _>(&ctx, &vec![1; 10]);
        assert_eq!(message.len(), 9);
        assert!(opening.finish(&ctx, &vec![0; bytes]).is_err(), "{bytes} bytes");
    }
    // 70 bits fill 9 bytes but for two bits, which must be zero.
    let (opening, _) = gate.start::<u32, _>(&ctx, &vec![1; 10]);
    assert!(opening.finish(&ctx, &[0xff; 9]).is_err());
}
