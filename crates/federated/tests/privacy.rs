//! Differential privacy of a federated training: what is clipped, the noise that all owners add, what is told, and what is refused.

mod loopback;

use ariann_federated::ModelShare;
use ariann_federated::privacy::{Privacy, Protection, Spent, epsilon};
use ariann_federated::roles::{FederateReport, Went, in_clear};
use ariann_graph::training::training_step;
use ariann_plan::training::decode_state;
use ariann_session::events::Silent;
use ariann_session::hooks::Hooks;
use ariann_session::training::is_averaged;
use loopback::{Made, make};

fn with(rows: &[usize], rounds: u32, threshold: u16, privacy: Privacy) -> Made {
    let mut made = make(rows, rounds, threshold, 32);
    made.federation.privacy = Some(privacy);
    made.federation.write(&made.folder.path().join("federation.json")).unwrap();
    made
}

fn played(made: &Made) -> (FederateReport, Vec<FederateReport>) {
    let (dealer, dealing) = made.start_dealer(Hooks::default());
    let (server, serving) = made.start_server(made.server(&dealer), Hooks::default());
    let owners: Vec<_> = made
        .owners
        .iter()
        .map(|(number, _)| made.start_owner(made.owner(*number, &dealer, &server), Hooks::default()))
        .collect();
    let report = serving.join().unwrap().unwrap();
    let owners = owners.into_iter().map(|owner| owner.join().unwrap().unwrap()).collect();
    dealing.join().unwrap().unwrap();
    (report, owners)
}

/// The trained parameters, in numbers: of the two files that the server and an owner keep.
fn model(made: &Made) -> Vec<f64> {
    let plan = made.federation.clone().plan().unwrap();
    let words = |role: &str| {
        let share = ModelShare::<u32>::open(&made.folder.path().join(role).join("model"), plan.training()).unwrap();
        let mut words = vec![0u32; plan.training().values as usize];
        share.read(0, &mut words).unwrap();
        words
    };
    let [a, b] = [words("state-server"), words("state-1")];
    let sum: Vec<u32> = a.iter().zip(&b).map(|(a, b)| a.wrapping_add(*b)).collect();
    let (mut at, mut values) = (0, Vec::new());
    for state in plan.course.states().iter().filter(|state| is_averaged(state.role)) {
        values.extend(decode_state(&sum[at..at + state.len()], state.after).into_iter().map(f64::from));
        at += state.len();
    }
    values
}

/// The parameters before, and after the same rounds in float: clipped, without noise.
fn clear(made: &Made, report: &FederateReport) -> [Vec<f64>; 2] {
    let plan = made.federation.clone().plan().unwrap();
    let rounds: Vec<Went> = report
        .rounds
        .iter()
        .map(|round| Went { round: round.round, cohort: round.cohort.clone(), survivors: round.survivors.clone() })
        .collect();
    let clear = in_clear(&plan, &made.graph, &made.owners, None, &rounds, &mut Silent).unwrap();
    let recipe = &plan.course.job().recipe;
    let first = training_step(&made.graph, recipe, recipe.lr, false).unwrap();
    let initial: Vec<Vec<f32>> = first.states.iter().map(|state| state.initial.clone()).collect();
    [&initial, &clear[rounds.len() - 1].states].map(|states| {
        let some = plan.course.states().iter().zip(states).filter(|(state, _)| is_averaged(state.role));
        some.flat_map(|(_, values)| values.iter().map(|value| f64::from(*value))).collect()
    })
}

