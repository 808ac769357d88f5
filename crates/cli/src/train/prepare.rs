//! From flags to what is computed: model, recipe, data, the graphs of all steps, and their ranges, rehearsed in clear.

use std::path::{Path, PathBuf};

use ariann_data::Choice;
use ariann_graph::Graph;
use ariann_graph::training::{
    Recipe, RecipeError, Rehearsal, Role, StepGraph, StepRanges, Trainer, evaluation, order, training_step,
};
use ariann_plan::InputSpec;
use ariann_session::SessionError;
use ariann_session::events::Events;

use super::data::Set;
use crate::options::{PixelOptions, PreprocessOptions};
use crate::run;

/// What is trained, before there is a plan.
pub struct Prepared {
    pub graph: Graph,
    pub declared: InputSpec,
    pub recipe: Recipe,
    /// Items of the training set, and of the test set.
    pub rows: usize,
    pub test_rows: usize,
    /// A step for each learning rate, in the order of the epochs.
    pub steps: Vec<StepGraph>,
    /// The same with the loss, for training in clear; as many.
    pub clear_steps: Vec<StepGraph>,
    /// Which of them an epoch takes.
    pub of_epoch: Vec<usize>,
    /// The evaluation, where there is a test set.
    pub evaluation: Option<StepGraph>,
}

/// Ranges of the steps (the same for all learning rates) and of the evaluation.
pub struct Rehearsed {
    pub steps: StepRanges,
    pub evaluation: Option<StepRanges>,
}

/// How the input is declared.
pub fn declare(
    graph: &Graph,
    preprocess: &PreprocessOptions,
    pixels: &PixelOptions,
    input_range: Option<[f64; 2]>,
) -> Result<InputSpec, SessionError> {
    let preprocess = preprocess.preprocess();
    preprocess.check()?;
    let pixels = pixels.pixels();
    let unfit = |reason| SessionError::Config(format!("pixels: {reason}; choose --resize, --crop and --order anew"));
    pixels.check(&graph.input.shape).map_err(unfit)?;
    let bytes = preprocess.range();
    let [lo, hi] = input_range.unwrap_or_else(|| {
        let lo = bytes.iter().map(|range| f64::from(range.0)).fold(f64::INFINITY, f64::min);
        let hi = bytes.iter().map(|range| f64::from(range.1)).fold(f64::NEG_INFINITY, f64::max);
        [lo, hi]
    });
    if !(lo < hi && lo.is_finite() && hi.is_finite()) {
        return Err(SessionError::Config(format!("--input-range {lo},{hi}: give two numbers, the least first")));
    }
    Ok(InputSpec {
        name: graph.input.name.clone(),
        shape: graph.input.shape.clone(),
        range: [lo, hi],
        pixels,
        scale: preprocess.scale,
        mean: preprocess.mean,
        std: preprocess.std,
    })
}

/// Classes of a model whose result is one row of logits.
pub fn classes(graph: &Graph) -> usize {
    graph.output.node().map_or(&graph.input.shape, |node| &graph.nodes[node].shape).iter().product()
}

impl Prepared {
    /// Differentiates the model for every learning rate of the recipe; `losses` tells whether the steps compute their loss, privately
    /// and in clear.
    pub fn new(
        graph: Graph,
        declared: InputSpec,
        recipe: Recipe,
        rows: [usize; 2],
        losses: [bool; 2],
    ) -> Result<Prepared, SessionError> {
        let [rows, test_rows] = rows;
        let refused = |error: RecipeError| {
            let text = error.to_string();
            match text.split_once(": ") {
                _ if matches!(error, RecipeError::Unsupported(_)) => SessionError::Untrainable(text),
                Some(("operator", said)) => SessionError::Config(said.to_string()),
                _ => SessionError::Input(text),
            }
        };
        recipe.check(&graph).map_err(refused)?;
        let (mut rates, mut steps, mut clear_steps, mut of_epoch) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for epoch in 0..recipe.epochs {
            let rate = recipe.schedule.lr(recipe.lr, epoch, recipe.epochs);
            let known = rates.iter().position(|known: &f64| *known == rate);
            of_epoch.push(known.unwrap_or(rates.len()));
            if known.is_none() {
                steps.push(training_step(&graph, &recipe, rate, losses[0]).map_err(refused)?);
                clear_steps.push(training_step(&graph, &recipe, rate, losses[1]).map_err(refused)?);
                rates.push(rate);
            }
        }
        few(rows, recipe.batch, "training")?;
        let evaluation = match test_rows {
            0 => None,
            rows => {
                few(rows, recipe.batch, "test")?;
                Some(evaluation(&graph, &recipe, recipe.batch).map_err(refused)?)
            }
        };
        Ok(Prepared { graph, declared, recipe, rows, test_rows, steps, clear_steps, of_epoch, evaluation })
    }

