//! Dealer, P0 and P1 as three processes on this machine, over TLS on loopback: starts them, watches them, ends them.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use ariann_net::{Identity, Shape};
use ariann_plan::Plan;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::config::{
    AHEAD, Deadlines, DealConfig, DealServe, IdentityConfig, MOST_ITEMS, QueryConfig, Remote, ServeConfig,
};
use crate::events::{Event, Events};
use crate::report::{DealerReport, PartyReport};
use crate::{Fault, Program, SessionError};

pub use crate::program::{KEPT_PAGES, Quick, Running, Started};

/// What to run.
pub struct Local<'a> {
    /// The program whose `deal`, `serve` and `query` are started.
    pub program: Program,
    /// An empty folder for identities, plan, states and material.
    pub folder: &'a Path,
    /// The plan.
    pub plan: &'a Plan,
    /// The model, for P0 alone.
    pub model: PathBuf,
    /// The inputs, for P1 alone.
    pub input: PathBuf,
    /// How many of them.
    pub items: usize,
    /// Items computed together.
    pub batch: u32,
    /// Material is dealt in deliveries of so many slots, which come while the parties work; all of it beforehand otherwise.
    pub stream: Option<u32>,
    /// Threads of each party; the dealer works alone and takes twice as many.
    pub threads: usize,
    /// The link that P0 and P1 behave like, and measure.
    pub link: Option<Shape>,
    /// Whether this process was told to end: then the roles are ended, and their files go with the folder.
    pub interrupted: fn() -> bool,
}

/// What the three roles report.
pub struct Reports {
    /// The dealer's.
    pub dealer: DealerReport,
    /// P0's.
    pub p0: PartyReport,
    /// P1's.
    pub p1: PartyReport,
}

/// Validity of the identities of one run.
const VALIDITY: Duration = Duration::from_secs(86_400);
/// Between two looks whether this process was told to end.
const LOOK: Duration = Duration::from_millis(200);
/// How long the other roles get to say why they stopped, after one did.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// A line that a role printed, or its end.
enum Said {
    Line(Value),
    Ended,
}

/// A role process. Ends with this object.
struct Role {
    name: &'static str,
    input: Box<dyn Write + Send>,
    process: Box<dyn Running>,
    result: Option<Value>,
    error: Option<(Fault, String)>,
    /// It waits for its configuration.
    held: bool,
    ended: bool,
}

impl Drop for Role {
    fn drop(&mut self) {
        self.process.end();
    }
}

impl Local<'_> {
    /// Runs the three roles to their end.
    pub fn run(&self, events: &mut dyn Events) -> Result<Reports, SessionError> {
        if self.plan.for_clients() {
            let reason = "--reveal to client: a run of three roles has no outside client; reveal to p1, or start the roles by hand \
                          (docs/pooled.md)";
            return Err(SessionError::Config(reason.to_string()));
        }
        let mut watch = Watch::new(&self.program, self.folder, events, self.interrupted);
        watch.hold("dealer", &["deal"])?;
        watch.hold("p0", &["serve"])?;
        watch.hold("p1", &["query"])?;
        let pins = ["dealer", "p0", "p1"].map(|name| self.identity(name));
        let [dealer_pin, pin0, pin1] = pins;
        let (dealer_pin, pin0, pin1) = (dealer_pin?, pin0?, pin1?);
        let plan = self.folder.join("plan.json");
        self.plan.write(&plan)?;

        let slots = self.items.div_ceil(self.batch as usize) * self.batch as usize;
        let count = u32::try_from(slots)
            .map_err(|_| SessionError::Config(format!("{slots} items are too many for one run")))?;
        let any = "127.0.0.1:0".to_string();
        let deal = DealConfig {
            plan: plan.clone(),
            count,
            batch_slots: self.stream,
            state: self.folder.join("state-dealer"),
            new_weights: false,
            out: None,
            serve: Some(DealServe {
                listen: any.clone(),
                identity: self.own("dealer"),
                p0: pin0.clone(),
                p1: pin1.clone(),
            }),
            threads: 2 * self.threads,
            deadlines: Deadlines::default(),
        };
        let dealer_at = watch.start("dealer", &deal)?;
        let dealer = dealer_at.map(|address| Remote { address: address.to_string(), fingerprint: dealer_pin });
        let serve = ServeConfig {
            plan: plan.clone(),
            model: absolute(&self.model)?,
            state: self.folder.join("state-p0"),
            listen: any,
            identity: self.own("p0"),
            peer: pin1,
            clients: Vec::new(),
            outside: None,
            max_sessions: 1,
            dealer: dealer.clone(),
            stream: self.stream.is_some(),
            ahead: AHEAD,
            material: Vec::new(),
            // Both roles are this machine's.
            publish_weights: true,
            threads: self.threads,
            sessions: 1,
            max_batch: self.batch.max(MOST_ITEMS),
            link: self.link,
            deadlines: Deadlines::default(),
        };
        let address = watch.start("p0", &serve)?.map(|address| address.to_string()).unwrap_or_default();
        let query = QueryConfig {
            plan,
            input: absolute(&self.input)?,
            state: self.folder.join("state-p1"),
            peer: Remote { address, fingerprint: pin0 },
            identity: self.own("p1"),
            dealer,
            stream: self.stream.is_some(),
            ahead: AHEAD,
            material: Vec::new(),
            batch: self.batch,
            limit: Some(self.items),
            // Both roles are this machine's.
            reveal_to_p0: true,
            link: self.link,
            threads: self.threads,
            deadlines: Deadlines::default(),
        };
        watch.release("p1", &query)?;
        watch.until_ended()?;
        Ok(Reports { dealer: watch.report("dealer")?, p0: watch.report("p0")?, p1: watch.report("p1")? })
    }

    fn identity(&self, name: &str) -> Result<String, SessionError> {
        identity(self.folder, name)
    }

    fn own(&self, name: &str) -> IdentityConfig {
        IdentityConfig { folder: self.folder.to_path_buf(), name: name.to_string() }
    }
}

