//! A small training of three roles in threads, over TLS on loopback.
#![allow(dead_code)]

#[path = "../../../federated/tests/settled/mod.rs"]
mod settled;

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ariann_data::{Items, bundled};
use ariann_gates::{Party, Receiver};
use ariann_graph::training::{Initial, Loss, Recipe, Rehearsal, StepGraph, Trainer, evaluation, order, training_step};
use ariann_graph::{Network, zoo};
use ariann_net::Identity;
use ariann_plan::training::MARGIN;
use ariann_plan::{InputSpec, Link, Optimize, SignChoice};
use ariann_session::SessionError;
use ariann_session::config::{Deadlines, IdentityConfig, Remote};
use ariann_session::events::{Event, Events};
use ariann_session::hooks::Hooks;
use ariann_session::training::{
    Choices, Course, Job, Ranges, Reveals, TrainDealConfig, TrainPartyConfig, TrainReport, VERSION, deal_training,
    train,
};

/// What to train.
#[derive(Clone)]
pub struct Wanted {
    pub network: &'static str,
    pub ring: u32,
    pub loss: Loss,
    pub rows: usize,
    pub test_rows: usize,
    pub batch: usize,
    pub epochs: u32,
    pub lr: f64,
    pub features: Party,
    pub labels: Party,
    pub dropout: f64,
    /// Ranges come from so many steps; from all when none.
    pub rehearsed: Option<u64>,
    pub rescale_every: Option<u32>,
    /// Begins where no rounding decides a ReLU: to be compared closely with another training.
    pub settled: bool,
}

impl Default for Wanted {
    fn default() -> Self {
        Wanted {
            network: "network1",
            ring: 32,
            loss: Loss::Mse,
            rows: 260,
            test_rows: 70,
            batch: 32,
            epochs: 2,
            lr: 0.02,
            features: Party::P1,
            labels: Party::P1,
            dropout: 0.0,
            rehearsed: None,
            rescale_every: None,
            settled: false,
        }
    }
}

/// A job with all that its roles need, in a folder.
pub struct Made {
    pub folder: tempfile::TempDir,
    pub wanted: Wanted,
    pub job: Job,
    pub course: Arc<Course>,
    pub step: StepGraph,
    pub evaluation: StepGraph,
    pub train: (Items, Vec<u32>),
    pub test: (Items, Vec<u32>),
}

fn write(folder: &Path, file: bundled::File) -> PathBuf {
    let path = folder.join(file.name);
    std::fs::write(&path, file.bytes).unwrap();
    path
}

/// Compiles a job. `loss`, `accuracy` and `model` are revealed to P0.
pub fn make(wanted: Wanted) -> Made {
    let folder = tempfile::tempdir().unwrap();
    let mut network = zoo::network(wanted.network, &zoo::Options::default()).unwrap();
    if wanted.settled {
        network.onnx = settled::settled(&network.onnx);
    }
    std::fs::write(folder.path().join("model.onnx"), &network.onnx).unwrap();
    let graph = ariann_graph::import_for_training_bytes(&network.onnx).unwrap();
    let recipe = Recipe {
        epochs: wanted.epochs,
        momentum: 0.9,
        dropout: wanted.dropout,
        seed: 5,
        initial: if wanted.settled { Initial::Model } else { Initial::Fresh },
        ..Recipe::plain(wanted.loss, wanted.batch, wanted.lr)
    };
    let step = training_step(&graph, &recipe, recipe.lr, true).unwrap();
    let test = evaluation(&graph, &recipe, wanted.batch).unwrap();
    let input = InputSpec { scale: 255.0, ..InputSpec::plain("input", &network.input, [0.0, 1.0]) };
    let files = [bundled::train_images(), bundled::train_labels(), bundled::test_images(), bundled::test_labels()];
    let [images, labels, test_images, test_labels] = files.map(|file| write(folder.path(), file));
    let preprocess = ariann_data::Preprocess { scale: 255.0, mean: Vec::new(), std: Vec::new() };
    let load = |images: &Path, labels: &Path, count: usize| {
        let items = ariann_data::load(images, &preprocess, Some(count)).unwrap().fit(&network.input).unwrap();
        let labels = ariann_data::load_labels(labels, Some(count)).unwrap();
        (items, labels.into_iter().map(|label| label as u32).collect::<Vec<u32>>())
    };
    let train = load(&images, &labels, wanted.rows);
    let tested = load(&test_images, &test_labels, wanted.test_rows);

    let mut trainer = Trainer::with_seed(&step, recipe.seed);
    let (mut rehearsal, mut of_test) = (Rehearsal::new(&step), Rehearsal::new(&test));
    let mut number = 0;
    for epoch in 0..recipe.epochs {
        let order = order(wanted.rows as u32, recipe.seed, epoch);
        for items in order.chunks_exact(wanted.batch) {
            if wanted.rehearsed.is_some_and(|steps| number >= steps) {
                break;
            }
            let (features, labels) = batch(&train, items);
            rehearsal.step(&mut trainer, &step, &features, &labels, number).unwrap();
            let mut tester = Trainer::with_seed(&test, recipe.seed);
            tester.states_mut().clone_from_slice(trainer.states());
            of_test.step(&mut tester, &test, &features, &labels, number).unwrap();
            number += 1;
        }
    }
    let to_p0 = Some(Receiver::P0);
    let ranges = |rehearsal: &Rehearsal| rehearsal.ranges().unwrap().rounded();
    let job = Job {
        version: VERSION,
        network: Network::of(&graph),
        input,
        recipe,
        features: wanted.features.into(),
        labels: wanted.labels.into(),
        owners: Vec::new(),
        reveals: Reveals { model: to_p0, loss: to_p0, accuracy: to_p0 },
        rows: wanted.rows as u64,
        test_rows: wanted.test_rows as u64,
        ranges: Ranges { steps: ranges(&rehearsal), evaluation: Some(ranges(&of_test)) },
        rescale_every: wanted.rescale_every,
        choices: Choices {
            ring: wanted.ring,
            margin: MARGIN,
            optimize: Optimize::Time,
            sign: SignChoice::Exact,
            link: Link::LOOPBACK,
        },
    };
    let course = Arc::new(Course::new(job.clone()).unwrap());
    Made { folder, wanted, job, course, step, evaluation: test, train, test: tested }
}

