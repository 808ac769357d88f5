//! Making material: the dealer walks the plan once for each slot.

use std::collections::BTreeMap;
use std::sync::Arc;

use ariann_device::Device;
use ariann_gates::argmax::Ranked;
use ariann_gates::{Dealing, Party};
use ariann_plan::{Entry, Gate, Plan};
use ariann_prg::{HashKeys, Prg, Seed, TreeHash};
use ariann_ring::Ring;

use crate::SessionError;
use crate::engine::Schedule;
use crate::masks::{OwnMasks, StepMasks};

/// Blocks hashed under one pair of keys K, K' at most (docs/security.md, assumption 2).
const BLOCKS_A_BATCH: u64 = 1 << 30;

/// The most slots that one batch of `plan` may hold; none when one item alone needs more blocks than a batch may hash.
pub fn slots_a_batch(plan: &Plan) -> u32 {
    let blocks: u64 = (0..plan.gates.len())
        .map(|gate| {
            // P0 is dealt keys and nothing else: 16 bytes a level, made from two calls a level.
            2 * plan.cost(gate).material[0] as u64 / 16
        })
        .sum();
    u32::try_from(BLOCKS_A_BATCH / blocks.max(1)).unwrap_or(u32::MAX)
}

/// The seeds of one batch, in the dealer's hands.
pub struct BatchSeeds {
    /// The parties'.
    pub parties: [Seed; 2],
    /// The dealer's own.
    pub coins: Seed,
    /// K and K'.
    pub hash: HashKeys,
}

impl BatchSeeds {
    /// Fresh from the operating system.
    pub fn draw() -> Result<Self, SessionError> {
        let parties = [Seed::from_entropy()?, Seed::from_entropy()?];
        Ok(BatchSeeds { parties, coins: Seed::from_entropy()?, hash: HashKeys::from_entropy()? })
    }
}

/// Makes the slots of one batch.
pub struct Maker<'a, R: Ring, D: Device> {
    plan: &'a Plan,
    device: &'a D,
    schedule: Arc<Schedule>,
    parties: [Prg; 2],
    coins: Prg,
    hash: TreeHash,
    /// The public seed of the patterns of dropout, and the number of the step.
    dropout: [u64; 2],
    /// B or R_W of each linear gate.
    weights: BTreeMap<u32, D::Weights<R>>,
}

/// Masks of a gate's result, as far as the dealer needs them.
enum Masks<W> {
    /// Of a share, of the input, or of a wire whose mask follows from the parties' words.
    Words,
    /// The mask of a wire.
    Wire(W),
    /// Of candidates and their indices.
    Ranked(Ranked<W>),
    Gone,
}

impl<'a, R: Ring, D: Device> Maker<'a, R, D> {
    /// Expands seeds and the weights' masks, once for all slots. `schedule` is the plan's and serves all batches.
    pub fn new(
        plan: &'a Plan,
        schedule: Arc<Schedule>,
        device: &'a D,
        batch: &BatchSeeds,
        weights: [&Seed; 2],
    ) -> Self {
        let seeds = weights.map(Prg::new);
        let weights = plan
            .linear_gates()
            .filter_map(|(gate, linear)| Some((gate, linear.deal_weights(device, gate, [&seeds[0], &seeds[1]])?)))
            .collect();
        let [seed0, seed1] = &batch.parties;
        Maker {
            plan,
            device,
            schedule,
            parties: [Prg::new(seed0), Prg::new(seed1)],
            coins: Prg::new(&batch.coins),
            hash: TreeHash::new(&batch.hash),
            dropout: [0; 2],
            weights,
        }
    }

    /// For a step of training: the public seed of the patterns of dropout, and the number of the step.
    pub fn of_step(self, dropout: [u64; 2]) -> Self {
        Maker { dropout, ..self }
    }

