//! The program that local runs start their roles with.

use std::ffi::OsString;
use std::io::{Error, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use crate::SessionError;

/// Gates take and leave buffers of tens of megabytes: with GNU's allocator their pages are kept for the next gate instead of
/// being cleared by the system each time, about a seventh of a training step. Elsewhere it means nothing.
pub const KEPT_PAGES: (&str, &str) = (
    "GLIBC_TUNABLES",
    "glibc.malloc.mmap_threshold=1073741824:glibc.malloc.trim_threshold=1073741824:glibc.malloc.top_pad=16777216",
);

/// Starts a role with these arguments, or none when that way is closed now. Its processes have the environment variable
/// [`KEPT_PAGES`] as well.
pub type Quick = fn(&[OsString]) -> Option<Started>;

/// A program and the arguments that come before a role's own.
#[derive(Clone, Debug)]
pub struct Program {
    /// The file.
    pub path: PathBuf,
    /// Arguments that make it this program: none, but for an interpreter.
    pub args: Vec<OsString>,
    /// A quicker way to a role: for an interpreter, which is slow to start.
    pub quick: Option<Quick>,
}

/// A role process that was started.
pub struct Started {
    /// Its standard input.
    pub input: Box<dyn Write + Send>,
    /// Its standard output.
    pub output: Box<dyn Read + Send>,
    /// To end it.
    pub process: Box<dyn Running>,
}

/// A process that may be ended.
pub trait Running: Send {
    /// Ends it by force, if it still runs, and waits until it has ended.
    fn end(&mut self);
}

impl Running for Child {
    fn end(&mut self) {
        let _ = self.kill();
        let _ = self.wait();
    }
}

static HOST: OnceLock<Program> = OnceLock::new();

impl Program {
    /// From now on [`Program::this`] is `program`: for a process whose own file is an interpreter. Later calls change nothing.
    pub fn host(program: Program) {
        let _ = HOST.set(program);
    }

    /// What starts this program again.
    pub fn this() -> Result<Program, SessionError> {
        if let Some(program) = HOST.get() {
            return Ok(program.clone());
        }
        let path = std::env::current_exe().map_err(|source| SessionError::file("finding", "this program", source))?;
        Ok(Program { path, args: Vec::new(), quick: None })
    }

    /// A command that starts it.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.args(&self.args);
        command
    }

    /// Starts a role with pipes for standard input and output, the quickest way there is.
    pub fn start(&self, args: &[OsString]) -> Result<Started, Error> {
        if let Some(started) = self.quick.and_then(|quick| quick(args)) {
            return Ok(started);
        }
        let mut child = self
            .command()
            .args(args)
            .env(KEPT_PAGES.0, KEPT_PAGES.1)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()?;
        let (input, output) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        Ok(Started { input: Box::new(input), output: Box::new(output), process: Box::new(child) })
    }
}
