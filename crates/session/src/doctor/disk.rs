//! Room and speed of a folder's disk.

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use serde_json::json;

use super::{Check, Room};
use crate::Fault;

/// Room and speed of the folder's disk; the folder need not be there yet.
pub(super) fn disk(folder: &Path, room: Option<Room>) -> Check {
    let subject = folder.display().to_string();
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf());
    let there = absolute.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/")).to_path_buf();
    let free = match rustix::fs::statvfs(&there) {
        Ok(stat) => stat.f_bavail.saturating_mul(stat.f_frsize),
        Err(error) => {
            let found = Check::ok("disk", subject, format!("cannot tell the room on the disk: {error}"));
            return found.problem(Fault::Operator, "check the path and its permissions");
        }
    };
    let (mut slot, mut needed, mut text) = (None, None, String::new());
    match room {
        Some(Room::Inferences(bytes)) => {
            slot = Some(bytes.max(1));
            text = format!(", room for the material of {} inferences", free / bytes.max(1));
        }
        Some(Room::Files(what, bytes)) => {
            needed = Some(bytes);
            text = format!(", {} MB are wanted for {what}", bytes.div_ceil(1_000_000));
        }
        None => {}
    }
    let mut facts = json!({ "free_bytes": free, "slot_bytes": slot, "needed_bytes": needed });
    let found = Check::ok("disk", subject.clone(), format!("{} MB free{text}", free / 1_000_000)).facts(facts.clone());
    if free < LEAST.saturating_add(needed.unwrap_or(0)) {
        return found.problem(Fault::Machine, "free some space, or name another folder");
    }
    let speed = match measure(&there) {
        Ok(speed) => speed,
        Err(error) => {
            let found = Check::ok("disk", subject, format!("cannot write to {}: {error}", there.display()));
            return found.facts(facts).problem(Fault::Operator, "check the permissions and the disk");
        }
    };
    let finding = format!(
        "{}; writes and syncs {:.0} MB/s, a small sync takes {:.1} ms",
        found.finding,
        speed.megabytes,
        1e3 * speed.sync
    );
    facts["write_megabytes_per_second"] = speed.megabytes.into();
    facts["sync_seconds"] = speed.sync.into();
    let found = Check { finding, ..found }.facts(facts);
    if slot.is_some_and(|slot| free / slot < FEW) {
        found.warning(Fault::Machine, "that is little: free some space, or deal small batches")
    } else if speed.sync > SLOW {
        let advice = "every run waits for a few syncs of the ledger: put the state folder on a faster disk";
        found.warning(Fault::Machine, advice)
    } else {
        found
    }
}

/// Bytes that a ledger needs to grow, and some more.
const LEAST: u64 = 64 << 20;
/// Inferences for which there should be room.
const FEW: u64 = 100;
/// Seconds of a sync that are worth a warning.
const SLOW: f64 = 0.1;

struct Speed {
    megabytes: f64,
    sync: f64,
}

fn measure(folder: &Path) -> std::io::Result<Speed> {
    const SYNCS: u32 = 8;
    const BLOCKS: u32 = 16;
    const BLOCK: usize = 1 << 20;
    let mut file = tempfile::tempfile_in(folder)?;
    let block: Vec<u8> = (0..BLOCK as u32).map(|at| (at.wrapping_mul(0x9e37_79b9) >> 24) as u8).collect();
    let began = Instant::now();
    for _ in 0..BLOCKS {
        file.write_all(&block)?;
    }
    file.sync_all()?;
    let megabytes = f64::from(BLOCKS) * BLOCK as f64 / 1e6 / began.elapsed().as_secs_f64();
    let began = Instant::now();
    for _ in 0..SYNCS {
        file.write_all(&block[..4096])?;
        file.sync_data()?;
    }
    Ok(Speed { megabytes, sync: began.elapsed().as_secs_f64() / f64::from(SYNCS) })
}
