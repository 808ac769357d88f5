//! What can be wrong with a call.

/// Why a call was refused. Nothing was computed or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FssError {
    /// The domain is outside what a key can have.
    #[error(
        "caller: a domain of {got} bits; trees have 1 to 63, whole vectors 1 to 20, chunks 2 to 35, unit vectors 0 to 7"
    )]
    Domain {
        /// Bits that were asked for.
        got: u32,
    },
    /// A buffer does not fit the number of instances.
    #[error(
        "caller: {what} has {got} bytes where {instances} instances take {expected}; lengths follow from the plan, so the buffer is of another gate or was cut"
    )]
    Length {
        /// The buffer.
        what: &'static str,
        /// Instances, as the points count them.
        instances: usize,
        /// Bytes needed.
        expected: usize,
        /// Bytes given.
        got: usize,
    },
    /// A point is not below 2^n. Which one is not said, since it may be secret.
    #[error("caller: {what} has a value outside its domain of {domain_bits} bits; reduce it to the window first")]
    Outside {
        /// The points.
        what: &'static str,
        /// n.
        domain_bits: u32,
    },
}
