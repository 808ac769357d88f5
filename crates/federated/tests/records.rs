//! A server cannot make up the list of rounds, leave one out of it, or have two of them end a training.

mod common;

use ariann_federated::*;
use ariann_net::Identity;
use common::*;

const VALUES: u64 = 4;

fn why<T>(result: Result<T, FederatedError>) -> Why {
    match result {
        Err(FederatedError::Refused(refusal)) => {
            assert_eq!(refusal.who, Who::Server);
            refusal.why
        }
        Err(other) => panic!("no refusal: {other}"),
        Ok(_) => panic!("it was accepted"),
    }
}

fn round(world: &mut World) -> Record {
    let deltas = vec![random::<u32>(world.round, VALUES as usize); world.len()];
    play(world, &vec![PHASES; world.len()], &deltas).unwrap().record
}

/// An owner's share of the model where it begins.
fn share(world: &World, folder: &tempfile::TempDir, name: &str) -> ModelShare<u32> {
    ModelShare::create(&folder.path().join(name), world.roster.training(), |_, _| Ok(())).unwrap()
}

#[test]
fn records_that_t_owners_did_not_sign_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::new(5, training(32, VALUES, 3));
    let record = round(&mut world);
    assert_eq!(record.echoes.len(), 3);
    let mut share = share(&world, &folder, "share");
    let start = share.position();
    let mut refused = |change: &dyn Fn(&mut Record)| {
        let mut bent = record.clone();
        change(&mut bent);
        let refusal = why(share.follow(&[bent], &world.roster, &mut world.books[4]));
        assert_eq!(share.position(), start, "nothing was changed");
        refusal
    };
    // Rounds that never were, and others than those that were signed.
    let forged = Why::Signature("echo");
    assert_eq!(refused(&|it| it.round = 2), forged);
    assert_eq!(refused(&|it| it.survivors.truncate(4)), forged);
    assert_eq!(refused(&|it| it.cohort[0] ^= 1), forged);
    assert!(matches!(refused(&|it| it.group[0] ^= 1), Why::Signature(_)));
    assert_eq!(refused(&|it| it.echoes[1].1 = it.echoes[0].1), forged);
    assert_eq!(refused(&|it| it.echoes[2].0 = number(4)), forged);
    assert_eq!(refused(&|it| it.echoes[2].1 = ariann_net::Signature::default()), forged);
    assert_eq!(refused(&|it| it.previous[0] ^= 1), Why::Records(1));
    assert_eq!(refused(&|it| it.roster[0] ^= 1), Why::Unknown(1));
    assert_eq!(refused(&|it| it.epoch = 2), Why::Unknown(1));
    // Too few, one twice, one that is nobody or no survivor.
    let what = "record of a round";
    assert_eq!(refused(&|it| it.echoes.truncate(2)), Why::BelowThreshold { what, have: 2, need: 3 });
    assert_eq!(refused(&|it| it.echoes.clear()), Why::BelowThreshold { what, have: 0, need: 3 });
    assert_eq!(refused(&|it| it.echoes[2] = it.echoes[1]), Why::Order { what, owner: number(1) });
    assert_eq!(refused(&|it| it.echoes[2].0 = 99), Why::NotInCohort(99));
    assert_eq!(refused(&|it| it.survivors = it.survivors[1..].to_vec()), Why::NotInCohort(number(0)));
    // Signatures of a stranger under an owner's number, in a round of its own.
    let mut others = World::new(5, world.roster.training().clone());
    let theirs = round(&mut others);
    assert_eq!(refused(&|it| *it = theirs.clone()), Why::Unknown(1));
    assert_eq!(refused(&|it| it.echoes.clone_from(&theirs.echoes)), forged);
    // It is of all that was signed under this position.
    let second = round(&mut world);
    let mut moved = second.clone();
    moved.previous = record.previous;
    assert_eq!(why(share.follow(&[moved], &world.roster, &mut world.books[4])), forged);
    assert_eq!(share.follow(&[record, second], &world.roster, &mut world.books[4]).unwrap(), 2);
}

