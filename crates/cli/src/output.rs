//! How the program speaks: tables and a progress bar to people, JSON lines to scripts.

use std::cell::RefCell;
use std::io::{IsTerminal, Read, Write};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ariann_session::events::{Event, Events};
use ariann_session::{Fault, SessionError};
use indicatif::{HumanDuration, ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::json;

/// The program's voice.
pub struct Output {
    json: bool,
    /// A parent process reads what it says.
    supervised: bool,
    /// Told when a command fails after some items were predicted.
    predicted: Rc<RefCell<Vec<u32>>>,
    bar: Rc<RefCell<Option<Bar>>>,
}

struct Bar {
    stage: &'static str,
    bar: ProgressBar,
    /// When a line was last told where there is no terminal, and how far the stage was.
    told: (Instant, u64),
}

/// Where there is no terminal, nothing is told sooner than this after what was told before.
const QUIET: Duration = Duration::from_secs(10);
/// Parts of a stage of which one is told then.
const PARTS: u64 = 10;
/// Exit code of a process whose parent went away.
const ORPHANED: i32 = 7;

impl Bar {
    /// Whether it is time for a line in a log: a tenth of the stage on, and some seconds.
    fn is_due(&self, done: u64, total: u64) -> bool {
        let (moment, before) = self.told;
        done < total && (done - before.min(done)).saturating_mul(PARTS) >= total && moment.elapsed() >= QUIET
    }
}

impl Output {
    pub fn new(json: bool, supervised: bool) -> Self {
        Output { json, supervised, predicted: Rc::default(), bar: Rc::default() }
    }

    pub fn is_json(&self) -> bool {
        self.json
    }

    /// One line of standard output. A reader that went away is no failure of ours.
    pub fn line(&self, text: &str) {
        self.end_bar();
        let _ = writeln!(std::io::stdout(), "{text}");
    }

    /// A JSON document.
    pub fn document(&self, value: &impl Serialize) {
        self.line(&serde_json::to_string_pretty(value).expect("a report is JSON"));
    }

    /// The last JSON line of a role.
    pub fn result(&self, report: &impl Serialize) {
        self.line(&json!({ "event": "result", "report": report }).to_string());
    }

    /// Tells an error and its exit code.
    pub fn failure(&self, error: &SessionError) -> ExitCode {
        let fault = error.fault();
        if self.json {
            let mut said = json!({ "event": "error", "fault": fault.name(), "error": error.to_string() });
            if error.is_unsupported() {
                said["unsupported"] = true.into();
            }
            self.line(&said.to_string());
        } else {
            let predicted = self.predicted.borrow();
            if !predicted.is_empty() {
                let labels: Vec<String> = predicted.iter().map(u32::to_string).collect();
                self.line(&format!(
                    "labels of the {} items predicted before the error: {}",
                    labels.len(),
                    labels.join(" ")
                ));
            }
            self.end_bar();
            // Texts of the libraries may begin with the word themselves.
            let text = error.to_string();
            let said = ["operator", "peer", "dealer", "input", "disk"];
            let text =
                text.split_once(": ").filter(|(word, _)| said.contains(word)).map_or(text.as_str(), |split| split.1);
            eprintln!("error ({}): {text}", fault.name());
        }
        ExitCode::from(match fault {
            Fault::Operator => 2,
            Fault::Input => 3,
            Fault::Peer => 4,
            Fault::Dealer => 5,
            Fault::Machine => 6,
        })
    }

    /// Where a role's events go.
    pub fn events(&self) -> Teller {
        Teller {
            json: self.json,
            quiet: false,
            terminal: std::io::stderr().is_terminal(),
            predicted: self.predicted.clone(),
            bar: self.bar.clone(),
        }
    }

    /// Events of a command that prints one JSON document: none of them beside it, but for a parent process, which gets a line each
    /// before the document.
    pub fn progress(&self) -> Teller {
        Teller { quiet: self.json && !self.supervised, ..self.events() }
    }

    fn end_bar(&self) {
        if let Some(bar) = self.bar.borrow_mut().take() {
            bar.bar.finish_and_clear();
        }
    }
}

/// Tells events: JSON lines on standard output, or a progress bar and notices on standard error.
pub struct Teller {
    json: bool,
    quiet: bool,
    terminal: bool,
    predicted: Rc<RefCell<Vec<u32>>>,
    bar: Rc<RefCell<Option<Bar>>>,
}

impl Events for Teller {
    fn tell(&mut self, event: Event) {
        if self.quiet {
            return;
        }
        if self.json {
            let _ = writeln!(std::io::stdout(), "{}", serde_json::to_string(&event).expect("an event is JSON"));
            return;
        }
        match event {
            Event::Progress { stage, done, total } => self.progress_with(stage, (done, total), ""),
            Event::Gate { number, name } => self.message(&format!("gate {number} {name}")),
            Event::Loss { loss, .. } => self.message(&format!("loss {loss:.5}")),
            Event::Epoch { epoch, accuracy, loss } => {
                let accuracy = accuracy.map(|share| format!("accuracy {:.2} %", 100.0 * share));
                let told = [accuracy, loss.map(|loss| format!("loss {loss:.5}"))];
                let told: Vec<String> = told.into_iter().flatten().collect();
                self.say(&format!("epoch {epoch}: {}", told.join(", ")));
            }
            Event::Predicted { predictions, .. } => self.predicted.borrow_mut().extend(predictions),
            Event::ListeningForOwners { address } => self.say(&format!("owners connect at {address}")),
            Event::Listening { address } => self.say(&format!("listening at {address}")),
            Event::Notice { text } => self.say(&text),
            Event::SessionFailed { fault, error } => self.say(&format!("session failed ({fault}): {error}")),
            Event::SessionDone { items } => self.say(&format!("session done: {items} items")),
        }
    }
}

impl Teller {
    /// What stands behind the bar.
    fn message(&self, text: &str) {
        if let Some(bar) = &*self.bar.borrow() {
            bar.bar.set_message(text.to_string());
        }
    }

    fn say(&self, text: &str) {
        match &*self.bar.borrow() {
            Some(bar) if self.terminal => bar.bar.suspend(|| eprintln!("{text}")),
            _ => eprintln!("{text}"),
        }
    }

    /// How far a stage is, and what stands behind its bar.
    pub fn progress_with(&mut self, stage: &'static str, (done, total): (u64, u64), beside: &str) {
        if self.json {
            self.tell(Event::Progress { stage, done, total });
            return;
        }
        let mut held = self.bar.borrow_mut();
        if held.as_ref().is_none_or(|bar| bar.stage != stage) {
            if let Some(old) = held.take() {
                old.bar.finish_and_clear();
            }
            let style =
                ProgressStyle::with_template("{prefix:>18} {bar:30} {percent:>3} %  {elapsed} / {eta} left  {msg}");
            let bar = ProgressBar::new(total).with_style(style.expect("a fixed template"));
            bar.set_prefix(stage);
            // What was done before this process began says nothing of its speed.
            let bar = bar.with_position(done.saturating_sub(1));
            *held = Some(Bar { stage, bar, told: (Instant::now(), done) });
        }
        if let Some(bar) = &mut *held {
            bar.bar.set_length(total);
            bar.bar.set_position(done);
            if !beside.is_empty() {
                bar.bar.set_message(beside.to_string());
            }
            if !self.terminal && bar.is_due(done, total) {
                bar.told = (Instant::now(), done);
                let left = HumanDuration(bar.bar.eta());
                let of = if beside.is_empty() { format!("{done} of {total}") } else { beside.to_string() };
                eprintln!("{stage}: {of}, {left} left");
            }
        }
    }
}

/// Ends the process when standard input closes. What is on disk is consistent at every moment, so this may happen at any.
pub fn end_with_stdin() {
    std::thread::spawn(|| {
        let mut sink = [0; 256];
        let mut stdin = std::io::stdin();
        while stdin.read(&mut sink).is_ok_and(|n| n > 0) {}
        std::process::exit(ORPHANED);
    });
}

/// Waits until the parent says that it may begin.
pub fn wait_for_a_line() {
    let mut line = String::new();
    if !std::io::stdin().read_line(&mut line).is_ok_and(|n| n > 0) {
        std::process::exit(ORPHANED);
    }
}
