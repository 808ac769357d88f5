//! `ariann zoo`: well-known networks with random weights, as ONNX.

use std::path::PathBuf;

use ariann_graph::zoo::{self, Options};
use ariann_report::{bytes, count};
use ariann_session::SessionError;
use serde_json::json;

use crate::output::Output;

/// Arguments of `zoo`.
#[derive(clap::Args)]
pub struct Args {
    /// network1, network2, lenet, alexnet-cifar, alexnet-64, vgg16-32, vgg16-64, resnet8 or resnet18.
    name: String,
    /// Channels, height and width of the input; the network's own by default.
    #[arg(long, value_name = "CxHxW", value_parser = parse_input)]
    input: Option<[usize; 3]>,
    /// Outputs; the network's own number by default.
    #[arg(long, value_name = "N")]
    classes: Option<usize>,
    /// Where the weights come from.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where to write it.
    #[arg(short, long = "output", value_name = "FILE.onnx")]
    out: PathBuf,
}

pub fn run(args: &Args, output: &Output) -> Result<(), SessionError> {
    let options = Options { input: args.input, classes: args.classes, seed: args.seed };
    let network = zoo::network(&args.name, &options).map_err(|error| SessionError::Config(error.to_string()))?;
    std::fs::write(&args.out, &network.onnx).map_err(|source| SessionError::file("writing", &args.out, source))?;
    if output.is_json() {
        output.document(&json!({
            "name": network.name,
            "input": network.input,
            "classes": network.classes,
            "seed": args.seed,
            "parameters": network.parameters,
            "multiply_adds": network.multiply_adds,
            "path": args.out,
        }));
        return Ok(());
    }
    let [channels, height, width] = network.input;
    output.line(&format!(
        "{}: input {channels}x{height}x{width}, {} classes, {} parameters, {} multiply-adds an item",
        network.name,
        network.classes,
        count(network.parameters),
        count(network.multiply_adds),
    ));
    output.line(&format!("written to {} ({})", args.out.display(), bytes(network.onnx.len() as u64)));
    Ok(())
}

fn parse_input(text: &str) -> Result<[usize; 3], String> {
    let sizes: Option<Vec<usize>> = text.split('x').map(|size| size.parse().ok()).collect();
    sizes.and_then(|sizes| sizes.try_into().ok()).ok_or_else(|| "give three sizes, as in 3x32x32".to_string())
}

#[cfg(test)]
mod tests {
    use ariann_graph::zoo::NAMES;

    use super::*;

    #[test]
    fn an_input_is_three_sizes() {
        assert_eq!(parse_input("3x32x40"), Ok([3, 32, 40]));
        for wrong in ["3x32", "3x32x32x1", "ax1x1", "", "-1x2x3"] {
            assert!(parse_input(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_help_names_every_network() {
        use clap::Args as _;
        let help = Args::augment_args(clap::Command::new("zoo")).render_help().to_string();
        assert!(NAMES.iter().all(|name| help.contains(name)), "{help}");
    }
}
