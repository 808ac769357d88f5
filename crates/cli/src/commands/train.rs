//! `ariann train`: dealer, P0 and P1 as three processes on this machine, or one of them by its configuration.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ariann_data::bundled;
use ariann_gates::{Party, Receiver};
use ariann_graph::{Network, zoo};
use ariann_net::Shape;
use ariann_plan::training::{MARGIN, Source};
use ariann_plan::{Optimize, SignChoice};
use ariann_session::config;
use ariann_session::hooks::Hooks;
use ariann_session::training::{
    self, Choices, Course, Job, JobError, LocalTraining, OwnerConfig, Reveals, RowOwner, TrainDealConfig,
    TrainPartyConfig, TrainReports,
};
use ariann_session::{Program, SessionError};
use serde_json::json;

use crate::options::{self, PixelOptions, PreprocessOptions};
use crate::output::Output;
use crate::run::{self};
use crate::train::clear;
use crate::train::cost::{Cost, of_turns};
use crate::train::data::Set;
use crate::train::job::{self, Terms};
use crate::train::outcome::{self, Outcome};
use crate::train::page;
use crate::train::prepare::{Calibration, Prepared, classes, declare};
use crate::train::progress::Progress;
use crate::train::recipe::{Chosen, RecipeOptions};
use crate::train::reveal::{self, RevealOption, What};
use crate::{forecast, html};

