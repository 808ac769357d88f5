//! What the plan expects, against what a header claims: compared before anything is allocated.

use std::fmt;

use crate::error::Error;
use crate::header::{FIXED, HASH, Kind, Label, MAGIC, MAX_SECRET, MAX_SUITE, VERSION, malformed, mismatch, plain};
use crate::id::{BatchId, WeightsVersion, hex};
use crate::layout::Layout;

/// What the caller asks for, from the plan. A header that differs is refused.
#[derive(Debug, Clone)]
pub struct Expected {
    /// Dealt or prepared.
    pub kind: Kind,
    /// Name of the suite.
    pub suite: String,
    /// Digest of the plan.
    pub plan_digest: [u8; 32],
    /// 0 or 1.
    pub party: u8,
    /// 32 or 64.
    pub ring_bits: u8,
    /// Sections of a slot.
    pub layout: Layout,
    /// Exact length of the secret part.
    pub secret_len: usize,
    /// The delivery, where it is known beforehand.
    pub batch: Option<BatchId>,
    /// The weights, where they matter.
    pub weights: Option<WeightsVersion>,
    /// Number of slots, where it is known beforehand.
    pub slots: Option<u32>,
}

/// The fixed part of an encoding, well-formed but not yet believed.
pub(crate) struct Prefix {
    label: Label,
    suite_len: usize,
    secret_len: usize,
}

impl Prefix {
    pub(crate) fn parse(b: &[u8; FIXED], from: &str) -> Result<Self, Error> {
        let u32_at = |i: usize| u32::from_le_bytes([b[i], b[i + 1], b[i + 2], b[i + 3]]);
        let bad = |what| Err(malformed(from, what));
        if b[..8] != MAGIC {
            return bad("it does not begin as a material file");
        }
        if u16::from_le_bytes([b[8], b[9]]) != VERSION {
            return bad("its format version is not 1");
        }
        let kind = match b[10] {
            1 => Kind::Dealt,
            2 => Kind::Prepared,
            _ => return bad("its kind is unknown"),
        };
        let (party, ring_bits, suite_len) = (b[11], b[12], usize::from(b[13]));
        let (secret_len, slots) = (usize::from(u16::from_le_bytes([b[14], b[15]])), u32_at(16));
        if party > 1 {
            return bad("its party is neither 0 nor 1");
        }
        if !matches!(ring_bits, 32 | 64) {
            return bad("its ring has neither 32 nor 64 bits");
        }
        if suite_len == 0 || suite_len > MAX_SUITE || secret_len > MAX_SECRET {
            return bad("a length in the header is out of range");
        }
        if slots == 0 {
            return bad("it has no slot");
        }
        let label = Label {
            kind,
            suite: String::new(),
            plan_digest: array(&b[56..88]),
            batch: BatchId(array(&b[24..40])),
            party,
            ring_bits,
            weights: WeightsVersion(array(&b[40..56])),
            slots,
            sections: u32_at(20),
            layout_digest: array(&b[88..120]),
        };
        Ok(Self { label, suite_len, secret_len })
    }

    /// Compares everything that has a fixed place, and the lengths of the rest.
    pub(crate) fn check(&self, expected: &Expected, from: &str) -> Result<(), Error> {
        let label = &self.label;
        let sections = expected.layout.sections().len() as u32;
        same(from, "kind", &expected.kind, &label.kind)?;
        same(from, "party", &expected.party, &label.party)?;
        same(from, "ring", &expected.ring_bits, &label.ring_bits)?;
        same(from, "plan digest", &hex(&expected.plan_digest), &hex(&label.plan_digest))?;
        same(from, "number of sections", &sections, &label.sections)?;
        same(from, "layout digest", &hex(&expected.layout.digest()), &hex(&label.layout_digest))?;
        same(from, "suite name's length", &expected.suite.len(), &self.suite_len)?;
        same(from, "secret part's length", &expected.secret_len, &self.secret_len)?;
        same(from, "batch id", &expected.batch.unwrap_or(label.batch), &label.batch)?;
        same(from, "weights version", &expected.weights.unwrap_or(label.weights), &label.weights)?;
        same(from, "number of slots", &expected.slots.unwrap_or(label.slots), &label.slots)?;
        expected.layout.body_bytes(label.slots).map(|_| ())
    }

    pub(crate) fn header_len(&self) -> usize {
        FIXED + self.suite_len + self.secret_len + HASH
    }

    pub(crate) fn suite_end(&self) -> usize {
        FIXED + self.suite_len
    }

    /// The label, with the suite's name from `bytes`, which begin with the encoding.
    pub(crate) fn label(self, bytes: &[u8], from: &str) -> Result<Label, Error> {
        let suite = bytes.get(FIXED..self.suite_end()).filter(|name| name.iter().copied().all(plain));
        let suite = suite.ok_or_else(|| malformed(from, "its suite's name is not plain text"))?;
        Ok(Label { suite: String::from_utf8_lossy(suite).into_owned(), ..self.label })
    }
}

fn same<T: PartialEq + fmt::Display>(from: &str, field: &'static str, expected: &T, got: &T) -> Result<(), Error> {
    if expected == got { Ok(()) } else { Err(mismatch(from, field, expected, got)) }
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    std::array::from_fn(|i| bytes[i])
}
