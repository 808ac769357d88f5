//! `ariann man`: manual pages, made from the same definitions as `--help`.

use std::path::PathBuf;

use ariann_session::SessionError;
use clap::CommandFactory;
use clap_mangen::Man;

use crate::Program;
use crate::output::Output;

/// Arguments of `man`.
#[derive(clap::Args)]
pub struct Args {
    /// Write a page for every command to this folder, instead of the first page to standard output.
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

pub fn run(args: &Args, output: &Output) -> Result<(), SessionError> {
    let command = Program::command();
    let Some(folder) = &args.out else {
        let mut page = Vec::new();
        Man::new(command).render(&mut page).expect("a vector takes all");
        output.line(String::from_utf8_lossy(&page).trim_end());
        return Ok(());
    };
    let made = std::fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(command, folder));
    made.map_err(|source| SessionError::file("writing manual pages to", folder, source))
}
