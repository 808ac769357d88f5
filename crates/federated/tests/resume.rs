//! A server that is killed anywhere and opened again: nothing is counted twice, nothing is lost that was decided.

mod common;

use std::path::Path;

use ariann_federated::*;
use common::*;

const VALUES: usize = 1000;

struct Killed<'a> {
    world: &'a World,
    folder: &'a Path,
    /// The server is killed after so many steps.
    steps: usize,
    server: Option<Server<FolderSpool>>,
}

impl Killed<'_> {
    fn open(&mut self) -> &mut Server<FolderSpool> {
        let spool = FolderSpool::open(self.folder).unwrap();
        let world = self.world;
        self.server.insert(Server::open(world.roster.clone(), world.position, world.round, spool).unwrap())
    }

    /// A step of the server, which may be its last one.
    fn step<T>(&mut self, work: impl FnOnce(&mut Server<FolderSpool>) -> T) -> T {
        if self.steps == 0 || self.server.is_none() {
            self.server = None;
            self.open();
        }
        self.steps = self.steps.wrapping_sub(1);
        work(self.server.as_mut().unwrap())
    }
}

fn whole_round(
    killed: &mut Killed,
    owners: &mut [OwnerRound],
    books: &mut [Book],
    updates: &[(Contribution, Vec<u8>, [u8; 32])],
) -> bool {
    // Whatever phase the server comes back in, the owners answer what it asks.
    let phase = killed.step(|server| server.phase());
    match phase {
        Phase::Adverts => {
            for owner in owners.iter() {
                killed.step(|server| server.advert(owner.number(), sent(owner.advert()))).unwrap();
            }
            if killed.step(|server| server.arrived()).unwrap().len() == owners.len() {
                killed.step(|server| server.close_adverts().map(drop)).ok();
            }
        }
        Phase::Shares => {
            for owner in owners.iter_mut() {
                let candidates = killed.step(|server| server.candidates()).unwrap();
                let shares = sent(owner.candidates(&candidates).unwrap());
                killed.step(|server| server.shares(owner.number(), shares)).unwrap();
            }
            if killed.step(|server| server.arrived()).unwrap().len() == owners.len() {
                killed.step(|server| server.close_shares().map(drop)).ok();
            }
        }
        Phase::Updates => {
            for (owner, (head, bytes, digest)) in owners.iter_mut().zip(updates) {
                let from = owner.number();
                let begun = killed.step(|server| server.begin_update(from, head));
                begun.unwrap();
                let mut parts = bytes.chunks(1500);
                // A server that was killed meanwhile knows of no update that was begun.
                let sent = parts.try_for_each(|part| killed.step(|server| server.update_bytes(from, part)));
                let _ = sent.and_then(|()| killed.step(|server| server.finish_update(from, *digest)));
            }
            if killed.step(|server| server.arrived()).unwrap().len() == owners.len() {
                killed.step(|server| server.close_updates().map(drop)).ok();
            }
        }
        Phase::Echoes => {
            for (owner, book) in owners.iter_mut().zip(books) {
                let survivors = killed.step(|server| server.survivors()).unwrap();
                let echo = sent(owner.survivors(book, &survivors).unwrap());
                killed.step(|server| server.echo(owner.number(), echo)).unwrap();
            }
            if killed.step(|server| server.arrived()).unwrap().len() == owners.len() {
                killed.step(|server| server.close_echoes().map(drop)).ok();
            }
        }
        Phase::Releases => {
            for (owner, book) in owners.iter_mut().zip(books) {
                let echoes = killed.step(|server| server.echoes()).unwrap();
                let release = sent(owner.echoes(book, &echoes).unwrap());
                killed.step(|server| server.release(owner.number(), release)).unwrap();
            }
            if killed.step(|server| server.is_enough()) {
                killed.step(|server| server.close_releases().map(drop)).ok();
            }
        }
        Phase::Done => return true,
    }
    false
}

