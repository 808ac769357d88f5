//! A P0 and a dealer with the right identities that do not do what the plan says: P1 names them, loses at most the run
//! that had begun, and keeps nothing of a delivery that is not whole at both.

mod common;

use std::time::Duration;

use ariann_material::inspect;
use ariann_net::{Allowed, Identity, Limits, Listener, Peer};
use ariann_plan::Plan;
use ariann_testkit::processes::{PATIENCE, Role, run};
use ariann_testkit::stage::{Stage, Standing};
use common::wire::{Arrived, DELIVERY_STEP, Delivery, Fetch, Hello, Offer, Request, Verdict};

const BRISK: &str = "deadlines = { connect = 3.0, silence = 3.0, stall = 20.0 }";

fn stage() -> Stage {
    Stage::new(env!("CARGO_BIN_EXE_ariann-under-test"))
}

/// Listens with the identity `name` and takes one connection of P1.
struct Fake {
    listener: Listener,
    address: String,
}

impl Fake {
    fn new(stage: &Stage, name: &str) -> Fake {
        let identity = Identity::load(&stage.path("ids"), name).unwrap();
        let allowed = [Allowed { name: "P1".to_string(), pin: stage.pin("p1").parse().unwrap() }];
        let listener = Listener::bind("127.0.0.1:0", &identity, &allowed, &Limits::default()).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        Fake { listener, address }
    }

    fn accept(&mut self) -> Peer {
        self.listener.accept(PATIENCE).unwrap()
    }
}

/// Takes whatever P1 still says until it leaves.
fn until_gone(mut peer: Peer) {
    peer.flush().ok();
    let _ = peer.recv(u32::MAX, 0, "its end");
}

#[test]
fn p1_names_a_p0_that_leaves_the_plan() {
    let stage = stage();
    stage.deal("plan.json", 12, "material");
    let more = format!("{BRISK}\n{}", stage.takes("material", "p1"));
    let images = stage.images("i.idx", &[stage.clear_cut[0]]);
    let mut server = Role::start(&mut stage.serve(&stage.takes("material", "p0")));
    run(&mut stage.query(&server.address(), &images, &more)).success();
    server.kill();

    let plan = Plan::read(&stage.path("plan.json")).unwrap();
    let label = inspect(&stage.material("material", "p0")).unwrap();
    let input_bytes = 4 * plan.input_len();
    // The first gate after the input that P0 has something to say in.
    let gate = (1..plan.gates.len()).find(|gate| !plan.cost(*gate).exchanges.is_empty()).unwrap();
    let bytes = plan.cost(gate).exchanges[0][0].bytes(1);
    let step = ariann_session::engine::STEPS * gate as u32;
    type Act = fn(&mut Peer, u32, usize);
    let cases: [(&str, Act, &[&str], u64); 6] = [
        ("one byte more", |p, step, bytes| p.send(step, vec![0; bytes + 1]).unwrap(), &["the plan has"], 1),
        ("one byte less", |p, step, bytes| p.send(step, vec![0; bytes - 1]).unwrap(), &["the plan has"], 1),
        ("another step", |p, step, bytes| p.send(step + 1, vec![0; bytes]).unwrap(), &["it sent step"], 1),
        ("a control message", |p, _, _| p.send_control(&Verdict::Accepted).unwrap(), &["control frame"], 1),
        ("a refusal", |_, _, _| {}, &["it refused: not today"], 0),
        ("a mark beyond the batch", |_, _, _| {}, &["material"], 0),
    ];
    for (what, act, words, burnt) in cases {
        let before = stage.ledger("state-p1");
        let mut fake = Fake::new(&stage, "p0");
        let query = Role::start(&mut stage.query(&fake.address, &images, &more));
        let mut peer = fake.accept();
        let mark = if what == "a mark beyond the batch" { u32::MAX } else { (before.slots() - before.left) as u32 };
        let offer = Offer { batch: label.batch.0, weights: label.weights.0, slots: label.slots, mark };
        let (batches, weights) = (vec![offer], vec![label.weights.0]);
        let (ring, digest) = (plan.ring, plan.digest());
        let hello = Hello { protocol: 1, party: 0, ring, plan: digest, batches, weights, most_items: 100 };
        peer.send_control(&hello).unwrap();
        let _: Hello = peer.recv_control(1 << 16, "a greeting").unwrap();
        if what == "a refusal" {
            peer.send_control(&Verdict::Refused("not today".to_string())).unwrap();
        } else {
            peer.send_control(&Verdict::Accepted).unwrap();
            // A P1 that finds no material leaves at once.
            let _ = peer.recv_control::<Verdict>(1 << 16, "a verdict");
        }
        if burnt > 0 {
            assert!(matches!(peer.recv_control(1 << 16, "a request").unwrap(), Request::Prepare(_)));
            peer.send_control(&Verdict::Accepted).unwrap();
            assert!(matches!(peer.recv_control(1 << 16, "a request").unwrap(), Request::Run { items: 1, .. }));
            peer.recv(0, input_bytes, "the masked input").unwrap();
            peer.recv(step, plan.cost(gate).exchanges[0][1].bytes(1), "an opening").unwrap();
            act(&mut peer, step, bytes);
        }
        until_gone(peer);
        let code = if what == "a mark beyond the batch" { 2 } else { 4 };
        let said = query.finish().failure(code, words);
        println!("{what}: {}", said.last()["error"]);
        let after = stage.ledger("state-p1");
        let standing = (before.left - burnt, before.used, before.burnt + burnt);
        assert_eq!((after.left, after.used, after.burnt), standing, "{what}");
    }

    // The real P0 catches up with what P1 has burnt.
    let mut server = Role::start(&mut stage.serve(&stage.takes("material", "p0")));
    let done = run(&mut stage.query(&server.address(), &images, &more)).success();
    stage.check(&done.last()["report"], &[stage.clear_cut[0]]);
    let [p0, p1] = ["state-p0", "state-p1"].map(|state| stage.ledger(state));
    assert_eq!((p0.left, p0.slots()), (p1.left, p1.slots()));
}

