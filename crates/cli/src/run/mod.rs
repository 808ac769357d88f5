//! A model and inputs, run by dealer, P0 and P1 as three processes on this machine and compared with the model in clear:
//! what `predict` and `bench networks` do.

mod comparison;
mod document;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use ariann_graph::Graph;
use ariann_net::Shape;
use ariann_plan::Plan;
use ariann_session::events::{Event, Events};
use ariann_session::local::{Local, Reports};
use ariann_session::planning::Planned;
use ariann_session::{Program, SessionError, reading};

use crate::forecast;
use crate::options::PlanOptions;
use crate::output::Output;

pub use comparison::{Comparison, labels, told};
pub use document::{machine, measured};

/// What to run.
pub struct Task<'a> {
    pub model: PathBuf,
    pub input: PathBuf,
    /// Where the true labels are.
    pub labels: Option<&'a Path>,
    /// Logits to measure errors against.
    pub expected: Option<&'a Path>,
    /// First items of the input only.
    pub limit: Option<usize>,
    /// Items computed together.
    pub batch: u32,
    /// Slots of a delivery, when material comes while the parties work.
    pub stream: Option<u32>,
    pub threads: Option<usize>,
    pub link: Option<Shape>,
    /// Whether the clear fixed-point reference is run as well.
    pub compare_clear: bool,
    /// An empty folder for the roles' files.
    pub folder: &'a Path,
    pub options: &'a PlanOptions,
}

/// What came out.
pub struct Outcome {
    pub graph: Graph,
    pub plan: Plan,
    pub reports: Reports,
    pub comparison: Comparison,
    pub labels: Option<Vec<u32>>,
    pub batch: u32,
    pub threads: usize,
    pub link: Option<Shape>,
    /// Seconds of each run, as told by P1 while it worked.
    pub run_seconds: Vec<f64>,
}

/// Set by SIGINT and SIGTERM.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// From now on an interrupt ends the roles and removes their files. Once a process.
pub fn heed_interrupts() -> Result<(), SessionError> {
    ctrlc::set_handler(|| INTERRUPTED.store(true, Ordering::Relaxed))
        .map_err(|error| SessionError::Config(error.to_string()))
}

/// A folder of a run, removed with its files when it is dropped; below `base`, or where temporary files go.
pub fn folder(base: Option<&Path>) -> Result<tempfile::TempDir, SessionError> {
    let base = base.map_or_else(std::env::temp_dir, Path::to_path_buf);
    let failed = |source| SessionError::file("creating a folder in", &base, source);
    tempfile::Builder::new().prefix("ariann-").tempdir_in(&base).map_err(failed)
}

impl Task<'_> {
    /// Plans, runs the three processes to their end, and computes the same in clear.
    pub fn run(self, output: &Output) -> Result<Outcome, SessionError> {
        if self.batch == 0 || self.limit == Some(0) {
            return Err(SessionError::Config("--batch and --limit are at least 1".to_string()));
        }
        if self.stream.is_some_and(|slots| slots == 0 || slots % self.batch != 0) {
            let reason = format!("--batch-slots is not a multiple of --batch, which is {}", self.batch);
            return Err(SessionError::Config(reason));
        }
        let (link, batch) = (forecast::link(self.link), self.batch as usize);
        let planning = self.options.planning(self.model.clone(), Some(self.input.clone()), link, batch);
        let Planned { graph, plan, .. } = planning.make()?;
        let items = reading::items(&plan, &self.input, self.limit)?;
        let labels = comparison::labels(self.labels, &self.input, items.count, self.limit)?;
        let classes = plan.output.classes;
        let expected = self.expected.map(|path| comparison::expected(path, items.count, classes)).transpose()?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = self.threads.unwrap_or(cores / 2).max(1);
        let program = Program::this()?;
        let work = self.folder.join("roles");
        std::fs::create_dir(&work).map_err(|source| SessionError::file("creating", &work, source))?;
        let local = Local {
            program,
            folder: &work,
            plan: &plan,
            model: self.model.clone(),
            input: self.input.clone(),
            items: items.count,
            batch: self.batch,
            stream: self.stream,
            threads,
            link: self.link,
            interrupted,
        };
        let mut clock = Clock { events: &mut output.progress(), runs: Vec::new() };
        let reports = local.run(&mut clock)?;
        let run_seconds = clock.runs.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
        let comparison =
            Comparison::new(&self, &graph, &plan, &items, labels.as_deref(), expected.as_deref(), &reports)?;
        let Task { batch, link, .. } = self;
        Ok(Outcome { graph, plan, reports, comparison, labels, batch, threads, link, run_seconds })
    }
}

/// Passes events on and notes when each run began, and when the last one ended.
struct Clock<'a> {
    events: &'a mut dyn Events,
    runs: Vec<Instant>,
}

impl Events for Clock<'_> {
    fn tell(&mut self, event: Event) {
        if let Event::Progress { stage: "predicting", .. } = event {
            self.runs.push(Instant::now());
        }
        self.events.tell(event);
    }
}
