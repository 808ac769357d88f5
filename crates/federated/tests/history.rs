//! Rounds one after another: the model is what the updates make of it, for owners that were there, were absent, came late, left.

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use ariann_federated::*;
use ariann_net::Identity;
use common::*;

const VALUES: u64 = 3 * CHUNK as u64 / 2 + 1;

fn words<R: ariann_ring::Ring>(share: &ModelShare<R>) -> Vec<R> {
    let mut words = vec![R::ZERO; VALUES as usize];
    share.read(0, &mut words).unwrap();
    words
}

/// One round; the server's share takes the sum, and its own shares of the updates.
fn round(world: &mut World, fates: &[usize], model: &mut ModelShare<u64>, clear: &mut [u64]) -> Record {
    let number = 1000 * (world.round + 1);
    let deltas: Vec<Vec<u64>> = (0..fates.len() as u64).map(|at| random(number + at, VALUES as usize)).collect();
    let server_deltas: Vec<Vec<u64>> =
        (0..fates.len() as u64).map(|at| random(number + 50 + at, VALUES as usize)).collect();
    let outcome = play(world, fates, &deltas).unwrap();
    let counted: BTreeSet<usize> = outcome.record.survivors.iter().map(|owner| place(*owner)).collect();
    let (own, others) = (sum_of(&server_deltas, &counted), sum_of(&deltas, &counted));
    for _ in 0..2 {
        // Applied twice, it counts once.
        let changed = model.apply(world.position, |first, words| {
            for (at, word) in (first as usize..).zip(words) {
                *word = word.wrapping_add(outcome.sum[at]).wrapping_add(own[at]);
            }
            Ok(())
        });
        changed.unwrap();
    }
    for (at, word) in clear.iter_mut().enumerate() {
        *word = word.wrapping_add(own[at]).wrapping_add(others[at]);
    }
    outcome.record
}

fn check(server: &ModelShare<u64>, owner: &ModelShare<u64>, clear: &[u64]) {
    let (server, owner) = (words(server), words(owner));
    assert!(server.iter().zip(&owner).zip(clear).all(|((s, o), w)| s.wrapping_add(*o) == *w));
    assert_ne!(server, clear);
}

#[test]
fn owners_catch_up_over_missed_rounds_departures_and_arrivals() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let mut world = World::new(4, training(64, VALUES, 3));
    let agreed = world.roster.training().clone();
    // The model's owner has the first number: the others' share is drawn from the group key.
    let mut clear: Vec<u64> = random(1, VALUES as usize);
    let initial = |first: u64, words: &mut [u64]| world.books[0].keys().initial(1, first, words);
    let mut absent = ModelShare::<u64>::create(&path("absent"), &agreed, initial).unwrap();
    let mut present = ModelShare::<u64>::create(&path("present"), &agreed, initial).unwrap();
    let start = words(&absent);
    assert_ne!(start, vec![0; VALUES as usize]);
    let mut server = ModelShare::<u64>::create(&path("server"), &agreed, |first, words| {
        for (at, word) in (first as usize..).zip(words) {
            *word = clear[at].wrapping_sub(start[at]);
        }
        Ok(())
    })
    .unwrap();
    check(&server, &absent, &clear);

    let stay = PHASES;
    let mut records = Vec::new();
    for fates in [[stay, stay, stay, stay], [stay, 2, stay, stay], [0, stay, stay, stay]] {
        records.push(round(&mut world, &fates, &mut server, &mut clear));
        assert_eq!(present.follow(&records, &world.roster, &mut world.books[0]).unwrap(), 1);
        check(&server, &present, &clear);
    }
    // A round without a result changes nothing, and is in no list.
    let deltas = vec![vec![0u64; VALUES as usize]; 4];
    assert!(matches!(play(&mut world, &[2, 2, stay, stay], &deltas), Err(FederatedError::BelowThreshold { .. })));

    // Owner 3 leaves, a new one comes: a new epoch, with a key that the one who left never gets.
    let left = world.identities.remove(3);
    let mut left_book = world.books.remove(3);
    world.identities.push(Arc::new(Identity::ephemeral("new").unwrap()));
    let old = world.roster.clone();
    world.roster = Arc::new(followed(&old, 2, &world.identities));
    world.books.push(Book::open(&agreed, KeepMemory::default()).unwrap());
    assert!(world.try_begin(1, ROWS).is_err(), "nobody has the new key yet");
    world.agree();
    let asks = Request::new(&old, &left, number(3)).unwrap();
    let refusal = world.books[0].grant(&world.roster, &world.identities[0], number(0), asks.message());
    assert_eq!(refusal.unwrap_err().refusal().unwrap().why, Why::Training);
    let asks = Request::new(&world.roster, &left, number(3)).unwrap();
    let refusal = world.books[0].grant(&world.roster, &world.identities[0], number(0), asks.message());
    assert!(matches!(refusal.unwrap_err().refusal().unwrap().why, Why::Signature(_)));

    for fates in [[stay, stay, stay, stay], [stay, stay, 3, stay]] {
        records.push(round(&mut world, &fates, &mut server, &mut clear));
    }
    assert!(
        ModelShare::<u64>::open(&path("absent"), &agreed)
            .unwrap()
            .follow(&records, &world.roster, &mut left_book)
            .is_err()
    );
    // Whoever was absent all the time, and the new one, from the start.
    assert_eq!(absent.follow(&records, &world.roster, &mut world.books[2]).unwrap(), 5);
    assert_eq!(absent.follow(&records, &world.roster, &mut world.books[2]).unwrap(), 0);
    check(&server, &absent, &clear);
    let keys = world.books[3].keys();
    let mut late =
        ModelShare::<u64>::create(&path("late"), &agreed, |first, words| keys.initial(1, first, words)).unwrap();
    late.follow(&records, &world.roster, &mut world.books[3]).unwrap();
    present.follow(&records, &world.roster, &mut world.books[0]).unwrap();
    assert!(words(&late) == words(&absent) && words(&late) == words(&present));
    assert_eq!(late.position(), world.position);
    assert_eq!(server.position(), world.position);

    // Lists of rounds that do not fit.
    let fresh = |name: &str| ModelShare::<u64>::create(&path(name), &agreed, |_, _| Ok(())).unwrap();
    let mut share = fresh("lists");
    let why = |result: Result<usize, FederatedError>| result.unwrap_err().refusal().unwrap().clone();
    let gap = [records[0].clone(), records[2].clone()];
    assert_eq!(
        why(share.follow(&gap, &world.roster, &mut world.books[3])),
        Refusal { who: Who::Server, why: Why::Records(records[2].round) }
    );
    let mut bent = records.clone();
    bent[1].survivors.swap(0, 1);
    assert!(matches!(why(share.follow(&bent, &world.roster, &mut world.books[3])).why, Why::Order { .. }));
    let mut bent = records.clone();
    bent[1].survivors.truncate(2);
    assert!(matches!(why(share.follow(&bent, &world.roster, &mut world.books[3])).why, Why::BelowThreshold { .. }));
    let mut bent = records.clone();
    bent[0].survivors.pop();
    assert_eq!(
        why(share.follow(&bent, &world.roster, &mut world.books[3])).why,
        Why::Signature("echo"),
        "nobody signed that list"
    );
    assert_eq!(share.position(), Position::start(&agreed));
}

