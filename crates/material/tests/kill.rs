//! Real processes on one state folder: kill -9 at random moments, and two at once.

mod common;

#[allow(dead_code)]
#[path = "../../testkit/src/storage.rs"]
mod storage;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ariann_material::*;
use common::*;

const ID: BatchId = BatchId([5; 16]);
const SLOTS: u32 = 1_000_000;
const KILLS: u64 = 24;

/// Not a test: what the child processes of the others do.
#[test]
fn child() {
    let (Ok(work), Ok(root)) = (std::env::var("MATERIAL_CHILD"), std::env::var("MATERIAL_ROOT")) else {
        return;
    };
    let volatile = |sync| move |path: &Path| Ledger::open_with(storage::Volatile::open(path, sync).unwrap(), path);
    let store = match work.as_str() {
        "file" => Store::open(root.as_ref(), 1),
        "synced" => Store::open_with(root.as_ref(), 1, volatile(storage::Sync::Honest)),
        _ => Store::open_with(root.as_ref(), 1, volatile(storage::Sync::Skipped)),
    };
    let mut out = std::io::stdout();
    let store = match store {
        Ok(store) => store,
        Err(error) => return writeln!(out, "!refused {error}").unwrap(),
    };
    let ledger = store.ledger();
    let status = ledger.status(ID).unwrap();
    assert_eq!(status.left + status.used + status.burnt, SLOTS);
    for step in 0u32.. {
        let reservation = ledger.reserve(ID, 1 + step % 3).unwrap();
        let range = reservation.range();
        writeln!(out, "!given {} {}", range.start, range.end).unwrap();
        out.flush().unwrap();
        match step % 4 {
            0 => drop(ledger.burn(reservation).unwrap()),
            1 => {}
            _ => drop(ledger.complete(reservation).unwrap()),
        }
    }
}

fn spawn(work: &str, root: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env("MATERIAL_CHILD", work)
        .env("MATERIAL_ROOT", root)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What the child said, to its last whole line.
fn said(child: &mut Child) -> impl Iterator<Item = String> + use<> {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // The test harness may have begun the line.
    lines.map_while(Result::ok).filter_map(|line| line.split_once('!').map(|(_, said)| said.to_string()))
}

fn given(line: &str) -> Option<(u32, u32)> {
    let (start, end) = line.strip_prefix("given ")?.split_once(' ')?;
    Some((start.parse().ok()?, end.parse().ok()?))
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    Store::open(folder.path(), 1).unwrap().ledger().register(ID, SLOTS).unwrap();
    folder
}

/// Kills children at random moments. Returns every range that anybody was given.
fn kill_often(work: &str, root: &Path) -> Vec<(u32, u32)> {
    let mut ranges = Vec::new();
    for round in 0..KILLS {
        let mut child = spawn(work, root);
        let mut lines = said(&mut child);
        // Wait for the first range, so that the moment lies in the loop and not in the start.
        ranges.extend(lines.next().as_deref().and_then(given));
        std::thread::sleep(Duration::from_micros(round * round * 7919 % 40_000));
        child.kill().unwrap();
        child.wait().unwrap();
        ranges.extend(lines.filter_map(|line| given(&line)));
    }
    ranges.sort_unstable();
    ranges
}

fn twice(ranges: &[(u32, u32)]) -> bool {
    ranges.windows(2).any(|pair| pair[1].0 < pair[0].1)
}

#[test]
fn no_slot_is_given_twice_whenever_the_process_is_killed() {
    for work in ["file", "synced"] {
        let folder = folder();
        let ranges = kill_often(work, folder.path());
        assert!(ranges.len() as u64 >= KILLS, "{work}: {}", ranges.len());
        assert!(!twice(&ranges), "{work}");
        let store = Store::open(folder.path(), 1).unwrap();
        let status = store.ledger().status(ID).unwrap();
        assert_eq!(status.left + status.used + status.burnt, SLOTS);
        assert_eq!(status.open, 0);
        assert!(status.slots - status.left >= ranges.last().unwrap().1, "{work}");
        assert!(status.used > 0 && status.burnt > 0, "{work}: {status:?}");
    }
}

#[test]
fn without_the_sync_the_same_test_fails() {
    let folder = folder();
    assert!(twice(&kill_often("unsynced", folder.path())));
}

#[test]
fn a_second_process_is_refused_and_told_who_is_first() {
    let folder = folder();
    let mut first = spawn("file", folder.path());
    let pid = first.id();
    let mut lines = said(&mut first);
    assert!(lines.next().as_deref().and_then(given).is_some());
    let mut second = spawn("file", folder.path());
    let mut answer = said(&mut second);
    let refusal = answer.next().unwrap();
    answer.for_each(drop);
    assert!(refusal.starts_with("refused") && refusal.contains(&format!("process {pid};")), "{refusal}");
    second.wait().unwrap();
    let here = Store::open(folder.path(), 1).err().unwrap();
    assert!(matches!(here, Error::Locked { .. }), "{here}");
    assert!(matches!(Ledger::open(&folder.path().join("ledger.redb")).err(), Some(Error::Locked { .. })));
    first.kill().unwrap();
    first.wait().unwrap();
    Store::open(folder.path(), 1).unwrap();
}

#[test]
fn a_process_killed_while_material_arrives_leaves_a_usable_folder() {
    // The arrival is cut by forgetting it, as a kill would; the batch may come again.
    let folder = folder();
    let store = Store::open(folder.path(), 1).unwrap();
    let bytes = bytes(&small(), 2, BatchId([6; 16]));
    let mut incoming = store.receive(&expected(&small()), "the dealer").unwrap();
    incoming.push(&bytes[..bytes.len() - 1]).unwrap();
    std::mem::forget(incoming);
    drop(store);
    let store = Store::open(folder.path(), 1).unwrap();
    assert_eq!(store.leftovers(), 1);
    let mut incoming = store.receive(&expected(&small()), "the dealer").unwrap();
    incoming.push(&bytes).unwrap();
    incoming.finish().unwrap();
}
