//! A plan's gates, one after the other, for one party and the items of one run.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use ariann_device::Device;
use ariann_gates::add::Operand;
use ariann_gates::argmax::{Candidates, Ranked};
use ariann_gates::dropout::Dropout;
use ariann_gates::linear::{LayerWeights, Linear};
use ariann_gates::{Context, GateError, Keys, Level, Party, Receiver, Sections, Step};
use ariann_material::{Batch, BatchId};
use ariann_plan::{Entry, Gate, Plan};
use ariann_prg::{Prg, TreeHash};
use ariann_ring::Ring;

use crate::SessionError;
use crate::hooks::Observer;
use crate::masks::{OwnMasks, StepMasks};
use crate::report::GateTime;
pub use crate::sections::Dealt;
use crate::sections::Reading;

/// The channel to the other party.
pub trait Exchange {
    /// Sends `message` and receives the answer of `expected` bytes; either may be empty and is then not sent.
    /// `step` is the same number on both sides.
    fn exchange(
        &mut self,
        step: u32,
        message: Vec<u8>,
        expected: usize,
        waiting_for: &str,
    ) -> Result<Vec<u8>, SessionError>;
    /// The same, with the message of `own` bytes computed in pieces that leave while the next ones are computed.
    fn exchange_in_pieces(
        &mut self,
        step: u32,
        own: usize,
        compute: &mut dyn FnMut(Pieces<'_>) -> Result<(), SessionError>,
        expected: usize,
        waiting_for: &str,
    ) -> Result<Vec<u8>, SessionError> {
        let mut message = Vec::with_capacity(own);
        compute(&mut |piece| {
            message.extend_from_slice(piece);
            Ok(())
        })?;
        self.exchange(step, message, expected, waiting_for)
    }
    /// A gate begins; for progress.
    fn gate(&mut self, _number: u32, _name: &str) {}
}

/// Takes the pieces of a message.
pub type Pieces<'a> = &'a mut dyn FnMut(&[u8]) -> Result<(), SessionError>;

/// Bytes of the longest message that is sent in pieces: both sides may send all of it before they receive.
const TRANSFER: usize = 32 << 20;

/// Steps of a gate's exchanges: `gate * STEPS + exchange`.
pub const STEPS: u32 = 8;

/// A linear layer's weights at one party, by gate number.
pub type AllWeights<R, D> = BTreeMap<u32, LayerWeights<R, D>>;

/// Material of one batch, opened for use.
pub struct Opened {
    /// Its id.
    pub id: BatchId,
    /// As dealt.
    pub dealt: Dealt,
    /// What this party prepared from it; none when it prepares nothing.
    pub prepared: Option<Batch>,
    /// The party's seed.
    pub prg: Prg,
    /// The batch's tree hash.
    pub hash: TreeHash,
}

/// What follows from a plan once and serves every run.
pub struct Schedule {
    /// The pairs of each level of a maximum.
    levels: BTreeMap<u32, Level>,
    /// Tables of the lookups.
    lookups: BTreeMap<u32, ariann_gates::lookup::Lookup>,
    /// The last gate that reads a gate's result.
    last: Vec<usize>,
    /// The last gate that takes a gate's bits.
    kept: BTreeMap<u32, u32>,
}

impl Schedule {
    /// Of `plan`.
    pub fn new(plan: &Plan) -> Self {
        let (levels, lookups) = (BTreeMap::new(), BTreeMap::new());
        let mut schedule = Schedule { levels, lookups, last: plan.last_uses(), kept: plan.kept_bits() };
        for (number, entry) in plan.gates.iter().enumerate() {
            match &entry.gate {
                // Backwards the same pairs meet.
                Gate::Max(gate) => drop(schedule.levels.insert(number as u32, gate.level())),
                Gate::Lookup(gate) => {
                    let operand = plan.gates[entry.inputs[0] as usize].scale;
                    schedule.lookups.insert(number as u32, gate.gate(operand, entry.scale));
                }
                _ => {}
            }
        }
        schedule
    }

