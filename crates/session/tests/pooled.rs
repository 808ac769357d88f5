//! Pooled training over TLS: owners share their rows and leave; what is trained then is what a party with all rows trains.

mod statistics;
mod trained;

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ariann_data::Items;
use ariann_graph::training::Loss;
use ariann_net::{Identity, Peer};
use ariann_plan::training::Source;
use ariann_prg::{Address, Prg, Seed};
use ariann_ring::{Ring, fixed};
use ariann_session::config::{IdentityConfig, Remote};
use ariann_session::events::Silent;
use ariann_session::hooks::{Hooks, Observer};
use ariann_session::training::{Course, Job, OwnerConfig, RowOwner, ShareReport, share_rows};
use ariann_session::{Fault, PROTOCOL, SessionError};
use serde::{Deserialize, Serialize};
use statistics::Tests;
use trained::{Made, Notices, Roles, Wanted, in_clear, in_clear_of, make, roles, run, run_telling};

/// A pooled training: its roles, and the owners of consecutive rows.
struct Pooled {
    made: Made,
    roles: Roles,
    owners: Vec<OwnerConfig>,
    /// Where identities are.
    keys: PathBuf,
}

const NAMES: [&str; 3] = ["north", "south", "west"];

/// A file as MNIST has them.
fn idx(path: &Path, shape: &[usize], bytes: Vec<u8>) {
    let head = [0, 0, 8, shape.len() as u8];
    let sizes = shape.iter().flat_map(|size| (*size as u32).to_be_bytes());
    std::fs::write(path, head.into_iter().chain(sizes).chain(bytes).collect::<Vec<u8>>()).unwrap();
}

/// Rows `from..from + count` of a set, as two files.
fn slice(folder: &Path, name: &str, (items, labels): &(Items, Vec<u32>), from: usize, count: usize) -> [PathBuf; 2] {
    let paths = ["images", "labels"].map(|what| folder.join(format!("{name}-{what}.idx")));
    let pixels = (from..from + count).flat_map(|item| items.item(item)).map(|x| (x * 255.0).round() as u8);
    idx(&paths[0], &[count, 28, 28], pixels.collect());
    idx(&paths[1], &[count], labels[from..from + count].iter().map(|label| *label as u8).collect());
    paths
}

fn free_port() -> String {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("127.0.0.1:{}", socket.local_addr().unwrap().port())
}

/// The same training with its rows shared by owners who have `split` rows each, to train on and to test.
fn pooled(mut made: Made, split: &[[usize; 2]]) -> Pooled {
    let folder = made.folder.path().to_path_buf();
    let keys = tempfile::tempdir_in(&folder).unwrap().keep();
    let pin = |name: &str| Identity::create(&keys, name, Duration::from_secs(3600)).unwrap().fingerprint().to_string();
    let owner = |(name, [rows, test_rows]): (&&str, &[usize; 2])| RowOwner {
        name: name.to_string(),
        fingerprint: pin(name),
        rows: *rows as u64,
        test_rows: *test_rows as u64,
        from_epoch: 1,
    };
    let owners: Vec<RowOwner> = NAMES.iter().zip(split).map(owner).collect();
    made.job.rows = owners.iter().map(|owner| owner.rows).sum();
    (made.job.features, made.job.labels, made.job.owners) = (Source::Owners, Source::Owners, owners);
    made.course = Course::new(made.job.clone()).unwrap().into();
    let mut roles = roles(&made);
    let addresses = [free_port(), free_port()];
    roles.dealer.deadlines.connect = 60.0;
    for (party, address) in roles.parties.iter_mut().zip(&addresses) {
        party.owners = Some(address.clone());
        party.deadlines.connect = 60.0;
    }
    let fingerprints = [roles.parties[1].peer.clone(), roles.parties[0].peer.clone()];
    let remote = |party: usize| Remote { address: addresses[party].clone(), fingerprint: fingerprints[party].clone() };
    let mut firsts = [0, 0];
    let mut configs = Vec::new();
    for (name, [rows, test_rows]) in NAMES.iter().zip(split) {
        let train = slice(&folder, name, &made.train, firsts[0], *rows);
        let test = slice(&folder, &format!("{name}-test"), &made.test, firsts[1], *test_rows);
        firsts = [firsts[0] + rows, firsts[1] + test_rows];
        let [features, labels] = train.map(|path| (*rows > 0).then_some(path));
        let [test_features, test_labels] = test.map(|path| (*test_rows > 0).then_some(path));
        configs.push(OwnerConfig {
            job: roles.parties[0].job.clone(),
            from_epoch: 1,
            features,
            labels,
            test_features,
            test_labels,
            limit: None,
            test_limit: None,
            p0: remote(0),
            p1: remote(1),
            allow: roles.parties[0].allow.clone(),
            identity: IdentityConfig { folder: keys.clone(), name: name.to_string() },
            deadlines: roles.parties[0].deadlines.clone(),
        });
    }
    Pooled { made, roles, owners: configs, keys }
}

