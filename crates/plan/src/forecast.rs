//! How long a run will take: the costs of the gates, at the rates of a machine and of a link.

use ariann_gates::{Comparison, Cost};
use serde::{Deserialize, Serialize};

use crate::compile::{compared_bits, form_of};
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

/// What a machine does in a second with one thread; `ariann bench` prints what stands behind these.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// Multiply-adds of a product, 32-bit ring.
    pub multiply_adds: f64,
    /// Seconds a level of a DPF.
    pub dpf_level: f64,
    /// Seconds a comparison by chunks.
    pub chunks: f64,
    /// Bytes of material read and checked.
    pub material: f64,
    /// Seconds for everything else about a value that is opened.
    pub opened: f64,
}

impl Default for Rates {
    fn default() -> Self {
        Rates { multiply_adds: 60e9, dpf_level: 2.0e-9, chunks: 12e-9, material: 3e9, opened: 6e-9 }
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

impl Forecast {
    /// All of it.
    pub fn seconds(&self) -> f64 {
        self.compute + self.transfer + self.latency
    }

    /// Of one gate with `cost`, which compares `bits` bits in `form`.
    pub fn of(cost: &Cost, bits: Option<u32>, form: Comparison, items: usize, link: &Link, rates: &Rates) -> Forecast {
        let n = items as f64;
        let comparison = match form {
            Comparison::Dpf => rates.dpf_level * f64::from(bits.unwrap_or(0).saturating_sub(6).max(1)),
            Comparison::Chunks => rates.chunks,
        };
        let opened: usize = cost.exchanges.iter().map(|sent| sent[0].count.max(sent[1].count)).sum();
        let material = cost.material.iter().chain(&cost.prepared).max().copied().unwrap_or(0) as f64;
        let compute = cost.multiply_adds as f64 / rates.multiply_adds
            + cost.comparisons as f64 * comparison
            + material / rates.material
            + opened as f64 * rates.opened;
        // Both directions at once.
        let bits: f64 =
            cost.exchanges.iter().map(|sent| 8.0 * sent[0].bytes(items).max(sent[1].bytes(items)) as f64).sum();
        Forecast {
            compute: compute * n,
            transfer: bits / link.bits_per_second,
            latency: cost.exchanges.len() as f64 * link.one_way,
        }
    }
}

impl Plan {
    /// Forecast of gate `number` for `items` items.
    pub fn forecast_gate(&self, number: usize, items: usize, link: &Link, rates: &Rates) -> Forecast {
        let gate = &self.gates[number].gate;
        let form = form_of(&mut gate.clone()).map_or(Comparison::Dpf, |form| *form);
        let mut forecast = Forecast::of(&self.cost(number), compared_bits(gate), form, items, link, rates);
        if self.ring == 64 && matches!(gate, Gate::Linear(_)) {
            // Four partial products of halves.
            forecast.compute *= 4.0;
        }
        forecast
    }

    /// Forecast of the online time of a run of `items` items.
    pub fn forecast(&self, items: usize, link: &Link, rates: &Rates) -> Forecast {
        (0..self.gates.len()).map(|gate| self.forecast_gate(gate, items, link, rates)).fold(
            Forecast::default(),
            |sum, gate| Forecast {
                compute: sum.compute + gate.compute,
                transfer: sum.transfer + gate.transfer,
                latency: sum.latency + gate.latency,
            },
        )
    }
}
