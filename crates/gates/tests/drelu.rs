//! The sign bit: never wrong.

mod common;

use ariann_device::Cpu;
use ariann_gates::drelu::DRelu;
use ariann_gates::{Comparison, Context, Material, Step};
use ariann_ring::Ring;
use common::*;

in_both_rings!(every_value_under_every_mask, millions_of_values);

/// d of every wire.
fn signs<R: Ring>(world: &World, form: Comparison, width: u32, len: usize, alpha: &[R], wire: &[R]) -> Vec<u8> {
    let gate = DRelu { len, points: 1, width, form };
    let items = wire.len() / len;
    let cost = gate.cost();
    assert_eq!(cost.comparisons, len as u64);
    if len.is_multiple_of(8) {
        assert_eq!(cost.material, key_bytes(form, width, len));
    }
    let sent: Vec<u64> = cost.exchanges.iter().map(|sent| sent[0].bits()).collect();
    assert_eq!(sent, compared_bits(form, width).into_iter().map(|bits| bits * len as u64).collect::<Vec<_>>());
    let (r_d, sections) = world.deal(5, items, &cost, |slot, dealing, sections| {
        gate.deal(dealing, &alpha[slot * len..][..len].to_vec(), sections)
    });
    let wire = wire.to_vec();
    let contexts = world.both(5, items);
    let materials = sections.each_ref().map(Section::keys);
    let materials = materials.each_ref().map(|keys| Material::new(keys, items).unwrap());
    let at = |ctx: &Context<'_, Cpu>| &materials[ctx.party as usize];
    let start = |ctx: &Context<'_, Cpu>| {
        let (message, state) = gate.start(ctx, at(ctx), &wire)?;
        Ok(Step::Exchange(message, state))
    };
    let ([d, other], _) = play(&cost, &contexts, start, |ctx, state, theirs| state.next(ctx, at(ctx), &wire, theirs));
    assert_eq!(d, other);
    d.iter().zip(r_d.concat()).map(|(d, r)| d ^ r).collect()
}

fn every_value_under_every_mask<R: Ring>() {
    let world = World::new(1);
    for width in 3..=10 {
        let bound = 1i64 << (width - 1);
        let (mut x, mut alpha) = (Vec::new(), Vec::new());
        for a in 0..1u64 << width {
            for value in -bound..bound {
                x.push(value);
                alpha.push(R::from_u64(a));
            }
        }
        for form in FORMS {
            let d = signs(&world, form, width, x.len(), &alpha, &wires(&x, &alpha, width));
            assert!(d.iter().zip(&x).all(|(d, x)| *d == u8::from(*x >= 0)), "{form:?}, w = {width}");
        }
    }
}

fn millions_of_values<R: Ring>() {
    let world = World::new(2);
    let mut random = Random::new(3);
    const COUNT: usize = 300_000;
    for width in [11, 12, 16, 20, 24, 31, 32, 33, 40, 48, 63, 64].into_iter().filter(|width| *width <= R::BITS) {
        let bound = ((1i128 << (width - 1)) - 1) as i64;
        let x: Vec<i64> = (0..COUNT).map(|_| random.edgy(bound)).collect();
        // Masks at their edges too.
        let alpha: Vec<R> = x
            .iter()
            .map(|x| {
                if random.next().is_multiple_of(8) {
                    R::from_i64(random.within(-2, 2).wrapping_sub(*x))
                } else {
                    random.word()
                }
            })
            .collect();
        let alpha: Vec<R> = alpha.iter().map(|a| a.and(R::low_mask(width))).collect();
        for form in forms(width) {
            let d = signs(&world, form, width, COUNT / 4, &alpha, &wires(&x, &alpha, width));
            assert!(d.iter().zip(&x).all(|(d, x)| *d == u8::from(*x >= 0)), "{form:?}, w = {width}");
        }
    }
}
