//! What a plan costs, before anything runs.

use ariann_gates::{Cost, Party, lookup};
use ariann_ring::Ring;
use serde::{Deserialize, Serialize};

use crate::{Gate, Plan};

/// Cost of a gate for one item.
pub fn gate_cost(gate: &Gate, ring: u32) -> Cost {
    if ring == 32 { cost::<u32>(gate) } else { cost::<u64>(gate) }
}

fn cost<R: Ring>(gate: &Gate) -> Cost {
    match gate {
        Gate::Input(gate) => gate.cost::<R>(),
        Gate::Linear(gate) => gate.cost::<R>(),
        Gate::Add(gate) => gate.cost(),
        Gate::Arrange(gate) => gate.cost(),
        Gate::Sum(_) => Cost::default(),
        Gate::Open(gate) => gate.cost(),
        Gate::Cut(gate) => gate.cost(),
        Gate::Subtract(gate) => gate.cost(),
        Gate::Max(gate) => gate.cost(),
        Gate::Relu(gate) => gate.cost::<R>(),
        Gate::Clip(gate) => gate.cost::<R>(),
        Gate::Truncate(gate) => gate.cost::<R>(),
        Gate::Lookup(gate) => lookup::cost::<R>(gate.len, gate.width, gate.to),
        Gate::Multiply(gate) => gate.cost::<R>(),
        Gate::ArgMax(gate) => gate.cost(),
        Gate::Reveal(gate) => gate.cost(),
        Gate::Shared(_) | Gate::State(_) | Gate::Store(_) | Gate::Times(_) => Cost::default(),
        Gate::Product(gate) => gate.cost::<R>(),
        Gate::Reduce(gate) => gate.cost(),
        Gate::Spread(gate) => gate.cost(),
        Gate::Dropout(gate) => gate.cost(),
        Gate::ReluBack(gate) => gate.cost::<R>(),
        Gate::MaxBack(gate) => gate.cost::<R>(),
    }
}

/// Totals of a plan. Bytes of pairs are P0's and P1's: what each sends, receives from the dealer, or holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Comparisons, one item.
    pub comparisons: u64,
    /// Multiply-adds, one item.
    pub multiply_adds: u64,
    /// Bytes the dealer makes for each party, one item, checksums left out.
    pub material_bytes: [u64; 2],
    /// Bytes each party sends once a weights version.
    pub setup_bytes: [u64; 2],
    /// Bytes each party sends online, one item.
    pub online_bytes: [u64; 2],
    /// Exchanges online, one batch of any size.
    pub exchanges: u64,
    /// Bytes of memory a party needs for its buffers, one item a batch.
    pub memory_bytes: [u64; 2],
}

impl Plan {
    /// Cost of gate `number`, one item.
    pub fn cost(&self, number: usize) -> Cost {
        gate_cost(&self.gates[number].gate, self.ring)
    }

    /// Bytes of each gate's material for `party`, one item, in plan order.
    pub fn sections(&self, party: Party) -> Vec<u64> {
        (0..self.gates.len()).map(|gate| self.cost(gate).material[party as usize] as u64).collect()
    }

    /// Bytes that `party` computes for each gate when material arrives, one item, in plan order.
    pub fn prepared_sections(&self, party: Party) -> Vec<u64> {
        (0..self.gates.len()).map(|gate| self.cost(gate).prepared[party as usize] as u64).collect()
    }

    /// Bytes of each message of setup: P0's and P1's for each linear gate.
    pub fn setup_bytes(&self) -> Vec<(u32, [usize; 2])> {
        let bytes = |linear: &ariann_gates::linear::Linear| {
            let traffic = if self.ring == 32 { linear.setup::<u32>() } else { linear.setup::<u64>() };
            traffic.map(|traffic| traffic.bytes(1))
        };
        self.linear_gates().map(|(number, linear)| (number, bytes(linear))).collect()
    }

    /// Totals for batches of `items` items: all but `exchanges` and `memory_bytes` still count one item.
    pub fn totals(&self, items: usize) -> Totals {
        let mut totals = Totals::default();
        for number in 0..self.gates.len() {
            let cost = self.cost(number);
            totals.comparisons += cost.comparisons;
            totals.multiply_adds = totals.multiply_adds.saturating_add(cost.multiply_adds);
            totals.exchanges += cost.exchanges.len() as u64;
            for party in 0..2 {
                totals.material_bytes[party] += cost.material[party] as u64;
                totals.online_bytes[party] +=
                    cost.exchanges.iter().map(|sent| sent[party].bytes(1) as u64).sum::<u64>();
            }
        }
        for (_, sent) in self.setup_bytes() {
            (0..2).for_each(|party| totals.setup_bytes[party] += sent[party] as u64);
        }
        totals.memory_bytes = [Party::P0, Party::P1].map(|party| self.memory_bytes(party, items));
        totals
    }

