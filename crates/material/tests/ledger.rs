//! The ledger under every fault of its storage: no slot twice, left + used + burnt = slots.

// The faulty back ends are testkit's; testkit depends on the whole workspace, this crate on none of it.
#[allow(dead_code)]
#[path = "../../testkit/src/storage.rs"]
mod storage;

use std::ops::Range;
use std::path::Path;

use ariann_material::*;
use proptest::prelude::*;
use storage::{Disk, Sync};

const ID: BatchId = BatchId([3; 16]);
const OTHER: BatchId = BatchId([4; 16]);

fn open(disk: &Disk) -> Result<Ledger, Error> {
    Ledger::open_with(disk.clone(), Path::new("state/ledger.redb"))
}

fn status(ledger: &Ledger, batch: BatchId) -> Status {
    let status = ledger.status(batch).unwrap();
    assert_eq!(status.left + status.used + status.burnt, status.slots, "{status:?}");
    status
}

fn counts(ledger: &Ledger) -> (u32, u32, u32, u32) {
    let status = status(ledger, ID);
    (status.left, status.used, status.burnt, status.open)
}

#[test]
fn slots_are_given_out_once_and_in_order() {
    let ledger = open(&Disk::new(Sync::Honest)).unwrap();
    ledger.register(ID, 10).unwrap();
    assert_eq!(counts(&ledger), (10, 0, 0, 0));
    let first = ledger.reserve(ID, 3).unwrap();
    assert_eq!((first.range(), counts(&ledger)), (0..3, (7, 0, 3, 3)));
    let second = ledger.reserve(ID, 2).unwrap();
    assert_eq!(second.range(), 3..5);
    assert_eq!(ledger.complete(second).unwrap(), 2);
    assert_eq!(ledger.burn(first).unwrap(), 3);
    assert_eq!(counts(&ledger), (5, 2, 3, 0));
    assert!(matches!(ledger.reserve(ID, 6).err(), Some(Error::Exhausted { wanted: 6, left: 5, .. })));
    drop(ledger.reserve(ID, 5).unwrap());
    assert_eq!(ledger.high_water(ID).unwrap(), 10);
    assert!(ledger.reserve(ID, 1).is_err() && ledger.reserve(ID, 0).is_err());
    assert!(matches!(ledger.register(ID, 10), Err(Error::SeenBefore { .. })));
    assert!(matches!(ledger.reserve(OTHER, 1).err(), Some(Error::Unknown { .. })));
}

