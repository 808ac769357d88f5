//! Single looks, of which the examination of every role is made.

use std::path::Path;
use std::time::{Duration, Instant};

use ariann_gates::Party;
use ariann_net::{Allowed, ConfigError, Identity, Limits, Listener, NetError, Peer};
use ariann_plan::Plan;
use serde_json::{Value, json};

use super::machine::now;
use super::{Check, disk, validity};
use crate::config::{self, IdentityConfig, Remote};
use crate::{Fault, SessionError};

/// Days before its end from which on a certificate is warned of.
const SOON: i64 = 30;
/// How long to try to reach another role.
const REACH: Duration = Duration::from_secs(3);

/// What a folder is to hold.
#[derive(Clone, Copy, Debug)]
pub enum Room {
    /// Material: bytes of an inference.
    Inferences(u64),
    /// What it is, and its bytes.
    Files(&'static str, u64),
}

/// What was found so far, and the identity of the role.
#[derive(Default)]
pub struct Look {
    checks: Vec<Check>,
    own: Option<Identity>,
}

impl Look {
    /// One more finding.
    pub fn add(&mut self, check: Check) {
        self.checks.push(check);
    }

    pub(super) fn into_checks(self) -> Vec<Check> {
        self.checks
    }

    /// The role's own identity, when one was found.
    pub fn own(&self) -> Option<&Identity> {
        self.own.as_ref()
    }

    /// What was read or compared: `told` says what it is when all is well.
    pub fn parsed<T>(
        &mut self,
        check: &'static str,
        subject: impl Into<String>,
        result: Result<T, SessionError>,
        told: impl FnOnce(&T) -> String,
    ) -> Option<T> {
        match result {
            Ok(value) => {
                self.add(Check::ok(check, subject, told(&value)));
                Some(value)
            }
            Err(error) => {
                self.add(Check::error(check, subject, &error));
                None
            }
        }
    }

    /// The plan file, and whether who brings the inputs is as this role takes it.
    pub(super) fn plan(&mut self, path: &Path, for_clients: Option<bool>) -> Option<Plan> {
        let subject = path.display().to_string();
        match Plan::read(path) {
            Ok(plan) => {
                let digest = plan.digest_hex();
                let finding = format!("plan {}…, {} gates; all roles need the same", &digest[..16], plan.gates.len());
                let found = Check::ok("plan", subject.clone(), finding);
                self.add(found.facts(json!({ "digest": digest, "ring": plan.ring })));
                if for_clients.is_some_and(|wanted| wanted != plan.for_clients()) {
                    let (whose, advice) = match plan.for_clients() {
                        true => (
                            "an outside client's",
                            "use `serve` with [outside], `serve --role p1` and `query --role client`",
                        ),
                        false => (
                            "P1's",
                            "ask for a plan with --reveal logits:client, or take [outside] out and use `query`",
                        ),
                    };
                    let found = Check::ok("plan", subject, format!("its inputs are {whose}, and this role's are not"));
                    self.add(found.problem(Fault::Operator, advice));
                }
                Some(plan)
            }
            Err(error) => {
                self.add(Check::error("plan", subject, &error.into()));
                None
            }
        }
    }

    /// A file or folder that must be there.
    pub fn file(&mut self, what: &str, path: &Path) {
        let opened = std::fs::File::open(path).and_then(|file| file.metadata());
        let found = |finding: String| Check::ok("file", path.display().to_string(), format!("{what}: {finding}"));
        self.add(match opened {
            Ok(meta) if meta.is_dir() => found("a folder".to_string()),
            Ok(meta) => found(format!("{} bytes", meta.len())).facts(json!({ "bytes": meta.len() })),
            Err(error) => {
                let fault = SessionError::file("reading", path, error.kind().into()).fault();
                found(error.to_string()).problem(fault, "check the path and its permissions")
            }
        });
    }

    /// The role's own identity: its files, their permissions and its validity.
    pub fn identity(&mut self, config: &IdentityConfig) {
        let subject = config.folder.join(&config.name).display().to_string();
        let own = match config.load() {
            Ok(own) => own,
            Err(error) => return self.add(Check::error("identity", subject, &error)),
        };
        let fingerprint = own.fingerprint().to_string();
        let path = config.folder.join(format!("{}.cert.pem", config.name));
        let validity = std::fs::read_to_string(path).ok().and_then(|text| validity::of_pem(&text));
        let facts = json!({
            "fingerprint": fingerprint, "valid_from": validity.map(|v| v.from), "valid_until": validity.map(|v| v.until),
        });
        let renew = "make a new one with `ariann identity new` in time, and have the others pin its fingerprint";
        self.add(match validity {
            // It was loaded, so it is valid now.
            None => Check::ok("identity", subject, format!("{fingerprint}, valid now")).facts(facts),
            Some(validity) => {
                let left = (validity.until - now()).div_euclid(86_400);
                let until = validity::date(validity.until);
                let found = Check::ok("identity", subject, format!("{fingerprint}, valid until {until} ({left} days)"));
                let found = found.facts(facts);
                if left < SOON { found.warning(Fault::Operator, renew) } else { found }
            }
        });
        self.own = Some(own);
    }

