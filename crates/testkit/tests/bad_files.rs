//! Models, images, plans and configurations that are refused: who is at fault, what to do, and nothing is spent.

use std::path::{Path, PathBuf};

use ariann_testkit::processes::{Finished, Role, run};
use ariann_testkit::stage::Stage;

fn stage() -> Stage {
    Stage::new(env!("CARGO_BIN_EXE_ariann-under-test"))
}

fn fixture(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/onnx").join(name).display().to_string()
}

/// An npy file of one float image.
fn npy(stage: &Stage, name: &str, shape: &str, values: &[f32]) -> PathBuf {
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    std::fs::write(stage.path(name), bytes).unwrap();
    stage.path(name)
}

/// P0 serves and one query went well; then `bad` is run, which must spend nothing.
fn beside_a_working_pair(stage: &Stage, bad: impl FnOnce(&str) -> Finished) -> Finished {
    stage.deal("plan.json", 6, "material");
    let mut server = Role::start(&mut stage.serve(&stage.takes("material", "p0")));
    let address = server.address();
    let query = |first: usize| {
        let numbers = [stage.clear_cut[first]];
        let images = stage.images("good.idx", &numbers);
        let done = run(&mut stage.query(&address, &images, &stage.takes("material", "p1"))).success();
        stage.check(&done.last()["report"], &numbers);
    };
    query(0);
    let ledgers = || ["state-p0", "state-p1"].map(|state| stage.ledger(state));
    let before = ledgers();
    let finished = bad(&address);
    assert_eq!(ledgers(), before, "{finished:?}");
    query(1);
    finished
}

#[test]
fn unsupported_operators_are_listed_all_at_once() {
    let stage = stage();
    let model = fixture("invalid-unsupported-operators.onnx");
    let all =
        ["in1", "InstanceNormalization", "gate", "Elu", "LpPool", "FusedMatMul", "use maximum or average pooling"];
    stage.run(&["inspect", &model]).failure(3, &all);
    stage.run(&["plan", "--model", &model, "-o", "no.json"]).failure(3, &all);
    let images = stage.images("i.idx", &[0]).display().to_string();
    let said = stage.run(&["predict", "--json", "--model", &model, "--input", &images]).failure(3, &all);
    assert_eq!((&said.last()["event"], &said.last()["fault"]), (&"error".into(), &"input".into()));
    assert!(!stage.path("no.json").exists());
}

#[test]
fn weights_that_are_no_numbers_are_refused_by_name() {
    let stage = stage();
    for (file, word) in [("invalid-nan-weight.onnx", "NaN"), ("invalid-infinite-weight.onnx", "inf")] {
        let model = fixture(file);
        stage.run(&["plan", "--model", &model, "-o", "no.json"]).failure(3, &["input", word, "\"w\"", "again"]);
    }
    let said = beside_a_working_pair(&stage, |_| {
        let mut bad = stage.serve("");
        run(bad.args(["--model", &fixture("invalid-nan-weight.onnx"), "--state", "another"]))
    });
    said.failure(3, &["NaN"]);
    assert!(!stage.path("another").exists());
}

#[test]
fn a_model_that_the_plan_was_not_made_for_is_refused() {
    let stage = stage();
    let mut serve = stage.serve("");
    let said = run(serve.args(["--model", &fixture("gemm-scaled.onnx")]));
    said.failure(3, &["the model does not fit the plan", "make the plan from this model file"]);
}

#[test]
fn images_of_another_shape_and_values_out_of_range_are_refused() {
    let stage = stage();
    let mut image = stage.items.item(0).to_vec();
    let other_shape = npy(&stage, "shape.npy", "(1, 28, 14)", &image[..392]);
    image[300] = 1.5;
    let large = npy(&stage, "large.npy", "(1, 1, 28, 28)", &image);
    image[300] = -0.25;
    let small = npy(&stage, "small.npy", "(1, 1, 28, 28)", &image);
    image[300] = f32::NAN;
    let none = npy(&stage, "none.npy", "(1, 1, 28, 28)", &image);
    let cut = stage.path("cut.idx");
    let whole = std::fs::read(stage.images("whole.idx", &[0, 1])).unwrap();
    std::fs::write(&cut, &whole[..whole.len() - 1]).unwrap();
    let cases: [(&Path, &[&str]); 5] = [
        (&other_shape, &["shape", "[28, 14]", "[1, 28, 28]", "resize"]),
        (&large, &["1.5", "position 300", "[0, 1]", "wider range"]),
        (&small, &["-0.25", "position 300"]),
        (&none, &["NaN", "position 300"]),
        (&cut, &["cut.idx"]),
    ];
    beside_a_working_pair(&stage, |address| {
        let mut last = None;
        for (input, words) in cases {
            let said = run(&mut stage.query(address, input, &stage.takes("material", "p1")));
            last = Some(said.failure(3, &[words, &["\"fault\":\"input\""]].concat()));
        }
        let missing = run(&mut stage.query(address, &stage.path("nowhere.idx"), ""));
        assert!(missing.code.is_some_and(|code| code > 1) && missing.stdout.contains("nowhere.idx"), "{missing:?}");
        last.unwrap()
    });
}

