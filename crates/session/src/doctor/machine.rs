//! This machine: its processor and its clock.

use std::path::Path;
use std::time::SystemTime;

use serde_json::json;

use super::{Check, validity};
use crate::{Fault, SessionError};

/// No machine on which this program runs had its clock set right before 2026-01-01.
const NEVER_BEFORE: i64 = 1_767_225_600;
/// Seconds that clocks of file servers and of this machine may differ.
const DRIFT: i64 = 300;

/// What is used, why, and whether something faster is left aside.
fn chosen(check: &'static str, variable: &str, active: &str, fastest_first: &[&str], slow: &str) -> Check {
    let forced = std::env::var(variable).is_ok_and(|value| !value.is_empty());
    let why = if forced { format!("{variable} forces it") } else { "the fastest that this processor has".to_string() };
    let finding = format!("{active}: {why} (it has {})", fastest_first.join(", "));
    let facts = json!({ "active": active, "available": fastest_first, "forced": forced });
    let found = Check::ok(check, "", finding).facts(facts);
    if forced && fastest_first.first() != Some(&active) {
        return found.warning(Fault::Operator, format!("unset {variable}, unless you measure"));
    }
    if active == slow {
        return found
            .warning(Fault::Machine, "results are the same, but slow: use a processor with the instructions for it");
    }
    found
}

pub(super) fn aes() -> Check {
    use ariann_prg::Backend;
    let available: Vec<&str> = Backend::available().into_iter().map(Backend::name).collect();
    match Backend::active() {
        Ok(active) => chosen("aes", "ARIANN_AES", active.name(), &available, Backend::Soft.name()),
        Err(error) => Check::error("aes", "", &SessionError::Config(error.to_string())),
    }
}

pub(super) fn products() -> Check {
    use ariann_ring::Kernel;
    let available: Vec<&str> = Kernel::available().into_iter().rev().map(Kernel::name).collect();
    match Kernel::active() {
        Ok(active) => chosen("products", "ARIANN_PRODUCTS", active.name(), &available, Kernel::Portable.name()),
        Err(error) => Check::error("products", "", &SessionError::Config(error.to_string())),
    }
}

pub(super) fn now() -> i64 {
    seconds(SystemTime::now())
}

fn seconds(moment: SystemTime) -> i64 {
    match moment.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => after.as_secs() as i64,
        Err(before) => -(before.duration().as_secs() as i64),
    }
}

/// The clock decides whether certificates are valid. It must not be before what was certainly in the past.
pub(super) fn clock(state: Option<&Path>) -> Check {
    let ledger = state.map(|state| state.join("ledger.redb"));
    let witnesses = [std::env::current_exe().ok(), ledger].into_iter().flatten();
    let written = witnesses.filter_map(|path| Some((seconds(path.metadata().ok()?.modified().ok()?), path)));
    let latest = written.max();
    let found = Check::ok("clock", "", format!("{} (UTC)", validity::date(now())))
        .facts(json!({ "seconds_since_1970": now() }));
    let advice = "set the clock, best by NTP: certificates are judged by it";
    match latest {
        _ if now() < NEVER_BEFORE => found.problem(Fault::Machine, advice),
        Some((moment, path)) if moment > now() + DRIFT => {
            let finding = format!("{}, but {} was written later", found.finding, path.display());
            Check { finding, ..found }.warning(Fault::Machine, advice)
        }
        _ => found,
    }
}
