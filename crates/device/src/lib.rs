//! The seam for accelerators: a trait of bulk kernels over device buffers, and its CPU implementation.
