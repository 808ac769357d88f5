//! What a role needs of its machine, its configuration and the others, looked at before it starts; each finding with what
//! to do. Nothing is changed but a file that is written, synced and removed again to see how fast the disk is.

mod validity;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use ariann_gates::Party;
use ariann_material::Store;
use ariann_net::{Allowed, ConfigError, Identity, Limits, Listener, NetError, Peer};
use ariann_plan::Plan;
use serde::Serialize;
use serde_json::{Value, json};

use crate::SessionError;
use crate::config::{self, DealConfig, IdentityConfig, QueryConfig, Remote, ServeConfig};

/// How a finding is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// As it should be.
    Ok,
    /// It works, but look at it.
    Warning,
    /// It will not work.
    Problem,
}

impl Grade {
    /// The word in tables and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Grade::Ok => "ok",
            Grade::Warning => "warning",
            Grade::Problem => "problem",
        }
    }
}

/// One finding.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What was looked at: "aes", "products", "clock", "config", "plan", "file", "identity", "pin", "disk", "listen",
    /// "reach" or "material".
    pub check: &'static str,
    /// Which one of its kind: a file, a folder, an address, a role; empty where there is one only.
    pub subject: String,
    /// How it is meant.
    pub grade: Grade,
    /// What was found.
    pub finding: String,
    /// What to do; none when all is well.
    pub advice: Option<String>,
    /// Figures of the finding, by name.
    pub facts: Value,
}

impl Check {
    fn ok(check: &'static str, subject: impl Into<String>, finding: impl Into<String>) -> Check {
        let (subject, finding) = (subject.into(), finding.into());
        Check { check, subject, grade: Grade::Ok, finding, advice: None, facts: json!({}) }
    }

    fn warning(mut self, advice: impl Into<String>) -> Check {
        (self.grade, self.advice) = (Grade::Warning, Some(advice.into()));
        self
    }

    fn problem(mut self, advice: impl Into<String>) -> Check {
        (self.grade, self.advice) = (Grade::Problem, Some(advice.into()));
        self
    }

    fn facts(mut self, facts: Value) -> Check {
        self.facts = facts;
        self
    }

    /// An error of this program: what happened, and after the last semicolon what to do.
    fn error(check: &'static str, subject: impl Into<String>, error: &dyn std::fmt::Display) -> Check {
        let text = plain(error);
        let (finding, advice) = text.rsplit_once("; ").unwrap_or((&text, "put this right and look again"));
        Check::ok(check, subject, finding).problem(advice)
    }
}

/// An error without the word of who is at fault, which some begin with.
fn plain(error: &dyn std::fmt::Display) -> String {
    let text = error.to_string();
    let split = text.split_once(": ").filter(|(word, _)| ["operator", "dealer", "disk"].contains(word));
    split.map_or(text.clone(), |(_, rest)| rest.to_string())
}

/// What was examined, and how it stands.
#[derive(Clone, Debug, Serialize)]
pub struct Findings {
    /// Whether there is no problem.
    pub ok: bool,
    /// "p0", "p1" or "dealer", when a configuration was given that can be read.
    pub role: Option<&'static str>,
    /// All findings.
    pub checks: Vec<Check>,
}

/// A configuration, of whichever role.
enum Role {
    Serve(Box<ServeConfig>),
    Query(Box<QueryConfig>),
    Deal(Box<DealConfig>),
}

/// Days before its end from which on a certificate is warned of.
const SOON: i64 = 30;
/// How long to try to reach another role.
const REACH: Duration = Duration::from_secs(3);
/// No machine on which this program runs had its clock set right before 2026-01-01.
const NEVER_BEFORE: i64 = 1_767_225_600;
/// Seconds that clocks of file servers and of this machine may differ.
const DRIFT: i64 = 300;

