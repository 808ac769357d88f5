//! The house of `docs/architecture.md`, held against manifests and sources: which way dependencies point, where `unsafe`
//! and sockets are, how long a file is, and that `docs/dependencies.md` names every dependency.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Every crate and the crates of this repository that it may depend on.
const MAY_USE: &[(&str, &[&str])] = &[
    ("ring", &[]),
    ("prg", &["ring"]),
    ("fss", &["ring", "prg"]),
    ("device", &["ring", "prg", "fss"]),
    ("gates", &["ring", "prg", "fss", "device"]),
    ("graph", &["ring"]),
    ("plan", &["ring", "prg", "fss", "device", "gates", "graph"]),
    ("material", &[]),
    ("data", &[]),
    ("net", &[]),
    ("session", &["ring", "prg", "fss", "device", "gates", "graph", "plan", "material", "data", "net"]),
    ("federated", &["ring", "prg", "fss", "device", "gates", "graph", "plan", "material", "data", "net", "session"]),
    ("report", &[]),
    (
        "cli",
        &[
            "ring",
            "prg",
            "fss",
            "device",
            "gates",
            "graph",
            "plan",
            "material",
            "data",
            "net",
            "session",
            "federated",
            "report",
        ],
    ),
    // Not of the workspace, because it needs Python to build: the program and its parts for Python.
    ("python", &["ring", "fss", "session", "cli"]),
];

/// Crates for tests: they may use everything, and nothing that ships may use them but in its own tests.
const TEST_ONLY: &[&str] = &["testkit", "fuzz-targets"];

/// Where `unsafe` may stand.
const UNSAFE: &[&str] = &["ring", "prg"];

/// Crates without I/O: no files, no sockets, no processes. (A model file and a plan file are read in graph and plan.)
const PURE: &[&str] = &["ring", "prg", "fss", "device", "gates"];

/// Outside libraries that one crate alone may name, so that what they do is done in one place.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("rustls", &["net"]),
    ("rcgen", &["net"]),
    ("x509-parser", &["net"]),
    ("redb", &["material"]),
    ("x25519-dalek", &["federated"]),
    ("vsss-rs", &["federated"]),
    ("chacha20poly1305", &["federated"]),
    ("prost", &["graph"]),
    ("image", &["data"]),
    ("clap", &["cli"]),
    ("ctrlc", &["cli"]),
    ("indicatif", &["cli"]),
    ("comfy-table", &["report"]),
];

/// Lines of a source file at most.
const LONGEST: usize = 800;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository")
}

struct Manifest {
    normal: BTreeSet<String>,
    dev: BTreeSet<String>,
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn parse(text: &str) -> Manifest {
    let table: toml::Table = text.parse().expect("a manifest is TOML");
    let names = |from: &toml::Table, kinds: &[&str]| -> BTreeSet<String> {
        let of =
            |kind: &&str| from.get(*kind).and_then(toml::Value::as_table).into_iter().flat_map(|t| t.keys().cloned());
        kinds.iter().flat_map(of).collect()
    };
    let (normal_kinds, dev_kinds) = (["dependencies", "build-dependencies"], ["dev-dependencies"]);
    let mut manifest = Manifest { normal: names(&table, &normal_kinds), dev: names(&table, &dev_kinds) };
    for target in table.get("target").and_then(toml::Value::as_table).into_iter().flat_map(|t| t.values()) {
        let target = target.as_table().expect("a target has tables");
        manifest.normal.extend(names(target, &normal_kinds));
        manifest.dev.extend(names(target, &dev_kinds));
    }
    manifest
}

/// All crates by the name of their folder.
fn manifests() -> BTreeMap<String, Manifest> {
    let folders = std::fs::read_dir(root().join("crates")).expect("crates/");
    let crates = folders.map(|entry| entry.expect("an entry").path()).filter(|path| path.join("Cargo.toml").exists());
    crates
        .map(|path| {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, parse(&read(&path.join("Cargo.toml"))))
        })
        .collect()
}

