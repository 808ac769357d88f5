//! `ariann completions`: what a shell needs to complete commands and options.

use ariann_session::SessionError;
use clap::CommandFactory;
use clap_complete::Shell;

use crate::Program;
use crate::output::Output;

/// Arguments of `completions`.
#[derive(clap::Args)]
pub struct Args {
    /// The shell.
    shell: Shell,
}

pub fn run(args: &Args, output: &Output) -> Result<(), SessionError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Program::command(), "ariann", &mut script);
    output.line(String::from_utf8_lossy(&script).trim_end());
    Ok(())
}
