//! What a round of secure aggregation costs the server and one owner in seconds and bytes, beside all training: the state
//! machines in one process and one thread, where updates wait in memory. Links and disks are not in the figures.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ariann_net::Identity;
use ariann_ring::Ring;

use crate::{
    Book, CHUNK, FederatedError, KeepMemory, MOST_OWNERS, MemorySpool, Message, OwnerRound, Position, Request, Roster,
    Server, Survived, Training, Who, decode, encode,
};

/// What a round cost.
#[derive(Clone, Debug, PartialEq)]
pub struct Figures {
    /// Owners of the roster.
    pub owners: u16,
    /// Of them, those that drop out after they sent their shares, which costs the server most.
    pub dropped: u16,
    /// Values of the model.
    pub values: u64,
    /// Bits of the ring.
    pub ring: u32,
    /// The server.
    pub server: Cost,
    /// The owner with the lowest number.
    pub owner: Cost,
}

/// What a round cost one role.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cost {
    /// Seconds by kind of work.
    pub parts: BTreeMap<&'static str, f64>,
    /// Bytes sent.
    pub sent: u64,
    /// Bytes received.
    pub received: u64,
}

impl Cost {
    /// Seconds in all.
    pub fn seconds(&self) -> f64 {
        self.parts.values().sum()
    }
}

/// One round of `owners` owners, of which `dropped` drop out. The sum that it gives is checked.
pub fn measure(owners: u16, dropped: u16, values: u64, ring: u32) -> Result<Figures, FederatedError> {
    let threshold = owners / 2 + 1;
    if usize::from(owners) > MOST_OWNERS || owners < 2 || dropped > owners - threshold {
        let reason =
            format!("{owners} owners, of which {dropped} drop out: 2 to {MOST_OWNERS}, and more than half stay");
        return Err(FederatedError::Config(reason));
    }
    let training = Training { id: [1; 32], ring, values, threshold, most_rows: 1 << 32 };
    match ring {
        64 => run::<u64>(training, owners, dropped),
        _ => run::<u32>(training, owners, dropped),
    }
}

#[derive(Default)]
struct Meter {
    time: BTreeMap<&'static str, Duration>,
    sent: u64,
    received: u64,
}

impl Meter {
    fn time<T>(&mut self, what: &'static str, work: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let result = work();
        *self.time.entry(what).or_default() += begun.elapsed();
        result
    }

    fn cost(&self) -> Cost {
        let parts = self.time.iter().map(|(what, time)| (*what, time.as_secs_f64())).collect();
        Cost { parts, sent: self.sent, received: self.received }
    }
}

/// A message from owner to server or back, through its bytes.
fn carried<M: Message>(message: &M, owners: usize, from: &mut Meter, to: &mut Meter) -> Result<M, FederatedError> {
    let bytes = encode(message);
    from.sent += bytes.len() as u64;
    to.received += bytes.len() as u64;
    decode(Who::Server, owners, &bytes)
}

