//! `docs/walkthrough.md`, run block by block: three processes by hand predict what `predict` predicts, and a look at each
//! of them: what it was started with, what it holds open, what it received, what it keeps.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use ariann_data::bundled;
use ariann_plan::Plan;
use ariann_testkit::document::{blocks, move_ports};
use ariann_testkit::processes::{Role, children, open_files, run};
use ariann_testkit::seams::RECEIVED;
use ariann_testkit::stage::Stage;

/// What was seen of the processes of one command.
#[derive(Debug, Default)]
struct Seen {
    arguments: BTreeSet<String>,
    files: BTreeSet<String>,
}

/// Looks again and again at all processes of the program that this test has started.
fn watch(stop: &'static AtomicBool) -> JoinHandle<BTreeMap<String, Seen>> {
    std::thread::spawn(move || {
        let mut seen: BTreeMap<String, Seen> = BTreeMap::new();
        while !stop.load(Ordering::SeqCst) {
            let (mut processes, mut all) = (vec![std::process::id()], Vec::new());
            while let Some(pid) = processes.pop() {
                let below = children(pid);
                processes.extend(&below);
                all.extend(below);
            }
            for pid in all {
                let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                let arguments: Vec<String> =
                    arguments.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
                let [program, command, ..] = &arguments[..] else { continue };
                if program.ends_with("ariann") {
                    let entry = seen.entry(command.clone()).or_default();
                    entry.arguments.extend(arguments.iter().skip(2).filter(|word| !word.is_empty()).cloned());
                    entry.files.extend(open_files(pid));
                }
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        seen
    })
}

/// Item and label of each row of a printed table.
fn table(text: &str) -> Vec<u32> {
    let row = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().filter(|word| word.is_ascii()).collect();
        let [item, label, logit] = fields[..] else { return None };
        logit.parse::<f32>().ok()?;
        Some((item.parse::<usize>().ok()?, label.parse::<u32>().ok()?))
    };
    let rows: Vec<(usize, u32)> = text.lines().filter_map(row).collect();
    assert!(rows.iter().enumerate().all(|(at, (item, _))| at == *item), "{text}");
    rows.into_iter().map(|(_, label)| label).collect()
}

#[test]
fn the_walkthrough_does_what_it_says_and_nobody_gets_what_is_not_his() {
    static DONE: AtomicBool = AtomicBool::new(false);
    let program = env!("CARGO_BIN_EXE_ariann-under-test");
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/walkthrough.md");
    let document = std::fs::read_to_string(&document).expect("docs/walkthrough.md");
    let mut blocks = blocks(&document);
    move_ports(&mut blocks, 7100..7102);
    let stage = Stage::new(program);
    let (bin, walk, received) = (stage.path("bin"), stage.path("walk"), stage.path("received"));
    [&bin, &walk, &received].iter().for_each(|folder| std::fs::create_dir(folder).unwrap());
    std::os::unix::fs::symlink(program, bin.join("ariann")).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let shell = |text: &str| {
        let mut command = Command::new("sh");
        command.args(["-e", "-c", text]).current_dir(&walk).env("PATH", &path);
        command.env("ASSETS", stage.folder.path()).env(RECEIVED, &received);
        command
    };
    let watcher = watch(&DONE);
    let (mut background, mut tables, mut ran) = (Vec::new(), Vec::new(), 0);
    for block in &blocks {
        match (&block.file, &block.title) {
            (Some(file), _) => std::fs::write(walk.join(file), &block.text).unwrap(),
            (None, Some(_)) if block.background => {
                background.push(Role::start(&mut shell(&format!("exec {}", block.text))))
            }
            (None, Some(title)) => {
                let done = run(&mut shell(&block.text));
                assert_eq!(done.code, Some(0), "{title}: {}\n{done:?}", block.text);
                if block.text.contains("ariann query") {
                    tables.push(table(&done.stdout));
                    // What runs beside it ends with it.
                    background.drain(..).for_each(|role: Role| drop(role.finish().success()));
                }
            }
            // Building the program and making the folder: done.
            (None, None) => assert!(block.text.contains("cargo build --release"), "{block:?}"),
        }
        ran += 1;
    }
    DONE.store(true, Ordering::SeqCst);
    let seen = watcher.join().unwrap();
    assert!(background.is_empty() && ran > 10, "the walk-through has become very short");

    let predict = stage.run(&["predict", "--json", "--limit", "40"]).success().json();
    let predictions: Vec<u32> = serde_json::from_value(predict["predictions"].clone()).unwrap();
    assert_eq!(predictions.len(), 40);
    assert_eq!(tables.len(), 2, "files, and a dealer that serves");
    tables.iter().for_each(|labels| assert_eq!(*labels, predictions));

    let plan = Plan::read(&walk.join("p0/plan.json")).unwrap();
    let weights = common::weights(&stage.graph, &plan);
    let images = common::images(&stage.items.values[..40 * 784], &plan);

    // What each was started with, and what it held open whenever somebody looked.
    let names = |what: &[&str], role: &str| {
        let seen = &seen[role];
        let all: Vec<&String> = seen.arguments.iter().chain(&seen.files).collect();
        assert!(all.iter().any(|name| name.contains(".toml") || name.contains("plan.json")), "{role}: {seen:?}");
        all.into_iter().find(|name| what.iter().any(|part| name.contains(part))).cloned()
    };
    let (model, pictures) = (["model", bundled::model().name], ["images", "query.toml"]);
    assert_eq!(names(&model, "deal"), None);
    assert_eq!(names(&model, "query"), None);
    assert_eq!(names(&pictures, "deal"), None);
    assert_eq!(names(&pictures, "serve"), None);
    assert!(names(&["p0/state"], "serve").is_some(), "this test no longer sees open files: {seen:?}");
    assert!(names(&["p1/state"], "query").is_some(), "this test no longer sees open files: {seen:?}");

    // What each received and keeps.
    let heard = |name: &str| std::fs::read(received.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    for (role, peer) in [("p1", "p0"), ("p1", "dealer"), ("dealer", "p0"), ("dealer", "p1")] {
        assert_eq!(weights.find(&heard(&format!("{role}-from-{peer}"))), None, "weights reach {role} from {peer}");
    }
    for (role, peer) in [("p0", "p1"), ("p0", "dealer"), ("dealer", "p0"), ("dealer", "p1")] {
        assert_eq!(images.find(&heard(&format!("{role}-from-{peer}"))), None, "images reach {role} from {peer}");
    }
    assert_eq!(weights.find_in_folder(&walk.join("p1")), None);
    assert_eq!(weights.find_in_folder(&walk.join("dealer")), None);
    assert_eq!(images.find_in_folder(&walk.join("p0")), None);
    assert_eq!(images.find_in_folder(&walk.join("dealer")), None);
    assert!(weights.find_in_folder(&walk.join("p0")).is_some(), "the search for weights finds nothing where they are");
    // The dealer hears what is wanted and that it arrived, and has no room for a masked value.
    for peer in ["p0", "p1"] {
        let bytes = heard(&format!("dealer-from-{peer}")).len();
        println!("the dealer received {bytes} bytes from {peer}");
        assert!((1..=200).contains(&bytes), "the dealer received {bytes} bytes from {peer}");
    }
    assert!(heard("p0-from-p1").len() > 100_000 && heard("p1-from-dealer").len() > 1_000_000);
}
