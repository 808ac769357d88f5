//! Key batches to keep and send: everything one party needs to evaluate, in one value with one byte format.
//!
//! For those who use function secret sharing by itself. The protocol carries the same parts in its own material.
//!
//! Format, all numbers little-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `ARIANNFS` |
//! | 1 | version, 1 |
//! | 1 | function: 0 less-than, 1 equal |
//! | 1 | results: 0 XOR bits, 1 additive modulo 2^32, 2 additive modulo 2^64 |
//! | 1 | n, bits of the domain |
//! | 1 | party |
//! | 3 | zero |
//! | 8 | number of keys |
//! | 32 | K and K' of the hash |
//! | 16 | the party's seed: roots and, at P0, its shares of α |
//! | only P1: 4 a key, 8 where n > 32 | P1's shares of α modulo 2^n |
//! | the same at both | keys as [`crate::dpf`] or [`crate::additive`] lay them out |

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ariann_prg::{Address, EntropyError, HashKeys, Prg, Seed, TreeHash};
use ariann_ring::Ring;
use zeroize::Zeroizing;

use crate::{Additive, FssError, Party, additive, dpf};

const MAGIC: &[u8; 8] = b"ARIANNFS";
const VERSION: u8 = 1;
/// Bytes before P1's shares of α and the keys.
const HEAD: usize = 72;
/// Blocks that one pair of hash keys serves.
const MOST_BLOCKS: u64 = 1 << 30;
/// Keys between two looks whether to stop: some milliseconds.
const STRETCH: usize = 1 << 14;
/// Streams of a seed.
const ROOTS: Address = Address { kind: 1, gate: 0, slot: 0 };
const ALPHAS: Address = Address { kind: 2, gate: 0, slot: 0 };

/// The function of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// 1{x < α}.
    LessThan,
    /// 1{x = α}.
    Equal,
}

/// What an evaluation gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shares {
    /// A bit; the parties' bits xored are the result.
    Xor,
    /// An element; the parties' elements added modulo 2^32 are the result.
    Additive32,
    /// The same modulo 2^64.
    Additive64,
}

/// Of what kind keys are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyKind {
    /// The function.
    pub function: Function,
    /// What an evaluation gives.
    pub shares: Shares,
    /// n: points are below 2^n, n from 1 to 63.
    pub domain_bits: u32,
}

impl KeyKind {
    /// Bytes of one key, without the party's share of α.
    pub const fn key_len(self) -> usize {
        match self.shares {
            Shares::Xor => dpf::key_len(self.domain_bits),
            Shares::Additive32 => self.additive().key_len::<u32>(self.domain_bits),
            Shares::Additive64 => self.additive().key_len::<u64>(self.domain_bits),
        }
    }

    /// The most keys of one batch, for which one pair of hash keys is good.
    pub const fn most_keys(self) -> u64 {
        // The dealer hashes both parties' blocks; a level of additive shares has two hashes.
        MOST_BLOCKS / (4 * (self.domain_bits as u64 + 1))
    }

    const fn additive(self) -> Additive {
        match self.function {
            Function::LessThan => Additive::LessThan,
            Function::Equal => Additive::Equal,
        }
    }

    const fn alpha_len(self) -> usize {
        if self.domain_bits > 32 { 8 } else { 4 }
    }

    fn check(self, count: u64) -> Result<(), KeysError> {
        if !(1..=63).contains(&self.domain_bits) {
            return Err(FssError::Domain { got: self.domain_bits }.into());
        }
        if count > self.most_keys() {
            return Err(KeysError::TooMany { count, most: self.most_keys(), domain_bits: self.domain_bits });
        }
        Ok(())
    }
}

/// Why there are no keys, or no result.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// A call that does not fit.
    #[error(transparent)]
    Fss(#[from] FssError),
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// More keys than one batch may have.
    #[error(
        "caller: {count} keys on {domain_bits} bits are more than the {most} that one batch may have; make several batches"
    )]
    TooMany {
        /// Keys asked for.
        count: u64,
        /// The most of one batch.
        most: u64,
        /// n.
        domain_bits: u32,
    },
    /// Points and keys differ in number.
    #[error("caller: {points} points for {keys} keys; give one point a key")]
    Count {
        /// Points given.
        points: usize,
        /// Keys here.
        keys: usize,
    },
    /// The bytes are no batch of keys.
    #[error("input: these bytes are no key batch: {0}; take the bytes that encoding gave, whole")]
    Malformed(&'static str),
    /// Somebody asked to stop.
    #[error("caller: stopped before the end; call again for a result")]
    Stopped,
}