/// Arguments of `train`. Without any, network1 learns the bundled images.
///
/// P0 brings the model (or fresh weights of a public seed), P1 the data, unless --features-from and --labels-from say otherwise.
/// Weights, gradients, items and labels stay hidden from both; what is revealed is named by --reveal and told before the start.
#[derive(clap::Args)]
pub struct Args {
    /// Be one role of a training on several machines: dealer, p0, p1, or an owner of rows, who shares them and leaves.
    #[arg(long, value_name = "ROLE", requires = "config", value_parser = ["dealer", "p0", "p1", "owner"])]
    role: Option<String>,
    /// Its configuration, TOML.
    #[arg(long, value_name = "FILE", requires = "role")]
    config: Option<PathBuf>,
    /// A network of the zoo, with fresh weights: network1 by default.
    #[arg(long, value_name = "NAME", conflicts_with = "model")]
    network: Option<String>,
    /// The model to begin with, ONNX, with its own weights.
    #[arg(long, value_name = "FILE.onnx")]
    model: Option<PathBuf>,
    /// Training items: IDX (also gzip), .npy, CIFAR-10 (.bin, .bin.gz), PNG, JPEG, or a folder; bundled images by default.
    #[arg(long, value_name = "DATA")]
    input: Option<PathBuf>,
    /// Their labels: a file, or the word folders when each image lies in the folder of its class. A CIFAR-10 file has its own.
    #[arg(long, value_name = "FILE|folders")]
    labels: Option<PathBuf>,
    /// Items of the test set.
    #[arg(long, value_name = "DATA")]
    test_input: Option<PathBuf>,
    /// Their labels.
    #[arg(long, value_name = "FILE|folders")]
    test_labels: Option<PathBuf>,
    /// First items of the training set only.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    #[command(flatten)]
    recipe: RecipeOptions,
    /// Bits of the ring: 32 by default where there is --calibration, 64 otherwise.
    #[arg(long, value_parser = options::parse_ring)]
    ring: Option<u32>,
    /// Items that a rehearsal in clear trains on, to observe ranges: public ones, or the model owner's; never the private ones.
    /// Without it, items are made up.
    #[arg(long, value_name = "DATA")]
    calibration: Option<PathBuf>,
    /// Their labels.
    #[arg(long, value_name = "FILE|folders", requires = "calibration")]
    calibration_labels: Option<PathBuf>,
    /// Items of the calibration data that are used at most, the first ones.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    calibration_limit: usize,
    /// Steps of the rehearsal.
    #[arg(long, value_name = "STEPS", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    rehearse: u32,
    /// What the form of each comparison is chosen for: time (of the forecast for the link), latency (fewest exchanges) or
    /// material (least).
    #[arg(long, default_value = "time", value_parser = options::parse_optimize)]
    optimize: Optimize,
    /// How ReLU decides a sign: exact, or coarse, on the top bits alone (docs/accuracy.md).
    #[arg(long, default_value = "exact", value_parser = options::parse_sign)]
    sign: SignChoice,
    /// Measure the range of every product anew before every N-th step, and choose scales by it: for trainings whose values grow or
    /// shrink beyond the rehearsal's. Reveals one power of two a product to both parties and the dealer, each time.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rescale_every: Option<u32>,
    #[command(flatten)]
    preprocess: PreprocessOptions,
    #[command(flatten)]
    pixels: PixelOptions,
    /// Least and greatest value of an input; others are refused. By default what all bytes become.
    #[arg(long, value_name = "LO,HI", value_parser = options::parse_range, allow_hyphen_values = true)]
    input_range: Option<[f64; 2]>,
    /// What somebody learns: model:p0, p1, both or none (p0 by default), loss[:WHO] (of every step), accuracy[:WHO] (on the
    /// test set, after every epoch; p1 by default). May be repeated; nothing else is revealed.
    #[arg(long, value_name = "WHAT:WHO", value_parser = reveal::parse)]
    reveal: Vec<RevealOption>,
    /// Who brings the items: p0 or p1.
    #[arg(long, value_name = "WHO", default_value = "p1", value_parser = parse_party)]
    features_from: Party,
    /// Who brings the labels: p0 or p1.
    #[arg(long, value_name = "WHO", default_value = "p1", value_parser = parse_party)]
    labels_from: Party,
    /// Folder for checkpoints: shares on each side, about every 20 seconds and after every epoch.
    #[arg(long, value_name = "DIR")]
    checkpoint: Option<PathBuf>,
    /// Steps between two checkpoints.
    #[arg(long, value_name = "STEPS", requires = "checkpoint", value_parser = clap::value_parser!(u32).range(1..))]
    checkpoint_every: Option<u32>,
    /// Go on from the newest checkpoint, with fresh material; the other flags are those of the first start.
    #[arg(long, requires = "checkpoint")]
    resume: bool,
    /// Folder for the trained model, ONNX and safetensors under the names that it came with.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Also train in float with the same recipe, order and start, and tell its accuracy beside the private one. For one's
    /// own data: it reveals the accuracy.
    #[arg(long)]
    compare_clear: bool,
    /// The link between P0 and P1: loopback (as it is), lan (1 Gbit/s, 0.5 ms round trip) or wan (100 Mbit/s, 70 ms).
    #[arg(long)]
    link: Option<Shape>,
    /// Threads of each role; half of the cores by default.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Also write a page with curves of what was revealed, and where time, bytes and material go.
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// Write the public job for roles on separate machines, and end.
    #[arg(long, value_name = "FILE")]
    job_only: Option<PathBuf>,
    /// Items of the training set, where it is not here.
    #[arg(long, value_name = "N", requires = "job_only", conflicts_with = "input")]
    rows: Option<usize>,
    /// Items of the test set, where it is not here.
    #[arg(long, value_name = "N", requires = "job_only", conflicts_with = "test_input")]
    test_rows: Option<usize>,
    /// A data owner who shares rows among P0 and P1: its name, fingerprint, number of items for the training set and for the test
    /// set, and the epoch from which on they take part. May be repeated; items stand in the order of the owners (docs/pooled.md).
    #[arg(long, value_name = "NAME,FINGERPRINT,ROWS[,TEST-ROWS[,EPOCH]]", requires = "job_only", value_parser = job::parse_owner,
        conflicts_with_all = ["input", "test_input", "rows", "test_rows", "features_from", "labels_from"])]
    owner: Vec<RowOwner>,
    /// A job of a pooled training that has begun: --owner adds items to it, from an epoch on that it has not reached, and --job-only
    /// writes the job with which all roles go on.
    #[arg(long, value_name = "JOB", requires = "owner", requires = "job_only")]
    extend: Option<PathBuf>,
}

