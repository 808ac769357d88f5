//! What the roles of a federation need, as `doctor` looks at it.

use std::path::Path;

use ariann_federated::roles::{
    FederateDealConfig, FederateOwnerConfig, FederateServerConfig, Federation, Plan, Reveal, needed, rows,
};
use ariann_session::config::{self, Remote};
use ariann_session::doctor::{Check, Look, Room, Subject};
use ariann_session::training::{initial_states, job_graph};
use ariann_session::{Fault, SessionError};

struct Serves(FederateServerConfig);
struct Owns(FederateOwnerConfig);
struct Deals(FederateDealConfig);

/// Reads the configuration of a federated role, when it is one.
pub fn federated(keys: &[String], path: &Path) -> Option<Result<Box<dyn Subject>, SessionError>> {
    let has = |key: &str| keys.iter().any(|known| known == key);
    if !has("federation") {
        return None;
    }
    let role = || -> Result<Box<dyn Subject>, SessionError> {
        Ok(if has("server") {
            Box::new(Owns(config::read(path)?))
        } else if has("state") {
            Box::new(Serves(config::read(path)?))
        } else {
            Box::new(Deals(config::read(path)?))
        })
    };
    Some(role())
}

/// The federation's file, compiled.
fn plan(path: &Path, look: &mut Look) -> Option<Plan> {
    let read = || Federation::read(path)?.plan();
    look.parsed("federation", path.display().to_string(), read(), |plan| {
        let Federation { rounds, threshold, owners, .. } = &plan.federation;
        let owners = owners.len();
        format!("{rounds} rounds of {owners} owners, {threshold} of whom a round needs; all roles need the same")
    })
}

/// Whether the role's identity is the one that the federation names.
fn is_named(pin: &str, whose: &str, look: &mut Look) {
    let Some(own) = look.own().map(ariann_net::Identity::fingerprint) else { return };
    let named = config::pin(pin, whose).and_then(|pin| match pin == own {
        true => Ok(()),
        false => Err(SessionError::Config(format!(
            "this identity ({own}) is not the one that the federation names {whose}; name the right one under [identity], or have the \
             federation's file made with it"
        ))),
    });
    look.parsed("identity", whose, named, |()| format!("the federation names it {whose}"));
}

/// Whether the role agrees to what the federation reveals.
fn agrees(reveal: Option<Reveal>, allow: &[String], look: &mut Look) {
    let missing: Vec<String> = needed(reveal).into_iter().filter(|word| !allow.contains(word)).collect();
    let found = Check::ok("consent", "allow", "agrees to what the federation reveals");
    look.add(match missing.is_empty() {
        true => found,
        false => {
            let finding = format!("this federation reveals {}, and this role does not agree", missing.join(" and "));
            let words: Vec<String> = needed(reveal).iter().map(|word| format!("\"{word}\"")).collect();
            let advice = format!("agree with allow = [{}], or take no part", words.join(", "));
            Check { finding, ..found }.problem(Fault::Operator, advice)
        }
    });
}

/// A model file: the one to begin with, or the one under whose names the trained model leaves.
fn model(plan: &Plan, path: Option<&Path>, begins: bool, whose: &str, look: &mut Look) {
    let Some(path) = path else {
        if begins {
            let found = Check::ok("file", "model", format!("{whose} brings the model to begin with, and names none"));
            look.add(found.problem(Fault::Operator, "set `model` to its ONNX file"));
        }
        return;
    };
    let fits = || {
        let bytes = std::fs::read(path).map_err(|source| SessionError::file("reading the model", path, source))?;
        match begins {
            true => initial_states(&plan.course, &bytes).map(drop),
            false => job_graph(&plan.course, &bytes).map(drop),
        }
    };
    look.parsed("file", path.display().to_string(), fits(), |()| "the model: of the job's network".to_string());
}

/// Every owner that the federation names.
fn owners(plan: &Plan) -> Vec<(String, &str)> {
    let owners = plan.federation.owners.iter();
    owners.map(|owner| (format!("owner {}", owner.number), owner.fingerprint.as_str())).collect()
}

