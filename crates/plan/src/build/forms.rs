//! The forms of a value: share, wire of k bits, wire of the bits that are needed.

use ariann_gates::add::Add;
use ariann_gates::cut::Cut;
use ariann_gates::open::Open;
use ariann_gates::truncate::Truncate;
use ariann_gates::{Receiver, Window};
use ariann_graph::{Op, ValueId};

use super::{Builder, Choice, Forms, Natural};
use crate::compile::CompileError;
use crate::scales::Wanted;
use crate::{Gate, Revealed, Scale, SignChoice};

impl Builder<'_> {
    /// The window in which a share of scale `z` is opened, and the scale of the result.
    fn window(
        &mut self,
        name: &str,
        value: ValueId,
        z: Scale,
        frac: Option<i32>,
        wanted: Wanted,
    ) -> Result<(Window, Scale), CompileError> {
        let window = match &self.choice {
            Choice::Ranges { scales, .. } => {
                let frac = frac.unwrap_or_else(|| scales.frac(value));
                scales.window(name, value, z, frac, wanted)?
            }
            Choice::Plan(plan) => match self.next_of(plan).map(|entry| &entry.gate) {
                Some(Gate::Open(open)) if open.window.top <= self.head.ring && open.window.shift < open.window.top => {
                    open.window
                }
                _ => Window { shift: 0, top: self.head.ring },
            },
        };
        Ok((window, Scale { frac: z.frac.saturating_sub(window.shift as i32), factor: z.factor }))
    }

    /// What the readers of a value's narrow wire need of it.
    fn wanted(&self, value: ValueId) -> Wanted {
        let exact = match &self.choice {
            Choice::Ranges { sign, .. } => *sign == SignChoice::Exact,
            Choice::Plan(_) => true,
        };
        let (mut wanted, mut noise) = (Wanted { rectified: exact, least: 3, room: 0.0 }, 0.0);
        self.readers(value, &mut wanted, &mut noise);
        wanted.room += noise;
        wanted
    }

    /// What is done with a wire of `value`, whichever pooling it goes through before.
    fn readers(&self, value: ValueId, wanted: &mut Wanted, noise: &mut f64) {
        if value == self.graph.output {
            wanted.rectified &= self.head.reveal.what == Revealed::Logits && self.natural[value.0] == Natural::Share;
            if self.head.reveal.what == Revealed::Label {
                // Indices are below 2^(w-1).
                wanted.least = self.graph.output_len().ilog2() + 2;
                wanted.rectified = false;
            }
        }
        for user in self.graph.users(value) {
            let node = &self.graph.nodes[user];
            match &node.op {
                Op::Relu | Op::Add | Op::AvgPool(_) | Op::Arrange(_) | Op::Function(_) | Op::Softmax(_) => {}
                Op::BatchNorm(_) | Op::Dropout { .. } => {}
                Op::Clip { lo, hi } => wanted.room = wanted.room.max(f64::from(lo.abs().max(hi.abs()))),
                Op::Dense(_) | Op::Conv(_) => wanted.rectified = false,
                Op::MaxPool(_) => {
                    wanted.rectified = false;
                    self.readers(node.output, wanted, noise);
                }
                Op::Reshape => self.readers(node.output, wanted, noise),
            }
            if let (Op::Relu | Op::Clip { .. }, Choice::Ranges { scales, sign: SignChoice::Coarse }) =
                (&node.op, &self.choice)
            {
                // The noise of a coarse sign: at most a sixteenth of the root mean square, twice.
                *noise = noise.max(scales.rms(value) / 4.0);
            }
        }
    }

    /// A share of a value.
    pub(super) fn share(&mut self, value: ValueId) -> Result<(u32, Scale), CompileError> {
        let value = self.resolve(value);
        if let Some(share) = self.forms[value.0].share {
            return Ok(share);
        }
        let (name, len) = (self.name(value), self.graph.len(value));
        let share = match self.natural[value.0] {
            Natural::Share => unreachable!("a layer that gives a share has given it"),
            Natural::Wire => {
                let (wire, scale) = self.forms[value.0].wire.expect("a layer that gives a wire has given it");
                let gate = Gate::Add(Add { len, multipliers: vec![1], constants: Vec::new() });
                (self.push(&name, "share", &[wire], scale, gate), scale)
            }
            Natural::Narrow => {
                let (wire, scale, width) = self.forms[value.0].narrow.expect("a pooling has given a narrow wire");
                (self.push(&name, "truncate", &[wire], scale, Gate::Truncate(Truncate { len, width })), scale)
            }
        };
        self.forms[value.0].share = Some(share);
        Ok(share)
    }

    /// A wire of a value in few bits that both know, signed where a reader needs that.
    pub(super) fn narrow(&mut self, value: ValueId) -> Result<(u32, Scale, u32), CompileError> {
        let value = self.resolve(value);
        if let Some(narrow) = self.forms[value.0].narrow {
            return Ok(narrow);
        }
        let (name, len) = (self.name(value), self.graph.len(value));
        let wanted = self.wanted(value);
        let narrow = match self.natural[value.0] {
            Natural::Wire if !self.of_input[value.0] => {
                let (wire, scale) = self.forms[value.0].wire.expect("a layer that gives a wire has given it");
                let width = match &self.choice {
                    Choice::Ranges { scales, .. } => scales.window(&name, value, scale, scale.frac, wanted)?.width(),
                    Choice::Plan(plan) => match self.next_of(plan).map(|entry| &entry.gate) {
                        Some(Gate::Cut(cut)) => cut.width,
                        _ => self.head.ring,
                    },
                };
                (self.push(&name, "cut", &[wire], scale, Gate::Cut(Cut { len, width })), scale, width)
            }
            // The owner's input is masked by its owner alone: it gets a mask of both first.
            _ => {
                let (share, z) = self.share(value)?;
                let (window, scale) = self.window(&name, value, z, None, wanted)?;
                let gate = Gate::Open(Open { len, window, to: Receiver::Both });
                self.rounded(value, window, scale);
                (self.push(&name, "open", &[share], scale, gate), scale, window.width())
            }
        };
        self.forms[value.0].narrow = Some(narrow);
        Ok(narrow)
    }

    fn rounded(&mut self, value: ValueId, window: Window, scale: Scale) {
        if let (Choice::Ranges { scales, .. }, true) = (&mut self.choice, window.shift > 0) {
            scales.note_rounding(value, scale);
        }
    }

    /// A wire of k bits of a value, known to whom it must be.
    pub(super) fn wire(&mut self, value: ValueId) -> Result<(u32, Scale), CompileError> {
        let value = self.resolve(value);
        if let Some(wire) = self.forms[value.0].wire {
            return Ok(wire);
        }
        let (name, len) = (self.name(value), self.graph.len(value));
        let (narrow, scale, width) = self.narrow(value)?;
        if width == self.head.ring {
            // Nothing was cut: it is a wire of the whole ring.
            self.forms[value.0].wire = Some((narrow, scale));
            return Ok((narrow, scale));
        }
        let share = self.push(&name, "truncate", &[narrow], scale, Gate::Truncate(Truncate { len, width }));
        let whole = Window { shift: 0, top: self.head.ring };
        let gate = Gate::Open(Open { len, window: whole, to: self.operand_to() });
        let wire = (self.push(&name, "operand", &[share], scale, gate), scale);
        self.forms[value.0].wire = Some(wire);
        Ok(wire)
    }

    /// Opens a value for a lookup, whose operand has few bits.
    pub(super) fn operand_of_lookup(&mut self, value: ValueId) -> Result<(u32, Scale, u32), CompileError> {
        let value = self.resolve(value);
        let (name, len) = (self.name(value), self.graph.len(value));
        let (share, z) = self.share(value)?;
        let frac = match &self.choice {
            Choice::Ranges { scales, .. } => Some(scales.lookup_frac(value)),
            Choice::Plan(_) => None,
        };
        let wanted = Wanted { rectified: false, least: 3, room: 0.0 };
        let (window, scale) = self.window(&name, value, z, frac, wanted)?;
        let gate = Gate::Open(Open { len, window, to: Receiver::Both });
        self.rounded(value, window, scale);
        Ok((self.push(&name, "operand", &[share], scale, gate), scale, window.width()))
    }

    pub(super) fn give_share(&mut self, value: ValueId, gate: u32, scale: Scale) {
        self.forms[value.0] = Forms { share: Some((gate, scale)), ..Forms::default() };
    }

    pub(super) fn give_wire(&mut self, value: ValueId, gate: u32, scale: Scale) {
        self.forms[value.0] = Forms { wire: Some((gate, scale)), ..Forms::default() };
    }

    pub(super) fn give_narrow(&mut self, value: ValueId, gate: u32, scale: Scale, width: u32) {
        self.forms[value.0] = Forms { narrow: Some((gate, scale, width)), ..Forms::default() };
    }
}
