//! Linear layers: every way of knowing the weights, dense and convolution, operands masked by both and by the owner alone.

mod common;

use ariann_device::{Cpu, Device};
use ariann_gates::linear::{HOLDER, Linear, Weights};
use ariann_gates::{LinearShape, Party, Receiver, Stream, kind, other};
use ariann_ring::{ConvShape, Ring};
use common::*;

in_both_rings!(exact_in_every_mode, costs_are_what_the_formulas_say, many_uses_of_the_same_weights);

const GATE: u32 = 4;
const SOURCE: u32 = 3;

fn shapes() -> Vec<LinearShape> {
    let conv = |in_channels, size: [usize; 2], out_channels, kernel, stride, pads, groups| {
        let [in_height, in_width] = size;
        LinearShape::Conv(ConvShape {
            in_channels,
            in_height,
            in_width,
            out_channels,
            kernel,
            stride,
            pads,
            dilation: [1, 1],
            groups,
        })
    };
    vec![
        LinearShape::Dense { inputs: 1, outputs: 1 },
        LinearShape::Dense { inputs: 37, outputs: 11 },
        conv(1, [7, 9], 4, [3, 3], [1, 1], [0; 4], 1),
        conv(3, [8, 8], 2, [3, 2], [2, 1], [1, 1, 1, 0], 1),
        conv(4, [5, 5], 4, [3, 3], [1, 1], [1; 4], 4),
    ]
}

struct Made<R: Ring> {
    weights: Vec<R>,
    bias: Vec<R>,
    kept: [ariann_gates::linear::LayerWeights<R, Cpu>; 2],
    messages: [Vec<u8>; 2],
    mask: Option<<Cpu as Device>::Weights<R>>,
}

/// Both parties' setup.
fn setup<R: Ring>(world: &World, gate: &Linear, random: &mut Random) -> Made<R> {
    let (weights, bias): (Vec<R>, Vec<R>) =
        (random.words(gate.shape.weight_len()), random.words(gate.shape.channels()));
    let [seed0, seed1] = &world.weights;
    let message0 = gate.mask_weights(&Cpu, Party::P0, GATE, seed0, Some(&weights));
    let message1 = gate.mask_weights::<R, _>(&Cpu, Party::P1, GATE, seed1, None);
    let sent = gate.setup::<R>();
    assert_eq!([message0.len(), message1.len()], sent.map(|traffic| traffic.bytes(1)));
    let kept = [
        gate.weights(&Cpu, Party::P0, GATE, seed0, Some(&weights), Some(&bias), &message1).unwrap(),
        gate.weights(&Cpu, Party::P1, GATE, seed1, None, None, &message0).unwrap(),
    ];
    let mask = gate.deal_weights(&Cpu, GATE, [seed0, seed1]);
    Made { weights, bias, kept, messages: [message0, message1], mask }
}

/// The sum of both parties' shares, with the operand known only to whom it must be.
fn apply<R: Ring>(
    world: &World,
    (gate, masked_by): &(Linear, [bool; 2]),
    made: &Made<R>,
    x: &[R],
    items: usize,
) -> Vec<R> {
    let (cost, len) = (gate.cost::<R>(), gate.shape.in_len());
    // The parts of the operand's mask, of the parties that have one.
    let parts = BOTH.map(|party| {
        let stream = Stream { kind: kind::MASK, gate: SOURCE, slots: 0..items as u32, len };
        masked_by[party as usize].then(|| Cpu.expand::<R>(&world.parties[party as usize], &stream, R::BITS))
    });
    let (_, sections) = world.deal(GATE, items, &cost, |slot, dealing, sections| {
        let entering = BOTH
            .into_iter()
            .filter(|party| gate.corrects(*party))
            .filter_map(|party| parts[party as usize].as_ref().map(|part| part[slot * len..][..len].to_vec()));
        let operand = entering.reduce(|a, b| join(&a, &b, R::BITS));
        gate.deal(dealing, made.mask.as_ref(), operand, sections)
    });
    let mut masked = x.to_vec();
    parts.iter().flatten().for_each(|part| Cpu.add(&mut masked, part));
    let shares = BOTH.map(|party| {
        let (ctx, kept, own) = (world.ctx(party, GATE, items), &made.kept[party as usize], &parts[party as usize]);
        let prepared = gate
            .prepares(party)
            .then(|| gate.prepare(&ctx, kept, &sections[party as usize].keys(), own.clone()).unwrap());
        if let Some(prepared) = &prepared {
            assert_eq!(Cpu.pack(prepared, R::BITS).len(), items * cost.prepared[party as usize]);
        }
        let own = own.clone().filter(|_| gate.needs_own_mask(party));
        gate.share(&ctx, kept, gate.needs_operand(party).then_some(&masked), own, prepared)
    });
    join(&shares[0], &shares[1], R::BITS)
}

