//! One batch of material for 100 inferences, worked through while either party is killed at random moments.
//!
//! The same run over a ledger that gives out slots without writing them down first, and over one that never syncs, must
//! end with two values under one mask: otherwise this test would see nothing.

use std::time::{Duration, Instant};

use ariann_testkit::processes::Role;
use ariann_testkit::record::Record;
use ariann_testkit::seams::{LEDGER, MASKED, RECEIVED, Variant};
use ariann_testkit::stage::{Stage, Standing};

const SLOTS: u32 = 100;
const KILLS: u32 = 50;
/// Kept for queries that nobody disturbs.
const SPARE: u64 = 10;
/// A survivor names the dead peer within this time.
const NAMED: Duration = Duration::from_secs(5);
/// Seed of the moments; `ARIANN_TEST_SEED` sets another.
const SEED: u64 = 20_250_614;

fn seed() -> u64 {
    std::env::var("ARIANN_TEST_SEED").map_or(SEED, |text| text.parse().expect("ARIANN_TEST_SEED is a number"))
}

const DEADLINES: &str = "deadlines = { connect = 3.0, silence = 4.0, stall = 30.0 }";

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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    P0,
    P1,
    Both,
}

/// What happened in a run.
#[derive(Debug, Default)]
struct Tally {
    kills: u32,
    in_session: u32,
    named: Vec<Duration>,
    right: u64,
    whole_queries: u32,
}

/// Two parties at work on one batch.
struct Play {
    stage: Stage,
    variant: Variant,
    moments: Moments,
    server: Option<Role>,
    next_image: usize,
    /// How long a query takes that nobody disturbs.
    usual: Duration,
    tally: Tally,
}

impl Play {
    fn new(variant: Variant) -> Play {
        let mut stage = Stage::new(env!("CARGO_BIN_EXE_ariann-under-test"));
        stage.deal("plan.json", SLOTS, "material");
        std::fs::create_dir(stage.path("received")).unwrap();
        stage.set(MASKED, stage.path("masked"));
        stage.set(RECEIVED, stage.path("received"));
        let moments = Moments(seed());
        let (usual, tally) = (Duration::ZERO, Tally::default());
        let mut play = Play { stage, variant, moments, server: None, next_image: 0, usual, tally };
        // Both take in their material as they should; only then the ledger is broken.
        play.undisturbed();
        play.undisturbed();
        play.server.take().unwrap().kill();
        play.stage.set(LEDGER, variant.name());
        play
    }

    fn material(&self, party: &str) -> String {
        format!("{}\n{DEADLINES}", self.stage.takes("material", party))
    }

    /// Where P0 listens; started if it is not running.
    fn address(&mut self) -> String {
        let material = self.material("p0");
        if self.server.is_none() {
            self.server = Some(Role::start(&mut self.stage.serve(&material)));
        }
        self.server.as_mut().unwrap().address()
    }

    /// Bytes that P0 has heard of P1 in all sessions.
    fn heard(&self) -> u64 {
        std::fs::metadata(self.stage.path("received").join("p0-from-p1")).map_or(0, |meta| meta.len())
    }

    /// Starts a query of `count` images nobody has queried yet, `batch` at a time.
    fn query(&mut self, batch: u64, count: usize) -> (Role, Vec<usize>) {
        let address = self.address();
        let clear_cut = &self.stage.clear_cut;
        let numbers: Vec<usize> = (0..count).map(|i| clear_cut[(self.next_image + i) % clear_cut.len()]).collect();
        self.next_image += count;
        let images = self.stage.images("images.idx", &numbers);
        let more = format!("batch = {batch}\n{}", self.material("p1"));
        (Role::start(&mut self.stage.query(&address, &images, &more)), numbers)
    }

    /// A query from its start to its end.
    fn undisturbed(&mut self) {
        let began = Instant::now();
        let (query, numbers) = self.query(1, 1);
        let finished = query.finish().success();
        self.usual = began.elapsed();
        self.stage.check(&finished.last()["report"], &numbers);
        self.tally.right += numbers.len() as u64;
        self.tally.whole_queries += 1;
    }

