//! What `doctor` finds in good and in bad order, what `material prune` removes, and what shells and `man` are given.

use std::path::Path;
use std::time::Duration;

use ariann_testkit::processes::{Role, run};
use ariann_testkit::stage::{Stage, findings, findings_of};
use serde_json::Value;

fn stage() -> Stage {
    Stage::new(env!("CARGO_BIN_EXE_ariann-under-test"))
}

/// The only finding of a kind that is no "ok": its grade, what it says and what to do.
#[track_caller]
fn found(said: &Value, kind: &str, grade: &str, words: &[&str]) {
    let all = findings_of(said, kind);
    let bad: Vec<_> = all.iter().filter(|check| check["grade"] != "ok").collect();
    let [one] = bad[..] else { panic!("{kind}: {all:#?}") };
    assert_eq!(one["grade"], grade, "{one}");
    let told = format!("{} {} {}", one["subject"], one["finding"], one["advice"].as_str().expect("what to do"));
    words.iter().for_each(|word| assert!(told.contains(word), "{word:?} is not in {told}"));
}

#[test]
fn without_a_configuration_the_machine_alone_is_looked_at() {
    let mut stage = stage();
    let said = stage.run(&["doctor", "--json"]).success().json();
    assert_eq!((&said["ok"], &said["role"]), (&true.into(), &Value::Null));
    let kinds: Vec<_> = findings(&said).iter().map(|check| check["check"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["aes", "products", "clock"]);
    for check in findings(&said) {
        for key in ["subject", "grade", "finding"] {
            assert!(check[key].is_string(), "{key} in {check}");
        }
        assert!(check["facts"].is_object() && check.get("advice").is_some());
    }
    assert!(findings_of(&said, "aes")[0]["facts"]["available"].as_array().unwrap().contains(&"soft".into()));
    let people = stage.run(&["doctor"]).success().stdout;
    assert!(people.lines().any(|line| line.starts_with("ok       clock")), "{people}");

    // A path that is forced is told, and one that cannot be followed is a problem and not the end of the program.
    stage.set("ARIANN_AES", "soft");
    stage.set("ARIANN_PRODUCTS", "fast");
    let finished = stage.run(&["doctor", "--json"]);
    assert_eq!(finished.code, Some(1));
    assert_eq!(findings_of(&finished.json(), "aes")[0]["facts"]["active"], "soft");
    found(&finished.json(), "products", "problem", &["ARIANN_PRODUCTS", "portable"]);
}

#[test]
fn roles_in_good_order_have_no_problem_and_are_not_disturbed() {
    let stage = stage();
    let batch = stage.deal("plan.json", 3, "material");
    let images = stage.images("one.idx", &stage.clear_cut[..1]);
    let takes = stage.takes("material", "p0");
    stage.serve(&format!("{takes}\nsessions = 1"));
    let idle = stage.doctor("p0.toml");
    assert_eq!((&idle["ok"], &idle["role"]), (&true.into(), &"p0".into()), "{idle:#}");
    assert_eq!(findings_of(&idle, "material")[0]["facts"]["waiting"], 3);
    assert!(!stage.path("state-p0").exists(), "a look makes no state folder");

    let mut server = Role::start(&mut stage.serve(&format!("{takes}\nsessions = 1")));
    let address = server.address();
    let takes = stage.takes("material", "p1");
    let mut query = stage.query(&address, &images, &takes);
    let said = stage.doctor("p1.toml");
    assert_eq!((&said["ok"], &said["role"]), (&true.into(), &"p1".into()), "{said:#}");
    for kind in ["config", "plan", "file", "identity", "pin", "disk", "material", "reach"] {
        assert_eq!(findings_of(&said, kind).len(), 1, "{kind} in {said:#}");
    }
    let [own, pin] = [findings_of(&said, "identity")[0], findings_of(&said, "pin")[0]];
    assert_eq!(own["facts"]["fingerprint"], stage.pin("p1"));
    assert_eq!(pin["facts"]["fingerprint"], stage.pin("p0"));
    let validity = ["valid_from", "valid_until"].map(|key| own["facts"][key].as_i64().unwrap());
    assert_eq!((validity[1] - validity[0] - 3600) / 86_400, 825);
    let disk = &findings_of(&said, "disk")[0]["facts"];
    assert!(disk["free_bytes"].as_u64() > Some(1 << 20) && disk["slot_bytes"].as_u64() > Some(1000), "{disk}");
    assert!(disk["write_megabytes_per_second"].as_f64() > Some(0.0) && disk["sync_seconds"].is_number(), "{disk}");
    assert_eq!(findings_of(&said, "reach")[0]["facts"]["role"], "P0");

    // The running P0: its address is taken and its state folder is in use.
    stage.edit("p0.toml", "127.0.0.1:0", &address);
    let running = stage.doctor("p0.toml");
    assert_eq!(running["ok"], true, "{running:#}");
    found(&running, "material", "warning", &["in use", "running"]);
    assert!(findings_of(&running, "listen")[0]["finding"].as_str().unwrap().contains("running"));

    // Who looks takes nothing away: the one session is still to be had.
    let done = run(&mut query).success();
    stage.check(&done.last()["report"], &stage.clear_cut[..1]);
    server.finish().success();
    let after = stage.doctor("p0.toml");
    let facts = &findings_of(&after, "material")[0]["facts"];
    assert_eq!((&facts["left"], &facts["batches"], &facts["waiting"]), (&2.into(), &1.into(), &0.into()));
    let ledger = stage.run(&["material", "ls", "--json", "--state", "state-p0"]).success().json();
    assert_eq!((&ledger["left"], &ledger["batches"][0]["batch"]), (&2.into(), &batch.into()));
}

#[test]
fn what_is_wrong_is_named_with_what_to_do() {
    let stage = stage();
    let nobody = "127.0.0.1:1";
    let images = stage.images("one.idx", &[0]);
    stage.deal("plan.json", 1, "material");
    let write = || drop(stage.query(nobody, &images, &stage.takes("material", "p1")));

    // Identities: one that expires soon, one that has expired, a key that others may read.
    write();
    for (name, days) in [("brief", "7"), ("gone", "0")] {
        let made = stage.run(&["identity", "new", name, "--folder", "ids", "--days", days]);
        assert!(made.code == Some(0) || days == "0", "{made:?}");
    }
    stage.edit("p1.toml", "name = \"p1\"", "name = \"brief\"");
    found(&stage.doctor("p1.toml"), "identity", "warning", &["valid until", "identity new"]);
    std::thread::sleep(Duration::from_secs(2));
    stage.edit("p1.toml", "name = \"brief\"", "name = \"gone\"");
    let said = stage.doctor("p1.toml");
    found(&said, "identity", "problem", &["gone", "expired at", "identity new"]);
    assert_eq!(findings_of(&said, "reach"), Vec::<&Value>::new(), "nobody is called without an identity");
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(stage.path("ids/brief.key.pem"), PermissionsExt::from_mode(0o644)).unwrap();
    stage.edit("p1.toml", "name = \"gone\"", "name = \"brief\"");
    found(&stage.doctor("p1.toml"), "identity", "problem", &["chmod 600"]);

    // Pins: mistyped, one's own, another's; nobody at the address.
    write();
    let said = stage.doctor("p1.toml");
    found(&said, "reach", "problem", &[nobody, "no connection", "start P0"]);
    assert_eq!(findings(&said).iter().filter(|check| check["grade"] != "ok").count(), 1, "{said:#}");
    let pin = stage.pin("p0");
    stage.edit("p1.toml", &pin, &pin[..20]);
    found(&stage.doctor("p1.toml"), "pin", "problem", &["P0", "fingerprint", "identity show"]);
    write();
    stage.edit("p1.toml", &pin, &stage.pin("p1"));
    found(&stage.doctor("p1.toml"), "pin", "problem", &["own identity", "identity show"]);
    let mut server = Role::start(&mut stage.serve(&stage.takes("material", "p0")));
    let address = server.address();
    let query = |name: &str| {
        write();
        stage.edit("p1.toml", nobody, &address);
        stage.edit("p1.toml", "name = \"p1\"", &format!("name = \"{name}\""));
    };
    query("p1");
    stage.edit("p1.toml", &pin, &stage.pin("dealer"));
    found(&stage.doctor("p1.toml"), "reach", "problem", &[&pin, &stage.pin("dealer"), "pinned"]);
    query("dealer");
    found(&stage.doctor("p1.toml"), "reach", "problem", &["P0 refused our identity", "pin"]);

    // An address that another process has; material of nobody, of the other party, and none.
    stage.serve("");
    stage.edit("p0.toml", "127.0.0.1:0", &address);
    stage.edit("p0.toml", "state-p0", "another-state");
    let said = stage.doctor("p0.toml");
    found(&said, "listen", "problem", &[&address, "another process"]);
    found(&said, "material", "problem", &["0 inferences left", "ariann deal"]);
    stage.serve(&stage.takes("material", "p1"));
    stage.edit("p0.toml", "state-p0", "another-state");
    let said = stage.doctor("p0.toml");
    let bad = findings_of(&said, "material").into_iter().filter(|check| check["grade"] == "problem").count();
    assert_eq!(bad, 2, "the wrong file, and nothing left: {said:#}");

    // Files: a model that is not there, a plan that is none, a folder that nobody can write to, a foreign key.
    stage.serve(&stage.takes("material", "p0"));
    stage.edit("p0.toml", "state-p0", "/proc/nowhere");
    stage.edit("p0.toml", "fashion-cnn.onnx", "lost.onnx");
    stage.edit("p0.toml", "plan.json", "ids/p0.cert.pem");
    let said = stage.doctor("p0.toml");
    found(&said, "file", "problem", &["lost.onnx", "check the path"]);
    found(&said, "plan", "problem", &["p0.cert.pem"]);
    found(&said, "disk", "problem", &["/proc/nowhere"]);
    stage.edit("p0.toml", "threads = 1", "thraeds = 1");
    found(&stage.doctor("p0.toml"), "config", "problem", &["p0.toml", "thraeds"]);
    std::fs::write(stage.path("other.toml"), "a = 1\n").unwrap();
    found(&stage.doctor("other.toml"), "config", "problem", &["neither", "walkthrough"]);
    found(&stage.doctor("nothing.toml"), "config", "problem", &["nothing.toml"]);
}

#[test]
fn a_dealer_is_looked_at_and_goes_on_waiting_when_a_party_looks() {
    let stage = stage();
    let text = format!(
        "plan = \"plan.json\"\ncount = 1\nstate = \"state-dealer\"\n[serve]\nlisten = \"127.0.0.1:0\"\np0 = \"{}\"\n\
         p1 = \"{}\"\nidentity = {{ folder = \"ids\", name = \"dealer\" }}\n",
        stage.pin("p0"),
        stage.pin("p1")
    );
    std::fs::write(stage.path("deal.toml"), text).unwrap();
    let said = stage.doctor("deal.toml");
    assert_eq!(
        (&said["ok"], &said["role"], findings_of(&said, "pin").len()),
        (&true.into(), &"dealer".into(), 2),
        "{said:#}"
    );
    let mut dealing = Role::start(&mut stage.command(&["deal", "--config", "deal.toml", "--json"]));
    let address = dealing.address();
    let from = format!("dealer = {{ address = \"{address}\", fingerprint = \"{}\" }}", stage.pin("dealer"));
    stage.serve(&from);
    let said = stage.doctor("p0.toml");
    assert_eq!(findings_of(&said, "reach")[0]["facts"]["role"], "the dealer", "{said:#}");
    found(&said, "material", "warning", &["0 inferences left", "dealer must be up"]);
    let mut server = Role::start(&mut stage.serve(&from));
    let images = stage.images("one.idx", &stage.clear_cut[..1]);
    let done = run(&mut stage.query(&server.address(), &images, &from)).success();
    stage.check(&done.last()["report"], &stage.clear_cut[..1]);
    assert_eq!(dealing.wait().code(), Some(0));
    stage.edit("deal.toml", &stage.pin("p1"), &stage.pin("p0"));
    found(&stage.doctor("deal.toml"), "pin", "problem", &["P1", "the same as that of P0"]);
}

fn entries(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

#[test]
fn pruning_frees_what_is_spent_and_it_stays_spent() {
    let stage = stage();
    let images = stage.images("one.idx", &stage.clear_cut[..1]);
    let predict = |folder: &str, more: &str| {
        let mut server = Role::start(&mut stage.serve(&format!("{}\nsessions = 1", stage.takes(folder, "p0"))));
        let takes = stage.takes(folder, "p1");
        let done = run(&mut stage.query(&server.address(), &images, &format!("{takes}\n{more}")));
        (done, server)
    };
    let spent = stage.deal("plan.json", 1, "first");
    predict("first", "").0.success();
    stage.deal("plan.json", 2, "second");
    predict("second", "").0.success();
    for state in ["state-p0", "state-p1"] {
        let prune = |more: &[&str]| {
            stage.run(&[&["material", "prune", "--json", "--state", state], more].concat()).success().json()
        };
        let before = entries(&stage.path(state).join("batches"));
        let told = prune(&["--dry-run"]);
        assert_eq!((told["dry_run"].as_bool(), entries(&stage.path(state).join("batches"))), (Some(true), before));
        let done = prune(&[]);
        assert_eq!(done["batches"], serde_json::json!([spent]), "{state}");
        assert!(done["bytes"].as_u64() > Some(10_000) && told["bytes"] == done["bytes"], "{told} {done}");
        assert_eq!((entries(&stage.path(state).join("batches")), before), (1, 2));
        assert_eq!((&prune(&[])["bytes"], &prune(&[])["batches"]), (&0.into(), &serde_json::json!([])));
        let standing = stage.ledger(state);
        assert_eq!((standing.left, standing.used, standing.batches), (1, 2, 2), "{state}");
    }
    // What is spent is not taken in again, and what is left can be used without a new setup.
    let (done, server) = predict("first", "");
    assert_eq!(done.success().last()["report"]["setup"]["bytes_sent"], 0);
    assert_eq!(server.finish().success().last()["report"]["setup"]["bytes_sent"], 0);
    for state in ["state-p0", "state-p1"] {
        assert_eq!((stage.ledger(state).left, stage.ledger(state).used), (0, 3), "{state}");
        // With the last batch go its masked weights, where a party keeps any.
        let done = stage.run(&["material", "prune", "--json", "--state", state]).success().json();
        assert_eq!(done["weights"].as_array().unwrap().len(), usize::from(state == "state-p1"), "{state}");
        let people = stage.run(&["material", "prune", "--state", state]).success().stdout;
        assert!(people.contains("0 B freed"), "{people}");
        let list = stage.run(&["material", "ls", "--state", state]).success().stdout;
        assert_eq!(list.matches("removed").count(), 2, "{list}");
    }
    stage.run(&["material", "prune", "--state", "nowhere"]).failure(2, &["nowhere", "--state"]);
    assert!(!stage.path("nowhere").exists());
}

#[test]
fn shells_and_man_get_every_command() {
    let stage = stage();
    let help = stage.run(&["--help"]).success().stdout;
    let (_, commands) = help.split_once("Commands:").unwrap();
    let commands = commands.lines().skip(1).map_while(|line| line.split_whitespace().next());
    let commands: Vec<&str> = commands.filter(|name| *name != "help").collect();
    assert!(commands.len() >= 12 && commands.contains(&"doctor"), "{commands:?}");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = stage.run(&["completions", shell]).success().stdout;
        commands.iter().for_each(|name| assert!(script.contains(name), "{name} for {shell}"));
    }
    stage.run(&["completions", "nutshell"]).failure(2, &["nutshell", "bash"]);
    let checked = std::process::Command::new("bash").arg("-n").stdin(std::process::Stdio::piped()).spawn();
    if let Ok(mut bash) = checked {
        use std::io::Write;
        let script = stage.run(&["completions", "bash"]).success().stdout;
        bash.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        assert!(bash.wait().unwrap().success(), "bash cannot read its completions");
    }
    let page = stage.run(&["man"]).success().stdout;
    assert!(page.contains(".TH ariann 1") && page.contains("collude"), "{page}");
    stage.run(&["man", "--out", "pages"]).success();
    for name in commands {
        let page = std::fs::read_to_string(stage.path("pages").join(format!("ariann-{name}.1"))).unwrap();
        assert!(page.contains(".SH SYNOPSIS"), "{name}");
    }
    stage.run(&["man", "--out", "plan.json/pages"]).failure(2, &["plan.json/pages"]);
}
