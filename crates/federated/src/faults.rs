//! Test builds only: trainings whose owners leave masks out, and what their server and owners could put together.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use super::{Mask, Masks, OwnerRound, Part};
use crate::roles::add_update;
use crate::{FolderSpool, Server, Spool, keys};

/// What all owners leave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// The group mask is zero.
    Group,
    /// The pairwise mask of these two is zero.
    Pair(u16, u16),
    /// Nobody can open what this one seals.
    Boxes(u16),
    /// This one announces another secret than it shares.
    Secret(u16),
    /// This one is cut off when it is to release its shares, once.
    Cut(u16),
    /// These owners release nothing in these rounds; and the server says nothing of it.
    Withheld(&'static [(u16, u64)], bool),
}

/// All words of one round that tests put together, by owner.
#[derive(Clone, Default)]
pub(crate) struct Round {
    /// y, as it came to the server.
    pub update: BTreeMap<u16, Vec<u32>>,
    /// b, as it was released to the server.
    pub own: BTreeMap<u16, Vec<u32>>,
    /// The server's shares of the weighted updates.
    pub server: BTreeMap<u16, Vec<u32>>,
    /// PRF(g; t, i), as all owners can compute it.
    pub group: BTreeMap<u16, Vec<u32>>,
    /// What the first owner added for the second one, or took away: both have the key.
    pub pair: BTreeMap<(u16, u16), Vec<u32>>,
}

fn fault(roster: [u8; 32]) -> Fault {
    WATCHED.lock().unwrap().get(&roster).map_or(Fault::None, |(fault, _)| *fault)
}

/// What an owner seals for another.
pub(super) fn sealed(owner: &OwnerRound, sealed: &mut [u8]) {
    if fault(owner.round.roster) == Fault::Boxes(owner.number) {
        sealed[0] ^= 1;
    }
}

/// The tag of its self mask.
pub(super) fn announced(owner: &OwnerRound, mut tag: [u8; 16]) -> [u8; 16] {
    if fault(owner.round.roster) == Fault::Secret(owner.number) {
        tag[0] ^= 1;
    }
    tag
}

/// Whether an owner is cut off (true) or refuses (false) when it is to release its shares.
pub(crate) fn releasing(roster: [u8; 32], owner: u16, round: u64) -> Option<bool> {
    match fault(roster) {
        Fault::Cut(cut) if cut == owner => {
            WATCHED.lock().unwrap().get_mut(&roster).unwrap().0 = Fault::None;
            Some(true)
        }
        Fault::Withheld(at, _) if at.contains(&(owner, round)) => Some(false),
        _ => None,
    }
}

/// Whether the server keeps quiet about rounds that are lost.
pub(crate) fn quiet(roster: [u8; 32]) -> bool {
    matches!(fault(roster), Fault::Withheld(_, true))
}

type Watched = BTreeMap<[u8; 32], (Fault, Round)>;

/// By the digest of the roster.
static WATCHED: Mutex<Watched> = Mutex::new(BTreeMap::new());

/// From now on the owners of a roster have this fault, and the last round is kept.
pub(crate) fn watch(roster: [u8; 32], fault: Fault) {
    WATCHED.lock().unwrap().insert(roster, (fault, Round::default()));
}

/// What was seen.
pub(crate) fn seen(roster: [u8; 32]) -> Round {
    WATCHED.lock().unwrap()[&roster].1.clone()
}

fn words(mask: Mask, values: usize) -> Vec<u32> {
    let mut words = vec![0; values];
    Masks::new(vec![mask]).apply(0, &mut words);
    words
}

/// What an owner is about to put on its update.
pub(super) fn masking(owner: &OwnerRound) {
    let mut watched = WATCHED.lock().unwrap();
    let Some((_, round)) = watched.get_mut(&owner.round.roster) else { return };
    let (secrets, values) = (owner.secrets.as_ref().unwrap(), owner.roster.training().values as usize);
    round.group.insert(owner.number, words(Mask::adding(&secrets.group), values));
    let cohort = &owner.relayed.as_ref().unwrap().message.cohort;
    for other in &owner.dealt.as_ref().unwrap().candidates.adverts {
        if other.owner != owner.number && cohort.contains(&other.owner) {
            let own = (owner.number, &secrets.keys.mask, &owner.advert.mask);
            let seed = keys::pair_seed(owner.round, own, (other.owner, &other.mask)).unwrap();
            let mask = if other.owner > owner.number { Mask::adding(&seed) } else { Mask::subtracting(&seed) };
            round.pair.insert((owner.number, other.owner), words(mask, values));
        }
    }
}

/// The masks that are put on it all the same.
pub(super) fn kept(owner: &OwnerRound, masks: Vec<(Part, Mask)>) -> Vec<(Part, Mask)> {
    let fault = fault(owner.round.roster);
    let left_out = |part: Part| match (fault, part) {
        (Fault::Group, Part::Group) => true,
        (Fault::Pair(a, b), Part::Pair(other)) => [(a, b), (b, a)].contains(&(owner.number, other)),
        _ => false,
    };
    masks.into_iter().filter(|(part, _)| !left_out(*part)).collect()
}

/// What the server has when it is about to apply a round.
pub(crate) fn applying(server: &Server<FolderSpool>, survivors: &[u16], folder: &Path) {
    let mut watched = WATCHED.lock().unwrap();
    let Some((_, round)) = watched.get_mut(&server.roster_digest()) else { return };
    let values = round.group.values().next().unwrap().len();
    for (owner, seed) in survivors.iter().zip(&server.recover().unwrap().self_masks) {
        let mut bytes = vec![0; 4 * values];
        server.spool().read(*owner, 0, &mut bytes).unwrap();
        let update = bytes.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().unwrap()));
        round.update.insert(*owner, update.collect());
        round.own.insert(*owner, words(Mask::adding(seed), values));
        let mut share = vec![0; values];
        add_update(folder, *owner, &mut share).unwrap();
        round.server.insert(*owner, share);
    }
}
