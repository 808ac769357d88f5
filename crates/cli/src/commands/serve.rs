//! `ariann serve`: P0, which holds the model; or a P1 without data, which computes with it for outside clients.

use std::path::{Path, PathBuf};

use ariann_gates::Party;
use ariann_report::{bytes, seconds};
use ariann_session::SessionError;
use ariann_session::config::{self, IdentityConfig, ServeConfig};
use ariann_session::hooks::Hooks;
use ariann_session::outside::{self, AssistConfig};
use ariann_session::report::PartyReport;
use ariann_session::training::{self, AnswerConfig};

use crate::output::Output;

/// Arguments of `serve`: a configuration file, or all of the flags. Flags override the file.
#[derive(clap::Args)]
pub struct Args {
    /// Configuration, TOML.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Which party this is, in a plan for outside clients: p0 holds the model, p1 has a configuration file and neither model nor data.
    /// With [trained] in the configuration both hold shares of a model that nobody knows.
    #[arg(long, default_value = "p0", value_parser = ["p0", "p1"], requires_if("p1", "config"))]
    role: String,
    /// The plan file.
    #[arg(long, required_unless_present = "config")]
    plan: Option<PathBuf>,
    /// The model, ONNX.
    #[arg(long, required_unless_present = "config")]
    model: Option<PathBuf>,
    /// State folder: material and ledger.
    #[arg(long, required_unless_present = "config")]
    state: Option<PathBuf>,
    /// HOST:PORT to listen at.
    #[arg(long, required_unless_present = "config")]
    listen: Option<String>,
    /// Folder and name of the own identity: FOLDER/NAME.
    #[arg(long, required_unless_present = "config", value_name = "FOLDER/NAME")]
    identity: Option<PathBuf>,
    /// Fingerprint of P1; may be repeated: each P1 has material of its own.
    #[arg(long, required_unless_present = "config", value_name = "FINGERPRINT")]
    peer: Vec<String>,
    /// Go on fetching from the configured dealer while sessions run: the disk holds a few deliveries, not all.
    #[arg(long, requires = "config")]
    stream: bool,
    /// Deliveries that lie unspent at most while it streams; 2 by default.
    #[arg(long, value_name = "N", requires = "config")]
    ahead: Option<usize>,
    /// Material file to take in; may be repeated.
    #[arg(long, value_name = "FILE")]
    material: Vec<PathBuf>,
    /// End after so many sessions; never when 0.
    #[arg(long)]
    sessions: Option<u64>,
    /// The most sessions at once; one more is refused.
    #[arg(long)]
    max_sessions: Option<usize>,
    /// The most items that P1 may have computed together.
    #[arg(long)]
    max_batch: Option<u32>,
    /// Agree to a plan that sends the model's weights to P1 in clear.
    #[arg(long)]
    publish_weights: bool,
    /// Threads; all cores when 0.
    #[arg(long)]
    threads: Option<usize>,
}

/// FOLDER/NAME as an identity.
pub fn identity(path: &std::path::Path) -> Result<IdentityConfig, SessionError> {
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| SessionError::Config(format!("--identity {}: give FOLDER/NAME", path.display())))?;
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_path_buf(),
        _ => PathBuf::from("."),
    };
    Ok(IdentityConfig { folder, name: name.to_string() })
}

pub fn run(args: Args, hooks: &Hooks, output: &Output) -> Result<(), SessionError> {
    if let Some(path) = &args.config
        && config::read::<Keys>(path)?.trained.is_some()
    {
        return answer(&args, path, hooks, output);
    }
    if args.role == "p1" {
        return assist(args, hooks, output);
    }
    let own = args.identity.as_deref().map(identity).transpose()?;
    let mut config = match &args.config {
        Some(path) => config::read::<ServeConfig>(path)?,
        None => ServeConfig {
            plan: args.plan.clone().expect("required by the parser"),
            model: args.model.clone().expect("required by the parser"),
            state: args.state.clone().expect("required by the parser"),
            listen: args.listen.clone().expect("required by the parser"),
            identity: own.clone().expect("required by the parser"),
            peer: String::new(),
            clients: Vec::new(),
            outside: None,
            max_sessions: config::MOST_SESSIONS,
            dealer: None,
            stream: false,
            ahead: config::AHEAD,
            material: Vec::new(),
            threads: 0,
            sessions: 0,
            max_batch: config::MOST_ITEMS,
            publish_weights: false,
            link: None,
            deadlines: Default::default(),
        },
    };
    config.publish_weights |= args.publish_weights;
    config.plan = args.plan.unwrap_or(config.plan);
    config.model = args.model.unwrap_or(config.model);
    config.state = args.state.unwrap_or(config.state);
    config.listen = args.listen.unwrap_or(config.listen);
    config.identity = own.unwrap_or(config.identity);
    if let [one] = &args.peer[..] {
        (config.peer, config.clients) = (one.clone(), Vec::new());
    } else if !args.peer.is_empty() {
        (config.peer, config.clients) = (String::new(), args.peer);
    }
    config.max_sessions = args.max_sessions.unwrap_or(config.max_sessions);
    config.stream |= args.stream;
    config.ahead = args.ahead.unwrap_or(config.ahead);
    config.material.extend(args.material);
    config.max_batch = args.max_batch.unwrap_or(config.max_batch);
    config.sessions = args.sessions.unwrap_or(config.sessions);
    config.threads = args.threads.unwrap_or(config.threads);
    let report = ariann_session::serve::serve(&config, hooks, &mut output.events())?;
    tell(&report, output);
    Ok(())
}