/// One party's part of a batch of keys. Not copied, not printed; wiped on drop, what both parties have with the last of them.
pub struct Keys {
    kind: KeyKind,
    party: Party,
    count: usize,
    hash_keys: HashKeys,
    seed: Seed,
    /// P1's shares of α.
    alphas: Zeroizing<Vec<u8>>,
    /// What is the same at both parties, and in one process but once: stretch after stretch.
    keys: Arc<Vec<Wiped>>,
}

/// Bytes that are wiped on drop, in words: byte by byte it would take as long as making keys does.
struct Wiped {
    words: Zeroizing<Vec<u128>>,
    len: usize,
}

impl Wiped {
    fn zeros(len: usize) -> Wiped {
        Wiped { words: Zeroizing::new(vec![0; len.div_ceil(16)]), len }
    }

    fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.len]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.words)[..self.len]
    }
}

impl From<&[u8]> for Wiped {
    fn from(bytes: &[u8]) -> Wiped {
        let mut wiped = Wiped::zeros(bytes.len());
        wiped.bytes_mut().copy_from_slice(bytes);
        wiped
    }
}

/// What an evaluation gave.
pub enum Evaluated {
    /// XOR shares, 0 or 1.
    Bits(Vec<u8>),
    /// Additive shares modulo 2^32.
    Words32(Vec<u32>),
    /// Additive shares modulo 2^64.
    Words64(Vec<u64>),
}

impl Keys {
    /// The dealer: both parties' keys for the secret points `alphas`.
    pub fn generate(kind: KeyKind, alphas: &[u64]) -> Result<[Keys; 2], KeysError> {
        Keys::generate_until(&AtomicBool::new(false), kind, alphas)
    }

    /// The same, unless `stop` is set meanwhile: then [`KeysError::Stopped`], within milliseconds.
    pub fn generate_until(stop: &AtomicBool, kind: KeyKind, alphas: &[u64]) -> Result<[Keys; 2], KeysError> {
        kind.check(alphas.len() as u64)?;
        let hash_keys = HashKeys::from_entropy()?;
        let hash = TreeHash::new(&hash_keys);
        let count = alphas.len();
        let seeds = [Seed::from_entropy()?, Seed::from_entropy()?];
        let roots = [0, 1].map(|party: usize| blocks(&seeds[party], ROOTS, count));
        let mut shares = Zeroizing::new(points(kind, &seeds[0], count));
        let mut packed = Zeroizing::new(Vec::with_capacity(count * kind.alpha_len()));
        let mut keys = Vec::with_capacity(count.div_ceil(STRETCH));
        let roots = roots[0].chunks(STRETCH).zip(roots[1].chunks(STRETCH));
        for ((alphas, roots), shares) in alphas.chunks(STRETCH).zip(roots).zip(shares.chunks_mut(STRETCH)) {
            go_on(stop)?;
            let mut made = Wiped::zeros(alphas.len() * kind.key_len());
            let keys_here = made.bytes_mut();
            let roots = [bytemuck::cast_slice(roots.0), bytemuck::cast_slice(roots.1)];
            let (n, function) = (kind.domain_bits, kind.additive());
            match kind.shares {
                Shares::Xor => dpf::generate(&hash, n, roots[0], roots[1], alphas, keys_here)?,
                Shares::Additive32 => additive::generate::<u32, _>(function, &hash, n, roots, alphas, keys_here)?,
                Shares::Additive64 => additive::generate::<u64, _>(function, &hash, n, roots, alphas, keys_here)?,
            }
            for (share, alpha) in shares.iter_mut().zip(alphas) {
                *share = alpha.wrapping_sub(*share) & u64::low_mask(n);
                packed.extend_from_slice(&share.to_le_bytes()[..kind.alpha_len()]);
            }
            keys.push(made);
        }
        let ([seed0, seed1], keys) = (seeds, Arc::new(keys));
        let party = |party, seed, alphas, keys| Keys { kind, party, count, hash_keys, seed, alphas, keys };
        Ok([party(Party::P0, seed0, Zeroizing::default(), keys.clone()), party(Party::P1, seed1, packed, keys)])
    }

