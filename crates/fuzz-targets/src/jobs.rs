//! Jobs of a training, which come from whoever wants to train together.

use std::path::Path;
use std::sync::Arc;

use ariann_gates::{Party, Receiver};
use ariann_graph::training::{Loss, Recipe, Schedule, StepGraph, StepRanges, evaluation, training_step};
use ariann_graph::{Network, ValueRange, import_for_training_bytes, zoo};
use ariann_plan::training::MARGIN;
use ariann_plan::{InputSpec, Link, Optimize, SignChoice};
use ariann_session::training::{Choices, Course, Cursor, Job, Ranges, Reveals, Turn, VERSION};
use serde_json::Value;

/// Turns that are walked from the first, and to the last.
const WALKED: u64 = 5;
/// Weights and values of a network that is compiled.
const SMALL: u64 = 1 << 20;

/// A job as it is, and with a digest that fits, as somebody who wants to do harm would write it.
pub fn job(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let path = Path::new("job.json");
    let _ = Job::from_json(text, path);
    let Ok(mut file) = serde_json::from_str::<Value>(text) else { return };
    let Some(job) = file.get_mut("job").map(Value::take) else { return };
    let Ok(job) = serde_json::from_value::<Job>(job) else { return };
    match Job::from_json(&job.to_json(), path) {
        Ok(again) => assert!(again == job, "a job is read back as it was written"),
        Err(_) => assert!(job.version != VERSION, "a job of this version is read back"),
    }
    let _ = job.reveals_list();
    if small(&job)
        && let Ok(course) = Course::new(job)
    {
        walk(&Arc::new(course));
    }
}

/// The first turns, what each leaves, and the last ones. Whether there was a plan for each.
fn walk(course: &Arc<Course>) -> bool {
    let mut cursor = course.cursor();
    for _ in 0..WALKED {
        if !passes(&mut cursor) {
            break;
        }
        let standing =
            course.standing(cursor.number(), &cursor.standing().encode()).expect("where it stands is read back");
        assert!(standing == *cursor.standing(), "where it stands is read back as it was written");
    }
    let (turns, walked) = (course.turns().count(), cursor.number());
    if walked < WALKED.min(turns) {
        return false;
    }
    let last = turns.saturating_sub(WALKED).max(walked);
    let mut cursor = course.cursor_at(last, cursor.standing().clone());
    while passes(&mut cursor) {}
    assert!(cursor.number() <= turns);
    cursor.number() == turns
}

/// One turn; false when there is none, or ranges leave no plan for it.
fn passes(cursor: &mut Cursor) -> bool {
    let Some(turn) = cursor.turn() else { return false };
    let Ok(leg) = cursor.leg(turn) else { return false };
    cursor.pass(&leg);
    if let Turn::Measure { .. } = turn {
        // Near the samples' ranges: from far away there is no plan.
        let number = cursor.number() as i32;
        let exponents: Vec<i32> = (0..cursor.measured() as i32).map(|place| (place + number) % 2).collect();
        let _ = cursor.renew(&exponents);
    }
    true
}

/// Whether the work is that of a test: plans of large networks take their time.
fn small(job: &Job) -> bool {
    let network = serde_json::to_value(&job.network).expect("a network is JSON");
    let number = |value: &Value| value.as_u64().unwrap_or(1);
    let len = |shape: &Value| shape.as_array().into_iter().flatten().map(number).fold(1, u64::saturating_mul);
    let layers = network["layers"].as_array().expect("it has layers");
    let shape = |value: u64| match value.checked_sub(1) {
        None => Some(&network["input_shape"]),
        Some(layer) => layers.get(layer as usize).map(|layer| &layer["shape"]),
    };
    // Values, and no fewer weights than there are.
    let of_layer = |layer: &Value| {
        let input = layer["inputs"][0].as_u64().and_then(shape).unwrap_or(&Value::Null);
        let (dense, conv) = (&layer["op"]["dense"], &layer["op"]["conv"]);
        let weights = match conv {
            Value::Null => number(&dense["outputs"]).saturating_mul(len(input)),
            conv => len(&conv["windows"]["kernel"])
                .saturating_mul(number(&conv["channels"]))
                .saturating_mul(number(&input[0])),
        };
        weights.saturating_add(len(&layer["shape"]))
    };
    layers.iter().map(of_layer).fold(0, u64::saturating_add) <= SMALL
}

