//! A training of three processes on this machine, over TLS on loopback.

use std::path::{Path, PathBuf};

use ariann_gates::Party;
use ariann_net::Shape;

use super::config::{TrainDealConfig, TrainPartyConfig};
use super::job::Job;
use super::report::TrainReport;
use crate::config::{Deadlines, IdentityConfig, Remote};
use crate::events::Events;
use crate::local::{Watch, absolute, identity};
use crate::{Program, SessionError};

/// What to train.
pub struct LocalTraining<'a> {
    /// The program whose `train` is started.
    pub program: Program,
    /// An empty folder for identities, the job and configurations.
    pub folder: &'a Path,
    /// The job.
    pub job: &'a Job,
    /// The model, for P0 alone.
    pub model: PathBuf,
    /// Items of the training set, for their owner alone.
    pub features: PathBuf,
    /// Their labels, for their owner alone.
    pub labels: PathBuf,
    /// Items of the test set.
    pub test_features: Option<PathBuf>,
    /// Their labels.
    pub test_labels: Option<PathBuf>,
    /// First items of the training set only.
    pub limit: Option<usize>,
    /// First items of the test set only.
    pub test_limit: Option<usize>,
    /// Folder for both parties' checkpoints.
    pub checkpoint: Option<PathBuf>,
    /// Steps between two.
    pub checkpoint_every: Option<u32>,
    /// Go on from the newest.
    pub resume: bool,
    /// Folder for the trained model.
    pub out: Option<PathBuf>,
    /// Threads of each party; the dealer works meanwhile and takes as many.
    pub threads: usize,
    /// The link that P0 and P1 behave like.
    pub link: Option<Shape>,
    /// Whether this process was told to end: then the roles are ended.
    pub interrupted: fn() -> bool,
}

/// What the three roles report.
pub struct TrainReports {
    /// The dealer's.
    pub dealer: TrainReport,
    /// P0's.
    pub p0: TrainReport,
    /// P1's.
    pub p1: TrainReport,
}

impl LocalTraining<'_> {
    /// Runs the three roles to their end.
    pub fn run(&self, events: &mut dyn Events) -> Result<TrainReports, SessionError> {
        let mut watch = Watch::new(&self.program, self.folder, events, self.interrupted);
        for name in ["dealer", "p0", "p1"] {
            watch.hold(name, &["train", "--role", name])?;
        }
        let [dealer_pin, pin0, pin1] = ["dealer", "p0", "p1"].map(|name| identity(self.folder, name));
        let (dealer_pin, pins) = (dealer_pin?, [pin0?, pin1?]);
        let job = self.folder.join("job.json");
        self.job.write(&job)?;
        let any = "127.0.0.1:0".to_string();
        let deal = TrainDealConfig {
            job: job.clone(),
            listen: any.clone(),
            p0: pins[0].clone(),
            p1: pins[1].clone(),
            answers: None,
            threads: self.threads,
            identity: self.own("dealer"),
            deadlines: Deadlines::default(),
        };
        let address = |found: Option<std::net::SocketAddr>| found.map(|found| found.to_string()).unwrap_or_default();
        let dealer_at = address(watch.start("dealer", &deal)?);
        let dealer = Remote { address: dealer_at, fingerprint: dealer_pin };
        let p0 = TrainPartyConfig { listen: Some(any), ..self.party(Party::P0, &job, &pins, &dealer)? };
        let p0_at = address(watch.start("p0", &p0)?);
        let p1 = TrainPartyConfig { connect: Some(p0_at), ..self.party(Party::P1, &job, &pins, &dealer)? };
        watch.release("p1", &p1)?;
        watch.until_ended()?;
        Ok(TrainReports { dealer: watch.report("dealer")?, p0: watch.report("p0")?, p1: watch.report("p1")? })
    }

    fn party(
        &self,
        party: Party,
        job: &Path,
        pins: &[String; 2],
        dealer: &Remote,
    ) -> Result<TrainPartyConfig, SessionError> {
        let path =
            |path: Option<&PathBuf>, wanted: bool| path.filter(|_| wanted).map(|path| absolute(path)).transpose();
        let (features, labels) = (self.job.features == party, self.job.labels == party);
        let tests = self.job.reveals.accuracy.is_some();
        let name = ["p0", "p1"][party as usize];
        let checkpoint = self.checkpoint.as_ref().map(|folder| folder.join(name));
        let learns = self.job.reveals.model.is_some_and(|to| to.includes(party));
        // Both roles are this machine's: they agree to what the job reveals.
        let roles = |to: ariann_gates::Receiver| {
            [(Party::P0, "p0"), (Party::P1, "p1")].into_iter().filter(move |(party, _)| to.includes(*party))
        };
        let revealed = self.job.revealed();
        let allow = revealed.iter().flat_map(|(what, to)| roles(*to).map(move |(_, role)| format!("{what}:{role}")));
        Ok(TrainPartyConfig {
            role: party,
            job: job.to_path_buf(),
            model: path(Some(&self.model), party == Party::P0)?,
            features: path(Some(&self.features), features)?,
            labels: path(Some(&self.labels), labels)?,
            test_features: path(self.test_features.as_ref(), tests && features)?,
            test_labels: path(self.test_labels.as_ref(), tests && labels)?,
            limit: self.limit,
            test_limit: self.test_limit,
            listen: None,
            connect: None,
            owners: None,
            peer: pins[1 - party as usize].clone(),
            checkpoint: path(checkpoint.as_ref(), true)?,
            checkpoint_every: self.checkpoint_every,
            resume: self.resume,
            out: path(self.out.as_ref(), learns)?,
            allow: allow.collect(),
            threads: self.threads,
            link: self.link,
            identity: self.own(name),
            dealer: dealer.clone(),
            deadlines: Deadlines::default(),
        })
    }

    fn own(&self, name: &str) -> IdentityConfig {
        IdentityConfig { folder: self.folder.to_path_buf(), name: name.to_string() }
    }
}
