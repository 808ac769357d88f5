//! Batches for tests.
#![allow(dead_code)]

use ariann_material::*;

pub fn layout() -> Layout {
    Layout::new(vec![5, 0, (CHUNK + 3), 0, 40]).unwrap()
}

pub fn small() -> Layout {
    Layout::new(vec![3, 0, 8]).unwrap()
}

pub fn expected(layout: &Layout) -> Expected {
    Expected {
        kind: Kind::Dealt,
        suite: "half-tree-aes128-v1".into(),
        plan_digest: [7; 32],
        party: 1,
        ring_bits: 32,
        layout: layout.clone(),
        secret_len: 16,
        batch: None,
        weights: None,
        slots: None,
    }
}

pub fn header(layout: &Layout, slots: u32, batch: BatchId) -> Header {
    let of = expected(layout);
    let label = Label {
        kind: of.kind,
        suite: of.suite,
        plan_digest: of.plan_digest,
        batch,
        party: of.party,
        ring_bits: of.ring_bits,
        weights: WeightsVersion([9; 16]),
        slots,
        sections: 0,
        layout_digest: [0; 32],
    };
    Header::new(label, layout, Secret::new(vec![0x5e; 16].into()).unwrap()).unwrap()
}

/// Distinct bytes for every place.
pub fn data(layout: &Layout, slot: u32, section: u32) -> Vec<u8> {
    let len = layout.sections()[section as usize];
    (0..len).map(|i| (i * 31 + i / 251 + u64::from(slot) * 101 + u64::from(section) * 17) as u8).collect()
}

pub fn bytes(layout: &Layout, slots: u32, batch: BatchId) -> Vec<u8> {
    let mut encoder = Encoder::new(&header(layout, slots, batch), layout, Vec::new()).unwrap();
    for slot in 0..slots {
        for section in 0..layout.sections().len() as u32 {
            encoder.write_section(slot, section, &data(layout, slot, section)).unwrap();
        }
    }
    encoder.finish().unwrap()
}

/// Verifies a stream in pieces of `piece` bytes.
pub fn verify(bytes: &[u8], expected: &Expected, piece: usize) -> Result<Vec<u8>, Error> {
    let mut verifier = StreamVerifier::new(expected.clone(), "the dealer", Vec::new());
    for piece in bytes.chunks(piece) {
        verifier.push(piece)?;
    }
    verifier.finish().map(|(_, out)| out)
}
