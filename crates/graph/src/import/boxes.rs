//! Rearrangements by axes: for each axis runs of places, and the boxes that these make.

use ariann_ring::arrange::{Arrange, Axis, Block};

/// Places `start`, `start + step`, … of an axis go to `to`, `to + 1`, ….
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Run {
    pub start: usize,
    pub step: isize,
    pub len: usize,
    pub to: usize,
}

impl Run {
    /// All of an axis.
    pub fn all(len: usize) -> Run {
        Run { start: 0, step: 1, len, to: 0 }
    }

    /// Places in any order, neighbours at one distance joined.
    pub fn of_places(places: &[usize]) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for (to, &place) in places.iter().enumerate() {
            if let Some(last) = runs.last_mut() {
                let step = place as isize - (last.start as isize + last.step * (last.len as isize - 1));
                if last.len == 1 || step == last.step {
                    (last.step, last.len) = (step, last.len + 1);
                    continue;
                }
            }
            runs.push(Run { start: place, step: 1, len: 1, to });
        }
        runs
    }
}

/// Distances of neighbours along each axis.
pub(super) fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1usize; shape.len()];
    for axis in (1..shape.len()).rev() {
        // Beside an axis of size 0 the others may be of any size; nothing is read then.
        strides[axis - 1] = strides[axis].saturating_mul(shape[axis]);
    }
    strides
}

/// The boxes of every combination of runs, one list of runs an axis, taken from operand `source` of shape `from` into a
/// result of shape `to`.
pub(super) fn blocks(source: usize, from: &[usize], to: &[usize], runs: &[Vec<Run>]) -> Vec<Block> {
    let (from, to) = (strides(from), strides(to));
    let mut blocks = vec![Block { source, from: 0, to: 0, axes: Vec::new() }];
    for (axis, runs) in runs.iter().enumerate() {
        let extended = |block: &Block, run: &Run| {
            let mut block = block.clone();
            block.from += run.start * from[axis];
            block.to += run.to * to[axis];
            block.axes.push(Axis { len: run.len, from: run.step * from[axis] as isize, to: to[axis] as isize });
            block
        };
        blocks =
            blocks.iter().flat_map(|block| runs.iter().map(|run| extended(block, run)).collect::<Vec<_>>()).collect();
    }
    blocks.retain(|block| !block.is_empty());
    blocks.iter_mut().for_each(merge_axes);
    blocks
}

/// Axes in another order.
pub(super) fn transposed(shape: &[usize], order: &[usize]) -> Arrange {
    let out: Vec<usize> = order.iter().map(|&axis| shape[axis]).collect();
    let (from, to) = (strides(shape), strides(&out));
    let axes = order.iter().zip(&to);
    let axes = axes.map(|(&axis, &to)| Axis { len: shape[axis], from: from[axis] as isize, to: to as isize }).collect();
    let mut block = Block { source: 0, from: 0, to: 0, axes };
    let blocks = if block.is_empty() {
        vec![]
    } else {
        merge_axes(&mut block);
        vec![block]
    };
    Arrange { len: out.iter().product(), blocks }
}

/// Neighbouring axes that are walked as one become one; axes of one place vanish.
fn merge_axes(block: &mut Block) {
    let mut merged: Vec<Axis> = Vec::new();
    for axis in block.axes.iter().filter(|axis| axis.len != 1) {
        match merged.last_mut() {
            Some(outer) if outer.from == axis.from * axis.len as isize && outer.to == axis.to * axis.len as isize => {
                *outer = Axis { len: outer.len * axis.len, ..*axis };
            }
            _ => merged.push(*axis),
        }
    }
    block.axes = merged;
}
