//! Frames: a header of 24 bytes, then at most [`PIECE`] bytes of the message: together four full TLS records.
//!
//! Header, little-endian: kind u32, step u32, sequence u64, length u64. The length is that of the whole message;
//! a message longer than [`PIECE`] is cut into frames of [`PIECE`] bytes and a rest, so how many bytes follow a
//! header is known from the plan alone.

use crate::error::Misbehaviour;

/// Bytes of a header.
pub const HEADER: usize = 24;
/// Most bytes of a message in one frame.
pub const PIECE: usize = (64 << 10) - HEADER;

/// What a frame is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// First frame of the connecting end.
    Hello,
    /// First frame of the accepting end: the identity is accepted.
    Welcome,
    /// Message of a step of the plan.
    Data,
    /// Control message.
    Control,
    /// Sign of life.
    KeepAlive,
    /// Last frame.
    Farewell,
}

const KINDS: [(Kind, [u8; 4], &str); 6] = [
    (Kind::Hello, *b"AR1h", "hello"),
    (Kind::Welcome, *b"AR1w", "welcome"),
    (Kind::Data, *b"AR1d", "data"),
    (Kind::Control, *b"AR1c", "control"),
    (Kind::KeepAlive, *b"AR1k", "keep-alive"),
    (Kind::Farewell, *b"AR1f", "farewell"),
];

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        KINDS[self as usize].2
    }
}

/// Header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What the frame is for.
    pub kind: Kind,
    /// Step of the plan; 0 outside of data.
    pub step: u32,
    /// Number of the frame in its direction, from 0.
    pub sequence: u64,
    /// Bytes of the whole message.
    pub length: u64,
}

impl Header {
    /// The 24 bytes.
    pub fn encode(&self) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        out[..4].copy_from_slice(&KINDS[self.kind as usize].1);
        out[4..8].copy_from_slice(&self.step.to_le_bytes());
        out[8..16].copy_from_slice(&self.sequence.to_le_bytes());
        out[16..].copy_from_slice(&self.length.to_le_bytes());
        out
    }

    /// Reads a header; the only thing that can be wrong with it alone is its kind.
    pub fn decode(bytes: &[u8; HEADER]) -> Result<Header, Misbehaviour> {
        let tag: [u8; 4] = bytes[..4].try_into().expect("4 bytes");
        let &(kind, ..) =
            KINDS.iter().find(|(_, known, _)| *known == tag).ok_or(Misbehaviour::NotAFrame(u32::from_be_bytes(tag)))?;
        Ok(Header {
            kind,
            step: u32::from_le_bytes(bytes[4..8].try_into().expect("4 bytes")),
            sequence: u64::from_le_bytes(bytes[8..16].try_into().expect("8 bytes")),
            length: u64::from_le_bytes(bytes[16..].try_into().expect("8 bytes")),
        })
    }

    /// A header without a message.
    pub(crate) fn empty(kind: Kind, sequence: u64) -> Header {
        Header { kind, step: 0, sequence, length: 0 }
    }

    /// Compares a frame that must carry no message.
    pub(crate) fn expect_empty(&self, kind: Kind, sequence: u64) -> Result<(), Misbehaviour> {
        self.expect_kind(kind)?;
        self.expect_sequence(sequence)?;
        self.expect_step(0)?;
        self.expect_length(0)
    }

    pub(crate) fn expect_kind(&self, expected: Kind) -> Result<(), Misbehaviour> {
        let (expected, got) = (expected.name(), self.kind.name());
        if expected == got { Ok(()) } else { Err(Misbehaviour::Kind { expected, got }) }
    }

    pub(crate) fn expect_sequence(&self, expected: u64) -> Result<(), Misbehaviour> {
        let got = self.sequence;
        if expected == got { Ok(()) } else { Err(Misbehaviour::Sequence { expected, got }) }
    }

    pub(crate) fn expect_step(&self, expected: u32) -> Result<(), Misbehaviour> {
        let got = self.step;
        if expected == got { Ok(()) } else { Err(Misbehaviour::Step { expected, got }) }
    }

    pub(crate) fn expect_length(&self, expected: u64) -> Result<(), Misbehaviour> {
        let got = self.length;
        if expected == got { Ok(()) } else { Err(Misbehaviour::Length { expected, got }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_decode_or_are_refused(bytes: [u8; HEADER]) {
            if let Ok(header) = Header::decode(&bytes) {
                prop_assert_eq!(header.encode(), bytes);
            }
        }

        #[test]
        fn headers_round_trip(kind in 0usize..KINDS.len(), step: u32, sequence: u64, length: u64) {
            let header = Header { kind: KINDS[kind].0, step, sequence, length };
            prop_assert_eq!(Header::decode(&header.encode()), Ok(header));
        }
    }

    #[test]
    fn kinds_stand_in_their_order() {
        for (i, (kind, ..)) in KINDS.iter().enumerate() {
            assert_eq!(*kind as usize, i);
        }
    }
}
