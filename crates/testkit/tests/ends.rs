//! Processes that end before their time: the dealer in the middle of a delivery, roles that are told to end, a parent.

use std::time::{Duration, Instant};

use ariann_testkit::processes::{PATIENCE, Role, children, lives, run, signal};
use ariann_testkit::stage::Stage;

/// A role that is told to end does so within this time.
const ENDS: Duration = Duration::from_secs(10);

fn stage() -> Stage {
    Stage::new(env!("CARGO_BIN_EXE_ariann-under-test"))
}

/// Writes the configuration of a dealer that serves, and starts it.
fn dealer(stage: &Stage, count: u32) -> Role {
    let text = format!(
        "plan = \"plan.json\"\ncount = {count}\nstate = \"state-dealer\"\nthreads = 1\n[serve]\nlisten = \"127.0.0.1:0\"\n\
         p0 = \"{}\"\np1 = \"{}\"\nidentity = {{ folder = \"ids\", name = \"dealer\" }}\n",
        stage.pin("p0"),
        stage.pin("p1")
    );
    std::fs::write(stage.path("deal.toml"), text).unwrap();
    Role::start(&mut stage.command(&["deal", "--config", "deal.toml", "--json"]))
}

fn fetching(stage: &Stage, address: &str) -> String {
    format!("dealer = {{ address = \"{address}\", fingerprint = \"{}\" }}", stage.pin("dealer"))
}

