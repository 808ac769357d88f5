//! The public job, from what the flags say and what the rehearsal saw.

use std::sync::Arc;

use ariann_gates::Party;
use ariann_graph::Network;
use ariann_session::SessionError;
use ariann_session::training::{Choices, Course, Job, JobError, Ranges, Reveals, VERSION};

use super::prepare::{Prepared, Rehearsed};

/// What a job says beside network, recipe and ranges.
pub struct Terms {
    pub features: Party,
    pub labels: Party,
    pub reveals: Reveals,
    pub rescale_every: Option<u32>,
    pub choices: Choices,
}

/// The job, checked and compiled.
pub fn make(prepared: &Prepared, rehearsed: &Rehearsed, terms: &Terms) -> Result<Arc<Course>, SessionError> {
    let Terms { features, labels, reveals, rescale_every, choices } = *terms;
    let evaluation = rehearsed.evaluation.as_ref().filter(|_| reveals.accuracy.is_some());
    // Exponents are all that anybody is told of ranges.
    let ranges = Ranges { steps: rehearsed.steps.rounded(), evaluation: evaluation.map(|ranges| ranges.rounded()) };
    let job = Job {
        version: VERSION,
        network: Network::of(&prepared.graph),
        input: prepared.declared.clone(),
        recipe: prepared.recipe.clone(),
        features,
        labels,
        reveals,
        rows: prepared.rows as u64,
        test_rows: prepared.test_rows as u64,
        ranges,
        rescale_every,
        choices,
    };
    Course::new(job).map(Arc::new).map_err(|error| match error {
        JobError::Plan(text) => SessionError::ModelPlan(text),
        error => SessionError::Config(error.to_string()),
    })
}
