//! The `ariann` program with its seams open: see `ariann_testkit::seams`. Without those variables it is the same program.

use std::process::ExitCode;

fn main() -> ExitCode {
    ariann_cli::run(std::env::args_os(), ariann_testkit::seams::from_env())
}
