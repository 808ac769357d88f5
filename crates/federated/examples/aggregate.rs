//! What a round of secure aggregation costs: seconds and bytes of the server and of one owner.
//!
//!     cargo run --release -p ariann-federated --example aggregate -- --owners 10 --values 61706
//!
//! `--ring 32|64`, `--drop D`: D owners drop out after they sent their shares, which costs the server most. Everything is
//! computed in one process and one thread, updates wait in memory; links and disks are not in the figures.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ariann_federated::*;
use ariann_net::Identity;
use ariann_ring::Ring;

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

    fn print(&self, who: &str, parts: &[&'static str]) {
        let seconds = |what: &str| self.time.get(what).copied().unwrap_or_default().as_secs_f64();
        let each: Vec<String> = parts.iter().map(|what| format!("{what} {:.4}", seconds(what))).collect();
        let all: f64 = parts.iter().map(|what| seconds(what)).sum();
        println!(
            "  {who:<10} {all:>8.4} s ({}); sends {} bytes, receives {}",
            each.join(", "),
            self.sent,
            self.received
        );
    }
}

/// A message from owner to server or back, through its bytes.
fn carried<M: Message>(message: &M, owners: usize, from: &mut Meter, to: &mut Meter) -> Result<M, FederatedError> {
    let bytes = encode(message);
    from.sent += bytes.len() as u64;
    to.received += bytes.len() as u64;
    decode(Who::Server, owners, &bytes)
}

fn run<R: Ring>(count: usize, values: u64, dropped: usize) -> Result<(), Box<dyn Error>> {
    let training =
        Training { id: [1; 32], ring: R::BITS, values, threshold: (count / 2 + 1) as u16, most_rows: 1 << 32 };
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
    let mut owners = Vec::new();
    for (at, meter) in meters.iter_mut().enumerate() {
        let (roster, identity, book) = (roster.clone(), identities[at].clone(), &mut books[at]);
        let owner = meter.time("keys", || OwnerRound::begin(roster, identity, book, position, 1, 100))?;
        let advert = carried(owner.advert(), count, meter, &mut at_server)?;
        at_server.time("messages", || server.advert(owner.number(), advert))?;
        owners.push(owner);
    }
    let candidates = at_server.time("messages", || server.close_adverts())?.0;
    for (owner, meter) in owners.iter_mut().zip(&mut meters) {
        let list = carried(&candidates, count, &mut at_server, meter)?;
        let shares = meter.time("keys", || owner.candidates(&list))?;
        let shares = carried(shares, count, meter, &mut at_server)?;
        at_server.time("messages", || server.shares(owner.number(), shares))?;
    }
    at_server.time("messages", || server.close_shares())?;
    for (owner, meter) in owners.iter_mut().zip(&mut meters) {
        let relay = at_server.time("messages", || server.relay(owner.number()))?;
        let relay = carried(&relay, count, &mut at_server, meter)?;
        meter.time("keys", || owner.relay(&relay).map(|refused| assert!(refused.is_empty())))?;
    }
    owners.truncate(count - dropped);
    for (owner, meter) in owners.iter_mut().zip(&mut meters) {
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
    for (owner, meter) in owners.iter_mut().zip(&mut meters) {
        let list = carried(&survivors, count, &mut at_server, meter)?;
        let echo = meter.time("release", || owner.survivors(&list).cloned())?;
        let echo = carried(&echo, count, meter, &mut at_server)?;
        at_server.time("messages", || server.echo(owner.number(), echo))?;
    }
    let echoes = at_server.time("messages", || server.close_echoes())?;
    for (owner, meter) in owners.iter_mut().zip(&mut meters) {
        let list = carried(&echoes, count, &mut at_server, meter)?;
        let release = meter.time("release", || owner.echoes(&list))?;
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
        assert!(words.iter().enumerate().all(|(at, word)| *word == expected(at)), "the sum is wrong");
    }
    let record = encode(&record).len() as u64;
    at_server.sent += record * count as u64;
    meters[0].received += record;

    println!("{count} owners, {dropped} drop out, {values} values of ring {}", R::BITS);
    at_server.print("server", &["messages", "updates", "recovery", "sum"]);
    meters[0].print("an owner", &["keys", "masks", "release", "result"]);
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (mut owners, mut values, mut ring, mut dropped) = (5, 61_706, 32, 0);
    for pair in arguments.chunks(2) {
        match pair {
            [name, value] if name == "--owners" => owners = value.parse()?,
            [name, value] if name == "--values" => values = value.parse()?,
            [name, value] if name == "--ring" => ring = value.parse()?,
            [name, value] if name == "--drop" => dropped = value.parse()?,
            _ => return Err(format!("{pair:?} is none of --owners N, --values M, --ring 32|64, --drop D").into()),
        }
    }
    if !(2..=MOST_OWNERS).contains(&owners) || dropped > owners - (owners / 2 + 1) {
        return Err(format!("{owners} owners, of which {dropped} drop out: more than half must stay").into());
    }
    match ring {
        32 => run::<u32>(owners, values, dropped),
        64 => run::<u64>(owners, values, dropped),
        _ => Err("the ring has 32 or 64 bits".into()),
    }
}
