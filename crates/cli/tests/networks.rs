//! `bench networks`, `plan` and `predict` tell the same gates, with the figures that they promise; pages are written.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn ariann(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ariann")).args(args).current_dir(folder).output().expect("the program starts")
}

#[track_caller]
fn said(folder: &Path, args: &[&str]) -> Value {
    let output = ariann(folder, args);
    assert!(output.status.success(), "{args:?}: {}{}", text(&output.stdout), text(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("one JSON document")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
fn whole(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no whole number"))
}

/// The sum of `key` at `party` over all gates.
#[track_caller]
fn sum(gates: &[Value], key: &str, party: &str) -> f64 {
    gates.iter().map(|gate| gate[key][party].as_f64().unwrap_or_else(|| panic!("{key}.{party} of {gate}"))).sum()
}

#[test]
fn networks_are_told_one_by_one_and_gate_by_gate() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    said(here, &["zoo", "lenet", "--json", "-o", "own.onnx"]);
    let args =
        ["bench", "networks", "network1", "own.onnx", "--batch", "2", "--runs", "3", "--json", "--report", "page.html"];
    let list = said(here, &args);
    let list = list.as_array().expect("a list");
    assert_eq!(list.iter().map(|one| &one["network"]).collect::<Vec<_>>(), ["network1", "own.onnx"]);
    for one in list {
        assert_eq!((whole(&one["batch"]), whole(&one["runs"]), whole(&one["items"])), (2, 3, 6));
        let runs: Vec<f64> = serde_json::from_value(one["online"]["run_seconds"].clone()).expect("seconds");
        assert!(runs.len() == 3 && runs.iter().all(|run| *run > 0.0), "{runs:?}");
        let (least, median) = (one["least_run_seconds"].as_f64().unwrap(), one["median_run_seconds"].as_f64().unwrap());
        assert!(runs.contains(&least) && runs.contains(&median) && least <= median);
        assert!(one["relative_error"].as_f64().unwrap() < 0.01 && one["greatest_logit"].as_f64().unwrap() > 0.0);
        assert!(
            one["clear_argmax"]["differs"] == true && whole(&one["clear_argmax"]["items"]) == 22,
            "{}",
            one["clear_argmax"]
        );
        assert_eq!(one["agreement"], 1.0);
        // What gates send and take is what the parties send, and no more time than they took.
        let gates = one["gates"].as_array().expect("gates");
        for party in ["p0", "p1"] {
            assert_eq!(
                sum(gates, "bytes_sent", party),
                one["online"]["bytes_sent"][party].as_f64().unwrap(),
                "{party}"
            );
            assert!(sum(gates, "exchange_seconds", party) <= sum(gates, "seconds", party));
        }
        assert!(sum(gates, "seconds", "p1") > 0.0);
        assert!(sum(gates, "seconds", "p1") <= one["online"]["seconds"].as_f64().unwrap());
        assert!(one["machine"]["aes"].is_string() && one["machine"]["products"].is_string());
    }
    let page = std::fs::read_to_string(here.join("page.html")).expect("a page");
    assert!(page.contains("<h2>network1</h2>") && page.contains("<h2>own.onnx</h2>") && page.contains("<svg"));
    assert!(!page.contains("http:") && !page.contains("https:") && !page.contains("<script"));
}

/// `count` items of 1x28x28 values between 0 and 1, as .npy.
fn items(count: usize) -> Vec<u8> {
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({count}, 1, 28, 28), }}");
    let header = format!("{header:117}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend((0..count * 784).flat_map(|i| ((i * 7919 % 256) as f32 / 255.0).to_le_bytes()));
    bytes
}

#[test]
fn a_plan_shows_what_each_comparison_would_cost_in_either_form() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    said(here, &["zoo", "network2", "--json", "-o", "m.onnx"]);
    // A coarse sign wants observed values.
    std::fs::write(here.join("c.npy"), items(4)).expect("a file");
    let mut taken = Vec::new();
    for (sign, optimize, link) in [("exact", "latency", "wan"), ("coarse", "material", "loopback")] {
        let args = [
            "plan",
            "--model",
            "m.onnx",
            "-o",
            "p.json",
            "--json",
            "--batch",
            "8",
            "--calibration",
            "c.npy",
            "--sign",
            sign,
            "--optimize",
            optimize,
            "--link",
            link,
        ];
        let plan = said(here, &args);
        assert_eq!((&plan["link"], whole(&plan["batch"])), (&Value::from(link), 8));
        let gates = plan["gates"].as_array().expect("gates");
        // The parties work at the same time, and openings are sent while they are computed: the whole takes less than its parts.
        let parts: f64 = gates.iter().map(|gate| gate["forecast_seconds"].as_f64().expect("seconds")).sum();
        let forecast = |part: &str| plan["forecast"][part].as_f64().expect("seconds");
        let all = forecast("compute") + forecast("transfer") + forecast("latency");
        assert!(parts <= all && forecast("seconds") <= all + 1e-9 && forecast("seconds") > forecast("latency") / 2.0);
        for gate in gates {
            let comparison = &gate["comparison"];
            assert_eq!(comparison.is_null(), whole(&gate["comparisons"]) == 0, "{gate}");
            assert_eq!(gate["window"].is_null(), gate["kind"] != "open", "{gate}");
            assert!(gate["scale"]["unit"].as_f64().unwrap() > 0.0 && whole(&gate["width"]) <= 32, "{gate}");
            if let Some(window) = gate["window"].as_object() {
                assert_eq!(whole(&window["top"]) - whole(&window["shift"]), whole(&gate["width"]));
            }
            let Some(form) = comparison["form"].as_str() else { continue };
            taken.push((optimize, form.to_string()));
            // The form that was taken costs what the gate costs.
            assert_eq!(comparison["forecast_seconds"][form], gate["forecast_seconds"]);
            assert_eq!(comparison["material_bytes"][form], gate["material_bytes"]);
            let material = |form: &str| {
                let bytes = &comparison["material_bytes"][form];
                whole(&bytes["p0"]) + whole(&bytes["p1"])
            };
            assert!(material("chunks") < material("dpf"), "{gate}");
            let digits: u64 = comparison["digits"].as_array().expect("digits").iter().map(whole).sum();
            assert_eq!(digits, whole(&comparison["bits"]), "{gate}");
            let coarse = sign == "coarse" && gate["kind"] == "relu";
            assert_eq!(comparison["sign"], if coarse { "coarse" } else { "exact" }, "{gate}");
            assert_eq!(comparison["coarse_unit"].is_number(), coarse);
        }
        let shown =
            text(&ariann(here, &args.iter().filter(|arg| **arg != "--json").copied().collect::<Vec<_>>()).stdout);
        assert!(shown.contains("chunks material") && shown.contains("forecast of a run of 8"), "{shown}");
    }
    for (optimize, form) in taken {
        assert_eq!(form, if optimize == "latency" { "dpf" } else { "chunks" });
    }
}

