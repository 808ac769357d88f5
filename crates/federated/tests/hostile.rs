//! What a server or an owner must not do is refused, and named; and the round goes on.

mod common;

use std::sync::Arc;

use ariann_federated::*;
use ariann_net::Identity;
use common::*;

fn refusal<T>(result: Result<T, FederatedError>) -> Refusal {
    match result {
        Err(FederatedError::Refused(refusal)) => refusal,
        Err(other) => panic!("no refusal: {other}"),
        Ok(_) => panic!("it was accepted"),
    }
}

fn by_server(why: Why) -> Refusal {
    Refusal { who: Who::Server, why }
}

fn by(owner: u16, why: Why) -> Refusal {
    Refusal { who: Who::Owner(owner), why }
}

/// A round of `owners` up to some phase.
struct Stage {
    world: World,
    server: Server<MemorySpool>,
    owners: Vec<OwnerRound>,
}

impl Stage {
    fn new(owners: usize, threshold: u16) -> Stage {
        let mut world = World::new(owners, training(32, 6, threshold));
        world.round = 1;
        let server = world.server();
        let owners = (0..owners).map(|at| world.begin(at)).collect();
        Stage { world, server, owners }
    }

    fn candidates(&mut self) -> Candidates {
        for owner in &self.owners {
            self.server.advert(owner.number(), owner.advert().clone()).unwrap();
        }
        self.server.close_adverts().unwrap().0
    }

    fn shares(&mut self) {
        let candidates = self.candidates();
        for owner in &mut self.owners {
            self.server.shares(owner.number(), owner.candidates(&candidates).unwrap().clone()).unwrap();
        }
        self.server.close_shares().unwrap();
    }

    fn relays(&mut self) {
        self.shares();
        for owner in &mut self.owners {
            owner.relay(&self.server.relay(owner.number()).unwrap()).unwrap();
        }
    }

    fn update(&mut self, at: usize) {
        update(&mut self.server, &mut self.owners[at], &random::<u32>(at as u64, 6), 6).unwrap();
    }

    /// All updates but those of the last `missing` owners.
    fn survivors(&mut self, missing: usize) -> Survivors {
        self.relays();
        for at in 0..self.owners.len() {
            match at < self.owners.len() - missing {
                true => self.update(at),
                false => drop(self.owners[at].masker::<u32>().unwrap()),
            }
        }
        self.server.close_updates().unwrap()
    }

    fn echoes(&mut self, missing: usize) -> Echoes {
        let survivors = self.survivors(missing);
        self.sign(&survivors)
    }

    /// The first owners, as many as survive, sign the list; all echoes.
    fn sign(&mut self, survivors: &Survivors) -> Echoes {
        for owner in self.owners.iter_mut().take(survivors.survivors.len()) {
            let echo = owner.survivors(&mut self.world.books[place(owner.number())], survivors).unwrap().clone();
            self.server.echo(owner.number(), echo).unwrap();
        }
        self.server.close_echoes().unwrap()
    }

    /// Ends a round whose survivors are the first owners.
    fn end(&mut self, survivors: usize) {
        let echoes = self.server.echoes().unwrap();
        for owner in self.owners.iter_mut().take(survivors) {
            let release = sent(owner.echoes(&mut self.world.books[place(owner.number())], &echoes).unwrap());
            self.server.release(owner.number(), release).unwrap();
        }
        let record = self.server.close_releases().unwrap();
        let mut sum = vec![0u32; 6];
        self.server.total::<u32>().unwrap().add_to(0, &mut sum).unwrap();
        let rounds = [Survived { epoch: 1, round: 1, owners: record.survivors }];
        self.world.books[0].keys().subtract(&rounds, 0, &mut sum).unwrap();
        let deltas: Vec<Vec<u32>> = (0..survivors as u64).map(|at| random(at, 6)).collect();
        assert_eq!(sum, sum_of(&deltas, &(0..survivors).collect()));
    }
}

