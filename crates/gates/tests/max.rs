//! Maxima: pairs exhaustively, and pooling windows of all shapes against a plain loop.

mod common;

use ariann_gates::max::Max;
use ariann_gates::{Comparison, Party, Pooling, Windows};
use ariann_ring::Ring;
use ariann_ring::pack::packed_len;
use common::*;

in_both_rings!(every_pair, pooling_of_every_shape, costs_are_what_the_formulas_say, millions_of_pairs);

/// All levels of a maximum; `x` are the items' values.
fn maximum<R: Ring>(
    world: &World,
    form: Comparison,
    windows: &Windows,
    width: u32,
    x: &[i64],
    random: &mut Random,
) -> Vec<i64> {
    let items = x.len() / windows.in_len();
    let mut masks: Vec<Vec<R>> = (0..items)
        .map(|_| (0..windows.in_len()).map(|_| random.word::<R>().and(R::low_mask(width))).collect())
        .collect();
    let mut wire = wires(x, &masks.concat(), width);
    for level in 0..windows.levels() {
        let gate = Max { windows: windows.clone(), level, width, form };
        let (cost, number) = (gate.cost(), 7 + level);
        let before = masks;
        let level = gate.level();
        let (after, sections) = world
            .deal(number, items, &cost, |slot, dealing, sections| gate.deal(dealing, &level, &before[slot], sections));
        let keys = sections.each_ref().map(Section::keys);
        let ([y, other], _) = play(
            &cost,
            &world.both(number, items),
            |ctx| gate.start(ctx, &keys[ctx.party as usize], &level, &wire),
            |ctx, state, theirs| state.next(ctx, theirs),
        );
        assert_eq!(y, other);
        wire = y;
        masks = after;
    }
    unwire(&wire, &masks.concat(), width)
}

/// Both values anywhere in [-2^(w-2), 2^(w-2)): all pairs, under masks of all kinds.
fn every_pair<R: Ring>() {
    let mut random = Random::new(1);
    for width in 3..=7 {
        let bound = 1i64 << (width - 2);
        let x: Vec<i64> = (-bound..bound).flat_map(|a| (-bound..bound).flat_map(move |b| [a, b])).collect();
        for seed in 0..20 {
            let out =
                maximum::<R>(&World::new(seed), FORMS[seed as usize % 2], &Windows::Row(2), width, &x, &mut random);
            assert!(x.chunks(2).zip(out).all(|(pair, out)| out == pair[0].max(pair[1])));
        }
    }
}

fn millions_of_pairs<R: Ring>() {
    let mut random = Random::new(2);
    // 100,000 pairs an item: a pooling of two columns.
    let pooling = pooling(1, [50_000, 4], [1, 2], [1, 2], [0, 0], [1, 1]);
    let Windows::Pool(shape) = &pooling else { unreachable!() };
    assert_eq!(shape.output, [50_000, 2]);
    for width in [12, 20, 32, 64].into_iter().filter(|width| *width <= R::BITS) {
        let bound = (1i64 << (width - 2)) - 1;
        let x: Vec<i64> = (0..pooling.in_len() * 3).map(|_| random.edgy(bound)).collect();
        for form in forms(width) {
            let out = maximum::<R>(&World::new(u64::from(width)), form, &pooling, width, &x, &mut random);
            assert!(x.chunks(2).zip(out).all(|(pair, out)| out == pair[0].max(pair[1])));
        }
    }
}

fn pooling(
    channels: usize,
    input: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    pads: [usize; 2],
    dilation: [usize; 2],
) -> Windows {
    let output =
        [0, 1].map(|axis| (input[axis] + 2 * pads[axis] - dilation[axis] * (kernel[axis] - 1) - 1) / stride[axis] + 1);
    Windows::Pool(Pooling { channels, input, output, kernel, stride, pads, dilation })
}

