//! Differential privacy of a federated training, for whole owners: clipping under sharing, noise of all owners, and an
//! accountant. `docs/federated.md` has the formulas, and says what is protected and what is not.

mod accountant;
mod gaussian;

use ariann_prg::Seed;
use ariann_ring::Ring;
use ariann_session::SessionError;
use ariann_session::training::{Course, NORM_BITS, is_averaged, weight_bits};
use serde::{Deserialize, Serialize};

pub use accountant::epsilon;
pub use gaussian::{DiscreteGaussian, MOST_DEVIATION, Random};

use crate::{FederatedError, MOST_LOST, fed_avg};

/// Least deviation of an owner's noise, in units of a state. Sums of discrete Gaussians of this width differ from one by a
/// divergence below 10^-260 (docs/federated.md).
const LEAST_UNITS: u64 = 8;
/// Deviations that the sum of all noise has room for.
const ROOM: f64 = 8.0;

/// What the owners agree on: public, and part of the federation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Privacy {
    /// C: the L2 norm that every owner's update is clipped to.
    pub clip: f64,
    /// z: deviation of the noise in a sum of updates, as a multiple of C. With 0, updates are clipped and nothing is promised.
    pub noise: f64,
    /// δ of the (ε, δ) that is reported.
    pub delta: f64,
    /// Survivors of a round at least whose noise those who look at the model do not know: their shares alone make z. The
    /// threshold less one when one owner may look at it.
    pub honest: u16,
    /// Rounds that may end without a result after shares were released, beyond those of the federation: they spend as the others
    /// do. Without any, one such round takes the place of one with a result, and the training does not come to its end.
    #[serde(default)]
    pub spare: u32,
}

/// What was spent after some rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spent {
    /// ε; none when no noise was added, and nothing is promised.
    pub epsilon: Option<f64>,
    /// δ.
    pub delta: f64,
    /// Rounds with a result.
    pub rounds: u32,
    /// Rounds without one whose shares were released: the server and an owner that helps it may know their sums.
    #[serde(default)]
    pub lost: u32,
}

/// What a report says of differential privacy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protection {
    /// There is none.
    #[default]
    None,
    /// So much was spent.
    Differential(Spent),
}

impl std::fmt::Display for Protection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Protection::None => f.write_str("none"),
            Protection::Differential(Spent { epsilon: Some(epsilon), delta, rounds, lost }) => {
                write!(f, "ε = {epsilon:.3} at δ = {delta:e} after {rounds} rounds")?;
                match lost {
                    0 => Ok(()),
                    lost => write!(f, " and {lost} more without a result"),
                }
            }
            Protection::Differential(Spent { epsilon: None, .. }) => {
                f.write_str("updates are clipped, and no noise is added: nothing is promised")
            }
        }
    }
}

/// Words of the model that have the same scale: the first, how many, fractional bits.
type Part = (usize, usize, i32);

/// An agreement that was checked, for one federation.
#[derive(Clone, Debug)]
pub struct Guard {
    privacy: Privacy,
    /// C, in units of 2^-[`NORM_BITS`].
    norm: u64,
    ring: u32,
    /// Words of the model's share, and those of them that are trained.
    words: usize,
    parts: Vec<Part>,
    /// The greatest e of all sizes of cohorts.
    excess: f64,
}

impl Guard {
    /// Accepts or refuses an agreement. `model` are the states that make up the model, in order.
    pub(crate) fn new(
        privacy: Privacy,
        course: &Course,
        model: &[(usize, usize)],
        (threshold, owners, rounds): (u16, usize, u32),
    ) -> Result<Guard, SessionError> {
        let Privacy { clip, noise, delta, honest, .. } = privacy;
        let need = |ok: bool, reason: String| if ok { Ok(()) } else { Err(refused(&reason)) };
        let norm = (clip * 2f64.powi(NORM_BITS as i32)).floor();
        let fits = clip.is_finite() && norm >= 1.0 && norm < 2f64.powi(62);
        need(fits, format!("clip = {clip}: give a norm above 0 that updates are clipped to"))?;
        let noise_fits = noise.is_finite() && noise >= 0.0;
        need(noise_fits, format!("noise = {noise}: give a multiple of the clip, 0 or above"))?;
        need(delta > 0.0 && delta < 1.0, format!("delta = {delta}: give a number between 0 and 1"))?;
        let some = (1..=threshold).contains(&honest);
        need(
            some,
            format!("honest = {honest}: give 1 to {threshold}, the threshold; at least so many owners survive"),
        )?;
        let told = MOST_LOST as u32;
        need(privacy.spare <= told, format!("spare = {}: give at most {told} rounds", privacy.spare))?;
        let states = course.states();
        let running = states.iter().find(|state| state.role == ariann_graph::training::Role::Running);
        let reason = |name: &str| {
            format!(
                "\"{name}\" is a running statistic, which noise would make useless; train a network without batch normalisation"
            )
        };
        need(running.is_none(), running.map_or(String::new(), |state| reason(&state.name)))?;
        let (mut parts, mut words) = (Vec::new(), 0);
        for (state, len) in model {
            if is_averaged(states[*state].role) {
                parts.push((words, *len, states[*state].after.frac));
            }
            words += len;
        }
        let (ring, norm) = (course.job().choices.ring, norm as u64);
        let mut guard = Guard { privacy, norm, ring, words, parts, excess: 0.0 };
        let least = usize::from(threshold).min(owners);
        for cohort in least..=owners {
            let clipping = course.clipping(norm, guard.weight(cohort)?)?;
            guard.excess = guard.excess.max(clipping.excess());
        }
        guard.fits(least, owners, rounds)?;
        Ok(guard)
    }

