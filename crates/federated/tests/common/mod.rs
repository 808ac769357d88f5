//! A training of some owners and a server in one process, in which anybody may drop out anywhere.
#![allow(dead_code)]

use std::collections::BTreeSet;
use std::sync::Arc;

use ariann_federated::*;
use ariann_net::Identity;
use ariann_prg::{Address, Prg, Seed};
use ariann_ring::Ring;

/// Phases in which an owner may drop out, in order.
pub const PHASES: usize = 5;
pub const ROWS: u64 = 1000;

pub struct World {
    pub roster: Arc<Roster>,
    pub identities: Vec<Arc<Identity>>,
    pub books: Vec<Book>,
    pub position: Position,
    pub round: u64,
}

/// Words from a number, for updates of tests.
pub fn random<R: Ring>(number: u64, len: usize) -> Vec<R> {
    let mut words = vec![R::ZERO; len];
    let seed = *blake3::hash(&number.to_le_bytes()).as_bytes().first_chunk().unwrap();
    Prg::new(&Seed::from_bytes(seed)).fill(Address { kind: 0, gate: 0, slot: 0 }, 0, &mut words);
    words
}

pub fn training(ring: u32, values: u64, threshold: u16) -> Training {
    Training { id: [7; 32], ring, values, threshold, most_rows: 1 << 20 }
}

/// More than half.
pub fn majority(owners: usize) -> u16 {
    owners as u16 / 2 + 1
}

/// The roster of these identities, numbered 3, 5, 7, ...: numbers are not places.
pub fn roster(training: Training, epoch: u32, identities: &[Arc<Identity>]) -> Roster {
    let pins: Vec<_> = (3..).step_by(2).zip(identities).map(|(number, it)| (number, it.fingerprint())).collect();
    let mut roster = Roster::new(training, epoch, &pins).unwrap();
    for ((number, _), identity) in pins.iter().zip(identities) {
        roster.introduce(*number, &identity.certificate()).unwrap();
    }
    roster
}

/// Owners with these identities, numbered likewise, after another roster.
pub fn followed(former: &Roster, epoch: u32, identities: &[Arc<Identity>]) -> Roster {
    let pins: Vec<_> = (3..).step_by(2).zip(identities).map(|(number, it)| (number, it.fingerprint())).collect();
    let mut roster = former.followed(epoch, &pins).unwrap();
    identities.iter().for_each(|identity| roster.acquaint(&identity.certificate()));
    roster
}

pub fn number(place: usize) -> u16 {
    3 + 2 * place as u16
}

pub fn place(number: u16) -> usize {
    (usize::from(number) - 3) / 2
}

impl World {
    /// With a group key at every owner.
    pub fn new(owners: usize, training: Training) -> World {
        let identities: Vec<_> = (0..owners).map(|_| Arc::new(Identity::ephemeral("owner").unwrap())).collect();
        let position = Position::start(&training);
        let books = (0..owners).map(|_| Book::open(&training, KeepMemory::default()).unwrap()).collect();
        let roster = Arc::new(roster(training, 1, &identities));
        let mut world = World { roster, identities, books, position, round: 0 };
        world.agree();
        world
    }

    /// The keeper draws, all others ask.
    pub fn agree(&mut self) {
        self.books[0].draw(&self.roster, number(0)).unwrap();
        for at in 1..self.books.len() {
            let request = Request::new(&self.roster, &self.identities[at], number(at)).unwrap();
            let grant = self.books[0].grant(&self.roster, &self.identities[0], number(0), request.message()).unwrap();
            self.books[at].accept(&self.roster, request, &grant).unwrap();
        }
    }

    pub fn begin(&mut self, at: usize) -> OwnerRound {
        self.try_begin(at, ROWS + at as u64).unwrap()
    }

    pub fn try_begin(&mut self, at: usize, rows: u64) -> Result<OwnerRound, FederatedError> {
        let (roster, identity) = (self.roster.clone(), self.identities[at].clone());
        OwnerRound::begin(roster, identity, &mut self.books[at], self.position, self.round, rows)
    }

    pub fn server(&self) -> Server<MemorySpool> {
        Server::open(self.roster.clone(), self.position, self.round, MemorySpool::default()).unwrap()
    }

    pub fn len(&self) -> usize {
        self.identities.len()
    }
}

/// Sends a message as bytes.
pub fn sent<M: Message>(message: &M) -> M {
    decode(Who::Server, MOST_OWNERS, &encode(message)).unwrap()
}

/// Sends an update, in chunks of `chunk` words.
pub fn update<R: Ring, S: Spool>(
    server: &mut Server<S>,
    owner: &mut OwnerRound,
    delta: &[R],
    chunk: usize,
) -> Result<Accepted, FederatedError> {
    let mut masker = owner.masker::<R>()?;
    server.begin_update(owner.number(), masker.head())?;
    for part in delta.chunks(chunk) {
        let bytes = masker.mask(&mut part.to_vec())?;
        server.update_bytes(owner.number(), &bytes)?;
    }
    server.finish_update(owner.number(), masker.finish()?)
}

