//! The gates of a step: the forms of each value, made when they are first asked for.

use ariann_gates::add::Add;
use ariann_gates::cut::Cut;
use ariann_gates::input::Input;
use ariann_gates::open::Open;
use ariann_gates::reveal::Reveal;
use ariann_gates::truncate::Truncate;
use ariann_gates::{Comparison, Receiver, Window};
use ariann_graph::training::{Role, StepGraph, StepOp};

use super::scales::{Scales, bits};
use super::{Source, TrainingOptions};
use crate::scales::ScaleError;
use crate::{CompileError, Entry, Gate, Kept, Scale, Shared, StateSpec, Times};

/// Bits of a public constant that has no exact form, by ring.
pub(super) const CONSTANT_BITS: [i32; 2] = [11, 26];

/// A share, or a wire of k bits, with its scale.
pub(super) type Held = (u32, Scale);

/// The gates that give a value in its forms, so far.
#[derive(Clone, Copy, Default)]
pub(super) struct Forms {
    pub share: Option<Held>,
    pub wire: Option<Held>,
    pub narrow: Option<(u32, Scale, u32)>,
    /// Of the share, after it was rounded.
    rounded: bool,
}

pub(super) struct Builder<'a> {
    pub step: &'a StepGraph,
    pub scales: Scales<'a>,
    pub options: &'a TrainingOptions,
    pub gates: Vec<Entry>,
    pub forms: Vec<Forms>,
    /// Levels of each maximum, first to last: the gates whose bits its gradient takes.
    pub levels: Vec<Vec<u32>>,
    pub states: Vec<StateSpec>,
}

impl<'a> Builder<'a> {
    pub fn new(step: &'a StepGraph, scales: Scales<'a>, options: &'a TrainingOptions) -> Self {
        let spec = |(index, state): (usize, &ariann_graph::training::State)| {
            let given = options.before.as_ref().and_then(|before| before.get(index).copied());
            let own = Scale::bits(scales.master(index));
            StateSpec {
                name: state.name.clone(),
                role: state.role,
                shape: state.shape.clone(),
                before: given.unwrap_or(own),
                after: given.unwrap_or(own),
            }
        };
        let mut states: Vec<StateSpec> = step.states.iter().enumerate().map(spec).collect();
        let nodes = step.nodes.len();
        // A velocity's scale follows from the learning rate; it begins at zero, which has any scale.
        for node in &step.nodes {
            if let StepOp::Update { velocity: Some(velocity), .. } = node.op
                && options.before.is_none()
            {
                states[velocity].before = Scale::bits(0);
            }
        }
        Builder {
            step,
            scales,
            options,
            gates: Vec::new(),
            forms: vec![Forms::default(); nodes],
            levels: vec![Vec::new(); nodes],
            states,
        }
    }

    /// All gates, and the states' scales.
    pub fn build(mut self) -> Result<(Vec<Entry>, Vec<StateSpec>), CompileError> {
        self.inputs();
        for index in 0..self.step.nodes.len() {
            self.node(index)?;
        }
        if let Some(to) = self.options.loss {
            let Some(loss) = self.step.loss else {
                return Err(CompileError::Unsupported(vec!["  the loss: the step does not compute it".to_string()]));
            };
            let (share, scale) = self.share(loss)?;
            let reveal = Reveal { len: 1, width: self.options.ring, to };
            self.push("loss", "reveal", &[share], scale, Gate::Reveal(reveal));
        }
        // What the first step takes is what the last one left.
        if self.options.before.is_none() {
            for state in &mut self.states {
                state.before = state.after;
            }
            for entry in &mut self.gates {
                if let Gate::State(kept) = &entry.gate {
                    entry.scale = self.states[kept.state].before;
                }
            }
        }
        Ok((self.gates, self.states))
    }

    /// All gates of a forward pass, whose output each party keeps its share of.
    pub fn build_answering(mut self) -> Result<(Vec<Entry>, Vec<StateSpec>), CompileError> {
        self.inputs();
        for index in 0..self.step.nodes.len() {
            self.node(index)?;
        }
        let output = self.step.output;
        let (share, scale) = self.share(output)?;
        let reveal = Reveal { len: self.len(output), width: self.options.ring, to: Receiver::Client };
        self.push("outputs", "reveal", &[share], scale, Gate::Reveal(reveal));
        Ok((self.gates, self.states))
    }

