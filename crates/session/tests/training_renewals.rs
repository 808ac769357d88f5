//! Trainings whose ranges are renewed on the way: plans that follow, sessions that are cut off, and how one ends that left them.

mod trained;

use std::path::Path;
use std::sync::Arc;

use ariann_graph::training::{Recipe, Schedule};
use ariann_session::Fault;
use ariann_session::hooks::{Hooks, Observer};
use ariann_session::training::{Course, Cursor, Job, Turn};
use trained::{Notices, Wanted, checkpointing, in_clear, make, roles, run, run_telling};

fn renewing() -> Wanted {
    Wanted { rehearsed: Some(1), rescale_every: Some(3), ..Wanted::default() }
}

/// A course of a small training, and its job changed.
fn course(wanted: Wanted, change: impl Fn(&mut Job)) -> Arc<Course> {
    let mut job = make(wanted).job;
    change(&mut job);
    Arc::new(Course::new(job).unwrap())
}

/// Walks all turns; `measured` says what a measurement finds. Returns how often new ranges were taken, and how often not.
fn walk(mut cursor: Cursor, measured: impl Fn(u64, usize) -> i32) -> [u32; 2] {
    let mut renewals = [0, 0];
    while let Some(turn) = cursor.turn() {
        let number = cursor.number();
        let leg = cursor.leg(turn).unwrap_or_else(|error| panic!("turn {number}, {turn:?}: {error}"));
        cursor.pass(&leg);
        if let Turn::Measure { .. } = turn {
            let exponents: Vec<i32> = (0..cursor.measured()).map(|place| measured(number, place)).collect();
            let before = cursor.standing().encode();
            let refused = cursor.renew(&exponents);
            renewals[usize::from(refused.is_some())] += 1;
            if let Some(reason) = refused {
                assert!(!reason.to_string().is_empty());
                assert_eq!(before[8..], cursor.standing().encode()[8..], "ranges and scales stay");
            }
        }
        let bytes = cursor.standing().encode();
        assert!(cursor.course().standing(cursor.number(), &bytes).unwrap() == *cursor.standing());
    }
    renewals
}

/// Learning rates that fall by a half each epoch, in a job of few turns.
fn falling(ring: u32) -> Arc<Course> {
    let wanted = Wanted { ring, rows: 70, test_rows: 32, rescale_every: Some(1), epochs: 4, ..renewing() };
    course(wanted, |job| job.recipe.schedule = Schedule::Step { epochs: 1, factor: 0.5 })
}

#[test]
fn whatever_is_measured_every_turn_has_a_plan() {
    for ring in [32, 64] {
        let course = falling(ring);
        let random = |number: u64, place: usize| {
            let hash = blake3::hash(&[number, place as u64].map(u64::to_le_bytes).concat());
            i32::from(hash.as_bytes()[0]) % 81 - 40
        };
        let [taken, refused] = walk(course.cursor(), |_, _| 0);
        assert!(taken > 0 && refused == 0, "ranges like those of the job are taken: {taken}, {refused}");
        for measured in [|_, _| 100, |_, _| -100, random, |number, _| if number % 2 == 0 { 30 } else { -30 }] {
            let renewals = walk(course.cursor(), measured);
            assert_eq!(renewals.iter().sum::<u32>() as u64, course.turns().measured_before(course.turns().count()));
        }
        let [_, refused] = walk(course.cursor(), |_, _| 100);
        assert!(refused > 0, "nothing holds values of 2^100");
    }
}

#[test]
fn a_learning_rate_that_will_underflow_is_refused_at_the_beginning() {
    let job = make(renewing()).job;
    let with = |epochs: u32, schedule: Schedule| {
        Course::new(Job { recipe: Recipe { epochs, schedule, ..job.recipe.clone() }, ..job.clone() })
    };
    let error = with(40, Schedule::Step { epochs: 1, factor: 0.5 }).map(drop).unwrap_err().to_string();
    assert!(["a rate of", "tells apart", "use a greater rate"].iter().all(|word| error.contains(word)), "{error}");
    let error = with(2000, Schedule::Step { epochs: 1, factor: 10.0 }).map(drop).unwrap_err().to_string();
    assert!(error.contains("learning rate that is no number"), "{error}");
    // As many plans are compiled for thousands of learning rates as for three.
    let course = with(20_000, Schedule::Step { epochs: 1, factor: 0.9999 }).unwrap();
    assert_eq!(course.turns().steps_in_all(), 160_000);
}