    /// Slots that both parties can still use.
    fn left(&mut self) -> u64 {
        // Before the first session there is no ledger, and a ledger that forgets knows nothing.
        match self.variant {
            Variant::Real => {
                self.ledgers().map_or(u64::from(SLOTS), |both| both.iter().map(|one| one.left).min().unwrap())
            }
            _ => u64::from(SLOTS),
        }
    }

    /// How both ledgers stand on disk; every batch of them adds up.
    fn ledgers(&self) -> Option<[Standing; 2]> {
        let there = ["state-p0", "state-p1"].iter().all(|state| self.stage.path(state).join("instance").exists());
        there.then(|| ["state-p0", "state-p1"].map(|state| self.stage.ledger(state)))
    }

    /// A query during which somebody is killed at a random moment.
    fn disturbed(&mut self, kills_to_come: u32) {
        let affordable = (self.left().saturating_sub(SPARE) / u64::from(kills_to_come)).clamp(1, 4);
        let batch = 1 + self.moments.below(affordable.min(2));
        let count = 1 + self.moments.below((affordable / batch * batch).max(1)) as usize;
        let victim = match self.moments.below(5) {
            0 | 1 => Victim::P0,
            2 | 3 => Victim::P1,
            _ => Victim::Both,
        };
        let usual = self.usual.as_micros() as u64;
        let moment = Duration::from_micros(usual / 10 + self.moments.below(usual));
        self.address();
        let (heard, said) = (self.heard(), self.server.as_mut().unwrap().said());
        let (mut query, numbers) = self.query(batch, count);
        let began = Instant::now();
        while began.elapsed() < moment && !query.ended() {
            std::thread::sleep(Duration::from_micros(300));
        }
        let ended_before = query.ended();
        match victim {
            Victim::P1 if ended_before => {}
            Victim::P1 => {
                let killed = query.kill();
                self.tally.kills += 1;
                self.p0_survives(killed, said, heard);
            }
            Victim::P0 => {
                let killed = self.server.take().unwrap().kill();
                self.tally.kills += 1;
                self.tally.in_session += u32::from(self.heard() > heard);
                self.p1_survives(query, killed, &numbers);
                return;
            }
            Victim::Both => {
                self.server.take().unwrap().kill();
                query.kill();
                self.tally.kills += 1;
                self.tally.in_session += u32::from(self.heard() > heard);
                return;
            }
        }
        if ended_before {
            self.finished(query, &numbers);
        }
    }

    fn finished(&mut self, query: Role, numbers: &[usize]) {
        let finished = query.finish().success();
        self.stage.check(&finished.last()["report"], numbers);
        self.tally.right += numbers.len() as u64;
    }

    /// P1 was killed: P0, if it had heard of it, names it and goes on.
    fn p0_survives(&mut self, killed: Instant, said: usize, heard: u64) {
        let ends = ["session_failed", "session_done"];
        // Without a session there is nothing to tell; a session may just begin.
        let short = if self.heard() > heard { NAMED } else { Duration::from_millis(150) };
        let mut end = self.server.as_mut().unwrap().event_from(said, &ends, short);
        let in_session = self.heard() > heard;
        if end.is_none() && in_session && short < NAMED {
            // What P1 had sent came late.
            end = self.server.as_mut().unwrap().event_from(said, &ends, NAMED);
        }
        match end {
            Some((moment, event)) if event["event"] == "session_failed" => {
                let error = event["error"].as_str().unwrap();
                assert!(error.contains("P1") && event["fault"] == "peer", "{event}");
                self.tally.named.push(moment.saturating_duration_since(killed));
            }
            Some(_) => {}
            None => assert!(!in_session, "P0 did not say within {NAMED:?} that P1 is gone"),
        }
        self.tally.in_session += u32::from(in_session);
        assert!(!self.server.as_mut().unwrap().ended(), "P0 ends when P1 is killed");
    }