/// Examines this machine, and with a configuration file what its role needs.
pub fn examine(config: Option<&Path>) -> Findings {
    let mut checks = vec![aes(), products()];
    let role = config.and_then(|path| match read(path) {
        Ok(role) => {
            let subject = path.display().to_string();
            checks.push(Check::ok("config", subject, format!("the configuration of {}", role.title())));
            Some(role)
        }
        Err(error) => {
            checks.push(Check::error("config", path.display().to_string(), &error));
            None
        }
    });
    checks.push(clock(role.as_ref().map(Role::state)));
    if let Some(role) = &role {
        role.examine(&mut checks);
    }
    let ok = checks.iter().all(|check| check.grade != Grade::Problem);
    Findings { ok, role: role.as_ref().map(Role::name), checks }
}

/// The role is told by a key that only its configuration has.
fn read(path: &Path) -> Result<Role, SessionError> {
    let keys = config::read::<toml::Table>(path)?;
    Ok(if keys.contains_key("model") {
        Role::Serve(Box::new(config::read(path)?))
    } else if keys.contains_key("input") {
        Role::Query(Box::new(config::read(path)?))
    } else if keys.contains_key("count") {
        Role::Deal(Box::new(config::read(path)?))
    } else {
        let reason =
            "it has neither `model` (P0), `input` (P1) nor `count` (the dealer); docs/walkthrough.md has all three";
        return Err(SessionError::Config(format!("{}: {reason}", path.display())));
    })
}

/// What is used, why, and whether something faster is left aside.
fn chosen(check: &'static str, variable: &str, active: &str, fastest_first: &[&str], slow: &str) -> Check {
    let forced = std::env::var(variable).is_ok_and(|value| !value.is_empty());
    let why = if forced { format!("{variable} forces it") } else { "the fastest that this processor has".to_string() };
    let finding = format!("{active}: {why} (it has {})", fastest_first.join(", "));
    let facts = json!({ "active": active, "available": fastest_first, "forced": forced });
    let found = Check::ok(check, "", finding).facts(facts);
    if forced && fastest_first.first() != Some(&active) {
        return found.warning(format!("unset {variable}, unless you measure"));
    }
    if active == slow {
        return found.warning("results are the same, but slow: use a processor with the instructions for it");
    }
    found
}

fn aes() -> Check {
    use ariann_prg::Backend;
    let available: Vec<&str> = Backend::available().into_iter().map(Backend::name).collect();
    match Backend::active() {
        Ok(active) => chosen("aes", "ARIANN_AES", active.name(), &available, Backend::Soft.name()),
        Err(error) => Check::error("aes", "", &error),
    }
}

fn products() -> Check {
    use ariann_ring::Kernel;
    let available: Vec<&str> = Kernel::available().into_iter().rev().map(Kernel::name).collect();
    match Kernel::active() {
        Ok(active) => chosen("products", "ARIANN_PRODUCTS", active.name(), &available, Kernel::Portable.name()),
        Err(error) => Check::error("products", "", &error),
    }
}

fn now() -> i64 {
    seconds(SystemTime::now())
}

fn seconds(moment: SystemTime) -> i64 {
    match moment.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => after.as_secs() as i64,
        Err(before) => -(before.duration().as_secs() as i64),
    }
}

/// The clock decides whether certificates are valid. It must not be before what was certainly in the past.
fn clock(state: Option<&Path>) -> Check {
    let ledger = state.map(|state| state.join("ledger.redb"));
    let witnesses = [std::env::current_exe().ok(), ledger].into_iter().flatten();
    let written = witnesses.filter_map(|path| Some((seconds(path.metadata().ok()?.modified().ok()?), path)));
    let latest = written.max();
    let found = Check::ok("clock", "", format!("{} (UTC)", validity::date(now())))
        .facts(json!({ "seconds_since_1970": now() }));
    let advice = "set the clock, best by NTP: certificates are judged by it";
    match latest {
        _ if now() < NEVER_BEFORE => found.problem(advice),
        Some((moment, path)) if moment > now() + DRIFT => {
            let finding = format!("{}, but {} was written later", found.finding, path.display());
            Check { finding, ..found }.warning(advice)
        }
        _ => found,
    }
}