    /// Both parties' keys for `count` points that the operating system draws and nobody keeps: the parties have shares of them.
    pub fn random(kind: KeyKind, count: usize) -> Result<[Keys; 2], KeysError> {
        Keys::random_until(&AtomicBool::new(false), kind, count)
    }

    /// The same, unless `stop` is set meanwhile.
    pub fn random_until(stop: &AtomicBool, kind: KeyKind, count: usize) -> Result<[Keys; 2], KeysError> {
        kind.check(count as u64)?;
        let alphas = Zeroizing::new(points(kind, &Seed::from_entropy()?, count));
        Keys::generate_until(stop, kind, &alphas)
    }

    /// Of what kind they are.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// Whose they are.
    pub fn party(&self) -> Party {
        self.party
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The party's shares of α modulo 2^n.
    pub fn alpha_shares(&self) -> Vec<u64> {
        let bytes = self.kind.alpha_len();
        match self.party {
            Party::P0 => points(self.kind, &self.seed, self.count),
            Party::P1 => self.alphas.chunks_exact(bytes).map(little).collect(),
        }
    }

    /// The party's shares of the function at public `xs`, one a key.
    pub fn evaluate<A: Ring>(&self, xs: &[A]) -> Result<Evaluated, KeysError> {
        self.evaluate_until(&AtomicBool::new(false), xs)
    }

    /// The same, unless `stop` is set meanwhile.
    pub fn evaluate_until<A: Ring>(&self, stop: &AtomicBool, xs: &[A]) -> Result<Evaluated, KeysError> {
        let (hash, n) = (TreeHash::new(&self.hash_keys), self.kind.domain_bits);
        Ok(match self.kind.shares {
            Shares::Xor => {
                let read = if self.kind.function == Function::LessThan { dpf::less_than } else { dpf::equal };
                Evaluated::Bits(
                    self.stretches(stop, xs, |roots, keys, xs, out| read(&hash, self.party, n, roots, keys, xs, out))?,
                )
            }
            Shares::Additive32 => Evaluated::Words32(self.additive(stop, &hash, xs)?),
            Shares::Additive64 => Evaluated::Words64(self.additive(stop, &hash, xs)?),
        })
    }

    fn additive<R: Ring, A: Ring>(&self, stop: &AtomicBool, hash: &TreeHash, xs: &[A]) -> Result<Vec<R>, KeysError> {
        let (function, n) = (self.kind.additive(), self.kind.domain_bits);
        self.stretches(stop, xs, |roots, keys, xs, out| {
            additive::evaluate(function, hash, self.party, n, roots, keys, xs, out)
        })
    }

    /// Evaluates stretch after stretch: `at` gets roots, keys, points, and where the shares go.
    fn stretches<T: Copy + Default, A: Ring>(
        &self,
        stop: &AtomicBool,
        xs: &[A],
        at: impl Fn(&[u8], &[u8], &[A], &mut [T]) -> Result<(), FssError>,
    ) -> Result<Vec<T>, KeysError> {
        if xs.len() != self.count {
            return Err(KeysError::Count { points: xs.len(), keys: self.count });
        }
        let roots = blocks(&self.seed, ROOTS, self.count);
        let mut out = vec![T::default(); self.count];
        let inputs = roots.chunks(STRETCH).zip(&*self.keys).zip(xs.chunks(STRETCH));
        for (((roots, keys), xs), out) in inputs.zip(out.chunks_mut(STRETCH)) {
            go_on(stop)?;
            at(bytemuck::cast_slice(roots), keys.bytes(), xs, out)?;
        }
        Ok(out)
    }

    /// Bytes of [`Keys::encode`].
    pub fn encoded_len(&self) -> usize {
        HEAD + self.alphas.len() + self.count * self.kind.key_len()
    }

    /// The batch as bytes. They are as secret as the keys.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.encoded_len()];
        self.encode_to(&mut bytes);
        bytes
    }

