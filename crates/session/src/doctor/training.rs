//! The roles of a training: P0 and P1, an owner of rows, the dealer.

use std::path::Path;

use ariann_gates::Party;
use ariann_net::Allowed;
use ariann_plan::training::Source;

use super::inference::clients;
use super::look::pin;
use super::{Check, Look, Room, Subject};
use crate::config::{self, Remote};
use crate::training::{
    AnswerConfig, Checkpoints, Course, Data, Job, Kept, OwnerConfig, TrainDealConfig, TrainPartyConfig,
    checkpoint_room, consent, consent_to, initial_states, kept, owner_number, trained,
};
use crate::{Fault, SessionError};

pub(super) struct Trains(pub TrainPartyConfig);
pub(super) struct Owns(pub OwnerConfig);
pub(super) struct Deals(pub TrainDealConfig);
pub(super) struct Answers(pub AnswerConfig);

/// The job, compiled.
fn course(path: &Path, look: &mut Look) -> Option<Course> {
    let read = || Ok(Course::new(Job::read(path)?)?);
    look.parsed("job", path.display().to_string(), read(), |course: &Course| {
        let (job, digest) = (course.job(), course.job().digest_hex());
        let (rows, epochs, owners) = (job.rows, job.recipe.epochs, job.owners.len());
        let of = if owners > 0 { format!(" of {owners} owners") } else { String::new() };
        format!("job {}…, {epochs} epochs of {rows} items{of}; all roles need the same", &digest[..16])
    })
}

/// Whether the role agrees to what the job reveals.
fn agrees(allow: &[String], result: Result<(), SessionError>, look: &mut Look) {
    look.parsed("consent", "allow", result, |()| {
        format!("agrees to what the job reveals to others ({})", allow.join(", "))
    });
}

impl Subject for Trains {
    fn name(&self) -> &'static str {
        config::role(self.0.role)
    }

    fn title(&self) -> &'static str {
        match self.0.role {
            Party::P0 => "P0 of a training",
            Party::P1 => "P1 of a training",
        }
    }

    fn state(&self) -> Option<&Path> {
        self.0.checkpoint.as_deref()
    }

    fn examine(&self, look: &mut Look) {
        let config = &self.0;
        let (party, other) = (config.role, config::name(ariann_gates::other(config.role)));
        let course = course(&config.job, look);
        model(config, course.as_ref(), look);
        if let Some(course) = &course {
            agrees(&config.allow, consent(course.job(), party, &config.allow), look);
            look.parsed("data", "", Data::read(config, course, party), |data| match (data.rows(), data.test_rows()) {
                (0, _) => "brings no items".to_string(),
                (rows, tests) => format!("brings {rows} items and {tests} to test"),
            });
        }
        look.identity(&config.identity);
        let allowed = look.pins(&[(other.to_string(), &config.peer), pin("the dealer", &config.dealer)]);
        if let Some(folder) = &config.checkpoint {
            let rows = course.as_ref().filter(|course| course.job().features == Source::Owners);
            let rows = rows.map_or(0, |course| kept(config, course).room);
            let room =
                course.as_ref().map(|course| Room::Files("checkpoints and rows", checkpoint_room(course) + rows));
            look.disk(folder, room);
        }
        if let Some(course) = &course {
            checkpoints(config, course, look);
            owners(config, course, look);
        }
        meets(party, (&config.listen, &config.connect), (&config.peer, &allowed), look);
        look.reach(&config.dealer, "the dealer");
    }
}

/// Where P0 awaits P1, or P1 finds P0; the other's pin is one of those `allowed`.
fn meets(
    party: Party,
    (listen, connect): (&Option<String>, &Option<String>),
    (fingerprint, allowed): (&str, &[Allowed]),
    look: &mut Look,
) {
    let missing = |key: &str| {
        let found = Check::ok("config", key, format!("`{key}` is not set"));
        found.problem(Fault::Operator, "set it to HOST:PORT")
    };
    match (party, listen, connect) {
        (Party::P0, Some(address), _) => {
            let peer: Vec<_> =
                allowed.iter().filter(|allowed| allowed.name == config::name(Party::P1)).cloned().collect();
            look.listen(address, &peer, false);
        }
        (Party::P0, None, _) => look.add(missing("listen")),
        (Party::P1, _, Some(address)) => {
            look.reach(&Remote { address: address.clone(), fingerprint: fingerprint.to_string() }, "P0");
        }
        (Party::P1, _, None) => look.add(missing("connect")),
    }
}

