//! FedSGD: a round is one gradient, of all rows or of some batches, and the model makes the step that float makes.

mod loopback;

use ariann_federated::roles::{Algorithm, Reveal, Went, difference, in_clear, states_of};
use ariann_session::events::Silent;
use ariann_session::hooks::Hooks;
use loopback::{make, make_with};

fn steps_as_float(ring: u32, batches: Option<u32>, most: f64) {
    // 5, 8 and 3 whole batches.
    let mut made = make_with(&[100, 160, 70], 3, 2, ring, |recipe| {
        (recipe.epochs, recipe.momentum, recipe.lr) = (3, 0.0, 0.2);
    });
    let federation = &mut made.federation;
    (federation.algorithm, federation.epochs, federation.batches) = (Algorithm::FedSgd, 1, batches);
    federation.reveal = Some(Reveal::Owners);
    federation.write(&made.folder.path().join("federation.json")).unwrap();
    let allow = vec!["model:owners".to_string()];
    let (dealer, dealing) = made.start_dealer(Hooks::default());
    let mut config = made.server(&dealer);
    config.allow.clone_from(&allow);
    let (server, serving) = made.start_server(config, Hooks::default());
    let owners = [1, 2, 3].map(|number| {
        let mut config = made.owner(number, &dealer, &server);
        config.allow.clone_from(&allow);
        config.model = Some(made.folder.path().join("model.onnx"));
        made.start_owner(config, Hooks::default())
    });
    let report = serving.join().unwrap().unwrap();
    let [owner, ..] = owners.map(|owner| owner.join().unwrap().unwrap());
    dealing.join().unwrap().unwrap();
    let plan = made.federation.clone().plan().unwrap();
    let went = (1..=3).map(|round| Went { round, cohort: vec![1, 2, 3], survivors: vec![1, 2, 3] });
    let went: Vec<Went> = went.collect();
    let clear = in_clear(&plan, &made.graph, &made.owners, Some(&made.test), &went, &mut Silent).unwrap();
    let onnx = owner.files.iter().find(|file| file.ends_with("model.onnx")).unwrap();
    let trained = states_of(&plan, &std::fs::read(onnx).unwrap()).unwrap();
    let off = difference(&plan, &made.graph, &trained, &clear[2].states).unwrap();
    println!("ring {ring}, {batches:?} batches: off by {off}");
    assert!(off < most, "off by {off}");
    for (private, clear) in report.accuracies.iter().zip(&clear) {
        let (private, clear) = (private.expect("it is revealed"), clear.accuracy.expect("tested"));
        assert!((private - clear).abs() <= 5.0 / loopback::TEST_ROWS as f64 + 1e-9, "{private} {clear}");
    }
}

#[test]
fn a_gradient_of_all_rows() {
    steps_as_float(64, None, 0.02);
}

#[test]
fn a_gradient_of_one_batch() {
    steps_as_float(64, Some(1), 0.02);
}

#[test]
fn a_gradient_in_the_narrow_ring() {
    steps_as_float(32, None, 0.05);
}

#[test]
fn terms_that_are_no_gradient_s_are_refused() {
    let made = make(&[60, 60], 2, 2, 32);
    let refused = |change: fn(&mut ariann_federated::roles::Federation)| {
        let mut federation = made.federation.clone();
        change(&mut federation);
        federation.plan().err().expect("it is refused").to_string()
    };
    assert!(refused(|it| it.algorithm = Algorithm::FedSgd).contains("one gradient"));
    assert!(refused(|it| it.batches = Some(2)).contains("of FedSGD"));
    let error = refused(|it| {
        (it.algorithm, it.epochs, it.batches) = (Algorithm::FedSgd, 1, Some(0));
        (it.job.recipe.epochs, it.job.recipe.momentum) = (2, 0.0);
    });
    assert!(error.contains("at least 1"), "{error}");
}
