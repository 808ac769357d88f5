//! The order of a training's turns: arithmetic on public counts.

/// Counts that the order follows from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turns {
    /// Epochs.
    pub epochs: u32,
    /// Steps of an epoch, as the training begins.
    pub steps: u32,
    /// From which epochs on, in their order, an epoch has other numbers of steps.
    pub later: Vec<(u32, u32)>,
    /// Batches of the test after each epoch; 0 for none.
    pub tests: u32,
    /// Ranges are measured before every step whose number is a multiple of this, the first one left out.
    pub measure_every: Option<u32>,
    /// States that are revealed at the end.
    pub reveals: u32,
}

/// What a turn is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Ranges are measured on the batch of the step that follows.
    Measure {
        /// The epoch, from 0.
        epoch: u32,
        /// The batch, from 0.
        batch: u32,
    },
    /// A step of training.
    Step {
        /// The epoch, from 0.
        epoch: u32,
        /// Its batch, from 0.
        batch: u32,
    },
    /// A batch of the test set.
    Evaluate {
        /// The epoch before it.
        epoch: u32,
        /// The batch, from 0.
        batch: u32,
    },
    /// Reveals the number of right answers.
    Tally {
        /// The epoch before it.
        epoch: u32,
    },
    /// Reveals a state of the trained model.
    Reveal {
        /// Which of those that are revealed.
        index: u32,
    },
    /// A batch of outside clients' items goes through the trained model.
    Answer,
    /// A pair of a federated training multiplies what it changed with its public weight, clipped where that is agreed.
    Weigh,
}

