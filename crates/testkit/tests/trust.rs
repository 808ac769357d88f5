//! What a party is asked before it gives something away: consent to a plan that reveals to P0, and weights whose mask was
//! used by a state folder that is no more.

use ariann_testkit::processes::{Role, run};
use ariann_testkit::stage::Stage;

#[test]
fn results_go_to_the_model_s_owner_only_with_consent() {
    let stage = Stage::new(env!("CARGO_BIN_EXE_ariann-under-test"));
    stage.plan("plan.json", &["--reveal", "label:p0"]);
    stage.deal("plan.json", 2, "material");
    let images = stage.images("one.idx", &[0]);
    // Nobody is called: there is nobody at this address.
    let nobody = "127.0.0.1:1";
    let said = run(&mut stage.query(nobody, &images, &stage.takes("material", "p1")));
    said.failure(2, &["reveals the label", "to P0", "--reveal-to-p0"]);
    assert!(!stage.path("state-p1").exists());

    let takes = stage.takes("material", "p0");
    let mut server = Role::start(&mut stage.serve(&format!("{takes}\nsessions = 1")));
    let address = server.address();
    let takes = stage.takes("material", "p1");
    let done = run(&mut stage.query(&address, &images, &format!("{takes}\nreveal_to_p0 = true"))).success();
    assert!(done.last()["report"]["predictions"].is_null());
    let learnt = server.finish().success();
    stage.check(&learnt.last()["report"], &[0]);
}

#[test]
fn weights_are_published_only_with_consent() {
    let stage = Stage::new(env!("CARGO_BIN_EXE_ariann-under-test"));
    stage.plan("plan.json", &["--weights", "public"]);
    stage.deal("plan.json", 2, "material");
    let images = stage.images("one.idx", &[0]);
    let takes = stage.takes("material", "p0");
    run(&mut stage.serve(&takes)).failure(2, &["weights public", "--publish-weights"]);
    assert!(!stage.path("state-p0").exists());

    let mut server = Role::start(&mut stage.serve(&format!("{takes}\nsessions = 1\npublish_weights = true")));
    let address = server.address();
    let done = run(&mut stage.query(&address, &images, &stage.takes("material", "p1"))).success();
    stage.check(&done.last()["report"], &[0]);
    server.finish().success();
}

#[test]
fn a_p0_that_lost_its_state_masks_no_weights_again() {
    let stage = Stage::new(env!("CARGO_BIN_EXE_ariann-under-test"));
    let images = stage.images("one.idx", &[0]);
    let predict = |folder: &str| {
        let mut server = Role::start(&mut stage.serve(&stage.takes(folder, "p0")));
        let address = server.address();
        let query = run(&mut stage.query(&address, &images, &stage.takes(folder, "p1")));
        server.kill();
        query
    };
    stage.deal("plan.json", 2, "first");
    stage.check(&predict("first").success().last()["report"], &[0]);
    std::fs::remove_dir_all(stage.path("state-p0")).unwrap();
    // The dealer goes on with the same weights version, and the model may be another one by now.
    stage.deal("plan.json", 2, "second");
    predict("second").failure(4, &["lost or rolled back", "--new-weights"]);

    let fresh = ["deal", "--json", "--plan", "plan.json", "--count", "2", "--state", "state-dealer", "--out", "third"];
    stage.run(&[&fresh[..], &["--new-weights"]].concat()).success();
    std::fs::remove_dir_all(stage.path("state-p0")).unwrap();
    stage.check(&predict("third").success().last()["report"], &[0]);
}

#[test]
fn p0_says_how_many_items_it_computes_together() {
    let stage = Stage::new(env!("CARGO_BIN_EXE_ariann-under-test"));
    stage.deal("plan.json", 6, "material");
    let images = stage.images("three.idx", &[0, 1, 2]);
    let mut server = Role::start(&mut stage.serve(&format!("{}\nmax_batch = 2", stage.takes("material", "p0"))));
    let address = server.address();
    let takes = stage.takes("material", "p1");
    run(&mut stage.query(&address, &images, &format!("{takes}\nbatch = 3")))
        .failure(2, &["at most 2 items", "max_batch"]);
    assert_eq!(stage.ledger("state-p1").left, 6);
    let done = run(&mut stage.query(&address, &images, &format!("{takes}\nbatch = 2"))).success();
    // Each run's predictions are told at once, so a failure of a later one does not lose them.
    let lines = done.stdout.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let told: Vec<_> = lines.filter(|line| line["event"] == "predicted").collect();
    assert_eq!(told.len(), 2);
    assert_eq!((told[1]["first"].as_u64(), told[1]["predictions"].as_array().map(Vec::len)), (Some(2), Some(1)));
    stage.check(&done.last()["report"], &[0, 1, 2]);
}
