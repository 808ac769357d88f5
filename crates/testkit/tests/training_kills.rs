//! A training of three processes over TLS, one of which is killed at twenty random moments; each time all three are started
//! again with `resume`. Ranges are measured on the way, and plans follow from them.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ariann_data::bundled;
use ariann_testkit::processes::{Finished, PATIENCE, Role};
use ariann_testkit::record::Record;
use ariann_testkit::seams::MASKED;
use ariann_testkit::stage::Stage;
use serde_json::Value;

const KILLS: u32 = 20;
const ROWS: u32 = 1000;
const BATCH: u32 = 20;
const TESTED: u32 = 400;
const EPOCHS: u32 = 6;
/// Turns in which both send: steps and evaluations.
const TURNS: u32 = EPOCHS * (ROWS / BATCH + TESTED / BATCH);
/// In the middle of epochs, too.
const RESCALE_EVERY: u32 = 20;
/// Between two looks at what was sent.
const POLL: Duration = Duration::from_millis(1);
/// Survivors end within this time.
const NAMED: Duration = Duration::from_secs(20);
/// Seed of the moments; `ARIANN_TEST_SEED` sets another.
const SEED: u64 = 20_250_704;
/// What the mean loss of an epoch and the accuracy may differ by, from a run to another with other masks. Every cut rounds by
/// less than 1.5 units, without bias and with a variance of 1/4: of each gradient a part below 2^-6 is noise of mean zero, a
/// new one in each step. It moves the loss of one step by less than 2 % and the mean of an epoch's 50 by much less; and those of 400
/// predictions whose two best outputs are within the noise, a handful.
const LOSS: f64 = 0.02;
const ACCURACY: f64 = 0.02;

fn seed() -> u64 {
    std::env::var("ARIANN_TEST_SEED").map_or(SEED, |text| text.parse().expect("ARIANN_TEST_SEED is a number"))
}

/// xorshift64*: the moments are random and the same in every run.
struct Moments(u64);

impl Moments {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }
}

const NAMES: [&str; 3] = ["dealer", "p0", "p1"];

/// Dealer, P0, P1.
type Roles = [Role; 3];

/// A job, and what its roles need.
struct Theatre {
    stage: Stage,
    pins: [String; 3],
}

impl Theatre {
    fn new() -> Theatre {
        let mut stage = Stage::new(env!("CARGO_BIN_EXE_ariann-under-test"));
        stage.set(MASKED, stage.path("masked"));
        stage.run(&["zoo", "network1", "-o", "start.onnx"]).success();
        let (images, labels) = (bundled::train_images().name, bundled::train_labels().name);
        let [rows, batch, tested, epochs] = [ROWS, BATCH, TESTED, EPOCHS].map(|number| number.to_string());
        let data = ["--calibration", images, "--calibration-labels", labels, "--rows", &rows, "--test-rows", &tested];
        let rescale = RESCALE_EVERY.to_string();
        let rescale = ["--rescale-every", &rescale];
        let recipe = ["--loss", "mse", "--lr", "0.002", "--batch", &batch, "--epochs", &epochs];
        let reveal = ["--reveal", "loss:p0", "--reveal", "accuracy:p0", "--job-only", "job.json"];
        stage
            .run(
                &[&["train", "--json", "--network", "network1", "--seed", "4"][..], &data, &recipe, &rescale, &reveal]
                    .concat(),
            )
            .success();
        let pins = NAMES.map(|name| stage.pin(name));
        Theatre { stage, pins }
    }

    fn checkpoints(&self, folder: &str, name: &str) -> PathBuf {
        self.stage.path(folder).join(name)
    }

