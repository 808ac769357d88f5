//! Progress of a training: the step, the time left, and beside them bytes and loss.

use ariann_report::bytes;
use ariann_session::events::{Event, Events};
use ariann_session::training::Course;

use super::cost::StepCost;
use crate::output::Teller;

/// Tells events of a training on this machine.
pub struct Progress {
    teller: Teller,
    /// Bytes that both parties send in a step, and that the dealer makes for it.
    online: u64,
    material: u64,
    /// Steps of an epoch, and whether somebody learns an accuracy after them.
    steps: u64,
    tested: bool,
    /// The last step whose loss was told, and the losses of its epoch.
    step: u64,
    losses: Vec<f64>,
}

impl Progress {
    pub fn new(teller: Teller, course: &Course, cost: &StepCost) -> Self {
        let (online, material) = (cost.online.iter().sum(), cost.material.iter().sum());
        let (steps, tested) = (u64::from(course.turns().steps), course.turns().tests > 0);
        Progress { teller, online, material, steps, tested, step: 0, losses: Vec::new() }
    }

    /// Notes a loss, which both parties may tell.
    fn note(&mut self, step: u64, loss: f64) {
        if step <= self.step {
            return;
        }
        if step % self.steps == 1 || self.steps == 1 {
            self.losses.clear();
        }
        self.step = step;
        self.losses.push(loss);
        if let Some(mean) = self.mean().filter(|_| !self.tested && step.is_multiple_of(self.steps)) {
            let epoch = u32::try_from(step / self.steps).unwrap_or(u32::MAX);
            self.teller.tell(Event::Epoch { epoch, accuracy: None, loss: Some(mean) });
        }
    }

    /// The loss of an item over an epoch that was seen as a whole.
    fn mean(&self) -> Option<f64> {
        let whole = self.losses.len() as u64 == self.steps;
        whole.then(|| self.losses.iter().sum::<f64>() / self.losses.len() as f64)
    }
}

impl Events for Progress {
    fn tell(&mut self, event: Event) {
        match event {
            Event::Loss { step, loss } => self.note(step, loss),
            Event::Epoch { epoch, accuracy, loss: None } => {
                let ended = self.step == u64::from(epoch) * self.steps;
                let loss = self.mean().filter(|_| ended);
                self.teller.tell(Event::Epoch { epoch, accuracy, loss });
            }
            Event::Progress { stage: stage @ "training", done, total } => {
                let loss = self.losses.last().map_or(String::new(), |loss| format!(", loss {loss:.5}"));
                let [sent, material] = [self.online, self.material].map(|of_step| bytes(done.saturating_mul(of_step)));
                let beside = format!("step {done} of {total}, {sent} sent, {material} of material{loss}");
                self.teller.progress_with(stage, (done, total), &beside);
            }
            _ => self.teller.tell(event),
        }
    }
}
