//! Type check of a plan: every gate gets a value of the form and size it takes, known to whom it must be.
//!
//! A plan comes from a file or from the other party; nobody runs one that this does not accept.

mod training;

use ariann_gates::input::OWNER;
use ariann_gates::linear::{HOLDER, Linear, Weights};
use ariann_gates::{Comparison, LinearShape, Party, Receiver, Sign, SumShape, Windows, drelu};
use ariann_ring::ConvShape;

use crate::scales::LOOKUP_WIDTH;
use crate::{Entry, Gate, InputSpec, Plan, Revealed, Scale, StateSpec, VERSION};
use training::sensible;

/// What is wrong with a plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// Another version.
    #[error("the plan has version {0}, this program runs version {VERSION}; make it again")]
    Version(u32),
    /// A field of the head.
    #[error("the plan's {0}; make it again with `ariann plan`")]
    Head(&'static str),
    /// A gate.
    #[error("the plan's gate {number} ({name}): {reason}; make it again with `ariann plan`")]
    Gate {
        /// Its number.
        number: usize,
        /// Its name.
        name: String,
        /// What is wrong.
        reason: &'static str,
    },
}

/// The form of a gate's result.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Share(usize),
    /// A wire of k bits. `own`: its mask is made of the parties' words alone, so that it may enter a linear layer, a sum or a
    /// result. `of_owner`: of the owner's words alone, so that nothing may compare it.
    Wire {
        len: usize,
        to: Receiver,
        of_owner: bool,
    },
    /// A wire of fewer bits that both know, whose mask the dealer alone knows.
    Narrow {
        len: usize,
        width: u32,
    },
    Ranked {
        len: usize,
        width: u32,
        level: u32,
        of: usize,
    },
    Result,
}

/// A step of training has two inputs, first: items and labels.
const INPUTS: usize = 2;
const LARGEST: usize = 1 << 32;
/// Values of the largest rearrangement: its check takes a byte for each.
const ARRANGED: usize = 1 << 27;
/// Places of all rearrangements, pairs of all maxima and entries of all tables: a role makes them before its first run.
const SCHEDULED: usize = 1 << 28;
/// The most masks that a rearranged wire's is made of.
const MASKS: u32 = 1 << 10;
/// The most fractional bits of a sensible scale.
const FRAC: i32 = 1 << 10;
/// The largest constant factor of a scale.
const FACTOR: u32 = 1 << 20;

type Checked<T> = Result<T, &'static str>;

fn need(ok: bool, reason: &'static str) -> Checked<()> {
    if ok { Ok(()) } else { Err(reason) }
}

