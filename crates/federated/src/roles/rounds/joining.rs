//! A round begins: who is there joins it, and gets what it lacks.

use std::collections::{BTreeMap, BTreeSet};

use ariann_ring::Ring;
use ariann_session::SessionError;
use ariann_session::events::Events;

use super::super::config::seconds;
use super::super::link::{Heard, Order};
use super::super::report::OwnerStatus;
use super::super::server::{Serving, keep_share};
use super::super::wire::{FromOwner, Past, ToOwner};
use super::{Phased, Play, odd};

/// Times that owners without a group key are asked again, when others have learnt keys meanwhile.
const PASSES: usize = 3;

impl<R: Ring> Serving<'_, R> {
    /// Brings all who are there to the round, and the group key to those who lack it.
    pub(super) fn begin(&mut self, play: &mut Play, events: &mut dyn Events) -> Result<(), SessionError> {
        let pasts: BTreeMap<u16, Past> =
            self.owners.iter().map(|(owner, at)| (*owner, self.past(at.hello.round))).collect();
        let number = play.number;
        let drawn = self.ledger.drawn >= self.roster.epoch();
        let message = |owner: u16| Some(ToOwner::Round { round: number, past: pasts.get(&owner)?.clone(), drawn });
        let mut lacking: BTreeMap<u16, Vec<u8>> = BTreeMap::new();
        let mut joined = BTreeSet::new();
        self.ask(play, "joining", events, message, |owner, heard| match heard {
            Heard::Answer { answer: FromOwner::Joins, .. } => {
                joined.insert(owner);
                Ok(())
            }
            Heard::Answer { answer: FromOwner::Lacks(request), .. } => {
                lacking.insert(owner, request);
                Ok(())
            }
            _ => Err(odd()),
        })?;
        self.hand_out_keys(play, events, lacking, joined, &message)?;
        if !play.active.is_empty() && self.ledger.drawn < self.roster.epoch() {
            self.ledger.drawn = self.roster.epoch();
            self.save()?;
        }
        // What they have applied need not be sent again.
        let position = self.position().round;
        for owner in &play.active {
            if let Some(at) = self.owners.get_mut(owner) {
                (at.hello.round, at.hello.has_key) = (position, true);
            }
        }
        Ok(())
    }

    /// Relays requests for group keys until all have theirs, or nobody has more to give: the keeper of a new epoch may need the
    /// keys of those before, and the others need its own.
    fn hand_out_keys(
        &mut self,
        play: &mut Play,
        events: &mut dyn Events,
        mut lacking: BTreeMap<u16, Vec<u8>>,
        mut joined: BTreeSet<u16>,
        message: &dyn Fn(u16) -> Option<ToOwner>,
    ) -> Result<(), SessionError> {
        for _ in 0..PASSES {
            for (owner, mut request) in std::mem::take(&mut lacking) {
                // Those who take part have the key in force; others may have one that came before it.
                let others = play.active.iter().filter(|other| !joined.contains(other));
                let granters: Vec<u16> = joined.iter().chain(others).copied().filter(|it| *it != owner).collect();
                let mut lacks = play.active.contains(&owner);
                for granter in granters {
                    if !lacks || !play.active.contains(&granter) {
                        continue;
                    }
                    let (mut grant, order) = (None, Order::Ask(ToOwner::Request(request.clone())));
                    self.one(play, "group key", vec![(granter, order)], events, |_, heard| match heard {
                        Heard::Answer { answer: FromOwner::Grant(bytes), .. } => {
                            grant = Some(bytes);
                            Ok(())
                        }
                        Heard::Answer { answer: FromOwner::Lacks(_), .. } => Ok(()),
                        _ => Err(odd()),
                    })?;
                    let Some(grant) = grant else { continue };
                    self.one(play, "group key", vec![(owner, Order::Ask(ToOwner::Grant(grant)))], events, |_, _| {
                        Ok(())
                    })?;
                    let again = message(owner).filter(|_| play.active.contains(&owner));
                    let order = again.map(|message| (owner, Order::Ask(message)));
                    lacks = false;
                    self.one(play, "joining", order.into_iter().collect(), events, |_, heard| match heard {
                        Heard::Answer { answer: FromOwner::Joins, .. } => {
                            joined.insert(owner);
                            Ok(())
                        }
                        Heard::Answer { answer: FromOwner::Lacks(more), .. } => {
                            (request, lacks) = (more, true);
                            Ok(())
                        }
                        _ => Err(odd()),
                    })?;
                }
                if lacks {
                    lacking.insert(owner, request);
                }
            }
        }
        for owner in lacking.into_keys() {
            let why = "nobody who is there has the group key".to_string();
            play.leaves(owner, OwnerStatus::Waits { why }, events);
        }
        Ok(())
    }

    /// Takes the server's first share of the model, of the owner that brings it.
    pub(super) fn fetch_initial(&mut self, play: &mut Play, events: &mut dyn Events) -> Result<(), SessionError> {
        let Some(owner) = self.common.plan.federation.initial.filter(|_| self.share.is_none()) else { return Ok(()) };
        let limit = seconds(self.config.deadline.training, "deadline.training")?;
        let order = play.active.contains(&owner).then(|| (owner, Order::Fetch(ToOwner::Initial)));
        let mut fetched = None;
        let phase = Phased { name: "the model to begin with", limit, at_once: 1 };
        self.gather(play, &phase, order.into_iter().collect(), events, |_, heard| match heard {
            Heard::Fetched { words, .. } => {
                fetched = Some(words);
                Ok(())
            }
            _ => Err(odd()),
        })?;
        let Some(words) = fetched else {
            let reason = format!("round {}: owner {owner}, who brings the model, did not bring it", play.number);
            return Err(SessionError::Role {
                role: "the round".to_string(),
                reason,
                fault: ariann_session::Fault::Peer,
            });
        };
        let path = self.config.state.join("model");
        self.share = Some(keep_share(&path, self.common.plan.training(), &words)?);
        Ok(())
    }
}
