//! Backwards through ReLU and maxima by the bits of the forward gates: exhaustively on small wires, and on windows of all shapes.

mod common;

use ariann_gates::max::Max;
use ariann_gates::max_back::{self, MaxBack};
use ariann_gates::relu::Relu;
use ariann_gates::relu_back::ReluBack;
use ariann_gates::{Comparison, Party, Pooling, Receiver, Sign, Windows, kind, other};
use ariann_ring::Ring;
use ariann_ring::pack::packed_len;
use common::*;

in_both_rings!(
    every_gradient_under_every_mask,
    gradients_of_both_signs_at_their_bound,
    a_coarse_sign_decides_the_gradient_too,
    windows_of_every_shape,
    costs_are_what_the_formulas_say
);

/// One forward ReLU of `x` and one back of `g`: results forwards and, at each receiver, backwards.
fn through<R: Ring>(
    world: &World,
    relu: &Relu,
    back: &ReluBack,
    (x, alpha): (&[i64], &[R]),
    (g, beta): (&[i64], &[R]),
) -> (Vec<i64>, [Option<Vec<i64>>; 2]) {
    let (wire, gradient) = (wires(x, alpha, relu.width), wires(g, beta, back.width));
    let cost = relu.cost::<R>();
    let (mut dealt, sections) =
        world.deal(6, 1, &cost, |_, dealing, sections| relu.deal_keeping(dealing, &alpha.to_vec(), sections));
    let (mask, r_d) = dealt.remove(0);
    let keys = sections.each_ref().map(Section::keys);
    let bits = [None, None].map(std::cell::RefCell::new);
    let (forward, _) = play(
        &cost,
        &world.both(6, 1),
        |ctx| relu.start(ctx, &keys[ctx.party as usize], &wire),
        |ctx, state, theirs| state.next_keeping(ctx, theirs, &mut bits[ctx.party as usize].borrow_mut()),
    );
    let forward = unwire(forward[0].as_ref().unwrap(), &mask, R::BITS);
    let bits = bits.map(|bits| bits.into_inner().expect("a forward gate knows its bits"));
    assert_eq!(bits[0], bits[1]);

    let cost = back.cost::<R>();
    let (_, sections) =
        world.deal(9, 1, &cost, |_, dealing, sections| back.deal(dealing, &r_d, &beta.to_vec(), sections));
    let contexts = world.both(9, 1);
    let started = [0, 1]
        .map(|party: usize| back.start(&contexts[party], &sections[party].keys(), &bits[party], &gradient).unwrap());
    let [(opening0, message0), (opening1, message1)] = started;
    check_sent(&cost, 0, 1, [&message0, &message1]);
    let results =
        [opening0.finish(&contexts[0], &message1).unwrap(), opening1.finish(&contexts[1], &message0).unwrap()];
    let mask = world.dealing(9, 0).mask::<R>(kind::MASK, back.len);
    (forward, results.map(|wire| wire.map(|wire| unwire(&wire, &mask, R::BITS))))
}

fn gates(len: usize, [forward, back]: [u32; 2], form: Comparison, sign: Sign, to: Receiver) -> (Relu, ReluBack) {
    (Relu { len, width: forward, to: Receiver::Both, form, sign }, ReluBack { len, width: back, to })
}

fn selected(x: &[i64], g: &[i64]) -> Vec<i64> {
    x.iter().zip(g).map(|(x, g)| if *x >= 0 { *g } else { 0 }).collect()
}

fn every_gradient_under_every_mask<R: Ring>() {
    let world = World::new(1);
    for width in 3..=8 {
        // Each gradient under each mask, with a value of every sign.
        let bound = 1i64 << (width - 2);
        let all =
            (0..1u64 << width).flat_map(|beta| (-bound..bound).flat_map(move |g| [-1, 0, 1].map(|x| (x, g, beta))));
        let all: Vec<(i64, i64, u64)> = all.collect();
        let (x, g): (Vec<i64>, Vec<i64>) = all.iter().map(|(x, g, _)| (*x, *g)).unzip();
        let beta: Vec<R> = all.iter().map(|(.., beta)| R::from_u64(*beta)).collect();
        let alpha: Vec<R> = (0..x.len() as u64).map(|a| R::from_u64(a * 7 % 32)).collect();
        for (form, to) in
            [Receiver::Both, Receiver::P0, Receiver::P1].into_iter().flat_map(|to| FORMS.map(|form| (form, to)))
        {
            let (relu, back) = gates(x.len(), [5, width], form, Sign::Exact, to);
            let (forward, results) = through(&world, &relu, &back, (&x, &alpha), (&g, &beta));
            assert_eq!(forward, x.iter().map(|x| (*x).max(0)).collect::<Vec<_>>());
            for party in BOTH {
                assert_eq!(results[party as usize].is_some(), to.includes(party));
            }
            for out in results.into_iter().flatten() {
                assert_eq!(out, selected(&x, &g), "w = {width}");
            }
        }
    }
}

