//! What a step stores: parameters and velocities, running statistics, counts.
//!
//! A velocity has f_v fractional bits, chosen so that the learning rate divided by the batch is an integer c below 2^6 at the
//! scale of the parameters: lr / batch = c·2^(f_v - f_w). So w -= c·v is local, and exact. The velocity's own step
//! v = momentum·v + g is a sum at the gradient's scale, rounded once. Velocities that are small beside what the parameters
//! tell apart keep more bits, and c·v is rounded, without bias, before it is taken off.

use ariann_gates::add::Add;
use ariann_graph::training::{Role, StepOp};

use super::build::{Builder, Held};
use super::scales::bits;
use crate::scales::ScaleError;
use crate::{CompileError, Gate, Kept, Scale};

/// Bits of the integer that a learning rate becomes: its relative error is below 2^-6.
const RATE_BITS: i32 = 6;
/// Bits of the greatest velocity at least.
const VELOCITY_BITS: i32 = 12;
/// The most bits that parameters are rounded by.
const LARGEST_SHIFT: i32 = 24;
/// Bits of momentum: 1 - momentum is then known to a hundredth for a momentum of 0.9.
const MOMENTUM_BITS: i32 = 9;
/// Bits of the factors of a running statistic.
const RUNNING_BITS: i32 = 10;