#[test]
fn a_server_that_replaces_a_key_is_found_by_every_owner() {
    let mut stage = Stage::new(3, 2);
    let candidates = stage.candidates();
    let stranger = World::new(3, training(32, 6, 2)).begin_first().advert().clone();
    for owner in &mut stage.owners {
        let victim = if owner.number() == number(0) { 1 } else { 0 };
        let signature = by(number(victim), Why::Signature("advert"));
        let bend = |change: fn(&mut Advert, &Advert)| {
            let mut bent = candidates.clone();
            change(&mut bent.adverts[victim], &stranger);
            bent
        };
        assert_eq!(refusal(owner.candidates(&bend(|it, other| it.mask = other.mask))), signature);
        assert_eq!(refusal(owner.candidates(&bend(|it, other| it.channel = other.channel))), signature);
        assert_eq!(refusal(owner.candidates(&bend(|it, _| it.channel = [0; 32]))), signature);
        assert_eq!(refusal(owner.candidates(&bend(|it, _| it.rows += 1))), signature);
        assert_eq!(refusal(owner.candidates(&bend(|it, _| it.group[0] ^= 1))), signature);
        assert_eq!(refusal(owner.candidates(&bend(|it, other| it.signature = other.signature))), signature);
        // One's own advert, replaced.
        let mut bent = candidates.clone();
        bent.adverts[place(owner.number())].mask = stranger.mask;
        let missing = Why::Missing { what: "list of candidates", owner: owner.number() };
        assert_eq!(refusal(owner.candidates(&bent)), by_server(missing));
        // And still it takes the right one.
        owner.candidates(&candidates).unwrap();
    }
}

impl World {
    fn begin_first(mut self) -> OwnerRound {
        self.round = 1;
        self.begin(0)
    }
}

#[test]
fn adverts_of_other_rounds_trainings_and_rosters_are_refused() {
    let mut stage = Stage::new(3, 2);
    let candidates = stage.candidates();
    stage.world.round = 2;
    let next = stage.world.begin(0).advert().clone();
    let other_training = World::new(3, Training { id: [8; 32], ..training(32, 6, 2) }).begin_first();
    let owner = &mut stage.owners[1];
    let with = |advert: &Advert| {
        let mut bent = candidates.clone();
        bent.adverts[0] = advert.clone();
        bent
    };
    assert_eq!(refusal(owner.candidates(&with(&next))), by(number(0), Why::Round { expected: 1, got: 2 }));
    let replayed = Advert { round: 1, ..next };
    assert_eq!(refusal(owner.candidates(&with(&replayed))), by(number(0), Why::Signature("advert")));
    assert_eq!(refusal(owner.candidates(&with(other_training.advert()))), by(number(0), Why::Training));
    // Lists.
    let list = |places: &[usize]| {
        let adverts = places.iter().map(|at| candidates.adverts[*at].clone()).collect();
        Candidates { adverts, ..candidates.clone() }
    };
    let what = "list of candidates";
    let order = |owner| by_server(Why::Order { what, owner });
    assert_eq!(refusal(owner.candidates(&list(&[0, 0, 1, 2]))), order(number(0)));
    assert_eq!(refusal(owner.candidates(&list(&[1, 0, 2]))), order(number(0)));
    assert_eq!(refusal(owner.candidates(&list(&[0, 2]))), by_server(Why::Missing { what, owner: number(1) }));
    assert_eq!(refusal(owner.candidates(&list(&[1]))), by_server(Why::BelowThreshold { what, have: 1, need: 2 }));
    let mut stranger = candidates.clone();
    stranger.adverts[2].owner = 99;
    assert_eq!(refusal(owner.candidates(&stranger)), by(99, Why::NotAMember(99)));
    assert_eq!(
        refusal(owner.candidates(&Candidates { round: 2, ..candidates.clone() })).why,
        Why::Round { expected: 1, got: 2 }
    );
    // After the first list, no other.
    owner.candidates(&candidates).unwrap();
    assert_eq!(refusal(owner.candidates(&list(&[0, 1]))), by_server(Why::Double(what)));
    owner.candidates(&candidates).unwrap();
}

