//! Server, dealer and owners as processes on this machine, over TLS on loopback: starts them, listens to them, ends them, and
//! kills and restarts those that a simulation wants to lose.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use ariann_session::events::{Event, Events};
use ariann_session::{Fault, Program, SessionError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::config::{FederateDealConfig, FederateOwnerConfig, FederateServerConfig};
use super::report::FederateReport;

/// Between two looks at clocks.
const LOOK: Duration = Duration::from_millis(100);
/// How long the others may take after the server has ended.
const LAST: Duration = Duration::from_secs(60);

/// Somebody is killed, as by a power cut, in the midst of a round.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Loss {
    /// Which owner; the server when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<u16>,
    /// In which round: so many have had a result before, plus one.
    pub round: u64,
    /// Seconds after its beginning.
    pub after: f64,
    /// It is started again so many seconds later; never when absent, but for the server, which is always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back: Option<f64>,
}

/// What to run. Addresses in the configurations are filled in.
pub struct Simulation<'a> {
    /// The program whose `federate` is started.
    pub program: Program,
    /// A folder for configurations.
    pub folder: &'a Path,
    /// The server.
    pub server: FederateServerConfig,
    /// The dealer.
    pub dealer: FederateDealConfig,
    /// The owners, by number.
    pub owners: Vec<(u16, FederateOwnerConfig)>,
    /// Who is killed when.
    pub losses: Vec<Loss>,
    /// Whether this process was told to end.
    pub interrupted: fn() -> bool,
}

/// What the roles reported.
pub struct Simulated {
    /// The server's.
    pub server: FederateReport,
    /// The dealer's.
    pub dealer: FederateReport,
    /// Of the owners that lived to the end.
    pub owners: Vec<(u16, FederateReport)>,
}

struct Role {
    child: Child,
    command: &'static str,
    /// Tells lines of one process from those of its successor.
    run: u64,
    result: Option<Value>,
    error: Option<String>,
    ended: bool,
    /// It was killed on purpose.
    killed: bool,
}

impl Drop for Role {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

type Said = (String, u64, Option<Value>);

struct Roles<'a> {
    simulation: &'a Simulation<'a>,
    roles: BTreeMap<String, Role>,
    runs: u64,
    say: Sender<Said>,
    hear: Receiver<Said>,
    /// Rounds that had a result, as the server told last.
    done: u64,
    address: Option<String>,
}

fn owner_name(number: u16) -> String {
    format!("owner-{number}")
}

/// Writes a role's configuration to a folder, as NAME.toml.
pub fn write_config(folder: &Path, name: &str, config: &impl Serialize) -> Result<PathBuf, SessionError> {
    let path = folder.join(format!("{name}.toml"));
    let text = toml::to_string(config).map_err(|error| SessionError::Config(error.to_string()))?;
    std::fs::write(&path, text).map_err(|source| SessionError::file("writing", &path, source))?;
    Ok(path)
}

impl Simulation<'_> {
    /// Runs all roles to the end of the training.
    pub fn run(&self, events: &mut dyn Events) -> Result<Simulated, SessionError> {
        let (say, hear) = channel();
        let mut roles = Roles { simulation: self, roles: BTreeMap::new(), runs: 0, say, hear, done: 0, address: None };
        let dealer = roles.listening("dealer", "dealer", &self.dealer, events)?;
        let mut server = FederateServerConfig { dealer: dealer.clone(), ..self.server.clone() };
        let address = roles.listening("server", "server", &server, events)?;
        // Started again, it listens at the same place.
        server.listen.clone_from(&address);
        let owners: Vec<(u16, FederateOwnerConfig)> = self
            .owners
            .iter()
            .map(|(number, owner)| {
                let (dealer, server) = (dealer.clone(), address.clone());
                (*number, FederateOwnerConfig { dealer, server, ..owner.clone() })
            })
            .collect();
        for (number, owner) in &owners {
            roles.start(&owner_name(*number), "owner", owner)?;
        }
        roles.watch(&server, &owners, events)?;
        let mut all = Vec::new();
        for (number, _) in &owners {
            if roles.roles.get(&owner_name(*number)).is_some_and(|role| role.result.is_some()) {
                all.push((*number, roles.report(&owner_name(*number))?));
            }
        }
        Ok(Simulated { server: roles.report("server")?, dealer: roles.report("dealer")?, owners: all })
    }
}

