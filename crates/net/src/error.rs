//! Errors, split by who is at fault.

use std::path::PathBuf;
use std::time::Duration;

use crate::Fingerprint;

/// Everything that can go wrong between two ends of a connection.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NetError {
    /// The peer sent something that the plan or the framing does not allow.
    #[error("{peer} is at fault (waiting for {peer}: {waiting_for}): {what}")]
    PeerMisbehaved {
        /// Name of the peer.
        peer: String,
        /// What was awaited.
        waiting_for: String,
        /// What came instead.
        what: Misbehaviour,
    },
    /// The peer ended, was cut off, or fell silent.
    #[error("waiting for {peer}: {waiting_for} ({}): {how}; look at the log of {peer}, start it again and run again", seconds(.waited))]
    PeerGone {
        /// Name of the peer.
        peer: String,
        /// What was awaited.
        waiting_for: String,
        /// How long it was awaited.
        waited: Duration,
        /// How it went.
        how: Gone,
    },
    /// An identity that is missing, expired, readable by others or not pinned.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// An address or a limit that cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// This machine: disk, sockets, or a call out of order.
    #[error(transparent)]
    Local(#[from] LocalError),
}

/// What a peer sent that it must not send.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misbehaviour {
    /// Another step of the plan.
    #[error("it sent step {got}, the plan has step {expected} here; both ends need the same plan and version")]
    Step {
        /// Step of the plan.
        expected: u32,
        /// Step in the frame.
        got: u32,
    },
    /// A frame that was lost, repeated or reordered.
    #[error("it sent frame number {got}, expected {expected}")]
    Sequence {
        /// Number expected.
        expected: u64,
        /// Number in the frame.
        got: u64,
    },
    /// Another length than the plan's.
    #[error("it sent a message of {got} bytes, the plan has {expected}; both ends need the same plan and version")]
    Length {
        /// Length in the plan.
        expected: u64,
        /// Length in the frame.
        got: u64,
    },
    /// A control message longer than is sensible.
    #[error("it sent a control message of {got} bytes, at most {limit} are accepted")]
    TooLong {
        /// Limit of the receiver.
        limit: u64,
        /// Length in the frame.
        got: u64,
    },
    /// Another kind of frame.
    #[error("it sent a {got} frame, expected a {expected} frame; both ends need the same version")]
    Kind {
        /// Kind expected.
        expected: &'static str,
        /// Kind that came.
        got: &'static str,
    },
    /// Bytes that are no frame of this protocol.
    #[error("it sent bytes that are no frame (kind {0:#010x}); is it an ariann program of this version?")]
    NotAFrame(u32),
    /// Control message that does not decode, or not to the same bytes.
    #[error("its control message is invalid: {0}; both ends need the same version")]
    Control(String),
    /// TLS failed; a modified or foreign byte stream.
    #[error("TLS failed: {0}; the bytes were altered on the way, or the other end is not an ariann program")]
    Tls(String),
}

/// How a peer was lost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Gone {
    /// The connection was closed without a farewell: the process ended or was killed.
    #[error("the connection was closed without a farewell (the process ended or was killed)")]
    Died,
    /// Reset or another error of the connection.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// The peer said farewell and left.
    #[error("it ended the session")]
    Closed,
    /// No byte for the silence deadline.
    #[error("no sign of life for {}", seconds(.0))]
    Silent(Duration),
    /// Bytes trickle in, slower than the message may take.
    #[error("only {got} of {expected} bytes came within {}", seconds(.within))]
    Slow {
        /// Bytes of the frame that came.
        got: u64,
        /// Bytes of the frame.
        expected: u64,
        /// Time allowed for them.
        within: Duration,
    },
    /// The peer lives but does not deliver.
    #[error("it is alive but did not go on for {}", seconds(.0))]
    Stalled(Duration),
    /// No connection within the deadline.
    #[error("no connection; {0}")]
    NotReached(String),
}

