//! A federated training of threads, over TLS on loopback.
#![allow(dead_code)]

#[path = "../settled/mod.rs"]
mod settled;

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use ariann_data::{Items, bundled};
use ariann_federated::roles::{
    Algorithm, Deadline, FederateDealConfig, FederateOwnerConfig, FederateReport, FederateServerConfig, Federation,
    Member, Plan, Set, deal, own, serve,
};
use ariann_gates::Receiver as To;
use ariann_graph::training::{Initial, Loss, Recipe, Rehearsal, Trainer, evaluation, order, training_step};
use ariann_graph::{Graph, Network, zoo};
use ariann_net::Identity;
use ariann_plan::training::{MARGIN, Source};
use ariann_plan::{InputSpec, Link, Optimize, SignChoice};
use ariann_session::SessionError;
use ariann_session::config::{Deadlines, IdentityConfig};
use ariann_session::events::{Event, Events};
use ariann_session::hooks::Hooks;
use ariann_session::training::{Choices, Job, Ranges, Reveals, VERSION};

pub const BATCH: usize = 20;
pub const TEST_ROWS: usize = 60;

/// A federation with all that its roles need, in a folder.
pub struct Made {
    pub folder: tempfile::TempDir,
    pub federation: Federation,
    pub graph: Graph,
    pub owners: Vec<(u16, Set)>,
    pub test: Set,
}

fn write(folder: &Path, file: bundled::File) -> PathBuf {
    let path = folder.join(file.name);
    std::fs::write(&path, file.bytes).unwrap();
    path
}

fn take(set: &Set, places: &[usize]) -> Set {
    let values = places.iter().flat_map(|place| set.0.item(*place)).copied().collect();
    let items = Items { shape: set.0.shape.clone(), values, count: places.len() };
    (items, places.iter().map(|place| set.1[*place]).collect())
}

/// Owners numbered 1, 2, ... with so many rows each, `rounds` rounds of two epochs; the accuracy goes to the server.
pub fn make(rows: &[usize], rounds: u32, threshold: u16, ring: u32) -> Made {
    make_with(rows, rounds, threshold, ring, |_| {})
}

/// The same with another recipe.
pub fn make_with(rows: &[usize], rounds: u32, threshold: u16, ring: u32, change: impl Fn(&mut Recipe)) -> Made {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let network = zoo::network("network1", &zoo::Options::default()).unwrap();
    let onnx = settled::settled(&network.onnx);
    std::fs::write(path.join("model.onnx"), &onnx).unwrap();
    let graph = ariann_graph::import_for_training_bytes(&onnx).unwrap();
    let epochs = 2;
    let mut recipe = Recipe {
        epochs: rounds * epochs,
        momentum: 0.9,
        seed: 5,
        initial: Initial::Model,
        ..Recipe::plain(Loss::CrossEntropy, BATCH, 0.01)
    };
    change(&mut recipe);
    let input = InputSpec { scale: 255.0, ..InputSpec::plain("input", &network.input, [0.0, 1.0]) };
    let preprocess = ariann_data::Preprocess { scale: 255.0, mean: Vec::new(), std: Vec::new() };
    let load = |images: &Path, labels: &Path, count: usize| -> Set {
        let items = ariann_data::load(images, &preprocess, Some(count)).unwrap().fit(&network.input).unwrap();
        (items, ariann_data::load_labels(labels, Some(count)).unwrap())
    };
    let files = [bundled::train_images(), bundled::train_labels(), bundled::test_images(), bundled::test_labels()];
    let [images, labels, test_images, test_labels] = files.map(|file| write(path, file));
    let all = load(&images, &labels, rows.iter().sum());
    let test = load(&test_images, &test_labels, TEST_ROWS);
    let (mut owners, mut first) = (Vec::new(), 0);
    for (index, rows) in rows.iter().enumerate() {
        let places: Vec<usize> = (first..first + rows).collect();
        let text: Vec<String> = places.iter().map(usize::to_string).collect();
        std::fs::write(path.join(format!("places-{}", index + 1)), text.join("\n")).unwrap();
        owners.push((index as u16 + 1, take(&all, &places)));
        first += rows;
    }
    let step = training_step(&graph, &recipe, recipe.lr, false).unwrap();
    let tests = evaluation(&graph, &recipe, BATCH).unwrap();
    let mut trainer = Trainer::with_seed(&step, 1);
    let (mut rehearsal, mut of_test) = (Rehearsal::new(&step), Rehearsal::new(&tests));
    for (number, places) in order(first as u32, 9, 0).chunks_exact(BATCH).enumerate().take(20) {
        let places: Vec<usize> = places.iter().map(|place| *place as usize).collect();
        let (items, labels) = take(&all, &places);
        let labels: Vec<u32> = labels.into_iter().map(|label| label as u32).collect();
        rehearsal.step(&mut trainer, &step, &items.values, &labels, number as u64).unwrap();
        let mut tester = Trainer::with_seed(&tests, 1);
        tester.states_mut().clone_from_slice(trainer.states());
        of_test.step(&mut tester, &tests, &items.values, &labels, 0).unwrap();
    }
    let ranges = |rehearsal: &Rehearsal| rehearsal.ranges().unwrap().rounded();
    let job = Job {
        version: VERSION,
        network: Network::of(&graph),
        input,
        recipe,
        features: Source::P1,
        labels: Source::P1,
        owners: Vec::new(),
        reveals: Reveals { model: None, loss: None, accuracy: Some(To::P0) },
        rows: rows[0] as u64,
        test_rows: TEST_ROWS as u64,
        ranges: Ranges { steps: ranges(&rehearsal), evaluation: Some(ranges(&of_test)) },
        rescale_every: None,
        choices: Choices {
            ring,
            margin: MARGIN,
            optimize: Optimize::Time,
            sign: SignChoice::Exact,
            link: Link::LOOPBACK,
        },
    };
    let identity =
        |name: &str| Identity::create(path, name, Duration::from_secs(3600)).unwrap().fingerprint().to_string();
    let federation = Federation {
        version: Plan::VERSION,
        id: "ab".repeat(32),
        rounds,
        epochs,
        threshold,
        epoch: 1,
        most_rows: 10_000,
        server: identity("server"),
        dealer: identity("dealer"),
        owners: (1..=rows.len() as u16)
            .map(|number| Member { number, fingerprint: identity(&format!("owner-{number}")) })
            .collect(),
        former: Vec::new(),
        algorithm: Algorithm::FedAvg,
        batches: None,
        reveal: None,
        initial: None,
        privacy: None,
        job,
    };
    federation.write(&path.join("federation.json")).unwrap();
    Made { folder, federation, graph, owners, test }
}

