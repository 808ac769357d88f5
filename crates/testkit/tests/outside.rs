//! Outside clients over TLS: they share their items among P0 and a P1 without data, and alone learn what comes out; who is wrong or
//! dies is named, and the others are answered.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use ariann_net::{Identity, Limits, Peer};
use ariann_testkit::processes::{PATIENCE, Role, run};
use ariann_testkit::record::{Place, Record};
use ariann_testkit::seams::{MASKED, RECEIVED};
use ariann_testkit::stage::Stage;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A stage whose plan is for outside clients, with identities of three and of one whom nobody knows.
fn stage(reveal: &str, more: &[&str]) -> Stage {
    let stage = Stage::new(env!("CARGO_BIN_EXE_ariann-under-test"));
    for name in ["north", "south", "west", "stranger"] {
        stage.run(&["identity", "new", name, "--folder", "ids"]).success();
    }
    stage.plan("plan.json", &[&["--reveal", reveal], more].concat());
    stage
}

/// The table of who may ask, and where.
fn outside(stage: &Stage, listen: &str) -> String {
    let pins = ["north", "south", "west"].map(|name| format!("{name} = \"{}\"\n", stage.pin(name)));
    format!("\n[outside]\nlisten = \"{listen}\"\n[outside.clients]\n{}", pins.concat())
}

fn p0(stage: &Stage, listen: [&str; 2], more: &str) -> Command {
    let command = stage.serve(more);
    let text = std::fs::read_to_string(stage.path("p0.toml")).unwrap();
    let text = text.replace("listen = \"127.0.0.1:0\"", &format!("listen = \"{}\"", listen[0]));
    std::fs::write(stage.path("p0.toml"), text + &outside(stage, listen[1])).unwrap();
    command
}

fn p1(stage: &Stage, p0: &str, more: &str) -> Command {
    let text = format!(
        "{more}\nplan = \"plan.json\"\nstate = \"state-p1\"\nthreads = 1\nidentity = {{ folder = \"ids\", name = \"p1\" }}\n\
         peer = {{ address = \"{p0}\", fingerprint = \"{}\" }}\n{}",
        stage.pin("p0"),
        outside(stage, "127.0.0.1:0")
    );
    std::fs::write(stage.path("assist.toml"), text).unwrap();
    stage.command(&["serve", "--role", "p1", "--config", "assist.toml", "--json"])
}

fn client(stage: &Stage, name: &str, at: &[String; 2], input: &Path, more: &str) -> Command {
    let remote = |party: usize| {
        format!("{{ address = \"{}\", fingerprint = \"{}\" }}", at[party], stage.pin(["p0", "p1"][party]))
    };
    let text = format!(
        "plan = \"plan.json\"\ninput = \"{}\"\nidentity = {{ folder = \"ids\", name = \"{name}\" }}\np0 = {}\np1 = {}\n{more}\n",
        input.display(),
        remote(0),
        remote(1)
    );
    std::fs::write(stage.path(&format!("{name}.toml")), text).unwrap();
    stage.command(&["query", "--role", "client", "--config", &format!("{name}.toml"), "--json"])
}

/// Where a party awaits clients.
fn door(role: &mut Role) -> String {
    role.event("listening_for_owners")["address"].as_str().unwrap().to_string()
}

/// Both parties, with material for `count` items.
fn parties(stage: &Stage, count: u32, more: [&str; 2]) -> ([Role; 2], [String; 2]) {
    stage.deal("plan.json", count, "dealt");
    let any = ["127.0.0.1:0"; 2];
    let mut first = Role::start(&mut p0(stage, any, &format!("{}\n{}", stage.takes("dealt", "p0"), more[0])));
    let address = first.address();
    let mut second = Role::start(&mut p1(stage, &address, &format!("{}\n{}", stage.takes("dealt", "p1"), more[1])));
    let at = [door(&mut first), door(&mut second)];
    ([first, second], at)
}

