//! A party's items and labels: read, held against the job before anything is sent, and encoded batch by batch.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ariann_data::Items;
use ariann_gates::Party;
use ariann_graph::training::order;
use ariann_plan::{Gate, Plan};
use ariann_ring::{Ring, fixed};
use zeroize::Zeroizing;

use super::config::{OwnerConfig, TrainPartyConfig};
use super::course::{Course, Cursor, Kind};
use super::owner::append;
use super::pooled::{Pool, RowOwner};
use super::turns::Turn;
use crate::{SessionError, reading};

/// One data set, as far as a party brings it.
struct Set {
    features: Option<Items>,
    labels: Option<Vec<usize>>,
}

/// What a party brings. Copies share the items.
#[derive(Clone)]
pub struct Data {
    train: Arc<Set>,
    test: Arc<Set>,
    /// Shares of rows that neither party brings.
    pool: Option<Arc<Pool>>,
    classes: usize,
    /// The order of an epoch.
    order: Option<(u32, Vec<u32>)>,
}

impl Data {
    /// What a party brings that has no items.
    pub fn none(course: &Course) -> Data {
        let nothing = Arc::new(Set { features: None, labels: None });
        Data {
            train: nothing.clone(),
            test: nothing,
            pool: None,
            classes: course.step().plan.output.classes,
            order: None,
        }
    }

    /// An owner's items and labels in memory, as the job declares its input; and those of the test, where it brings them.
    pub fn in_memory(
        course: &Course,
        train: (Items, Vec<usize>),
        test: Option<(Items, Vec<usize>)>,
    ) -> Result<Data, SessionError> {
        let mut data = Data::none(course);
        data.train = Arc::new(Set::given(&course.step().plan, train, "training")?);
        if let Some(test) = test.filter(|_| course.turns().tests > 0) {
            data.test = Arc::new(Set::given(&course.at_first(Kind::Evaluate)?.plan, test, "test")?);
        }
        Ok(data)
    }

    /// Items of the training set.
    pub fn rows(&self) -> u64 {
        self.train.count()
    }

    /// Items of the test set.
    pub fn test_rows(&self) -> u64 {
        self.test.count()
    }

    /// Reads and checks what the job says that this party brings.
    pub(crate) fn read(config: &TrainPartyConfig, course: &Course, party: Party) -> Result<Data, SessionError> {
        let (job, plan) = (course.job(), &course.step().plan);
        let tests = job.reveals.accuracy.is_some();
        let train = Set::read(
            plan,
            Source { what: "features", path: config.features.as_ref(), wanted: job.features == party },
            Source { what: "labels", path: config.labels.as_ref(), wanted: job.labels == party },
            config.limit,
            job.rows,
        )?;
        let test = Set::read(
            plan,
            Source {
                what: "test_features",
                path: config.test_features.as_ref(),
                wanted: tests && job.features == party,
            },
            Source { what: "test_labels", path: config.test_labels.as_ref(), wanted: tests && job.labels == party },
            config.test_limit,
            job.test_rows,
        )?;
        train.fits(plan)?;
        if tests {
            test.fits(&course.at_first(Kind::Evaluate)?.plan)?;
        }
        Ok(Data { train: Arc::new(train), test: Arc::new(test), pool: None, classes: plan.output.classes, order: None })
    }

    /// The same with shares of the rows of owners.
    pub(crate) fn pooled(self, pool: Pool) -> Data {
        Data { pool: Some(Arc::new(pool)), ..self }
    }

    /// Reads and checks what the job says that an owner of rows brings.
    pub(crate) fn of_owner(config: &OwnerConfig, course: &Course, owner: &RowOwner) -> Result<Data, SessionError> {
        let plan = &course.step().plan;
        let source = |what, path, rows: u64| Source { what, path, wanted: rows > 0 };
        let train = Set::read(
            plan,
            source("features", config.features.as_ref(), owner.rows),
            source("labels", config.labels.as_ref(), owner.rows),
            config.limit,
            owner.rows,
        )?;
        let test = Set::read(
            plan,
            source("test_features", config.test_features.as_ref(), owner.test_rows),
            source("test_labels", config.test_labels.as_ref(), owner.test_rows),
            config.test_limit,
            owner.test_rows,
        )?;
        train.fits(plan)?;
        if owner.test_rows > 0 {
            test.fits(&course.at_first(Kind::Evaluate)?.plan)?;
        }
        Ok(Data { train: Arc::new(train), test: Arc::new(test), pool: None, classes: plan.output.classes, order: None })
    }

