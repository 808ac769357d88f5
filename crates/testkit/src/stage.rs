//! A folder with everything that three roles need: identities, a plan, a model, images and their clear predictions.

use std::path::{Path, PathBuf};
use std::process::Command;

use ariann_data::{Items, Preprocess, bundled};
use ariann_graph::{Executor, Graph};
use ariann_session::query::argmax;
use serde_json::Value;
use tempfile::TempDir;

use crate::processes::{Finished, run};

/// Greatest deviation of a private logit in these tests.
pub const TOLERANCE: f32 = 0.02;

/// The three roles on one machine.
pub struct Stage {
    /// All files.
    pub folder: TempDir,
    program: PathBuf,
    variables: Vec<(String, PathBuf)>,
    /// The bundled network.
    pub graph: Graph,
    /// The bundled test images.
    pub items: Items,
    /// Their clear logits.
    pub logits: Vec<f32>,
    /// Numbers of images whose prediction does not hang on the last digit.
    pub clear_cut: Vec<usize>,
}

impl Stage {
    /// Bundled network and images, three identities, the default plan. `program` is the one under test.
    pub fn new(program: &str) -> Stage {
        let folder = tempfile::tempdir().expect("a folder");
        let graph = ariann_graph::import_bytes(bundled::model().bytes).expect("the bundled network");
        for file in bundled::files() {
            std::fs::write(folder.path().join(file.name), file.bytes).expect("space");
        }
        let images = folder.path().join(bundled::test_images().name);
        let items = ariann_data::load(&images, &Preprocess::default(), None).expect("bundled images");
        let items = items.fit(&graph.input.shape).expect("their shape");
        let logits = Executor::new(&graph).run(items.count, &items.values).expect("the float model");
        let clear_cut = (0..items.count).filter(|item| margin(&logits[10 * item..][..10]) > 4.0 * TOLERANCE).collect();
        let program = PathBuf::from(program);
        let stage = Stage { folder, program, variables: Vec::new(), graph, items, logits, clear_cut };
        for name in ["dealer", "p0", "p1"] {
            stage.run(&["identity", "new", name, "--folder", &stage.text("ids")]).success();
        }
        stage.plan("plan.json", &[]);
        stage
    }

