//! A dealer that serves while the parties compute: many more slots than lie on a disk at once, and every role that may go
//! away in the middle of it. Three processes over TLS.

use std::path::Path;
use std::time::{Duration, Instant};

use ariann_testkit::processes::{PATIENCE, Role};
use ariann_testkit::record::{Place, Record};
use ariann_testkit::seams::MASKED;
use ariann_testkit::stage::Stage;
use serde_json::{Value, json};

/// Slots of a delivery, and deliveries that lie unspent at most.
const CUT: u32 = 4;
const AHEAD: u64 = 2;

/// A dealer, P0 and P1 that stream.
struct Play {
    stage: Stage,
    dealer: Role,
    server: Role,
    source: String,
}

impl Play {
    fn new(count: u32, serve: &str) -> Play {
        let mut stage = Stage::new(env!("CARGO_BIN_EXE_ariann-under-test"));
        stage.set(MASKED, stage.path("masked"));
        let text = format!(
            "plan = \"plan.json\"\ncount = {count}\nbatch_slots = {CUT}\nstate = \"state-dealer\"\nthreads = 1\n[serve]\n\
             listen = \"127.0.0.1:0\"\np0 = \"{}\"\np1 = \"{}\"\nidentity = {{ folder = \"ids\", name = \"dealer\" }}\n",
            stage.pin("p0"),
            stage.pin("p1")
        );
        std::fs::write(stage.path("deal.toml"), text).unwrap();
        let mut dealer = Role::start(&mut stage.command(&["deal", "--config", "deal.toml", "--json"]));
        let (address, pin) = (dealer.address(), stage.pin("dealer"));
        let source = format!("dealer = {{ address = \"{address}\", fingerprint = \"{pin}\" }}");
        let server = Role::start(&mut stage.serve(&format!("{serve}\nstream = true\nahead = {AHEAD}\n{source}")));
        Play { stage, dealer, server, source }
    }

    fn query(&mut self, images: &Path, more: &str) -> Role {
        let address = self.server.address();
        let more = format!("stream = true\nahead = {AHEAD}\n{}\n{more}", self.source);
        Role::start(&mut self.stage.query(&address, images, &more))
    }
}

/// Bytes of material that lie in a state folder, and in how many batches. Files come and go.
fn disk(stage: &Stage, state: &str) -> (u64, u64) {
    let (mut bytes, mut batches) = (0, 0);
    for folder in ["batches", "prepared"] {
        for entry in std::fs::read_dir(stage.path(state).join(folder)).into_iter().flatten().flatten() {
            bytes += entry.metadata().map_or(0, |meta| meta.len());
            batches += u64::from(folder == "batches");
        }
    }
    (bytes, batches)
}

fn nothing_twice(stage: &Stage) {
    let record = Record::read(&stage.path("masked"));
    assert!(record.has("p0") && record.has("p1"));
    assert_eq!(record.used_twice(), Vec::<&Place>::new());
    assert_eq!(record.two_values(), Vec::<&Place>::new());
}

fn report(role: Role) -> Value {
    role.finish().success().last()["report"].take()
}

