//! A party's own part of a wire's mask, as far as it is made of the parties' words.

use std::ops::Range;

use ariann_device::Device;
use ariann_gates::{Party, Stream, kind, max_back};
use ariann_plan::{Gate, Plan};
use ariann_prg::Prg;
use ariann_ring::Ring;

use crate::engine::{Schedule, pattern};

/// What masks of a step of training follow from, beyond words.
#[derive(Clone, Copy)]
pub struct StepMasks<'a> {
    /// Which elements meet.
    pub schedule: &'a Schedule,
    /// The public seed of the patterns of dropout, and the number of the step.
    pub dropout: [u64; 2],
}

/// Whose words, of which slots.
pub struct OwnMasks<'a, D: Device> {
    /// The plan.
    pub plan: &'a Plan,
    /// Where to compute.
    pub device: &'a D,
    /// The party.
    pub party: Party,
    /// Its seed.
    pub prg: &'a Prg,
    /// The slots, one an item.
    pub slots: Range<u32>,
    /// The step, in training.
    pub step: Option<StepMasks<'a>>,
}

impl<D: Device> OwnMasks<'_, D> {
    /// r_b of the wire that `gate` gives; none where this party has no part in it.
    pub fn of<R: Ring>(&self, gate: u32) -> Option<D::Words<R>> {
        let entry = &self.plan.gates[gate as usize];
        let items = self.slots.len();
        let fresh = |len: usize| {
            let stream = Stream { kind: kind::MASK, gate, slots: self.slots.clone(), len };
            self.device.expand(self.prg, &stream, R::BITS)
        };
        match &entry.gate {
            Gate::Input(gate) => (self.party == gate.owner).then(|| fresh(gate.len)),
            Gate::Arrange(gate) => {
                let parts: Vec<_> = entry.inputs.iter().map(|input| self.of::<R>(*input)).collect();
                if parts.iter().all(Option::is_none) {
                    return None;
                }
                let zeros = |input: &u32| self.device.zeros(items * self.plan.result_len(*input as usize));
                let parts: Vec<_> = parts
                    .into_iter()
                    .zip(&entry.inputs)
                    .map(|(part, input)| part.unwrap_or_else(|| zeros(input)))
                    .collect();
                Some(gate.apply(self.device, items, &parts.iter().collect::<Vec<_>>()))
            }
            Gate::Sum(shape) => self.of::<R>(entry.inputs[0]).map(|part| self.device.sum(items, shape, &part)),
            Gate::Reduce(gate) => self.of::<R>(entry.inputs[0]).map(|part| gate.apply(self.device, &part)),
            Gate::Spread(gate) => self.of::<R>(entry.inputs[0]).map(|part| gate.apply(self.device, &part)),
            Gate::Dropout(gate) => self.of::<R>(entry.inputs[0]).map(|mut part| {
                self.device.keep(&mut part, &pattern(self.of_step().dropout, gate));
                part
            }),
            Gate::Times(gate) => self.of::<R>(entry.inputs[0]).map(|mut part| {
                self.device.scale(&mut part, gate.factor as u64);
                part
            }),
            Gate::MaxBack(_) => {
                let level = self.of_step().schedule.level(entry.bits().expect("a checked plan"));
                let g = self.of::<R>(entry.inputs[0]).expect("both have a part in an opened wire's mask");
                Some(max_back::part(self.device, level, items, &g, &fresh(level.a.len())))
            }
            _ => Some(fresh(self.plan.result_len(gate as usize))),
        }
    }

    fn of_step(&self) -> StepMasks<'_> {
        self.step.expect("a step of training has its masks made with its schedule")
    }
}
