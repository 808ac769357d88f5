//! What a gate's online half does next.

use crate::GateError;

/// A gate between two messages: as many exchanges as its [`Cost`](crate::Cost) lists, then its result.
pub enum Step<T, S> {
    /// This party's message, and the state that waits for the other's.
    Exchange(Vec<u8>, S),
    /// The result.
    Done(T),
}

/// A step, unless the gate stopped.
pub type Progress<T, S> = Result<Step<T, S>, GateError>;
