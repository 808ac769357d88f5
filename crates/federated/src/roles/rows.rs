//! An owner's rows, read and held against the federation's job.

use std::path::Path;

use ariann_data::Items;
use ariann_session::training::Data;
use ariann_session::{SessionError, reading};

use super::config::FederateOwnerConfig;
use super::federation::Plan;

/// Reads the rows that an owner trains on, and those that it tests on, where it brings any.
pub fn rows(config: &FederateOwnerConfig, plan: &Plan) -> Result<Data, SessionError> {
    let train = set(plan, (&config.features, &config.labels), config.places.as_deref(), None)?;
    let test = match (&config.test_features, &config.test_labels) {
        (Some(features), Some(labels)) => Some(set(plan, (features, labels), None, config.test_limit)?),
        _ => None,
    };
    let wanted = plan.course.job().test_rows;
    if let Some((items, _)) = test.as_ref().filter(|(items, _)| items.count as u64 != wanted) {
        let reason = format!("{} test items, and the federation tests on {wanted}; set test_limit", items.count);
        return Err(SessionError::Input(reason));
    }
    Data::in_memory(&plan.course, train, test)
}

/// Reads the items at some places of a file, or all.
fn set(
    plan: &Plan,
    (features, labels): (&Path, &Path),
    places: Option<&Path>,
    limit: Option<usize>,
) -> Result<(Items, Vec<usize>), SessionError> {
    let items = reading::items(&plan.course.step().plan, features, limit)?;
    let labels = reading::labels(labels, limit)?;
    let Some(path) = places else { return Ok((items, labels)) };
    let text = std::fs::read_to_string(path).map_err(|source| SessionError::file("reading", path, source))?;
    let most = items.count.min(labels.len());
    let place = |line: &str| line.trim().parse().ok().filter(|place: &usize| *place < most);
    let places: Option<Vec<usize>> = text.lines().map(place).collect();
    let bad =
        || SessionError::Input(format!("{}: a line is no place of an item, from 0 to {}", path.display(), most - 1));
    let places = places.filter(|places| !places.is_empty()).ok_or_else(bad)?;
    let values = places.iter().flat_map(|place| items.item(*place)).copied().collect();
    let count = places.len();
    Ok((Items { shape: items.shape, values, count }, places.iter().map(|place| labels[*place]).collect()))
}
