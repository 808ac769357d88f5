//! The group key g: known to all owners, unknown to the server and to the dealer.
//!
//! The owner with the lowest number draws it, once for every epoch of the roster. Every other owner asks for it with a key
//! under its identity; whoever has it answers, sealed to that key, under its own identity. The server relays both.
//! A new owner gets the keys of all epochs, as it needs them to follow the list of rounds.

use std::collections::BTreeMap;

use ariann_net::{Identity, Signature};
use ariann_prg::Seed;
use ariann_ring::Ring;
use serde::{Deserialize, Serialize};
use x25519_dalek::StaticSecret;
use zeroize::Zeroizing;

use crate::error::refuse;
use crate::history::Survived;
use crate::keys::{draw_secret, public, shared};
use crate::masks::{Mask, Masks};
use crate::messages::{Message, message};
use crate::roster::purpose;
use crate::training::Round;
use crate::{FederatedError, Roster, Training, Who, Why, derive, seal};

/// The group keys of a training, by epoch. Neither copied nor printed, wiped on drop.
///
/// ```compile_fail,E0277
/// fn printed(keys: ariann_federated::GroupKeys) -> String { format!("{keys:?}") }
/// ```
pub struct GroupKeys {
    training: [u8; 32],
    keys: BTreeMap<u32, Seed>,
}

impl GroupKeys {
    pub(crate) fn none(training: &Training) -> GroupKeys {
        GroupKeys { training: training.digest(), keys: BTreeMap::new() }
    }

    /// Whether the key of an epoch is there.
    pub fn has(&self, epoch: u32) -> bool {
        self.keys.contains_key(&epoch)
    }

    /// The first epoch whose key is there.
    pub(crate) fn first(&self) -> Option<u32> {
        self.keys.keys().next().copied()
    }

    pub(crate) fn draw(&mut self, epoch: u32) -> Result<(), FederatedError> {
        self.keys.insert(epoch, Seed::from_entropy()?);
        Ok(())
    }

    /// Epoch and key, one after the other.
    pub(crate) fn expose(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(20 * self.keys.len()));
        for (epoch, key) in &self.keys {
            bytes.extend_from_slice(&epoch.to_le_bytes());
            bytes.extend_from_slice(key.expose());
        }
        bytes
    }

    /// The opposite of `expose`: adds keys, and returns false, adding none, when they contradict those at hand.
    pub(crate) fn learn(&mut self, bytes: &[u8]) -> bool {
        let (entries, rest) = bytes.as_chunks::<20>();
        let parts = entries.iter().map(|entry| {
            let (epoch, key) = entry.split_first_chunk::<4>().expect("4 of 20 bytes");
            (u32::from_le_bytes(*epoch), key.first_chunk::<16>().expect("16 of 16 bytes"))
        });
        let other = |(epoch, key): (u32, &[u8; 16])| self.keys.get(&epoch).is_some_and(|own| own.expose() != key);
        if !rest.is_empty() || parts.clone().any(other) {
            return false;
        }
        for (epoch, key) in parts {
            self.keys.entry(epoch).or_insert_with(|| Seed::from_bytes(*key));
        }
        true
    }

    fn key(&self, epoch: u32) -> Result<&Seed, FederatedError> {
        let none = || FederatedError::Config(format!("the group key {epoch} is not here; ask an owner for it first"));
        self.keys.get(&epoch).ok_or_else(none)
    }

    /// Tells equal keys from others, and nothing else.
    pub(crate) fn tag(&self, epoch: u32) -> Result<[u8; 16], FederatedError> {
        let key = self.key(epoch)?;
        Ok(derive::tag("ariann federated 1 group tag", &[key.expose(), &self.training, &epoch.to_le_bytes()]))
    }

    /// The seed of PRF(g; t, i).
    pub(crate) fn mask(&self, epoch: u32, round: u64, owner: u16) -> Result<Seed, FederatedError> {
        let key = self.key(epoch)?;
        let parts = [key.expose(), &self.training[..], &round.to_le_bytes(), &owner.to_le_bytes()];
        Ok(derive::seed("ariann federated 1 group mask", &parts))
    }

    /// Takes away ρ = Σ PRF(g; t, i) over the survivors of some rounds.
    pub(crate) fn without<R: Ring>(&self, rounds: &[Survived]) -> Result<Masks<R>, FederatedError> {
        let all = rounds.iter().flat_map(|it| it.owners.iter().map(move |owner| (it.epoch, it.round, *owner)));
        let masks = all.map(|(epoch, round, owner)| Ok(Mask::subtracting(&self.mask(epoch, round, owner)?)));
        Ok(Masks::new(masks.collect::<Result<_, FederatedError>>()?))
    }

    /// Takes ρ of some rounds away from words `first`, `first + 1`, ... : W_O ← W_O - ρ, for whom holds W_O in memory.
    pub fn subtract<R: Ring>(&self, rounds: &[Survived], first: u64, words: &mut [R]) -> Result<(), FederatedError> {
        self.without(rounds)?.apply(first, words);
        Ok(())
    }

    /// Words of the owners' share of a model whose owner keeps it secret, from the key of an epoch: its owner sends the
    /// server the model less these words. (For a public model the owners' share is zero.)
    pub fn initial<R: Ring>(&self, epoch: u32, first: u64, words: &mut [R]) -> Result<(), FederatedError> {
        let key = self.key(epoch)?;
        let seed = derive::seed("ariann federated 1 initial", &[key.expose(), &self.training]);
        words.fill(R::ZERO);
        Masks::new(vec![Mask::adding(&seed)]).apply(first, words);
        Ok(())
    }
}

