//! Products of wires: exact in the ring.

mod common;

use ariann_gates::kind;
use ariann_gates::multiply::Multiply;
use ariann_ring::Ring;
use ariann_ring::pack::packed_len;
use common::*;

in_both_rings!(products_are_exact);

fn products_are_exact<R: Ring>() {
    let mut random = Random::new(1);
    for (len, items) in [(1, 1), (7, 3), (1000, 4)] {
        let (gate, world) = (Multiply { len }, World::new(len as u64));
        let cost = gate.cost::<R>();
        assert_eq!((cost.material, cost.exchanges.len()), ([0, packed_len(len, R::BITS)], 0));
        let [x, y]: [Vec<R>; 2] = [random.words(len * items), random.words(len * items)];
        let [ctx0, ctx1] = world.both(7, items);
        // The operands are the results of gates 3 and 4.
        let own = [3, 4].map(|gate| {
            [&world.ctx(BOTH[0], gate, items), &world.ctx(BOTH[1], gate, items)]
                .map(|ctx| ctx.expand::<R>(kind::MASK, len, R::BITS))
        });
        let masks = own.each_ref().map(|[a, b]| join(a, b, R::BITS));
        let wires = [join(&x, &masks[0], R::BITS), join(&y, &masks[1], R::BITS)];
        let (_, sections) = world.deal(7, items, &cost, |slot, dealing, sections| {
            let of_slot = masks.each_ref().map(|mask| mask[slot * len..][..len].to_vec());
            gate.deal(dealing, [&of_slot[0], &of_slot[1]], sections)
        });
        let share = |ctx, party: usize| {
            gate.share(ctx, &sections[party].keys(), [&wires[0], &wires[1]], [&own[0][party], &own[1][party]]).unwrap()
        };
        let products = join(&share(&ctx0, 0), &share(&ctx1, 1), R::BITS);
        assert!(products.iter().zip(x.iter().zip(&y)).all(|(z, (x, y))| *z == x.mul(*y)));
    }
}