#[test]
fn threads_share_a_ledger_and_never_a_slot() {
    let ledger = open(&Disk::new(Sync::Honest)).unwrap();
    ledger.register(ID, 1000).unwrap();
    let given = std::thread::scope(|scope| {
        let work = || (0..25).map(|i| ledger.reserve(ID, 1 + i % 3).unwrap().range()).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(given.len() == 100 && !overlap(&given));
    assert_eq!(status(&ledger, ID).open, given.iter().map(|range| range.len() as u32).sum::<u32>());
}

#[test]
fn a_reservation_of_another_ledger_is_refused() {
    let (ledger, other) = (open(&Disk::new(Sync::Honest)).unwrap(), open(&Disk::new(Sync::Honest)).unwrap());
    ledger.register(ID, 4).unwrap();
    other.register(ID, 4).unwrap();
    let foreign = other.reserve(ID, 2).unwrap();
    assert!(ledger.complete(foreign).is_err());
    assert_eq!(counts(&ledger), (4, 0, 0, 0));
}

#[test]
fn the_lower_mark_burns_up_to_the_higher_and_says_who_was_behind() {
    let (p0, p1) = (open(&Disk::new(Sync::Honest)).unwrap(), open(&Disk::new(Sync::Honest)).unwrap());
    for ledger in [&p0, &p1] {
        ledger.register(ID, 10).unwrap();
    }
    ledger_use(&p0, 4);
    let (mark0, mark1) = (p0.high_water(ID).unwrap(), p1.high_water(ID).unwrap());
    assert_eq!(p0.reconcile(ID, mark0, mark1).unwrap(), Reconciled::PeerWasBehind { by: 4 });
    assert_eq!(p1.reconcile(ID, mark1, mark0).unwrap(), Reconciled::WeWereBehind { burnt: 4 });
    assert_eq!(counts(&p1), (6, 0, 4, 0));
    assert_eq!(p1.reconcile(ID, 4, 4).unwrap(), Reconciled::Equal);
    assert_eq!((p1.burn_to(ID, 2).unwrap(), p1.burn_to(ID, 10).unwrap()), (0, 6));
    assert!(p1.burn_to(ID, 11).is_err());
    assert_eq!(counts(&p1), (0, 0, 10, 0));
}

fn ledger_use(ledger: &Ledger, count: u32) {
    let reservation = ledger.reserve(ID, count).unwrap();
    ledger.complete(reservation).unwrap();
}

#[test]
fn a_restored_backup_is_caught_by_the_peers_mark() {
    let disk = Disk::new(Sync::Honest);
    let ledger = open(&disk).unwrap();
    ledger.register(ID, 10).unwrap();
    ledger_use(&ledger, 2);
    let backup = disk.image();
    ledger_use(&ledger, 5);
    let peers_mark = ledger.high_water(ID).unwrap();
    drop(ledger);
    let restored = open(&Disk::with_image(backup, Sync::Honest)).unwrap();
    let own = restored.high_water(ID).unwrap();
    assert_eq!(own, 2);
    let said = restored.reconcile(ID, own, peers_mark).unwrap();
    assert_eq!(said, Reconciled::WeWereBehind { burnt: 5 });
    assert_eq!(restored.reserve(ID, 1).unwrap().range(), 7..8);
}

#[test]
fn records_survive_and_are_checked() {
    let disk = Disk::new(Sync::Honest);
    let ledger = open(&disk).unwrap();
    assert_eq!(ledger.record_of("weights/1").unwrap(), None);
    ledger.put_record("weights/1", b"digest").unwrap();
    ledger.put_record("weights/2", b"").unwrap();
    ledger.remove_record("weights/2").unwrap();
    drop(ledger);
    let ledger = open(&disk).unwrap();
    assert_eq!(ledger.record_of("weights/1").unwrap().unwrap(), b"digest");
    assert_eq!(ledger.record_of("weights/2").unwrap(), None);
}

#[test]
fn a_full_disk_gives_nothing_out_and_says_how_much_was_wanted() {
    let mut named = 0;
    for writes in 0..60 {
        let disk = Disk::new(Sync::Honest);
        let ledger = open(&disk).unwrap();
        ledger.register(ID, 100).unwrap();
        let given = ledger.reserve(ID, 7).unwrap().range();
        disk.full_after(writes);
        let refused = match ledger.reserve(ID, 5) {
            Ok(_) => break,
            Err(error) => error,
        };
        match &refused {
            Error::DiskFull { path, bytes } if *bytes > 0 => {
                assert_eq!(path, Path::new("state/ledger.redb"));
                assert_eq!(refused.fault(), Fault::Disk);
                named += 1;
            }
            other => panic!("after {writes} writes: {other}"),
        }
        disk.relieve();
        drop(ledger);
        let again = open(&Disk::with_image(disk.after_crash(|_| true), Sync::Honest)).unwrap();
        let mark = status(&again, ID).slots - status(&again, ID).left;
        assert!(mark == given.end || mark == given.end + 5, "{mark}");
        assert!(again.reserve(ID, 1).unwrap().range().start >= given.end);
    }
    assert!((1..60).contains(&named), "{named}");
}

/// Operations of a party, and everything that it was ever given.
fn run(ledger: &Ledger, steps: &[(u8, u32)], given: &mut Vec<Range<u32>>) {
    for &(what, count) in steps {
        let Ok(reservation) = ledger.reserve(ID, count) else {
            continue;
        };
        given.push(reservation.range());
        match what % 3 {
            0 => drop(ledger.complete(reservation).unwrap()),
            1 => drop(ledger.burn(reservation).unwrap()),
            _ => {}
        }
        status(ledger, ID);
    }
}

fn overlap(given: &[Range<u32>]) -> bool {
    let mut sorted = given.to_vec();
    sorted.sort_by_key(|range| range.start);
    sorted.windows(2).any(|pair| pair[1].start < pair[0].end)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn crashes_at_any_write_never_give_a_slot_twice(
        runs in prop::collection::vec((prop::collection::vec((any::<u8>(), 1..5u32), 1..6), any::<u64>(), 0..90u64), 1..6),
    ) {
        let mut disk = Disk::new(Sync::Honest);
        let mut given = Vec::new();
        open(&disk).unwrap().register(ID, 1000).unwrap();
        for (steps, keep, stop) in runs {
            let ledger = open(&disk).unwrap();
            prop_assert_eq!(status(&ledger, ID).open, 0);
            run(&ledger, &steps, &mut given);
            // The machine stops in the middle of the next reservation, which nobody was given; of its
            // unsynced writes the disk keeps an arbitrary part.
            disk.full_after(stop % 9);
            if let Ok(reservation) = ledger.reserve(ID, 3) {
                given.push(reservation.range());
            }
            let image = disk.after_crash(|number| keep >> (number % 64) & 1 == 1);
            drop(ledger);
            disk = Disk::with_image(image, Sync::Honest);
        }
        let ledger = open(&disk).unwrap();
        run(&ledger, &[(0, 1)], &mut given);
        prop_assert!(!overlap(&given), "{given:?}");
    }

    #[test]
    fn damage_inside_is_refused_or_harmless(at in any::<prop::sample::Index>(), bit in 0..8u32, cut in any::<bool>()) {
        let disk = Disk::new(Sync::Honest);
        let ledger = open(&disk).unwrap();
        ledger.register(ID, 100).unwrap();
        let mut given = Vec::new();
        run(&ledger, &[(0, 4), (1, 3), (2, 5)], &mut given);
        let mut image = disk.after_crash(|_| false);
        drop(ledger);
        let at = at.index(image.len());
        if cut {
            image.truncate(at);
        } else {
            image[at] ^= 1 << bit;
        }
        match open(&Disk::with_image(image, Sync::Honest)) {
            Err(error) => prop_assert!(matches!(error.fault(), Fault::Disk), "{error}"),
            Ok(ledger) => match ledger.reserve(ID, 1) {
                Err(error) => prop_assert!(!matches!(error, Error::Exhausted { .. }), "{error}"),
                Ok(reservation) => {
                    given.push(reservation.range());
                    prop_assert!(!overlap(&given), "{given:?}");
                }
            },
        }
    }
}

#[test]
fn the_loss_of_the_last_commit_leaves_a_reservation_given_out() {
    // A disk that says it synced and lost the very last transaction.
    let disk = Disk::new(Sync::Honest);
    let ledger = open(&disk).unwrap();
    ledger.register(ID, 100).unwrap();
    ledger_use(&ledger, 4);
    let range = ledger.reserve(ID, 3).unwrap().range();
    let image = disk.after_crash(|_| true);
    // Damage each page in turn: every image that still opens knows the reservation.
    let (mut opened, mut refused) = (0, 0);
    for page in 0..image.len() / 4096 {
        let mut torn = image.clone();
        torn[page * 4096..][..4096].fill(0);
        match open(&Disk::with_image(torn, Sync::Honest)) {
            Err(error) => {
                assert_eq!(error.fault(), Fault::Disk, "{error}");
                refused += 1;
            }
            Ok(ledger) => {
                assert_eq!(ledger.high_water(ID).unwrap(), range.end, "page {page}");
                opened += 1;
            }
        }
    }
    assert!(opened > 0 && refused > 0, "{opened} opened, {refused} refused");
}

#[test]
fn without_the_sync_a_slot_is_given_twice() {
    // The simulation itself: a ledger over a disk that skips syncs must fail.
    let disk = Disk::with_image(
        {
            let disk = Disk::new(Sync::Honest);
            open(&disk).unwrap().register(ID, 10).unwrap();
            disk.image()
        },
        Sync::Skipped,
    );
    let ledger = open(&disk).unwrap();
    let first = ledger.reserve(ID, 1).unwrap().range();
    let image = disk.after_crash(|_| false);
    drop(ledger);
    let again = open(&Disk::with_image(image, Sync::Honest)).unwrap();
    assert_eq!(again.reserve(ID, 1).unwrap().range(), first);
}
