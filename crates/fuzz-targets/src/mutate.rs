//! Mutations of samples, from a seed.

/// A small generator (SplitMix64): the same inputs on every machine.
pub struct Random(u64);

impl Random {
    /// From a seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next 64 bits.
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`; 0 when there is none.
    pub fn below(&mut self, end: usize) -> usize {
        if end == 0 { 0 } else { (self.word() % end as u64) as usize }
    }
}

/// Bytes of a mutated sample at most.
const LARGEST: usize = 1 << 17;

/// What a length field likes least.
const LENGTHS: [u64; 12] =
    [0, 1, 0x7f, 0x80, 0xff, 0xffff, 0x7fff_ffff, 0xffff_ffff, 1 << 40, i64::MAX as u64, i64::MIN as u64, u64::MAX];

/// The same for numbers in text.
const NUMBERS: [&str; 12] =
    ["0", "1", "-1", "2", "63", "64", "65", "4294967295", "4294967296", "18446744073709551615", "1e308", "0.5"];

/// One sample with one to four changes, sometimes with a piece of another sample.
pub fn mutated(samples: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = samples[random.below(samples.len())].clone();
    for _ in 0..=random.below(4) {
        change(&mut bytes, samples, random);
    }
    bytes.truncate(LARGEST);
    bytes
}

fn change(bytes: &mut Vec<u8>, samples: &[Vec<u8>], random: &mut Random) {
    // Headers stand at the front: half of all changes go there.
    let reach = if random.below(2) == 0 { bytes.len().min(64) } else { bytes.len() };
    let at = random.below(reach);
    match random.below(10) {
        0 | 1 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
        2 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = random.word() as u8;
            }
        }
        3 => bytes.truncate(random.below(bytes.len() + 1)),
        4 => {
            let more = 1 + random.below(40);
            bytes.extend((0..more).map(|_| random.word() as u8));
        }
        5 | 6 => {
            let field = LENGTHS[random.below(LENGTHS.len())];
            let width = 1 << random.below(4);
            let field = if random.below(2) == 0 {
                field.to_le_bytes()
            } else {
                field.rotate_left(64 - 8 * width).to_be_bytes()
            };
            let end = (at + width as usize).min(bytes.len());
            let count = end - at.min(end);
            bytes[at.min(end)..end].copy_from_slice(&field[..count]);
        }
        7 => number(bytes, random),
        8 => {
            // Leave a piece out, or double it.
            let end = (at + 1 + random.below(64)).min(bytes.len());
            let piece: Vec<u8> = bytes[at.min(end)..end].to_vec();
            if random.below(2) == 0 {
                bytes.drain(at.min(end)..end);
            } else {
                bytes.splice(at.min(end)..at.min(end), piece);
            }
        }
        _ => {
            let other = &samples[random.below(samples.len())];
            let from = random.below(other.len());
            let piece = &other[from..(from + random.below(256)).min(other.len())];
            bytes.splice(at..at, piece.iter().copied());
        }
    }
}

/// Puts another number where a text has one.
fn number(bytes: &mut Vec<u8>, random: &mut Random) {
    let start = random.below(bytes.len());
    let Some(at) = bytes[start..].iter().position(u8::is_ascii_digit).map(|at| start + at) else { return };
    let len = bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    bytes.splice(at..at + len, NUMBERS[random.below(NUMBERS.len())].bytes());
}
