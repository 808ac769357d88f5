//! An owner in one round.
//!
//! Every step may be asked for again and gives the same answer, as a server that was killed asks again; asked for something
//! else instead, the owner refuses. Secrets go as soon as they have served: when the shares are released, of each member of the
//! cohort one secret's share is left, and the other is gone.

#[cfg(test)]
#[path = "views.rs"]
mod views;

#[cfg(test)]
#[path = "faults.rs"]
pub(crate) mod faults;

use std::collections::BTreeMap;
use std::sync::Arc;

use ariann_net::{Identity, Signature};
use ariann_prg::Seed;
use ariann_ring::Ring;
use x25519_dalek::StaticSecret;
use zeroize::Zeroizing;

use crate::error::refuse;
use crate::keys::{self, RoundKeys};
use crate::masks::{Mask, Masks, to_bytes};
use crate::messages::{Message, SEALED, ascending, cohort_digest, of_round};
use crate::model::check_ring;
use crate::roster::purpose;
use crate::shamir::{self, is_canonical};
use crate::training::Round;
use crate::{
    Advert, Book, Candidates, Contribution, Echo, Echoes, FederatedError, MOST_LOST, Parcel, Position, Refusal, Relay,
    Relayed, Release, Released, Roster, Share, Shares, Survivors, Who, Why, derive, encode, seal,
};

/// Contexts of the tags of shares: of the self mask, of the mask key.
pub(crate) const SHARE_TAGS: [&str; 2] = ["ariann federated 1 self share", "ariann federated 1 key share"];
/// Context of the tag of a self mask's seed.
pub(crate) const SELF_TAG: &str = "ariann federated 1 self mask";
/// Context of the key of a sealed parcel.
const PARCEL: [&str; 2] = ["ariann federated 1 parcel up", "ariann federated 1 parcel down"];

/// An owner in one round.
pub struct OwnerRound {
    roster: Arc<Roster>,
    identity: Arc<Identity>,
    round: Round,
    number: u16,
    advert: Advert,
    /// Until the update is masked.
    secrets: Option<Secrets>,
    dealt: Option<Dealt>,
    relayed: Option<Cohort>,
    signed: Option<(Survivors, Echo)>,
    /// Who signed another list than this owner, once that was shown: nothing is released in this round from then on.
    other: Option<u16>,
    release: Option<Release>,
}

struct Secrets {
    keys: RoundKeys,
    /// Gives PRF(g; t, i).
    group: Seed,
}

/// What a mask of an update is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// PRF(g; t, i).
    Group,
    /// b_i.
    Own,
    /// p_ij.
    Pair(u16),
}

struct Dealt {
    candidates: Candidates,
    digest: [u8; 32],
    message: Shares,
    /// Its own shares of its own secrets.
    own: Option<[Share; 2]>,
}

struct Cohort {
    message: Relay,
    digest: [u8; 32],
    /// By dealer; gone when released.
    held: BTreeMap<u16, [Share; 2]>,
    refused: Vec<Refusal>,
    /// Whose shares those were.
    closed: Vec<u16>,
}

impl OwnerRound {
    /// Draws keys for a round that this owner never took part in, at the position that its share of the model has.
    pub fn begin(
        roster: Arc<Roster>,
        identity: Arc<Identity>,
        book: &mut Book,
        position: Position,
        round: u64,
        rows: u64,
    ) -> Result<OwnerRound, FederatedError> {
        let none = || FederatedError::Config(format!("the identity {} is not in the roster", identity.fingerprint()));
        let number = roster.number_of(identity.fingerprint()).ok_or_else(none)?;
        let most = roster.training().most_rows;
        if rows == 0 || rows > most {
            return Err(FederatedError::Config(format!("{rows} rows; the training allows 1 to {most}")));
        }
        if round <= position.round {
            return Err(FederatedError::Config(format!("round {round} is in the model already")));
        }
        let group = book.keys().mask(roster.epoch(), round, number)?;
        let tag = book.keys().tag(roster.epoch())?;
        book.enter(round, position.round)?;
        let keys = RoundKeys::draw()?;
        let mut advert = Advert {
            roster: roster.digest(),
            round,
            owner: number,
            rows,
            channel: keys::public(&keys.channel),
            mask: keys::public(&keys.mask),
            group: tag,
            history: position.head,
            lost: book.lost().iter().rev().take(MOST_LOST).rev().copied().collect(),
            signature: Signature::default(),
        };
        advert.signature = identity.sign(&purpose(Advert::NAME), &advert.signed())?;
        let round = Round { roster: roster.digest(), number: round };
        let secrets = Some(Secrets { keys, group });
        let (dealt, relayed, signed, other, release) = (None, None, None, None, None);
        Ok(OwnerRound { roster, identity, round, number, advert, secrets, dealt, relayed, signed, other, release })
    }

