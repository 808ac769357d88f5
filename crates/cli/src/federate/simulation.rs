//! A simulation: one file says what is trained, with how many owners, and how the data are split among them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ariann_data::{Items, bundled};
use ariann_federated::privacy::Privacy;
use ariann_federated::roles::{
    Algorithm, ClearRound, Deadline, FederateDealConfig, FederateOwnerConfig, FederateReport, FederateServerConfig,
    Federation, Loss, Member, Plan, Reveal, Simulated, Simulation, Went, difference, in_clear, needed, states_of,
    write_config,
};
use ariann_gates::Receiver;
use ariann_graph::training::{Initial, Schedule};
use ariann_graph::{Graph, zoo};
use ariann_net::Identity;
use ariann_plan::training::{MARGIN, Source};
use ariann_plan::{Link, Optimize, SignChoice};
use ariann_session::config::{Deadlines, IdentityConfig};
use ariann_session::training::{Choices, Reveals};
use ariann_session::{Program, SessionError};
use serde::{Deserialize, Serialize};

use super::outcome::{Outcome, RoundLine, Trained};
use crate::options::{PixelOptions, PreprocessOptions};
use crate::output::Output;
use crate::run as runs;
use crate::train::data::Set;
use crate::train::job::{self, Terms};
use crate::train::prepare::{Prepared, classes, declare};
use crate::train::recipe::RecipeOptions;

/// Validity of the identities of a simulation.
const VALIDITY: Duration = Duration::from_secs(30 * 86_400);
/// Steps of the rehearsal.
const REHEARSED: usize = 100;

/// How the rows are split among the owners.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Row after row, in turn.
    #[default]
    Even,
    /// Sorted by label and cut into two pieces for each owner: it sees few of the labels.
    Labels,
}

/// Differential privacy.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrivacyConfig {
    /// The norm that updates are clipped to.
    pub clip: f64,
    /// The noise, as a multiple of that.
    pub noise: f64,
    /// δ.
    pub delta: f64,
    /// Survivors whose noise nobody who looks at the model knows; the threshold less one when absent.
    pub honest: Option<u16>,
    /// Rounds that may end without a result after shares were released, beyond the rounds of the training.
    #[serde(default)]
    pub spare: u32,
}

impl PrivacyConfig {
    fn with(self, threshold: u16) -> Privacy {
        let PrivacyConfig { clip, noise, delta, honest, spare } = self;
        Privacy { clip, noise, delta, honest: honest.unwrap_or(threshold.saturating_sub(1)), spare }
    }
}

/// The file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SimulateConfig {
    /// A network of the zoo, with fresh weights.
    pub network: String,
    /// The model to begin with in its place, ONNX, with its own weights.
    pub model: Option<PathBuf>,
    /// Owners.
    pub owners: u16,
    /// Rounds with a result.
    pub rounds: u32,
    /// What a round is: "fedavg" or "fedsgd".
    pub algorithm: Algorithm,
    /// FedSGD: batches of an owner's gradient; all of its rows when absent.
    pub batches: Option<u32>,
    /// Epochs that an owner trains in a round.
    pub epochs: u32,
    /// Owners that must reach the end of a round; more than half of them when absent.
    pub threshold: Option<u16>,
    /// Owners that a round begins with at least; the threshold when absent.
    pub least: Option<u16>,
    /// How the rows are split.
    pub split: Split,
    /// Training items; bundled images when absent.
    pub input: Option<PathBuf>,
    /// Their labels.
    pub labels: Option<PathBuf>,
    /// First items only.
    pub limit: Option<usize>,
    /// Items of the test set.
    pub test_input: Option<PathBuf>,
    /// Their labels.
    pub test_labels: Option<PathBuf>,
    /// First items only.
    pub test_limit: Option<usize>,
    /// Public items that the ranges are rehearsed on; the test set when absent.
    pub calibration: Option<PathBuf>,
    /// Their labels.
    pub calibration_labels: Option<PathBuf>,
    /// Least and greatest value of an input; what all bytes become when absent.
    pub input_range: Option<[f64; 2]>,
    /// Bits of the ring: 32 or 64.
    pub ring: u32,
    /// Items of a step; that of `ariann train` when absent, as all of the recipe.
    pub batch: Option<usize>,
    /// Learning rate.
    pub lr: Option<f64>,
    /// Momentum.
    pub momentum: Option<f64>,
    /// Seed of fresh weights and of orders.
    pub seed: u64,
    /// The server learns the accuracy after every round.
    pub reveal_accuracy: bool,
    /// Who learns the trained model: "model:owners", "model:server" or "model:all"; nobody when absent.
    pub reveal: Option<Reveal>,
    /// Folder for the trained model, where it is revealed; needed unless `folder` is given.
    pub out: Option<PathBuf>,
    /// The owner that brings the model to begin with, hidden from server and owners; the server brings it when absent.
    pub initial: Option<u16>,
    /// Also the same federated averaging in float.
    pub compare_clear: bool,
    /// Pairs that train at the same time.
    pub pairs: usize,
    /// Threads of each role.
    pub threads: usize,
    /// Folder for the roles' files, which are kept; a temporary one when absent.
    pub folder: Option<PathBuf>,
    /// Only write the roles' files to the folder: nothing is trained.
    pub write_only: bool,
    /// Differential privacy of owners; none when absent.
    pub privacy: Option<PrivacyConfig>,
    /// How long the server waits for owners.
    pub deadline: Deadline,
    /// Who is killed when.
    pub kill: Vec<Loss>,
}

