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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(shares: &[Share], owners: &[u16]) -> Vec<(u16, Share)> {
        owners.iter().copied().zip(shares.iter().map(|share| Share(share.0))).collect()
    }

    fn joined(shares: &[(u16, Share)], threshold: usize) -> Option<[u8; 16]> {
        let shares: Vec<_> = shares.iter().map(|(owner, share)| (*owner, share)).collect();
        join(&shares, threshold).map(|seed| *seed.expose())
    }

    proptest! {
        #[test]
        fn any_threshold_of_shares_joins(
            secret: [u8; 16],
            owners in prop::collection::btree_set(0u16..u16::MAX, 2..12),
            part in 0.0f64..1.0,
            turn in 0usize..12,
        ) {
            let owners: Vec<u16> = owners.into_iter().collect();
            let threshold = 2 + (part * (owners.len() - 1) as f64) as usize;
            let shares = split(&Seed::from_bytes(secret), threshold, &owners).unwrap();
            let mut shares = all(&shares, &owners);
            shares.rotate_left(turn % owners.len());
            prop_assert_eq!(joined(&shares, threshold), Some(secret));
            prop_assert_eq!(joined(&shares[..threshold - 1], threshold), None);
            // A share that was changed, or is another owner's.
            shares[0].1.0[5] ^= 1;
            prop_assert_ne!(joined(&shares, threshold), Some(secret));
        }
    }

    #[test]
    fn more_owners_than_bytes_have_values() {
        let owners: Vec<u16> = (0..300).collect();
        let shares = split(&Seed::from_bytes([9; 16]), 201, &owners).unwrap();
        assert_eq!(joined(&all(&shares, &owners)[99..], 201), Some([9; 16]));
    }

    /// One share less than the threshold says nothing: with any guess of the seed there is one polynomial through the shares
    /// and the guess. Its last share is computed here, and joins to the guess.
    #[test]
    fn one_share_less_fits_every_seed() {
        let owners = [1u16, 2, 3, 4];
        let shares = all(&split(&Seed::from_bytes([1; 16]), 3, &owners).unwrap(), &owners);
        let at = |owner: u16| Scalar::from(u64::from(owner) + 1);
        let value = |share: &Share| Option::<Scalar>::from(Scalar::from_canonical_bytes(share.0)).unwrap();
        for guess in [[0; 16], [1; 16], [7; 16], [255; 16]] {
            let mut bytes = [0; 32];
            bytes[..16].copy_from_slice(&guess);
            let points = [
                (Scalar::ZERO, Scalar::from_bytes_mod_order(bytes)),
                (at(1), value(&shares[0].1)),
                (at(2), value(&shares[1].1)),
            ];
            let last = points.iter().enumerate().map(|(i, (x, y))| {
                let others = points.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, (z, _))| z);
                y * others.map(|z| (at(4) - z) * (x - z).invert()).product::<Scalar>()
            });
            let last = Share(last.sum::<Scalar>().to_bytes());
            assert_eq!(last.0 == shares[3].1.0, guess == [1; 16]);
            let [a, b] = [0, 1].map(|i| (shares[i].0, Share(shares[i].1.0)));
            assert_eq!(joined(&[a, b, (4, last)], 3), Some(guess));
        }
    }

    /// The bytes of T - 1 shares are uniform, and the same for two seeds.
    #[test]
    fn fewer_shares_are_uniform_whatever_the_seed() {
        let counts = [[0; 16], [255; 16]].map(|secret| {
            let mut counts = [[0u32; 256]; 2];
            for _ in 0..2_000 {
                let shares = split(&Seed::from_bytes(secret), 3, &[0, 1, 2]).unwrap();
                for (counts, share) in counts.iter_mut().zip(&shares) {
                    share.0[..31].iter().for_each(|byte| counts[usize::from(*byte)] += 1);
                }
            }
            counts
        });
        for counts in counts.as_flattened() {
            let expected = 31.0 * 2_000.0 / 256.0;
            let statistic: f64 = counts.iter().map(|count| (f64::from(*count) - expected).powi(2) / expected).sum();
            // Above this in one of 10^10 tests, by Laurent and Massart's bound for 255 degrees of freedom.
            assert!(statistic < 255.0 + 2.0 * (255f64 * 23.1).sqrt() + 2.0 * 23.1, "{statistic}");
        }
    }
}
