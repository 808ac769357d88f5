//! Weights packed once, for repeated products.

use super::conv::{ConvShape, conv2d_rows};
use super::kernel::{Kernel, KernelError};
use super::layout::Layout;
use super::micro::Line;
use super::{Matrix, direct, matmul_with};
use crate::Ring;

/// The weights of a dense layer or of a convolution, in the form that the kernel multiplies fastest.
///
/// They take as many bytes as the weights, and a little for padding. Products are those of [`matmul`](crate::matmul) and [`conv2d`](crate::conv2d), bit for bit.
pub struct PackedWeights<R> {
    kernel: Kernel,
    /// Of a dense layer: a convolution of one place.
    shape: ConvShape,
    store: Store<R>,
}

enum Store<R> {
    /// As they came.
    Rows(Vec<R>),
    /// Panels of each group, for a kernel that has its own format.
    Panels(Box<Layout>, Vec<Vec<Line>>),
}

impl<R: Ring> PackedWeights<R> {
    /// The weights of a dense layer, outputs x inputs.
    ///
    /// # Panics
    /// If a size is zero or does not fit the number of weights, or if a kernel forced by `ARIANN_PRODUCTS` does not exist here.
    pub fn dense(inputs: usize, outputs: usize, weights: &[R]) -> Self {
        Self::dense_with(Kernel::must(), inputs, outputs, weights)
    }

    /// The weights of a convolution, O x C/g x kh x kw.
    ///
    /// # Panics
    /// If the shape is not [valid](ConvShape::validate) or does not fit the number of weights, or if a kernel forced by `ARIANN_PRODUCTS` does not exist here.
    pub fn conv(shape: &ConvShape, weights: &[R]) -> Self {
        Self::conv_with(Kernel::must(), shape, weights)
    }

    /// [`Self::dense`] for the kernel named.
    ///
    /// # Panics
    /// As there, and if the kernel is not [available](Kernel::is_available).
    pub fn dense_with(kernel: Kernel, inputs: usize, outputs: usize, weights: &[R]) -> Self {
        let shape = ConvShape {
            in_channels: inputs,
            in_height: 1,
            in_width: 1,
            out_channels: outputs,
            kernel: [1; 2],
            stride: [1; 2],
            pads: [0; 4],
            dilation: [1; 2],
            groups: 1,
        };
        Self::conv_with(kernel, &shape, weights)
    }

    /// [`Self::conv`] for the kernel named.
    ///
    /// # Panics
    /// As there, and if the kernel is not [available](Kernel::is_available).
    pub fn conv_with(kernel: Kernel, shape: &ConvShape, weights: &[R]) -> Self {
        shape.validate().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(weights.len(), shape.weight_len(), "elements of the weights");
        assert!(kernel.is_available(), "{}", KernelError::Missing(kernel));
        let layout = layout(kernel, shape);
        let store = match layout {
            None => Store::Rows(weights.to_vec()),
            Some(layout) => {
                let groups = weights.chunks_exact(weights.len() / shape.groups);
                let panels = groups.map(|weights| R::keep(&layout, weights)).collect();
                Store::Panels(Box::new(layout), panels)
            }
        };
        Self { kernel, shape: shape.clone(), store }
    }

    /// The convolution that they belong to; a dense layer is one of a single place.
    pub fn shape(&self) -> &ConvShape {
        &self.shape
    }

    /// Bytes that they take.
    pub fn bytes(&self) -> usize {
        match &self.store {
            Store::Rows(rows) => size_of_val(rows.as_slice()),
            Store::Panels(_, panels) => panels.iter().map(|panels| size_of_val(panels.as_slice())).sum(),
        }
    }

    /// The product with `items` inputs: `x` is items x C x H x W (items x inputs of a dense layer), `out` items x O x Ho x Wo (items x outputs) and is overwritten.
    ///
    /// # Panics
    /// If a length does not fit.
    pub fn product(&self, items: usize, x: &[R], out: &mut [R]) {
        let s = &self.shape;
        assert_eq!(Some(x.len()), s.in_len().checked_mul(items), "elements of the input");
        assert_eq!(Some(out.len()), s.out_len().checked_mul(items), "elements of the result");
        match &self.store {
            Store::Panels(layout, panels) => layout.product(items, panels, x, out),
            Store::Rows(weights) if s.groups == 1 && s.pads == [0; 4] && s.kernel == [s.in_height, s.in_width] => {
                // One place that sees all of the input: a dense layer.
                let weights = Matrix::new(weights, s.out_channels, s.in_len()).transposed();
                matmul_with(self.kernel, Matrix::new(x, items, s.in_len()), weights, out, false);
            }
            Store::Rows(weights) => conv2d_rows(self.kernel, s, items, weights, x, out),
        }
    }
}

/// Whether an element of the input meets so few weights that to lay the input out costs more than it gains.
fn narrow(s: &ConvShape) -> bool {
    s.kernel == [1, 1] && s.in_len() > s.in_channels && s.out_channels / s.groups <= 64
}

/// How the kernel lays a convolution out, if it does.
fn layout(kernel: Kernel, shape: &ConvShape) -> Option<Layout> {
    let rows = kernel != Kernel::Amx || direct::takes(shape) || narrow(shape);
    if rows { None } else { Layout::new(shape) }
}

/// Packs the weights and multiplies, if that is faster; false if not.
pub fn at_once<R: Ring>(
    kernel: Kernel,
    shape: &ConvShape,
    items: usize,
    weights: &[R],
    x: &[R],
    out: &mut [R],
) -> bool {
    let Some(layout) = layout(kernel, shape) else {
        return false;
    };
    // To pack a weight takes as long as its product at some 300 places; a product of rows takes 10/7 of one with packed weights, and reads those that meet nothing too.
    let (all, used) = (shape.weight_len() / shape.out_channels, layout.used());
    let places = shape.out_height() * shape.out_width() * items;
    let worth = places.saturating_mul(10 * all - 7 * used) >= 3000 * used;
    if worth {
        PackedWeights::conv_with(kernel, shape, weights).product(items, x, out);
    }
    worth
}
