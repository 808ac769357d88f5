//! The half-tree's hash functions under public keys, and its two loops on many instances.

use crate::aes::Schedule;
use crate::backend::{Backend, BackendError};
use crate::kernel::{self, Grow, Hash, Walk};
use crate::seed::{EntropyError, entropy};

/// Instances that the tree loops take at once: four registers of 512 bits or eight of 256. (32 is no faster on the
/// former, since the processor overlaps groups by itself, and costs the latter a second pass over each group.)
pub const LANES: usize = 16;

/// Bytes of one block of every lane.
pub(crate) const ROW: usize = 16 * LANES;

/// K and K' of one batch: drawn by the dealer, public, in the batch's header, for at most 2^30 blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashKeys {
    /// K, for the levels of the tree.
    pub inner: [u8; 16],
    /// K', for the leaves; differs from K.
    pub leaf: [u8; 16],
}

impl HashKeys {
    /// Fresh keys, different from each other.
    pub fn from_entropy() -> Result<HashKeys, EntropyError> {
        let mut keys = HashKeys { inner: [0; 16], leaf: [0; 16] };
        while keys.inner == keys.leaf {
            entropy(&mut keys.inner)?;
            entropy(&mut keys.leaf)?;
        }
        Ok(keys)
    }
}

/// H(x) = AES_K(σ(x)) xor σ(x) with σ(L‖R) = (L xor R)‖L, and H' with K' (Guo et al., EUROCRYPT 2023).
///
/// A block is a little-endian number of 128 bits; L is its high half, the last 8 bytes.
pub struct TreeHash {
    inner: Schedule,
    leaf: Schedule,
    backend: Backend,
}

/// Where a party's walk ended, for every lane.
#[repr(C, align(64))]
pub struct Ends {
    /// In the lowest bit: xor over the levels at which the point goes left of (control bit before xor after). The other bits mean nothing.
    pub turns: [u128; LANES],
    /// The party's XOR share of the leaf vector of 128 bits.
    pub leaves: [u128; LANES],
}

impl Default for Ends {
    fn default() -> Ends {
        Ends { turns: [0; LANES], leaves: [0; LANES] }
    }
}

impl TreeHash {
    /// Expands the keys for the back end in use.
    ///
    /// # Panics
    /// When `ARIANN_AES` forces a back end that this processor lacks: see [`Backend::active`].
    pub fn new(keys: &HashKeys) -> TreeHash {
        Backend::active()
            .and_then(|backend| TreeHash::with_backend(keys, backend))
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// Expands the keys for a named back end.
    pub fn with_backend(keys: &HashKeys, backend: Backend) -> Result<TreeHash, BackendError> {
        if !backend.is_available() {
            return Err(BackendError::Missing(backend));
        }
        Ok(TreeHash { inner: Schedule::new(&keys.inner), leaf: Schedule::new(&keys.leaf), backend })
    }

    /// The back end that does the work.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Replaces every block x by H(x).
    pub fn inner(&self, blocks: &mut [[u8; 16]]) {
        kernel::run(self.backend, Hash { keys: &self.inner, blocks });
    }

    /// Replaces every block x by H'(x).
    pub fn leaf(&self, blocks: &mut [[u8; 16]]) {
        kernel::run(self.backend, Hash { keys: &self.leaf, blocks });
    }

    /// A party's walk along the public `points` of a domain of `domain_bits`, on [`LANES`] instances:
    /// s ← H(s) xor (bit ? s : 0) xor (t ? correction : 0) at every level but the last seven, then the leaf.
    ///
    /// `roots` has a block a lane, whose low bit is replaced by `party` (false: P0); `keys` one row of blocks a level
    /// and one for the leaves.
    ///
    /// # Panics
    /// When `keys` has another length or `domain_bits` is outside 1..=63.
    pub fn walk(
        &self,
        party: bool,
        domain_bits: u32,
        roots: &[u8; 16 * LANES],
        keys: &[u8],
        points: &[u64; LANES],
        ends: &mut Ends,
    ) {
        check(domain_bits, keys.len());
        kernel::run(
            self.backend,
            Walk { inner: &self.inner, leaf: &self.leaf, party, domain_bits, roots, keys, points, ends },
        );
    }

    /// The dealer's walk along the secret `points`: writes the keys that [`TreeHash::walk`] reads. `roots` are P0's and
    /// P1's; their low bits are replaced.
    ///
    /// # Panics
    /// When `keys` has another length or `domain_bits` is outside 1..=63.
    pub fn grow(&self, domain_bits: u32, roots: [&[u8; 16 * LANES]; 2], points: &[u64; LANES], keys: &mut [u8]) {
        check(domain_bits, keys.len());
        kernel::run(self.backend, Grow { inner: &self.inner, leaf: &self.leaf, domain_bits, roots, points, keys });
    }
}

fn check(domain_bits: u32, keys: usize) {
    assert!((1..=63).contains(&domain_bits), "a domain of {domain_bits} bits");
    let rows = domain_bits.saturating_sub(7) as usize + 1;
    assert_eq!(keys, rows * ROW, "bytes of keys for a domain of {domain_bits} bits");
}