/// Errors about identities. Each says what to do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum IdentityError {
    /// The other end showed an identity that is not pinned.
    #[error("{peer} showed the identity {got}, but pinned is {}; if {got} is right, put it into the configuration, otherwise somebody else answers at this address", list(.pinned))]
    NotPinned {
        /// Name of the peer, or its address.
        peer: String,
        /// What it showed.
        got: Fingerprint,
        /// What is accepted.
        pinned: Vec<Fingerprint>,
    },
    /// The pinned peer's certificate is not valid now.
    #[error(
        "the identity {fingerprint} of {peer} {when}; check the clocks of both machines, else make a new one there (`ariann identity new`) and pin it here"
    )]
    PeerExpired {
        /// Name of the peer.
        peer: String,
        /// Its fingerprint.
        fingerprint: Fingerprint,
        /// Since or from when.
        when: String,
    },
    /// The peer refused our identity.
    #[error(
        "{peer} refused our identity {ours} ({alert}); pin {ours} in the configuration of {peer}, or check that it has not expired"
    )]
    Refused {
        /// Name of the peer.
        peer: String,
        /// Our fingerprint.
        ours: Fingerprint,
        /// What TLS said.
        alert: String,
    },
    /// Our own certificate is not valid now.
    #[error(
        "the identity {path} {when}; check the clock, else make a new one with `ariann identity new` and pin its fingerprint at the peers"
    )]
    Expired {
        /// Certificate file.
        path: PathBuf,
        /// Since or from when.
        when: String,
    },
    /// Key file that others can read.
    #[error(
        "the key {path} can be read by others (mode {mode:04o}); run `chmod 600 {path}`, and make a new identity if somebody may have read it"
    )]
    Permissions {
        /// Key file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A file is there already and is never overwritten.
    #[error("{0} exists and is not overwritten; choose another name or move it away")]
    Exists(PathBuf),
    /// A file that is no key or certificate of ours.
    #[error("{path} cannot be used: {reason}; make a new identity with `ariann identity new`")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A name that is no plain file name.
    #[error("'{0}' cannot be the name of an identity; use letters, digits, '-' and '_'")]
    Name(String),
    /// A fingerprint that does not parse.
    #[error(
        "'{text}' is no fingerprint: {reason}; it looks like ariann:0123abcd-... and is printed by `ariann identity new`"
    )]
    Fingerprint {
        /// What was given.
        text: String,
        /// Why not.
        reason: String,
    },
}

/// Errors of configuration.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConfigError {
    /// Plain TCP to or from another machine.
    #[error(
        "plain TCP is for addresses of this machine only (127.0.0.0/8, ::1), {0} is not; give both ends an identity to use TLS"
    )]
    PlainOffLoopback(String),
    /// A shape of no known name.
    #[error("there is no link called '{0}': give loopback, lan or wan")]
    Shape(String),
    /// Address that does not resolve.
    #[error("the address '{addr}' cannot be used: {reason}; write HOST:PORT")]
    Address {
        /// As given.
        addr: String,
        /// Why not.
        reason: String,
    },
    /// Address that cannot be bound.
    #[error("cannot listen at {addr}: {reason}; is another process there?")]
    Bind {
        /// As given.
        addr: String,
        /// Why not.
        reason: String,
    },
    /// No peer may connect.
    #[error("no peer is pinned; add the fingerprint of each peer that may connect")]
    NoPins,
}

/// Errors of this machine or this program.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LocalError {
    /// Disk.
    #[error("cannot {action} {path}: {reason}")]
    Disk {
        /// Verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Sockets, threads, the TLS library.
    #[error("cannot {action}: {reason}")]
    System {
        /// Verb.
        action: &'static str,
        /// Why.
        reason: String,
    },
    /// A message that was sent or taken in part only.
    #[error("a message was left unfinished: the connection to {peer} cannot go on; start both ends again")]
    Unfinished {
        /// Name of the peer.
        peer: String,
    },
}

pub(crate) fn disk(action: &'static str, path: &std::path::Path, error: &std::io::Error) -> NetError {
    let (path, reason) = (path.to_path_buf(), error.to_string());
    LocalError::Disk { action, path, reason }.into()
}

pub(crate) fn system(action: &'static str, error: impl ToString) -> NetError {
    LocalError::System { action, reason: error.to_string() }.into()
}

fn seconds(time: &Duration) -> String {
    match time.as_secs_f64() {
        s if s < 9.95 => format!("{s:.1} s"),
        s => format!("{s:.0} s"),
    }
}

fn list(pinned: &[Fingerprint]) -> String {
    let texts: Vec<String> = pinned.iter().map(ToString::to_string).collect();
    texts.join(" or ")
}
