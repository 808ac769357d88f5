//! `ariann bench federated`: what a round costs the server and an owner as owners become more.

use ariann_federated::bench::{Figures, measure};
use ariann_federated::roles::FederateReport;
use ariann_report::{bytes, count, seconds, table};
use ariann_session::SessionError;
use serde_json::{Value, json};

use crate::federate::outcome::Outcome;
use crate::federate::simulation::{self, SimulateConfig};
use crate::output::Output;
use crate::run as runs;

/// Arguments of `bench federated`.
#[derive(clap::Args)]
pub struct Args {
    /// How many owners, one figure each.
    #[arg(long, value_delimiter = ',', default_values_t = [2, 5, 10, 20], value_parser = clap::value_parser!(u16).range(2..=1024))]
    owners: Vec<u16>,
    /// Network of the zoo that is trained.
    #[arg(long, default_value = "network1")]
    network: String,
    /// Rows of each owner; the bundled images suffice for 2,000 in all.
    #[arg(long, default_value_t = 100)]
    rows: usize,
    /// Rounds; the first one, in which connections and keys are made, is left out of the figures when there are more.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Values of the model in the aggregation alone; those of the network by default.
    #[arg(long)]
    values: Option<u64>,
    /// Owners that drop out in the aggregation alone, at the worst moment; as many as the threshold allows by default.
    #[arg(long)]
    dropped: Option<u16>,
    /// Bits of the ring: 32 or 64.
    #[arg(long, default_value_t = 32)]
    ring: u32,
    /// Leave the roles out, and measure the aggregation alone; needs --values.
    #[arg(long, requires = "values")]
    aggregation: bool,
}

/// Whole rounds by the roles as processes over TLS.
struct Whole {
    owners: u16,
    values: u64,
    round_seconds: f64,
    /// Of one owner: its training, and payload bytes between it and the server.
    owner: (f64, u64),
    server: FederateReport,
    dealer: FederateReport,
    /// The owner with the greatest memory, and the greatest work.
    owner_peak: Option<u64>,
    owner_cpu: Option<f64>,
    rounds: u32,
}

pub fn run(args: &Args, output: &Output) -> Result<(), SessionError> {
    if !matches!(args.ring, 32 | 64) {
        return Err(SessionError::Config(format!("--ring {}: it has 32 or 64 bits", args.ring)));
    }
    let (mut roles, mut alone) = (Vec::new(), Vec::new());
    if !args.aggregation {
        runs::heed_interrupts()?;
        for owners in &args.owners {
            roles.push(whole(args, *owners, output)?);
        }
    }
    for owners in &args.owners {
        let values = args.values.or(roles.first().map(|whole| whole.values)).unwrap_or(0);
        let most = owners - (owners / 2 + 1);
        alone.push(measure(*owners, args.dropped.map_or(most, |dropped| dropped.min(most)), values, args.ring)?);
    }
    if output.is_json() {
        output.document(&json!({
            "roles": roles.iter().map(Whole::document).collect::<Vec<_>>(),
            "aggregation": alone.iter().map(document).collect::<Vec<_>>(),
        }));
        return Ok(());
    }
    if !roles.is_empty() {
        output.line(&format!(
            "Whole rounds of {} with {} rows at each owner: server, dealer and owners as processes over TLS on this machine",
            args.network, args.rows
        ));
        output.line(&table(&WHOLE, &roles.iter().map(Whole::row).collect::<Vec<_>>()));
        output.line("");
    }
    let values = alone.first().map_or(0, |figures| figures.values);
    output.line(&format!(
        "The aggregation of {} values alone, in one thread, with the most drop-outs that the threshold allows",
        count(values)
    ));
    output.line(&table(&ALONE, &alone.iter().map(row).collect::<Vec<_>>()));
    Ok(())
}

const WHOLE: [&str; 9] = [
    "owners",
    "a round",
    "server's work a round",
    "an owner's work a round",
    "an owner's training",
    "bytes of an owner a round",
    "server's memory",
    "an owner's memory",
    "dealer's memory",
];

