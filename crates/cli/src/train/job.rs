//! The public job, from what the flags say and what the rehearsal saw.

use std::sync::Arc;

use ariann_graph::Network;
use ariann_plan::training::Source;
use ariann_session::SessionError;
use ariann_session::training::{Choices, Course, Job, JobError, Ranges, Reveals, RowOwner, VERSION};

use super::prepare::{Prepared, Rehearsed};

/// What a job says beside network, recipe and ranges.
pub struct Terms {
    pub features: Source,
    pub labels: Source,
    pub owners: Vec<RowOwner>,
    pub reveals: Reveals,
    pub rescale_every: Option<u32>,
    pub choices: Choices,
}

/// The job, checked and compiled.
pub fn make(prepared: &Prepared, rehearsed: &Rehearsed, terms: Terms) -> Result<Arc<Course>, SessionError> {
    let Terms { features, labels, owners, reveals, rescale_every, choices } = terms;
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
        owners,
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

/// "NAME,FINGERPRINT,ROWS" or "NAME,FINGERPRINT,ROWS,TEST-ROWS".
pub fn parse_owner(text: &str) -> Result<RowOwner, String> {
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    let (&[name, fingerprint, rows], tested) = match parts.split_first_chunk::<3>() {
        Some((head, rest)) if rest.len() <= 1 => (head, rest.first()),
        _ => return Err("give NAME,FINGERPRINT,ROWS or NAME,FINGERPRINT,ROWS,TEST-ROWS".to_string()),
    };
    fingerprint.parse::<ariann_net::Fingerprint>().map_err(|error| format!("{name}: {error}"))?;
    let number = |text: &str| text.parse::<u64>().map_err(|_| format!("{name}: \"{text}\" is no number of items"));
    let (rows, test_rows) = (number(rows)?, tested.map_or(Ok(0), |text| number(text))?);
    Ok(RowOwner { name: name.to_string(), fingerprint: fingerprint.to_string(), rows, test_rows })
}
