//! Plain loops, compiled for the instructions of the back end in use.

use super::{Kernel, Vector};
use crate::backend::Backend;

/// A loop over public lengths that the compiler turns into vector instructions. `run` is to be `#[inline(always)]`, with
/// all that it calls.
pub trait Loop {
    /// Does the work.
    fn run(self);
}

/// Runs `work`, compiled with the widest vectors of the back end in use.
pub fn accelerate(work: impl Loop) {
    super::run(Backend::active().unwrap_or(Backend::Soft), Call(work));
}

struct Call<L>(L);

impl<L: Loop> Kernel for Call<L> {
    #[inline(always)]
    unsafe fn run<V: Vector, const N: usize>(self) {
        self.0.run();
    }
}
