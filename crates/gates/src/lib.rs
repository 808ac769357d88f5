//! The protocol, one file a gate: the dealer's half and the parties' halves side by side.
//!
//! A gate does no I/O: its online steps return the message to send and take the message that came. `session` owns the
//! channel; unit tests pass the bytes by hand. Every gate states its cost in [`Cost`], from which the plan knows every length.

mod address;
mod context;
mod cost;

pub mod add;
pub mod argmax;
pub mod arrange;
pub mod axes;
pub mod bench;
pub mod clip;
pub mod cut;
pub mod drelu;
pub mod dropout;
pub mod input;
pub mod linear;
pub mod lookup;
pub mod max;
pub mod max_back;
pub mod multiply;
pub mod open;
mod pieces;
pub mod product;
pub mod relu;
pub mod relu_back;
pub mod reveal;
pub mod select;
mod step;
pub mod subtract;
pub mod truncate;
mod windows;

pub use address::kind;
pub use ariann_device::{Axes, Bilinear, Keys, Lift, LinearShape, Stream, SumShape, Window};
pub use ariann_fss::Party;
pub use context::{Context, Dealing, GateError, Receiver, Sections, other};
pub use cost::{Cost, Traffic};
pub use drelu::{Comparison, Sign};
pub use pieces::Material;
pub use step::{Progress, Step};
pub use windows::{Level, Pooling, Windows};
