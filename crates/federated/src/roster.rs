//! The owners of a training, by number, each pinned to an identity.

use std::collections::BTreeMap;

use ariann_net::{Certificate, Fingerprint, Signature};

use crate::error::refuse;
use crate::{FederatedError, Training, Who, Why, derive};

/// Owners at most.
pub const MOST_OWNERS: usize = 1024;

/// Who was a member at some time.
#[derive(Clone)]
pub(crate) struct Seating {
    pub epoch: u32,
    members: BTreeMap<u16, Fingerprint>,
    digest: [u8; 32],
}

/// Training, epoch of the group key, and the owners with their pinned identities; and who were the owners before. Server and
/// owners each have it from their own configuration; its digest is in all that is signed.
#[derive(Clone)]
pub struct Roster {
    training: Training,
    now: Seating,
    former: Vec<Seating>,
    certificates: BTreeMap<Fingerprint, Known>,
}

#[derive(Clone)]
struct Known {
    certificate: Certificate,
    /// Why it cannot sign any more.
    over: Option<String>,
}

impl Roster {
    /// The first owners of a training.
    pub fn new(training: Training, epoch: u32, pins: &[(u16, Fingerprint)]) -> Result<Roster, FederatedError> {
        let now = seating(&training, epoch, pins, None)?;
        Ok(Roster { training, now, former: Vec::new(), certificates: BTreeMap::new() })
    }

    /// Other owners from now on. `epoch` grows by one when an owner has left: a new group key is needed then. What the former
    /// ones signed can still be verified, and the digest is bound to them.
    pub fn followed(&self, epoch: u32, pins: &[(u16, Fingerprint)]) -> Result<Roster, FederatedError> {
        if epoch < self.epoch() {
            let reason = format!("the epoch {epoch} follows the epoch {}; epochs grow", self.epoch());
            return Err(FederatedError::Config(reason));
        }
        let now = seating(&self.training, epoch, pins, Some(self.digest()))?;
        let former = self.former.iter().chain([&self.now]).cloned().collect();
        Ok(Roster { training: self.training.clone(), now, former, certificates: self.certificates.clone() })
    }

    /// Takes an owner's certificate (DER), which whoever relays it cannot replace.
    pub fn introduce(&mut self, owner: u16, der: &[u8]) -> Result<(), FederatedError> {
        let who = Who::Owner(owner);
        let pinned = *self.now.members.get(&owner).ok_or_else(|| refuse(who, Why::NotAMember(owner)))?;
        let certificate = Certificate::from_der(der).map_err(|reason| refuse(who, Why::Certificate(reason)))?;
        let got = certificate.fingerprint();
        if got != pinned {
            return Err(refuse(who, Why::NotPinned { got, pinned }));
        }
        self.certificates.insert(pinned, Known { certificate, over: None });
        Ok(())
    }

    /// Takes a certificate that was pinned for any owner at any time, also one that has run out: what it signed then stays
    /// signed. Others are passed over.
    pub fn acquaint(&mut self, der: &[u8]) {
        let pin = Fingerprint::of_certificate(der);
        let all = || self.former.iter().chain([&self.now]).flat_map(|seating| seating.members.values());
        if !self.certificates.contains_key(&pin)
            && all().any(|pinned| *pinned == pin)
            && let Ok(certificate) = Certificate::of_former(der)
        {
            self.certificates.insert(pin, Known { certificate, over: Certificate::from_der(der).err() });
        }
    }

    /// What is agreed.
    pub fn training(&self) -> &Training {
        &self.training
    }

    /// The number of the group key that is in force.
    pub fn epoch(&self) -> u32 {
        self.now.epoch
    }

    /// Binds messages to training, epoch and owners.
    pub fn digest(&self) -> [u8; 32] {
        self.now.digest
    }

    /// The owners' numbers, ascending.
    pub fn owners(&self) -> impl Iterator<Item = u16> + '_ {
        self.now.members.keys().copied()
    }

    /// The owner that draws a new group key: the one with the lowest number.
    pub fn keeper(&self) -> u16 {
        *self.now.members.keys().next().expect("at least two owners")
    }

    /// The owner with this identity.
    pub fn number_of(&self, identity: Fingerprint) -> Option<u16> {
        self.now.members.iter().find(|(_, pin)| **pin == identity).map(|(number, _)| *number)
    }

    pub(crate) fn threshold(&self) -> usize {
        usize::from(self.training.threshold)
    }

    pub(crate) fn has(&self, owner: u16) -> bool {
        self.now.members.contains_key(&owner)
    }

    /// The owners of the roster with this digest: this one, or one before it.
    pub(crate) fn seating(&self, digest: &[u8; 32]) -> Option<&Seating> {
        self.former.iter().chain([&self.now]).find(|seating| seating.digest == *digest)
    }

    /// Refuses what the pinned identity of `owner` did not sign.
    pub(crate) fn verify(
        &self,
        owner: u16,
        what: &'static str,
        digest: &[u8; 32],
        signature: &Signature,
    ) -> Result<(), FederatedError> {
        let known = self.now.members.get(&owner).and_then(|pin| self.certificates.get(pin));
        if let Some(reason) = known.and_then(|known| known.over.clone()) {
            return Err(refuse(Who::Owner(owner), Why::Certificate(reason)));
        }
        self.verify_of(&self.now, owner, what, digest, signature)
    }

    /// The same for what an owner of that time signed then.
    pub(crate) fn verify_of(
        &self,
        seating: &Seating,
        owner: u16,
        what: &'static str,
        digest: &[u8; 32],
        signature: &Signature,
    ) -> Result<(), FederatedError> {
        let who = Who::Owner(owner);
        let pin = seating.members.get(&owner).ok_or_else(|| refuse(who, Why::NotAMember(owner)))?;
        let known = self.certificates.get(pin).ok_or_else(|| refuse(who, Why::NoCertificate))?;
        match known.certificate.verifies(&purpose(what), digest, signature) {
            true => Ok(()),
            false => Err(refuse(who, Why::Signature(what))),
        }
    }
}

fn seating(
    training: &Training,
    epoch: u32,
    pins: &[(u16, Fingerprint)],
    former: Option<[u8; 32]>,
) -> Result<Seating, FederatedError> {
    training.check(pins.len())?;
    let mut members = BTreeMap::new();
    for (number, pin) in pins {
        let same = members.iter().find(|(_, other): &(_, &Fingerprint)| *other == pin);
        if let Some((other, _)) = same {
            let reason = format!("owners {other} and {number} have the same identity {pin}");
            return Err(FederatedError::Config(reason));
        }
        if *number == u16::MAX || members.insert(*number, *pin).is_some() {
            return Err(FederatedError::Config(format!("the owner {number} is there twice, or above 65534")));
        }
    }
    let pins: Vec<(u16, &[u8; 32])> = members.iter().map(|(number, pin)| (*number, pin.as_bytes())).collect();
    let digest = derive::digest("ariann federated 2 roster", &(training.digest(), epoch, pins, former));
    Ok(Seating { epoch, members, digest })
}

/// What an identity signs for.
pub(crate) fn purpose(what: &str) -> String {
    format!("ariann federated 1 {what}")
}
