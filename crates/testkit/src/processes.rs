//! Role processes: their JSON lines with the moment each was heard, signals to them, and an end for every wait.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

/// No test waits longer for anything.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A finished command.
#[derive(Debug)]
pub struct Finished {
    /// Its exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Finished {
    /// Standard output as one JSON document.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The last JSON line of standard output.
    pub fn last(&self) -> Value {
        let line = self.stdout.lines().last().unwrap_or_else(|| panic!("nothing was said: {self:?}"));
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Panics unless it ended well.
    #[track_caller]
    pub fn success(self) -> Finished {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }

    /// Panics unless it ended with `code` and its last words hold all of `words`.
    #[track_caller]
    pub fn failure(self, code: i32, words: &[&str]) -> Finished {
        assert_eq!(self.code, Some(code), "{self:?}");
        let told = format!("{}{}", self.stdout, self.stderr);
        let last = told.lines().last().unwrap_or("").to_string();
        words.iter().for_each(|word| assert!(told.contains(word), "{word:?} is not in: {last}"));
        assert!(!told.contains("panicked"), "{told}");
        self
    }
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Finished {
    let mut role = Role::start(command);
    let status = role.wait();
    Finished { code: status.code(), stdout: role.stdout(), stderr: role.stderr() }
}

/// A running role. Killed when dropped.
pub struct Role {
    child: Child,
    lines: Receiver<(Instant, String)>,
    heard: Vec<(Instant, String)>,
    errors: Option<JoinHandle<String>>,
    told: String,
}

impl Role {
    /// Starts it with its output to us.
    pub fn start(command: &mut Command) -> Role {
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (stdout, mut stderr) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
        let (say, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if say.send((Instant::now(), line)).is_err() {
                    return;
                }
            }
        });
        let errors = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = stderr.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        });
        Role { child, lines, heard: Vec::new(), errors: Some(errors), told: String::new() }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended.
    pub fn ended(&mut self) -> bool {
        self.child.try_wait().expect("our child").is_some()
    }

    /// SIGKILL; returns the moment.
    pub fn kill(&mut self) -> Instant {
        let moment = Instant::now();
        self.child.kill().expect("our child");
        self.child.wait().expect("our child");
        moment
    }

    /// Sends a signal by name: "STOP", "CONT", "TERM".
    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Waits for the end; panics when it hangs.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        self.wait_for(PATIENCE).unwrap_or_else(|| panic!("a role hangs; it said {:#?}", self.heard))
    }

    /// Waits at most so long for the end.
    pub fn wait_for(&mut self, patience: Duration) -> Option<ExitStatus> {
        let end = Instant::now() + patience;
        loop {
            self.listen(Duration::ZERO);
            if let Some(status) = self.child.try_wait().expect("our child") {
                while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
                    self.heard.push(line);
                }
                return Some(status);
            }
            if Instant::now() >= end {
                return None;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn listen(&mut self, patience: Duration) -> bool {
        match self.lines.recv_timeout(patience) {
            Ok(line) => {
                self.heard.push(line);
                true
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => false,
        }
    }

    /// How many lines it has said so far.
    pub fn said(&mut self) -> usize {
        while self.listen(Duration::ZERO) {}
        self.heard.len()
    }

    /// Events from line `from` on, with their moments.
    pub fn events(&mut self, from: usize) -> Vec<(Instant, Value)> {
        self.said();
        let parsed = |(moment, line): &(Instant, String)| Some((*moment, serde_json::from_str(line).ok()?));
        self.heard[from..].iter().filter_map(parsed).collect()
    }

    /// The first event from line `from` on that is one of `names`, waited for at most `patience`.
    pub fn event_from(&mut self, from: usize, names: &[&str], patience: Duration) -> Option<(Instant, Value)> {
        let end = Instant::now() + patience;
        loop {
            let found =
                self.events(from).into_iter().find(|(_, event)| names.iter().any(|name| event["event"] == *name));
            let left = end.saturating_duration_since(Instant::now());
            if found.is_some() || left.is_zero() {
                return found;
            }
            if !self.listen(left.min(Duration::from_millis(50))) && self.ended() && self.said() == self.heard.len() {
                // Nothing more can come but what is still in the pipe.
                while let Ok(line) = self.lines.recv_timeout(Duration::from_millis(200)) {
                    self.heard.push(line);
                }
                return self.events(from).into_iter().find(|(_, e)| names.iter().any(|name| e["event"] == *name));
            }
        }
    }

    /// An event that must come.
    #[track_caller]
    pub fn event(&mut self, name: &str) -> Value {
        match self.event_from(0, &[name], PATIENCE) {
            Some((_, event)) => event,
            None => {
                self.child.kill().expect("our child");
                let errors = self.stderr();
                panic!("no event {name:?}; it said {:#?} {errors}", self.heard)
            }
        }
    }

    /// Where it listens.
    #[track_caller]
    pub fn address(&mut self) -> String {
        self.event("listening")["address"].as_str().expect("an address").to_string()
    }

    /// All of standard output so far.
    pub fn stdout(&mut self) -> String {
        self.said();
        self.heard.iter().map(|(_, line)| format!("{line}\n")).collect()
    }

    /// All of standard error; waits for the end.
    pub fn stderr(&mut self) -> String {
        if let Some(errors) = self.errors.take() {
            self.told = errors.join().expect("a reader does not panic");
        }
        self.told.clone()
    }

    /// Waits for the end and returns all that it said.
    #[track_caller]
    pub fn finish(mut self) -> Finished {
        let status = self.wait();
        Finished { code: status.code(), stdout: self.stdout(), stderr: self.stderr() }
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal by name to one process.
pub fn signal(pid: u32, name: &str) {
    let sent = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status().expect("a shell");
    assert!(sent.success(), "kill -{name} {pid}");
}

/// Ids of the processes whose parent is `pid`.
pub fn children(pid: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").expect("Linux");
    let ids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|id| parent(*id) == Some(pid)).collect()
}

/// Whether a process is there and no zombie.
pub fn lives(pid: u32) -> bool {
    stat(pid).is_some_and(|fields| !fields.starts_with('Z'))
}

fn parent(pid: u32) -> Option<u32> {
    stat(pid)?.split_whitespace().nth(1)?.parse().ok()
}

/// State, parent and so on: what follows the name in `/proc/PID/stat`.
fn stat(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat.rsplit_once(')')?.1.trim().to_string())
}

/// Paths of the files that a process holds open.
pub fn open_files(pid: u32) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return Vec::new() };
    let links = entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    links.map(|link| link.display().to_string()).collect()
}