type Shared = JoinHandle<Result<ShareReport, SessionError>>;

fn share(config: &OwnerConfig) -> Shared {
    let config = config.clone();
    std::thread::spawn(move || share_rows(&config, &Hooks::default(), &mut Silent))
}

fn small() -> Wanted {
    Wanted { rows: 70, test_rows: 32, ..Wanted::default() }
}

#[test]
fn rows_of_three_owners_train_as_the_union_does() {
    let hooks = Hooks::default();
    let split = [[100, 30], [120, 0], [40, 40]];
    for (ring, rescale_every) in [(32, None), (64, None), (32, Some(3))] {
        // Elsewhere a rounding may decide a ReLU, and two trainings that differ in nothing part.
        let wanted = Wanted { ring, rescale_every, settled: true, loss: Loss::CrossEntropy, ..Wanted::default() };
        let union = make(wanted.clone());
        let (losses, accuracies, _) = in_clear(&union);
        let private = (ring == 32).then(|| run(roles(&union), [&hooks; 3])[1].as_ref().unwrap().clone());
        let Pooled { made, roles, owners, .. } = pooled(make(wanted), &split);
        // In any order, at once.
        let shared: Vec<Shared> = owners.iter().rev().map(share).collect();
        let [dealer, p0, p1] = run(roles, [&hooks; 3]);
        for (shared, (name, [rows, test_rows])) in shared.into_iter().rev().zip(NAMES.iter().zip(split)) {
            let report = shared.join().unwrap().unwrap();
            assert_eq!((report.name.as_str(), report.rows, report.test_rows), (*name, rows as u64, test_rows as u64));
            let values = (rows + test_rows) * (784 + 10);
            assert_eq!(report.bytes_sent, [16, (values * ring as usize / 8) as u64]);
        }
        let (p0, p1) = (p0.unwrap(), p1.unwrap());
        dealer.unwrap();
        assert!(p1.losses.is_empty() && p1.epochs.is_empty(), "P1 learns nothing");
        assert_eq!((p0.losses.len(), p0.epochs.len(), p0.turns), (losses.len(), 2, made.course.turns().count()));
        for (step, (pooled, clear)) in p0.losses.iter().zip(&losses).enumerate() {
            assert!((pooled - clear).abs() < 0.002 * clear, "ring {ring}, step {step}: {pooled} for {clear}");
        }
        for (epoch, clear) in p0.epochs.iter().zip(&accuracies) {
            let pooled = epoch.accuracy.unwrap();
            assert!((pooled - clear).abs() <= 1.0 / 64.0 + 1e-9, "epoch {}: {pooled} for {clear}", epoch.epoch);
        }
        let Some(private) = private else { continue };
        for (pooled, private) in p0.losses.iter().zip(&private.losses) {
            assert!((pooled - private).abs() < 0.002 * private, "{pooled} for {private}");
        }
        for (pooled, private) in p0.epochs.iter().zip(&private.epochs) {
            let [pooled, private] = [pooled, private].map(|epoch| epoch.accuracy.unwrap());
            assert!((pooled - private).abs() <= 1.0 / 64.0 + 1e-9, "{pooled} for {private}");
        }
    }
}

