//! Rearrangements: which element of which operand goes where. Concatenation, slices, padding with zeros, transposition.
//!
//! A rearrangement is linear and knows nothing of what the elements are, so it maps shares, masked values and masks alike.

use serde::{Deserialize, Serialize};

/// A rearrangement of one item: boxes of elements copied with strides; places that no box covers are zero.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arrange {
    /// Elements of one item of the result.
    pub len: usize,
    /// What is copied.
    pub blocks: Vec<Block>,
}

/// A box of elements of one operand.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Block {
    /// The operand it is taken from, counted from 0.
    pub source: usize,
    /// Its first element there.
    pub from: usize,
    /// Where that goes.
    pub to: usize,
    /// Its axes, outermost first.
    pub axes: Vec<Axis>,
}

/// An axis of a box.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Axis {
    /// Elements along it.
    pub len: usize,
    /// Their distance in the operand.
    pub from: isize,
    /// Their distance in the result.
    pub to: isize,
}

impl Block {
    /// Elements of the box.
    pub fn len(&self) -> usize {
        self.axes.iter().map(|axis| axis.len).product()
    }

    /// The box holds no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// First and last place that the box touches, by `stride`, from `start`; none when it leaves all bounds.
    fn reach(&self, start: usize, stride: impl Fn(&Axis) -> isize) -> Option<(usize, usize)> {
        let (mut low, mut high) = (start as i128, start as i128);
        for axis in &self.axes {
            let step = stride(axis) as i128 * (axis.len.checked_sub(1)? as i128);
            if step < 0 { low += step } else { high += step }
        }
        Some((usize::try_from(low).ok()?, usize::try_from(high).ok()?))
    }

    fn walk(&self, mut each: impl FnMut(usize, usize, usize, isize, isize)) {
        let Some((last, outer)) = self.axes.split_last() else { return each(self.from, self.to, 1, 1, 1) };
        let mut index = vec![0usize; outer.len()];
        let (mut from, mut to) = (self.from as isize, self.to as isize);
        if self.is_empty() {
            return;
        }
        loop {
            each(from as usize, to as usize, last.len, last.from, last.to);
            let mut axis = outer.len();
            loop {
                if axis == 0 {
                    return;
                }
                axis -= 1;
                index[axis] += 1;
                from += outer[axis].from;
                to += outer[axis].to;
                if index[axis] < outer[axis].len {
                    break;
                }
                from -= outer[axis].from * outer[axis].len as isize;
                to -= outer[axis].to * outer[axis].len as isize;
                index[axis] = 0;
            }
        }
    }
}

impl Arrange {
    /// Whether every box lies within operands of `lens` elements and within the result, and no place is written twice.
    /// The caller has bounded `len`.
    pub fn fits(&self, lens: &[usize]) -> bool {
        let total = self.blocks.iter().try_fold(0usize, |total, block| {
            let len = block.axes.iter().try_fold(1usize, |len, axis| len.checked_mul(axis.len))?;
            total.checked_add(len)
        });
        if total.is_none_or(|total| total > self.len) {
            return false;
        }
        let inside = |block: &Block| {
            let Some(len) = lens.get(block.source) else { return false };
            let within = |reach: Option<(usize, usize)>, len: usize| reach.is_some_and(|(_, high)| high < len);
            within(block.reach(block.from, |axis| axis.from), *len)
                && within(block.reach(block.to, |axis| axis.to), self.len)
        };
        if !self.blocks.iter().all(|block| block.is_empty() || inside(block)) {
            return false;
        }
        let mut taken = vec![false; self.len];
        let mut twice = false;
        for block in &self.blocks {
            block.walk(|_, to, len, _, step| {
                for i in 0..len {
                    let place = &mut taken[(to as isize + i as isize * step) as usize];
                    twice |= *place;
                    *place = true;
                }
            });
        }
        !twice
    }

    /// Arranges `items` items of the operands into `out`, which holds zeros.
    pub fn apply<T: Copy>(&self, items: usize, operands: &[&[T]], out: &mut [T]) {
        assert_eq!(out.len(), items * self.len, "length of the result of a rearrangement");
        let lens: Vec<usize> = operands.iter().map(|operand| operand.len() / items.max(1)).collect();
        for block in &self.blocks {
            block.walk(|from, to, len, step_from, step_to| {
                for item in 0..items {
                    let source = &operands[block.source][item * lens[block.source]..][..lens[block.source]];
                    let out = &mut out[item * self.len..][..self.len];
                    if step_from == 1 && step_to == 1 {
                        out[to..to + len].copy_from_slice(&source[from..from + len]);
                    } else {
                        for i in 0..len as isize {
                            out[(to as isize + i * step_to) as usize] =
                                source[(from as isize + i * step_from) as usize];
                        }
                    }
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(len: usize, from: isize, to: isize) -> Axis {
        Axis { len, from, to }
    }

    #[test]
    fn transposes_concatenates_pads_and_reverses() {
        let x = [1, 2, 3, 4, 5, 6, 10, 20, 30, 40, 50, 60];
        let transposed = Arrange {
            len: 6,
            blocks: vec![Block { source: 0, from: 0, to: 0, axes: vec![axis(3, 1, 2), axis(2, 3, 1)] }],
        };
        assert!(transposed.fits(&[6]));
        let mut out = [0; 12];
        transposed.apply(2, &[&x], &mut out);
        assert_eq!(out, [1, 4, 2, 5, 3, 6, 10, 40, 20, 50, 30, 60]);
        let joined = Arrange {
            len: 5,
            blocks: vec![
                Block { source: 1, from: 0, to: 1, axes: vec![axis(2, 1, 1)] },
                Block { source: 0, from: 2, to: 3, axes: vec![axis(2, -2, 1)] },
            ],
        };
        assert!(joined.fits(&[3, 2]));
        let mut out = [0; 5];
        joined.apply(1, &[&[7, 8, 9], &[1, 2]], &mut out);
        assert_eq!(out, [0, 1, 2, 9, 7]);
    }

    #[test]
    fn refuses_what_leaves_its_bounds_or_writes_twice() {
        let good = Block { source: 0, from: 0, to: 0, axes: vec![axis(4, 1, 1)] };
        let fits = |blocks: Vec<Block>| Arrange { len: 4, blocks }.fits(&[4]);
        assert!(fits(vec![good.clone()]));
        assert!(!fits(vec![Block { source: 1, ..good.clone() }]));
        assert!(!fits(vec![Block { from: 1, ..good.clone() }]));
        assert!(!fits(vec![Block { to: 1, ..good.clone() }]));
        assert!(!fits(vec![Block { axes: vec![axis(4, -1, 1)], ..good.clone() }]));
        assert!(!fits(vec![Block { axes: vec![axis(2, 1, 0)], ..good.clone() }]));
        assert!(!fits(vec![Block { axes: vec![axis(usize::MAX, 1, 1), axis(2, 1, 1)], ..good.clone() }]));
        assert!(!fits(vec![Block { axes: vec![axis(2, isize::MAX, 1)], ..good }]));
    }
}
