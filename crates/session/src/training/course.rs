//! What a role computes from a job: the order of the turns and the plan of each. Every role compiles for itself, so that
//! nobody has to believe that a plan is that of the network, and new plans can follow from ranges that are measured on the way.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use ariann_gates::{Party, Receiver};
use ariann_graph::training::{
    Initial, Recipe, Role, StepGraph, StepOp, StepRanges, answering, evaluation, training_step,
};
use ariann_plan::training::{
    TrainingOptions, answer, compile, measure, measured, renew, renew_evaluation, reveal_state,
};
use ariann_plan::{CompileError, Plan, Scale, StateSpec};

use super::answers::Answers;
use super::clipping::{Clipping, clip, clipping};
use super::job::{Choices, Job, JobError, Ranges, VERSION};
use super::pair::PairTask;
use super::pooled;
use super::standing::Standing;
use super::turns::{Turn, Turns};
use super::weighing::{weigh, weigh_finely};
use crate::engine::Schedule;
use crate::making::slots_a_batch;

/// Epochs at most.
const EPOCHS: u32 = 100_000;
/// Turns at most.
const TURNS: u64 = 1 << 40;
/// Items of a data set at most.
const ROWS: u64 = u32::MAX as u64;
/// Values of a batch's items at most.
const BATCH_VALUES: usize = 1 << 32;
/// Plans that are kept at most: those of turns to come are asked for again and again.
const KEPT: usize = 12;

/// A plan, and what follows from it once.
pub struct Leg {
    /// The plan.
    pub plan: Plan,
    /// Its digest.
    pub digest: [u8; 32],
    /// Of the engine and of the maker of material.
    pub schedule: Arc<Schedule>,
    /// Bytes of each gate's material, at P0 and at P1.
    pub lens: [Arc<Vec<u64>>; 2],
}

/// What is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A step, with the learning rate of that number.
    Step(usize),
    /// The measurement of ranges.
    Measure,
    /// A batch of the test.
    Evaluate,
    /// The forward pass of so many items of outside clients.
    Answer(u32),
    /// The reveal of a state.
    Reveal(usize),
    /// The multiplication of an update with this weight, after it was clipped to this norm.
    Weigh(u64, Option<u64>),
    /// The multiplication of the sum of a gradient's steps with this weight of so many fractional bits.
    Mean(u64, u32),
}

type Key = (Kind, Standing);

/// A job that was checked, and its graphs.
pub struct Course {
    job: Job,
    turns: Turns,
    /// A step; its learning rate is that of the first epoch.
    step: StepGraph,
    rates: Rates,
    evaluation: Option<StepGraph>,
    states: Vec<StateSpec>,
    /// States that are revealed at the end.
    revealed: Vec<usize>,
    /// Scales at which owners share items and labels of the training set, and of the test set.
    shared: [Option<[Scale; 2]>; 2],
    first: Standing,
    /// The first epoch's step; there when the course is.
    begins: Option<Arc<Leg>>,
    legs: Mutex<Vec<(Key, Arc<Leg>)>>,
    digest: [u8; 32],
    earlier: Vec<Earlier>,
}

/// A course that this one may have been made from by adding items of owners.
#[derive(Clone, Copy)]
pub(crate) struct Earlier {
    /// Its digest.
    pub digest: [u8; 32],
    /// Its owners: the first ones of this one's.
    pub owners: usize,
    /// The turn before which both are the same.
    pub until: u64,
}

