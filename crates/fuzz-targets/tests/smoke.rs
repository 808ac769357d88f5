//! Every decoder on mutated samples: it may refuse, it must not panic, nor take memory for what bytes announce.
//!
//! The mutations follow from a seed, 1 unless `ARIANN_FUZZ_SEED` says otherwise; `ARIANN_FUZZ_TRIES` multiplies their
//! number. A failure names target, seed and number, and leaves the bytes in a file.

use std::panic::{AssertUnwindSafe, catch_unwind};

use ariann_fuzz_targets::mutate::{Random, mutated};
use ariann_fuzz_targets::{TARGETS, Target};

/// Address space that one target may take beyond what the process has: samples have 128 KiB at most, deflate makes
/// a thousand times as much of them.
const MOST_MEMORY: u64 = 512 << 20;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}: give a number")))
}

/// Address space in bytes, now or at its greatest, where the system tells.
fn memory(which: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(which))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// Runs one target; returns how often it panicked, and on what.
fn run(target: &Target, seed: u64, tries: usize) -> Result<(), String> {
    let samples = (target.samples)();
    let name_seed = target.name.bytes().fold(seed, |hash, byte| hash.wrapping_mul(31) ^ u64::from(byte));
    let mut random = Random::new(name_seed);
    let inputs = samples.iter().cloned().chain(std::iter::from_fn(|| Some(mutated(&samples, &mut random))));
    for (number, bytes) in inputs.take(samples.len() + tries).enumerate() {
        if catch_unwind(AssertUnwindSafe(|| (target.run)(&bytes))).is_err() {
            let path = std::env::temp_dir().join(format!("ariann-fuzz-{}-{seed}-{number}.bin", target.name));
            std::fs::write(&path, &bytes).expect("the failing bytes");
            return Err(format!(
                "{}: panicked, seed {seed}, input {number}, {} bytes in {}",
                target.name,
                bytes.len(),
                path.display()
            ));
        }
    }
    Ok(())
}

#[test]
fn decoders_refuse_and_never_panic() {
    let (seed, factor) = (setting("ARIANN_FUZZ_SEED", 1), setting("ARIANN_FUZZ_TRIES", 1) as usize);
    let mut failures = Vec::new();
    for target in TARGETS {
        let tries = target.tries * factor;
        let before = memory("VmPeak:").max(memory("VmSize:"));
        println!("{}: {tries} mutated samples, seed {seed}", target.name);
        failures.extend(run(&target, seed, tries).err());
        if let (Some(before), Some(after)) = (before, memory("VmPeak:"))
            && after.saturating_sub(before) > MOST_MEMORY
        {
            failures.push(format!("{}: took {} MB of address space", target.name, (after - before) >> 20));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn a_panic_is_found() {
    let panics = |bytes: &[u8]| assert!(bytes.len() < 4, "a panic on purpose");
    let target = Target { name: "self-test", run: panics, samples: || vec![vec![0; 3]], tries: 1000 };
    let failure = run(&target, 1, target.tries).expect_err("some mutated sample is longer");
    assert!(failure.contains("self-test: panicked"), "{failure}");
}

#[test]
fn every_target_has_its_program() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).expect("fuzz/Cargo.toml");
    for target in TARGETS {
        let name = target.name;
        assert!(manifest.contains(&format!("name = \"{name}\"")), "fuzz/Cargo.toml has no program {name}");
        let program = std::fs::read_to_string(folder.join(format!("fuzz_targets/{name}.rs"))).expect("its source");
        assert!(program.contains(&format!("run(\"{name}\"")), "fuzz_targets/{name}.rs runs another target");
    }
}
