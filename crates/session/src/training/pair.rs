//! A pair of a federated training, the server as P0 and one owner as P1: from shares of the model to shares of the weighted
//! update in one round, or to the accuracy of the model on a test set. Nothing else is revealed, and nothing is kept: a pair that
//! is cut off begins anew, with fresh material.

use std::sync::mpsc::channel;

use ariann_gates::Party;
use ariann_net::Peer;
use ariann_plan::training::Source;
use ariann_ring::Ring;
use serde::{Deserialize, Serialize};

use super::course::{Course, Cursor};
use super::data::Data;
use super::inflow::{Inflow, WAITING};
use super::job::{Job, JobError};
use super::party::Trainee;
use super::report::TrainReport;
use super::turns::Turn;
use super::weighing::{is_averaged, weight_bits};
use crate::SessionError;
use crate::events::Events;
use crate::hooks::Observer;

/// What a pair does in a round. Public, and the same at both and at the dealer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PairTask {
    /// Trains on the owner's rows, and weighs the update.
    Train {
        /// Epochs that were trained in earlier rounds: learning rates go on.
        first_epoch: u32,
        /// Epochs of this round.
        epochs: u32,
        /// The owner's rows.
        rows: u64,
        /// Seed of the order of the rows and of dropout, of this round and this owner.
        seed: u64,
        /// The weight, an integer of [`weight_bits`](super::weight_bits) fractional bits.
        weight: u64,
        /// The norm that the update is clipped to before it is weighed, an integer of [`NORM_BITS`](super::NORM_BITS)
        /// fractional bits.
        clip: Option<u64>,
    },
    /// Computes one gradient on the owner's rows: the steps that some batches make, each from the same model, summed and weighed.
    Gradient {
        /// The epoch whose learning rate the steps have.
        epoch: u32,
        /// Batches, the first ones of the order.
        batches: u32,
        /// The owner's rows.
        rows: u64,
        /// Seed of the order of the rows and of dropout, of this round and this owner.
        seed: u64,
        /// The weight of each step, an integer of `bits` fractional bits.
        weight: u64,
        /// At least [`weight_bits`](super::weight_bits), and at most [`FINER`] more.
        bits: u32,
    },
    /// Counts the right answers on the owner's test rows, and reveals their number.
    Test {
        /// What is told as the epoch.
        round: u32,
    },
}

/// Fractional bits that the weight of a gradient's steps may have more than that of an update: there may be many steps.
pub const FINER: u32 = 8;

impl PairTask {
    /// Accepts or refuses a task.
    pub(crate) fn check(&self, course: &Course) -> Result<(), JobError> {
        let job = course.job();
        let need = |ok: bool, reason: &str| if ok { Ok(()) } else { Err(JobError::Head(reason.to_string())) };
        need(job.rescale_every.is_none(), "ranges are renewed on the way, which a federated training cannot")?;
        need(job.reveals.loss.is_none(), "losses are revealed, which a federated training does not")?;
        need((job.features, job.labels) == (Source::P1, Source::P1), "items and labels are not the owners'")?;
        match *self {
            PairTask::Train { first_epoch, epochs, rows, weight, clip, .. } => {
                let last = first_epoch.checked_add(epochs);
                need(epochs > 0 && last.is_some_and(|last| last <= job.recipe.epochs), "rounds are over")?;
                let batch = job.recipe.batch as u64;
                need((batch..=u64::from(u32::MAX)).contains(&rows), "batch has more items than an owner")?;
                let most = 1 << weight_bits(job.choices.ring);
                need((1..=most).contains(&weight), "weight of an owner is 0, or above 1: it has too few rows of all")?;
                clip.map_or(Ok(()), |norm| course.clipping(norm, weight).map(drop))
            }
            PairTask::Gradient { epoch, batches, rows, weight, bits, .. } => {
                need(epoch < job.recipe.epochs, "rounds are over")?;
                need(job.recipe.momentum == 0.0, "momentum is not 0, and a gradient has none")?;
                let batch = job.recipe.batch as u64;
                need((batch..=u64::from(u32::MAX)).contains(&rows), "batch has more items than an owner")?;
                need(
                    (1..=rows / batch).contains(&u64::from(batches)),
                    "batches of a gradient are not those of its rows",
                )?;
                let fewest = weight_bits(job.choices.ring);
                need((fewest..=fewest + FINER).contains(&bits), "weight of a gradient has too few bits, or too many")?;
                need(
                    (1..=1 << bits).contains(&weight),
                    "weight of an owner is 0, or above 1: it has too few rows of all",
                )
            }
            PairTask::Test { .. } => need(course.turns().tests > 0, "test set is empty"),
        }
    }

    /// Steps of training.
    pub(crate) fn steps(&self, course: &Course) -> u64 {
        match *self {
            PairTask::Train { epochs, rows, .. } => u64::from(epochs) * (rows / course.job().recipe.batch as u64),
            PairTask::Gradient { batches, .. } => u64::from(batches),
            PairTask::Test { .. } => 0,
        }
    }

    pub(crate) fn count(&self, course: &Course) -> u64 {
        match self {
            PairTask::Train { .. } | PairTask::Gradient { .. } => self.steps(course) + 1,
            PairTask::Test { .. } => u64::from(course.turns().tests) + 1,
        }
    }