impl Plan {
    /// Accepts or refuses the plan.
    pub fn check(&self) -> Result<(), CheckError> {
        if self.version != VERSION {
            return Err(CheckError::Version(self.version));
        }
        let head = |wrong: bool, reason| if wrong { Err(CheckError::Head(reason)) } else { Ok(()) };
        head(self.ring != 32 && self.ring != 64, "ring is neither 32 nor 64 bits wide")?;
        let product = self.input.shape.iter().try_fold(1usize, |a, b| a.checked_mul(*b));
        head(product.is_none_or(|len| len == 0 || len > LARGEST), "input shape is out of bounds")?;
        let [least, greatest] = self.input.range;
        head(!least.is_finite() || !greatest.is_finite() || least > greatest, "input range is empty or not finite")?;
        let InputSpec { scale, mean, std, .. } = &self.input;
        head(!scale.is_finite() || *scale <= 0.0, "input scale is not positive")?;
        head(mean.iter().any(|mean| !mean.is_finite()), "input mean is not finite")?;
        head(std.iter().any(|std| !std.is_finite() || *std <= 0.0), "input deviation is not positive")?;
        self.input.pixels.check(&self.input.shape).map_err(CheckError::Head)?;
        let least = if self.training.is_some() { 2 } else { 3 };
        head(self.gates.len() < least || self.gates.len() >= 1 << 24, "number of gates is out of bounds")?;
        self.states_fit()?;
        let mut forms: Vec<Form> = Vec::with_capacity(self.gates.len());
        let mut used = vec![false; self.gates.len()];
        let mut taken = vec![false; self.gates.len()];
        let mut scheduled = 0;
        // Rearranged wires' masks are made again from the masks that they come from.
        let mut masks = vec![1u32; self.gates.len()];
        for (number, entry) in self.gates.iter().enumerate() {
            let refuse = |reason| CheckError::Gate { number, name: entry.name.clone(), reason };
            let earlier = entry.inputs.iter().all(|input| (*input as usize) < number);
            need(earlier, "it takes a result that is not there yet").map_err(refuse)?;
            let left = entry.inputs.iter().all(|input| !taken[*input as usize]);
            need(left, "it takes a result that an argmax has used up").map_err(refuse)?;
            entry.inputs.iter().for_each(|input| {
                used[*input as usize] = true;
                taken[*input as usize] |= matches!(entry.gate, Gate::ArgMax(_));
            });
            if masks_of_others(&entry.gate) {
                let made = entry.operands().iter().map(|input| masks[*input as usize]);
                masks[number] = made.fold(1, u32::saturating_add);
                need(masks[number] <= MASKS, "it is made of too many others").map_err(refuse)?;
            }
            let form = self.form(number, entry, &forms).and_then(|form| self.scale(entry).map(|()| form));
            let form = form.map_err(refuse)?;
            let nobody = matches!(form, Form::Wire { to: Receiver::Client, .. });
            need(!nobody, "an outside client is no party that a wire is known to").map_err(refuse)?;
            forms.push(form);
            scheduled += match &entry.gate {
                Gate::Arrange(gate) => gate.arrange.len,
                Gate::Max(gate) => gate.windows.pairs(gate.level),
                Gate::MaxBack(gate) => gate.windows.pairs(gate.level),
                Gate::Lookup(gate) => 1 << gate.width,
                _ => 0,
            };
            need(scheduled <= SCHEDULED, "with the gates before it, it moves and pairs too many values")
                .map_err(refuse)?;
        }
        let result = match self.reveal.what {
            Revealed::Nothing => matches!(self.gates.last(), Some(Entry { gate: Gate::Store(_), .. })),
            _ => matches!(self.gates.last(), Some(Entry { gate: Gate::Reveal(_), .. })),
        };
        head(!result, "gates do not end in a result")?;
        let ends = |entry: &Entry| matches!(entry.gate, Gate::Reveal(_) | Gate::Store(_));
        used.iter_mut().zip(&self.gates).for_each(|(used, entry)| *used |= ends(entry));
        head(used.contains(&false), "gates have results that nothing takes")?;
        let logits = self.reveal.what == Revealed::Logits;
        let scale = self.gates[self.gates.len() - 1].scale;
        head(logits && scale != self.output.scale, "output scale is not that of its gates")?;
        self.kept()
    }

    /// A training's batch and states are within bounds, before anything is computed from them.
    fn states_fit(&self) -> Result<(), CheckError> {
        let head = |wrong: bool, reason| if wrong { Err(CheckError::Head(reason)) } else { Ok(()) };
        let Some(training) = &self.training else { return Ok(()) };
        head(training.batch == 0 || training.batch > LARGEST, "batch is out of bounds")?;
        let fits = |state: &StateSpec| {
            let len = state.shape.iter().try_fold(1usize, |a, b| a.checked_mul(*b));
            len.is_some_and(|len| len > 0 && len <= LARGEST) && sensible(state.before) && sensible(state.after)
        };
        head(!training.states.iter().all(fits), "states are out of bounds")?;
        Ok(())
    }

