//! `ariann federate simulate`: owners and the server are killed, and every round that has enough owners has a result: that of those
//! who were counted, once each.

#[path = "../../federated/tests/settled/mod.rs"]
mod settled;

use std::path::Path;
use std::process::Command;

use serde_json::Value;

fn simulate(folder: &Path, config: &str) -> Value {
    let path = folder.join("simulation.toml");
    std::fs::write(&path, config).unwrap();
    let page = folder.join("page.html");
    let program = env!("CARGO_BIN_EXE_ariann");
    let run = Command::new(program)
        .args(["--json", "federate", "simulate", "--config"])
        .arg(&path)
        .arg("--report")
        .arg(&page)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{config}\n{}{told}", String::from_utf8_lossy(&run.stdout));
    println!("{told}");
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("Round 1: accuracy") && page.contains("owner 3"));
    serde_json::from_slice(&run.stdout).unwrap()
}

/// A moment of a round: any, another one in every run.
fn moment() -> f64 {
    let mut byte = [0];
    ariann_prg::entropy(&mut byte).unwrap();
    f64::from(byte[0]) / 200.0
}

#[test]
fn ten_owners_of_which_three_are_killed_and_a_server_that_is_killed_too() {
    let folder = tempfile::tempdir().unwrap();
    let moments = [moment(), moment(), moment(), moment()];
    let network = ariann_graph::zoo::network("network1", &ariann_graph::zoo::Options::default()).unwrap();
    let model = folder.path().join("settled.onnx");
    std::fs::write(&model, settled::settled(&network.onnx)).unwrap();
    let config = format!(
        r#"
model = "{}"
lr = 0.01
momentum = 0.9
owners = 10
rounds = 5
threshold = 6
split = "labels"
batch = 20
ring = 64
reveal = "model:owners"
out = "{}"
[deadline]
join = 4
patience = 120
phase = 60
training = 120
[[kill]]
owner = 2
round = 2
after = {}
back = 0.5
[[kill]]
round = 3
after = {}
[[kill]]
owner = 4
round = 4
after = {}
[[kill]]
owner = 7
round = 5
after = {}
"#,
        model.display(),
        folder.path().join("trained").display(),
        moments[0],
        moments[1],
        moments[2],
        moments[3]
    );
    let document = simulate(folder.path(), &config);
    let rounds = document["rounds"].as_array().unwrap();
    assert_eq!(rounds.len(), 5);
    let mut numbers = Vec::new();
    for round in rounds {
        let survivors = round["round"]["survivors"].as_array().unwrap();
        assert!((6..=10).contains(&survivors.len()), "{round}");
        let mut once = survivors.clone();
        once.dedup();
        assert_eq!(&once, survivors, "nobody is counted twice");
        numbers.push(round["round"]["round"].as_u64().unwrap());
        let [private, clear] = [&round["round"]["accuracy"], &round["clear_accuracy"]].map(|it| it.as_f64().unwrap());
        assert!((private - clear).abs() <= 0.02, "{config}\n{round}");
    }
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    // The rows of an owner have few of the labels, so its updates are unlike those of the others: one that is missing, or counted
    // twice, is more than this.
    let difference = document["difference_to_clear"].as_f64().unwrap();
    println!("{moments:?}: off by {difference}");
    assert!(difference < 0.02, "{config}\noff by {difference}");
    for file in ["model.onnx", "model.safetensors"] {
        assert!(folder.path().join("trained").join(file).is_file());
    }
}

#[test]
fn what_differential_privacy_spends_is_told_for_every_round_and_on_the_page() {
    let folder = tempfile::tempdir().unwrap();
    let config = format!(
        r#"
owners = 3
rounds = 2
batch = 20
limit = 180
ring = 64
reveal = "model:owners"
out = "{}"
[privacy]
clip = 0.5
noise = 2.0
delta = 1e-5
"#,
        folder.path().join("trained").display(),
    );
    let document = simulate(folder.path(), &config);
    let spent = |round: usize| {
        let differential = &document["rounds"][round]["round"]["privacy"]["differential"];
        assert_eq!(differential["delta"].as_f64(), Some(1e-5), "{document}");
        assert_eq!(differential["rounds"].as_u64(), Some(round as u64 + 1));
        // The noise has driven values out of their range, and what a test counts then is told as nothing.
        let accuracy = document["rounds"][round]["round"]["accuracy"].as_f64();
        assert!(accuracy.is_none_or(|accuracy| (0.0..=1.0).contains(&accuracy)), "{document}");
        differential["epsilon"].as_f64().unwrap()
    };
    let (first, second) = (spent(0), spent(1));
    // At noise 2 an exactly clipped round has 2.17 and two have 3.2; clipping under sharing lets an update exceed C by some percent.
    assert!((2.1..2.4).contains(&first) && (first * 1.3..first * 2.0).contains(&second), "{first} {second}");
    let page = std::fs::read_to_string(folder.path().join("page.html")).unwrap();
    assert!(page.contains("differential privacy") && page.contains(&format!("{second:.2}")), "{second}");
    // The noise, of deviation 2·0.5/3 a coordinate, is far above all that 9 steps change.
    assert!(document["difference_to_clear"].as_f64().unwrap() > 10.0, "noise was added");
}