    /// This owner's number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// For the server.
    pub fn advert(&self) -> &Advert {
        &self.advert
    }

    /// Rows of all candidates, by owner: for the public weights.
    pub fn rows(&self) -> Vec<(u16, u64)> {
        let adverts = self.dealt.iter().flat_map(|dealt| &dealt.candidates.adverts);
        adverts.map(|advert| (advert.owner, advert.rows)).collect()
    }

    /// Checks all keys and shares this owner's secrets among the candidates. The answer is for the server.
    pub fn candidates(&mut self, message: &Candidates) -> Result<&Shares, FederatedError> {
        let again = self.dealt.as_ref().map(|dealt| dealt.candidates == *message);
        match again {
            Some(true) => {}
            Some(false) => return Err(refuse(Who::Server, Why::Double(Candidates::NAME))),
            None => {
                self.check_candidates(message)?;
                self.dealt = Some(self.deal(message)?);
            }
        }
        Ok(&self.dealt.as_ref().expect("just dealt").message)
    }

    fn check_candidates(&self, message: &Candidates) -> Result<(), FederatedError> {
        let (who, what) = (Who::Server, Candidates::NAME);
        of_round(who, self.round, &message.roster, message.round)?;
        ascending(who, what, message.adverts.iter().map(|advert| advert.owner))?;
        let (have, need) = (message.adverts.len(), self.roster.threshold());
        if have < need {
            return Err(refuse(who, Why::BelowThreshold { what, have, need }));
        }
        if !message.adverts.contains(&self.advert) {
            return Err(refuse(who, Why::Missing { what, owner: self.number }));
        }
        let secrets = self.secrets.as_ref().expect("nothing is masked before the candidates are known");
        for advert in &message.adverts {
            check_advert(&self.roster, self.round, advert)?;
            let who = Who::Owner(advert.owner);
            if advert.group != self.advert.group {
                return Err(refuse(who, Why::OtherGroup));
            }
            if advert.history != self.advert.history {
                return Err(refuse(who, Why::OtherHistory));
            }
            let weak = |secret: &StaticSecret, key| keys::shared(secret, key).is_none();
            if weak(&secrets.keys.channel, &advert.channel) || weak(&secrets.keys.mask, &advert.mask) {
                return Err(refuse(who, Why::WeakKey));
            }
        }
        Ok(())
    }