pub fn run(args: Args, hooks: &Hooks, output: &Output) -> Result<(), SessionError> {
    if let (Some(role), Some(config)) = (&args.role, &args.config) {
        return role_alone(role, config, hooks, output);
    }
    if let (Some(from), Some(to)) = (&args.extend, &args.job_only) {
        return extend(from, to, &args.owner, output);
    }
    run::heed_interrupts()?;
    args.report.as_deref().map_or(Ok(()), html::check)?;
    let folder = run::folder(None)?;
    let task = Task::new(args, folder.path())?;
    if !output.is_json() && !task.taken.is_empty() {
        output.line(&task.taken);
    }
    let course = task.course(output)?;
    let job = course.job();
    let cost = Cost::new(&course, &forecast::link(task.args.link));
    if let Some(path) = &task.args.job_only {
        job.write(path).map_err(|error| SessionError::Config(error.to_string()))?;
        if output.is_json() {
            let (digest, reveals) = (job.digest_hex(), reveal::names(job));
            output.document(&json!({
                "job": path, "digest": digest, "steps": cost.steps, "reveals": reveals,
                "rescale_every": job.rescale_every, "step": cost.step.document(),
                "test": cost.evaluation.map(of_turns), "measurement": cost.measurement.map(of_turns),
                "forecast_seconds": cost.seconds(),
            }));
        } else {
            output.line(&cost.text(&task.prepared, &course));
            output.line(&format!("written to {} (digest {})", path.display(), &job.digest_hex()[..16]));
        }
        return Ok(());
    }
    if !output.is_json() {
        output.line(&cost.text(&task.prepared, &course));
    }
    if !output.is_json() && task.untested() {
        output
            .line("the test set is not used, because nobody learns the accuracy: --reveal accuracy:p1 tells it to P1");
    }
    let outcome = task.train(course, cost, folder.path(), output)?;
    if let Some(path) = &outcome.report {
        html::write(path, "A private training", outcome.outcome.threads, vec![page::run(&outcome.outcome)])?;
    }
    if output.is_json() {
        output.document(&outcome.outcome.document());
    } else {
        output.line(&outcome.outcome.text());
    }
    Ok(())
}

/// A job with more items of owners.
fn extend(from: &Path, to: &Path, owners: &[RowOwner], output: &Output) -> Result<(), SessionError> {
    let course = job::extend(Job::read(from).map_err(of_job)?, owners)?;
    let (job, turns) = (course.job(), course.turns());
    job.write(to).map_err(of_job)?;
    if output.is_json() {
        output.document(&json!({
            "job": to, "digest": job.digest_hex(), "steps": turns.steps_in_all(), "reveals": reveal::names(job),
        }));
        return Ok(());
    }
    for (epoch, steps) in &turns.later {
        output.line(&format!("from epoch {} on: {steps} steps an epoch", epoch + 1));
    }
    output.line(&format!("written to {} (digest {})", to.display(), &job.digest_hex()[..16]));
    Ok(())
}

/// One role, by its configuration.
fn role_alone(role: &str, config: &Path, hooks: &Hooks, output: &Output) -> Result<(), SessionError> {
    if role == "owner" {
        let report = training::share_rows(&config::read::<OwnerConfig>(config)?, hooks, &mut output.events())?;
        if output.is_json() {
            output.result(&report);
        } else {
            output.line(&outcome::owner(&report));
        }
        return Ok(());
    }
    let report = if role == "dealer" {
        let config = config::read::<TrainDealConfig>(config)?;
        training::deal_training(&config, hooks, &mut output.events())?
    } else {
        let file = config;
        let config = config::read::<TrainPartyConfig>(file)?;
        if config::name(config.role).to_lowercase() != role {
            let reason =
                format!("{}: it is the configuration of {}, not of {role}", file.display(), config::name(config.role));
            return Err(SessionError::Config(reason));
        }
        training::train(&config, hooks, &mut output.events())?
    };
    if output.is_json() {
        output.result(&report);
    } else {
        output.line(&outcome::role(&report));
    }
    Ok(())
}

/// Everything that is known before there is a job.
struct Task {
    args: Args,
    prepared: Prepared,
    train: Option<Set>,
    test: Option<Set>,
    classes: usize,
    reveals: Reveals,
    /// What nobody asked for, as people read it.
    taken: String,
    model: PathBuf,
    demonstration: bool,
}

/// A training that ended, and where its page goes.
struct Ended {
    outcome: Outcome,
    report: Option<PathBuf>,
}

