//! A client's request at work at a party: runs take its items, and give its results back, in order.

use ariann_gates::Party;
use ariann_prg::Seed;
use ariann_ring::Ring;

use super::{Desk, Ticket};

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
