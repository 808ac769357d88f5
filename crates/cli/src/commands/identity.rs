//! `ariann identity`: make identities and show their fingerprints.

use std::path::PathBuf;
use std::time::Duration;

use ariann_net::Identity;
use ariann_session::SessionError;
use clap::Subcommand;
use serde_json::json;

use crate::output::Output;

/// Arguments of `identity`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Make NAME.key.pem (keep it secret) and NAME.cert.pem, and print the fingerprint that the others pin.
    New {
        /// Name of the files.
        name: String,
        /// Folder to write to.
        #[arg(short, long, default_value = ".")]
        folder: PathBuf,
        /// Days of validity.
        #[arg(long, default_value_t = 825)]
        days: u64,
    },
    /// Print the fingerprint of an identity.
    Show {
        /// Name of the files.
        name: String,
        /// Folder that holds them.
        #[arg(short, long, default_value = ".")]
        folder: PathBuf,
    },
}

pub fn run(args: &Args, output: &Output) -> Result<(), SessionError> {
    let (name, identity) = match &args.action {
        Action::New { name, folder, days } => {
            std::fs::create_dir_all(folder).map_err(|source| SessionError::file("creating", folder, source))?;
            let validity = Duration::from_secs(days.saturating_mul(86_400));
            (name, Identity::create(folder, name, validity)?)
        }
        Action::Show { name, folder } => (name, Identity::load(folder, name)?),
    };
    if output.is_json() {
        output.document(&json!({ "name": name, "fingerprint": identity.fingerprint().to_string() }));
    } else {
        output.line(&identity.fingerprint().to_string());
    }
    Ok(())
}
