//! The program run from the outside, and small data for it.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

pub fn ariann(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ariann")).args(args).current_dir(folder).output().expect("the program starts")
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
pub fn said(folder: &Path, args: &[&str]) -> Value {
    let output = ariann(folder, args);
    assert!(output.status.success(), "{args:?}: {}{}", text(&output.stdout), text(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("one JSON document")
}

#[track_caller]
pub fn refused(folder: &Path, args: &[&str], code: i32, words: &[&str]) {
    let output = ariann(folder, &[&["train"], args].concat());
    let told = text(&output.stdout) + &text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {told}");
    words.iter().for_each(|word| assert!(told.contains(word), "{args:?}: {word:?} is not in {told}"));
    assert!(!told.contains("panicked"), "{told}");
}

/// A file of unsigned bytes as MNIST has them.
pub fn idx(shape: &[u32], bytes: &[u8]) -> Vec<u8> {
    let head = [0, 0, 8, shape.len() as u8];
    head.into_iter().chain(shape.iter().flat_map(|size| size.to_be_bytes())).chain(bytes.iter().copied()).collect()
}

/// `count` grey images of 28x28 with labels, all of them classes but the last one where `last` is none.
pub fn data(folder: &Path, count: u32, last: u8) {
    let pixels: Vec<u8> = (0..count * 784).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut labels: Vec<u8> = (0..count).map(|item| (item % 10) as u8).collect();
    *labels.last_mut().expect("items") = last;
    std::fs::write(folder.join("images.idx"), idx(&[count, 28, 28], &pixels)).expect("space");
    std::fs::write(folder.join("labels.idx"), idx(&[count], &labels)).expect("space");
}
