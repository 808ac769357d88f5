//! Less-than by chunks: unit vectors of a few bits of the point each, and one that combines what they say.
//!
//! The point α is cut into digits, the highest first. Each has a shared unit vector, which at the public digit of x gives
//! shares of lt_i = 1{digit < α's} and eq_i = 1{digit = α's}. These marks, 2c - 1 bits for c digits, are opened under pads μ.
//! A unit vector of 2^(2c-1) bits with its one at μ then selects from the public truth table of
//! lt_0 xor eq_0·(lt_1 xor eq_1·(...)), moved by the opened marks: its parity is a share of 1{x < α}.
//!
//! Half of a vector is pseudorandom bytes of P0's seed; P1's half is the same with one bit flipped, and all that is sent.
//!
//! Layout: instances stand in groups of [`GROUP`], the last one shorter. A group has a plane for each digit, a plane has
//! the vectors of all its instances: those of up to 32 bits one after the other without gaps, longer ones as 64-bit
//! words, the first words of all instances, then the second ones, and so on. A stream may be cut at any group.

mod plane;

use std::sync::OnceLock;

use crate::FssError;
use ariann_prg::{Loop, accelerate};
use ariann_ring::Ring;
use plane::{Lanes, Plane};

/// Instances that stand together.
pub const GROUP: usize = 64;

/// The widest digit.
const WIDEST: u32 = 7;

/// The most digits.
const MOST: u32 = 5;

/// The digits, highest first, into which `domain_bits` bits are cut so that P1 is sent least; none when that takes more than
/// five digits of seven bits, or less than two of one.
pub fn cut(domain_bits: u32) -> Option<Vec<u32>> {
    let even = |digits: u32| -> Vec<u32> {
        (0..digits).map(|i| domain_bits / digits + u32::from(i < domain_bits % digits)).collect()
    };
    (2..=MOST)
        .map(even)
        .filter(|digits| digits.iter().all(|bits| (1..=WIDEST).contains(bits)))
        .min_by_key(|digits| digits.iter().map(|bits| 1u32 << bits).sum::<u32>() + (1 << (2 * digits.len() - 1)))
}

/// A comparison by chunks on a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunks {
    domain_bits: u32,
    digits: Vec<u32>,
}

impl Chunks {
    /// On `domain_bits` bits, if they can be cut: see [`cut`].
    pub fn new(domain_bits: u32) -> Result<Self, FssError> {
        let digits = cut(domain_bits).ok_or(FssError::Domain { got: domain_bits })?;
        Ok(Chunks { domain_bits, digits })
    }

    /// 2c - 1: bits that are opened before the last one.
    pub fn marks(&self) -> u32 {
        2 * self.digits.len() as u32 - 1
    }

    /// Bytes of the digits' vectors of the first `instances` of a stream.
    pub fn vectors_len(&self, instances: usize) -> usize {
        let group = |len: usize| self.digits.iter().map(|bits| Plane { bits: *bits, len }.bytes()).sum::<usize>();
        instances / GROUP * group(GROUP) + group(instances % GROUP)
    }

    /// Bytes of the combining vectors of the first `instances` of a stream.
    pub fn tables_len(&self, instances: usize) -> usize {
        Plane { bits: self.marks(), len: instances }.bytes()
    }

    /// The dealer: P0's vectors become P1's, whose ones are at the secret `alphas`.
    pub fn deal_vectors<R: Ring>(&self, alphas: &[R], vectors: &mut [u8]) -> Result<(), FssError> {
        check("vectors", alphas.len(), self.vectors_len(alphas.len()), vectors.len())?;
        inside("alphas", alphas, self.domain_bits)?;
        accelerate(FlipDigits { chunks: self, alphas, vectors });
        Ok(())
    }

    /// The dealer: P0's combining vectors become P1's, whose ones are at the secret `pads` of the marks.
    pub fn deal_tables(&self, pads: &[u16], tables: &mut [u8]) -> Result<(), FssError> {
        check("combining vectors", pads.len(), self.tables_len(pads.len()), tables.len())?;
        accelerate(FlipMarks { bits: self.marks(), pads, tables });
        Ok(())
    }

    /// A party's shares of the marks at public `xs`, xored into `marks`, which holds its pads.
    pub fn read<R: Ring>(&self, vectors: &[u8], xs: &[R], marks: &mut [u16]) -> Result<(), FssError> {
        check("vectors", xs.len(), self.vectors_len(xs.len()), vectors.len())?;
        check("marks", xs.len(), xs.len(), marks.len())?;
        inside("xs", xs, self.domain_bits)?;
        accelerate(Read { chunks: self, vectors, xs, marks });
        Ok(())
    }

    /// A party's shares of 1{x < α} at the opened `marks`, xored into `bits`, which holds its pads.
    pub fn combine(&self, tables: &[u8], marks: &[u16], bits: &mut [u8]) -> Result<(), FssError> {
        check("combining vectors", marks.len(), self.tables_len(marks.len()), tables.len())?;
        check("bits", marks.len(), marks.len(), bits.len())?;
        let truth = truth(self.digits.len());
        match self.digits.len() {
            2 => accelerate(Combine::<8, 1> { truth, tables, marks, bits }),
            3 => accelerate(Combine::<32, 1> { truth, tables, marks, bits }),
            4 => accelerate(Combine::<128, 2> { truth, tables, marks, bits }),
            _ => accelerate(Combine::<512, 8> { truth, tables, marks, bits }),
        }
        Ok(())
    }
}

#[inline(always)]
fn digit_of<R: Ring>(x: R, low: u32, bits: u32) -> u32 {
    x.shr(low).to_u64() as u32 & ((1 << bits) - 1)
}

