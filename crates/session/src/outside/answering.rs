//! A client's request at work at a party: runs take its items, and give its results back, in order.

use ariann_gates::Party;
use ariann_net::Peer;
use ariann_prg::Seed;
use ariann_ring::Ring;
use zeroize::Zeroizing;

use super::messages::REQUEST;
use super::{COMMON_STEP, Desk, Refusal, SEED, Ticket, seed_of};
use crate::SessionError;
use crate::events::Events;
use crate::messages::{CONTROL, Request, Standing};

/// P0's part in a request that P1 wants answered; none where it comes to nothing, which both are told.
pub(crate) fn follow<'a, R: Ring>(
    desk: &'a Desk,
    peer: &mut Peer,
    (request, client, items): ([u8; REQUEST], [u8; 32], u32),
    events: &mut dyn Events,
) -> Result<Option<AtWork<'a, R>>, SessionError> {
    let Some(ticket) = desk.take(&request).filter(|ticket| ticket.pin == client) else {
        peer.send_control(&Standing::Absent)?;
        return Ok(None);
    };
    if ticket.items != items {
        peer.send_control(&Standing::Unequal(ticket.items))?;
        let refusal = Refusal::Unequal { p0: ticket.items, p1: items };
        events.notice(format!("refused {}: {refusal}", ticket.client));
        ticket.refuse(refusal);
        return Ok(None);
    }
    peer.send_control(&Standing::Here)?;
    let common = peer.recv(COMMON_STEP, SEED, "the seed of what pads the results")?;
    Ok(Some(AtWork::new(desk, Party::P0, ticket, seed_of(&Zeroizing::new(common)))))
}

/// P1's part: asks P0 whether it has the same request.
pub(crate) fn lead<'a, R: Ring>(
    desk: &'a Desk,
    peer: &mut Peer,
    request: [u8; REQUEST],
    ticket: Ticket,
    events: &mut dyn Events,
) -> Result<Option<AtWork<'a, R>>, SessionError> {
    let (items, client) = (ticket.items, ticket.client.clone());
    peer.send_control(&Request::Answer { request, client: ticket.pin, items })?;
    let refusal = match peer.recv_control(CONTROL, "what it has of a client's request")? {
        Standing::Here => None,
        Standing::Absent => Some("P0 has nothing of it: bring each request to both parties".into()),
        Standing::Unequal(p0) if p0 != items => Some(Refusal::Unequal { p0, p1: items }),
        Standing::Unequal(_) => {
            let reason = format!("it says that {client} told it another number of items, and names the same");
            return Err(SessionError::Mismatch { peer: "P0".to_string(), reason });
        }
    };
    if let Some(refusal) = refusal {
        events.notice(format!("refused {client}: {refusal}"));
        ticket.refuse(refusal);
        return Ok(None);
    }
    let common = Seed::from_entropy()?;
    peer.send(COMMON_STEP, common.expose().to_vec())?;
    Ok(Some(AtWork::new(desk, Party::P1, ticket, common)))
}

/// See the head of this file.
pub(crate) struct AtWork<'a, R: Ring> {
    desk: &'a Desk,
    party: Party,
    ticket: Ticket,
    common: Seed,
    /// This party's share of the items.
    items: Vec<R>,
    /// And of the results so far.
    results: Vec<R>,
    done: u32,
}

impl<'a, R: Ring> AtWork<'a, R> {
    /// Of a request that both parties have; `common` is the seed of the word under which results leave.
    pub fn new(desk: &'a Desk, party: Party, mut ticket: Ticket, common: Seed) -> Self {
        let items = desk.form.share(party, ticket.items, &std::mem::take(&mut ticket.received));
        AtWork { desk, party, ticket, common, items, results: Vec::new(), done: 0 }
    }

    /// Items that no run has taken.
    pub fn left(&self) -> u32 {
        self.ticket.items - self.done
    }

    /// This party's share of the next items; `None` where there are not as many.
    pub fn next(&self, items: u32) -> Option<&[R]> {
        let len = self.items.len() / self.ticket.items as usize;
        (items <= self.left()).then(|| &self.items[self.done as usize * len..][..items as usize * len])
    }

    /// The share of the results of the next items.
    pub fn add(&mut self, items: u32, results: Vec<R>) {
        self.results.extend(results);
        self.done += items;
    }

    /// Hands the results over. All items were computed.
    pub fn finish(self) {
        let part = self.desk.form.pad(self.party, &self.results, self.common);
        self.ticket.answer(part);
    }

    /// Nothing comes of it.
    pub fn refuse(self, reason: &str) {
        self.ticket.refuse(reason.into());
    }
}
