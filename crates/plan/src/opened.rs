//! Everything that a run of a plan opens: for users who ask what leaves a party, and for the tests that hold it against what
//! is sent.

use ariann_gates::Receiver;

use crate::{Gate, Plan, Revealed};

/// What the messages of a gate carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opens {
    /// A party's own values under its mask.
    Input,
    /// Values, bits or digits under a mask that neither party knows.
    Masked,
    /// A named result.
    Result {
        /// What.
        what: Revealed,
        /// To whom.
        to: Receiver,
    },
}

impl Plan {
    /// What the gates of the plan open, in order: the gate's number, what its messages carry, and their number.
    pub fn opened(&self) -> impl Iterator<Item = (u32, Opens, usize)> + '_ {
        self.gates.iter().enumerate().filter_map(|(number, entry)| {
            let exchanges = self.cost(number).exchanges.len();
            let opens = match &entry.gate {
                Gate::Input(_) => Opens::Input,
                Gate::Reveal(gate) => Opens::Result { what: self.reveal.what, to: gate.to },
                Gate::Open(_)
                | Gate::Max(_)
                | Gate::Relu(_)
                | Gate::Clip(_)
                | Gate::Lookup(_)
                | Gate::ArgMax(_)
                | Gate::ReluBack(_)
                | Gate::MaxBack(_) => Opens::Masked,
                // Local: no message.
                Gate::Shared(_)
                | Gate::Linear(_)
                | Gate::Add(_)
                | Gate::Arrange(_)
                | Gate::Sum(_)
                | Gate::Cut(_)
                | Gate::Subtract(_)
                | Gate::Truncate(_)
                | Gate::Multiply(_)
                | Gate::State(_)
                | Gate::Store(_)
                | Gate::Product(_)
                | Gate::Reduce(_)
                | Gate::Spread(_)
                | Gate::Dropout(_)
                | Gate::Times(_) => {
                    assert_eq!(exchanges, 0, "a local gate sends nothing");
                    return None;
                }
            };
            Some((number as u32, opens, exchanges))
        })
    }
}
