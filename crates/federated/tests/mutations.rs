//! Every message of a round with every byte changed, cut and lengthened: refused, without a panic, and nothing is taken of it.

mod common;

use ariann_federated::*;
use common::*;

/// Changed copies of a message.
fn mutants(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    let bent = (0..bytes.len()).flat_map(move |at| {
        [1, 0x80, 0xff].into_iter().map(move |bits| {
            let mut bytes = bytes.to_vec();
            bytes[at] ^= bits;
            bytes
        })
    });
    let cut = (0..bytes.len()).map(move |len| bytes[..len].to_vec());
    bent.chain(cut).chain([[bytes, &[0]].concat(), [bytes, bytes].concat(), vec![0xff; 1 << 20]])
}

/// Every mutant is refused, by the decoder or by the receiver; the message itself is then taken.
fn refused<M: Message>(message: &M, mut receive: impl FnMut(M) -> Result<(), FederatedError>) {
    let bytes = encode(message);
    let mut decoded = 0;
    for mutant in mutants(&bytes) {
        match decode::<M>(Who::Server, 3, &mutant) {
            Err(FederatedError::Refused(_)) => {}
            Err(other) => panic!("{}: {other}", M::NAME),
            Ok(message) => {
                decoded += 1;
                let result = receive(message);
                assert!(matches!(result, Err(FederatedError::Refused(_))), "{}: {result:?} for {mutant:02x?}", M::NAME);
            }
        }
    }
    assert!(decoded > 50, "{}: only {decoded} mutants came as far as the receiver", M::NAME);
    receive(decode(Who::Server, 3, &bytes).unwrap()).unwrap();
}

#[test]
fn every_message_of_a_round() {
    let mut world = World::new(3, training(64, 4, 2));
    world.round = 1;
    let mut server = world.server();
    let mut owners: Vec<OwnerRound> = (0..3).map(|at| world.begin(at)).collect();
    for (at, owner) in owners.iter().enumerate() {
        match at {
            0 => refused(owner.advert(), |it| server.advert(number(0), it).map(drop)),
            _ => server.advert(number(at), owner.advert().clone()).map(drop).unwrap(),
        }
    }
    let candidates = server.close_adverts().unwrap().0;
    refused(&candidates, |it| owners[0].candidates(&it).map(drop));
    for (at, owner) in owners.iter_mut().enumerate() {
        let shares = owner.candidates(&candidates).unwrap();
        match at {
            0 => refused(shares, |it| server.shares(number(0), it).map(drop)),
            _ => server.shares(number(at), shares.clone()).map(drop).unwrap(),
        }
    }
    server.close_shares().unwrap();
    for (at, owner) in owners.iter_mut().enumerate() {
        owner.relay(&server.relay(number(at)).unwrap()).unwrap();
    }
    // The last update comes too late.
    for (at, owner) in owners.iter_mut().enumerate() {
        let mut masker = owner.masker::<u64>().unwrap();
        if at == 0 {
            refused(masker.head(), |it| server.begin_update(number(0), &it));
        }
        let bytes = masker.mask(&mut random::<u64>(at as u64, 4)).unwrap();
        let (head, digest) = (masker.head().clone(), masker.finish().unwrap());
        for mutant in mutants(&bytes).chain([bytes.clone()]).filter(|_| at < 2) {
            server.begin_update(number(at), &head).unwrap();
            let sent = server.update_bytes(number(at), &mutant);
            let result = sent.and_then(|()| server.finish_update(number(at), digest));
            assert_eq!(result.is_ok(), mutant == bytes);
        }
    }
    let survivors = server.close_updates().unwrap();
    assert_eq!(survivors.survivors.len(), 2);
    refused(&survivors, |it| owners[0].survivors(&mut world.books[0], &it).map(drop));
    for at in [0, 1] {
        let echo = owners[at].survivors(&mut world.books[at], &survivors).unwrap();
        match at {
            0 => refused(echo, |it| server.echo(number(0), it).map(drop)),
            _ => server.echo(number(at), echo.clone()).map(drop).unwrap(),
        }
    }
    let echoes = server.close_echoes().unwrap();
    refused(&echoes, |it| owners[0].echoes(&mut world.books[0], &it).map(drop));
    for (at, owner) in owners[..2].iter_mut().enumerate() {
        let release = owner.echoes(&mut world.books[place(owner.number())], &echoes).unwrap();
        match at {
            0 => refused(release, |it| server.release(number(0), it).map(drop)),
            _ => server.release(number(at), sent(release)).map(drop).unwrap(),
        }
    }
    // Nobody signed any other record.
    let record = server.close_releases().unwrap();
    let start = Position::start(world.roster.training());
    refused(&record, |it| {
        start.after(world.roster.training(), &it)?;
        it.verify(&world.roster)
    });
}