    fn deal(&self, candidates: &Candidates) -> Result<Dealt, FederatedError> {
        let secrets = self.secrets.as_ref().expect("nothing is masked before the candidates are known");
        let owners: Vec<u16> = candidates.adverts.iter().map(|advert| advert.owner).collect();
        let threshold = self.roster.threshold();
        let self_shares = shamir::split(&secrets.keys.self_seed, threshold, &owners)?;
        let key_shares = shamir::split(&secrets.keys.mask_seed, threshold, &owners)?;
        let digest = candidates.digest();
        let self_mask = self.round.tag(SELF_TAG, [self.number; 2], secrets.keys.self_seed.expose());
        #[cfg(test)]
        let self_mask = faults::announced(self, self_mask);
        let (mut parcels, mut own) = (Vec::with_capacity(owners.len()), None);
        for (advert, shares) in candidates.adverts.iter().zip(self_shares.into_iter().zip(key_shares)) {
            let (to, shares) = (advert.owner, [shares.0, shares.1]);
            let tag = |at: usize| self.round.tag(SHARE_TAGS[at], [self.number, to], shares[at].expose());
            let tags = [tag(0), tag(1)];
            let mut sealed = Vec::new();
            if to == self.number {
                own = Some(shares);
            } else {
                let key = self.parcel_key(&secrets.keys.channel, advert, self.number)?;
                let secret = Zeroizing::new([*shares[0].expose(), *shares[1].expose()]);
                let public = bound(&digest, self.number, to, &self_mask, &tags);
                sealed = seal::seal(&key, &public, secret.as_flattened());
                #[cfg(test)]
                faults::sealed(self, &mut sealed);
            }
            parcels.push(Parcel { to, tags, sealed });
        }
        let (Round { roster, number: round }, owner) = (self.round, self.number);
        let signature = Signature::default();
        let mut message = Shares { roster, round, owner, candidates: digest, self_mask, parcels, signature };
        message.signature = self.identity.sign(&purpose(Shares::NAME), &message.signed())?;
        Ok(Dealt { candidates: candidates.clone(), digest, message, own })
    }

    /// The key of the parcel that `from` seals, between this owner and the one that advertised.
    fn parcel_key(
        &self,
        channel: &StaticSecret,
        other: &Advert,
        from: u16,
    ) -> Result<Zeroizing<[u8; 32]>, FederatedError> {
        let weak = || refuse(Who::Owner(other.owner), Why::WeakKey);
        let secret = keys::shared(channel, &other.channel).ok_or_else(weak)?;
        let to = if from == self.number { other.owner } else { self.number };
        // Two keys for a pair, one in each direction.
        let context = PARCEL[usize::from(from > to)];
        let own = (self.number, &self.advert.channel);
        Ok(self.round.between(context, &secret, own, (other.owner, &other.channel)))
    }

    /// Takes the shares that the cohort sealed for this owner. A box that does not open, or holds another share than announced,
    /// is passed over and named in the answer: the others' shares suffice.
    pub fn relay(&mut self, message: &Relay) -> Result<&[Refusal], FederatedError> {
        let again = self.relayed.as_ref().map(|relayed| relayed.message == *message);
        match again {
            Some(true) => {}
            Some(false) => return Err(refuse(Who::Server, Why::Double(Relay::NAME))),
            None => self.take_relay(message)?,
        }
        Ok(&self.relayed.as_ref().expect("just taken").refused)
    }

    /// Whose boxes it could not use.
    pub fn closed(&self) -> &[u16] {
        self.relayed.as_ref().map_or(&[], |relayed| &relayed.closed)
    }

    fn take_relay(&mut self, message: &Relay) -> Result<(), FederatedError> {
        let (who, what) = (Who::Server, Relay::NAME);
        of_round(who, self.round, &message.roster, message.round)?;
        let Some(dealt) = &mut self.dealt else { return Err(refuse(who, Why::Early(what))) };
        if message.to != self.number || message.candidates != dealt.digest {
            return Err(refuse(who, Why::Double(Candidates::NAME)));
        }
        ascending(who, what, message.cohort.iter().copied())?;
        let (have, need) = (message.cohort.len(), self.roster.threshold());
        if have < need {
            return Err(refuse(who, Why::BelowThreshold { what, have, need }));
        }
        let known = |owner: &u16| dealt.candidates.adverts.iter().any(|advert| advert.owner == *owner);
        if let Some(stranger) = message.cohort.iter().find(|owner| !known(owner)) {
            return Err(refuse(who, Why::NotInCohort(*stranger)));
        }
        if !message.cohort.contains(&self.number) {
            return Err(refuse(who, Why::Missing { what, owner: self.number }));
        }
        let others = message.cohort.iter().copied().filter(|owner| *owner != self.number);
        if !others.clone().eq(message.parcels.iter().map(|parcel| parcel.from)) {
            let lacks = others.clone().find(|owner| message.parcels.iter().all(|parcel| parcel.from != *owner));
            let owner = lacks.unwrap_or(self.number);
            return Err(refuse(who, Why::Missing { what, owner }));
        }
        let digest = cohort_digest(self.round, &dealt.digest, &message.cohort);
        let (mut held, mut refused, mut closed) = (BTreeMap::new(), Vec::new(), Vec::new());
        held.insert(self.number, dealt.own.take().expect("its own shares are taken once"));
        let dealt = self.dealt.as_ref().expect("it dealt");
        for parcel in &message.parcels {
            match self.unseal(dealt, parcel) {
                Ok(shares) => drop(held.insert(parcel.from, shares)),
                Err(FederatedError::Refused(refusal)) => {
                    refused.push(refusal);
                    closed.push(parcel.from);
                }
                Err(other) => return Err(other),
            }
        }
        self.relayed = Some(Cohort { message: message.clone(), digest, held, refused, closed });
        Ok(())
    }