#[test]
fn killed_after_any_step_it_ends_with_the_same_sum() {
    let mut world = World::new(3, training(32, VALUES as u64, 2));
    let mut lengths = Vec::new();
    for steps in 1.. {
        world.round += 1;
        let folder = tempfile::tempdir().unwrap();
        let mut owners: Vec<OwnerRound> = (0..3).map(|at| world.begin(at)).collect();
        let mut books = std::mem::take(&mut world.books);
        let deltas: Vec<Vec<u32>> = (0..3).map(|at| random(world.round * 10 + at, VALUES)).collect();
        // The owners mask once, and keep the bytes until the server has them.
        let mut updates = Vec::new();
        let mut killed = Killed { world: &world, folder: folder.path(), steps, server: None };
        while killed.server.as_ref().is_none_or(|server| server.phase() < Phase::Updates) {
            whole_round(&mut killed, &mut owners, &mut books, &[]);
        }
        for (owner, delta) in owners.iter_mut().zip(&deltas) {
            let relay = killed.step(|server| server.relay(owner.number())).unwrap();
            assert_eq!(owner.relay(&sent(&relay)).unwrap(), []);
            let mut masker = owner.masker::<u32>().unwrap();
            let head = masker.head().clone();
            let bytes = masker.mask(&mut delta.clone()).unwrap();
            updates.push((head, bytes, masker.finish().unwrap()));
        }
        while !whole_round(&mut killed, &mut owners, &mut books, &updates) {}
        let unbroken = killed.steps < usize::MAX / 2;
        // The server's share takes the round once, however often it is tried.
        let path = folder.path().join("model");
        let mut model = ModelShare::<u32>::create(&path, world.roster.training(), |_, _| Ok(())).unwrap();
        // As many steps as an unbroken round has, and a share of the model that counts from the same place.
        model.apply(world.position, |_, _| Ok(())).unwrap();
        let record = killed.step(|server| server.record()).unwrap();
        let after = world.position.after(world.roster.training(), &record).unwrap();
        for _ in 0..2 {
            let server = killed.open();
            let total = server.total::<u32>().unwrap();
            model.apply(after, |first, words| total.add_to(first, words)).unwrap();
            model = ModelShare::open(&path, world.roster.training()).unwrap();
        }
        drop(killed);
        world.books = books;
        let mut words = vec![0; VALUES];
        model.read(0, &mut words).unwrap();
        assert_eq!(record.survivors, [0, 1, 2].map(number));
        let rounds = [Survived { epoch: 1, round: world.round, owners: record.survivors }];
        world.books[0].keys().subtract(&rounds, 0, &mut words).unwrap();
        assert!(words == sum_of(&deltas, &(0..3).collect()), "killed after {steps} steps");
        world.position = after;
        lengths.push(steps);
        if unbroken {
            break;
        }
    }
    assert!(lengths.len() > 40, "a round has only {} steps", lengths.len());
}

#[test]
fn another_update_of_an_owner_is_refused_after_a_crash_too() {
    let mut world = World::new(3, training(64, 4, 2));
    world.round = 1;
    let folder = tempfile::tempdir().unwrap();
    let mut owners: Vec<OwnerRound> = (0..3).map(|at| world.begin(at)).collect();
    let mut books = std::mem::take(&mut world.books);
    let mut killed = Killed { world: &world, folder: folder.path(), steps: 1000, server: None };
    while killed.server.as_ref().is_none_or(|server| server.phase() < Phase::Updates) {
        whole_round(&mut killed, &mut owners, &mut books, &[]);
    }
    for owner in &mut owners {
        owner.relay(&killed.open().relay(owner.number()).unwrap()).unwrap();
    }
    let mut masker = owners[0].masker::<u64>().unwrap();
    let bytes = masker.mask(&mut [1, 2, 3, 4]).unwrap();
    let (head, digest) = (masker.head().clone(), masker.finish().unwrap());
    let send = |server: &mut Server<FolderSpool>, bytes: &[u8], digest| {
        server.begin_update(number(0), &head)?;
        server.update_bytes(number(0), bytes)?;
        server.finish_update(number(0), digest)
    };
    // Killed in the middle of an update: what came of it is worth nothing.
    killed.open().begin_update(number(0), &head).unwrap();
    killed.open().update_bytes(number(0), &bytes[..8]).unwrap_err();
    assert!(killed.open().arrived().unwrap().is_empty());
    assert_eq!(send(killed.open(), &bytes, digest).unwrap(), Accepted::Counted);
    assert_eq!(send(killed.open(), &bytes, digest).unwrap(), Accepted::Again);
    let other = [&[bytes[0] ^ 1], &bytes[1..]].concat();
    let mut hasher = blake3::Hasher::new_derive_key("ariann federated 1 update");
    hasher.update(&encode(&head)).update(&other);
    let refusal = send(killed.open(), &other, *hasher.finalize().as_bytes()).unwrap_err();
    assert_eq!(refusal.refusal().unwrap(), &Refusal { who: Who::Owner(number(0)), why: Why::Double("update") });
    assert_eq!(killed.open().arrived().unwrap(), [number(0)]);
}

