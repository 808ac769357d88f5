//! The sample files in `vectors/material`: the valid one is what is written today, each invalid one is
//! refused for the reason in its name, as a stream and as a file.

#[path = "common/vectors.rs"]
mod vectors;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ariann_material::*;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors/material")
}

fn streamed(bytes: &[u8]) -> Result<(), Error> {
    let mut verifier = StreamVerifier::new(vectors::expected(), "the dealer", Vec::new());
    verifier.push(bytes)?;
    verifier.finish().map(|_| ())
}

fn opened(path: &Path) -> Result<(), Error> {
    Batch::open(path, &vectors::expected())?.verify_all(|_, _| {})
}

#[test]
fn the_valid_file_is_written_and_read() {
    let path = folder().join("valid-two-slots.mat");
    assert_eq!(std::fs::read(&path).unwrap(), vectors::valid());
    streamed(&vectors::valid()).unwrap();
    opened(&path).unwrap();
}

#[test]
fn every_invalid_file_is_refused_for_its_reason() {
    let mut seen = BTreeSet::from(["README.md".into(), "valid-two-slots.mat".into()]);
    for (name, bytes, reason) in vectors::invalid() {
        let name = format!("invalid-{name}.mat");
        let path = folder().join(&name);
        assert_eq!(std::fs::read(&path).unwrap(), bytes, "{name}");
        for error in [streamed(&bytes).unwrap_err(), opened(&path).unwrap_err()] {
            assert!(reason.split('|').any(|reason| error.to_string().contains(reason)), "{name}: {error}");
        }
        seen.insert(name);
    }
    let there = std::fs::read_dir(folder()).unwrap();
    let there = there.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(there.collect::<BTreeSet<_>>(), seen);
}