    /// All of it as ring elements, as bytes: items and labels of the training set, then those of the test set; `len` in all.
    pub(crate) fn parts<R: Ring>(&self, course: &Course, len: usize) -> Result<Zeroizing<Vec<u8>>, SessionError> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(len));
        let mut add = |set: &Set, plan: &Plan| {
            if let (Some(features), Some(labels)) = (&set.features, &set.labels) {
                let items: Vec<usize> = (0..labels.len()).collect();
                append::<R>(&mut bytes, &encode(features, &items, plan)?);
                append::<R>(&mut bytes, &one_hot(labels, &items, self.classes, plan)?);
            }
            Ok::<_, SessionError>(())
        };
        add(&self.train, &course.step().plan)?;
        if self.test.features.is_some() {
            add(&self.test, &course.at_first(Kind::Evaluate)?.plan)?;
        }
        Ok(bytes)
    }

    /// This party's inputs of a turn, by gate: what it brings, or its shares of what owners brought.
    pub(crate) fn inputs<R: Ring>(
        &mut self,
        cursor: &Cursor,
        plan: &Plan,
        turn: Turn,
    ) -> Result<[Option<Vec<R>>; 2], SessionError> {
        let size = cursor.course().job().recipe.batch;
        let (set, items): (&Set, Vec<usize>) = match turn {
            Turn::Step { epoch, batch } | Turn::Measure { epoch, batch } => {
                if self.order.as_ref().is_none_or(|(of, _)| *of != epoch) {
                    let (rows, seed) = cursor.order(epoch);
                    self.order = Some((epoch, order(rows as u32, seed, epoch)));
                }
                let (_, order) = self.order.as_ref().expect("made above");
                let items = order[batch as usize * size..][..size].iter().map(|item| *item as usize).collect();
                (&self.train, items)
            }
            Turn::Evaluate { batch, .. } => {
                let first = batch as usize * size;
                (&self.test, (first..first + size).collect())
            }
            Turn::Tally { .. } | Turn::Reveal { .. } | Turn::Weigh | Turn::Answer => return Ok([None, None]),
        };
        if let Some(pool) = &self.pool {
            let of = usize::from(matches!(turn, Turn::Evaluate { .. }));
            return Ok(pool.rows(of, &items).map(Some));
        }
        let features = set.features.as_ref().map(|features| encode(features, &items, plan)).transpose()?;
        let labels = set.labels.as_ref().map(|labels| one_hot(labels, &items, self.classes, plan)).transpose()?;
        Ok([features, labels])
    }
}

/// Where a part of a data set is.
struct Source<'a> {
    what: &'static str,
    path: Option<&'a PathBuf>,
    wanted: bool,
}

impl Source<'_> {
    /// The path, where this party must bring it.
    fn path(&self) -> Result<Option<&Path>, SessionError> {
        let what = self.what;
        match (self.wanted, self.path) {
            (true, None) => {
                Err(SessionError::Config(format!("this party brings {what}, and names no file: set `{what}`")))
            }
            (false, Some(_)) => Err(SessionError::Config(format!(
                "`{what}` is set, and in this job others bring them, or nobody does: take it out"
            ))),
            (_, path) => Ok(path.map(PathBuf::as_path)),
        }
    }
}

impl Set {
    fn count(&self) -> u64 {
        self.features.as_ref().map_or(0, |features| features.count as u64)
    }