/// P0's model: whether it is one of the job's network, and within its ranges.
fn model(config: &TrainPartyConfig, course: Option<&Course>, look: &mut Look) {
    let Some(path) = &config.model else {
        if config.role == Party::P0 {
            let found = Check::ok("file", "model", "P0 has no model");
            look.add(found.problem(Fault::Operator, "set `model` to its ONNX file"));
        }
        return;
    };
    let subject = path.display().to_string();
    if config.role == Party::P1 {
        let found = Check::ok("file", subject, "the model is P0's");
        return look.add(found.problem(Fault::Operator, "take `model` out"));
    }
    let Some(course) = course else { return look.file("the model", path) };
    let states = || {
        let bytes = std::fs::read(path).map_err(|source| SessionError::file("reading the model", path, source))?;
        initial_states(course, &bytes)
    };
    look.parsed("file", subject, states(), |_| "the model: of the job's network, and within its ranges".to_string());
}

/// Whether a training begins or goes on, and with what.
fn checkpoints(config: &TrainPartyConfig, course: &Course, look: &mut Look) {
    let folder = config.checkpoint.as_deref();
    let subject = folder.map(|folder| folder.display().to_string()).unwrap_or_default();
    let any =
        folder.filter(|folder| folder.is_dir()).map(|folder| Checkpoints::open(folder, course, config.role)?.any());
    match (config.resume, folder.is_some(), any.transpose()) {
        (_, _, Err(error)) => look.add(Check::error("checkpoints", subject, &error)),
        (true, false, _) => {
            let found = Check::ok("checkpoints", "", "`resume` is set, and there is no folder of checkpoints");
            look.add(found.problem(Fault::Operator, "set `checkpoint`"));
        }
        (true, true, Ok(None | Some(false))) => {
            let found = Check::ok("checkpoints", subject, "`resume` is set, and there is none of this party");
            look.add(
                found
                    .problem(Fault::Operator, "name the folder that the training was begun with, or take `resume` out"),
            );
        }
        (false, true, Ok(Some(true))) => {
            let found = Check::ok("checkpoints", subject, "the folder holds those of an earlier training");
            look.add(found.problem(Fault::Operator, "set `resume` to go on with it, or give another folder"));
        }
        (true, true, Ok(Some(true))) => look.add(Check::ok("checkpoints", subject, "the training goes on")),
        (false, true, _) => look.add(Check::ok("checkpoints", subject, "the training begins")),
        (false, false, _) => {
            let found = Check::ok("checkpoints", "", "none are written");
            look.add(found.warning(Fault::Operator, "set `checkpoint`, unless a training that breaks off may be lost"));
        }
    }
}

/// Where owners connect, who they are, and whose rows are here.
fn owners(config: &TrainPartyConfig, course: &Course, look: &mut Look) {
    let job = course.job();
    if job.features != Source::Owners {
        if config.owners.is_some() {
            let found = Check::ok("rows", "owners", "`owners` is set, and in this job a party brings the rows");
            look.add(found.problem(Fault::Operator, "take it out"));
        }
        return;
    }
    let mut pins: Vec<(String, &str)> =
        job.owners.iter().map(|owner| (owner.name.clone(), owner.fingerprint.as_str())).collect();
    // Who adds rows stands there again.
    pins.sort();
    pins.dedup();
    let allowed = look.pins(&pins);
    let Kept { missing, refused, .. } = kept(config, course);
    for reason in refused {
        let (finding, advice) = reason.rsplit_once("; ").unwrap_or((&reason, "its owner must share anew"));
        look.add(Check::ok("rows", "", finding).warning(Fault::Machine, advice));
    }
    let finding = match missing.is_empty() {
        true => "the rows of all owners are here".to_string(),
        false => format!("waits for the rows of {}", missing.join(", ")),
    };
    let found = Check::ok("rows", "", finding);
    match &config.owners {
        Some(address) => {
            look.add(found);
            look.listen(address, &allowed, false);
        }
        None if missing.is_empty() => look.add(found),
        None => look.add(found.problem(Fault::Operator, "set `owners` to the HOST:PORT where they connect")),
    }
}

