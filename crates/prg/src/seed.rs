//! Seeds, and where randomness comes from.

use zeroize::ZeroizeOnDrop;

/// The operating system gave no randomness. Nothing secret may be made without it.
#[derive(Debug, thiserror::Error)]
#[error(
    "this machine: the operating system gave no randomness ({0}); nothing was made. Start again once its generator works"
)]
pub struct EntropyError(getrandom::Error);

/// Fills `out` from the operating system's generator, or fails: there is no other source.
pub fn entropy(out: &mut [u8]) -> Result<(), EntropyError> {
    getrandom::fill(out).map_err(EntropyError)
}

/// A secret AES key of 128 bits. Neither copied nor printed, wiped on drop.
///
/// ```compile_fail,E0599
/// let seed = ariann_prg::Seed::from_bytes([7; 16]);
/// let copy = seed.clone();
/// ```
///
/// ```compile_fail,E0277
/// let seed = ariann_prg::Seed::from_bytes([7; 16]);
/// println!("{seed:?}");
/// ```
#[derive(ZeroizeOnDrop)]
pub struct Seed([u8; 16]);

impl Seed {
    /// A fresh seed.
    pub fn from_entropy() -> Result<Seed, EntropyError> {
        let mut seed = Seed([0; 16]);
        entropy(&mut seed.0)?;
        Ok(seed)
    }

    /// The seed with these bytes, as it came from the dealer.
    pub fn from_bytes(bytes: [u8; 16]) -> Seed {
        Seed(bytes)
    }

    /// The bytes, to be sent to the one party that may know them.
    pub fn expose(&self) -> &[u8; 16] {
        &self.0
    }
}
