//! A training of three roles over TLS, against the same training in clear.

mod trained;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ariann_gates::Party;
use ariann_graph::training::{Recipe, Role};
use ariann_net::{Limits, Peer, memory_links};
use ariann_session::Fault;
use ariann_session::events::Silent;
use ariann_session::hooks::{Hooks, Observer};
use ariann_session::training::{Course, Job, deal_pair, initial_states};
use trained::{Roles, Wanted, checkpointing, in_clear, make, roles, run};

#[test]
fn a_private_training_follows_the_one_in_clear() {
    let hooks = Hooks::default();
    for (ring, features, labels) in [(32, Party::P1, Party::P1), (64, Party::P1, Party::P0)] {
        let made = make(Wanted { ring, features, labels, ..Wanted::default() });
        let (losses, accuracies, _) = in_clear(&made);
        let [dealer, p0, p1] = run(roles(&made), [&hooks; 3]);
        let (p0, p1, dealer) = (p0.unwrap(), p1.unwrap(), dealer.unwrap());
        assert_eq!(p0.losses.len(), losses.len());
        assert!(p1.losses.is_empty() && p1.epochs.is_empty(), "P1 learns nothing");
        for (step, (private, clear)) in p0.losses.iter().zip(&losses).enumerate() {
            assert!((private - clear).abs() < 0.03 * clear + 0.005, "step {step}: {private} for {clear}");
        }
        assert!(losses[losses.len() - 1] < 0.95 * losses[0], "the training in clear learns something");
        for (epoch, clear) in p0.epochs.iter().zip(&accuracies) {
            let private = epoch.accuracy.unwrap();
            assert!((private - clear).abs() <= 2.0 / 64.0 + 1e-9, "epoch {}: {private} for {clear}", epoch.epoch);
        }
        assert_eq!(p0.epochs.len(), 2);
        assert_eq!(p0.steps, 16);
        assert_eq!(p0.turns, made.course.turns().count());
        let made_bytes = [p0.material_bytes[0], p1.material_bytes[1]];
        let waited = [dealer.waiting_bytes, p0.waiting_bytes, p1.waiting_bytes];
        assert!(dealer.waiting_bytes > 0 && waited.iter().all(|bytes| *bytes <= 24 << 20), "{waited:?} bytes waited");
        // Heads are not counted at the parties.
        let heads = made.course.turns().count() * 88;
        assert_eq!(made_bytes.map(|bytes| bytes + heads), dealer.material_bytes);
    }
}

fn small() -> Wanted {
    Wanted { rows: 70, test_rows: 32, ..Wanted::default() }
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn the_model_leaves_and_a_training_goes_on_from_the_newest_common_checkpoint() {
    let hooks = Hooks::default();
    let made = make(small());
    let folder = made.folder.path().join("checkpoints");
    let mut first = checkpointing(&made, &folder, false);
    let out = made.folder.path().join("out");
    first.parties[0].out = Some(out.clone());
    let [_, p0, p1] = run(first, [&hooks; 3]);
    let (unbroken, p1) = (p0.unwrap(), p1.unwrap());
    assert_eq!(unbroken.files, [out.join("model.onnx"), out.join("model.safetensors")]);
    let trained = ariann_graph::import_for_training(&out.join("model.onnx")).unwrap();
    let (_, _, clear) = in_clear(&made);
    let again = ariann_graph::training::training_step(
        &trained,
        &Recipe { initial: ariann_graph::training::Initial::Model, ..made.job.recipe.clone() },
        0.1,
        false,
    )
    .unwrap();
    let mut compared = 0;
    for (state, clear) in again.states.iter().zip(clear.states()) {
        if state.role == Role::Parameter {
            let off = state.initial.iter().zip(clear).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(off < 0.01, "{} is off by {off}", state.name);
            compared += 1;
        }
    }
    assert_eq!(compared, 6);
    assert!(p1.checkpoints >= 4 && unbroken.checkpoints == p1.checkpoints);

    // Both keep two; without its newest at one party, both go on from the one before.
    let kept = ["p0", "p1"].map(|name| files(&folder.join(name)));
    assert!(kept.iter().all(|files| files.len() == 2), "{kept:?}");
    std::fs::remove_file(&kept[0][1]).unwrap();
    let [_, p0, p1] = run(checkpointing(&made, &folder, true), [&hooks; 3]);
    let (resumed, p1) = (p0.unwrap(), p1.unwrap());
    assert!(resumed.first_turn > 0 && resumed.first_turn == p1.first_turn);
    assert_eq!(resumed.losses.len(), 4, "losses from before the checkpoint are there");
    let before = resumed.losses.iter().zip(&unbroken.losses).take_while(|(a, b)| a == b).count();
    assert!(before >= 2, "what was revealed before the checkpoint is told as it was: {before} losses");
    for (a, b) in resumed.losses.iter().zip(&unbroken.losses) {
        assert!((a - b).abs() < 0.02 * b, "{a} for {b}");
    }
    for (a, b) in resumed.epochs.iter().zip(&unbroken.epochs) {
        assert!((a.accuracy.unwrap() - b.accuracy.unwrap()).abs() <= 1.0 / 32.0 + 1e-9);
    }

    // Without `resume` the folder is not touched.
    let [_, p0, _] = run(checkpointing(&made, &folder, false), [&hooks; 3]);
    assert!(p0.unwrap_err().to_string().contains("set `resume`"));

    // Another job, a byte that differs, and a file that is cut are refused.
    let other = make(Wanted { lr: 0.04, ..small() });
    let [_, p0, _] = run(checkpointing(&other, &folder, true), [&hooks; 3]);
    let error = p0.unwrap_err();
    assert!(error.to_string().contains("belongs to another job"), "{error}");
    assert_eq!(error.fault(), Fault::Operator);
    for path in files(&folder.join("p0")) {
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
    }
    let [_, p0, _] = run(checkpointing(&made, &folder, true), [&hooks; 3]);
    assert!(p0.unwrap_err().to_string().contains("damaged or cut off"));
    for path in files(&folder.join("p0")) {
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 7]).unwrap();
    }
    let [_, p0, _] = run(checkpointing(&made, &folder, true), [&hooks; 3]);
    assert!(p0.unwrap_err().to_string().contains("damaged or cut off"));
}

