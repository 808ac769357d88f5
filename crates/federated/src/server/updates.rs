//! Updates as they come in, and their sum.

use ariann_prg::Seed;
use ariann_ring::Ring;
use x25519_dalek::StaticSecret;

use super::{Accepted, Phase, Server};
use crate::error::refuse;
use crate::keys::{mask_key, pair_seed, public};
use crate::masks::{CHUNK, Mask, Masks, from_bytes};
use crate::messages::Message;
use crate::model::check_ring;
use crate::owner::{SELF_TAG, update_hasher};
use crate::shamir;
use crate::{Contribution, FederatedError, Spool, Who, Why};

/// An update on its way.
pub(crate) struct Intake {
    hasher: blake3::Hasher,
    bytes: u64,
    /// The digest of one that is whole already: this one is compared with it, and not kept.
    known: Option<[u8; 32]>,
}

/// What the released shares give.
pub(crate) struct Recovered {
    /// Seeds of the survivors' self masks.
    pub self_masks: Vec<Seed>,
    /// Mask keys of the rest of the cohort.
    pub mask_keys: Vec<(u16, StaticSecret)>,
}

impl<S: Spool> Server<S> {
    /// A member of the cohort begins to send its update. Beginning again, it begins anew.
    pub fn begin_update(&mut self, from: u16, head: &Contribution) -> Result<(), FederatedError> {
        let (who, what) = (Who::Owner(from), Contribution::NAME);
        self.check(from, head.owner, &head.roster, head.round)?;
        if self.state.phase < Phase::Updates {
            return Err(refuse(who, Why::Early(what)));
        }
        if !self.state.shares.contains_key(&from) {
            return Err(refuse(who, Why::NotInCohort(from)));
        }
        if head.cohort != self.cohort_digest()? {
            return Err(refuse(who, Why::OtherList));
        }
        let training = self.roster.training();
        if head.ring != training.ring {
            return Err(refuse(who, Why::Ring { expected: training.ring, got: head.ring }));
        }
        if head.values != training.values {
            let got = head.values.saturating_mul(u64::from(head.ring / 8));
            return Err(refuse(who, Why::Length { expected: training.bytes(), got }));
        }
        let known = self.spool.finished()?.get(&from).copied();
        if known.is_none() && self.state.phase > Phase::Updates {
            return Err(refuse(who, Why::Late(what)));
        }
        if known.is_none() {
            self.spool.begin(from)?;
        }
        self.intakes.insert(from, Intake { hasher: update_hasher(head), bytes: 0, known });
        Ok(())
    }

    /// More bytes of an update.
    pub fn update_bytes(&mut self, from: u16, bytes: &[u8]) -> Result<(), FederatedError> {
        let (late, expected) = (self.state.phase > Phase::Updates, self.roster.training().bytes());
        let intake = self.intake(from, late)?;
        let got = intake.bytes.saturating_add(bytes.len() as u64);
        if got > expected {
            self.give_up(from);
            return Err(refuse(Who::Owner(from), Why::Length { expected, got }));
        }
        intake.bytes = got;
        intake.hasher.update(bytes);
        if intake.known.is_none() {
            self.spool.append(from, bytes).inspect_err(|_| self.give_up(from))?;
        }
        Ok(())
    }

    fn intake(&mut self, from: u16, late: bool) -> Result<&mut Intake, FederatedError> {
        let why = if late { Why::Late(Contribution::NAME) } else { Why::Early(Contribution::NAME) };
        self.intakes.get_mut(&from).ok_or_else(|| refuse(Who::Owner(from), why))
    }

    fn give_up(&mut self, from: u16) {
        if self.intakes.remove(&from).is_some_and(|intake| intake.known.is_none()) {
            self.spool.drop_part(from);
        }
    }

