//! Options that several commands share.

use std::path::PathBuf;

use ariann_data::Preprocess;
use ariann_gates::Receiver;
use ariann_gates::linear::Weights;
use ariann_plan::{Filter, Link, Optimize, Order, Pixels, Resize, Reveal, Revealed, SignChoice};
use ariann_session::planning::Planning;

/// Options of planning.
#[derive(clap::Args, Clone, Debug)]
pub struct PlanOptions {
    /// Items whose values set the scales: public ones, or the model owner's; never the private inputs. Without it, ranges
    /// are proven by interval bounds.
    #[arg(long, value_name = "PATH")]
    pub calibration: Option<PathBuf>,
    /// Items of the calibration file or folder that are used at most, evenly spaced over all (of a folder: over the sorted
    /// list of its images, so that every class has some).
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub calibration_limit: usize,
    /// Bits of the ring: 32, or 64 for models without tight ranges.
    #[arg(long, default_value_t = 32, value_parser = parse_ring)]
    pub ring: u32,
    /// Who knows the weights: held by P0 in clear (fastest), shared (nobody), public (everybody).
    #[arg(long, default_value = "held", value_parser = parse_weights)]
    pub weights: Weights,
    /// What is revealed and to whom: logits or label, to p0, p1, both, or client: outside clients, who share their inputs among P0 and P1.
    #[arg(long, default_value = "logits:p1", value_name = "WHAT:WHO", value_parser = parse_reveal)]
    pub reveal: Reveal,
    #[command(flatten)]
    pub preprocess: PreprocessOptions,
    #[command(flatten)]
    pub pixels: PixelOptions,
    /// What the form of each comparison is chosen for: time (of the forecast for the link), latency (fewest exchanges) or
    /// material (least).
    #[arg(long, default_value = "time", value_parser = parse_optimize)]
    pub optimize: Optimize,
    /// How ReLU decides a sign: exact, or coarse, on the top bits alone (docs/accuracy.md).
    #[arg(long, default_value = "exact", value_parser = parse_sign)]
    pub sign: SignChoice,
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

/// What happens to images and CIFAR-10 records before that: to calibration items, and by way of the plan to inputs.
#[derive(clap::Args, Clone, Debug)]
pub struct PixelOptions {
    /// Resize images so that their shorter side has N pixels.
    #[arg(long, value_name = "N")]
    pub resize: Option<u32>,
    /// How they are resized: nearest, bilinear, bicubic or lanczos.
    #[arg(long, default_value = "bicubic", requires = "resize", value_parser = parse_filter)]
    pub filter: Filter,
    /// Cut this out of the middle of images, after resizing.
    #[arg(long, value_name = "HxW", value_parser = parse_crop)]
    pub crop: Option<[u32; 2]>,
    /// Order of the colours that the model takes, before scale, mean and std: rgb or bgr.
    #[arg(long, default_value = "rgb", value_parser = parse_order)]
    pub order: Order,
}

impl PixelOptions {
    pub fn pixels(&self) -> Pixels {
        let resize = self.resize.map(|shorter| Resize { shorter, filter: self.filter });
        Pixels { resize, crop: self.crop, order: self.order }
    }
}

impl PlanOptions {
    /// The planner's task for `model`, run with `items` items at once over `link`; `input` when the private inputs are known here.
    pub fn planning(&self, model: PathBuf, input: Option<PathBuf>, link: Link, items: usize) -> Planning {
        Planning {
            model,
            calibration: self.calibration.clone(),
            calibration_limit: self.calibration_limit,
            input,
            ring: self.ring,
            weights: self.weights,
            reveal: self.reveal,
            preprocess: self.preprocess.preprocess(),
            pixels: self.pixels.pixels(),
            optimize: self.optimize,
            sign: self.sign,
            link,
            items,
            input_range: self.input_range,
        }
    }
}

fn parse_filter(text: &str) -> Result<Filter, String> {
    match text {
        "nearest" => Ok(Filter::Nearest),
        "bilinear" => Ok(Filter::Bilinear),
        "bicubic" => Ok(Filter::Bicubic),
        "lanczos" => Ok(Filter::Lanczos),
        _ => Err("give nearest, bilinear, bicubic or lanczos".to_string()),
    }
}

fn parse_order(text: &str) -> Result<Order, String> {
    match text {
        "rgb" => Ok(Order::Rgb),
        "bgr" => Ok(Order::Bgr),
        _ => Err("give rgb or bgr".to_string()),
    }
}

fn parse_crop(text: &str) -> Result<[u32; 2], String> {
    text.split_once('x')
        .and_then(|(height, width)| Some([height.parse().ok()?, width.parse().ok()?]))
        .ok_or_else(|| "give height and width, as in 224x224".to_string())
}

pub fn parse_optimize(text: &str) -> Result<Optimize, String> {
    match text {
        "time" => Ok(Optimize::Time),
        "latency" => Ok(Optimize::Latency),
        "material" => Ok(Optimize::Material),
        _ => Err("give time, latency or material".to_string()),
    }
}

pub fn parse_sign(text: &str) -> Result<SignChoice, String> {
    match text {
        "exact" => Ok(SignChoice::Exact),
        "coarse" => Ok(SignChoice::Coarse),
        _ => Err("give exact or coarse".to_string()),
    }
}

pub fn parse_ring(text: &str) -> Result<u32, String> {
    match text {
        "32" => Ok(32),
        "64" => Ok(64),
        _ => Err("give 32 or 64".to_string()),
    }
}

pub fn parse_range(text: &str) -> Result<[f64; 2], String> {
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
        "client" => Receiver::Client,
        _ => return Err("give p0, p1, both or client after the colon".to_string()),
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
    fn a_crop_is_height_and_width() {
        assert_eq!(parse_crop("224x192"), Ok([224, 192]));
        assert!(parse_crop("224").is_err() && parse_crop("224x").is_err() && parse_crop("-1x2").is_err());
    }

    #[test]
    fn a_filter_is_of_a_resize() {
        let options = |resize| PixelOptions { resize, filter: Filter::Nearest, crop: Some([2, 3]), order: Order::Bgr };
        assert_eq!(options(None).pixels(), Pixels { resize: None, crop: Some([2, 3]), order: Order::Bgr });
        assert_eq!(options(Some(4)).pixels().resize, Some(Resize { shorter: 4, filter: Filter::Nearest }));
    }

    #[test]
    fn reveal_is_what_and_whom() {
        assert_eq!(parse_reveal("label:both"), Ok(Reveal { what: Revealed::Label, to: Receiver::Both }));
        assert_eq!(parse_reveal("logits"), Ok(Reveal { what: Revealed::Logits, to: Receiver::P1 }));
        assert_eq!(parse_reveal("label:client"), Ok(Reveal { what: Revealed::Label, to: Receiver::Client }));
        assert!(parse_reveal("weights:p1").is_err());
        assert!(parse_reveal("logits:dealer").is_err());
    }
}