/// Of a configuration of either party: whether its model is one that stays shared.
#[derive(serde::Deserialize)]
struct Keys {
    trained: Option<serde::de::IgnoredAny>,
}

/// P0 or P1 of a model that stays shared after its training.
fn answer(args: &Args, path: &Path, hooks: &Hooks, output: &Output) -> Result<(), SessionError> {
    let given = [
        ("--plan", args.plan.is_some()),
        ("--model", args.model.is_some()),
        ("--state", args.state.is_some()),
        ("--listen", args.listen.is_some()),
        ("--identity", args.identity.is_some()),
        ("--peer", !args.peer.is_empty()),
        ("--stream", args.stream),
        ("--ahead", args.ahead.is_some()),
        ("--material", !args.material.is_empty()),
        ("--max-sessions", args.max_sessions.is_some()),
        ("--max-batch", args.max_batch.is_some()),
        ("--publish-weights", args.publish_weights),
    ];
    if let Some((flag, _)) = given.iter().find(|(_, given)| *given) {
        let reason = format!("{flag}: with [trained] the configuration alone says it; take it out");
        return Err(SessionError::Config(reason));
    }
    let mut config: AnswerConfig = config::read(path)?;
    let role = if args.role == "p1" { Party::P1 } else { Party::P0 };
    if config.role != role {
        let own = config::name(config.role);
        let reason =
            format!("{}: it is the configuration of {own}; give --role {}", path.display(), own.to_lowercase());
        return Err(SessionError::Config(reason));
    }
    config.sessions = args.sessions.unwrap_or(config.sessions);
    config.threads = args.threads.unwrap_or(config.threads);
    tell(&training::answer(&config, hooks, &mut output.events())?, output);
    Ok(())
}

/// P1 for outside clients.
fn assist(args: Args, hooks: &Hooks, output: &Output) -> Result<(), SessionError> {
    let given = [
        ("--model", args.model.is_some()),
        ("--listen", args.listen.is_some()),
        ("--peer", !args.peer.is_empty()),
        ("--max-sessions", args.max_sessions.is_some()),
        ("--publish-weights", args.publish_weights),
    ];
    if let Some((flag, _)) = given.iter().find(|(_, given)| *given) {
        return Err(SessionError::Config(format!("{flag} is for P0, and this is --role p1; take it out")));
    }
    let mut config: AssistConfig = config::read(&args.config.expect("required by the parser"))?;
    config.plan = args.plan.unwrap_or(config.plan);
    config.state = args.state.unwrap_or(config.state);
    config.identity = args.identity.as_deref().map(identity).transpose()?.unwrap_or(config.identity);
    config.stream |= args.stream;
    config.ahead = args.ahead.unwrap_or(config.ahead);
    config.material.extend(args.material);
    config.max_batch = args.max_batch.unwrap_or(config.max_batch);
    config.sessions = args.sessions.unwrap_or(config.sessions);
    config.threads = args.threads.unwrap_or(config.threads);
    tell(&outside::assist(&config, hooks, &mut output.events())?, output);
    Ok(())
}

fn tell(report: &PartyReport, output: &Output) {
    if output.is_json() {
        return output.result(report);
    }
    output.line(&format!(
        "{} items in {} online, {} sent",
        report.items,
        seconds(report.online.seconds),
        bytes(report.online.bytes_sent)
    ));
    super::query::results(report, output);
}