    /// Each state is stored at most once.
    fn kept(&self) -> Result<(), CheckError> {
        let head = |wrong: bool, reason| if wrong { Err(CheckError::Head(reason)) } else { Ok(()) };
        let predicts = matches!(self.reveal.what, Revealed::Logits | Revealed::Label);
        let stores = self.gates.iter().any(|entry| matches!(entry.gate, Gate::Store(_)));
        // A model that stays shared answers outside clients, and nobody else.
        let answers = self.reveal.what == Revealed::Logits && self.for_clients() && !stores;
        head(predicts && self.training.is_some() && !answers, "result is not one of its kind")?;
        head(!predicts && self.training.is_none(), "result is not one of its kind")?;
        head(!predicts && self.for_clients(), "result of a training goes to outside clients, who bring no rows to it")?;
        let Some(training) = &self.training else { return Ok(()) };
        head(self.reveal.what == Revealed::Ranges && !self.measures(), "ranges are not measured as they must be")?;
        let mut stored = vec![0u32; training.states.len()];
        let stores =
            self.gates.iter().filter_map(|entry| if let Gate::Store(kept) = &entry.gate { Some(kept) } else { None });
        stores.for_each(|kept| stored[kept.state] += 1);
        head(stored.iter().any(|times| *times > 1), "states are stored twice")?;
        let changed =
            training.states.iter().zip(&stored).any(|(state, times)| *times == 0 && state.before != state.after);
        head(changed, "states change their scale and are not stored")
    }

    /// The result's scale follows from the operands'.
    fn scale(&self, entry: &Entry) -> Checked<()> {
        let of = |index: usize| self.gates[entry.inputs[index] as usize].scale;
        let own = entry.scale;
        need((-FRAC..=FRAC).contains(&own.frac) && (1..=FACTOR).contains(&own.factor), "its scale is out of bounds")?;
        let follows = match &entry.gate {
            Gate::Input(_) | Gate::Shared(_) => own.factor == 1,
            Gate::Linear(_) => own.factor == 1 && (own.frac - of(0).frac).abs() <= FRAC,
            Gate::Add(gate) => (0..entry.inputs.len()).all(|index| {
                let factor = gate.multipliers[index];
                // Training subtracts.
                let size = if self.training.is_some() { (factor as i64).unsigned_abs() } else { factor };
                scaled(of(index), size, own)
            }),
            Gate::Arrange(gate) => (0..entry.inputs.len()).all(|index| scaled(of(index), gate.multipliers[index], own)),
            Gate::Sum(shape) => {
                let counted = [0, 1].map(|axis| shape.factors[axis].first().map_or(0, |factor| u64::from(*factor)));
                own.frac == of(0).frac
                    && counted.iter().all(|factor| *factor > 0)
                    && own.factor.is_multiple_of(of(0).factor)
            }
            Gate::Open(gate) => own == Scale { frac: of(0).frac.saturating_sub(gate.window.shift as i32), ..of(0) },
            Gate::Multiply(_) => {
                i64::from(own.frac) == i64::from(of(0).frac) + i64::from(of(1).frac)
                    && u64::from(own.factor) == u64::from(of(0).factor) * u64::from(of(1).factor)
            }
            Gate::Subtract(_) => own == of(0) && own == of(1),
            Gate::Lookup(_) => true,
            Gate::ArgMax(_) => own == Scale::bits(0),
            Gate::State(_)
            | Gate::Store(_)
            | Gate::Product(_)
            | Gate::Reduce(_)
            | Gate::Spread(_)
            | Gate::Dropout(_)
            | Gate::Times(_)
            | Gate::ReluBack(_)
            | Gate::MaxBack(_) => self.trained_scale(entry, of),
            Gate::Reveal(_) if self.reveal.what == Revealed::Label => own == Scale::bits(0),
            Gate::Cut(_) | Gate::Max(_) | Gate::Relu(_) | Gate::Clip(_) | Gate::Truncate(_) | Gate::Reveal(_) => {
                own == of(0)
            }
        };
        need(follows, "its scale is not what its operands make it")
    }

    /// Values that the first gates bring: the item, or a batch's items and labels.
    fn brought(&self, number: usize) -> Checked<usize> {
        match (number, &self.training) {
            (0, None) => Ok(self.input_len()),
            (_, Some(training)) if number < INPUTS => {
                let per_item = if number == 0 { self.input_len() } else { self.output.classes };
                per_item.checked_mul(training.batch).ok_or("its length is out of bounds")
            }
            _ => Err("an input is no first gate"),
        }
    }

