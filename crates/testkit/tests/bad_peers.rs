//! Peers that are somebody else, die, fall silent, or send what the plan does not have: named within the deadline, and
//! the serving role goes on.

mod common;

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use ariann_material::inspect;
use ariann_net::{Identity, Limits, Peer};
use ariann_plan::Plan;
use ariann_testkit::processes::{Role, run};
use ariann_testkit::stage::{Stage, Standing};
use common::wire::{Hello, Offer, Request, Verdict};
use serde_json::Value;

const NAMED: Duration = Duration::from_secs(5);
const BRISK: &str = "deadlines = { connect = 3.0, silence = 1.5, stall = 20.0 }";
const SLOTS: u32 = 60;

/// P0 at work on a batch, and what P1 needs.
struct Pair {
    stage: Stage,
    server: Role,
    address: String,
    p1: String,
}

impl Pair {
    fn new() -> Pair {
        let stage = Stage::new(env!("CARGO_BIN_EXE_ariann-under-test"));
        stage.deal("plan.json", SLOTS, "material");
        let mut server = Role::start(&mut stage.serve(&format!("{BRISK}\n{}", stage.takes("material", "p0"))));
        let address = server.address();
        let p1 = format!("{BRISK}\n{}", stage.takes("material", "p1"));
        Pair { stage, server, address, p1 }
    }

    /// Starts a query that takes a while.
    fn long_query(&self) -> Role {
        let images = self.stage.images("many.idx", &self.stage.clear_cut[..20]);
        Role::start(&mut self.stage.query(&self.address, &images, &self.p1))
    }

    /// A query that must go well.
    #[track_caller]
    fn works(&self) {
        let numbers = [self.stage.clear_cut[3]];
        let images = self.stage.images("good.idx", &numbers);
        let done = run(&mut self.stage.query(&self.address, &images, &self.p1)).success();
        self.stage.check(&done.last()["report"], &numbers);
    }

    /// P0's next failed session, counted from line `from`.
    #[track_caller]
    fn failed(&mut self, from: usize) -> (Instant, Value) {
        let found = self.server.event_from(from, &["session_failed"], NAMED);
        found.unwrap_or_else(|| panic!("P0 does not tell that a session failed: {}", self.server.stdout()))
    }

    fn ledgers(&self) -> [Standing; 2] {
        ["state-p0", "state-p1"].map(|state| self.stage.ledger(state))
    }
}

#[test]
fn a_peer_with_another_identity_is_refused_by_both_ends() {
    let mut pair = Pair::new();
    pair.works();
    let before = pair.ledgers();
    let images = pair.stage.images("i.idx", &[0]);
    let ids = pair.stage.text("ids");
    let stranger = pair.stage.run(&["identity", "new", "stranger", "--folder", &ids]).success().stdout;
    // P1 is not who P0 pins.
    let mut query = pair.stage.query(&pair.address, &images, &pair.p1);
    let said = run(query.args(["--identity", "ids/stranger"]));
    said.failure(2, &["P0", "refused our identity", stranger.trim(), "pin"]);
    // P0 tells its operator who was turned away, and why.
    let turned_away = |server: &mut Role| {
        let notices = server.events(0).into_iter().filter(|(_, event)| event["event"] == "notice");
        notices
            .into_iter()
            .any(|(_, notice)| notice["text"].as_str().is_some_and(|text| text.contains(stranger.trim())))
    };
    let end = Instant::now() + NAMED;
    while !turned_away(&mut pair.server) {
        assert!(Instant::now() < end, "P0 keeps to itself who was turned away: {}", pair.server.stdout());
        std::thread::sleep(Duration::from_millis(20));
    }
    // P0 is not who P1 pins.
    let mut query = pair.stage.query(&pair.address, &images, &pair.p1);
    let said = run(query.args(["--peer", stranger.trim()]));
    said.failure(2, &["P0", "showed the identity", &pair.stage.pin("p0"), stranger.trim(), "somebody else answers"]);
    assert_eq!(pair.ledgers(), before);
    pair.works();
    // A fingerprint that is none.
    run(pair.stage.query(&pair.address, &images, "").args(["--peer", "ariann:12"])).failure(2, &["fingerprint of P0"]);
}

