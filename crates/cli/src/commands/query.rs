//! `ariann query`: P1, which holds the data; or an outside client, which shares its data among P0 and P1.

use std::path::PathBuf;

use ariann_report::{bytes, seconds, table};
use ariann_session::SessionError;
use ariann_session::config::{self, QueryConfig, Remote};
use ariann_session::hooks::Hooks;
use ariann_session::outside::{self, ClientConfig};
use ariann_session::report::PartyReport;

use super::serve::identity;
use crate::output::Output;

/// Arguments of `query`: a configuration file, or all of the flags. Flags override the file. There is no model here.
#[derive(clap::Args)]
pub struct Args {
    /// Configuration, TOML.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Who asks: p1 is a party itself, client is an outsider with a configuration file who asks both parties.
    #[arg(long, default_value = "p1", value_parser = ["p1", "client"], requires_if("client", "config"))]
    role: String,
    /// The plan file.
    #[arg(long, required_unless_present = "config")]
    plan: Option<PathBuf>,
    /// Images: IDX (also gzip), .npy, CIFAR-10 (.bin, .bin.gz), PNG, JPEG, or a folder. The plan says how they are prepared.
    #[arg(long, required_unless_present = "config")]
    input: Option<PathBuf>,
    /// State folder: material and ledger.
    #[arg(long, required_unless_present = "config")]
    state: Option<PathBuf>,
    /// HOST:PORT of P0.
    #[arg(long, required_unless_present = "config")]
    connect: Option<String>,
    /// Fingerprint of P0.
    #[arg(long, required_unless_present = "config")]
    peer: Option<String>,
    /// Folder and name of the own identity: FOLDER/NAME.
    #[arg(long, required_unless_present = "config", value_name = "FOLDER/NAME")]
    identity: Option<PathBuf>,
    /// Go on fetching from the configured dealer while sessions run: the disk holds a few deliveries, not all.
    #[arg(long, requires = "config")]
    stream: bool,
    /// Deliveries that lie unspent at most while it streams; 2 by default.
    #[arg(long, value_name = "N", requires = "config")]
    ahead: Option<usize>,
    /// Material file to take in; may be repeated.
    #[arg(long, value_name = "FILE")]
    material: Vec<PathBuf>,
    /// Items computed together; the last batch is filled up.
    #[arg(long)]
    batch: Option<u32>,
    /// First items of the input only.
    #[arg(long)]
    limit: Option<usize>,
    /// Let P0 learn the results too, when the plan says so. P0 chose the model: results may tell the inputs.
    #[arg(long)]
    reveal_to_p0: bool,
    /// Threads; all cores when 0.
    #[arg(long)]
    threads: Option<usize>,
}

pub fn run(args: Args, hooks: &Hooks, output: &Output) -> Result<(), SessionError> {
    if args.role == "client" {
        return ask(args, hooks, output);
    }
    let own = args.identity.as_deref().map(identity).transpose()?;
    let mut config = match &args.config {
        Some(path) => config::read::<QueryConfig>(path)?,
        None => QueryConfig {
            plan: args.plan.clone().expect("required by the parser"),
            input: args.input.clone().expect("required by the parser"),
            state: args.state.clone().expect("required by the parser"),
            peer: Remote {
                address: args.connect.clone().expect("required by the parser"),
                fingerprint: args.peer.clone().expect("required by the parser"),
            },
            identity: own.clone().expect("required by the parser"),
            dealer: None,
            stream: false,
            ahead: config::AHEAD,
            material: Vec::new(),
            batch: 1,
            limit: None,
            reveal_to_p0: false,
            threads: 0,
            link: None,
            deadlines: Default::default(),
        },
    };
    config.plan = args.plan.unwrap_or(config.plan);
    config.input = args.input.unwrap_or(config.input);
    config.state = args.state.unwrap_or(config.state);
    config.peer.address = args.connect.unwrap_or(config.peer.address);
    config.peer.fingerprint = args.peer.unwrap_or(config.peer.fingerprint);
    config.identity = own.unwrap_or(config.identity);
    config.stream |= args.stream;
    config.ahead = args.ahead.unwrap_or(config.ahead);
    config.material.extend(args.material);
    config.batch = args.batch.unwrap_or(config.batch);
    config.limit = args.limit.or(config.limit);
    config.reveal_to_p0 |= args.reveal_to_p0;
    config.threads = args.threads.unwrap_or(config.threads);
    let report = ariann_session::query::query(&config, hooks, &mut output.events())?;
    tell(&report, output);
    Ok(())
}

/// An outside client.
fn ask(args: Args, hooks: &Hooks, output: &Output) -> Result<(), SessionError> {
    let given = [
        ("--state", args.state.is_some()),
        ("--connect", args.connect.is_some()),
        ("--peer", args.peer.is_some()),
        ("--stream", args.stream || args.ahead.is_some()),
        ("--material", !args.material.is_empty()),
        ("--reveal-to-p0", args.reveal_to_p0),
        ("--threads", args.threads.is_some()),
    ];
    if let Some((flag, _)) = given.iter().find(|(_, given)| *given) {
        return Err(SessionError::Config(format!("{flag} is for P1, and this is --role client; take it out")));
    }
    let mut config: ClientConfig = config::read(&args.config.expect("required by the parser"))?;
    config.plan = args.plan.unwrap_or(config.plan);
    config.input = args.input.unwrap_or(config.input);
    config.identity = args.identity.as_deref().map(identity).transpose()?.unwrap_or(config.identity);
    config.batch = args.batch.unwrap_or(config.batch);
    config.limit = args.limit.or(config.limit);
    tell(&outside::ask(&config, hooks, &mut output.events())?, output);
    Ok(())
}

fn tell(report: &PartyReport, output: &Output) {
    if output.is_json() {
        return output.result(report);
    }
    results(report, output);
    output.line(&format!(
        "{} items in {} online ({} an item), {} sent",
        report.items,
        seconds(report.online.seconds),
        seconds(report.online.seconds / report.items.max(1) as f64),
        bytes(report.online.bytes_sent)
    ));
}

/// Predictions, for a party that learns them.
pub fn results(report: &PartyReport, output: &Output) {
    let Some(predictions) = &report.predictions else { return };
    let row = |(item, label): (usize, &u32)| {
        let best = report.logits.as_ref().map(|rows| format!("{:.4}", rows[item][*label as usize]));
        vec![item.to_string(), label.to_string(), best.unwrap_or_default()]
    };
    let rows: Vec<Vec<String>> = predictions.iter().enumerate().map(row).collect();
    output.line(&table(&["item", "label", "logit"], &rows));
}
