//! A party's pass over a whole domain, an instance after the other, breadth first.

use super::{BLOCK, LANES, Party, key_len, unit_words};
use ariann_prg::TreeHash;

/// A block as a number.
type Block = [u8; BLOCK];

/// How to evaluate.
pub(super) struct Whole<'a> {
    hash: &'a TreeHash,
    party: Party,
    domain_bits: u32,
}

impl<'a> Whole<'a> {
    pub(super) fn new(hash: &'a TreeHash, party: Party, domain_bits: u32) -> Self {
        Whole { hash, party, domain_bits }
    }

    /// Brings every instance's vector to `each`. Lengths were checked.
    pub(super) fn run(&self, roots: &[u8], keys: &[u8], each: &mut impl FnMut(usize, &[u64])) {
        let leaves = 1 << self.domain_bits.saturating_sub(7);
        let (mut nodes, mut parents) = (vec![[0; BLOCK]; leaves], vec![[0; BLOCK]; leaves / 2]);
        let mut vector = vec![0; unit_words(self.domain_bits)];
        let (roots, _) = roots.as_chunks::<BLOCK>();
        let groups = roots.chunks(LANES).zip(keys.chunks(LANES * key_len(self.domain_bits)));
        for (group, (roots, keys)) in groups.enumerate() {
            let (blocks, _) = keys.as_chunks::<BLOCK>();
            for (lane, root) in roots.iter().enumerate() {
                let rows = blocks.iter().skip(lane).step_by(roots.len());
                self.instance(*root, rows, &mut nodes, &mut parents);
                read(&nodes, &mut vector);
                each(group * LANES + lane, &vector);
            }
        }
    }

    /// The leaves of one instance, from the correction words of all levels and the leaf's.
    fn instance<'k>(
        &self,
        root: Block,
        mut rows: impl Iterator<Item = &'k Block>,
        nodes: &mut [Block],
        parents: &mut [Block],
    ) {
        let root = u128::from_le_bytes(root) & !1 | self.party.index() as u128;
        nodes[0] = root.to_le_bytes();
        let mut count = 1;
        while count < nodes.len() {
            let correction = u128::from_le_bytes(*rows.next().expect("a row for every level"));
            parents[..count].copy_from_slice(&nodes[..count]);
            self.hash.inner(&mut nodes[..count]);
            // From the last on, so that no parent's hash is overwritten before it is read.
            for i in (0..count).rev() {
                let parent = u128::from_le_bytes(parents[i]);
                let left = u128::from_le_bytes(nodes[i]) ^ (correction & controlled(parent));
                nodes[2 * i] = left.to_le_bytes();
                nodes[2 * i + 1] = (left ^ parent).to_le_bytes();
            }
            count *= 2;
        }
        let leaf = u128::from_le_bytes(*rows.next().expect("a row for the leaf"));
        // Every leaf's control bit is needed after its hash has taken its place.
        let controls: Vec<u128> = nodes.iter().map(|node| controlled(u128::from_le_bytes(*node))).collect();
        self.hash.leaf(nodes);
        for (node, control) in nodes.iter_mut().zip(controls) {
            *node = (u128::from_le_bytes(*node) ^ (leaf & control)).to_le_bytes();
        }
    }
}

/// All ones where the control bit is set.
fn controlled(node: u128) -> u128 {
    (node & 1).wrapping_neg()
}

/// The leaves as a vector; a small domain takes a part of one leaf.
fn read(leaves: &[Block], vector: &mut [u64]) {
    let words = leaves.iter().flat_map(|leaf| {
        let leaf = u128::from_le_bytes(*leaf);
        [leaf as u64, (leaf >> 64) as u64]
    });
    vector.iter_mut().zip(words).for_each(|(word, leaf)| *word = leaf);
}
