//! What scripts rely on: names, types and meaning of the fields of `--json`, help texts, exit codes.

use ariann_plan::Plan;
use ariann_testkit::processes::{Role, run};
use ariann_testkit::stage::Stage;
use serde_json::{Value, json};

fn stage() -> Stage {
    Stage::new(env!("CARGO_BIN_EXE_ariann-under-test"))
}

/// The value at `a.b.c`.
#[track_caller]
fn at<'a>(document: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(document, |value, key| value.get(key).unwrap_or_else(|| panic!("no {path} in {document}")))
}

#[track_caller]
fn whole(document: &Value, path: &str) -> u64 {
    at(document, path).as_u64().unwrap_or_else(|| panic!("{path} is {}, not a whole number", at(document, path)))
}

#[track_caller]
fn number(document: &Value, path: &str) -> f64 {
    at(document, path).as_f64().unwrap_or_else(|| panic!("{path} is {}, not a number", at(document, path)))
}

/// Bytes that a party sends for `runs` runs of `batch` items, gate by gate.
fn online(plan: &Plan, party: usize, batch: usize, runs: u64) -> u64 {
    let of_gate = |gate| plan.cost(gate).exchanges.iter().map(|sent| sent[party].bytes(batch) as u64).sum::<u64>();
    runs * (0..plan.gates.len()).map(of_gate).sum::<u64>()
}

#[test]
fn predict_tells_everything_that_scripts_read() {
    let stage = stage();
    // The forms of comparisons follow the number of items that are run together.
    let cost = stage.plan("plan.json", &["--batch", "10"]);
    let plan = Plan::read(&stage.path("plan.json")).unwrap();
    let said = stage.run(&["predict", "--json", "--limit", "25", "--batch", "10", "--compare-clear"]).success().json();
    let predictions: Vec<u32> = serde_json::from_value(said["predictions"].clone()).unwrap();
    assert_eq!(predictions.len(), 25);
    assert!(predictions.iter().all(|label| *label < 10));
    for share in ["accuracy", "clear_accuracy", "agreement"] {
        assert!((0.0..=1.0).contains(&number(&said, share)), "{share}");
    }
    let same = (0..25).filter(|item| stage.prediction(*item) == predictions[*item]).count();
    assert_eq!(number(&said, "agreement"), same as f64 / 25.0);
    assert!(number(&said, "max_abs_error") < 0.02 && number(&said, "max_abs_error") > 0.0);
    assert_eq!(at(&said, "ranges"), &json!({ "calibrated": { "items": 100 } }));
    assert_eq!((whole(&said, "items"), whole(&said, "slots")), (25, 30));
    for seconds in ["setup.seconds", "offline.seconds", "online.seconds", "online.seconds_per_item"] {
        assert!(number(&said, seconds) > 0.0, "{seconds}");
    }
    let per_item = number(&said, "online.seconds") / 25.0;
    assert!((number(&said, "online.seconds_per_item") - per_item).abs() < 1e-9);
    assert_eq!(whole(&said, "setup.bytes"), whole(&cost, "setup_bytes.p0") + whole(&cost, "setup_bytes.p1"));
    for (party, name) in ["p0", "p1"].iter().enumerate() {
        assert_eq!(whole(&said, &format!("online.bytes_sent.{name}")), online(&plan, party, 10, 3), "{name}");
        let material = whole(&said, &format!("offline.material_bytes.{name}"));
        let least = 30 * whole(&cost, &format!("material_bytes.{name}"));
        assert!(material >= least && material < least + least / 20 + 10_000, "{name}: {material} for {least}");
    }
    assert_eq!(whole(&said, "online.exchanges"), whole(&cost, "exchanges"));
    for role in ["dealer", "p0", "p1"] {
        let rss = whole(&said, &format!("peak_rss_bytes.{role}"));
        assert!((1 << 20..1 << 30).contains(&rss), "{role}: {rss}");
    }
    for key in ["digest", "ring", "comparisons", "multiply_adds"] {
        assert_eq!(at(&said, &format!("plan.{key}")), at(&cost, key), "{key}");
    }
    assert!(number(&said, "fixed_point.max_abs_error") < 0.02 && said["fixed_point"]["first_excess"].is_null());
}

