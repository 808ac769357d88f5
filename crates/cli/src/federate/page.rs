//! A simulation as a page: curves, and what became of every owner in every round.

use ariann_report::page::{Chart, Curve, Run};
use ariann_report::{bytes, seconds};

use super::outcome::{Outcome, RoundLine, percent, status};
use crate::html::{fact, group};

/// The training as one run of a page.
pub fn run(outcome: &Outcome) -> Run {
    let curve = |name: &str, of: fn(&RoundLine) -> Option<f64>| {
        let points = outcome.lines.iter().enumerate();
        let points = points.filter_map(|(at, line)| Some(((at + 1) as f64, 100.0 * of(line)?)));
        Curve { name: name.to_string(), points: points.collect() }
    };
    let curves = vec![curve("private", |line| line.round.accuracy), curve("in float", |line| line.clear)];
    let accuracy = Chart {
        title: "Accuracy on the test set".to_string(),
        across: "round".to_string(),
        unit: "%".to_string(),
        curves: curves.into_iter().filter(|curve| !curve.points.is_empty()).collect(),
    };
    let points = outcome.lines.iter().enumerate().map(|(at, line)| ((at + 1) as f64, line.round.seconds));
    let time = Chart {
        title: "Time of a round".to_string(),
        across: "round".to_string(),
        unit: "s".to_string(),
        curves: vec![Curve { name: "round".to_string(), points: points.collect() }],
    };
    let config = &outcome.config;
    let rows: Vec<String> = outcome.rows.iter().map(usize::to_string).collect();
    let mut groups = vec![group(
        "The training",
        vec![
            fact("owners", config.owners.to_string()),
            fact("their rows", rows.join(", ")),
            fact("split", format!("{:?}", config.split).to_lowercase()),
            fact("epochs in a round", config.epochs.to_string()),
            fact("time in all", seconds(outcome.simulated.server.seconds)),
            fact("material", bytes(outcome.simulated.dealer.material_bytes)),
            fact("differential privacy", outcome.simulated.server.privacy.unwrap_or_default().to_string()),
        ],
    )];
    for round in &outcome.simulated.server.rounds {
        let title = match (&round.failed, round.accuracy) {
            (Some(_), _) => format!("Round {}: without a result", round.round),
            (None, accuracy) => format!("Round {}: accuracy {}", round.round, percent(accuracy)),
        };
        let owners = round.owners.iter().map(|owner| {
            let took =
                if owner.seconds > 0.0 { format!(", {} of training", seconds(owner.seconds)) } else { String::new() };
            fact(&format!("owner {}", owner.owner), format!("{}{took}, {}", status(&owner.status), bytes(owner.bytes)))
        });
        let privacy = fact("differential privacy", round.privacy.to_string());
        groups.push(group(&title, owners.chain([privacy]).collect()));
    }
    Run { name: config.network.clone(), groups, charts: vec![accuracy, time], gates: Vec::new() }
}