/// An owner asks for the group keys. Relayed by the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRequest {
    /// [`Roster::digest`].
    pub roster: [u8; 32],
    /// Who asks.
    pub owner: u16,
    /// X25519 key to which the answer is sealed; for this request alone.
    pub public: [u8; 32],
    /// By the owner's identity.
    pub signature: Signature,
}
message!(11, "request for the group key", KeyRequest);

impl KeyRequest {
    fn signed(&self) -> [u8; 32] {
        derive::digest("ariann federated 1 key request", &(self.roster, self.owner, self.public))
    }
}

/// The group keys, sealed to one request. Relayed by the server, which cannot read them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyGrant {
    /// The roster.
    pub roster: [u8; 32],
    /// Who answers.
    pub from: u16,
    /// Who asked.
    pub to: u16,
    /// Digest of what was asked.
    pub request: [u8; 32],
    /// X25519 key of the answer.
    pub public: [u8; 32],
    /// The keys.
    pub sealed: Vec<u8>,
    /// By the identity of who answers.
    pub signature: Signature,
}
message!(12, "grant of the group key", KeyGrant);

impl KeyGrant {
    fn signed(&self) -> [u8; 32] {
        let who = (self.roster, self.from, self.to, self.request);
        derive::digest("ariann federated 1 key grant", &(who, self.public, &self.sealed))
    }
}

/// The key under which a grant is sealed.
fn sealing(
    roster: &Roster,
    own: &StaticSecret,
    from: (u16, &[u8; 32]),
    to: (u16, &[u8; 32]),
    at_from: bool,
) -> Option<Zeroizing<[u8; 32]>> {
    let secret = shared(own, if at_from { to.1 } else { from.1 })?;
    let round = Round { roster: roster.digest(), number: 0 };
    Some(round.between("ariann federated 1 grant", &secret, from, to))
}

/// An open request: the secret half of a [`KeyRequest`].
pub struct Request {
    secret: StaticSecret,
    message: KeyRequest,
}

impl Request {
    /// Asks as `owner`.
    pub fn new(roster: &Roster, identity: &Identity, owner: u16) -> Result<Request, FederatedError> {
        let secret = draw_secret()?;
        let public = public(&secret);
        let mut message = KeyRequest { roster: roster.digest(), owner, public, signature: Signature::default() };
        message.signature = identity.sign(&purpose(<KeyRequest as Message>::NAME), &message.signed())?;
        Ok(Request { secret, message })
    }

    /// To be relayed to an owner that has the keys.
    pub fn message(&self) -> &KeyRequest {
        &self.message
    }

    /// Opens the answer.
    pub(crate) fn open(&self, roster: &Roster, grant: &KeyGrant) -> Result<Zeroizing<Vec<u8>>, FederatedError> {
        let who = Who::Owner(grant.from);
        if grant.roster != roster.digest() {
            return Err(refuse(who, Why::Training));
        }
        roster.verify(grant.from, <KeyGrant as Message>::NAME, &grant.signed(), &grant.signature)?;
        if grant.to != self.message.owner || grant.request != self.message.signed() {
            return Err(refuse(who, Why::Sealed { from: grant.from }));
        }
        let (from, to) = ((grant.from, &grant.public), (grant.to, &self.message.public));
        let key = sealing(roster, &self.secret, from, to, false).ok_or_else(|| refuse(who, Why::WeakKey))?;
        seal::open(&key, &grant.request, &grant.sealed).ok_or_else(|| refuse(who, Why::Sealed { from: grant.from }))
    }
}

/// Answers a request with all keys.
pub(crate) fn grant(
    keys: &GroupKeys,
    roster: &Roster,
    identity: &Identity,
    from: u16,
    request: &KeyRequest,
) -> Result<KeyGrant, FederatedError> {
    let who = Who::Owner(request.owner);
    if request.roster != roster.digest() {
        return Err(refuse(who, Why::Training));
    }
    let digest = request.signed();
    roster.verify(request.owner, <KeyRequest as Message>::NAME, &digest, &request.signature)?;
    if request.owner == from {
        return Err(refuse(who, Why::Sender(from)));
    }
    // Also keys of former epochs alone: who draws the next one may need them.
    if keys.first().is_none() {
        return Err(FederatedError::Config("an owner without group keys is asked for them".to_string()));
    }
    let secret = draw_secret()?;
    let own = public(&secret);
    let key = sealing(roster, &secret, (from, &own), (request.owner, &request.public), true);
    let key = key.ok_or_else(|| refuse(who, Why::WeakKey))?;
    let sealed = seal::seal(&key, &digest, &keys.expose());
    let signature = Signature::default();
    let mut grant =
        KeyGrant { roster: roster.digest(), from, to: request.owner, request: digest, public: own, sealed, signature };
    grant.signature = identity.sign(&purpose(<KeyGrant as Message>::NAME), &grant.signed())?;
    Ok(grant)
}
