//! A model that was trained on pooled rows and never revealed answers outside clients: what they learn is what the shared model says,
//! no mask serves two values, and whoever does not fit is told why.

use std::path::Path;
use std::process::Command;

use ariann_testkit::processes::{Role, run};
use ariann_testkit::record::{Place, Record};
use ariann_testkit::seams::{MASKED, RECEIVED};
use ariann_testkit::stage::{Stage, own};
use serde_json::Value;

const TRAIN: [&str; 2] = ["fashion-train-images-idx3-ubyte.gz", "fashion-train-labels-idx1-ubyte.gz"];
const TEST: [&str; 2] = ["fashion-test-images-idx3-ubyte.gz", "fashion-test-labels-idx1-ubyte.gz"];
/// Items of the test set.
const TESTED: usize = 200;

fn train(stage: &Stage, role: &str, config: &str) -> Role {
    Role::start(&mut stage.command(&["train", "--role", role, "--config", config, "--json"]))
}

fn dealer(stage: &Stage, name: &str, more: &str) -> Role {
    let pins = format!("p0 = \"{}\"\np1 = \"{}\"\n", stage.pin("p0"), stage.pin("p1"));
    stage.write(name, &format!("job = \"job.json\"\nlisten = \"127.0.0.1:0\"\n{pins}{}{more}", own("dealer")));
    train(stage, "dealer", name)
}

/// A pooled training of two owners whose model nobody learns; returns its accuracy on the test set.
fn trained(stage: &Stage) -> f64 {
    for name in ["north", "south", "west"] {
        stage.run(&["identity", "new", name, "--folder", "ids"]).success();
    }
    stage.run(&["zoo", "network1", "--seed", "1", "-o", "model.onnx"]).success();
    let (north, south) =
        (format!("north,{},600,0", stage.pin("north")), format!("south,{},400,{TESTED}", stage.pin("south")));
    let args = ["train", "--model", "model.onnx", "--loss", "ce", "--lr", "0.02", "--batch", "20", "--epochs", "2"];
    let owners = ["--owner", &north, "--owner", &south, "--calibration", TEST[0], "--calibration-labels", TEST[1]];
    let reveals = ["--reveal", "accuracy:p1", "--reveal", "model:none", "--job-only", "job.json"];
    stage.run(&[&args[..], &owners, &reveals].concat()).success();
    let mut dealing = dealer(stage, "deal.toml", "");
    let at_dealer = dealing.address();
    let party = |name: &str, other: &str, more: &str| {
        let text = format!(
            "role = \"{name}\"\njob = \"job.json\"\ncheckpoint = \"{name}-kept\"\nowners = \"127.0.0.1:0\"\npeer = \"{}\"\n\
             checkpoint_every = 1000\nthreads = 1\nallow = [\"accuracy:p1\"]\n{more}\n{}{}",
            stage.pin(other),
            own(name),
            stage.remote("dealer", &at_dealer, "dealer")
        );
        stage.write(&format!("{name}-train.toml"), &text);
    };
    party("p0", "p1", "model = \"model.onnx\"\nlisten = \"127.0.0.1:0\"");
    let mut first = train(stage, "p0", "p0-train.toml");
    party("p1", "p0", &format!("connect = \"{}\"", first.address()));
    let mut second = train(stage, "p1", "p1-train.toml");
    let at = [&mut first, &mut second].map(|role| role.event("listening_for_owners")["address"].clone());
    let owners = [("north", 600, ""), ("south", 400, "test_features")].map(|(name, rows, tests)| {
        let tests = match tests {
            "" => String::new(),
            _ => format!("test_features = \"{}\"\ntest_labels = \"{}\"\ntest_limit = {TESTED}\n", TEST[0], TEST[1]),
        };
        let text = format!(
            "job = \"job.json\"\nfeatures = \"{}\"\nlabels = \"{}\"\nlimit = {rows}\nallow = [\"accuracy:p1\"]\n{tests}{}{}{}",
            TRAIN[0],
            TRAIN[1],
            own(name),
            stage.remote("p0", at[0].as_str().unwrap(), "p0"),
            stage.remote("p1", at[1].as_str().unwrap(), "p1")
        );
        stage.write(&format!("{name}.toml"), &text);
        train(stage, "owner", &format!("{name}.toml"))
    });
    owners.into_iter().for_each(|owner| drop(owner.finish().success()));
    let report = second.finish().success().last()["report"].take();
    assert_eq!(first.finish().success().last()["report"]["files"], Value::Null, "nobody has the model");
    dealing.finish().success();
    report["epochs"][1]["accuracy"].as_f64().unwrap()
}