    /// Items and labels are the first gates; labels where they are compared.
    pub(super) fn inputs(&mut self) {
        let sources = [(self.options.features, "items"), (self.options.labels, "labels")];
        for (place, (source, name)) in sources.into_iter().enumerate() {
            let wanted = |op: &StepOp| if place == 0 { *op == StepOp::Features } else { *op == StepOp::Labels };
            let node = self.step.nodes.iter().position(|node| wanted(&node.op));
            if place == 1 && node.is_none() {
                continue;
            }
            let per_item = if place == 0 { self.step.item_len } else { self.step.classes };
            let len = self.step.batch * per_item;
            let own = Scale::bits(node.map_or(0, |node| self.scales.frac(node)));
            let shared = self.options.shared.filter(|_| source == Source::Owners).map(|scales| scales[place]);
            let scale = shared.unwrap_or(own);
            let gate = match source.party() {
                Some(owner) => Gate::Input(Input { len, owner }),
                None => Gate::Shared(Shared { len }),
            };
            let gate = self.push(name, "", &[], scale, gate);
            let Some(node) = node else { continue };
            // What neither knows is opened under a mask where a product takes it.
            match source.party() {
                Some(_) => self.forms[node].wire = Some((gate, scale)),
                None => self.forms[node].share = Some((gate, scale)),
            }
        }
    }

    pub fn push(&mut self, name: &str, part: &str, inputs: &[u32], scale: Scale, gate: Gate) -> u32 {
        let name = if part.is_empty() { name.to_string() } else { format!("{name}/{part}") };
        self.gates.push(Entry { name, inputs: inputs.to_vec(), scale, gate });
        self.gates.len() as u32 - 1
    }