impl Turns {
    /// Epochs of equal numbers of steps: the first, the one after the last, and that number.
    fn stretches(&self) -> impl Iterator<Item = (u32, u32, u32)> + '_ {
        let begins = std::iter::once((0, self.steps)).chain(self.later.iter().copied());
        let ends = self.later.iter().map(|(epoch, _)| *epoch).chain([self.epochs]);
        begins.zip(ends).map(|((first, steps), end)| (first, end, steps))
    }

    /// Steps before an epoch.
    fn steps_before_epoch(&self, epoch: u32) -> u64 {
        let before =
            |(first, end, steps): (u32, u32, u32)| u64::from(end.min(epoch).saturating_sub(first)) * u64::from(steps);
        self.stretches().map(before).sum()
    }

    /// Steps of an epoch.
    pub fn steps_of(&self, epoch: u32) -> u32 {
        self.later.iter().rev().find(|(first, _)| *first <= epoch).map_or(self.steps, |(_, steps)| *steps)
    }

    /// Steps in all.
    pub fn steps_in_all(&self) -> u64 {
        self.steps_before_epoch(self.epochs)
    }

    /// The epoch of a step, and its number there.
    fn place(&self, step: u64) -> (u32, u32) {
        let mut before = 0;
        for (first, end, steps) in self.stretches() {
            let own = u64::from(end - first) * u64::from(steps);
            if step < before + own || end == self.epochs {
                let after = step - before;
                return (first + (after / u64::from(steps)) as u32, (after % u64::from(steps)) as u32);
            }
            before += own;
        }
        unreachable!("the last stretch ends with the last epoch")
    }

    /// The first turn that is of an epoch, or of what comes after the last.
    pub fn first_of(&self, epoch: u32) -> u64 {
        let step = self.steps_before_epoch(epoch);
        // Before its first step ranges may be measured, which belongs to it.
        if step == 0 { 0 } else { self.of_step(step - 1) + 1 + self.of_test() }
    }

    /// Turns of the test after an epoch.
    fn of_test(&self) -> u64 {
        if self.tests > 0 { u64::from(self.tests) + 1 } else { 0 }
    }

    /// Measurements before step `step` and at it.
    fn measured(&self, step: u64) -> u64 {
        self.measure_every.map_or(0, |every| step / u64::from(every.max(1)))
    }

    /// Measurements before turn `number`.
    pub fn measured_before(&self, number: u64) -> u64 {
        self.measured(self.step_at(number))
    }

    /// The turn that step number `step` is.
    fn of_step(&self, step: u64) -> u64 {
        step + self.measured(step) + u64::from(self.place(step).0) * self.of_test()
    }

    /// Turns before the first reveal.
    fn before_reveals(&self) -> u64 {
        self.of_step(self.steps_in_all() - 1) + 1 + self.of_test()
    }

    /// Turns in all.
    pub fn count(&self) -> u64 {
        self.before_reveals() + u64::from(self.reveals)
    }

    /// The last step that begins no later than turn `number`.
    fn step_at(&self, number: u64) -> u64 {
        let (mut low, mut high) = (0, self.steps_in_all());
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if self.of_step(middle) <= number { low = middle } else { high = middle }
        }
        low
    }

    /// Turn number `number`; none after the last.
    pub fn turn(&self, number: u64) -> Option<Turn> {
        if let Some(index) = number.checked_sub(self.before_reveals()) {
            let index = u32::try_from(index).ok().filter(|index| *index < self.reveals)?;
            return Some(Turn::Reveal { index });
        }
        let step = self.step_at(number);
        let ((epoch, batch), after) = (self.place(step), number - self.of_step(step));
        if after == 0 {
            return Some(Turn::Step { epoch, batch });
        }
        let tested = if batch + 1 == self.steps_of(epoch) { self.of_test() } else { 0 };
        if after <= tested {
            let batch = (after - 1) as u32;
            return Some(if after < tested { Turn::Evaluate { epoch, batch } } else { Turn::Tally { epoch } });
        }
        let (epoch, batch) = self.place(step + 1);
        Some(Turn::Measure { epoch, batch })
    }

    /// Steps of training before turn `number`.
    pub fn steps_before(&self, number: u64) -> u64 {
        let step = self.step_at(number);
        step + u64::from(number > self.of_step(step))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same order by walking through it.
    fn walked(turns: &Turns) -> Vec<Turn> {
        let (mut list, mut number) = (Vec::new(), 0);
        for epoch in 0..turns.epochs {
            if epoch > 0 {
                assert_eq!(turns.first_of(epoch), list.len() as u64, "{turns:?}");
            }
            for batch in 0..turns.steps_of(epoch) {
                if turns.measure_every.is_some_and(|every| number > 0 && number % every == 0) {
                    list.push(Turn::Measure { epoch, batch });
                }
                list.push(Turn::Step { epoch, batch });
                number += 1;
            }
            list.extend((0..turns.tests).map(|batch| Turn::Evaluate { epoch, batch }));
            list.extend((turns.tests > 0).then_some(Turn::Tally { epoch }));
        }
        list.extend((0..turns.reveals).map(|index| Turn::Reveal { index }));
        list
    }

    #[test]
    fn every_turn_of_every_small_training() {
        let grown = [vec![], vec![(1, 4)], vec![(2, 7)], vec![(1, 2), (2, 5)]];
        for epochs in 1..4 {
            for (steps, later) in (1..6).flat_map(|steps| grown.iter().map(move |later| (steps, later))) {
                if later.last().is_some_and(|(epoch, _)| *epoch >= epochs) {
                    continue;
                }
                for tests in 0..3 {
                    for measure_every in [None, Some(1), Some(2), Some(3), Some(5), Some(100)] {
                        let later = later.clone();
                        let turns = Turns { epochs, steps, later, tests, measure_every, reveals: 2 };
                        let walked = walked(&turns);
                        assert_eq!(turns.count(), walked.len() as u64, "{turns:?}");
                        let (mut before, mut measured) = (0, 0);
                        for (number, turn) in walked.iter().enumerate() {
                            assert_eq!(turns.turn(number as u64), Some(*turn), "{turns:?}, turn {number}");
                            assert_eq!(turns.steps_before(number as u64), before, "{turns:?}, turn {number}");
                            assert_eq!(turns.measured_before(number as u64), measured, "{turns:?}, turn {number}");
                            before += u64::from(matches!(turn, Turn::Step { .. }));
                            measured += u64::from(matches!(turn, Turn::Measure { .. }));
                        }
                        assert_eq!(turns.turn(turns.count()), None);
                        assert_eq!(turns.measured_before(turns.count()), measured);
                        assert_eq!(turns.steps_before(turns.count()), turns.steps_in_all());
                    }
                }
            }
        }
    }
}
