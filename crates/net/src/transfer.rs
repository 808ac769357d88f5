//! Messages in pieces: written as they are computed, read as they are needed.

use crate::error::{LocalError, system};
use crate::frame::{Kind, PIECE};
use crate::incoming::Partly;
use crate::outgoing::Item;
use crate::{NetError, Peer};

/// The sending side of a message in pieces.
struct Outward {
    step: u32,
    len: u64,
    taken: u64,
    /// Bytes of the frame that is not full yet.
    piece: Vec<u8>,
}

impl Outward {
    fn new(step: u32, len: u64) -> Outward {
        Outward { step, len, taken: 0, piece: Vec::new() }
    }

    /// Takes bytes and queues each frame that is full, and the last one.
    fn write(&mut self, peer: &mut Peer, mut bytes: &[u8]) -> Result<(), NetError> {
        let left = self.len - self.taken;
        if bytes.len() as u64 > left {
            let reason = format!("{} bytes are more than the {left} announced", bytes.len());
            return Err(system("send a piece of a message", reason));
        }
        while !bytes.is_empty() {
            let due = (self.len - (self.taken - self.piece.len() as u64)).min(PIECE as u64) as usize;
            if self.piece.capacity() < due {
                self.piece.reserve_exact(due - self.piece.len());
            }
            let n = bytes.len().min(due - self.piece.len());
            self.piece.extend_from_slice(&bytes[..n]);
            self.taken += n as u64;
            bytes = &bytes[n..];
            if self.piece.len() == due {
                self.queue(peer)?;
            }
        }
        Ok(())
    }

    fn queue(&mut self, peer: &mut Peer) -> Result<(), NetError> {
        let bytes = std::mem::take(&mut self.piece);
        peer.queue(Item { kind: Kind::Data, step: self.step, length: self.len, bytes })
    }
}

impl Peer {
    /// Begins a message of `len` bytes that is written piece by piece and never held whole.
    pub fn send_stream(&mut self, step: u32, len: u64) -> Result<SendStream<'_>, NetError> {
        self.usable()?;
        Ok(SendStream { peer: self, out: Outward::new(step, len) })
    }

    /// Begins an exchange: a message of `send` bytes that is written in pieces, and one of `receive` bytes that is read
    /// in pieces, in any order and of any size. A message of no bytes is not sent. `waiting_for` names what is received.
    ///
    /// Frames leave as soon as they are full, so computing, sending and receiving overlap. Both ends may write all
    /// before they read as long as their messages are not longer than [`Limits::queue_bytes`](crate::Limits).
    pub fn transfer(
        &mut self,
        step: u32,
        send: u64,
        receive: u64,
        waiting_for: &str,
    ) -> Result<Transfer<'_>, NetError> {
        self.usable()?;
        let (out, arriving) = (Outward::new(step, send), Partly::new(receive));
        Ok(Transfer { peer: self, out, arriving, step, waiting_for: waiting_for.to_owned() })
    }

    fn unfinished(&mut self) -> NetError {
        let left = LocalError::Unfinished { peer: self.name().to_owned() };
        self.fail(left.into())
    }
}

/// A message on its way, written piece by piece. Dropping it before its end spoils the connection.
pub struct SendStream<'a> {
    peer: &'a mut Peer,
    out: Outward,
}

impl SendStream<'_> {
    /// Adds bytes; waits while [`Limits::queue_bytes`](crate::Limits) are queued.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), NetError> {
        self.out.write(self.peer, bytes)
    }

    /// Ends the message; all its bytes must have been written.
    pub fn finish(mut self) -> Result<(), NetError> {
        self.peer.usable()?;
        if self.out.taken < self.out.len {
            return Err(self.peer.unfinished());
        }
        match self.out.len {
            0 => self.out.queue(self.peer),
            _ => Ok(()),
        }
    }
}

impl Drop for SendStream<'_> {
    fn drop(&mut self) {
        if self.out.taken < self.out.len && self.peer.usable().is_ok() {
            self.peer.unfinished();
        }
    }
}

/// A message each way, both in pieces. Dropping it before the end of both spoils the connection.
pub struct Transfer<'a> {
    peer: &'a mut Peer,
    out: Outward,
    arriving: Partly,
    step: u32,
    waiting_for: String,
}

impl Transfer<'_> {
    /// Adds bytes to the message that is sent; waits while [`Limits::queue_bytes`](crate::Limits) are queued.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), NetError> {
        self.out.write(self.peer, bytes)
    }

    /// Fills `out` with the next bytes of the message that is received.
    pub fn read(&mut self, out: &mut [u8]) -> Result<(), NetError> {
        if out.len() as u64 > self.to_read() {
            let reason = format!("{} bytes are more than the {} left of it", out.len(), self.to_read());
            return Err(system("receive a piece of a message", reason));
        }
        self.peer.recv_part(self.step, &mut self.arriving, out, &self.waiting_for)
    }

    /// Bytes that are still to be written.
    pub fn to_write(&self) -> u64 {
        self.out.len - self.out.taken
    }

    /// Bytes that are still to be read.
    pub fn to_read(&self) -> u64 {
        self.arriving.left()
    }

    /// Ends the exchange; all bytes must have been written and read.
    pub fn finish(self) -> Result<(), NetError> {
        self.peer.usable()?;
        match self.done() {
            true => Ok(()),
            false => Err(self.peer.unfinished()),
        }
    }

    fn done(&self) -> bool {
        self.to_write() == 0 && self.to_read() == 0
    }
}

impl Drop for Transfer<'_> {
    fn drop(&mut self) {
        if !self.done() && self.peer.usable().is_ok() {
            self.peer.unfinished();
        }
    }
}