#[test]
fn a_roster_takes_the_pinned_certificates_only() {
    let identities: Vec<_> = (0..3).map(|_| Arc::new(Identity::ephemeral("owner").unwrap())).collect();
    let mut roster = roster(training(32, 1, 2), 1, &identities);
    let stranger = Identity::ephemeral("owner").unwrap();
    let why = Why::NotPinned { got: stranger.fingerprint(), pinned: identities[1].fingerprint() };
    assert_eq!(refusal(roster.introduce(number(1), &stranger.certificate())), by(number(1), why));
    assert_eq!(refusal(roster.introduce(2, &stranger.certificate())), by(2, Why::NotAMember(2)));
    assert!(matches!(refusal(roster.introduce(number(1), b"nonsense")).why, Why::Certificate(_)));
    // Terms that cannot be, numbers and identities twice.
    let pins = |numbers: [u16; 3], which: [usize; 3]| {
        let pins: Vec<_> = numbers.into_iter().zip(which.map(|at| identities[at].fingerprint())).collect();
        Roster::new(training(32, 1, 2), 1, &pins).map(|_| ())
    };
    pins([1, 2, 3], [0, 1, 2]).unwrap();
    assert!(pins([1, 2, 2], [0, 1, 2]).is_err());
    assert!(pins([1, 2, 3], [0, 1, 0]).is_err());
    assert!(pins([1, 2, u16::MAX], [0, 1, 2]).is_err());
    let pins: Vec<_> = (0..).zip(identities.iter().map(|it| it.fingerprint())).collect();
    for (ring, values, threshold) in [(16, 1, 2), (32, 0, 2), (32, 1 << 42, 2), (32, 1, 1), (32, 1, 4), (64, 1, 0)] {
        assert!(Roster::new(training(ring, values, threshold), 1, &pins).is_err());
    }
    assert!(Roster::new(training(32, 1, 1), 1, &pins[..1]).is_err());
    assert!(Roster::new(training(32, 1, 2), 1, &[pins.clone(), vec![(7, stranger.fingerprint())]].concat()).is_err());
}

#[test]
fn two_lists_of_survivors_are_caught() {
    // Seven owners with a threshold of 4: the server shows four of them all survivors, the others a list without the first.
    let mut stage = Stage::new(7, 4);
    let all = stage.survivors(0);
    let fewer = Survivors { survivors: all.survivors[1..].to_vec(), ..all.clone() };
    let (some, others) = stage.owners.split_at_mut(4);
    let first: Vec<Echo> = some
        .iter_mut()
        .map(|owner| owner.survivors(&mut stage.world.books[place(owner.number())], &all).unwrap().clone())
        .collect();
    let second: Vec<Echo> = others
        .iter_mut()
        .map(|owner| owner.survivors(&mut stage.world.books[place(owner.number())], &fewer).unwrap().clone())
        .collect();
    let echoes = |of: &[Echo]| Echoes { roster: all.roster, round: 1, echoes: of.to_vec() };
    // Those with the second list see that others signed another one, or that they are too few.
    for owner in others.iter_mut() {
        let few = Why::BelowThreshold { what: "list of echoes", have: 3, need: 4 };
        assert_eq!(
            refusal(owner.echoes(&mut stage.world.books[place(owner.number())], &echoes(&second))),
            by_server(few)
        );
        // A signature moved to another list does not verify.
        let forged = first.iter().map(|echo| Echo { list: second[0].list, ..echo.clone() }).collect::<Vec<_>>();
        assert_eq!(
            refusal(owner.echoes(&mut stage.world.books[place(owner.number())], &echoes(&forged))),
            by(number(0), Why::Signature("echo"))
        );
        // The same one four times, and one that is no survivor.
        let same = vec![second[0].clone(); 4];
        assert!(matches!(
            refusal(owner.echoes(&mut stage.world.books[place(owner.number())], &echoes(&same))).why,
            Why::Order { .. }
        ));
        let both = [first[1..].to_vec(), second.clone()].concat();
        assert_eq!(
            refusal(owner.echoes(&mut stage.world.books[place(owner.number())], &echoes(&both))),
            by_server(Why::TwoLists { signer: number(1) })
        );
    }
    for owner in some {
        let with_one = [first.clone(), second[..1].to_vec()].concat();
        assert_eq!(
            refusal(owner.echoes(&mut stage.world.books[place(owner.number())], &echoes(&with_one))),
            by_server(Why::TwoLists { signer: number(4) })
        );
        // What was shown stays shown: without it, there would be enough under one list.
        assert_eq!(
            refusal(owner.echoes(&mut stage.world.books[place(owner.number())], &echoes(&first))),
            by_server(Why::TwoLists { signer: number(4) })
        );
    }
    // The server takes no signature under another list than its own.
    assert_eq!(refusal(stage.server.echo(number(4), second[0].clone())), by(number(4), Why::OtherList));
    assert_eq!(refusal(stage.server.echo(number(4), first[0].clone())), by(number(4), Why::Sender(number(0))));
}

