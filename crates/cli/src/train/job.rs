//! The public job: plans of all steps, of the evaluation, and of what is revealed.

use ariann_gates::{Party, Receiver};
use ariann_graph::training::{Role, StepGraph, StepRanges};
use ariann_plan::training::{MARGIN, TrainingOptions, compile, reveal_state};
use ariann_plan::{CompileError, Link, Optimize, Plan, Scale, SignChoice};
use ariann_session::SessionError;
use ariann_session::training::{Epoch, Evaluation, Job, VERSION};

use super::prepare::{Prepared, Rehearsed};
use super::reveal::Reveals;

/// What the planner is free in.
pub struct Choices {
    pub ring: u32,
    pub features: Party,
    pub labels: Party,
    pub reveals: Reveals,
    pub optimize: Optimize,
    pub sign: SignChoice,
    pub link: Link,
}

/// Plans, each once.
struct Plans<'a> {
    prepared: &'a Prepared,
    choices: &'a Choices,
    list: Vec<Plan>,
}

impl Plans<'_> {
    fn compile(
        &mut self,
        step: &StepGraph,
        ranges: &StepRanges,
        loss: Option<Receiver>,
        before: Option<Vec<Scale>>,
    ) -> Result<usize, SessionError> {
        let Choices { ring, features, labels, optimize, sign, link, .. } = *self.choices;
        let input = self.prepared.declared.clone();
        let options =
            TrainingOptions { ring, margin: MARGIN, features, labels, loss, input, optimize, sign, link, before };
        let plan = compile(step, ranges, &options).map_err(|error| refused(&error, ring))?;
        Ok(self.add(plan))
    }

    fn add(&mut self, plan: Plan) -> usize {
        let known = self.list.iter().position(|known| *known == plan);
        known.unwrap_or_else(|| {
            self.list.push(plan);
            self.list.len() - 1
        })
    }

    /// Scales of the states before and after a plan.
    fn scales(&self, plan: usize) -> [Vec<Scale>; 2] {
        let states = || self.list[plan].training.iter().flat_map(|training| &training.states);
        [states().map(|state| state.before).collect(), states().map(|state| state.after).collect()]
    }

    /// Scales of the states after an epoch.
    fn left(&self, epoch: &Epoch, steps: usize) -> Vec<Scale> {
        let [_, left] = self.scales(if steps == 1 { epoch.first } else { epoch.plan });
        left
    }
}

fn refused(error: &CompileError, ring: u32) -> SessionError {
    let text = error.to_string();
    let advice = if ring == 32 && !text.contains("--ring 64") { "; --ring 64 has room for wider ranges" } else { "" };
    SessionError::ModelPlan(format!("{text}{advice}"))
}

/// Compiles everything.
pub fn make(prepared: &Prepared, rehearsed: &Rehearsed, choices: &Choices) -> Result<Job, SessionError> {
    let Prepared { recipe, rows, test_rows, .. } = prepared;
    let reveals = &choices.reveals;
    let mut plans = Plans { prepared, choices, list: Vec::new() };
    let steps = prepared.steps_of_epoch();
    let mut epochs: Vec<Epoch> = Vec::new();
    // Learning rates have a plan each; where one leaves states at scales of its own, the next begins with a plan that takes them.
    let mut of_step: Vec<Option<usize>> = vec![None; prepared.steps.len()];
    for &step in &prepared.of_epoch {
        let epoch = match epochs.last() {
            None => {
                let plan = plans.compile(&prepared.steps[step], &rehearsed.steps, reveals.loss, None)?;
                Epoch { first: plan, plan }
            }
            Some(before)
                if of_step[step] == Some(before.plan) && plans.scales(before.plan)[0] == plans.left(before, steps) =>
            {
                Epoch { first: before.plan, plan: before.plan }
            }
            Some(before) => {
                let left = plans.left(before, steps);
                let first = plans.compile(&prepared.steps[step], &rehearsed.steps, reveals.loss, Some(left.clone()))?;
                let plan = match of_step[step] {
                    _ if plans.scales(first)[1] == left => first,
                    Some(plan) => plan,
                    None => plans.compile(&prepared.steps[step], &rehearsed.steps, reveals.loss, None)?,
                };
                Epoch { first: if plans.scales(plan)[0] == left { plan } else { first }, plan }
            }
        };
        of_step[step] = Some(epoch.plan);
        epochs.push(epoch);
    }
    let ends: Vec<Vec<Scale>> = epochs.iter().map(|epoch| plans.left(epoch, steps)).collect();
    let left = ends.last().cloned().unwrap_or_default();
    if reveals.accuracy.is_some() && ends.iter().any(|end| *end != left) {
        let reason = "--schedule: these learning rates leave velocities at different scales, and the test after each epoch is \
                      one plan for all; use --schedule constant, or do not reveal the accuracy";
        return Err(SessionError::Config(reason.to_string()));
    }
    let last = epochs.last().map_or(0, |epoch| if steps == 1 { epoch.first } else { epoch.plan });
    let evaluation = match (&prepared.evaluation, &rehearsed.evaluation, reveals.accuracy) {
        (Some(graph), Some(ranges), Some(to)) => {
            let plan = plans.compile(graph, ranges, None, Some(left))?;
            let count = graph.states.iter().position(|state| state.role == Role::Count).expect("an evaluation counts");
            let tally = reveal_state(&plans.list[plan], count, to);
            let tally = plans.add(tally);
            Some(Evaluation { plan, batches: prepared.evaluation_batches() as u32, tally })
        }
        _ => None,
    };
    let end = evaluation.map_or(last, |evaluation| evaluation.tally);
    let revealed = reveals.model.map_or(Vec::new(), |to| {
        let states = prepared.steps[0].states.iter().enumerate();
        // P0 brought what is frozen; nobody else has it.
        let wanted = states.filter(|(_, state)| match state.role {
            Role::Parameter | Role::Running => true,
            Role::Frozen => to != Receiver::P0,
            Role::Velocity | Role::Count => false,
        });
        wanted.map(|(state, _)| reveal_state(&plans.list[end], state, to)).collect()
    });
    let revealed = revealed.into_iter().map(|plan| plans.add(plan)).collect();
    let job = Job {
        version: VERSION,
        model: prepared.graph.name.clone(),
        recipe: recipe.clone(),
        features: choices.features,
        labels: choices.labels,
        model_to: reveals.model,
        rows: *rows as u64,
        test_rows: *test_rows as u64,
        plans: plans.list,
        epochs,
        steps: steps as u32,
        evaluation,
        reveals: revealed,
    };
    job.check().map_err(|error| SessionError::Config(error.to_string()))?;
    Ok(job)
}
