//! Making material: the dealer walks the plan once for each slot.

use std::collections::BTreeMap;

use ariann_device::Device;
use ariann_gates::argmax::Ranked;
use ariann_gates::{Dealing, Party};
use ariann_plan::{Gate, Plan};
use ariann_prg::{HashKeys, Prg, Seed, TreeHash};
use ariann_ring::Ring;

use crate::SessionError;

/// Blocks hashed under one pair of keys K, K' at most (docs/protocol.md, assumption 2).
const BLOCKS_A_BATCH: u64 = 1 << 30;

/// The most slots that one batch of `plan` may hold; none when one item alone needs more blocks than a batch may hash.
pub fn slots_a_batch(plan: &Plan) -> u32 {
    let blocks: u64 = (0..plan.gates.len())
        .map(|gate| {
            let cost = plan.cost(gate);
            // A key has 16 bytes a level and is made from two calls a level.
            if cost.comparisons > 0 { 2 * cost.material[0] as u64 / 16 } else { 0 }
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
    parties: [Prg; 2],
    coins: Prg,
    hash: TreeHash,
    /// B or R_W of each linear gate.
    weights: BTreeMap<u32, D::Words<R>>,
}

/// The sections of one slot: for each gate, P0's and P1's.
pub type Slot = Vec<[Vec<u8>; 2]>;

/// Masks of the value between two gates.
enum Masks<W> {
    None,
    Wire(W),
    Ranked(Ranked<W>),
}

impl<'a, R: Ring, D: Device> Maker<'a, R, D> {
    /// Expands seeds and the weights' masks, once for all slots.
    pub fn new(plan: &'a Plan, device: &'a D, batch: &BatchSeeds, weights: [&Seed; 2]) -> Self {
        let seeds = weights.map(Prg::new);
        let weights = plan
            .linear_gates()
            .filter_map(|(gate, linear)| Some((gate, linear.deal_weights(device, gate, [&seeds[0], &seeds[1]])?)))
            .collect();
        let [seed0, seed1] = &batch.parties;
        Maker {
            plan,
            device,
            parties: [Prg::new(seed0), Prg::new(seed1)],
            coins: Prg::new(&batch.coins),
            hash: TreeHash::new(&batch.hash),
            weights,
        }
    }

    /// Makes slot number `slot`.
    pub fn slot(&self, slot: u32) -> Slot {
        let mut out = Vec::with_capacity(self.plan.gates.len());
        let mut masks = Masks::None;
        for (number, entry) in self.plan.gates.iter().enumerate() {
            let number = number as u32;
            let dealing = Dealing {
                device: self.device,
                seeds: [&self.parties[Party::P0 as usize], &self.parties[Party::P1 as usize]],
                coins: &self.coins,
                hash: &self.hash,
                gate: number,
                slot,
            };
            let material = self.plan.cost(number as usize).material;
            let mut sections = material.map(Vec::with_capacity);
            masks = self.gate(&dealing, number, &entry.gate, masks, &mut sections);
            assert_eq!(
                [sections[0].len(), sections[1].len()],
                material,
                "a section has the length that the plan gives it"
            );
            out.push(sections);
        }
        out
    }

    fn gate(
        &self,
        dealing: &Dealing<'_, D>,
        number: u32,
        gate: &Gate,
        masks: Masks<D::Words<R>>,
        sections: &mut [Vec<u8>; 2],
    ) -> Masks<D::Words<R>> {
        match (gate, masks) {
            (Gate::Linear(gate), _) => {
                gate.deal(dealing, self.weights.get(&number), sections);
                Masks::None
            }
            (Gate::Open(gate), _) => Masks::Wire(gate.deal(dealing)),
            (Gate::Max(gate), Masks::Wire(alpha)) => Masks::Wire(gate.deal(dealing, &alpha, sections)),
            (Gate::Relu(gate), Masks::Wire(alpha)) => Masks::Wire(gate.deal(dealing, &alpha, sections)),
            (Gate::Truncate(gate), Masks::Wire(alpha)) => {
                gate.deal(dealing, &alpha, sections);
                Masks::None
            }
            (Gate::ArgMax(gate), masks) => {
                let alpha = match masks {
                    Masks::Ranked(alpha) => alpha,
                    Masks::Wire(value) => Ranked { value, index: self.device.upload(&vec![R::ZERO; gate.len]) },
                    Masks::None => unreachable!("a checked plan"),
                };
                Masks::Ranked(gate.deal(dealing, &alpha, sections))
            }
            (Gate::Input(_) | Gate::Reveal(_), _) => Masks::None,
            _ => unreachable!("a checked plan"),
        }
    }
}
