//! Helpers of the tests: sample data from outside the repository, and small readers.
#![allow(dead_code)]

use std::io::Read;
use std::path::{Path, PathBuf};

/// The folder of sample data, or a note that the test is skipped.
pub fn sample_data() -> Option<PathBuf> {
    let folder = std::env::var_os("ARIANN_DATA").map(PathBuf::from).filter(|folder| folder.is_dir());
    if folder.is_none() {
        println!("skipped: no data (ARIANN_DATA names no folder)");
    }
    folder
}

/// Images of a gzip'd IDX file as pixel / 255.
pub fn images(path: &Path, count: usize) -> Vec<f32> {
    let file = std::fs::File::open(path).expect("the images are there");
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(file).read_to_end(&mut bytes).expect("the images are gzip'd");
    bytes[16..][..count * 784].iter().map(|&byte| f32::from(byte) / 255.0).collect()
}

/// Little-endian floats.
pub fn floats(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).expect("the file is there");
    bytes.as_chunks::<4>().0.iter().map(|&word| f32::from_le_bytes(word)).collect()
}

/// The greatest difference of two rows of numbers.
pub fn max_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "lengths of the two results");
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Index of the greatest of each row.
pub fn labels(logits: &[f32], classes: usize) -> Vec<usize> {
    let label = |row: &[f32]| (0..classes).max_by(|&a, &b| row[a].total_cmp(&row[b])).expect("a row has classes");
    logits.chunks_exact(classes).map(label).collect()
}

/// The models of the sample data that can be imported, with the greatest magnitude that their logits may differ by.
pub const MODELS: [&str; 3] = ["lenet-mnist", "mlp-128-128-mnist", "mnist-cntk"];
