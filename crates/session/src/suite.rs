//! Names and forms that both parties and the dealer agree on.

use ariann_gates::Party;
use ariann_material::{Error, Expected, Header, Kind, Layout, Secret};
use ariann_plan::Plan;
use ariann_prg::{HashKeys, Seed};
use zeroize::Zeroizing;

/// Version of the messages between the roles.
pub const PROTOCOL: u32 = 1;

/// Generator and key format of the material.
pub const SUITE: &str = "half-tree-aes128-v1";

/// Bytes of a batch's secret part: batch seed, weights seed, K, K'.
const SECRET: usize = 64;

/// The dealt batches that fit `plan` and `party`.
pub fn expected(plan: &Plan, party: Party) -> Result<Expected, Error> {
    form(plan, party, Kind::Dealt, plan.sections(party), SECRET)
}

/// The prepared data that fit `plan` and `party`.
pub fn prepared_expected(plan: &Plan, party: Party) -> Result<Expected, Error> {
    form(plan, party, Kind::Prepared, plan.prepared_sections(party), 0)
}

fn form(plan: &Plan, party: Party, kind: Kind, sections: Vec<u64>, secret_len: usize) -> Result<Expected, Error> {
    Ok(Expected {
        kind,
        suite: SUITE.to_string(),
        plan_digest: plan.digest(),
        party: party as u8,
        ring_bits: plan.ring as u8,
        layout: Layout::new(sections)?,
        secret_len,
        batch: None,
        weights: None,
        slots: None,
    })
}

/// A party's secrets of a batch, as its header carries them.
pub(crate) struct Secrets {
    pub seed: Seed,
    pub weights: Seed,
    pub hash: HashKeys,
}

impl Secrets {
    pub fn encode(&self) -> Result<Secret, Error> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(SECRET));
        bytes.extend_from_slice(self.seed.expose());
        bytes.extend_from_slice(self.weights.expose());
        bytes.extend_from_slice(&self.hash.inner);
        bytes.extend_from_slice(&self.hash.leaf);
        Secret::new(bytes)
    }

    pub fn decode(header: &Header) -> Secrets {
        let bytes = header.secret().expose();
        let part = |index: usize| <[u8; 16]>::try_from(&bytes[16 * index..][..16]).expect("length checked on opening");
        Secrets {
            seed: Seed::from_bytes(part(0)),
            weights: Seed::from_bytes(part(1)),
            hash: HashKeys { inner: part(2), leaf: part(3) },
        }
    }
}