#[test]
fn an_owner_releases_one_secret_of_each_never_both() {
    let mut stage = Stage::new(5, 3);
    let echoes = stage.echoes(1);
    let list = stage.server.survivors().unwrap();
    let owner = &mut stage.owners[0];
    let without = |at: usize| {
        let survivors = list.survivors.iter().copied().filter(|owner| *owner != number(at)).collect();
        Survivors { survivors, ..list.clone() }
    };
    let with = Survivors { survivors: (0..5).map(number).collect(), ..list.clone() };
    // Before it released anything.
    let two = by_server(Why::TwoLists { signer: number(0) });
    assert_eq!(refusal(owner.survivors(&mut stage.world.books[place(owner.number())], &without(2))), two);
    let released = owner.echoes(&mut stage.world.books[place(owner.number())], &echoes).unwrap();
    let kinds: Vec<_> = released.shares.iter().map(|(of, it)| (*of, matches!(it, Released::SelfMask(_)))).collect();
    let expected: Vec<_> = (0..5).map(|at| (number(at), at < 4)).collect();
    assert_eq!(kinds, expected, "one share of each member of the cohort");
    // Afterwards: the mask key of a survivor, the self mask of one who is none.
    assert_eq!(
        refusal(owner.survivors(&mut stage.world.books[place(owner.number())], &without(2))),
        by_server(Why::NeverBoth { of: number(2) })
    );
    assert_eq!(
        refusal(owner.survivors(&mut stage.world.books[place(owner.number())], &with)),
        by_server(Why::NeverBoth { of: number(4) })
    );
    // The same again is answered the same.
    let again = encode(owner.echoes(&mut stage.world.books[place(owner.number())], &echoes).unwrap());
    assert_eq!(again, encode(owner.echoes(&mut stage.world.books[place(owner.number())], &echoes).unwrap()));
    // Nor does the server take the wrong secret.
    let mut wrong = sent(owner.echoes(&mut stage.world.books[place(owner.number())], &echoes).unwrap());
    wrong.shares = wrong
        .shares
        .into_iter()
        .map(|(of, it)| match it {
            Released::SelfMask(share) => (of, Released::MaskKey(share)),
            Released::MaskKey(share) => (of, Released::SelfMask(share)),
        })
        .collect();
    assert_eq!(refusal(stage.server.release(number(0), wrong)), by(number(0), Why::NeverBoth { of: number(0) }));
    stage.end(4);
}

#[test]
fn lists_of_survivors_that_cannot_be_are_refused() {
    let mut stage = Stage::new(5, 3);
    stage.relays();
    let cohort_list = |stage: &mut Stage| {
        for at in 0..4 {
            stage.update(at);
        }
        stage.server.close_updates().unwrap()
    };
    let list = cohort_list(&mut stage);
    let what = "list of survivors";
    // The last owner has not masked anything yet.
    assert_eq!(refusal(stage.owners[4].survivors(&mut stage.world.books[4], &list)), by_server(Why::Early(what)));
    drop(stage.owners[4].masker::<u32>().unwrap());
    assert_eq!(refusal(stage.owners[4].survivors(&mut stage.world.books[4], &list)), by_server(Why::NotCounted));
    let owner = &mut stage.owners[0];
    let of = |survivors: &[u16]| Survivors { survivors: survivors.to_vec(), ..list.clone() };
    let [a, b, c] = [0, 1, 2].map(number);
    assert_eq!(
        refusal(owner.survivors(&mut stage.world.books[place(owner.number())], &of(&[a, b]))),
        by_server(Why::BelowThreshold { what, have: 2, need: 3 })
    );
    assert_eq!(
        refusal(owner.survivors(&mut stage.world.books[place(owner.number())], &of(&[a, b, b]))),
        by_server(Why::Order { what, owner: b })
    );
    assert_eq!(
        refusal(owner.survivors(&mut stage.world.books[place(owner.number())], &of(&[a, b, c, 99]))),
        by_server(Why::NotInCohort(99))
    );
    assert_eq!(
        refusal(
            owner.survivors(&mut stage.world.books[place(owner.number())], &Survivors { round: 2, ..list.clone() })
        )
        .who,
        Who::Server
    );
    assert_eq!(
        refusal(
            owner.survivors(
                &mut stage.world.books[place(owner.number())],
                &Survivors { cohort: [0; 32], ..list.clone() }
            )
        )
        .who,
        Who::Server
    );
    assert_eq!(
        refusal(owner.echoes(
            &mut stage.world.books[place(owner.number())],
            &Echoes { roster: list.roster, round: 1, echoes: vec![] }
        )),
        by_server(Why::Early("list of echoes"))
    );
    owner.survivors(&mut stage.world.books[place(owner.number())], &list).unwrap();
    // A second masking would use the masks twice.
    assert!(matches!(owner.masker::<u32>(), Err(FederatedError::Order(_))));
}

