//! A batch as it arrives: checked chunk by chunk, with memory for one chunk.

use std::io::Write;

use zeroize::Zeroizing;

use crate::error::Error;
use crate::expected::{Expected, Prefix};
use crate::header::{FIXED, Header, malformed};
use crate::layout::{Place, TAG, TagKey};

enum State {
    /// The header's fixed part is due.
    Fixed,
    /// The rest of the header is due.
    Rest { header_len: usize },
    /// This chunk is due.
    Chunk(Place),
    /// Nothing more may come.
    End,
    /// An error was reported; the stream is lost.
    Failed,
}

/// Takes the bytes of a batch in pieces of any size, and passes on to `W` only what has been checked:
/// the same bytes, tags included. Never panics, whatever comes.
pub struct StreamVerifier<W> {
    expected: Expected,
    from: String,
    out: W,
    state: State,
    header: Option<Header>,
    /// Bytes of the unit that is due; never more than header or chunk and tag.
    held: Zeroizing<Vec<u8>>,
    taken: u64,
}

impl<W: Write> StreamVerifier<W> {
    /// A verifier of the batch that `expected` describes. `from` names the sender in errors.
    pub fn new(expected: Expected, from: &str, out: W) -> Self {
        let capacity = FIXED.max(expected.layout.longest_chunk() + TAG as usize);
        let held = Zeroizing::new(Vec::with_capacity(capacity));
        Self { expected, from: from.into(), out, state: State::Fixed, header: None, held, taken: 0 }
    }

    /// Takes the next bytes. After an error the stream is lost: every further call is refused.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            let due = match self.state {
                State::Fixed => FIXED,
                State::Rest { header_len } => header_len,
                State::Chunk(place) => self.due(place),
                State::End => {
                    self.state = State::Failed;
                    return Err(malformed(&self.from, "bytes follow its end"));
                }
                State::Failed => return Err(malformed(&self.from, "it failed before")),
            };
            let take = (due - self.held.len()).min(bytes.len());
            let (piece, rest) = bytes.split_at(take);
            self.taken += take as u64;
            bytes = rest;
            if self.held.is_empty() && take == due {
                self.unit(piece)?;
                continue;
            }
            if self.held.capacity() < due {
                // Growing in place would leave an unwiped copy of seeds behind.
                let mut larger = Zeroizing::new(Vec::with_capacity(due));
                larger.extend_from_slice(&self.held);
                self.held = larger;
            }
            self.held.extend_from_slice(piece);
            if self.held.len() == due {
                let whole = std::mem::take(&mut self.held);
                self.unit(&whole)?;
                self.held = whole;
                if !matches!(self.state, State::Rest { .. }) {
                    self.held.clear();
                }
            }
        }
        Ok(())
    }

    /// The header, once it is here and checked.
    pub fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    /// Bytes taken so far.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Gives header and `W` back; refused when something is missing.
    pub fn finish(mut self) -> Result<(Header, W), Error> {
        match (self.header, self.state) {
            (Some(header), State::End) => {
                let batch = header.label().batch;
                self.out.flush().map_err(|source| Error::Send { batch, source })?;
                Ok((header, self.out))
            }
            (Some(header), State::Chunk(place)) => {
                let body = self.expected.layout.body_bytes(header.label().slots)?;
                let expected = header.encoded_len() as u64 + body;
                Err(Error::Length { from: self.from, expected, got: self.taken, lost: Some(place) })
            }
            (_, State::Failed) => Err(malformed(&self.from, "it failed before")),
            _ => Err(malformed(&self.from, "the header is cut")),
        }
    }

    fn due(&self, place: Place) -> usize {
        let range = self.expected.layout.chunk_range(place.section, place.chunk);
        (range.end - range.start + TAG) as usize
    }

    /// One whole unit: fixed part, whole header, or chunk with tag. A failure ends the stream.
    fn unit(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let state = std::mem::replace(&mut self.state, State::Failed);
        self.state = match (state, bytes.first_chunk::<FIXED>()) {
            (State::Fixed, Some(fixed)) => {
                let prefix = Prefix::parse(fixed, &self.from)?;
                prefix.check(&self.expected, &self.from)?;
                if self.held.is_empty() {
                    // The header is read as one unit: keep its first part.
                    self.held = Zeroizing::new(Vec::with_capacity(prefix.header_len()));
                    self.held.extend_from_slice(fixed);
                }
                State::Rest { header_len: prefix.header_len() }
            }
            (State::Rest { .. }, _) => {
                let header = Header::decode(bytes, &self.expected, &self.from)?;
                self.put(&header, bytes)?;
                let first = Place { slot: 0, section: 0, chunk: 0 };
                let slots = header.label().slots;
                self.header = Some(header);
                self.expected.layout.chunk_from(first, slots).map_or(State::End, State::Chunk)
            }
            (State::Chunk(place), _) => {
                let Some(header) = self.header.take() else {
                    return Err(malformed(&self.from, "the header is missing"));
                };
                let (data, tag) = bytes.split_at(bytes.len() - TAG as usize);
                if TagKey::new(header.hash(), place).tag(data) != tag {
                    return Err(Error::Chunk { from: self.from.clone(), batch: header.label().batch, place });
                }
                self.put(&header, bytes)?;
                let next = Place { chunk: place.chunk + 1, ..place };
                let next = self.expected.layout.chunk_from(next, header.label().slots);
                self.header = Some(header);
                next.map_or(State::End, State::Chunk)
            }
            _ => return Err(malformed(&self.from, "the header is cut")),
        };
        Ok(())
    }

    fn put(&mut self, header: &Header, bytes: &[u8]) -> Result<(), Error> {
        let batch = header.label().batch;
        self.out.write_all(bytes).map_err(|source| Error::Send { batch, source })
    }
}