struct FlipDigits<'a, R: Ring> {
    chunks: &'a Chunks,
    alphas: &'a [R],
    vectors: &'a mut [u8],
}

impl<R: Ring> Loop for FlipDigits<'_, R> {
    #[inline(always)]
    fn run(self) {
        let mut rest = self.vectors;
        for alphas in self.alphas.chunks(GROUP) {
            let mut low = self.chunks.domain_bits;
            for bits in &self.chunks.digits {
                low -= bits;
                let plane = Plane { bits: *bits, len: alphas.len() };
                let (own, after) = std::mem::take(&mut rest).split_at_mut(plane.bytes());
                let mut digits = [0; GROUP];
                digits.iter_mut().zip(alphas).for_each(|(digit, alpha)| *digit = digit_of(*alpha, low, *bits));
                plane.flip(&digits, own);
                rest = after;
            }
        }
    }
}

struct FlipMarks<'a> {
    bits: u32,
    pads: &'a [u16],
    tables: &'a mut [u8],
}

impl Loop for FlipMarks<'_> {
    #[inline(always)]
    fn run(self) {
        let whole = Plane { bits: self.bits, len: GROUP };
        for (pads, tables) in self.pads.chunks(GROUP).zip(self.tables.chunks_mut(whole.bytes())) {
            let mut places = [0; GROUP];
            places.iter_mut().zip(pads).for_each(|(place, pad)| *place = u32::from(*pad));
            Plane { len: pads.len(), ..whole }.flip(&places, tables);
        }
    }
}

struct Read<'a, R: Ring> {
    chunks: &'a Chunks,
    vectors: &'a [u8],
    xs: &'a [R],
    marks: &'a mut [u16],
}

impl<R: Ring> Loop for Read<'_, R> {
    #[inline(always)]
    fn run(self) {
        let mut vectors = self.vectors;
        for (xs, marks) in self.xs.chunks(GROUP).zip(self.marks.chunks_mut(GROUP)) {
            let mut x = [R::ZERO; GROUP];
            x[..xs.len()].copy_from_slice(xs);
            let (mut found, mut low, mut place) = ([0u32; GROUP], self.chunks.domain_bits, 0);
            for bits in &self.chunks.digits {
                low -= bits;
                let plane = Plane { bits: *bits, len: xs.len() };
                let (own, after) = vectors.split_at(plane.bytes());
                let digits = x.map(|x| digit_of(x, low, *bits));
                plane.compare(own, &digits, place, &mut found);
                (vectors, place) = (after, place + 2);
            }
            // The last digit's equality decides nothing.
            let keep = (1u32 << (place - 1)) - 1;
            for (mark, found) in marks.iter_mut().zip(found) {
                *mark ^= (found & keep) as u16;
            }
        }
    }
}

/// `N` marks, in `W` words.
struct Combine<'a, const N: usize, const W: usize> {
    truth: &'a [u64],
    tables: &'a [u8],
    marks: &'a [u16],
    bits: &'a mut [u8],
}

impl<const N: usize, const W: usize> Loop for Combine<'_, N, W> {
    #[inline(always)]
    fn run(self) {
        let (truth, _) = self.truth.as_chunks::<N>();
        let whole = Plane { bits: N.ilog2(), len: GROUP };
        let groups = self.marks.chunks(GROUP).zip(self.tables.chunks(whole.bytes()));
        for ((marks, tables), bits) in groups.zip(self.bits.chunks_mut(GROUP)) {
            let plane = Plane { len: marks.len(), ..whole };
            let mut at = [0u16; GROUP];
            at[..marks.len()].copy_from_slice(marks);
            let mut sum = [0u64; GROUP];
            for (word, truth) in truth.iter().enumerate().take(W) {
                let words = plane.words(tables, word);
                for i in 0..GROUP {
                    sum[i] ^= words[i] & truth[at[i] as usize % N];
                }
            }
            let sum = sum.map(|sum| Lanes::parity(sum) as u8);
            bits.iter_mut().zip(sum).for_each(|(bit, sum)| *bit ^= sum);
        }
    }
}

/// Word w of the truth table of `digits` digits, moved by the marks m, stands at w·2^(2c-1) + m.
fn truth(digits: usize) -> &'static [u64] {
    static TABLES: [OnceLock<Vec<u64>>; 4] = [const { OnceLock::new() }; 4];
    TABLES[digits - 2].get_or_init(|| {
        let count = 1usize << (2 * digits - 1);
        let less =
            |marks: usize| (0..digits).rev().fold(0, |less, i| marks >> (2 * i) ^ (marks >> (2 * i + 1) & less)) & 1;
        let word = |word: usize, moved: usize| {
            (0..count.min(64)).fold(0, |bits, i| bits | (less((64 * word + i) ^ moved) as u64) << i)
        };
        (0..count.div_ceil(64)).flat_map(|w| (0..count).map(move |moved| word(w, moved))).collect()
    })
}

fn check(what: &'static str, instances: usize, expected: usize, got: usize) -> Result<(), FssError> {
    if got == expected { Ok(()) } else { Err(FssError::Length { what, instances, expected, got }) }
}

/// One decision for all points, since those of the dealer are secret.
fn inside<R: Ring>(what: &'static str, points: &[R], domain_bits: u32) -> Result<(), FssError> {
    let all = points.iter().fold(R::ZERO, |all, point| all.xor(*point).xor(all.and(*point)));
    if all.shr(domain_bits) == R::ZERO { Ok(()) } else { Err(FssError::Outside { what, domain_bits }) }
}
