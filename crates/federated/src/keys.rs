//! An owner's keys of one round, and what two owners derive from theirs.

use ariann_prg::{EntropyError, Seed, entropy};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use crate::derive;
use crate::training::Round;

/// What one owner draws for one round; nothing of it is used in another.
pub(crate) struct RoundKeys {
    /// Seals shares to other owners. It is never shared, so that who learns a mask key reads no shares by it.
    pub channel: StaticSecret,
    /// Gives the mask key.
    pub mask_seed: Seed,
    /// Pairwise masks.
    pub mask: StaticSecret,
    /// Gives the self mask b_i.
    pub self_seed: Seed,
}

impl RoundKeys {
    pub fn draw() -> Result<RoundKeys, EntropyError> {
        let mask_seed = Seed::from_entropy()?;
        let mask = mask_key(&mask_seed);
        Ok(RoundKeys { channel: draw_secret()?, mask_seed, mask, self_seed: Seed::from_entropy()? })
    }
}

/// A fresh secret of X25519.
pub(crate) fn draw_secret() -> Result<StaticSecret, EntropyError> {
    let mut bytes = Zeroizing::new([0; 32]);
    entropy(&mut *bytes)?;
    Ok(StaticSecret::from(*bytes))
}

/// The X25519 secret of a mask seed: whoever recovers the seed has the secret.
pub(crate) fn mask_key(seed: &Seed) -> StaticSecret {
    StaticSecret::from(*derive::key("ariann federated 1 mask key", &[seed.expose()]))
}

pub(crate) fn public(secret: &StaticSecret) -> [u8; 32] {
    PublicKey::from(secret).to_bytes()
}

/// The secret that two have in common; none when the other's key is of low order.
pub(crate) fn shared(own: &StaticSecret, other: &[u8; 32]) -> Option<Zeroizing<[u8; 32]>> {
    let shared = own.diffie_hellman(&PublicKey::from(*other));
    shared.was_contributory().then(|| Zeroizing::new(shared.to_bytes()))
}

/// The seed of the pairwise mask p_ij, the same at both ends.
pub(crate) fn pair_seed(round: Round, own: (u16, &StaticSecret, &[u8; 32]), other: (u16, &[u8; 32])) -> Option<Seed> {
    let secret = shared(own.1, other.1)?;
    let key = round.between("ariann federated 1 pair", &secret, (own.0, own.2), other);
    Some(Seed::from_bytes(*key.first_chunk().expect("16 of 32 bytes")))
}