impl Course {
    /// Accepts or refuses a job. All kinds of plans that it begins with are compiled.
    pub fn new(job: Job) -> Result<Course, JobError> {
        bounds(&job)?;
        job.network.check().map_err(|error| JobError::Plan(error.to_string()))?;
        let graph = job.network.graph();
        let values = graph.input.len().checked_mul(job.recipe.batch);
        need(values.is_some_and(|values| values <= BATCH_VALUES), "batch has too many values")?;
        need(graph.input.shape == job.input.shape, "declared input has another shape than its network's")?;
        let refused = |error: ariann_graph::training::RecipeError| JobError::Plan(error.to_string());
        // Nobody's weights: they are drawn or read where they are known.
        let recipe = Recipe { initial: Initial::Model, ..job.recipe.clone() };
        let rates = Rates::of(&recipe)?;
        let step = public(training_step(&graph, &recipe, rates.all[0], job.reveals.loss.is_some()).map_err(refused)?);
        let tested = job.reveals.accuracy.map(|_| evaluation(&graph, &recipe, recipe.batch).map_err(refused));
        let evaluation = tested.transpose()?.map(public);
        drop(graph);
        let batch = job.recipe.batch as u64;
        let to = job.reveals.model;
        let revealed = step.states.iter().enumerate().filter(|(_, state)| match state.role {
            Role::Parameter | Role::Running => to.is_some(),
            // P0 brought what is frozen; nobody else has it.
            Role::Frozen => to.is_some_and(|to| to != Receiver::P0),
            Role::Velocity | Role::Count => false,
        });
        let revealed: Vec<usize> = revealed.map(|(index, _)| index).collect();
        let turns = Turns {
            epochs: job.recipe.epochs,
            steps: (pooled::rows_at(&job, 0) / batch) as u32,
            later: pooled::joints(&job)
                .into_iter()
                .map(|epoch| (epoch, (pooled::rows_at(&job, epoch) / batch) as u32))
                .collect(),
            tests: if evaluation.is_some() { (job.test_rows / batch) as u32 } else { 0 },
            measure_every: job.rescale_every,
            reveals: revealed.len() as u32,
        };
        let first = Standing { generation: 0, ranges: Arc::new(job.ranges.clone()), scales: Vec::new() };
        let mut course = Course {
            digest: [0; 32],
            earlier: Vec::new(),
            job,
            turns,
            step,
            rates,
            evaluation,
            states: Vec::new(),
            shared: [None; 2],
            revealed,
            first,
            begins: None,
            legs: Mutex::default(),
        };
        let ranges = &course.job.ranges;
        course.fits(ranges)?;
        need(*ranges == ranges.rounded(), "ranges tell more than exponents")?;
        course.begin()?;
        Ok(course)
    }

    /// Whether these may be ranges of the job's steps and of its test.
    pub(super) fn fits(&self, ranges: &Ranges) -> Result<(), JobError> {
        let of = |graph: &StepGraph, ranges: &StepRanges| {
            ranges.check(graph).map_err(|error| JobError::Head(error.to_string()))
        };
        of(&self.step, &ranges.steps)?;
        match (&self.evaluation, &ranges.evaluation) {
            (Some(graph), Some(ranges)) => of(graph, ranges),
            (None, None) => Ok(()),
            _ => need(false, "ranges are not those of its steps and its test"),
        }
    }

    /// The scales that states begin with, and the plans of all kinds. Of learning rates the first one's, the least and the
    /// greatest: the plans of all others lie between them.
    fn begin(&mut self) -> Result<(), JobError> {
        let options = self.options(0, self.job.reveals.loss, None);
        let plan = compile(&self.step, &self.job.ranges.steps, &options).map_err(|error| self.refused(&error))?;
        let brought = |plan: &Plan| [plan.gates[0].scale, plan.gates[1].scale];
        self.shared[0] = Some(brought(&plan));
        self.states = plan.training.map_or(Vec::new(), |training| training.states);
        self.first.scales = self.states.iter().map(|state| state.after).collect();
        if self.evaluation.is_some() {
            self.shared[1] = Some(brought(&self.compiled(Kind::Evaluate, &self.first)?.plan));
        }
        self.begins = Some(self.leg(Kind::Step(0), &self.first)?);
        let mut kinds = vec![Kind::Step(0)];
        kinds.extend(self.rates.extremes(0).map(Kind::Step));
        kinds.extend(self.turns.measure_every.map(|_| Kind::Measure));
        kinds.extend(self.evaluation.as_ref().map(|_| Kind::Evaluate));
        let mut plans = Vec::with_capacity(kinds.len());
        for kind in kinds {
            plans.push(self.leg(kind, &self.first)?.digest);
        }
        let digest = |job: &Job| {
            let mut hasher = blake3::Hasher::new_derive_key("ariann training course v1");
            hasher.update(&job.digest());
            for plan in &plans {
                hasher.update(plan);
            }
            *hasher.finalize().as_bytes()
        };
        self.digest = digest(&self.job);
        // Plans follow from no number of items but that of a batch.
        let earlier = pooled::before(&self.job).map(|(job, owners)| {
            let until = self.turns.first_of(self.job.owners[owners].from_epoch - 1);
            Earlier { digest: digest(&job), owners, until }
        });
        self.earlier = earlier.collect();
        Ok(())
    }

