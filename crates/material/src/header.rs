//! What a batch says of itself: [`Label`] in public, [`Secret`] for its party, both under one hash.

use std::fmt;

use zeroize::Zeroizing;

use crate::error::Error;
use crate::layout::Layout;

const MAGIC: [u8; 8] = *b"ARIANNmt";
const VERSION: u16 = 1;
/// Bytes before the suite's name.
pub(crate) const FIXED: usize = 120;
const HASH: usize = 32;
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

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 16]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl std::str::FromStr for $name {
            type Err = Error;

            /// 32 lower-case hexadecimal digits.
            fn from_str(text: &str) -> Result<Self, Error> {
                unhex(text).map($name).ok_or_else(|| Error::Usage(format!("{text:?} is not 32 hexadecimal digits")))
            }
        }
    };
}

identifier!(
    /// Names one delivery; equal for both parties, drawn at random by the dealer.
    BatchId
);
identifier!(
    /// Names the weights that a masked Ŵ and its weights seed belong to.
    WeightsVersion
);

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
            return Err(Error::Usage(format!(
                "a secret part of {} bytes; at most {MAX_SECRET}",
                bytes.len()
            )));
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

impl fmt::Debug for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Layout({} sections, {} bytes a slot)",
            self.sections().len(),
            self.slot_bytes()
        )
    }
}

impl Header {
    /// Joins label and seeds. `label.sections` and `label.layout_digest` are taken from `layout`.
    pub fn new(mut label: Label, layout: &Layout, secret: Secret) -> Result<Self, Error> {
        label.sections = layout.sections().len() as u32;
        label.layout_digest = layout.digest();
        if label.suite.is_empty()
            || label.suite.len() > MAX_SUITE
            || !label.suite.bytes().all(plain)
        {
            return Err(Error::Usage(format!("suite name {:?}", label.suite)));
        }
        if label.party > 1 || !matches!(label.ring_bits, 32 | 64) || label.slots == 0 {
            return Err(Error::Usage(
                "party is 0 or 1, ring 32 or 64 bits, slots at least 1".into(),
            ));
        }
        layout.body_bytes(label.slots)?;
        let mut header = Self {
            label,
            secret,
            hash: [0; 32],
        };
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
        let Label {
            kind,
            suite,
            plan_digest,
            batch,
            party,
            ring_bits,
            weights,
            slots,
            sections,
            layout_digest,
        } = &self.label;
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
        let fixed = bytes
            .first_chunk::<FIXED>()
            .ok_or_else(|| malformed(from, "the header is cut"))?;
        let prefix = Prefix::parse(fixed, from)?;
        prefix.check(expected, from)?;
        if bytes.len() != prefix.header_len() {
            return Err(malformed(
                from,
                "the header has another length than it says",
            ));
        }
        let label = prefix.label(bytes, from)?;
        if label.suite != expected.suite {
            return Err(mismatch(from, "suite", &expected.suite, &label.suite));
        }
        let (covered, hash) = bytes.split_at(bytes.len() - HASH);
        if blake3::hash(covered).as_bytes() != hash {
            return Err(malformed(from, "the header's hash is wrong"));
        }
        let secret = Secret(Zeroizing::new(
            covered[FIXED + label.suite.len()..].to_vec(),
        ));
        let mut header = Self {
            label,
            secret,
            hash: [0; 32],
        };
        header.hash.copy_from_slice(hash);
        Ok(header)
    }
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
        Ok(Self {
            label,
            suite_len,
            secret_len,
        })
    }

    /// Compares everything that has a fixed place, and the lengths of the rest.
    pub(crate) fn check(&self, expected: &Expected, from: &str) -> Result<(), Error> {
        let label = &self.label;
        let sections = expected.layout.sections().len() as u32;
        same(from, "kind", &expected.kind, &label.kind)?;
        same(from, "party", &expected.party, &label.party)?;
        same(from, "ring", &expected.ring_bits, &label.ring_bits)?;
        same(
            from,
            "plan digest",
            &hex(&expected.plan_digest),
            &hex(&label.plan_digest),
        )?;
        same(from, "number of sections", &sections, &label.sections)?;
        same(
            from,
            "layout digest",
            &hex(&expected.layout.digest()),
            &hex(&label.layout_digest),
        )?;
        same(
            from,
            "suite name's length",
            &expected.suite.len(),
            &self.suite_len,
        )?;
        same(
            from,
            "secret part's length",
            &expected.secret_len,
            &self.secret_len,
        )?;
        same(
            from,
            "batch id",
            &expected.batch.unwrap_or(label.batch),
            &label.batch,
        )?;
        same(
            from,
            "weights version",
            &expected.weights.unwrap_or(label.weights),
            &label.weights,
        )?;
        same(
            from,
            "number of slots",
            &expected.slots.unwrap_or(label.slots),
            &label.slots,
        )?;
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
        let suite = bytes
            .get(FIXED..self.suite_end())
            .filter(|name| name.iter().copied().all(plain));
        let suite = suite.ok_or_else(|| malformed(from, "its suite's name is not plain text"))?;
        Ok(Label {
            suite: String::from_utf8_lossy(suite).into_owned(),
            ..self.label
        })
    }
}

fn same<T: PartialEq + fmt::Display>(
    from: &str,
    field: &'static str,
    expected: &T,
    got: &T,
) -> Result<(), Error> {
    if expected == got {
        Ok(())
    } else {
        Err(mismatch(from, field, expected, got))
    }
}

fn mismatch(
    from: &str,
    field: &'static str,
    expected: impl fmt::Display,
    got: impl fmt::Display,
) -> Error {
    Error::Mismatch {
        from: from.into(),
        field,
        expected: expected.to_string(),
        got: got.to_string(),
    }
}

pub(crate) fn malformed(from: &str, what: &'static str) -> Error {
    Error::Malformed {
        from: from.into(),
        what,
    }
}

fn kind_byte(kind: Kind) -> u8 {
    match kind {
        Kind::Dealt => 1,
        Kind::Prepared => 2,
    }
}

fn plain(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    std::array::from_fn(|i| bytes[i])
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 16]> {
    let digits = text.as_bytes();
    if digits.len() != 32
        || !digits
            .iter()
            .all(|d| matches!(d, b'0'..=b'9' | b'a'..=b'f'))
    {
        return None;
    }
    let mut out = [0u8; 16];
    for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(out)
}
