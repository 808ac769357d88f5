//! What `doctor` finds at the roles beyond a single prediction: outside clients, pooled training, federations; in good and in bad
//! order, and without disturbing roles that wait.

use std::time::Instant;

use ariann_testkit::processes::{PATIENCE, Role, run};
use ariann_testkit::stage::{Stage, findings, findings_of, own};
use serde_json::Value;

fn stage(names: &[&str]) -> Stage {
    let stage = Stage::new(env!("CARGO_BIN_EXE_ariann-under-test"));
    for name in names {
        stage.run(&["identity", "new", name, "--folder", "ids"]).success();
    }
    stage
}

/// What `doctor` says about a configuration of a role; who is at fault is named with what to do.
#[track_caller]
fn examine(stage: &Stage, config: &str, role: &str) -> Value {
    let said = stage.doctor(config);
    assert_eq!(said["role"], role, "{said:#}");
    for check in findings(&said) {
        let told = [&check["fault"], &check["advice"]].map(Value::is_string);
        assert_eq!(told, [check["grade"] != "ok"; 2], "{check}");
    }
    said
}

/// Nothing but these kinds is looked at, as often, and all is well; this machine aside.
#[track_caller]
fn well(said: &Value, kinds: &[(&str, usize)]) {
    let odd: Vec<_> = findings(said).iter().filter(|check| check["grade"] == "problem").collect();
    assert!(odd.is_empty(), "{odd:#?}");
    for (kind, count) in kinds {
        assert_eq!(findings_of(said, kind).len(), *count, "{kind} in {said:#}");
    }
    let known = |check: &&Value| kinds.iter().any(|(kind, _)| check["check"] == *kind);
    assert_eq!(findings(said).iter().filter(known).count() + 4, findings(said).len(), "{said:#}");
}

/// The only problem of a kind: who is at fault, what it says and what to do.
#[track_caller]
fn found(said: &Value, kind: &str, fault: &str, words: &[&str]) {
    let all = findings_of(said, kind);
    let bad: Vec<_> = all.iter().filter(|check| check["grade"] == "problem").collect();
    let [one] = bad[..] else { panic!("{kind}: {all:#?}") };
    assert_eq!(one["fault"], fault, "{one}");
    let told = format!("{} {} {}", one["subject"], one["finding"], one["advice"].as_str().expect("what to do"));
    words.iter().for_each(|word| assert!(told.contains(word), "{word:?} is not in {told}"));
}

/// The file as it is, after `change` of it was looked at.
#[track_caller]
fn changed(stage: &Stage, config: &str, role: &str, [from, to]: [&str; 2], look: impl FnOnce(&Value)) {
    let kept = std::fs::read(stage.path(config)).unwrap();
    stage.edit(config, from, to);
    look(&examine(stage, config, role));
    std::fs::write(stage.path(config), kept).unwrap();
}