/// Jobs of small networks in both rings, with all reveals and with none, with ranges that are renewed and that are not.
pub fn samples() -> Vec<Vec<u8>> {
    let all = Reveals { model: Some(Receiver::P0), loss: Some(Receiver::P1), accuracy: Some(Receiver::Both) };
    let none = Reveals { model: None, loss: None, accuracy: None };
    let plain = |loss| Recipe { epochs: 2, momentum: 0.9, ..Recipe::plain(loss, 2, 0.1) };
    let steps = Schedule::Step { epochs: 1, factor: 0.5 };
    let jobs = [
        ("network1", [1, 3, 3], 32, plain(Loss::Mse), all, Some(1)),
        ("network1", [1, 2, 2], 64, Recipe { momentum: 0.0, ..plain(Loss::CrossEntropy) }, none, None),
        ("lenet", [1, 16, 16], 32, Recipe { schedule: steps, weight_decay: 5e-4, ..plain(Loss::Mse) }, all, None),
        ("lenet", [1, 16, 16], 64, Recipe { nesterov: true, ..plain(Loss::CrossEntropy) }, all, Some(2)),
        ("resnet8", [1, 8, 8], 64, plain(Loss::CrossEntropy), all, Some(1)),
        ("resnet8", [1, 8, 8], 32, Recipe { freeze: vec!["layer1".into()], ..plain(Loss::Mse) }, none, Some(2)),
    ];
    jobs.map(|(name, input, ring, recipe, reveals, rescale_every)| {
        let job = sample(name, input, ring, recipe, reveals, rescale_every);
        assert!(small(&job), "{name} is too large for this test");
        let text = job.to_json();
        let course = Course::new(job).unwrap_or_else(|error| panic!("{name} in {ring} bits: {error}"));
        assert!(walk(&Arc::new(course)), "{name} in {ring} bits: a turn has no plan");
        text.into_bytes()
    })
    .to_vec()
}

fn sample(
    name: &str,
    input: [usize; 3],
    ring: u32,
    recipe: Recipe,
    reveals: Reveals,
    rescale_every: Option<u32>,
) -> Job {
    let made = zoo::network(name, &zoo::Options { input: Some(input), classes: Some(2), seed: 0 }).expect("a network");
    let graph = import_for_training_bytes(&made.onnx).expect("a graph");
    let ranges = |step: StepGraph| {
        let same = |len| vec![ValueRange { max_abs: 2.0, rms: 0.5 }.rounded(); len];
        StepRanges { steps: 1, nodes: same(step.nodes.len()), states: same(step.states.len()) }
    };
    let step = training_step(&graph, &recipe, recipe.lr, reveals.loss.is_some()).expect("a step");
    let test = reveals.accuracy.map(|_| evaluation(&graph, &recipe, recipe.batch).expect("an evaluation"));
    Job {
        version: VERSION,
        network: Network::of(&graph),
        input: InputSpec::plain("input", &input, [0.0, 1.0]),
        recipe,
        features: Party::P1.into(),
        labels: Party::P0.into(),
        owners: Vec::new(),
        reveals,
        rows: 5,
        test_rows: 2,
        ranges: Ranges { steps: ranges(step), evaluation: test.map(ranges) },
        rescale_every,
        choices: Choices {
            ring,
            margin: MARGIN,
            optimize: Optimize::Material,
            sign: SignChoice::Exact,
            link: Link::LOOPBACK,
        },
    }
}
