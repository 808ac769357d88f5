//! The public job: the plans of a training and the order in which they run. All three roles hold it and are bound to its digest.

use std::path::Path;

use ariann_gates::{Party, Receiver};
use ariann_graph::training::{Recipe, Role};
use ariann_plan::{CheckError, Gate, Plan, Revealed, StateSpec};
use serde::{Deserialize, Serialize};

use crate::making::slots_a_batch;

/// Version of the job's meaning; jobs of another version are refused.
pub const VERSION: u32 = 1;
/// Bytes of the largest job file that is read.
const LARGEST: u64 = 256 << 20;
/// Plans of a job at most.
const PLANS: usize = 4096;
/// Epochs at most.
const EPOCHS: usize = 100_000;
/// Turns at most.
const TURNS: u64 = 1 << 40;
/// Items of a data set at most.
const ROWS: u64 = u32::MAX as u64;
/// Values of all states at most.
const VALUES: usize = 1 << 32;

/// A job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// [`VERSION`].
    pub version: u32,
    /// The model's name.
    pub model: String,
    /// What training does.
    pub recipe: Recipe,
    /// Who brings the items.
    pub features: Party,
    /// Who brings their labels.
    pub labels: Party,
    /// Who learns the trained model.
    pub model_to: Option<Receiver>,
    /// Items of the training set.
    pub rows: u64,
    /// Items of the test set; 0 for none.
    pub test_rows: u64,
    /// Plans.
    pub plans: Vec<Plan>,
    /// Epochs.
    pub epochs: Vec<Epoch>,
    /// Steps of an epoch.
    pub steps: u32,
    /// What happens after each epoch.
    pub evaluation: Option<Evaluation>,
    /// Plans that reveal one state each, at the end.
    pub reveals: Vec<usize>,
}

/// The plans of an epoch's steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Epoch {
    /// Of its first step, in which scales may change.
    pub first: usize,
    /// Of the others.
    pub plan: usize,
}

/// The test after an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evaluation {
    /// Counts the right answers of a batch.
    pub plan: usize,
    /// Batches.
    pub batches: u32,
    /// Reveals the count.
    pub tally: usize,
}

/// One run of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The plan.
    pub plan: usize,
    /// What it is for.
    pub kind: TurnKind,
}

/// What a turn is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnKind {
    /// A step of training.
    Step {
        /// The epoch, from 0.
        epoch: u32,
        /// Its batch, from 0.
        batch: u32,
    },
    /// A batch of the test set.
    Evaluate {
        /// The epoch before it.
        epoch: u32,
        /// The batch, from 0.
        batch: u32,
    },
    /// Reveals the number of right answers.
    Tally {
        /// The epoch before it.
        epoch: u32,
    },
    /// Reveals a state of the trained model.
    Reveal {
        /// Which of [`Job::reveals`].
        index: u32,
    },
}