fn batch(set: &(Items, Vec<u32>), items: &[u32]) -> (Vec<f32>, Vec<u32>) {
    let features = items.iter().flat_map(|item| set.0.item(*item as usize).to_vec()).collect();
    (features, items.iter().map(|item| set.1[*item as usize]).collect())
}

/// What the same training gives in float: losses of an item a step, accuracy an epoch.
pub fn in_clear(made: &Made) -> (Vec<f64>, Vec<f64>, Trainer) {
    in_clear_of(made, &vec![made.job.rows as u32; made.job.recipe.epochs as usize])
}

/// The same with so many rows in each epoch.
pub fn in_clear_of(made: &Made, rows: &[u32]) -> (Vec<f64>, Vec<f64>, Trainer) {
    let Made { job, step, evaluation, train, test, wanted, .. } = made;
    let mut trainer = Trainer::with_seed(step, job.recipe.seed);
    let (mut losses, mut accuracies) = (Vec::new(), Vec::new());
    for (epoch, rows) in (0..job.recipe.epochs).zip(rows) {
        for items in order(*rows, job.recipe.seed, epoch).chunks_exact(wanted.batch) {
            let (features, labels) = batch(train, items);
            let outcome = trainer.run(step, &features, &labels, losses.len() as u64);
            losses.push(outcome.loss.unwrap() / wanted.batch as f64);
        }
        let (mut right, mut tested) = (0, 0);
        let all: Vec<u32> = (0..job.test_rows as u32).collect();
        for items in all.chunks_exact(wanted.batch) {
            let (features, labels) = batch(test, items);
            let mut tester = Trainer::with_seed(evaluation, job.recipe.seed);
            tester.states_mut().clone_from_slice(trainer.states());
            let output = tester.run(evaluation, &features, &labels, 0).output;
            for (row, label) in output.chunks(evaluation.classes).zip(&labels) {
                right += u32::from(ariann_session::query::argmax(row) == *label);
                tested += 1;
            }
        }
        accuracies.push(f64::from(right) / f64::from(tested));
    }
    (losses, accuracies, trainer)
}

struct Hears(Sender<String>, Notices);

/// What a role tells its operator.
pub type Notices = Arc<Mutex<Vec<String>>>;

impl Events for Hears {
    fn tell(&mut self, event: Event) {
        match event {
            Event::Listening { address } => drop(self.0.send(address.to_string())),
            Event::Notice { text } => self.1.lock().unwrap().push(text),
            _ => {}
        }
    }
}

/// The configurations of the roles, which a test may change before they start.
pub struct Roles {
    pub dealer: TrainDealConfig,
    pub parties: [TrainPartyConfig; 2],
}

/// Configurations with checkpoints of every step in `folder`.
pub fn checkpointing(made: &Made, folder: &Path, resume: bool) -> Roles {
    let mut roles = roles(made);
    for (party, name) in roles.parties.iter_mut().zip(["p0", "p1"]) {
        party.checkpoint = Some(folder.join(name));
        party.checkpoint_every = Some(1);
        party.resume = resume;
    }
    roles
}