    /// Courses that this one may have been made from by adding items of owners: what was kept of them is of use.
    pub(crate) fn earlier(&self) -> &[Earlier] {
        &self.earlier
    }

    /// The job.
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// Of the job and of the plans that it begins with: what roles, material and checkpoints are bound to.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// The order of the turns.
    pub fn turns(&self) -> &Turns {
        &self.turns
    }

    /// What is kept between turns, at the scales that it begins with.
    pub fn states(&self) -> &[StateSpec] {
        &self.states
    }

    /// The state that counts right answers.
    pub fn count(&self) -> usize {
        self.states.iter().position(|state| state.role == Role::Count).expect("every step graph has one")
    }

    /// The state that reveal number `index` reveals.
    pub fn revealed(&self, index: u32) -> usize {
        self.revealed[index as usize]
    }

    /// The plan of a kind as the training begins.
    pub fn at_first(&self, kind: Kind) -> Result<Arc<Leg>, JobError> {
        self.leg(kind, &self.first)
    }

    /// The step of the first epoch.
    pub fn step(&self) -> &Leg {
        self.begins.as_ref().expect("it was compiled at first")
    }

    /// How an update is clipped to a norm before it is weighed.
    pub fn clipping(&self, norm: u64, weight: u64) -> Result<Clipping, JobError> {
        clipping(self.job.choices.ring, &self.states, &self.first.scales, norm, weight)
    }

    /// The first turn's cursor.
    pub fn cursor(self: &Arc<Self>) -> Cursor {
        self.cursor_at(0, self.first.clone())
    }

    /// The first turn's cursor of what a pair does in one round.
    pub fn pair(self: &Arc<Self>, task: PairTask) -> Result<Cursor, JobError> {
        task.check(self)?;
        let cursor = Cursor { task: Some(task), ..self.cursor() };
        // Shares of two owners are summed: all must end at the scales that they began with.
        let mut end = cursor.clone();
        for turn in task.kinds(self) {
            let leg = end.leg(turn)?;
            end.pass(&leg);
        }
        need(end.standing == cursor.standing, "ranges let the scales of states change on the way")?;
        Ok(cursor)
    }

    /// A cursor at turn `number` of a training that stands so.
    pub fn cursor_at(self: &Arc<Self>, number: u64, standing: Standing) -> Cursor {
        Cursor { course: self.clone(), number, standing, task: None, answers: None }
    }

    /// The first cursor of the answers that a model gives that stays shared, where its training stands so.
    pub fn answering(self: &Arc<Self>, answers: Answers, standing: Standing) -> Result<Cursor, JobError> {
        need(answers.items > 0 && answers.batches > 0, "answers are none: give at least one item and one batch")?;
        let values = self.step().plan.input_len().checked_mul(answers.items as usize);
        need(values.is_some_and(|values| values <= BATCH_VALUES), "answers of one batch have too many values")?;
        need(
            self.evaluation.is_some(),
            "ranges are those of steps alone, for nothing is tested: answers need those of a test",
        )?;
        let cursor = Cursor { answers: Some(answers), ..self.cursor_at(0, standing) };
        cursor.leg(Turn::Answer).map(|_| cursor)
    }

    fn kind(&self, turn: Turn, task: Option<PairTask>, answers: Option<Answers>) -> Kind {
        match turn {
            Turn::Answer => Kind::Answer(answers.map_or(0, |answers| answers.items)),
            Turn::Measure { .. } => Kind::Measure,
            Turn::Step { epoch, .. } => Kind::Step(self.rates.of_epoch[epoch as usize] as usize),
            Turn::Evaluate { .. } => Kind::Evaluate,
            Turn::Tally { .. } => Kind::Reveal(self.count()),
            Turn::Reveal { index } => Kind::Reveal(self.revealed(index)),
            Turn::Weigh => match task {
                Some(PairTask::Gradient { weight, bits, .. }) => Kind::Mean(weight, bits),
                task => {
                    let (weight, clip) = task.map_or((0, None), |task| task.weight());
                    Kind::Weigh(weight, clip)
                }
            },
        }
    }