/// The configuration of a party that answers; `west` may ask.
fn answers(stage: &Stage, name: &str, place: &str, dealer: &str, more: &str) -> Command {
    let other = if name == "p0" { "p1" } else { "p0" };
    let text = format!(
        "role = \"{name}\"\nplan = \"{name}-plan.json\"\n{place}\npeer = \"{}\"\nthreads = 1\n{}{}{more}\n\
         [trained]\njob = \"job.json\"\ncheckpoint = \"{name}-kept\"\n\
         [outside]\nlisten = \"127.0.0.1:0\"\n[outside.clients]\nwest = \"{}\"\n",
        stage.pin(other),
        own(name),
        stage.remote("dealer", dealer, "dealer"),
        stage.pin("west")
    );
    stage.write(&format!("{name}-answer.toml"), &text);
    stage.command(&["serve", "--role", name, "--config", &format!("{name}-answer.toml"), "--json"])
}

/// Dealer, P0 and P1, with material for some batches, and where clients ask.
fn roles(stage: &Stage, items: u32, batches: u64, sessions: u32) -> ([Role; 3], [String; 2]) {
    let table = format!("answers = {{ items = {items}, batches = {batches} }}\n");
    let mut dealing = dealer(stage, "deal-answers.toml", &table);
    let at = dealing.address();
    let mut first = Role::start(&mut answers(stage, "p0", "listen = \"127.0.0.1:0\"", &at, &table));
    let place = format!("connect = \"{}\"\nsessions = {sessions}", first.address());
    let mut second = Role::start(&mut answers(stage, "p1", &place, &at, &table));
    let doors = [&mut first, &mut second].map(|role| role.event("listening_for_owners")["address"].clone());
    ([second, first, dealing], doors.map(|door| door.as_str().unwrap().to_string()))
}

fn asks(stage: &Stage, at: &[String; 2], input: &Path, more: &str) -> Command {
    let text = format!(
        "plan = \"p0-plan.json\"\ninput = \"{}\"\n{more}\n{}{}{}",
        input.display(),
        own("west"),
        stage.remote("p0", &at[0], "p0"),
        stage.remote("p1", &at[1], "p1")
    );
    stage.write("ask.toml", &text);
    stage.command(&["query", "--role", "client", "--config", "ask.toml", "--json"])
}

#[test]
fn a_model_that_nobody_knows_answers_a_client() {
    let mut stage = Stage::new(env!("CARGO_BIN_EXE_ariann-under-test"));
    let accuracy = trained(&stage);
    assert!(accuracy > 0.4, "it learned something: {accuracy}");
    let (masked, seen) = (stage.path("masked"), stage.path("seen"));
    std::fs::create_dir(&seen).unwrap();
    stage.set(MASKED, &masked);
    stage.set(RECEIVED, &seen);

    // The test set, as a client: requests of 70 items over batches of 30, the last one filled up.
    let (roles_at_work, at) = roles(&stage, 30, 9, 1);
    let images = stage.images("asked.idx", &(0..TESTED).collect::<Vec<_>>());
    let report = run(&mut asks(&stage, &at, &images, "batch = 70")).success().last()["report"].take();
    let labels = ariann_data::load_labels(&stage.path(TEST[1]), Some(TESTED)).unwrap();
    let said: Vec<u64> =
        report["predictions"].as_array().unwrap().iter().map(|label| label.as_u64().unwrap()).collect();
    assert_eq!(said.len(), TESTED);
    let right = said.iter().zip(&labels).filter(|(said, label)| **said == **label as u64).count();
    let difference = (right as f64 / TESTED as f64 - accuracy).abs();
    println!("{right} of {TESTED} right; the training's test said {accuracy}");
    assert!(
        difference <= 1.5 / TESTED as f64,
        "{right} of {TESTED} are right, and the training's test said {accuracy}"
    );
    for role in roles_at_work {
        let report = role.finish().success().last()["report"].take();
        if report["role"] != "dealer" {
            assert_eq!((&report["items"], &report["slots"]), (&210.into(), &270.into()), "{report}");
            assert_eq!(
                (&report["predictions"], &report["logits"]),
                (&Value::Null, &Value::Null),
                "parties learn nothing"
            );
        }
    }
    // Each mask binds one value, weights' masks with them; of a client a party hears a seed, or as many words as items have.
    let record = Record::read(&masked);
    // Seventy items are three batches, and there were three requests.
    assert_eq!(["p0", "p1"].map(|party| record.slots(party)), [9, 9]);
    assert_eq!(record.used_twice(), Vec::<&Place>::new());
    assert_eq!(record.two_values(), Vec::<&Place>::new());
    let heard = |party: &str| std::fs::read(seen.join(format!("{party}-from-client west"))).unwrap().len();
    let around = 3 * (1 + 1 + 1 + 32 + 16 + 1 + 1) + 1;
    assert_eq!([heard("p0"), heard("p1")], [around + 3 * 16, around + 210 * 784 * 4]);

    // The same again: other masks, the same answers.
    let (roles_at_work, at) = roles(&stage, 30, 1, 2);
    let few = stage.images("few.idx", &(0..20).collect::<Vec<_>>());
    let again = run(&mut asks(&stage, &at, &few, "batch = 20")).success().last()["report"].take();
    let [logits, before] = [&again, &report].map(|report| {
        let rows = report["logits"].as_array().unwrap().iter().take(20).flat_map(|row| row.as_array().unwrap().clone());
        rows.map(|value| value.as_f64().unwrap()).collect::<Vec<_>>()
    });
    let most = logits.iter().zip(&before).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    let greatest = before.iter().fold(0.0f64, |max, value| max.max(value.abs()));
    println!("answers of up to {greatest:.2} differ by {most:.4}");
    assert!(most < 0.02 * greatest, "answers of up to {greatest} differ by {most}");
    // There was one batch.
    run(&mut asks(&stage, &at, &few, "batch = 20")).failure(4, &["no material left"]);
    let [second, first, dealing] = roles_at_work;
    // P1 is killed: nobody goes on with what was dealt.
    let mut second = second;
    second.kill();
    first.finish().failure(4, &["P1"]);
    dealing.finish().success();
    assert_eq!(Record::read(&masked).two_values(), Vec::<&Place>::new());

    refusals(&stage, &few);
}

