//! The program's work as calls, for packages in other languages: a model compiled once, then priced, simulated and run.

use std::path::{Path, PathBuf};

use ariann_graph::Graph;
use ariann_net::Shape;
use ariann_plan::{Plan, clear};
use ariann_session::events::Events;
use ariann_session::local::{Local, Reports};
use ariann_session::planning::Planned;
use ariann_session::{Program, SessionError, reading};
use clap::Parser;
use serde_json::Value;

use crate::options::PlanOptions;
use crate::{commands, forecast};

/// Options of `ariann plan`, as that command takes them.
#[derive(Parser)]
#[command(name = "ariann", no_binary_name = true, disable_help_flag = true)]
struct Flags {
    #[arg(long)]
    link: Option<Shape>,
    #[arg(long, default_value_t = 1)]
    batch: usize,
    #[command(flatten)]
    options: PlanOptions,
}

/// A model with its plan.
pub struct Model {
    path: PathBuf,
    graph: Graph,
    plan: Plan,
    link: Option<Shape>,
}

/// How a model is run by three processes on this machine.
pub struct Run<'a> {
    /// An empty folder for the roles' files.
    pub folder: &'a Path,
    /// Inputs, a file that `ariann query` takes.
    pub input: &'a Path,
    /// Items computed together.
    pub batch: u32,
    /// Threads of each party; half of the cores by default.
    pub threads: Option<usize>,
    /// Whether this process was told to end.
    pub interrupted: fn() -> bool,
}

impl Model {
    /// Compiles the ONNX file `model` with the options of `ariann plan`, one word each.
    pub fn compile(model: &Path, options: &[String]) -> Result<Model, SessionError> {
        crate::kernels()?;
        let flags = Flags::try_parse_from(options).map_err(|error| {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            SessionError::Config(first.strip_prefix("error: ").unwrap_or(first).to_string())
        })?;
        let planning = flags.options.planning(model.to_path_buf(), None, forecast::link(flags.link), flags.batch);
        let Planned { graph, plan, .. } = planning.make()?;
        Ok(Model { path: model.to_path_buf(), graph, plan, link: flags.link })
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What a run of `batch` items costs: the document of `ariann plan --json`.
    pub fn cost(&self, batch: usize) -> Value {
        commands::plan::document(&self.plan, batch, self.link)
    }

    /// What the parties would compute of the items in `input`, in clear fixed point with rounding to nearest: logits row by row, or
    /// labels.
    pub fn simulate(&self, input: &Path) -> Result<Vec<f32>, SessionError> {
        let items = reading::items(&self.plan, input, None)?;
        let failed = |error: clear::ClearError| SessionError::Input(error.to_string());
        let reference = clear::Reference::new(&self.plan, &self.graph).map_err(failed)?;
        let run = reference.run(items.count, &items.values, &mut clear::Nearest).map_err(failed)?;
        if let Some(excess) = run.excess {
            return Err(SessionError::Input(crate::run::told(excess)));
        }
        Ok(run.decoded())
    }

    /// Dealer, P0 and P1 as three processes on this machine, over TLS.
    pub fn predict(&self, run: &Run<'_>, events: &mut dyn Events) -> Result<Reports, SessionError> {
        let items = reading::items(&self.plan, run.input, None)?.count;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let local = Local {
            program: Program::this()?,
            folder: run.folder,
            plan: &self.plan,
            model: self.path.clone(),
            input: run.input.to_path_buf(),
            items,
            batch: run.batch,
            stream: None,
            threads: run.threads.unwrap_or(cores / 2).max(1),
            link: None,
            interrupted: run.interrupted,
        };
        local.run(events)
    }
}
