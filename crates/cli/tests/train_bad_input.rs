//! What `train` refuses: who is at fault, what is wrong, and what to do, before anything is sent.

mod common;

use common::{ariann, data, idx, refused, said, text};

#[test]
fn slips_are_told_before_anything_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    for (args, words) in [
        (&["--lr", "-1"][..], &["learning rate is -1"][..]),
        (&["--lr", "nan"], &["learning rate"]),
        (&["--momentum", "1"], &["momentum is 1"]),
        (&["--epochs", "0"], &["number of epochs"]),
        (&["--schedule", "step:0:0.1"], &["schedule"]),
        (&["--schedule", "sometimes"], &["cosine"]),
        (&["--freeze", "fc9"], &["\"fc9\"", "fc1, fc2, fc3"]),
        (&["--freeze", "fc"], &["all parameters are frozen"]),
        (&["--batch", "5000"], &["--batch 5000", "2000 training items"]),
        (&["--batch", "1000"], &["--batch 1000", "500 test items"]),
        (&["--network", "lenett"], &["lenett", "lenet"]),
        (&["--reveal", "weights:p1"], &["model, loss or accuracy"]),
        (&["--reveal", "model"], &["to whom"]),
        (&["--resume"], &["--checkpoint"]),
        (&["--resume", "--checkpoint", "none"], &["no training to go on with", "job.json"]),
        (&["--role", "p0"], &["--config"]),
        (&["--role", "owner"], &["--config"]),
        (&["--owner", "north,f,5"], &["north"]),
        (&["--job-only", "j.json", "--owner", "north,5"], &["NAME,FINGERPRINT,ROWS"]),
        (&["--model", "m.onnx"], &["--input"]),
        (&["--ring", "48"], &["give 32 or 64"]),
        (&["--rehearse", "0"], &["--rehearse"]),
        (&["--batch", "0"], &["batch"]),
        (&["--dropout", "1.5"], &["dropout is 1.5"]),
        (&["--dropout", "-0.1"], &["dropout is -0.1"]),
        (&["--weight-decay", "-1"], &["weight decay is -1"]),
        (&["--reveal", "loss:dealer"], &["p0, p1, both or none"]),
        (&["--rescale-every", "0"], &["--rescale-every"]),
        (&["--report", "none/page.html"], &["none/page.html", "check the path"]),
    ] {
        refused(here, args, 2, words);
    }
    // A rate that changes nothing in this ring.
    refused(here, &["--lr", "1e-12"], 3, &["rate"]);
}

#[test]
fn data_that_do_not_fit_are_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    let given = ["--input", "images.idx", "--labels", "labels.idx", "--batch", "8"];
    data(here, 16, 10);
    refused(here, &given, 3, &["labels out of range", "item 15 is 10", "10 classes"]);
    data(here, 16, 9);
    refused(here, &given[..2], 2, &["--labels"]);
    refused(here, &["--input", "images.idx", "--labels", "images.idx"], 3, &["label is one number"]);
    refused(here, &[&given[..], &["--network", "resnet8"]].concat(), 3, &["images.idx", "28", "[3, 32, 32]"]);
    refused(here, &[&given[..4], &["--batch", "17"]].concat(), 2, &["--batch 17", "16 training items"]);
    refused(here, &[&given[..], &["--reveal", "accuracy"]].concat(), 2, &["--test-input"]);
    refused(here, &[&given[..], &["--test-labels", "labels.idx"]].concat(), 2, &["--test-input"]);
    for (name, count) in [("few.idx", 15), ("many.idx", 17)] {
        std::fs::write(here.join(name), idx(&[count], &vec![0; count as usize])).expect("space");
        let words = [name, "images.idx has 16 items", "one each"];
        refused(here, &[&given[..2], &["--labels", name, "--batch", "8"]].concat(), 3, &words);
    }
    // Of a limited set, the first ones of both are taken.
    let limited = ["--limit", "15", "--rehearse", "1", "--epochs", "1", "--json"];
    said(here, &[&["train"], &given[..2], &["--labels", "many.idx", "--batch", "8"], &limited].concat());
    std::fs::write(here.join("none.idx"), idx(&[0, 28, 28], &[])).expect("space");
    refused(here, &["--input", "none.idx", "--labels", "labels.idx"], 3, &["none.idx", "at least one item"]);
    std::fs::write(here.join("empty"), []).expect("space");
    refused(here, &["--input", "empty", "--labels", "labels.idx"], 3, &["empty", "IDX, npy"]);
    refused(here, &["--input", "nowhere.idx", "--labels", "labels.idx"], 2, &["nowhere.idx", "check the path"]);
}

