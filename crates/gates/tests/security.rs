//! Every opened message is masked: over many batches it is uniform whatever the values are, and it depends on the values only
//! through the masked value that the receiver is to see. Seeds are fixed, so nothing here can flake.

mod common;

use ariann_device::{Cpu, Device};
use ariann_gates::argmax::{ArgMax, Candidates, Ranked};
use ariann_gates::clip::Clip;
use ariann_gates::input::Input;
use ariann_gates::linear::{Linear, Weights};
use ariann_gates::lookup::{self, Lookup};
use ariann_gates::max::Max;
use ariann_gates::open::Open;
use ariann_gates::relu::Relu;
use ariann_gates::truncate::Truncate;
use ariann_gates::{Comparison, LinearShape, Party, Receiver, Sign, Window, Windows, kind};
use ariann_ring::Ring;
use ariann_ring::pack;
use common::*;

const BATCHES: u64 = 2000;

/// Every bit of `samples` (equally long, one a batch) is 1 half of the time, every pair of neighbours equal half of the time, and
/// words of `width` bits fall evenly into 16 classes by their top bits: all within six standard deviations.
fn uniform(what: &str, width: u32, samples: &[Vec<u64>]) {
    let n = samples.len() as f64;
    let (limit, len) = (6.0 * n.sqrt() / 2.0, samples[0].len());
    for at in 0..len {
        for bit in 0..width {
            let ones = samples.iter().filter(|sample| sample[at] >> bit & 1 == 1).count() as f64;
            assert!((ones - n / 2.0).abs() < limit, "{what}: value {at}, bit {bit}: {ones} of {n}");
            let next =
                |sample: &[u64]| if bit + 1 < width { sample[at] >> (bit + 1) & 1 } else { sample[(at + 1) % len] & 1 };
            if (len, width) != (1, 1) {
                let equal = samples.iter().filter(|sample| sample[at] >> bit & 1 == next(sample)).count() as f64;
                assert!((equal - n / 2.0).abs() < limit, "{what}: value {at}, bits {bit} and next: {equal} of {n}");
            }
        }
    }
    let class_bits = width.min(4);
    let mut classes = vec![0f64; 1 << class_bits];
    samples.iter().flatten().for_each(|word| classes[(word >> (width - class_bits)) as usize] += 1.0);
    let expected = n * len as f64 / classes.len() as f64;
    let chi_square: f64 = classes.iter().map(|count| (count - expected).powi(2) / expected).sum();
    let freedom = classes.len() as f64 - 1.0;
    assert!(
        chi_square < freedom + 6.0 * (2.0 * freedom).sqrt(),
        "{what}: chi-square {chi_square} with {freedom} degrees"
    );
}

fn words(message: &[u8], count: usize, width: u32) -> Vec<u64> {
    let mut out = vec![0u64; count];
    pack::unpack(message, width, &mut out).unwrap();
    out
}

fn bits(message: &[u8], count: usize) -> Vec<u64> {
    let mut out = vec![0u8; count];
    pack::unpack_bits(message, &mut out).unwrap();
    out.into_iter().map(u64::from).collect()
}

/// All that both parties send of `relu(window(z))` in a batch: window, bits, output.
fn relu_run(seed: u64, form: Comparison, z: &[i64]) -> Vec<[Vec<u8>; 2]> {
    let (world, mut random, len) = (World::new(seed), Random::new(77), z.len());
    let open = Open { len, window: Window { shift: 5, top: 19 }, to: Receiver::Both };
    let relu = Relu { len, width: 14, to: Receiver::Both, form, sign: Sign::Exact };
    let alpha = open.deal::<u32, _>(&world.dealing(3, 0));
    let (_, sections) =
        world.deal(6, 1, &relu.cost::<u32>(), |_, dealing, sections| relu.deal(dealing, &alpha, sections));
    // Shares of the same values are the same in every batch: only masks differ.
    let shares = share(&mut random, &z.iter().map(|z| u32::from_i64(*z)).collect::<Vec<_>>());
    let [c0, c1] = world.both(3, 1);
    let (o0, m0) = open.start(&c0, &shares[0]);
    let (_, m1) = open.start(&c1, &shares[1]);
    let x = o0.finish(&c0, &m1).unwrap().unwrap();
    let keys = sections.each_ref().map(Section::keys);
    let (_, sent) = play(
        &relu.cost::<u32>(),
        &world.both(6, 1),
        |ctx| relu.start(ctx, &keys[ctx.party as usize], &x),
        |ctx, state, theirs| state.next(ctx, theirs),
    );
    [vec![[m0, m1]], sent].concat()
}

