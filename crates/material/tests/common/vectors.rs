//! The files of `vectors/material`: name, content, and what refuses them.

use ariann_material::*;

/// What a reader of the vectors expects (`vectors/material/README.md`).
pub fn expected() -> Expected {
    Expected {
        kind: Kind::Dealt,
        suite: "half-tree-aes128-v1".into(),
        plan_digest: [7; 32],
        party: 1,
        ring_bits: 32,
        layout: Layout::new(vec![4, 0, 4, 2]).unwrap(),
        secret_len: 16,
        batch: None,
        weights: None,
        slots: Some(2),
    }
}

/// Two slots; slot s, section i is filled with 16 s + i.
fn made(kind: Kind, party: u8, plan: u8, slots: u32, sections: Vec<u64>) -> Vec<u8> {
    let layout = Layout::new(sections).unwrap();
    let label = Label {
        kind,
        suite: expected().suite,
        plan_digest: [plan; 32],
        batch: BatchId(std::array::from_fn(|i| i as u8)),
        party,
        ring_bits: 32,
        weights: WeightsVersion([0xee; 16]),
        slots,
        sections: 0,
        layout_digest: [0; 32],
    };
    let header = Header::new(label, &layout, Secret::new(vec![0x5e; 16].into()).unwrap()).unwrap();
    let mut encoder = Encoder::new(&header, &layout, Vec::new()).unwrap();
    for slot in 0..slots {
        for (section, &len) in layout.sections().iter().enumerate() {
            let data = vec![16 * slot as u8 + section as u8; len as usize];
            encoder.write_section(slot, section as u32, &data).unwrap();
        }
    }
    encoder.finish().unwrap()
}

pub fn valid() -> Vec<u8> {
    made(Kind::Dealt, 1, 7, 2, vec![4, 0, 4, 2])
}

const HEAD: usize = 120 + 19 + 16 + 32;
const SLOT: usize = 20 + 20 + 18;

/// Another byte in the header, and a hash that fits: the named defect is the only one.
fn header_byte(at: usize, value: u8) -> Vec<u8> {
    let mut bytes = valid();
    bytes[at] = value;
    let hash = blake3::hash(&bytes[..HEAD - 32]);
    bytes[HEAD - 32..HEAD].copy_from_slice(hash.as_bytes());
    bytes
}

fn flipped(at: usize) -> Vec<u8> {
    let mut bytes = valid();
    bytes[at] ^= 1;
    bytes
}

fn swapped(first: usize, second: usize, len: usize) -> Vec<u8> {
    let mut bytes = valid();
    for i in 0..len {
        bytes.swap(first + i, second + i);
    }
    bytes
}

/// Name, bytes, and words of the error (of stream | file, where they differ).
pub fn invalid() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let good = valid();
    let sections = vec![4, 0, 4, 2];
    vec![
        ("empty", Vec::new(), "header is cut"),
        ("header-cut", good[..119].to_vec(), "header is cut"),
        ("header-hash-cut", good[..HEAD - 1].to_vec(), "header is cut"),
        ("header-magic", header_byte(0, b'a'), "does not begin as"),
        ("header-version-2", header_byte(8, 2), "version is not 1"),
        ("header-kind-3", header_byte(10, 3), "kind is unknown"),
        ("header-party-2", header_byte(11, 2), "neither 0 nor 1"),
        ("header-ring-16", header_byte(12, 16), "neither 32 nor 64"),
        ("header-suite-name-empty", header_byte(13, 0), "out of range"),
        ("header-suite-name-shorter", header_byte(13, 18), "suite name's length"),
        ("header-suite-name-not-plain", header_byte(120, b'H'), "not plain text"),
        ("header-secret-5120-bytes", header_byte(15, 20), "out of range"),
        ("header-secret-17-bytes", header_byte(14, 17), "secret part's length"),
        ("header-no-slot", header_byte(16, 0), "no slot"),
        ("header-16777218-slots", header_byte(19, 1), "number of slots"),
        ("header-hash-wrong", flipped(HEAD - 1), "hash is wrong"),
        ("header-seed-flipped", flipped(HEAD - 33), "hash is wrong"),
        ("kind-prepared", made(Kind::Prepared, 1, 7, 2, sections.clone()), "kind"),
        ("party-0", made(Kind::Dealt, 0, 7, 2, sections.clone()), "party"),
        ("plan-other", made(Kind::Dealt, 1, 8, 2, sections.clone()), "plan digest"),
        ("slots-3", made(Kind::Dealt, 1, 7, 3, sections), "number of slots"),
        ("layout-other-lengths", made(Kind::Dealt, 1, 7, 2, vec![2, 0, 4, 4]), "layout digest"),
        ("layout-fewer-sections", made(Kind::Dealt, 1, 7, 2, vec![4, 4, 2]), "number of sections"),
        ("chunk-data-flipped", flipped(HEAD + SLOT), "slot 1 section 0 chunk 0"),
        ("chunk-tag-flipped", flipped(HEAD + 4), "slot 0 section 0 chunk 0"),
        ("chunks-swapped-between-sections", swapped(HEAD, HEAD + 20, 20), "slot 0 section 0 chunk 0"),
        ("chunks-swapped-between-slots", swapped(HEAD + 40, HEAD + SLOT + 40, 18), "slot 0 section 3 chunk 0"),
        ("truncated-in-chunk", good[..HEAD + SLOT + 22].to_vec(), "slot 1 section 2 chunk 0"),
        ("truncated-last-tag-byte", good[..good.len() - 1].to_vec(), "slot 1 section 3 chunk 0"),
        ("truncated-after-header", good[..HEAD].to_vec(), "slot 0 section 0 chunk 0"),
        ("extended-by-one-byte", [&good[..], &[0]].concat(), "bytes follow its end|304 bytes where 303 belong"),
    ]
}
