//! The server in one round.
//!
//! A message that is refused changes nothing and names its sender. Decisions (who are the candidates, the cohort, the
//! survivors, who signed) are saved before they are told, so that a server that was killed tells the same again; what came
//! since the last decision comes again, as owners give the same answer to the same question.

mod state;
mod updates;

use std::collections::BTreeMap;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::error::refuse;
use crate::messages::{Message, ascending, cohort_digest, of_round};
use crate::owner::{SHARE_TAGS, check_advert, check_parcels};
use crate::shamir::is_canonical;
use crate::training::Round;
use crate::{
    Advert, Candidates, Echo, Echoes, FederatedError, Position, Record, Refusal, Relay, Relayed, Release, Released,
    Roster, Share, Shares, Spool, Survivors, Who, Why, encode,
};
pub use state::Phase;
use state::State;
use updates::Intake;
pub use updates::Total;

/// A message was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// For the first time.
    Counted,
    /// It was there already, the same; nothing changed.
    Again,
}

/// The server in one round.
pub struct Server<S> {
    roster: Arc<Roster>,
    round: Round,
    position: Position,
    state: State,
    spool: S,
    intakes: BTreeMap<u16, Intake>,
}

impl<S: Spool> Server<S> {
    /// Begins a round after `position`, or goes on with it where the spool says it was.
    pub fn open(roster: Arc<Roster>, position: Position, round: u64, spool: S) -> Result<Server<S>, FederatedError> {
        if round <= position.round {
            return Err(FederatedError::Config(format!("round {round} is in the model already")));
        }
        let round = Round { roster: roster.digest(), number: round };
        let state = match spool.load()? {
            None => State::new(round, position),
            Some(bytes) => State::decode(&bytes, round, position)?,
        };
        Ok(Server { roster, round, position, state, spool, intakes: BTreeMap::new() })
    }

    #[cfg(test)]
    pub(crate) fn spool(&self) -> &S {
        &self.spool
    }

    #[cfg(test)]
    pub(crate) fn roster_digest(&self) -> [u8; 32] {
        self.roster.digest()
    }

    /// Where the round stands.
    pub fn phase(&self) -> Phase {
        self.state.phase
    }

    /// The round's number.
    pub fn round(&self) -> u64 {
        self.round.number
    }

    /// Owners whose message of the running phase is there.
    pub fn arrived(&self) -> Result<Vec<u16>, FederatedError> {
        Ok(match self.state.phase {
            Phase::Adverts => self.state.adverts.keys().copied().collect(),
            Phase::Shares => self.state.shares.keys().copied().collect(),
            Phase::Updates => self.spool.finished()?.into_keys().collect(),
            Phase::Echoes => self.state.echoes.keys().copied().collect(),
            Phase::Releases | Phase::Done => self.state.releases.keys().copied().collect(),
        })
    }

    fn save(&mut self, phase: Phase) -> Result<(), FederatedError> {
        let before = std::mem::replace(&mut self.state.phase, phase);
        self.spool.save(&self.state.encode()).inspect_err(|_| self.state.phase = before)
    }

    /// Refuses messages that are not from whom they say, or not of this round.
    fn check(&self, from: u16, owner: u16, roster: &[u8; 32], number: u64) -> Result<(), FederatedError> {
        let who = Who::Owner(from);
        if !self.roster.has(from) {
            return Err(refuse(who, Why::NotAMember(from)));
        }
        if owner != from {
            return Err(refuse(who, Why::Sender(owner)));
        }
        of_round(who, self.round, roster, number)
    }

    fn below(&self, phase: &'static str, have: usize) -> Result<(), FederatedError> {
        let (need, round) = (self.roster.threshold(), self.round.number);
        match have < need {
            true => Err(FederatedError::BelowThreshold { round, phase, have, need }),
            false => Ok(()),
        }
    }

    /// An owner's keys, from the owner that the link's identity names.
    pub fn advert(&mut self, from: u16, message: Advert) -> Result<Accepted, FederatedError> {
        let who = Who::Owner(from);
        self.check(from, message.owner, &message.roster, message.round)?;
        check_advert(&self.roster, self.round, &message)?;
        if message.history != self.position.head {
            return Err(refuse(who, Why::OtherHistory));
        }
        take(&mut self.state.adverts, who, message, from, self.state.phase == Phase::Adverts)
    }