#[test]
fn updates_that_are_late_double_or_malformed_are_refused_and_the_round_goes_on() {
    let mut stage = Stage::new(4, 3);
    stage.relays();
    let (server, owners) = (&mut stage.server, &mut stage.owners);
    let from = number(0);
    let mut masker = owners[0].masker::<u32>().unwrap();
    let head = masker.head().clone();
    let bytes = masker.mask(&mut random::<u32>(0, 6)).unwrap();
    assert!(masker.mask(&mut [0]).is_err(), "more words than the model has");
    let digest = masker.finish().unwrap();
    // Heads.
    let mut bad = |head: Contribution| refusal(server.begin_update(from, &head));
    assert_eq!(bad(Contribution { values: 7, ..head.clone() }), by(from, Why::Length { expected: 24, got: 28 }));
    assert_eq!(bad(Contribution { values: u64::MAX, ..head.clone() }).who, Who::Owner(from));
    assert_eq!(bad(Contribution { ring: 64, ..head.clone() }), by(from, Why::Ring { expected: 32, got: 64 }));
    assert_eq!(bad(Contribution { round: 3, ..head.clone() }), by(from, Why::Round { expected: 1, got: 3 }));
    assert_eq!(bad(Contribution { roster: [0; 32], ..head.clone() }), by(from, Why::Training));
    assert_eq!(bad(Contribution { cohort: [0; 32], ..head.clone() }), by(from, Why::OtherList));
    assert_eq!(bad(Contribution { owner: number(1), ..head.clone() }), by(from, Why::Sender(number(1))));
    assert_eq!(refusal(server.begin_update(99, &head)), by(99, Why::NotAMember(99)));
    assert_eq!(refusal(server.update_bytes(from, &bytes)), by(from, Why::Early("update")));
    // Too much, too little, damaged: nothing of it stays.
    server.begin_update(from, &head).unwrap();
    server.update_bytes(from, &bytes).unwrap();
    assert_eq!(refusal(server.update_bytes(from, &[0])), by(from, Why::Length { expected: 24, got: 25 }));
    assert_eq!(refusal(server.update_bytes(from, &bytes)).who, Who::Owner(from));
    server.begin_update(from, &head).unwrap();
    server.update_bytes(from, &bytes[..23]).unwrap();
    assert_eq!(refusal(server.finish_update(from, digest)), by(from, Why::Length { expected: 24, got: 23 }));
    server.begin_update(from, &head).unwrap();
    server.update_bytes(from, &[&[bytes[0] ^ 1], &bytes[1..]].concat()).unwrap();
    assert_eq!(refusal(server.finish_update(from, digest)), by(from, Why::Digest));
    assert!(server.arrived().unwrap().is_empty());
    // Whole; the same again; another one.
    for accepted in [Accepted::Counted, Accepted::Again] {
        server.begin_update(from, &head).unwrap();
        server.update_bytes(from, &bytes).unwrap();
        assert_eq!(server.finish_update(from, digest).unwrap(), accepted);
    }
    let other = [&[bytes[0] ^ 1], &bytes[1..]].concat();
    let mut hasher = blake3::Hasher::new_derive_key("ariann federated 1 update");
    hasher.update(&encode(&head)).update(&other);
    server.begin_update(from, &head).unwrap();
    server.update_bytes(from, &other).unwrap();
    let double = refusal(server.finish_update(from, *hasher.finalize().as_bytes()));
    assert_eq!(double, by(from, Why::Double("update")));
    // The others; the last one is half sent when the list is fixed.
    for at in [1, 2] {
        stage.update(at);
    }
    let mut late = stage.owners[3].masker::<u32>().unwrap();
    stage.server.begin_update(number(3), late.head()).unwrap();
    let bytes = late.mask(&mut random::<u32>(3, 6)).unwrap();
    stage.server.update_bytes(number(3), &bytes[..8]).unwrap();
    let survivors = stage.server.close_updates().unwrap();
    assert_eq!(survivors.survivors, [0, 1, 2].map(number));
    let too_late = by(number(3), Why::Late("update"));
    assert_eq!(refusal(stage.server.update_bytes(number(3), &bytes[8..])), too_late);
    assert_eq!(refusal(stage.server.begin_update(number(3), late.head())), too_late);
    stage.sign(&survivors);
    stage.end(3);
}

