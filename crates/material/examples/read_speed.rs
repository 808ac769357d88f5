//! How fast a party reads material from the page cache, and how fast it reserves.
//!
//! `cargo run --release -p ariann-material --example read_speed [FOLDER]`
//!
//! 128 slots of 2.6 MB, read gate by gate as in an online phase of 128 items, on one core. Then one slot of 256 MB, its
//! section read in consecutive parts, beside what copying, reading and hashing alone take.

use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use ariann_material::*;

const SLOTS: u32 = 128;
/// Chunks of the section that is read in parts, and bytes of a chunk.
const LONG: usize = 256;
const MIB: usize = CHUNK as usize;

fn main() -> Result<(), Error> {
    let root = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let root = root.join(format!("ariann-read-speed-{}", std::process::id()));
    let outcome = measure(&root).and_then(|()| parts(&root));
    let _ = std::fs::remove_dir_all(&root);
    outcome
}

fn describe(layout: &Layout, slots: u32) -> Result<(Header, Expected), Error> {
    let (batch, weights) = (BatchId([1; 16]), WeightsVersion([0; 16]));
    let label = Label {
        kind: Kind::Dealt,
        suite: "none".into(),
        plan_digest: [0; 32],
        batch,
        party: 0,
        ring_bits: 32,
        weights,
        slots,
        sections: 0,
        layout_digest: [0; 32],
    };
    let expected = Expected {
        kind: label.kind,
        suite: label.suite.clone(),
        plan_digest: label.plan_digest,
        party: label.party,
        ring_bits: label.ring_bits,
        layout: layout.clone(),
        secret_len: 0,
        batch: None,
        weights: None,
        slots: None,
    };
    Ok((Header::new(label, layout, Secret::new(Vec::new().into())?)?, expected))
}

/// One long section in consecutive parts, and the limits of the machine.
fn parts(root: &Path) -> Result<(), Error> {
    let layout = Layout::new(vec![(LONG * MIB) as u64])?;
    let (header, expected) = describe(&layout, 1)?;
    let path = root.join("long.mat");
    let mut writer = BatchWriter::create(&path, &header, &layout)?;
    // Written in pieces: the section is never in memory.
    for i in 0..LONG * 16 {
        writer.write_section(0, 0, &[i as u8; MIB / 16])?;
    }
    writer.finish()?;
    let mut buffer = vec![1u8; MIB];
    let source = vec![2u8; MIB];
    best("copy 1 MiB, hot", || (0..LONG).for_each(|_| black_box(&mut buffer).copy_from_slice(black_box(&source))));
    let hash = || (0..LONG).for_each(|_| _ = black_box(blake3::keyed_hash(&[7; 32], black_box(&source))));
    best("BLAKE3 of 1 MiB, hot", hash);
    let file = File::open(&path).expect("written above");
    let mut read = |i: usize| file.read_exact_at(&mut buffer, (i * MIB) as u64).expect("written above");
    best("read 1 MiB, unchecked", || (0..LONG).for_each(&mut read));
    let batch = Batch::open(&path, &expected)?;
    for kib in [16, 64, 256, 1024] {
        let size = kib << 10;
        let ranges = || (0..LONG * MIB / size).map(|i| (i * size) as u64..((i + 1) * size) as u64);
        let mut out = vec![1; size];
        let mut read = |range| batch.read_part(0, 0, range, &mut out).expect("valid");
        best(&format!("read_part of {kib} KiB"), || ranges().for_each(&mut read));
        let look = |range| drop(black_box(batch.part(0, 0, range).expect("valid")));
        best(&format!("part of {kib} KiB"), || ranges().for_each(look));
        let ahead = || {
            let mut ahead = batch.ahead([(0, 0)], 4).expect("valid");
            ranges().for_each(|range| drop(black_box(ahead.part(0, 0, range).expect("valid"))));
        };
        best(&format!("ahead, part of {kib} KiB"), ahead);
    }
    Ok(())
}

/// Prints the best of five runs over 256 MiB: by the clock, and by this process's processor time in all five.
fn best(what: &str, mut run: impl FnMut()) {
    run();
    let cpu = cpu_seconds();
    let seconds = (0..5).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    });
    let least = seconds.fold(f64::INFINITY, f64::min);
    let bytes = (LONG * MIB) as f64;
    print!("{what:28} {least:7.3} s  {:6.2} GB/s", bytes / least / 1e9);
    match (cpu, cpu_seconds()) {
        (Some(before), Some(now)) if now > before => {
            println!(", {:6.2} GB a CPU second", 5.0 * bytes / (now - before) / 1e9);
        }
        _ => println!(),
    }
}

/// Processor time of this process so far, where the system tells it in /proc.
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |i: usize| fields.get(i)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / 100.0)
}

fn measure(root: &Path) -> Result<(), Error> {
    let layout = Layout::new(vec![1_500_000, 64, 600_000, 12_000, 300_000, 150_000, 40_000, 4_000, 400, 40])?;
    let (header, expected) = describe(&layout, SLOTS)?;
    let batch = header.label().batch;
    let store = Store::open(root, 0)?;
    let path = root.join("dealt.mat");
    let total = layout.data_bytes() * u64::from(SLOTS);
    let rate = |what: &str, since: Instant| {
        let seconds = since.elapsed().as_secs_f64();
        println!("{what:28} {:7.3} s  {:6.2} GB/s", seconds, total as f64 / seconds / 1e9);
    };

    let data = vec![0xa5u8; layout.longest_chunk() * 2];
    let start = Instant::now();
    let mut writer = BatchWriter::create(&path, &header, &layout)?;
    for slot in 0..SLOTS {
        for (section, &len) in layout.sections().iter().enumerate() {
            writer.write_section(slot, section as u32, &data[..len as usize])?;
        }
    }
    writer.finish()?;
    rate("write and sync", start);

    let start = Instant::now();
    store.import(&path, &expected)?;
    rate("import (check, write, sync)", start);

    let open = store.open_batch(batch, &expected)?;
    let mut out = vec![0u8; data.len().max(1_500_000) * SLOTS as usize];
    for round in 1..=3 {
        let start = Instant::now();
        for (section, &len) in layout.sections().iter().enumerate() {
            let out = &mut out[..len as usize * SLOTS as usize];
            open.read_slots(0..SLOTS, section as u32, out)?;
            black_box(&out);
        }
        rate(&format!("read gate by gate, run {round}"), start);
    }
    let start = Instant::now();
    open.verify_all(|_, _| {})?;
    rate("verify", start);

    let start = Instant::now();
    for _ in 0..SLOTS {
        let reservation = store.ledger().reserve(batch, 1)?;
        store.ledger().complete(reservation)?;
    }
    let each = start.elapsed().as_secs_f64() * 1e3 / f64::from(SLOTS);
    println!("reserve and complete         {each:7.3} ms each");
    Ok(())
}