fn clear<R: Ring>(gate: &Linear, made: &Made<R>, x: &[R], items: usize) -> Vec<R> {
    let mut z = Cpu.linear(&Cpu.weights(&gate.shape, &made.weights), items, &x.to_vec());
    let places = gate.shape.out_len() / gate.shape.channels();
    for (index, z) in z.iter_mut().enumerate() {
        *z = z.add(made.bias[index / places % made.bias.len()]);
    }
    z
}

/// Gates, and who has a part of the operand's mask.
fn gates() -> impl Iterator<Item = (Linear, [bool; 2])> {
    let modes = [Weights::Held, Weights::Shared, Weights::Public];
    let masks = [[true, true], [false, true]];
    shapes().into_iter().flat_map(move |shape| {
        let shape = shape.clone();
        modes.into_iter().flat_map(move |weights| {
            let shape = shape.clone();
            masks.map(|masked_by| (Linear { shape: shape.clone(), weights }, masked_by))
        })
    })
}

fn exact_in_every_mode<R: Ring>() {
    let mut random = Random::new(1);
    for (seed, gate) in gates().enumerate() {
        let world = World::new(seed as u64);
        let made = setup(&world, &gate.0, &mut random);
        let x: Vec<R> = random.words(3 * gate.0.shape.in_len());
        assert_eq!(apply(&world, &gate, &made, &x, 3), clear(&gate.0, &made, &x, 3), "{gate:?}");
    }
}

/// The mask of the weights stays; every batch has fresh masks of the operand.
fn many_uses_of_the_same_weights<R: Ring>() {
    let mut random = Random::new(2);
    for gate in gates() {
        let first = World::new(1);
        let made = setup(&first, &gate.0, &mut random);
        for batch in 2..5 {
            let world = World { weights: World::new(1).weights, ..World::new(batch) };
            let x: Vec<R> = random.words(2 * gate.0.shape.in_len());
            assert_eq!(apply(&world, &gate, &made, &x, 2), clear(&gate.0, &made, &x, 2), "{gate:?}");
        }
    }
}

/// k bits of material an output to one party, or none; no message; the setup's bytes once a weights version.
fn costs_are_what_the_formulas_say<R: Ring>() {
    for (gate, _) in gates() {
        let cost = gate.cost::<R>();
        let (out, all) = (gate.shape.out_len() * R::BITS as usize / 8, gate.shape.weight_len() * R::BITS as usize / 8);
        let (material, setup) = match gate.weights {
            Weights::Held => ([0, out], [all, 0]),
            Weights::Shared => ([0, out], [all, all]),
            Weights::Public => ([0, 0], [all, 0]),
        };
        assert_eq!(cost.material, material);
        assert_eq!(gate.setup::<R>().map(|sent| sent.bytes(1)), setup);
        assert!(cost.exchanges.is_empty());
        assert_eq!(cost.multiply_adds, gate.shape.multiply_adds());
        if gate.weights == Weights::Held {
            assert!(
                gate.needs_operand(HOLDER) && !gate.needs_operand(other(HOLDER)),
                "the other party does no product online"
            );
            assert!(Receiver::only(HOLDER).includes(HOLDER));
        }
    }
}

/// What is sent of held or shared weights is the weight under its mask: nothing of it without the other's seed.
#[test]
fn setup_messages_are_masked() {
    let mut random = Random::new(3);
    for weights in [Weights::Held, Weights::Shared] {
        let gate = Linear { shape: shapes().remove(1), weights };
        let world = World::new(9);
        let made: Made<u32> = setup(&world, &gate, &mut random);
        let stream = Stream { kind: kind::WEIGHTS, gate: GATE, slots: 0..1, len: gate.shape.weight_len() };
        let mask: Vec<u32> = Cpu.expand(&world.weights[0], &stream, 32);
        let sent: Vec<u32> =
            made.messages[0].chunks(4).map(|bytes| u32::from_le_bytes(bytes.try_into().unwrap())).collect();
        for ((sent, weight), mask) in sent.iter().zip(&made.weights).zip(&mask) {
            let expected =
                if weights == Weights::Held { weight.wrapping_sub(*mask) } else { weight.wrapping_add(*mask) };
            assert_eq!(*sent, expected);
        }
    }
}

#[test]
fn a_setup_message_of_another_length_is_refused() {
    for weights in [Weights::Held, Weights::Shared, Weights::Public] {
        let gate = Linear { shape: LinearShape::Dense { inputs: 3, outputs: 2 }, weights };
        for bytes in [0, 23, 25, 48] {
            let result =
                gate.weights::<u32, _>(&Cpu, Party::P1, GATE, &World::new(1).weights[1], None, None, &vec![0; bytes]);
            assert!(result.is_err(), "{bytes} bytes");
        }
    }
}