impl Default for SimulateConfig {
    fn default() -> Self {
        SimulateConfig {
            network: "network1".to_string(),
            model: None,
            owners: 5,
            rounds: 5,
            algorithm: Algorithm::FedAvg,
            batches: None,
            epochs: 1,
            threshold: None,
            least: None,
            split: Split::Even,
            input: None,
            labels: None,
            limit: None,
            test_input: None,
            test_labels: None,
            test_limit: None,
            calibration: None,
            calibration_labels: None,
            input_range: None,
            ring: 32,
            batch: None,
            lr: None,
            momentum: None,
            seed: 0,
            reveal_accuracy: true,
            reveal: None,
            out: None,
            initial: None,
            compare_clear: true,
            pairs: 2,
            threads: 1,
            folder: None,
            write_only: false,
            privacy: None,
            deadline: Deadline::default(),
            kill: Vec::new(),
        }
    }
}

/// Where the data are.
struct Sources {
    train: [PathBuf; 2],
    test: [PathBuf; 2],
    calibration: [PathBuf; 2],
}

impl SimulateConfig {
    /// The model that all begin with.
    fn first(&self) -> Result<Vec<u8>, SessionError> {
        if let Some(model) = &self.model {
            return std::fs::read(model).map_err(|source| SessionError::file("reading", model, source));
        }
        let zoo = zoo::network(&self.network, &zoo::Options { seed: self.seed, ..zoo::Options::default() });
        Ok(zoo.map_err(|error| SessionError::Config(error.to_string()))?.onnx)
    }

    fn sources(&self, folder: &Path) -> Result<Sources, SessionError> {
        let place = |file: bundled::File| -> Result<PathBuf, SessionError> {
            let path = folder.join(file.name);
            std::fs::write(&path, file.bytes).map_err(|source| SessionError::file("writing", &path, source))?;
            Ok(path)
        };
        let absolute =
            |path: &Path| std::path::absolute(path).map_err(|source| SessionError::file("resolving", path, source));
        let pair = |input: &Option<PathBuf>, labels: &Option<PathBuf>, what: &str| match (input, labels) {
            (Some(input), Some(labels)) => Ok([absolute(input)?, absolute(labels)?]),
            _ => Err(SessionError::Config(format!("{what} needs its items and its labels"))),
        };
        let (train, test) = match self.input {
            None => (
                [place(bundled::train_images())?, place(bundled::train_labels())?],
                [place(bundled::test_images())?, place(bundled::test_labels())?],
            ),
            Some(_) => {
                (pair(&self.input, &self.labels, "input")?, pair(&self.test_input, &self.test_labels, "test_input")?)
            }
        };
        let calibration = match self.calibration {
            None => test.clone(),
            Some(_) => pair(&self.calibration, &self.calibration_labels, "calibration")?,
        };
        Ok(Sources { train, test, calibration })
    }
}

