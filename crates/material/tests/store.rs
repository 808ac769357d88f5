//! A party's state folder: arrivals, leftovers, foreign and missing parts.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use ariann_material::*;
use common::*;

const ID: BatchId = BatchId([0x11; 16]);
const WEIGHTS: WeightsVersion = WeightsVersion([9; 16]);

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn files(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

fn receive(store: &Store, bytes: &[u8]) -> Result<BatchId, Error> {
    let mut incoming = store.receive(&expected(&small()), "the dealer")?;
    for piece in bytes.chunks(13) {
        incoming.push(piece)?;
    }
    incoming.finish()
}

#[test]
fn a_batch_arrives_is_listed_and_read_by_its_owner_only() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("state");
    let layout = small();
    let file = folder.path().join("from-the-dealer.mat");
    std::fs::write(&file, bytes(&layout, 4, ID)).unwrap();
    let instance = {
        let store = Store::open(&root, 1).unwrap();
        assert_eq!(store.import(&file, &expected(&layout)).unwrap(), ID);
        store.instance()
    };
    let store = Store::open(&root, 1).unwrap();
    assert_eq!((store.instance(), store.leftovers()), (instance, 0));
    let batch = store.open_batch(ID, &expected(&layout)).unwrap();
    let mut out = [0; 8];
    batch.read(3, 2, &mut out).unwrap();
    assert_eq!(out[..], data(&layout, 3, 2));
    let listed = store.ls().unwrap();
    assert_eq!((listed.len(), listed[0].batch), (1, ID));
    assert_eq!(listed[0].bytes, bytes(&layout, 4, ID).len() as u64);
    assert_eq!(listed[0].status.as_ref().unwrap().left, 4);
    assert_eq!(listed[0].label.as_ref().unwrap().slots, 4);
    for folder in ["", "batches", "prepared"] {
        assert_eq!(mode(&root.join(folder)), 0o700, "{folder}");
    }
    for file in [store.batch_path(ID), root.join("ledger.redb"), root.join("lock"), root.join("instance")] {
        assert_eq!(mode(&file), 0o600, "{file:?}");
    }
}

#[test]
fn material_seen_before_is_refused_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), 1).unwrap();
    let bytes = bytes(&small(), 4, ID);
    let twice = [store.receive(&expected(&small()), "a").unwrap(), store.receive(&expected(&small()), "b").unwrap()];
    let mut outcomes = Vec::new();
    for mut incoming in twice {
        incoming.push(&bytes).unwrap_or_default();
        outcomes.push(incoming.finish().is_ok());
    }
    assert_eq!(outcomes, [true, false]);
    let error = receive(&store, &bytes).err().unwrap();
    assert!(matches!(error, Error::SeenBefore { .. }));
    assert!(error.to_string().contains("material seen before"), "{error}");
    let status = store.discard(ID).unwrap();
    assert_eq!((status.left, status.burnt, files(&folder.path().join("batches"))), (0, 4, 0));
    assert!(matches!(receive(&store, &bytes), Err(Error::SeenBefore { .. })));
    assert!(store.open_batch(ID, &expected(&small())).is_err());
}

#[test]
fn a_bad_or_cut_arrival_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), 1).unwrap();
    let good = bytes(&small(), 4, ID);
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let other = Expected { party: 0, ..expected(&small()) };
    assert!(matches!(store.receive(&other, "the dealer").err(), Some(Error::Usage(_))));
    for bad in [&flipped[..], &good[..good.len() - 1], &good[..50], &[], &[&good[..], &[0]].concat()] {
        assert!(receive(&store, bad).is_err());
        assert_eq!(files(&folder.path().join("batches")), 0);
        assert!(!store.ledger().knows(ID).unwrap());
    }
    receive(&store, &good).unwrap();
}

#[test]
fn leftovers_of_a_killed_process_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    for killed in [true, false] {
        let store = Store::open(folder.path(), 1).unwrap();
        assert_eq!(store.leftovers(), if killed { 0 } else { 1 });
        assert_eq!(files(&folder.path().join("batches")), 0);
        let mut incoming = store.receive(&expected(&small()), "the dealer").unwrap();
        incoming.push(&bytes(&small(), 4, ID)[..100]).unwrap();
        if killed {
            std::mem::forget(incoming);
        }
    }
    assert_eq!(Store::open(folder.path(), 1).unwrap().leftovers(), 0);
}

