//! Why a role stopped: who is at fault, what happened, what to do.

use std::path::PathBuf;

use ariann_data::DataError;
use ariann_gates::GateError;
use ariann_graph::ImportError;

/// Who is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The one who runs this program: its arguments or configuration.
    Operator,
    /// The other party.
    Peer,
    /// The dealer, or the material it made.
    Dealer,
    /// The model or the data.
    Input,
    /// This machine: its disk, its system.
    Machine,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 5] = [Fault::Operator, Fault::Peer, Fault::Dealer, Fault::Input, Fault::Machine];

    /// The word in messages and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Fault::Operator => "operator",
            Fault::Peer => "peer",
            Fault::Dealer => "dealer",
            Fault::Input => "input",
            Fault::Machine => "machine",
        }
    }
}

/// Why a role stopped.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// A connection.
    #[error(transparent)]
    Net(#[from] ariann_net::NetError),
    /// Material or ledger.
    #[error(transparent)]
    Material(#[from] ariann_material::Error),
    /// The plan file.
    #[error(transparent)]
    Plan(#[from] ariann_plan::PlanFileError),
    /// The job file.
    #[error(transparent)]
    Job(#[from] crate::training::JobError),
    /// A training that does not converge.
    #[error("{0}")]
    Diverged(String),
    /// The model file.
    #[error(transparent)]
    Model(#[from] ariann_graph::ImportError),
    /// The input files.
    #[error(transparent)]
    Data(#[from] ariann_data::DataError),
    /// A message or section of the wrong form.
    #[error("gate {gate} ({name}): {source}")]
    Gate {
        /// Its number.
        gate: u32,
        /// Its name.
        name: String,
        /// What is wrong.
        source: GateError,
    },
    /// The system gave no randomness.
    #[error(transparent)]
    Entropy(#[from] ariann_prg::EntropyError),
    /// The configuration.
    #[error("{0}")]
    Config(String),
    /// The other side refuses, or must be refused.
    #[error("{peer} and this role do not fit: {reason}")]
    Mismatch {
        /// The other side.
        peer: String,
        /// What differs, and what to do.
        reason: String,
    },
    /// An outside client told P0 and P1 different numbers of items.
    #[error(
        "this client asked P0 for {p0} items and P1 for {p1}, and nothing was computed; ask both for as many, with one release of this program"
    )]
    Unequal {
        /// What P0 was told.
        p0: u32,
        /// What P1 was told.
        p1: u32,
    },
    /// The model does not fit the plan.
    #[error("the model does not fit the plan: {0}")]
    ModelPlan(String),
    /// The inputs do not fit the plan.
    #[error("{0}")]
    Input(String),
    /// Layers that cannot be trained, all of them.
    #[error("{0}")]
    Untrainable(String),
    /// No slots are left.
    #[error("{0}")]
    Exhausted(String),
    /// A file of this machine.
    #[error("{what} {path}: {source}; check the path, its permissions and the room on the disk")]
    File {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A role process of a local run failed.
    #[error("{role} stopped: {reason}")]
    Role {
        /// Which.
        role: String,
        /// Its last words.
        reason: String,
        /// Who it says is at fault.
        fault: Fault,
    },
}

impl SessionError {
    /// A failed file operation.
    pub fn file(what: &'static str, path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        SessionError::File { what, path: path.into(), source }
    }

    /// Who is at fault.
    pub fn fault(&self) -> Fault {
        use ariann_net::NetError;
        match self {
            SessionError::Net(NetError::Config(_) | NetError::Identity(_)) => Fault::Operator,
            SessionError::Net(NetError::Local(_)) => Fault::Machine,
            SessionError::Net(_) | SessionError::Mismatch { .. } => Fault::Peer,
            SessionError::Role { fault, .. } => *fault,
            SessionError::Material(ariann_material::Error::Io { source, .. }) => of_file(source),
            SessionError::Material(error) => match error.fault() {
                ariann_material::Fault::Dealer => Fault::Dealer,
                ariann_material::Fault::Operator => Fault::Operator,
                _ => Fault::Machine,
            },
            SessionError::Gate { source: GateError::Message(_), .. } => Fault::Peer,
            SessionError::Gate { source: GateError::Sections(_), .. } => Fault::Machine,
            SessionError::Gate { .. } => Fault::Dealer,
            SessionError::Plan(_)
            | SessionError::Job(_)
            | SessionError::Config(_)
            | SessionError::Unequal { .. }
            | SessionError::Exhausted(_)
            | SessionError::Diverged(_) => Fault::Operator,
            SessionError::Model(ImportError::Read { source, .. })
            | SessionError::Data(DataError::Read { source, .. })
            | SessionError::File { source, .. } => of_file(source),
            SessionError::Data(DataError::Preprocess { .. }) => Fault::Operator,
            SessionError::Model(_)
            | SessionError::Data(_)
            | SessionError::Input(_)
            | SessionError::Untrainable(_)
            | SessionError::ModelPlan(_) => Fault::Input,
            SessionError::Entropy(_) => Fault::Machine,
        }
    }

    /// Whether it lists layers of a model that cannot be computed privately.
    pub fn is_unsupported(&self) -> bool {
        matches!(self, SessionError::Untrainable(_) | SessionError::Model(ImportError::Unsupported { .. }))
    }
}

/// Who is at fault when the system refuses a file: who named it, or the disk.
fn of_file(source: &std::io::Error) -> Fault {
    use std::io::ErrorKind::{AlreadyExists, InvalidInput, IsADirectory, NotADirectory, NotFound, PermissionDenied};
    match source.kind() {
        AlreadyExists | InvalidInput | IsADirectory | NotADirectory | NotFound | PermissionDenied => Fault::Operator,
        _ => Fault::Machine,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_path_is_the_operators_and_a_full_disk_the_machines() {
        let fault = |kind: std::io::ErrorKind| SessionError::file("reading", "a", kind.into()).fault();
        assert_eq!(fault(std::io::ErrorKind::NotFound), Fault::Operator);
        assert_eq!(fault(std::io::ErrorKind::StorageFull), Fault::Machine);
        let model = ImportError::Read { path: "m".into(), source: std::io::ErrorKind::NotFound.into() };
        assert_eq!(SessionError::Model(model).fault(), Fault::Operator);
        let decode = ImportError::Decode { reason: "cut".into() };
        assert_eq!(SessionError::Model(decode).fault(), Fault::Input);
    }
}
