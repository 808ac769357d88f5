//! Progress of a training: the step, the time left, and beside them bytes and loss.

use ariann_report::bytes;
use ariann_session::events::{Event, Events};

use crate::output::Teller;

/// Tells events of a training on this machine.
pub struct Progress {
    teller: Teller,
    /// Bytes that both parties send in a step, and that the dealer makes for it.
    online: u64,
    material: u64,
    loss: Option<f64>,
}

impl Progress {
    pub fn new(teller: Teller, online: [u64; 2], material: [u64; 2]) -> Self {
        Progress { teller, online: online.iter().sum(), material: material.iter().sum(), loss: None }
    }
}

impl Events for Progress {
    fn tell(&mut self, event: Event) {
        match event {
            Event::Loss { loss, .. } => self.loss = Some(loss),
            Event::Progress { stage: "training", done, total } => {
                let loss = self.loss.map_or(String::new(), |loss| format!(", loss {loss:.5}"));
                let [sent, material] = [self.online, self.material].map(|of_step| bytes(done.saturating_mul(of_step)));
                self.teller.tell(event);
                self.teller.message(&format!("step {done} of {total}, {sent} sent, {material} of material{loss}"));
            }
            _ => self.teller.tell(event),
        }
    }
}