    /// An update ends. It counts when it is whole, and when no other one of this owner counts.
    pub fn finish_update(&mut self, from: u16, digest: [u8; 32]) -> Result<Accepted, FederatedError> {
        let (who, what) = (Who::Owner(from), Contribution::NAME);
        let (late, expected) = (self.state.phase > Phase::Updates, self.roster.training().bytes());
        let intake = self.intake(from, late)?;
        let (got, computed, known) = (intake.bytes, *intake.hasher.finalize().as_bytes(), intake.known);
        if got != expected {
            self.give_up(from);
            return Err(refuse(who, Why::Length { expected, got }));
        }
        if computed != digest {
            self.give_up(from);
            return Err(refuse(who, Why::Digest));
        }
        match known {
            Some(known) => {
                self.intakes.remove(&from);
                if known == digest { Ok(Accepted::Again) } else { Err(refuse(who, Why::Double(what))) }
            }
            None => {
                self.spool.finish(from, digest)?;
                self.intakes.remove(&from);
                Ok(Accepted::Counted)
            }
        }
    }

    /// Joins the released shares, and checks what they give against what was announced.
    pub(crate) fn recover(&self) -> Result<Recovered, FederatedError> {
        let mut recovered = Recovered { self_masks: Vec::new(), mask_keys: Vec::new() };
        for (of, dealt) in &self.state.shares {
            let wrong = || refuse(Who::Owner(*of), Why::Secret);
            let seed = shamir::join(&self.shares_of(*of), self.roster.threshold()).ok_or_else(wrong)?;
            if self.state.survivors.contains(of) {
                if self.round.tag(SELF_TAG, [*of; 2], seed.expose()) != dealt.self_mask {
                    return Err(wrong());
                }
                recovered.self_masks.push(seed);
            } else {
                let secret = mask_key(&seed);
                if self.state.adverts.get(of).is_none_or(|advert| advert.mask != public(&secret)) {
                    return Err(wrong());
                }
                recovered.mask_keys.push((*of, secret));
            }
        }
        Ok(recovered)
    }

    /// The sum of a round that is done.
    pub fn total<R: Ring>(&self) -> Result<Total<'_, S, R>, FederatedError> {
        check_ring::<R>(self.roster.training())?;
        self.after(Phase::Releases)?;
        let recovered = self.recover()?;
        let mut masks: Vec<Mask> = recovered.self_masks.iter().map(Mask::subtracting).collect();
        let key = |owner: &u16| self.state.adverts[owner].mask;
        for (gone, secret) in &recovered.mask_keys {
            for survivor in &self.state.survivors {
                let weak = || refuse(Who::Owner(*survivor), Why::WeakKey);
                let (own, other) = ((*gone, secret, &key(gone)), (*survivor, &key(survivor)));
                let seed = pair_seed(self.round, own, other).ok_or_else(weak)?;
                // The survivor i added p_ij for j > i.
                masks.push(if gone > survivor { Mask::subtracting(&seed) } else { Mask::adding(&seed) });
            }
        }
        let survivors = &self.state.survivors;
        Ok(Total { spool: &self.spool, survivors, masks: Masks::new(masks), values: self.roster.training().values })
    }
}

/// Y = Σ Δ_O,i + ρ over the survivors: what the server adds to its share of the model, chunk by chunk.
pub struct Total<'a, S, R> {
    spool: &'a S,
    survivors: &'a [u16],
    masks: Masks<R>,
    values: u64,
}

impl<S: Spool, R: Ring> Total<'_, S, R> {
    /// Adds words `first`, `first + 1`, ... of the sum to `words`.
    pub fn add_to(&self, first: u64, words: &mut [R]) -> Result<(), FederatedError> {
        if first.checked_add(words.len() as u64).is_none_or(|end| end > self.values) {
            return Err(FederatedError::Order("the sum has not so many words"));
        }
        let size = size_of::<R>();
        let most = words.len().min(CHUNK);
        let (mut bytes, mut update) = (vec![0; most * size], vec![R::ZERO; most]);
        for (at, part) in (first..).step_by(CHUNK).zip(words.chunks_mut(CHUNK)) {
            let (bytes, update) = (&mut bytes[..size_of_val(part)], &mut update[..part.len()]);
            for owner in self.survivors {
                self.spool.read(*owner, at * size as u64, bytes)?;
                from_bytes(bytes, update);
                part.iter_mut().zip(update.iter()).for_each(|(sum, word)| *sum = sum.add(*word));
            }
        }
        self.masks.apply(first, words);
        Ok(())
    }
}