    pub fn name(&self, node: usize) -> &'a str {
        &self.step.nodes[node].name
    }

    pub fn len(&self, node: usize) -> usize {
        self.step.nodes[node].len
    }

    /// The first m such that |value| of at most `max` at `scale` is within the bound of a signed window [shift, m).
    pub fn top(&self, name: &str, max: f64, scale: Scale, shift: i32) -> Result<u32, CompileError> {
        let units = max * 2f64.powi(self.scales.margin()) / scale.unit() + 2f64.powi(shift + 1);
        let top = bits(units).max(shift + 1) + 2;
        if top > self.scales.ring() {
            return Err(ScaleError::Window {
                layer: name.to_string(),
                max_abs: max,
                frac_bits: scale.frac,
                ring: self.options.ring,
            }
            .into());
        }
        Ok(top as u32)
    }

    /// A share rounded by `shift` bits: a window's opening and the signed truncation.
    pub fn cut(
        &mut self,
        name: &str,
        part: &str,
        held: Held,
        shift: i32,
        max: f64,
        len: usize,
    ) -> Result<Held, CompileError> {
        if shift <= 0 {
            return Ok(held);
        }
        let (x, scale, width) = self.window(name, part, held, (shift, 3), max, len)?;
        let gate = Gate::Truncate(Truncate { len, width });
        Ok((self.push(name, &format!("{part} cut"), &[x], scale, gate), scale))
    }

    /// A share opened by a window that drops `shift` bits and has at least `least`.
    pub fn window(
        &mut self,
        name: &str,
        part: &str,
        (share, scale): Held,
        (shift, least): (i32, u32),
        max: f64,
        len: usize,
    ) -> Result<(u32, Scale, u32), CompileError> {
        // The whole ring would be opened as a wire of k bits.
        let whole = shift <= 0 && self.top(name, max, scale, 0)? == self.options.ring;
        let shift = if whole { 1 } else { shift.max(0) };
        let top = self.top(name, max, scale, shift)?.max(shift as u32 + least);
        let window = Window { shift: shift as u32, top };
        let scale = Scale { frac: scale.frac - shift, ..scale };
        let gate = Gate::Open(Open { len, window, to: Receiver::Both });
        Ok((self.push(name, &format!("{part} window"), &[share], scale, gate), scale, window.width()))
    }

    /// A wire as a share.
    pub fn shared(&mut self, name: &str, (wire, scale): Held, len: usize) -> Held {
        let gate = Gate::Add(Add { len, multipliers: vec![1], constants: Vec::new() });
        (self.push(name, "share", &[wire], scale, gate), scale)
    }

    /// A share, or a wire, times the public constant `by`, as an integer factor.
    #[allow(clippy::too_many_arguments)]
    pub fn times(
        &mut self,
        name: &str,
        part: &str,
        (x, _): Held,
        by: f64,
        factor: i64,
        result: Scale,
        len: usize,
    ) -> Held {
        let gate = Gate::Times(Times { len, factor, by });
        (self.push(name, part, &[x], result, gate), result)
    }

    /// A share whose unit is a power of two, with at most `frac` fractional bits where it had another unit.
    pub fn plain(&mut self, name: &str, held: Held, frac: i32, max: f64, len: usize) -> Result<Held, CompileError> {
        let (_, scale) = held;
        if scale.factor == 1 {
            return Ok(held);
        }
        // Room for the constant's bits.
        let magnitude = bits(max / scale.unit()) + self.scales.margin();
        let constant_bits = CONSTANT_BITS[usize::from(self.options.ring == 64)];
        let room = self.scales.ring() - 2 - constant_bits;
        let held = self.cut(name, "fit", held, magnitude - room, max, len)?;
        let (_, scale) = held;
        let up = (f64::from(scale.factor) * 2f64.powi(-1)).log2().floor() as i32 + constant_bits;
        // 1 / factor is about constant / 2^up.
        let constant = (2f64.powi(up) / f64::from(scale.factor)).round() as i64;
        let result = Scale::bits(scale.frac + up);
        let held = self.times(name, "unit", held, 1.0, constant, result, len);
        self.cut(name, "unit", held, result.frac - frac, max, len)
    }

    /// A value as a share: rounded, where it is so before it is summed.
    pub fn share(&mut self, node: usize) -> Result<Held, CompileError> {
        let (name, len) = (self.name(node), self.len(node));
        let forms = self.forms[node];
        let held = match forms {
            Forms { share: Some(held), .. } => held,
            Forms { wire: Some(held), .. } => self.shared(name, held, len),
            Forms { narrow: Some((x, scale, width)), .. } => {
                let gate = Gate::Truncate(Truncate { len, width });
                (self.push(name, "share", &[x], scale, gate), scale)
            }
            _ => unreachable!("values are made in order"),
        };
        let held = match self.scales.is_cut(node) && !forms.rounded {
            true => {
                let frac = self.scales.frac(node);
                let held = self.plain(name, held, frac, self.scales.max(node), len)?;
                self.cut(name, "sum", held, held.1.frac - frac, self.scales.max(node), len)?
            }
            false => held,
        };
        self.forms[node].share = Some(held);
        self.forms[node].rounded = self.scales.is_cut(node);
        Ok(held)
    }

    /// A value as a share or as a wire, whichever there is.
    pub fn operand(&mut self, node: usize) -> Result<Held, CompileError> {
        match self.forms[node] {
            Forms { wire: Some(held), share: None, .. } => Ok(held),
            _ => self.share(node),
        }
    }

    /// A value as a wire of k bits that both know, at its scale.
    pub fn wire(&mut self, node: usize) -> Result<Held, CompileError> {
        if let Some(held) = self.forms[node].wire {
            return Ok(held);
        }
        let (name, len, frac, max) = (self.name(node), self.len(node), self.scales.frac(node), self.scales.max(node));
        let held = self.share(node)?;
        let held = self.plain(name, held, frac, max, len)?;
        let (share, scale) = self.cut(name, "operand", held, held.1.frac - frac, max, len)?;
        let window = Window { shift: 0, top: self.options.ring };
        let gate = Gate::Open(Open { len, window, to: Receiver::Both });
        let held = (self.push(name, "operand", &[share], scale, gate), scale);
        self.forms[node].wire = Some(held);
        Ok(held)
    }

    /// A value as a narrow wire at its scale, for comparisons.
    pub fn narrow(&mut self, node: usize) -> Result<(u32, Scale, u32), CompileError> {
        if let Some(narrow) = self.forms[node].narrow {
            return Ok(narrow);
        }
        let (name, len, max) = (self.name(node), self.len(node), self.scales.max(node));
        let narrow = match self.forms[node] {
            Forms { wire: Some((x, scale)), .. } => {
                let width = self.top(name, max, scale, 0)?.max(3);
                let gate = Gate::Cut(Cut { len, width });
                (self.push(name, "narrow", &[x], scale, gate), scale, width)
            }
            _ => {
                let held = self.share(node)?;
                let frac = self.scales.frac(node);
                let held = self.plain(name, held, frac, max, len)?;
                self.window(name, "compared", held, (held.1.frac - frac, 3), max, len)?
            }
        };
        self.forms[node].narrow = Some(narrow);
        Ok(narrow)
    }

    /// Forms are chosen when all gates are there.
    pub fn form(&self) -> Comparison {
        Comparison::Dpf
    }

    /// The state that `Count` and `Running` nodes and updates take is at its scale between steps.
    pub fn state(&mut self, node: usize, state: usize) {
        let spec = &self.states[state];
        let (scale, kept) = (spec.before, Kept { state, len: spec.len() });
        debug_assert!(spec.role != Role::Count || scale == Scale::bits(0));
        let gate = self.push(self.name(node), "", &[], scale, Gate::State(kept));
        self.forms[node].share = Some((gate, scale));
    }
}
