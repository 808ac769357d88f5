//! Files whose readers want a path.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use ariann_data::{Choice, Filter, Order, Pixels, Preprocess};
use ariann_material::{Batch, Expected};
use ariann_net::Identity;

use crate::samples;

thread_local!(static FOLDER: tempfile::TempDir = tempfile::tempdir().expect("a temporary folder"));

/// Writes `bytes` to a file of mode 0600 and hands its path to `read`.
fn with_file(name: &str, bytes: &[u8], read: impl FnOnce(&Path)) {
    FOLDER.with(|folder| {
        let path = folder.path().join(name);
        write(&path, bytes);
        read(&path);
    });
}

fn write(path: &Path, bytes: &[u8]) {
    let file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(bytes)).expect("a temporary file");
}

/// A material file at rest.
pub fn material(bytes: &[u8]) {
    with_file("batch.mat", bytes, |path| {
        let _ = ariann_material::inspect(path);
        let expected = Expected { slots: None, ..samples::expected() };
        if let Ok(batch) = Batch::open(path, &expected) {
            let lengths = expected.layout.sections();
            for slot in 0..batch.slots().min(8) {
                for (section, len) in lengths.iter().enumerate() {
                    let mut out = vec![0; *len as usize];
                    let _ = batch.read(slot, section as u32, &mut out);
                }
            }
        }
    });
}

/// An identity: the bytes up to the first empty line are the key, the rest is the certificate.
pub fn identity(bytes: &[u8]) {
    let cut = bytes.windows(2).position(|pair| pair == b"\n\n").map_or(bytes.len() / 2, |at| at + 1);
    with_file("p0.key.pem", &bytes[..cut], |key| {
        let folder = key.parent().expect("a folder");
        write(&folder.join("p0.cert.pem"), &bytes[cut..]);
        let _ = Identity::load(folder, "p0");
    });
}

/// IDX, npy, PNG and JPEG, gzip'd or not, and CIFAR-10, which is known by its name.
pub fn items(bytes: &[u8]) {
    let coloured = Preprocess { mean: vec![0.5, 0.4, 0.3], std: vec![0.2, 0.2, 0.1], ..Preprocess::default() };
    let changed = Pixels { resize: Some(12), filter: Filter::Bilinear, crop: Some([10, 9]), order: Order::Bgr };
    for name in ["items", "items.bin"] {
        with_file(name, bytes, |path| {
            for (preprocess, pixels, choice) in [
                (&Preprocess::default(), Pixels::default(), Choice::All),
                (&coloured, Pixels::default(), Choice::First(3)),
                (&coloured, changed, Choice::Spread(3)),
            ] {
                if let Ok(items) = ariann_data::load_images(path, preprocess, &pixels, choice) {
                    assert_eq!(items.values.len(), items.count * items.item_len(), "items are whole");
                    let _ = ariann_data::check_range(&items, 0.0, 1.0);
                    let _ = items.fit(&[1, 28, 28]);
                }
            }
        });
    }
}

/// Labels, as IDX, npy, text or those of CIFAR-10.
pub fn labels(bytes: &[u8]) {
    for name in ["labels", "labels.bin"] {
        with_file(name, bytes, |path| {
            let _ = ariann_data::load_labels(path, None);
            let _ = ariann_data::load_labels(path, Some(3));
        });
    }
}
