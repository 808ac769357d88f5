//! Deliveries that come while sessions run: what is here, what is on its way, and whether more may come.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ariann_material::{BatchId, Store};

use crate::SessionError;
use crate::messages::Wanted;

/// How long a party without room, or a dealer whose other party has none, lets an answer wait.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// What the thread that fetches and the sessions tell each other.
#[derive(Default)]
pub(crate) struct Arrivals {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// On disk and checked, but the dealer has not said yet that the other party has its half.
    pending: Option<BatchId>,
    /// Came, and the sessions are not done with them.
    unspent: BTreeSet<BatchId>,
    /// Deliveries that came.
    came: u64,
    /// Nobody wants more.
    over: bool,
    /// Nothing comes any more.
    ended: bool,
    /// Why, when it was not the dealer's word.
    failure: Option<SessionError>,
    bytes: u64,
    seconds: f64,
    disk: u64,
}

/// How it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Deliveries that came so far.
    pub came: u64,
    /// Of these, not spent.
    pub unspent: usize,
    /// No more will come.
    pub ended: bool,
}

impl Arrivals {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// Waits, at most `patience`, while `what` holds.
    fn wait(&self, patience: Duration, what: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let waited = self.changed.wait_timeout_while(self.lock(), patience, |state| what(state));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Whether the next delivery may come: fewer than `ahead` lie here. Waits a little for one to be spent.
    pub fn room(&self, ahead: usize) -> Wanted {
        let state = self.wait(PATIENCE, |state| state.unspent.len() >= ahead && !state.over);
        match state.unspent.len() < ahead {
            _ if state.over => Wanted::Enough,
            true => Wanted::Next,
            false => Wanted::Later,
        }
    }

    /// A delivery is here that may not be used yet.
    pub fn await_word(&self, batch: BatchId) {
        self.change(|state| state.pending = Some(batch));
    }

    /// What was pending may be used from now on.
    pub fn confirmed(&self, bytes: u64, seconds: f64) {
        self.change(|state| {
            state.unspent.extend(state.pending.take());
            state.came += 1;
            state.bytes += bytes;
            state.seconds += seconds;
        });
    }

    /// What was pending is gone again.
    pub fn withdrawn(&self) {
        self.change(|state| state.pending = None);
    }

    /// Whether a batch may not be used yet.
    pub fn is_pending(&self, batch: BatchId) -> bool {
        self.lock().pending == Some(batch)
    }

    /// Waits until a batch that the other party names is not pending: the other's word came first. The fetching thread's
    /// own deadlines bound this.
    pub fn settle(&self, batch: BatchId) {
        let mut state = self.lock();
        while state.pending == Some(batch) {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A batch is spent: there is room for another.
    pub fn spent(&self, batch: BatchId) {
        self.change(|state| state.unspent.retain(|one| *one != batch));
    }

    /// Nobody wants more.
    pub fn over(&self) {
        self.change(|state| state.over = true);
    }

    /// Nothing comes any more.
    pub fn end(&self, failure: Option<SessionError>) {
        self.change(|state| (state.ended, state.failure) = (true, failure));
    }

    /// How it stands now.
    pub fn standing(&self) -> Standing {
        standing(&self.lock())
    }

    /// Waits, at most `patience`, until more than `seen` deliveries have come, or no more will.
    pub fn more_than(&self, seen: u64, patience: Duration) -> Standing {
        standing(&self.wait(patience, |state| state.came <= seen && !state.ended))
    }

    /// Why nothing comes any more, if that was not the dealer's word. Told once.
    pub fn take_failure(&self) -> Option<SessionError> {
        self.lock().failure.take()
    }

    /// Bytes received and the seconds that took, since the last call.
    pub fn take_received(&self) -> (u64, f64) {
        let mut state = self.lock();
        (std::mem::take(&mut state.bytes), std::mem::take(&mut state.seconds))
    }

    /// Notes how much lies on disk: called where it is most, after writing and before removing.
    pub fn weigh(&self, store: &Store) -> Result<(), SessionError> {
        let bytes = store.bytes()?;
        let mut state = self.lock();
        state.disk = state.disk.max(bytes);
        Ok(())
    }

    /// The most that lay on disk.
    pub fn most_on_disk(&self) -> u64 {
        self.lock().disk
    }
}

fn standing(state: &State) -> Standing {
    Standing { came: state.came, unspent: state.unspent.len(), ended: state.ended }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_so_many_lie_unspent() {
        let arrivals = Arrivals::default();
        let batch = |number| BatchId([number; 16]);
        for number in 0..2 {
            assert_eq!(arrivals.room(2), Wanted::Next);
            arrivals.await_word(batch(number));
            assert!(arrivals.is_pending(batch(number)));
            arrivals.confirmed(10, 1.0);
            assert!(!arrivals.is_pending(batch(number)));
        }
        assert_eq!(arrivals.room(2), Wanted::Later);
        assert_eq!(arrivals.standing(), Standing { came: 2, unspent: 2, ended: false });
        arrivals.spent(batch(7));
        arrivals.spent(batch(0));
        assert_eq!(arrivals.room(2), Wanted::Next);
        arrivals.await_word(batch(2));
        arrivals.withdrawn();
        assert_eq!(arrivals.standing(), Standing { came: 2, unspent: 1, ended: false });
        assert_eq!((arrivals.take_received(), arrivals.take_received()), ((20, 2.0), (0, 0.0)));
        arrivals.over();
        assert_eq!(arrivals.room(2), Wanted::Enough);
    }

    #[test]
    fn who_waits_hears_of_deliveries_and_of_the_end() {
        let arrivals = Arrivals::default();
        let batch = BatchId([1; 16]);
        arrivals.await_word(batch);
        std::thread::scope(|scope| {
            let settled = scope.spawn(|| {
                arrivals.settle(batch);
                arrivals.standing().came
            });
            let more = scope.spawn(|| arrivals.more_than(0, Duration::from_secs(600)));
            arrivals.confirmed(1, 0.0);
            assert_eq!(settled.join().unwrap(), 1);
            assert_eq!(more.join().unwrap().came, 1);
            let end = scope.spawn(|| arrivals.more_than(1, Duration::from_secs(600)));
            arrivals.end(Some(SessionError::Config("gone".to_string())));
            assert!(end.join().unwrap().ended);
        });
        assert!(arrivals.take_failure().is_some() && arrivals.take_failure().is_none());
        assert_eq!(arrivals.more_than(9, Duration::ZERO).came, 1);
    }
}
