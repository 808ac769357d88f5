//! What the server sees, alone and with an owner: uniform words, the same whatever the updates are.
//!
//! The statistics take their thresholds from the number of their tests, such that all together raise a false alarm with a
//! probability below [`ALARM`]. That they see a mask that is left out is shown on rounds that have this defect.

use std::collections::BTreeMap;
use std::sync::Arc;

use ariann_net::Identity;
use ariann_prg::{Address, Prg, Seed};

use super::*;
use crate::statistics::{Tests, words_of};
use crate::{KeepMemory, MemorySpool, Request, Server, Training};

const ALARM: f64 = 1e-9;
const ROUNDS: u64 = 24;
const VALUES: usize = 1024;
/// The owner that helps the server.
const HELPER: u16 = 1;
/// Two owners that nobody helps.
const HONEST: [u16; 2] = [2, 3];
/// The owner whose update comes too late.
const LATE: u16 = 4;
const OWNERS: u16 = 4;

/// A mask that is left out.
#[derive(Clone, Copy, PartialEq)]
enum Defect {
    None,
    Group,
    Own,
    /// Of the two that nobody helps.
    Pair,
}

impl Defect {
    fn leaves_out(self, owner: u16, part: Part) -> bool {
        match self {
            Defect::None => false,
            Defect::Group => part == Part::Group,
            Defect::Own => part == Part::Own,
            Defect::Pair => matches!(part, Part::Pair(other) if HONEST.contains(&other) && HONEST.contains(&owner)),
        }
    }
}

/// All that can be computed at one place, over many rounds, by name.
type View = BTreeMap<String, Vec<u64>>;

struct Owners {
    roster: Arc<Roster>,
    identities: Vec<Arc<Identity>>,
    books: Vec<Book>,
}

fn owners() -> Owners {
    let identities: Vec<_> = (0..OWNERS).map(|_| Arc::new(Identity::ephemeral("owner").unwrap())).collect();
    let training = Training { id: [1; 32], ring: 32, values: VALUES as u64, threshold: 3, most_rows: 9 };
    let pins: Vec<_> = (1..).zip(&identities).map(|(number, it)| (number, it.fingerprint())).collect();
    let mut roster = Roster::new(training.clone(), 1, &pins).unwrap();
    for (number, identity) in (1..).zip(&identities) {
        roster.introduce(number, &identity.certificate()).unwrap();
    }
    let mut books: Vec<_> = (0..OWNERS).map(|_| Book::open(&training, KeepMemory::default()).unwrap()).collect();
    let (keeper, others) = books.split_first_mut().unwrap();
    keeper.draw(&roster, 1).unwrap();
    for (at, book) in (1..).zip(others) {
        let request = Request::new(&roster, &identities[at], at as u16 + 1).unwrap();
        let grant = keeper.grant(&roster, &identities[0], 1, request.message()).unwrap();
        book.accept(&roster, request, &grant).unwrap();
    }
    Owners { roster: Arc::new(roster), identities, books }
}

fn words(seed: &Seed) -> Vec<u32> {
    let mut words = vec![0u32; VALUES];
    Masks::new(vec![Mask::adding(seed)]).apply(0, &mut words);
    words
}

fn less(a: &[u32], b: &[u32]) -> Vec<u32> {
    a.iter().zip(b).map(|(a, b)| a.wrapping_sub(*b)).collect()
}

/// Updates: none at all, or small ones.
fn delta(wild: bool, round: u64, owner: u16) -> Vec<u32> {
    let mut words = vec![0u32; VALUES];
    let seed = *blake3::hash(&[round as u8, owner as u8]).as_bytes().first_chunk().unwrap();
    Prg::new(&Seed::from_bytes(seed)).fill(Address { kind: 0, gate: 0, slot: 0 }, 0, &mut words);
    words.iter().map(|word| if wild { ((*word as i32) >> 20) as u32 } else { 0 }).collect()
}