/// Waits until P1 has predicted `count` items.
fn predicted(query: &mut Role, count: usize) {
    let end = Instant::now() + PATIENCE;
    let done = |query: &mut Role| -> usize {
        let lens = query.events(0).into_iter().filter_map(|(_, event)| Some(event["predictions"].as_array()?.len()));
        lens.sum()
    };
    while done(query) < count {
        assert!(Instant::now() < end && !query.ended(), "{}", query.stdout());
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn many_deliveries_go_through_a_disk_that_holds_few() {
    const COUNT: u32 = 48;
    let mut play = Play::new(COUNT, "sessions = 1");
    let numbers: Vec<usize> =
        (0..COUNT as usize).map(|at| play.stage.clear_cut[at % play.stage.clear_cut.len()]).collect();
    let images = play.stage.images("images.idx", &numbers);
    let mut query = play.query(&images, "batch = 2");
    let mut most = [(0, 0); 2];
    let end = Instant::now() + PATIENCE;
    while !query.ended() {
        assert!(Instant::now() < end, "{}", query.stdout());
        for (most, state) in most.iter_mut().zip(["state-p0", "state-p1"]) {
            let (bytes, batches) = disk(&play.stage, state);
            *most = (most.0.max(bytes), most.1.max(batches));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let at_p1 = report(query);
    play.stage.check(&at_p1, &numbers);
    let dealt = report(play.dealer);
    let at_p0 = report(play.server);
    let deliveries = u64::from(COUNT / CUT);
    assert_eq!((&dealt["slots"], dealt["batches"].as_array().unwrap().len() as u64), (&json!(COUNT), deliveries));
    for (party, (report, (bytes, batches))) in [&at_p0, &at_p1].into_iter().zip(most).enumerate() {
        let (all, stream) = (dealt["material_bytes"][party].as_u64().unwrap(), &report["stream"]);
        assert_eq!((&report["material_bytes"], &stream["deliveries"]), (&json!(all), &json!(deliveries)));
        // Beside its deliveries a party has what it prepared of them, never more than these.
        let told = stream["disk_bytes"].as_u64().unwrap();
        assert!(
            batches <= AHEAD && bytes <= told && told <= 2 * AHEAD * all / deliveries,
            "{batches}, {bytes}: {stream}"
        );
        let phases: f64 = ["setup", "online"].iter().map(|phase| report[phase]["seconds"].as_f64().unwrap()).sum();
        assert!(stream["seconds"].as_f64().unwrap() >= phases, "{report}");
        println!("party {party}: {all} bytes came, at most {told} on disk");
    }
    for state in ["state-p0", "state-p1"] {
        let standing = play.stage.ledger(state);
        assert_eq!((standing.left, standing.used, standing.burnt), (0, u64::from(COUNT), 0), "{state}");
        assert_eq!(disk(&play.stage, state), (0, 0), "{state}");
    }
    nothing_twice(&play.stage);
    // The same images with all material beforehand.
    play.stage.deal("plan.json", COUNT, "beforehand");
    let mut server =
        Role::start(&mut play.stage.serve(&format!("sessions = 1\n{}", play.stage.takes("beforehand", "p0"))));
    let material = play.stage.takes("beforehand", "p1");
    let address = server.address();
    let whole = report(Role::start(&mut play.stage.query(&address, &images, &format!("batch = 16\n{material}"))));
    assert_eq!(whole["predictions"], at_p1["predictions"]);
    server.finish().success();
}

#[test]
fn what_is_whole_is_used_when_the_dealer_is_killed() {
    let mut play = Play::new(400, "");
    let numbers: Vec<usize> = (0..400).map(|at| play.stage.clear_cut[at % play.stage.clear_cut.len()]).collect();
    let images = play.stage.images("images.idx", &numbers);
    let mut query = play.query(&images, "batch = 2");
    predicted(&mut query, 10);
    play.dealer.kill();
    query.wait();
    let done: usize =
        query.events(0).iter().filter_map(|(_, event)| Some(event["predictions"].as_array()?.len())).sum();
    query.finish().failure(4, &["the dealer", &format!("{done} of 400 items"), "\"fault\":\"peer\""]);
    assert!((10..400).contains(&done));
    let told = play.server.event_from(0, &["notice"], PATIENCE).expect("P0 says that the dealer is gone").1;
    assert!(told["text"].as_str().unwrap().contains("the dealer"), "{told}");
    play.server.event("session_failed");
    // Both spent everything that both had; of a delivery on its way nothing is left.
    let [p0, p1] = ["state-p0", "state-p1"].map(|state| play.stage.ledger(state));
    assert_eq!((p0.used, p1.used, p1.left), (done as u64, done as u64, 0), "{p0:?} {p1:?}");
    assert!(p0.left <= u64::from(CUT), "{p0:?}");
    nothing_twice(&play.stage);
}

#[test]
fn a_killed_p1_comes_back_for_the_rest() {
    let mut play = Play::new(400, "");
    let numbers: Vec<usize> = (0..400).map(|at| play.stage.clear_cut[at % play.stage.clear_cut.len()]).collect();
    let images = play.stage.images("images.idx", &numbers);
    let mut query = play.query(&images, "batch = 1");
    predicted(&mut query, 6);
    query.kill();
    // The dealer ends, P0 goes on.
    play.dealer.wait();
    let failed = play.server.event("session_failed");
    assert!(failed["error"].as_str().unwrap().contains("P1"), "{failed}");
    let address = play.server.address();
    loop {
        let one = play.stage.images("one.idx", &numbers[..1]);
        let finished = Role::start(&mut play.stage.query(&address, &one, "batch = 1")).finish();
        if finished.code != Some(0) {
            finished.failure(2, &["0 left"]);
            break;
        }
        play.stage.check(&finished.last()["report"], &numbers[..1]);
    }
    let [p0, p1] = ["state-p0", "state-p1"].map(|state| play.stage.ledger(state));
    assert!(p0.used >= 6 && p0.left.min(p1.left) <= u64::from(CUT), "{p0:?} {p1:?}");
    assert!(!play.server.ended());
    nothing_twice(&play.stage);
}

#[test]
fn who_wants_less_ends_it_and_misfits_are_named() {
    // P1 needs far less than is dealt: the dealer ends, P0 keeps what is left, and so does P1.
    let mut play = Play::new(400, "sessions = 1");
    let numbers = play.stage.clear_cut[..5].to_vec();
    let images = play.stage.images("images.idx", &numbers);
    let query = play.query(&images, "batch = 1");
    play.stage.check(&report(query), &numbers);
    let dealt = report(play.dealer);
    assert!(dealt["slots"].as_u64().unwrap() <= u64::from(CUT) * (2 + AHEAD), "{dealt}");
    play.server.finish().success();
    let [p0, p1] = ["state-p0", "state-p1"].map(|state| play.stage.ledger(state));
    assert_eq!((p0.used, p0, p0.burnt), (5, p1, 0));

    // A run that no delivery has slots for.
    let mut play = Play::new(40, "");
    let query = play.query(&images, "batch = 5");
    query.finish().failure(2, &["--batch-slots 5"]);

    // One that streams and one that does not.
    let mut play = Play::new(40, "");
    let address = play.server.address();
    let query = Role::start(&mut play.stage.query(&address, &images, &play.source));
    query.finish().failure(4, &["the dealer", "P0 streams and the other party does not"]);
    play.dealer.finish().failure(4, &["`stream`"]);
    Role::start(&mut play.stage.query(&address, &images, "stream = true")).finish().failure(2, &["without a dealer"]);
}
