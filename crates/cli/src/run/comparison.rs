//! The private results beside the model in clear.

use std::path::Path;

use ariann_data::Items;
use ariann_graph::{Executor, Graph};
use ariann_plan::{Plan, Revealed, clear};
use ariann_session::local::Reports;
use ariann_session::query::argmax;
use ariann_session::{SessionError, config};

use super::Task;

/// The private results beside the model in clear.
pub struct Comparison {
    pub predictions: Vec<u32>,
    pub accuracy: Option<f64>,
    pub clear_accuracy: Option<f64>,
    /// Share of the predictions that are those of the float model.
    pub agreement: f64,
    /// Of the logits, where they are revealed.
    pub max_abs_error: Option<f64>,
    pub reference: Option<Reference>,
    /// What the float model predicts.
    pub clear: Vec<u32>,
    /// Greatest magnitude of its logits.
    pub greatest_logit: f64,
}

/// What the clear fixed-point reference says.
pub struct Reference {
    pub agreement: f64,
    /// Where logits are revealed.
    pub max_abs_error: Option<f64>,
    /// The first gate that leaves its bound.
    pub excess: Option<String>,
}

fn share(equal: usize, of: usize) -> f64 {
    equal as f64 / of.max(1) as f64
}

fn equal(a: &[u32], b: &[u32]) -> f64 {
    share(a.iter().zip(b).filter(|(a, b)| a == b).count(), a.len())
}

impl Comparison {
    pub fn new(
        task: &Task<'_>,
        graph: &Graph,
        plan: &Plan,
        items: &Items,
        labels: Option<&[u32]>,
        expected: Option<&[f32]>,
        reports: &Reports,
    ) -> Result<Self, SessionError> {
        let report = if reports.p1.predictions.is_some() { &reports.p1 } else { &reports.p0 };
        // P0 does not know how many items of the last batch are fillings.
        let mut predictions = report.predictions.clone().unwrap_or_default();
        predictions.truncate(items.count);
        let private: Option<Vec<f32>> =
            report.logits.as_ref().map(|rows| rows.iter().take(items.count).flatten().copied().collect());
        let pool = config::pool(0)?;
        let float = pool.install(|| Executor::new(graph).run(items.count, &items.values));
        let float = float.map_err(|error| SessionError::Input(error.to_string()))?;
        let classes = plan.output.classes;
        let top = |rows: &[f32]| -> Vec<u32> { rows.chunks(classes).map(argmax).collect() };
        let clear = top(&float);
        let target = expected.unwrap_or(&float);
        let error = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max);
        let reference = if task.compare_clear {
            Some(pool.install(|| reference(graph, plan, items, &predictions, private.as_deref()))?)
        } else {
            None
        };
        Ok(Comparison {
            accuracy: labels.map(|labels| equal(&predictions, labels)),
            clear_accuracy: labels.map(|labels| equal(&clear, labels)),
            agreement: equal(&predictions, &clear),
            max_abs_error: private.map(|private| error(&private, target)),
            predictions,
            reference,
            clear,
            greatest_logit: float.iter().map(|logit| f64::from(logit.abs())).fold(0.0, f64::max),
        })
    }
}

/// True labels of `count` items: of a file, of class folders, or those that the items bring along.
pub fn labels(
    given: Option<&Path>,
    input: &Path,
    count: usize,
    limit: Option<usize>,
) -> Result<Option<Vec<u32>>, SessionError> {
    // Where all items were read, a label too many is as wrong as one too few: items and labels would be of different sets.
    let most = if limit.is_some_and(|limit| limit <= count) { count } else { count + 1 };
    let labels = match given {
        Some(path) if path == Path::new("folders") => ariann_data::folder_labels(input, Some(most))?,
        Some(path) => ariann_data::load_labels(path, Some(most))?,
        None => match ariann_data::own_labels(input, Some(most))? {
            Some(labels) => labels,
            None => return Ok(None),
        },
    };
    if labels.len() != count {
        let path = given.unwrap_or(input);
        let held = if labels.len() > count { format!("more than {count}") } else { labels.len().to_string() };
        let reason = format!(
            "{}: {held} labels, and {} has {count} items; give the labels of these items, one each",
            path.display(),
            input.display()
        );
        return Err(SessionError::Input(reason));
    }
    Ok(Some(labels.into_iter().map(|label| label as u32).collect()))
}

/// The clear fixed-point reference with nearest rounding beside the private results.
fn reference(
    graph: &Graph,
    plan: &Plan,
    items: &Items,
    predictions: &[u32],
    private: Option<&[f32]>,
) -> Result<Reference, SessionError> {
    let failed = |error: clear::ClearError| SessionError::Input(error.to_string());
    let reference = clear::Reference::new(plan, graph).map_err(failed)?;
    let run = reference.run(items.count, &items.values, &mut clear::Nearest).map_err(failed)?;
    let labels = |rows: &[f32]| -> Vec<u32> {
        match plan.reveal.what {
            Revealed::Logits => rows.chunks(plan.output.classes).map(argmax).collect(),
            // A prediction reveals one of the two.
            _ => rows.iter().map(|label| *label as u32).collect(),
        }
    };
    let results = run.decoded();
    let greatest =
        |private: &[f32]| private.iter().zip(&results).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max);
    let error = private.map(greatest);
    Ok(Reference {
        agreement: equal(predictions, &labels(&results)),
        max_abs_error: error,
        excess: run.excess.map(told),
    })
}

/// The first gate that leaves its bound.
pub fn told(excess: clear::Excess) -> String {
    let clear::Excess { gate, name, item, value, bound, scale } = excess;
    let real = |value: f64| value * scale.unit();
    format!(
        "gate {gate} ({name}) leaves its bound first, at item {item}: {:.4} where {:.4} is the most; calibrate on items like \
         these, or use --ring 64",
        real(value),
        real(bound)
    )
}

/// A file of float32 little-endian values in rows of `classes`; the first `items` of it.
pub fn expected(path: &Path, items: usize, classes: usize) -> Result<Vec<f32>, SessionError> {
    let content = std::fs::read(path).map_err(|source| SessionError::file("reading", path, source))?;
    let len = items * classes;
    // Rows of another length are another model's.
    if content.len() < 4 * len || content.len() % (4 * classes) != 0 {
        let reason = format!(
            "{}: {} bytes are not {items} rows or more of {classes} values of 4 bytes; give this model's logits of these items",
            path.display(),
            content.len()
        );
        return Err(SessionError::Input(reason));
    }
    Ok(content[..4 * len].chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().expect("4 bytes"))).collect())
}
