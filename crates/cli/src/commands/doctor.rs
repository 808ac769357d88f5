//! `ariann doctor`: what a role needs, looked at before it starts.

use std::path::PathBuf;
use std::process::ExitCode;

use ariann_session::doctor::examine;

use crate::doctor::federated;
use crate::output::Output;

/// Arguments of `doctor`.
#[derive(clap::Args)]
pub struct Args {
    /// Configuration of any role of `serve`, `query`, `deal`, `train` or `federate`. Without it, this machine alone is looked at.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Exit code 1 when there is a problem.
pub fn run(args: &Args, output: &Output) -> ExitCode {
    let findings = examine(args.config.as_deref(), federated);
    if output.is_json() {
        output.document(&findings);
    } else {
        for check in &findings.checks {
            let about = if check.subject.is_empty() { String::new() } else { format!("{}: ", check.subject) };
            output.line(&format!("{:<8} {:<9} {about}{}", check.grade.name(), check.check, check.finding));
            if let (Some(fault), Some(advice)) = (check.fault, &check.advice) {
                output.line(&format!("{:18} → {fault}: {advice}", ""));
            }
        }
    }
    ExitCode::from(u8::from(!findings.ok))
}