/// A result: who was counted, the sum as the server has it.
pub struct Outcome<R> {
    pub record: Record,
    pub sum: Vec<R>,
}

/// One round, in which owner i drops out in phase `fates[i]` (`PHASES`: never), with these updates.
pub fn play<R: Ring>(world: &mut World, fates: &[usize], deltas: &[Vec<R>]) -> Result<Outcome<R>, FederatedError> {
    world.round += 1;
    let mut server = world.server();
    let stays = |at: &usize, phase: usize| fates[*at] > phase;
    let mut owners: Vec<OwnerRound> = (0..world.len()).map(|at| world.begin(at)).collect();
    let all = 0..world.len();
    for at in all.clone().filter(|at| stays(at, 0)) {
        assert_eq!(server.advert(number(at), sent(owners[at].advert()))?, Accepted::Counted);
    }
    let (candidates, refused) = server.close_adverts()?;
    assert_eq!(refused, []);
    for at in all.clone().filter(|at| stays(at, 1)) {
        server.shares(number(at), sent(owners[at].candidates(&sent(&candidates))?))?;
    }
    let cohort = server.close_shares()?;
    assert_eq!(cohort, all.clone().filter(|at| stays(at, 1)).map(number).collect::<Vec<_>>());
    for at in all.clone().filter(|at| stays(at, 1)) {
        assert_eq!(owners[at].relay(&sent(&server.relay(number(at))?))?, []);
    }
    for at in all.clone().filter(|at| stays(at, 2)) {
        update(&mut server, &mut owners[at], &deltas[at], 3)?;
    }
    let survivors = server.close_updates()?;
    for at in all.clone().filter(|at| stays(at, 3)) {
        server.echo(number(at), sent(owners[at].survivors(&mut world.books[at], &sent(&survivors))?))?;
    }
    let echoes = server.close_echoes()?;
    for at in all.filter(|at| stays(at, 4)) {
        server.release(number(at), sent(owners[at].echoes(&mut world.books[at], &sent(&echoes))?))?;
    }
    let record = server.close_releases()?;
    let mut sum = vec![R::ZERO; world.roster.training().values as usize];
    let (total, part) = (server.total::<R>()?, sum.len() / 2 + 1);
    for (at, words) in sum.chunks_mut(part).enumerate() {
        total.add_to((part * at) as u64, words)?;
    }
    world.position = world.position.after(world.roster.training(), &record)?;
    Ok(Outcome { record, sum })
}

/// Σ Δ over some owners.
pub fn sum_of<R: Ring>(deltas: &[Vec<R>], of: &BTreeSet<usize>) -> Vec<R> {
    let column = |at: usize| of.iter().fold(R::ZERO, |sum, owner| sum.add(deltas[*owner][at]));
    (0..deltas[0].len()).map(column).collect()
}

/// Plays a round and checks it against what the fates say: the sum of the survivors, or no result at all.
pub fn check<R: Ring>(world: &mut World, fates: &[usize]) -> bool {
    let values = world.roster.training().values as usize;
    let deltas: Vec<Vec<R>> = (0..fates.len() as u64).map(|at| random(100 * world.round + at, values)).collect();
    let after = |phase: usize| -> BTreeSet<usize> { (0..fates.len()).filter(|at| fates[*at] > phase).collect() };
    let threshold = usize::from(world.roster.training().threshold);
    let short = (0..PHASES).find(|phase| after(*phase).len() < threshold);
    match (play(world, fates, &deltas), short) {
        (Ok(outcome), None) => {
            let survivors = after(2);
            assert_eq!(outcome.record.survivors, survivors.iter().map(|at| number(*at)).collect::<Vec<_>>());
            // Each owner, also one that dropped out, takes ρ away.
            let rounds = [Survived { epoch: 1, round: world.round, owners: outcome.record.survivors.clone() }];
            for book in &world.books {
                let mut sum = outcome.sum.clone();
                assert_ne!(sum, sum_of(&deltas, &survivors), "the sum without ρ is masked");
                book.keys().subtract(&rounds, 0, &mut sum).unwrap();
                assert_eq!(sum, sum_of(&deltas, &survivors), "{fates:?}");
            }
            true
        }
        (Err(FederatedError::BelowThreshold { have, need, phase, .. }), Some(short)) => {
            let name = ["keys", "shares", "updates", "echoes", "releases"][short];
            assert_eq!((phase, have, need), (name, after(short).len(), threshold), "{fates:?}");
            false
        }
        (Err(error), short) => panic!("{fates:?}: {error}, short in {short:?}"),
        (Ok(_), Some(short)) => panic!("{fates:?}: a result below the threshold in phase {short}"),
    }
}