    /// Whole files of a party's checkpoints, oldest first.
    fn files(&self, folder: &str, name: &str) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(self.checkpoints(folder, name)) else { return Vec::new() };
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
        paths.retain(|path| path.extension().is_some_and(|end| end == "shares"));
        paths.sort();
        paths
    }

    /// Length of the record of masked values, of all roles and sessions: it grows with every message.
    fn sent(&self) -> u64 {
        std::fs::metadata(self.stage.path("masked")).map_or(0, |file| file.len())
    }

    fn start(&self, name: &str, text: &str) -> Role {
        let file = format!("{name}.toml");
        std::fs::write(self.stage.path(&file), text).expect("space");
        Role::start(&mut self.stage.command(&["train", "--role", name, "--config", &file, "--json"]))
    }

    /// Starts all three, with checkpoints in `folder`.
    fn all(&self, folder: &str, resume: bool) -> Roles {
        let [dealer, p0, p1] = &self.pins;
        let own = |name: &str| {
            format!(
                "threads = 1\nidentity = {{ folder = \"ids\", name = \"{name}\" }}\n\
                 deadlines = {{ connect = 10.0, silence = 10.0, stall = 60.0 }}\njob = \"job.json\"\n"
            )
        };
        let dealing = format!("{}listen = \"127.0.0.1:0\"\np0 = \"{p0}\"\np1 = \"{p1}\"\n", own("dealer"));
        let mut of_dealer = self.start("dealer", &dealing);
        let at = of_dealer.address();
        let party = |name: &str, peer: &str, more: &str| {
            format!(
                "{}role = \"{name}\"\npeer = \"{peer}\"\nresume = {resume}\ncheckpoint = \"{}\"\ncheckpoint_every = 4\n{more}\n\
                 dealer = {{ address = \"{at}\", fingerprint = \"{dealer}\" }}\n",
                own(name),
                self.checkpoints(folder, name).display()
            )
        };
        let mut of_p0 = self
            .start("p0", &party("p0", p1, "listen = \"127.0.0.1:0\"\nmodel = \"start.onnx\"\nallow = [\"ranges:p1\"]"));
        // Where P0 refuses, nobody listens.
        let address =
            of_p0.event_from(0, &["listening", "error"], PATIENCE).expect("a word of P0").1["address"].clone();
        let address = address.as_str().unwrap_or("127.0.0.1:9").to_string();
        let files = [bundled::train_images(), bundled::train_labels(), bundled::test_images(), bundled::test_labels()];
        let [images, labels, test_images, test_labels] = files.map(|file| file.name);
        let data = format!(
            "connect = \"{address}\"\nallow = [\"loss:p0\", \"accuracy:p0\", \"model:p0\", \"ranges:p0\"]\nlimit = {ROWS}\ntest_limit = {TESTED}\n\
             features = \"{images}\"\nlabels = \"{labels}\"\ntest_features = \"{test_images}\"\ntest_labels = \"{test_labels}\""
        );
        let of_p1 = self.start("p1", &party("p1", p0, &data));
        [of_dealer, of_p0, of_p1]
    }

    /// From the start of the roles to their end; P0's report.
    fn through(&self, roles: Roles) -> Value {
        let [dealer, p0, p1] = roles.map(Role::finish).map(Finished::success);
        assert_eq!(p1.last()["report"]["losses"].as_array().map_or(0, Vec::len), 0, "P1 learns nothing");
        assert_eq!(dealer.last()["event"], "result");
        p0.last()["report"].take()
    }
}

/// The part of all turns that is left to a party that has begun, from its notice of where it goes on.
fn left(party: &mut Role) -> f64 {
    let notices = party.events(0).into_iter().filter(|(_, event)| event["event"] == "notice");
    let place = notices.into_iter().find_map(|(_, event)| {
        let text = event["text"].as_str()?.strip_prefix("goes on before turn ")?.to_string();
        let (turn, turns) = text.split_once(" of ")?;
        Some((turn.parse::<f64>().ok()?, turns.parse::<f64>().ok()?))
    });
    place.map_or(1.0, |(turn, turns)| 1.0 - (turn - 1.0) / turns)
}

/// Mean loss of the last epoch, and accuracy after it.
fn end(report: &Value) -> (f64, f64) {
    let losses: Vec<f64> =
        report["losses"].as_array().expect("losses").iter().map(|loss| loss.as_f64().expect("a number")).collect();
    assert_eq!(losses.len() as u32, EPOCHS * (ROWS / BATCH), "each step's loss is there, from whatever session");
    let steps = (ROWS / BATCH) as usize;
    let epochs = report["epochs"].as_array().expect("epochs");
    assert_eq!(epochs.len() as u32, EPOCHS);
    let mean = losses[losses.len() - steps..].iter().sum::<f64>() / steps as f64;
    (mean, epochs[EPOCHS as usize - 1]["accuracy"].as_f64().expect("a number"))
}

fn damage(path: &Path) {
    let mut bytes = std::fs::read(path).expect("a checkpoint");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    std::fs::write(path, bytes).expect("space");
}

/// The turn that a checkpoint stands before, from its name.
fn turn_of(path: &Path) -> u64 {
    let name = path.file_name().expect("a file").to_string_lossy().into_owned();
    name.split('-').nth(1).expect("a turn").parse().expect("a number")
}