impl Builder<'_> {
    pub(super) fn update(&mut self, index: usize) -> Result<(), CompileError> {
        let node = &self.step.nodes[index];
        let StepOp::Update { state, velocity, lr, momentum, nesterov, weight_decay } = node.op else {
            unreachable!("an update")
        };
        let (name, inputs) = (node.name.as_str(), node.inputs.clone());
        let gradient = *inputs.last().expect("an update has a gradient");
        let (len, max, batch) = (self.len(gradient), self.scales.max(index), self.step.batch as f64);
        let (weights, master) = self.share(inputs[0])?;
        // The gradient's scale is that of the sum.
        let sums = if nesterov { 2.0 } else { 1.0 } * max;
        let most = self.scales.budget_of(sums.max(self.scales.max(gradient)));
        let held = self.share(gradient)?;
        let held = self.plain(name, held, most, self.scales.max(gradient), len)?;
        let gradient = self.cut(name, "gradient", held, held.1.frac - most, self.scales.max(gradient), len)?;
        let rate = lr / batch;
        let wanted = (f64::from(master.frac) + rate.log2()).ceil() as i32 - RATE_BITS;
        // The greatest change of a step must count.
        if max * rate * 2f64.powi(master.frac) < 1.0 {
            let least = 2f64.powi(-master.frac);
            return Err(CompileError::Rate { layer: name.to_string(), lr, least, max: max * rate });
        }
        // Small velocities keep bits that the parameters do not have; their change is rounded once more.
        let wanted = wanted.max(VELOCITY_BITS - bits(max));
        // A scale that another plan has left is kept where it fits: all rates of a schedule then have the same.
        let left = velocity.filter(|_| self.options.before.is_some()).map(|velocity| self.states[velocity].before.frac);
        // Where ranges were renewed and the velocity is small by now, it becomes finer.
        let left = left.filter(|left| left + MOMENTUM_BITS <= most).map(|left| left.max(VELOCITY_BITS - bits(max)));
        let wanted = left.unwrap_or(wanted);
        // A coarse gradient is brought to the bits that the velocity has room for.
        let fine = match velocity {
            Some(_) => gradient.1.frac.max((wanted + MOMENTUM_BITS).min(most)),
            None => gradient.1.frac,
        };
        let decay = weight_decay * batch;
        // A decay needs bits of the parameter; it gets them where there is room.
        let least = master.frac - LARGEST_SHIFT + RATE_BITS - decay.max(f64::MIN_POSITIVE).log2().floor() as i32;
        let fine = if decay > 0.0 { fine.max(least.min(most)) } else { fine };
        let frac = wanted.min(fine - if velocity.is_some() { MOMENTUM_BITS } else { 0 });
        let mut operands = vec![gradient];
        if velocity.is_some() {
            let mut held = self.share(inputs[1])?;
            if self.options.before.is_none() {
                // What the step before left, at the scale that this one leaves.
                held.1 = Scale::bits(frac);
            }
            // One that is finer than the sum, whose range has grown since, is rounded to leave the factor its bits.
            let held = self.cut(name, "remembered", held, held.1.frac + MOMENTUM_BITS - fine, max, len)?;
            operands.push(self.with(name, "momentum", held, momentum, fine, len));
        }
        // One that is a few units of the sum at most, beside a gradient of as few bits, is left out.
        if decay > 0.0 && fine >= least - 2 {
            let at = (fine + decay.log2().floor() as i32 - RATE_BITS).clamp(master.frac - LARGEST_SHIFT, master.frac);
            let max = self.scales.max(inputs[0]);
            let share = self.cut(name, "decaying", (weights, master), master.frac - at, max, len)?;
            operands.push(self.with(name, "decay", share, decay, fine, len));
        }
        let sum = self.added(name, &operands, len)?;
        let moved = self.cut(name, "velocity", sum, fine - frac, max, len)?;
        if let Some(velocity) = velocity {
            self.store(name, velocity, moved, len);
        }
        let moved = if nesterov && velocity.is_some() {
            let ahead = self.with(name, "ahead", moved, momentum, fine, len);
            let sum = self.added(name, &[gradient, ahead], len)?;
            self.cut(name, "nesterov", sum, fine - frac, sums, len)?
        } else {
            moved
        };
        let up = (frac - master.frac - rate.log2().ceil() as i32 + RATE_BITS).max(0);
        let constant = (rate * 2f64.powi(master.frac + up - frac)).round().max(1.0) as i64;
        let change = self.times(name, "rate", moved, rate, constant, Scale::bits(master.frac + up), len);
        let change = self.cut(name, "change", change, up, sums * rate, len)?;
        let stored = self.weighted(&format!("{name}/parameter"), &[(weights, master), change], &[1, -1], len)?;
        self.store(name, state, stored, len);
        Ok(())
    }

    /// A share times a positive constant, at `frac` fractional bits. One below a unit counts as a unit.
    fn with(&mut self, name: &str, part: &str, held: Held, by: f64, frac: i32, len: usize) -> Held {
        let factor = (by * 2f64.powi(frac - held.1.frac)).round() as i64;
        self.times(name, part, held, by, factor.max(1), Scale::bits(frac), len)
    }

    fn added(&mut self, name: &str, operands: &[Held], len: usize) -> Result<Held, CompileError> {
        if let [one] = operands { Ok(*one) } else { self.weighted(name, operands, &vec![1; operands.len()], len) }
    }

    fn store(&mut self, name: &str, state: usize, (share, scale): Held, len: usize) {
        self.states[state].after = scale;
        let role = match self.states[state].role {
            Role::Velocity => "store velocity",
            _ => "store",
        };
        self.push(name, role, &[share], scale, Gate::Store(Kept { state, len }));
    }

    /// r = (1 - m)·r + m·x.
    pub(super) fn running(&mut self, index: usize, state: usize, momentum: f64) -> Result<(), CompileError> {
        let node = &self.step.nodes[index];
        let (name, inputs) = (node.name.as_str(), node.inputs.clone());
        let (len, old) = (self.len(inputs[0]), self.share(inputs[0])?);
        // What is held at a scale is within it, even where the range has grown since.
        let held = old.1.unit() * 2f64.powi(self.scales.ring() - 2 - self.scales.margin()) / 1.01;
        let [of_old, of_new] = [self.scales.max(inputs[0]).min(held), self.scales.max(inputs[1])];
        let max = of_old.max(of_new);
        // As many bits as leave room for the factors.
        let frac = old.1.frac.min(self.scales.budget_of(max) - RUNNING_BITS);
        let old_at = self.cut(name, "statistic", old, old.1.frac - frac, of_old, len)?;
        let new = self.share(inputs[1])?;
        let new = self.plain(name, new, frac, of_new, len)?;
        let new = self.cut(name, "observed", new, new.1.frac - frac, of_new, len)?;
        let sum = frac + RUNNING_BITS;
        // Both have a unit at least, and are one together.
        let unit = 2f64.powi(-RUNNING_BITS);
        let momentum = ((momentum / unit).round() * unit).clamp(unit, 1.0 - unit);
        let kept = self.with(name, "kept", old_at, 1.0 - momentum, sum, len);
        let new = self.with(name, "moved", new, momentum, sum, len);
        let held = self.added(name, &[kept, new], len)?;
        // Back at its own scale, or at a coarser one when it has grown beyond what it was rehearsed with.
        let own = Scale::bits(old.1.frac.min(self.scales.kept(self.scales.max(index))));
        let held = self.cut(name, "rounded", held, sum - own.frac, max, len)?;
        let held = match own.frac - held.1.frac {
            1.. => {
                let gate =
                    Gate::Add(Add { len, multipliers: vec![1 << (own.frac - held.1.frac)], constants: Vec::new() });
                (self.push(name, "fine", &[held.0], own, gate), own)
            }
            _ => held,
        };
        self.store(name, state, held, len);
        Ok(())
    }

    pub(super) fn count(&mut self, index: usize, state: usize) -> Result<(), CompileError> {
        let node = &self.step.nodes[index];
        let name = node.name.as_str();
        let spec = &self.states[state];
        let (kept, scale) = (Kept { state, len: 1 }, spec.before);
        let before = self.push(name, "before", &[], scale, Gate::State(kept));
        let (one, of) = self.share(node.inputs[0])?;
        if of != scale || bits(self.scales.max(node.inputs[0])) > 30 {
            return Err(ScaleError::Range { layer: name.to_string() }.into());
        }
        let gate = Gate::Add(Add { len: 1, multipliers: vec![1, 1], constants: Vec::new() });
        let held = (self.push(name, "sum", &[before, one], scale, gate), scale);
        self.store(name, state, held, 1);
        Ok(())
    }
}