#[test]
fn a_round_that_is_left_out_or_shown_to_some_parts_the_owners() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::new(3, training(32, VALUES, 2));
    let before = world.position;
    let first = round(&mut world);
    let second = round(&mut world);
    // More rounds after one that is left out.
    let mut share_0 = share(&world, &folder, "0");
    assert_eq!(why(share_0.follow(&[second], &world.roster, &mut world.books[0])), Why::Records(2));
    // The server says that the first round failed, and plays another one from where it began.
    world.position = before;
    world.round = 2;
    let other = round(&mut world);
    assert_eq!((other.round, other.previous), (3, first.previous));
    let mut share_1 = share(&world, &folder, "1");
    share_0.follow(std::slice::from_ref(&first), &world.roster, &mut world.books[0]).unwrap();
    share_1.follow(std::slice::from_ref(&other), &world.roster, &mut world.books[1]).unwrap();
    assert_eq!(why(share_0.follow(&[other], &world.roster, &mut world.books[0])), Why::Records(3));
    assert_eq!(share_1.follow(&[first], &world.roster, &mut world.books[1]).unwrap(), 0, "before its place");
    // From then on they do not play together.
    world.round = 4;
    world.position = share_0.position();
    let ahead = world.begin(0);
    world.position = share_1.position();
    let mut own = world.begin(1);
    let adverts = vec![ahead.advert().clone(), own.advert().clone()];
    let shown = Candidates { roster: world.roster.digest(), round: 4, adverts };
    let refusal = own.candidates(&shown).unwrap_err();
    assert_eq!(refusal.refusal().unwrap().why, Why::OtherHistory);
}

/// Owners that follow the protocol, and some that sign whatever they are asked.
fn closed_twice(owners: usize, threshold: u16, help: usize) -> bool {
    let mut world = World::new(owners, training(32, VALUES, threshold));
    let before = world.position;
    round(&mut world);
    let one = world.position;
    (world.position, world.round) = (before, 1);
    round(&mut world);
    let other = world.position;
    assert!(one.rounds == other.rounds && one.head != other.head);
    let (roster, honest) = (world.roster.clone(), owners - help);
    let closing = |book: &mut Book, at: usize, place| Closing::new(&roster, &world.identities[at], book, place);
    // The helpers close both, and of the others one half this one, the other half that one.
    let (mut ones, mut others) = (Vec::new(), Vec::new());
    for (at, book) in world.books.iter_mut().enumerate().take(honest) {
        let (here, there, list) = if at < honest / 2 { (one, other, &mut ones) } else { (other, one, &mut others) };
        list.push(closing(book, at, here).unwrap());
        assert_eq!(closing(book, at, here).unwrap(), *list.last().unwrap(), "the same again");
        assert_eq!(why(closing(book, at, there)), Why::Closed(here.round));
    }
    for at in honest..owners {
        for (place, list) in [(one, &mut ones), (other, &mut others)] {
            let mut fresh = Book::open(roster.training(), KeepMemory::default()).unwrap();
            list.push(closing(&mut fresh, at, place).unwrap());
        }
    }
    let [a, b] = [(&ones, one), (&others, other)].map(|(list, place)| Closing::verify_all(list, &roster, &place));
    a.is_ok() && b.is_ok()
}

#[test]
fn two_ends_of_a_training_are_not_closed_by_too_few_helpers() {
    for (owners, threshold) in [(2, 2), (3, 2), (3, 3), (4, 3), (5, 3), (5, 4), (7, 4), (7, 5), (10, 7)] {
        for help in 0..owners {
            let rule = 2 * usize::from(threshold) > owners + help;
            assert_eq!(closed_twice(owners, threshold, help), !rule, "{owners} {threshold} {help}");
        }
    }
}

#[test]
fn an_owner_s_word_of_the_end_stands_and_is_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("book");
    let mut world = World::new(3, training(32, VALUES, 2));
    round(&mut world);
    let (roster, here) = (world.roster.clone(), world.position);
    let there = Position { rounds: here.rounds + 1, ..here };
    let open = || Book::open(roster.training(), KeepFile::at(&path)).unwrap();
    let first = Closing::new(&roster, &world.identities[0], &mut open(), here).unwrap();
    // Also after a crash.
    assert_eq!(why(Closing::new(&roster, &world.identities[0], &mut open(), there)), Why::Closed(here.round));
    assert_eq!(Closing::new(&roster, &world.identities[0], &mut open(), here).unwrap(), first);
    let second = Closing::new(&roster, &world.identities[1], &mut world.books[1], here).unwrap();
    let all = |list: &[&Closing]| {
        Closing::verify_all(&list.iter().copied().cloned().collect::<Vec<_>>(), &roster, &here)
            .map_err(|error| error.refusal().unwrap().why.clone())
    };
    all(&[&first, &second]).unwrap();
    let what = "word that the training has ended";
    assert_eq!(all(&[&first]), Err(Why::BelowThreshold { what, have: 1, need: 2 }));
    assert_eq!(all(&[&first, &first]), Err(Why::Order { what, owner: number(0) }));
    let forged = Closing { owner: number(2), ..second.clone() };
    assert_eq!(all(&[&first, &forged]), Err(Why::Signature(what)));
    let elsewhere = Closing { position: there, ..second.clone() };
    assert_eq!(all(&[&first, &elsewhere]), Err(Why::OtherHistory));
    let of_others = Closing { roster: [0; 32], ..second.clone() };
    assert_eq!(all(&[&first, &of_others]), Err(Why::Training));
    let stranger = Identity::ephemeral("owner").unwrap();
    assert!(Closing::new(&roster, &stranger, &mut world.books[2], here).is_err());
    // It plays no more rounds, and where the disk fails nothing was signed.
    world.round += 1;
    assert!(world.try_begin(1, ROWS).is_err());
    let gone = KeepFile::at(&folder.path().join("none").join("book"));
    let mut book = Book::open(roster.training(), gone).unwrap();
    let error = Closing::new(&roster, &world.identities[2], &mut book, here).unwrap_err();
    assert!(matches!(error, FederatedError::Disk { .. }));
}

