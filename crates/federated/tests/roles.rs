//! The roles over TLS on loopback: a federated training gives the model that federated averaging in float gives.

mod loopback;

use ariann_federated::ModelShare;
use ariann_federated::roles::{OwnerStatus, Went, difference, in_clear};
use ariann_plan::training::decode_state;
use ariann_ring::Ring;
use ariann_session::events::Silent;
use ariann_session::hooks::Hooks;
use ariann_session::training::is_averaged;
use loopback::make;

fn words<R: Ring>(path: &std::path::Path, training: &ariann_federated::Training) -> Vec<R> {
    let share = ModelShare::<R>::open(path, training).unwrap();
    let mut words = vec![R::ZERO; training.values as usize];
    share.read(0, &mut words).unwrap();
    words
}

fn equals_float<R: Ring>(ring: u32, most: f64) {
    let made = make(&[100, 160, 70], 2, 2, ring);
    let (dealer, dealing) = made.start_dealer(Hooks::default());
    let (server, serving) = made.start_server(made.server(&dealer), Hooks::default());
    let owners: Vec<_> =
        (1..=3).map(|number| made.start_owner(made.owner(number, &dealer, &server), Hooks::default())).collect();
    let report = serving.join().unwrap().unwrap();
    for owner in owners {
        let owner = owner.join().unwrap().unwrap();
        assert_eq!(owner.took_part, 2);
        assert_eq!(owner.accuracies, report.accuracies);
    }
    dealing.join().unwrap().unwrap();
    let plan = made.federation.clone().plan().unwrap();
    let training = plan.training();
    let folder = made.folder.path();
    let [w_s, w_o, other] =
        ["state-server", "state-1", "state-3"].map(|role| words::<R>(&folder.join(role).join("model"), training));
    assert_eq!(w_o, other, "all owners hold one share");
    assert!(w_o.iter().filter(|word| **word == R::ZERO).count() < 10, "it is no longer the public one");
    let rounds: Vec<Went> = report
        .rounds
        .iter()
        .map(|round| {
            assert!(round.owners.iter().all(|owner| owner.status == OwnerStatus::Counted && owner.bytes > 0));
            assert_eq!(round.survivors, [1, 2, 3]);
            Went { round: round.round, cohort: round.cohort.clone(), survivors: round.survivors.clone() }
        })
        .collect();
    assert_eq!(rounds.len(), 2);
    let clear = in_clear(&plan, &made.graph, &made.owners, Some(&made.test), &rounds, &mut Silent).unwrap();
    // What the roundings of the weighing leave: 0.009 and 0.011 in the two rings.
    let mut at = 0;
    let states = plan.course.states().iter().map(|state| {
        let len = if is_averaged(state.role) { state.len() } else { 0 };
        let sum: Vec<R> = (at..at + len).map(|at| w_s[at].add(w_o[at])).collect();
        at += len;
        decode_state(&sum, state.after)
    });
    let off = difference(&plan, &made.graph, &states.collect::<Vec<_>>(), &clear[1].states).unwrap();
    println!("ring {ring}: off by {off}");
    assert!(off < most, "off by {off}");
    for (private, clear) in report.accuracies.iter().zip(&clear) {
        let (private, clear) = (private.expect("it is revealed"), clear.accuracy.expect("tested"));
        assert!((private - clear).abs() <= 5.0 / loopback::TEST_ROWS as f64 + 1e-9, "{private} {clear}");
    }
}

#[test]
fn three_owners_and_two_rounds_give_the_model_of_federated_averaging_in_float() {
    equals_float::<u32>(32, 0.03);
}

#[test]
fn the_same_in_the_wide_ring() {
    equals_float::<u64>(64, 0.03);
}

#[test]
fn an_owner_that_comes_late_catches_up() {
    let made = make(&[60, 60, 60], 3, 2, 32);
    let (dealer, dealing) = made.start_dealer(Hooks::default());
    let mut config = made.server(&dealer);
    (config.deadline.join, config.least) = (4.0, Some(2));
    let (server, serving, told) = made.start_heard_server(config);
    let start = |number| made.start_owner(made.owner(number, &dealer, &server), Hooks::default());
    let mut owners = vec![start(1), start(2)];
    while !told.recv().expect("a first round").starts_with("round 1: counted owners 1, 2") {}
    owners.push(start(3));
    let report = serving.join().unwrap().unwrap();
    let counted: Vec<&[u16]> = report.rounds.iter().map(|round| &round.survivors[..]).collect();
    assert_eq!(counted, [&[1, 2][..], &[1, 2, 3], &[1, 2, 3]]);
    assert_eq!(report.rounds[0].owners[2].status, OwnerStatus::Absent);
    let took: Vec<u32> = owners.into_iter().map(|owner| owner.join().unwrap().unwrap().took_part).collect();
    assert_eq!(took, [3, 3, 2]);
    dealing.join().unwrap().unwrap();
    let plan = made.federation.clone().plan().unwrap();
    let share = |role: &str| words::<u32>(&made.folder.path().join(role).join("model"), plan.training());
    assert_eq!(share("state-1"), share("state-3"), "it has the masks of the round that it missed");
}

#[test]
fn one_identity_is_not_two_parties() {
    let made = make(&[60, 60], 1, 2, 32);
    let refused = |it: ariann_federated::roles::Federation| it.plan().err().expect("refused").to_string();
    let it = &made.federation;
    let dealer = ariann_federated::roles::Federation { dealer: it.server.clone(), ..it.clone() };
    let server = ariann_federated::roles::Federation { server: it.owners[1].fingerprint.clone(), ..it.clone() };
    for error in [refused(dealer), refused(server)] {
        assert!(error.contains("two of them have one identity"), "{error}");
    }
}

#[test]
fn one_state_folder_is_for_one_process() {
    let made = make(&[60, 60], 1, 2, 32);
    for (role, other) in [("state-server", 0), ("state-1", 1)] {
        let folder = made.folder.path().join(role);
        std::fs::create_dir_all(&folder).unwrap();
        let _held = ariann_session::hold(&folder).unwrap();
        let ended = match other {
            0 => ariann_federated::roles::serve(&made.server("127.0.0.1:1"), &Hooks::default(), &mut Silent).map(drop),
            _ => {
                let owner = made.owner(1, "127.0.0.1:1", "127.0.0.1:1");
                made.start_owner(owner, Hooks::default()).join().unwrap().map(drop)
            }
        };
        let error = ended.unwrap_err().to_string();
        assert!(error.contains("process"), "{error}");
    }
}

#[test]
fn an_owner_with_another_federation_is_refused() {
    let made = make(&[60, 60], 1, 2, 32);
    let (dealer, _dealing) = made.start_dealer(Hooks::default());
    let (server, _serving) = made.start_server(made.server(&dealer), Hooks::default());
    let other = ariann_federated::roles::Federation { most_rows: 77, ..made.federation.clone() };
    let mut config = made.owner(1, &dealer, &server);
    config.federation = made.folder.path().join("other.json");
    other.write(&config.federation).unwrap();
    let error = made.start_owner(config, Hooks::default()).join().unwrap().unwrap_err().to_string();
    assert!(error.contains("the server") && error.contains("another federation"), "{error}");
}
