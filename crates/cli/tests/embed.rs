//! The program as calls: a model compiled once, priced, simulated and run; and what a parent process is told.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ariann_cli::embed::{Model, Run};
use ariann_data::bundled;
use ariann_session::events::{Event, Events};
use ariann_session::{Fault, Program};
use serde_json::Value;

struct Stages(Vec<&'static str>);

impl Events for Stages {
    fn tell(&mut self, event: Event) {
        if let Event::Progress { stage, .. } = event {
            self.0.push(stage);
        }
    }
}

fn placed(folder: &Path, file: bundled::File) -> PathBuf {
    let path = folder.join(file.name);
    std::fs::write(&path, file.bytes).unwrap();
    path
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

#[test]
fn a_compiled_model_runs_again_and_again() {
    Program::host(Program { path: env!("CARGO_BIN_EXE_ariann").into(), args: Vec::new(), quick: None });
    let folder = tempfile::tempdir().unwrap();
    let (network, images) = (placed(folder.path(), bundled::model()), placed(folder.path(), bundled::test_images()));
    let model = Model::compile(&network, &words(&["--calibration-limit=100", "--link=lan"])).unwrap();
    let cost = model.cost(10);
    assert_eq!((cost["batch"].as_u64(), cost["link"].as_str()), (Some(10), Some("lan")));
    let simulated = model.simulate(&images).unwrap();
    assert_eq!(simulated.len(), 500 * 10);
    for round in ["first", "second"] {
        let (roles, mut stages) = (folder.path().join(round), Stages(Vec::new()));
        std::fs::create_dir(&roles).unwrap();
        let run = Run { folder: &roles, input: &images, batch: 250, threads: Some(1), interrupted: || false };
        let logits = model.predict(&run, &mut stages).unwrap().p1.logits.unwrap();
        let apart = logits.iter().flatten().zip(&simulated).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(logits.len() == 500 && apart < 0.5, "{} rows, {apart}", logits.len());
        assert!(stages.0.contains(&"dealing") && stages.0.contains(&"predicting"));
    }
    let roles = folder.path().join("interrupted");
    std::fs::create_dir(&roles).unwrap();
    let run = Run { folder: &roles, input: &images, batch: 250, threads: None, interrupted: || true };
    let error = model.predict(&run, &mut Stages(Vec::new())).err().unwrap();
    assert!(error.to_string().contains("interrupted"), "{error}");
}

#[test]
fn what_cannot_be_compiled_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let network = placed(folder.path(), bundled::model());
    for options in [&["--ring=16"][..], &["--nothing"], &["--reveal=all"]] {
        let error = Model::compile(&network, &words(options)).err().unwrap();
        assert_eq!(error.fault(), Fault::Operator, "{error}");
        assert!(!error.to_string().starts_with("error: ") && !error.is_unsupported());
    }
    std::fs::write(folder.path().join("none.onnx"), b"none").unwrap();
    let error = Model::compile(&folder.path().join("none.onnx"), &[]).err().unwrap();
    assert_eq!(error.fault(), Fault::Input, "{error}");
}

fn told(config: &Path, supervised: bool) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ariann"));
    command.args(["--json", "federate", "simulate", "--config"]).arg(config);
    if supervised {
        command.arg("--supervised");
    }
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"\n").unwrap();
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_parent_is_told_of_progress_and_a_federation_can_be_written_only() {
    let folder = tempfile::tempdir().unwrap();
    let (config, kept) = (folder.path().join("simulation.toml"), folder.path().join("kept"));
    std::fs::write(&config, format!("owners = 2\nthreshold = 2\nwrite_only = true\nfolder = {kept:?}\n")).unwrap();
    let alone = told(&config, false);
    let files = serde_json::from_str::<Value>(&alone).unwrap()["files"].as_array().unwrap().clone();
    let names: Vec<_> = files.iter().map(|file| file.as_str().unwrap().rsplit('/').next().unwrap()).collect();
    assert_eq!(names, ["federation.json", "server.toml", "dealer.toml", "owner-1.toml", "owner-2.toml"]);
    assert!(files.iter().all(|file| Path::new(file.as_str().unwrap()).is_file()));
    let watched = told(&config, true);
    let events = watched.lines().take_while(|line| line.starts_with("{\""));
    let stages: Vec<Value> = events.map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!stages.is_empty() && stages.iter().all(|event| event["event"] == "progress"), "{watched}");
    let document = watched.lines().skip(stages.len()).collect::<String>();
    assert_eq!(serde_json::from_str::<Value>(&document).unwrap()["files"].as_array().unwrap().len(), 5);
    std::fs::write(&config, "write_only = true\n").unwrap();
    let refused = Command::new(env!("CARGO_BIN_EXE_ariann"))
        .args(["--json", "federate", "simulate", "--config"])
        .arg(&config)
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(2));
}