    /// Fixes the candidates. Where owners hold different group keys, the smaller part of them is refused.
    pub fn close_adverts(&mut self) -> Result<(Candidates, Vec<Refusal>), FederatedError> {
        self.at(Phase::Adverts)?;
        let mut groups: BTreeMap<[u8; 16], usize> = BTreeMap::new();
        self.state.adverts.values().for_each(|advert| *groups.entry(advert.group).or_default() += 1);
        let most = groups.into_iter().max_by_key(|(_, owners)| *owners);
        let fits = |advert: &Advert| most.is_some_and(|(group, _)| advert.group == group);
        let odd = self.state.adverts.values().filter(|advert| !fits(advert));
        let refused = odd.map(|advert| Refusal { who: Who::Owner(advert.owner), why: Why::OtherGroup }).collect();
        self.below("keys", self.state.adverts.values().filter(|advert| fits(advert)).count())?;
        self.state.adverts.retain(|_, advert| fits(advert));
        self.save(Phase::Shares)?;
        Ok((self.candidates()?, refused))
    }

    /// The list of candidates, for each of them.
    pub fn candidates(&self) -> Result<Candidates, FederatedError> {
        self.after(Phase::Adverts)?;
        let adverts = self.state.adverts.values().cloned().collect();
        Ok(Candidates { roster: self.round.roster, round: self.round.number, adverts })
    }

    /// Rows of the candidates, for the public weights.
    pub fn rows(&self) -> Vec<(u16, u64)> {
        self.state.adverts.values().map(|advert| (advert.owner, advert.rows)).collect()
    }

    /// A candidate's sealed shares.
    pub fn shares(&mut self, from: u16, message: Shares) -> Result<Accepted, FederatedError> {
        let who = Who::Owner(from);
        self.check(from, message.owner, &message.roster, message.round)?;
        if self.state.phase == Phase::Adverts {
            return Err(refuse(who, Why::Early(Shares::NAME)));
        }
        let owners: Vec<u16> = self.state.adverts.keys().copied().collect();
        if !owners.contains(&from) {
            return Err(refuse(who, Why::NotInCohort(from)));
        }
        check_parcels(&message, &owners)?;
        self.roster.verify(from, Shares::NAME, &message.signed(), &message.signature)?;
        if message.candidates != self.candidates()?.digest() {
            return Err(refuse(who, Why::OtherList));
        }
        take(&mut self.state.shares, who, message, from, self.state.phase == Phase::Shares)
    }

    /// Fixes the cohort, and says who they are.
    pub fn close_shares(&mut self) -> Result<Vec<u16>, FederatedError> {
        self.at(Phase::Shares)?;
        self.below("shares", self.state.shares.len())?;
        self.save(Phase::Updates)?;
        Ok(self.cohort())
    }

    fn cohort(&self) -> Vec<u16> {
        self.state.shares.keys().copied().collect()
    }

    fn cohort_digest(&self) -> Result<[u8; 32], FederatedError> {
        Ok(cohort_digest(self.round, &self.candidates()?.digest(), &self.cohort()))
    }

    /// The cohort, and what its members sealed for one of them.
    pub fn relay(&self, to: u16) -> Result<Relay, FederatedError> {
        self.after(Phase::Shares)?;
        if !self.state.shares.contains_key(&to) {
            return Err(refuse(Who::Owner(to), Why::NotInCohort(to)));
        }
        let others = self.state.shares.values().filter(|shares| shares.owner != to);
        let parcels = others.filter_map(|shares| {
            let parcel = shares.parcels.iter().find(|parcel| parcel.to == to)?;
            let (self_mask, tags, sealed) = (shares.self_mask, parcel.tags, parcel.sealed.clone());
            Some(Relayed { from: shares.owner, self_mask, tags, sealed })
        });
        let (Round { roster, number: round }, candidates) = (self.round, self.candidates()?.digest());
        Ok(Relay { roster, round, to, candidates, cohort: self.cohort(), parcels: parcels.collect() })
    }

    /// A member of the cohort took what the others had sealed for it, but for the boxes of these.
    pub fn taken(&mut self, from: u16, closed: &[u16]) -> Result<(), FederatedError> {
        let (who, what) = (Who::Owner(from), "word of boxes");
        if self.state.phase <= Phase::Shares {
            return Err(refuse(who, Why::Early(what)));
        }
        ascending(who, what, closed.iter().copied())?;
        let stranger = [from].into_iter().chain(closed.iter().copied()).find(|of| !self.state.shares.contains_key(of));
        if let Some(stranger) = stranger.or(closed.iter().copied().find(|of| *of == from)) {
            return Err(refuse(who, Why::NotInCohort(stranger)));
        }
        self.state.closed.insert(from, closed.to_vec());
        Ok(())
    }

