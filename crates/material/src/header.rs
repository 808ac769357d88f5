//! What a batch says of itself: [`Label`] in public, [`Secret`] for its party, both under one hash.

use std::fmt;

use zeroize::Zeroizing;

use crate::error::Error;
use crate::expected::{Expected, Prefix};
use crate::id::{BatchId, WeightsVersion};
use crate::layout::Layout;

pub(crate) const MAGIC: [u8; 8] = *b"ARIANNmt";
pub(crate) const VERSION: u16 = 1;
/// Bytes before the suite's name.
pub(crate) const FIXED: usize = 120;
pub(crate) const HASH: usize = 32;
/// Longest name of a suite.
pub const MAX_SUITE: usize = 64;
/// Longest secret part.
pub const MAX_SECRET: usize = 4096;

/// Dealt by the dealer, or prepared by the party itself from dealt material.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One-time material as it came from the dealer.
    Dealt,
    /// Products that do not depend on an input, computed when the material arrived.
    Prepared,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Dealt => "dealt",
            Kind::Prepared => "prepared",
        })
    }
}

/// The public part of a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// Dealt or prepared.
    pub kind: Kind,
    /// Which generator and key format made it, such as `half-tree-aes128-v1`.
    pub suite: String,
    /// The plan that it was made for.
    pub plan_digest: [u8; 32],
    /// The delivery.
    pub batch: BatchId,
    /// 0 or 1.
    pub party: u8,
    /// 32 or 64.
    pub ring_bits: u8,
    /// The weights that it fits.
    pub weights: WeightsVersion,
    /// How many slots, at least 1.
    pub slots: u32,
    /// Number of sections of a slot.
    pub sections: u32,
    /// [`Layout::digest`].
    pub layout_digest: [u8; 32],
}

/// Seeds of a batch: bytes that this crate does not look into. Wiped on drop.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes over; at most [`MAX_SECRET`].
    pub fn new(bytes: Zeroizing<Vec<u8>>) -> Result<Self, Error> {
        if bytes.len() > MAX_SECRET {
            return Err(Error::Usage(format!("a secret part of {} bytes; at most {MAX_SECRET}", bytes.len())));
        }
        Ok(Self(bytes))
    }

    /// The bytes.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

/// Header of a batch. Holds seeds: neither Clone nor Debug.
pub struct Header {
    label: Label,
    secret: Secret,
    hash: [u8; 32],
}

impl Header {
    /// Joins label and seeds. `label.sections` and `label.layout_digest` are taken from `layout`.
    pub fn new(mut label: Label, layout: &Layout, secret: Secret) -> Result<Self, Error> {
        label.sections = layout.sections().len() as u32;
        label.layout_digest = layout.digest();
        if label.suite.is_empty() || label.suite.len() > MAX_SUITE || !label.suite.bytes().all(plain) {
            return Err(Error::Usage(format!("suite name {:?}", label.suite)));
        }
        if label.party > 1 || !matches!(label.ring_bits, 32 | 64) || label.slots == 0 {
            return Err(Error::Usage("party is 0 or 1, ring 32 or 64 bits, slots at least 1".into()));
        }
        layout.body_bytes(label.slots)?;
        let mut header = Self { label, secret, hash: [0; 32] };
        let bytes = header.encode();
        header.hash.copy_from_slice(&bytes[bytes.len() - HASH..]);
        Ok(header)
    }

    /// The public part.
    pub fn label(&self) -> &Label {
        &self.label
    }

    /// The seeds.
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// Hash of the whole header; every tag is bound to it.
    pub fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    /// Length of the encoding.
    pub fn encoded_len(&self) -> usize {
        FIXED + self.label.suite.len() + self.secret.0.len() + HASH
    }

    /// The canonical encoding.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let Label { kind, suite, plan_digest, batch, party, ring_bits, weights, slots, sections, layout_digest } =
            &self.label;
        let mut out = Zeroizing::new(Vec::with_capacity(self.encoded_len()));
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[kind_byte(*kind), *party, *ring_bits, suite.len() as u8]);
        out.extend_from_slice(&(self.secret.0.len() as u16).to_le_bytes());
        out.extend_from_slice(&slots.to_le_bytes());
        out.extend_from_slice(&sections.to_le_bytes());
        out.extend_from_slice(&batch.0);
        out.extend_from_slice(&weights.0);
        out.extend_from_slice(plan_digest);
        out.extend_from_slice(layout_digest);
        out.extend_from_slice(suite.as_bytes());
        out.extend_from_slice(&self.secret.0);
        let hash = blake3::hash(&out);
        out.extend_from_slice(hash.as_bytes());
        out
    }

    /// Reads an encoding that must be of `expected` and end with the last byte. Never panics.
    pub fn decode(bytes: &[u8], expected: &Expected, from: &str) -> Result<Self, Error> {
        let fixed = bytes.first_chunk::<FIXED>().ok_or_else(|| malformed(from, "the header is cut"))?;
        let prefix = Prefix::parse(fixed, from)?;
        prefix.check(expected, from)?;
        if bytes.len() != prefix.header_len() {
            return Err(malformed(from, "the header has another length than it says"));
        }
        let label = prefix.label(bytes, from)?;
        if label.suite != expected.suite {
            return Err(mismatch(from, "suite", &expected.suite, &label.suite));
        }
        let (covered, hash) = bytes.split_at(bytes.len() - HASH);
        if blake3::hash(covered).as_bytes() != hash {
            return Err(malformed(from, "the header's hash is wrong"));
        }
        let secret = Secret(Zeroizing::new(covered[FIXED + label.suite.len()..].to_vec()));
        let mut header = Self { label, secret, hash: [0; 32] };
        header.hash.copy_from_slice(hash);
        Ok(header)
    }
}

pub(crate) fn mismatch(from: &str, field: &'static str, expected: impl fmt::Display, got: impl fmt::Display) -> Error {
    Error::Mismatch { from: from.into(), field, expected: expected.to_string(), got: got.to_string() }
}

pub(crate) fn malformed(from: &str, what: &'static str) -> Error {
    Error::Malformed { from: from.into(), what }
}

fn kind_byte(kind: Kind) -> u8 {
    match kind {
        Kind::Dealt => 1,
        Kind::Prepared => 2,
    }
}

pub(crate) fn plain(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'
}
