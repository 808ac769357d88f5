//! What ends a role, in the words of a session.

use ariann_session::SessionError;

use crate::{FederatedError, Who};

impl From<FederatedError> for SessionError {
    fn from(error: FederatedError) -> SessionError {
        match error {
            FederatedError::Refused(refusal) => {
                let peer = match refusal.who {
                    Who::Server => "the server".to_string(),
                    Who::Owner(number) => format!("owner {number}"),
                };
                SessionError::Mismatch { peer, reason: refusal.why.to_string() }
            }
            FederatedError::Identity(error) => error.into(),
            FederatedError::Entropy(error) => error.into(),
            FederatedError::Disk { action, path, source } => SessionError::file(action, path, source),
            error @ (FederatedError::BelowThreshold { .. }
            | FederatedError::Unshared { .. }
            | FederatedError::Order(_)
            | FederatedError::Config(_)
            | FederatedError::File { .. }) => SessionError::Config(error.to_string()),
        }
    }
}