#[test]
fn relu_messages_and_their_sums_are_uniform() {
    for z in [[0, 0, 0], [100_000, -100_000, 31], [-1, 1, 262_000]] {
        relu_messages(Comparison::Dpf, &z, &[(14, false), (1, true), (32, false)]);
    }
}

/// The marks of the chunks too: 13 bits are cut into three, which open five bits.
#[test]
fn messages_of_comparisons_by_chunks_and_their_sums_are_uniform() {
    assert_eq!(ariann_gates::drelu::chunked(13).unwrap().len(), 3);
    for z in [[0, 0, 0], [100_000, -100_000, 31]] {
        relu_messages(Comparison::Chunks, &z, &[(14, false), (5, true), (1, true), (32, false)]);
    }
}

/// `exchanges`: bits of a value, and whether they are opened by xor.
fn relu_messages(form: Comparison, z: &[i64; 3], exchanges: &[(u32, bool)]) {
    let runs: Vec<_> = (0..BATCHES).map(|seed| relu_run(seed, form, z)).collect();
    for (exchange, (width, xor)) in exchanges.iter().copied().enumerate() {
        let read = |message: &[u8]| if width == 1 { bits(message, 3) } else { words(message, 3, width) };
        for party in 0..2 {
            let sent: Vec<_> = runs.iter().map(|run| read(&run[exchange][party])).collect();
            uniform(&format!("{form:?}: exchange {exchange} of P{party}"), width, &sent);
        }
        // What both then know: the masked value itself.
        let joined = |a: u64, b: u64| if xor { a ^ b } else { (a + b) & ((1 << width) - 1) };
        let opened: Vec<Vec<u64>> = runs
            .iter()
            .map(|run| {
                let (a, b) = (read(&run[exchange][0]), read(&run[exchange][1]));
                a.into_iter().zip(b).map(|(a, b)| joined(a, b)).collect()
            })
            .collect();
        uniform(&format!("{form:?}: opened in exchange {exchange}"), width, &opened);
    }
    // d̂, the window's top bit and the output's lowest bit fall evenly into all eight combinations; by chunks so do d̂ and the
    // marks of the first digit.
    let joint: Vec<Vec<u64>> = runs
        .iter()
        .map(|run| {
            let sum = |at: usize, width| words(&run[at][0], 3, width)[0] + words(&run[at][1], 3, width)[0];
            let last = run.len() - 1;
            let d = bits(&run[last - 1][0], 3)[0] ^ bits(&run[last - 1][1], 3)[0];
            vec![d | (sum(0, 14) >> 13 & 1) << 1 | (sum(last, 32) & 1) << 2]
        })
        .collect();
    uniform(&format!("{form:?}: d̂, top and output"), 3, &joint);
    if form == Comparison::Chunks {
        let joint = |run: &Vec<[Vec<u8>; 2]>| {
            let mark = words(&run[1][0], 3, 5)[0] ^ words(&run[1][1], 3, 5)[0];
            vec![(bits(&run[2][0], 3)[0] ^ bits(&run[2][1], 3)[0]) | (mark & 3) << 1]
        };
        uniform("d̂ and marks", 3, &runs.iter().map(joint).collect::<Vec<_>>());
    }
}