    /// The form of a gate's result; refuses operands that it does not take.
    fn form(&self, number: usize, entry: &Entry, forms: &[Form]) -> Checked<Form> {
        let operands: Vec<Form> = entry.inputs.iter().map(|input| forms[*input as usize]).collect();
        let gate = &entry.gate;
        match (gate, operands.as_slice()) {
            (Gate::Input(gate), []) => {
                need(gate.len == self.brought(number)?, "its length is not that of the input")?;
                need(self.training.is_some() || gate.owner == OWNER, "its owner is not the one that asks")?;
                need(!self.for_clients(), "it is a party's, and outside clients ask")?;
                Ok(Form::Wire { len: gate.len, to: Receiver::Both, of_owner: true })
            }
            (Gate::Shared(gate), []) => {
                need(
                    self.training.is_some() || self.for_clients(),
                    "it belongs to training or to outside clients, and this plan to neither",
                )?;
                need(gate.len == self.brought(number)?, "its length is not that of the input")?;
                Ok(Form::Share(gate.len))
            }
            (Gate::Linear(gate), [Form::Wire { len, to, .. }]) => self.linear(gate, *len, *to),
            (Gate::Add(gate), operands) => {
                need(
                    !operands.is_empty() && gate.multipliers.len() == operands.len(),
                    "its factors are not one an operand",
                )?;
                let fits = |form: &Form| matches!(form, Form::Share(len) | Form::Wire { len, .. } if *len == gate.len);
                need(operands.iter().all(fits), "its operands have another size or form")?;
                let constants = gate.constants.len();
                need(constants == 0 || self.training.is_some() && constants <= gate.len, "it adds constants")?;
                Ok(Form::Share(gate.len))
            }
            (Gate::Arrange(gate), operands) => {
                need(
                    !operands.is_empty() && gate.multipliers.len() == operands.len(),
                    "its factors are not one an operand",
                )?;
                need(gate.arrange.len > 0 && gate.arrange.len <= ARRANGED, "its result is out of bounds")?;
                let lens: Vec<usize> = operands.iter().map(len_of).collect();
                // A place of the result takes memory when it is checked.
                need(gate.arrange.len <= 4 * lens.iter().sum::<usize>() + (1 << 20), "its result is out of bounds")?;
                let near = |step: isize| step.unsigned_abs() <= LARGEST;
                let mut axes = gate.arrange.blocks.iter().flat_map(|block| &block.axes);
                need(axes.all(|axis| near(axis.from) && near(axis.to)), "it moves elements too far")?;
                need(gate.arrange.fits(&lens), "it moves elements that are not there, or two to one place")?;
                if let [Form::Narrow { width, .. }] = operands {
                    need(gate.multipliers == [1], "it scales a wire that is cut")?;
                    return Ok(Form::Narrow { len: gate.arrange.len, width: *width });
                }
                moved(operands, gate.arrange.len)
            }
            (Gate::Sum(shape), [operand]) => {
                need(valid_sum(shape), "its windows have no valid shape")?;
                need(shape.in_len() == len_of(operand), "its operand has another size")?;
                moved(&[*operand], shape.out_len())
            }
            (Gate::Open(gate), [Form::Share(len)]) => {
                need(gate.len == *len, "it opens another number of values")?;
                let window = gate.window;
                need(window.top <= self.ring && window.shift < window.top, "its window is not within the ring")?;
                if window.shift == 0 && window.top == self.ring {
                    return Ok(Form::Wire { len: *len, to: gate.to, of_owner: false });
                }
                need(window.width() >= 3, "its window is narrower than 3 bits")?;
                need(gate.to == Receiver::Both, "a window is opened to both")?;
                Ok(Form::Narrow { len: *len, width: window.width() })
            }
            (Gate::Cut(gate), [Form::Wire { len, to: Receiver::Both, of_owner: false }]) => {
                need(gate.len == *len, "its operand has another size")?;
                need((3..=self.ring).contains(&gate.width), "it cuts to fewer than 3 bits or to more than there are")?;
                Ok(Form::Narrow { len: *len, width: gate.width })
            }
            (
                Gate::State(_)
                | Gate::Store(_)
                | Gate::Product(_)
                | Gate::Reduce(_)
                | Gate::Spread(_)
                | Gate::Dropout(_)
                | Gate::Times(_)
                | Gate::ReluBack(_)
                | Gate::MaxBack(_),
                operands,
            ) => self.trained(entry, operands),
            (gate, [operand]) => self.compared(number, gate, *operand),
            (Gate::Subtract(gate), [Form::Narrow { len: a, width: of_a }, Form::Narrow { len: b, width: of_b }]) => {
                need(gate.len == *a && a == b, "its operands have another size")?;
                need(gate.width == *of_a && of_a == of_b, "its operands have another width")?;
                Ok(Form::Narrow { len: *a, width: *of_a })
            }
            (Gate::Multiply(gate), [a, b]) => {
                // A product takes both parties' parts of the masks, and of the owner's own words P0 has none.
                let both = |form: &Form| *form == Form::Wire { len: gate.len, to: Receiver::Both, of_owner: false };
                need(both(a) && both(b), "its operands are no wires of its size that both know")?;
                Ok(Form::Share(gate.len))
            }
            _ => Err("it does not take the operands that it is given"),
        }
    }

