//! Seeds and addresses, AES back ends, the fused tree step, expansion to ring elements, entropy.