/// Same seeds, other values: a window's message moves with its share alone, and no material changes.
#[test]
fn values_enter_messages_only_under_their_masks() {
    let (one, other) =
        (relu_run(5, Comparison::Dpf, &[4000, -8000, 12_345]), relu_run(5, Comparison::Dpf, &[-4000, 8000, 0]));
    for (a, b) in one.iter().zip(&other) {
        assert_eq!(a.each_ref().map(Vec::len), b.each_ref().map(Vec::len));
    }
    // P0's first message depends on its share, which is the same in both runs.
    assert_eq!(one[0][0], other[0][0]);
    // The windows differ by the difference of the values, up to the rounding.
    let opened = |run: &[[Vec<u8>; 2]]| -> Vec<u64> {
        let (a, b) = (words(&run[0][0], 3, 14), words(&run[0][1], 3, 14));
        a.iter().zip(b).map(|(a, b)| (a + b) & 0x3fff).collect()
    };
    for ((a, b), difference) in opened(&one).iter().zip(opened(&other)).zip([8000i64, -16_000, 12_345]) {
        let moved = signed::<u64>(a.wrapping_sub(b) & 0x3fff, 14);
        assert!((moved - difference / 32).abs() <= 2, "{moved} for {difference}");
    }
}

#[test]
fn inputs_maxima_and_argmax_send_uniform_words() {
    for x in [[0i64, 0, 0], [255, -256, 255], [-1, 7, -200]] {
        let width = 10;
        let (mut pairs, mut indices, mut inputs, mut bits_sent) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for seed in 0..BATCHES {
            let (world, mut random) = (World::new(seed), Random::new(seed ^ 99));
            let alpha: Vec<u32> = (0..3).map(|_| random.word::<u32>() & 0x3ff).collect();
            let wire = wires(&x, &alpha, width);

            let gate = Max { windows: Windows::Row(3), level: 0, width, form: Comparison::Dpf };
            let level = gate.level();
            let (_, sections) =
                world.deal(7, 1, &gate.cost(), |_, dealing, sections| gate.deal(dealing, &level, &alpha, sections));
            let keys = sections.each_ref().map(Section::keys);
            let (_, sent) = play(
                &gate.cost(),
                &world.both(7, 1),
                |ctx| gate.start(ctx, &keys[ctx.party as usize], &level, &wire),
                |ctx, state, theirs| state.next(ctx, theirs),
            );
            bits_sent.push(sent[0].each_ref().map(|message| bits(message, 1)).concat());
            pairs.push(sent[1].each_ref().map(|message| words(message, 1, width)).concat());

            let gate = ArgMax { len: 3, level: 0, width, form: Comparison::Dpf };
            let masks = Ranked { value: alpha.clone(), index: vec![0; 3] };
            let (_, sections) =
                world.deal(8, 1, &gate.cost(), |_, dealing, sections| drop(gate.deal(dealing, &masks, sections)));
            let state = || Candidates {
                open: Ranked { value: wire.clone(), index: gate.indices(1) },
                own_index_mask: vec![0u32; 3],
            };
            let keys = sections.each_ref().map(Section::keys);
            let (_, sent) = play(
                &gate.cost(),
                &world.both(8, 1),
                |ctx| gate.start(ctx, &keys[ctx.party as usize], state()),
                |ctx, state, theirs| state.next(ctx, theirs),
            );
            indices.push(sent[1].each_ref().map(|message| words(message, 2, width)).concat());

            let words_in: Vec<u32> = x.iter().map(|x| u32::from_i64(*x)).collect();
            inputs.push(words(
                &Input { len: 3, owner: Party::P1 }.send(&world.ctx(Party::P1, 0, 1), words_in).1,
                3,
                32,
            ));
        }
        uniform("max", width, &pairs);
        uniform("argmax", width, &indices);
        uniform("input", 32, &inputs);
        uniform("d̂ of max", 1, &bits_sent);
        // What is opened of the maximum: the sum of both messages.
        let sum = |sent: &[Vec<u64>], len: usize| -> Vec<Vec<u64>> {
            sent.iter().map(|sent| (0..len).map(|i| (sent[i] + sent[len + i]) & 0x3ff).collect()).collect()
        };
        uniform("opened max", width, &sum(&pairs, 1));
        uniform("opened argmax", width, &sum(&indices, 2));
    }
}