/// Tells where a role listens, and keeps what else it says.
pub struct Hears {
    address: Sender<String>,
    notices: Option<Sender<String>>,
    pub said: Vec<String>,
}

impl Events for Hears {
    fn tell(&mut self, event: Event) {
        match event {
            Event::Listening { address } => drop(self.address.send(address.to_string())),
            Event::Notice { text } => {
                if std::env::var("ARIANN_TEST_SAYS").is_ok() {
                    eprintln!("{text}");
                }
                if let Some(notices) = &self.notices {
                    let _ = notices.send(text.clone());
                }
                self.said.push(text);
            }
            _ => {}
        }
    }
}

pub type Ended = Result<FederateReport, SessionError>;

fn hears() -> (Hears, Receiver<String>) {
    let (address, hear) = channel();
    (Hears { address, notices: None, said: Vec::new() }, hear)
}

impl Made {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn own(&self, name: &str) -> IdentityConfig {
        IdentityConfig { folder: self.folder.path().to_path_buf(), name: name.to_string() }
    }

    pub fn server(&self, dealer: &str) -> FederateServerConfig {
        FederateServerConfig {
            federation: self.path("federation.json"),
            model: Some(self.path("model.onnx")),
            state: self.path("state-server"),
            listen: "127.0.0.1:0".to_string(),
            dealer: dealer.to_string(),
            least: None,
            until: None,
            allow: Vec::new(),
            out: None,
            pairs: 2,
            threads: 1,
            identity: self.own("server"),
            deadline: Deadline { join: 60.0, patience: 120.0, phase: 60.0, training: 120.0 },
            deadlines: Deadlines::default(),
        }
    }

    pub fn owner(&self, number: u16, dealer: &str, server: &str) -> FederateOwnerConfig {
        FederateOwnerConfig {
            federation: self.path("federation.json"),
            features: self.path(bundled::train_images().name),
            labels: self.path(bundled::train_labels().name),
            places: Some(self.path(&format!("places-{number}"))),
            test_features: Some(self.path(bundled::test_images().name)),
            test_labels: Some(self.path(bundled::test_labels().name)),
            test_limit: Some(TEST_ROWS),
            model: None,
            allow: Vec::new(),
            out: None,
            state: self.path(&format!("state-{number}")),
            server: server.to_string(),
            dealer: dealer.to_string(),
            reveal_accuracy: true,
            most_epsilon: None,
            patience: 60.0,
            threads: 1,
            identity: self.own(&format!("owner-{number}")),
            deadlines: Deadlines::default(),
        }
    }

    pub fn start_dealer(&self, hooks: Hooks) -> (String, JoinHandle<Ended>) {
        let config = FederateDealConfig {
            federation: self.path("federation.json"),
            listen: "127.0.0.1:0".to_string(),
            threads: 1,
            identity: self.own("dealer"),
            deadlines: Deadlines::default(),
        };
        let (mut events, hear) = hears();
        let thread = std::thread::spawn(move || deal(&config, &hooks, &mut events));
        (hear.recv().expect("it listens"), thread)
    }

    pub fn start_server(&self, config: FederateServerConfig, hooks: Hooks) -> (String, JoinHandle<Ended>) {
        let (mut events, hear) = hears();
        let thread = std::thread::spawn(move || serve(&config, &hooks, &mut events));
        (hear.recv().expect("it listens"), thread)
    }

    /// The same, and what it tells on the way.
    pub fn start_heard_server(&self, config: FederateServerConfig) -> (String, JoinHandle<Ended>, Receiver<String>) {
        let ((mut events, hear), (notices, told)) = (hears(), channel());
        events.notices = Some(notices);
        let thread = std::thread::spawn(move || serve(&config, &Hooks::default(), &mut events));
        (hear.recv().expect("it listens"), thread, told)
    }

    pub fn start_owner(&self, config: FederateOwnerConfig, hooks: Hooks) -> JoinHandle<Ended> {
        std::thread::spawn(move || own(&config, &hooks, &mut hears().0))
    }
}