    /// Bytes of buffers that `party` holds at most for a batch of `items`: weights, the values that a later gate still reads,
    /// and the greatest gate's operands, masks, pieces of material and messages.
    pub fn memory_bytes(&self, party: Party, items: usize) -> u64 {
        let word = u64::from(self.ring / 8);
        let weights: u64 = self.linear_gates().map(|(_, linear)| linear.shape.weight_len() as u64 * word).sum();
        let copies = match self.weights {
            ariann_gates::linear::Weights::Shared => 3,
            _ => 2,
        };
        let last = self.last_uses();
        let mut live = 0u64;
        let mut greatest = 0u64;
        for number in 0..self.gates.len() {
            let result = self.result_len(number) as u64 * word;
            live = live.saturating_add(result.saturating_mul(items as u64));
            greatest = greatest.max(live.saturating_add(self.working_bytes(party, number, items)));
            let ended = (0..=number).filter(|input| last[*input] == number);
            let bytes: u64 = ended.map(|input| self.result_len(input) as u64 * word).sum();
            live = live.saturating_sub(bytes.saturating_mul(items as u64));
        }
        // A plan that nobody can run is still told, not computed wrongly.
        weights.saturating_mul(copies).saturating_add(greatest)
    }

    /// Bytes that gate `number` works with besides its operands and its result.
    fn working_bytes(&self, party: Party, number: usize, items: usize) -> u64 {
        let word = u64::from(self.ring / 8);
        let cost = self.cost(number);
        let section = (cost.material[party as usize] + cost.prepared[party as usize]) as u64;
        let words = match &self.gates[number].gate {
            Gate::Input(gate) => gate.len,
            Gate::Shared(gate) => gate.len,
            Gate::Linear(gate) => gate.shape.in_len() + gate.shape.out_len() * 2,
            Gate::Add(gate) => gate.len * 2,
            Gate::Arrange(gate) => gate.arrange.len,
            Gate::Sum(shape) => shape.out_len(),
            Gate::Open(gate) => gate.len * 2,
            Gate::Cut(gate) => gate.len,
            Gate::Subtract(gate) => gate.len,
            Gate::Max(gate) => gate.windows.pairs(gate.level) * 8,
            Gate::Relu(gate) => gate.len * 8,
            Gate::Clip(gate) => gate.len * 16,
            Gate::Truncate(gate) => gate.len * 3,
            Gate::Lookup(gate) => gate.len * 8 + (1 << gate.width),
            Gate::Multiply(gate) => gate.len * 4,
            Gate::ArgMax(gate) => gate.len * 12,
            Gate::Reveal(gate) => gate.len * 2,
            Gate::State(gate) | Gate::Store(gate) => gate.len,
            Gate::Product(gate) => gate.of.lens().iter().sum::<usize>() * 2 + gate.of.out_len() * 3,
            Gate::Reduce(gate) => gate.axes.kept,
            Gate::Spread(gate) => gate.axes.len(),
            Gate::Dropout(gate) => gate.len,
            Gate::Times(gate) => gate.len,
            Gate::ReluBack(gate) => gate.len * 6,
            Gate::MaxBack(gate) => gate.windows.pairs(gate.level) * 8,
        };
        let messages: usize =
            cost.exchanges.iter().map(|sent| sent[0].bytes(items) + sent[1].bytes(items)).max().unwrap_or(0);
        (words as u64)
            .saturating_mul(word)
            .saturating_mul(items as u64)
            .saturating_add(section.saturating_mul(items as u64).min(MATERIAL))
            .saturating_add(messages as u64)
    }

    /// Values of one item that gate `number` gives.
    pub fn result_len(&self, number: usize) -> usize {
        match &self.gates[number].gate {
            Gate::Input(gate) => gate.len,
            Gate::Shared(gate) => gate.len,
            Gate::Linear(gate) => gate.shape.out_len(),
            Gate::Add(gate) => gate.len,
            Gate::Arrange(gate) => gate.arrange.len,
            Gate::Sum(shape) => shape.out_len(),
            Gate::Open(gate) => gate.len,
            Gate::Cut(gate) => gate.len,
            Gate::Subtract(gate) => gate.len,
            Gate::Max(gate) => gate.windows.len_before(gate.level + 1),
            Gate::Relu(gate) => gate.len,
            Gate::Clip(gate) => gate.len,
            Gate::Truncate(gate) => gate.len,
            Gate::Lookup(gate) => gate.len,
            Gate::Multiply(gate) => gate.len,
            Gate::ArgMax(gate) => 2 * gate.len,
            Gate::Reveal(gate) => gate.len,
            Gate::State(gate) | Gate::Store(gate) => gate.len,
            Gate::Product(gate) => gate.of.out_len(),
            Gate::Reduce(gate) => gate.axes.kept,
            Gate::Spread(gate) => gate.axes.len(),
            Gate::Dropout(gate) => gate.len,
            Gate::Times(gate) => gate.len,
            Gate::ReluBack(gate) => gate.len,
            Gate::MaxBack(gate) => gate.windows.len_before(gate.level),
        }
    }
}

/// Bytes of material that are in memory at once: one gate's, and what is read ahead.
const MATERIAL: u64 = 112 << 20;