#[test]
fn a_new_owner_verifies_the_rounds_of_former_ones() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::new(3, training(32, VALUES, 2));
    let mut records = vec![round(&mut world)];
    // The second owner leaves, another one has its number.
    let old = world.roster.clone();
    let left = std::mem::replace(&mut world.identities[1], std::sync::Arc::new(Identity::ephemeral("new").unwrap()));
    world.books[1] = Book::open(old.training(), KeepMemory::default()).unwrap();
    world.roster = std::sync::Arc::new(followed(&old, 2, &world.identities));
    world.agree();
    records.push(round(&mut world));
    let mut share = share(&world, &folder, "share");
    // Without the former owners it does not follow.
    let alone = roster(old.training().clone(), 2, &world.identities);
    assert_eq!(why(share.follow(&records, &alone, &mut world.books[1])), Why::Unknown(1));
    // Nor where their certificates are kept from it.
    let pins: Vec<_> = (0..3).map(|at| (number(at), world.identities[at].fingerprint())).collect();
    let former: Vec<_> = [0, 1, 2].map(|at| if at == 1 { &left } else { &world.identities[at] }).to_vec();
    let former: Vec<_> = former.iter().enumerate().map(|(at, it)| (number(at), it.fingerprint())).collect();
    let blank = Roster::new(old.training().clone(), 1, &former).unwrap().followed(2, &pins).unwrap();
    assert_eq!(blank.digest(), world.roster.digest());
    assert_eq!(why(share.follow(&records, &blank, &mut world.books[1])), Why::NoCertificate);
    let mut known = blank;
    known.acquaint(&Identity::ephemeral("stranger").unwrap().certificate());
    world.identities.iter().chain([&left]).for_each(|identity| known.acquaint(&identity.certificate()));
    assert_eq!(share.follow(&records, &known, &mut world.books[1]).unwrap(), 2);
    // A former owner's signature is worth nothing in the rounds of the others.
    let mut moved = records[1].clone();
    moved.roster = old.digest();
    moved.epoch = 1;
    let mut fresh = self::share(&world, &folder, "fresh");
    let refusal = why(fresh.follow(&[records[0].clone(), moved], &known, &mut world.books[1]));
    assert_eq!(refusal, Why::Signature("echo"));
    assert!(old.followed(0, &pins).is_err(), "epochs grow");
}

#[test]
fn a_key_with_which_no_round_was_masked_is_not_taken_from_an_owner() {
    let mut world = World::new(3, training(32, VALUES, 2));
    let record = round(&mut world);
    let roster = world.roster.clone();
    // The first owner gives another key than it has.
    let mut other = Book::open(roster.training(), KeepMemory::default()).unwrap();
    other.draw(&roster, number(0)).unwrap();
    let request = || Request::new(&roster, &world.identities[2], number(2)).unwrap();
    let granted = |book: &Book, at: usize, request: &Request| {
        book.grant(&roster, &world.identities[at], number(at), request.message()).unwrap()
    };
    let mut book = Book::open(roster.training(), KeepMemory::default()).unwrap();
    let mut forged = record.clone();
    forged.group[0] ^= 1;
    assert_eq!(why(book.expect(&roster, &[forged])), Why::Signature("echo"));
    book.expect(&roster, std::slice::from_ref(&record)).unwrap();
    let asked = request();
    let grant = granted(&other, 0, &asked);
    let refusal = book.accept(&roster, asked, &grant).unwrap_err();
    assert_eq!(refusal.refusal().unwrap(), &Refusal { who: Who::Owner(number(0)), why: Why::OtherGroup });
    assert!(!book.keys().has(1));
    let asked = request();
    let grant = granted(&world.books[1], 1, &asked);
    book.accept(&roster, asked, &grant).unwrap();
    assert!(book.keys().has(1));
}
