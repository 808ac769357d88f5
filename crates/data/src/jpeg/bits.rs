//! Bits of coded blocks, and the codes that they are read by.

use super::{Decoded, ENDS};

/// A Huffman code: lengths grow with the code words, so a word is known by comparing it with one bound a length.
pub(super) struct Codes {
    /// For each length: the least 16 bits that do not begin with its words or those of shorter ones.
    bounds: [u32; 16],
    /// For each length: what, added to a word, is the place of its symbol.
    places: [i32; 16],
    symbols: Vec<u8>,
}

impl Codes {
    /// Reads one; also gives what follows.
    pub fn read(segment: &[u8]) -> Decoded<(Self, &[u8])> {
        let (counts, rest) = segment.split_first_chunk::<16>().ok_or(ENDS)?;
        let all = counts.iter().map(|count| usize::from(*count)).sum();
        let (symbols, rest) = rest.split_at_checked(all).ok_or(ENDS)?;
        let mut codes = Codes { bounds: [0; 16], places: [0; 16], symbols: symbols.to_vec() };
        let (mut word, mut place) = (0u32, 0i32);
        for (index, count) in counts.iter().enumerate() {
            codes.places[index] = place - word as i32;
            word += u32::from(*count);
            place += i32::from(*count);
            codes.bounds[index] = word << (15 - index);
            if codes.bounds[index] > 1 << 16 {
                return Err("it has more code words than there are");
            }
            word <<= 1;
        }
        Ok((codes, rest))
    }
}

/// Bits, the highest of each byte first. A zero byte after 255 is passed over; another byte there ends them.
pub(super) struct Bits<'b> {
    bytes: &'b [u8],
    held: u64,
    count: u32,
    /// How many of those held are made up, after the end.
    beyond: u32,
}

impl<'b> Bits<'b> {
    pub fn new(bytes: &'b [u8]) -> Self {
        Bits { bytes, held: 0, count: 0, beyond: 0 }
    }

    /// The next symbol.
    pub fn symbol(&mut self, codes: &Codes) -> Decoded<u8> {
        let next = self.peek(16);
        let length = codes.bounds.iter().position(|bound| next < *bound).ok_or("it has a word that is no code")?;
        let word = (next >> (15 - length)) as i32;
        self.pass(length as u32 + 1)?;
        Ok(codes.symbols[(word + codes.places[length]) as usize])
    }

    /// A number of `size` bits: the lower half of them stands for negative ones.
    pub fn signed(&mut self, size: u8) -> Decoded<i32> {
        if size == 0 {
            return Ok(0);
        }
        if size > 15 {
            return Err("a coefficient has more than 15 bits");
        }
        let value = self.peek(size.into()) as i32;
        self.pass(size.into())?;
        Ok(if value < 1 << (size - 1) { value - (1 << size) + 1 } else { value })
    }

    /// Passes the marker that follows this many others.
    pub fn restart(&mut self, number: u8) -> Decoded<()> {
        while self.bytes.starts_with(&[0xff, 0xff]) {
            self.bytes = &self.bytes[1..];
        }
        match self.bytes {
            [0xff, marker, rest @ ..] if *marker == 0xd0 + number => {
                *self = Bits::new(rest);
                Ok(())
            }
            _ => Err("blocks do not begin anew where they should"),
        }
    }

    /// What follows, without the rest of the last byte that was begun.
    pub fn rest(&self) -> &'b [u8] {
        self.bytes
    }

    fn peek(&mut self, count: u32) -> u32 {
        while self.count < count {
            let byte = match self.bytes {
                [0xff, 0, rest @ ..] => {
                    self.bytes = rest;
                    0xff
                }
                [] | [0xff, ..] => {
                    self.beyond += 8;
                    0
                }
                [byte, rest @ ..] => {
                    self.bytes = rest;
                    *byte
                }
            };
            self.held = self.held << 8 | u64::from(byte);
            self.count += 8;
        }
        (self.held >> (self.count - count)) as u32 & ((1 << count) - 1)
    }

    fn pass(&mut self, count: u32) -> Decoded<()> {
        self.count -= count;
        if self.count < self.beyond { Err(ENDS) } else { Ok(()) }
    }
}
