//! Products of training: every variant is exact in the ring, whoever owns an operand.

mod common;

use ariann_gates::input::Input;
use ariann_gates::product::Product;
use ariann_gates::{Axes, Bilinear, LinearShape, Party, kind};
use ariann_ring::pack::packed_len;
use ariann_ring::{ConvShape, Ring};
use common::*;

in_both_rings!(shares_sum_to_the_product, costs_are_what_the_formulas_say);

fn variants() -> Vec<Bilinear> {
    let conv = |stride: usize, groups: usize, pads: [usize; 4], dilation: usize| ConvShape {
        in_channels: 2 * groups,
        in_height: 7,
        in_width: 6,
        out_channels: 3 * groups,
        kernel: [3, 2],
        stride: [stride; 2],
        pads,
        dilation: [dilation; 2],
        groups,
    };
    let shapes = [
        LinearShape::Dense { inputs: 5, outputs: 7 },
        LinearShape::Conv(conv(1, 1, [0; 4], 1)),
        LinearShape::Conv(conv(2, 1, [1, 0, 1, 1], 1)),
        LinearShape::Conv(conv(1, 3, [1; 4], 2)),
    ];
    let axes = [Axes { outer: 3, kept: 4, inner: 5 }, Axes { outer: 6, kept: 5, inner: 1 }];
    let layers = shapes.into_iter().flat_map(|shape| {
        [1, 4].into_iter().flat_map(move |items| {
            let shape = || shape.clone();
            [
                Bilinear::Forward { shape: shape(), items },
                Bilinear::BackwardInput { shape: shape(), items },
                Bilinear::BackwardWeights { shape: shape(), items },
            ]
        })
    });
    layers.chain(axes.into_iter().flat_map(|axes| [Bilinear::Channels(axes), Bilinear::Inner(axes)])).collect()
}

/// Which parties have a part in the masks of the operands: both, or the owner of an input alone.
const OWNERS: [[&[Party]; 2]; 5] = [
    [&BOTH, &BOTH],
    [&[Party::P0], &BOTH],
    [&BOTH, &[Party::P1]],
    [&[Party::P1], &[Party::P0]],
    [&[Party::P1], &[Party::P1]],
];

fn shares_sum_to_the_product<R: Ring>() {
    let mut random = Random::new(1);
    for (seed, of) in variants().into_iter().enumerate() {
        for owners in OWNERS {
            let (world, gate) = (World::new(seed as u64), Product { of: of.clone() });
            let lens = of.lens();
            let values = lens.map(|len| random.words::<R>(len));
            // The operands are the results of gates 3 and 4.
            let own = |operand: usize, party: Party| {
                let ctx = world.ctx(party, 3 + operand as u32, 1);
                let part = || ctx.expand::<R>(kind::MASK, lens[operand], R::BITS);
                owners[operand].contains(&party).then(part)
            };
            let masks = [0, 1].map(|operand| {
                let zeros = vec![R::ZERO; lens[operand]];
                let parts = BOTH.map(|party| own(operand, party).unwrap_or(zeros.clone()));
                join(&parts[0], &parts[1], R::BITS)
            });
            let wires = [0, 1].map(|operand| join(&values[operand], &masks[operand], R::BITS));
            let (_, sections) = world.deal(7, 1, &gate.cost::<R>(), |_, dealing, sections| {
                gate.deal(dealing, [&masks[0], &masks[1]], sections);
            });
            let shares = BOTH.map(|party| {
                let own = [0, 1].map(|operand| own(operand, party));
                let keys = sections[party as usize].keys();
                gate.share(&world.ctx(party, 7, 1), &keys, [&wires[0], &wires[1]], own).unwrap()
            });
            let mut expected = vec![R::ZERO; of.out_len()];
            of.apply(&values[0], &values[1], &mut expected);
            assert!(join(&shares[0], &shares[1], R::BITS) == expected, "{of:?}, {owners:?}");
            assert!(shares[1] != expected, "a share is padded");
        }
    }
}

/// k/8 bytes an element of the result to P1, nothing to P0, no message.
fn costs_are_what_the_formulas_say<R: Ring>() {
    for of in variants() {
        let cost = Product { of: of.clone() }.cost::<R>();
        assert_eq!(cost.material, [0, of.out_len() * R::BITS as usize / 8]);
        assert_eq!(cost.material[1], packed_len(of.out_len(), R::BITS));
        assert!(cost.exchanges.is_empty() && cost.comparisons == 0);
        assert_eq!(cost.multiply_adds, of.multiply_adds());
    }
}

/// Both parties may bring an input: the other one reads the wire.
#[test]
fn inputs_of_both_parties() {
    for owner in BOTH {
        let (gate, world, items) = (Input { len: 5, owner }, World::new(4), 2);
        let x: Vec<u32> = Random::new(2).words(gate.len * items);
        let [ctx0, ctx1] = world.both(0, items);
        let (from, to) = if owner == Party::P0 { (&ctx0, &ctx1) } else { (&ctx1, &ctx0) };
        let (wire, message) = gate.send(from, x.clone());
        assert_eq!(gate.receive::<u32, _>(to, &message).unwrap(), wire);
        let cost = gate.cost::<u32>();
        assert_eq!(cost.exchanges[0][owner as usize].bytes(items), message.len());
        assert_eq!(cost.exchanges[0][1 - owner as usize].bytes(items), 0);
        assert_eq!(join(&x, &from.expand(kind::MASK, gate.len, 32), 32), wire);
    }
}