/// Waits until a role has said a notice with all of `words`.
#[track_caller]
fn told(role: &mut Role, words: &[&str]) {
    let end = Instant::now() + PATIENCE;
    loop {
        let events = role.events(0);
        let fits = |event: &Value| words.iter().all(|word| event["text"].to_string().contains(word));
        if events.iter().any(|(_, event)| event["event"] == "notice" && fits(event)) {
            return;
        }
        assert!(Instant::now() < end && !role.ended(), "no notice with {words:?}; it said {events:#?}");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

fn nothing_twice(masked: &Path) {
    let record = Record::read(masked);
    assert_eq!(record.used_twice(), Vec::<&Place>::new());
    assert_eq!(record.two_values(), Vec::<&Place>::new());
}

/// Three at once, some with several requests: each gets the clear predictions of its own items, the parties get none, and no mask
/// serves two values.
#[test]
fn each_client_gets_its_own_answers_and_the_parties_none() {
    for (reveal, weights) in [("logits:client", "held"), ("label:client", "shared")] {
        let mut stage = stage(reveal, &["--weights", weights]);
        let masked = stage.path("masked");
        stage.set(MASKED, &masked);
        let (roles, at) = parties(&stage, 32, ["sessions = 1", "sessions = 3"]);
        let mut asking = Vec::new();
        for (number, name) in ["north", "south", "west"].iter().enumerate() {
            let numbers = stage.clear_cut[10 * number..][..10].to_vec();
            let images = stage.images(&format!("{name}.idx"), &numbers);
            // In batches of 1, of 4 with the last filled up, and all at once.
            let batch = format!("batch = {}", [1, 4, 10][number]);
            asking.push((numbers, Role::start(&mut client(&stage, name, &at, &images, &batch))));
        }
        for (numbers, role) in asking {
            let report = role.finish().success().last()["report"].take();
            stage.check(&report, &numbers);
            assert_eq!((&report["role"], &report["items"]), (&json!("client"), &json!(10)));
            assert_eq!(report["logits"].is_array(), reveal == "logits:client");
        }
        for role in roles.into_iter().rev() {
            let report = role.finish().success().last()["report"].take();
            assert_eq!(
                (&report["slots"], &report["predictions"], &report["logits"]),
                (&json!(32), &Value::Null, &Value::Null)
            );
        }
        for state in ["state-p0", "state-p1"] {
            let standing = stage.ledger(state);
            assert_eq!((standing.left, standing.used, standing.burnt), (0, 32, 0), "{state}");
        }
        nothing_twice(&masked);
    }
}

/// P0 receives of a client a greeting, a seed and two words, whatever its items are; P1 as many uniform words as they have; the
/// client of each party one word for each value of a result. Each party's part is no result, and both are.
#[test]
fn what_comes_from_a_client_and_what_goes_to_it_is_uniform() {
    let mut stage = stage("logits:client", &[]);
    stage.set(RECEIVED, stage.path("seen"));
    std::fs::create_dir(stage.path("seen")).unwrap();
    let (roles, at) = parties(&stage, 32, ["sessions = 1", "sessions = 2"]);
    // The same image again and again.
    let items = 16;
    let number = stage.clear_cut[0];
    let images = stage.images("same.idx", &vec![number; items]);
    for name in ["north", "south"] {
        let done = run(&mut client(&stage, name, &at, &images, &format!("batch = {items}"))).success();
        stage.check(&done.last()["report"], &vec![number; items]);
    }
    roles.into_iter().rev().for_each(|role| drop(role.finish().success()));
    let seen =
        |name: &str| std::fs::read(stage.path("seen").join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    // Call, version, party, digest, name, items; after the items a word that both have them, and the farewell.
    let (greeting, farewell) = (1 + 1 + 1 + 32 + 16 + 1, 2);
    for name in ["north", "south"] {
        assert_eq!(seen(&format!("p0-from-client {name}")).len(), greeting + 16 + farewell);
        let to_p1 = seen(&format!("p1-from-client {name}"));
        let words = &to_p1[greeting..to_p1.len() - farewell];
        assert_eq!(words.len(), items * 784 * 4);
        uniform(words);
    }
    assert_ne!(seen("p0-from-client north")[greeting..], seen("p0-from-client south")[greeting..]);
    let parts = ["p0", "p1"].map(|party| {
        let all = seen(&format!("client-from-{party}"));
        // What both clients received, one after the other: words on the way, then the part.
        let one = &all[..all.len() / 2];
        one[one.len() - items * 10 * 4..].to_vec()
    });
    let words =
        |part: &[u8]| part.chunks(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect::<Vec<_>>();
    let [first, second] = parts.each_ref().map(|part| words(part));
    // Equal items: sums are alike up to rounding, parts are not.
    let sums: Vec<i32> = first.iter().zip(&second).map(|(a, b)| a.wrapping_add(*b) as i32).collect();
    for class in 0..10 {
        let of = |values: &[u32]| (0..items).map(|item| values[10 * item + class]).collect::<Vec<u32>>();
        let of_sums: Vec<i32> = (0..items).map(|item| sums[10 * item + class]).collect();
        let spread =
            |values: &[i32]| i64::from(*values.iter().max().unwrap()) - i64::from(*values.iter().min().unwrap());
        assert!(spread(&of_sums) < 1 << 20, "sums of class {class}: {of_sums:?}");
        for part in [of(&first), of(&second)] {
            let part: Vec<i32> = part.into_iter().map(|word| word as i32).collect();
            assert!(spread(&part) > 1 << 28, "a part of class {class} follows the items: {part:?}");
        }
    }
}

/// Each byte value about as often as any other.
#[track_caller]
fn uniform(bytes: &[u8]) {
    let mut counts = [0u32; 256];
    bytes.iter().for_each(|byte| counts[*byte as usize] += 1);
    let expected = bytes.len() as f64 / 256.0;
    let chi: f64 = counts.iter().map(|count| (f64::from(*count) - expected).powi(2) / expected).sum();
    // 255 degrees of freedom: above 400 with a probability below 1e-7.
    assert!(chi < 400.0, "{chi}");
}

/// What does not fit is refused before an item is sent, and its name told; the parties go on.
#[test]
fn who_is_wrong_is_named_and_the_others_go_on() {
    let stage = stage("logits:client", &[]);
    let ([mut first, mut second], at) = parties(&stage, 8, ["", "max_batch = 6"]);
    let one = stage.images("one.idx", &stage.clear_cut[..1]);
    let ten = stage.images("ten.idx", &stage.clear_cut[..10]);
    // A stranger; parties taken for each other; more items than allowed.
    run(&mut client(&stage, "stranger", &at, &one, "")).failure(2, &["refused our identity"]);
    told(&mut first, &["turned away where clients connect", &stage.pin("stranger")]);
    let swapped = [at[1].clone(), at[0].clone()];
    run(&mut client(&stage, "north", &swapped, &one, "")).failure(2, &["but pinned is"]);
    run(&mut client(&stage, "north", &at, &ten, "batch = 10")).failure(4, &["10 items", "from 1 to 6"]);
    told(&mut second, &["north got nothing more", "10 items"]);
    // Another plan: its range differs.
    std::fs::copy(stage.path("plan.json"), stage.path("kept.json")).unwrap();
    stage.plan("plan.json", &["--reveal", "logits:client", "--input-range", "-2,2"]);
    run(&mut client(&stage, "south", &at, &one, "")).failure(4, &["another plan"]);
    told(&mut first, &["south got nothing more", "another plan"]);
    std::fs::rename(stage.path("kept.json"), stage.path("plan.json")).unwrap();
    // More than there is material for costs nothing, and the next is answered.
    let done = run(&mut client(&stage, "west", &at, &ten, "batch = 5")).failure(4, &["no material"]);
    assert!(done.stdout.contains("predicted"), "the first five are told");
    told(&mut second, &["refused west", "no material for 5 items"]);
    let done = run(&mut client(&stage, "south", &at, &one, "")).success();
    stage.check(&done.last()["report"], &stage.clear_cut[..1]);
    assert_eq!(stage.ledger("state-p0").used, 6);
    assert!(!first.ended() && !second.ended());
}

/// A client's first word, and what a party answers in the end, as they go over the wire.
#[derive(Serialize)]
enum Call {
    Ask { protocol: u32, party: u8, plan: [u8; 32], request: [u8; 16], items: u32 },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Answer {
    Later,
    Ready,
    Refused(Refusal),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Refusal {
    Because(String),
    Unequal { p0: u32, p1: u32 },
}

/// A client that tells the parties two numbers of items is at fault, and both say so; it costs no material, and the next is answered
/// over the same connection of the parties.
#[test]
fn two_numbers_of_items_are_the_clients_fault() {
    let stage = stage("logits:client", &[]);
    let ([mut first, mut second], at) = parties(&stage, 8, ["sessions = 1", "sessions = 1"]);
    let plan = ariann_plan::Plan::read(&stage.path("plan.json")).unwrap();
    let identity = Identity::load(&stage.path("ids"), "north").unwrap();
    for (p0, p1) in [(2, 3), (3, 2)] {
        let mut peers: Vec<Peer> = at
            .iter()
            .zip(["p0", "p1"])
            .map(|(address, name)| {
                let pin = stage.pin(name).parse().unwrap();
                Peer::connect(address, &identity, &pin, name, &Limits::default()).unwrap()
            })
            .collect();
        for (party, items) in [p0, p1].into_iter().enumerate() {
            let (protocol, plan, request) = (ariann_session::PROTOCOL, plan.digest(), [p0 as u8; 16]);
            peers[party].send_control(&Call::Ask { protocol, party: party as u8, plan, request, items }).unwrap();
        }
        let accepted = |peer: &mut Peer| assert_eq!(peer.recv_control::<u8>(64, "a verdict").unwrap(), 0);
        peers.iter_mut().for_each(accepted);
        peers[0].send((1 << 30) + 1, vec![7; 16]).unwrap();
        peers[1].send((1 << 30) + 1, vec![7; p1 as usize * 784 * 4]).unwrap();
        peers.iter_mut().for_each(accepted);
        peers.iter_mut().for_each(|peer| peer.send_control(&0u8).unwrap());
        for peer in &mut peers {
            let answer = loop {
                match peer.recv_control(4096, "an answer").unwrap() {
                    Answer::Later => {}
                    answer => break answer,
                }
            };
            assert_eq!(answer, Answer::Refused(Refusal::Unequal { p0, p1 }));
        }
        for role in [&mut first, &mut second] {
            told(role, &["refused north: the client is at fault", &format!("P0 for {p0} items and P1 for {p1}")]);
        }
    }
    let images = stage.images("three.idx", &stage.clear_cut[..3]);
    let done = run(&mut client(&stage, "south", &at, &images, "batch = 3")).success();
    stage.check(&done.last()["report"], &stage.clear_cut[..3]);
    // P1 connected once: no session of the parties was lost.
    let lost = second.events(0).into_iter().filter(|(_, event)| event["text"].to_string().contains("lost P0"));
    assert_eq!(lost.count(), 0);
    second.finish().success();
    first.finish().success();
    for state in ["state-p0", "state-p1"] {
        let standing = stage.ledger(state);
        assert_eq!((standing.used, standing.burnt), (3, 0), "{state}");
    }
}

/// Who asks in the wrong way hears how to ask.
#[test]
fn a_plan_says_who_asks() {
    let stage = stage("logits:client", &[]);
    let one = stage.images("one.idx", &stage.clear_cut[..1]);
    run(&mut stage.query("127.0.0.1:9", &one, "")).failure(2, &["outside clients", "--role client"]);
    run(&mut stage.serve("")).failure(2, &["[outside]"]);
    stage.plan("plan.json", &[]);
    run(&mut p0(&stage, ["127.0.0.1:0"; 2], "")).failure(2, &["--reveal logits:client"]);
    run(&mut p1(&stage, "127.0.0.1:9", "")).failure(2, &["ariann query", "--reveal logits:client"]);
    let at = ["127.0.0.1:9".to_string(), "127.0.0.1:9".to_string()];
    run(&mut client(&stage, "north", &at, &one, "")).failure(2, &["--reveal logits:client"]);
    run(&mut stage.command(&["query", "--role", "client"])).failure(2, &["--config"]);
    run(&mut stage.command(&["serve", "--role", "p1", "--config", "assist.toml", "--listen", "a:1"]))
        .failure(2, &["--listen is for P0"]);
}

/// A client that dies with its request on the way holds nobody up; the one that waits behind it is answered.
#[test]
fn a_dead_client_holds_nobody_up() {
    let mut stage = stage("logits:client", &[]);
    let masked = stage.path("masked");
    stage.set(MASKED, &masked);
    let ([first, mut second], at) = parties(&stage, 200, ["sessions = 1", "sessions = 1"]);
    let many = stage.images("many.idx", &stage.clear_cut[..20]);
    let mut dead = Role::start(&mut client(&stage, "north", &at, &many, "batch = 1"));
    dead.event("predicted");
    dead.kill();
    told(&mut second, &["north got nothing more"]);
    let done = run(&mut client(&stage, "south", &at, &many, "batch = 20")).success();
    stage.check(&done.last()["report"], &stage.clear_cut[..20]);
    second.finish().success();
    first.finish().success();
    nothing_twice(&masked);
}

/// P0 is killed and comes back while P1 stays: P1 finds it again. P1 is killed in the middle of a request: the client hears it, and is
/// answered when both are there again. Nothing is computed under a mask that was used.
#[test]
fn a_party_that_was_killed_comes_back() {
    let mut stage = stage("logits:client", &[]);
    let masked = stage.path("masked");
    stage.set(MASKED, &masked);
    let ([mut first, mut second], at) = parties(&stage, 60, ["", "deadlines = { connect = 120.0 }"]);
    let numbers = stage.clear_cut[..4].to_vec();
    let images = stage.images("four.idx", &numbers);
    stage.check(&run(&mut client(&stage, "north", &at, &images, "")).success().last()["report"], &numbers);
    let address = first.address();
    first.kill();
    told(&mut second, &["lost P0, connects again"]);
    let mut first = Role::start(&mut p0(&stage, [&address, &at[0]], &stage.takes("dealt", "p0")));
    door(&mut first);
    stage.check(&run(&mut client(&stage, "north", &at, &images, "")).success().last()["report"], &numbers);
    // P1, at a gate of a request.
    let many = stage.images("many.idx", &stage.clear_cut[..20]);
    let mut waits = Role::start(&mut client(&stage, "south", &at, &many, "batch = 1"));
    waits.event("predicted");
    second.kill();
    waits.finish().failure(4, &["P1"]);
    let mut second = Role::start(&mut p1(&stage, &address, &stage.takes("dealt", "p1")));
    let at = [at[0].clone(), door(&mut second)];
    stage.check(&run(&mut client(&stage, "south", &at, &images, "batch = 4")).success().last()["report"], &numbers);
    let [standing, of_p1] = ["state-p0", "state-p1"].map(|state| stage.ledger(state));
    assert!(standing.used >= 13 && standing.left <= 60 - 13, "{standing:?}");
    assert_eq!(standing.left, of_p1.left);
    nothing_twice(&masked);
}

/// Deliveries that a dealer makes while clients are answered.
#[test]
fn material_comes_while_clients_are_answered() {
    let stage = stage("logits:client", &[]);
    let text = format!(
        "plan = \"plan.json\"\ncount = 12\nbatch_slots = 3\nstate = \"state-dealer\"\n[serve]\nlisten = \"127.0.0.1:0\"\n\
         identity = {{ folder = \"ids\", name = \"dealer\" }}\np0 = \"{}\"\np1 = \"{}\"\n",
        stage.pin("p0"),
        stage.pin("p1")
    );
    std::fs::write(stage.path("deal.toml"), text).unwrap();
    let mut dealer = Role::start(&mut stage.command(&["deal", "--config", "deal.toml", "--json"]));
    let dealt = format!(
        "stream = true\ndealer = {{ address = \"{}\", fingerprint = \"{}\" }}",
        dealer.address(),
        stage.pin("dealer")
    );
    let mut first = Role::start(&mut p0(&stage, ["127.0.0.1:0"; 2], &dealt));
    let address = first.address();
    let mut second = Role::start(&mut p1(&stage, &address, &dealt));
    let at = [door(&mut first), door(&mut second)];
    let numbers = stage.clear_cut[..12].to_vec();
    let (images, one) = (stage.images("all.idx", &numbers), stage.images("one.idx", &numbers[..1]));
    // Requests of 4 items over deliveries of 3.
    stage.check(&run(&mut client(&stage, "north", &at, &images, "batch = 4")).success().last()["report"], &numbers);
    run(&mut client(&stage, "north", &at, &one, "")).failure(4, &["no material"]);
    dealer.finish().success();
    assert_eq!(stage.ledger("state-p1").used, 12);
}