    fn linear(&self, gate: &Linear, len: usize, to: Receiver) -> Checked<Form> {
        let bounded = match &gate.shape {
            LinearShape::Conv(shape) => shape.validate().is_ok() && small(shape),
            LinearShape::Dense { inputs, outputs } => inputs.checked_mul(*outputs).is_some_and(|len| len <= LARGEST),
        };
        need(bounded, "it has no valid shape")?;
        need(gate.weights == self.weights, "its weights are not known to whom the plan says")?;
        need(gate.shape.in_len() == len, "its operand has another size")?;
        need(gate.shape.out_len() > 0 && gate.shape.out_len() <= LARGEST, "its output is out of bounds")?;
        let multiplier = match gate.weights {
            Weights::Held => HOLDER,
            Weights::Shared | Weights::Public => Party::P1,
        };
        let both = gate.weights != Weights::Shared || to == Receiver::Both;
        need(both && to.includes(multiplier), "its operand is not open to the party that multiplies")?;
        Ok(Form::Share(gate.shape.out_len()))
    }

    /// Gates that take a wire that both know, or a share, and have one operand.
    fn compared(&self, number: usize, gate: &Gate, operand: Form) -> Checked<Form> {
        let sized = |len: usize, width: u32, of: usize, own: u32| {
            need(len == of && width == own && width >= 3, "its wires have another size")
        };
        // A whole wire that both know is compared as it is when its width is the ring's.
        let narrow = match operand {
            Form::Wire { len, to: Receiver::Both, of_owner: false } => Some((len, self.ring)),
            Form::Narrow { len, width } => Some((len, width)),
            _ => None,
        };
        match (gate, narrow) {
            (Gate::Max(gate), Some((len, width))) => {
                need(valid(&gate.windows), "its windows have no valid shape")?;
                need(matches!(gate.windows, Windows::Pool(_)), "it has no pooling windows")?;
                need(gate.level < gate.windows.levels(), "it has no such level")?;
                need(compares(width - 1, gate.form), "its comparison has no such form")?;
                sized(len, width, gate.windows.len_before(gate.level), gate.width)?;
                Ok(Form::Narrow { len: gate.windows.len_before(gate.level + 1), width })
            }
            (Gate::Relu(gate), Some((len, width))) => {
                sized(len, width, gate.len, gate.width)?;
                need(signed(width, gate.sign, gate.form), "its sign is decided on too few bits, or in no such form")?;
                Ok(Form::Wire { len, to: gate.to, of_owner: false })
            }
            (Gate::Clip(gate), Some((len, width))) => {
                sized(len, width, gate.len, gate.width)?;
                need(signed(width, gate.sign, gate.form), "its sign is decided on too few bits, or in no such form")?;
                let bound = 1i64 << (width.min(62) - 1);
                need(
                    -bound < gate.lo && gate.lo < gate.hi && gate.hi < bound,
                    "its bounds are out of order or too far",
                )?;
                Ok(Form::Wire { len, to: gate.to, of_owner: false })
            }
            (Gate::Truncate(gate), Some((len, width))) => {
                sized(len, width, gate.len, gate.width)?;
                need(matches!(operand, Form::Narrow { .. }), "its operand is not cut")?;
                Ok(Form::Share(len))
            }
            (Gate::Lookup(gate), Some((len, width))) => {
                sized(len, width, gate.len, gate.width)?;
                need(width <= LOOKUP_WIDTH, "its operand has too many bits for a table")?;
                Ok(Form::Wire { len, to: gate.to, of_owner: false })
            }
            (Gate::ArgMax(gate), narrow) => {
                let (len, width, level) = match (operand, narrow) {
                    (Form::Ranked { len, width, level, of }, _) => {
                        need(of == gate.len, "it compares another number of values")?;
                        (len, width, level)
                    }
                    (_, Some((len, width))) => (len, width, 0),
                    _ => return Err("it does not take the operand that it is given"),
                };
                let windows = Windows::Row(gate.len);
                need(gate.level == level, "its levels are out of order")?;
                need(gate.len == self.output.classes, "it compares another number of values")?;
                need(gate.level < windows.levels(), "it has no such level")?;
                need(compares(width - 1, gate.form), "its comparison has no such form")?;
                let indices = width >= 3 && gate.len >> (width - 1).min(63) == 0;
                need(gate.width == width && indices, "its wires are too narrow for its indices")?;
                need(windows.len_before(gate.level) == len, "it compares another number of values")?;
                Ok(Form::Ranked { len: windows.len_before(gate.level + 1), width, level: level + 1, of: gate.len })
            }
            (Gate::Reveal(gate), _) => {
                need(number + 1 == self.gates.len(), "a result is the last gate")?;
                need(gate.to == self.reveal.to, "it reveals to another receiver than the plan says")?;
                let (len, width) = match operand {
                    Form::Share(len) => (len, self.ring),
                    Form::Wire { len, to, of_owner } => {
                        need(to == Receiver::Both || to == gate.to, "its wire is not known to the receiver")?;
                        need(!of_owner, "it reveals the input")?;
                        (len, self.ring)
                    }
                    Form::Ranked { len, width, .. } => (len, width),
                    Form::Narrow { .. } | Form::Result => return Err("it reveals no result"),
                };
                need(
                    (self.reveal.what == Revealed::Label) == matches!(operand, Form::Ranked { .. }),
                    "it reveals another kind of result",
                )?;
                // Gates of a training work on whole batches.
                let items = match (&self.training, self.reveal.what) {
                    (Some(training), Revealed::Logits) => training.batch,
                    _ => 1,
                };
                need(
                    gate.len == len && gate.width == width && Some(len) == self.revealed_len().checked_mul(items),
                    "it reveals another number of values",
                )?;
                Ok(Form::Result)
            }
            _ => Err("it does not take the operand that it is given"),
        }
    }
}

