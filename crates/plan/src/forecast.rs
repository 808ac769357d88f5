//! How long a run will take: the costs of the gates, at the rates of a machine and of a link.

use ariann_gates::{Comparison, Cost, Party, Traffic};
use serde::{Deserialize, Serialize};

use crate::{Gate, Plan};

/// A link between P0 and P1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// Bits a second, each way.
    pub bits_per_second: f64,
    /// Seconds that a byte is under way.
    pub one_way: f64,
}

impl Link {
    /// Both parties on one machine.
    pub const LOOPBACK: Link = Link { bits_per_second: 8e9, one_way: 40e-6 };
    /// 1 Gbit/s, 0.5 ms round trip.
    pub const LAN: Link = Link { bits_per_second: 1e9, one_way: 0.25e-3 };
    /// 100 Mbit/s, 70 ms round trip.
    pub const WAN: Link = Link { bits_per_second: 100e6, one_way: 35e-3 };
}

/// What a machine does with one thread; `ariann bench` prints what stands behind these. The defaults are those of a server
/// core with AVX-512 and AMX.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// Multiply-adds of a product a second, 32-bit ring.
    pub multiply_adds: f64,
    /// Seconds a level of a DPF.
    pub dpf_level: f64,
    /// Seconds a comparison by chunks.
    pub chunks: f64,
    /// Bytes of material read and checked a second.
    pub material: f64,
    /// Seconds a value that is masked, opened and selected.
    pub value: f64,
    /// Seconds that a run takes besides: its request, and reserving its material durably.
    pub run: f64,
}

impl Default for Rates {
    fn default() -> Self {
        Rates { multiply_adds: 140e9, dpf_level: 2.0e-9, chunks: 14e-9, material: 5e9, value: 8e-9, run: 5e-3 }
    }
}

/// Seconds by what they are spent on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// Computing, material read included.
    pub compute: f64,
    /// Bytes on the wire.
    pub transfer: f64,
    /// Waiting for messages under way.
    pub latency: f64,
}

/// Seconds a value of a local gate.
const LOCAL: f64 = 3e-9;

impl Forecast {
    /// All of it.
    pub fn seconds(&self) -> f64 {
        self.compute + self.transfer + self.latency
    }

    /// Of one gate with `cost`, which compares `bits` bits in `form`.
    pub fn of(cost: &Cost, bits: Option<u32>, form: Comparison, items: usize, link: &Link, rates: &Rates) -> Forecast {
        let message = |sent: &[Traffic; 2]| sent[0].bytes(items).max(sent[1].bytes(items)) as f64;
        // Both directions at once.
        let bytes: f64 = cost.exchanges.iter().map(message).sum();
        Forecast {
            compute: compute(cost, bits, form, rates) * items as f64,
            transfer: 8.0 * bytes / link.bits_per_second,
            latency: cost.exchanges.len() as f64 * link.one_way,
        }
    }
}

/// Seconds of computing, one item, of the party that has more to do.
fn compute(cost: &Cost, bits: Option<u32>, form: Comparison, rates: &Rates) -> f64 {
    let comparison = match form {
        Comparison::Dpf => rates.dpf_level * f64::from(bits.unwrap_or(0).saturating_sub(6).max(1)),
        Comparison::Chunks => rates.chunks,
    };
    let values =
        |sent: &[Traffic; 2]| sent.iter().filter(|sent| sent.width > 1).map(|sent| sent.count).max().unwrap_or(0);
    let values: usize = cost.exchanges.iter().map(values).sum();
    let material = cost.material.iter().chain(&cost.prepared).max().copied().unwrap_or(0) as f64;
    cost.multiply_adds as f64 / rates.multiply_adds
        + cost.comparisons as f64 * comparison
        + material / rates.material
        + values as f64 * rates.value
}

impl Plan {
    /// Forecast of gate `number` for `items` items.
    pub fn forecast_gate(&self, number: usize, items: usize, link: &Link, rates: &Rates) -> Forecast {
        let gate = &self.gates[number].gate;
        let compared = gate.compares();
        let form = compared.map_or(Comparison::Dpf, |compared| compared.form);
        let mut forecast =
            Forecast::of(&self.cost(number), compared.map(|compared| compared.bits), form, items, link, rates);
        if matches!(gate, Gate::Product(_)) {
            // Two products a party, of which the backward ones run at half the rate.
            let products = 3.0 * self.cost(number).multiply_adds as f64 / rates.multiply_adds;
            forecast.compute += products * items as f64;
        }
        if matches!(gate, Gate::Add(_) | Gate::Spread(_) | Gate::Reduce(_) | Gate::Arrange(_) | Gate::Times(_)) {
            // Memory traffic alone, which is small beside a prediction's gates.
            forecast.compute += if self.training.is_some() { LOCAL * self.result_len(number) as f64 } else { 0.0 };
        }
        if self.ring == 64 && matches!(gate, Gate::Linear(_) | Gate::Product(_)) {
            // Four partial products of halves.
            forecast.compute *= 4.0;
        }
        forecast
    }

    /// What the gates of a run of `items` items take, one after the other; [`Plan::forecast_seconds`] is less where the parties
    /// work at the same time.
    pub fn forecast(&self, items: usize, link: &Link, rates: &Rates) -> Forecast {
        let run = Forecast { compute: rates.run, ..Forecast::default() };
        (0..self.gates.len()).map(|gate| self.forecast_gate(gate, items, link, rates)).fold(run, |sum, gate| Forecast {
            compute: sum.compute + gate.compute,
            transfer: sum.transfer + gate.transfer,
            latency: sum.latency + gate.latency,
        })
    }

    /// Forecast of the online seconds of a run of `items` items: both parties' clocks and both directions of the link, message
    /// by message. A party that receives nothing in an exchange does not wait.
    pub fn forecast_seconds(&self, items: usize, link: &Link, rates: &Rates) -> f64 {
        let (mut clock, mut free) = ([rates.run; 2], [0.0f64; 2]);
        for number in 0..self.gates.len() {
            let forecast = self.forecast_gate(number, items, link, rates);
            let works = match &self.gates[number].gate {
                Gate::Linear(linear) => [Party::P0, Party::P1].map(|party| linear.needs_operand(party)),
                _ => [true; 2],
            };
            let before = clock;
            for party in 0..2 {
                clock[party] += if works[party] { forecast.compute } else { 0.0 };
            }
            // An opening's message leaves while it is computed.
            let in_pieces = matches!(self.gates[number].gate, Gate::Open(_));
            for sent in self.cost(number).exchanges {
                let arrival = [0, 1].map(|party: usize| {
                    let bytes = sent[party].bytes(items) as f64;
                    (bytes > 0.0).then(|| {
                        let begins = if in_pieces { before[party] } else { clock[party] };
                        let sent = begins.max(free[party]) + 8.0 * bytes / link.bits_per_second;
                        free[party] = sent.max(clock[party]);
                        free[party] + link.one_way
                    })
                });
                for party in 0..2 {
                    clock[party] = arrival[1 - party].map_or(clock[party], |arrival| clock[party].max(arrival));
                }
            }
        }
        clock[0].max(clock[1])
    }
}
