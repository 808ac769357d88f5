//! The `ariann` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    ariann_cli::run(std::env::args_os(), ariann_session::hooks::Hooks::default())
}