    /// The batch as bytes, written to where there are [`Keys::encoded_len`] of them.
    pub fn encode_to(&self, bytes: &mut [u8]) {
        let function = match self.kind.function {
            Function::LessThan => 0,
            Function::Equal => 1,
        };
        let shares = match self.kind.shares {
            Shares::Xor => 0,
            Shares::Additive32 => 1,
            Shares::Additive64 => 2,
        };
        let KeyKind { domain_bits, .. } = self.kind;
        let (head, rest) = bytes.split_at_mut(HEAD);
        head[..8].copy_from_slice(MAGIC);
        head[8..16].copy_from_slice(&[VERSION, function, shares, domain_bits as u8, self.party.index() as u8, 0, 0, 0]);
        head[16..24].copy_from_slice(&(self.count as u64).to_le_bytes());
        head[24..40].copy_from_slice(&self.hash_keys.inner);
        head[40..56].copy_from_slice(&self.hash_keys.leaf);
        head[56..72].copy_from_slice(self.seed.expose());
        let (alphas, keys) = rest.split_at_mut(self.alphas.len());
        alphas.copy_from_slice(&self.alphas);
        for (there, here) in keys.chunks_mut(STRETCH * self.kind.key_len()).zip(&*self.keys) {
            there.copy_from_slice(here.bytes());
        }
    }

    /// The batch of these bytes.
    pub fn decode(bytes: &[u8]) -> Result<Keys, KeysError> {
        let Some((head, rest)) = bytes.split_at_checked(HEAD) else {
            return Err(KeysError::Malformed("they are shorter than a head"));
        };
        if head[..8] != *MAGIC {
            return Err(KeysError::Malformed("they do not begin as one"));
        }
        let [version, function, shares, bits, party, zeros @ ..] = &head[8..16] else { unreachable!("eight bytes") };
        if *version != VERSION {
            return Err(KeysError::Malformed("they are of another version"));
        }
        let function = match function {
            0 => Function::LessThan,
            1 => Function::Equal,
            _ => return Err(KeysError::Malformed("there is no such function")),
        };
        let shares = match shares {
            0 => Shares::Xor,
            1 => Shares::Additive32,
            2 => Shares::Additive64,
            _ => return Err(KeysError::Malformed("there are no such results")),
        };
        let party = match party {
            0 => Party::P0,
            1 => Party::P1,
            _ => return Err(KeysError::Malformed("there is no such party")),
        };
        if zeros != [0; 3] {
            return Err(KeysError::Malformed("reserved bytes are not zero"));
        }
        let kind = KeyKind { function, shares, domain_bits: u32::from(*bits) };
        let count = little(&head[16..24]);
        kind.check(count)?;
        let count = count as usize;
        let hash_keys = HashKeys { inner: block(&head[24..40]), leaf: block(&head[40..56]) };
        if hash_keys.inner == hash_keys.leaf {
            return Err(KeysError::Malformed("its hash keys are equal"));
        }
        let alphas = if party == Party::P1 { count * kind.alpha_len() } else { 0 };
        if rest.len() != alphas + count * kind.key_len() {
            return Err(KeysError::Malformed("they are cut, or have more than their head says"));
        }
        let (alphas, keys) = rest.split_at(alphas);
        if alphas.chunks_exact(kind.alpha_len()).fold(0, |all, share| all | little(share)) >> bits != 0 {
            return Err(KeysError::Malformed("a share of α is outside the domain"));
        }
        let (alphas, keys) = (Zeroizing::new(alphas.to_vec()), keys.chunks(STRETCH * kind.key_len()));
        let keys = Arc::new(keys.map(Wiped::from).collect());
        Ok(Keys { kind, party, count, hash_keys, seed: Seed::from_bytes(block(&head[56..72])), alphas, keys })
    }
}

fn go_on(stop: &AtomicBool) -> Result<(), KeysError> {
    if stop.load(Ordering::Relaxed) { Err(KeysError::Stopped) } else { Ok(()) }
}

/// Blocks of one of a seed's streams. In words, because they are wiped word by word.
fn blocks(seed: &Seed, stream: Address, count: usize) -> Zeroizing<Vec<u128>> {
    let mut blocks = Zeroizing::new(vec![0; count]);
    Prg::new(seed).fill_blocks(stream, 0, bytemuck::cast_slice_mut(&mut blocks));
    blocks
}

/// Points of the domain: P0's shares of α from its seed, and random α from a seed that is then forgotten.
fn points(kind: KeyKind, seed: &Seed, count: usize) -> Vec<u64> {
    let words = blocks(seed, ALPHAS, count.div_ceil(2));
    let words = words.iter().flat_map(|block| [*block as u64, (block >> 64) as u64]);
    words.take(count).map(|word| word & u64::low_mask(kind.domain_bits)).collect()
}

fn little(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(word)
}

fn block(bytes: &[u8]) -> [u8; 16] {
    bytes.try_into().expect("16 bytes")
}
