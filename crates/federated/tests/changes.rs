//! Owners leave for good and join between two starts of the roles.

mod loopback;

use ariann_federated::ModelShare;
use ariann_federated::roles::{FederateReport, Former, Member, Went, difference, in_clear};
use ariann_plan::training::decode_state;
use ariann_session::events::Silent;
use ariann_session::hooks::Hooks;
use loopback::{Made, make};

/// All roles, until so many rounds have a result.
fn start(made: &Made, owners: &[u16], until: u32) -> FederateReport {
    start_of(made, owners, until, None)
}

/// The same with `least` owners.
fn start_of(made: &Made, owners: &[u16], until: u32, least: Option<u16>) -> FederateReport {
    let (dealer, dealing) = made.start_dealer(Hooks::default());
    let mut config = made.server(&dealer);
    (config.until, config.least) = (Some(until), least);
    config.deadline.join = if least.is_some() { 2.0 } else { config.deadline.join };
    let (server, serving) = made.start_server(config, Hooks::default());
    let start = |number: &u16| made.start_owner(made.owner(*number, &dealer, &server), Hooks::default());
    let owners: Vec<_> = owners.iter().map(start).collect();
    let report = serving.join().unwrap().unwrap();
    for owner in owners {
        assert_eq!(owner.join().unwrap().unwrap().paused, report.paused);
    }
    dealing.join().unwrap().unwrap();
    report
}

/// What the server says to other owners.
fn refused(made: &Made) -> String {
    let server = made.server("127.0.0.1:1");
    ariann_federated::roles::serve(&server, &Hooks::default(), &mut Silent).unwrap_err().to_string()
}

fn words(made: &Made, role: &str) -> Vec<u64> {
    let plan = made.federation.clone().plan().unwrap();
    let share = ModelShare::<u64>::open(&made.folder.path().join(role).join("model"), plan.training()).unwrap();
    let mut words = vec![0; plan.training().values as usize];
    share.read(0, &mut words).unwrap();
    words
}

#[test]
fn a_keeper_that_lost_its_state_asks_for_the_group_key() {
    let made = make(&[60, 80, 60], 2, 2, 64);
    start(&made, &[1, 2, 3], 1);
    // Had owner 1 drawn another key, its share would be another one, or the others would be refused.
    std::fs::remove_dir_all(made.folder.path().join("state-1")).unwrap();
    let second = start(&made, &[1, 2, 3], 2);
    assert_eq!(second.rounds[1].survivors, [1, 2, 3]);
    assert!(words(&made, "state-1") == words(&made, "state-2"));
}

#[test]
fn a_keeper_of_a_new_epoch_that_was_away_before_gets_the_former_keys_first() {
    let mut made = make(&[60, 80, 60, 60], 2, 3, 64);
    let path = made.folder.path().join("federation.json");
    // Owner 2 is of the first epoch, and is not there.
    start_of(&made, &[1, 3, 4], 1, Some(3));
    made.federation.former = vec![Former { epoch: 1, owners: made.federation.owners.clone() }];
    made.federation.owners.retain(|owner| owner.number != 1);
    made.federation.epoch = 2;
    made.federation.write(&path).unwrap();
    let second = start(&made, &[2, 3, 4], 2);
    assert_eq!(second.rounds[1].survivors, [2, 3, 4]);
    assert!(words(&made, "state-2") == words(&made, "state-4"));
}

#[test]
fn one_leaves_for_good_and_another_joins() {
    let mut made = make(&[60, 80, 60, 60], 3, 2, 64);
    let all: Vec<Member> = made.federation.owners.clone();
    let path = made.folder.path().join("federation.json");
    let seat = |made: &mut Made, owners: &[u16], epoch: u32| {
        made.federation.owners = all.iter().filter(|owner| owners.contains(&owner.number)).cloned().collect();
        made.federation.epoch = epoch;
        made.federation.write(&path).unwrap();
    };
    seat(&mut made, &[1, 2, 3], 1);
    let first = start(&made, &[1, 2, 3], 1);
    assert!(first.paused && first.took_part == 1);

    seat(&mut made, &[1, 3, 4], 1);
    assert!(refused(&made).contains("owner 2 has left; set epoch to 2"));
    seat(&mut made, &[1, 3, 4], 2);
    assert!(refused(&made).contains("entry 1 of `former` must be the owners before"));
    made.federation.former = vec![Former { epoch: 1, owners: all[..3].to_vec() }];
    seat(&mut made, &[1, 3, 4], 2);
    let open = made.folder.path().join("state-server").join("round-2");
    std::fs::create_dir(&open).unwrap();
    std::fs::write(open.join("state"), []).unwrap();
    assert!(refused(&made).contains("round 2 has not ended"));
    std::fs::remove_dir_all(&open).unwrap();

    let second = start(&made, &[1, 3, 4], 2);
    assert!(second.paused && second.took_part == 2);
    let former = made.owner(2, "127.0.0.1:1", "127.0.0.1:1");
    let error = made.start_owner(former, Hooks::default()).join().unwrap().unwrap_err().to_string();
    assert!(error.contains("not among the owners"), "{error}");

    let third = start(&made, &[1, 3, 4], 3);
    assert!(!third.paused);
    let counted: Vec<&[u16]> = third.rounds.iter().map(|round| &round.survivors[..]).collect();
    assert_eq!(counted, [&[1, 2, 3][..], &[1, 3, 4], &[1, 3, 4]]);
    let plan = made.federation.clone().plan().unwrap();
    let (w_s, w_o) = (words(&made, "state-server"), words(&made, "state-1"));
    assert!(w_o == words(&made, "state-4"), "the new owner has the masks of all rounds");
    let went = third.rounds.iter().map(|round| Went {
        round: round.round,
        cohort: round.cohort.clone(),
        survivors: round.survivors.clone(),
    });
    let clear = in_clear(&plan, &made.graph, &made.owners, None, &went.collect::<Vec<_>>(), &mut Silent).unwrap();
    let mut at = 0;
    let states = plan.course.states().iter().map(|state| {
        let len = if ariann_session::training::is_averaged(state.role) { state.len() } else { 0 };
        let sum: Vec<u64> = (at..at + len).map(|at| w_s[at].wrapping_add(w_o[at])).collect();
        at += len;
        decode_state(&sum, state.after)
    });
    let off = difference(&plan, &made.graph, &states.collect::<Vec<_>>(), &clear[2].states).unwrap();
    println!("off by {off}");
    assert!(off < 0.03, "off by {off}");
}