    /// How many could not open the box of an owner.
    fn closed_to(&self, of: u16) -> usize {
        self.state.closed.values().filter(|closed| closed.contains(&of)).count()
    }

    /// Refuses the first owner whose secrets cannot be had, as too few can open what it sealed: more than may leave the cohort.
    /// So many are not all at fault themselves.
    pub fn check_boxes(&self) -> Result<(), FederatedError> {
        let cohort = self.cohort();
        let spare = cohort.len().saturating_sub(self.roster.threshold());
        match cohort.into_iter().map(|of| (of, self.closed_to(of))).find(|(_, closed)| *closed > spare) {
            Some((of, closed)) => Err(refuse(Who::Owner(of), Why::Boxes { closed })),
            None => Ok(()),
        }
    }

    /// Fixes the survivors: all whose updates are whole.
    pub fn close_updates(&mut self) -> Result<Survivors, FederatedError> {
        self.at(Phase::Updates)?;
        let whole: Vec<u16> = self.spool.finished()?.into_keys().collect();
        self.below("updates", whole.len())?;
        self.state.survivors = whole;
        self.save(Phase::Echoes).inspect_err(|_| self.state.survivors.clear())?;
        let unfinished: Vec<u16> = std::mem::take(&mut self.intakes).into_keys().collect();
        unfinished.into_iter().for_each(|owner| self.spool.drop_part(owner));
        self.survivors()
    }

    /// The list of survivors: one, the same for all.
    pub fn survivors(&self) -> Result<Survivors, FederatedError> {
        self.after(Phase::Updates)?;
        let (Round { roster, number: round }, cohort) = (self.round, self.cohort_digest()?);
        let (group, history) = (self.group()?, self.position.head);
        Ok(Survivors { roster, round, group, history, cohort, survivors: self.state.survivors.clone() })
    }

    fn survivor(&self, from: u16, what: &'static str) -> Result<[u8; 32], FederatedError> {
        let who = Who::Owner(from);
        if self.state.phase < Phase::Echoes {
            return Err(refuse(who, Why::Early(what)));
        }
        match self.state.survivors.contains(&from) {
            true => Ok(self.survivors()?.digest()),
            false => Err(refuse(who, Why::NotInCohort(from))),
        }
    }

    /// A survivor's signature under the list.
    pub fn echo(&mut self, from: u16, message: Echo) -> Result<Accepted, FederatedError> {
        self.check(from, message.owner, &message.roster, message.round)?;
        let list = self.survivor(from, Echo::NAME)?;
        self.roster.verify(from, Echo::NAME, &message.signed(), &message.signature)?;
        if message.list != list {
            return Err(refuse(Who::Owner(from), Why::OtherList));
        }
        take(&mut self.state.echoes, Who::Owner(from), message, from, self.state.phase == Phase::Echoes)
    }

    /// Fixes who signed.
    pub fn close_echoes(&mut self) -> Result<Echoes, FederatedError> {
        self.at(Phase::Echoes)?;
        self.below("echoes", self.state.echoes.len())?;
        self.save(Phase::Releases)?;
        self.echoes()
    }

    /// The signatures, for each survivor.
    pub fn echoes(&self) -> Result<Echoes, FederatedError> {
        self.after(Phase::Echoes)?;
        let (Round { roster, number: round }, echoes) = (self.round, self.state.echoes.values().cloned().collect());
        Ok(Echoes { roster, round, echoes })
    }

    /// A survivor's shares.
    pub fn release(&mut self, from: u16, message: Release) -> Result<Accepted, FederatedError> {
        let (who, what) = (Who::Owner(from), Release::NAME);
        self.check(from, message.owner, &message.roster, message.round)?;
        let list = self.survivor(from, what)?;
        if self.state.phase < Phase::Releases {
            return Err(refuse(who, Why::Early(what)));
        }
        if message.list != list {
            return Err(refuse(who, Why::OtherList));
        }
        ascending(who, what, message.shares.iter().map(|(of, _)| *of))?;
        for (of, released) in &message.shares {
            self.check_share(from, *of, released)?;
        }
        // All of them, but those that it said it had not.
        let closed = self.state.closed.get(&from).map_or(&[][..], |closed| closed);
        let there = |owner: &u16| closed.contains(owner) || message.shares.iter().any(|(of, _)| of == owner);
        if let Some(owner) = self.cohort().into_iter().find(|owner| !there(owner)) {
            return Err(refuse(who, Why::Missing { what, owner }));
        }
        if let Some(first) = self.state.releases.get(&from) {
            let [first, second] = [first, &message].map(|release| Zeroizing::new(encode(release)));
            return if first == second { Ok(Accepted::Again) } else { Err(refuse(who, Why::Double(what))) };
        }
        if self.state.phase == Phase::Done {
            return Err(refuse(who, Why::Late(what)));
        }
        self.state.releases.insert(from, message);
        Ok(Accepted::Counted)
    }

