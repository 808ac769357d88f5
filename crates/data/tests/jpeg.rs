//! JPEG files against the pixels that libjpeg-turbo (through Pillow) gives for them; those lie beside the files.

use std::path::{Path, PathBuf};

use ariann_data::{DataError, Items, Preprocess, load};
use proptest::prelude::*;

fn raw() -> Preprocess {
    Preprocess { scale: 1.0, ..Preprocess::default() }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/jpeg")
}

fn file(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(name)).expect("a file of the repository")
}

/// The items of a file with these bytes.
fn read(bytes: &[u8]) -> Result<Items, DataError> {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join("image.jpg");
    std::fs::write(&path, bytes).expect("the file can be written");
    load(&path, &raw(), None)
}

/// Where the segment of a marker begins.
fn segment(bytes: &[u8], marker: u8) -> usize {
    bytes.windows(2).position(|pair| pair == [0xff, marker]).expect("it has one") + 2
}

#[track_caller]
fn refused(bytes: &[u8], parts: &[&str]) {
    let text = read(bytes).expect_err("this must be refused").to_string();
    for part in parts {
        assert!(text.contains(part), "\"{text}\" does not say \"{part}\"");
    }
}

#[test]
fn pixels_are_those_of_libjpeg() {
    let mut seen = 0;
    for entry in std::fs::read_dir(folder()).expect("a folder of the repository") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|ending| ending != "jpg") {
            continue;
        }
        let items = load(&path, &raw(), None).expect("a right file");
        let expected = std::fs::read(path.with_extension("raw")).expect("its pixels");
        let (channels, plane) = (items.shape[0], items.item_len() / items.shape[0]);
        assert_eq!(expected.len(), items.item_len(), "{}", path.display());
        for (at, expected) in expected.iter().enumerate() {
            let got = items.values[at % channels * plane + at / channels];
            assert_eq!(got, f32::from(*expected), "{}: value {at}", path.display());
        }
        seen += 1;
    }
    assert_eq!(seen, FILES.len());
}

const FILES: [&str; 6] = ["whole.jpg", "halved-across.jpg", "halved.jpg", "restarts.jpg", "grey.jpg", "narrow.jpg"];

#[test]
fn files_that_end_early_are_refused_wherever_they_end() {
    for name in FILES {
        let bytes = file(name);
        for end in 0..bytes.len() - 2 {
            assert!(read(&bytes[..end]).is_err(), "{name}, {end} bytes");
        }
        // The end mark itself tells nothing new.
        read(&bytes[..bytes.len() - 2]).expect("all blocks are there");
    }
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let bytes = file("halved.jpg");
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = bytes.clone();
        change(&mut bytes);
        bytes
    };
    let (frame, scan) = (segment(&bytes, 0xc0), segment(&bytes, 0xda));
    refused(&changed(&|b| b[frame + 3..frame + 7].fill(0xff)), &["larger than images"]);
    refused(&changed(&|b| b[frame + 3..frame + 7].copy_from_slice(&[0x10, 0, 0x10, 0])), &["declares a larger image"]);
    refused(&changed(&|b| b[frame + 5..frame + 7].fill(0)), &["frame is none"]);
    refused(&changed(&|b| b[frame + 10] = 4), &["4 quantizers"]);
    refused(&changed(&|b| b[frame + 10] = 3), &["needs a table"]);
    refused(&changed(&|b| b[scan + 4] = 0x33), &["needs a table"]);
    refused(&changed(&|b| b[scan + 4] = 0x40), &["scan is none"]);
    refused(&changed(&|b| b[scan + 3] = 9), &["scan is none"]);
    refused(&changed(&|b| b[scan + 5] = 1), &["scan is none"]);
    let whole = bytes[frame - 2..frame + 17].to_vec();
    refused(&changed(&|b| drop(b.splice(frame - 2..frame - 2, whole.clone()))), &["two frames"]);
    refused(&changed(&|b| drop(b.splice(frame - 2..frame + 17, []))), &["no frame"]);
    let restarts = file("restarts.jpg");
    let first = segment(&restarts, 0xd0) - 1;
    let mut order = restarts.clone();
    order[first] = 0xd1;
    refused(&order, &["anew"]);
    let mut missing = restarts;
    drop(missing.splice(first - 1..first + 1, []));
    assert!(read(&missing).is_err(), "a restart is missing");
}

#[test]
fn codes_with_too_many_words_are_refused() {
    let mut bytes = file("whole.jpg");
    let codes = segment(&bytes, 0xc4);
    bytes[codes + 3] = 3;
    refused(&bytes, &["damaged"]);
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(
        which in 0..FILES.len(), changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = file(FILES[which]);
        for (place, value) in changes {
            let place = place.index(bytes.len() - 3) + 3;
            bytes[place] = value;
        }
        if let Ok(items) = read(&bytes) {
            prop_assert_eq!(items.values.len(), items.item_len());
        }
    }
}
