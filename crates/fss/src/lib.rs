//! Function secret sharing for two parties: comparison and equality with a secret point, and shared unit vectors.
//!
//! A dealer knows a secret point α and gives both parties a key. Later both learn a public x (in AriaNN: a value
//! under a mask). Each evaluates its key alone, without a message, and gets a bit; the xor of the two bits is 1{x < α}
//! or 1{x = α}. One party's key and bits say nothing about α. There is no probability of a wrong result.
//!
//! * [`mod@dpf`]: points of 1 to 63 bits. The half-tree DPF with early termination, many instances at once, keys of
//!   16·(max(n - 7, 0) + 1) bytes laid out for one linear pass over memory.
//! * [`mod@unit`]: points of up to 7 bits. A shared unit vector, of which only P1's half is sent, and no tree.
//! * [`mod@chunks`]: comparison of points of up to 35 bits from several such vectors. Least material, two openings.
//! * [`mod@additive`]: points of 1 to 63 bits, results as additive shares modulo 2^32 or 2^64. Larger keys, no message.
//! * [`mod@keys`]: whole batches of keys of a party, as a value and as bytes.
//! * [`mod@bench`]: what this machine does of it, beside its limits.
//!
//! ```
//! use ariann_fss::{HashKeys, Party, TreeHash, generate, key_len, less_than};
//! use ariann_prg::{Address, Prg, Seed};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! const BITS: u32 = 16;
//! let alphas = [500u32, 501, 65535];
//!
//! // dealer: a seed for each party, public hash keys for the batch, and the keys
//! let seeds = [Seed::from_entropy()?, Seed::from_entropy()?];
//! let hash = TreeHash::new(&HashKeys::from_entropy()?);
//! let roots = seeds.map(|seed| {
//!     let mut roots = vec![0; 16 * alphas.len()];
//!     Prg::new(&seed).fill_blocks(Address { kind: 1, gate: 0, slot: 0 }, 0, &mut roots);
//!     roots
//! });
//! let mut keys = vec![0; key_len(BITS) * alphas.len()];
//! generate(&hash, BITS, &roots[0], &roots[1], &alphas, &mut keys)?;
//!
//! // each party: its own roots, the same keys, public points
//! let xs = [500u32, 500, 7];
//! let shares = Party::BOTH.map(|party| {
//!     let mut bits = vec![0; xs.len()];
//!     less_than(&hash, party, BITS, &roots[party.index()], &keys, &xs, &mut bits).map(|()| bits)
//! });
//! let [zero, one] = shares;
//! let result: Vec<u8> = zero?.iter().zip(one?).map(|(a, b)| a ^ b).collect();
//! assert_eq!(result, [0, 1, 1]);
//! # Ok(())
//! # }
//! ```
//!
//! # What the caller must see to
//! * Roots come from the parties' seeds, each used for one key, ever. Hash keys are drawn for each batch and serve at most 2^30 blocks.
//! * A key may be read at several points, or for both results, if every output bit has its own pad before it is opened.
//! * Material of the right length and wrong content gives wrong bits, not an error: what carries it must be authenticated.
//!
//! # Constant time
//! Secret are α, roots, keys' blocks and shares. No branch, index or length depends on them: levels select by masks
//! ([`ariann_prg`] has the loops), the leaf's unit bit is shifted within registers, dealer's points are checked by one decision for all. Public
//! are n, the number of instances and the points x (which are masked values), and only these steer the code. Correct
//! machine code is the compiler's part; what it made of the loops was read for x86-64 only.
//!
//! # Vectors
//! `vectors/fss` holds words, keys and evaluations, and calls to be refused, made by a second implementation
//! (`scripts/fss_reference.py`) that shares nothing with this one but the definitions.

pub mod additive;
pub mod bench;
pub mod chunks;
pub mod dpf;
mod error;
pub mod keys;
mod party;
pub mod unit;

pub use additive::Additive;
pub use ariann_prg::{HashKeys, LANES, TreeHash};
pub use dpf::{equal, generate, key_len, less_than, less_than_and_equal, unit_all, unit_words};
pub use error::FssError;
pub use keys::{Evaluated, Function, KeyKind, Keys, KeysError, Shares};
pub use party::Party;