    /// Refuses a share of the wrong secret, or that is not the one that `of` dealt to `from`.
    fn check_share(&self, from: u16, of: u16, released: &Released) -> Result<(), FederatedError> {
        let who = Who::Owner(from);
        let dealt = self.state.shares.get(&of).ok_or_else(|| refuse(who, Why::NotInCohort(of)))?;
        let (at, share): (usize, &Share) = match released {
            Released::SelfMask(share) => (0, share),
            Released::MaskKey(share) => (1, share),
        };
        if self.state.survivors.contains(&of) != (at == 0) {
            return Err(refuse(who, Why::NeverBoth { of }));
        }
        let tag = self.round.tag(SHARE_TAGS[at], [of, from], share.expose());
        let parcel = dealt.parcels.iter().find(|parcel| parcel.to == from);
        match parcel.is_some_and(|parcel| parcel.tags[at] == tag) && is_canonical(share) {
            true => Ok(()),
            false => Err(refuse(who, Why::Share { of })),
        }
    }

    /// Whether there are shares enough for the result. More may still come.
    pub fn is_enough(&self) -> bool {
        let count = |of: u16| self.shares_of(of).len();
        self.state.phase >= Phase::Releases && self.cohort().into_iter().all(|of| count(of) >= self.roster.threshold())
    }

    /// The released shares of one owner's secret, with who released them.
    fn shares_of(&self, of: u16) -> Vec<(u16, &Share)> {
        let found = self.state.releases.iter().filter_map(|(from, release)| {
            let (_, released) = release.shares.iter().find(|(owner, _)| *owner == of)?;
            let (Released::SelfMask(share) | Released::MaskKey(share)) = released;
            Some((*from, share))
        });
        found.collect()
    }

    /// Ends the round: from here on [`Server::total`] gives the sum.
    pub fn close_releases(&mut self) -> Result<Record, FederatedError> {
        self.at(Phase::Releases)?;
        self.below("releases", self.state.releases.len())?;
        let (need, round) = (self.roster.threshold(), self.round.number);
        let all = self.cohort().into_iter().map(|of| (of, self.shares_of(of).len()));
        if let Some((of, have)) = all.into_iter().find(|(_, have)| *have < need) {
            return Err(FederatedError::Unshared { round, of, have, need, closed: self.closed_to(of) });
        }
        self.recover()?;
        self.save(Phase::Done)?;
        self.record()
    }

    /// The entry of the public list of rounds.
    pub fn record(&self) -> Result<Record, FederatedError> {
        self.after(Phase::Releases)?;
        let Survivors { roster, round, group, history, cohort, survivors } = self.survivors()?;
        let echoes = self.state.echoes.values().map(|echo| (echo.owner, echo.signature));
        Ok(Record {
            training: self.roster.training().digest(),
            roster,
            epoch: self.roster.epoch(),
            group,
            round,
            cohort,
            survivors,
            previous: history,
            echoes: echoes.take(self.roster.threshold()).collect(),
        })
    }

    /// The tag of the candidates' group key.
    fn group(&self) -> Result<[u8; 16], FederatedError> {
        let group = self.state.adverts.values().next().map(|advert| advert.group);
        group.ok_or(FederatedError::Order("a round without owners has no group key"))
    }

    fn at(&self, phase: Phase) -> Result<(), FederatedError> {
        match self.state.phase == phase {
            true => Ok(()),
            false => Err(FederatedError::Order("the round is in another phase")),
        }
    }

    fn after(&self, phase: Phase) -> Result<(), FederatedError> {
        match self.state.phase > phase {
            true => Ok(()),
            false => Err(FederatedError::Order("the round has not come so far")),
        }
    }
}

/// Takes a message: the first of an owner while its phase runs, the same one always, another one never.
fn take<M: Message + PartialEq>(
    into: &mut BTreeMap<u16, M>,
    who: Who,
    message: M,
    from: u16,
    open: bool,
) -> Result<Accepted, FederatedError> {
    match into.get(&from) {
        Some(first) if *first == message => Ok(Accepted::Again),
        Some(_) => Err(refuse(who, Why::Double(M::NAME))),
        None if !open => Err(refuse(who, Why::Late(M::NAME))),
        None => {
            into.insert(from, message);
            Ok(Accepted::Counted)
        }
    }
}
