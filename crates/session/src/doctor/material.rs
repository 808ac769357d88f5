//! Material that a party has: what is left of it, and what waits to be taken in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ariann_gates::Party;
use ariann_material::Store;
use ariann_plan::Plan;
use serde_json::{Value, json};

use super::{Check, Look, plain};
use crate::Fault;

/// Where a party's material is and comes from.
pub(super) struct Stock<'a> {
    pub state: &'a Path,
    pub files: &'a [PathBuf],
    pub dealer: bool,
}

/// Batches and slots left, by plan. Returns whether the role is running.
pub(super) fn material(stock: &Stock<'_>, plan: Option<&Plan>, party: Party, look: &mut Look) -> bool {
    let subject = stock.state.display().to_string();
    let digest = plan.map(Plan::digest);
    let mut known = Vec::new();
    // By plan: batches and slots left.
    let mut left: BTreeMap<[u8; 32], (u64, u64)> = BTreeMap::new();
    let mut damaged = 0;
    if stock.state.join("ledger.redb").exists() {
        let listed = Store::open(stock.state, party as u8).and_then(|store| store.ls());
        let entries = match listed {
            Ok(entries) => entries,
            Err(error @ ariann_material::Error::Locked { .. }) => {
                let text = plain(&error);
                let text = text.split_once("; ").map_or(text.as_str(), |split| split.0);
                let found = Check::ok("material", subject, text).facts(json!({ "in_use": true }));
                look.add(found.warning(Fault::Operator, "the role is running: stop it to have its material counted"));
                return true;
            }
            Err(error) => {
                look.add(Check::error("material", subject, &error.into()));
                return false;
            }
        };
        for entry in entries {
            known.push(entry.batch);
            match (&entry.status, &entry.label) {
                (Ok(status), _) if status.left == 0 => {}
                (Ok(status), Ok(label)) => {
                    let sum = left.entry(label.plan_digest).or_default();
                    *sum = (sum.0 + 1, sum.1 + u64::from(status.left));
                }
                _ => damaged += 1,
            }
        }
    }
    let mut waiting = 0;
    for path in stock.files {
        match ariann_material::inspect(path) {
            Ok(label) if known.contains(&label.batch) => {}
            Ok(label) if label.party != party as u8 || digest.is_some_and(|digest| label.plan_digest != digest) => {
                let finding = "it is material of another plan or of the other party";
                let found = Check::ok("material", path.display().to_string(), finding);
                look.add(found.problem(Fault::Operator, "name the file that was dealt for this plan and this party"));
            }
            Ok(label) => waiting += u64::from(label.slots),
            Err(error) => look.add(Check::error("material", path.display().to_string(), &error.into())),
        }
    }
    let (batches, slots) = digest.and_then(|digest| left.get(&digest).copied()).unwrap_or_default();
    let hex = |digest: &[u8; 32]| digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let plans: Vec<Value> = left
        .iter()
        .map(|(plan, (batches, slots))| json!({ "plan": hex(plan), "batches": batches, "left": slots }))
        .collect();
    let mut finding = match digest {
        Some(_) => format!("{slots} inferences left for this plan, in {batches} batches"),
        None => format!("{} inferences left, of {} plans", left.values().map(|sum| sum.1).sum::<u64>(), left.len()),
    };
    if waiting > 0 {
        finding += &format!("; {waiting} more in files that are taken in at the next start");
    }
    if damaged > 0 {
        finding += &format!("; {damaged} damaged batches are not used");
    }
    let facts = json!({
        "in_use": false, "left": slots, "batches": batches, "waiting": waiting, "damaged": damaged, "plans": plans,
    });
    let found = Check::ok("material", subject, finding).facts(facts);
    look.add(if digest.is_some() && slots + waiting == 0 {
        match stock.dealer {
            true => found.warning(Fault::Dealer, "the dealer must be up when this role starts"),
            false => found
                .problem(Fault::Operator, "have material dealt (`ariann deal`), and name its file under `material`"),
        }
    } else if damaged > 0 {
        found.warning(Fault::Machine, "look at `ariann material ls`, and have fresh material dealt")
    } else {
        found
    });
    false
}