/// Arrows that must not be: (from, to).
fn wrong_arrows(manifests: &BTreeMap<String, Manifest>) -> Vec<(String, String)> {
    let rules: BTreeMap<&str, &[&str]> = MAY_USE.iter().copied().collect();
    let mut wrong = Vec::new();
    for (name, manifest) in manifests {
        if TEST_ONLY.contains(&name.as_str()) {
            continue;
        }
        let Some(allowed) = rules.get(name.as_str()) else {
            wrong.push((name.clone(), "has no place in the house; see docs/architecture.md".to_string()));
            continue;
        };
        let own = |names: &BTreeSet<String>| -> Vec<String> {
            names.iter().filter_map(|name| name.strip_prefix("ariann-")).map(str::to_string).collect()
        };
        let forbidden = own(&manifest.normal).into_iter().filter(|to| !allowed.contains(&to.as_str()));
        wrong.extend(forbidden.map(|to| (name.clone(), to)));
        let forbidden = own(&manifest.dev)
            .into_iter()
            .filter(|to| !allowed.contains(&to.as_str()) && !TEST_ONLY.contains(&to.as_str()));
        wrong.extend(forbidden.map(|to| (name.clone(), to)));
    }
    wrong
}

/// Rust files below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.expect("an entry").path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The line without comments and without what stands in quotes.
fn code(line: &str) -> String {
    let (mut out, mut quoted, mut characters) = (String::new(), false, line.chars().peekable());
    while let Some(character) = characters.next() {
        match character {
            '\\' if quoted => {
                characters.next();
            }
            '\'' if !quoted && characters.peek() == Some(&'"') => {
                characters.next();
            }
            '"' => quoted = !quoted,
            '/' if !quoted && characters.peek() == Some(&'/') => break,
            _ if !quoted => out.push(character),
            _ => {}
        }
    }
    out
}

fn has_word(line: &str, word: &str) -> bool {
    code(line).split(|c: char| !c.is_alphanumeric() && c != '_').any(|part| part == word)
}

/// Lines of `crates`' shipped sources that `hits` finds, as FILE:LINE.
fn lines_where(crates: impl Iterator<Item = String>, hits: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for name in crates {
        for path in sources(&root().join("crates").join(&name).join("src")) {
            let text = read(&path);
            let lines = text.lines().enumerate().filter(|(_, line)| hits(line));
            let place = path.strip_prefix(root()).expect("inside").display().to_string();
            found.extend(lines.map(|(number, line)| format!("{place}:{}: {}", number + 1, line.trim())));
        }
    }
    found
}

#[test]
fn arrows_point_one_way() {
    let manifests = manifests();
    assert!(manifests.len() >= MAY_USE.len(), "found only {:?}", manifests.keys());
    let wrong = wrong_arrows(&manifests);
    assert!(wrong.is_empty(), "these dependencies point the wrong way (docs/architecture.md): {wrong:?}");
}

#[test]
fn an_arrow_that_points_back_is_found() {
    let find = |text: &str, name: &str| wrong_arrows(&BTreeMap::from([(name.to_string(), parse(text))]));
    assert_eq!(find("[dependencies]\nariann-gates.workspace = true", "plan"), []);
    assert_eq!(find("[dependencies]\nariann-plan.workspace = true", "gates"), [("gates".into(), "plan".into())]);
    assert_eq!(find("[dev-dependencies]\nariann-testkit.workspace = true", "gates"), []);
    assert_eq!(find("[dependencies]\nariann-testkit.workspace = true", "cli"), [("cli".into(), "testkit".into())]);
    assert_eq!(find("[target.'cfg(unix)'.dependencies]\nariann-cli = {}", "net"), [("net".into(), "cli".into())]);
    assert_eq!(find("[dependencies]\n", "attic").len(), 1);
}

#[test]
fn unsafe_stands_in_kernels_only() {
    let others = manifests().into_keys().filter(|name| !UNSAFE.contains(&name.as_str()));
    let found = lines_where(others, |line| has_word(line, "unsafe"));
    assert!(found.is_empty(), "`unsafe` outside of {UNSAFE:?}:\n{}", found.join("\n"));
    let kernels = lines_where(UNSAFE.iter().map(|name| name.to_string()), |line| has_word(line, "unsafe"));
    assert!(kernels.len() > 10, "this test no longer sees the kernels' `unsafe`");
    let aside = kernels.iter().filter(|line| !["/kernel/", "/product/"].iter().any(|folder| line.contains(folder)));
    let aside: Vec<_> = aside.filter(|line| !line.contains("/bench.rs:")).collect();
    assert!(aside.is_empty(), "`unsafe` outside of the kernels' folders:\n{aside:#?}");
}

