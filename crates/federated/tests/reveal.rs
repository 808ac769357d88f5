//! The trained model leaves as ONNX and safetensors, at those for whom it is, when all agreed; and a model that one owner brings
//! stays hidden from all others.

mod loopback;

use ariann_federated::roles::{Reveal, Went, difference, in_clear, states_of};
use ariann_graph::training::Initial;
use ariann_graph::zoo;
use ariann_session::events::Silent;
use ariann_session::hooks::Hooks;
use loopback::{Made, make};

fn file(made: &Made, role: &str, name: &str) -> Vec<u8> {
    std::fs::read(made.folder.path().join(role).join("trained").join(name)).unwrap()
}

#[test]
fn all_learn_the_model_that_one_owner_brought_and_all_trained() {
    let mut made = make(&[60, 80, 60], 2, 2, 64);
    let path = |name: &str| made.folder.path().join(name);
    made.federation.reveal = Some(Reveal::All);
    made.federation.initial = Some(2);
    made.federation.write(&path("federation.json")).unwrap();
    // Owner 3 has the network with other weights, and takes its names alone.
    let other = zoo::network("network1", &zoo::Options { seed: 77, ..zoo::Options::default() }).unwrap().onnx;
    std::fs::write(path("other.onnx"), &other).unwrap();
    let allow = vec!["model:owners".to_string(), "model:server".to_string()];
    let (dealer, dealing) = made.start_dealer(Hooks::default());
    let mut config = made.server(&dealer);
    (config.model, config.allow) = (None, allow.clone());
    let (server, serving) = made.start_server(config, Hooks::default());
    let owners = [1, 2, 3].map(|number| {
        let mut config = made.owner(number, &dealer, &server);
        config.allow.clone_from(&allow);
        config.model = [None, Some(path("model.onnx")), Some(path("other.onnx"))][usize::from(number) - 1].clone();
        made.start_owner(config, Hooks::default())
    });
    let report = serving.join().unwrap().unwrap();
    let files = owners.map(|owner| owner.join().unwrap().unwrap().files.len());
    assert_eq!((report.files.len(), files), (1, [1, 2, 2]));
    dealing.join().unwrap().unwrap();
    let tensors = file(&made, "state-server", "model.safetensors");
    for owner in ["state-1", "state-2", "state-3"] {
        assert!(file(&made, owner, "model.safetensors") == tensors, "{owner}");
    }
    let plan = made.federation.clone().plan().unwrap();
    let trained = states_of(&plan, &file(&made, "state-2", "model.onnx")).unwrap();
    assert!(states_of(&plan, &file(&made, "state-3", "model.onnx")).unwrap() == trained);
    let went = |round| Went { round, cohort: vec![1, 2, 3], survivors: vec![1, 2, 3] };
    let clear = in_clear(&plan, &made.graph, &made.owners, None, &[went(1), went(2)], &mut Silent).unwrap();
    let off = difference(&plan, &made.graph, &trained, &clear[1].states).unwrap();
    println!("off by {off}");
    assert!(off < 0.03, "off by {off}");
}

#[test]
fn a_role_that_does_not_agree_takes_no_part() {
    let mut made = make(&[60, 60], 1, 2, 32);
    made.federation.reveal = Some(Reveal::Owners);
    made.federation.write(&made.folder.path().join("federation.json")).unwrap();
    let mut server = made.server("127.0.0.1:1");
    server.allow = vec!["model:server".to_string()];
    let error = ariann_federated::roles::serve(&server, &Hooks::default(), &mut Silent).unwrap_err().to_string();
    assert!(error.contains("allow = [\"model:owners\"]"), "{error}");
    let owner = made.owner(1, "127.0.0.1:1", "127.0.0.1:1");
    let error = made.start_owner(owner, Hooks::default()).join().unwrap().unwrap_err().to_string();
    assert!(error.contains("allow = [\"model:owners\"]"), "{error}");
    made.federation.reveal = None;
    (made.federation.initial, made.federation.job.recipe.initial) = (Some(1), Initial::Fresh);
    let error = made.federation.clone().plan().err().unwrap().to_string();
    assert!(error.contains("draws weights from a public seed"), "{error}");
}
