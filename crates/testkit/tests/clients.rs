//! Several P1s with identities and material of their own, answered at once over TLS by one P0: each gets its own right
//! predictions, nobody the slots of another, and who cannot be served is told why while the others go on.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use ariann_testkit::processes::{PATIENCE, Role, run};
use ariann_testkit::record::{Place, Record};
use ariann_testkit::seams::MASKED;
use ariann_testkit::stage::Stage;
use serde_json::{Value, json};

/// Clients are held back here on purpose, on machines of any speed: nobody counts as gone for that.
const PATIENT: &str = "deadlines = { silence = 600.0 }";

/// A stage with the identities of four clients: c1 to c3, and one whom P0 does not know.
fn stage() -> Stage {
    let stage = Stage::new(env!("CARGO_BIN_EXE_ariann-under-test"));
    for name in ["c1", "c2", "c3", "stranger"] {
        stage.run(&["identity", "new", name, "--folder", "ids"]).success();
    }
    stage
}

/// Deals a batch for each client: `count` slots to folder "for-NAME".
fn deal(stage: &Stage, clients: &[(&str, u32)]) {
    clients.iter().for_each(|(name, count)| drop(stage.deal("plan.json", *count, &format!("for-{name}"))));
}

/// P0 for three clients, with the P0 halves of what was dealt to `folders`.
fn serve(stage: &Stage, folders: &[&str], more: &str) -> Command {
    let files: Vec<String> =
        folders.iter().map(|folder| format!("\"{}\"", stage.material(folder, "p0").display())).collect();
    let pins = ["c1", "c2", "c3"].map(|name| format!("\"{}\"", stage.pin(name)));
    let (pins, files) = (pins.join(", "), files.join(", "));
    let command = stage.serve(&format!("{more}\n{PATIENT}\nclients = [{pins}]\nmaterial = [{files}]"));
    let text = std::fs::read_to_string(stage.path("p0.toml")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with("peer = "));
    std::fs::write(stage.path("p0.toml"), lines.map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    command
}

/// A client's `query` with its own identity, state folder and configuration.
fn query(stage: &Stage, name: &str, address: &str, input: &Path, more: &str) -> Command {
    let material = match stage.path(&format!("for-{name}")).exists() {
        true => stage.takes(&format!("for-{name}"), "p1"),
        false => String::new(),
    };
    stage.query(address, input, &format!("{material}\n{PATIENT}\n{more}"));
    let text = std::fs::read_to_string(stage.path("p1.toml")).unwrap();
    let text =
        text.replace("name = \"p1\"", &format!("name = \"{name}\"")).replace("state-p1", &format!("state-{name}"));
    let config = format!("{name}.toml");
    std::fs::write(stage.path(&config), text).unwrap();
    stage.command(&["query", "--config", &config, "--json"])
}

/// Waits for an event of P0 whose text holds all of `words`.
#[track_caller]
fn told(server: &mut Role, name: &str, words: &[&str]) -> Value {
    let end = Instant::now() + PATIENCE;
    loop {
        let events = server.events(0);
        let text = |event: &Value| format!("{} {}", event["text"], event["error"]);
        let fits = |event: &Value| event["event"] == name && words.iter().all(|word| text(event).contains(word));
        if let Some((_, event)) = events.iter().find(|(_, event)| fits(event)) {
            return event.clone();
        }
        assert!(Instant::now() < end && !server.ended(), "no {name} with {words:?}; P0 said {events:#?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn three_clients_at_once_get_their_own_answers() {
    let mut stage = stage();
    let masked = stage.path("masked");
    stage.set(MASKED, &masked);
    deal(&stage, &[("c1", 12), ("c2", 12), ("c3", 12)]);
    let mut server = Role::start(&mut serve(&stage, &["for-c1", "for-c2", "for-c3"], "sessions = 3"));
    let address = server.address();
    let numbers: Vec<Vec<usize>> = (0..3).map(|at| stage.clear_cut[10 * at..][..10].to_vec()).collect();
    let names = ["c1", "c2", "c3"];
    let mut roles: Vec<Role> = Vec::new();
    for (name, numbers) in names.iter().zip(&numbers) {
        let images = stage.images(&format!("{name}.idx"), numbers);
        let mut role = Role::start(&mut query(&stage, name, &address, &images, "batch = 1"));
        // The first is held in the middle of its work until all are served: they do work at once.
        if *name == "c1" {
            role.event("gate");
            role.signal("STOP");
        }
        roles.push(role);
    }
    let mut done: Vec<Value> = Vec::new();
    for role in roles.drain(1..) {
        done.push(role.finish().success().last()["report"].take());
    }
    let mut first = roles.pop().expect("the first");
    assert!(!first.ended());
    first.signal("CONT");
    done.insert(0, first.finish().success().last()["report"].take());
    for (report, numbers) in done.iter().zip(&numbers) {
        stage.check(report, numbers);
    }
    for number in 1..=3 {
        told(&mut server, "notice", &[&format!("P1 of client {number}"), "predicted 10 items"]);
    }
    let report = server.finish().success().last()["report"].take();
    assert_eq!((&report["items"], &report["slots"]), (&json!(30), &json!(30)));
    assert!(report["online"]["bytes_sent"].as_u64() > Some(0) && report["setup"]["bytes_sent"].as_u64() > Some(0));
    let standing = stage.ledger("state-p0");
    assert_eq!((standing.left, standing.used, standing.burnt, standing.batches), (6, 30, 0, 3));
    // No mask was used for two values.
    let record = Record::read(&masked);
    assert_eq!([record.slots("p0"), record.slots("p1")], [30, 30]);
    assert_eq!(record.used_twice(), Vec::<&Place>::new());
    assert_eq!(record.two_values(), Vec::<&Place>::new());
}

#[test]
fn who_cannot_be_served_is_told_why_and_the_others_go_on() {
    let stage = stage();
    deal(&stage, &[("c1", 20), ("c2", 2)]);
    let mut server = Role::start(&mut serve(&stage, &["for-c1", "for-c2"], ""));
    let address = server.address();
    let many = stage.clear_cut[..20].to_vec();
    let (all, two, one) =
        (stage.images("all.idx", &many), stage.images("two.idx", &many[..2]), stage.images("one.idx", &many[..1]));
    let mut first = Role::start(&mut query(&stage, "c1", &address, &all, "batch = 1"));
    first.event("gate");
    first.signal("STOP");

    // c2 uses up its batch, and comes again; c3 has no material; a stranger has no pinned identity.
    let done = run(&mut query(&stage, "c2", &address, &two, "batch = 2")).success();
    stage.check(&done.last()["report"], &many[..2]);
    run(&mut query(&stage, "c2", &address, &one, "")).failure(2, &["0 left", "ariann deal"]);
    told(&mut server, "session_failed", &["refused P1 of client 2", "none is left", "ariann deal"]);
    run(&mut query(&stage, "c3", &address, &one, "")).failure(2, &["0 left", "ariann deal"]);
    told(&mut server, "session_failed", &["refused P1 of client 3", "none is left"]);
    let pin = stage.pin("stranger");
    run(&mut query(&stage, "stranger", &address, &one, "")).failure(2, &["P0 refused our identity", &pin]);
    told(&mut server, "notice", &["turned a connection away", &pin]);
    // A copy of the batch that c1 works with is of no use to another.
    std::fs::create_dir(stage.path("for-c3")).unwrap();
    let copy = stage.path("for-c3").join(stage.material("for-c1", "p1").file_name().unwrap());
    std::fs::copy(stage.material("for-c1", "p1"), copy).unwrap();
    run(&mut query(&stage, "c3", &address, &one, "")).failure(2, &["0 left"]);
    assert!(!first.ended());

    first.signal("CONT");
    stage.check(&first.finish().success().last()["report"], &many);
    told(&mut server, "notice", &["P1 of client 1", "predicted 20 items"]);
    let standing = stage.ledger("state-p0");
    assert_eq!((standing.left, standing.used, standing.burnt), (0, 22, 0));
    server.kill();
}

#[test]
fn a_batch_is_one_sessions_and_free_again_after_it() {
    let stage = stage();
    deal(&stage, &[("c1", 6)]);
    let mut server = Role::start(&mut serve(&stage, &["for-c1"], ""));
    let address = server.address();
    let one = stage.images("one.idx", &stage.clear_cut[..1]);
    // c1 is killed in the middle of a run: what was in flight is burnt, and the batch is not lost to the next session.
    let mut killed = Role::start(&mut query(&stage, "c1", &address, &one, ""));
    killed.event("gate");
    killed.kill();
    told(&mut server, "session_failed", &["P1 of client 1"]);
    let done = run(&mut query(&stage, "c1", &address, &one, "")).success();
    stage.check(&done.last()["report"], &stage.clear_cut[..1]);
    let standing = stage.ledger("state-p0");
    assert_eq!((standing.used + standing.burnt, standing.left), (2, 4), "{standing:?}");
    server.kill();
}

#[test]
fn more_sessions_than_allowed_are_refused_and_none_when_told_to_end() {
    let stage = stage();
    deal(&stage, &[("c1", 20), ("c2", 20), ("c3", 20)]);
    let folders = ["for-c1", "for-c2", "for-c3"];
    let mut server = Role::start(&mut serve(&stage, &folders, "max_sessions = 2"));
    let address = server.address();
    let many = stage.images("many.idx", &stage.clear_cut[..20]);
    let mut held: Vec<Role> = Vec::new();
    for name in ["c1", "c2"] {
        let mut role = Role::start(&mut query(&stage, name, &address, &many, "batch = 1"));
        role.event("gate");
        role.signal("STOP");
        held.push(role);
    }
    for _ in 0..3 {
        run(&mut query(&stage, "c3", &address, &many, "")).failure(4, &["2 sessions are at work", "max_sessions"]);
    }
    told(&mut server, "notice", &["refused P1 of client 3", "max_sessions"]);
    assert_eq!(stage.ledger("state-c3").left, 20, "a refusal costs nothing");

    // One ends: there is room for another.
    let freed = held.remove(0);
    freed.signal("CONT");
    freed.finish().success();
    told(&mut server, "notice", &["P1 of client 1", "predicted"]);
    let mut third = Role::start(&mut query(&stage, "c3", &address, &many, "batch = 1"));
    third.event("gate");

    // P0 is told to end with two sessions at work; its state is whole.
    let began = Instant::now();
    server.signal("TERM");
    let status = server.wait_for(Duration::from_secs(10)).expect("P0 does not end when it is told to");
    assert_ne!(status.code(), Some(0));
    println!("P0 ended within {:?}", began.elapsed());
    held[0].signal("CONT");
    held.remove(0).finish().failure(4, &["P0"]);
    third.finish().failure(4, &["P0"]);
    let standing = stage.ledger("state-p0");
    assert_eq!((standing.slots(), standing.batches), (60, 3));
    let mut again = Role::start(&mut serve(&stage, &folders, ""));
    let one = stage.images("one.idx", &stage.clear_cut[..1]);
    let done = run(&mut query(&stage, "c2", &again.address(), &one, "")).success();
    stage.check(&done.last()["report"], &stage.clear_cut[..1]);
    again.kill();
}

#[test]
fn whom_p0_serves_must_be_said_once_each() {
    let stage = stage();
    deal(&stage, &[("c1", 1)]);
    let write = |from: &str, to: &str| {
        serve(&stage, &["for-c1"], "max_sessions = 3");
        let text = std::fs::read_to_string(stage.path("p0.toml")).unwrap();
        std::fs::write(stage.path("p0.toml"), text.replace(from, to)).unwrap();
        stage.run(&["serve", "--config", "p0.toml", "--json"])
    };
    let (c1, c2) = (stage.pin("c1"), stage.pin("c2"));
    write(&c2, &c1).failure(2, &["client 2", "fingerprint of P1 of client 1", "once"]);
    write(&c2, &c2[..12]).failure(2, &["client 2", "fingerprint"]);
    write("clients = ", "other = ").failure(2, &["other"]);
    let all = ["c1", "c2", "c3"].map(|name| format!("\"{}\"", stage.pin(name))).join(", ");
    write(&all, "").failure(2, &["nobody may connect", "clients"]);
    write("max_sessions = 3", "max_sessions = 0").failure(2, &["max_sessions"]);
    // As flags: one fingerprint or several.
    let material = stage.material("for-c1", "p0").display().to_string();
    let args = ["serve", "--json", "--plan", "plan.json", "--model", "fashion-cnn.onnx", "--state", "by-flags"];
    let rest = ["--listen", "127.0.0.1:0", "--identity", "ids/p0", "--material", &material, "--sessions", "1"];
    let peers = ["--peer", &c2, "--peer", &c1, "--max-sessions", "2"];
    let mut server = Role::start(&mut stage.command(&[&args[..], &rest, &peers].concat()));
    let one = stage.images("one.idx", &stage.clear_cut[..1]);
    let done = run(&mut query(&stage, "c1", &server.address(), &one, "")).success();
    stage.check(&done.last()["report"], &stage.clear_cut[..1]);
    server.finish().success();
}