#[test]
fn predict_writes_a_page_and_tells_its_gates() {
    let folder = tempfile::tempdir().expect("a folder");
    let one = said(folder.path(), &["predict", "--limit", "3", "--batch", "2", "--json", "--report", "page.html"]);
    let gates = one["gates"].as_array().expect("gates");
    assert_eq!(sum(gates, "bytes_sent", "p1"), one["online"]["bytes_sent"]["p1"].as_f64().unwrap());
    assert_eq!(one["online"]["run_seconds"].as_array().map(Vec::len), Some(2));
    let page = std::fs::read_to_string(folder.path().join("page.html")).expect("a page");
    for gate in gates {
        assert!(page.contains(gate["kind"].as_str().unwrap()), "{gate}");
    }
}

#[test]
fn slips_are_told_before_anything_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    for (args, word) in [
        (&["bench", "networks", "network1", "alexnet"][..], "alexnet: neither a file nor a network of the zoo"),
        (&["bench", "networks", "network1", "--runs", "0"], "--runs"),
        (&["bench", "networks", "network1", "--batch", "0"], "--batch"),
        (&["bench", "networks", "--batch", "2", "--original-batch"], "--original-batch"),
        (&["bench", "networks", "network1", "--input-range", "3,1"], "--input-range"),
    ] {
        let output = ariann(folder.path(), args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(text(&output.stderr).contains(word), "{args:?}: {}", text(&output.stderr));
    }
}
