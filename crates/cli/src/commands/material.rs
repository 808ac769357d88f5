//! `ariann material`: what is left, whether it is whole, and the removal of what is spent.

use std::path::{Path, PathBuf};

use ariann_gates::Party;
use ariann_material::{Batch, Error, Store};
use ariann_plan::Plan;
use ariann_report::{bytes, table};
use ariann_session::events::{Event, Events};
use ariann_session::{SessionError, expected};
use clap::Subcommand;
use serde_json::json;

use crate::output::Output;

/// Arguments of `material`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// How many inferences are left in a party's state folder.
    Ls {
        /// The state folder; its role must not be running.
        #[arg(long)]
        state: PathBuf,
    },
    /// Remove the files of batches that are wholly spent, and of what no run can use any more. The ledger remembers them:
    /// what was spent is never taken in again.
    Prune {
        /// The state folder; its role must not be running.
        #[arg(long)]
        state: PathBuf,
        /// Say what would be removed, and remove nothing. (What an interrupted arrival left is removed whenever the folder
        /// is opened.)
        #[arg(long)]
        dry_run: bool,
    },
    /// Check a material file from its first to its last byte.
    Verify {
        /// The file.
        file: PathBuf,
        /// The plan that it is for.
        #[arg(long)]
        plan: PathBuf,
    },
}

pub fn run(args: &Args, output: &Output) -> Result<(), SessionError> {
    match &args.action {
        Action::Ls { state } => ls(state, output),
        Action::Prune { state, dry_run } => prune(state, *dry_run, output),
        Action::Verify { file, plan } => verify(file, plan, output),
    }
}

/// Opens the state folder of either party; makes none.
fn open(state: &Path) -> Result<Store, SessionError> {
    if !state.join("ledger.redb").exists() {
        let reason = "no state folder of a party is there; check --state";
        return Err(SessionError::Config(format!("{}: {reason}", state.display())));
    }
    // The folder knows whose it is.
    match Store::open(state, 0) {
        Err(Error::ForeignLedger { .. }) => Ok(Store::open(state, 1)?),
        opened => Ok(opened?),
    }
}

fn prune(state: &Path, dry_run: bool, output: &Output) -> Result<(), SessionError> {
    let pruned = open(state)?.prune(dry_run)?;
    if output.is_json() {
        let names = |ids: Vec<String>| json!(ids);
        output.document(&json!({
            "dry_run": dry_run,
            "batches": names(pruned.batches.iter().map(ToString::to_string).collect()),
            "prepared_files": pruned.prepared,
            "weights": names(pruned.weights.iter().map(ToString::to_string).collect()),
            "leftovers": pruned.leftovers,
            "bytes": pruned.bytes,
        }));
        return Ok(());
    }
    let rows = [
        ("spent batches", pruned.batches.len()),
        ("files of prepared data", pruned.prepared),
        ("masked weights without a batch", pruned.weights.len()),
        ("leftovers", pruned.leftovers),
    ];
    let rows: Vec<Vec<String>> = rows.map(|(what, count)| vec![what.to_string(), count.to_string()]).into();
    output.line(&table(&["what", "files"], &rows));
    output.line(&format!("{} {}", bytes(pruned.bytes), if dry_run { "would be freed" } else { "freed" }));
    Ok(())
}

fn ls(state: &Path, output: &Output) -> Result<(), SessionError> {
    let store = open(state)?;
    let (mut rows, mut list, mut left) = (Vec::new(), Vec::new(), 0);
    for entry in store.ls()? {
        let label = entry.label.as_ref().ok();
        match &entry.status {
            Ok(status) => {
                left += u64::from(status.left);
                list.push(json!({
                    "batch": entry.batch.to_string(), "slots": status.slots, "left": status.left, "used": status.used,
                    "burnt": status.burnt, "bytes": entry.bytes, "plan": label.map(|l| hex(&l.plan_digest)),
                    "weights": label.map(|l| l.weights.to_string()), "prepared": !entry.prepared.is_empty(),
                    "whole": entry.label.is_ok(),
                }));
                rows.push(vec![
                    entry.batch.to_string(),
                    status.left.to_string(),
                    status.used.to_string(),
                    status.burnt.to_string(),
                    bytes(entry.bytes),
                    match label {
                        Some(label) => hex(&label.plan_digest)[..16].to_string(),
                        None if status.left == 0 && entry.bytes == 0 => "removed".to_string(),
                        None => "missing or damaged".to_string(),
                    },
                ]);
            }
            Err(error) => {
                list.push(json!({ "batch": entry.batch.to_string(), "error": error.to_string() }));
                rows.push(vec![entry.batch.to_string(), error.to_string()]);
            }
        }
    }
    if output.is_json() {
        output.document(&json!({ "left": left, "batches": list }));
    } else {
        output.line(&table(&["batch", "left", "used", "burnt", "size", "plan"], &rows));
        output.line(&format!("{left} inferences left"));
    }
    Ok(())
}

fn verify(file: &Path, plan: &Path, output: &Output) -> Result<(), SessionError> {
    let plan = Plan::read(plan)?;
    let label = ariann_material::inspect(file)?;
    let party = if label.party == 0 { Party::P0 } else { Party::P1 };
    let batch = Batch::open(file, &expected(&plan, party)?)?;
    let mut events = output.progress();
    batch.verify_all(|done, total| {
        events.tell(Event::Progress { stage: "verifying", done, total });
    })?;
    if output.is_json() {
        output.document(
            &json!({ "batch": label.batch.to_string(), "party": label.party, "slots": label.slots, "whole": true }),
        );
    } else {
        output.line(&format!("batch {}: {} slots for P{}, whole", label.batch, label.slots, label.party));
    }
    Ok(())
}

fn hex(digest: &[u8; 32]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
