//! The compiled part of the Python package `ariann`: function secret sharing on arrays, compiled models, and the program
//! itself, which the package starts as role processes.

mod fss;
mod model;
#[cfg(target_os = "linux")]
mod nursery;

use std::ffi::OsString;
use std::sync::OnceLock;
use std::time::Duration;

use ariann_session::hooks::Hooks;
use ariann_session::{Program, SessionError};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// Between two looks whether Ctrl-C was pressed.
const LOOK: Duration = Duration::from_millis(50);

/// The process that loaded this module.
static LOADED_BY: OnceLock<u32> = OnceLock::new();

/// Works on so many threads; on all cores when 0.
fn threaded<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> PyResult<T> {
    // The threads that all calls share stayed behind when a process forked: its child would wait for them for ever.
    let is_forked = LOADED_BY.get().is_some_and(|id| *id != std::process::id());
    if threads == 0 && !is_forked {
        return Ok(work());
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|error| PyValueError::new_err(format!("threads: {error}")))?;
    Ok(pool.install(work))
}

/// Runs the program with these arguments and returns its exit code. `host` is the command line that starts it again.
#[pyfunction]
fn run(py: Python<'_>, host: Vec<OsString>, args: Vec<OsString>) -> u8 {
    set_host(host, false);
    let args = std::iter::once(OsString::from("ariann")).chain(args);
    let code = py.detach(|| ariann_cli::run(args, Hooks::default()));
    // An exit code cannot be read; those that the program knows are 0 to 6.
    (0..=6).find(|number| std::process::ExitCode::from(*number) == code).unwrap_or(1)
}

/// Sets the command line that starts role processes; with `nursery`, one process by it that the others are forked from.
#[pyfunction]
fn set_host(words: Vec<OsString>, nursery: bool) {
    let mut words = words.into_iter();
    if let Some(path) = words.next() {
        #[cfg(target_os = "linux")]
        let quick = nursery.then_some(nursery::start as ariann_session::local::Quick);
        #[cfg(not(target_os = "linux"))]
        let (quick, _) = (None, nursery);
        Program::host(Program { path: path.into(), args: words.collect(), quick });
    }
}

/// Ends the process that roles are forked from; the next prediction starts another. A forked process only lets go of its
/// parent's.
#[pyfunction]
fn end_nursery() {
    #[cfg(target_os = "linux")]
    nursery::end();
}

/// The exception of the package for an error of the program.
fn raised(py: Python<'_>, error: &SessionError) -> PyErr {
    let kind = if error.is_unsupported() { "unsupported" } else { error.fault().name() };
    exception(py, kind, &error.to_string())
}

/// The exception of this kind.
fn exception(py: Python<'_>, kind: &str, text: &str) -> PyErr {
    let made = py.import("ariann.errors").and_then(|module| module.call_method1("of", (kind, text)));
    made.map_or_else(|error| error, PyErr::from_value)
}

#[pymodule]
fn _ariann(module: &Bound<'_, PyModule>) -> PyResult<()> {
    LOADED_BY.get_or_init(std::process::id);
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_function(wrap_pyfunction!(run, module)?)?;
    module.add_function(wrap_pyfunction!(set_host, module)?)?;
    module.add_function(wrap_pyfunction!(end_nursery, module)?)?;
    module.add_function(wrap_pyfunction!(fss::generate, module)?)?;
    module.add_class::<fss::Keys>()?;
    module.add_class::<model::Model>()
}
