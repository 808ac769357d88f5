//! `docs/training.md`, run block by block: three roles by hand, each with its own file.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// No test waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(120);

/// A fenced block of the document.
struct Block {
    file: Option<String>,
    background: bool,
    text: String,
}

fn blocks(document: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        let Some(info) = line.strip_prefix("```") else { continue };
        let text: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        let file = info.split_once("file=\"").and_then(|(_, rest)| Some(rest.split_once('"')?.0.to_string()));
        let background = info.split_whitespace().any(|word| word == "background");
        found.push(Block { file, background, text: text.join("\n") + "\n" });
    }
    found
}

fn free_port() -> String {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    socket.local_addr().expect("an address").port().to_string()
}

/// Killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn three_roles_train_by_hand_and_each_gets_what_is_his() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let document = std::fs::read_to_string(root.join("docs/training.md")).expect("docs/training.md");
    let ports = [free_port(), free_port()];
    let folder = tempfile::tempdir().expect("a folder");
    let (bin, walk) = (folder.path().join("bin"), folder.path().join("train"));
    [&bin, &walk].iter().for_each(|folder| std::fs::create_dir(folder).expect("a folder"));
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_ariann"), bin.join("ariann")).expect("a link");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let mut background = Vec::new();
    let mut printed = String::new();
    for block in blocks(&document) {
        let text = block.text.replace("127.0.0.1:7110", &format!("127.0.0.1:{}", ports[0]));
        let text = text.replace("127.0.0.1:7111", &format!("127.0.0.1:{}", ports[1]));
        if let Some(file) = block.file {
            std::fs::write(walk.join(file), text).expect("space");
            continue;
        }
        // The first block makes the folder that all others are typed in.
        let text: String =
            text.lines().filter(|line| !line.starts_with("mkdir train")).map(|line| format!("{line}\n")).collect();
        let text = if block.background { format!("exec {text}") } else { format!("set -e\n{text}") };
        let mut command = Command::new("sh");
        command.arg("-c").arg(&text).current_dir(&walk).env("PATH", &path);
        command.env("ASSETS", root.join("crates/data/assets"));
        if text.contains("export ASSETS") {
            continue;
        }
        if block.background {
            let child = command.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().expect("a shell");
            background.push(Running(child));
            continue;
        }
        let output = command.output().expect("a shell");
        printed = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}\n{printed}");
    }
    assert_eq!(background.len(), 2, "dealer and P0");
    let end = Instant::now() + PATIENCE;
    for role in &mut background {
        let status = loop {
            if let Some(status) = role.0.try_wait().expect("our child") {
                break status;
            }
            assert!(Instant::now() < end, "a role hangs");
            std::thread::sleep(Duration::from_millis(10));
        };
        assert!(status.success(), "{status}");
    }
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