impl Subject for Serves {
    fn name(&self) -> &'static str {
        "server"
    }

    fn title(&self) -> &'static str {
        "the server of a federation"
    }

    fn state(&self) -> Option<&Path> {
        Some(&self.0.state)
    }

    fn examine(&self, look: &mut Look) {
        let config = &self.0;
        let plan = plan(&config.federation, look);
        look.identity(&config.identity);
        let Some(plan) = plan else { return look.disk(&config.state, None) };
        let federation = &plan.federation;
        is_named(&federation.server, "the server", look);
        agrees(federation.reveal, &config.allow, look);
        // A server that was killed has its share.
        let begins = federation.initial.is_none() && !config.state.join("model").exists();
        model(&plan, config.model.as_deref(), begins, "the server", look);
        let mut pins = vec![("the dealer".to_string(), federation.dealer.as_str())];
        pins.extend(owners(&plan));
        let mut allowed = look.pins(&pins);
        allowed.retain(|allowed| allowed.name != "the dealer");
        // Its share, the one that follows from a round, and the update of every owner.
        let bytes = plan.training().bytes() * (federation.owners.len() as u64 + 2);
        look.disk(&config.state, Some(Room::Files("the model's share and a round's updates", bytes)));
        look.listen(&config.listen, &allowed, false);
        look.reach(&Remote { address: config.dealer.clone(), fingerprint: federation.dealer.clone() }, "the dealer");
    }
}

impl Subject for Owns {
    fn name(&self) -> &'static str {
        "owner"
    }

    fn title(&self) -> &'static str {
        "an owner of a federation"
    }

    fn state(&self) -> Option<&Path> {
        Some(&self.0.state)
    }

    fn examine(&self, look: &mut Look) {
        let config = &self.0;
        let plan = plan(&config.federation, look);
        look.identity(&config.identity);
        let Some(plan) = plan else { return look.disk(&config.state, None) };
        let federation = &plan.federation;
        let number = look.own().and_then(|own| plan.roster.number_of(own.fingerprint()));
        match (number, look.own().map(ariann_net::Identity::fingerprint)) {
            (Some(number), _) => look.add(Check::ok("identity", "", format!("owner {number} of the federation"))),
            (None, Some(own)) => {
                let found = Check::ok("identity", "", format!("this identity ({own}) is not among the owners"));
                let advice = "name the right one under [identity], or have the federation's file made with it";
                look.add(found.problem(Fault::Operator, advice));
            }
            (None, None) => {}
        }
        agrees(federation.reveal, &config.allow, look);
        let begins = number.is_some() && federation.initial == number;
        model(&plan, config.model.as_deref(), begins, "this owner", look);
        if let Some(path) = &config.places {
            look.file("places of its items", path);
        }
        look.parsed("data", "", rows(config, &plan), |data| {
            format!("brings {} items and {} to test", data.rows(), data.test_rows())
        });
        look.pins(&[
            ("the server".to_string(), federation.server.as_str()),
            ("the dealer".to_string(), federation.dealer.as_str()),
        ]);
        // Its share, the one that follows from a round, and its masked update.
        let bytes = 3 * plan.training().bytes();
        look.disk(&config.state, Some(Room::Files("the model's share and an update", bytes)));
        look.reach(&Remote { address: config.server.clone(), fingerprint: federation.server.clone() }, "the server");
        look.reach(&Remote { address: config.dealer.clone(), fingerprint: federation.dealer.clone() }, "the dealer");
    }
}

impl Subject for Deals {
    fn name(&self) -> &'static str {
        "dealer"
    }

    fn title(&self) -> &'static str {
        "the dealer of a federation"
    }

    fn state(&self) -> Option<&Path> {
        None
    }

    fn examine(&self, look: &mut Look) {
        let config = &self.0;
        let plan = plan(&config.federation, look);
        look.identity(&config.identity);
        let Some(plan) = plan else { return };
        is_named(&plan.federation.dealer, "the dealer", look);
        let mut pins = vec![("the server".to_string(), plan.federation.server.as_str())];
        pins.extend(owners(&plan));
        let allowed = look.pins(&pins);
        look.listen(&config.listen, &allowed, false);
    }
}
