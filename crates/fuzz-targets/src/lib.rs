//! One function a decoder of bytes that come from outside, and samples to begin with.
//!
//! A target takes any bytes and returns: it may refuse them, it must not panic, hang, or take memory for what the bytes
//! merely announce. `tests/smoke.rs` runs every target on mutated samples with stable Rust; `fuzz/` at the root of the
//! repository runs the same functions under libFuzzer.

mod files;
mod jobs;
mod models;
pub mod mutate;
mod samples;
mod wire;

/// A decoder under test.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name, which is also that of its program in `fuzz/fuzz_targets`.
    pub name: &'static str,
    /// Decodes; refusing is fine.
    pub run: fn(&[u8]),
    /// Samples, valid and invalid.
    pub samples: fn() -> Vec<Vec<u8>>,
    /// Mutated samples that the smoke test tries.
    pub tries: usize,
}

/// All of them.
pub const TARGETS: [Target; 17] = [
    Target { name: "onnx", run: models::onnx, samples: samples::onnx, tries: 20_000 },
    Target { name: "model_to_plan", run: models::model_to_plan, samples: samples::onnx, tries: 10_000 },
    Target { name: "plan_file", run: models::plan_file, samples: samples::plan, tries: 3_000 },
    Target { name: "plan_fields", run: models::plan_fields, samples: samples::plan, tries: 3_000 },
    Target { name: "job", run: jobs::job, samples: jobs::samples, tries: 5_000 },
    Target { name: "config", run: models::config, samples: samples::config, tries: 10_000 },
    Target { name: "material_header", run: wire::material_header, samples: samples::material, tries: 30_000 },
    Target { name: "material_stream", run: wire::material_stream, samples: samples::material, tries: 30_000 },
    Target { name: "material_file", run: files::material, samples: samples::material, tries: 2_000 },
    Target { name: "frame", run: wire::frame, samples: samples::frames, tries: 30_000 },
    Target { name: "control", run: wire::control, samples: samples::control, tries: 30_000 },
    Target { name: "stranger", run: wire::stranger, samples: samples::stranger, tries: 3_000 },
    Target { name: "identity", run: files::identity, samples: samples::identity, tries: 1_000 },
    Target { name: "items", run: files::items, samples: samples::items, tries: 3_000 },
    Target { name: "labels", run: files::labels, samples: samples::labels, tries: 2_000 },
    Target { name: "packing", run: wire::packing, samples: samples::noise, tries: 30_000 },
    Target { name: "keys", run: wire::keys, samples: samples::noise, tries: 10_000 },
];

/// Runs the target called `name`.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of this name");
    (target.run)(bytes);
}
