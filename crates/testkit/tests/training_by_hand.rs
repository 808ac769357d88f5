//! `docs/training.md` and `docs/pooled.md`, run block by block: roles by hand, each with its own files.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ariann_testkit::document::{blocks, move_ports};
use ariann_testkit::processes::{Role, run};

/// No test waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a document's blocks left: the folder that they were typed in, and what they printed.
struct Walked {
    _root: tempfile::TempDir,
    folder: std::path::PathBuf,
    printed: String,
}

/// Runs the blocks of `docs/{name}.md`; `background` of them go on beside the others.
fn walk(name: &str, background: usize) -> Walked {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let document = std::fs::read_to_string(root.join(format!("docs/{name}.md"))).expect("the document");
    let mut blocks = blocks(&document);
    move_ports(&mut blocks, 7110..7118);
    let temporary = tempfile::tempdir().expect("a folder");
    let (bin, walk) = (temporary.path().join("bin"), temporary.path().join("walk"));
    [&bin, &walk].iter().for_each(|folder| std::fs::create_dir(folder).expect("a folder"));
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_ariann-under-test"), bin.join("ariann")).expect("a link");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let mut running = Vec::new();
    let mut printed = String::new();
    for block in blocks {
        let text = block.text;
        if let Some(file) = block.file {
            std::fs::write(walk.join(file), text).expect("space");
            continue;
        }
        // The first block makes the folder that all others are typed in; figures are no commands.
        if text.contains("ASSETS=\"$PWD") || block.language != "sh" {
            continue;
        }
        let text = if block.background { format!("exec {text}") } else { format!("set -e\n{text}") };
        let mut command = Command::new("sh");
        command.arg("-c").arg(&text).current_dir(&walk).env("PATH", &path);
        command.env("ASSETS", root.join("crates/data/assets"));
        if block.background {
            running.push(Role::start(&mut command));
            continue;
        }
        let ended = run(&mut command);
        assert_eq!(ended.code, Some(0), "{text}\n{ended:?}");
        printed += &(ended.stdout + &ended.stderr);
    }
    assert_eq!(running.len(), background);
    for mut role in running {
        let status = role.wait_for(PATIENCE).expect("a role hangs");
        assert!(status.success(), "{}", role.stderr());
    }
    Walked { _root: temporary, folder: walk, printed }
}

#[test]
fn three_roles_train_by_hand_and_each_gets_what_is_his() {
    let Walked { _root, folder: walk, printed } = walk("training", 2);
    assert!(printed.contains("epoch 2: accuracy"), "P1 learns the accuracy: {printed}");
    assert!(walk.join("p0/trained/model.onnx").exists() && walk.join("p0/trained/model.safetensors").exists());
    assert!(!walk.join("p1/trained").exists());
    // Nobody but P1 has its data, nobody but P0 the model.
    for (role, foreign) in
        [("p0", "images.gz"), ("dealer", "images.gz"), ("p1", "model.onnx"), ("dealer", "model.onnx")]
    {
        assert!(!walk.join(role).join(foreign).exists(), "{role}/{foreign}");
    }
}

#[test]
fn owners_share_their_rows_by_hand_and_leave() {
    let Walked { _root, folder, printed } = walk("pooled", 6);
    assert!(printed.contains("waits for the rows of north, south"), "{printed}");
    assert!(["north", "south"].iter().all(|owner| printed.contains(&format!("has the rows of {owner}"))), "{printed}");
    assert!(printed.contains("from epoch 2 on: 16 steps an epoch"), "{printed}");
    assert!(printed.contains("20 items in"), "the client learns its results: {printed}");
    assert!(folder.join("p0/trained/model.onnx").exists() && !folder.join("p1/trained").exists());
    for party in ["p0", "p1"] {
        assert!(!folder.join(party).join("images.gz").exists());
        let kept = |end: &str| {
            let files = std::fs::read_dir(folder.join(party).join("checkpoints")).expect("a folder");
            files
                .filter(|file| file.as_ref().is_ok_and(|file| file.path().extension().is_some_and(|it| it == end)))
                .count()
        };
        assert_eq!((kept("rows"), kept("shares")), (2, 2), "{party}");
    }
}
