//! Function secret sharing: half-tree DPF, less-than and equality read from it, unit vectors.