    fn unseal(&self, dealt: &Dealt, parcel: &Relayed) -> Result<[Share; 2], FederatedError> {
        let from = parcel.from;
        let closed = || refuse(Who::Server, Why::Sealed { from });
        let advert = dealt.candidates.adverts.iter().find(|advert| advert.owner == from).ok_or_else(closed)?;
        let secrets = self.secrets.as_ref().ok_or_else(closed)?;
        let key = self.parcel_key(&secrets.keys.channel, advert, from)?;
        let public = bound(&dealt.digest, from, self.number, &parcel.self_mask, &parcel.tags);
        let opened = seal::open(&key, &public, &parcel.sealed).ok_or_else(closed)?;
        let (halves, rest) = opened.as_chunks::<32>();
        let ([self_share, key_share], []) = (halves, rest) else { return Err(closed()) };
        let shares = [self_share, key_share].map(|bytes| Share::from_bytes(*bytes));
        let good = |at: usize| {
            let tag = self.round.tag(SHARE_TAGS[at], [from, self.number], shares[at].expose());
            tag == parcel.tags[at] && is_canonical(&shares[at])
        };
        match good(0) && good(1) {
            true => Ok(shares),
            false => Err(refuse(Who::Owner(from), Why::Share { of: from })),
        }
    }

    /// What masks this owner's update, once: its share Δ_O,i, already multiplied with the public weight.
    pub fn masker<R: Ring>(&mut self) -> Result<Masker<R>, FederatedError> {
        check_ring::<R>(self.roster.training())?;
        #[cfg(test)]
        faults::masking(self);
        let (head, masks) = self.take_masks()?;
        #[cfg(test)]
        let masks = faults::kept(self, masks);
        Ok(Masker::new(head, masks.into_iter().map(|(_, mask)| mask).collect()))
    }

    fn take_masks(&mut self) -> Result<(Contribution, Vec<(Part, Mask)>), FederatedError> {
        let (Some(dealt), Some(relayed)) = (&self.dealt, &self.relayed) else {
            return Err(FederatedError::Order("the update is masked when the cohort is known"));
        };
        let taken = FederatedError::Order("the update of this round was masked already: masks serve once");
        let secrets = self.secrets.take().ok_or(taken)?;
        let mut masks =
            vec![(Part::Group, Mask::adding(&secrets.group)), (Part::Own, Mask::adding(&secrets.keys.self_seed))];
        let cohort = dealt.candidates.adverts.iter().filter(|advert| relayed.message.cohort.contains(&advert.owner));
        for other in cohort.filter(|advert| advert.owner != self.number) {
            let own = (self.number, &secrets.keys.mask, &self.advert.mask);
            let seed = keys::pair_seed(self.round, own, (other.owner, &other.mask));
            let seed = seed.ok_or_else(|| refuse(Who::Owner(other.owner), Why::WeakKey))?;
            let mask = if other.owner > self.number { Mask::adding(&seed) } else { Mask::subtracting(&seed) };
            masks.push((Part::Pair(other.owner), mask));
        }
        let training = self.roster.training();
        let head = Contribution {
            roster: self.round.roster,
            round: self.round.number,
            owner: self.number,
            cohort: relayed.digest,
            ring: training.ring,
            values: training.values,
        };
        Ok((head, masks))
    }

