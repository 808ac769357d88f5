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
    checked(job)
}

/// A job with more items, of new owners or of old ones, from a later epoch on.
pub fn extend(mut job: Job, owners: &[RowOwner]) -> Result<Arc<Course>, SessionError> {
    if job.features != Source::Owners {
        let reason = "--extend: in this job P0 or P1 brings the items, and no owner can add any";
        return Err(SessionError::Config(reason.to_string()));
    }
    if let Some(owner) = owners.iter().find(|owner| owner.from_epoch == 1) {
        let reason = "a training that has begun takes items from a later epoch on; give NAME,FINGERPRINT,ROWS,0,EPOCH";
        return Err(SessionError::Config(format!("--owner {}: {reason}", owner.name)));
    }
    job.rows = owners.iter().fold(job.rows, |sum, owner| sum.saturating_add(owner.rows));
    job.owners.extend_from_slice(owners);
    checked(job)
}

fn checked(job: Job) -> Result<Arc<Course>, SessionError> {
    Course::new(job).map(Arc::new).map_err(|error| match error {
        JobError::Plan(text) => SessionError::ModelPlan(text),
        error => SessionError::Config(error.to_string()),
    })
}

/// "NAME,FINGERPRINT,ROWS", also with TEST-ROWS and then with the epoch from which on they take part.
pub fn parse_owner(text: &str) -> Result<RowOwner, String> {
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    let (&[name, fingerprint, rows], more) = match parts.split_first_chunk::<3>() {
        Some((head, rest)) if rest.len() <= 2 => (head, rest),
        _ => return Err("give NAME,FINGERPRINT,ROWS, then TEST-ROWS, then the epoch that they come to".to_string()),
    };
    fingerprint.parse::<ariann_net::Fingerprint>().map_err(|error| format!("{name}: {error}"))?;
    let number = |text: &str| text.parse::<u64>().map_err(|_| format!("{name}: \"{text}\" is no number of items"));
    let (rows, test_rows) = (number(rows)?, more.first().map_or(Ok(0), |text| number(text))?);
    let epoch = |text: &&str| text.parse().map_err(|_| format!("{name}: \"{text}\" is no number of an epoch"));
    let from_epoch = more.get(1).map_or(Ok(1), epoch)?;
    Ok(RowOwner { name: name.to_string(), fingerprint: fingerprint.to_string(), rows, test_rows, from_epoch })
}