impl Roles<'_> {
    fn start<C: Serialize>(&mut self, name: &str, command: &'static str, config: &C) -> Result<(), SessionError> {
        let path = write_config(self.simulation.folder, name, config)?;
        let program = &self.simulation.program;
        let child = program
            .command()
            .args(["federate", command, "--config"])
            .arg(&path)
            .args(["--json", "--supervised"])
            // The role ends when this pipe closes: with this process, however it ends.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn();
        let mut child = child.map_err(|source| SessionError::file("starting", &program.path, source))?;
        let stdout = child.stdout.take().expect("piped");
        self.runs += 1;
        let (say, run, of) = (self.say.clone(), self.runs, name.to_string());
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Ok(value) = serde_json::from_str(&line) {
                    let _ = say.send((of.clone(), run, Some(value)));
                }
            }
            let _ = say.send((of, run, None));
        });
        let role = Role { child, command, run, result: None, error: None, ended: false, killed: false };
        self.roles.insert(name.to_string(), role);
        Ok(())
    }

    /// Starts a role, and waits until it tells where it listens.
    fn listening<C: Serialize>(
        &mut self,
        name: &str,
        command: &'static str,
        config: &C,
        events: &mut dyn Events,
    ) -> Result<String, SessionError> {
        self.address = None;
        self.start(name, command, config)?;
        loop {
            self.listen(events)?;
            if let Some(address) = self.address.take() {
                return Ok(address);
            }
            self.failure(name)?;
        }
    }

    /// The next words, at most [`LOOK`] later.
    fn listen(&mut self, events: &mut dyn Events) -> Result<(), SessionError> {
        if (self.simulation.interrupted)() {
            return Err(SessionError::Config("interrupted; the roles were ended".to_string()));
        }
        let Ok((name, run, said)) = self.hear.recv_timeout(LOOK) else { return Ok(()) };
        let Some(role) = self.roles.get_mut(&name).filter(|role| role.run == run) else { return Ok(()) };
        let Some(mut line) = said else {
            role.ended = true;
            return Ok(());
        };
        let number = |key: &str| line[key].as_u64().unwrap_or(0);
        let of_server = role.command == "server";
        match line["event"].as_str() {
            Some("listening") => self.address = line["address"].as_str().map(String::from),
            Some("result") => role.result = Some(line["report"].take()),
            Some("error") => role.error = Some(line["error"].as_str().unwrap_or("unknown").to_string()),
            Some("progress") if of_server && line["stage"] == "rounds" => {
                self.done = number("done");
                events.progress("rounds", number("done"), number("total"));
            }
            Some("epoch") if of_server => {
                let accuracy = line["accuracy"].as_f64();
                events.tell(Event::Epoch { epoch: number("epoch") as u32, accuracy, loss: None });
            }
            Some("notice") if of_server => events.notice(line["text"].as_str().unwrap_or("").to_string()),
            _ => {}
        }
        Ok(())
    }

    fn failure(&self, name: &str) -> Result<(), SessionError> {
        let Some(role) = self.roles.get(name).filter(|role| role.ended && role.result.is_none()) else { return Ok(()) };
        let reason = role.error.clone().unwrap_or_else(|| "it ended without a word".to_string());
        Err(SessionError::Role { role: name.to_string(), reason, fault: Fault::Machine })
    }

    /// Until the server has ended, with all losses on the way.
    fn watch(
        &mut self,
        server: &FederateServerConfig,
        owners: &[(u16, FederateOwnerConfig)],
        events: &mut dyn Events,
    ) -> Result<(), SessionError> {
        let after = |seconds: f64| Instant::now() + Duration::try_from_secs_f64(seconds).unwrap_or_default();
        let mut due: Vec<(Instant, Loss)> = Vec::new();
        let mut back: Vec<(Instant, String)> = Vec::new();
        let (mut losses, mut ended): (Vec<Loss>, Option<Instant>) = (self.simulation.losses.clone(), None);
        loop {
            self.listen(events)?;
            let begun = self.done + 1;
            let (now_due, later) = losses.into_iter().partition(|loss: &Loss| loss.round <= begun);
            losses = later;
            due.extend(now_due.into_iter().map(|loss| (after(loss.after), loss)));
            let (strike, later) = due.into_iter().partition(|(when, _)| *when <= Instant::now());
            due = later;
            for (_, loss) in strike {
                let name = loss.owner.map_or("server".to_string(), owner_name);
                if let Some(role) = self.roles.get_mut(&name).filter(|role| !role.ended) {
                    role.killed = true;
                    let _ = role.child.kill();
                    events.notice(format!("{name} is killed"));
                    let again = loss.back.or(loss.owner.is_none().then_some(1.0));
                    back.extend(again.map(|seconds| (after(seconds), name)));
                }
            }
            let (again, later) = back.into_iter().partition(|(when, _)| *when <= Instant::now());
            back = later;
            for (_, name) in again {
                events.notice(format!("{name} is started again"));
                match owners.iter().find(|(number, _)| owner_name(*number) == name) {
                    Some((_, owner)) => self.start(&name, "owner", owner)?,
                    None => self.start(&name, "server", server)?,
                }
            }
            let gone: Vec<String> = self
                .roles
                .iter()
                .filter(|(_, role)| role.ended && !role.killed)
                .map(|(name, _)| name.clone())
                .collect();
            for name in gone {
                self.failure(&name)?;
            }
            let over = self.roles.get("server").is_some_and(|role| role.result.is_some());
            if over && ended.is_none() {
                ended = Some(Instant::now());
            }
            let all = self.roles.values().all(|role| role.ended);
            if over && (all || ended.is_some_and(|ended| ended.elapsed() >= LAST)) {
                return Ok(());
            }
        }
    }

    fn report<T: DeserializeOwned>(&mut self, name: &str) -> Result<T, SessionError> {
        let value = self.roles.get_mut(name).and_then(|role| role.result.take()).unwrap_or(Value::Null);
        serde_json::from_value(value).map_err(|error| SessionError::Role {
            fault: Fault::Machine,
            role: name.to_string(),
            reason: format!("its report is not one: {error}"),
        })
    }
}