impl Role {
    fn name(&self) -> &'static str {
        match self {
            Role::Serve(_) => "p0",
            Role::Query(_) => "p1",
            Role::Deal(_) => "dealer",
        }
    }

    fn title(&self) -> &'static str {
        match self {
            Role::Serve(_) => "P0",
            Role::Query(_) => "P1",
            Role::Deal(_) => "the dealer",
        }
    }

    fn state(&self) -> &Path {
        match self {
            Role::Serve(config) => &config.state,
            Role::Query(config) => &config.state,
            Role::Deal(config) => &config.state,
        }
    }

    fn examine(&self, checks: &mut Vec<Check>) {
        match self {
            Role::Serve(config) => {
                let plan = plan(&config.plan, checks);
                checks.push(file("the model", &config.model));
                let own = identity(&config.identity, checks);
                let clients = config.pins();
                if clients.is_empty() {
                    let found = Check::ok("pin", "P1", "no P1 is pinned, so nobody may connect");
                    checks.push(found.problem("put its fingerprint under `peer`, or those of several under `clients`"));
                }
                let dealer = config.dealer.iter().map(|dealer| ("the dealer".to_string(), dealer.fingerprint.as_str()));
                let allowed = pins(own.as_ref(), clients, checks);
                pins(own.as_ref(), dealer.collect(), checks);
                disk(&config.state, plan.as_ref(), Some(Party::P0), checks);
                let stock = Stock { state: &config.state, files: &config.material, dealer: config.dealer.is_some() };
                let running = material(&stock, plan.as_ref(), Party::P0, checks);
                checks.push(listen(&config.listen, own.as_ref(), &allowed, running));
                reach(own.as_ref(), config.dealer.as_ref(), "the dealer", checks);
            }
            Role::Query(config) => {
                let plan = plan(&config.plan, checks);
                checks.push(file("the inputs", &config.input));
                let own = identity(&config.identity, checks);
                let dealer = config.dealer.iter().map(|dealer| ("the dealer".to_string(), dealer.fingerprint.as_str()));
                let others = std::iter::once(("P0".to_string(), config.peer.fingerprint.as_str()));
                pins(own.as_ref(), others.chain(dealer).collect(), checks);
                disk(&config.state, plan.as_ref(), Some(Party::P1), checks);
                let stock = Stock { state: &config.state, files: &config.material, dealer: config.dealer.is_some() };
                material(&stock, plan.as_ref(), Party::P1, checks);
                reach(own.as_ref(), Some(&config.peer), "P0", checks);
                reach(own.as_ref(), config.dealer.as_ref(), "the dealer", checks);
            }
            Role::Deal(config) => {
                let plan = plan(&config.plan, checks);
                disk(config.out.as_deref().unwrap_or(&config.state), plan.as_ref(), None, checks);
                if let Some(serve) = &config.serve {
                    let own = identity(&serve.identity, checks);
                    let parties = vec![("P0".to_string(), serve.p0.as_str()), ("P1".to_string(), serve.p1.as_str())];
                    let allowed = pins(own.as_ref(), parties, checks);
                    checks.push(listen(&serve.listen, own.as_ref(), &allowed, false));
                }
            }
        }
    }
}

fn plan(path: &Path, checks: &mut Vec<Check>) -> Option<Plan> {
    let subject = path.display().to_string();
    match Plan::read(path) {
        Ok(plan) => {
            let digest = plan.digest_hex();
            let finding = format!("plan {}…, {} gates; all roles need the same", &digest[..16], plan.gates.len());
            checks.push(Check::ok("plan", subject, finding).facts(json!({ "digest": digest, "ring": plan.ring })));
            Some(plan)
        }
        Err(error) => {
            checks.push(Check::error("plan", subject, &error));
            None
        }
    }
}

fn file(what: &str, path: &Path) -> Check {
    let opened = std::fs::File::open(path).and_then(|file| file.metadata());
    let found = |finding: String| Check::ok("file", path.display().to_string(), format!("{what}: {finding}"));
    match opened {
        Ok(meta) if meta.is_dir() => found("a folder".to_string()),
        Ok(meta) => found(format!("{} bytes", meta.len())).facts(json!({ "bytes": meta.len() })),
        Err(error) => found(error.to_string()).problem("check the path and its permissions"),
    }
}