/// It may wait for material alone, and then sees nothing of the other's end.
#[test]
fn a_dealer_does_not_wait_for_a_party_when_the_other_has_left() {
    let course = Arc::new(Course::new(make(small()).job).unwrap());
    let pair = |name: &str| {
        let (dealer, party) = memory_links();
        let of = |link, name: &str| Peer::over(Box::new(link), name, &Limits::default()).unwrap();
        (of(dealer, name), of(party, "the dealer"))
    };
    let ((to_p0, p0), (to_p1, p1)) = (pair("P0"), pair("P1"));
    let (say, hear) = channel();
    std::thread::spawn(move || say.send(deal_pair(course.cursor(), [to_p0, to_p1], &mut Silent)));
    drop(p1);
    let error = hear.recv_timeout(Duration::from_secs(60)).expect("the dealer ends").unwrap_err().to_string();
    assert!(error.contains("P1") && !error.contains("P0"), "{error}");
    drop(p0);
}

#[test]
fn roles_that_do_not_fit_are_refused_before_anything_is_sent() {
    let hooks = Hooks::default();
    let made = make(small());
    let refused = |change: &dyn Fn(&mut Roles), party: usize, word: &str| {
        let mut roles = roles(&made);
        change(&mut roles);
        let ended = run(roles, [&hooks; 3]);
        let error = ended[party].as_ref().unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    };
    let other = Job { recipe: Recipe { seed: 6, ..made.job.recipe.clone() }, ..made.job.clone() };
    let path = made.folder.path().join("other.json");
    other.write(&path).unwrap();
    refused(&|roles| roles.parties[1].job = path.clone(), 2, "same job file");
    refused(&|roles| roles.dealer.job = path.clone(), 2, "another job");
    refused(&|roles| roles.parties[1].allow.clear(), 2, "does not agree");
    refused(&|roles| roles.parties[1].allow.push("weights:p0".to_string()), 2, "names nothing");
    refused(&|roles| roles.parties[1].limit = Some(69), 2, "69 items, and the job is made for 70");
    refused(&|roles| roles.parties[1].labels = None, 2, "set `labels`");
    let labels = made.folder.path().join("labels.txt");
    std::fs::write(&labels, "3\n".repeat(69) + "10\n").unwrap();
    refused(&|roles| roles.parties[1].labels = Some(labels.clone()), 2, "labels out of range: label 69 is 10");
    refused(&|roles| roles.parties[0].model = None, 1, "set `model`");
    let resumed = |roles: &mut Roles| {
        roles.parties[1].checkpoint = Some(made.folder.path().join("none"));
        roles.parties[1].resume = true;
    };
    refused(&resumed, 1, "`resume` at both or at none");
}

