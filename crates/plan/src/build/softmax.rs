//! Softmax within a model: the greatest value by a tree, e^x and 1/x by lookup; nothing is opened but masked values.

use ariann_gates::add::Add;
use ariann_gates::arrange::Rearrange;
use ariann_gates::max::Max;
use ariann_gates::multiply::Multiply;
use ariann_gates::open::Open;
use ariann_gates::subtract::Subtract;
use ariann_gates::{Pooling, Receiver, SumShape, Window, Windows};
use ariann_graph::{Function, Node};
use ariann_ring::Arrange;
use ariann_ring::arrange::{Axis, Block};

use super::layers::unsupported;
use super::{Builder, Choice};
use crate::compile::CompileError;
use crate::gate::Lookup;
use crate::scales::LOOKUP_WIDTH;
use crate::{Gate, Scale};

/// Fractional bits of e^x, which is at most 1, and of 1/Σ e^x.
const FRAC: i32 = 14;

impl Builder<'_> {
    pub(super) fn softmax(&mut self, node: &Node, row: usize) -> Result<(), CompileError> {
        let (name, len) = (node.name.clone(), node.len());
        let rows = len / row;
        let (x, scale, width) = self.operand_of_lookup(node.inputs[0])?;
        // The sum of a row's powers, in bits that a lookup takes.
        let top = FRAC as u32 + (row as u32).next_power_of_two().ilog2() + 2;
        if width > LOOKUP_WIDTH || top > self.head.ring {
            return Err(unsupported(node, "its rows are too long for the ring"));
        }
        let windows = Windows::Pool(Pooling {
            channels: rows,
            input: [1, row],
            output: [1, 1],
            kernel: [1, row],
            stride: [1, 1],
            pads: [0, 0],
            dilation: [1, 1],
        });
        let mut greatest = x;
        for level in 0..windows.levels() {
            let gate = Gate::Max(Max { windows: windows.clone(), level, width, form: self.form() });
            greatest = self.push(&name, &format!("max {}", level + 1), &[greatest], scale, gate);
        }
        let greatest = self.push(&name, "spread maximum", &[greatest], scale, spread(rows, row));
        let below = self.push(&name, "subtract", &[x, greatest], scale, Gate::Subtract(Subtract { len, width }));
        let one = Scale::bits(FRAC);
        let powers = Lookup { len, width, to: Receiver::Both, function: Function::Exp };
        let powers = self.push(&name, "exp", &[below], one, Gate::Lookup(powers));
        let sums = SumShape {
            channels: rows,
            input: [1, row],
            kernel: [1, row],
            stride: [1, 1],
            pads: [0, 0],
            dilation: [1, 1],
            factors: [vec![1], vec![1]],
        };
        let sums = self.push(&name, "sum", &[powers], one, Gate::Sum(sums));
        let sums = self.push(
            &name,
            "share",
            &[sums],
            one,
            Gate::Add(Add { len: rows, multipliers: vec![1], constants: Vec::new() }),
        );
        let window = Window { shift: top.saturating_sub(LOOKUP_WIDTH), top };
        let cut = Scale::bits(FRAC - window.shift as i32);
        let open = Gate::Open(Open { len: rows, window, to: Receiver::Both });
        let sums = self.push(&name, "sum operand", &[sums], cut, open);
        let inverse = Lookup { len: rows, width: window.width(), to: Receiver::Both, function: Function::Reciprocal };
        let inverse = self.push(&name, "reciprocal", &[sums], one, Gate::Lookup(inverse));
        let inverse = self.push(&name, "spread reciprocal", &[inverse], one, spread(rows, row));
        if let Choice::Ranges { scales, .. } = &mut self.choice {
            // Each power and the inverse are off by half a unit, the sum by that of its powers and by its own rounding.
            let units = 0.5 * row as f64 + 1.5 * 2f64.powi(window.shift as i32) + 2.0;
            scales.note(node.output, &node.inputs, units * one.unit());
        }
        let product = Scale::bits(2 * FRAC);
        let shares = self.push(&name, "", &[powers, inverse], product, Gate::Multiply(Multiply { len }));
        self.give_share(node.output, shares, product);
        Ok(())
    }
}

/// One value a row, for each place of the row.
fn spread(rows: usize, row: usize) -> Gate {
    let axes = vec![Axis { len: rows, from: 1, to: row as isize }, Axis { len: row, from: 0, to: 1 }];
    let arrange = Arrange { len: rows * row, blocks: vec![Block { source: 0, from: 0, to: 0, axes }] };
    Gate::Arrange(Rearrange { arrange, multipliers: vec![1] })
}
