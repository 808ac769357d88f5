//! Networks that PyTorch and CNTK exported, on MNIST and CIFAR-10: agreement with the float model and error of the logits, by three
//! processes. Needs the folder that `ARIANN_DATA` names.

use std::path::{Path, PathBuf};

use ariann_testkit::stage::Stage;
use serde_json::Value;

/// The data folder, or a word on why there is nothing to do.
fn data() -> Option<PathBuf> {
    let folder = std::env::var_os("ARIANN_DATA").map(PathBuf::from).filter(|folder| folder.join("models").is_dir());
    if folder.is_none() {
        println!("skipped: no data (ARIANN_DATA names no folder with models)");
    }
    folder
}

fn predict(stage: &Stage, data: &Path, model: &str, more: &[&str]) -> Value {
    let file = |name: &str| data.join(name).display().to_string();
    let args = [
        "predict".to_string(),
        "--json".to_string(),
        "--model".to_string(),
        file(&format!("models/{model}.onnx")),
        "--input".to_string(),
        file("mnist/test-even-images-idx3-ubyte.gz"),
        "--labels".to_string(),
        file("mnist/test-even-labels-idx1-ubyte.gz"),
        "--calibration".to_string(),
        file("mnist/train-images-idx3-ubyte.gz"),
        "--expected".to_string(),
        file(&format!("expected/{model}__mnist-test-even.f32")),
    ];
    let args: Vec<&str> = args.iter().map(String::as_str).chain(more.iter().copied()).collect();
    stage.run(&args).success().json()
}

#[test]
fn lenet_and_the_mlp_agree_in_both_rings_held_and_shared() {
    let Some(data) = data() else { return };
    let stage = Stage::new(env!("CARGO_BIN_EXE_ariann-under-test"));
    for model in ["lenet-mnist", "mlp-128-128-mnist"] {
        for weights in ["held", "shared"] {
            for (ring, bound) in [("32", 0.02), ("64", 0.002)] {
                let more = ["--weights", weights, "--ring", ring, "--limit", "100", "--batch", "50"];
                let said = predict(&stage, &data, model, &more);
                let (agreement, error) = (said["agreement"].as_f64().unwrap(), said["max_abs_error"].as_f64().unwrap());
                println!(
                    "{model}, {weights}, ring {ring}: agreement {agreement}, greatest error {error:.5}, accuracy {}",
                    said["accuracy"]
                );
                assert!(agreement >= 0.999 && error <= bound, "{model}, {weights}, ring {ring}: {agreement}, {error}");
            }
        }
    }
}

#[test]
fn a_network_of_another_exporter_agrees() {
    let Some(data) = data() else { return };
    let stage = Stage::new(env!("CARGO_BIN_EXE_ariann-under-test"));
    let said = predict(&stage, &data, "mnist-cntk", &["--limit", "50", "--batch", "50"]);
    println!("mnist-cntk: agreement {}, greatest error {}", said["agreement"], said["max_abs_error"]);
    assert_eq!(said["agreement"], 1.0);
}

/// Residual networks on CIFAR-10: sums of branches, strided shortcuts, batch normalisation folded, averages over the image.
#[test]
fn residual_networks_agree_in_both_rings_held_and_shared() {
    let Some(data) = data() else { return };
    let stage = Stage::new(env!("CARGO_BIN_EXE_ariann-under-test"));
    let file = |name: &str| data.join(name).display().to_string();
    let models: [(&str, &[&str]); 2] = [
        ("resnet8-cifar10", &["--scale", "1"]),
        ("resnet20-cifar10", &["--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225"]),
    ];
    for (model, pixels) in models {
        for weights in ["held", "shared"] {
            // Twice what docs/accuracy.md tells of a thousand images.
            for (ring, bound) in [("32", 0.1), ("64", 0.002)] {
                let mut args = vec!["predict".to_string(), "--json".to_string()];
                for (option, value) in [
                    ("--model", file(&format!("models/{model}.onnx"))),
                    ("--input", file("cifar10/lossless-100.bin.gz")),
                    ("--calibration", file("cifar10/train-2500.bin.gz")),
                    ("--expected", file(&format!("expected/{model}__cifar10-lossless-100.f32"))),
                ] {
                    args.extend([option.to_string(), value]);
                }
                let mut args: Vec<&str> = args.iter().map(String::as_str).collect();
                args.extend(["--weights", weights, "--ring", ring, "--limit", "20", "--batch", "10"]);
                args.extend(pixels);
                let said = stage.run(&args).success().json();
                let (agreement, error) = (said["agreement"].as_f64().unwrap(), said["max_abs_error"].as_f64().unwrap());
                println!("{model}, {weights}, ring {ring}: agreement {agreement}, greatest error {error:.5}");
                assert!(agreement == 1.0 && error <= bound, "{model}, {weights}, ring {ring}: {agreement}, {error}");
            }
        }
    }
}