    /// The states tell the noise apart, and hold what all rounds add.
    fn fits(&self, least: usize, owners: usize, rounds: u32) -> Result<(), SessionError> {
        if self.privacy.noise == 0.0 {
            return Ok(());
        }
        let (fine, coarse) = (self.deviation(owners)?, self.deviation(least)?);
        for (_, _, frac) in &self.parts {
            let unit = 2f64.powi(-frac);
            if fine < LEAST_UNITS as f64 * unit {
                return Err(refused(&format!(
                    "an owner's noise has the deviation {fine:.3e}, and the model's values are told apart by {unit:.3e}: too coarse \
                     for it. Give more noise, a larger clip, or the 64-bit ring"
                )));
            }
            let room = 2f64.powi(self.ring as i32 - 3) * unit;
            let all = coarse * (owners as f64 * f64::from(rounds)).sqrt();
            if ROOM * all > room || coarse / unit > MOST_DEVIATION as f64 {
                return Err(refused(&format!(
                    "the noise of all rounds has the deviation {all:.3e}, and the model's values hold {room:.3e}. Give less noise, \
                     a smaller clip, or the 64-bit ring"
                )));
            }
        }
        Ok(())
    }

    /// The agreement.
    pub fn privacy(&self) -> Privacy {
        self.privacy
    }

    /// e: the norm of a clipped update is at most C·(1 + e).
    pub fn excess(&self) -> f64 {
        self.excess
    }

    pub(crate) fn norm(&self) -> u64 {
        self.norm
    }

    /// The weight of every owner of a cohort: public row counts would be another bound for each.
    pub(crate) fn weight(&self, cohort: usize) -> Result<u64, FederatedError> {
        Ok(fed_avg(&vec![1; cohort], weight_bits(self.ring))?[0])
    }

    /// Deviation of an owner's noise in a cohort of this size: z·C·w / √honest.
    pub fn deviation(&self, cohort: usize) -> Result<f64, FederatedError> {
        let weight = self.weight(cohort)? as f64 * 2f64.powi(-(weight_bits(self.ring) as i32));
        let norm = self.norm as f64 * 2f64.powi(-(NORM_BITS as i32));
        Ok(self.privacy.noise * norm * weight / f64::from(self.privacy.honest).sqrt())
    }

    /// An owner's noise for all words of the model; frozen ones have none. It takes a time that follows from what is drawn: it
    /// is to be drawn where nobody measures it.
    pub fn noise<R: Ring>(&self, cohort: usize, seed: &Seed) -> Result<Vec<R>, FederatedError> {
        let (mut words, deviation) = (vec![R::ZERO; self.words], self.deviation(cohort)?);
        if deviation == 0.0 {
            return Ok(words);
        }
        let mut random = Random::new(seed);
        for (first, len, frac) in &self.parts {
            // Rounded up: more noise, not less.
            let units = (deviation * 2f64.powi(*frac)).ceil() as u64;
            let gaussian = DiscreteGaussian::new(units);
            let part = words[*first..*first + *len].iter_mut();
            part.for_each(|word| *word = R::from_i64(gaussian.draw(&mut random)));
        }
        Ok(words)
    }

    /// What so many rounds with a result spend, and so many without one whose shares were released.
    pub fn spent(&self, rounds: u32, lost: u32) -> Spent {
        let Privacy { noise, delta, .. } = self.privacy;
        let some = noise > 0.0;
        let epsilon = some.then(|| epsilon((1.0 + self.excess) / noise, rounds + lost, delta));
        Spent { epsilon, delta, rounds, lost }
    }

    /// What is agreed on, in words.
    pub fn text(&self, rounds: u32) -> String {
        let Privacy { clip, noise, honest, .. } = self.privacy;
        let all = Protection::Differential(self.spent(rounds, self.privacy.spare));
        format!("differential privacy of owners: clip {clip}, noise {noise} by {honest} owners or more: {all}")
    }
}

fn refused(reason: &str) -> SessionError {
    SessionError::Config(format!("the federation's privacy: {reason}"))
}