    /// The pairs of gate `number`, a level of a maximum.
    pub fn level(&self, number: u32) -> &Level {
        &self.levels[&number]
    }

    /// Gate `number`, a lookup, with its table.
    pub fn lookup(&self, number: u32) -> &ariann_gates::lookup::Lookup {
        &self.lookups[&number]
    }

    /// Whether a later gate takes the bits of gate `number`.
    pub fn keeps_bits(&self, number: u32) -> bool {
        self.kept.contains_key(&number)
    }

    /// The last gate that takes the bits of gate `number`.
    pub fn last_use_of_bits(&self, number: u32) -> Option<u32> {
        self.kept.get(&number).copied()
    }

    /// The last gate that reads the result of gate `number`.
    pub fn last_use(&self, number: u32) -> usize {
        self.last[number as usize]
    }
}

/// What a party brings to a run.
pub struct Given<'a, R> {
    /// Its own inputs, items one after the other, by the number of the gate; none for those of the other party. Of what
    /// outsiders shared, its share.
    pub inputs: [Option<&'a [R]>; 2],
    /// Its shares of the plan's states. A run that succeeds renews those that the plan stores, another one leaves all as
    /// they are.
    pub states: Option<&'a mut Vec<Vec<R>>>,
    /// The public seed of the patterns of dropout, and the number of the step.
    pub dropout: [u64; 2],
}

impl<R> Default for Given<'_, R> {
    fn default() -> Self {
        Given { inputs: [None; 2], states: None, dropout: [0; 2] }
    }
}

impl<'a, R> Given<'a, R> {
    /// A prediction's: the encoded items, at their owner.
    pub fn items(input: Option<&'a [R]>) -> Self {
        Given { inputs: [input, None], ..Given::default() }
    }
}

/// One party's view of a run.
pub struct Engine<'a, R: Ring, D: Device> {
    /// The plan.
    pub plan: &'a Plan,
    /// What follows from it.
    pub schedule: &'a Schedule,
    /// Where to compute.
    pub device: &'a D,
    /// Which party this is.
    pub party: Party,
    /// Its weights.
    pub weights: &'a AllWeights<R, D>,
}

/// A gate's result at one party.
enum Value<R: Ring, D: Device> {
    Share(D::Words<R>),
    /// The masked value, at a party that knows it.
    Wire(Option<D::Words<R>>),
    Ranked(Candidates<D::Words<R>>),
    /// Of a gate without one, or of one whose last reader is done.
    Gone,
}

/// What is the same for all gates of a run.
struct Run<'a, R: Ring, D: Device> {
    material: &'a Opened,
    slots: Range<u32>,
    inputs: [Option<&'a [R]>; 2],
    states: Option<&'a [Vec<R>]>,
    dropout: [u64; 2],
    dealt: &'a Reading<'a>,
    prepared: Option<&'a Reading<'a>>,
    values: Vec<Value<R, D>>,
    /// d̂ of gates whose bits a later gate takes.
    bits: BTreeMap<u32, D::Bits>,
    /// What becomes of states when the run succeeds.
    stored: Vec<(usize, D::Words<R>)>,
    /// What was revealed to this party.
    result: Option<D::Words<R>>,
    link: &'a mut dyn Exchange,
    observer: &'a mut dyn Observer,
    /// Time and bytes of the gate at work.
    time: GateTime,
}

impl<R: Ring, D: Device> Run<'_, R, D> {
    fn items(&self) -> usize {
        self.slots.len()
    }

    fn words(&self, gate: u32) -> &D::Words<R> {
        match &self.values[gate as usize] {
            Value::Share(words) | Value::Wire(Some(words)) => words,
            _ => unreachable!("a checked plan"),
        }
    }

    fn masked(&self, gate: u32) -> Option<&D::Words<R>> {
        match &self.values[gate as usize] {
            Value::Wire(masked) => masked.as_ref(),
            _ => unreachable!("a checked plan"),
        }
    }
}