#[test]
fn private_inputs_do_not_calibrate_the_public_plan() {
    let stage = stage();
    let images = stage.images("mine.idx", &[1, 2, 3]).display().to_string();
    std::fs::copy(&images, stage.path("copy.idx")).unwrap();
    for calibration in ["mine.idx", "copy.idx", "./mine.idx"] {
        let args = ["predict", "--model", "fashion-cnn.onnx", "--input", &images, "--calibration", calibration];
        stage.run(&args).failure(2, &["--calibration", "--input", "public"]);
    }
}

#[test]
fn unknown_keys_are_refused_with_their_name() {
    let stage = stage();
    let images = stage.images("i.idx", &[0]);
    run(&mut stage.serve("sesions = 1")).failure(2, &["p0.toml", "sesions", "unknown"]);
    run(&mut stage.query("127.0.0.1:1", &images, "modell = \"m.onnx\"")).failure(2, &["p1.toml", "modell"]);
    // P1 has no use for a model, and no key for it.
    run(&mut stage.query("127.0.0.1:1", &images, "model = \"m.onnx\"")).failure(2, &["p1.toml", "`model`"]);
    std::fs::write(stage.path("deal.toml"), "plan = \"plan.json\"\ncount = 1\nstate = \"d\"\nseed = 7\n").unwrap();
    stage.run(&["deal", "--config", "deal.toml"]).failure(2, &["deal.toml", "seed"]);
    run(&mut stage.serve("deadlines = { silence = 0.0 }")).failure(2, &["deadlines.silence", "positive"]);
    run(&mut stage.serve("deadlines = { patience = 1.0 }")).failure(2, &["patience"]);
    assert!(!stage.path("state-p0").exists() && !stage.path("state-p1").exists());
}

#[test]
fn an_edited_plan_is_refused_by_every_role() {
    let stage = stage();
    let images = stage.images("i.idx", &[0]);
    let text = std::fs::read_to_string(stage.path("plan.json")).unwrap();
    let edit = |what: &str, with: &str| {
        assert!(text.contains(what), "no {what} in the plan");
        std::fs::write(stage.path("plan.json"), text.replacen(what, with, 1)).unwrap();
    };
    edit("\"fashion-cnn\"", "\"another\"");
    let words = ["plan.json", "edited", "make it again with `ariann plan`"];
    run(&mut stage.serve("")).failure(2, &words);
    run(&mut stage.query("127.0.0.1:1", &images, "")).failure(2, &words);
    let deal = ["deal", "--plan", "plan.json", "--count", "1", "--state", "d", "--out", "o"];
    stage.run(&deal).failure(2, &words);
    assert!(!stage.path("o").exists() && !stage.path("state-p0").exists());
    // An edit that does not even fit the rest, one that adds a key, and no plan at all.
    let advice = ["plan.json", "ariann plan"];
    edit("\"frac\": ", "\"frac\": 1");
    stage.run(&deal).failure(2, &advice);
    edit("\"ring\": 32", "\"ring\": 32, \"seed\": 7");
    stage.run(&deal).failure(2, &advice);
    std::fs::write(stage.path("plan.json"), "{}").unwrap();
    stage.run(&deal).failure(2, &advice);
}

#[test]
fn other_weights_under_the_same_weights_version_are_refused() {
    let stage = stage();
    stage.deal("plan.json", 4, "material");
    let images = stage.images("i.idx", &[stage.clear_cut[0]]);
    let query = |address: &str| run(&mut stage.query(address, &images, &stage.takes("material", "p1")));
    let mut server = Role::start(&mut stage.serve(&stage.takes("material", "p0")));
    query(&server.address()).success();
    server.kill();

    // The same network with one weight changed: the first weight's bytes stand in the file as they are.
    let mut model = std::fs::read(stage.path("fashion-cnn.onnx")).unwrap();
    let first = stage.graph.linear_nodes().next().unwrap();
    let weights = stage.graph.nodes[first].op.weights().unwrap().data();
    let needle: Vec<u8> = weights[..4].iter().flat_map(|value| value.to_le_bytes()).collect();
    let at = model.windows(16).position(|window| window == needle).expect("weights stand in the file");
    model[at..at + 4].copy_from_slice(&(weights[0] * 0.5).to_le_bytes());
    std::fs::write(stage.path("other.onnx"), model).unwrap();

    let before = ["state-p0", "state-p1"].map(|state| stage.ledger(state));
    let mut serve = stage.serve(&stage.takes("material", "p0"));
    let mut server = Role::start(serve.args(["--model", "other.onnx"]));
    query(&server.address()).failure(4, &["P0"]);
    let failed = server.event("session_failed");
    let error = failed["error"].as_str().unwrap();
    assert!(failed["fault"] == "input" && error.contains("--new-weights") && error.contains("difference"), "{failed}");
    assert_eq!(["state-p0", "state-p1"].map(|state| stage.ledger(state)), before);
    server.kill();

    // With a new weights version it works.
    let deal =
        ["deal", "--plan", "plan.json", "--count", "2", "--state", "state-dealer", "--new-weights", "--out", "new"];
    stage.run(&deal).success();
    for state in ["state-p0", "state-p1"] {
        std::fs::rename(stage.path(state), stage.path(&format!("{state}-old"))).unwrap();
    }
    let mut serve = stage.serve(&stage.takes("new", "p0"));
    let mut server = Role::start(serve.args(["--model", "other.onnx"]));
    run(&mut stage.query(&server.address(), &images, &stage.takes("new", "p1"))).success();
}