fn less(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

fn norm(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}

#[test]
fn clipping_alone_follows_float_and_bounds_the_step() {
    // Below what an owner's training moves.
    let privacy = Privacy { clip: 0.05, noise: 0.0, delta: 1e-5, honest: 1, spare: 0 };
    let made = with(&[100, 160, 70], 1, 2, privacy);
    let (report, owners) = played(&made);
    let [before, wanted] = clear(&made, &report);
    let (moved, off) = (less(&model(&made), &before), less(&model(&made), &wanted));
    let guard = made.federation.clone().plan().unwrap();
    let most = privacy.clip * (1.0 + guard.guard().unwrap().excess());
    assert!(norm(&moved) <= most * 1.001, "moved by {}", norm(&moved));
    assert!(norm(&moved) >= 0.5 * privacy.clip, "the owners' updates are of one kind");
    // Far below it, the greatest coordinates are clipped for themselves, which turns the update a little.
    assert!(norm(&off) < 0.3 * norm(&moved), "off by {}, moved by {}", norm(&off), norm(&moved));
    let said = Protection::Differential(Spent { epsilon: None, delta: 1e-5, rounds: 1, lost: 0 });
    assert!(report.privacy == Some(said) && owners.iter().all(|owner| owner.privacy == Some(said)));
    assert!(said.to_string().contains("nothing is promised"));
}

#[test]
fn the_noise_of_all_owners_has_the_variance_that_is_promised() {
    let privacy = Privacy { clip: 0.3, noise: 0.2, delta: 1e-5, honest: 2, spare: 0 };
    let made = with(&[60, 60, 80], 1, 2, privacy);
    let (report, _) = played(&made);
    let plan = made.federation.clone().plan().unwrap();
    let [_, wanted] = clear(&made, &report);
    let noise = less(&model(&made), &wanted);
    let deviation = plan.guard().unwrap().deviation(3).unwrap();
    assert!((deviation / (0.2 * 0.3 / 3.0 / f64::sqrt(2.0)) - 1.0).abs() < 1e-3);
    // Three owners add to it.
    let (n, expected) = (noise.len() as f64, 3.0 * deviation * deviation);
    let variance = noise.iter().map(|x| x * x).sum::<f64>() / n;
    // By chance a sum of n squares is off by 5.2·√(2/n) in one of 10^6 runs, and a mean by 5.2/√n. What private training does
    // otherwise than float is far below that.
    assert!((variance / expected - 1.0).abs() < 5.2 * (2.0 / n).sqrt() + 1e-3, "{variance} for {expected}");
    let mean = noise.iter().sum::<f64>() / n;
    assert!(mean.abs() < (5.2 * expected.sqrt() + 0.2 * 0.3) / n.sqrt(), "{mean}");
}

#[test]
fn what_is_spent_is_told_after_every_round() {
    let made = with(&[40, 40], 2, 2, Privacy { clip: 0.1, noise: 0.5, delta: 1e-5, honest: 1, spare: 0 });
    let (report, owners) = played(&made);
    let excess = made.federation.clone().plan().unwrap().guard().unwrap().excess();
    for (round, rounds) in report.rounds.iter().zip(1..) {
        let epsilon = Some(epsilon((1.0 + excess) / 0.5, rounds, 1e-5));
        assert_eq!(round.privacy, Protection::Differential(Spent { epsilon, delta: 1e-5, rounds, lost: 0 }));
    }
    assert_eq!(report.rounds.len(), 2);
    assert_eq!(report.privacy, Some(report.rounds[1].privacy));
    assert!(owners.iter().all(|owner| owner.privacy == report.privacy));
}

#[test]
fn without_it_reports_say_none() {
    let made = make(&[40, 40], 1, 2, 32);
    let (report, owners) = played(&made);
    assert_eq!(report.privacy, Some(Protection::None));
    assert!(owners.iter().all(|owner| owner.privacy == Some(Protection::None)));
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!((&json["privacy"], &json["rounds"][0]["privacy"]), (&"none".into(), &"none".into()));
    assert!(!std::fs::read_to_string(made.folder.path().join("federation.json")).unwrap().contains("privacy"));
}

#[test]
fn bad_settings_are_refused_and_named() {
    let made = make(&[40, 40, 40], 3, 2, 32);
    let fine = Privacy { clip: 1.0, noise: 0.1, delta: 1e-5, honest: 1, spare: 0 };
    let plan = |privacy: Privacy| {
        let federation = ariann_federated::roles::Federation { privacy: Some(privacy), ..made.federation.clone() };
        federation.plan().map(|plan| plan.protection(3, 0)).map_err(|error| error.to_string())
    };
    let accepted = plan(fine);
    assert!(
        matches!(accepted, Ok(Protection::Differential(Spent { epsilon: Some(_), rounds: 3, .. }))),
        "{accepted:?}"
    );
    for (privacy, word) in [
        (Privacy { clip: 0.0, ..fine }, "clip = 0"),
        (Privacy { clip: -1.0, ..fine }, "clip = -1"),
        (Privacy { clip: f64::NAN, ..fine }, "clip = NaN"),
        (Privacy { clip: f64::INFINITY, ..fine }, "clip = inf"),
        (Privacy { clip: 1e-7, ..fine }, "too coarse"),
        (Privacy { clip: 1e7, ..fine }, "cannot hold"),
        (Privacy { noise: -0.1, ..fine }, "noise = -0.1"),
        (Privacy { noise: f64::NAN, ..fine }, "noise = NaN"),
        (Privacy { noise: 1e-9, ..fine }, "too coarse"),
        (Privacy { noise: 1e6, ..fine }, "hold"),
        (Privacy { delta: 0.0, ..fine }, "delta = 0"),
        (Privacy { delta: 1.0, ..fine }, "delta = 1"),
        (Privacy { delta: f64::NAN, ..fine }, "delta = NaN"),
        (Privacy { honest: 0, ..fine }, "honest = 0"),
        (Privacy { honest: 3, ..fine }, "honest = 3"),
    ] {
        let error = plan(privacy).expect_err(word);
        assert!(error.contains(word), "{error} without {word}");
    }
}

#[test]
fn an_owner_agrees_to_no_more_than_it_says() {
    let privacy = Privacy { clip: 1.0, noise: 0.2, delta: 1e-5, honest: 1, spare: 0 };
    let made = with(&[40, 40], 2, 2, privacy);
    let Protection::Differential(Spent { epsilon: Some(spent), .. }) =
        made.federation.clone().plan().unwrap().protection(2, 0)
    else {
        panic!("there is noise")
    };
    let nobody = "127.0.0.1:9";
    let mut config = made.owner(1, nobody, nobody);
    config.most_epsilon = Some(spent - 0.01);
    let error = made.start_owner(config.clone(), Hooks::default()).join().unwrap().unwrap_err().to_string();
    assert!(error.contains("most_epsilon") && error.contains(&format!("{spent:.3}")), "{error}");
    // It agrees, and finds nobody.
    (config.most_epsilon, config.patience) = (Some(spent + 0.01), 0.1);
    let error = made.start_owner(config.clone(), Hooks::default()).join().unwrap().unwrap_err().to_string();
    assert!(!error.contains("most_epsilon"), "{error}");
    let none = ariann_federated::roles::Federation { privacy: None, ..made.federation.clone() };
    none.write(&config.federation).unwrap();
    let error = made.start_owner(config, Hooks::default()).join().unwrap().unwrap_err().to_string();
    assert!(error.contains("most_epsilon") && error.contains("none"), "{error}");
}
