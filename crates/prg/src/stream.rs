//! The addressed words of a seed.

use crate::aes::Schedule;
use crate::backend::{Backend, BackendError};
use crate::kernel::{self, Words};
use crate::seed::Seed;
use ariann_ring::Ring;

/// Names one stream of a seed: each is used for one purpose, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// What the words are for.
    pub kind: u8,
    /// The gate of the plan, below 2^24.
    pub gate: u32,
    /// The usable unit of the batch.
    pub slot: u32,
}

impl Address {
    /// kind ‖ gate ‖ slot, little-endian fields of 1, 3 and 4 bytes.
    fn low_half(self) -> u64 {
        assert!(self.gate < 1 << 24, "gate {} does not fit an address", self.gate);
        u64::from(self.kind) | u64::from(self.gate) << 8 | u64::from(self.slot) << 32
    }
}

/// Blocks that one address of a seed has.
const BLOCKS: u64 = 1 << 40;

/// The expanded key of one seed. Block i of an address is AES_seed(kind ‖ gate ‖ slot ‖ i), little-endian fields of
/// 1, 3, 4 and 8 bytes. Neither copied nor printed, wiped on drop.
pub struct Prg {
    keys: Schedule,
    backend: Backend,
}

impl Prg {
    /// Expands the seed for the back end in use.
    ///
    /// # Panics
    /// When `ARIANN_AES` forces a back end that this processor lacks: see [`Backend::active`].
    pub fn new(seed: &Seed) -> Prg {
        Backend::active().and_then(|backend| Prg::with_backend(seed, backend)).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Expands the seed for a named back end.
    pub fn with_backend(seed: &Seed, backend: Backend) -> Result<Prg, BackendError> {
        if !backend.is_available() {
            return Err(BackendError::Missing(backend));
        }
        Ok(Prg { keys: Schedule::new(seed.expose()), backend })
    }

    /// Blocks `first_block`, `first_block + 1`, ... of an address, as bytes. Any length; the last block is cut.
    ///
    /// # Panics
    /// When a block is not below 2^40 or the gate not below 2^24.
    pub fn fill_blocks(&self, address: Address, first_block: u64, out: &mut [u8]) {
        let low = address.low_half();
        let count = out.len().div_ceil(16) as u64;
        assert!(first_block <= BLOCKS && count <= BLOCKS - first_block, "more than 2^40 blocks of one address");
        let (whole, rest) = out.as_chunks_mut::<16>();
        let after = first_block + whole.len() as u64;
        kernel::run(self.backend, Words { keys: &self.keys, low, high: first_block, out: whole });
        if !rest.is_empty() {
            let mut last = [[0u8; 16]];
            kernel::run(self.backend, Words { keys: &self.keys, low, high: after, out: &mut last });
            rest.copy_from_slice(&last[0][..rest.len()]);
        }
    }

    /// Bytes `first`, `first + 1`, ... of an address.
    fn fill_bytes(&self, address: Address, first: u64, out: &mut [u8]) {
        let skip = (first % 16) as usize;
        let mut block = first / 16;
        let mut out = out;
        if skip != 0 {
            let (head, tail) = out.split_at_mut((16 - skip).min(out.len()));
            let mut whole = [0u8; 16];
            self.fill_blocks(address, block, &mut whole);
            head.copy_from_slice(&whole[skip..skip + head.len()]);
            (out, block) = (tail, block + 1);
        }
        if !out.is_empty() {
            self.fill_blocks(address, block, out);
        }
    }

    /// Words `first_word`, `first_word + 1`, ... of an address, read little-endian: word i of `R` is bytes
    /// [i·size, (i + 1)·size) of the stream.
    ///
    /// # Panics
    /// When a block is not below 2^40 or the gate not below 2^24.
    pub fn fill<R: Ring>(&self, address: Address, first_word: u64, out: &mut [R]) {
        let size = size_of::<R>();
        let first = first_word.checked_mul(size as u64).expect("word index within the stream");
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(out);
        self.fill_bytes(address, first, bytes);
        if cfg!(target_endian = "big") {
            bytes.chunks_exact_mut(size).for_each(<[u8]>::reverse);
        }
    }

    /// Bits `first`, `first + 1`, ... of an address, one 0/1 byte each: bit i is bit i mod 8 (0 the lowest) of byte
    /// i / 8 of the stream.
    ///
    /// # Panics
    /// When a block is not below 2^40 or the gate not below 2^24.
    pub fn fill_bits(&self, address: Address, first: u64, out: &mut [u8]) {
        let skip = ((8 - first % 8) % 8).min(out.len() as u64) as usize;
        let (head, aligned) = out.split_at_mut(skip);
        let mut byte = first / 8;
        if skip != 0 {
            let mut packed = [0];
            self.fill_bytes(address, byte, &mut packed);
            for (i, bit) in head.iter_mut().enumerate() {
                *bit = (packed[0] >> (first as usize % 8 + i)) & 1;
            }
            byte += 1;
        }
        let mut packed = [0u8; 1024];
        for bits in aligned.chunks_mut(8 * packed.len()) {
            let bytes = &mut packed[..bits.len().div_ceil(8)];
            self.fill_bytes(address, byte, bytes);
            byte += bytes.len() as u64;
            for (eight, byte) in bits.chunks_mut(8).zip(bytes) {
                eight.copy_from_slice(&spread(*byte)[..eight.len()]);
            }
        }
        zeroize::Zeroize::zeroize(&mut packed);
    }
}

/// The bits of a byte as 0/1 bytes, lowest first.
fn spread(byte: u8) -> [u8; 8] {
    // byte j of the product keeps bit j alone; adding 2^7 - 2^j carries it to the top
    let picked = (u64::from(byte) * 0x0101_0101_0101_0101) & 0x8040_2010_0804_0201;
    (((picked + 0x0040_6070_787c_7e7f) >> 7) & 0x0101_0101_0101_0101).to_le_bytes()
}