impl Task {
    /// Reads model and data.
    fn new(mut args: Args, folder: &Path) -> Result<Task, SessionError> {
        if !args.owner.is_empty() {
            let sum =
                |of: fn(&RowOwner) -> u64| usize::try_from(args.owner.iter().map(of).fold(0, u64::saturating_add)).ok();
            args.rows = sum(|owner| owner.rows);
            args.test_rows = sum(|owner| owner.test_rows).filter(|rows| *rows > 0);
        }
        let demonstration = args.input.is_none() && args.rows.is_none();
        if demonstration && args.model.is_some() {
            let reason = "--model: on which items? give --input and --labels (with --job-only, --rows suffices)";
            return Err(SessionError::Config(reason.to_string()));
        }
        if demonstration {
            use_bundled(&mut args, folder)?;
        }
        if args.test_labels.is_some() && args.test_input.is_none() {
            let reason = "--test-labels: of which items? give --test-input";
            return Err(SessionError::Config(reason.to_string()));
        }
        args.check_out()?;
        if args.limit == Some(0) || args.calibration_limit == 0 {
            return Err(SessionError::Config("--limit and --calibration-limit are at least 1".to_string()));
        }
        let (model, network) = args.the_model(folder)?;
        let Chosen { recipe, taken } = args.recipe.choose(network.as_deref());
        let graph = ariann_graph::import_for_training(&model)?;
        let declared = declare(&graph, &args.preprocess, &args.pixels, args.input_range)?;
        let classes = classes(&graph);
        let read = |input: &Option<PathBuf>, labels: &Option<PathBuf>, limit| {
            let set = |input: &PathBuf| Set::read(&declared, classes, input, labels.as_deref(), limit);
            input.as_ref().map(set).transpose()
        };
        let train = read(&args.input, &args.labels, args.limit)?;
        let test = read(&args.test_input, &args.test_labels, None)?;
        let reveals = args.reveals()?;
        let count = |set: &Option<Set>, rows: Option<usize>| set.as_ref().map_or(rows.unwrap_or(0), Set::count);
        // Without anybody to learn the accuracy nothing is tested.
        let tested = if reveals.accuracy.is_some() { count(&test, args.test_rows) } else { 0 };
        let rows = [count(&train, args.rows), tested];
        let loss = reveals.loss.is_some() || args.compare_clear;
        let prepared = Prepared::new(graph, declared, recipe, rows, [reveals.loss.is_some(), loss])?;
        Ok(Task { args, prepared, train, test, classes, reveals, taken, model, demonstration })
    }

    /// The job, compiled: that of the checkpoints when a training goes on, otherwise from a rehearsal.
    fn course(&self, output: &Output) -> Result<Arc<Course>, SessionError> {
        let Some(folder) = self.args.checkpoint.as_ref().filter(|_| self.args.job_only.is_none()) else {
            return self.plan(output);
        };
        let path = folder.join("job.json");
        if self.args.resume {
            if !path.exists() {
                return Err(SessionError::Config(format!(
                    "--resume: there is no training to go on with, {} is missing; start without --resume, or name the folder that it \
                     was started with",
                    path.display()
                )));
            }
            let job = Job::read(&path).map_err(of_job)?;
            self.same(&job, &path)?;
            return Ok(Arc::new(Course::new(job).map_err(of_job)?));
        }
        let course = self.plan(output)?;
        if path.exists() && has_shares(folder)? {
            return Err(SessionError::Config(format!(
                "--checkpoint {}: it holds those of an earlier training; --resume goes on with it, or give another folder",
                folder.display()
            )));
        }
        std::fs::create_dir_all(folder).map_err(|source| SessionError::file("creating", folder, source))?;
        course.job().write(&path).map_err(of_job)?;
        Ok(course)
    }

