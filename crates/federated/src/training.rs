//! What server and owners must agree on before the first round.

use zeroize::Zeroizing;

use crate::{FederatedError, MOST_OWNERS, derive};

/// The public terms of a federated training. All messages are bound to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Training {
    /// Tells this training from all others; drawn by chance, or the digest of its configuration.
    pub id: [u8; 32],
    /// Bits of a ring element: 32 or 64.
    pub ring: u32,
    /// Values of the model's states, one after the other.
    pub values: u64,
    /// T: survivors that a round needs at least, and shares that open a secret. More than half of the owners.
    pub threshold: u16,
    /// Rows that an owner may claim at most.
    pub most_rows: u64,
}

/// Values that a mask's stream has at most (2^40 blocks of 16 bytes, 8 bytes a value).
const MOST_VALUES: u64 = 1 << 41;

impl Training {
    /// Its digest.
    pub fn digest(&self) -> [u8; 32] {
        let fields = (self.id, self.ring, self.values, self.threshold, self.most_rows);
        derive::digest("ariann federated 1 training", &fields)
    }

    /// Bytes of an update.
    pub fn bytes(&self) -> u64 {
        self.values * u64::from(self.ring / 8)
    }

    pub(crate) fn check(&self, owners: usize) -> Result<(), FederatedError> {
        let refuse = |reason: String| Err(FederatedError::Config(reason));
        let threshold = usize::from(self.threshold);
        if self.ring != 32 && self.ring != 64 {
            return refuse(format!("the ring has {} bits, it may have 32 or 64", self.ring));
        }
        if self.values == 0 || self.values > MOST_VALUES {
            return refuse(format!("a model of {} values; it may have 1 to 2^41", self.values));
        }
        if self.most_rows == 0 {
            return refuse("owners may have no rows at all; set the most rows".into());
        }
        if !(2..=MOST_OWNERS).contains(&owners) {
            return refuse(format!("{owners} owners; there may be 2 to {MOST_OWNERS}"));
        }
        if threshold > owners || 2 * threshold <= owners {
            let reason = format!("the threshold {threshold} of {owners} owners; it must be more than half of them");
            return refuse(format!("{reason}, and at most all"));
        }
        Ok(())
    }
}

/// One round of one training under one roster: what keys and messages are bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Round {
    pub roster: [u8; 32],
    pub number: u64,
}

impl Round {
    /// A key for two owners, the same at both, from the secret that they share.
    pub fn between(
        &self,
        context: &str,
        shared: &[u8; 32],
        a: (u16, &[u8; 32]),
        b: (u16, &[u8; 32]),
    ) -> Zeroizing<[u8; 32]> {
        let ((low, low_key), (high, high_key)) = if a.0 < b.0 { (a, b) } else { (b, a) };
        let numbers = [low.to_le_bytes(), high.to_le_bytes()];
        let parts =
            [&shared[..], &self.roster, &self.number.to_le_bytes(), &numbers[0], &numbers[1], low_key, high_key];
        derive::key(context, &parts)
    }

    /// The tag of something secret of this round.
    pub fn tag(&self, context: &str, numbers: [u16; 2], secret: &[u8]) -> [u8; 16] {
        let numbers = numbers.map(u16::to_le_bytes);
        derive::tag(context, &[&self.roster, &self.number.to_le_bytes(), &numbers[0], &numbers[1], secret])
    }
}
