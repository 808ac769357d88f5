//! Dense row-major tensors.

/// Why a tensor was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TensorError {
    /// The number of elements is not the product of the shape.
    #[error("shape {shape:?} takes {expected} elements, {got} were given")]
    Length {
        /// The shape asked for.
        shape: Vec<usize>,
        /// Its number of elements.
        expected: usize,
        /// Elements given.
        got: usize,
    },
    /// The number of elements of the shape does not fit in `usize`.
    #[error("shape {0:?} has too many elements")]
    Overflow(Vec<usize>),
}

/// A dense row-major tensor. A shape without axes is a scalar of one element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor<T> {
    shape: Vec<usize>,
    data: Vec<T>,
}

impl<T> Tensor<T> {
    /// A tensor of `shape`; refused unless `data` has exactly its elements.
    pub fn new(shape: Vec<usize>, data: Vec<T>) -> Result<Self, TensorError> {
        check(&shape, data.len())?;
        Ok(Self { shape, data })
    }

    /// Sizes of the axes.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The elements, last axis fastest.
    pub fn data(&self) -> &[T] {
        &self.data
    }

    /// The elements, to be changed in place.
    pub fn data_mut(&mut self) -> &mut [T] {
        &mut self.data
    }

    /// The elements, without the shape.
    pub fn into_data(self) -> Vec<T> {
        self.data
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// Whether an axis has size zero.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// The same elements under another shape of as many elements.
    pub fn reshape(self, shape: Vec<usize>) -> Result<Self, TensorError> {
        Self::new(shape, self.data)
    }

    /// Every element through `f`.
    pub fn map<U>(self, f: impl FnMut(T) -> U) -> Tensor<U> {
        Tensor { shape: self.shape, data: self.data.into_iter().map(f).collect() }
    }
}

impl<T: Clone + Default> Tensor<T> {
    /// A tensor of default elements.
    pub fn zeros(shape: Vec<usize>) -> Result<Self, TensorError> {
        let len = elements(&shape)?;
        Ok(Self { shape, data: vec![T::default(); len] })
    }
}

fn elements(shape: &[usize]) -> Result<usize, TensorError> {
    // A zero anywhere makes the tensor empty, whatever the other axes would overflow to.
    if shape.contains(&0) {
        return Ok(0);
    }
    let product = shape.iter().try_fold(1usize, |n, &axis| n.checked_mul(axis));
    product.ok_or_else(|| TensorError::Overflow(shape.to_vec()))
}

fn check(shape: &[usize], got: usize) -> Result<(), TensorError> {
    let expected = elements(shape)?;
    if expected == got { Ok(()) } else { Err(TensorError::Length { shape: shape.to_vec(), expected, got }) }
}