    /// Makes slot number `slot` and hands over the sections of each gate, P0's and P1's, in plan order: no more than one
    /// gate's are in memory at once.
    pub fn slot<E>(
        &self,
        slot: u32,
        mut hand_over: impl FnMut(u32, &mut [Vec<u8>; 2]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut masks: Vec<Masks<D::Words<R>>> = Vec::with_capacity(self.plan.gates.len());
        // r_d of gates whose bits a later gate takes.
        let mut bits = BTreeMap::new();
        for (number, entry) in self.plan.gates.iter().enumerate() {
            let material = self.plan.cost(number).material;
            let mut sections = material.map(Vec::with_capacity);
            let mask = self.gate(number as u32, slot, entry, &mut masks, &mut bits, &mut sections);
            masks.push(mask);
            for input in entry.operands().iter().filter(|input| self.schedule.last_use(**input) == number) {
                masks[*input as usize] = Masks::Gone;
            }
            let last = |bits: &u32| self.schedule.last_use_of_bits(*bits) == Some(number as u32);
            if let Some(spent) = entry.bits().filter(last) {
                bits.remove(&spent);
            }
            assert_eq!(
                [sections[0].len(), sections[1].len()],
                material,
                "a section has the length that the plan gives it"
            );
            hand_over(number as u32, &mut sections)?;
        }
        Ok(())
    }

    /// Keeps r_d where a later gate takes it.
    fn keep(&self, bits: &mut BTreeMap<u32, D::Bits>, number: u32, r_d: D::Bits) {
        if self.schedule.keeps_bits(number) {
            bits.insert(number, r_d);
        }
    }

    /// The part of a wire's mask that `party` knows.
    fn part(&self, party: Party, slot: u32, gate: u32) -> Option<D::Words<R>> {
        let prg = &self.parties[party as usize];
        let step = Some(StepMasks { schedule: &self.schedule, dropout: self.dropout });
        OwnMasks { plan: self.plan, device: self.device, party, prg, slots: slot..slot + 1, step }.of(gate)
    }

    /// The sum of those parts that `wanted` asks for.
    fn summed(&self, slot: u32, gate: u32, wanted: impl Fn(Party) -> bool) -> Option<D::Words<R>> {
        let parts = [Party::P0, Party::P1].into_iter().filter(|party| wanted(*party));
        parts.filter_map(|party| self.part(party, slot, gate)).reduce(|mut sum, part| {
            self.device.add(&mut sum, &part);
            sum
        })
    }

    fn gate(
        &self,
        number: u32,
        slot: u32,
        entry: &Entry,
        masks: &mut [Masks<D::Words<R>>],
        bits: &mut BTreeMap<u32, D::Bits>,
        sections: &mut [Vec<u8>; 2],
    ) -> Masks<D::Words<R>> {
        let dealing = Dealing {
            device: self.device,
            seeds: [&self.parties[Party::P0 as usize], &self.parties[Party::P1 as usize]],
            coins: &self.coins,
            hash: &self.hash,
            gate: number,
            slot,
        };
        let dealing = &dealing;
        let whole = |gate: u32| self.summed(slot, gate, |_| true).expect("an opened wire has a mask");
        let first = entry.inputs.first().copied();
        let alpha = |masks: &[Masks<D::Words<R>>]| -> D::Words<R> {
            let first = first.expect("a checked plan");
            match &masks[first as usize] {
                Masks::Wire(alpha) => self.device.copy(alpha),
                _ => whole(first),
            }
        };
        match &entry.gate {
            Gate::Linear(gate) => {
                let source = entry.inputs[0];
                let operand = self.summed(slot, source, |party| gate.corrects(party));
                gate.deal(dealing, self.weights.get(&number), operand, sections);
                Masks::Words
            }
            Gate::Open(gate) if gate.window.shift == 0 && gate.window.top == R::BITS => Masks::Words,
            Gate::Open(gate) => Masks::Wire(gate.deal(dealing)),
            Gate::Cut(gate) => Masks::Wire(gate.apply(self.device, &alpha(masks))),
            Gate::Subtract(gate) => {
                let [a, b] = [entry.inputs[0], entry.inputs[1]].map(|input| match &masks[input as usize] {
                    Masks::Wire(alpha) => alpha,
                    _ => unreachable!("a checked plan"),
                });
                Masks::Wire(gate.apply(self.device, a, b))
            }
            Gate::Arrange(gate) => match &masks[entry.inputs[0] as usize] {
                Masks::Wire(alpha) => Masks::Wire(gate.apply(self.device, 1, &[alpha])),
                // The mask of a share or of a whole wire follows from the parties' words.
                _ => Masks::Words,
            },
            Gate::Max(gate) => {
                let level = self.schedule.level(number);
                let (mask, r_d) = gate.deal_keeping(dealing, level, &alpha(masks), sections);
                self.keep(bits, number, r_d);
                Masks::Wire(mask)
            }
            Gate::Relu(gate) => {
                let (_, r_d) = gate.deal_keeping(dealing, &alpha(masks), sections);
                self.keep(bits, number, r_d);
                Masks::Words
            }
            Gate::Clip(gate) => {
                gate.deal(dealing, &alpha(masks), sections);
                Masks::Words
            }
            Gate::Lookup(_) => {
                self.schedule.lookup(number).deal(dealing, &alpha(masks), sections);
                Masks::Words
            }
            Gate::Multiply(gate) => {
                let [a, b] = [entry.inputs[0], entry.inputs[1]].map(whole);
                gate.deal(dealing, [&a, &b], sections);
                Masks::Words
            }
            Gate::Truncate(gate) => {
                gate.deal(dealing, &alpha(masks), sections);
                Masks::Words
            }
            Gate::ArgMax(gate) => {
                let first = first.expect("a checked plan") as usize;
                let ranked = match std::mem::replace(&mut masks[first], Masks::Gone) {
                    Masks::Ranked(ranked) => ranked,
                    Masks::Wire(value) => Ranked { value, index: self.device.zeros(gate.len) },
                    _ => Ranked { value: whole(first as u32), index: self.device.zeros(gate.len) },
                };
                Masks::Ranked(gate.deal(dealing, &ranked, sections))
            }
            Gate::Input(_) | Gate::Shared(_) | Gate::Add(_) | Gate::Sum(_) | Gate::Reveal(_) => Masks::Words,
            Gate::State(_) | Gate::Store(_) | Gate::Reduce(_) | Gate::Dropout(_) | Gate::Times(_) => Masks::Words,
            Gate::Spread(gate) => match &masks[entry.inputs[0] as usize] {
                Masks::Wire(alpha) => Masks::Wire(gate.apply(self.device, alpha)),
                _ => Masks::Words,
            },
            Gate::Product(gate) => {
                let [a, b] = [entry.inputs[0], entry.inputs[1]].map(whole);
                gate.deal(dealing, [&a, &b], sections);
                Masks::Words
            }
            Gate::ReluBack(gate) => {
                let r_d = &bits[&entry.bits().expect("a checked plan")];
                gate.deal(dealing, r_d, &alpha(masks), sections);
                Masks::Words
            }
            Gate::MaxBack(gate) => {
                let forward = entry.bits().expect("a checked plan");
                let level = self.schedule.level(forward);
                gate.deal(dealing, level, &bits[&forward], &alpha(masks), sections);
                Masks::Words
            }
        }
    }
}