#[test]
fn figures_stay_true_for_labels_for_p0_and_for_one_item() {
    let stage = stage();
    let label = stage
        .run(&["predict", "--json", "--limit", "3", "--batch", "1", "--reveal", "label:both", "--ring", "64"])
        .success()
        .json();
    assert!(label["max_abs_error"].is_null());
    stage.plan("label.json", &["--reveal", "label:both", "--ring", "64"]);
    let plan = Plan::read(&stage.path("label.json")).unwrap();
    for (party, name) in ["p0", "p1"].iter().enumerate() {
        assert_eq!(whole(&label, &format!("online.bytes_sent.{name}")), online(&plan, party, 1, 3), "{name}");
    }
    assert_eq!(at(&label, "plan.reveal"), &json!({ "what": "label", "to": "both" }));
    let to_p0 = stage
        .run(&["predict", "--json", "--limit", "3", "--batch", "2", "--reveal", "logits:p0", "--weights", "shared"])
        .success()
        .json();
    for said in [&label, &to_p0] {
        let clear: Vec<u32> = (0..3).map(|item| stage.prediction(item)).collect();
        assert_eq!(said["predictions"], json!(clear));
    }
    assert_eq!((whole(&to_p0, "items"), whole(&to_p0, "slots")), (3, 4));
    // Items may end before the batch, the expected logits may be given, and ranges may be proven.
    let logits: Vec<u8> = stage.logits.iter().flat_map(|value| (value + 0.5).to_le_bytes()).collect();
    std::fs::write(stage.path("logits.f32"), logits).unwrap();
    let images = stage.images("i.idx", &[0, 1]).display().to_string();
    let args = ["predict", "--json", "--model", "fashion-cnn.onnx", "--input", &images, "--expected", "logits.f32"];
    let proven = stage.run(&args).success().json();
    assert_eq!(proven["ranges"], "proven");
    assert!((number(&proven, "max_abs_error") - 0.5).abs() < 0.2 && proven["accuracy"].is_null(), "{proven}");
}