/// What P0 and P1 received from each owner.
static CAME: Mutex<[BTreeMap<String, Vec<u8>>; 2]> = Mutex::new([BTreeMap::new(), BTreeMap::new()]);

struct Taps(usize);

impl Observer for Taps {
    fn wants_messages(&self) -> bool {
        false
    }

    fn received(&mut self, peer: &str, bytes: &[u8]) {
        if peer.starts_with("owner ") {
            CAME.lock().unwrap()[self.0].entry(peer.to_string()).or_default().extend_from_slice(bytes);
        }
    }
}

/// Parties receive from an owner what it greets with, a seed (P0) or as many uniform words as its rows have (P1), whatever the
/// rows are, and a word at the end: no byte more. Both together are the rows; the same test sees these at once.
#[test]
fn what_owners_send_is_uniform_whatever_their_rows_are() {
    /// Greeting: version, party, digest, epoch, sharing. Last word: one byte.
    const GREETING: usize = 1 + 1 + 32 + 1 + 16;
    let quiet = Hooks::default();
    let hooks = Hooks { observer: |role| Box::new(Taps(usize::from(role == "p1"))), ..Hooks::default() };
    let (mut seen, mut rows) = (Vec::new(), Vec::new());
    for blank in [false, true] {
        let mut made = make(small());
        if blank {
            made.train.0.values.fill(0.0);
            made.train.1.fill(7);
        }
        let Pooled { made, roles, owners, .. } = pooled(made, &[[30, 32], [40, 0]]);
        let shared: Vec<Shared> = owners.iter().map(share).collect();
        let ended = run(roles, [&quiet, &hooks, &hooks]);
        shared.into_iter().for_each(|shared| drop(shared.join().unwrap().unwrap()));
        ended.into_iter().for_each(|ended| drop(ended.unwrap()));
        let came = std::mem::take(&mut *CAME.lock().unwrap());
        for (name, count) in [("owner north", 30), ("owner south", 40)] {
            let [to_p0, to_p1] = [0, 1].map(|party: usize| came[party][name].as_slice());
            assert_eq!(to_p0.len(), GREETING + 16 + 1, "{name}");
            let tests = if name == "owner north" { 32 } else { 0 };
            let len = (count + tests) * (784 + 10) * 4;
            assert_eq!(to_p1.len(), GREETING + len + 1, "{name}");
            assert_eq!(to_p0[GREETING - 16..GREETING], to_p1[GREETING - 16..GREETING], "one sharing");
            let words = |bytes: &[u8]| -> Vec<u32> {
                bytes.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect()
            };
            let masked = words(&to_p1[GREETING..GREETING + len]);
            let seed = Seed::from_bytes(to_p0[GREETING..GREETING + 16].try_into().unwrap());
            let mut items = vec![0u32; count * 784];
            Prg::new(&seed).fill(Address { kind: 0, gate: 0, slot: 0 }, 0, &mut items);
            items.iter_mut().zip(&masked).for_each(|(word, masked)| *word = word.wrapping_add(*masked));
            let first = if name == "owner north" { 0 } else { 30 };
            let frac = made.course.shared(0).unwrap()[0].frac;
            let wanted = made.train.0.values[first * 784..(first + count) * 784].iter();
            let wanted: Vec<u32> = wanted.map(|x| fixed::encode::<u32>(f64::from(*x), frac).unwrap()).collect();
            assert!(items == wanted, "both shares of {name} are its rows");
            seen.push((format!("{name}, blank {blank}"), masked));
            rows.push((format!("{name}, blank {blank}"), items));
        }
    }
    let wide = |words: &[u32]| words.iter().map(|word| word.to_u64()).collect::<Vec<_>>();
    let mut tests = Tests::default();
    seen.iter().for_each(|(name, words)| tests.uniform(name, 32, &wide(words)));
    for (a, b) in [(0, 2), (1, 3)] {
        tests.alike(&seen[a].0, 32, &wide(&seen[a].1), &wide(&seen[b].1));
        // Two sharings under one seed would leave the difference of the rows.
        let difference: Vec<u32> = seen[a].1.iter().zip(&seen[b].1).map(|(a, b)| a.wrapping_sub(*b)).collect();
        tests.uniform(&format!("{} against other rows", seen[a].0), 32, &wide(&difference));
    }
    let alarms = tests.alarms(1e-9);
    assert!(alarms.is_empty(), "{alarms:?}");
    let mut tests = Tests::default();
    rows.iter().for_each(|(name, words)| tests.uniform(name, 32, &wide(words)));
    assert_eq!(tests.alarms(1e-9).len(), rows.len(), "what is not shared is seen");
}

