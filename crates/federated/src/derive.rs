//! Keys, tags and digests, all by BLAKE3 with a context of their own.

use ariann_prg::Seed;
use serde::Serialize;
use zeroize::{Zeroize, Zeroizing};

/// A key of 32 bytes for one purpose from parts, each preceded by its length.
pub(crate) fn key(context: &str, parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let mut hash = hasher.finalize();
    let key = Zeroizing::new(*hash.as_bytes());
    hash.zeroize();
    hasher.zeroize();
    key
}

/// A seed likewise.
pub(crate) fn seed(context: &str, parts: &[&[u8]]) -> Seed {
    Seed::from_bytes(*key(context, parts).first_chunk().expect("16 of 32 bytes"))
}

/// A public tag of 16 bytes likewise: it tells nothing about parts that cannot be guessed.
pub(crate) fn tag(context: &str, parts: &[&[u8]]) -> [u8; 16] {
    *key(context, parts).first_chunk().expect("16 of 32 bytes")
}

/// The digest of something public, by its canonical bytes.
pub(crate) fn digest(context: &str, of: &impl Serialize) -> [u8; 32] {
    *key(context, &[&canonical(of)])
}

/// The bytes of a message.
pub(crate) fn canonical(of: &impl Serialize) -> Vec<u8> {
    postcard::to_stdvec(of).expect("numbers, arrays and vectors have bytes")
}