/// Waits for progress of dealing that has passed `done` slots.
fn dealt(dealer: &mut Role, done: u64) {
    let end = Instant::now() + PATIENCE;
    while !dealer.events(0).iter().any(|(_, event)| event["stage"] == "dealing" && event["done"].as_u64() >= Some(done))
    {
        assert!(Instant::now() < end && !dealer.ended(), "the dealer does not go on");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_dealer_killed_while_it_delivers_leaves_nothing() {
    let stage = stage();
    let images = stage.images("i.idx", &[stage.clear_cut[0]]);
    for at in [0, 1, 20, 50] {
        let mut dealing = dealer(&stage, 60);
        let from = fetching(&stage, &dealing.address());
        let mut p0 = Role::start(&mut stage.serve(&from));
        let p1 = Role::start(&mut stage.query(&p0.address(), &images, &from));
        dealt(&mut dealing, at);
        let killed = dealing.kill();
        for party in [p0, p1] {
            let said = party.finish().failure(4, &["the dealer", "start it again"]);
            assert_eq!(said.last()["fault"], "peer");
        }
        println!("dealer killed after {at} slots: both parties named it within {:?}", killed.elapsed());
        assert!(killed.elapsed() < Duration::from_secs(5));
        for state in ["state-p0", "state-p1"] {
            assert_eq!(stage.ledger(state).left, 0, "{state} after {at} slots");
            for folder in ["batches", "prepared"] {
                let left: Vec<_> = std::fs::read_dir(stage.path(state).join(folder)).unwrap().collect();
                assert!(left.is_empty(), "{state} after {at} slots: {left:?}");
            }
        }
    }
    let mut dealing = dealer(&stage, 2);
    let from = fetching(&stage, &dealing.address());
    let mut p0 = Role::start(&mut stage.serve(&from));
    let done = run(&mut stage.query(&p0.address(), &images, &from)).success();
    stage.check(&done.last()["report"], &[stage.clear_cut[0]]);
    assert_eq!(dealing.wait().code(), Some(0));
    assert_eq!(["state-p0", "state-p1"].map(|state| stage.ledger(state).left), [1, 1]);
}

#[test]
fn a_party_killed_while_it_receives_leaves_no_batch_to_the_other() {
    let stage = stage();
    let images = stage.images("i.idx", &[stage.clear_cut[0]]);
    let mut dealing = dealer(&stage, 60);
    let from = fetching(&stage, &dealing.address());
    let mut p0 = Role::start(&mut stage.serve(&from));
    let mut p1 = Role::start(&mut stage.query(&p0.address(), &images, &from));
    dealt(&mut dealing, 20);
    p1.kill();
    dealing.finish().failure(4, &["P1"]);
    p0.finish().failure(4, &["the dealer"]);
    for state in ["state-p0", "state-p1"] {
        assert_eq!(stage.ledger(state).left, 0, "{state}");
    }
}

#[test]
fn a_role_that_is_told_to_end_ends_and_its_state_is_whole() {
    let stage = stage();
    stage.deal("plan.json", 40, "material");
    let numbers: Vec<usize> = stage.clear_cut[..30].to_vec();
    let (many, one) = (stage.images("many.idx", &numbers), stage.images("one.idx", &numbers[..1]));
    let (p0, p1) = (stage.takes("material", "p0"), stage.takes("material", "p1"));
    let told = |role: &mut Role| {
        let began = Instant::now();
        role.signal("TERM");
        let status = role.wait_for(ENDS).expect("a role does not end when it is told to");
        assert_ne!(status.code(), Some(0));
        began.elapsed()
    };
    // Idle; in the middle of a run at either side; a dealer that waits.
    let mut server = Role::start(&mut stage.serve(&p0));
    server.address();
    println!("P0, idle, ended within {:?}", told(&mut server));
    for who in ["p0", "p1"] {
        let mut server = Role::start(&mut stage.serve(&p0));
        let mut query = Role::start(&mut stage.query(&server.address(), &many, &p1));
        query.event("gate");
        match who {
            "p0" => {
                println!("P0, in a run, ended within {:?}", told(&mut server));
                query.finish().failure(4, &["P0"]);
            }
            _ => {
                println!("P1, in a run, ended within {:?}", told(&mut query));
                assert!(server.event("session_failed")["error"].as_str().unwrap().contains("P1"));
            }
        }
        for state in ["state-p0", "state-p1"] {
            assert_eq!(stage.ledger(state).slots(), 40);
        }
    }
    let mut dealing = dealer(&stage, 5);
    dealing.address();
    println!("the dealer, waiting, ended within {:?}", told(&mut dealing));
    let mut server = Role::start(&mut stage.serve(&p0));
    let done = run(&mut stage.query(&server.address(), &one, &p1)).success();
    stage.check(&done.last()["report"], &numbers[..1]);
}

/// Starts a `predict` that takes a while, and waits for its three roles.
fn predicting(stage: &Stage) -> (Role, Vec<u32>) {
    std::fs::create_dir_all(stage.path("work")).unwrap();
    let predict =
        Role::start(&mut stage.command(&["predict", "--json", "--limit", "200", "--batch", "1", "--work-dir", "work"]));
    let end = Instant::now() + PATIENCE;
    loop {
        // A child that does not run its own program yet has its parent's arguments.
        let named = |pid: &u32| arguments(*pid).contains(".toml");
        let roles: Vec<u32> = children(predict.pid()).into_iter().filter(named).collect();
        if roles.len() == 3 {
            return (predict, roles);
        }
        assert!(Instant::now() < end, "predict does not start three roles");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn arguments(pid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default()
}

fn gone(processes: &[u32]) -> Duration {
    let began = Instant::now();
    while processes.iter().any(|pid| lives(*pid)) {
        assert!(began.elapsed() < ENDS, "roles go on without their parent");
        std::thread::sleep(Duration::from_millis(2));
    }
    began.elapsed()
}

#[test]
fn roles_end_with_predict_however_it_ends() {
    let stage = stage();
    let (mut predict, roles) = predicting(&stage);
    predict.kill();
    println!("roles of a killed predict ended within {:?}", gone(&roles));
    std::fs::remove_dir_all(stage.path("work")).unwrap();

    let (mut predict, roles) = predicting(&stage);
    predict.signal("TERM");
    assert_ne!(predict.wait_for(ENDS).expect("predict does not end when it is told to").code(), Some(0));
    println!("roles of a predict that was told to end ended within {:?}", gone(&roles));
    let left: Vec<_> = std::fs::read_dir(stage.path("work")).unwrap().collect();
    assert!(left.is_empty(), "predict leaves its files behind: {left:?}");
}

#[test]
fn predict_names_the_role_that_was_killed() {
    let stage = stage();
    for role in ["p0", "p1"] {
        let (predict, roles) = predicting(&stage);
        let named = |pid: &u32| arguments(*pid).contains(&format!("{role}.toml"));
        let victim = *roles.iter().find(|pid| named(pid)).expect("the role's configuration is its argument");
        signal(victim, "KILL");
        let said = predict.finish().failure(4, &[role, "killed"]);
        assert_eq!(said.last()["event"], "error");
        gone(&roles);
        let left: Vec<_> = std::fs::read_dir(stage.path("work")).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}