/// As the owner's first word is made.
#[derive(Serialize, Deserialize)]
struct Brings {
    protocol: u32,
    party: u8,
    job: [u8; 32],
    from_epoch: u32,
    sharing: [u8; 16],
}

/// A connection to a party with an owner's identity.
fn connect(config: &OwnerConfig, party: usize) -> Peer {
    let remote = [&config.p0, &config.p1][party];
    let identity = config.identity.load().unwrap();
    let limits = config.deadlines.limits().unwrap();
    Peer::connect(&remote.address, &identity, &remote.fingerprint.parse().unwrap(), "a party", &limits).unwrap()
}

/// Whatever owners do wrong is refused and named, and the right rows are taken afterwards.
#[test]
fn bad_owners_are_refused_by_name() {
    let Pooled { made, roles, owners, keys } = pooled(make(small()), &[[30, 32], [40, 0]]);
    let digest = made.course.digest();
    let notices = [Notices::default(), Notices::default()];
    let told = notices.clone();
    let ended = std::thread::spawn(move || run_telling(roles, [&Hooks::default(); 3], &told));
    let refused = |config: &OwnerConfig, words: &[&str]| {
        let error = share(config).join().unwrap().unwrap_err().to_string();
        words.iter().for_each(|word| assert!(error.contains(word), "{word:?} is not in {error:?}"));
    };

    // What owners see for themselves, before anything is sent.
    let [north, south] = [owners[0].clone(), owners[1].clone()];
    refused(&OwnerConfig { limit: Some(7), ..north.clone() }, &["7 items", "made for 30", "nothing was sent"]);
    let labels = made.folder.path().join("bad-labels.idx");
    idx(&labels, &[30], [vec![0; 29], vec![10]].concat());
    refused(&OwnerConfig { labels: Some(labels), ..north.clone() }, &["label 29 is 10", "nothing was sent"]);
    refused(&OwnerConfig { labels: None, ..north.clone() }, &["labels", "names no file"]);
    refused(
        &OwnerConfig { allow: vec!["loss:p0".to_string()], ..north.clone() },
        &["does not agree", "nothing was sent"],
    );
    Identity::create(&keys, "stranger", Duration::from_secs(3600)).unwrap();
    let stranger = IdentityConfig { folder: keys.clone(), name: "stranger".to_string() };
    refused(&OwnerConfig { identity: stranger.clone(), ..north.clone() }, &["names no owner with this identity"]);

    // Another job, and one that a stranger made to name itself.
    let write = |name: &str, change: &dyn Fn(&mut Job)| {
        let mut job = made.job.clone();
        change(&mut job);
        let path = made.folder.path().join(name);
        job.write(&path).unwrap();
        path
    };
    let other = write("other.json", &|job| job.recipe.lr *= 2.0);
    refused(&OwnerConfig { job: other, ..north.clone() }, &["P0", "the owner has another job"]);
    let pin = stranger.load().unwrap().fingerprint().to_string();
    let forged = write("forged.json", &|job| job.owners[0].fingerprint = pin.clone());
    assert!(share(&OwnerConfig { job: forged, identity: stranger, ..north.clone() }).join().unwrap().is_err());
    refused(&OwnerConfig { p0: south.p1.clone(), p1: south.p0.clone(), ..south.clone() }, &["exchange p0 and p1"]);

    // A message of another length, and one that ends in the middle.
    for len in [15, 17, 0] {
        let mut peer = connect(&north, 0);
        peer.send_control(&Brings { protocol: PROTOCOL, party: 0, job: digest, from_epoch: 1, sharing: [3; 16] })
            .unwrap();
        peer.recv_control::<u8>(16, "a verdict").unwrap();
        peer.send((1 << 31) + 5, vec![0; len]).unwrap();
        assert!(peer.recv_control::<u8>(16, "a verdict").is_err(), "{len} bytes are no seed");
    }
    let mut peer = connect(&north, 1);
    peer.send_control(&Brings { protocol: PROTOCOL, party: 1, job: digest, from_epoch: 1, sharing: [3; 16] }).unwrap();
    peer.recv_control::<u8>(16, "a verdict").unwrap();
    drop(peer);

    // One that came, comes again.
    share(&north).join().unwrap().unwrap();
    refused(&north, &["the rows of north came already", "shares once"]);
    share(&south).join().unwrap().unwrap();
    // The last one was there: the training begins, and who comes now is late, or finds nobody.
    let mut late = south.clone();
    late.deadlines.connect = 3.0;
    assert!(share(&late).join().unwrap().is_err());
    let [dealer, p0, p1] = ended.join().unwrap();
    dealer.unwrap();
    p1.unwrap();
    let (losses, ..) = in_clear(&made);
    for (pooled, clear) in p0.unwrap().losses.iter().zip(&losses) {
        assert!((pooled - clear).abs() < 0.03 * clear + 0.005, "{pooled} for {clear}");
    }
    let all = [
        &[
            "waits for the rows of north, south",
            "has the rows of north",
            "has the rows of south",
            "took nothing from north",
        ][..],
        // P1 is not asked any more when P0 has refused.
        &["refused north", "another job", "turned away where owners connect"],
    ];
    for (party, notices) in notices.iter().enumerate() {
        let told = notices.lock().unwrap().join("\n");
        let wanted = all[..2 - party].iter().flat_map(|words| words.iter());
        wanted.for_each(|word| assert!(told.contains(word), "P{party}: {word:?} is not in {told}"));
    }
}