#[test]
fn files_that_are_damaged_or_not_ours_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("share");
    let agreed = training(32, 5, 2);
    let fill = |first: u64, words: &mut [u32]| {
        assert_eq!(first, 0);
        words.copy_from_slice(&[1, 2, 3, 4, 5]);
        Ok(())
    };
    drop(ModelShare::create(&path, &agreed, fill).unwrap());
    assert!(ModelShare::create(&path, &agreed, fill).is_err(), "not overwritten");
    let whole = std::fs::read(&path).unwrap();
    let open = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        ModelShare::<u32>::open(&path, &agreed).map(|share| {
            let mut words = [0; 3];
            share.read(2, &mut words).unwrap();
            words
        })
    };
    assert_eq!(open(&whole).unwrap(), [3, 4, 5]);
    for at in 0..whole.len() {
        let mut bent = whole.clone();
        bent[at] ^= 4;
        assert!(open(&bent).is_err(), "byte {at}");
        assert!(open(&whole[..at]).is_err(), "{at} bytes");
    }
    assert!(open(&[&whole[..], &[0]].concat()).is_err());
    open(&whole).unwrap();
    assert!(ModelShare::<u64>::open(&path, &agreed).is_err());
    assert!(ModelShare::<u32>::open(&path, &training(32, 5, 3)).is_err());
    // What a crash left beside it does no harm, and a change that fails changes nothing.
    std::fs::write(path.with_extension("part"), b"half").unwrap();
    let mut share = ModelShare::<u32>::open(&path, &agreed).unwrap();
    let to = Position { round: 1, rounds: 1, head: [1; 32] };
    assert!(share.apply(to, |_, _| Err(FederatedError::Order("stop"))).is_err());
    assert_eq!(open(&std::fs::read(&path).unwrap()).unwrap(), [3, 4, 5]);
    assert_eq!(share.position().round, 0);
}

#[test]
fn a_share_does_not_follow_a_round_of_another_group_key() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::new(3, training(64, VALUES, 2));
    let agreed = world.roster.training().clone();
    let mut server = ModelShare::<u64>::create(&folder.path().join("server"), &agreed, |_, _| Ok(())).unwrap();
    let record = round(&mut world, &[PHASES; 3], &mut server, &mut vec![0; VALUES as usize]);
    let mut other = Book::open(&agreed, KeepFile::at(&folder.path().join("book"))).unwrap();
    other.draw(&world.roster, world.roster.keeper()).unwrap();
    let mut share = ModelShare::<u64>::create(&folder.path().join("share"), &agreed, |_, _| Ok(())).unwrap();
    let error = share.follow(std::slice::from_ref(&record), &world.roster, &mut other).unwrap_err().to_string();
    assert!(error.contains("another group key 1"), "{error}");
    assert_eq!(words(&share), vec![0; VALUES as usize], "nothing was changed");
    share.follow(&[record], &world.roster, &mut world.books[0]).unwrap();
    assert_ne!(words(&share), vec![0; VALUES as usize]);
}
