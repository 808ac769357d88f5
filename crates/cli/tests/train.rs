//! `train` from the outside: what it tells, what it refuses before anything runs, and that a training goes on where it stopped.

mod common;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use common::{ariann, data, refused, said, text};
use serde_json::{Value, json};

/// The long options that a text names.
fn options(text: &str) -> BTreeSet<&str> {
    let parts = text.split("--").skip(1).map(|part| {
        let end = part.find(|c: char| !c.is_ascii_lowercase() && c != '-').unwrap_or(part.len());
        part[..end].trim_end_matches('-')
    });
    parts.filter(|name| !name.is_empty()).collect()
}

#[test]
fn every_option_is_in_the_document_and_the_other_way_round() {
    let folder = tempfile::tempdir().expect("a folder");
    let help = text(&ariann(folder.path(), &["train", "--help"]).stdout);
    let document = include_str!("../../../docs/training.md");
    let (help, document) = (options(&help), options(document));
    // Of other commands: `cargo run --release --example`, `identity new --folder`.
    let others = BTreeSet::from(["release", "folder", "example"]);
    let missing = |of: &BTreeSet<&str>, in_: &BTreeSet<&str>| -> Vec<String> {
        of.iter().filter(|name| !in_.contains(*name)).map(|name| format!("--{name}")).collect()
    };
    assert_eq!(missing(&help, &document), Vec::<String>::new(), "options that docs/training.md does not name");
    assert_eq!(missing(&document, &(&help | &others)), Vec::<String>::new(), "options that there are not");
    assert!(help.len() > 40, "the help is no longer read: {help:?}");
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
    // Ranges are revealed to both, so both have to agree.
    let ranges = ["--job-only", "job.json", "--rescale-every", "2"];
    let job = said(here, &[&args[..], &ranges].concat());
    assert_eq!((&job["reveals"], &job["rescale_every"]), (&json!(["model:p0", "ranges:both"]), &json!(2)));
    assert_eq!(job["measurement"]["turns"], 2, "before the third and the fifth step");
    let words =
        |of: &'static str, allow: &'static str| ["this job reveals the ranges to", of, "nothing was sent", allow];
    refused(here, &["--role", "p1", "--config", "p1.toml"], 2, &words("P0", "allow = [\"ranges:p0\"]"));
    let p0 = toml
        .replace("\"p1\"", "\"p0\"")
        .replace("[identity]", "model = \"m.onnx\"\nlisten = \"127.0.0.1:0\"\nallow = [\"ranges:p0\"]\n[identity]");
    std::fs::write(here.join("p0.toml"), p0).expect("space");
    refused(here, &["--role", "p0", "--config", "p0.toml"], 2, &words("P1", "allow = [\"ranges:p1\"]"));
    // Who agrees goes on, to the data that it does not name.
    let agreed = toml.replace("[identity]", "allow = [\"model:p0\", \"ranges:p0\"]\n[identity]");
    std::fs::write(here.join("p1.toml"), &agreed).expect("space");
    refused(here, &["--role", "p1", "--config", "p1.toml"], 2, &["set `features`"]);
    std::fs::write(here.join("p1.toml"), agreed.replace("ranges:p0", "ranges:dealer")).expect("space");
    refused(here, &["--role", "p1", "--config", "p1.toml"], 2, &["\"ranges:dealer\" names nothing", "ranges:p1"]);
}

#[test]
fn ranges_measured_anew_are_told_and_nothing_else_is_revealed() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    data(here, 32, 9);
    let args = ["train", "--json", "--input", "images.idx", "--labels", "labels.idx", "--batch", "8", "--epochs", "2"];
    let plain = ["--rehearse", "8", "--ring", "32", "--reveal", "model:none"];
    let without = said(here, &[&args[..], &plain].concat());
    let page = ["--rescale-every", "2", "--report", "page.html"];
    let one = said(here, &[&args[..], &plain, &page].concat());
    assert_eq!((&without["measurement"], &without["rescale_every"]), (&Value::Null, &Value::Null));
    assert_eq!((&one["steps"], &one["rescale_every"]), (&json!(8), &json!(2)));
    assert_eq!(one["measurement"]["turns"], 3, "before steps 3, 5 and 7: {one}");
    let of = |what: &Value| what["comparisons"].as_u64().expect("a number");
    assert!(of(&one["measurement"]["cost"]) > of(&one["step"]), "measuring compares beside the step's own work: {one}");
    assert_eq!(one["reveals"], json!(["ranges:both"]));
    // Not the ranges' reveal alone keeps what nobody asked for closed.
    assert_eq!((&one["losses"], &one["out"], &one["test"]), (&json!([]), &json!([]), &Value::Null));
    for epoch in one["epochs"].as_array().expect("epochs") {
        assert!(
            ["accuracy", "loss", "clear_accuracy", "clear_loss"].iter().all(|key| epoch[*key].is_null()),
            "{epoch}"
        );
    }
    let page = std::fs::read_to_string(here.join("page.html")).expect("a page");
    assert!(
        page.contains("every 2 steps (--rescale-every), to both parties and the dealer")
            && page.contains("ranges measured")
    );
    assert!(!page.contains("<polyline"), "there is no curve of what nobody learned");
}