    /// Signs the list of survivors: this one, and no other in this round, which is in its book before. The answer is for the
    /// server.
    pub fn survivors(&mut self, book: &mut Book, message: &Survivors) -> Result<&Echo, FederatedError> {
        match &self.signed {
            Some((first, _)) if first != message => {
                let of = self.first_difference(first, message);
                let (asked, signer) = (self.release.is_some(), self.number);
                let why = if asked { Why::NeverBoth { of } } else { Why::TwoLists { signer } };
                return Err(refuse(Who::Server, why));
            }
            Some(_) => {}
            None => {
                let echo = self.echo(message)?;
                book.sign(self.round.number, echo.list)?;
                self.signed = Some((message.clone(), echo));
            }
        }
        Ok(&self.signed.as_ref().expect("just signed").1)
    }

    /// The first of the cohort that one list counts and the other does not.
    fn first_difference(&self, a: &Survivors, b: &Survivors) -> u16 {
        let cohort = self.relayed.iter().flat_map(|relayed| relayed.message.cohort.iter().copied());
        let differs = |owner: &u16| a.survivors.contains(owner) != b.survivors.contains(owner);
        cohort.into_iter().find(differs).unwrap_or(self.number)
    }

    fn echo(&self, message: &Survivors) -> Result<Echo, FederatedError> {
        let (who, what) = (Who::Server, Survivors::NAME);
        of_round(who, self.round, &message.roster, message.round)?;
        let relayed = self.relayed.as_ref().filter(|_| self.secrets.is_none());
        let relayed = relayed.ok_or_else(|| refuse(who, Why::Early(what)))?;
        if message.cohort != relayed.digest {
            return Err(refuse(who, Why::Double(Relay::NAME)));
        }
        if message.group != self.advert.group {
            return Err(refuse(who, Why::OtherGroup));
        }
        if message.history != self.advert.history {
            return Err(refuse(who, Why::OtherHistory));
        }
        ascending(who, what, message.survivors.iter().copied())?;
        let stranger = message.survivors.iter().find(|owner| !relayed.message.cohort.contains(owner));
        if let Some(stranger) = stranger {
            return Err(refuse(who, Why::NotInCohort(*stranger)));
        }
        let (have, need) = (message.survivors.len(), self.roster.threshold());
        if have < need {
            return Err(refuse(who, Why::BelowThreshold { what, have, need }));
        }
        if !message.survivors.contains(&self.number) {
            return Err(refuse(who, Why::NotCounted));
        }
        let (Round { roster, number: round }, owner) = (self.round, self.number);
        let mut echo = Echo { roster, round, owner, list: message.digest(), signature: Signature::default() };
        echo.signature = self.identity.sign(&purpose(Echo::NAME), &echo.signed())?;
        Ok(echo)
    }

    /// Releases shares when at least T survivors signed the very list that this owner signed, and nobody another one.
    /// The answer is for the server alone; that it was given is in the owner's book before.
    pub fn echoes(&mut self, book: &mut Book, message: &Echoes) -> Result<&Release, FederatedError> {
        self.check_echoes(message)?;
        if self.release.is_none() {
            book.release(self.round.number)?;
            let (list, echo) = self.signed.as_ref().expect("it signed");
            let held = &mut self.relayed.as_mut().expect("it has a cohort").held;
            let shares = std::mem::take(held).into_iter().map(|(of, [self_mask, mask_key])| {
                // The other share goes here.
                let survived = list.survivors.contains(&of);
                (of, if survived { Released::SelfMask(self_mask) } else { Released::MaskKey(mask_key) })
            });
            let (Round { roster, number: round }, owner) = (self.round, self.number);
            self.release = Some(Release { roster, round, owner, list: echo.list, shares: shares.collect() });
        }
        Ok(self.release.as_ref().expect("just released"))
    }

