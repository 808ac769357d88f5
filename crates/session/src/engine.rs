//! A plan's gates, one after the other, for one party and the items of one run.

use std::collections::BTreeMap;
use std::ops::Range;

use ariann_device::Device;
use ariann_gates::argmax::{Candidates, Ranked};
use ariann_gates::input::OWNER;
use ariann_gates::linear::{LayerWeights, Linear};
use ariann_gates::{Context, GateError, Keys, Party, Sections, Stream, kind};
use ariann_material::{Batch, BatchId};
use ariann_plan::{Gate, Plan};
use ariann_prg::{Prg, TreeHash};
use ariann_ring::Ring;

use crate::SessionError;
use crate::hooks::Observer;

/// The channel to the other party.
pub trait Exchange {
    /// Sends `message` and receives the answer of `expected` bytes; either may be empty and is then not sent.
    /// `step` is the same number on both sides.
    fn exchange(
        &mut self,
        step: u32,
        message: Vec<u8>,
        expected: usize,
        waiting_for: &str,
    ) -> Result<Vec<u8>, SessionError>;
    /// A gate begins; for progress.
    fn gate(&mut self, _number: u32, _name: &str) {}
}

/// Steps of a gate's exchanges: `gate * STEPS + exchange`.
pub const STEPS: u32 = 4;

/// A linear layer's weights at one party, by gate number.
pub type AllWeights<R, D> = BTreeMap<u32, LayerWeights<R, D>>;

/// Material of one batch, opened for use.
pub struct Opened {
    /// Its id.
    pub id: BatchId,
    /// As dealt.
    pub dealt: Batch,
    /// What this party prepared from it; none when it prepares nothing.
    pub prepared: Option<Batch>,
    /// The party's seed.
    pub prg: Prg,
    /// The batch's tree hash.
    pub hash: TreeHash,
}

/// One party's view of a run.
pub struct Engine<'a, R: Ring, D: Device> {
    /// The plan.
    pub plan: &'a Plan,
    /// Where to compute.
    pub device: &'a D,
    /// Which party this is.
    pub party: Party,
    /// Its weights.
    pub weights: &'a AllWeights<R, D>,
}

/// The value between two gates.
enum Value<R: Ring, D: Device> {
    Share(D::Words<R>),
    Wire { masked: Option<D::Words<R>>, gate: u32 },
    Ranked(Candidates<D::Words<R>>),
    Result(Option<D::Words<R>>),
}

/// What is the same for all exchanges of a run.
struct Run<'a> {
    material: &'a Opened,
    slots: Range<u32>,
    link: &'a mut dyn Exchange,
    observer: &'a mut dyn Observer,
}

