//! Shares of 128-bit seeds: T of them give the seed, fewer tell nothing.
//!
//! The polynomial is over the scalar field of Curve25519 (252 bits): constant time, without tables, and owners may have any
//! number. The seed is its value at 0, owner i's share the one at i + 1.

use ariann_prg::{EntropyError, Seed, entropy};
use curve25519_dalek::Scalar;
use rand_core::{TryCryptoRng, TryRng};
use serde::{Deserialize, Serialize};
use vsss_rs::{DefaultShare, IdentifierPrimeField, Polynomial, ReadableShareSet};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

type Element = IdentifierPrimeField<Scalar>;
type Point = DefaultShare<Element, Element>;

/// A share of a seed. Neither copied nor printed, wiped on drop.
///
/// ```compile_fail,E0277
/// fn printed(share: ariann_federated::Share) -> String { format!("{share:?}") }
/// ```
///
/// ```compile_fail,E0599
/// fn copied(share: &ariann_federated::Share) -> ariann_federated::Share { share.clone() }
/// ```
#[derive(Serialize, Deserialize, ZeroizeOnDrop)]
pub struct Share([u8; 32]);

impl Share {
    pub(crate) fn from_bytes(bytes: [u8; 32]) -> Share {
        Share(bytes)
    }

    pub(crate) fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The operating system's generator, for a library that knows no generator that fails: afterwards `failed` is asked.
#[derive(Default)]
struct System {
    failed: Option<EntropyError>,
}

impl TryRng for System {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        if let Err(error) = entropy(out) {
            self.failed = Some(error);
        }
        Ok(())
    }
}

impl TryCryptoRng for System {}

fn place(owner: u16) -> Element {
    IdentifierPrimeField(Scalar::from(u64::from(owner) + 1))
}

/// A share for each owner.
pub(crate) fn split(secret: &Seed, threshold: usize, owners: &[u16]) -> Result<Vec<Share>, EntropyError> {
    let mut bytes = Zeroizing::new([0; 32]);
    bytes[..16].copy_from_slice(secret.expose());
    let mut value = IdentifierPrimeField(Scalar::from_bytes_mod_order(*bytes));
    let mut polynomial = <Vec<Point> as Polynomial<Point>>::create(threshold);
    let mut system = System::default();
    polynomial.fill(&value, &mut system, threshold).expect("room for all coefficients");
    let mut shares = Vec::with_capacity(owners.len());
    for owner in owners {
        let mut at = Polynomial::<Point>::evaluate(&polynomial, &place(*owner), threshold);
        shares.push(Share(at.0.to_bytes()));
        at.0.zeroize();
    }
    value.0.zeroize();
    for coefficient in &mut polynomial {
        coefficient.identifier.0.zeroize();
        coefficient.value.0.zeroize();
    }
    match system.failed {
        Some(error) => Err(error),
        None => Ok(shares),
    }
}

/// The seed of which these are shares; none when they are of no seed. As many shares as the threshold are needed.
pub(crate) fn join(shares: &[(u16, &Share)], threshold: usize) -> Option<Seed> {
    if shares.len() < threshold {
        return None;
    }
    let point = |(owner, share): &(u16, &Share)| {
        let value: Option<Scalar> = Scalar::from_canonical_bytes(share.0).into();
        value.map(|value| DefaultShare { identifier: place(*owner), value: IdentifierPrimeField(value) })
    };
    let mut points: Vec<Point> = shares[..threshold].iter().map(point).collect::<Option<_>>()?;
    let joined = points.combine();
    points.iter_mut().for_each(|point| point.value.0.zeroize());
    let bytes = Zeroizing::new(joined.ok()?.0.to_bytes());
    let (seed, rest) = bytes.split_first_chunk::<16>()?;
    // Public: a wrong share was told from the right one by its tag already.
    rest.iter().all(|byte| *byte == 0).then(|| Seed::from_bytes(*seed))
}

/// Whether the bytes of a share are those of a field element.
pub(crate) fn is_canonical(share: &Share) -> bool {
    let value: Option<Scalar> = Scalar::from_canonical_bytes(share.0).into();
    value.is_some()
}
