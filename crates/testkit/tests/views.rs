//! What each process has in memory in the middle of its work: the dealer and P1 never the weights, the dealer and P0 never
//! the images. The same search finds both where they are.

mod common;

use ariann_plan::Plan;
use ariann_testkit::processes::Role;
use ariann_testkit::stage::Stage;
use ariann_testkit::traces::Needles;

/// Looks into a stopped process; skips the test when the system forbids it.
fn holds(role: &Role, secret: &Needles) -> Option<bool> {
    let found = secret.find_in_memory(role.pid());
    if found.is_none() {
        println!("skipped: this system does not let a test read its children's memory");
    }
    found
}

#[test]
fn no_process_has_in_memory_what_is_not_its_own() {
    let stage = Stage::new(env!("CARGO_BIN_EXE_ariann-under-test"));
    let plan = Plan::read(&stage.path("plan.json")).unwrap();
    let numbers = &stage.clear_cut[..40];
    let values: Vec<f32> = numbers.iter().flat_map(|number| stage.items.item(*number)).copied().collect();
    let (weights, images) = (common::weights(&stage.graph, &plan), common::images(&values, &plan));

    let args = [
        "deal",
        "--json",
        "--plan",
        "plan.json",
        "--count",
        "60",
        "--state",
        "d",
        "--out",
        "material",
        "--threads",
        "1",
    ];
    let mut dealer = Role::start(&mut stage.command(&args));
    dealer.event("progress");
    dealer.signal("STOP");
    let Some(found) = holds(&dealer, &weights) else { return };
    assert!(!found, "the dealer has weights in memory");
    assert_eq!(holds(&dealer, &images), Some(false), "the dealer has images in memory");
    dealer.signal("CONT");
    dealer.finish().success();

    let mut p0 = Role::start(&mut stage.serve(&stage.takes("material", "p0")));
    let input = stage.images("many.idx", numbers);
    let mut p1 = Role::start(&mut stage.query(&p0.address(), &input, &stage.takes("material", "p1")));
    p1.event("gate");
    p0.event("gate");
    p1.signal("STOP");
    p0.signal("STOP");
    assert_eq!(holds(&p0, &images), Some(false), "P0 has images in memory");
    assert_eq!(holds(&p1, &weights), Some(false), "P1 has weights in memory");
    assert_eq!(holds(&p0, &weights), Some(true), "the search does not find weights at P0");
    assert_eq!(holds(&p1, &images), Some(true), "the search does not find images at P1");
    p0.signal("CONT");
    p1.signal("CONT");
    stage.check(&p1.finish().success().last()["report"], numbers);
    println!(
        "{} runs of weights and {} of images looked for in the memory of three processes",
        weights.len(),
        images.len()
    );
}