/// Configurations for a job.
pub fn roles(made: &Made) -> Roles {
    let folder = made.folder.path();
    let keys = tempfile::tempdir_in(folder).unwrap().keep();
    let pin = |name: &str| Identity::create(&keys, name, Duration::from_secs(3600)).unwrap().fingerprint().to_string();
    let pins = ["dealer", "p0", "p1"].map(pin);
    let own = |name: &str| IdentityConfig { folder: keys.clone(), name: name.to_string() };
    let job = keys.join("job.json");
    made.job.write(&job).unwrap();
    let deadlines = Deadlines { connect: 10.0, silence: 10.0, stall: 60.0 };
    let any = "127.0.0.1:0".to_string();
    let party = |party: Party| {
        let name = ["p0", "p1"][party as usize];
        let (features, labels) = (made.job.features == party, made.job.labels == party);
        let file = |wanted: bool, file: bundled::File| wanted.then(|| folder.join(file.name));
        TrainPartyConfig {
            role: party,
            job: job.clone(),
            model: (party == Party::P0).then(|| folder.join("model.onnx")),
            features: file(features, bundled::train_images()),
            labels: file(labels, bundled::train_labels()),
            test_features: file(features, bundled::test_images()),
            test_labels: file(labels, bundled::test_labels()),
            limit: Some(made.wanted.rows),
            test_limit: Some(made.wanted.test_rows),
            listen: (party == Party::P0).then(|| any.clone()),
            connect: None,
            owners: None,
            peer: pins[2 - party as usize].clone(),
            checkpoint: None,
            checkpoint_every: None,
            resume: false,
            out: None,
            allow: ["loss:p0", "accuracy:p0", "model:p0", "ranges:p0", "ranges:p1"].map(String::from).to_vec(),
            threads: 1,
            link: None,
            identity: own(name),
            dealer: Remote { address: String::new(), fingerprint: pins[0].clone() },
            deadlines: deadlines.clone(),
        }
    };
    Roles {
        dealer: TrainDealConfig {
            job: job.clone(),
            listen: any.clone(),
            p0: pins[1].clone(),
            p1: pins[2].clone(),
            answers: None,
            threads: 1,
            identity: own("dealer"),
            deadlines: deadlines.clone(),
        },
        parties: [party(Party::P0), party(Party::P1)],
    }
}

pub type Ended = Result<TrainReport, SessionError>;

/// After one role failed, the others get so long; one may wait for a role that never comes.
const LAST: Duration = Duration::from_secs(2);

/// Runs the three roles to their end: dealer, P0, P1.
pub fn run(roles: Roles, hooks: [&Hooks; 3]) -> [Ended; 3] {
    run_telling(roles, hooks, &[Notices::default(), Notices::default()])
}

/// The same, and what P0 and P1 tell on the way.
pub fn run_telling(roles: Roles, hooks: [&Hooks; 3], notices: &[Notices; 2]) -> [Ended; 3] {
    let Roles { dealer, parties: [mut p0, mut p1] } = roles;
    let [of_dealer, of_p0, of_p1] = hooks.map(Hooks::clone);
    let [to_p0, to_p1] = notices.clone();
    let (tell, ends) = channel();
    let [end_dealer, end_p0, end_p1] = [tell.clone(), tell.clone(), tell];
    let (say, hear) = channel();
    std::thread::spawn(move || {
        drop(end_dealer.send((0, deal_training(&dealer, &of_dealer, &mut Hears(say, Notices::default())))))
    });
    let address = hear.recv().expect("the dealer listens");
    p0.dealer.address = address.clone();
    p1.dealer.address = address;
    let (say, hear) = channel();
    std::thread::spawn(move || drop(end_p0.send((1, train(&p0, &of_p0, &mut Hears(say, to_p0))))));
    // Where P0 refuses, nobody listens.
    if let Ok(address) = hear.recv() {
        p1.connect = Some(address);
        std::thread::spawn(move || drop(end_p1.send((2, train(&p1, &of_p1, &mut Hears(channel().0, to_p1))))));
    }
    let mut ended = [(); 3].map(|()| Err(SessionError::Config("not waited for".to_string())));
    let (mut left, mut wait) = (3, Duration::from_secs(300));
    while left > 0 {
        let Ok((role, end)) = ends.recv_timeout(wait) else { break };
        let end: Ended = end;
        if end.is_err() {
            wait = LAST;
        }
        ended[role] = end;
        left -= 1;
    }
    ended
}