const ALONE: [&str; 7] =
    ["owners", "drop out", "server", "server receives", "server sends", "an owner", "an owner sends"];

fn whole(args: &Args, owners: u16, output: &Output) -> Result<Whole, SessionError> {
    let folder = runs::folder(None)?;
    let config = SimulateConfig {
        network: args.network.clone(),
        owners,
        rounds: args.rounds,
        limit: Some(args.rows.saturating_mul(usize::from(owners))),
        ring: args.ring,
        reveal_accuracy: false,
        compare_clear: false,
        ..SimulateConfig::default()
    };
    let Outcome { simulated, lines, values, .. } = simulation::run(&config, folder.path(), output)?;
    let counted: Vec<_> = lines.iter().map(|line| &line.round).skip(usize::from(lines.len() > 1)).collect();
    let mean = |all: Vec<f64>| all.iter().sum::<f64>() / all.len().max(1) as f64;
    let of_owner = counted.iter().flat_map(|round| &round.owners);
    let (trained, carried) = (of_owner.clone().map(|owner| owner.seconds), of_owner.map(|owner| owner.bytes));
    Ok(Whole {
        owners,
        values,
        round_seconds: mean(counted.iter().map(|round| round.seconds).collect()),
        owner: (mean(trained.collect()), carried.max().unwrap_or(0)),
        owner_peak: simulated.owners.iter().filter_map(|(_, report)| report.peak_rss_bytes).max(),
        owner_cpu: simulated.owners.iter().filter_map(|(_, report)| report.cpu_seconds).reduce(f64::max),
        server: simulated.server,
        dealer: simulated.dealer,
        rounds: args.rounds,
    })
}

impl Whole {
    fn work(&self, cpu: Option<f64>) -> Option<f64> {
        Some(cpu? / f64::from(self.rounds))
    }

    fn row(&self) -> Vec<String> {
        let known = |value: Option<u64>| value.map_or("unknown".to_string(), bytes);
        let work = |cpu| self.work(cpu).map_or("unknown".to_string(), seconds);
        vec![
            self.owners.to_string(),
            seconds(self.round_seconds),
            work(self.server.cpu_seconds),
            work(self.owner_cpu),
            seconds(self.owner.0),
            count(self.owner.1),
            known(self.server.peak_rss_bytes),
            known(self.owner_peak),
            known(self.dealer.peak_rss_bytes),
        ]
    }

    fn document(&self) -> Value {
        json!({
            "owners": self.owners, "values": self.values, "round_seconds": self.round_seconds,
            "owner_training_seconds": self.owner.0, "owner_bytes_a_round": self.owner.1,
            "server_cpu_seconds_a_round": self.work(self.server.cpu_seconds),
            "owner_cpu_seconds_a_round": self.work(self.owner_cpu),
            "server_peak_rss_bytes": self.server.peak_rss_bytes, "owner_peak_rss_bytes": self.owner_peak,
            "dealer_peak_rss_bytes": self.dealer.peak_rss_bytes, "material_bytes": self.dealer.material_bytes,
        })
    }
}

fn row(figures: &Figures) -> Vec<String> {
    vec![
        figures.owners.to_string(),
        figures.dropped.to_string(),
        seconds(figures.server.seconds()),
        count(figures.server.received),
        count(figures.server.sent),
        seconds(figures.owner.seconds()),
        count(figures.owner.sent),
    ]
}

fn document(figures: &Figures) -> Value {
    let cost = |cost: &ariann_federated::bench::Cost| {
        json!({
            "seconds": cost.seconds(), "parts": cost.parts, "bytes_sent": cost.sent, "bytes_received": cost.received,
        })
    };
    json!({
        "owners": figures.owners, "dropped": figures.dropped, "values": figures.values, "ring": figures.ring,
        "server": cost(&figures.server), "owner": cost(&figures.owner),
    })
}