/// Places of each owner's rows.
fn split(labels: &[u32], owners: usize, how: Split) -> Vec<Vec<usize>> {
    match how {
        Split::Even => (0..owners).map(|owner| (owner..labels.len()).step_by(owners).collect()).collect(),
        Split::Labels => {
            let mut sorted: Vec<usize> = (0..labels.len()).collect();
            sorted.sort_by_key(|place| labels[*place]);
            let pieces = 2 * owners;
            let piece = |number: usize| &sorted[number * sorted.len() / pieces..(number + 1) * sorted.len() / pieces];
            (0..owners).map(|owner| [piece(owner), piece(owner + owners)].concat()).collect()
        }
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), SessionError> {
    std::fs::write(path, bytes).map_err(|source| SessionError::file("writing", path, source))
}

/// All that is known before the roles start.
struct Arranged {
    folder: PathBuf,
    plan: Plan,
    prepared: Prepared,
    train: Set,
    test: Set,
    parts: Vec<Vec<usize>>,
    server: FederateServerConfig,
    dealer: FederateDealConfig,
    owners: Vec<(u16, FederateOwnerConfig)>,
}

/// Makes the federation, everybody's identity and configuration, and what the pairs compute.
fn arrange(config: &SimulateConfig, temporary: &Path, output: &Output) -> Result<Arranged, SessionError> {
    let folder = match &config.folder {
        Some(folder) => {
            std::fs::create_dir_all(folder).map_err(|source| SessionError::file("creating", folder, source))?;
            std::path::absolute(folder).map_err(|source| SessionError::file("resolving", folder, source))?
        }
        None => temporary.to_path_buf(),
    };
    if config.reveal.is_some() && config.out.is_none() && config.folder.is_none() {
        return Err(SessionError::Config("`reveal` without `out`: name a folder for the trained model".to_string()));
    }
    let sources = config.sources(&folder)?;
    let epochs = config.rounds.checked_mul(config.epochs).filter(|epochs| *epochs > 0);
    let epochs = epochs.ok_or_else(|| SessionError::Config("rounds and epochs are at least 1".to_string()))?;
    let recipe = RecipeOptions {
        epochs: Some(epochs),
        // The bundled images are few.
        batch: config.batch.or(config.input.is_none().then_some(20)),
        lr: config.lr,
        momentum: config.momentum.or((config.algorithm == Algorithm::FedSgd).then_some(0.0)),
        nesterov: false,
        weight_decay: 0.0,
        schedule: Schedule::Constant,
        dropout: 0.5,
        loss: None,
        seed: config.seed,
        freeze: Vec::new(),
    };
    let mut recipe = recipe.choose(config.model.is_none().then_some(&config.network)).recipe;
    if config.initial.is_some() {
        recipe.initial = Initial::Model;
    }
    let model = folder.join("model.onnx");
    write(&model, &config.first()?)?;
    let graph = ariann_graph::import_for_training(&model)?;
    let preprocess = PreprocessOptions { scale: 255.0, mean: Vec::new(), std: Vec::new() };
    let pixels =
        PixelOptions { resize: None, filter: ariann_plan::Filter::Bicubic, crop: None, order: ariann_plan::Order::Rgb };
    let declared = declare(&graph, &preprocess, &pixels, config.input_range)?;
    let of = classes(&graph);
    let read = |[items, labels]: &[PathBuf; 2], limit| Set::read(&declared, of, items, Some(labels), limit);
    let train = read(&sources.train, config.limit)?;
    let test = read(&sources.test, config.test_limit)?;
    let tested = if config.reveal_accuracy { test.count() } else { 0 };
    let parts = split(&train.labels, usize::from(config.owners), config.split);
    let fewest = parts.iter().map(Vec::len).min().unwrap_or(0);
    if fewest < recipe.batch {
        let reason = format!("an owner has {fewest} rows, fewer than the batch of {}", recipe.batch);
        return Err(SessionError::Config(reason + "; give fewer owners, a smaller batch or more items"));
    }
    let prepared = Prepared::new(graph, declared.clone(), recipe, [fewest, tested], [false, false])?;
    let public = read(&sources.calibration, Some(10_000))?;
    let rehearsed = prepared.rehearse(&public, REHEARSED, &mut output.progress())?;
    let choices = Choices {
        ring: config.ring,
        margin: MARGIN,
        optimize: Optimize::Time,
        sign: SignChoice::Exact,
        link: Link::LOOPBACK,
    };
    let accuracy = config.reveal_accuracy.then_some(Receiver::P0);
    let terms = Terms {
        features: Source::P1,
        labels: Source::P1,
        owners: Vec::new(),
        reveals: Reveals { model: None, loss: None, accuracy },
        rescale_every: None,
        choices,
    };
    let job = job::make(&prepared, &rehearsed, terms)?.job().clone();
    let identity = |name: &str| -> Result<String, SessionError> {
        Ok(match Identity::load(&folder, name) {
            Ok(known) => known,
            Err(_) => Identity::create(&folder, name, VALIDITY)?,
        }
        .fingerprint()
        .to_string())
    };
    let numbers: Vec<u16> = (1..=config.owners).collect();
    let mut members = Vec::new();
    for number in &numbers {
        members.push(Member { number: *number, fingerprint: identity(&format!("owner-{number}"))? });
    }
    let mut id = [0; 32];
    ariann_prg::entropy(&mut id)?;
    let federation = Federation {
        version: Plan::VERSION,
        id: id.iter().map(|byte| format!("{byte:02x}")).collect(),
        rounds: config.rounds,
        epochs: config.epochs,
        threshold: config.threshold.unwrap_or(config.owners / 2 + 1),
        epoch: 1,
        most_rows: train.count() as u64,
        server: identity("server")?,
        dealer: identity("dealer")?,
        owners: members,
        former: Vec::new(),
        algorithm: config.algorithm,
        batches: config.batches,
        reveal: config.reveal,
        initial: config.initial,
        privacy: config.privacy.map(|privacy| privacy.with(config.threshold.unwrap_or(config.owners / 2 + 1))),
        job,
    };
    let file = folder.join("federation.json");
    federation.write(&file)?;
    let plan = federation.plan()?;
    let any = "127.0.0.1:0".to_string();
    let own = |name: String| IdentityConfig { folder: folder.clone(), name };
    let server = FederateServerConfig {
        federation: file.clone(),
        model: config.initial.is_none().then(|| model.clone()),
        state: folder.join("state-server"),
        listen: any.clone(),
        dealer: String::new(),
        least: config.least,
        until: None,
        allow: needed(config.reveal),
        out: None,
        pairs: config.pairs,
        threads: config.threads,
        identity: own("server".to_string()),
        deadline: config.deadline,
        deadlines: Deadlines::default(),
    };
    let dealer = FederateDealConfig {
        federation: file.clone(),
        listen: any,
        threads: config.threads,
        identity: own("dealer".to_string()),
        deadlines: Deadlines::default(),
    };
    let learn = config.reveal.is_some_and(Reveal::to_owners);
    let brings = |number: u16| learn || config.initial == Some(number);
    let mut owners = Vec::new();
    for (number, places) in numbers.iter().zip(&parts) {
        let path = folder.join(format!("places-{number}"));
        let text: Vec<String> = places.iter().map(usize::to_string).collect();
        write(&path, text.join("\n").as_bytes())?;
        let [features, labels] = sources.train.clone();
        let [test_features, test_labels] = sources.test.clone();
        let tests = config.reveal_accuracy;
        let owner = FederateOwnerConfig {
            federation: file.clone(),
            features,
            labels,
            places: Some(path),
            test_features: tests.then_some(test_features),
            test_labels: tests.then_some(test_labels),
            test_limit: config.test_limit,
            model: brings(*number).then(|| model.clone()),
            allow: needed(config.reveal),
            out: None,
            state: folder.join(format!("state-{number}")),
            server: String::new(),
            dealer: String::new(),
            reveal_accuracy: tests,
            most_epsilon: None,
            patience: 600.0,
            threads: config.threads,
            identity: own(format!("owner-{number}")),
            deadlines: Deadlines::default(),
        };
        owners.push((*number, owner));
    }
    Ok(Arranged { folder, plan, prepared, train, test, parts, server, dealer, owners })
}

/// Writes the federation and every role's configuration to the folder, without a run; addresses are for whoever starts them.
pub fn write_only(config: &SimulateConfig, output: &Output) -> Result<Vec<PathBuf>, SessionError> {
    if config.folder.is_none() {
        return Err(SessionError::Config("write_only without `folder`: name one".to_string()));
    }
    let Arranged { folder, server, dealer, owners, .. } = arrange(config, Path::new(""), output)?;
    let mut files = vec![folder.join("federation.json"), write_config(&folder, "server", &server)?];
    files.push(write_config(&folder, "dealer", &dealer)?);
    for (number, owner) in &owners {
        files.push(write_config(&folder, &format!("owner-{number}"), owner)?);
    }
    Ok(files)
}

/// Runs a simulation.
pub fn run(config: &SimulateConfig, temporary: &Path, output: &Output) -> Result<Outcome, SessionError> {
    let Arranged { folder, plan, prepared, train, test, parts, server, dealer, owners } =
        arrange(config, temporary, output)?;
    let numbers: Vec<u16> = (1..=config.owners).collect();
    let program = Program::this()?;
    let simulation = Simulation {
        program,
        folder: &folder,
        server,
        dealer,
        owners,
        losses: config.kill.clone(),
        interrupted: runs::interrupted,
    };
    let simulated = simulation.run(&mut output.progress())?;
    let rounds: Vec<_> = simulated.server.rounds.iter().filter(|round| !round.survivors.is_empty()).collect();
    let clear = match config.compare_clear {
        false => Vec::new(),
        true => {
            let went: Vec<Went> = rounds
                .iter()
                .map(|round| Went {
                    round: round.round,
                    cohort: round.cohort.clone(),
                    survivors: round.survivors.clone(),
                })
                .collect();
            let sets = numbers.iter().zip(&parts).map(|(number, places)| (*number, taken(&train, places)));
            let all: Vec<usize> = (0..test.count()).collect();
            let test = taken(&test, &all);
            in_clear(&plan, &prepared.graph, &sets.collect::<Vec<_>>(), Some(&test), &went, &mut output.progress())?
        }
    };
    let trained = trained(config, &simulated, (&plan, &prepared.graph), clear.last())?;
    let clear = clear.iter().map(|round| round.accuracy).chain(std::iter::repeat(None));
    let lines = rounds.iter().zip(clear).map(|(round, clear)| RoundLine { round: (*round).clone(), clear });
    let lines = lines.collect();
    let (rows, values) = (parts.iter().map(Vec::len).collect(), plan.training().values);
    Ok(Outcome { config: config.clone(), rows, values, lines, simulated, trained })
}

/// What was revealed of the model: where it is kept, and how far it is from the float one.
fn trained(
    config: &SimulateConfig,
    simulated: &Simulated,
    (plan, graph): (&Plan, &Graph),
    clear: Option<&ClearRound>,
) -> Result<Trained, SessionError> {
    let all = std::iter::once(&simulated.server).chain(simulated.owners.iter().map(|(_, report)| report));
    let files = all.map(|report: &FederateReport| &report.files).max_by_key(|files| files.len());
    let mut trained = Trained { files: files.cloned().unwrap_or_default(), difference: None };
    let onnx = trained.files.iter().find(|file| file.extension().is_some_and(|it| it == "onnx"));
    if let (Some(file), Some(clear)) = (onnx, clear) {
        let model = std::fs::read(file).map_err(|source| SessionError::file("reading", file, source))?;
        trained.difference = Some(difference(plan, graph, &states_of(plan, &model)?, &clear.states)?);
    }
    if let Some(out) = config.out.as_deref().filter(|_| !trained.files.is_empty()) {
        std::fs::create_dir_all(out).map_err(|source| SessionError::file("creating", out, source))?;
        for file in &mut trained.files {
            let to = out.join(file.file_name().unwrap_or_default());
            std::fs::copy(&*file, &to).map_err(|source| SessionError::file("writing", &to, source))?;
            *file = to;
        }
    }
    Ok(trained)
}

fn taken(set: &Set, places: &[usize]) -> (Items, Vec<usize>) {
    let values = places.iter().flat_map(|place| set.items.item(*place)).copied().collect();
    let items = Items { shape: set.items.shape.clone(), values, count: places.len() };
    (items, places.iter().map(|place| set.labels[*place] as usize).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_goes_to_one_owner() {
        let labels: Vec<u32> = (0..103).map(|row| row * 7 % 10).collect();
        for how in [Split::Even, Split::Labels] {
            let parts = split(&labels, 5, how);
            let mut all = parts.concat();
            all.sort_unstable();
            assert_eq!(all, (0..103).collect::<Vec<_>>(), "{how:?}");
            assert!(parts.iter().all(|part| (20..=21).contains(&part.len())));
        }
        let seen =
            |part: &[usize]| part.iter().map(|row| labels[*row]).collect::<std::collections::BTreeSet<_>>().len();
        assert!(split(&labels, 5, Split::Labels).iter().all(|part| seen(part) <= 4));
    }
}