/// At all widths up to the ring's, where nothing is lifted.
fn gradients_of_both_signs_at_their_bound<R: Ring>() {
    let (world, mut random) = (World::new(2), Random::new(3));
    let len = 5000;
    for width in [3, 10, 16, 20, R::BITS - 1, R::BITS] {
        let bound = (1i64 << (width - 2)) - 1;
        let g: Vec<i64> = (0..len).map(|_| random.edgy(bound)).collect();
        let x: Vec<i64> = (0..len).map(|_| random.edgy(1000)).collect();
        let beta: Vec<R> = random.words(len).into_iter().map(|beta: R| beta.and(R::low_mask(width))).collect();
        let alpha: Vec<R> = random.words(len).into_iter().map(|alpha: R| alpha.and(R::low_mask(14))).collect();
        for form in FORMS {
            let (relu, back) = gates(len, [14, width], form, Sign::Exact, Receiver::Both);
            let (_, results) = through(&world, &relu, &back, (&x, &alpha), (&g, &beta));
            assert_eq!(results[0].as_ref().unwrap(), &selected(&x, &g));
            assert_eq!(results[0], results[1]);
        }
    }
}

/// What a coarse sign lets pass forwards is what passes backwards, for every value under every mask.
fn a_coarse_sign_decides_the_gradient_too<R: Ring>() {
    let world = World::new(4);
    let (width, drop) = (8, 3);
    let bound = 1i64 << (width - 2);
    let x: Vec<i64> = (0..1 << width).flat_map(|_| -bound..bound).collect();
    let alpha: Vec<R> = (0..1 << width).flat_map(|a| (-bound..bound).map(move |_| R::from_u64(a))).collect();
    let mut random = Random::new(5);
    let g: Vec<i64> = x.iter().map(|_| random.within(1, 500)).collect();
    let beta: Vec<R> = random.words(x.len()).into_iter().map(|beta: R| beta.and(R::low_mask(12))).collect();
    for form in FORMS {
        let (relu, back) = gates(x.len(), [width, 12], form, Sign::Coarse(drop), Receiver::Both);
        let (forward, [out, _]) = through(&world, &relu, &back, (&x, &alpha), (&g, &beta));
        let mut wrong = 0;
        for (((x, y), g), out) in x.iter().zip(&forward).zip(&g).zip(out.unwrap()) {
            // At 0 both look alike.
            let passed = if *x == 0 { out != 0 } else { y == x };
            assert_eq!(out, if passed { *g } else { 0 }, "{x}");
            wrong += u32::from(passed != (*x >= 0));
        }
        assert!(wrong > 0, "a coarse sign is wrong near zero");
    }
}

/// All levels of a maximum and back: each place gets the gradients of the windows in which it wins.
fn pool<R: Ring>(world: &World, form: Comparison, windows: &Windows, width: u32, x: &[i64], random: &mut Random) {
    let items = x.len() / windows.in_len();
    let mut masks: Vec<Vec<R>> = (0..items)
        .map(|_| random.words(windows.in_len()).into_iter().map(|r: R| r.and(R::low_mask(width))).collect())
        .collect();
    let mut wire = wires(x, &masks.concat(), width);
    let mut values = x.to_vec();
    let mut kept = Vec::new();
    for level in 0..windows.levels() {
        let gate = Max { windows: windows.clone(), level, width, form };
        let (cost, number, pairs) = (gate.cost(), 7 + level, gate.level());
        let (dealt, sections) = world.deal(number, items, &cost, |slot, dealing, sections| {
            gate.deal_keeping(dealing, &pairs, &masks[slot], sections)
        });
        let keys = sections.each_ref().map(Section::keys);
        let bits = std::cell::RefCell::new(None);
        let ([y, _], _) = play(
            &cost,
            &world.both(number, items),
            |ctx| gate.start(ctx, &keys[ctx.party as usize], &pairs, &wire),
            |ctx, state, theirs| match ctx.party {
                Party::P0 => state.next_keeping(ctx, theirs, &mut bits.borrow_mut()),
                Party::P1 => state.next(ctx, theirs),
            },
        );
        wire = y;
        let (after, r_d): (Vec<_>, Vec<_>) = dealt.into_iter().unzip();
        masks = after;
        kept.push((pairs, bits.into_inner().unwrap(), r_d, values.clone()));
        values = unwire(&wire, &masks.concat(), width);
    }

    let len = items * windows.count();
    let mut gradient: Vec<R> = random.words(len);
    let given = gradient.clone();
    let mut expected = gradient.clone();
    let mut mask: Vec<R> = random.words(len);
    for level in (0..windows.levels()).rev() {
        let (pairs, bits, r_d, values) = kept.pop().unwrap();
        let (back, number) = (MaxBack { windows: windows.clone(), level }, 20 + level);
        let cost = back.cost::<R>();
        let wire = join(&gradient, &mask, R::BITS);
        let (_, sections) = world.deal(number, items, &cost, |slot, dealing, sections| {
            let mask = mask[slot * pairs.out_len..][..pairs.out_len].to_vec();
            back.deal(dealing, &pairs, &r_d[slot], &mask, sections);
        });
        let contexts = world.both(number, items);
        let [(opening0, message0), (opening1, message1)] = [0, 1]
            .map(|party: usize| back.start(&contexts[party], &sections[party].keys(), &pairs, &bits, &wire).unwrap());
        check_sent(&cost, 0, items, [&message0, &message1]);
        let before = back.finish(&contexts[0], &pairs, &wire, opening0, &message1).unwrap();
        assert_eq!(back.finish(&contexts[1], &pairs, &wire, opening1, &message0).unwrap(), before);
        // The parties' parts of the mask: of the gradient's, which one of them is given whole here, and their own words.
        let zeros = vec![R::ZERO; mask.len()];
        let parts = BOTH.map(|party| {
            let own = contexts[party as usize].expand::<R>(kind::MASK, pairs.a.len(), R::BITS);
            let g = if party == Party::P0 { &mask } else { &zeros };
            max_back::part(&ariann_device::Cpu, &pairs, items, g, &own)
        });
        mask = join(&parts[0], &parts[1], R::BITS);
        gradient = before.iter().zip(&mask).map(|(x, r)| x.sub(*r)).collect();

        let mut clear = vec![R::ZERO; items * pairs.in_len];
        for item in 0..items {
            let (to, from) = (item * pairs.in_len, item * pairs.out_len);
            let mut add = |place: u32, g: u32| {
                let place = &mut clear[to + place as usize];
                *place = place.add(expected[from + g as usize]);
            };
            for ((a, b), paired) in pairs.a.iter().zip(&pairs.b).zip(&pairs.paired) {
                add(if values[to + *a as usize] >= values[to + *b as usize] { *a } else { *b }, *paired);
            }
            pairs.single.iter().zip(&pairs.carried).for_each(|(single, carried)| add(*single, *carried));
        }
        expected = clear;
        assert!(gradient == expected, "{windows:?}, level {level}");
    }
    // Nothing is lost on the way.
    let total = |words: &[R]| words.iter().fold(R::ZERO, |sum, x| sum.add(*x));
    assert_eq!(total(&gradient), total(&given));
}

