//! `train` from the outside: what it tells, what it refuses before anything runs, and that a training goes on where it stopped.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

fn ariann(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ariann")).args(args).current_dir(folder).output().expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
fn said(folder: &Path, args: &[&str]) -> Value {
    let output = ariann(folder, args);
    assert!(output.status.success(), "{args:?}: {}{}", text(&output.stdout), text(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("one JSON document")
}

#[track_caller]
fn refused(folder: &Path, args: &[&str], code: i32, words: &[&str]) {
    let output = ariann(folder, &[&["train"], args].concat());
    let told = text(&output.stdout) + &text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {told}");
    words.iter().for_each(|word| assert!(told.contains(word), "{args:?}: {word:?} is not in {told}"));
    assert!(!told.contains("panicked"), "{told}");
}

/// A file of unsigned bytes as MNIST has them.
fn idx(shape: &[u32], bytes: &[u8]) -> Vec<u8> {
    let head = [0, 0, 8, shape.len() as u8];
    head.into_iter().chain(shape.iter().flat_map(|size| size.to_be_bytes())).chain(bytes.iter().copied()).collect()
}

/// `count` grey images of 28x28 with labels, all of them classes but the last one where `last` is none.
fn data(folder: &Path, count: u32, last: u8) {
    let pixels: Vec<u8> = (0..count * 784).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut labels: Vec<u8> = (0..count).map(|item| (item % 10) as u8).collect();
    *labels.last_mut().expect("items") = last;
    std::fs::write(folder.join("images.idx"), idx(&[count, 28, 28], &pixels)).expect("space");
    std::fs::write(folder.join("labels.idx"), idx(&[count], &labels)).expect("space");
}

#[test]
fn the_help_names_what_can_be_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let help = text(&ariann(folder.path(), &["train", "--help"]).stdout);
    for flag in [
        "role",
        "config",
        "network",
        "model",
        "input",
        "labels",
        "test-input",
        "test-labels",
        "epochs",
        "batch",
        "lr",
        "momentum",
        "nesterov",
        "weight-decay",
        "schedule",
        "dropout",
        "loss",
        "seed",
        "ring",
        "calibration",
        "calibration-labels",
        "rehearse",
        "optimize",
        "sign",
        "freeze",
        "limit",
        "checkpoint",
        "resume",
        "reveal",
        "out",
        "compare-clear",
        "link",
        "threads",
        "json",
        "report",
        "features-from",
        "labels-from",
        "job-only",
    ] {
        assert!(help.contains(&format!("--{flag}")), "--{flag}: {help}");
    }
}

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
    refused(here, &[&given[..], &["--network", "resnet8"]].concat(), 3, &["28", "[3, 32, 32]"]);
    let private = ["--calibration", "images.idx", "--calibration-labels", "labels.idx"];
    refused(here, &[&given[..], &private].concat(), 2, &["--calibration", "public"]);
    refused(here, &[&given[..], &["--reveal", "accuracy"]].concat(), 2, &["--test-input"]);
}

/// Few steps on bundled images.
const FEW: [&str; 13] = [
    "train",
    "--json",
    "--limit",
    "64",
    "--batch",
    "16",
    "--epochs",
    "2",
    "--rehearse",
    "8",
    "--reveal",
    "loss:p1",
    "--reveal",
];

#[test]
fn a_training_tells_what_scripts_read_and_goes_on_where_it_stopped() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    let more = ["accuracy:p1", "--checkpoint", "safe"];
    let kept = ["--out", "model", "--report", "page.html"];
    let one = said(here, &[&FEW[..], &more, &kept].concat());
    assert_eq!((&one["network"], &one["ring"], &one["loss"]), (&json!("network1"), &json!(32), &json!("mse")));
    assert_eq!((&one["steps"], &one["items"], &one["test_items"]), (&json!(8), &json!(64), &json!(496)));
    assert_eq!(one["reveals"], json!(["model:p0", "loss:p1", "accuracy:p1"]));
    let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{value} is no number"));
    for key in ["seconds", "seconds_per_step", "bytes", "material_bytes"] {
        assert!(number(&one[key]) > 0.0, "{key}");
    }
    for role in ["dealer", "p0", "p1"] {
        assert!((1 << 20..1 << 30).contains(&one["peak_rss_bytes"][role].as_u64().expect("bytes")), "{role}");
    }
    let epochs = one["epochs"].as_array().expect("epochs");
    assert_eq!(epochs.iter().map(|epoch| &epoch["epoch"]).collect::<Vec<_>>(), [1, 2]);
    for epoch in epochs {
        let near = |a: &str, b: &str, within: f64| {
            assert!((number(&epoch[a]) - number(&epoch[b])).abs() < within, "{a}, {b}: {epoch}");
        };
        near("loss", "clear_loss", 0.01);
        near("accuracy", "clear_accuracy", 0.05);
    }
    assert!(number(&epochs[1]["loss"]) < number(&epochs[0]["loss"]), "nothing was learned: {one}");
    let losses: Vec<f64> = serde_json::from_value(one["losses"].clone()).expect("losses");
    assert_eq!(losses.len(), 8);
    let mean = losses[..4].iter().sum::<f64>() / 4.0;
    assert!((mean - number(&epochs[0]["loss"])).abs() < 1e-9, "an epoch's loss is the mean of its steps'");

    // The trained model is a model, and no longer the one that was begun with.
    let trained = ariann_graph::import(&here.join("model/model.onnx")).expect("a model");
    assert_eq!(trained.input.shape, [1, 28, 28]);
    assert!(here.join("model/model.safetensors").exists());
    let page = std::fs::read_to_string(here.join("page.html")).expect("a page");
    assert!(page.contains("Accuracy on the test set") && page.contains("<polyline") && page.contains("in clear"));
    assert!(!page.contains("http:") && !page.contains("https:") && !page.contains("<script"));

    // The same folder again: only to go on, and only with the same training.
    let again = [&FEW[..], &more].concat();
    refused(here, &again[1..], 2, &["--resume"]);
    let resume = [&again[..], &["--resume"]].concat();
    let other = [&resume[1..], &["--lr", "0.5"]].concat();
    refused(here, &other, 2, &["another training", "recipe"]);
    let on = said(here, &resume);
    assert_eq!(on["job"], one["job"]);
    for (on, one) in on["epochs"].as_array().expect("epochs").iter().zip(epochs) {
        assert_eq!((&on["loss"], &on["accuracy"]), (&one["loss"], &one["accuracy"]), "what was learned is kept");
    }
    assert!(number(&on["first_turn"]) > 0.0 && number(&on["steps"]) < 8.0, "{on}");
}