/// A bent list of the cohort is refused, or the bent box is reported: each in a round of its own, as a list is taken once.
#[test]
fn every_byte_of_a_relay() {
    let mut world = World::new(2, training(32, 1, 2));
    let mut at = 0;
    loop {
        world.round += 1;
        let mut server = world.server();
        let mut owners: Vec<OwnerRound> = (0..2).map(|at| world.begin(at)).collect();
        for owner in &owners {
            server.advert(owner.number(), owner.advert().clone()).unwrap();
        }
        let candidates = server.close_adverts().unwrap().0;
        for owner in &mut owners {
            server.shares(owner.number(), owner.candidates(&candidates).unwrap().clone()).unwrap();
        }
        server.close_shares().unwrap();
        let mut bytes = encode(&server.relay(number(0)).unwrap());
        if at == bytes.len() {
            break;
        }
        bytes[at] ^= 1 << (at % 8);
        if let Ok(relay) = decode::<Relay>(Who::Server, 2, &bytes) {
            match owners[0].relay(&relay) {
                Ok(named) => assert_eq!(named.len(), 1, "byte {at}"),
                Err(error) => assert!(error.refusal().is_some(), "byte {at}: {error}"),
            }
        }
        at += 1;
    }
    assert!(at > 200, "a relay has only {at} bytes");
}

#[test]
fn requests_and_grants_of_the_group_key() {
    let mut world = World::new(3, training(32, 1, 2));
    let roster = world.roster.clone();
    let request = Request::new(&roster, &world.identities[1], number(1)).unwrap();
    let mut grant = None;
    refused(request.message(), |it| {
        grant = Some(world.books[0].grant(&roster, &world.identities[0], number(0), &it)?);
        Ok(())
    });
    let grant = grant.unwrap();
    let bytes = encode(&grant);
    for mutant in mutants(&bytes) {
        // A request is spent by an answer, so each mutant gets the same question from its own book.
        let mut book = Book::open(roster.training(), KeepMemory::default()).unwrap();
        if let Ok(bent) = decode::<KeyGrant>(Who::Server, 3, &mutant) {
            let asked = Request::new(&roster, &world.identities[1], number(1)).unwrap();
            assert!(book.accept(&roster, asked, &bent).unwrap_err().refusal().is_some());
        }
    }
    // Nor does an answer to another question fit, or one for another owner.
    let asked = |at: usize| Request::new(&roster, &world.identities[at], number(at)).unwrap();
    for at in [1, 2] {
        let mut book = Book::open(roster.training(), KeepMemory::default()).unwrap();
        let refusal = book.accept(&roster, asked(at), &grant).unwrap_err();
        assert_eq!(refusal.refusal().unwrap().why, Why::Sealed { from: number(0) });
    }
    let mut bent = grant.clone();
    bent.sealed[3] ^= 1;
    assert_eq!(
        world.books[1].accept(&roster, request, &bent).unwrap_err().refusal().unwrap(),
        &Refusal { who: Who::Owner(number(0)), why: Why::Signature("grant of the group key") }
    );
}

#[test]
fn words_that_the_training_has_ended() {
    let mut world = World::new(3, training(32, 1, 2));
    let here = world.position;
    let closing = Closing::new(&world.roster, &world.identities[1], &mut world.books[1], here).unwrap();
    refused(&closing, |it| it.verify(&world.roster, &here));
}