fn identity(config: &IdentityConfig, checks: &mut Vec<Check>) -> Option<Identity> {
    let subject = config.folder.join(&config.name).display().to_string();
    let own = match config.load() {
        Ok(own) => own,
        Err(error) => {
            checks.push(Check::error("identity", subject, &error));
            return None;
        }
    };
    let fingerprint = own.fingerprint().to_string();
    let path = config.folder.join(format!("{}.cert.pem", config.name));
    let validity = std::fs::read_to_string(path).ok().and_then(|text| validity::of_pem(&text));
    let facts = json!({
        "fingerprint": fingerprint, "valid_from": validity.map(|v| v.from), "valid_until": validity.map(|v| v.until),
    });
    let renew = "make a new one with `ariann identity new` in time, and have the others pin its fingerprint";
    checks.push(match validity {
        // It was loaded, so it is valid now.
        None => Check::ok("identity", subject, format!("{fingerprint}, valid now")).facts(facts),
        Some(validity) => {
            let left = (validity.until - now()).div_euclid(86_400);
            let until = validity::date(validity.until);
            let found = Check::ok("identity", subject, format!("{fingerprint}, valid until {until} ({left} days)"));
            if left < SOON { found.facts(facts).warning(renew) } else { found.facts(facts) }
        }
    });
    Some(own)
}

/// Pinned fingerprints of others: whether they can be read and are not this role's own. Returns those that can.
fn pins(own: Option<&Identity>, others: Vec<(String, &str)>, checks: &mut Vec<Check>) -> Vec<Allowed> {
    let mut allowed: Vec<Allowed> = Vec::new();
    for (name, text) in others {
        let told = format!("compare it with what `ariann identity show` prints at {name}");
        let pin = match config::pin(text, &name) {
            Ok(pin) => pin,
            Err(error) => {
                checks.push(Check::ok("pin", name, error.to_string()).problem(told));
                continue;
            }
        };
        let found = Check::ok("pin", name.clone(), pin.to_string()).facts(json!({ "fingerprint": pin.to_string() }));
        let twin = allowed.iter().find(|other| other.pin == pin);
        checks.push(if own.is_some_and(|own| own.fingerprint() == pin) {
            let finding = format!("{pin}: that is this role's own identity");
            Check { finding, ..found }.problem(told)
        } else if let Some(twin) = twin {
            let finding = format!("{pin}: the same as that of {}", twin.name);
            Check { finding, ..found }.problem(told)
        } else {
            allowed.push(Allowed { name, pin });
            found
        });
    }
    allowed
}

/// Room and speed of the folder's disk; the folder need not be there yet.
fn disk(folder: &Path, plan: Option<&Plan>, party: Option<Party>, checks: &mut Vec<Check>) {
    let subject = folder.display().to_string();
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf());
    let there = absolute.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/")).to_path_buf();
    let free = match rustix::fs::statvfs(&there) {
        Ok(stat) => stat.f_bavail.saturating_mul(stat.f_frsize),
        Err(error) => {
            let found = Check::ok("disk", subject, format!("cannot tell the room on the disk: {error}"));
            return checks.push(found.problem("check the path and its permissions"));
        }
    };
    let slot = plan.map(|plan| {
        let of =
            |party: Party| plan.sections(party).iter().sum::<u64>() + plan.prepared_sections(party).iter().sum::<u64>();
        party.map_or(of(Party::P0) + of(Party::P1), of).max(1)
    });
    let room = slot.map(|slot| format!(", room for the material of {} inferences", free / slot)).unwrap_or_default();
    let facts = json!({ "free_bytes": free, "slot_bytes": slot });
    let found = Check::ok("disk", subject.clone(), format!("{} MB free{room}", free / 1_000_000)).facts(facts.clone());
    if free < LEAST {
        return checks.push(found.problem("free some space, or name another folder"));
    }
    let speed = match measure(&there) {
        Ok(speed) => speed,
        Err(error) => {
            let found = Check::ok("disk", subject, format!("cannot write to {}: {error}", there.display()));
            return checks.push(found.facts(facts).problem("check the permissions and the disk"));
        }
    };
    let finding = format!(
        "{}; writes and syncs {:.0} MB/s, a small sync takes {:.1} ms",
        found.finding,
        speed.megabytes,
        1e3 * speed.sync
    );
    let facts = json!({
        "free_bytes": free, "slot_bytes": slot, "write_megabytes_per_second": speed.megabytes, "sync_seconds": speed.sync,
    });
    let found = Check { finding, ..found }.facts(facts);
    checks.push(if slot.is_some_and(|slot| free / slot < FEW) {
        found.warning("that is little: free some space, or deal small batches")
    } else if speed.sync > SLOW {
        found.warning("every run waits for a few syncs of the ledger: put the state folder on a faster disk")
    } else {
        found
    });
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