    /// Sets an environment variable of all roles started from now on.
    pub fn set(&mut self, name: &str, value: impl Into<PathBuf>) {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_string(), value.into()));
    }

    /// A file of the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file of the folder, as an argument.
    pub fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// The program with arguments.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(args).current_dir(self.folder.path()).envs(self.variables.iter().cloned());
        command
    }

    /// Runs the program to its end.
    pub fn run(&self, args: &[&str]) -> Finished {
        run(&mut self.command(args))
    }

    /// The fingerprint of an identity.
    pub fn pin(&self, name: &str) -> String {
        let shown = self.run(&["identity", "show", name, "--folder", &self.text("ids")]).success();
        shown.stdout.trim().to_string()
    }

    /// Writes a file of the folder.
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("space");
    }

    /// Replaces a text in a file of the folder, which must hold it.
    #[track_caller]
    pub fn edit(&self, name: &str, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.path(name)).expect("a file of the folder");
        assert!(text.contains(from), "{from:?} is not in {text}");
        self.write(name, &text.replace(from, to));
    }

    /// A line of a configuration: another role's address and pin.
    pub fn remote(&self, key: &str, address: &str, name: &str) -> String {
        format!("{key} = {{ address = \"{address}\", fingerprint = \"{}\" }}\n", self.pin(name))
    }

    /// What `doctor` says about a configuration; its exit code must fit.
    #[track_caller]
    pub fn doctor(&self, config: &str) -> Value {
        let finished = self.run(&["doctor", "--json", "--config", config]);
        let said = finished.json();
        let problems = findings(&said).iter().any(|check| check["grade"] == "problem");
        assert_eq!((finished.code, said["ok"].as_bool()), (Some(i32::from(problems)), Some(!problems)), "{said:#}");
        said
    }

    /// Writes a plan of the bundled network and returns its cost.
    pub fn plan(&self, name: &str, more: &[&str]) -> Value {
        let (model, calibration) = (bundled::model().name, bundled::train_images().name);
        let args = ["plan", "--json", "--model", model, "--calibration", calibration, "-o", name];
        self.run(&[&args, more].concat()).success().json()
    }

    /// Deals `count` slots to files in folder `out`; returns the batch's id.
    pub fn deal(&self, plan: &str, count: u32, out: &str) -> String {
        let count = count.to_string();
        let args = ["deal", "--json", "--plan", plan, "--count", &count, "--state", "state-dealer", "--out", out];
        let report = self.run(&args).success().last()["report"].take();
        report["batches"][0].as_str().expect("a batch").to_string()
    }

    /// The file of "p0" or "p1" in a folder that was dealt to.
    pub fn material(&self, folder: &str, party: &str) -> PathBuf {
        let entries = std::fs::read_dir(self.path(folder)).expect("a folder that was dealt to");
        let mut paths = entries.map(|entry| entry.expect("an entry").path());
        let mine = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(party));
        paths.find(mine).unwrap_or_else(|| panic!("no file of {party} in {folder}"))
    }

    /// The line of a configuration that takes this file in.
    pub fn takes(&self, folder: &str, party: &str) -> String {
        format!("material = [\"{}\"]", self.material(folder, party).display())
    }

    /// Writes the configuration of `serve` and returns the command. `more` is TOML on the top level.
    pub fn serve(&self, more: &str) -> Command {
        let text = format!(
            "{more}\nplan = \"plan.json\"\nmodel = \"{}\"\nstate = \"state-p0\"\nlisten = \"127.0.0.1:0\"\npeer = \"{}\"\n\
             threads = 1\nidentity = {{ folder = \"ids\", name = \"p0\" }}\n",
            bundled::model().name,
            self.pin("p1"),
        );
        std::fs::write(self.path("p0.toml"), text).expect("space");
        self.command(&["serve", "--config", "p0.toml", "--json"])
    }

    /// The same for `query` on `input`.
    pub fn query(&self, address: &str, input: &Path, more: &str) -> Command {
        let text = format!(
            "{more}\nplan = \"plan.json\"\ninput = \"{}\"\nstate = \"state-p1\"\nthreads = 1\n\
             identity = {{ folder = \"ids\", name = \"p1\" }}\npeer = {{ address = \"{address}\", fingerprint = \"{}\" }}\n",
            input.display(),
            self.pin("p0"),
        );
        std::fs::write(self.path("p1.toml"), text).expect("space");
        self.command(&["query", "--config", "p1.toml", "--json"])
    }

    /// Writes the images of these numbers as an IDX file.
    pub fn images(&self, name: &str, numbers: &[usize]) -> PathBuf {
        let mut bytes = vec![0, 0, 8, 3];
        for size in [numbers.len() as u32, 28, 28] {
            bytes.extend(size.to_be_bytes());
        }
        for number in numbers {
            bytes.extend(self.items.item(*number).iter().map(|value| (value * 255.0).round() as u8));
        }
        let path = self.path(name);
        std::fs::write(&path, bytes).expect("space");
        path
    }

    /// The clear prediction of an image.
    pub fn prediction(&self, number: usize) -> u32 {
        argmax(&self.logits[10 * number..][..10])
    }

    /// Panics unless a report of P1 holds the clear predictions of these images, and their logits where they are told.
    #[track_caller]
    pub fn check(&self, report: &Value, numbers: &[usize]) {
        let clear: Vec<u32> = numbers.iter().map(|number| self.prediction(*number)).collect();
        assert_eq!(report["predictions"], serde_json::json!(clear), "images {numbers:?}");
        for (row, number) in report["logits"].as_array().into_iter().flatten().zip(numbers) {
            for (class, value) in row.as_array().expect("a row").iter().enumerate() {
                let (value, clear) = (value.as_f64().expect("a number") as f32, self.logits[10 * number + class]);
                assert!((value - clear).abs() < TOLERANCE, "image {number}, class {class}: {value} for {clear}");
            }
        }
    }

    /// What `material ls` says about a state folder whose role may be running: about a copy of it.
    #[track_caller]
    pub fn ledger(&self, state: &str) -> Standing {
        let (from, copy) = (self.path(state), tempfile::tempdir_in(self.folder.path()).expect("a folder"));
        for name in ["ledger.redb", "instance"] {
            std::fs::copy(from.join(name), copy.path().join(name))
                .unwrap_or_else(|error| panic!("{state}/{name}: {error}"));
        }
        // Without this stage's variables: as it is on disk.
        let mut command = Command::new(&self.program);
        let said = run(command.args(["material", "ls", "--json", "--state"]).arg(copy.path())).success().json();
        let mut standing = Standing { left: said["left"].as_u64().expect("a number"), ..Standing::default() };
        for batch in said["batches"].as_array().expect("a list") {
            let number = |key: &str| batch[key].as_u64().unwrap_or_else(|| panic!("{key} in {batch}"));
            assert_eq!(number("left") + number("used") + number("burnt"), number("slots"), "{state}: {batch}");
            standing.used += number("used");
            standing.burnt += number("burnt");
            standing.batches += 1;
        }
        standing
    }
}

/// Sums over all batches of a ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Slots that can be used.
    pub left: u64,
    /// Slots that were used.
    pub used: u64,
    /// Slots that were given up.
    pub burnt: u64,
    /// Batches known.
    pub batches: usize,
}

impl Standing {
    /// All slots.
    pub fn slots(&self) -> u64 {
        self.left + self.used + self.burnt
    }
}

fn margin(row: &[f32]) -> f32 {
    let best = argmax(row) as usize;
    let others = row.iter().enumerate().filter(|(class, _)| *class != best).map(|(_, value)| *value);
    row[best] - others.fold(f32::NEG_INFINITY, f32::max)
}

/// The line of a configuration that names a role's own identity.
pub fn own(name: &str) -> String {
    format!("identity = {{ folder = \"ids\", name = \"{name}\" }}\n")
}

/// All findings of `doctor`.
pub fn findings(said: &Value) -> &Vec<Value> {
    said["checks"].as_array().expect("a list of checks")
}

/// Findings of a kind.
pub fn findings_of<'a>(said: &'a Value, kind: &str) -> Vec<&'a Value> {
    findings(said).iter().filter(|check| check["check"] == kind).collect()
}
