//! Seeds and addressed pseudorandom words, AES back ends, and the fused tree step of the half-tree DPF.
//!
//! * [`Seed`] and [`entropy`]: randomness from the operating system, or failure.
//! * [`Prg`]: the words of a seed. A word is addressed by ([`Address`], index), so that dealer and parties expand
//!   the same masks in any order, and a long stream never has to be held.
//! * [`TreeHash`]: H and H' of the half-tree construction under public keys, and the two loops that use them on
//!   [`LANES`] instances at once: [`TreeHash::walk`] for a party, [`TreeHash::grow`] for the dealer.
//! * [`Backend`]: which AES does the work. All give the same bits. [`accelerate`]: other loops with its vectors.
//!
//! # Constant time
//! Seeds, blocks, correction words and the dealer's points are secret. Nothing here branches on them or uses them as
//! an index: AES is the processor's instruction or a bitsliced circuit (never a table), key expansion runs through the
//! same circuit on every back end, and selects by secret bits are masks. Lengths, addresses and the points at
//! which a party evaluates are public.
//!
//! # Processors
//! `ARIANN_AES` forces a path: `vaes512`, `vaes`, `aesni`, `armv8` or `soft`; one that the processor lacks is an error.
//! VAES on 512 and 256 bits, AES-NI and the portable path were run on x86-64 hardware. The ARMv8 path passed the same
//! tests and vectors under an emulator (qemu-aarch64) only: it has *not run* on such a processor, and its speed is unknown.

mod aes;
mod backend;
mod hash;
mod kernel;
mod seed;
mod stream;

pub use backend::{Backend, BackendError};
pub use hash::{Ends, HashKeys, LANES, TreeHash};
pub use kernel::{Loop, accelerate};
pub use seed::{EntropyError, Seed, entropy};
pub use stream::{Address, Prg};