#[test]
fn messages_out_of_turn_or_from_nobody_are_refused() {
    let mut stage = Stage::new(4, 3);
    let advert = stage.owners[0].advert().clone();
    let from = number(0);
    assert_eq!(refusal(stage.server.advert(99, Advert { owner: 99, ..advert.clone() })), by(99, Why::NotAMember(99)));
    assert_eq!(refusal(stage.server.advert(number(1), advert.clone())), by(number(1), Why::Sender(from)));
    stage.server.advert(from, advert.clone()).unwrap();
    assert_eq!(stage.server.advert(from, advert.clone()).unwrap(), Accepted::Again);
    // Another key in the same round, well signed: from a second machine with the same identity.
    let mut book = Book::open(stage.world.roster.training(), KeepMemory::default()).unwrap();
    book.draw(&stage.world.roster, from).unwrap();
    let (roster, identity) = (stage.world.roster.clone(), stage.world.identities[0].clone());
    let second = OwnerRound::begin(roster, identity, &mut book, stage.world.position, 1, ROWS).unwrap();
    assert_eq!(refusal(stage.server.advert(from, second.advert().clone())), by(from, Why::Double("advert")));
    // The last owner is late.
    for owner in &stage.owners[1..3] {
        stage.server.advert(owner.number(), owner.advert().clone()).unwrap();
    }
    let candidates = stage.server.close_adverts().unwrap().0;
    let late = stage.owners[3].advert().clone();
    assert_eq!(refusal(stage.server.advert(number(3), late)), by(number(3), Why::Late("advert")));
    assert_eq!(stage.server.advert(from, advert).unwrap(), Accepted::Again);
    let shares = stage.owners[0].candidates(&candidates).unwrap().clone();
    let mut missing = shares.clone();
    missing.parcels.pop();
    let what = "shares";
    assert_eq!(refusal(stage.server.shares(from, missing)), by(from, Why::Missing { what, owner: number(2) }));
    let mut short = shares.clone();
    short.parcels[1].sealed.pop();
    assert!(matches!(refusal(stage.server.shares(from, short)).why, Why::Malformed { .. }));
    let mut bent = shares.clone();
    bent.parcels[1].sealed[0] ^= 1;
    assert_eq!(refusal(stage.server.shares(from, bent)), by(from, Why::Signature(what)));
    let unknown = Shares { owner: number(3), ..shares.clone() };
    assert_eq!(refusal(stage.server.shares(number(3), unknown)), by(number(3), Why::NotInCohort(number(3))));
    stage.server.shares(from, shares).unwrap();
    assert!(matches!(stage.server.close_shares(), Err(FederatedError::BelowThreshold { have: 1, need: 3, .. })));
    assert!(matches!(stage.server.survivors(), Err(FederatedError::Order(_))));
    assert!(matches!(stage.server.close_releases(), Err(FederatedError::Order(_))));
}