#[test]
fn a_standing_that_no_training_has_is_refused() {
    let course = course(renewing(), |_| {});
    let mut cursor = course.cursor();
    while cursor.standing().encode()[0] == 0 {
        let turn = cursor.turn().unwrap();
        cursor.pass(&cursor.leg(turn).unwrap());
        if let Turn::Measure { .. } = turn {
            assert!(cursor.renew(&vec![0; cursor.measured()]).is_none());
        }
    }
    let (number, bytes) = (cursor.number(), cursor.standing().encode());
    assert_eq!(bytes.len(), course.standing_len());
    assert!(course.standing(number, &bytes).is_ok());
    let refused = |number: u64, change: &dyn Fn(&mut Vec<u8>), word: &str| {
        let mut bytes = bytes.clone();
        change(&mut bytes);
        let reason = course.standing(number, &bytes).map(drop).unwrap_err();
        assert!(reason.contains(word), "{reason}");
    };
    refused(number, &|bytes| bytes.truncate(bytes.len() - 1), "length");
    refused(number, &|bytes| bytes[0] = 2, "measured as often");
    refused(number, &|bytes| bytes[7] = 255, "measured as often");
    refused(0, &|_| (), "measured as often");
    refused(course.turns().count() + 1, &|_| (), "after the last turn");
    for range in [f64::NAN, f64::INFINITY, -1.0, 1e300] {
        refused(number, &|bytes| bytes[8..16].copy_from_slice(&range.to_le_bytes()), "a range that is none");
    }
    let scale = bytes.len() - 8;
    refused(number, &|bytes| bytes[scale..].copy_from_slice(&101i64.to_le_bytes()), "a scale that is none");
}

/// The turns that a party's checkpoints stand before.
fn kept(folder: &Path, name: &str) -> Vec<(u64, std::path::PathBuf)> {
    let entries = std::fs::read_dir(folder.join(name)).unwrap().map(|entry| entry.unwrap().path());
    let turn = |path: &Path| path.file_name()?.to_str()?.split('-').nth(1)?.parse().ok();
    let mut files: Vec<_> = entries.filter_map(|path| Some((turn(&path)?, path))).collect();
    files.sort();
    files
}

/// Dies in the turn after two renewals, when both have written their shares before it.
struct Dies {
    due: bool,
}

/// The second step after the second renewal: turns 3 and 7 measure, turn 9 is the last step of the first epoch.
const LAST: u64 = 9;

impl Observer for Dies {
    fn wants_messages(&self) -> bool {
        false
    }

    fn received(&mut self, peer: &str, bytes: &[u8]) {
        if peer == "p0" && self.due {
            std::panic::resume_unwind(Box::new("killed"));
        }
        // A word about the turn that comes begins with its number.
        self.due |= peer == "p0" && bytes.len() == 41 && bytes[..8] == LAST.to_le_bytes();
    }
}

#[test]
fn a_training_goes_on_in_the_middle_of_an_epoch_after_its_ranges_were_renewed() {
    let quiet = Hooks::default();
    let dying = Hooks { observer: |_| Box::new(Dies { due: false }), ..Hooks::default() };
    let made = make(renewing());
    let (losses, accuracies, _) = in_clear(&made);
    let folder = made.folder.path().join("checkpoints");
    let [_, p0, p1] = run(checkpointing(&made, &folder, false), [&quiet, &quiet, &dying]);
    assert!(p0.is_err() && p1.is_err());
    let files = ["p0", "p1"].map(|name| kept(&folder, name));
    for files in &files {
        assert_eq!(files.iter().map(|(turn, _)| *turn).collect::<Vec<_>>(), [8, LAST]);
    }
    let again = |first_turn: u64| {
        let [_, p0, p1] = run(checkpointing(&made, &folder, true), [&quiet; 3]);
        let (p0, p1) = (p0.unwrap(), p1.unwrap());
        assert_eq!([p0.first_turn, p1.first_turn], [first_turn; 2]);
        assert_eq!(p0.losses.len(), losses.len());
        for (step, (private, clear)) in p0.losses.iter().zip(&losses).enumerate() {
            assert!((private - clear).abs() < 0.03 * clear + 0.005, "step {step}: {private} for {clear}");
        }
        for (epoch, clear) in p0.epochs.iter().zip(&accuracies) {
            assert!((epoch.accuracy.unwrap() - clear).abs() <= 2.0 / 64.0 + 1e-9);
        }
    };
    let spare = made.folder.path().join("spare");
    for name in ["p0", "p1"] {
        std::fs::create_dir_all(spare.join(name)).unwrap();
        for (_, path) in kept(&folder, name) {
            std::fs::copy(&path, spare.join(name).join(path.file_name().unwrap())).unwrap();
        }
    }
    again(LAST);
    // Without the newest one at one party, both go on from the one before.
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::rename(&spare, &folder).unwrap();
    std::fs::remove_file(&kept(&folder, "p1")[1].1).unwrap();
    again(8);
}

