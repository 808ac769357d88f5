//! How fast a party reads material from the page cache, and how fast it reserves.
//!
//! `cargo run --release -p ariann-material --example read_speed [FOLDER]`
//!
//! 128 slots of 2.6 MB, read gate by gate as in an online phase of 128 items, on one core.

use std::hint::black_box;
use std::path::PathBuf;
use std::time::Instant;

use ariann_material::*;

const SLOTS: u32 = 128;

fn main() -> Result<(), Error> {
    let root = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let root = root.join(format!("ariann-read-speed-{}", std::process::id()));
    let outcome = measure(&root);
    let _ = std::fs::remove_dir_all(&root);
    outcome
}

fn measure(root: &std::path::Path) -> Result<(), Error> {
    let sections = vec![1_500_000, 64, 600_000, 12_000, 300_000, 150_000, 40_000, 4_000, 400, 40];
    let layout = Layout::new(sections)?;
    let (batch, weights) = (BatchId([1; 16]), WeightsVersion([0; 16]));
    let label = Label {
        kind: Kind::Dealt,
        suite: "none".into(),
        plan_digest: [0; 32],
        batch,
        party: 0,
        ring_bits: 32,
        weights,
        slots: SLOTS,
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
    let header = Header::new(label, &layout, Secret::new(Vec::new().into())?)?;
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