#[test]
fn a_peer_killed_in_a_run_is_named_and_the_run_is_burnt() {
    let mut pair = Pair::new();
    let mut query = pair.long_query();
    query.event("gate");
    let killed = query.kill();
    let (moment, failed) = pair.failed(0);
    let error = failed["error"].as_str().unwrap();
    assert!(failed["fault"] == "peer" && error.contains("P1") && error.contains("start it again"), "{failed}");
    println!("P0 named the dead P1 after {:?}: {error}", moment.saturating_duration_since(killed));
    pair.works();
    let [p0, p1] = pair.ledgers();
    assert!(p0.left == p1.left && p0.slots() == u64::from(SLOTS) && p1.slots() == u64::from(SLOTS), "{p0:?} {p1:?}");

    let mut query = pair.long_query();
    query.event("gate");
    let killed = pair.server.kill();
    let said = query.finish().failure(4, &["P0", "start it again"]);
    println!("P1 named the dead P0 after {:?}: {}", killed.elapsed(), said.last()["error"]);
    assert!(killed.elapsed() < NAMED && said.last()["fault"] == "peer");
}

#[test]
fn a_peer_that_falls_silent_is_named_by_the_deadline() {
    let mut pair = Pair::new();
    let mut query = pair.long_query();
    query.event("gate");
    let stopped = Instant::now();
    query.signal("STOP");
    let (moment, failed) = pair.failed(0);
    let error = failed["error"].as_str().unwrap();
    assert!(error.contains("P1") && error.contains("no sign of life"), "{failed}");
    println!("P0 named the silent P1 after {:?}: {error}", moment.saturating_duration_since(stopped));
    query.signal("CONT");
    query.finish().failure(4, &["P0"]);
    pair.works();

    let mut query = pair.long_query();
    query.event("gate");
    let stopped = Instant::now();
    pair.server.signal("STOP");
    let said = query.finish().failure(4, &["P0", "no sign of life"]);
    println!("P1 named the silent P0 after {:?}: {}", stopped.elapsed(), said.last()["error"]);
    assert!(stopped.elapsed() < NAMED);
    pair.server.signal("CONT");
    pair.works();
    assert!(pair.ledgers().iter().all(|one| one.slots() == u64::from(SLOTS)));
}

#[test]
fn both_sides_need_the_same_plan() {
    let mut pair = Pair::new();
    pair.works();
    let before = pair.ledgers();
    pair.stage.plan("other.json", &["--ring", "64"]);
    let images = pair.stage.images("i.idx", &[0]);
    let mut query = pair.stage.query(&pair.address, &images, BRISK);
    let said = run(query.args(["--plan", "other.json"]));
    said.failure(4, &["P0 and this role do not fit", "plan", "the same plan file"]);
    let (_, failed) = pair.failed(0);
    assert!(failed["error"].as_str().unwrap().contains("the same plan file"), "{failed}");
    assert_eq!(pair.ledgers(), before);
    pair.works();
}

#[test]
fn strangers_at_the_port_do_not_disturb_a_run() {
    let mut pair = Pair::new();
    let mut idle = Vec::new();
    let mut disturb = |pair: &Pair| {
        for _ in 0..20 {
            idle.push(TcpStream::connect(&pair.address).unwrap());
        }
        for garbage in
            [&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], &[0xff; 4096], &[22, 3, 1, 255, 255, 1, 0, 0], &[0; 24]]
        {
            let mut socket = TcpStream::connect(&pair.address).unwrap();
            // P0 may close before all is written.
            let _ = socket.write_all(garbage);
        }
    };
    disturb(&pair);
    pair.works();
    let mut query = pair.long_query();
    query.event("gate");
    disturb(&pair);
    let done = query.finish().success();
    pair.stage.check(&done.last()["report"], &pair.stage.clear_cut[..20]);
    disturb(&pair);
    pair.works();
    assert!(pair.server.events(0).iter().all(|(_, event)| event["event"] != "session_failed"));
    assert!(pair.ledgers().iter().all(|one| one.burnt == 0 && one.used == 22));
}

