//! Options that several commands share.

use std::path::PathBuf;

use ariann_data::Preprocess;
use ariann_gates::Receiver;
use ariann_gates::linear::Weights;
use ariann_plan::{Reveal, Revealed};
use ariann_session::planning::Planning;

/// Options of planning.
#[derive(clap::Args, Clone, Debug)]
pub struct PlanOptions {
    /// Items whose values set the scales: public ones, or the model owner's; never the private inputs. Without it, ranges
    /// are proven by interval bounds.
    #[arg(long, value_name = "FILE")]
    pub calibration: Option<PathBuf>,
    /// First items of the calibration file that are used.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub calibration_limit: usize,
    /// Bits of the ring: 32, or 64 for models without tight ranges.
    #[arg(long, default_value_t = 32, value_parser = parse_ring)]
    pub ring: u32,
    /// Who knows the weights: held by P0 in clear (fastest), shared (nobody), public (everybody).
    #[arg(long, default_value = "held", value_parser = parse_weights)]
    pub weights: Weights,
    /// What is revealed and to whom: logits or label, to p0, p1 or both.
    #[arg(long, default_value = "logits:p1", value_name = "WHAT:WHO", value_parser = parse_reveal)]
    pub reveal: Reveal,
    #[command(flatten)]
    pub preprocess: PreprocessOptions,
    /// Least and greatest value of an input; others are refused. By default what all bytes become.
    #[arg(long, value_name = "LO,HI", value_parser = parse_range, allow_hyphen_values = true)]
    pub input_range: Option<[f64; 2]>,
}

/// How bytes become numbers: x = (byte / scale - mean) / std.
#[derive(clap::Args, Clone, Debug)]
pub struct PreprocessOptions {
    /// Bytes are divided by this.
    #[arg(long, default_value_t = 255.0)]
    pub scale: f32,
    /// Subtracted, per channel.
    #[arg(long, value_name = "M,…", value_delimiter = ',', allow_hyphen_values = true)]
    pub mean: Vec<f32>,
    /// Divided by, per channel.
    #[arg(long, value_name = "S,…", value_delimiter = ',')]
    pub std: Vec<f32>,
}

impl PreprocessOptions {
    pub fn preprocess(&self) -> Preprocess {
        Preprocess { scale: self.scale, mean: self.mean.clone(), std: self.std.clone() }
    }
}

impl PlanOptions {
    /// The planner's task for `model`; `input` when the private inputs are known here.
    pub fn planning(&self, model: PathBuf, input: Option<PathBuf>) -> Planning {
        Planning {
            model,
            calibration: self.calibration.clone(),
            calibration_limit: self.calibration_limit,
            input,
            ring: self.ring,
            weights: self.weights,
            reveal: self.reveal,
            preprocess: self.preprocess.preprocess(),
            input_range: self.input_range,
        }
    }
}

fn parse_ring(text: &str) -> Result<u32, String> {
    match text {
        "32" => Ok(32),
        "64" => Ok(64),
        _ => Err("give 32 or 64".to_string()),
    }
}

fn parse_range(text: &str) -> Result<[f64; 2], String> {
    let parse = |text: &str| text.trim().parse::<f64>().ok();
    text.split_once(',')
        .and_then(|(lo, hi)| Some([parse(lo)?, parse(hi)?]))
        .ok_or_else(|| "give two numbers with a comma between them, the least first".to_string())
}

fn parse_weights(text: &str) -> Result<Weights, String> {
    match text {
        "held" => Ok(Weights::Held),
        "shared" => Ok(Weights::Shared),
        "public" => Ok(Weights::Public),
        _ => Err("give held, shared or public".to_string()),
    }
}

fn parse_reveal(text: &str) -> Result<Reveal, String> {
    let (what, to) = text.split_once(':').unwrap_or((text, "p1"));
    let what = match what {
        "logits" => Revealed::Logits,
        "label" => Revealed::Label,
        _ => return Err("give logits or label before the colon".to_string()),
    };
    let to = match to {
        "p0" => Receiver::P0,
        "p1" => Receiver::P1,
        "both" => Receiver::Both,
        _ => return Err("give p0, p1 or both after the colon".to_string()),
    };
    Ok(Reveal { what, to })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_two_numbers() {
        assert_eq!(parse_range("-1,0.5"), Ok([-1.0, 0.5]));
        assert!(parse_range("1").is_err() && parse_range("0,1,2").is_err() && parse_range("a,b").is_err());
    }

    #[test]
    fn reveal_is_what_and_whom() {
        assert_eq!(parse_reveal("label:both"), Ok(Reveal { what: Revealed::Label, to: Receiver::Both }));
        assert_eq!(parse_reveal("logits"), Ok(Reveal { what: Revealed::Logits, to: Receiver::P1 }));
        assert!(parse_reveal("weights:p1").is_err());
        assert!(parse_reveal("logits:dealer").is_err());
    }
}
