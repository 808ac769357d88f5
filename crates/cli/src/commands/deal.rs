//! `ariann deal`: the dealer.

use std::path::PathBuf;

use ariann_report::{bytes, seconds};
use ariann_session::SessionError;
use ariann_session::config::{self, DealConfig, DealServe};
use ariann_session::hooks::Hooks;

use crate::output::Output;

/// Arguments of `deal`: a configuration file, or plan and count with a folder. Flags override the file.
#[derive(clap::Args)]
pub struct Args {
    /// Configuration, TOML.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The plan file.
    #[arg(long, required_unless_present = "config")]
    plan: Option<PathBuf>,
    /// Items to make material for.
    #[arg(long, required_unless_present = "config")]
    count: Option<u32>,
    /// Slots of one delivery, or pair of files; by default as many as one may have. A multiple of `query --batch`.
    #[arg(long, value_name = "N")]
    batch_slots: Option<u32>,
    /// Folder for the files of both parties: p0-<batch>.mat goes to P0, p1-<batch>.mat to P1.
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Or serve both parties: HOST:PORT to listen at.
    #[arg(long, requires_all = ["identity", "p0", "p1"], conflicts_with = "out")]
    listen: Option<String>,
    /// Folder and name of the own identity: FOLDER/NAME.
    #[arg(long, value_name = "FOLDER/NAME", requires = "listen")]
    identity: Option<PathBuf>,
    /// Fingerprint of P0.
    #[arg(long, requires = "listen")]
    p0: Option<String>,
    /// Fingerprint of P1.
    #[arg(long, requires = "listen")]
    p1: Option<String>,
    /// The dealer's state folder, with the weights seeds.
    #[arg(long, required_unless_present = "config")]
    state: Option<PathBuf>,
    /// Begin a new weights version: when the model's weights changed.
    #[arg(long)]
    new_weights: bool,
    /// Threads; all cores when 0.
    #[arg(long)]
    threads: Option<usize>,
}

pub fn run(args: Args, hooks: &Hooks, output: &Output) -> Result<(), SessionError> {
    let mut config = match &args.config {
        Some(path) => config::read::<DealConfig>(path)?,
        None => DealConfig {
            plan: args.plan.clone().expect("required by the parser"),
            count: args.count.expect("required by the parser"),
            batch_slots: None,
            state: args.state.clone().expect("required by the parser"),
            new_weights: false,
            out: None,
            serve: None,
            threads: 0,
            deadlines: Default::default(),
        },
    };
    config.plan = args.plan.unwrap_or(config.plan);
    config.count = args.count.unwrap_or(config.count);
    config.batch_slots = args.batch_slots.or(config.batch_slots);
    config.state = args.state.unwrap_or(config.state);
    config.new_weights |= args.new_weights;
    config.threads = args.threads.unwrap_or(config.threads);
    if args.out.is_some() {
        (config.out, config.serve) = (args.out, None);
    }
    if let (Some(listen), Some(own), Some(p0), Some(p1)) = (args.listen, args.identity, args.p0, args.p1) {
        let serve = DealServe { listen, identity: super::serve::identity(&own)?, p0, p1 };
        (config.out, config.serve) = (None, Some(serve));
    }
    let report = ariann_session::deal::deal(&config, hooks, &mut output.events())?;
    if output.is_json() {
        output.result(&report);
        return Ok(());
    }
    output.line(&format!(
        "material for {} items in {}: {} for P0, {} for P1",
        report.slots,
        seconds(report.seconds),
        bytes(report.material_bytes[0]),
        bytes(report.material_bytes[1])
    ));
    for batch in &report.batches {
        output.line(&format!("batch {batch}"));
    }
    Ok(())
}