fn run<R: Ring>(training: Training, owners: u16, dropped: u16) -> Result<Figures, FederatedError> {
    let (count, values) = (usize::from(owners), training.values);
    let identities: Vec<Arc<Identity>> =
        (0..count).map(|_| Identity::ephemeral("owner").map(Arc::new)).collect::<Result<_, _>>()?;
    let pins: Vec<_> = (0..).zip(&identities).map(|(number, identity)| (number, identity.fingerprint())).collect();
    let mut roster = Roster::new(training.clone(), 1, &pins)?;
    for (number, identity) in (0..).zip(&identities) {
        roster.introduce(number, &identity.certificate())?;
    }
    let roster = Arc::new(roster);
    let mut books: Vec<Book> =
        (0..count).map(|_| Book::open(&training, KeepMemory::default())).collect::<Result<_, _>>()?;
    let (keeper, others) = books.split_first_mut().expect("two owners at least");
    keeper.draw(&roster, 0)?;
    for (number, book) in (1..).zip(others) {
        let request = Request::new(&roster, &identities[usize::from(number)], number)?;
        let grant = keeper.grant(&roster, &identities[0], 0, request.message())?;
        book.accept(&roster, request, &grant)?;
    }

    let position = Position::start(&training);
    let mut server = Server::open(roster.clone(), position, 1, MemorySpool::default())?;
    let mut at_server = Meter::default();
    let mut meters: Vec<Meter> = (0..count).map(|_| Meter::default()).collect();
    let mut members = Vec::new();
    for (at, meter) in meters.iter_mut().enumerate() {
        let (roster, identity, book) = (roster.clone(), identities[at].clone(), &mut books[at]);
        let owner = meter.time("keys", || OwnerRound::begin(roster, identity, book, position, 1, 100))?;
        let advert = carried(owner.advert(), count, meter, &mut at_server)?;
        at_server.time("messages", || server.advert(owner.number(), advert))?;
        members.push(owner);
    }
    let candidates = at_server.time("messages", || server.close_adverts())?.0;
    for (owner, meter) in members.iter_mut().zip(&mut meters) {
        let list = carried(&candidates, count, &mut at_server, meter)?;
        let shares = meter.time("keys", || owner.candidates(&list))?;
        let shares = carried(shares, count, meter, &mut at_server)?;
        at_server.time("messages", || server.shares(owner.number(), shares))?;
    }
    at_server.time("messages", || server.close_shares())?;
    for (owner, meter) in members.iter_mut().zip(&mut meters) {
        let relay = at_server.time("messages", || server.relay(owner.number()))?;
        let relay = carried(&relay, count, &mut at_server, meter)?;
        meter.time("keys", || owner.relay(&relay).map(|refused| assert!(refused.is_empty())))?;
    }
    members.truncate(count - usize::from(dropped));
    for (owner, meter) in members.iter_mut().zip(&mut meters) {
        let from = owner.number();
        let mut masker = meter.time("masks", || owner.masker::<R>())?;
        let head = carried(masker.head(), count, meter, &mut at_server)?;
        at_server.time("updates", || server.begin_update(from, &head))?;
        let mut chunk = [R::ZERO; CHUNK];
        for first in (0..values).step_by(CHUNK) {
            let words = &mut chunk[..(values - first).min(CHUNK as u64) as usize];
            words.iter_mut().enumerate().for_each(|(at, word)| *word = R::from_u64(first + at as u64));
            let bytes = meter.time("masks", || masker.mask(words))?;
            meter.sent += bytes.len() as u64;
            at_server.received += bytes.len() as u64;
            at_server.time("updates", || server.update_bytes(from, &bytes))?;
        }
        let digest = masker.finish()?;
        meter.sent += 32;
        at_server.received += 32;
        at_server.time("updates", || server.finish_update(from, digest))?;
    }
    let survivors = at_server.time("messages", || server.close_updates())?;
    for ((owner, meter), book) in members.iter_mut().zip(&mut meters).zip(&mut books) {
        let list = carried(&survivors, count, &mut at_server, meter)?;
        let echo = meter.time("release", || owner.survivors(book, &list).cloned())?;
        let echo = carried(&echo, count, meter, &mut at_server)?;
        at_server.time("messages", || server.echo(owner.number(), echo))?;
    }
    let echoes = at_server.time("messages", || server.close_echoes())?;
    for ((owner, meter), book) in members.iter_mut().zip(&mut meters).zip(&mut books) {
        let list = carried(&echoes, count, &mut at_server, meter)?;
        let release = meter.time("release", || owner.echoes(book, &list))?;
        let release = carried(release, count, meter, &mut at_server)?;
        at_server.time("messages", || server.release(owner.number(), release))?;
    }
    let record = at_server.time("recovery", || server.close_releases())?;
    let total = at_server.time("recovery", || server.total::<R>())?;

    // Both sides apply the round, chunk by chunk; the sum must be right.
    let rounds = [Survived { epoch: 1, round: 1, owners: record.survivors.clone() }];
    let mut chunk = [R::ZERO; CHUNK];
    for first in (0..values).step_by(CHUNK) {
        let words = &mut chunk[..(values - first).min(CHUNK as u64) as usize];
        words.fill(R::ZERO);
        at_server.time("sum", || total.add_to(first, words))?;
        meters[0].time("result", || books[0].keys().subtract(&rounds, first, words))?;
        let expected = |at: usize| R::from_u64((first + at as u64).wrapping_mul(record.survivors.len() as u64));
        if !words.iter().enumerate().all(|(at, word)| *word == expected(at)) {
            return Err(FederatedError::Order("the sum is not that of the updates"));
        }
    }
    let record = encode(&record).len() as u64;
    at_server.sent += record * count as u64;
    meters[0].received += record;

    let (server, owner) = (at_server.cost(), meters[0].cost());
    Ok(Figures { owners: count as u16, dropped, values, ring: R::BITS, server, owner })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_s_bytes_grow_by_keys_alone_and_the_server_s_with_the_owners() {
        let [few, many] = [4, 12].map(|owners| measure(owners, 1, 50_000, 32).unwrap());
        let update = 4 * 50_000;
        for figures in [&few, &many] {
            assert!((update..update + 8_000).contains(&figures.owner.sent), "{figures:?}");
            // The one that drops out sends no update.
            let updates = u64::from(figures.owners - 1) * update;
            assert!((updates..updates + 100_000).contains(&figures.server.received), "{figures:?}");
        }
        assert!(measure(4, 2, 1, 32).is_err() && measure(1, 0, 1, 32).is_err());
        measure(2, 0, 9, 64).unwrap();
    }
}
