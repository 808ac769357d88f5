//! Owners that break a round, over TLS: who is named, who takes part from then on, and what differential privacy has spent.

use std::thread::JoinHandle;

use ariann_session::SessionError;
use ariann_session::hooks::Hooks;

use super::loopback::{Ended, Made, make};
use super::{FederateReport, OwnerStatus};
use crate::owner::faults::{Fault, watch};
use crate::privacy::{Privacy, Protection, Spent};
use crate::{Book, KeepFile};

/// What the server says in the end and on the way, and the owners.
struct Went {
    server: Result<FederateReport, SessionError>,
    said: Vec<String>,
    owners: Vec<Result<FederateReport, SessionError>>,
}

fn go(made: &Made, fault: Fault) -> Went {
    watch(made.federation.clone().plan().unwrap().roster.digest(), fault);
    let (dealer, _dealing) = made.start_dealer(Hooks::default());
    let mut config = made.server(&dealer);
    // Those that were barred are there, and nobody waits for others.
    config.deadline.join = 1.0;
    let (server, serving, told) = made.start_heard_server(config);
    let owners: Vec<JoinHandle<Ended>> = (made.owners.iter())
        .map(|(number, _)| {
            let mut config = made.owner(*number, &dealer, &server);
            config.patience = 2.0;
            made.start_owner(config, Hooks::default())
        })
        .collect();
    let server = serving.join().unwrap();
    Went { server, said: told.iter().collect(), owners: owners.into_iter().map(|it| it.join().unwrap()).collect() }
}

/// The owner breaks the first round, is named, and takes no part in the second.
fn is_barred(fault: Fault, why: &str, lost: bool) {
    let made = make(&[40, 60, 50], 1, 2, 32);
    let went = go(&made, fault);
    let report = went.server.unwrap();
    let [first, second] = &report.rounds[..] else { panic!("{:?}", report.rounds) };
    let failed = first.failed.as_ref().unwrap();
    assert!(failed.contains("owner 2") && failed.contains(why), "{failed}");
    for round in [first, second] {
        let status = &round.owners[1].status;
        assert!(matches!(status, OwnerStatus::Refused { why: told } if told.contains(why)), "{status:?}");
    }
    assert_eq!((&first.survivors[..], &second.survivors[..]), (&[][..], &[1, 3][..]));
    // Where boxes do not open, nobody has masked anything yet.
    let folder = made.folder.path();
    let plan = made.federation.clone().plan().unwrap();
    let book = Book::open(plan.training(), KeepFile::at(&folder.join("state-1").join("book"))).unwrap();
    assert_eq!(book.lost().iter().copied().collect::<Vec<_>>(), if lost { vec![1] } else { vec![] });
}

#[test]
fn one_whose_boxes_nobody_can_open_is_barred_before_anything_is_masked() {
    is_barred(Fault::Boxes(2), "cannot open what it sealed", false);
}

#[test]
fn one_that_shares_another_secret_than_it_announced_is_barred() {
    is_barred(Fault::Secret(2), "do not give the secret", true);
}

#[test]
fn one_that_is_cut_off_when_it_is_to_release_is_asked_again() {
    // All are needed.
    let made = make(&[40, 40], 1, 2, 32);
    let went = go(&made, Fault::Cut(2));
    let report = went.server.unwrap();
    assert_eq!((report.rounds.len(), &report.rounds[0].survivors[..]), (1, &[1, 2][..]));
    assert_eq!(report.rounds[0].owners[1].status, OwnerStatus::Counted);
    assert!(
        went.said.iter().any(|text| text.contains("owner 2 dropped out in the phase of releases")),
        "{:?}",
        went.said
    );
    assert!(went.owners.into_iter().all(|owner| owner.unwrap().took_part == 1));
}

fn private(rounds: u32, spare: u32) -> Made {
    let mut made = make(&[40, 40], rounds, 2, 32);
    made.federation.privacy = Some(Privacy { clip: 0.1, noise: 0.5, delta: 1e-5, honest: 1, spare });
    made.federation.write(&made.folder.path().join("federation.json")).unwrap();
    made
}

fn spent(protection: Protection) -> (u32, u32, f64) {
    match protection {
        Protection::Differential(Spent { epsilon: Some(epsilon), rounds, lost, .. }) => (rounds, lost, epsilon),
        other => panic!("{other}"),
    }
}

#[test]
fn a_round_that_was_lost_spends_and_one_to_spare_takes_its_place() {
    let made = private(2, 1);
    let went = go(&made, Fault::Withheld(&[(2, 1)], false));
    let report = went.server.unwrap();
    let counts: Vec<(u32, u32)> = report.rounds.iter().map(|it| spent(it.privacy)).map(|it| (it.0, it.1)).collect();
    assert_eq!(counts, [(0, 1), (1, 1), (2, 1)]);
    let plan = made.federation.clone().plan().unwrap();
    let (_, _, epsilon) = spent(plan.protection(3, 0));
    assert_eq!(spent(report.privacy.unwrap()), (2, 1, epsilon));
    for owner in went.owners {
        assert_eq!(owner.unwrap().privacy, report.privacy);
    }
    assert!(report.rounds[0].privacy.to_string().contains("after 0 rounds and 1 more without a result"));
}

#[test]
fn a_training_whose_rounds_are_spent_ends_and_says_on_what() {
    let went = go(&private(2, 0), Fault::Withheld(&[(2, 2)], false));
    let text = went.server.unwrap_err().to_string();
    for part in ["has 2 rounds", "1 with a result", "1 without one after shares were released (round 2)"] {
        assert!(text.contains(part), "{text}");
    }
    for owner in went.owners {
        let told = owner.unwrap_err().to_string();
        assert!(told.contains("1 without one after shares were released (round 2)"), "{told}");
    }
}

#[test]
fn a_server_that_keeps_quiet_about_a_lost_round_gets_no_other_for_it() {
    // The first one released in round 1, the second one in round 2: each alone would count two rounds of three.
    let went = go(&private(3, 0), Fault::Withheld(&[(2, 1), (1, 2)], true));
    assert!(went.server.unwrap_err().to_string().contains("without a result"));
    for (owner, other) in [(1, 2), (2, 1)] {
        let said = |text: &String| {
            text.starts_with(&format!("round 4: owner {owner} waits: "))
                && text.contains("1 with a result and 2 without one after shares were released (round 1, 2)")
                && text.contains(&format!("owner {other} tells, and the server does not"))
        };
        assert!(went.said.iter().any(said), "{:?}", went.said);
    }
    assert!(went.said.iter().any(|text| text.starts_with("round 3: counted owners 1, 2")), "{:?}", went.said);
    assert!(!went.said.iter().any(|text| text.starts_with("round 4: counted")));
}