/// Whether the mask of a gate's wire is made again from other wires' masks.
fn masks_of_others(gate: &Gate) -> bool {
    matches!(
        gate,
        Gate::Arrange(_)
            | Gate::Sum(_)
            | Gate::Reduce(_)
            | Gate::Spread(_)
            | Gate::Dropout(_)
            | Gate::Times(_)
            | Gate::MaxBack(_)
    )
}

/// An operand of scale `of`, times `factor`, has scale `own`.
fn scaled(of: Scale, factor: u64, own: Scale) -> bool {
    let shift = i64::from(own.frac) - i64::from(of.frac);
    (0..62).contains(&shift) && u128::from(of.factor) * u128::from(factor) == u128::from(own.factor) << shift
}

fn len_of(form: &Form) -> usize {
    match form {
        Form::Share(len) | Form::Wire { len, .. } | Form::Narrow { len, .. } | Form::Ranked { len, .. } => *len,
        Form::Result => 0,
    }
}

/// What elements in other places are: shares, or wires known to whom all are known.
fn moved(operands: &[Form], len: usize) -> Checked<Form> {
    if operands.iter().all(|form| matches!(form, Form::Share(_))) {
        return Ok(Form::Share(len));
    }
    let mut known = None;
    let mut owner = false;
    for operand in operands {
        let Form::Wire { to, of_owner, .. } = operand else {
            return Err("its operands are not of one form");
        };
        owner |= of_owner;
        known = match known {
            None => Some(*to),
            Some(Receiver::Both) => Some(*to),
            Some(known) if known == *to || *to == Receiver::Both => Some(known),
            Some(_) => return Err("its operands are known to different parties"),
        };
    }
    Ok(Form::Wire { len, to: known.expect("it has operands"), of_owner: owner })
}