impl<R: Ring, D: Device> Engine<'_, R, D> {
    /// Runs all gates for the items of `slots`, which are reserved. `input` holds the data owner's encoded items.
    /// Returns the result at a party that the plan reveals it to.
    pub fn run(
        &self,
        material: &Opened,
        slots: Range<u32>,
        input: Option<&[R]>,
        link: &mut dyn Exchange,
        observer: &mut dyn Observer,
    ) -> Result<Option<Vec<R>>, SessionError> {
        let mut run = Run { material, slots, link, observer };
        let mut value = Value::Result(None);
        for (number, entry) in self.plan.gates.iter().enumerate() {
            let number = number as u32;
            run.link.gate(number, &entry.name);
            value = self.gate(&mut run, number, &entry.gate, value, input)?;
        }
        match value {
            Value::Result(result) => Ok(result.map(|words| self.device.download(&words))),
            _ => unreachable!("a checked plan ends in a result"),
        }
    }

    fn context<'b>(&'b self, material: &'b Opened, slots: &Range<u32>, gate: u32) -> Context<'b, D> {
        let Opened { prg, hash, .. } = material;
        Context { party: self.party, device: self.device, prg, hash, gate, slots: slots.clone() }
    }

    fn named(&self, gate: u32) -> impl Fn(GateError) -> SessionError + '_ {
        move |source| SessionError::Gate { gate, name: self.plan.gates[gate as usize].name.clone(), source }
    }

    /// Exchange `index` of `gate`: this party's message out, the other's in, its length from the plan.
    fn swap(&self, run: &mut Run<'_>, gate: u32, index: usize, message: Vec<u8>) -> Result<Vec<u8>, SessionError> {
        let traffic = self.plan.cost(gate as usize).exchanges[index];
        let items = run.slots.len();
        assert_eq!(
            message.len(),
            traffic[self.party as usize].bytes(items),
            "a message has the length that the plan gives it"
        );
        let expected = traffic[ariann_gates::other(self.party) as usize].bytes(items);
        if !message.is_empty() {
            run.observer.sending(run.material.id, run.slots.clone(), gate, index as u32, &message);
        }
        let name = &self.plan.gates[gate as usize].name;
        let waiting_for = format!("gate {gate} {name}");
        run.link.exchange(gate * STEPS + index as u32, message, expected, &waiting_for)
    }

    fn gate(
        &self,
        run: &mut Run<'_>,
        number: u32,
        gate: &Gate,
        value: Value<R, D>,
        input: Option<&[R]>,
    ) -> Result<Value<R, D>, SessionError> {
        let material = run.material;
        let ctx = self.context(material, &run.slots, number);
        let failed = self.named(number);
        let stored = Stored { batch: &material.dealt, slots: run.slots.clone(), gate: number };
        Ok(match (gate, value) {
            (Gate::Input(gate), _) => {
                let masked = match input.filter(|_| self.party == OWNER) {
                    Some(x) => {
                        let (masked, message) = gate.send(&ctx, self.device.upload(x));
                        self.swap(run, number, 0, message)?;
                        masked
                    }
                    None => {
                        let message = self.swap(run, number, 0, Vec::new())?;
                        gate.receive(&ctx, &message).map_err(failed)?
                    }
                };
                Value::Wire { masked: Some(masked), gate: number }
            }
            (Gate::Linear(gate), Value::Wire { masked, .. }) => {
                let prepared = self.prepared(run, gate, number)?;
                let share = gate.share(&ctx, &self.weights[&number], masked, prepared);
                if run.observer.wants_shares() {
                    let words = self.device.download(&share).into_iter().map(R::to_u64).collect();
                    run.observer.linear(number, words);
                }
                Value::Share(share)
            }
            (Gate::Open(gate), Value::Share(share)) => {
                let (opening, message) = gate.start(&ctx, &share);
                let theirs = self.swap(run, number, 0, message)?;
                Value::Wire { masked: opening.finish(&ctx, &theirs).map_err(failed)?, gate: number }
            }
            (Gate::Max(gate), Value::Wire { masked: Some(x), .. }) => {
                let (compared, message) = gate.start(&ctx, &stored, x).map_err(&failed)?;
                let theirs = self.swap(run, number, 0, message)?;
                let (selected, message) = gate.select_open(&ctx, compared, &theirs).map_err(&failed)?;
                let theirs = self.swap(run, number, 1, message)?;
                Value::Wire { masked: Some(gate.finish(&ctx, selected, &theirs).map_err(&failed)?), gate: number }
            }
            (Gate::Relu(gate), Value::Wire { masked: Some(x), .. }) => {
                let (bit, message) = gate.start(&ctx, &stored, &x).map_err(&failed)?;
                let theirs = self.swap(run, number, 0, message)?;
                let (opening, message) = gate.select_open(&ctx, &x, bit, &theirs).map_err(&failed)?;
                let theirs = self.swap(run, number, 1, message)?;
                Value::Wire { masked: opening.finish(&ctx, &theirs).map_err(&failed)?, gate: number }
            }
            (Gate::Truncate(gate), Value::Wire { masked: Some(x), .. }) => {
                Value::Share(gate.share(&ctx, &stored, &x).map_err(failed)?)
            }
            (Gate::ArgMax(gate), value) => {
                let state = match value {
                    Value::Ranked(state) => state,
                    Value::Wire { masked: Some(value), .. } => {
                        let items = run.slots.len();
                        let index = self.device.upload(&gate.indices::<R>(items));
                        let own_index_mask = self.device.upload(&vec![R::ZERO; items * gate.len]);
                        Candidates { open: Ranked { value, index }, own_index_mask }
                    }
                    _ => unreachable!("a checked plan"),
                };
                let (compared, message) = gate.start(&ctx, &stored, state).map_err(&failed)?;
                let theirs = self.swap(run, number, 0, message)?;
                let (selected, message) = gate.select_open(&ctx, compared, &theirs).map_err(&failed)?;
                let theirs = self.swap(run, number, 1, message)?;
                Value::Ranked(gate.finish(&ctx, selected, &theirs).map_err(&failed)?)
            }
            (Gate::Reveal(gate), value) => {
                let (opening, message) = match value {
                    Value::Share(share) => gate.share(&ctx, share),
                    Value::Ranked(state) => gate.wire(&ctx, Some(&state.open.index), state.own_index_mask),
                    Value::Wire { masked, gate: source } => {
                        let stream = Stream { kind: kind::MASK, gate: source, slots: run.slots.clone(), len: gate.len };
                        gate.wire(&ctx, masked.as_ref(), self.device.expand(&run.material.prg, &stream, R::BITS))
                    }
                    Value::Result(_) => unreachable!("a checked plan"),
                };
                let theirs = self.swap(run, number, 0, message)?;
                Value::Result(gate.finish(&ctx, opening, &theirs).map_err(failed)?)
            }
            _ => unreachable!("a checked plan"),
        })
    }

    /// What this party prepared for a linear gate.
    fn prepared(&self, run: &Run<'_>, linear: &Linear, gate: u32) -> Result<Option<D::Words<R>>, SessionError> {
        let Some(prepared) = run.material.prepared.as_ref().filter(|_| linear.prepares(self.party)) else {
            return Ok(None);
        };
        let stored = Stored { batch: prepared, slots: run.slots.clone(), gate };
        let mut bytes = vec![0; stored.section_len() * run.slots.len()];
        stored.read(0..run.slots.len(), &mut bytes).map_err(|source| self.named(gate)(GateError::Sections(source)))?;
        let keys = Keys { sections: &bytes, section_len: stored.section_len() };
        let words = self.device.unpack(keys, 0, linear.shape.out_len(), R::BITS);
        words.map(Some).map_err(|source| self.named(gate)(GateError::Material(source)))
    }
}

/// The sections of a gate in a batch, for the slots of a run.
pub(crate) struct Stored<'a> {
    pub batch: &'a Batch,
    pub slots: Range<u32>,
    pub gate: u32,
}

impl Sections for Stored<'_> {
    fn section_len(&self) -> usize {
        self.batch.layout().sections()[self.gate as usize] as usize
    }

    fn read(&self, items: Range<usize>, out: &mut [u8]) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let at = |item: usize| self.slots.start + item as u32;
        Ok(self.batch.read_slots(at(items.start)..at(items.end), self.gate, out)?)
    }
}

/// Who the plan says receives the result.
pub fn receives(plan: &Plan, party: Party) -> bool {
    plan.reveal.to.includes(party)
}
