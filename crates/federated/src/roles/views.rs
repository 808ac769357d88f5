//! What the server, an owner, and both together can put together of a round that the roles played over TLS: held against what the
//! scheme lets each of them see, also in builds whose owners leave a mask out.

use std::thread::JoinHandle;
use std::time::Duration;

use ariann_net::{Allowed, Identity, Limits, Listener, Peer};
use ariann_session::hooks::Hooks;
use ariann_session::training::PairTask;

use super::loopback::{Ended, Made, make};
use super::wire::{FromOwner, Hello, MOST, Past, ToOwner};
use super::{Algorithm, Reveal};
use crate::owner::faults::{Fault, Round, seen, watch};
use crate::statistics::Tests;
use crate::{Book, KeepFile, ModelShare, Position};

const ALARM: f64 = 1e-9;
/// The owner that helps the server.
const HELPER: u16 = 2;
/// Two owners that nobody helps.
const HONEST: [u16; 2] = [1, 3];

fn words(made: &Made, role: &str) -> Vec<u32> {
    let plan = made.federation.clone().plan().unwrap();
    let share = ModelShare::<u32>::open(&made.folder.path().join(role).join("model"), plan.training()).unwrap();
    let mut words = vec![0; plan.training().values as usize];
    share.read(0, &mut words).unwrap();
    words
}

fn add(a: &[u32], b: &[u32]) -> Vec<u32> {
    a.iter().zip(b).map(|(a, b)| a.wrapping_add(*b)).collect()
}

fn less(a: &[u32], b: &[u32]) -> Vec<u32> {
    a.iter().zip(b).map(|(a, b)| a.wrapping_sub(*b)).collect()
}

/// The greatest word, as a signed one.
fn largest(words: &[u32]) -> u32 {
    words.iter().map(|word| (*word as i32).unsigned_abs()).max().unwrap()
}

/// Plays one round with a fault: alarms about what anybody can put together, and the round.
fn alarms(fault: Fault) -> (Vec<String>, Round) {
    let made = make(&[40, 60, 50], 1, 2, 32);
    let roster = made.federation.clone().plan().unwrap().roster.digest();
    watch(roster, fault);
    let (dealer, dealing) = made.start_dealer(Hooks::default());
    let (server, serving) = made.start_server(made.server(&dealer), Hooks::default());
    let start = |number| made.start_owner(made.owner(number, &dealer, &server), Hooks::default());
    let owners = [1, 2, 3].map(start);
    let report = serving.join().unwrap().unwrap();
    assert_eq!(report.rounds[0].survivors, [1, 2, 3]);
    owners.into_iter().for_each(|owner| drop(owner.join().unwrap().unwrap()));
    dealing.join().unwrap().unwrap();

    let round = seen(roster);
    let mut tests = Tests::default();
    let mut uniform = |name: &str, words: &[u32]| {
        tests.uniform(name, 32, &words.iter().map(|word| u64::from(*word)).collect::<Vec<_>>());
    };
    // The server: what came, what was released, its shares of the updates, and all sums of these.
    let values = round.update[&1].len();
    let (mut sum, mut updates) = (vec![0; values], vec![0; values]);
    for owner in 1..=3 {
        let (y, rest) = (&round.update[&owner], less(&round.update[&owner], &round.own[&owner]));
        uniform(&format!("server: y of {owner}"), y);
        uniform(&format!("server: y of {owner} less its self mask"), &rest);
        uniform(
            &format!("server: y of {owner} less its self mask, with the server's share"),
            &add(&rest, &round.server[&owner]),
        );
        (sum, updates) = (add(&sum, &rest), add(&updates, &round.server[&owner]));
    }
    uniform("server: the sum", &sum);
    uniform("server: the sum with its shares", &add(&sum, &updates));
    uniform("server: its share of the model", &words(&made, "state-server"));
    // An owner: its share of the model.
    let own = words(&made, "state-2");
    assert_eq!(own, words(&made, "state-3"));
    uniform("owner: its share of the model", &own);
    // Both: less what the helper knows.
    let mut others = vec![0; values];
    for owner in HONEST {
        let rest = less(&less(&round.update[&owner], &round.own[&owner]), &round.group[&owner]);
        // What the one added the other took away.
        let rest = add(&rest, &round.pair[&(HELPER, owner)]);
        let update = add(&rest, &round.server[&owner]);
        uniform(&format!("server and owner: the update of {owner}"), &update);
        others = add(&others, &update);
    }
    if fault == Fault::None {
        // What they may know, and do: the sum of the others' updates, and the model.
        assert!(largest(&others) < 1 << 28 && largest(&others) > 0, "the sum of the others' updates");
        let model = add(&words(&made, "state-server"), &own);
        assert!(largest(&model) < 1 << 28, "the model");
    }
    let mut alarms = tests.alarms(ALARM);
    alarms.dedup();
    (alarms, round)
}

#[test]
fn nobody_sees_more_than_the_scheme_allows() {
    let (alarms, round) = alarms(Fault::None);
    assert_eq!(alarms, Vec::<String>::new());
    assert_eq!((round.update.len(), round.group.len(), round.pair.len()), (3, 3, 6), "all was looked at");
}

#[test]
fn without_the_group_mask_the_server_sees_the_sum_of_the_updates_and_the_model() {
    let (alarms, _) = alarms(Fault::Group);
    for name in ["server: the sum with its shares", "server: its share of the model"] {
        assert!(alarms.contains(&name.to_string()), "{alarms:?}");
    }
}

#[test]
fn without_a_pairwise_mask_the_server_and_an_owner_see_single_updates() {
    let (alarms, _) = alarms(Fault::Pair(HONEST[0], HONEST[1]));
    assert_eq!(alarms, HONEST.map(|owner| format!("server and owner: the update of {owner}")));
}