/// A bad delivery: name, slots and bytes announced, what is sent; exit code and words of the error.
type Case<'a> = (&'a str, u32, u64, &'a [u8], i32, &'a [&'a str]);

#[test]
fn p1_keeps_nothing_of_a_bad_delivery() {
    let stage = stage();
    stage.deal("plan.json", 2, "material");
    stage.plan("other.json", &["--ring", "64"]);
    stage.deal("other.json", 2, "foreign");
    let images = stage.images("i.idx", &[stage.clear_cut[0]]);
    let [good, foreign] = ["material", "foreign"].map(|folder| std::fs::read(stage.material(folder, "p1")).unwrap());
    let mut flipped = good.clone();
    flipped[good.len() / 3] ^= 4;
    let whole = good.len() as u64;
    let mut other_party = std::fs::read(stage.material("material", "p0")).unwrap();
    other_party.resize(good.len(), 0);
    // What is announced, what is sent, whether it is confirmed; what P1 says.
    let cases: [Case; 9] = [
        ("too many bytes announced", 2, whole + (1 << 40), &[], 4, &["the dealer", "announced"]),
        ("too few bytes announced", 2, 100, &[], 4, &["the dealer", "announced"]),
        ("no slots", 0, whole, &[], 4, &["the dealer", "announced"]),
        ("as many slots as there are numbers", u32::MAX, u64::MAX, &[], 4, &["the dealer"]),
        ("a flipped bit", 2, whole, &flipped, 5, &["the dealer", "damaged"]),
        ("half of it", 2, whole, &good[..good.len() / 2], 4, &["the dealer"]),
        ("the other party's", 2, whole, &other_party, 2, &["party"]),
        ("another plan's", 2, foreign.len() as u64, &foreign, 4, &["the dealer", "announced"]),
        ("not confirmed", 2, whole, &good, 4, &["the dealer"]),
    ];
    let check = |what: &str, slots: u32, bytes: u64, content: &[u8], code: i32, words: &[&str]| {
        let mut fake = Fake::new(&stage, "dealer");
        let pin = stage.pin("dealer");
        let from = format!("{BRISK}\ndealer = {{ address = \"{}\", fingerprint = \"{pin}\" }}", fake.address);
        let query = Role::start(&mut stage.query("127.0.0.1:9", &images, &from));
        let mut peer = fake.accept();
        let fetch: Fetch = peer.recv_control(1 << 16, "what it wants").unwrap();
        assert_eq!((fetch.protocol, fetch.party), (1, 1));
        peer.send_control(&Delivery::Batch { slots, bytes }).unwrap();
        if !content.is_empty() {
            let mut stream = peer.send_stream(DELIVERY_STEP, bytes).unwrap();
            // P1 may leave before it has heard all.
            let _ = stream.write(&content[..content.len().min(bytes as usize)]);
            if content.len() as u64 == bytes {
                let _ = stream.finish();
            }
        }
        if what == "not confirmed" {
            let arrived: Arrived = peer.recv_control(1 << 16, "word that it arrived").unwrap();
            assert_eq!(arrived.batch, inspect(&stage.material("material", "p1")).unwrap().batch.0);
            drop(peer);
        } else if what == "half of it" {
            std::thread::sleep(Duration::from_millis(100));
            drop(peer);
        } else {
            until_gone(peer);
        }
        let said = query.finish().failure(code, words);
        println!("{what}: {}", said.last()["error"]);
        let standing = stage.ledger("state-p1");
        assert_eq!(standing.left, 0, "{what}");
        if what != "not confirmed" {
            assert_eq!(standing, Standing::default(), "{what}");
        }
        let left: Vec<_> = std::fs::read_dir(stage.path("state-p1/batches")).unwrap().collect();
        assert!(left.is_empty(), "{what}: {left:?}");
    };
    for (what, slots, bytes, content, code, words) in cases {
        check(what, slots, bytes, content, code, words);
    }
}
