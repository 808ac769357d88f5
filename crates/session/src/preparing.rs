//! Preparing: the products that no input enters, computed once when material and masked weights are there.

use ariann_device::Device;
use ariann_gates::{Context, Party};
use ariann_material::{Header, Kind, Label, Layout, Secret, Store};
use ariann_plan::{Gate, Plan};
use ariann_ring::Ring;
use zeroize::Zeroizing;

use crate::SessionError;
use crate::engine::{AllWeights, Opened};
use crate::events::Events;
use crate::masks::OwnMasks;
use crate::sections::Reading;

/// Slots prepared together at most.
const GROUP: u64 = 16;
/// Bytes prepared together, if one slot has no more.
const TOGETHER: u64 = 64 << 20;

/// Whether `party` prepares anything.
pub(crate) fn needed(plan: &Plan, party: Party) -> bool {
    plan.prepared_sections(party).iter().any(|bytes| *bytes > 0)
}

/// Prepares the slots of `opened` from `mark` on; earlier ones are spent and stay empty.
#[allow(clippy::too_many_arguments)]
pub(crate) fn prepare<R: Ring, D: Device>(
    plan: &Plan,
    device: &D,
    party: Party,
    store: &Store,
    opened: &Opened,
    weights: &AllWeights<R, D>,
    mark: u32,
    events: &mut dyn Events,
) -> Result<(), SessionError> {
    let layout = Layout::new(plan.prepared_sections(party))?;
    let label = Label { kind: Kind::Prepared, ..opened.dealt.stored().header().label().clone() };
    let slots = label.slots;
    let header = Header::new(label, &layout, Secret::new(Zeroizing::new(Vec::new()))?)?;
    let mut writer = store.prepare(&header, &layout)?;
    let group = (TOGETHER / layout.slot_bytes().max(1)).clamp(1, GROUP) as u32;
    let mut first = 0;
    while first < slots {
        let end = if first < mark { mark } else { (first + group).min(slots) };
        let dealt = Reading::of_linear(opened.dealt.stored(), first..end, plan)?;
        let mut columns = Vec::new();
        for (gate, entry) in plan.gates.iter().enumerate() {
            let len = layout.sections()[gate] as usize;
            let Gate::Linear(linear) = &entry.gate else { continue };
            if len == 0 {
                continue;
            }
            if end <= mark {
                columns.push((gate as u32, len, Vec::new()));
                continue;
            }
            let gate = gate as u32;
            let ctx = Context { party, device, prg: &opened.prg, hash: &opened.hash, gate, slots: first..end };
            let masks = OwnMasks { plan, device, party, prg: &opened.prg, slots: first..end, step: None };
            let share = linear.prepare(&ctx, &weights[&gate], &dealt.of(gate), masks.of(entry.inputs[0]));
            let named = |source| SessionError::Gate { gate, name: entry.name.clone(), source };
            columns.push((gate, len, device.pack(&share.map_err(named)?, R::BITS)));
        }
        for slot in first..end {
            for (gate, len, bytes) in &columns {
                let at = (slot - first) as usize * len;
                match bytes.get(at..at + len) {
                    Some(section) => writer.write_section(slot, *gate, section)?,
                    None => writer.write_section(slot, *gate, &vec![0; *len])?,
                }
            }
        }
        first = end;
        events.progress("preparing", u64::from(first), u64::from(slots));
    }
    writer.finish()?;
    Ok(())
}
