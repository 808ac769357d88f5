//! Material that is refused: damaged, foreign, another's, seen before, exhausted; and a folder in use.

use std::path::{Path, PathBuf};

use ariann_testkit::processes::{Role, run};
use ariann_testkit::stage::{Stage, Standing};

fn stage() -> Stage {
    Stage::new(env!("CARGO_BIN_EXE_ariann-under-test"))
}

fn toml(file: &Path) -> String {
    format!("material = [\"{}\"]", file.display())
}

/// Each file is refused by P1 and, under its own name, by P0, with exit code `code`; nothing enters a ledger.
fn refused(stage: &Stage, files: [&PathBuf; 2], code: i32, words: &[&str]) {
    let images = stage.images("i.idx", &[0]);
    let [p0, p1] = files;
    run(&mut stage.serve(&toml(p0))).failure(code, words);
    run(&mut stage.query("127.0.0.1:1", &images, &toml(p1))).failure(code, words);
    for state in ["state-p0", "state-p1"] {
        assert_eq!(stage.ledger(state), Standing::default());
        let left: Vec<_> = std::fs::read_dir(stage.path(state).join("batches")).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

/// After the refusals the untouched files work.
fn works(stage: &Stage) {
    let numbers = [stage.clear_cut[0], stage.clear_cut[1]];
    let images = stage.images("good.idx", &numbers);
    let mut server = Role::start(&mut stage.serve(&stage.takes("material", "p0")));
    let done = run(&mut stage.query(&server.address(), &images, &stage.takes("material", "p1"))).success();
    stage.check(&done.last()["report"], &numbers);
}

fn altered(stage: &Stage, name: &str, alter: impl Fn(&mut Vec<u8>)) -> [PathBuf; 2] {
    ["p0", "p1"].map(|party| {
        let mut bytes = std::fs::read(stage.material("material", party)).unwrap();
        alter(&mut bytes);
        let path = stage.path(&format!("{party}-{name}.mat"));
        std::fs::write(&path, bytes).unwrap();
        path
    })
}

#[test]
fn damaged_material_is_refused_before_use() {
    let stage = stage();
    stage.deal("plan.json", 3, "material");
    let [p0, p1] = altered(&stage, "cut", |bytes| bytes.truncate(bytes.len() - 1));
    refused(&stage, [&p0, &p1], 5, &["dealer", "cut", "bytes", "dealt again"]);
    let [p0, p1] = altered(&stage, "half", |bytes| bytes.truncate(bytes.len() / 2));
    refused(&stage, [&p0, &p1], 5, &["dealer", "half", "dealt again"]);
    let [p0, p1] = altered(&stage, "empty", Vec::clear);
    refused(&stage, [&p0, &p1], 5, &["dealer", "empty", "dealt again"]);
    let [p0, p1] = altered(&stage, "longer", |bytes| bytes.push(0));
    refused(&stage, [&p0, &p1], 5, &["dealer", "longer", "dealt again"]);
    let [p0, p1] = altered(&stage, "flipped", |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    });
    refused(&stage, [&p0, &p1], 5, &["dealer", "flipped", "damaged", "nothing of it was used"]);
    stage.run(&["material", "verify", "p1-flipped.mat", "--plan", "plan.json"]).failure(5, &["flipped", "damaged"]);
    let [p0, p1] = altered(&stage, "no-material", |bytes| bytes[..8].fill(b'x'));
    refused(&stage, [&p0, &p1], 5, &["no-material", "no valid material"]);
    works(&stage);
}

#[test]
fn material_of_another_plan_or_party_is_refused() {
    let stage = stage();
    stage.deal("plan.json", 3, "material");
    stage.plan("other.json", &["--ring", "64"]);
    stage.deal("other.json", 1, "foreign");
    let [p0, p1] = ["p0", "p1"].map(|party| stage.material("foreign", party));
    refused(&stage, [&p0, &p1], 2, &["operator", "other material", "expected"]);
    let [p0, p1] = ["p1", "p0"].map(|party| stage.material("material", party));
    refused(&stage, [&p0, &p1], 2, &["operator", "party", "expected"]);
    let verify = ["material", "verify", &p0.display().to_string(), "--plan", "other.json"];
    stage.run(&verify).failure(2, &["other material"]);
    works(&stage);
}

#[test]
fn material_is_taken_in_once_and_ends() {
    let stage = stage();
    stage.deal("plan.json", 3, "material");
    works(&stage);
    let once = ["state-p0", "state-p1"].map(|state| stage.ledger(state));
    assert_eq!(once.map(|one| (one.left, one.used, one.burnt)), [(1, 2, 0); 2]);

    // A copy under another name, and the stored file gone: the ledger remembers the batch.
    for party in ["p0", "p1"] {
        std::fs::copy(stage.material("material", party), stage.path(&format!("{party}-again.mat"))).unwrap();
    }
    let [p0, p1] = ["p0", "p1"].map(|party| stage.path(&format!("{party}-again.mat")));
    let mut server = Role::start(&mut stage.serve(&toml(&p0)));
    let address = server.address();
    let two = stage.images("two.idx", &[0, 1]);
    let exhausted = ["\"fault\":\"operator\"", "2 slots", "1 left", "nothing was used", "ariann deal"];
    run(&mut stage.query(&address, &two, &toml(&p1))).failure(2, &exhausted);
    assert_eq!(["state-p0", "state-p1"].map(|state| stage.ledger(state)), once);

    let one = stage.images("one.idx", &[stage.clear_cut[5]]);
    let done = run(&mut stage.query(&address, &one, &toml(&p1))).success();
    stage.check(&done.last()["report"], &[stage.clear_cut[5]]);
    run(&mut stage.query(&address, &one, &toml(&p1))).failure(2, &["0 left", "nothing was used"]);
    let spent = ["state-p0", "state-p1"].map(|state| stage.ledger(state));
    assert_eq!(spent.map(|one| (one.left, one.used, one.burnt)), [(0, 3, 0); 2]);
    server.kill();
    for state in ["state-p0", "state-p1"] {
        for entry in std::fs::read_dir(stage.path(state).join("batches")).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
    }
    let mut server = Role::start(&mut stage.serve(&toml(&p0)));
    run(&mut stage.query(&server.address(), &one, &toml(&p1))).failure(2, &["0 left"]);
    assert_eq!(["state-p0", "state-p1"].map(|state| stage.ledger(state)), spent);
}

#[test]
fn a_folder_has_one_process_and_one_party() {
    let stage = stage();
    stage.deal("plan.json", 3, "material");
    let mut server = Role::start(&mut stage.serve(&stage.takes("material", "p0")));
    let address = server.address();
    let holder = format!("process {}", server.pid());
    run(&mut stage.serve("")).failure(2, &["state-p0", "in use by", &holder, "another folder"]);
    stage.run(&["material", "ls", "--state", "state-p0"]).failure(2, &["in use by", &holder]);
    let images = stage.images("i.idx", &[0]);
    run(stage.query(&address, &images, "").args(["--state", "state-p0"])).failure(2, &["in use by"]);
    server.kill();
    run(stage.query(&address, &images, "").args(["--state", "state-p0"])).failure(2, &["belongs to the other party"]);
    stage.run(&["material", "ls", "--state", "nowhere"]).failure(2, &["nowhere", "--state"]);
    assert!(!stage.path("nowhere").exists());
    works(&stage);
}