    /// Refuses what does not fit the job.
    fn given(plan: &Plan, (features, labels): (Items, Vec<usize>), what: &str) -> Result<Set, SessionError> {
        let bad = |reason: String| Err(SessionError::Input(format!("{what} set: {reason}; nothing was sent")));
        let (items, classes) = (features.count, plan.output.classes);
        if features.shape != plan.input.shape || features.values.len() != items * plan.input_len() {
            return bad(format!("items of shape {:?}, the job has {:?}", features.shape, plan.input.shape));
        }
        if labels.len() != items {
            return bad(format!("{} labels for {items} items", labels.len()));
        }
        if let Some(item) = labels.iter().position(|label| *label >= classes) {
            return bad(format!("label {item} is {}, the model has the classes 0 to {}", labels[item], classes - 1));
        }
        let set = Set { features: Some(features), labels: Some(labels) };
        set.fits(plan)?;
        Ok(set)
    }

    /// Refuses a plan whose scales do not hold what this party brings: a step that failed on a value would tell the other party
    /// in which batch it is.
    fn fits(&self, plan: &Plan) -> Result<(), SessionError> {
        let least_greatest = |features: &Items| {
            features.values.iter().fold([0.0f32; 2], |[least, greatest], x| [least.min(*x), greatest.max(*x)])
        };
        let brought = [self.features.as_ref().map(least_greatest), self.labels.as_ref().map(|_| [0.0, 1.0])];
        for (entry, values) in plan.gates.iter().zip(brought) {
            let (Gate::Input(_) | Gate::Shared(_), Some(values)) = (&entry.gate, values) else { continue };
            for value in values.map(f64::from) {
                let fits = match plan.ring {
                    32 => fixed::encode::<u32>(value, entry.scale.frac).map(drop),
                    _ => fixed::encode::<u64>(value, entry.scale.frac).map(drop),
                };
                fits.map_err(|error| {
                    SessionError::Input(format!(
                        "{error}: the job's scales do not hold it; nothing was sent. Make the job again"
                    ))
                })?;
            }
        }
        Ok(())
    }

    fn read(
        plan: &Plan,
        features: Source<'_>,
        labels: Source<'_>,
        limit: Option<usize>,
        rows: u64,
    ) -> Result<Set, SessionError> {
        let (features, labels) = (features.path()?, labels.path()?);
        let agree = |path: &Path, got: usize, what: &str| {
            if got as u64 == rows {
                return Ok(());
            }
            Err(SessionError::Input(format!(
                "{}: {got} {what}, and the job is made for {rows}; nothing was sent. Give the data that the job was made for, \
                 or the same limit",
                path.display()
            )))
        };
        let items = features.map(|path| {
            let items = reading::items(plan, path, limit)?;
            agree(path, items.count, "items")?;
            Ok::<_, SessionError>(items)
        });
        let labels = labels.map(|path| {
            let labels = reading::labels(path, limit)?;
            agree(path, labels.len(), "labels")?;
            let classes = plan.output.classes;
            match labels.iter().position(|label| *label >= classes) {
                None => Ok::<_, SessionError>(labels),
                Some(item) => Err(SessionError::Input(format!(
                    "{}: labels out of range: label {item} is {}, the model has the classes 0 to {}; nothing was sent",
                    path.display(),
                    labels[item],
                    classes - 1
                ))),
            }
        });
        Ok(Set { features: items.transpose()?, labels: labels.transpose()? })
    }
}

fn encode<R: Ring>(features: &Items, items: &[usize], plan: &Plan) -> Result<Vec<R>, SessionError> {
    let frac = plan.gates[0].scale.frac;
    let mut out = Vec::with_capacity(items.len() * features.item_len());
    for item in items {
        for (at, value) in features.item(*item).iter().enumerate() {
            let word = fixed::encode(f64::from(*value), frac);
            out.push(word.map_err(|error| SessionError::Input(format!("item {item}, value {at}: {error}")))?);
        }
    }
    Ok(out)
}

fn one_hot<R: Ring>(labels: &[usize], items: &[usize], classes: usize, plan: &Plan) -> Result<Vec<R>, SessionError> {
    let one = fixed::encode(1.0, plan.gates[1].scale.frac);
    let one: R = one.map_err(|error| SessionError::Input(format!("a label: {error}")))?;
    let mut out = vec![R::ZERO; items.len() * classes];
    for (row, item) in out.chunks_exact_mut(classes).zip(items) {
        row[labels[*item]] = one;
    }
    Ok(out)
}