#[test]
fn values_that_are_no_numbers_are_refused_by_their_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    data(here, 16, 9);
    for (value, word) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (1.5, "1.5")] {
        let mut values = vec![0.5f32; 16 * 784];
        values[3 * 784 + 20] = value;
        std::fs::write(here.join("x.npy"), npy(&[16, 1, 28, 28], &values)).expect("space");
        let words = ["x.npy", "item 3 holds", word, "position 20", "[0, 1]", "--input-range"];
        refused(here, &["--input", "x.npy", "--labels", "labels.idx", "--batch", "8"], 3, &words);
    }
}

#[test]
fn a_rehearsal_wants_public_items_like_the_private_ones() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    data(here, 16, 9);
    let given = ["--input", "images.idx", "--labels", "labels.idx", "--batch", "8", "--calibration"];
    let bad = |more: &[&str], code: i32, words: &[&str]| refused(here, &[&given[..], more].concat(), code, words);
    bad(&["images.idx", "--calibration-labels", "labels.idx"], 2, &["--calibration", "public"]);
    std::fs::write(here.join("public.idx"), idx(&[16, 30, 30], &[7; 16 * 900])).expect("space");
    bad(&["public.idx", "--calibration-labels", "labels.idx"], 3, &["public.idx", "[30, 30]", "[1, 28, 28]"]);
    std::fs::write(here.join("public.idx"), idx(&[4, 28, 28], &[7; 4 * 784])).expect("space");
    bad(&["public.idx"], 2, &["public.idx", "--calibration-labels"]);
    bad(&["public.idx", "--calibration-labels", "labels.idx"], 3, &["labels.idx", "has 4 items"]);
    std::fs::write(here.join("four.idx"), idx(&[4], &[0, 1, 2, 3])).expect("space");
    bad(&["public.idx", "--calibration-labels", "four.idx"], 2, &["4 calibration items", "at most 4"]);
}

#[test]
fn operators_that_cannot_be_trained_are_all_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    said(here, &["zoo", "network1", "--json", "-o", "m.onnx"]);
    let model = std::fs::read(here.join("m.onnx")).expect("a model");
    // A name of the same length makes another model of it.
    let renamed = |to: &[u8; 4]| {
        let mut bytes = model.clone();
        let places: Vec<usize> = (0..bytes.len() - 4).filter(|at| bytes[*at..].starts_with(b"Relu")).collect();
        assert_eq!(places.len(), 3);
        places.iter().for_each(|at| bytes[*at..at + 4].copy_from_slice(to));
        std::fs::write(here.join("other.onnx"), bytes).expect("space");
    };
    let args = ["--model", "other.onnx", "--rows", "40", "--batch", "8", "--rehearse", "1", "--job-only", "job.json"];
    for (operator, words) in [(b"Tanh", "no gradient"), (b"Sinh", "not supported")] {
        renamed(operator);
        let name = std::str::from_utf8(operator).expect("ASCII");
        refused(here, &args, 3, &[name, words, "\"relu1\"", "\"relu2\"", "\"relu3\""]);
    }
    // Below frozen layers none is needed: only what the head is trained through remains.
    renamed(b"Tanh");
    let output = ariann(here, &[&["train", "--freeze", "fc1"], &args[..]].concat());
    let told = text(&output.stderr);
    let named = ["relu1", "relu2", "relu3"].map(|name| told.contains(name));
    assert_eq!((output.status.code(), named), (Some(3), [false, true, true]), "{told}");
}

#[test]
fn what_is_there_is_not_written_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    std::fs::write(here.join("file"), "mine").expect("space");
    refused(here, &["--out", "file"], 2, &["--out file", "name a folder"]);
    std::fs::create_dir(here.join("trained")).expect("a folder");
    std::fs::write(here.join("trained/model.onnx"), "mine").expect("space");
    refused(here, &["--out", "trained"], 2, &["trained/model.onnx is there already", "another folder"]);
    refused(here, &["--batch", "5000", "--report", "page.html"], 2, &["--batch 5000"]);
    assert!(!here.join("page.html").exists(), "a page of a run that there was not");
    refused(here, &["--checkpoint", "file", "--rehearse", "1", "--limit", "128"], 2, &["file", "check the path"]);
    for name in ["file", "trained/model.onnx"] {
        assert_eq!(std::fs::read(here.join(name)).expect("a file"), b"mine", "{name}");
    }
}

/// A file of floats as numpy writes it.
fn npy(shape: &[usize], values: &[f32]) -> Vec<u8> {
    let shape: Vec<String> = shape.iter().map(usize::to_string).collect();
    let head = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}), }}\n", shape.join(", "));
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((head.len() as u16).to_le_bytes());
    bytes.extend(head.bytes().chain(values.iter().flat_map(|value| value.to_le_bytes())));
    bytes
}
