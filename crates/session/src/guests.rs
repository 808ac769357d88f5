//! How many connections each identity may hold where several connect: one that opens many shuts out itself, and nobody else.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Connections of one identity at once.
pub(crate) const OF_ONE: usize = 4;

/// Counts connections by the identities that they showed.
#[derive(Default)]
pub(crate) struct Guests {
    inside: Mutex<BTreeMap<[u8; 32], usize>>,
}

/// A connection that was let in; it counts until this is dropped.
pub(crate) struct Guest {
    guests: Arc<Guests>,
    pin: [u8; 32],
}

impl Guests {
    /// Lets a connection of this identity in. The first of each finds room always, further ones while there are fewer than `most`
    /// of all together.
    pub fn enter(self: &Arc<Self>, pin: [u8; 32], most: usize) -> Option<Guest> {
        let mut inside = self.inside();
        let (all, own) = (inside.values().sum::<usize>(), inside.get(&pin).copied().unwrap_or(0));
        if own > 0 && (own >= OF_ONE || all >= most) {
            return None;
        }
        inside.insert(pin, own + 1);
        Some(Guest { guests: self.clone(), pin })
    }

    /// Each change is one insertion or removal: what a thread that panicked left is whole.
    fn inside(&self) -> MutexGuard<'_, BTreeMap<[u8; 32], usize>> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut inside = self.guests.inside();
        let left = inside.remove(&self.pin).unwrap_or(1) - 1;
        if left > 0 {
            inside.insert(self.pin, left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_limit_and_the_first_of_each_finds_room() {
        let guests = Arc::new(Guests::default());
        let enter = |who: u8, most: usize| guests.enter([who; 32], most);
        let mut first: Vec<Guest> = (0..OF_ONE).map(|_| enter(1, 100).expect("within its own limit")).collect();
        assert!(enter(1, 100).is_none(), "one more than each may have");
        let second = enter(2, OF_ONE).expect("the first of another, though there are as many as may be");
        assert!(enter(2, OF_ONE).is_none() && enter(2, OF_ONE + 2).is_some(), "further ones need room");
        drop(first.pop());
        let again = enter(1, 100).expect("one has gone");
        assert!(enter(1, 100).is_none());
        drop((first, second, again));
        assert!(guests.inside().is_empty(), "who has gone is not remembered");
    }
}