    fn plan(&self, output: &Output) -> Result<Arc<Course>, SessionError> {
        let Task { args, prepared, .. } = self;
        let calibration = Calibration {
            path: args.calibration.as_ref(),
            labels: args.calibration_labels.as_deref(),
            limit: args.calibration_limit,
        };
        let private = args.input.as_deref().filter(|_| !self.demonstration);
        let public = calibration.read(prepared, self.classes, private)?;
        let rehearsed = prepared.rehearse(&public, args.rehearse as usize, &mut output.progress())?;
        let choices = Choices {
            ring: self.ring(),
            margin: MARGIN,
            optimize: args.optimize,
            sign: args.sign,
            link: forecast::link(args.link),
        };
        let shared = |party: Party| if args.owner.is_empty() { party.into() } else { Source::Owners };
        let (features, labels) = (shared(args.features_from), shared(args.labels_from));
        let (owners, reveals, rescale_every) = (args.owner.clone(), self.reveals, args.rescale_every);
        let terms = Terms { features, labels, owners, reveals, rescale_every, choices };
        job::make(prepared, &rehearsed, terms)
    }

    /// A test set was given, and nothing is to be learned of it.
    fn untested(&self) -> bool {
        self.test.is_some() && self.reveals.accuracy.is_none()
    }

    fn ring(&self) -> u32 {
        self.args.ring.unwrap_or(if self.args.calibration.is_some() { 32 } else { 64 })
    }

    /// Refuses to go on with another training than the one that was begun.
    fn same(&self, job: &Job, path: &Path) -> Result<(), SessionError> {
        let Prepared { recipe, rows, test_rows, graph, .. } = &self.prepared;
        let differs = [
            ("the recipe", job.recipe == *recipe),
            ("the model", job.network == Network::of(graph)),
            ("the number of items", (job.rows, job.test_rows) == (*rows as u64, *test_rows as u64)),
            ("--ring", job.choices.ring == self.ring()),
            ("--optimize", job.choices.optimize == self.args.optimize),
            ("--sign", job.choices.sign == self.args.sign),
            ("--rescale-every", job.rescale_every == self.args.rescale_every),
            ("--features-from", job.features == self.args.features_from),
            ("--labels-from", job.labels == self.args.labels_from),
            ("--reveal", job.reveals == self.reveals),
            ("how items are prepared", job.input == self.prepared.declared),
        ];
        let Some((what, _)) = differs.iter().find(|(_, same)| !same) else { return Ok(()) };
        let reason = format!("{what} differs; --resume takes the flags of the first start, or begin in another folder");
        Err(SessionError::Config(format!("{} is of another training: {reason}", path.display())))
    }

