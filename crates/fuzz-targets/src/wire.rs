//! Bytes that come over a connection.

use ariann_fss::{HashKeys, Party, TreeHash};
use ariann_material::{Expected, Header, StreamVerifier};
use ariann_net::{HEADER, Identity};
use ariann_ring::pack;
use serde::{Deserialize, Serialize};

use crate::samples;

/// Makes the header's hash fit again, so that what stands behind it is reached.
fn rehashed(bytes: &[u8]) -> Option<Vec<u8>> {
    let (suite, secret) = (*bytes.get(13)?, bytes.get(14..16)?);
    let len = 120 + usize::from(suite) + usize::from(u16::from_le_bytes([secret[0], secret[1]]));
    let mut bytes = bytes.to_vec();
    let hash = blake3::hash(bytes.get(..len)?);
    bytes.get_mut(len..len + 32)?.copy_from_slice(hash.as_bytes());
    Some(bytes)
}

/// The header of a material file.
pub fn material_header(bytes: &[u8]) {
    let decode = |bytes: &[u8], expected: &Expected| {
        let _ = Header::decode(bytes, expected, "the dealer");
    };
    for expected in [samples::expected(), Expected { slots: None, ..samples::expected() }] {
        decode(bytes, &expected);
        if let Some(bytes) = rehashed(bytes) {
            decode(&bytes, &expected);
        }
    }
}

/// A batch of material as it arrives, in pieces.
pub fn material_stream(bytes: &[u8]) {
    let read = |bytes: &[u8]| {
        let mut verifier =
            StreamVerifier::new(Expected { slots: None, ..samples::expected() }, "the dealer", Vec::new());
        for piece in bytes.chunks(bytes.first().map_or(1, |first| 1 + usize::from(*first))) {
            if verifier.push(piece).is_err() {
                return;
            }
        }
        if let Ok((_, out)) = verifier.finish() {
            assert_eq!(out, bytes, "what was passed on is what came");
        }
    };
    read(bytes);
    if let Some(bytes) = rehashed(bytes) {
        read(&bytes);
    }
}

/// Headers of frames.
pub fn frame(bytes: &[u8]) {
    for header in bytes.chunks_exact(HEADER) {
        let header: &[u8; HEADER] = header.try_into().expect("a whole header");
        if let Ok(read) = ariann_net::Header::decode(header) {
            assert_eq!(read.encode(), *header, "a header has one encoding");
        }
    }
}

/// A greeting between parties, in the form of the session's own messages.
#[derive(Serialize, Deserialize)]
pub(crate) struct Greeting {
    pub protocol: u32,
    pub party: u8,
    pub ring: u32,
    pub plan: [u8; 32],
    pub batches: Vec<([u8; 16], [u8; 16], u32, u32)>,
    pub weights: Vec<[u8; 16]>,
}

/// Requests and answers, in the form of the session's own messages.
#[derive(Serialize, Deserialize)]
pub(crate) enum Answer {
    Accepted,
    Refused(String),
    Batch { slots: u32, bytes: u64 },
    Run { batch: [u8; 16], first: u32, items: u32 },
}

/// Control messages.
pub fn control(bytes: &[u8]) {
    let _ = ariann_net::decode_control::<Greeting>(bytes);
    let _ = ariann_net::decode_control::<Answer>(bytes);
}

/// What a stranger may send to a listener, without and with TLS.
pub fn stranger(bytes: &[u8]) {
    thread_local!(static IDENTITY: Identity = Identity::ephemeral("fuzzed").expect("an identity"));
    ariann_net::feed_stranger(None, bytes);
    IDENTITY.with(|identity| {
        assert!(!ariann_net::feed_stranger(Some(identity), bytes), "nobody is let in without a key");
    });
}

/// Packed elements: the first bytes say width and count.
pub fn packing(bytes: &[u8]) {
    let [width, count, bytes @ ..] = bytes else { return };
    let (width, count) = (u32::from(width % 64) + 1, usize::from(*count));
    let mut wide = vec![0u64; count];
    if pack::unpack(bytes, width, &mut wide).is_ok() {
        let mut again = Vec::new();
        pack::pack(&wide, 0, width, &mut again);
        assert_eq!(again, bytes, "packing is canonical");
        pack::unpack_add(bytes, width, &mut wide).expect("the same bytes again");
    }
    if width <= 32 {
        let mut narrow = vec![0u32; count];
        let _ = pack::unpack(bytes, width, &mut narrow);
    }
    let mut bits = vec![0u8; count];
    let _ = pack::unpack_bits(bytes, &mut bits);
}

/// Comparison keys and unit vectors of any length, at any points.
pub fn keys(bytes: &[u8]) {
    let [domain, count, party, bytes @ ..] = bytes else { return };
    let (domain, count) = (u32::from(*domain), usize::from(count % 20));
    let party = if party % 2 == 0 { Party::P0 } else { Party::P1 };
    let hash = TreeHash::new(&HashKeys { inner: [1; 16], leaf: [2; 16] });
    let (roots, keys) = bytes.split_at((16 * count).min(bytes.len()));
    let xs: Vec<u64> =
        keys.chunks(8).take(count).map(|x| x.iter().fold(0, |x, byte| x << 8 | u64::from(*byte))).collect();
    let (mut less, mut equal) = (vec![0; xs.len()], vec![0; xs.len()]);
    let _ = ariann_fss::less_than_and_equal(&hash, party, domain, roots, keys, &xs, &mut less, &mut equal);
    let len = ariann_fss::key_len(domain % 64).saturating_mul(xs.len()).min(keys.len());
    let small: Vec<u64> = xs.iter().map(|x| x & ((1 << (domain % 64)) - 1)).collect();
    let _ = ariann_fss::less_than(&hash, party, domain % 64, roots, &keys[..len], &small, &mut less);
    let _ = ariann_fss::equal(&hash, party, domain % 64, roots, &keys[..len], &small, &mut equal);
    let _ = ariann_fss::unit::read(domain % 9, keys, &small, &mut less, &mut equal);
}
