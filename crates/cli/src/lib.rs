//! The ariann program: one file a command, parses and prints.
//!
//! A library so that tests can run the same program with hooks of their own (see the `testkit` crate).

mod commands;
mod doctor;
pub mod embed;
mod federate;
mod forecast;
mod gates;
mod html;
mod options;
mod output;
mod run;
mod train;

use std::ffi::OsString;
use std::process::ExitCode;

use ariann_session::SessionError;
use ariann_session::hooks::Hooks;
use clap::{Parser, Subcommand};

use output::Output;

/// Private neural-network inference and training between two parties.
///
/// P0 holds the model, P1 holds the data, a dealer makes one-time material beforehand. P1 (or whom the plan names) learns
/// the prediction; P0 learns nothing about the data, P1 nothing about the weights beyond what predictions tell, the dealer
/// nothing at all. In training nobody knows the weights: what is revealed is named beforehand.
///
/// Whom you must trust: P0 and P1 follow the protocol and do not collude with each other; the dealer colludes with
/// neither. Shapes, the plan's widths and exponents, timing and the number of runs are public. SECURITY.md says more.
#[derive(Parser)]
#[command(name = "ariann", version, arg_required_else_help = true)]
struct Program {
    /// Print JSON with stable field names instead of tables and progress.
    #[arg(long, global = true)]
    json: bool,
    /// End when standard input closes: for a parent process that watches.
    #[arg(long, global = true, hide = true)]
    supervised: bool,
    /// Begin when there is a line on standard input: for a parent process that starts several at once.
    #[arg(long, global = true, hide = true)]
    held: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show a model's layers, parameters, and what its operators need.
    Inspect(commands::inspect::Args),
    /// Compile a model into a public plan and print what it costs.
    Plan(commands::plan::Args),
    /// Make identities and show their fingerprints.
    Identity(commands::identity::Args),
    /// Dealer: make one-time material, to files or for two parties that connect.
    Deal(commands::deal::Args),
    /// P0: hold the model and answer P1.
    Serve(commands::serve::Args),
    /// P1: predict private inputs with P0's model.
    Query(commands::query::Args),
    /// All at once: dealer, P0 and P1 as three processes on this machine, over TLS.
    Predict(commands::predict::Args),
    /// Private training: all at once on this machine, or one role of it.
    Train(Box<commands::train::Args>),
    /// Private federated learning: server, owner, dealer, or all of them on this machine.
    Federate(commands::federate::Args),
    /// One-time material of a party: what is left, whether it is whole, and the removal of what is spent.
    Material(commands::material::Args),
    /// Look at this machine, at a role's configuration and at those it talks to; say what is wrong and what to do.
    Doctor(commands::doctor::Args),
    /// Write a well-known network with random weights, as ONNX.
    Zoo(commands::zoo::Args),
    /// Measure this machine.
    Bench(commands::bench::Args),
    /// Print the completions of a shell.
    Completions(commands::completions::Args),
    /// Print the manual page, or write those of all commands.
    Man(commands::man::Args),
}

/// Refuses to start when ARIANN_AES or ARIANN_PRODUCTS forces a path that this machine lacks.
fn kernels() -> Result<(), SessionError> {
    ariann_prg::Backend::active().map_err(|error| SessionError::Config(error.to_string()))?;
    ariann_ring::Kernel::active().map_err(|error| SessionError::Config(error.to_string()))?;
    Ok(())
}

/// Runs the program with `hooks` and returns its exit code: 0, or 1 when `doctor` finds a problem, or who is at fault:
/// 2 operator, 3 input, 4 peer, 5 dealer, 6 this machine.
pub fn run(args: impl IntoIterator<Item = OsString>, hooks: Hooks) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let json = args.iter().any(|arg| arg == "--json");
    let program = match Program::try_parse_from(args) {
        Ok(program) => program,
        Err(error) if json && error.use_stderr() => {
            let text = error.to_string();
            let text = text.strip_prefix("error: ").unwrap_or(&text).trim_end();
            return Output::new(true, false).failure(&SessionError::Config(text.to_string()));
        }
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    if program.held {
        output::wait_for_a_line();
    }
    if program.supervised {
        output::end_with_stdin();
    }
    let output = Output::new(program.json, program.supervised);
    if let Command::Doctor(args) = &program.command {
        // It tells of a wrong path itself.
        return commands::doctor::run(args, &output);
    }
    if let Err(error) = kernels() {
        return output.failure(&error);
    }
    let result = match program.command {
        Command::Inspect(args) => commands::inspect::run(&args, &output),
        Command::Plan(args) => commands::plan::run(&args, &output),
        Command::Identity(args) => commands::identity::run(&args, &output),
        Command::Deal(args) => commands::deal::run(args, &hooks, &output),
        Command::Serve(args) => commands::serve::run(args, &hooks, &output),
        Command::Query(args) => commands::query::run(args, &hooks, &output),
        Command::Predict(args) => commands::predict::run(args, &output),
        Command::Train(args) => commands::train::run(*args, &hooks, &output),
        Command::Federate(args) => commands::federate::run(args, &hooks, &output),
        Command::Material(args) => commands::material::run(&args, &output),
        Command::Doctor(_) => unreachable!("run above"),
        Command::Zoo(args) => commands::zoo::run(&args, &output),
        Command::Bench(args) => commands::bench::run(&args, &output),
        Command::Completions(args) => commands::completions::run(&args, &output),
        Command::Man(args) => commands::man::run(&args, &output),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => output.failure(&error),
    }
}