fn windows_of_every_shape<R: Ring>() {
    let mut random = Random::new(6);
    let mut shapes = 0;
    for kernel in [[1, 2], [2, 2], [3, 3], [3, 2], [2, 5]] {
        for stride in [[1, 1], [2, 2], [3, 2]] {
            for pads in [[0, 0], [1, 1]] {
                if (0..2).any(|axis| pads[axis] >= kernel[axis]) {
                    continue;
                }
                let input = [kernel[0] + 4, kernel[1] + 3];
                let output = [0, 1].map(|axis| (input[axis] + 2 * pads[axis] - kernel[axis]) / stride[axis] + 1);
                let windows =
                    Windows::Pool(Pooling { channels: 2, input, output, kernel, stride, pads, dilation: [1, 1] });
                let width = [5, 16, R::BITS][shapes % 3];
                let form = forms(width).nth(shapes / 3 % 2).unwrap_or(Comparison::Dpf);
                let x: Vec<i64> = (0..2 * windows.in_len()).map(|_| random.edgy((1 << (width - 2)) - 1)).collect();
                pool::<R>(&World::new(shapes as u64), form, &windows, width, &x, &mut random);
                shapes += 1;
            }
        }
    }
    assert!(shapes > 20);
    // Every pair of values.
    let bound = 4i64;
    let x: Vec<i64> = (-bound..bound).flat_map(|a| (-bound..bound).flat_map(move |b| [a, b])).collect();
    for seed in 0..10 {
        pool::<R>(&World::new(seed), FORMS[seed as usize % 2], &Windows::Row(2), 4, &x, &mut random);
    }
}

/// Select tables alone: 5k/8 bytes with a lift, 3k/8 without, and one opening of k bits.
fn costs_are_what_the_formulas_say<R: Ring>() {
    for width in [3, 17, R::BITS] {
        for to in [Receiver::Both, Receiver::P0, Receiver::P1] {
            let cost = ReluBack { len: 8, width, to }.cost::<R>();
            let planes = if width == R::BITS { 3 } else { 5 };
            assert_eq!(cost.material, [0, packed_len(8 * planes, R::BITS)]);
            assert_eq!((cost.comparisons, cost.exchanges.len()), (0, 1));
            for party in BOTH {
                let bits = if to.includes(other(party)) { 8 * u64::from(R::BITS) } else { 0 };
                assert_eq!(cost.exchanges[0][party as usize].bits(), bits);
            }
        }
    }
    let windows = Windows::Row(5);
    for level in 0..windows.levels() {
        let pairs = windows.pairs(level);
        let cost = MaxBack { windows: windows.clone(), level }.cost::<R>();
        assert_eq!(cost.material, [0, packed_len(3 * pairs, R::BITS)]);
        let bits = BOTH.map(|party| cost.exchanges[0][party as usize].bits());
        assert_eq!((cost.comparisons, bits), (0, [pairs as u64 * u64::from(R::BITS); 2]));
    }
}