/// Why a job was refused.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The file cannot be read or written.
    #[error("job {path}: {source}; check the path and its permissions")]
    Io {
        /// The file.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is no job.
    #[error("job {path}: {reason}; check the path, or make the job again with `ariann train --job-only`")]
    Form {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// Another version.
    #[error("the job has version {0}, this program runs version {VERSION}; make it again")]
    Version(u32),
    /// A plan of it.
    #[error("the job's plan {index}: {source}")]
    Plan {
        /// Which.
        index: usize,
        /// What is wrong.
        source: CheckError,
    },
    /// It does not fit together.
    #[error("the job's {0}; make it again")]
    Head(String),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    digest: String,
    job: Job,
}

impl Job {
    /// What roles, material and checkpoints are bound to.
    pub fn digest(&self) -> [u8; 32] {
        let Job { version, model, recipe, features, labels, model_to, rows, test_rows, epochs, steps, .. } = self;
        let head = (version, model, recipe, features, labels, model_to, rows, test_rows);
        let order = (epochs, steps, &self.evaluation, &self.reveals, self.plans.len());
        let mut hasher = blake3::Hasher::new_derive_key("ariann training job v1");
        let bytes = serde_json::to_vec(&(head, order)).expect("a job has a canonical form");
        hasher.update(&(bytes.len() as u64).to_le_bytes()).update(&bytes);
        for plan in &self.plans {
            hasher.update(&plan.digest());
        }
        *hasher.finalize().as_bytes()
    }

    /// The digest in hexadecimal.
    pub fn digest_hex(&self) -> String {
        blake3::Hash::from_bytes(self.digest()).to_hex().to_string()
    }

    /// The file's content.
    pub fn to_json(&self) -> String {
        let file = File { digest: self.digest_hex(), job: self.clone() };
        serde_json::to_string(&file).expect("a job is JSON") + "\n"
    }

    /// Reads a file's content; `path` is for the error.
    pub fn from_json(text: &str, path: &Path) -> Result<Job, JobError> {
        let form = |reason: String| JobError::Form { path: path.display().to_string(), reason };
        let file: File = serde_json::from_str(text).map_err(|error| form(error.to_string()))?;
        if file.job.version != VERSION {
            return Err(JobError::Version(file.job.version));
        }
        file.job.check()?;
        if file.job.digest_hex() != file.digest {
            return Err(form("its digest does not match its content: it was edited or damaged".to_string()));
        }
        Ok(file.job)
    }

    /// Writes the job file.
    pub fn write(&self, path: &Path) -> Result<(), JobError> {
        let io = |source| JobError::Io { path: path.display().to_string(), source };
        std::fs::write(path, self.to_json()).map_err(io)
    }

    /// Reads and checks a job file.
    pub fn read(path: &Path) -> Result<Job, JobError> {
        let io = |source| JobError::Io { path: path.display().to_string(), source };
        if std::fs::metadata(path).map_err(io)?.len() > LARGEST {
            let reason = format!("larger than {LARGEST} bytes, so not a job");
            return Err(JobError::Form { path: path.display().to_string(), reason });
        }
        Job::from_json(&std::fs::read_to_string(path).map_err(io)?, path)
    }

    /// Turns of an epoch, its test included.
    fn turns_an_epoch(&self) -> u64 {
        u64::from(self.steps) + self.evaluation.map_or(0, |evaluation| u64::from(evaluation.batches) + 1)
    }

    /// Turns in all.
    pub fn turns(&self) -> u64 {
        self.epochs.len() as u64 * self.turns_an_epoch() + self.reveals.len() as u64
    }

    /// Turn number `number`.
    pub fn turn(&self, number: u64) -> Option<Turn> {
        let (epoch, within) = (number / self.turns_an_epoch(), number % self.turns_an_epoch());
        let Some(plans) = self.epochs.get(usize::try_from(epoch).ok()?) else {
            let index = number - self.epochs.len() as u64 * self.turns_an_epoch();
            let plan = *self.reveals.get(usize::try_from(index).ok()?)?;
            return Some(Turn { plan, kind: TurnKind::Reveal { index: index as u32 } });
        };
        let epoch = epoch as u32;
        if within < u64::from(self.steps) {
            let plan = if within == 0 { plans.first } else { plans.plan };
            return Some(Turn { plan, kind: TurnKind::Step { epoch, batch: within as u32 } });
        }
        let Evaluation { plan, batches, tally } = self.evaluation?;
        let batch = (within - u64::from(self.steps)) as u32;
        if batch < batches {
            return Some(Turn { plan, kind: TurnKind::Evaluate { epoch, batch } });
        }
        Some(Turn { plan: tally, kind: TurnKind::Tally { epoch } })
    }

    /// Steps of training before turn `number`.
    pub fn steps_before(&self, number: u64) -> u64 {
        let epoch = (number / self.turns_an_epoch()).min(self.epochs.len() as u64);
        let within = (number - epoch * self.turns_an_epoch()).min(u64::from(self.steps));
        if epoch == self.epochs.len() as u64 { self.steps_in_all() } else { epoch * u64::from(self.steps) + within }
    }

    /// Steps of training in all.
    pub fn steps_in_all(&self) -> u64 {
        self.epochs.len() as u64 * u64::from(self.steps)
    }

    /// What is kept between turns.
    pub fn states(&self) -> &[StateSpec] {
        self.plans[self.epochs[0].first].training.as_ref().map_or(&[], |training| &training.states)
    }

    /// The state that counts right answers, where there is one.
    pub fn count(&self) -> Option<usize> {
        self.states().iter().position(|state| state.role == Role::Count)
    }

    /// The state that a plan of two gates reveals.
    pub fn revealed_state(plan: &Plan) -> Option<usize> {
        plan.gates.iter().find_map(|entry| if let Gate::State(kept) = &entry.gate { Some(kept.state) } else { None })
    }

    /// What is revealed, and to whom: "loss", "accuracy" and "model".
    pub fn revealed(&self) -> Vec<(&'static str, Receiver)> {
        let mut list = Vec::new();
        let losses = self.epochs.iter().flat_map(|epoch| [epoch.first, epoch.plan]).map(|plan| &self.plans[plan]);
        for plan in losses.filter(|plan| plan.reveal.what == Revealed::Loss) {
            list.push(("loss", plan.reveal.to));
        }
        list.extend(self.evaluation.map(|evaluation| ("accuracy", self.plans[evaluation.tally].reveal.to)));
        list.extend(self.reveals.iter().map(|plan| ("model", self.plans[*plan].reveal.to)));
        let mut seen = Vec::new();
        list.retain(|one| {
            let fresh = !seen.contains(one);
            seen.push(*one);
            fresh
        });
        list
    }

    /// The same in words, for users.
    pub fn reveals_list(&self) -> Vec<String> {
        let what = |what: &str| match what {
            "loss" => "the loss of every step",
            "accuracy" => "the number of right answers on the test set, after every epoch",
            _ => "the trained model, at the end",
        };
        let to = |to: Receiver| match to {
            Receiver::P0 => "P0",
            Receiver::P1 => "P1",
            Receiver::Both => "both parties",
        };
        self.revealed().into_iter().map(|(of, receiver)| format!("{}, to {}", what(of), to(receiver))).collect()
    }

    /// Accepts or refuses the job.
    pub fn check(&self) -> Result<(), JobError> {
        if self.version != VERSION {
            return Err(JobError::Version(self.version));
        }
        self.bounds()?;
        for (index, plan) in self.plans.iter().enumerate() {
            plan.check().map_err(|source| JobError::Plan { index, source })?;
            self.fits(index, plan)?;
        }
        self.order()
    }

    fn bounds(&self) -> Result<(), JobError> {
        let Job { recipe, plans, epochs, steps, rows, test_rows, evaluation, reveals, .. } = self;
        need(!plans.is_empty() && plans.len() <= PLANS, "number of plans is out of bounds")?;
        need(!epochs.is_empty() && epochs.len() <= EPOCHS, "number of epochs is out of bounds")?;
        need(epochs.len() as u64 == u64::from(recipe.epochs), "epochs are not those of its recipe")?;
        need(reveals.len() <= PLANS, "number of revealed states is out of bounds")?;
        need((1..=ROWS).contains(rows) && *test_rows <= ROWS, "number of items is out of bounds")?;
        need(recipe.batch > 0, "batch is empty")?;
        let steps_of = rows / recipe.batch as u64;
        need(steps_of > 0, &format!("batch of {} items is larger than its {rows} items", recipe.batch))?;
        need(u64::from(*steps) == steps_of, "steps are not as many as its items give")?;
        if let Some(evaluation) = evaluation {
            let tested = u64::from(evaluation.batches).checked_mul(recipe.batch as u64);
            let there = |items: u64| items > 0 && items <= *test_rows;
            need(tested.is_some_and(there), "test needs other items than there are")?;
        }
        let each = u64::from(*steps) + evaluation.map_or(0, |evaluation| u64::from(evaluation.batches) + 1);
        let turns = each.checked_mul(epochs.len() as u64);
        need(turns.is_some_and(|turns| turns <= TURNS), "number of turns is out of bounds")?;
        let used = epochs.iter().flat_map(|epoch| [epoch.first, epoch.plan]);
        let tested = evaluation.iter().flat_map(|evaluation| [evaluation.plan, evaluation.tally]);
        let mut used = used.chain(tested).chain(reveals.iter().copied());
        need(used.all(|plan| plan < plans.len()), "plans are fewer than it names")
    }

    /// What all plans of one job have in common.
    fn fits(&self, index: usize, plan: &Plan) -> Result<(), JobError> {
        let need = |ok: bool, reason: &str| need(ok, &format!("plan {index} {reason}"));
        let first = &self.plans[0];
        let Some(training) = &plan.training else { return need(false, "is one of a prediction") };
        need(plan.ring == first.ring, "has another ring than the first")?;
        need(plan.input == first.input, "takes another input than the first")?;
        need(plan.output.classes == first.output.classes, "has another number of classes than the first")?;
        need(training.batch == self.recipe.batch, "has another batch than the recipe")?;
        let states = &first.training.as_ref().map(|training| &training.states);
        let same = |states: &&Vec<StateSpec>| {
            let alike = |(a, b): (&StateSpec, &StateSpec)| a.name == b.name && a.role == b.role && a.shape == b.shape;
            states.len() == training.states.len() && states.iter().zip(&training.states).all(alike)
        };
        need(states.as_ref().is_some_and(same), "keeps other states than the first")?;
        let values = training.states.iter().try_fold(0usize, |sum, state| sum.checked_add(state.len()));
        need(values.is_some_and(|values| values <= VALUES), "keeps too many values")?;
        // What is named as an accuracy is one number.
        let counts = training.states.iter().filter(|state| state.role == Role::Count);
        need(
            counts.clone().count() <= 1 && counts.clone().all(|state| state.len() == 1),
            "counts more than one number",
        )?;
        need(plan.linear_gates().next().is_none(), "has a layer of a prediction")?;
        need(slots_a_batch(plan) > 0, "needs more keys than one turn may have; use a smaller batch")?;
        for (number, entry) in plan.gates.iter().enumerate() {
            if let Gate::Input(gate) = &entry.gate {
                let owner = if number == 0 { self.features } else { self.labels };
                need(gate.owner == owner, "takes its inputs from another party than the job")?;
            }
        }
        Ok(())
    }

    /// Every plan is of its kind, and begins with the scales that the one before it left.
    fn order(&self) -> Result<(), JobError> {
        let specs = |plan: usize| &self.plans[plan].training.as_ref().expect("checked").states;
        let fits = |from: usize, to: usize| {
            let same = specs(from).iter().zip(specs(to)).all(|(from, to)| from.after == to.before);
            need(same, &format!("plan {to} does not begin with the scales that plan {from} leaves"))
        };
        let inputs = |plan: usize, count: usize| {
            let takes = |entry: &&ariann_plan::Entry| matches!(entry.gate, Gate::Input(_));
            let found = self.plans[plan].gates.iter().filter(takes).count();
            need(found == count, &format!("plan {plan} takes {found} inputs, not {count}"))
        };
        let mut last: Option<usize> = None;
        for epoch in &self.epochs {
            let others = (self.steps > 1).then_some(epoch.plan);
            let again = (self.steps > 2).then_some(epoch.plan);
            for plan in [Some(epoch.first), others, again].into_iter().flatten() {
                let what = self.plans[plan].reveal.what;
                let step = matches!(what, Revealed::Loss | Revealed::Nothing);
                need(step, &format!("plan {plan} reveals more than the loss of a step"))?;
                inputs(plan, 2)?;
                last.map_or(Ok(()), |last| fits(last, plan))?;
                last = Some(plan);
            }
            let Some(Evaluation { plan, batches, tally }) = self.evaluation else { continue };
            need(self.plans[plan].reveal.what == Revealed::Nothing, "test reveals more than its count")?;
            inputs(plan, 2)?;
            let stored = |entry: &ariann_plan::Entry| matches!(&entry.gate, Gate::Store(kept) if Some(kept.state) != self.count());
            need(!self.plans[plan].gates.iter().any(stored), "test changes the model")?;
            let again = (batches > 1).then_some(plan);
            for plan in [Some(plan), again, Some(tally)].into_iter().flatten() {
                last.map_or(Ok(()), |last| fits(last, plan))?;
                last = Some(plan);
            }
            need(self.reveals_state(tally) == self.count() && self.count().is_some(), "tally reveals another state")?;
        }
        need(self.model_to.is_some() != self.reveals.is_empty(), "model is revealed to nobody, or to one not named")?;
        let mut states = Vec::new();
        for plan in &self.reveals {
            last.map_or(Ok(()), |last| fits(last, *plan))?;
            last = Some(*plan);
            let state = self.reveals_state(*plan);
            let of_model = state.is_some_and(|state| specs(*plan)[state].role.is_of_model());
            need(of_model, &format!("plan {plan} does not reveal a tensor of the model"))?;
            need(!states.contains(&state), &format!("plan {plan} reveals a state again"))?;
            states.push(state);
            need(Some(self.plans[*plan].reveal.to) == self.model_to, "model is revealed to one not named")?;
        }
        Ok(())
    }

    /// The state that plan number `plan` reveals and leaves as it is, if it does nothing else.
    fn reveals_state(&self, plan: usize) -> Option<usize> {
        let plan = &self.plans[plan];
        let simple = plan.gates.iter().all(|entry| matches!(entry.gate, Gate::State(_) | Gate::Reveal(_)));
        let states = plan.gates.iter().filter(|entry| matches!(entry.gate, Gate::State(_))).count();
        (simple && states == 1 && plan.reveal.what == Revealed::State).then(|| Job::revealed_state(plan)).flatten()
    }
}

fn need(ok: bool, reason: &str) -> Result<(), JobError> {
    if ok { Ok(()) } else { Err(JobError::Head(reason.to_string())) }
}