impl<R: Ring, D: Device> Engine<'_, R, D> {
    /// Runs all gates for the items of `slots`, which are reserved. `times` gains what each gate took. Returns the result at
    /// a party that the plan reveals one to.
    pub fn run(
        &self,
        material: &Opened,
        slots: Range<u32>,
        given: Given<'_, R>,
        link: &mut dyn Exchange,
        observer: &mut dyn Observer,
        times: &mut Vec<GateTime>,
    ) -> Result<Option<Vec<R>>, SessionError> {
        times.resize(self.plan.gates.len(), GateTime::default());
        let values = Vec::with_capacity(self.plan.gates.len());
        let dealt = Reading::online(&material.dealt, slots.clone(), self.plan)?;
        let prepared =
            material.prepared.as_ref().map(|batch| Reading::of_linear(batch, slots.clone(), self.plan)).transpose()?;
        let (dealt, prepared) = (&dealt, prepared.as_ref());
        assert!(self.plan.training.is_none() || slots.len() == 1, "a batch of training is one item");
        let Given { inputs, states, dropout } = given;
        let mut run = Run {
            material,
            slots,
            inputs,
            states: states.as_ref().map(|states| states.as_slice()),
            dropout,
            dealt,
            prepared,
            values,
            bits: BTreeMap::new(),
            stored: Vec::new(),
            result: None,
            link,
            observer,
            time: GateTime::default(),
        };
        for (number, entry) in self.plan.gates.iter().enumerate() {
            let number = number as u32;
            run.link.gate(number, &entry.name);
            run.time = GateTime::default();
            let began = Instant::now();
            let value = self.gate(&mut run, number, entry)?;
            run.values.push(value);
            for input in entry.operands().iter().filter(|input| self.schedule.last_use(**input) == number as usize) {
                run.values[*input as usize] = Value::Gone;
            }
            if let Some(bits) = entry.bits().filter(|bits| self.schedule.last_use_of_bits(*bits) == Some(number)) {
                run.bits.remove(&bits);
            }
            run.time.seconds = began.elapsed().as_secs_f64();
            times[number as usize].add(&run.time);
        }
        let Run { stored, result, .. } = run;
        if let Some(states) = states {
            stored.into_iter().for_each(|(state, share)| states[state] = self.device.download(&share));
        }
        Ok(result.map(|words| self.device.download(&words)))
    }

    fn context<'b>(&'b self, material: &'b Opened, slots: &Range<u32>, gate: u32) -> Context<'b, D> {
        let Opened { prg, hash, .. } = material;
        Context { party: self.party, device: self.device, prg, hash, gate, slots: slots.clone() }
    }

    fn named(&self, gate: u32) -> impl Fn(GateError) -> SessionError + use<'_, R, D> {
        let plan = self.plan;
        move |source| SessionError::Gate { gate, name: plan.gates[gate as usize].name.clone(), source }
    }

    /// Exchange `index` of `gate`: this party's message out, the other's in, its length from the plan.
    fn swap(
        &self,
        run: &mut Run<'_, R, D>,
        gate: u32,
        index: usize,
        message: Vec<u8>,
    ) -> Result<Vec<u8>, SessionError> {
        let traffic = self.plan.cost(gate as usize).exchanges[index];
        let items = run.slots.len();
        assert_eq!(
            message.len(),
            traffic[self.party as usize].bytes(items),
            "a message has the length that the plan gives it"
        );
        let expected = traffic[ariann_gates::other(self.party) as usize].bytes(items);
        if !message.is_empty() {
            run.observer.sending(run.material.id, run.slots.clone(), gate, index as u32, &message);
        }
        let name = &self.plan.gates[gate as usize].name;
        let waiting_for = format!("gate {gate} {name}");
        run.time.bytes_sent += message.len() as u64;
        let began = Instant::now();
        let theirs = run.link.exchange(gate * STEPS + index as u32, message, expected, &waiting_for);
        run.time.exchange_seconds += began.elapsed().as_secs_f64();
        theirs
    }

    /// The one exchange of an opening: `compute` hands the message over in pieces, which leave while it goes on.
    fn swap_in_pieces(
        &self,
        run: &mut Run<'_, R, D>,
        gate: u32,
        compute: &mut dyn FnMut(Pieces<'_>) -> Result<(), SessionError>,
    ) -> Result<Vec<u8>, SessionError> {
        let traffic = self.plan.cost(gate as usize).exchanges[0];
        let bytes = |party: Party| traffic[party as usize].bytes(run.slots.len());
        let (own, theirs) = (bytes(self.party), bytes(ariann_gates::other(self.party)));
        if own > TRANSFER || run.observer.wants_messages() {
            let mut message = Vec::with_capacity(own);
            compute(&mut |piece| {
                message.extend_from_slice(piece);
                Ok(())
            })?;
            return self.swap(run, gate, 0, message);
        }
        let waiting_for = format!("gate {gate} {}", self.plan.gates[gate as usize].name);
        run.time.bytes_sent += own as u64;
        let began = Instant::now();
        let mut computing = Duration::ZERO;
        let mut timed = |send: Pieces<'_>| {
            let began = Instant::now();
            let done = compute(send);
            computing += began.elapsed();
            done
        };
        let theirs = run.link.exchange_in_pieces(gate * STEPS, own, &mut timed, theirs, &waiting_for);
        run.time.exchange_seconds += (began.elapsed().saturating_sub(computing)).as_secs_f64();
        theirs
    }

    /// All exchanges of a gate from its first step on.
    fn finish<T, S>(
        &self,
        run: &mut Run<'_, R, D>,
        gate: u32,
        mut step: Step<T, S>,
        mut next: impl FnMut(S, &Context<'_, D>, &[u8]) -> Result<Step<T, S>, GateError>,
    ) -> Result<T, SessionError> {
        let mut index = 0;
        loop {
            match step {
                Step::Done(value) => return Ok(value),
                Step::Exchange(message, state) => {
                    let theirs = self.swap(run, gate, index, message)?;
                    let ctx = self.context(run.material, &run.slots, gate);
                    step = next(state, &ctx, &theirs).map_err(self.named(gate))?;
                    index += 1;
                }
            }
        }
    }

    fn own_mask(&self, run: &Run<'_, R, D>, gate: u32) -> Option<D::Words<R>> {
        let Engine { plan, device, party, .. } = *self;
        let step = Some(StepMasks { schedule: self.schedule, dropout: run.dropout });
        OwnMasks { plan, device, party, prg: &run.material.prg, slots: run.slots.clone(), step }.of(gate)
    }

    fn gate(&self, run: &mut Run<'_, R, D>, number: u32, entry: &Entry) -> Result<Value<R, D>, SessionError> {
        let (material, dealt) = (run.material, run.dealt);
        let ctx = self.context(material, &run.slots, number);
        let failed = self.named(number);
        let stored = dealt.of(number);
        // The operand is taken out of the run while its gate works, so that the gate may borrow it.
        let first = entry.inputs.first().copied();
        Ok(match &entry.gate {
            Gate::Input(gate) => {
                let masked = match run.inputs[number as usize].filter(|_| self.party == gate.owner) {
                    Some(x) => {
                        let (masked, message) = gate.send(&ctx, self.device.upload(x));
                        self.swap(run, number, 0, message)?;
                        masked
                    }
                    None => {
                        let message = self.swap(run, number, 0, Vec::new())?;
                        gate.receive(&ctx, &message).map_err(failed)?
                    }
                };
                Value::Wire(Some(masked))
            }
            Gate::Shared(gate) => {
                let share = run.inputs[number as usize].expect("both have a share of what outsiders brought");
                assert_eq!(share.len(), gate.len * run.items(), "a share has the length that the plan gives it");
                Value::Share(self.device.upload(share))
            }
            Gate::Linear(gate) => {
                let source = entry.inputs[0];
                let prepared = self.prepared(run, gate, number)?;
                let own = if gate.needs_own_mask(self.party) { self.own_mask(run, source) } else { None };
                Value::Share(gate.share(&ctx, &self.weights[&number], run.masked(source), own, prepared))
            }
            Gate::Add(gate) => Value::Share(gate.share(&ctx, self.operands(run, entry))),
            Gate::Arrange(gate) => {
                let known = entry.inputs.iter().all(|input| !matches!(run.values[*input as usize], Value::Wire(None)));
                let operands = || entry.inputs.iter().map(|input| run.words(*input)).collect::<Vec<_>>();
                let moved = known.then(|| gate.apply(self.device, run.items(), &operands()));
                self.moved(run, entry.inputs[0], moved)
            }
            Gate::Sum(shape) => {
                let items = run.items();
                self.moved_one(run, entry.inputs[0], |x| self.device.sum(items, shape, x))
            }
            Gate::Open(gate) => {
                let share = run.words(entry.inputs[0]);
                if run.observer.wants_shares() {
                    let words = self.device.download(share).into_iter().map(R::to_u64).collect();
                    run.observer.opening(number, words);
                }
                let share = self.take_share(run, entry.inputs[0]);
                let mut opening = None;
                let theirs = self.swap_in_pieces(run, number, &mut |send| {
                    opening = Some(gate.start_in_pieces(&ctx, &share, send)?);
                    Ok(())
                })?;
                run.values[entry.inputs[0] as usize] = Value::Share(share);
                let opening = opening.expect("an exchange computes its message");
                Value::Wire(opening.finish(&ctx, &theirs).map_err(failed)?)
            }
            Gate::Cut(gate) => Value::Wire(Some(gate.apply(self.device, run.words(entry.inputs[0])))),
            Gate::Subtract(gate) => {
                let [a, b] = [entry.inputs[0], entry.inputs[1]].map(|gate| run.words(gate));
                Value::Wire(Some(gate.apply(self.device, a, b)))
            }
            Gate::Max(gate) => {
                let x = self.take(run, first);
                let step = gate.start(&ctx, &stored, self.schedule.level(number), &x).map_err(failed)?;
                let mut kept = None;
                let y =
                    self.finish(run, number, step, |state, ctx, theirs| state.next_keeping(ctx, theirs, &mut kept))?;
                self.keep(run, number, kept);
                self.give(run, first, x);
                Value::Wire(Some(y))
            }
            Gate::Relu(gate) => {
                let x = self.take(run, first);
                let step = gate.start(&ctx, &stored, &x).map_err(failed)?;
                let mut kept = None;
                let y =
                    self.finish(run, number, step, |state, ctx, theirs| state.next_keeping(ctx, theirs, &mut kept))?;
                self.keep(run, number, kept);
                self.give(run, first, x);
                Value::Wire(y)
            }
            Gate::Clip(gate) => {
                let x = self.take(run, first);
                let step = gate.start(&ctx, &stored, &x).map_err(failed)?;
                let y = self.finish(run, number, step, |state, ctx, theirs| state.next(ctx, theirs))?;
                self.give(run, first, x);
                Value::Wire(y)
            }
            Gate::Lookup(_) => {
                let x = self.take(run, first);
                let step = self.schedule.lookup(number).start(&ctx, &stored, &x).map_err(failed)?;
                let y = self.finish(run, number, step, |state, ctx, theirs| state.next(ctx, theirs))?;
                self.give(run, first, x);
                Value::Wire(y)
            }
            Gate::Multiply(gate) => {
                let [a, b] = [entry.inputs[0], entry.inputs[1]];
                let own =
                    [a, b].map(|gate| self.own_mask(run, gate).expect("both have a part in an opened wire's mask"));
                let product = gate.share(&ctx, &stored, [run.words(a), run.words(b)], [&own[0], &own[1]]);
                Value::Share(product.map_err(failed)?)
            }
            Gate::Truncate(gate) => {
                Value::Share(gate.share(&ctx, &stored, run.words(entry.inputs[0])).map_err(failed)?)
            }
            Gate::ArgMax(gate) => {
                let state = match std::mem::replace(&mut run.values[entry.inputs[0] as usize], Value::Gone) {
                    Value::Ranked(state) => state,
                    Value::Wire(Some(value)) => {
                        let index = self.device.upload(&gate.indices::<R>(run.items()));
                        let own_index_mask = self.device.zeros(run.items() * gate.len);
                        Candidates { open: Ranked { value, index }, own_index_mask }
                    }
                    _ => unreachable!("a checked plan"),
                };
                let step = gate.start(&ctx, &stored, state).map_err(failed)?;
                Value::Ranked(self.finish(run, number, step, |state, ctx, theirs| state.next(ctx, theirs))?)
            }
            Gate::Reveal(gate) => {
                let source = entry.inputs[0];
                let (opening, message) = match std::mem::replace(&mut run.values[source as usize], Value::Gone) {
                    Value::Share(share) => gate.share(&ctx, share),
                    Value::Ranked(state) => gate.wire(&ctx, Some(&state.open.index), state.own_index_mask),
                    Value::Wire(masked) => {
                        let own = self.own_mask(run, source).expect("both have a part in an opened wire's mask");
                        gate.wire(&ctx, masked.as_ref(), own)
                    }
                    _ => unreachable!("a checked plan"),
                };
                let theirs = match gate.to {
                    Receiver::Client => Vec::new(),
                    _ => self.swap(run, number, 0, message)?,
                };
                run.result = gate.finish(&ctx, opening, &theirs).map_err(failed)?;
                Value::Gone
            }
            Gate::State(kept) => {
                let states = run.states.expect("a step of training is given its states");
                Value::Share(self.device.upload(&states[kept.state]))
            }
            Gate::Store(kept) => {
                let share = self.device.copy(run.words(entry.inputs[0]));
                run.stored.push((kept.state, share));
                Value::Gone
            }
            Gate::Product(gate) => {
                let [a, b] = [entry.inputs[0], entry.inputs[1]];
                let own = [a, b].map(|gate| self.own_mask(run, gate));
                Value::Share(gate.share(&ctx, &stored, [run.words(a), run.words(b)], own).map_err(failed)?)
            }
            Gate::Reduce(gate) => self.moved_one(run, entry.inputs[0], |x| gate.apply(self.device, x)),
            Gate::Spread(gate) => self.moved_one(run, entry.inputs[0], |x| gate.apply(self.device, x)),
            Gate::Dropout(gate) => {
                let pattern = pattern(run.dropout, gate);
                self.moved_one(run, entry.inputs[0], |x| gate.apply(self.device, x, &pattern))
            }
            Gate::Times(gate) => self.moved_one(run, entry.inputs[0], |x| {
                let mut scaled = self.device.copy(x);
                self.device.scale(&mut scaled, gate.factor as u64);
                scaled
            }),
            Gate::ReluBack(gate) => {
                let bits = &run.bits[&entry.bits().expect("a checked plan")];
                let started = gate.start(&ctx, &stored, bits, run.words(entry.inputs[0]));
                let (opening, message) = started.map_err(self.named(number))?;
                let theirs = self.swap(run, number, 0, message)?;
                Value::Wire(opening.finish(&ctx, &theirs).map_err(failed)?)
            }
            Gate::MaxBack(gate) => {
                let forward = entry.bits().expect("a checked plan");
                let (level, g) = (self.schedule.level(forward), entry.inputs[0]);
                let started = gate.start(&ctx, &stored, level, &run.bits[&forward], run.words(g));
                let (opening, message) = started.map_err(self.named(number))?;
                let theirs = self.swap(run, number, 0, message)?;
                let before = gate.finish(&ctx, level, run.words(g), opening, &theirs);
                Value::Wire(Some(before.map_err(failed)?))
            }
        })
    }

    /// Takes a masked operand out of the run while its gate exchanges messages.
    fn take(&self, run: &mut Run<'_, R, D>, gate: Option<u32>) -> D::Words<R> {
        let gate = gate.expect("a checked plan") as usize;
        match std::mem::replace(&mut run.values[gate], Value::Gone) {
            Value::Wire(Some(words)) => words,
            _ => unreachable!("a checked plan"),
        }
    }

    /// The same of a share.
    fn take_share(&self, run: &mut Run<'_, R, D>, gate: u32) -> D::Words<R> {
        match std::mem::replace(&mut run.values[gate as usize], Value::Gone) {
            Value::Share(words) => words,
            _ => unreachable!("a checked plan"),
        }
    }

    fn give(&self, run: &mut Run<'_, R, D>, gate: Option<u32>, words: D::Words<R>) {
        run.values[gate.expect("a checked plan") as usize] = Value::Wire(Some(words));
    }

    /// Keeps d̂ where a later gate takes it.
    fn keep(&self, run: &mut Run<'_, R, D>, number: u32, bits: Option<D::Bits>) {
        if let Some(bits) = bits.filter(|_| self.schedule.keeps_bits(number)) {
            run.bits.insert(number, bits);
        }
    }

    /// What `work` makes of a share is a share, of a wire a wire.
    fn moved_one(
        &self,
        run: &Run<'_, R, D>,
        source: u32,
        work: impl FnOnce(&D::Words<R>) -> D::Words<R>,
    ) -> Value<R, D> {
        let known = !matches!(run.values[source as usize], Value::Wire(None));
        self.moved(run, source, known.then(|| work(run.words(source))))
    }

    /// Elements in other places: a share of shares, a wire of wires.
    fn moved(&self, run: &Run<'_, R, D>, source: u32, words: Option<D::Words<R>>) -> Value<R, D> {
        match (&run.values[source as usize], words) {
            (Value::Share(_), Some(words)) => Value::Share(words),
            (_, words) => Value::Wire(words),
        }
    }

    /// The operands of a sum. A wire is counted by P0 where P0 knows it, by P1 otherwise.
    fn operands<'b>(&self, run: &'b Run<'_, R, D>, entry: &Entry) -> Vec<Operand<'b, D::Words<R>>> {
        let operand = |input: &u32| match &run.values[*input as usize] {
            Value::Share(share) => Operand::Share(share),
            Value::Wire(masked) => {
                let counts = match self.plan.wire_to(*input) {
                    Receiver::P1 => Party::P1,
                    Receiver::P0 | Receiver::Both | Receiver::Client => Party::P0,
                };
                Operand::Wire {
                    masked: masked.as_ref().filter(|_| counts == self.party),
                    own_mask: self.own_mask(run, *input),
                }
            }
            _ => unreachable!("a checked plan"),
        };
        entry.inputs.iter().map(operand).collect()
    }

    /// What this party prepared for a linear gate.
    fn prepared(&self, run: &Run<'_, R, D>, linear: &Linear, gate: u32) -> Result<Option<D::Words<R>>, SessionError> {
        let Some(prepared) = run.prepared.filter(|_| linear.prepares(self.party)) else {
            return Ok(None);
        };
        let stored = prepared.of(gate);
        let mut bytes = vec![0; stored.section_len() * run.slots.len()];
        stored.read(0..run.slots.len(), &mut bytes).map_err(|source| self.named(gate)(GateError::Sections(source)))?;
        let keys = Keys { sections: &bytes, section_len: stored.section_len() };
        let words = self.device.unpack(keys, 0, linear.shape.out_len(), R::BITS);
        words.map(Some).map_err(|source| self.named(gate)(GateError::Material(source)))
    }
}

/// The pattern of a gate of the step `dropout`, a public seed and a number.
pub(crate) fn pattern([seed, step]: [u64; 2], gate: &Dropout) -> Vec<bool> {
    ariann_graph::training::pattern(seed, step, gate.pattern, gate.len, gate.keep)
}

/// Who the plan says receives the result.
pub fn receives(plan: &Plan, party: Party) -> bool {
    plan.reveal.to.includes(party)
}