#[test]
fn nothing_is_revealed_that_was_not_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    data(here, 16, 9);
    let args =
        ["train", "--json", "--input", "images.idx", "--labels", "labels.idx", "--batch", "8", "--rehearse", "4"];
    let one = said(here, &[&args[..], &["--epochs", "1", "--ring", "64", "--reveal", "model:none"]].concat());
    assert_eq!((&one["reveals"], &one["losses"], &one["out"]), (&json!([]), &json!([]), &json!([])));
    assert_eq!(
        one["epochs"][0],
        json!({ "epoch": 1, "accuracy": null, "clear_accuracy": null, "loss": null, "clear_loss": null })
    );
    assert_eq!((&one["ring"], &one["steps"]), (&json!(64), &json!(2)));
}

#[test]
fn a_job_is_written_without_the_data_and_a_role_keeps_to_its_own_configuration() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    said(here, &["zoo", "network1", "--json", "-o", "m.onnx"]);
    let args =
        ["train", "--json", "--model", "m.onnx", "--rows", "40", "--batch", "8", "--loss", "mse", "--rehearse", "4"];
    let job = said(here, &[&args[..], &["--job-only", "job.json", "--reveal", "loss:p0"]].concat());
    assert_eq!((&job["steps"], &job["reveals"]), (&json!(5), &json!(["model:p0", "loss:p0"])));
    let read = ariann_session::training::Job::read(&here.join("job.json")).expect("a job");
    assert_eq!((read.rows, Value::from(read.digest_hex())), (40, job["digest"].clone()));
    let toml = "role = \"p1\"\njob = \"job.json\"\npeer = \"x\"\n[identity]\nfolder = \".\"\nname = \"p1\"\n[dealer]\n\
                address = \"127.0.0.1:1\"\nfingerprint = \"x\"\n";
    std::fs::write(here.join("p1.toml"), toml).expect("space");
    refused(here, &["--role", "p0", "--config", "p1.toml"], 2, &["configuration of P1"]);
    std::fs::write(here.join("odd.toml"), format!("colour = 1\n{toml}")).expect("space");
    refused(here, &["--role", "p1", "--config", "odd.toml"], 2, &["colour"]);
}