#[test]
fn plan_inspect_identity_and_material_keep_their_fields() {
    let stage = stage();
    let cost = stage.plan("plan.json", &[]);
    let plan = Plan::read(&stage.path("plan.json")).unwrap();
    assert_eq!(at(&cost, "digest"), &json!(plan.digest_hex()));
    for field in ["material_bytes", "setup_bytes", "online_bytes", "memory_bytes"] {
        [0, 1].iter().for_each(|party| assert!(whole(&cost, &format!("{field}.p{party}")) < 1 << 40));
    }
    let gates = cost["gates"].as_array().unwrap();
    assert_eq!(gates.len(), plan.gates.len());
    for field in ["comparisons", "multiply_adds", "exchanges"] {
        assert_eq!(gates.iter().map(|gate| whole(gate, field)).sum::<u64>(), whole(&cost, field), "{field}");
    }
    for (field, party) in [("material_bytes", "p0"), ("material_bytes", "p1")] {
        let sum: u64 = gates.iter().map(|gate| whole(&gate[field], party)).sum();
        assert_eq!(sum, whole(&cost[field], party));
    }
    assert!(gates.iter().all(|gate| gate["name"].is_string() && gate["kind"].is_string()));
    // A plan holds no weights.
    let text = std::fs::read_to_string(stage.path("plan.json")).unwrap();
    assert!(text.len() < 50_000, "{} bytes for 20,522 weights' plan", text.len());

    let model = stage.run(&["inspect", "--json", "fashion-cnn.onnx"]).success().json();
    assert_eq!((whole(&model, "parameters"), whole(&model, "output.values")), (20_522, 10));
    assert_eq!(at(&model, "input.shape"), &json!([1, 28, 28]));
    let layers = model["layers"].as_array().unwrap();
    assert_eq!(layers.iter().map(|layer| whole(layer, "parameters")).sum::<u64>(), 20_522);
    assert!(layers.iter().all(|l| l["name"].is_string() && l["operator"].is_string() && l["output"].is_array()));
    let operators = stage.run(&["inspect", "--operators", "--json"]).success().json();
    assert!(operators.as_array().unwrap().iter().any(|operator| operator["operator"] == "Conv"));

    let new = stage.run(&["identity", "new", "fresh", "--folder", "ids", "--json"]).success().json();
    let shown = stage.run(&["identity", "show", "fresh", "--folder", "ids", "--json"]).success().json();
    assert_eq!(new, shown);
    assert!(new["name"] == "fresh" && new["fingerprint"].as_str().unwrap().starts_with("ariann:"));
    stage.run(&["identity", "new", "fresh", "--folder", "ids"]).failure(2, &["exists", "another name"]);

    let batch = stage.deal("plan.json", 3, "material");
    let file = stage.material("material", "p1").display().to_string();
    let verified = stage.run(&["material", "verify", &file, "--plan", "plan.json", "--json"]).success().json();
    assert_eq!(verified, json!({ "batch": batch, "party": 1, "slots": 3, "whole": true }));
    let images = stage.images("i.idx", &[0, 1]);
    let mut server = Role::start(&mut stage.serve(&format!("sessions = 1\n{}", stage.takes("material", "p0"))));
    let query =
        run(&mut stage.query(&server.address(), &images, &format!("batch = 2\n{}", stage.takes("material", "p1"))))
            .success();
    let serve = server.finish().success();
    let listed = stage.run(&["material", "ls", "--state", "state-p1", "--json"]).success().json();
    assert_eq!((whole(&listed, "left"), listed["batches"].as_array().unwrap().len()), (1, 1));
    let [first] = &listed["batches"].as_array().unwrap()[..] else { unreachable!() };
    assert_eq!((&first["batch"], &first["plan"]), (&json!(batch), &json!(plan.digest_hex())));
    assert_eq!(["slots", "left", "used", "burnt"].map(|key| whole(first, key)), [3, 1, 2, 0]);
    assert!(first["whole"] == true && first["prepared"].is_boolean() && whole(first, "bytes") > 1_000_000);

    // Reports of the roles: each knows its own part.
    for (finished, role, sees) in [(&query, "p1", true), (&serve, "p0", false)] {
        let line = finished.last();
        assert_eq!(line["event"], "result");
        let report = &line["report"];
        assert_eq!((&report["role"], report["predictions"].is_array()), (&json!(role), sees));
        let party = usize::from(role == "p1");
        assert_eq!(whole(report, "online.bytes_sent"), online(&plan, party, 2, 1), "{role}");
        assert_eq!(
            (whole(report, "items"), whole(report, "slots"), whole(report, "exchanges")),
            (2, 2, whole(&cost, "exchanges"))
        );
        assert!(
            whole(report, "material_bytes") > 0
                && at(report, "setup.seconds").is_number()
                && at(report, "plan_digest").is_string()
        );
    }
}

#[test]
fn every_command_explains_itself() {
    let stage = stage();
    let alone = stage.run(&[]);
    assert!(alone.code == Some(2) && alone.stderr.contains("Usage"), "{alone:?}");
    let commands = ["inspect", "plan", "identity", "deal", "serve", "query", "predict", "material", "bench"];
    commands.iter().for_each(|command| assert!(alone.stderr.contains(command), "{command}"));
    let help = stage.run(&["--help"]).success().stdout;
    ["Whom you must trust", "collude", "P0", "P1", "dealer"]
        .iter()
        .for_each(|word| assert!(help.contains(word), "{word}"));
    for command in commands {
        let help = stage.run(&[command, "--help"]).success().stdout;
        assert!(help.contains("Usage") && help.contains("--json"), "{command}: {help}");
    }
    for pair in [
        ["identity", "new"],
        ["identity", "show"],
        ["material", "ls"],
        ["material", "verify"],
        ["bench", "fss"],
        ["bench", "gates"],
        ["bench", "products"],
    ] {
        assert!(stage.run(&[&pair[..], &["--help"]].concat()).success().stdout.contains("Usage"), "{pair:?}");
    }
    stage.run(&["predict", "--batch", "0"]).failure(2, &["--batch"]);
    stage.run(&["predict", "--ring", "48"]).failure(2, &["give 32 or 64"]);
    stage.run(&["query", "--model", "m.onnx"]).failure(2, &["--model"]);
    stage.run(&["serve"]).failure(2, &["--plan", "--help"]);
    stage.run(&["--version"]).success();
}