#[test]
fn a_training_ends_as_an_unbroken_one_although_a_role_is_killed_twenty_times() {
    let theatre = Theatre::new();
    let began = Instant::now();
    let unbroken = theatre.through(theatre.all("unbroken", false));
    let whole = theatre.sent();
    println!("unbroken: {:?}, {whole} bytes of record", began.elapsed());

    let (mut moments, mut kills, mut sessions) = (Moments(seed()), [0u32; 3], 0u32);
    let mut slowest = Duration::ZERO;
    println!("seed {}", seed());
    let report = loop {
        // Killed before both had their first one: a user begins anew.
        let resume = ["p0", "p1"].iter().all(|name| !theatre.files("broken", name).is_empty());
        if !resume {
            let _ = std::fs::remove_dir_all(theatre.stage.path("broken"));
        }
        let mut roles = theatre.all("broken", resume);
        sessions += 1;
        if kills.iter().sum::<u32>() == KILLS {
            break theatre.through(roles);
        }
        let began = roles[2].event_from(0, &["progress", "error"], PATIENCE).expect("a word of P1").1;
        assert_eq!(began["event"], "progress", "session {sessions} begins: {began}");
        // So late that twenty kills come before the end, wherever the kills before have led to: by what was sent, not by the
        // clock, for a training may go on faster than the unbroken one went.
        let left = left(&mut roles[2]);
        let more = f64::from(KILLS - kills.iter().sum::<u32>());
        let spread = (whole as f64 * (1.0 / 12.0f64).min(left / (more + 1.0))) as u64;
        // After the first message: a dealer that one party has not asked yet awaits that party's return.
        let (from, moment) = (theatre.sent(), 1 + moments.below(spread));
        let mut victim = moments.below(3) as usize;
        // The dealer is ahead by what parties do between two measurements, and an evaluation: it may be through.
        if victim == 0 && left * f64::from(TURNS) < f64::from(4 * (RESCALE_EVERY + TESTED / BATCH)) {
            victim = 1;
        }
        while theatre.sent() - from < moment && !roles[victim].ended() {
            std::thread::sleep(POLL);
        }
        assert!(
            !roles[victim].ended(),
            "{} ended by itself before it was killed: {}",
            NAMES[victim],
            roles[victim].stdout()
        );
        let killed = roles[victim].kill();
        kills[victim] += 1;
        for (index, mut role) in roles.into_iter().enumerate().filter(|(index, _)| *index != victim) {
            let Some(status) = role.wait_for(NAMED) else {
                panic!("{} hangs: {} is dead; it said {}", NAMES[index], NAMES[victim], role.stdout());
            };
            slowest = slowest.max(killed.elapsed());
            let told = role.finish();
            if index == 0 && status.success() {
                continue;
            }
            assert!(
                !status.success() && !told.stdout.contains("panicked") && !told.stderr.contains("panicked"),
                "{told:?}"
            );
            // Whoever was killed, or who ended because of it.
            let last = told.last().to_string();
            let others = ["the dealer", "P0", "P1"].into_iter().enumerate().filter(|(other, _)| *other != index);
            assert!(
                others.map(|(_, name)| name).any(|name| last.contains(name)),
                "{} names nobody: {last}",
                NAMES[index]
            );
        }
    };
    let ((loss, accuracy), (its_loss, its_accuracy)) = (end(&unbroken), end(&report));
    assert!(accuracy > 0.5, "a training that learns nothing would end alike in any case");
    println!(
        "{kills:?} kills of dealer, P0, P1 in {sessions} sessions, the last from turn {}; survivors ended within {slowest:?}; \
         loss {its_loss:.5} for {loss:.5}, accuracy {its_accuracy:.4} for {accuracy:.4}",
        report["first_turn"]
    );
    assert!(report["first_turn"].as_u64().expect("a turn") > 0, "the last session went on, it did not begin");
    assert!((its_loss - loss).abs() < LOSS * loss, "{its_loss} for {loss}");
    assert!((its_accuracy - accuracy).abs() <= ACCURACY, "{its_accuracy} for {accuracy}");

    // Every masked value of all sessions, by material, gate and exchange.
    let record = Record::read(&theatre.stage.path("masked"));
    assert!(record.has("p0") && record.has("p1"));
    assert!(record.used_twice().is_empty(), "masks used twice: {:?}", record.used_twice());
    // Those in which both send, of the unbroken training and of the other.
    let turns = 2 * u64::from(TURNS);
    for role in ["p0", "p1"] {
        assert!(record.slots(role) as u64 > turns, "{} turns of {role}: some were taken again", record.slots(role));
    }
    println!("{} masks, none used twice", record.masks());

    // The newest checkpoint is damaged at one party: both go on from the one before.
    let files = theatre.files("broken", "p0");
    assert!(files.len() == 2 && theatre.files("broken", "p1").len() == 2, "{files:?}");
    damage(&files[1]);
    let mut roles = theatre.all("broken", true);
    let notices = |role: &mut Role| {
        let mut texts = Vec::new();
        role.wait();
        for (_, event) in role.events(0).into_iter().filter(|(_, event)| event["event"] == "notice") {
            texts.push(event["text"].as_str().expect("a text").to_string());
        }
        texts.join("\n")
    };
    let told = notices(&mut roles[1]);
    assert!(told.contains("damaged or cut off") && told.contains(files[1].to_str().expect("a path")), "{told}");
    let again = theatre.through(roles);
    assert_eq!(again["first_turn"].as_u64(), Some(turn_of(&files[0])));
    let (loss, accuracy) = end(&again);
    assert!((its_loss - loss).abs() < LOSS * loss && (its_accuracy - accuracy).abs() <= ACCURACY);

    // All of them are: refused, with the reason.
    theatre.files("broken", "p0").iter().for_each(|path| damage(path));
    let [_dealer, p0, _p1] = theatre.all("broken", true);
    p0.finish().failure(2, &["damaged or cut off", "take it out of the folder, or begin anew without resume"]);
}