/// An owner that opens and keeps all the connections that it gets, and strangers that say nothing, hold up nobody else.
#[test]
fn who_keeps_many_connections_shuts_out_itself_alone() {
    let Pooled { made: _made, roles, owners, .. } = pooled(make(small()), &[[30, 32], [40, 0]]);
    let notices = [Notices::default(), Notices::default()];
    let told = notices.clone();
    let ended = std::thread::spawn(move || run_telling(roles, [&Hooks::default(); 3], &told));
    let [north, south] = [&owners[0], &owners[1]];
    let remotes = [&south.p0.address, &south.p1.address];
    let mut kept: Vec<Peer> = (0..2).map(|party| connect(south, party)).collect();
    let silent = remotes.map(|address| (0..300).map(|_| TcpStream::connect(address)).filter_map(Result::ok).collect());
    let silent: [Vec<TcpStream>; 2] = silent;
    assert!(silent.iter().all(|silent| silent.len() > 256), "more than a listener keeps");
    // Four of each identity, and a bound of all that these alone would have reached.
    for party in [0, 1] {
        kept.extend((0..40).map(|_| connect(south, party)));
    }
    let refused = |party: usize| {
        let told = notices[party].lock().unwrap();
        told.iter().filter(|told| told.contains("refused south: it has 4 connections already")).count()
    };
    let end = Instant::now() + Duration::from_secs(60);
    while [0, 1].map(refused) != [37, 37] {
        assert!(Instant::now() < end, "{:?} of 37 were refused: {notices:?}", [0, 1].map(refused));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(share(north).join().unwrap().unwrap().rows, 30);
    // It comes in again when they have gone.
    drop((kept, silent));
    let mut again = share(south).join().unwrap();
    for _ in 0..20 {
        if again.is_ok() {
            break;
        }
        std::thread::sleep(Duration::from_millis(200));
        again = share(south).join().unwrap();
    }
    assert_eq!(again.unwrap().rows, 40);
    ended.join().unwrap().into_iter().for_each(|end| drop(end.unwrap()));
}

/// Who does not come is named; who came need not come again.
#[test]
fn owners_that_do_not_come_are_named() {
    let Pooled { made, mut roles, owners, .. } = pooled(make(small()), &[[30, 32], [40, 0]]);
    for (party, name) in roles.parties.iter_mut().zip(["p0", "p1"]) {
        party.checkpoint = Some(made.folder.path().join(name));
    }
    let mut hasty = roles.parties.clone();
    hasty.iter_mut().for_each(|party| party.deadlines.stall = 6.0);
    let shared = share(&owners[1]);
    let ended = run(Roles { dealer: roles.dealer.clone(), parties: hasty }, [&Hooks::default(); 3]);
    let told: Vec<String> = ended[1..].iter().filter_map(|end| Some(end.as_ref().err()?.to_string())).collect();
    assert!(told.iter().any(|error| error.contains("no rows came from north")), "{told:?}");
    assert_eq!(shared.join().unwrap().unwrap().name, "south");
    let (shared, notices) = (share(&owners[0]), [Notices::default(), Notices::default()]);
    let ended = run_telling(roles, [&Hooks::default(); 3], &notices);
    assert_eq!(shared.join().unwrap().unwrap().name, "north");
    ended.into_iter().for_each(|end| drop(end.unwrap()));
    for notices in notices {
        assert!(notices.lock().unwrap().contains(&"waits for the rows of north".to_string()));
    }
}

/// Shares lie with the checkpoints: who goes on needs no owner, and a damaged file is not taken.
#[test]
fn a_pooled_training_goes_on_without_its_owners() {
    let hooks = Hooks::default();
    let Pooled { made, roles, owners, .. } = pooled(make(small()), &[[30, 32], [40, 0]]);
    let folder = made.folder.path().join("kept");
    let with = |roles: &Roles, resume: bool| {
        let mut parties = roles.parties.clone();
        for (party, name) in parties.iter_mut().zip(["p0", "p1"]) {
            party.checkpoint = Some(folder.join(name));
            party.checkpoint_every = Some(1);
            party.resume = resume;
            if resume {
                party.owners = None;
            }
        }
        Roles { dealer: roles.dealer.clone(), parties }
    };
    let shared: Vec<Shared> = owners.iter().map(share).collect();
    let [_, p0, p1] = run(with(&roles, false), [&hooks; 3]);
    shared.into_iter().for_each(|shared| drop(shared.join().unwrap().unwrap()));
    let (unbroken, _) = (p0.unwrap(), p1.unwrap());
    let files = |party: &str, end: &str| {
        let all = std::fs::read_dir(folder.join(party)).unwrap().map(|entry| entry.unwrap().path());
        let mut found: Vec<PathBuf> = all.filter(|path| path.extension().is_some_and(|found| found == end)).collect();
        found.sort();
        found
    };
    for (party, len) in [("p0", 16), ("p1", 40 * 794 * 4)] {
        let kept = files(party, "rows");
        assert_eq!(kept.len(), 2, "{kept:?}");
        assert_eq!(std::fs::metadata(&kept[1]).unwrap().len(), 99 + len);
    }
    std::fs::remove_file(files("p0", "shares").last().unwrap()).unwrap();
    let [_, p0, p1] = run(with(&roles, true), [&hooks; 3]);
    let (resumed, _) = (p0.unwrap(), p1.unwrap());
    assert!(resumed.first_turn > 0 && resumed.losses.len() == 4);
    for (a, b) in resumed.losses.iter().zip(&unbroken.losses) {
        assert!((a - b).abs() < 0.02 * b, "{a} for {b}");
    }
    // A bit of a kept share differs: its owner would have to come again.
    let path = &files("p1", "rows")[1];
    let mut bytes = std::fs::read(path).unwrap();
    bytes[200] ^= 1;
    std::fs::write(path, bytes).unwrap();
    std::fs::remove_file(files("p0", "shares").last().unwrap()).unwrap();
    let notices = [Notices::default(), Notices::default()];
    let ended = run_telling(with(&roles, true), [&hooks; 3], &notices);
    let told: Vec<_> = ended[1..].iter().filter_map(|end| end.as_ref().err()).collect();
    assert!(told.iter().any(|error| error.to_string().contains("the rows of south are not here")), "{told:?}");
    assert!(told.iter().any(|error| error.fault() == Fault::Operator));
    assert!(notices[1].lock().unwrap().iter().any(|told| told.contains("it is damaged; its owner must share anew")));
}

/// A job whose owners do not fit is refused.
#[test]
fn jobs_with_owners_that_do_not_fit_are_refused() {
    let Pooled { made, .. } = pooled(make(small()), &[[30, 32], [40, 0]]);
    type Change = fn(&mut Job);
    let changes: [(Change, &str); 14] = [
        (|job| job.owners.clear(), "list of owners"),
        (|job| job.labels = Source::P1, "not both shared"),
        (|job| (job.features, job.labels) = (Source::P0, Source::P0), "list of owners"),
        (|job| job.owners[0].rows += 1, "as many items as it has"),
        (|job| job.owners[0].rows = u64::MAX, "as many items as it has"),
        (|job| job.owners[0].test_rows = 0, "of the test"),
        (|job| job.owners[1].name = "north".to_string(), "one name twice"),
        (|job| job.owners[1].fingerprint = job.owners[0].fingerprint.clone(), "one identity twice"),
        (|job| job.owners[1].fingerprint = "none".to_string(), "south has a fingerprint that is none"),
        (|job| job.owners[1].name = "so\nuth".to_string(), "names that are none"),
        (|job| job.owners[0].from_epoch = 2, "order of the epochs"),
        (|job| job.owners[1].from_epoch = 3, "epoch that there is not"),
        (|job| job.owners[1].from_epoch = 2, "too few items for the first epoch"),
        (|job| job.owners.iter_mut().for_each(|owner| owner.from_epoch = 2), "test set on the way"),
    ];
    for (change, word) in changes {
        let mut job = made.job.clone();
        change(&mut job);
        let error = Course::new(job).map(drop).unwrap_err().to_string();
        assert!(error.contains(word), "{word:?} is not in {error:?}");
    }
}

/// Rows that an owner adds: the batches of the first epochs stay, those of later ones are drawn from all. Known beforehand, or after a
/// training was broken off and goes on with a job that has more; either way it is what float trains on these batches.
#[test]
fn owners_add_rows_between_epochs() {
    let hooks = Hooks::default();
    let Pooled { mut made, mut roles, mut owners, .. } =
        pooled(make(Wanted { rows: 200, test_rows: 64, epochs: 3, ..Wanted::default() }), &[[90, 64], [70, 0]]);
    // 160 rows at first; 40 of north come to the second epoch.
    let folder = made.folder.path().to_path_buf();
    let first = made.job.clone();
    assert_eq!(first.rows, 160);
    let mut grown = Job { rows: 200, ..first.clone() };
    grown.owners.push(RowOwner { rows: 40, test_rows: 0, from_epoch: 2, ..first.owners[0].clone() });
    let course = Course::new(grown.clone()).unwrap();
    let turns = course.turns();
    assert_eq!([0, 1, 2].map(|epoch| turns.steps_of(epoch)), [5, 6, 6]);
    made.job = grown.clone();
    let (losses, ..) = in_clear_of(&made, &[160, 200, 200]);
    let [old, new] = [("first.json", &first), ("grown.json", &grown)].map(|(name, job)| {
        job.write(&folder.join(name)).unwrap();
        folder.join(name)
    });
    let [features, labels] = slice(&folder, "more", &made.train, 160, 40).map(Some);
    let more = OwnerConfig {
        job: new.clone(),
        from_epoch: 2,
        features,
        labels,
        test_features: None,
        test_labels: None,
        ..owners[0].clone()
    };
    let mut with = |job: &PathBuf, kept: &str, resume: bool| {
        roles.dealer.job = job.clone();
        owners.iter_mut().for_each(|owner| owner.job = job.clone());
        for (party, name) in roles.parties.iter_mut().zip(["p0", "p1"]) {
            party.job = job.clone();
            party.checkpoint = Some(folder.join(kept).join(name));
            party.checkpoint_every = Some(1);
            party.resume = resume;
        }
        (Roles { dealer: roles.dealer.clone(), parties: roles.parties.clone() }, owners.clone())
    };
    let near = |losses: &[f64], of: &[f64]| {
        for (step, (pooled, clear)) in losses.iter().zip(of).enumerate() {
            assert!((pooled - clear).abs() < 0.03 * clear + 0.005, "step {step}: {pooled} for {clear}");
        }
    };

    // Known beforehand.
    let (parties, owners) = with(&new, "beforehand", false);
    let shared: Vec<Shared> = owners.iter().chain([&more]).map(share).collect();
    let [dealer, p0, p1] = run(parties, [&hooks; 3]);
    shared.into_iter().for_each(|shared| drop(shared.join().unwrap().unwrap()));
    dealer.unwrap();
    p1.unwrap();
    let unbroken = p0.unwrap();
    assert_eq!((unbroken.losses.len(), unbroken.turns), (17, turns.count()));
    near(&unbroken.losses, &losses);

    // Announced on the way: P1 ends in the first epoch as if it were killed, and both go on with the job that has more.
    let (mut parties, owners) = with(&old, "on the way", false);
    parties.parties[0].deadlines.stall = 600.0;
    let shared: Vec<Shared> = owners.iter().map(share).collect();
    let broken = Hooks { observer: |_| Box::new(Breaks(Vec::new())), ..Hooks::default() };
    let ended = run(parties, [&hooks, &hooks, &broken]);
    let told = || ended.iter().filter_map(|end| end.as_ref().err()).map(ToString::to_string).collect::<Vec<_>>();
    shared
        .into_iter()
        .for_each(|shared| drop(shared.join().unwrap().unwrap_or_else(|error| panic!("{error}: {:?}", told()))));
    assert!(ended[1].is_err() && ended[2].is_err(), "it was broken off");
    // Without its rows nothing is shared under the name of an epoch that the job does not know.
    let error = share(&OwnerConfig { from_epoch: 3, ..more.clone() }).join().unwrap().unwrap_err().to_string();
    assert!(error.contains("take part from epoch 1, 2 on, and none from epoch 3"), "{error}");
    let (parties, _) = with(&new, "on the way", true);
    let notices = [Notices::default(), Notices::default()];
    let added = share(&more);
    let [dealer, p0, p1] = run_telling(parties, [&hooks; 3], &notices);
    assert_eq!(added.join().unwrap().unwrap().rows, 40);
    dealer.unwrap();
    let (p0, p1) = (p0.unwrap(), p1.unwrap());
    for (party, notices) in notices.iter().enumerate() {
        let told = notices.lock().unwrap();
        assert!(told.contains(&"waits for the rows of north (from epoch 2 on)".to_string()), "P{party}: {told:?}");
    }
    assert!(p0.first_turn > 0 && p0.first_turn == p1.first_turn && p0.losses.len() == 17);
    near(&p0.losses, &losses);

    // A training that has gone beyond an epoch takes no more rows to it.
    let (parties, _) = with(&old, "on the way", true);
    let told = run(parties, [&hooks; 3]).map(|end| end.map(drop).map_err(|error| error.to_string()));
    // Where P0 refuses, P1 is not started.
    assert!(told[1].as_ref().is_err_and(|error| error.contains("another job")), "{told:?}");
    let mut late = grown.clone();
    late.owners.push(RowOwner { rows: 32, test_rows: 0, from_epoch: 2, ..first.owners[1].clone() });
    late.rows += 32;
    late.write(&new).unwrap();
    let (parties, _) = with(&new, "on the way", true);
    let told = run(parties, [&hooks; 3]).map(|end| end.map(drop).map_err(|error| error.to_string()));
    let behind = "it stands in or behind the epoch that items are added to";
    assert!(told[1].as_ref().is_err_and(|error| error.contains(behind)), "{told:?}");
}

/// Ends a party in its third turn, as a kill would.
struct Breaks(Vec<ariann_material::BatchId>);

impl Observer for Breaks {
    fn wants_messages(&self) -> bool {
        false
    }

    fn sending(&mut self, id: ariann_material::BatchId, _: std::ops::Range<u32>, _: u32, _: u32, _: &[u8]) {
        if !self.0.contains(&id) {
            self.0.push(id);
        }
        assert!(self.0.len() < 3, "broken off on purpose");
    }
}