#[test]
fn a_party_that_does_not_agree_to_ranges_refuses() {
    let hooks = Hooks::default();
    let made = make(Wanted { rescale_every: Some(2), ..small() });
    assert!(made.job.reveals_list().iter().any(|line| line.contains("range") && line.contains("the dealer")));
    for (party, word, who) in [(0, "ranges:p1", "P1"), (1, "ranges:p0", "P0")] {
        let mut roles = roles(&made);
        roles.parties[party].allow.retain(|allowed| allowed != word);
        let ended = run(roles, [&hooks; 3]);
        let error = ended[party + 1].as_ref().unwrap_err();
        assert_eq!(error.fault(), Fault::Operator);
        let told = [format!("reveals the ranges to {who}"), "nothing was sent".into(), format!("allow = [\"{word}\"]")];
        assert!(told.iter().all(|word| error.to_string().contains(word)), "{error}");
        assert!(ended.iter().all(Result::is_err));
    }
}

#[test]
fn weights_beyond_the_jobs_ranges_are_refused() {
    use ariann_graph::training::Initial;
    let made = make(small());
    let recipe = Recipe { initial: Initial::Model, ..made.job.recipe.clone() };
    let course = Course::new(Job { recipe, ..made.job.clone() }).unwrap();
    let bytes = std::fs::read(made.folder.path().join("model.onnx")).unwrap();
    // The weights that the job was rehearsed with.
    let parameters = made.step.states.iter().filter(|state| state.role == Role::Parameter);
    let times = |factor: f32| {
        let scaled = |values: &[f32]| values.iter().map(|value| value * factor).collect::<Vec<f32>>();
        let parameters = parameters.clone().map(|state| (state.name.clone(), scaled(&state.initial)));
        initial_states(&course, &ariann_graph::export_onnx(&bytes, &parameters.collect()).unwrap())
    };
    let initial: Vec<Vec<f32>> = made.step.states.iter().map(|state| state.initial.clone()).collect();
    assert_eq!(times(1.0).unwrap(), initial);
    for factor in [100.0, -100.0, 1e30] {
        let error = times(factor).unwrap_err();
        assert_eq!(error.fault(), Fault::Input);
        let name = course.states()[0].name.as_str();
        assert!(error.to_string().contains(name) && error.to_string().contains("make the job again"), "{error}");
    }
}

/// The heads that the dealer sent: seeds and ids of each turn and party.
static HEADS: Mutex<BTreeSet<Vec<u8>>> = Mutex::new(BTreeSet::new());
static SEEN: Mutex<usize> = Mutex::new(0);

/// Notes the first bytes that come from the dealer in each turn: a head has 88 bytes and comes alone.
struct Heads;

impl Observer for Heads {
    fn wants_messages(&self) -> bool {
        false
    }

    fn received(&mut self, peer: &str, bytes: &[u8]) {
        if peer == "dealer" && bytes.len() == 88 {
            *SEEN.lock().unwrap() += 1;
            HEADS.lock().unwrap().insert([&bytes[8..24], &bytes[40..56]].concat());
        }
    }
}

#[test]
fn no_seed_serves_two_turns() {
    let hooks = Hooks { observer: |_| Box::new(Heads), ..Hooks::default() };
    let made = make(small());
    for _ in 0..2 {
        let [_, p0, p1] = run(roles(&made), [&hooks; 3]);
        p0.unwrap();
        p1.unwrap();
    }
    let (seen, heads) = (*SEEN.lock().unwrap(), HEADS.lock().unwrap());
    assert!(seen as u64 >= 4 * made.course.turns().count(), "{seen} heads");
    let seeds: BTreeSet<&[u8]> = heads.iter().map(|head| &head[16..]).collect();
    assert_eq!((heads.len(), seeds.len()), (seen, seen));
}

/// Changes number `nth` of a JSON value, in the order of the text. Returns how many there are before it is found.
fn change(value: &mut serde_json::Value, nth: &mut usize, to: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::Number(_) => {
            if *nth == 0 {
                *value = to.clone();
                return true;
            }
            *nth -= 1;
            false
        }
        serde_json::Value::Array(list) => list.iter_mut().any(|value| change(value, nth, to)),
        serde_json::Value::Object(map) => map.values_mut().any(|value| change(value, nth, to)),
        _ => false,
    }
}

