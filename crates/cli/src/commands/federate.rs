//! `ariann federate`: private federated learning, a role by its configuration, or all roles as processes on this machine.

use std::path::{Path, PathBuf};

use ariann_federated::roles::{
    FederateDealConfig, FederateOwnerConfig, FederateReport, FederateServerConfig, deal, own, serve,
};
use ariann_session::SessionError;
use ariann_session::config;
use ariann_session::hooks::Hooks;
use clap::Subcommand;
use serde_json::json;

use crate::federate::simulation::{self, SimulateConfig};
use crate::federate::{outcome, page};
use crate::output::Output;
use crate::{html, run as runs};

/// Arguments of `federate`.
///
/// A server and n owners train one model that none of them knows: it stays shared between the server and the owners. Each owner
/// trains with the server on its own rows; a secure aggregation sums the updates. One owner together with the server learns the
/// model; fewer owners than the threshold together with the server learn no single update (docs/federated.md).
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    role: Role,
}

#[derive(clap::Args)]
struct Configured {
    /// Its configuration, TOML.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

#[derive(Subcommand)]
enum Role {
    /// The server: holds one share of the model, and sums updates that it cannot read.
    Server(Configured),
    /// An owner of data: holds the other share of the model, and trains with the server on its rows.
    Owner(Configured),
    /// The dealer: makes one-time material for all pairs of server and owner.
    Dealer(Configured),
    /// All at once: server, dealer and owners as processes on this machine, over TLS.
    Simulate(Simulate),
    /// Writes what a simulation would run: the federation, an identity and a configuration for every role. Nothing is trained.
    Prepare(Prepare),
}

#[derive(clap::Args)]
struct Prepare {
    /// What to train and with how many owners, TOML, as for `simulate`; five owners share the bundled images by default.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder for the files; it is made where it is absent.
    #[arg(long, value_name = "DIR")]
    folder: PathBuf,
}

#[derive(clap::Args)]
struct Simulate {
    /// What to train and with how many owners, TOML; five owners share the bundled images by default.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Also write a page with curves, and what became of every owner in every round.
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
}

pub fn run(args: Args, hooks: &Hooks, output: &Output) -> Result<(), SessionError> {
    let report = match args.role {
        Role::Server(it) => serve(&config::read::<FederateServerConfig>(&it.config)?, hooks, &mut output.events())?,
        Role::Owner(it) => own(&config::read::<FederateOwnerConfig>(&it.config)?, hooks, &mut output.events())?,
        Role::Dealer(it) => deal(&config::read::<FederateDealConfig>(&it.config)?, hooks, &mut output.events())?,
        Role::Simulate(args) => return simulate(&args, output),
        Role::Prepare(args) => {
            let config = configured(args.config.as_deref())?;
            return prepare(&SimulateConfig { folder: Some(args.folder), ..config }, output);
        }
    };
    told(&report, output);
    Ok(())
}

fn told(report: &FederateReport, output: &Output) {
    match output.is_json() {
        true => output.result(report),
        false => output.line(&outcome::role(report)),
    }
}

/// What to train: of a file, or what is bundled.
fn configured(path: Option<&Path>) -> Result<SimulateConfig, SessionError> {
    path.map_or_else(|| Ok(SimulateConfig::default()), config::read)
}

/// Writes the roles' files, and tells which.
fn prepare(config: &SimulateConfig, output: &Output) -> Result<(), SessionError> {
    let files = simulation::write_only(config, output)?;
    match output.is_json() {
        true => output.document(&json!({ "files": files })),
        false => files.iter().for_each(|file| output.line(&file.display().to_string())),
    }
    Ok(())
}

fn simulate(args: &Simulate, output: &Output) -> Result<(), SessionError> {
    runs::heed_interrupts()?;
    args.report.as_deref().map_or(Ok(()), html::check)?;
    let config = configured(args.config.as_deref())?;
    if config.write_only {
        return prepare(&config, output);
    }
    let folder = runs::folder(None)?;
    let outcome = simulation::run(&config, folder.path(), output)?;
    if let Some(path) = &args.report {
        html::write(path, "A private federated training", config.threads, vec![page::run(&outcome)])?;
    }
    match output.is_json() {
        true => output.document(&outcome.document()),
        false => output.line(&outcome.text()),
    }
    Ok(())
}