/// Waits until a role has said a notice with this text.
#[track_caller]
fn told(role: &mut Role, text: &str) {
    let end = Instant::now() + PATIENCE;
    while !role.events(0).iter().any(|(_, event)| event["text"].to_string().contains(text)) {
        assert!(Instant::now() < end && !role.ended(), "no notice with {text:?}; {}", role.stderr());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[test]
fn roles_of_outside_clients() {
    let stage = stage(&["north"]);
    stage.plan("plan.json", &["--reveal", "logits:client"]);
    stage.plan("other.json", &[]);
    stage.deal("plan.json", 4, "dealt");
    let clients =
        format!("[outside]\nlisten = \"127.0.0.1:0\"\n[outside.clients]\nnorth = \"{}\"\n", stage.pin("north"));
    let mut serve = stage.serve(&format!("{}\nsessions = 1", stage.takes("dealt", "p0")));
    let text = std::fs::read_to_string(stage.path("p0.toml")).unwrap();
    stage.write("p0.toml", &format!("{text}{clients}"));
    let kinds = [("plan", 1), ("file", 1), ("identity", 1), ("pin", 2), ("disk", 1), ("material", 1), ("listen", 2)];
    well(&examine(&stage, "p0.toml", "p0"), &kinds);
    let pin = format!("north = \"{}\"", stage.pin("north"));
    changed(&stage, "p0.toml", "p0", [&pin, ""], |said| {
        found(said, "pin", "operator", &["no client", "[outside.clients]"])
    });
    changed(&stage, "p0.toml", "p0", ["plan.json", "other.json"], |said| {
        found(said, "plan", "operator", &["P1's", "--reveal logits:client"]);
    });

    let mut first = Role::start(&mut serve);
    let address = first.address();
    let text = format!(
        "plan = \"plan.json\"\nstate = \"state-p1\"\nsessions = 1\n{}\n{}{}{clients}",
        stage.takes("dealt", "p1"),
        own("p1"),
        stage.remote("peer", &address, "p0")
    );
    stage.write("assist.toml", &text);
    let kinds = [("plan", 1), ("identity", 1), ("pin", 2), ("disk", 1), ("material", 1), ("listen", 1), ("reach", 1)];
    well(&examine(&stage, "assist.toml", "p1"), &kinds);
    assert!(!stage.path("state-p1").exists(), "a look makes no state folder");
    changed(&stage, "assist.toml", "p1", [&address, "127.0.0.1:1"], |said| {
        found(said, "reach", "peer", &["127.0.0.1:1", "start P0"]);
    });
    let mut second = Role::start(&mut stage.command(&["serve", "--role", "p1", "--config", "assist.toml", "--json"]));
    let at = [&mut first, &mut second].map(|role| role.event("listening_for_owners")["address"].clone());
    let images = stage.images("one.idx", &stage.clear_cut[..1]);
    let text = format!(
        "plan = \"plan.json\"\ninput = \"{}\"\n{}{}{}",
        images.display(),
        own("north"),
        stage.remote("p0", at[0].as_str().unwrap(), "p0"),
        stage.remote("p1", at[1].as_str().unwrap(), "p1")
    );
    stage.write("ask.toml", &text);
    let kinds = [("plan", 1), ("data", 1), ("identity", 1), ("pin", 2), ("reach", 2)];
    well(&examine(&stage, "ask.toml", "client"), &kinds);
    changed(&stage, "ask.toml", "client", ["one.idx", "lost.idx"], |said| {
        found(said, "data", "operator", &["lost.idx"])
    });
    changed(&stage, "ask.toml", "client", ["one.idx", "plan.json"], |said| {
        found(said, "data", "input", &["plan.json"])
    });
    changed(&stage, "ask.toml", "client", ["plan.json", "other.json"], |said| {
        found(said, "plan", "operator", &["P1's"])
    });
    changed(&stage, "ask.toml", "client", ["\"north\"", "\"dealer\""], |said| {
        let refused = findings_of(said, "reach").into_iter().filter(|check| check["grade"] == "problem").count();
        assert_eq!(refused, 2, "nobody knows this identity: {said:#}");
    });
    // Who looked took nothing away, and was no client.
    let done = run(&mut stage.command(&["query", "--role", "client", "--config", "ask.toml", "--json"])).success();
    stage.check(&done.last()["report"], &stage.clear_cut[..1]);
    second.finish().success();
    first.finish().success();
}

#[test]
fn roles_of_a_pooled_training() {
    let stage = stage(&["north", "south"]);
    let [train, labels] = ["fashion-train-images-idx3-ubyte.gz", "fashion-train-labels-idx1-ubyte.gz"];
    stage.run(&["zoo", "network1", "-o", "model.onnx"]).success();
    stage.run(&["zoo", "network2", "-o", "other.onnx"]).success();
    let owner = |name: &str, rows: u32| format!("{name},{},{rows}", stage.pin(name));
    let (north, south) = (owner("north", 40), owner("south", 20));
    let args = ["train", "--model", "model.onnx", "--loss", "mse", "--lr", "0.01", "--batch", "20", "--epochs", "1"];
    let owners = ["--owner", &north, "--owner", &south, "--reveal", "loss:p1", "--job-only", "job.json"];
    let public = ["--calibration", train, "--calibration-labels", labels];
    stage.run(&[&args[..], &owners, &public].concat()).success();

    let pins = format!("p0 = \"{}\"\np1 = \"{}\"\n", stage.pin("p0"), stage.pin("p1"));
    stage.write("deal.toml", &format!("job = \"job.json\"\nlisten = \"127.0.0.1:0\"\n{pins}{}", own("dealer")));
    well(&examine(&stage, "deal.toml", "dealer"), &[("job", 1), ("identity", 1), ("pin", 2), ("listen", 1)]);
    changed(&stage, "deal.toml", "dealer", ["job.json", "plan.json"], |said| {
        found(said, "job", "operator", &["plan.json"])
    });
    let role = |role: &str, config: &str| {
        Role::start(&mut stage.command(&["train", "--role", role, "--config", config, "--json"]))
    };
    let mut dealer = role("dealer", "deal.toml");
    let at_dealer = dealer.address();

    let party = |name: &str, other: &str, allow: &str, more: &str| {
        let text = format!(
            "role = \"{name}\"\njob = \"job.json\"\ncheckpoint = \"{name}-kept\"\nowners = \"127.0.0.1:0\"\npeer = \"{}\"\n\
             allow = [\"{allow}\"]\nthreads = 1\n{more}\n{}{}",
            stage.pin(other),
            own(name),
            stage.remote("dealer", &at_dealer, "dealer")
        );
        stage.write(&format!("{name}-train.toml"), &text);
    };
    party("p0", "p1", "loss:p1", "model = \"model.onnx\"\nlisten = \"127.0.0.1:0\"");
    let both = [("job", 1), ("data", 1), ("consent", 1), ("identity", 1), ("disk", 1), ("checkpoints", 1), ("rows", 1)];
    let kinds = [&both[..], &[("pin", 4), ("file", 1), ("listen", 2), ("reach", 1)]].concat();
    let said = examine(&stage, "p0-train.toml", "p0");
    well(&said, &kinds);
    assert!(findings_of(&said, "disk")[0]["facts"]["needed_bytes"].as_u64() > Some(100_000), "{said:#}");
    assert!(!stage.path("p0-kept").exists(), "a look makes no folder of checkpoints");
    let bad = |change: [&str; 2], kind: &str, fault: &str, words: &[&str]| {
        changed(&stage, "p0-train.toml", "p0", change, |said| found(said, kind, fault, words));
    };
    bad(["model.onnx", "other.onnx"], "file", "input", &["not the network of the job"]);
    bad(["model.onnx", "lost.onnx"], "file", "operator", &["lost.onnx"]);
    bad(["loss:p1", "model:p0"], "consent", "operator", &["the loss to P1", "allow = "]);
    bad(["owners = \"127.0.0.1:0\"", ""], "rows", "operator", &["north, south", "HOST:PORT"]);
    bad(["threads = 1", "resume = true"], "checkpoints", "operator", &["none of this party"]);
    bad(["threads = 1", "features = \"plan.json\""], "data", "operator", &["others bring them"]);
    bad([&at_dealer, "127.0.0.1:1"], "reach", "peer", &["start the dealer"]);
    bad([&stage.pin("p1"), &stage.pin("dealer")], "pin", "operator", &["the same as that of P1"]);

    let mut first = role("p0", "p0-train.toml");
    let address = first.address();
    party("p1", "p0", "model:p0", &format!("connect = \"{address}\""));
    let kinds = [&both[..], &[("pin", 4), ("listen", 1), ("reach", 2)]].concat();
    well(&examine(&stage, "p1-train.toml", "p1"), &kinds);
    told(&mut first, "P1 looked whether P0 is here");
    changed(&stage, "p1-train.toml", "p1", ["connect", "listen"], |said| {
        found(said, "config", "operator", &["`connect`"])
    });

    let mut second = role("p1", "p1-train.toml");
    told(&mut first, "waits for the rows of north, south");
    told(&mut second, "waits for the rows of north, south");
    let at = [&mut first, &mut second].map(|role| role.event("listening_for_owners")["address"].clone());
    for (name, rows) in [("north", 40), ("south", 20)] {
        let text = format!(
            "job = \"job.json\"\nfeatures = \"{train}\"\nlabels = \"{labels}\"\nlimit = {rows}\nallow = [\"model:p0\", \"loss:p1\"]\n\
             {}{}{}",
            own(name),
            stage.remote("p0", at[0].as_str().unwrap(), "p0"),
            stage.remote("p1", at[1].as_str().unwrap(), "p1")
        );
        stage.write(&format!("{name}.toml"), &text);
        let kinds = [("job", 1), ("identity", 2), ("consent", 1), ("data", 1), ("pin", 2), ("reach", 2)];
        well(&examine(&stage, &format!("{name}.toml"), "owner"), &kinds);
    }
    let bad = |change: [&str; 2], kind: &str, fault: &str, words: &[&str]| {
        changed(&stage, "north.toml", "owner", change, |said| found(said, kind, fault, words));
    };
    bad(["limit = 40", "limit = 7"], "data", "input", &["7 items"]);
    bad([train, "lost.gz"], "data", "operator", &["lost.gz"]);
    bad(["\"loss:p1\"", "\"loss:p0\""], "consent", "operator", &["the loss to P1"]);
    bad(["\"north\"", "\"dealer\""], "identity", "operator", &["names no owner with this identity"]);
    for name in ["north", "south"] {
        run(&mut stage.command(&["train", "--role", "owner", "--config", &format!("{name}.toml"), "--json"])).success();
    }
    for role in [second, first, dealer] {
        role.finish().success();
    }
    found(&examine(&stage, "p0-train.toml", "p0"), "checkpoints", "operator", &["earlier training", "resume"]);
    stage.edit("p0-train.toml", "threads = 1", "resume = true");
    let said = examine(&stage, "p0-train.toml", "p0");
    assert!(findings_of(&said, "rows")[0]["finding"].as_str().unwrap().contains("of all owners are here"), "{said:#}");
    assert_eq!(findings_of(&said, "checkpoints")[0]["grade"], "ok", "{said:#}");
}

#[test]
fn roles_of_a_federation() {
    let stage = stage(&[]);
    let folder = stage.text("fed");
    let text = "owners = 2\nthreshold = 2\nrounds = 1\nlimit = 80\nbatch = 20\nreveal = \"model:owners\"\n";
    stage.write("simulation.toml", text);
    let args = ["federate", "prepare", "--config", "simulation.toml", "--folder", &folder];
    let files = stage.run(&[&args[..], &["--json"]].concat()).success().json();
    let names: Vec<_> =
        files["files"].as_array().unwrap().iter().map(|file| file.as_str().unwrap().to_string()).collect();
    let wanted = ["federation.json", "server.toml", "dealer.toml", "owner-1.toml", "owner-2.toml"];
    assert_eq!(names, wanted.map(|name| stage.path("fed").join(name).display().to_string()));
    assert_eq!(stage.run(&args).success().stdout.lines().collect::<Vec<_>>(), names, "again, and the identities stay");
    stage.run(&args[..4]).failure(2, &["--folder"]);
    assert!(!stage.path("fed/state-server").exists(), "nothing was trained");

    let dealer = [("federation", 1), ("identity", 2), ("pin", 3), ("listen", 1)];
    well(&examine(&stage, "fed/dealer.toml", "dealer"), &dealer);
    let role = |role: &str| {
        let config = stage.text(&format!("fed/{role}.toml"));
        let role = role.split('-').next().unwrap();
        Role::start(&mut stage.command(&["federate", role, "--config", &config, "--json"]))
    };
    let mut dealing = role("dealer");
    stage.edit("fed/server.toml", "dealer = \"\"", &format!("dealer = \"{}\"", dealing.address()));
    let server = [("consent", 1), ("file", 1), ("disk", 1), ("reach", 1)];
    let kinds = [&dealer[..], &server].concat();
    well(&examine(&stage, "fed/server.toml", "server"), &kinds);
    let bad = |change: [&str; 2], kind: &str, fault: &str, words: &[&str]| {
        changed(&stage, "fed/server.toml", "server", change, |said| found(said, kind, fault, words));
    };
    let at_dealer = dealing.address();
    bad([&at_dealer, "127.0.0.1:1"], "reach", "peer", &["start the dealer"]);
    bad(["\"model:owners\"", "\"model:server\""], "consent", "operator", &["model:owners", "allow = "]);
    bad(["model.onnx", "lost.onnx"], "file", "operator", &["lost.onnx"]);
    bad(
        ["name = \"server\"", "name = \"owner-1\""],
        "identity",
        "operator",
        &["not the one that the federation names"],
    );
    bad(["federation.json", "server.toml"], "federation", "operator", &["server.toml"]);

    let mut serving = role("server");
    for number in [1, 2] {
        let config = format!("fed/owner-{number}.toml");
        stage.edit(&config, "dealer = \"\"", &format!("dealer = \"{at_dealer}\""));
        stage.edit(&config, "server = \"\"", &format!("server = \"{}\"", serving.address()));
    }
    let owner =
        [("federation", 1), ("identity", 2), ("consent", 1), ("data", 1), ("pin", 2), ("disk", 1), ("reach", 2)];
    let said = examine(&stage, "fed/owner-1.toml", "owner");
    let files = findings_of(&said, "file").len();
    well(&said, &[&owner[..], &[("file", files)]].concat());
    let bad = |change: [&str; 2], kind: &str, fault: &str, words: &[&str]| {
        changed(&stage, "fed/owner-1.toml", "owner", change, |said| found(said, kind, fault, words));
    };
    bad(["name = \"owner-1\"", "name = \"dealer\""], "identity", "operator", &["not among the owners"]);
    bad(["features = \"", "features = \"lost"], "data", "operator", &["lost"]);
    // Looks disturbed nobody: the training runs to its end.
    let owners = ["owner-1", "owner-2"].map(role);
    for role in owners.into_iter().chain([serving, dealing]) {
        role.finish().success();
    }
}