/// The greatest of each window's places inside the image.
fn clear(pool: &Pooling, x: &[i64]) -> Vec<i64> {
    let [height, width] = pool.input;
    let mut out = Vec::new();
    for image in x.chunks(height * width) {
        for row in 0..pool.output[0] {
            for column in 0..pool.output[1] {
                let mut greatest = i64::MIN;
                for i in 0..pool.kernel[0] {
                    for j in 0..pool.kernel[1] {
                        let y = (row * pool.stride[0] + i * pool.dilation[0]) as i64 - pool.pads[0] as i64;
                        let x_ = (column * pool.stride[1] + j * pool.dilation[1]) as i64 - pool.pads[1] as i64;
                        if (0..height as i64).contains(&y) && (0..width as i64).contains(&x_) {
                            greatest = greatest.max(image[y as usize * width + x_ as usize]);
                        }
                    }
                }
                out.push(greatest);
            }
        }
    }
    out
}

fn pooling_of_every_shape<R: Ring>() {
    let mut random = Random::new(3);
    let mut shapes = 0;
    for kernel in [[1, 2], [2, 2], [3, 3], [3, 2], [2, 5], [5, 5]] {
        for stride in [[1, 1], [2, 2], [3, 2]] {
            for pads in [[0, 0], [1, 1], [1, 0]] {
                for dilation in [[1, 1], [2, 1], [2, 2]] {
                    let reach = [0, 1].map(|axis| dilation[axis] * (kernel[axis] - 1));
                    // A window that is padding alone has no maximum.
                    if (0..2).any(|axis| pads[axis] >= kernel[axis]) {
                        continue;
                    }
                    let input = [reach[0] + 4, reach[1] + 3];
                    let windows = pooling(2, input, kernel, stride, pads, dilation);
                    let Windows::Pool(shape) = &windows else { unreachable!() };
                    let width = [9, 16, R::BITS][shapes % 3];
                    let form = forms(width).nth(shapes / 3 % 2).unwrap_or(Comparison::Dpf);
                    let x: Vec<i64> = (0..2 * windows.in_len()).map(|_| random.edgy((1 << (width - 2)) - 1)).collect();
                    assert_eq!(
                        maximum::<R>(&World::new(shapes as u64), form, &windows, width, &x, &mut random),
                        clear(shape, &x),
                        "{shape:?}"
                    );
                    assert_eq!(windows.levels(), (kernel[0] * kernel[1]).next_power_of_two().ilog2());
                    shapes += 1;
                }
            }
        }
    }
    assert!(shapes > 100);
}

/// Keys or vectors, and 3w/8 bytes a pair to P1; the comparison's bits, then w bits. All levels: one comparison less than the window has places.
fn costs_are_what_the_formulas_say<R: Ring>() {
    for (width, form) in (3..=R::BITS).flat_map(|width| forms(width).map(move |form| (width, form))) {
        for size in 2..=9 {
            let windows = pooling(8, [2, 2 * size], [1, size], [1, size], [0, 0], [1, 1]);
            let costs: Vec<_> = (0..windows.levels())
                .map(|level| Max { windows: windows.clone(), level, width, form }.cost())
                .collect();
            let comparisons: u64 = costs.iter().map(|cost| cost.comparisons).sum();
            assert_eq!(comparisons, 8 * 2 * 2 * (size as u64 - 1));
            for cost in &costs {
                let pairs = cost.comparisons as usize;
                let keys = key_bytes(form, width, pairs);
                assert_eq!(cost.material, [keys[0], keys[1] + packed_len(3 * pairs, width)]);
                for party in [Party::P0, Party::P1] {
                    let sent: Vec<u64> = cost.exchanges.iter().map(|sent| sent[party as usize].bits()).collect();
                    let each = [compared_bits(form, width), vec![u64::from(width)]].concat();
                    assert_eq!(sent, each.into_iter().map(|bits| pairs as u64 * bits).collect::<Vec<_>>());
                }
            }
        }
    }
}