    /// Pinned fingerprints of others: whether they can be read and are not this role's own. Returns those that can.
    pub fn pins(&mut self, others: &[(String, &str)]) -> Vec<Allowed> {
        let mut allowed: Vec<Allowed> = Vec::new();
        for (name, text) in others {
            let told = format!("compare it with what `ariann identity show` prints at {name}");
            let pin = match config::pin(text, name) {
                Ok(pin) => pin,
                Err(error) => {
                    let found = Check::ok("pin", name.clone(), error.to_string());
                    self.add(found.problem(Fault::Operator, told));
                    continue;
                }
            };
            let found =
                Check::ok("pin", name.clone(), pin.to_string()).facts(json!({ "fingerprint": pin.to_string() }));
            let twin = allowed.iter().find(|other| other.pin == pin);
            let check = if self.own().is_some_and(|own| own.fingerprint() == pin) {
                let finding = format!("{pin}: that is this role's own identity");
                Check { finding, ..found }.problem(Fault::Operator, told)
            } else if let Some(twin) = twin {
                let finding = format!("{pin}: the same as that of {}", twin.name);
                Check { finding, ..found }.problem(Fault::Operator, told)
            } else {
                allowed.push(Allowed { name: name.clone(), pin });
                found
            };
            self.add(check);
        }
        allowed
    }

    /// Room and speed of the folder's disk; the folder need not be there yet.
    pub fn disk(&mut self, folder: &Path, room: Option<Room>) {
        self.add(disk::disk(folder, room));
    }

    /// The disk of a folder for material.
    pub(super) fn disk_of_material(&mut self, folder: &Path, plan: Option<&Plan>, party: Option<Party>) {
        self.disk(
            folder,
            plan.map(|plan| {
                let of = |party: Party| {
                    plan.sections(party).iter().sum::<u64>() + plan.prepared_sections(party).iter().sum::<u64>()
                };
                Room::Inferences(party.map_or(of(Party::P0) + of(Party::P1), of))
            }),
        );
    }

    /// Whether the address can be listened at; a role that is `running` has it.
    pub fn listen(&mut self, address: &str, allowed: &[Allowed], running: bool) {
        let Some(own) = self.own().filter(|_| !allowed.is_empty()) else {
            let found = Check::ok("listen", address, "not tried: it needs an own identity and a pinned one");
            return self.add(found.warning(Fault::Operator, "put these right first"));
        };
        let check = match Listener::bind(address, own, allowed, &Limits::default()) {
            Ok(_) => Check::ok("listen", address, "can be listened at"),
            Err(NetError::Config(ConfigError::Bind { .. })) if running => {
                Check::ok("listen", address, "taken, as it should be: the role is running")
            }
            Err(error) => Check::error("listen", address, &error.into()),
        };
        self.add(check);
    }

    /// Whether another role answers at its address, with the identity that is pinned, and accepts this one's.
    pub fn reach(&mut self, remote: &Remote, name: &str) {
        self.reach_or(remote, name, &format!("start {name} and look at the address, the network and its firewalls"));
    }

    /// The same, with what to do when nobody answers.
    pub fn reach_or(&mut self, remote: &Remote, name: &str, advice: &str) {
        let Some(own) = self.own() else { return };
        let Ok(pin) = config::pin(&remote.fingerprint, name) else { return };
        let limits = Limits { connect: REACH, linger: Duration::from_millis(200), ..Limits::default() };
        let began = Instant::now();
        let facts: Value = json!({ "role": name });
        let check = match Peer::connect(&remote.address, own, &pin, name, &limits) {
            Ok(peer) => {
                let took = began.elapsed().as_secs_f64();
                // It hears a farewell before a greeting, and goes on waiting.
                let _ = peer.close();
                let finding = format!("{name} answers, is who is pinned, and knows this role ({:.0} ms)", 1e3 * took);
                Check::ok("reach", &remote.address, finding).facts(json!({ "role": name, "seconds": took }))
            }
            Err(error @ NetError::PeerGone { .. }) => {
                Check::error("reach", &remote.address, &error.into()).facts(facts).problem(Fault::Peer, advice)
            }
            Err(error) => Check::error("reach", &remote.address, &error.into()).facts(facts),
        };
        self.add(check);
    }
}

/// A name and the fingerprint that is pinned for it, as [`Look::pins`] takes them.
pub(super) fn pin<'a>(name: &str, remote: &'a Remote) -> (String, &'a str) {
    (name.to_string(), remote.fingerprint.as_str())
}