/// P1 with the right identity and a mind of its own.
struct Fake<'a> {
    pair: &'a Pair,
    identity: Identity,
    hello: Hello,
    input_bytes: usize,
}

impl Fake<'_> {
    fn new(pair: &Pair) -> Fake<'_> {
        let plan = Plan::read(&pair.stage.path("plan.json")).unwrap();
        let label = inspect(&pair.stage.material("material", "p1")).unwrap();
        let offer = Offer { batch: label.batch.0, weights: label.weights.0, slots: label.slots, mark: 0 };
        let hello = Hello {
            protocol: 1,
            party: 1,
            ring: plan.ring,
            plan: plan.digest(),
            batches: vec![offer],
            weights: Vec::new(),
            most_items: 1,
        };
        let identity = Identity::load(&pair.stage.path("ids"), "p1").unwrap();
        Fake { pair, identity, hello, input_bytes: 4 * plan.input_len() }
    }

    fn batch(&self) -> [u8; 16] {
        self.hello.batches[0].batch
    }

    fn connect(&self) -> Peer {
        let pin = self.pair.stage.pin("p0").parse().unwrap();
        Peer::connect(&self.pair.address, &self.identity, &pin, "P0", &Limits::default()).unwrap()
    }

    fn greeted(&self) -> Peer {
        let mut peer = self.connect();
        peer.send_control(&self.hello).unwrap();
        let _: Hello = peer.recv_control(1 << 16, "a greeting").unwrap();
        assert!(matches!(peer.recv_control(1 << 16, "a verdict").unwrap(), Verdict::Accepted));
        peer.send_control(&Verdict::Accepted).unwrap();
        peer
    }

    /// Ready to run; the weights are left out, as by a P1 that keeps them.
    fn prepared(&self) -> Peer {
        let mut peer = self.greeted();
        peer.send_control(&Request::Prepare(self.batch())).unwrap();
        assert!(matches!(peer.recv_control(1 << 16, "prepared").unwrap(), Verdict::Accepted));
        peer
    }

    fn running(&self) -> Peer {
        let mut peer = self.prepared();
        let first = self.pair.stage.ledger("state-p0");
        let first = (first.slots() - first.left) as u32;
        peer.send_control(&Request::Run { batch: self.batch(), first, items: 1 }).unwrap();
        peer
    }
}