impl Subject for Owns {
    fn name(&self) -> &'static str {
        "owner"
    }

    fn title(&self) -> &'static str {
        "an owner of rows"
    }

    fn state(&self) -> Option<&Path> {
        None
    }

    fn examine(&self, look: &mut Look) {
        let config = &self.0;
        let course = course(&config.job, look);
        look.identity(&config.identity);
        if let Some(course) = &course {
            let job = course.job();
            let both =
                || [Party::P0, Party::P1].into_iter().try_for_each(|party| consent_to(job, party, &config.allow));
            agrees(&config.allow, both(), look);
            let own = look.own().map(|own| owner_number(job, own.fingerprint(), config.from_epoch));
            let told = |owner: &usize| format!("{} in the job", job.owners[*owner].label());
            if let Some(owner) = own.and_then(|own| look.parsed("identity", "", own, told)) {
                let data = Data::of_owner(config, course, &job.owners[owner]);
                look.parsed("data", "", data, |data| {
                    format!("brings {} items and {} to test", data.rows(), data.test_rows())
                });
            }
        }
        look.pins(&[pin("P0", &config.p0), pin("P1", &config.p1)]);
        for (remote, name) in [(&config.p0, "P0"), (&config.p1, "P1")] {
            let advice = "have both parties started, for neither answers owners before it has met the other; then look at the \
                          address, the network and its firewalls";
            look.reach_or(remote, name, advice);
        }
    }
}

impl Subject for Deals {
    fn name(&self) -> &'static str {
        "dealer"
    }

    fn title(&self) -> &'static str {
        "the dealer of a training"
    }

    fn state(&self) -> Option<&Path> {
        None
    }

    fn examine(&self, look: &mut Look) {
        let config = &self.0;
        course(&config.job, look);
        look.identity(&config.identity);
        let allowed = look.pins(&[("P0".to_string(), &config.p0), ("P1".to_string(), &config.p1)]);
        look.listen(&config.listen, &allowed, false);
    }
}

impl Subject for Answers {
    fn name(&self) -> &'static str {
        config::role(self.0.role)
    }

    fn title(&self) -> &'static str {
        match self.0.role {
            Party::P0 => "P0 of a model that stays shared",
            Party::P1 => "P1 of a model that stays shared",
        }
    }

    fn state(&self) -> Option<&Path> {
        Some(&self.0.trained.checkpoint)
    }

    fn examine(&self, look: &mut Look) {
        let config = &self.0;
        let (folder, other) = (&config.trained.checkpoint, config::name(ariann_gates::other(config.role)));
        if let Some(course) = course(&config.trained.job, look) {
            let marks = || {
                if !folder.is_dir() {
                    let missing = std::io::ErrorKind::NotFound.into();
                    return Err(SessionError::file("reading the checkpoints in", folder, missing));
                }
                let checkpoints = Checkpoints::open(folder, &course, config.role)?;
                match course.job().choices.ring {
                    32 => trained::<u32>(&checkpoints, &course),
                    _ => trained::<u64>(&checkpoints, &course),
                }
            };
            let subject = folder.display().to_string();
            look.parsed("checkpoints", subject, marks(), |_| "this party's shares of the trained model".to_string());
        }
        look.identity(&config.identity);
        let allowed = look.pins(&[(other.to_string(), &config.peer), pin("the dealer", &config.dealer)]);
        clients(&config.outside, false, look);
        meets(config.role, (&config.listen, &config.connect), (&config.peer, &allowed), look);
        look.reach(&config.dealer, "the dealer");
    }
}
