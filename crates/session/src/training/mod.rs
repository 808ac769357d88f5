//! Private training: two parties take the turns of a public job, with material that a dealer streams meanwhile.
//!
//! All three roles hold the [`Job`] and compile its plans for themselves ([`Course`]). Between turns the parties keep shares of
//! the states.

mod answers;
mod checkpoint;
mod clipping;
mod config;
mod course;
mod data;
mod dealer;
mod gather;
mod inflow;
mod job;
mod learning;
mod local;
mod meeting;
mod messages;
mod outflow;
mod owner;
mod pair;
mod party;
mod pooled;
mod report;
mod standing;
mod turns;
mod weighing;

pub(crate) use answers::trained;
pub use answers::{AnswerConfig, Answers, Trained, answer};
pub(crate) use checkpoint::{Checkpoints, room as checkpoint_room};
pub use clipping::{Clipping, NORM_BITS};
pub use config::{OwnerConfig, TrainDealConfig, TrainPartyConfig, allowed};
pub use course::{Course, Cursor, Kind, Leg};
pub use data::Data;
pub use dealer::{Dealt, deal_pair, deal_training};
pub(crate) use gather::{Kept, kept};
pub use inflow::Arriving;
pub use job::{Choices, Job, JobError, Ranges, Reveals, VERSION};
pub use learning::write_model;
pub(crate) use learning::{consent, consent_to};
pub use local::{LocalTraining, TrainReports};
pub(crate) use owner::number as owner_number;
pub use owner::{ShareReport, share_rows};
pub use pair::{FINER, PairEnd, PairTask, run_pair};
pub use party::{initial_states, job_graph, train};
pub use pooled::RowOwner;
pub(crate) use pooled::{from_bytes, subtract};
pub use report::{EpochReport, TrainReport};
pub use standing::Standing;
pub use turns::{Turn, Turns};
pub use weighing::{is_averaged, weight_bits};