#[test]
fn what_the_ledger_does_not_know_is_listed_and_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), 1).unwrap();
    std::fs::write(store.batch_path(ID), bytes(&small(), 4, ID)).unwrap();
    assert!(matches!(store.open_batch(ID, &expected(&small())).err(), Some(Error::Unknown { .. })));
    assert!(matches!(receive(&store, &bytes(&small(), 4, ID)), Err(Error::SeenBefore { .. })));
    let listed = store.ls().unwrap();
    assert!(matches!(listed[0].status, Err(Error::Unknown { .. })));
    assert!(listed[0].label.is_ok());
    // A record whose file is gone.
    store.ledger().register(BatchId([0x22; 16]), 1).unwrap();
    assert!(store.ls().unwrap()[1].label.is_err());
}

#[test]
fn prepared_data_belong_to_a_batch_and_a_weights_version() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), 1).unwrap();
    receive(&store, &bytes(&small(), 2, ID)).unwrap();
    let layout = Layout::new(vec![6]).unwrap();
    let prepared = |slots| {
        let label = header(&layout, slots, ID).label().clone();
        let label = Label { kind: Kind::Prepared, ..label };
        Header::new(label, &layout, Secret::new(Vec::new().into()).unwrap()).unwrap()
    };
    assert!(store.prepare(&prepared(3), &layout).is_err());
    assert!(store.prepare(&header(&layout, 2, ID), &layout).is_err());
    for round in 0..2u8 {
        let mut writer = store.prepare(&prepared(2), &layout).unwrap();
        for slot in 0..2 {
            writer.write_section(slot, 0, &[round; 6]).unwrap();
        }
        let path = writer.finish().unwrap();
        assert_eq!((path.clone(), mode(&path)), (store.prepared_path(ID, WEIGHTS), 0o600));
        let of = Expected { kind: Kind::Prepared, secret_len: 0, ..expected(&layout) };
        let mut out = [9; 12];
        store.open_prepared(ID, WEIGHTS, &of).unwrap().read_slots(0..2, 0, &mut out).unwrap();
        assert_eq!(out, [round; 12]);
        assert!(store.open_prepared(ID, WeightsVersion([8; 16]), &of).is_err());
        let dealt = Expected { secret_len: 0, ..expected(&layout) };
        assert!(store.open_prepared(ID, WEIGHTS, &dealt).is_err());
    }
    assert_eq!(store.ls().unwrap()[0].prepared, [WEIGHTS]);
    store.discard(ID).unwrap();
    assert_eq!(files(&folder.path().join("prepared")), 0);
}

#[test]
fn a_folder_that_is_not_whole_is_refused() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for folder in [&one, &two] {
        receive(&Store::open(folder.path(), 1).unwrap(), &bytes(&small(), 2, ID)).unwrap();
    }
    let refused = |what: &str| {
        let error = Store::open(one.path(), 1).err().unwrap();
        assert!(matches!(&error, Error::ForeignLedger { .. }) && error.to_string().contains(what), "{error}");
    };
    let ledger = one.path().join("ledger.redb");
    let own = std::fs::read(&ledger).unwrap();
    std::fs::copy(two.path().join("ledger.redb"), &ledger).unwrap();
    refused("another folder");
    std::fs::remove_file(&ledger).unwrap();
    refused("ledger is gone");
    std::fs::write(&ledger, b"").unwrap();
    refused("another folder");
    std::fs::write(&ledger, b"no database at all").unwrap();
    assert!(matches!(Store::open(one.path(), 1).err(), Some(Error::LedgerDamaged { .. })));
    std::fs::write(&ledger, &own).unwrap();
    std::fs::remove_file(one.path().join("instance")).unwrap();
    Store::open(one.path(), 1).unwrap();
    assert!(one.path().join("instance").exists());
    std::fs::write(one.path().join("instance"), "x").unwrap();
    refused("instance");
    assert!(matches!(Store::open(two.path(), 0).err(), Some(Error::ForeignLedger { .. })));
}