/// Where a party's material is and comes from.
struct Stock<'a> {
    state: &'a Path,
    files: &'a [PathBuf],
    dealer: bool,
}

/// Batches and slots left, by plan. Returns whether the role is running.
fn material(stock: &Stock<'_>, plan: Option<&Plan>, party: Party, checks: &mut Vec<Check>) -> bool {
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
                checks.push(found.warning("the role is running: stop it to have its material counted"));
                return true;
            }
            Err(error) => {
                checks.push(Check::error("material", subject, &error));
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
                checks.push(found.problem("name the file that was dealt for this plan and this party"));
            }
            Ok(label) => waiting += u64::from(label.slots),
            Err(error) => checks.push(Check::error("material", path.display().to_string(), &error)),
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
    checks.push(if digest.is_some() && slots + waiting == 0 {
        match stock.dealer {
            true => found.warning("the dealer must be up when this role starts"),
            false => found.problem("have material dealt (`ariann deal`), and name its file under `material`"),
        }
    } else if damaged > 0 {
        found.warning("look at `ariann material ls`, and have fresh material dealt")
    } else {
        found
    });
    false
}

/// Whether the address can be listened at.
fn listen(address: &str, own: Option<&Identity>, allowed: &[Allowed], running: bool) -> Check {
    let Some(own) = own.filter(|_| !allowed.is_empty()) else {
        let found = Check::ok("listen", address, "not tried: it needs an own identity and a pinned one");
        return found.warning("put these right first");
    };
    match Listener::bind(address, own, allowed, &Limits::default()) {
        Ok(_) => Check::ok("listen", address, "can be listened at"),
        Err(NetError::Config(ConfigError::Bind { .. })) if running => {
            Check::ok("listen", address, "taken, as it should be: the role is running")
        }
        Err(error) => Check::error("listen", address, &error),
    }
}

/// Whether another role answers at its address, with the identity that is pinned, and accepts this one's.
fn reach(own: Option<&Identity>, remote: Option<&Remote>, name: &str, checks: &mut Vec<Check>) {
    let (Some(own), Some(remote)) = (own, remote) else { return };
    let Ok(pin) = config::pin(&remote.fingerprint, name) else { return };
    let limits = Limits { connect: REACH, linger: Duration::from_millis(200), ..Limits::default() };
    let began = Instant::now();
    checks.push(match Peer::connect(&remote.address, own, &pin, name, &limits) {
        Ok(peer) => {
            let took = began.elapsed().as_secs_f64();
            // It hears a farewell before a greeting, and goes on waiting.
            let _ = peer.close();
            let finding = format!("{name} answers, is who is pinned, and knows this role ({:.0} ms)", 1e3 * took);
            Check::ok("reach", &remote.address, finding).facts(json!({ "role": name, "seconds": took }))
        }
        Err(error @ NetError::PeerGone { .. }) => {
            let found = Check::error("reach", &remote.address, &error).facts(json!({ "role": name }));
            found.problem(format!("start {name} and look at the address, the network and its firewalls"))
        }
        Err(error) => Check::error("reach", &remote.address, &error).facts(json!({ "role": name })),
    });
}
