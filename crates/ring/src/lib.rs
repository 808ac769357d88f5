//! Elements of Z_2^32 and Z_2^64, fixed point, bit packing, tensors, and the products' SIMD kernels.

pub mod arrange;
pub mod axes;
pub mod bench;
pub mod bilinear;
pub mod element;
pub mod fixed;
pub mod pack;
pub mod product;
pub mod tensor;

pub use arrange::Arrange;
pub use axes::Axes;
pub use bilinear::{Bilinear, LinearShape};
pub use element::Ring;
pub use fixed::{FixedError, decode, encode};
pub use product::conv::{ConvShape, ShapeError, conv2d};
pub use product::kept::PackedWeights;
pub use product::kernel::{Kernel, KernelError};
pub use product::{Matrix, matmul, matmul_add};
pub use tensor::{Tensor, TensorError};