#[test]
fn a_checkpoint_that_nobody_can_go_on_from_is_refused_by_name() {
    let quiet = Hooks::default();
    let made = make(Wanted { rows: 70, test_rows: 32, ..renewing() });
    let folder = made.folder.path().join("checkpoints");
    run(checkpointing(&made, &folder, false), [&quiet; 3]).into_iter().for_each(|end| drop(end.unwrap()));
    // One that says of a range that it is less than nothing, under a hash that fits.
    let values: usize = made.course.states().iter().map(|state| state.len()).sum();
    let newest = kept(&folder, "p0").pop().unwrap().1;
    let mut bytes = std::fs::read(&newest).unwrap();
    bytes.truncate(bytes.len() - 32);
    let standing = bytes.len() - 4 * values - made.course.standing_len();
    bytes[standing + 8..standing + 16].copy_from_slice(&(-1f64).to_le_bytes());
    let hash = blake3::hash(&bytes);
    std::fs::write(&newest, [&bytes[..], hash.as_bytes()].concat()).unwrap();
    let notices = [Notices::default(), Notices::default()];
    let [_, p0, p1] = run_telling(checkpointing(&made, &folder, true), [&quiet; 3], &notices);
    let (p0, p1) = (p0.unwrap(), p1.unwrap());
    assert_eq!(p0.first_turn, p1.first_turn);
    let told = notices[0].lock().unwrap().join("\n");
    assert!(told.contains("a range that is none") && told.contains(newest.to_str().unwrap()), "{told}");
}

/// A learning rate far too high: a value leaves its range, or the loss shows it. Who learns why says why; the others name whom
/// they lost.
#[test]
fn each_role_says_why_a_training_ended() {
    let hooks = Hooks::default();
    let wild = Wanted { lr: 3.0, rows: 330, rehearsed: Some(1), ..Wanted::default() };
    let made = make(Wanted { rescale_every: Some(1), ..wild.clone() });
    let [dealer, p0, p1] = run(roles(&made), [&hooks; 3]).map(Result::unwrap_err);
    println!("{dealer}\n{p0}\n{p1}");
    for error in [&p0, &p1] {
        assert_eq!(error.fault(), Fault::Operator, "{error}");
        let text = error.to_string();
        assert!(["left its range", "lower learning rate"].iter().all(|word| text.contains(word)), "{text}");
    }
    assert_eq!(p0.to_string(), p1.to_string());
    assert!(dealer.fault() == Fault::Peer && dealer.to_string().contains("measured"), "{dealer}");

    let made = make(wild);
    let [dealer, p0, p1] = run(roles(&made), [&hooks; 3]).map(Result::unwrap_err);
    println!("{dealer}\n{p0}\n{p1}");
    assert_eq!(p0.fault(), Fault::Operator);
    assert!(["the training diverged", "lower --lr"].iter().all(|word| p0.to_string().contains(word)), "{p0}");
    assert!(p1.fault() == Fault::Peer && p1.to_string().contains("P0"), "{p1}");
    assert!(dealer.fault() == Fault::Peer, "{dealer}");
    assert!(["P0", "P1"].iter().any(|name| dealer.to_string().contains(name)), "{dealer}");
}