#[test]
fn boxes_and_shares_that_are_wrong_are_named_and_done_without() {
    let mut stage = Stage::new(4, 3);
    stage.shares();
    // The server, or somebody between, bends what owner 0 sealed for owner 1.
    for at in 0..4 {
        let mut relay = stage.server.relay(number(at)).unwrap();
        let named = if at == 1 {
            relay.parcels[0].sealed[9] ^= 1;
            vec![by_server(Why::Sealed { from: number(0) })]
        } else {
            vec![]
        };
        assert_eq!(stage.owners[at].relay(&relay).unwrap(), named);
        assert_eq!(stage.owners[at].relay(&relay).unwrap(), named, "the same again");
        let closed = stage.owners[at].closed().to_vec();
        assert_eq!(closed, if at == 1 { vec![number(0)] } else { vec![] });
        stage.server.taken(number(at), &closed).unwrap();
    }
    let other = stage.server.relay(number(1)).unwrap();
    assert_eq!(refusal(stage.owners[1].relay(&other)), by_server(Why::Double("list of the cohort")));
    for at in 0..4 {
        stage.update(at);
    }
    let survivors = stage.server.close_updates().unwrap();
    let echoes = stage.sign(&survivors);
    // A share of another owner is none of this one's.
    let foreign = sent(stage.owners[2].echoes(&mut stage.world.books[2], &echoes).unwrap());
    let mut wrong = sent(stage.owners[3].echoes(&mut stage.world.books[3], &echoes).unwrap());
    wrong.shares = foreign.shares;
    assert_eq!(refusal(stage.server.release(number(3), wrong)), by(number(3), Why::Share { of: number(0) }));
    // One that said it had all shares may not leave one out.
    let mut fewer = sent(stage.owners[2].echoes(&mut stage.world.books[2], &echoes).unwrap());
    fewer.shares.remove(3);
    let missing = Why::Missing { what: "release", owner: number(3) };
    assert_eq!(refusal(stage.server.release(number(2), fewer)), by(number(2), missing));
    // Owner 1 lacks its share of owner 0's secret; the other three suffice.
    stage.end(4);
}

#[test]
fn owners_with_another_group_key_or_list_of_rounds_are_named() {
    let mut stage = Stage::new(4, 3);
    // The keeper lost its book and draws a new key.
    let mut book = Book::open(stage.world.roster.training(), KeepMemory::default()).unwrap();
    book.draw(&stage.world.roster, number(0)).unwrap();
    stage.world.books[0] = book;
    stage.owners[0] = stage.world.begin(0);
    for owner in &stage.owners {
        stage.server.advert(owner.number(), owner.advert().clone()).unwrap();
    }
    let mut adverts: Vec<Advert> = stage.owners.iter().map(|owner| owner.advert().clone()).collect();
    let all = Candidates { roster: stage.world.roster.digest(), round: 1, adverts: adverts.clone() };
    assert_eq!(refusal(stage.owners[1].candidates(&all)), by(number(0), Why::OtherGroup));
    let (candidates, refused) = stage.server.close_adverts().unwrap();
    assert_eq!(refused, [by(number(0), Why::OtherGroup)]);
    assert_eq!(candidates.adverts, adverts.split_off(1));
    // An owner that stands elsewhere.
    let record = Record {
        training: stage.world.roster.training().digest(),
        roster: stage.world.roster.digest(),
        epoch: 1,
        group: [0; 16],
        round: 1,
        cohort: [0; 32],
        survivors: vec![3, 5, 7],
        previous: stage.world.position.head,
        echoes: Vec::new(),
    };
    stage.world.round = 2;
    let elsewhere = stage.world.position.after(stage.world.roster.training(), &record).unwrap();
    let server_at = stage.world.position;
    stage.world.position = elsewhere;
    let ahead = stage.world.begin(1);
    let roster = stage.world.roster.clone();
    let mut server = Server::open(roster, server_at, 2, MemorySpool::default()).unwrap();
    assert_eq!(refusal(server.advert(number(1), ahead.advert().clone())), by(number(1), Why::OtherHistory));
    stage.world.position = server_at;
    let mut behind = stage.world.begin(2);
    let adverts = vec![ahead.advert().clone(), behind.advert().clone(), stage.world.begin(3).advert().clone()];
    let shown = Candidates { roster: stage.world.roster.digest(), round: 2, adverts };
    assert_eq!(refusal(behind.candidates(&shown)), by(number(1), Why::OtherHistory));
}