    fn check_echoes(&mut self, message: &Echoes) -> Result<(), FederatedError> {
        let (who, what) = (Who::Server, Echoes::NAME);
        of_round(who, self.round, &message.roster, message.round)?;
        if let Some(signer) = self.other {
            return Err(refuse(who, Why::TwoLists { signer }));
        }
        let Some((list, own)) = &self.signed else { return Err(refuse(who, Why::Early(what))) };
        ascending(who, what, message.echoes.iter().map(|echo| echo.owner))?;
        for echo in &message.echoes {
            of_round(Who::Owner(echo.owner), self.round, &echo.roster, echo.round)?;
            self.roster.verify(echo.owner, Echo::NAME, &echo.signed(), &echo.signature)?;
            if echo.list != own.list {
                self.other = Some(echo.owner);
                return Err(refuse(who, Why::TwoLists { signer: echo.owner }));
            }
            if !list.survivors.contains(&echo.owner) {
                return Err(refuse(who, Why::NotInCohort(echo.owner)));
            }
        }
        let (have, need) = (message.echoes.len(), self.roster.threshold());
        match have < need {
            true => Err(refuse(who, Why::BelowThreshold { what, have, need })),
            false => Ok(()),
        }
    }
}

/// What a parcel is sealed together with.
fn bound(candidates: &[u8; 32], from: u16, to: u16, self_mask: &[u8; 16], tags: &[[u8; 16]; 2]) -> Vec<u8> {
    derive::canonical(&(candidates, from, to, self_mask, tags))
}

/// Refuses adverts that are not of this round, with claims out of range, or not signed by the pinned identity.
pub(crate) fn check_advert(roster: &Roster, round: Round, advert: &Advert) -> Result<(), FederatedError> {
    let who = Who::Owner(advert.owner);
    of_round(who, round, &advert.roster, advert.round)?;
    roster.verify(advert.owner, Advert::NAME, &advert.signed(), &advert.signature)?;
    let (got, most) = (advert.rows, roster.training().most_rows);
    if got == 0 || got > most {
        return Err(refuse(who, Why::Rows { got, most }));
    }
    let order = advert.lost.is_sorted_by(|a, b| a < b) && advert.lost.last().is_none_or(|last| *last < round.number);
    match order && advert.lost.len() <= MOST_LOST {
        true => Ok(()),
        false => Err(refuse(who, Why::Lost)),
    }
}

/// Refuses parcels that are not one for each of `owners`.
pub(crate) fn check_parcels(message: &Shares, owners: &[u16]) -> Result<(), FederatedError> {
    let (who, what) = (Who::Owner(message.owner), Shares::NAME);
    ascending(who, what, message.parcels.iter().map(|parcel| parcel.to))?;
    let there = |owner: &u16| message.parcels.iter().any(|parcel| parcel.to == *owner);
    if let Some(owner) = owners.iter().find(|owner| !there(owner)) {
        return Err(refuse(who, Why::Missing { what, owner: *owner }));
    }
    if let Some(parcel) = message.parcels.iter().find(|parcel| !owners.contains(&parcel.to)) {
        return Err(refuse(who, Why::NotInCohort(parcel.to)));
    }
    let length = |parcel: &Parcel| if parcel.to == message.owner { 0 } else { SEALED };
    match message.parcels.iter().find(|parcel| parcel.sealed.len() != length(parcel)) {
        Some(parcel) => {
            let reason = format!("{} bytes sealed for owner {}", parcel.sealed.len(), parcel.to);
            Err(refuse(who, Why::Malformed { what, reason }))
        }
        None => Ok(()),
    }
}

