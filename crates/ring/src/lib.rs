//! Elements of Z_2^32 and Z_2^64, fixed point, bit packing, tensors, and the products' SIMD kernels.

pub mod element;
pub mod pack;

pub use element::Ring;
