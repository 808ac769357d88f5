//! `ariann federate simulate`: owners and the server are killed, and every round that has enough owners has a result.

use std::process::Command;

use serde_json::Value;

fn simulate(config: &str) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("simulation.toml");
    std::fs::write(&path, config).unwrap();
    let page = folder.path().join("page.html");
    let program = env!("CARGO_BIN_EXE_ariann");
    let run = Command::new(program)
        .args(["--json", "federate", "simulate", "--config"])
        .arg(&path)
        .arg("--report")
        .arg(&page)
        .output()
        .unwrap();
    assert!(run.status.success(), "{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("Round 1: accuracy") && page.contains("owner 3"));
    serde_json::from_slice(&run.stdout).unwrap()
}

#[test]
fn rounds_go_on_without_those_who_are_killed() {
    let document = simulate(
        r#"
owners = 4
rounds = 4
threshold = 3
split = "labels"
limit = 800
[deadline]
join = 4
patience = 60
phase = 30
training = 60
[[kill]]
owner = 2
round = 2
after = 0.2
back = 0.5
[[kill]]
round = 3
after = 0.2
[[kill]]
owner = 4
round = 4
after = 0.0
"#,
    );
    let rounds = document["rounds"].as_array().unwrap();
    assert_eq!(rounds.len(), 4);
    let mut numbers = Vec::new();
    for round in rounds {
        let survivors = round["round"]["survivors"].as_array().unwrap();
        assert!((3..=4).contains(&survivors.len()), "{round}");
        let mut once = survivors.clone();
        once.dedup();
        assert_eq!(&once, survivors, "nobody is counted twice");
        numbers.push(round["round"]["round"].as_u64().unwrap());
        let [private, clear] = [&round["round"]["accuracy"], &round["clear_accuracy"]].map(|it| it.as_f64().unwrap());
        assert!((private - clear).abs() <= 0.08, "{round}");
    }
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
}