/// Masks one update, chunk by chunk, in order: y_i = Δ_O,i + PRF(g; t, i) + b_i ± the pairwise masks.
///
/// ```compile_fail,E0277
/// fn printed(masker: ariann_federated::Masker<u32>) -> String { format!("{masker:?}") }
/// ```
pub struct Masker<R> {
    head: Contribution,
    masks: Masks<R>,
    hasher: blake3::Hasher,
    next: u64,
}

/// The digest of an update begins with its head.
pub(crate) fn update_hasher(head: &Contribution) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new_derive_key("ariann federated 1 update");
    hasher.update(&encode(head));
    hasher
}

impl<R: Ring> Masker<R> {
    fn new(head: Contribution, masks: Vec<Mask>) -> Masker<R> {
        Masker { hasher: update_hasher(&head), head, masks: Masks::new(masks), next: 0 }
    }

    /// What the server gets first.
    pub fn head(&self) -> &Contribution {
        &self.head
    }

    /// Masks the next words in place, and gives their bytes for the server. What was sent may be sent again, so whoever drives
    /// this keeps the bytes until the server has all: the masks cannot be had again.
    pub fn mask(&mut self, words: &mut [R]) -> Result<Vec<u8>, FederatedError> {
        let after = self.next + words.len() as u64;
        if after > self.head.values {
            return Err(FederatedError::Order("an update has more words than the model"));
        }
        self.masks.apply(self.next, words);
        self.next = after;
        let bytes = to_bytes(words);
        self.hasher.update(&bytes);
        Ok(bytes)
    }

    /// The digest that the server gets last.
    pub fn finish(self) -> Result<[u8; 32], FederatedError> {
        match self.next == self.head.values {
            true => Ok(*self.hasher.finalize().as_bytes()),
            false => Err(FederatedError::Order("an update has fewer words than the model")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{KeepMemory, MemorySpool, Server, Training};

    #[test]
    fn claims_out_of_range_are_refused_though_signed() {
        let identities = [(); 2].map(|()| Arc::new(Identity::ephemeral("owner").unwrap()));
        let training = Training { id: [0; 32], ring: 32, values: 1, threshold: 2, most_rows: 100 };
        let pins = [(1, identities[0].fingerprint()), (2, identities[1].fingerprint())];
        let mut roster = Roster::new(training.clone(), 1, &pins).unwrap();
        let mut book = Book::open(&training, KeepMemory::default()).unwrap();
        book.draw(&roster, 1).unwrap();
        let position = Position::start(&training);
        let begin = |roster: &Roster, book: &mut Book, rows| {
            let (roster, identity) = (Arc::new(roster.clone()), identities[0].clone());
            OwnerRound::begin(roster, identity, book, position, 1, rows)
        };
        for rows in [0, 101] {
            assert!(begin(&roster, &mut book, rows).is_err());
        }
        let mut advert = begin(&roster, &mut book, 100).unwrap().advert;
        let server =
            |roster: &Roster| Server::open(Arc::new(roster.clone()), position, 1, MemorySpool::default()).unwrap();
        let why = |error: FederatedError| error.refusal().unwrap().clone();
        let unknown = why(server(&roster).advert(1, advert.clone()).unwrap_err());
        assert_eq!(unknown, Refusal { who: Who::Owner(1), why: Why::NoCertificate });
        roster.introduce(1, &identities[0].certificate()).unwrap();
        let mut server = server(&roster);
        for rows in [0, 101, u64::MAX] {
            advert.rows = rows;
            advert.signature = identities[0].sign(&purpose(Advert::NAME), &advert.signed()).unwrap();
            let refusal = why(server.advert(1, advert.clone()).unwrap_err());
            assert_eq!(refusal, Refusal { who: Who::Owner(1), why: Why::Rows { got: rows, most: 100 } });
        }
        advert.rows = 100;
        assert_eq!(why(server.advert(1, advert.clone()).unwrap_err()).why, Why::Signature("advert"));
        advert.signature = identities[0].sign(&purpose(Advert::NAME), &advert.signed()).unwrap();
        server.advert(1, advert).unwrap();
    }
}
