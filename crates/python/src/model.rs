//! Compiled models.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use ariann_cli::embed::{self, Run};
use ariann_session::SessionError;
use ariann_session::events::{Event, Events};
use numpy::{IntoPyArray, PyArray1};
use pyo3::exceptions::{PyKeyboardInterrupt, PyRuntimeError};
use pyo3::prelude::*;

use crate::LOOK;

/// A model with its plan.
#[pyclass(frozen, module = "ariann._ariann")]
pub struct Model(Arc<embed::Model>);

/// Set when Python has a signal for us; one run at a time looks at it.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);
static RUNNING: Mutex<()> = Mutex::new(());

/// Whether Ctrl-C was pressed: asked by the thread that waits for the roles.
fn interrupted() -> bool {
    if Python::attach(|py| py.check_signals().is_err()) {
        INTERRUPTED.store(true, Ordering::Relaxed);
    }
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Computes on a thread of its own. Ctrl-C returns at once; what was begun is then computed for nobody.
fn aside<T, W>(py: Python<'_>, work: W) -> PyResult<T>
where
    T: Send + 'static,
    W: FnOnce() -> Result<T, SessionError> + Send + 'static,
{
    let (sender, mut receiver) = channel();
    let worker = thread::Builder::new().spawn(move || drop(sender.send(crate::threaded(0, work))));
    worker.map_err(|error| PyRuntimeError::new_err(format!("this machine: no thread: {error}")))?;
    loop {
        let (returned, back) = py.detach(move || (receiver.recv_timeout(LOOK), receiver));
        receiver = back;
        match returned {
            Ok(done) => return done?.map_err(|error| crate::raised(py, &error)),
            Err(RecvTimeoutError::Timeout) => py.check_signals()?,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(PyRuntimeError::new_err("a fault of ariann: please report it"));
            }
        }
    }
}

/// Logits row by row where they are revealed, labels, and the reports as JSON.
type Predicted<'py> = (Option<Bound<'py, PyArray1<f32>>>, Bound<'py, PyArray1<u32>>, String);

#[pymethods]
impl Model {
    /// Compiles an ONNX file with the options of `ariann plan`.
    #[new]
    fn new(py: Python<'_>, path: PathBuf, options: Vec<String>) -> PyResult<Model> {
        Ok(Model(Arc::new(aside(py, move || embed::Model::compile(&path, &options))?)))
    }

    /// The plan, JSON.
    fn plan(&self) -> String {
        self.0.plan().to_json()
    }

    /// What a run of `batch` items costs, JSON.
    fn cost(&self, batch: usize) -> String {
        self.0.cost(batch).to_string()
    }

    /// What the parties would compute, in clear fixed point.
    fn simulate<'py>(&self, py: Python<'py>, input: PathBuf) -> PyResult<Bound<'py, PyArray1<f32>>> {
        let model = self.0.clone();
        Ok(aside(py, move || model.simulate(&input))?.into_pyarray(py))
    }

    /// Runs the three roles.
    #[pyo3(signature = (folder, input, batch, threads, progress))]
    fn predict<'py>(
        &self,
        py: Python<'py>,
        folder: PathBuf,
        input: PathBuf,
        batch: u32,
        threads: Option<usize>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Predicted<'py>> {
        let reports = py.detach(|| {
            let _one = RUNNING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            INTERRUPTED.store(false, Ordering::Relaxed);
            let run = Run { folder: &folder, input: &input, batch, threads, interrupted };
            let mut progress = Progress { call: progress, failed: None };
            let reports = self.0.predict(&run, &mut progress);
            // They are large; what of them cannot be removed goes with the caller's folder.
            let _ = std::fs::remove_dir_all(&folder);
            (reports, progress.failed)
        });
        let (reports, failed) = reports;
        if let Some(error) = failed {
            INTERRUPTED.store(false, Ordering::Relaxed);
            return Err(error);
        }
        if INTERRUPTED.swap(false, Ordering::Relaxed) {
            return Err(PyKeyboardInterrupt::new_err(()));
        }
        // A terminal's Ctrl-C reaches the roles as well: they may have ended before anybody looked.
        py.check_signals()?;
        let reports = reports.map_err(|error| crate::raised(py, &error))?;
        let told = serde_json::json!({ "dealer": reports.dealer, "p0": reports.p0, "p1": reports.p1 });
        let of = if reports.p1.predictions.is_some() { reports.p1 } else { reports.p0 };
        let labels = of.predictions.unwrap_or_default();
        let logits = of.logits.map(|rows| rows.into_iter().flatten().collect::<Vec<f32>>().into_pyarray(py));
        Ok((logits, labels.into_pyarray(py), without_results(told).to_string()))
    }
}

/// The reports without the results, which are arrays.
fn without_results(mut told: serde_json::Value) -> serde_json::Value {
    for role in ["p0", "p1"] {
        if let Some(report) = told[role].as_object_mut() {
            report.remove("logits");
            report.remove("predictions");
        }
    }
    told
}

/// Calls `progress(stage, done, total)`. What that raises ends the run.
struct Progress {
    call: Option<Py<PyAny>>,
    failed: Option<PyErr>,
}

impl Events for Progress {
    fn tell(&mut self, event: Event) {
        let (Some(call), Event::Progress { stage, done, total }) = (&self.call, event) else { return };
        if let Err(error) = Python::attach(|py| call.call1(py, (stage, done, total))) {
            self.failed.get_or_insert(error);
            INTERRUPTED.store(true, Ordering::Relaxed);
        }
    }
}