    /// Steps of an epoch: what is left of it is not used.
    pub fn steps_of_epoch(&self) -> usize {
        self.rows / self.recipe.batch
    }

    /// Parameters that are trained, and those that stay.
    pub fn parameters(&self) -> [u64; 2] {
        let states = || self.steps[0].states.iter();
        let sum = |role| states().filter(|state| state.role == role).map(|state| state.initial.len() as u64).sum();
        [sum(Role::Parameter), sum(Role::Frozen)]
    }

    /// Runs `steps` steps in clear on public items and looks at all values; the evaluation is looked at before, in the middle and
    /// after.
    pub fn rehearse(&self, public: &Set, steps: usize, events: &mut dyn Events) -> Result<Rehearsed, SessionError> {
        let refused = |error: ariann_graph::training::RehearsalError| SessionError::Input(error.to_string());
        few(public.count(), self.recipe.batch, "calibration")?;
        let step = &self.steps[0];
        let mut trainer = Trainer::with_seed(step, self.recipe.seed);
        let mut seen = Rehearsal::new(step);
        let mut evaluated = self.evaluation.as_ref().map(|evaluation| (evaluation, Rehearsal::new(evaluation)));
        let looks = [0, steps / 8, steps / 2, steps - 1];
        // Of another seed than the private training's: which items come first is no business of the ranges.
        let batches = (0..).flat_map(|epoch| {
            let order = order(public.count() as u32, self.recipe.seed ^ 0x7265_6865_6172_7365, epoch);
            order.chunks_exact(self.recipe.batch).map(<[u32]>::to_vec).collect::<Vec<_>>()
        });
        for (number, places) in batches.take(steps).enumerate() {
            if run::interrupted() {
                return Err(SessionError::Config("interrupted in the rehearsal; nothing was begun".to_string()));
            }
            let (features, labels) = public.batch(&places);
            seen.step(&mut trainer, step, &features, &labels, number as u64).map_err(refused)?;
            if let Some((evaluation, seen)) = evaluated.as_mut().filter(|_| looks.contains(&number)) {
                let len = evaluation.batch * evaluation.item_len;
                let (features, labels) = (&features[..len], &labels[..evaluation.batch]);
                seen.step(&mut trainer, evaluation, features, labels, 0).map_err(refused)?;
            }
            events.progress("rehearsing", number as u64 + 1, steps as u64);
        }
        let evaluation = evaluated.map(|(_, seen)| seen.ranges()).transpose().map_err(refused)?;
        Ok(Rehearsed { steps: seen.ranges().map_err(refused)?, evaluation })
    }
}

/// Refuses sets that do not fill a batch.
fn few(rows: usize, batch: usize, what: &str) -> Result<(), SessionError> {
    if rows >= batch {
        return Ok(());
    }
    let reason = format!("--batch {batch}: there are only {rows} {what} items; give at most {rows}, or more items");
    Err(SessionError::Config(reason))
}

/// Where public items for the rehearsal come from.
pub struct Calibration<'a> {
    pub path: Option<&'a PathBuf>,
    pub labels: Option<&'a Path>,
    /// Items that are used at most.
    pub limit: usize,
}

impl Calibration<'_> {
    /// Reads them, or makes them up. `private` is never a calibration file.
    pub fn read(&self, prepared: &Prepared, classes: usize, private: Option<&Path>) -> Result<Set, SessionError> {
        let Some(path) = self.path else {
            return Ok(Set::made_up(&prepared.declared, classes, 4 * prepared.recipe.batch));
        };
        if let Some(input) = private
            && let Some(file) = ariann_data::shared(path, Choice::First(self.limit), input)?
        {
            return Err(SessionError::Config(format!(
                "--calibration {} is, or lies in, --input: its values would shape the public plan; rehearse on public items, on \
                 the model owner's, or on none",
                file.display()
            )));
        }
        Set::read(&prepared.declared, classes, path, self.labels, Some(self.limit))
    }
}