#[test]
fn states_that_are_damaged_or_of_another_round_are_refused() {
    let mut world = World::new(2, training(32, 1, 2));
    world.round = 1;
    let folder = tempfile::tempdir().unwrap();
    let mut owners: Vec<OwnerRound> = (0..2).map(|at| world.begin(at)).collect();
    let mut books = std::mem::take(&mut world.books);
    let mut killed = Killed { world: &world, folder: folder.path(), steps: 1000, server: None };
    whole_round(&mut killed, &mut owners, &mut books, &[]);
    let (roster, position) = (world.roster.clone(), world.position);
    let open = |round, position| {
        Server::open(roster.clone(), position, round, FolderSpool::open(folder.path()).unwrap()).map(|it| it.phase())
    };
    assert_eq!(open(1, position).unwrap(), Phase::Shares);
    assert!(open(2, position).is_err());
    assert!(open(1, Position { head: [0; 32], ..position }).is_err());
    let path = folder.path().join("state");
    let whole = std::fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut bent = whole.clone();
        bent[at] ^= 1;
        std::fs::write(&path, &bent).unwrap();
        assert!(open(1, position).is_err(), "byte {at}");
        std::fs::write(&path, &whole[..at]).unwrap();
        assert!(open(1, position).is_err(), "{at} bytes");
    }
}

#[test]
fn an_owner_enters_a_round_once_also_after_a_crash() {
    let world = World::new(2, training(32, 1, 2));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("book");
    let training = world.roster.training().clone();
    let open = || Book::open(&training, KeepFile::at(&path)).unwrap();
    let begin = |book: &mut Book, round| {
        let (roster, identity) = (world.roster.clone(), world.identities[0].clone());
        OwnerRound::begin(roster, identity, book, world.position, round, ROWS).map(drop)
    };
    assert!(begin(&mut open(), 1).is_err(), "without a group key");
    open().draw(&world.roster, number(0)).unwrap();
    assert!(open().draw(&world.roster, number(1)).is_err(), "only the keeper draws");
    begin(&mut open(), 5).unwrap();
    for round in [5, 4, 1, 0] {
        assert!(begin(&mut open(), round).is_err());
    }
    begin(&mut open(), 6).unwrap();
    assert_eq!(open().entered(), 6);
    assert!(Book::open(&common::training(32, 2, 2), KeepFile::at(&path)).is_err(), "of another training");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let whole = std::fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut bent = whole.clone();
        bent[at] ^= 1;
        std::fs::write(&path, &bent).unwrap();
        assert!(Book::open(&training, KeepFile::at(&path)).is_err(), "byte {at}");
    }
    // The disk fails: the round is not entered, and nothing was sent.
    let gone = folder.path().join("no folder").join("book");
    let mut book = Book::open(&training, KeepFile::at(&gone)).unwrap();
    assert!(matches!(book.draw(&world.roster, number(0)), Err(FederatedError::Disk { .. })));
}
