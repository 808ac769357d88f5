//! The engine's channel over a connection.

use ariann_net::Peer;

use crate::SessionError;
use crate::engine::{Exchange, Pieces};
use crate::events::{Event, Events};

/// A connection, and who is told of gates.
pub(crate) struct Link<'a> {
    peer: &'a mut Peer,
    sent: u64,
    events: Option<&'a mut dyn Events>,
}

impl<'a> Link<'a> {
    /// Tells of no gate: in training there are thousands a second.
    pub fn new(peer: &'a mut Peer) -> Self {
        Link { peer, sent: 0, events: None }
    }

    /// Tells of each gate.
    pub fn telling(peer: &'a mut Peer, events: &'a mut dyn Events) -> Self {
        Link { events: Some(events), ..Link::new(peer) }
    }

    /// Payload bytes sent.
    pub fn sent(&self) -> u64 {
        self.sent
    }
}

impl Exchange for Link<'_> {
    fn exchange(
        &mut self,
        step: u32,
        message: Vec<u8>,
        expected: usize,
        waiting_for: &str,
    ) -> Result<Vec<u8>, SessionError> {
        self.sent += message.len() as u64;
        if !message.is_empty() {
            self.peer.send(step, message)?;
        }
        if expected == 0 {
            return Ok(Vec::new());
        }
        Ok(self.peer.recv(step, expected, waiting_for)?)
    }

    fn exchange_in_pieces(
        &mut self,
        step: u32,
        own: usize,
        compute: &mut dyn FnMut(Pieces<'_>) -> Result<(), SessionError>,
        expected: usize,
        waiting_for: &str,
    ) -> Result<Vec<u8>, SessionError> {
        self.sent += own as u64;
        let mut transfer = self.peer.transfer(step, own as u64, expected as u64, waiting_for)?;
        compute(&mut |piece| Ok(transfer.write(piece)?))?;
        let mut theirs = vec![0; expected];
        transfer.read(&mut theirs)?;
        transfer.finish()?;
        Ok(theirs)
    }

    fn gate(&mut self, number: u32, name: &str) {
        if let Some(events) = &mut self.events {
            events.tell(Event::Gate { number, name: name.to_string() });
        }
    }
}