#[test]
fn sockets_are_in_net_only() {
    let sockets =
        |line: &str| ["TcpStream", "TcpListener", "UdpSocket", "UnixStream"].iter().any(|word| has_word(line, word));
    let ships = |name: &String| !TEST_ONLY.contains(&name.as_str());
    let found = lines_where(manifests().into_keys().filter(ships).filter(|name| name != "net"), sockets);
    assert!(found.is_empty(), "sockets outside of net:\n{}", found.join("\n"));
    assert!(
        !lines_where(["net".to_string()].into_iter(), sockets).is_empty(),
        "this test no longer sees net's sockets"
    );
    let addresses = |name: &String| ships(name) && name != "net" && name != "session";
    let found = lines_where(manifests().into_keys().filter(addresses), |line| code(line).contains("std::net"));
    assert!(found.is_empty(), "std::net outside of net and session:\n{}", found.join("\n"));
}

#[test]
fn the_protocol_does_no_input_or_output() {
    let busy =
        |line: &str| ["std::fs", "std::net", "std::process", "std::io"].iter().any(|name| code(line).contains(name));
    let found = lines_where(PURE.iter().map(|name| name.to_string()), busy);
    assert!(found.is_empty(), "I/O in {PURE:?}:\n{}", found.join("\n"));
}

#[test]
fn outside_libraries_have_one_home() {
    let homes: BTreeMap<&str, &[&str]> = ONLY_IN.iter().copied().collect();
    for (name, manifest) in manifests() {
        for dependency in &manifest.normal {
            if let Some(homes) = homes.get(dependency.as_str()).filter(|_| !TEST_ONLY.contains(&name.as_str())) {
                assert!(homes.contains(&name.as_str()), "{name} depends on {dependency}, which belongs to {homes:?}");
            }
        }
    }
}

#[test]
fn files_are_short() {
    let files = sources(&root().join("crates"));
    assert!(files.len() > 100, "found only {} files", files.len());
    let mut lengths: Vec<usize> = Vec::new();
    for path in files {
        let length = read(&path).lines().count();
        assert!(length <= LONGEST, "{} has {length} lines, more than {LONGEST}: divide it", path.display());
        lengths.push(length);
    }
    lengths.sort_unstable();
    println!(
        "{} files, median {} lines, longest {}",
        lengths.len(),
        lengths[lengths.len() / 2],
        lengths[lengths.len() - 1]
    );
}

#[test]
fn every_dependency_has_its_reason() {
    let document = read(&root().join("docs/dependencies.md"));
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let documented: BTreeSet<String> = rows.map(|(name, _)| name.to_string()).collect();
    let used: BTreeSet<String> = manifests()
        .into_values()
        .flat_map(|manifest| manifest.normal.into_iter().chain(manifest.dev))
        .filter(|name| !name.starts_with("ariann-"))
        .collect();
    let missing: Vec<_> = used.difference(&documented).collect();
    assert!(missing.is_empty(), "docs/dependencies.md has no row for {missing:?}");
    let stale: Vec<_> = documented.difference(&used).collect();
    assert!(stale.is_empty(), "docs/dependencies.md has rows for what no manifest names: {stale:?}");
}

/// Documents of the repository.
fn documents() -> Vec<PathBuf> {
    let in_folder = |folder: &str| {
        let entries = std::fs::read_dir(root().join(folder)).expect("a folder of the repository");
        entries.map(|entry| entry.expect("an entry").path()).filter(|path| path.extension().is_some_and(|e| e == "md"))
    };
    let mut found: Vec<PathBuf> = in_folder("").chain(in_folder("docs")).chain(in_folder("fuzz")).collect();
    found.sort();
    found
}

#[test]
fn links_lead_somewhere() {
    let mut links = 0;
    for path in documents() {
        let text = read(&path);
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains("://") {
                continue;
            }
            let found = path.parent().expect("a folder").join(file).exists();
            assert!(found, "{} links to {target}, which does not exist", path.display());
            links += 1;
        }
    }
    assert!(links > 20, "found only {links} links");
}

#[test]
fn the_gate_runs_what_the_readme_says() {
    let (readme, gate) = (read(&root().join("README.md")), read(&root().join(".ci/run")));
    let commands: Vec<&str> = readme.lines().filter_map(|line| line.strip_prefix("    cargo ")).collect();
    assert_eq!(commands.len(), 2, "the README's two commands: {commands:?}");
    for command in commands {
        assert!(gate.contains(&format!("cargo {command}")), ".ci/run does not run `cargo {command}`");
    }
}