/// Makes an identity for this run; its fingerprint.
pub(crate) fn identity(folder: &Path, name: &str) -> Result<String, SessionError> {
    Ok(Identity::create(folder, name, VALIDITY)?.fingerprint().to_string())
}

pub(crate) fn absolute(path: &Path) -> Result<PathBuf, SessionError> {
    std::path::absolute(path).map_err(|source| SessionError::file("resolving", path, source))
}

/// Listens to all roles at once.
pub(crate) struct Watch<'a> {
    /// The program, and the folder for its roles' configurations.
    program: &'a Program,
    folder: &'a Path,
    roles: Vec<Role>,
    say: Sender<(usize, Said)>,
    hear: Receiver<(usize, Said)>,
    events: &'a mut dyn Events,
    interrupted: fn() -> bool,
    /// The roles that tell losses and accuracies.
    tellers: [Option<usize>; 2],
}

impl<'a> Watch<'a> {
    /// Of no role yet.
    pub fn new(program: &'a Program, folder: &'a Path, events: &'a mut dyn Events, interrupted: fn() -> bool) -> Self {
        let (say, hear) = channel();
        Watch { program, folder, roles: Vec::new(), say, hear, events, interrupted, tellers: [None; 2] }
    }

    /// Gives a role its configuration and waits until it listens; tells where.
    pub fn start<C: serde::Serialize>(
        &mut self,
        name: &'static str,
        config: &C,
    ) -> Result<Option<SocketAddr>, SessionError> {
        let index = self.release(name, config)?;
        loop {
            let (role, said) = self.listen()?;
            if let Said::Line(line) = &said
                && role == index
                && line["event"] == "listening"
            {
                let address = line["address"].as_str().and_then(|text| text.parse().ok());
                return Ok(address);
            }
            self.note(role, said);
            if self.roles.iter().any(|role| role.ended) {
                self.failure()?;
            }
        }
    }

    /// The next word of a role, unless this process is told to end.
    fn listen(&self) -> Result<(usize, Said), SessionError> {
        loop {
            // Looked at first: busy roles have always said something.
            if (self.interrupted)() {
                return Err(SessionError::Config("interrupted; the roles were ended".to_string()));
            }
            if let Ok(said) = self.hear.recv_timeout(LOOK) {
                return Ok(said);
            }
        }
    }

