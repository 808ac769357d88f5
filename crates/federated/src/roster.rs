//! The owners of a training, by number, each pinned to an identity.

use std::collections::BTreeMap;

use ariann_net::{Certificate, Fingerprint, Signature};

use crate::error::refuse;
use crate::{FederatedError, Training, Who, Why, derive};

/// Owners at most.
pub const MOST_OWNERS: usize = 1024;

#[derive(Clone)]
struct Member {
    pin: Fingerprint,
    certificate: Option<Certificate>,
}

/// Training, epoch of the group key, and the owners with their pinned identities. Server and owners each have it from their
/// own configuration; its digest is in all that is signed.
#[derive(Clone)]
pub struct Roster {
    training: Training,
    epoch: u32,
    members: BTreeMap<u16, Member>,
    digest: [u8; 32],
}

impl Roster {
    /// The owners of a training. `epoch` grows by one when an owner has left: a new group key is needed then.
    pub fn new(training: Training, epoch: u32, pins: &[(u16, Fingerprint)]) -> Result<Roster, FederatedError> {
        training.check(pins.len())?;
        let mut members = BTreeMap::new();
        for (number, pin) in pins {
            let same = members.iter().find(|(_, member): &(_, &Member)| member.pin == *pin);
            if let Some((other, _)) = same {
                let reason = format!("owners {other} and {number} have the same identity {pin}");
                return Err(FederatedError::Config(reason));
            }
            if *number == u16::MAX || members.insert(*number, Member { pin: *pin, certificate: None }).is_some() {
                return Err(FederatedError::Config(format!("the owner {number} is there twice, or above 65534")));
            }
        }
        let pins: Vec<(u16, &[u8; 32])> = members.iter().map(|(number, it)| (*number, it.pin.as_bytes())).collect();
        let digest = derive::digest("ariann federated 1 roster", &(training.digest(), epoch, pins));
        Ok(Roster { training, epoch, members, digest })
    }

    /// Takes an owner's certificate (DER), which whoever relays it cannot replace.
    pub fn introduce(&mut self, owner: u16, der: &[u8]) -> Result<(), FederatedError> {
        let who = Who::Owner(owner);
        let member = self.members.get_mut(&owner).ok_or_else(|| refuse(who, Why::NotAMember(owner)))?;
        let certificate = Certificate::from_der(der).map_err(|reason| refuse(who, Why::Certificate(reason)))?;
        let (got, pinned) = (certificate.fingerprint(), member.pin);
        if got != pinned {
            return Err(refuse(who, Why::NotPinned { got, pinned }));
        }
        member.certificate = Some(certificate);
        Ok(())
    }

    /// What is agreed.
    pub fn training(&self) -> &Training {
        &self.training
    }

    /// The number of the group key that is in force.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Binds messages to training, epoch and owners.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// The owners' numbers, ascending.
    pub fn owners(&self) -> impl Iterator<Item = u16> + '_ {
        self.members.keys().copied()
    }

    /// The owner that draws a new group key: the one with the lowest number.
    pub fn keeper(&self) -> u16 {
        *self.members.keys().next().expect("at least two owners")
    }

    /// The owner with this identity.
    pub fn number_of(&self, identity: Fingerprint) -> Option<u16> {
        self.members.iter().find(|(_, member)| member.pin == identity).map(|(number, _)| *number)
    }

    pub(crate) fn threshold(&self) -> usize {
        usize::from(self.training.threshold)
    }

    pub(crate) fn has(&self, owner: u16) -> bool {
        self.members.contains_key(&owner)
    }

    /// Refuses what the pinned identity of `owner` did not sign.
    pub(crate) fn verify(
        &self,
        owner: u16,
        what: &'static str,
        digest: &[u8; 32],
        signature: &Signature,
    ) -> Result<(), FederatedError> {
        let who = Who::Owner(owner);
        let member = self.members.get(&owner).ok_or_else(|| refuse(who, Why::NotAMember(owner)))?;
        let certificate = member.certificate.as_ref().ok_or_else(|| refuse(who, Why::NoCertificate))?;
        match certificate.verifies(&purpose(what), digest, signature) {
            true => Ok(()),
            false => Err(refuse(who, Why::Signature(what))),
        }
    }
}

/// What an identity signs for.
pub(crate) fn purpose(what: &str) -> String {
    format!("ariann federated 1 {what}")
}
