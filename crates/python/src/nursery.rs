//! One interpreter that roles are forked from: an interpreter starts in the time in which a small network is half predicted.
//!
//! It is started by the first prediction, has loaded this module, and waits: it has no thread, knows no secret and has drawn
//! nothing random. It ends with this process, however that ends. A request carries a role's arguments and its standard
//! input, output and error; the answer is the role's number.

use std::ffi::{OsStr, OsString};
use std::io::{IoSlice, Result, pipe};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ariann_session::Program;
use ariann_session::local::{KEPT_PAGES, Running, Started};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{self, AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketType};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// A request of more bytes is not made: the socket must take it at once.
const MOST: usize = 32_768;
/// An answer takes less than a millisecond. Who waits for it does not hear Ctrl-C.
const PATIENCE: Duration = Duration::from_secs(5);

static NURSERY: Mutex<Option<Nursery>> = Mutex::new(None);
/// Two in a row gave no role: this machine does not have what it takes.
static CLOSED: AtomicBool = AtomicBool::new(false);

struct Nursery {
    /// The process that started it, and how that was then.
    owner: u32,
    like: Vec<u8>,
    process: Child,
    link: Arc<OwnedFd>,
}

/// Forks a role. None where that cannot be: then roles are started one by one.
pub fn start(args: &[OsString]) -> Option<Started> {
    let words: Vec<&[u8]> = args.iter().map(|word| word.as_bytes()).collect();
    let request = [b"s", words.join(&0).as_slice()].concat();
    if CLOSED.load(Ordering::Relaxed) || request.len() > MOST {
        return None;
    }
    let mut kept = NURSERY.lock().unwrap_or_else(PoisonError::into_inner);
    let like = likeness().ok()?;
    for _ in 0..2 {
        let as_now = kept.take().filter(|nursery| nursery.owner == std::process::id() && nursery.like == like);
        let Some(nursery) = as_now.or_else(|| Nursery::open(like.clone()).ok()) else { continue };
        // It may have been killed meanwhile.
        if let Ok(started) = nursery.fork(&request) {
            *kept = Some(nursery);
            return Some(started);
        }
    }
    CLOSED.store(true, Ordering::Relaxed);
    None
}

/// Ends the nursery, if there is one. A process that was forked only lets go of that of its parent.
pub fn end() {
    // Who holds it now may be a thread that a fork left behind.
    if let Ok(mut kept) = NURSERY.try_lock() {
        *kept = None;
    }
}

impl Nursery {
    fn open(like: Vec<u8>) -> Result<Nursery> {
        let flags = net::SocketFlags::CLOEXEC;
        let (link, theirs) = net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        set_socket_timeout(&link, Timeout::Recv, Some(PATIENCE))?;
        set_socket_timeout(&link, Timeout::Send, Some(PATIENCE))?;
        let program = Program::this().map_err(std::io::Error::other)?;
        let process = program
            .command()
            .arg("--nursery")
            .env(KEPT_PAGES.0, KEPT_PAGES.1)
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .spawn()?;
        Ok(Nursery { owner: std::process::id(), like, process, link: Arc::new(link) })
    }

    fn fork(&self, request: &[u8]) -> Result<Started> {
        let ((their_input, input), (output, their_output), error) = (pipe()?, pipe()?, rustix::stdio::stderr());
        let given = [their_input.as_fd(), their_output.as_fd(), error];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&given));
        net::sendmsg(&self.link, &[IoSlice::new(request)], &mut control, SendFlags::NOSIGNAL)?;
        let mut answer = [0; 16];
        let (count, _) = net::recv(&self.link, &mut answer, RecvFlags::empty())?;
        let number = std::str::from_utf8(&answer[..count]).ok().and_then(|text| text.parse().ok());
        let Some(pid) = number.and_then(Pid::from_raw) else {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        };
        // The number is this role's until the nursery is told that it has ended.
        let process = Forked { process: pidfd_open(pid, PidfdFlags::empty())?, pid, link: self.link.clone() };
        Ok(Started { input: Box::new(input), output: Box::new(output), process: Box::new(process) })
    }
}

impl Drop for Nursery {
    fn drop(&mut self) {
        if self.owner == std::process::id() {
            self.process.end();
        }
    }
}

struct Forked {
    process: OwnedFd,
    pid: Pid,
    link: Arc<OwnedFd>,
}

impl Running for Forked {
    fn end(&mut self) {
        let _ = pidfd_send_signal(&self.process, Signal::KILL);
        while poll(&mut [PollFd::new(&self.process, PollFlags::IN)], None) == Err(rustix::io::Errno::INTR) {}
        let ended = format!("e{}", self.pid.as_raw_nonzero());
        let _ = net::send(&self.link, ended.as_bytes(), SendFlags::NOSIGNAL);
    }
}

/// What a new process would take over from this thread and process, and a forked one from the nursery: where that differs,
/// the nursery is of another time.
fn likeness() -> Result<Vec<u8>> {
    const LINES: [&[u8]; 9] =
        [b"Umask", b"Uid", b"Gid", b"Groups", b"Cap", b"NoNewPrivs", b"Seccomp", b"Cpus_allowed", b"Mems_allowed"];
    let status = std::fs::read("/proc/thread-self/status")?;
    let lines = status.split(|byte| *byte == b'\n');
    let mut words: Vec<u8> =
        lines.filter(|line| LINES.iter().any(|start| line.starts_with(start))).flatten().copied().collect();
    for name in ["limits", "cgroup"] {
        words.extend(std::fs::read(format!("/proc/thread-self/{name}"))?);
    }
    words.extend(rustix::process::getpriority_process(None)?.to_le_bytes());
    words.extend(std::env::current_dir()?.as_os_str().as_bytes());
    let mut add = |word: &OsStr| {
        words.push(0);
        words.extend(word.as_bytes());
    };
    for (name, value) in std::env::vars_os() {
        add(&name);
        add(&value);
    }
    Ok(words)
}
