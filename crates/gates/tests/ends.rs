//! Where values enter and leave: input and reveal.

mod common;

use ariann_gates::input::{Input, OWNER};
use ariann_gates::reveal::Reveal;
use ariann_gates::{Party, Receiver, kind, other};
use ariann_ring::Ring;
use common::*;

in_both_rings!(an_input_is_masked_by_its_owner_alone, shares_and_wires_are_revealed_to_the_receiver);

fn an_input_is_masked_by_its_owner_alone<R: Ring>() {
    let (world, mut random) = (World::new(1), Random::new(2));
    let (gate, items) = (Input { len: 29, owner: ariann_gates::input::OWNER }, 3);
    let x: Vec<R> = random.words(29 * items);
    let [ctx0, ctx1] = world.both(0, items);
    assert_eq!(OWNER, Party::P1);
    let (own, message) = gate.send(&ctx1, x.clone());
    check_sent(&gate.cost::<R>(), 0, items, [&[], &message]);
    let received: Vec<R> = gate.receive(&ctx0, &message).unwrap();
    assert_eq!(received, own);
    let mask: Vec<R> = ctx1.expand(kind::MASK, 29, R::BITS);
    assert_eq!(join(&x, &mask, R::BITS), own);
    for wrong in [message.len() - 1, message.len() + 1, 0] {
        let mut message = message.clone();
        message.resize(wrong, 0);
        assert!(gate.receive::<R, _>(&ctx0, &message).is_err(), "{wrong} bytes");
    }
}

fn shares_and_wires_are_revealed_to_the_receiver<R: Ring>() {
    let (world, mut random) = (World::new(3), Random::new(4));
    for to in [Receiver::P0, Receiver::P1, Receiver::Both] {
        for width in [9, R::BITS] {
            let gate = Reveal { len: 13, width, to };
            let cost = gate.cost();
            let z: Vec<R> = random.words(26).into_iter().map(|z: R| z.and(R::low_mask(width))).collect();
            let contexts = world.both(8, 2);
            let masks: [Vec<R>; 2] = [random.words(26), random.words(26)];
            let masked: Vec<R> = join(&join(&masks[0], &masks[1], R::BITS), &z, R::BITS);
            let shares = share(&mut random, &z);
            for wire in [false, true] {
                let mut made = BOTH
                    .map(|party| {
                        let (ctx, number) = (&contexts[party as usize], party as usize);
                        if wire {
                            // A single receiver may be the only one that knows the wire.
                            let known = to == Receiver::Both || to.includes(party);
                            gate.wire(ctx, known.then_some(&masked), masks[number].clone())
                        } else {
                            gate.share(ctx, shares[number].clone())
                        }
                    })
                    .map(Some);
                let messages = [0, 1].map(|party: usize| made[party].as_ref().unwrap().1.clone());
                check_sent(&cost, 0, 2, [&messages[0], &messages[1]]);
                for party in BOTH {
                    let (opening, message) = made[party as usize].take().unwrap();
                    assert_eq!(message.is_empty(), !to.includes(other(party)), "only the receiver is sent anything");
                    let result =
                        gate.finish(&contexts[party as usize], opening, &messages[1 - party as usize]).unwrap();
                    assert_eq!(result.is_some(), to.includes(party));
                    if let Some(result) = result {
                        let result: Vec<R> = result.into_iter().map(|z: R| z.and(R::low_mask(width))).collect();
                        assert_eq!(result, z);
                    }
                }
            }
        }
    }
}
