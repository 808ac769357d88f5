//! What the dealer made for one party and did not send yet: bounded, so that a slow party bounds the dealer's memory, and one
//! for each party, so that a party that waits for the other does not keep the other's material back.
//!
//! Sections are made in plan order for both. A party that waits at gate g for the other has taken all of its own sections up
//! to g, so what fills its queue comes after g, and the other's section of g was made before it.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Bytes that wait for one party. A section that is larger is let in when it is the only one.
pub(crate) const WAITING: usize = 24 << 20;

/// What to do with a party.
pub(crate) enum Message {
    /// Send a message.
    Send { step: u32, bytes: Vec<u8> },
    /// Hear so many bytes of what it measured.
    Hear { bytes: usize },
}

impl Message {
    /// Bytes that wait.
    fn len(&self) -> usize {
        match self {
            Message::Send { bytes, .. } => bytes.len(),
            Message::Hear { .. } => 0,
        }
    }
}

pub(crate) struct Outflow {
    state: Mutex<Flow>,
    changed: Condvar,
    limit: usize,
}

#[derive(Default)]
struct Flow {
    waiting: VecDeque<Message>,
    bytes: usize,
    most: usize,
    /// No more is made.
    finished: bool,
    /// Nobody sends any more.
    abandoned: bool,
    /// Abandoned because the other party has left.
    parted: bool,
}

impl Outflow {
    pub fn new(limit: usize) -> Outflow {
        Outflow { state: Mutex::default(), changed: Condvar::new(), limit }
    }

    fn lock(&self) -> MutexGuard<'_, Flow> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is room. False when nobody sends any more.
    pub fn give(&self, message: Message) -> bool {
        let full = |state: &mut Flow| !state.abandoned && state.bytes > 0 && state.bytes + message.len() > self.limit;
        let mut state = self.changed.wait_while(self.lock(), full).unwrap_or_else(PoisonError::into_inner);
        if state.abandoned {
            return false;
        }
        state.bytes += message.len();
        state.most = state.most.max(state.bytes);
        state.waiting.push_back(message);
        self.changed.notify_all();
        true
    }

    /// The next message; none after the last one.
    pub fn take(&self) -> Option<Message> {
        let empty = |state: &mut Flow| state.waiting.is_empty() && !state.finished && !state.abandoned;
        let mut state = self.changed.wait_while(self.lock(), empty).unwrap_or_else(PoisonError::into_inner);
        if state.abandoned {
            return None;
        }
        let message = state.waiting.pop_front()?;
        state.bytes -= message.len();
        self.changed.notify_all();
        Some(message)
    }

    /// No more is made.
    pub fn finish(&self) {
        self.lock().finished = true;
        self.changed.notify_all();
    }

    /// Nobody sends any more, or nothing more shall be sent.
    pub fn abandon(&self) {
        self.lock().abandoned = true;
        self.changed.notify_all();
    }

    /// The other party has left: nothing more is sent, and this one is told so by a farewell.
    pub fn part(&self) {
        let mut state = self.lock();
        (state.abandoned, state.parted) = (true, true);
        self.changed.notify_all();
    }

    /// Whether the other party has left.
    pub fn is_parted(&self) -> bool {
        self.lock().parted
    }

    /// Whether nothing more is sent.
    pub fn is_abandoned(&self) -> bool {
        self.lock().abandoned
    }

    /// The most bytes that waited.
    pub fn most(&self) -> usize {
        self.lock().most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_bounded_and_comes_in_order() {
        let flow = Outflow::new(100);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for step in 0..200u32 {
                    let bytes = vec![step as u8; if step % 50 == 7 { 250 } else { 30 }];
                    assert!(flow.give(Message::Send { step, bytes }));
                }
                flow.finish();
            });
            for step in 0..200 {
                let Some(Message::Send { step: sent, bytes }) = flow.take() else { panic!("a message") };
                assert_eq!((sent, bytes[0]), (step, step as u8));
            }
            assert!(flow.take().is_none());
        });
        assert!((90..=250).contains(&flow.most()), "{} bytes waited", flow.most());
    }

    #[test]
    fn nobody_waits_for_what_nobody_sends() {
        let flow = Outflow::new(10);
        std::thread::scope(|scope| {
            assert!(flow.give(Message::Send { step: 0, bytes: vec![0; 10] }));
            let giver = scope.spawn(|| flow.give(Message::Send { step: 1, bytes: vec![0; 10] }));
            flow.abandon();
            assert!(!giver.join().unwrap());
        });
        assert!(flow.take().is_none());
    }
}