/// Whoever does not fit is told before anything is computed.
fn refusals(stage: &Stage, few: &Path) {
    let table = |items: u32| format!("answers = {{ items = {items}, batches = 2 }}\n");
    // Numbers of items that differ.
    let mut dealing = dealer(stage, "deal-answers.toml", &table(10));
    let at = dealing.address();
    let mut first = Role::start(&mut answers(stage, "p0", "listen = \"127.0.0.1:0\"", &at, &table(10)));
    let place = format!("connect = \"{}\"", first.address());
    run(&mut answers(stage, "p1", &place, &at, &table(11))).failure(4, &["job"]);
    first.finish().failure(4, &["job"]);
    dealing.kill();
    // Another plan than the one that was written before.
    let mut dealing = dealer(stage, "deal-answers.toml", &table(10));
    let at = dealing.address();
    let mut first = Role::start(&mut answers(stage, "p0", "listen = \"127.0.0.1:0\"", &at, &table(10)));
    let place = format!("connect = \"{}\"", first.address());
    let mut second = Role::start(&mut answers(stage, "p1", &place, &at, &table(10)));
    first.finish().failure(2, &["p0-plan.json", "another plan"]);
    second.kill();
    dealing.kill();
    // A training that has not ended, and none; the roles exchanged; flags.
    std::fs::create_dir_all(stage.path("p1-kept/none")).unwrap();
    let place = "connect = \"127.0.0.1:9\"";
    let config = |from: &str, to: &str| {
        answers(stage, "p1", place, "127.0.0.1:9", &table(30));
        let text = std::fs::read_to_string(stage.path("p1-answer.toml")).unwrap();
        assert!(text.contains(from));
        stage.write("p1-answer.toml", &text.replace(from, to));
        stage.command(&["serve", "--role", "p1", "--config", "p1-answer.toml", "--json"])
    };
    run(&mut config("\"p1-kept\"", "\"p1-kept/none\"")).failure(2, &["no checkpoint of a training that has ended"]);
    run(&mut config("role = \"p1\"", "role = \"p0\"")).failure(2, &["configuration of P0", "--role p0"]);
    let _ = config("threads", "threads");
    run(&mut stage.command(&["serve", "--role", "p1", "--config", "p1-answer.toml", "--plan", "plan.json"]))
        .failure(2, &["--plan", "[trained]"]);
    // What `doctor` says of it.
    let said = stage.run(&["doctor", "--json", "--config", "p1-answer.toml"]).json();
    let of = |kind: &str| {
        let checks = said["checks"].as_array().unwrap().iter().filter(|check| check["check"] == kind);
        checks.map(|check| check["grade"].as_str().unwrap().to_string()).collect::<Vec<_>>()
    };
    assert_eq!((of("job"), of("checkpoints"), of("pin").len()), (vec!["ok".into()], vec!["ok".into()], 3), "{said:#}");
    assert_eq!(of("reach"), ["problem", "problem"], "nobody is there");
    assert!(few.exists());
}
