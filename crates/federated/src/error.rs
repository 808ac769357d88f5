//! Errors: who is at fault, what happened, what to do.

use std::path::{Path, PathBuf};

use ariann_net::{Fingerprint, NetError};
use ariann_prg::EntropyError;

/// Whose message was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// The server.
    Server,
    /// The owner with this number.
    Owner(u16),
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Who::Server => f.write_str("the server"),
            Who::Owner(number) => write!(f, "owner {number}"),
        }
    }
}

/// A message that was refused. Whoever refused it stands where it stood; the round goes on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{who} is refused: {why}")]
pub struct Refusal {
    /// Who is at fault, as far as the receiver can tell.
    pub who: Who,
    /// What is wrong.
    pub why: Why,
}

/// Why a message was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// Bytes that are no such message.
    #[error("its {what} is malformed ({reason}); both ends need the same version")]
    Malformed {
        /// Kind of message.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Another training, or another list of owners.
    #[error(
        "its message belongs to another training or another roster; compare the configurations of server and owners"
    )]
    Training,
    /// Another round.
    #[error("its message is of round {got}, this is round {expected}")]
    Round {
        /// The round that runs.
        expected: u64,
        /// The round of the message.
        got: u64,
    },
    /// A number that the roster does not have.
    #[error("the roster has no owner {0}")]
    NotAMember(u16),
    /// A message in the name of somebody else.
    #[error("it sent a message in the name of owner {0}")]
    Sender(u16),
    /// An owner that the cohort does not have.
    #[error("owner {0} is not among those whom the round counts with")]
    NotInCohort(u16),
    /// A certificate that is not the pinned one, or cannot be used.
    #[error(
        "its certificate {got} is not the pinned {pinned}; if it is right, pin it, otherwise somebody poses as this owner"
    )]
    NotPinned {
        /// What the certificate's fingerprint is.
        got: Fingerprint,
        /// What is pinned.
        pinned: Fingerprint,
    },
    /// A certificate that cannot be used.
    #[error("its certificate cannot be used: {0}")]
    Certificate(String),
    /// No certificate yet, so nothing can be verified.
    #[error("its certificate is not known yet; it has to come before the first message")]
    NoCertificate,
    /// A signature that is not of the pinned identity.
    #[error(
        "the signature under its {0} is not that of the pinned identity: a key was replaced, or it is of another round"
    )]
    Signature(&'static str),
    /// A public key that gives everybody the same secret.
    #[error("its public key is of low order")]
    WeakKey,
    /// Comes after its phase.
    #[error("its {0} came too late, the round has gone on without it")]
    Late(&'static str),
    /// Comes before its phase.
    #[error("its {0} came before its turn")]
    Early(&'static str),
    /// Sent twice, and not the same.
    #[error("it sent a second {0}, different from the first")]
    Double(&'static str),
    /// A row count that cannot be.
    #[error("it claims {got} rows, the training allows 1 to {most}")]
    Rows {
        /// Claimed.
        got: u64,
        /// Most.
        most: u64,
    },
    /// Rounds that it cannot have released shares in.
    #[error("its list of rounds that have no record is out of order, too long, or names rounds that have not been")]
    Lost,
    /// Another group key than the others'.
    #[error("it holds another group key than the others; it has to ask for the current one")]
    OtherGroup,
    /// A round that was masked with another group key than the one at hand.
    #[error(
        "round {round} was masked with another group key {epoch} than the one in this owner's book; if its state folder is an old \
         one, start with an empty one: it then asks the other owners for their key"
    )]
    OtherKey {
        /// Its number.
        epoch: u32,
        /// The round.
        round: u64,
    },
    /// Another list of rounds.
    #[error("it stands at another list of rounds; it has to catch up, or the server showed two lists")]
    OtherHistory,
    /// Somebody is missing in a list.
    #[error("its {what} lacks owner {owner}")]
    Missing {
        /// Kind of message.
        what: &'static str,
        /// Who is missing.
        owner: u16,
    },
    /// A list that is not strictly ascending.
    #[error("its {what} has owner {owner} twice or out of order")]
    Order {
        /// Kind of message.
        what: &'static str,
        /// Where the order breaks.
        owner: u16,
    },
    /// Fewer than the threshold.
    #[error("its {what} has {have} owners, the threshold is {need}")]
    BelowThreshold {
        /// Kind of message.
        what: &'static str,
        /// Owners in it.
        have: usize,
        /// The threshold.
        need: usize,
    },
    /// A list of survivors without this owner: nothing of it is counted, and it releases nothing.
    #[error(
        "its list of survivors does not count this owner, whose update came too late; it takes part in the next round"
    )]
    NotCounted,
    /// Two lists of survivors.
    #[error("it showed two lists of survivors (owner {signer} signed another one): nothing is released")]
    TwoLists {
        /// Who holds the other list.
        signer: u16,
    },
    /// Asked for both secrets of one owner.
    #[error("it asks for the self mask and the mask key of owner {of}: one of them is released, never both")]
    NeverBoth {
        /// Whose secrets.
        of: u16,
    },
    /// Another list than the server's.
    #[error("it signed another list of survivors than the server's")]
    OtherList,
    /// Another length than the training's.
    #[error("its update has {got} bytes, the training has {expected}")]
    Length {
        /// Bytes.
        expected: u64,
        /// Bytes that came.
        got: u64,
    },
    /// Another ring than the training's.
    #[error("its update is in ring {got}, the training's is {expected}")]
    Ring {
        /// The training's.
        expected: u32,
        /// The message's.
        got: u32,
    },
    /// An update that was damaged on its way.
    #[error("its update does not match its digest: it was damaged or cut off")]
    Digest,
    /// A sealed box that does not open.
    #[error("what owner {from} sealed for this owner does not open: {from} or the server that relayed it is at fault")]
    Sealed {
        /// Who sealed it.
        from: u16,
    },
    /// A share that is not the one that was dealt.
    #[error("its share of owner {of}'s secret is not the one that was dealt")]
    Share {
        /// Whose secret.
        of: u16,
    },
    /// Boxes that so many receivers cannot open that its secrets cannot be had.
    #[error(
        "{closed} owners cannot open what it sealed for them, so too few have shares of its secrets; if it happens again, take it out of \
         the roster"
    )]
    Boxes {
        /// How many say so: more than may be at fault themselves.
        closed: usize,
    },
    /// Shares that do not give the secret that was announced.
    #[error("the shares that it dealt do not give the secret that it announced; take it out of the roster")]
    Secret,
    /// A record of owners that are not known.
    #[error(
        "its record of round {0} is of owners that the federation names neither as the present nor as former ones; all roles need one \
         file, with all `former` owners"
    )]
    Unknown(u64),
    /// A record with another list of survivors than this owner signed.
    #[error("its list of the survivors of round {0} is not the one that this owner signed: it is not followed")]
    OtherSigned(u64),
    /// Asked too often for the accuracy.
    #[error(
        "it asks for the accuracy after round {round} again, which was revealed or begun {times} times: no more is told of this model"
    )]
    Tested {
        /// The last round in the model.
        round: u64,
        /// How often.
        times: u32,
    },
    /// A second end of the training.
    #[error("it asks for a second end of the training: this owner has signed that it ended with round {0}")]
    Closed(u64),
    /// Records that do not follow each other.
    #[error("its list of rounds does not follow what this owner has applied (at round {0})")]
    Records(u64),
}