    /// P0 was killed: P1 names it, unless it had its results.
    fn p1_survives(&mut self, mut query: Role, killed: Instant, numbers: &[usize]) {
        let status = query.wait_for(NAMED).expect("P1 hangs although P0 is dead");
        let waited = killed.elapsed();
        if status.success() {
            return self.finished(query, numbers);
        }
        let finished = query.finish().failure(4, &["P0", "\"fault\":\"peer\""]);
        assert_eq!(finished.last()["event"], "error");
        self.tally.named.push(waited);
    }

    fn record(&self) -> Record {
        Record::read(&self.stage.path("masked"))
    }
}

#[test]
fn a_hundred_inferences_while_either_party_is_killed_fifty_times() {
    let mut play = Play::new(Variant::Real);
    while play.tally.kills < KILLS {
        let before = play.tally.kills;
        play.disturbed(KILLS - play.tally.kills);
        if let Some(both) = play.ledgers() {
            both.iter().for_each(|one| assert!(one.slots() == u64::from(SLOTS) && one.batches == 1, "{both:?}"));
        }
        if play.tally.kills.is_multiple_of(10) && play.tally.kills > before {
            play.undisturbed();
        }
    }
    // The rest of the batch, and no more than that.
    play.undisturbed();
    while play.left() > 0 {
        play.undisturbed();
    }
    let before = play.ledgers();
    let (query, _) = play.query(1, 1);
    query.finish().failure(2, &["material", "0 left", "nothing", "ariann deal"]);
    assert_eq!(play.ledgers(), before);
    let [p0, p1] = before.unwrap();
    assert_eq!((p0.left, p1.left), (0, 0));

    let record = play.record();
    assert!(record.has("p0") && record.has("p1"));
    assert!(record.used_twice().is_empty(), "masks used twice: {:?}", record.used_twice());
    // Whoever has marked a slot as left has sent nothing under its masks.
    assert!(record.slots("p0") as u64 <= p0.used + p0.burnt && record.slots("p1") as u64 <= p1.used + p1.burnt);
    let Tally { kills, in_session, named, right, whole_queries } = &play.tally;
    let (least, most) = (named.iter().min().unwrap(), named.iter().max().unwrap());
    println!(
        "seed {}: {kills} kills, {in_session} of them in a session; dead peer named after {least:?} to {most:?} ({} times); \
         {right} right predictions, {whole_queries} queries undisturbed; P0 {p0:?}, P1 {p1:?}; {} masks, none with two values",
        seed(),
        named.len(),
        record.masks()
    );
    assert!(*in_session >= KILLS / 4, "only {in_session} kills hit a session: the moments are badly chosen");
    assert!(*most <= NAMED);
}

/// Kills until the record shows two values under one mask.
fn betrayed_after(variant: Variant) -> Option<u32> {
    let mut play = Play::new(variant);
    while play.tally.kills < KILLS {
        play.disturbed(KILLS);
        let record = play.record();
        if !record.two_values().is_empty() {
            println!(
                "{variant:?}: a mask with two values after {} kills: {:?}",
                play.tally.kills,
                record.two_values()[0]
            );
            return Some(play.tally.kills);
        }
    }
    None
}

#[test]
fn without_the_reservation_masks_get_two_values() {
    assert!(betrayed_after(Variant::NoReservation).is_some(), "this test does not see a ledger without reservations");
}

#[test]
fn without_the_sync_masks_get_two_values() {
    assert!(betrayed_after(Variant::NoSync).is_some(), "this test does not see a ledger without syncs");
}

#[test]
fn a_loss_of_power_gives_no_mask_two_values() {
    let mut play = Play::new(Variant::PowerLoss);
    while play.tally.kills < 15 {
        play.disturbed(2 * KILLS);
    }
    play.undisturbed();
    let record = play.record();
    assert!(record.used_twice().is_empty(), "masks used twice: {:?}", record.used_twice());
    println!("{} kills over storage that forgets: {} masks, none used twice", play.tally.kills, record.masks());
}