    /// Scales at which owners share items and labels of the training set (0), and of the test set (1).
    pub fn shared(&self, set: usize) -> Option<[Scale; 2]> {
        self.shared[set]
    }

    fn options(&self, set: usize, loss: Option<Receiver>, before: Option<Vec<Scale>>) -> TrainingOptions {
        let Choices { ring, margin, optimize, sign, link } = self.job.choices;
        let Job { features, labels, input, .. } = &self.job;
        let (features, labels, input, shared) = (*features, *labels, input.clone(), self.shared[set]);
        TrainingOptions { ring, margin, features, labels, loss, input, optimize, sign, link, before, shared }
    }

    fn refused(&self, error: &CompileError) -> JobError {
        let text = error.to_string();
        let narrow = self.job.choices.ring == 32 && !text.contains("--ring 64");
        JobError::Plan(if narrow { text + "; --ring 64 has room for wider ranges" } else { text })
    }

    /// The plan of a kind for a training that stands so; compiled once.
    fn leg(&self, kind: Kind, standing: &Standing) -> Result<Arc<Leg>, JobError> {
        let mut legs = self.legs.lock().unwrap_or_else(PoisonError::into_inner);
        let known = |(of, at): &Key| *of == kind && at.same(standing);
        if let Some(place) = legs.iter().position(|(key, _)| known(key)) {
            let (_, leg) = legs.remove(place);
            legs.push(((kind, standing.clone()), leg.clone()));
            return Ok(leg);
        }
        let leg = Arc::new(self.compiled(kind, standing)?);
        // A role is at most one renewal behind another thread of it.
        legs.retain(|((_, at), _)| at.generation + 1 >= standing.generation);
        if legs.len() == KEPT {
            legs.remove(0);
        }
        legs.push(((kind, standing.clone()), leg.clone()));
        Ok(leg)
    }

    fn compiled(&self, kind: Kind, standing: &Standing) -> Result<Leg, JobError> {
        let Standing { ranges, scales, .. } = standing;
        let options = |set, loss| self.options(set, loss, Some(scales.clone()));
        let plan = match kind {
            Kind::Step(rate) => {
                compile(&self.step_of(self.rates.all[rate]), &ranges.steps, &options(0, self.job.reveals.loss))
            }
            Kind::Measure => measure(&self.step, &ranges.steps, &options(0, None)),
            Kind::Evaluate => match (&self.evaluation, &ranges.evaluation) {
                (Some(graph), Some(ranges)) => compile(graph, ranges, &options(1, None)),
                _ => unreachable!("turns of a test need one"),
            },
            Kind::Answer(items) => {
                let (graph, recipe) =
                    (self.job.network.graph(), Recipe { initial: Initial::Model, ..self.job.recipe.clone() });
                let forward =
                    answering(&graph, &recipe, items as usize).map_err(|error| JobError::Plan(error.to_string()))?;
                let ranges = ranges.evaluation.as_ref().expect("answers are those of a job that tests");
                answer(&public(forward), ranges, &options(1, None))
            }
            Kind::Reveal(state) => Ok(self.reveal(state, scales)),
            Kind::Weigh(weight, None) => Ok(weigh(&self.step().plan, scales, weight)),
            Kind::Weigh(weight, Some(norm)) => Ok(clip(&self.step().plan, scales, norm, weight)?),
            Kind::Mean(weight, bits) => Ok(weigh_finely(&self.step().plan, scales, weight, bits)),
        };
        let plan = plan.map_err(|error| self.refused(&error))?;
        plan.check().map_err(|error| JobError::Plan(error.to_string()))?;
        need(slots_a_batch(&plan) > 0, "batch needs more keys than one turn may have; use a smaller one")?;
        let lens = [Party::P0, Party::P1].map(|party| Arc::new(plan.sections(party)));
        Ok(Leg { digest: plan.digest(), schedule: Arc::new(Schedule::new(&plan)), lens, plan })
    }