/// What can go wrong in a federated training.
#[derive(Debug, thiserror::Error)]
pub enum FederatedError {
    /// A message was refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Too few owners are left: the round ends without a result.
    #[error(
        "round {round} ends without a result: {have} owners are left in the phase of {phase}, the threshold is {need}; start the next round"
    )]
    BelowThreshold {
        /// The round.
        round: u64,
        /// Its phase.
        phase: &'static str,
        /// Owners left.
        have: usize,
        /// The threshold.
        need: usize,
    },
    /// Too few shares of one owner's secret, though enough owners are there.
    #[error(
        "round {round} ends without a result: {have} owners released a share of owner {of}'s secret, the threshold is {need}; {closed} say \
         that they could not open what it had sealed for them, others were cut off. Start the next round"
    )]
    Unshared {
        /// The round.
        round: u64,
        /// Whose secret.
        of: u16,
        /// Shares of it.
        have: usize,
        /// The threshold.
        need: usize,
        /// Owners that have none.
        closed: usize,
    },
    /// A call that does not fit the state.
    #[error("{0}")]
    Order(&'static str),
    /// Configuration that cannot be used.
    #[error("the configuration of the federated training: {0}")]
    Config(String),
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// An identity that cannot be used.
    #[error(transparent)]
    Identity(#[from] NetError),
    /// The disk.
    #[error("this machine: {action} {path}: {source}; nothing that depends on it was sent")]
    Disk {
        /// What was done.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file that is damaged or not ours.
    #[error("the file {path}: {reason}; take it away, or put the right one there")]
    File {
        /// Where.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl FederatedError {
    /// The refusal, if it is one.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            FederatedError::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    pub(crate) fn disk(action: &'static str, path: &Path) -> impl Fn(std::io::Error) -> FederatedError {
        move |source| FederatedError::Disk { action, path: path.into(), source }
    }

    pub(crate) fn file(path: &Path, reason: impl Into<String>) -> FederatedError {
        FederatedError::File { path: path.into(), reason: reason.into() }
    }
}

/// A refusal as an error.
pub(crate) fn refuse(who: Who, why: Why) -> FederatedError {
    Refusal { who, why }.into()
}