/// Whether a comparison on `bits` bits has the form.
fn compares(bits: u32, form: Comparison) -> bool {
    form == Comparison::Dpf || drelu::chunked(bits).is_some()
}

fn signed(width: u32, sign: Sign, form: Comparison) -> bool {
    let cut = match sign {
        Sign::Exact => 0,
        Sign::Coarse(bits) => bits,
    };
    (sign == Sign::Exact || cut > 0) && width >= 3 + cut.min(64) && compares(width - 1 - cut, form)
}

/// The geometry of sums over windows.
fn valid_sum(shape: &SumShape) -> bool {
    let axis = |axis: usize| {
        let windows = shape.factors[axis].len();
        let positive = [shape.input[axis], windows, shape.kernel[axis], shape.stride[axis], shape.dilation[axis]];
        positive.iter().all(|value| *value > 0 && *value < 1 << 16)
            && shape.pads[axis] < 1 << 16
            && shape.factors[axis].iter().all(|factor| *factor > 0 && *factor <= FACTOR)
    };
    let bounded = |sizes: [usize; 3]| {
        sizes.iter().try_fold(1usize, |a, b| a.checked_mul(*b)).is_some_and(|len| len > 0 && len <= LARGEST)
    };
    axis(0)
        && axis(1)
        && bounded([shape.channels, shape.input[0], shape.input[1]])
        && bounded([shape.channels, shape.factors[0].len(), shape.factors[1].len()])
}

/// A valid convolution's weights and padded input are within bounds, too.
fn small(shape: &ConvShape) -> bool {
    let [top, left, bottom, right] = shape.pads;
    let padded = shape.in_channels * (shape.in_height + top + bottom) * (shape.in_width + left + right);
    shape.weight_len() <= LARGEST && padded <= LARGEST
}

/// The geometry of a pooling, before anything is computed from it: every window has a place inside the image.
fn valid(windows: &Windows) -> bool {
    let Windows::Pool(pool) = windows else { return true };
    let axis = |axis: usize| {
        let (input, pad, dilation) = (pool.input[axis], pool.pads[axis], pool.dilation[axis]);
        let positive = [input, pool.output[axis], pool.kernel[axis], pool.stride[axis], dilation];
        let small =
            positive.iter().chain([&pad]).all(|value| *value < 1 << 16) && positive.iter().all(|value| *value > 0);
        small
            && (0..pool.output[axis]).all(|at| {
                let start = at * pool.stride[axis];
                let tap = pad.saturating_sub(start).div_ceil(dilation);
                tap < pool.kernel[axis] && start + tap * dilation < pad + input
            })
    };
    let candidates = [pool.channels, pool.output[0], pool.output[1], pool.kernel[0], pool.kernel[1]];
    let product = |sizes: &[usize]| sizes.iter().try_fold(1usize, |a, b| a.checked_mul(*b));
    let bounded = |sizes: &[usize]| product(sizes).is_some_and(|len| len > 0 && len <= LARGEST);
    axis(0) && axis(1) && bounded(&candidates) && bounded(&[pool.channels, pool.input[0], pool.input[1]])
}