    /// The step with a learning rate.
    fn step_of(&self, rate: f64) -> Cow<'_, StepGraph> {
        if rate == self.rates.all[0] {
            return Cow::Borrowed(&self.step);
        }
        let mut step = self.step.clone();
        for node in &mut step.nodes {
            if let StepOp::Update { lr, .. } = &mut node.op {
                *lr = rate;
            }
        }
        Cow::Owned(step)
    }

    /// Whether every turn from epoch `epoch` on has a plan for a training that stands so. All roles come to the same answer.
    fn goes_on(&self, standing: &Standing, epoch: u32) -> Result<(), JobError> {
        self.fits(&standing.ranges)?;
        let mut at = standing.clone();
        let next = Kind::Step(self.rates.of_epoch[epoch as usize] as usize);
        // The first step may leave other scales than it finds; those after it do not.
        let first = self.leg(next, &at)?;
        leave(&mut at.scales, &first);
        let second = self.leg(next, &at)?;
        let mut later = at.clone();
        leave(&mut later.scales, &second);
        need(later == at, "states change their scales with every step")?;
        let mut kinds: Vec<Kind> = self.rates.extremes(epoch).map(Kind::Step).to_vec();
        kinds.extend(self.turns.measure_every.map(|_| Kind::Measure));
        kinds.extend(self.evaluation.as_ref().map(|_| Kind::Evaluate));
        kinds.into_iter().try_for_each(|kind| self.leg(kind, &at).map(drop))
    }

    /// The plan that reveals a state at these scales: the count to whom the accuracy is told, others to whom the model is.
    fn reveal(&self, state: usize, scales: &[Scale]) -> Plan {
        let to = if state == self.count() { self.job.reveals.accuracy } else { self.job.reveals.model };
        let mut basis = self.step().plan.clone();
        let states = basis.training.iter_mut().flat_map(|training| &mut training.states);
        for (state, scale) in states.zip(scales) {
            (state.before, state.after) = (*scale, *scale);
        }
        reveal_state(&basis, state, to.expect("turns that reveal have a receiver"))
    }
}

/// Without the values that it begins with.
fn public(mut step: StepGraph) -> StepGraph {
    step.states.iter_mut().for_each(|state| state.initial = Vec::new());
    step
}

fn bounds(job: &Job) -> Result<(), JobError> {
    if job.version != VERSION {
        return Err(JobError::Version(job.version));
    }
    let Job { recipe, rows, test_rows, reveals, rescale_every, choices, .. } = job;
    need((1..=EPOCHS).contains(&recipe.epochs), "number of epochs is out of bounds")?;
    need((1..=ROWS).contains(rows) && *test_rows <= ROWS, "number of items is out of bounds")?;
    need(recipe.batch > 0, "batch is empty")?;
    let batch = recipe.batch as u64;
    need(batch <= *rows, &format!("batch of {batch} items is larger than its {rows} items"))?;
    need(reveals.accuracy.is_none() || batch <= *test_rows, "test has fewer items than a batch")?;
    need(*rescale_every != Some(0), "number of steps between measurements is 0")?;
    need(choices.margin <= 16, "margin is out of bounds")?;
    pooled::check(job)?;
    let each = rows / batch + test_rows / batch + 1;
    need(2 * each * u64::from(recipe.epochs) <= TURNS, "number of turns is out of bounds")
}

/// Refuses a job for a reason.
pub(super) fn need(ok: bool, reason: &str) -> Result<(), JobError> {
    if ok { Ok(()) } else { Err(JobError::Head(reason.to_string())) }
}

/// Learning rates of a recipe.
struct Rates {
    /// Each one once, in the order in which epochs take them.
    all: Vec<f64>,
    /// Which of them an epoch takes.
    of_epoch: Vec<u32>,
}

impl Rates {
    fn of(recipe: &Recipe) -> Result<Rates, JobError> {
        let (mut all, mut known) = (Vec::new(), HashMap::new());
        let mut of_epoch = Vec::with_capacity(recipe.epochs as usize);
        for epoch in 0..recipe.epochs {
            let rate = recipe.schedule.lr(recipe.lr, epoch, recipe.epochs);
            need(rate.is_finite(), "schedule has a learning rate that is no number")?;
            of_epoch.push(*known.entry(rate.to_bits()).or_insert_with(|| {
                all.push(rate);
                all.len() as u32 - 1
            }));
        }
        Ok(Rates { all, of_epoch })
    }

    /// The least and the greatest from epoch `epoch` on, by their numbers.
    fn extremes(&self, epoch: u32) -> [usize; 2] {
        let to_come = || self.of_epoch[epoch as usize..].iter().map(|rate| *rate as usize);
        let order = |a: &usize, b: &usize| self.all[*a].total_cmp(&self.all[*b]);
        [to_come().min_by(order), to_come().max_by(order)].map(|rate| rate.expect("an epoch is to come"))
    }
}