#[test]
fn boxes_that_too_many_cannot_open_are_their_sealer_s_fault() {
    let mut stage = Stage::new(5, 3);
    stage.relays();
    let [a, b, c, d, e] = [0, 1, 2, 3, 4].map(number);
    let server = &mut stage.server;
    // Words that cannot be.
    assert_eq!(refusal(server.taken(99, &[])), by(99, Why::NotInCohort(99)));
    assert_eq!(refusal(server.taken(a, &[99])), by(a, Why::NotInCohort(99)));
    assert_eq!(refusal(server.taken(a, &[a])), by(a, Why::NotInCohort(a)));
    assert_eq!(refusal(server.taken(a, &[c, b])), by(a, Why::Order { what: "word of boxes", owner: b }));
    // As many as may be at fault themselves, as the round can do without them: nobody is named.
    for from in [a, b] {
        server.taken(from, &[e]).unwrap();
        server.taken(from, &[e]).unwrap();
    }
    server.check_boxes().unwrap();
    server.taken(c, &[d, e]).unwrap();
    assert_eq!(refusal(server.check_boxes()), by(e, Why::Boxes { closed: 3 }));
    // It took them all the same, in the end.
    server.taken(c, &[]).unwrap();
    server.check_boxes().unwrap();
    // With three cut off, who released are enough, and shares of one secret are not: it is told whose.
    for at in 0..5 {
        stage.update(at);
    }
    let survivors = stage.server.close_updates().unwrap();
    let echoes = stage.sign(&survivors);
    for at in [0, 2, 3] {
        let mut release = sent(stage.owners[at].echoes(&mut stage.world.books[at], &echoes).unwrap());
        // The first one cannot open the last one's box, as it said.
        release.shares.retain(|(of, _)| at != 0 || *of != e);
        stage.server.release(number(at), release).unwrap();
    }
    assert!(!stage.server.is_enough());
    let error = stage.server.close_releases().unwrap_err();
    assert!(
        matches!(error, FederatedError::Unshared { round: 1, of, have: 2, need: 3, closed: 2 } if of == e),
        "{error}"
    );
    let last = sent(stage.owners[4].echoes(&mut stage.world.books[4], &echoes).unwrap());
    stage.server.release(e, last).unwrap();
    assert!(stage.server.is_enough());
    stage.server.close_releases().unwrap();
}

#[test]
fn rounds_whose_shares_were_released_are_remembered_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("book");
    let mut stage = Stage::new(3, 2);
    let lost = |book: &Book| book.lost().iter().copied().collect::<Vec<_>>();
    // This one's book is a file.
    let request = Request::new(&stage.world.roster, &stage.world.identities[1], number(1)).unwrap();
    let grant =
        stage.world.books[0].grant(&stage.world.roster, &stage.world.identities[0], number(0), request.message());
    stage.world.books[1] = Book::open(stage.world.roster.training(), KeepFile::at(&path)).unwrap();
    stage.world.books[1].accept(&stage.world.roster, request, &grant.unwrap()).unwrap();
    let echoes = stage.echoes(0);
    assert!(lost(&stage.world.books[1]).is_empty());
    stage.owners[1].echoes(&mut stage.world.books[1], &echoes).unwrap();
    // Also after a crash, and in its next advert.
    let reopened = Book::open(stage.world.roster.training(), KeepFile::at(&path)).unwrap();
    assert_eq!((lost(&reopened), lost(&stage.world.books[0]).len()), (vec![1], 0));
    stage.world.round = 2;
    let advert = stage.world.begin(1).advert().clone();
    assert_eq!((advert.lost.clone(), stage.world.begin(0).advert().lost.len()), (vec![1], 0));
    let mut server = stage.world.server();
    assert_eq!(
        refusal(server.advert(number(1), Advert { lost: vec![], ..advert.clone() })).why,
        Why::Signature("advert")
    );
    server.advert(number(1), advert).unwrap();
    // Where the disk fails, nothing is released.
    let mut gone =
        Book::open(stage.world.roster.training(), KeepFile::at(&folder.path().join("no").join("book"))).unwrap();
    assert!(matches!(stage.owners[2].echoes(&mut gone, &echoes), Err(FederatedError::Disk { .. })));
    // Once it has a record, it counts as one with a result.
    stage.end(3);
    let record = stage.server.record().unwrap();
    let model = folder.path().join("model");
    let mut share = ModelShare::<u32>::create(&model, stage.world.roster.training(), |_, _| Ok(())).unwrap();
    share.follow(&[record], &stage.world.roster, &mut stage.world.books[1]).unwrap();
    assert_eq!((lost(&stage.world.books[1]).len(), share.position().rounds), (0, 1));
}
