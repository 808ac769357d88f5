//! Making a plan from a model file, options, and value ranges that are observed or proven.

use std::path::{Path, PathBuf};

use ariann_data::{Choice, Preprocess};
use ariann_gates::linear::Weights;
use ariann_graph::{Graph, Ranges};
use ariann_plan::{CompileError, Link, Optimize, Options, Pixels, Plan, Reveal, SignChoice};

use crate::{SessionError, reading};

/// How to plan.
#[derive(Clone, Debug)]
pub struct Planning {
    /// The model, ONNX.
    pub model: PathBuf,
    /// Items whose values are observed: public ones, or the model owner's. Without it ranges are proven by interval bounds.
    pub calibration: Option<PathBuf>,
    /// Items of it that are used at most, evenly spaced.
    pub calibration_limit: usize,
    /// The file with the private inputs, when it is known here: never a calibration file.
    pub input: Option<PathBuf>,
    /// k.
    pub ring: u32,
    /// Who knows the weights.
    pub weights: Weights,
    /// What comes out, and to whom.
    pub reveal: Reveal,
    /// What happens to the pixels of images.
    pub pixels: Pixels,
    /// How bytes become numbers.
    pub preprocess: Preprocess,
    /// What the form of each comparison is chosen for.
    pub optimize: Optimize,
    /// How ReLU decides a sign.
    pub sign: SignChoice,
    /// The link that the forecast is made for.
    pub link: Link,
    /// Items run together, for the forecast.
    pub items: usize,
    /// Declared range of the inputs; that of all bytes when none is given.
    pub input_range: Option<[f64; 2]>,
}

/// A model with its plan.
pub struct Planned {
    /// The model.
    pub graph: Graph,
    /// Its value ranges.
    pub ranges: Ranges,
    /// Its plan.
    pub plan: Plan,
}

impl Planning {
    /// Reads the model, observes or proves its ranges, and compiles.
    pub fn make(&self) -> Result<Planned, SessionError> {
        let graph = ariann_graph::import(&self.model)?;
        self.preprocess.check()?;
        let unfit =
            |reason| SessionError::Config(format!("pixels: {reason}; choose --resize, --crop and --order anew"));
        self.pixels.check(&graph.input.shape).map_err(unfit)?;
        let byte_ranges = self.preprocess.range();
        let [lo, hi] = self.input_range.unwrap_or_else(|| {
            let lo = byte_ranges.iter().map(|range| f64::from(range.0)).fold(f64::INFINITY, f64::min);
            let hi = byte_ranges.iter().map(|range| f64::from(range.1)).fold(f64::NEG_INFINITY, f64::max);
            [lo, hi]
        });
        if !(lo < hi && lo.is_finite() && hi.is_finite()) {
            return Err(SessionError::Config(format!("--input-range {lo},{hi}: give two numbers, the least first")));
        }
        let ranges = match &self.calibration {
            Some(path) => self.observe(&graph, path, lo, hi)?,
            None => {
                let channels = match self.input_range {
                    Some(_) => vec![(lo as f32, hi as f32)],
                    None => byte_ranges,
                };
                ariann_graph::interval::interval_by_channel(&graph, &channels)
                    .map_err(|e| SessionError::Input(e.to_string()))?
            }
        };
        let options = Options {
            ring: self.ring,
            weights: self.weights,
            reveal: self.reveal,
            input_range: [lo, hi],
            pixels: self.pixels,
            scale: self.preprocess.scale,
            mean: self.preprocess.mean.clone(),
            std: self.preprocess.std.clone(),
            optimize: self.optimize,
            sign: self.sign,
            link: self.link,
            items: self.items,
        };
        let plan = ariann_plan::compile(&graph, &ranges, &options)
            .map_err(|error| SessionError::ModelPlan(format!("{error}{}", wider(&error, &graph, &ranges, &options))))?;
        Ok(Planned { graph, ranges, plan })
    }

    fn observe(&self, graph: &Graph, path: &Path, lo: f64, hi: f64) -> Result<Ranges, SessionError> {
        if self.calibration_limit == 0 {
            return Err(SessionError::Config("--calibration-limit 0: give at least 1".to_string()));
        }
        let choice = Choice::Spread(self.calibration_limit);
        if let Some(input) = &self.input
            && let Some(file) = ariann_data::shared(path, choice, input)?
        {
            let is = if path.is_dir() || input.is_dir() { "also lies in --input" } else { "is the --input file" };
            return Err(SessionError::Config(format!(
                "--calibration {} {is}: its values would shape the public plan; calibrate on public items or on the model \
                 owner's",
                file.display()
            )));
        }
        let pixels = reading::pixels(&self.pixels);
        let items = ariann_data::load_images(path, &self.preprocess, &pixels, choice)?.fit(&graph.input.shape)?;
        ariann_data::check_range(&items, lo as f32, hi as f32)?;
        ariann_graph::calibrate(graph, items.count, &items.values).map_err(|e| SessionError::Input(e.to_string()))
    }
}

/// What a ring of 64 bits would cost a model that does not fit 32.
fn wider(error: &CompileError, graph: &Graph, ranges: &Ranges, options: &Options) -> String {
    let scaled = matches!(error, CompileError::Scale(_)) && options.ring == 32;
    let wide = scaled.then(|| ariann_plan::compile(graph, ranges, &Options { ring: 64, ..options.clone() }));
    let Some(Ok(plan)) = wide else { return String::new() };
    let totals = plan.totals(1);
    let megabytes = |bytes: [u64; 2]| (bytes[0] + bytes[1]) as f64 / 1e6;
    format!(
        "\nin a ring of 64 bits one item would take {:.1} MB of material, {:.2} MB online and {} exchanges",
        megabytes(totals.material_bytes),
        megabytes(totals.online_bytes),
        totals.exchanges
    )
}