/// The scales that states have after a turn.
fn leave(scales: &mut [Scale], leg: &Leg) {
    let states = leg.plan.training.iter().flat_map(|training| &training.states);
    scales.iter_mut().zip(states).for_each(|(scale, state)| *scale = state.after);
}

/// A place between two turns, from which the turns to come can be walked.
#[derive(Clone)]
pub struct Cursor {
    course: Arc<Course>,
    number: u64,
    standing: Standing,
    /// What a pair does instead of the whole training.
    task: Option<PairTask>,
    /// Answers of the trained model instead of the training.
    answers: Option<Answers>,
}

impl Cursor {
    /// Number of the turn that comes next.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The turn that comes next; none after the last.
    pub fn turn(&self) -> Option<Turn> {
        match (&self.task, self.answers) {
            (_, Some(answers)) => (self.number < answers.batches).then_some(Turn::Answer),
            (Some(task), None) => task.turn(&self.course, self.number),
            (None, None) => self.course.turns.turn(self.number),
        }
    }

    /// Turns in all.
    pub fn count(&self) -> u64 {
        match (self.task, self.answers) {
            (_, Some(answers)) => answers.batches,
            (Some(task), None) => task.count(&self.course),
            (None, None) => self.course.turns.count(),
        }
    }

    /// Steps of training in all, and before the turn that comes next.
    pub(crate) fn steps(&self) -> [u64; 2] {
        match &self.task {
            Some(task) => [task.steps(&self.course), self.number.min(task.steps(&self.course))],
            None => [self.course.turns.steps_in_all(), self.course.turns.steps_before(self.number)],
        }
    }

    /// Items of the training set in an epoch, and the seed of their order.
    pub(crate) fn order(&self, epoch: u32) -> (u64, u64) {
        let job = &self.course.job;
        self.task.map_or((pooled::rows_at(job, epoch), job.recipe.seed), |task| task.order(job))
    }

    /// The seed of the order of items and of dropout.
    pub(crate) fn seed(&self) -> u64 {
        self.order(0).1
    }

    /// What a pair does.
    pub(crate) fn task(&self) -> Option<PairTask> {
        self.task
    }

    /// The course.
    pub fn course(&self) -> &Arc<Course> {
        &self.course
    }

    /// Where the training stands before it.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Its plan.
    pub fn leg(&self, turn: Turn) -> Result<Arc<Leg>, JobError> {
        self.course.leg(self.course.kind(turn, self.task, self.answers), &self.standing)
    }

    /// Goes on after a turn; one that measures is followed by [`Cursor::renew`].
    pub fn pass(&mut self, leg: &Leg) {
        leave(&mut self.standing.scales, leg);
        self.number += 1;
    }

    /// Exponents that a measurement reveals.
    pub fn measured(&self) -> usize {
        measured(&self.course.step).len()
    }

    /// New ranges, from what was measured by the turn that was passed. Where they leave no plan for a turn to come, those before are kept, and the reason is
    /// returned.
    pub fn renew(&mut self, exponents: &[i32]) -> Option<JobError> {
        let step = &self.course.step;
        let names = measured(step).into_iter().map(|node| step.nodes[node].name.clone());
        let of: Vec<(String, i32)> = names.zip(exponents.iter().copied()).collect();
        let Ranges { steps, evaluation } = &*self.standing.ranges;
        let tested = self.course.evaluation.as_ref().zip(evaluation.as_ref());
        let job = &self.course.job.ranges;
        let steps = renew(step, steps, &job.steps, &of);
        let evaluation = tested
            .zip(job.evaluation.as_ref())
            .map(|((test, ranges), job)| renew_evaluation(test, ranges, job, &of, (step, &steps)));
        let new = Arc::new(Ranges { steps, evaluation });
        let before = std::mem::replace(&mut self.standing.ranges, new);
        self.standing.generation += 1;
        let epoch = match self.turn() {
            Some(Turn::Step { epoch, .. }) => epoch,
            _ => unreachable!("a step follows a measurement"),
        };
        let refused = self.course.goes_on(&self.standing, epoch).err();
        if refused.is_some() {
            self.standing.ranges = before;
        }
        refused
    }
}
