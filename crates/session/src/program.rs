//! The program that local runs start their roles with.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crate::SessionError;

/// A program and the arguments that come before a role's own.
#[derive(Clone, Debug)]
pub struct Program {
    /// The file.
    pub path: PathBuf,
    /// Arguments that make it this program: none, but for an interpreter.
    pub args: Vec<OsString>,
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
        Ok(Program { path, args: Vec::new() })
    }

    /// A command that starts it.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.args(&self.args);
        command
    }
}