    pub(crate) fn turn(&self, course: &Course, number: u64) -> Option<Turn> {
        let count = self.count(course);
        if number >= count {
            return None;
        }
        Some(match *self {
            PairTask::Train { .. } | PairTask::Gradient { .. } if number + 1 == count => Turn::Weigh,
            PairTask::Train { first_epoch, rows, .. } => {
                let steps = rows / course.job().recipe.batch as u64;
                Turn::Step { epoch: first_epoch + (number / steps) as u32, batch: (number % steps) as u32 }
            }
            PairTask::Gradient { epoch, .. } => Turn::Step { epoch, batch: number as u32 },
            PairTask::Test { round } if number + 1 == count => Turn::Tally { epoch: round },
            PairTask::Test { round } => Turn::Evaluate { epoch: round, batch: number as u32 },
        })
    }

    /// One turn of each kind, in order.
    pub(crate) fn kinds(&self, course: &Course) -> Vec<Turn> {
        match *self {
            PairTask::Train { first_epoch, epochs, .. } => {
                let steps = (first_epoch..first_epoch + epochs).map(|epoch| Turn::Step { epoch, batch: 0 });
                steps.chain([Turn::Weigh]).collect()
            }
            PairTask::Gradient { epoch, .. } => vec![Turn::Step { epoch, batch: 0 }, Turn::Weigh],
            PairTask::Test { .. } => {
                (0..2).filter_map(|back| self.turn(course, self.count(course) - 2 + back)).collect()
            }
        }
    }

    /// The weight of the update, and the norm that it is clipped to.
    pub(crate) fn weight(&self) -> (u64, Option<u64>) {
        match *self {
            PairTask::Train { weight, clip, .. } => (weight, clip),
            PairTask::Gradient { weight, .. } => (weight, None),
            PairTask::Test { .. } => (0, None),
        }
    }

    /// Rows, and the seed of their order.
    pub(crate) fn order(&self, job: &Job) -> (u64, u64) {
        match *self {
            PairTask::Train { rows, seed, .. } | PairTask::Gradient { rows, seed, .. } => (rows, seed),
            PairTask::Test { .. } => (job.rows, job.recipe.seed),
        }
    }
}

/// What a pair's run gave one party.
pub struct PairEnd<R> {
    /// Shares of all states: after training, of the weighted update of each averaged state, and zero of all others.
    pub states: Vec<Vec<R>>,
    /// The accuracy, where it is tested and this party learns it.
    pub accuracy: Option<f64>,
    /// Times and bytes.
    pub report: TrainReport,
}

/// One party of a pair at work: all turns of the cursor's task ([`Course::pair`]), from shares of all states on.
/// `dealer` is about to send this very task's material.
#[allow(clippy::too_many_arguments)]
pub fn run_pair<R: Ring>(
    cursor: Cursor,
    party: Party,
    data: Data,
    states: Vec<Vec<R>>,
    peer: &mut Peer,
    dealer: Peer,
    observer: Box<dyn Observer>,
    events: &mut dyn Events,
) -> Result<PairEnd<R>, SessionError> {
    let course = cursor.course().clone();
    let task = cursor.task().ok_or_else(|| SessionError::Config("a pair has a task".to_string()))?;
    let lens = course.states().iter().map(|state| state.len());
    if !lens.eq(states.iter().map(Vec::len)) || R::BITS != course.job().choices.ring {
        return Err(SessionError::Config("the shares are not those of the job's states".to_string()));
    }
    let start = match task {
        PairTask::Train { .. } | PairTask::Gradient { .. } => Some(states.clone()),
        PairTask::Test { .. } => None,
    };
    let gathered = match task {
        PairTask::Gradient { .. } => Some(states.iter().map(|words| vec![R::ZERO; words.len()]).collect()),
        PairTask::Train { .. } | PairTask::Test { .. } => None,
    };
    let (measured, hear) = channel();
    let inflow = Inflow::new(WAITING);
    inflow.start(dealer, cursor.clone(), party, hear)?;
    let mut trainee = Trainee::of_pair(&course, cursor, measured, party, data, states, inflow, observer);
    (trainee.start, trainee.gathered) = (start, gathered);
    trainee.walk_pair(peer, events)
}

/// Shares of what a pair's training has changed, from those of its states before and after. What does not change is zero.
pub(crate) fn subtract_start<R: Ring>(course: &Course, states: &mut [Vec<R>], start: &[Vec<R>]) {
    for ((state, words), start) in course.states().iter().zip(states).zip(start) {
        match is_averaged(state.role) {
            true => words.iter_mut().zip(start).for_each(|(word, start)| *word = word.sub(*start)),
            false => words.fill(R::ZERO),
        }
    }
}

/// Adds shares of what a step has changed to `sum`, and goes back to what it began with: the next step is of the same model.
pub(crate) fn gather_step<R: Ring>(course: &Course, sum: &mut [Vec<R>], states: &mut [Vec<R>], start: &[Vec<R>]) {
    let states = course.states().iter().zip(states).zip(start).zip(sum);
    for (((state, words), start), sum) in states {
        if is_averaged(state.role) {
            let changes = words.iter().zip(start).map(|(word, start)| word.sub(*start));
            sum.iter_mut().zip(changes).for_each(|(sum, change)| *sum = sum.add(change));
        }
        words.copy_from_slice(start);
    }
}
