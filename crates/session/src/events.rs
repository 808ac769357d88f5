//! What a role tells while it works: to a person as progress, to a script as JSON lines.

use std::net::SocketAddr;

use serde::Serialize;

/// Something that happened.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The role accepts connections.
    Listening {
        /// Where.
        address: SocketAddr,
    },
    /// The role accepts connections of owners of rows.
    ListeningForOwners {
        /// Where.
        address: SocketAddr,
    },
    /// A stage of work goes on.
    Progress {
        /// Its name: "dealing", "receiving material", "setup", "preparing", "predicting".
        stage: &'static str,
        /// Units done.
        done: u64,
        /// Units in all.
        total: u64,
    },
    /// The gate that a run is at.
    Gate {
        /// Its number in the plan.
        number: u32,
        /// Its name.
        name: String,
    },
    /// Items were predicted; at a party that learns the results.
    Predicted {
        /// The first of them.
        first: u64,
        /// Their labels.
        predictions: Vec<u32>,
    },
    /// The loss of a step of training, an item's mean; at a party that learns it.
    Loss {
        /// The step, from 1.
        step: u64,
        /// The loss.
        loss: f64,
    },
    /// An epoch of training was tested; at a party that learns the accuracy.
    Epoch {
        /// The epoch, from 1.
        epoch: u32,
        /// Part of the tested items that were classified rightly.
        accuracy: Option<f64>,
        /// Mean loss of an item over its steps, where it is learned too.
        loss: Option<f64>,
    },
    /// Something the operator should know.
    Notice {
        /// What.
        text: String,
    },
    /// A session with the other party ended with an error; the role goes on.
    SessionFailed {
        /// Who is at fault.
        fault: &'static str,
        /// What happened and what to do.
        error: String,
    },
    /// A session ended well.
    SessionDone {
        /// Items predicted in it.
        items: u64,
    },
}

/// Takes events.
pub trait Events {
    /// Tells one.
    fn tell(&mut self, event: Event);
}

/// Tells nobody.
pub struct Silent;

impl Events for Silent {
    fn tell(&mut self, _event: Event) {}
}

impl dyn Events + '_ {
    /// A notice.
    pub fn notice(&mut self, text: impl Into<String>) {
        self.tell(Event::Notice { text: text.into() });
    }

    /// Progress of a stage.
    pub fn progress(&mut self, stage: &'static str, done: u64, total: u64) {
        self.tell(Event::Progress { stage, done, total });
    }
}