    /// Runs the three roles, and the same in clear.
    fn train(self, course: Arc<Course>, cost: Cost, folder: &Path, output: &Output) -> Result<Ended, SessionError> {
        let Task { args, prepared, train, test, model, .. } = self;
        let features = args.input.clone().expect("given or bundled");
        let labels_of = |labels: &Option<PathBuf>, input: &PathBuf| match labels {
            Some(path) if path != Path::new("folders") => path.clone(),
            _ => input.clone(),
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = args.threads.unwrap_or(cores / 2).max(1);
        let roles = folder.join("roles");
        std::fs::create_dir(&roles).map_err(|source| SessionError::file("creating", &roles, source))?;
        let local = LocalTraining {
            program: Program::this()?,
            folder: &roles,
            job: course.job(),
            model,
            labels: labels_of(&args.labels, &features),
            features,
            test_labels: args.test_input.as_ref().map(|input| labels_of(&args.test_labels, input)),
            test_features: args.test_input.clone(),
            limit: args.limit,
            test_limit: None,
            checkpoint: args.checkpoint.clone(),
            checkpoint_every: args.checkpoint_every,
            // One that ended before its first checkpoint begins again.
            resume: args.resume && args.checkpoint.as_ref().map_or(Ok(false), |folder| has_shares(folder))?,
            out: args.out.clone(),
            threads,
            link: args.link,
            interrupted: run::interrupted,
        };
        let reports = local.run(&mut Progress::new(output.progress(), &course, &cost.step));
        let TrainReports { dealer, p0, p1 } = reports.map_err(|error| match &args.checkpoint {
            Some(_) if run::interrupted() => {
                SessionError::Config(format!("{error}; the same command with --resume goes on"))
            }
            _ => error,
        })?;
        let clear = match (args.compare_clear, &train) {
            (true, Some(train)) => Some(clear::train(&prepared, train, test.as_ref(), &mut output.progress())?),
            _ => None,
        };
        let link = forecast::link(args.link);
        let outcome = Outcome { prepared, course, cost, dealer, p0, p1, clear, link, threads };
        Ok(Ended { outcome, report: args.report })
    }
}

/// Whether a party has written a checkpoint below this folder.
fn has_shares(folder: &Path) -> Result<bool, SessionError> {
    for party in ["p0", "p1"].map(|party| folder.join(party)) {
        let entries = match std::fs::read_dir(&party) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            entries => entries.map_err(|source| SessionError::file("reading", &party, source))?,
        };
        let shares = |entry: std::fs::DirEntry| entry.path().extension().is_some_and(|end| end == "shares");
        if entries.flatten().any(shares) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn of_job(error: JobError) -> SessionError {
    SessionError::Config(error.to_string())
}

impl Args {
    /// The model file, and the name of the network where it is one of the zoo.
    fn the_model(&self, folder: &Path) -> Result<(PathBuf, Option<String>), SessionError> {
        if let Some(model) = &self.model {
            return Ok((model.clone(), None));
        }
        let name = self.network.as_deref().unwrap_or("network1");
        let options = zoo::Options { seed: self.recipe.seed, ..zoo::Options::default() };
        let network = zoo::network(name, &options).map_err(|error| SessionError::Config(error.to_string()))?;
        let path = folder.join(format!("{name}.onnx"));
        std::fs::write(&path, &network.onnx).map_err(|source| SessionError::file("writing", &path, source))?;
        Ok((path, Some(name.to_string())))
    }

    /// Refuses a folder for the trained model that is none, or that holds another model already, before anything is computed.
    fn check_out(&self) -> Result<(), SessionError> {
        let Some(folder) = self.out.as_ref().filter(|_| self.job_only.is_none()) else { return Ok(()) };
        if folder.exists() && !folder.is_dir() {
            let reason =
                format!("--out {}: it is a file; name a folder, which is made where it is absent", folder.display());
            return Err(SessionError::Config(reason));
        }
        // What goes on writes what it was begun for.
        let there =
            ["model.onnx", "model.safetensors"].map(|name| folder.join(name)).into_iter().find(|path| path.exists());
        match there.filter(|_| !self.resume) {
            None => Ok(()),
            Some(path) => Err(SessionError::Config(format!(
                "--out {}: {} is there already; move it, or give another folder",
                folder.display(),
                path.display()
            ))),
        }
    }

    /// Who learns what. Comparing with training in clear wants the accuracy, where there is a test set.
    fn reveals(&self) -> Result<Reveals, SessionError> {
        let mut reveals = reveal::reveals(&self.reveal);
        let tested = self.test_input.is_some() || self.test_rows.is_some();
        let said = self.reveal.iter().any(|reveal| reveal.what == What::Accuracy);
        if self.compare_clear && tested && !said {
            reveals.accuracy = Some(Receiver::P1);
        }
        if reveals.accuracy.is_some() && !tested {
            let reason = "--reveal accuracy: on which items? give --test-input and --test-labels";
            return Err(SessionError::Config(reason.to_string()));
        }
        Ok(reveals)
    }
}

/// Writes the bundled images to the run's folder and names them as if they had been given.
fn use_bundled(args: &mut Args, folder: &Path) -> Result<(), SessionError> {
    if args.labels.is_some() || args.test_input.is_some() {
        return Err(SessionError::Config("--labels and --test-input go with --input".to_string()));
    }
    let place = |file: bundled::File| -> Result<PathBuf, SessionError> {
        let path = folder.join(file.name);
        std::fs::write(&path, file.bytes).map_err(|source| SessionError::file("writing", &path, source))?;
        Ok(path)
    };
    args.input = Some(place(bundled::train_images())?);
    args.labels = Some(place(bundled::train_labels())?);
    args.test_input = Some(place(bundled::test_images())?);
    args.test_labels = Some(place(bundled::test_labels())?);
    if args.calibration.is_none() {
        // They are public, so they may shape the plan.
        (args.calibration, args.calibration_labels) = (args.input.clone(), args.labels.clone());
    }
    args.compare_clear = true;
    Ok(())
}

fn parse_party(text: &str) -> Result<Party, String> {
    match text {
        "p0" => Ok(Party::P0),
        "p1" => Ok(Party::P1),
        _ => Err("give p0 or p1".to_string()),
    }
}