/// A server that asks an owner for what is not its own.
fn asked(made: &Made, ask: ToOwner) -> String {
    match answer(made, "state-asked", ask) {
        FromOwner::Refuses(why) => why,
        other => panic!("{other:?}"),
    }
}

/// What the first owner answers from this state.
fn answer(made: &Made, state: &str, ask: ToOwner) -> FromOwner {
    let (mut peer, owner) = meet(made, state);
    peer.send_control(&ask).unwrap();
    let answer = peer.recv_control(MOST, "an answer").unwrap();
    let end = ToOwner::End { past: Past::default(), accuracies: Vec::new(), paused: true, closings: None };
    peer.send_control(&end).unwrap();
    let _: FromOwner = peer.recv_control(MOST, "its last word").unwrap();
    drop(peer);
    assert!(owner.join().unwrap().unwrap().paused);
    answer
}

/// The first owner, connected to a server of ours.
fn meet(made: &Made, state: &str) -> (Peer, JoinHandle<Ended>) {
    let folder = made.folder.path();
    let identity = Identity::load(folder, "server").unwrap();
    let pin = Identity::load(folder, "owner-1").unwrap().fingerprint();
    let allowed = [Allowed { name: "owner 1".to_string(), pin }];
    let mut listener = Listener::bind("127.0.0.1:0", &identity, &allowed, &Limits::default()).unwrap();
    let mut config = made.owner(1, "127.0.0.1:1", &listener.local_addr().unwrap().to_string());
    config.allow = super::needed(made.federation.reveal);
    config.state = folder.join(state);
    let owner = made.start_owner(config, Hooks::default());
    let mut peer: Peer = loop {
        if let Ok(peer) = listener.accept(Duration::from_secs(60)) {
            break peer;
        }
    };
    let _: Hello = peer.recv_control(MOST, "hello").unwrap();
    (peer, owner)
}

#[test]
fn an_owner_keeps_its_share_of_the_model_until_the_last_round_has_ended() {
    let mut made = make(&[40, 40], 2, 2, 32);
    assert!(
        asked(&made, ToOwner::Reveal { past: Past::default(), closings: Vec::new() }).contains("not revealed to it")
    );
    assert!(asked(&made, ToOwner::Initial).contains("does not bring"));
    made.federation.reveal = Some(Reveal::Server);
    made.federation.algorithm = Algorithm::FedAvg;
    made.federation.write(&made.folder.path().join("federation.json")).unwrap();
    std::fs::remove_dir_all(made.folder.path().join("state-asked")).unwrap();
    assert!(
        asked(&made, ToOwner::Reveal { past: Past::default(), closings: Vec::new() }).contains("before the last round")
    );
    let past = Past::default();
    assert!(asked(&made, ToOwner::Close { past }).contains("before the last round"));
}

#[test]
fn an_owner_gives_its_share_away_when_t_owners_say_that_the_training_has_ended() {
    let mut made = make(&[40, 40], 1, 2, 32);
    made.federation.reveal = Some(Reveal::All);
    made.federation.write(&made.folder.path().join("federation.json")).unwrap();
    let allow = super::needed(made.federation.reveal);
    let training = made.federation.clone().plan().unwrap().training().clone();
    let (dealer, dealing) = made.start_dealer(Hooks::default());
    let mut config = made.server(&dealer);
    config.allow.clone_from(&allow);
    let (server, serving) = made.start_server(config, Hooks::default());
    let owners = [1, 2].map(|number| {
        let mut config = made.owner(number, &dealer, &server);
        config.allow.clone_from(&allow);
        made.start_owner(config, Hooks::default())
    });
    assert_eq!(serving.join().unwrap().unwrap().files.len(), 2);
    owners.into_iter().for_each(|owner| drop(owner.join().unwrap().unwrap()));
    dealing.join().unwrap().unwrap();
    // The server had the accuracy once; what was begun counts.
    let book = || Book::open(&training, KeepFile::at(&made.folder.path().join("state-1").join("book"))).unwrap();
    let here = Position { round: 1, rounds: 1, head: [0; 32] };
    let tests = (0..4).take_while(|_| book().test(&here).is_ok()).count();
    assert_eq!(tests, 2, "one was used");
    let test = |round| ToOwner::Test { past: Past::default(), task: PairTask::Test { round } };
    for (round, why) in [(1, "asks for the accuracy after round 1 again"), (0, "after 0 rounds, and 1 are done")] {
        let told = answer(&made, "state-1", test(round));
        assert!(matches!(&told, FromOwner::Refuses(told) if told.contains(why)), "{told:?}");
    }
    // It says the same again, and does not take its own word for T of them.
    let FromOwner::Closing(word) = answer(&made, "state-1", ToOwner::Close { past: Past::default() }) else { panic!() };
    for (closings, why) in [
        (vec![], "has 0 owners, the threshold is 2"),
        (vec![word.clone()], "has 1 owners, the threshold is 2"),
        (vec![word.clone(), word.clone()], "twice or out of order"),
    ] {
        let told = answer(&made, "state-1", ToOwner::Reveal { past: Past::default(), closings: closings.clone() });
        assert!(matches!(&told, FromOwner::Refuses(told) if told.contains(why)), "{told:?}");
        // Nor does it take a share for the last one then.
        let (mut peer, owner) = meet(&made, "state-1");
        let closings = Some(closings);
        let end = ToOwner::End { past: Past::default(), accuracies: Vec::new(), paused: false, closings };
        peer.send_control(&end).unwrap();
        let _ = peer.flush();
        let told = owner.join().unwrap().unwrap_err().to_string();
        assert!(told.contains(why), "{told}");
    }
}