    /// Starts the process of a role, which waits for its configuration: so the processes of all roles start at once, while
    /// what they need is made.
    pub fn hold(&mut self, name: &'static str, command: &[&str]) -> Result<(), SessionError> {
        let mut args: Vec<OsString> = command.iter().map(OsString::from).collect();
        args.extend(["--config".into(), self.config_of(name).into()]);
        // The role ends when its input closes: with this process, however it ends.
        args.extend(["--json", "--supervised", "--held"].map(OsString::from));
        let started = self.program.start(&args);
        let started = started.map_err(|source| SessionError::file("starting", &self.program.path, source))?;
        let Started { input, output, process } = started;
        let (say, index) = (self.say.clone(), self.roles.len());
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Ok(value) = serde_json::from_str(&line) {
                    let _ = say.send((index, Said::Line(value)));
                }
            }
            let _ = say.send((index, Said::Ended));
        });
        self.roles.push(Role { name, input, process, result: None, error: None, held: true, ended: false });
        Ok(())
    }

    /// Gives a role its configuration; its number.
    pub fn release<C: serde::Serialize>(&mut self, name: &'static str, config: &C) -> Result<usize, SessionError> {
        let path = self.config_of(name);
        let text = toml::to_string(config).map_err(|error| SessionError::Config(error.to_string()))?;
        std::fs::write(&path, text).map_err(|source| SessionError::file("writing", &path, source))?;
        let index = self.roles.iter().position(|role| role.name == name).expect("held before");
        let role = &mut self.roles[index];
        role.held = false;
        // One that is gone already is told of by its end.
        let _ = role.input.write_all(b"\n");
        Ok(index)
    }

    fn config_of(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.toml"))
    }

    fn note(&mut self, index: usize, said: Said) {
        let role = &mut self.roles[index];
        match said {
            Said::Ended => role.ended = true,
            Said::Line(mut line) => match line["event"].as_str() {
                Some("result") => role.result = Some(line["report"].take()),
                Some("error" | "session_failed") => {
                    let said = line["fault"].as_str();
                    let fault = Fault::ALL.into_iter().find(|fault| said == Some(fault.name()));
                    let reason = line["error"].as_str().unwrap_or("unknown").to_string();
                    role.error = Some((fault.unwrap_or(Fault::Machine), reason))
                }
                Some("progress") => {
                    let number = |key: &str| line[key].as_u64().unwrap_or(0);
                    let stages = ["dealing", "preparing", "predicting", "training"];
                    // Each stage is told by one role only.
                    let wanted = stages.iter().find(|stage| line["stage"] == **stage);
                    let of_both = |stage: &str| ["preparing", "training"].contains(&stage);
                    if let Some(stage) = wanted.filter(|stage| !of_both(stage) || role.name == "p1") {
                        self.events.progress(stage, number("done"), number("total"));
                    }
                }
                Some("gate") if role.name == "p1" => {
                    let (number, name) =
                        (line["number"].as_u64().unwrap_or(0) as u32, line["name"].as_str().unwrap_or("").to_string());
                    self.events.tell(Event::Gate { number, name });
                }
                // Where both parties learn it, it is told once.
                Some("loss") if *self.tellers[0].get_or_insert(index) == index => {
                    let (step, loss) = (line["step"].as_u64().unwrap_or(0), line["loss"].as_f64().unwrap_or(f64::NAN));
                    self.events.tell(Event::Loss { step, loss });
                }
                Some("epoch") if *self.tellers[1].get_or_insert(index) == index => {
                    let epoch = line["epoch"].as_u64().unwrap_or(0) as u32;
                    let (accuracy, loss) = (line["accuracy"].as_f64(), line["loss"].as_f64());
                    self.events.tell(Event::Epoch { epoch, accuracy, loss });
                }
                Some("notice") => self.events.notice(format!("{}: {}", role.name, line["text"].as_str().unwrap_or(""))),
                _ => {}
            },
        }
    }

    /// Waits for all roles; the first that stops without a result stops the run.
    pub fn until_ended(&mut self) -> Result<(), SessionError> {
        while self.roles.iter().any(|role| !role.ended) {
            let (role, said) = self.listen()?;
            self.note(role, said);
            if self.roles.iter().any(|role| role.ended && role.result.is_none() || role.error.is_some()) {
                self.failure()?;
            }
        }
        Ok(())
    }

    /// Names the role that failed first, with the reason of the one that knows best.
    fn failure(&mut self) -> Result<(), SessionError> {
        // Who ended first may be the victim of another: hear the others out.
        let until = std::time::Instant::now() + LAST_WORDS;
        while self.roles.iter().any(|role| !role.ended && !role.held) {
            let left = until.saturating_duration_since(std::time::Instant::now());
            let Ok((role, said)) = self.hear.recv_timeout(left) else { break };
            self.note(role, said);
        }
        let silent = self.roles.iter().find(|role| role.ended && role.result.is_none() && role.error.is_none());
        let said = |known: bool| {
            self.roles.iter().find(|role| role.error.as_ref().is_some_and(|(fault, _)| !known || *fault != Fault::Peer))
        };
        // One that blames its peer only saw that the other had gone.
        let blamed = silent.or_else(|| said(true)).or_else(|| said(false));
        let Some(role) = blamed else { return Ok(()) };
        let killed = || (Fault::Peer, "it was killed, or ended without a word".to_string());
        let (fault, reason) = role.error.clone().unwrap_or_else(killed);
        Err(SessionError::Role { role: role.name.to_string(), reason, fault })
    }

    /// What a role reported at its end.
    pub fn report<T: DeserializeOwned>(&mut self, name: &str) -> Result<T, SessionError> {
        let role = self.roles.iter_mut().find(|role| role.name == name).expect("started");
        let value = role.result.take().unwrap_or(Value::Null);
        serde_json::from_value(value).map_err(|error| SessionError::Role {
            fault: Fault::Machine,
            role: name.to_string(),
            reason: format!("its report is not one: {error}"),
        })
    }
}