#[test]
fn what_the_plan_does_not_have_is_refused_and_named() {
    let mut pair = Pair::new();
    pair.works();
    /// What a fake P1 does, what P0 says, and how many slots a run that had begun costs.
    type Case = (&'static str, fn(&Fake<'_>) -> Peer, &'static [&'static str], u64);
    let cases: [Case; 17] = [
        (
            "a message one byte longer",
            |fake| said(fake.running(), |p| p.send(0, vec![7; fake.input_bytes + 1]).unwrap()),
            &["bytes, the plan has"],
            1,
        ),
        (
            "a message one byte shorter",
            |fake| said(fake.running(), |p| p.send(0, vec![7; fake.input_bytes - 1]).unwrap()),
            &["bytes, the plan has"],
            1,
        ),
        ("no bytes", |fake| said(fake.running(), |p| p.send(0, Vec::new()).unwrap()), &["bytes, the plan has"], 1),
        (
            "another step",
            |fake| said(fake.running(), |p| p.send(8, vec![7; fake.input_bytes]).unwrap()),
            &["step 8", "the plan has step 0"],
            1,
        ),
        (
            "a control message",
            |fake| said(fake.running(), |p| p.send_control(&Request::Done).unwrap()),
            &["control frame"],
            1,
        ),
        ("a farewell", |fake| said(fake.running(), |_| {}), &["P1"], 1),
        ("slots that are spent", |fake| asks(fake, fake.batch(), 0, 1), &["slot 0", "the next free one is"], 0),
        ("slots that are far ahead", |fake| asks(fake, fake.batch(), 50, 1), &["slot 50", "the next free one is"], 0),
        ("no slots", |fake| asks(fake, fake.batch(), u32::MAX, 0), &[], 0),
        ("more slots than there are", |fake| asks(fake, fake.batch(), u32::MAX, SLOTS + 1), &["slots"], 0),
        ("more items than P0 allows", |fake| asks(fake, fake.batch(), u32::MAX, u32::MAX), &["at most 1024"], 0),
        ("a run before its preparation", |fake| unprepared(fake), &["before it asked to prepare"], 0),
        ("another batch", |fake| asks(fake, [9; 16], 0, 1), &["not agreed on"], 0),
        (
            "another protocol",
            |fake| hello(fake, |hello| hello.protocol = 2),
            &["protocol version 2", "same release"],
            0,
        ),
        ("another party", |fake| hello(fake, |hello| hello.party = 0), &["both sides are party 0"], 0),
        (
            "too many batches",
            |fake| hello(fake, |hello| hello.batches = vec![hello.batches[0].clone(); 300]),
            &["300 batches"],
            0,
        ),
        (
            "an endless greeting",
            |fake| hello(fake, |hello| hello.weights = vec![[1; 16]; 5000]),
            &["control message of", "at most"],
            0,
        ),
    ];
    for (what, act, words, burnt) in cases {
        let before = pair.stage.ledger("state-p0");
        let from = pair.server.said();
        let mut peer = act(&Fake::new(&pair));
        peer.flush().ok();
        let kept = (what != "a farewell").then_some(peer);
        let (_, failed) = pair.failed(from);
        let error = failed["error"].as_str().unwrap();
        words.iter().for_each(|word| assert!(error.contains(word), "{what}: {word:?} is not in: {error}"));
        assert!(!error.contains("panicked"), "{what}: {error}");
        let after = pair.stage.ledger("state-p0");
        assert_eq!(
            (after.left, after.used, after.burnt),
            (before.left - burnt, before.used, before.burnt + burnt),
            "{what}: {error}"
        );
        println!("{what}: {} ({})", error, failed["fault"]);
        drop(kept);
    }
    // P1 catches up with what P0 has burnt, and the next prediction is right.
    pair.works();
    let [p0, p1] = pair.ledgers();
    assert_eq!((p0.left, p0.burnt, p0.used), (p1.left, p1.burnt, p1.used));
}

fn said(mut peer: Peer, say: impl FnOnce(&mut Peer)) -> Peer {
    say(&mut peer);
    peer
}

/// Asks for a run; `first` is the next free slot when it is the greatest number.
fn asks(fake: &Fake<'_>, batch: [u8; 16], first: u32, items: u32) -> Peer {
    let mut peer = fake.prepared();
    let standing = fake.pair.stage.ledger("state-p0");
    let first = if first == u32::MAX { (standing.slots() - standing.left) as u32 } else { first };
    peer.send_control(&Request::Run { batch, first, items }).unwrap();
    peer
}

fn unprepared(fake: &Fake<'_>) -> Peer {
    let mut peer = fake.greeted();
    let standing = fake.pair.stage.ledger("state-p0");
    let first = (standing.slots() - standing.left) as u32;
    peer.send_control(&Request::Run { batch: fake.batch(), first, items: 1 }).unwrap();
    peer
}

fn hello(fake: &Fake<'_>, change: impl FnOnce(&mut Hello)) -> Peer {
    let mut hello = fake.hello.clone();
    change(&mut hello);
    let mut peer = fake.connect();
    peer.send_control(&hello).unwrap();
    peer
}