/// Clips send two bits a value under pads of their own, lookups e·T[x] under ρ: uniform, one by one and opened.
#[test]
fn clips_and_lookups_send_uniform_words() {
    for x in [[0i64, 0, 0], [255, -256, 30], [-1, 7, 31]] {
        let width = 10;
        let mut opened: [Vec<Vec<u64>>; 5] = Default::default();
        for seed in 0..BATCHES {
            let (world, mut random) = (World::new(seed), Random::new(seed ^ 99));
            let alpha: Vec<u32> = (0..3).map(|_| random.word::<u32>() & 0x3ff).collect();
            let wire = wires(&x, &alpha, width);
            let (form, sign) = (Comparison::Chunks, Sign::Exact);
            let gate = Clip { len: 3, width, to: Receiver::Both, lo: 0, hi: 31, form, sign };
            let cost = gate.cost::<u32>();
            let (_, sections) = world.deal(7, 1, &cost, |_, dealing, sections| gate.deal(dealing, &alpha, sections));
            let keys = sections.each_ref().map(Section::keys);
            let (_, sent) = play(
                &cost,
                &world.both(7, 1),
                |ctx| gate.start(ctx, &keys[ctx.party as usize], &wire),
                |ctx, state, theirs| state.next(ctx, theirs),
            );
            let marks = cost.exchanges[0][0].width;
            let [a, b] = sent[0].each_ref().map(|message| words(message, 6, marks));
            opened[0].push(a.iter().zip(&b).map(|(a, b)| a ^ b).collect());
            let [a, b] = sent[1].each_ref().map(|message| bits(message, 6));
            opened[1].push(a.iter().zip(&b).map(|(a, b)| a ^ b).collect());
            opened[2].push(words(&sent[2][0], 3, 32));

            let gate = Lookup { len: 3, width, table: (0..1024).map(|x| x / 7).collect(), to: Receiver::Both };
            let cost = lookup::cost::<u32>(3, width, Receiver::Both);
            let (_, sections) = world.deal(8, 1, &cost, |_, dealing, sections| gate.deal(dealing, &alpha, sections));
            let keys = sections.each_ref().map(Section::keys);
            let (_, sent) = play(
                &cost,
                &world.both(8, 1),
                |ctx| gate.start(ctx, &keys[ctx.party as usize], &wire),
                |ctx, state, theirs| state.next(ctx, theirs),
            );
            let [a, b] = sent[0].each_ref().map(|message| words(message, 3, 32));
            opened[3].push(a.iter().zip(&b).map(|(a, b)| (a + b) & 0xffff_ffff).collect());
            opened[4].push([a, b, words(&sent[1][0], 3, 32), words(&sent[1][1], 3, 32)].concat());
        }
        let marks = 2 * ariann_gates::drelu::chunked(width - 1).unwrap().len() as u32 - 1;
        for ((what, width), samples) in
            [("marks", marks), ("bits", 1), ("clips", 32), ("products", 32), ("lookups", 32)].into_iter().zip(&opened)
        {
            uniform(what, width, samples);
        }
    }
}