#[test]
fn a_job_from_a_file_is_checked() {
    let made = make(Wanted { rescale_every: Some(2), ..small() });
    let text = made.job.to_json();
    let path = Path::new("job.json");
    assert_eq!(Job::from_json(&text, path).unwrap(), made.job);
    // Bytes that differ: refused, or another way to write the same.
    for at in (0..text.len()).step_by(text.len() / 150) {
        let mut bytes = text.clone().into_bytes();
        bytes[at] = b'7';
        if let Ok(job) = Job::from_json(&String::from_utf8_lossy(&bytes), path) {
            assert_eq!(job, made.job, "byte {at}");
        }
    }
    let error = Job::from_json(&text.replacen("\"version\":2", "\"version\":1", 1), path).unwrap_err().to_string();
    assert!(error.contains("version 1"), "{error}");
    // Ranges that tell more than their exponents.
    let mut exact = made.job.clone();
    exact.ranges.steps.nodes[0].max_abs *= 0.999;
    let error = Course::new(exact).map(drop).unwrap_err().to_string();
    assert!(error.contains("more than exponents"), "{error}");
    // Numbers out of bounds, under a digest that fits: refused, or a job whose turns can be walked.
    let whole = serde_json::to_value(&made.job).unwrap();
    let mut head = whole.clone();
    head["ranges"] = serde_json::Value::Null;
    let count = |value: &serde_json::Value| {
        let mut left = usize::MAX;
        change(&mut value.clone(), &mut left, &serde_json::json!(0));
        usize::MAX - left
    };
    let (numbers, of_head) = (count(&whole), count(&head));
    assert!(numbers > 200 && of_head > 40, "{numbers} numbers, {of_head} of them not ranges");
    let extremes = [0.0, 1.0, 3.0, -1.0, 1e-300, 2147483648.0, 1e18, 1e300].map(|to: f64| {
        match to.fract() == 0.0 && to.abs() < 1e15 {
            true => serde_json::json!(to as i64),
            false => serde_json::json!(to),
        }
    });
    let (mut refused, mut accepted) = (0, 0);
    let some = (0..numbers).step_by(numbers / 60).map(|nth| (nth, false));
    for (nth, in_head) in some.chain((0..of_head).map(|nth| (nth, true))) {
        for to in &extremes {
            let mut value = if in_head { head.clone() } else { whole.clone() };
            change(&mut value, &mut nth.clone(), to);
            if in_head {
                value["ranges"] = whole["ranges"].clone();
            }
            let Some(course) = serde_json::from_value::<Job>(value).ok().and_then(|job| Course::new(job).ok()) else {
                refused += 1;
                continue;
            };
            accepted += 1;
            let turns = course.turns();
            let last = turns.count() - 1;
            assert!([0, last / 2, last].iter().all(|turn| turns.turn(*turn).is_some()));
            assert!(turns.turn(last + 1).is_none());
            assert_eq!(turns.steps_before(turns.count()), turns.steps_in_all());
        }
    }
    assert!(refused > 300 && accepted > 20, "{refused} were refused, {accepted} accepted");
}

/// Ranges of one step, renewed every third: the training stays beside float's, and goes on from a checkpoint as it was.
#[test]
fn ranges_are_renewed_while_a_training_runs() {
    let hooks = Hooks::default();
    for (ring, labels) in [(32, Party::P1), (64, Party::P0)] {
        let made = make(Wanted { ring, labels, rehearsed: Some(1), rescale_every: Some(3), ..Wanted::default() });
        let (losses, accuracies, _) = in_clear(&made);
        let folder = made.folder.path().join("checkpoints");
        let [_, p0, p1] = run(checkpointing(&made, &folder, false), [&hooks; 3]);
        let (p0, p1) = (p0.unwrap(), p1.unwrap());
        assert_eq!((p0.turns, p0.steps), (made.course.turns().count(), 16));
        // Two epochs of eight steps, five of them measured before.
        assert_eq!(p0.turns, 16 + 5 + 2 * 3 + 6);
        assert!(p1.losses.is_empty() && p1.epochs.is_empty());
        for (step, (private, clear)) in p0.losses.iter().zip(&losses).enumerate() {
            assert!((private - clear).abs() < 0.03 * clear + 0.005, "step {step}: {private} for {clear}");
        }
        for (epoch, clear) in p0.epochs.iter().zip(&accuracies) {
            assert!((epoch.accuracy.unwrap() - clear).abs() <= 2.0 / 64.0 + 1e-9);
        }
        // The last checkpoint stands after the last renewal.
        let [_, again, other] = run(checkpointing(&made, &folder, true), [&hooks; 3]);
        let (again, other) = (again.unwrap(), other.unwrap());
        assert!(again.first_turn > 0 && again.first_turn == other.first_turn);
        assert_eq!(again.losses, p0.losses);
    }
}