/// Steps that are too great for what the rehearsal saw.
const WILD: [&str; 10] = ["--limit", "64", "--batch", "16", "--epochs", "4", "--rehearse", "1", "--lr", "3"];

#[test]
fn a_training_that_goes_wrong_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    let diverged = ["p1 stopped: the training diverged", "at step", "a lower --lr"];
    refused(here, &[&WILD[..], &["--reveal", "loss", "--out", "out"]].concat(), 2, &diverged);
    let output = ariann(here, &[&["train", "--json"], &WILD[..], &["--reveal", "loss"]].concat());
    let last: Value = serde_json::from_str(text(&output.stdout).lines().last().expect("a line")).expect("JSON");
    assert_eq!((&last["event"], &last["fault"], output.status.code()), (&json!("error"), &json!("operator"), Some(2)));
    let left = ["stopped: ranges: \"fc", "left its range", "a lower learning rate or --ring 64"];
    refused(here, &[&WILD[..], &["--rescale-every", "1"]].concat(), 2, &left);
    assert!(!here.join("out/model.onnx").exists(), "what diverged is no trained model");
}

#[test]
fn a_start_that_left_no_checkpoint_is_no_dead_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    let few = ["--json", "--limit", "32", "--batch", "16", "--epochs", "1", "--rehearse", "2", "--checkpoint", "safe"];
    let few = [&["train"], &few[..]].concat();
    let first = said(here, &few);
    refused(here, &few[1..], 2, &["--checkpoint safe", "--resume"]);
    // As after a crash before the first one was written.
    for party in ["safe/p0", "safe/p1"] {
        std::fs::remove_dir_all(here.join(party)).expect("a folder of checkpoints");
    }
    let again = said(here, &[&few[..], &["--resume"]].concat());
    assert_eq!((&again["job"], &again["first_turn"], &again["steps"]), (&first["job"], &json!(0), &json!(2)));
    // Checkpoints of one training and the job of another.
    let other = [&few[..], &["--seed", "7"]].concat();
    let other: Vec<&str> = other.iter().map(|word| if *word == "safe" { "other" } else { word }).collect();
    said(here, &other);
    std::fs::copy(here.join("safe/job.json"), here.join("other/job.json")).expect("a job");
    let mixed: Vec<&str> = few[1..].iter().map(|word| if *word == "safe" { "other" } else { word }).collect();
    refused(
        here,
        &[&mixed[..], &["--resume"]].concat(),
        2,
        &["it belongs to another job", "take it out of the folder"],
    );
    refused(here, &[&few[1..], &["--resume", "--sign", "coarse"]].concat(), 2, &["--sign differs"]);
}

#[test]
fn a_log_has_few_lines_and_says_when_a_test_set_lies_idle() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    data(here, 32, 9);
    let args = ["train", "--input", "images.idx", "--labels", "labels.idx", "--batch", "8", "--epochs", "2"];
    let more = ["--rehearse", "2", "--test-input", "images.idx", "--test-labels", "labels.idx", "--reveal", "loss"];
    let output = ariann(here, &[&args[..], &more].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let (told, log) = (text(&output.stdout), text(&output.stderr));
    assert!(told.contains("the test set is not used") && told.contains("--reveal accuracy:p1"), "{told}");
    assert!((1..=2).all(|epoch| log.contains(&format!("epoch {epoch}: loss 0."))), "{log}");
    assert!(log.lines().count() < 12 && !log.contains('\u{1b}') && !log.contains('\r'), "{log}");
}

/// Starts a training, interrupts it as soon as `begun` holds, and returns what it said.
fn interrupted(here: &Path, args: &[&str], begun: impl Fn() -> bool) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ariann"));
    command.args(args).current_dir(here).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env("TMPDIR", here.join("temporary"));
    let mut child = command.spawn().expect("the program starts");
    while !begun() {
        assert!(child.try_wait().expect("our child").is_none(), "it ended before it was interrupted");
        std::thread::sleep(Duration::from_millis(10));
    }
    let signal = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
    assert!(signal.success());
    child.wait_with_output().expect("our child")
}

#[test]
fn an_interrupt_ends_it_and_tells_how_to_go_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    data(here, 32, 9);
    let args = ["train", "--input", "images.idx", "--labels", "labels.idx", "--batch", "8", "--epochs", "2000"];
    std::fs::create_dir(here.join("temporary")).expect("a folder");
    let kept = [&args[..], &["--rehearse", "2", "--checkpoint", "safe", "--checkpoint-every", "1"]].concat();
    let written = || {
        ["safe/p0", "safe/p1"].iter().all(|party| std::fs::read_dir(here.join(party)).is_ok_and(|it| it.count() > 1))
    };
    let output = interrupted(here, &kept, written);
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("interrupted; the roles were ended") && told.contains("with --resume goes on"), "{told}");
    // In the rehearsal there are no roles yet. It comes after the folder of the run, made when interrupts are heeded.
    let long = [&args[..], &["--rehearse", "1000000", "--report", "page.html"]].concat();
    let made = || std::fs::read_dir(here.join("temporary")).is_ok_and(|it| it.count() > 0);
    let output = interrupted(here, &long, made);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    assert!(!made(), "the folder of a run is removed");
    assert!(text(&output.stderr).contains("interrupted in the rehearsal"), "{}", text(&output.stderr));
}