/// What the dealer sends is uniform to its receiver, whatever the dealt values are: masks here at their extremes.
#[test]
fn material_is_uniform_to_its_receiver() {
    for alpha in [[0u32, 0], [0x3ff, 0x1ff], [1, 0x200]] {
        let (mut keys, mut tables, mut shares, mut tops, mut corrections) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (mut vectors, mut looked_up) = (Vec::new(), Vec::new());
        for seed in 0..BATCHES {
            let world = World::new(seed);
            let relu = Relu { len: 2, width: 10, to: Receiver::Both, form: Comparison::Dpf, sign: Sign::Exact };
            let (_, [p0, p1]) = world
                .deal(6, 1, &relu.cost::<u32>(), |_, dealing, sections| relu.deal(dealing, &alpha.to_vec(), sections));
            assert_eq!(p0.bytes, p1.bytes[..p0.len]);
            keys.push(words(&p0.bytes, p0.len / 4, 32));
            tables.push(words(&p1.bytes[p0.len..], 10, 32));
            let relu = Relu { form: Comparison::Chunks, ..relu };
            let (_, [p0, p1]) = world
                .deal(6, 1, &relu.cost::<u32>(), |_, dealing, sections| relu.deal(dealing, &alpha.to_vec(), sections));
            assert!(p0.bytes.is_empty());
            vectors.push(words(&p1.bytes, p1.len / 2, 16));
            let look_up = Lookup { len: 2, width: 10, table: (0..1024).collect(), to: Receiver::Both };
            let cost = lookup::cost::<u32>(2, 10, Receiver::Both);
            let (_, [_, p1]) =
                world.deal(9, 1, &cost, |_, dealing, sections| look_up.deal(dealing, &alpha.to_vec(), sections));
            looked_up.push(words(&p1.bytes, p1.len / 4, 32));
            let truncate = Truncate { len: 2, width: 10 };
            let (_, [_, p1]) = world.deal(4, 1, &truncate.cost::<u32>(), |_, dealing, sections| {
                truncate.deal(dealing, &alpha.to_vec(), sections)
            });
            shares.push(words(&p1.bytes[..8], 2, 32));
            tops.push(words(&p1.bytes[8..], 2, 22));
            for weights in [Weights::Held, Weights::Shared] {
                let gate = Linear { shape: LinearShape::Dense { inputs: 2, outputs: 2 }, weights };
                // Masks of weights that are the same in all batches, at an extreme.
                let mask = Cpu.weights(&gate.shape, &vec![0u32; 4]);
                let operand = world.dealing(3, 0).mask(kind::MASK, 2);
                let (_, [_, p1]) = world.deal(5, 1, &gate.cost::<u32>(), |_, dealing, sections| {
                    gate.deal(dealing, Some(&mask), Some(operand.clone()), sections)
                });
                corrections.push(words(&p1.bytes, 2, 32));
            }
        }
        uniform("comparison keys", 32, &keys);
        uniform("select's table", 32, &tables);
        uniform("vectors of chunks", 16, &vectors);
        uniform("keys, signs and tables of lookups", 32, &looked_up);
        uniform("share of α", 32, &shares);
        uniform("share of top(α)", 22, &tops);
        for mode in 0..2 {
            uniform("c", 32, &corrections.iter().skip(mode).step_by(2).cloned().collect::<Vec<_>>());
        }
    }
}

/// A test that cannot fail is a defect: values that are not masked are found.
#[test]
fn the_test_finds_what_is_not_masked() {
    let caught = |samples: Vec<Vec<u64>>| std::panic::catch_unwind(|| uniform("bare", 8, &samples)).is_err();
    let mut random = Random::new(1);
    assert!(!caught((0..BATCHES).map(|_| vec![random.next() & 0xff]).collect()));
    assert!(caught((0..BATCHES).map(|_| vec![random.next() & 0x7f]).collect()));
    assert!(caught((0..BATCHES).map(|_| vec![random.next() % 200]).collect()));
    // A bit that is the same in two values of a batch, one beside the other.
    assert!(caught((0..BATCHES).map(|_| random.next()).map(|r| vec![r & 0xff, (r & 0xfe) | (r >> 7 & 1)]).collect()));
}