/// One round; adds to the view of the server alone and to that of the server with the helper.
fn observe(world: &mut Owners, round: u64, wild: bool, defect: Defect, view: &mut View) {
    let mut see =
        |name: String, words: &[u32]| view.entry(name).or_default().extend(words.iter().map(|w| u64::from(*w)));
    let position = Position::start(world.roster.training());
    let mut server = Server::open(world.roster.clone(), position, round, MemorySpool::default()).unwrap();
    let mut owners: BTreeMap<u16, OwnerRound> = (1..=OWNERS)
        .map(|number| {
            let at = usize::from(number) - 1;
            let (roster, identity) = (world.roster.clone(), world.identities[at].clone());
            (number, OwnerRound::begin(roster, identity, &mut world.books[at], position, round, 1).unwrap())
        })
        .collect();
    for (number, owner) in &owners {
        server.advert(*number, owner.advert().clone()).unwrap();
    }
    let candidates = server.close_adverts().unwrap().0;
    for (number, owner) in &mut owners {
        server.shares(*number, owner.candidates(&candidates).unwrap().clone()).unwrap();
    }
    server.close_shares().unwrap();
    let key = |owner: u16| candidates.adverts[usize::from(owner) - 1].mask;
    // What the helper knows of pairwise masks.
    let helper = owners.get_mut(&HELPER).unwrap();
    let secret = &helper.secrets.as_ref().unwrap().keys.mask;
    let helped: BTreeMap<u16, Vec<u32>> = (2..=OWNERS)
        .map(|other| {
            let own = (HELPER, secret, &key(HELPER));
            (other, words(&keys::pair_seed(helper.round, own, (other, &key(other))).unwrap()))
        })
        .collect();
    let mut updates = BTreeMap::new();
    for (number, owner) in &mut owners {
        owner.relay(&server.relay(*number).unwrap()).unwrap();
        let (head, masks) = owner.take_masks().unwrap();
        let kept = masks.into_iter().filter(|(part, _)| !defect.leaves_out(*number, *part));
        let mut masker = Masker::<u32>::new(head, kept.map(|(_, mask)| mask).collect());
        let mut update = delta(wild, round, *number);
        let bytes = masker.mask(&mut update).unwrap();
        if *number != LATE {
            server.begin_update(*number, masker.head()).unwrap();
            server.update_bytes(*number, &bytes).unwrap();
            server.finish_update(*number, masker.finish().unwrap()).unwrap();
        }
        updates.insert(*number, update);
    }
    let survivors = server.close_updates().unwrap();
    for number in &survivors.survivors {
        let book = &mut world.books[usize::from(*number) - 1];
        let echo = owners.get_mut(number).unwrap().survivors(book, &survivors).unwrap().clone();
        server.echo(*number, echo).unwrap();
    }
    let echoes = server.close_echoes().unwrap();
    for number in &survivors.survivors {
        let book = &mut world.books[usize::from(*number) - 1];
        let release = encode(owners.get_mut(number).unwrap().echoes(book, &echoes).unwrap());
        server.release(*number, crate::decode(Who::Server, 4, &release).unwrap()).unwrap();
    }
    server.close_releases().unwrap();

    // The server alone: what came, less all that was released.
    let recovered = server.recover().unwrap();
    let [(gone, gone_secret)] = &recovered.mask_keys[..] else { panic!("one dropped out") };
    assert_eq!(*gone, LATE);
    let pair = |other: u16| {
        let own = (LATE, gone_secret, &key(LATE));
        words(&keys::pair_seed(helper_round(&owners), own, (other, &key(other))).unwrap())
    };
    let mut rest = BTreeMap::new();
    for (number, seed) in survivors.survivors.iter().zip(&recovered.self_masks) {
        see(format!("y of {number}"), &updates[number]);
        // A survivor added its mask with the late one, which has the higher number.
        let without = less(&less(&updates[number], &words(seed)), &pair(*number));
        see(format!("y of {number} less all that was released"), &without);
        rest.insert(*number, without);
    }
    // The late one took away its masks with all others.
    let late = survivors
        .survivors
        .iter()
        .fold(updates[&LATE].clone(), |y, other| y.iter().zip(pair(*other)).map(|(y, p)| y.wrapping_add(p)).collect());
    see("the late y".into(), &updates[&LATE]);
    see("the late y less all that was released".into(), &late);
    let mut total = vec![0u32; VALUES];
    server.total::<u32>().unwrap().add_to(0, &mut total).unwrap();
    see("the sum".into(), &total);

    // The server with the helper: less the group masks, and the helper's pairwise masks.
    let book = &world.books[usize::from(HELPER) - 1];
    let group = |owner: u16| words(&book.keys().mask(1, round, owner).unwrap());
    for number in HONEST {
        let mut with_helper = less(&rest[&number], &group(number));
        // It took away its mask with the helper, which has the lowest number.
        with_helper.iter_mut().zip(&helped[&number]).for_each(|(y, p)| *y = y.wrapping_add(*p));
        see(format!("y of {number} with a helper"), &with_helper);
        rest.insert(number, with_helper);
    }
    see("the late y with a helper".into(), &less(&late, &group(LATE)));
    if defect == Defect::None {
        // What this coalition may know, and does.
        let sum = rest[&HONEST[0]].iter().zip(&rest[&HONEST[1]]).map(|(a, b)| a.wrapping_add(*b));
        let [a, b] = HONEST.map(|owner| delta(wild, round, owner));
        assert!(sum.eq(a.iter().zip(&b).map(|(a, b)| a.wrapping_add(*b))), "the sum of the others' updates");
    }
}

fn helper_round(owners: &BTreeMap<u16, OwnerRound>) -> Round {
    owners[&HELPER].round
}

/// Alarms of all tests: words uniform, alike for both kinds of updates, and independent from round to round.
fn alarms(defect: Defect) -> Vec<String> {
    let mut world = owners();
    let (mut round, mut views) = (0, [View::new(), View::new()]);
    for _ in 0..ROUNDS {
        for (wild, view) in [false, true].into_iter().zip(&mut views) {
            round += 1;
            observe(&mut world, round, wild, defect, view);
        }
    }
    let mut tests = Tests::default();
    let [blank, wild] = &views;
    for (name, words) in blank {
        tests.uniform(name, 32, words);
        tests.uniform(name, 32, &wild[name]);
        tests.alike(name, 32, words, &wild[name]);
        for view in [words, &wild[name]] {
            let next = view[VALUES..].iter().zip(view).map(|(b, a)| b.wrapping_sub(*a) & 0xffff_ffff);
            tests.uniform(name, 32, &next.collect::<Vec<_>>());
        }
    }
    println!("{} tests of {} words; nearest {:?}", tests.count(), words_of(&tests), tests.nearest(ALARM));
    let mut alarms = tests.alarms(ALARM);
    alarms.dedup();
    alarms
}

#[test]
fn what_the_server_sees_is_uniform_and_independent_of_the_updates() {
    assert_eq!(alarms(Defect::None), Vec::<String>::new());
}

#[test]
fn without_a_group_mask_the_server_sees_the_sum() {
    assert!(alarms(Defect::Group).contains(&"the sum".to_string()));
}

#[test]
fn without_a_pairwise_mask_the_server_and_an_owner_see_single_updates() {
    assert_eq!(alarms(Defect::Pair), ["y of 2 with a helper", "y of 3 with a helper"]);
}

#[test]
fn without_a_self_mask_a_late_update_is_seen() {
    assert_eq!(alarms(Defect::Own), ["the late y with a helper"]);
}
