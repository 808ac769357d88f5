//! Functions beyond the precision of a table, in the wide ring: e^x by the residue of the table's operand, 1/x and 1/√x by
//! Newton's steps from the table's value.

use ariann_gates::open::Open;
use ariann_gates::product::Product;
use ariann_gates::truncate::Truncate;
use ariann_gates::{Receiver, Window};
use ariann_graph::Function;
use ariann_ring::{Axes, Bilinear};

use super::build::{Builder, Held};
use super::scales::bits;
use crate::scales::LOOKUP_WIDTH;
use crate::{CompileError, Gate, Scale};

/// Fractional bits of values about one.
pub(super) const FRAC: i32 = 26;
/// Newton's steps for a root: each doubles the bits that are right.
const ROOT_STEPS: usize = 3;
/// And for an inverse.
const INVERSE_STEPS: usize = 2;

/// What a table was given.
pub(super) struct Operand {
    /// The node.
    pub index: usize,
    /// Its operand, a share of all its bits.
    pub value: Held,
    /// The narrow wire that the table reads.
    pub table: u32,
    /// Greatest magnitude of the operand.
    pub max: f64,
}

impl Builder<'_> {
    /// The wire of a function's node, from the table's.
    pub(super) fn refine(&mut self, operand: Operand, table: Held, function: Function) -> Result<(), CompileError> {
        let (name, index, len) = (self.name(operand.index), operand.index, self.len(operand.index));
        let held = match function {
            Function::Exp => self.power(name, &operand, table, len)?,
            Function::Reciprocal => self.inverse(name, &operand, table, len)?,
            Function::InverseRoot(epsilon) => self.root(name, index, &operand, table, epsilon, len)?,
            _ => table,
        };
        self.forms[index].wire = Some(held);
        Ok(())
    }

    /// Element by element: a share.
    fn times_each(&mut self, name: &str, part: &str, a: Held, b: Held, len: usize) -> Held {
        let of = Bilinear::Channels(Axes { outer: 1, kept: len, inner: 1 });
        let scale = Scale::bits(a.1.frac + b.1.frac);
        (self.push(name, part, &[a.0, b.0], scale, Gate::Product(Product { of })), scale)
    }

    /// A share as a wire of k bits with at most `frac` fractional bits.
    fn opened(
        &mut self,
        name: &str,
        part: &str,
        held: Held,
        frac: i32,
        max: f64,
        len: usize,
    ) -> Result<Held, CompileError> {
        let (share, scale) = self.cut(name, part, held, held.1.frac - frac, max, len)?;
        let window = Window { shift: 0, top: self.options.ring };
        let gate = Gate::Open(Open { len, window, to: Receiver::Both });
        Ok((self.push(name, part, &[share], scale, gate), scale))
    }

    /// e^x = e^t·(1 + (x - t)) for the table's operand t: the residue is below 2^-10.
    fn power(&mut self, name: &str, operand: &Operand, table: Held, len: usize) -> Result<Held, CompileError> {
        let entry = &self.gates[operand.table as usize];
        let (scale, width) = (entry.scale, LOOKUP_WIDTH);
        let top = self.push(name, "table share", &[operand.table], scale, Gate::Truncate(Truncate { len, width }));
        let operands = [operand.value, (top, scale)];
        let residue = self.weighted(&format!("{name}/residue"), &operands, &[1, -1], len)?;
        let wire = self.opened(name, "residue", residue, FRAC + 4, 2.0 * scale.unit(), len)?;
        let product = self.times_each(name, "slope", table, wire, len);
        let sum = self.weighted(&format!("{name}/refined"), &[product, table], &[1, 1], len)?;
        self.opened(name, "refined", sum, FRAC, 2.0, len)
    }

    /// r <- r + r·(1 - x·r), x up to the number of classes.
    fn inverse(&mut self, name: &str, operand: &Operand, table: Held, len: usize) -> Result<Held, CompileError> {
        let x = self.opened(name, "x", operand.value, FRAC, operand.max, len)?;
        let mut r = table;
        for _ in 0..INVERSE_STEPS {
            let near_one = self.times_each(name, "x·r", x, r, len);
            r = self.corrected(name, r, near_one, 1.0, 1.0, len)?;
        }
        Ok(r)
    }

    /// r <- r + r·(1 - (x + ε)·r²)/2.
    fn root(
        &mut self,
        name: &str,
        index: usize,
        operand: &Operand,
        table: Held,
        epsilon: u64,
        len: usize,
    ) -> Result<Held, CompileError> {
        let (of_x, of_r) = (bits(operand.max), bits(self.scales.max(index)));
        let x = self.opened(name, "x", operand.value, FRAC + 4 - of_x, operand.max, len)?;
        let epsilon = epsilon as f64 * 2f64.powi(-40);
        let mut r = table;
        for _ in 0..ROOT_STEPS {
            let square = self.times_each(name, "r·r", r, r, len);
            let square = self.opened(name, "r·r", square, FRAC - 2 * of_r, 2f64.powi(2 * of_r), len)?;
            let near_one = self.times_each(name, "x·r·r", x, square, len);
            // ε·r² is a share of r², scaled.
            let near_one = if epsilon > 0.0 {
                let share = self.shared(name, square, len);
                let up = near_one.1.frac - square.1.frac;
                let factor = (epsilon * 2f64.powi(up)).round() as i64;
                if factor > 0 {
                    let part = self.times(name, "ε·r·r", share, epsilon, factor, near_one.1, len);
                    self.weighted(&format!("{name}/with ε"), &[near_one, part], &[1, 1], len)?
                } else {
                    near_one
                }
            } else {
                near_one
            };
            r = self.corrected(name, r, near_one, 0.5, 2f64.powi(of_r), len)?;
        }
        Ok(r)
    }

    /// r + by·r·(1 - near_one): a wire.
    fn corrected(
        &mut self,
        name: &str,
        r: Held,
        near_one: Held,
        by: f64,
        max: f64,
        len: usize,
    ) -> Result<Held, CompileError> {
        let small = self.cut(name, "near one", near_one, near_one.1.frac - FRAC, 2.0, len)?;
        let gap = self.affine(&format!("{name}/gap"), &[small], &[-1], &[1.0], len)?;
        let gap = self.opened(name, "gap", gap, FRAC, 2.0, len)?;
        let product = self.times_each(name, "step", r, gap, len);
        let scale = Scale::bits(product.1.frac + if by == 0.5 { 1 } else { 0 });
        let product = self.times(name, "half", product, by, 1, scale, len);
        let sum = self.weighted(&format!("{name}/corrected"), &[r, product], &[1, 1], len)?;
        self.opened(name, "refined", sum, FRAC - bits(max), max, len)
    }
}
