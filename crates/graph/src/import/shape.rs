//! Shape rules: windows of convolutions and poolings, reshapes with a free batch axis, limits.

use super::ImportError;

/// No tensor and no item of a value may hold more values: 2^28, a gibibyte of floats.
pub(crate) const MAX_VALUES: usize = 1 << 28;

/// Number of values of a shape.
pub(super) fn checked_len(shape: &[usize], what: impl FnOnce() -> String) -> Result<usize, ImportError> {
    let len = shape.iter().try_fold(1usize, |len, &size| len.checked_mul(size));
    len.filter(|&len| len <= MAX_VALUES).ok_or_else(|| ImportError::Overflow { what: what(), limit: MAX_VALUES })
}

/// How windows are padded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AutoPad {
    /// As given.
    NotSet,
    /// To ceil(size / stride) windows, the odd one at the end.
    SameUpper,
    /// The same, the odd one at the beginning.
    SameLower,
    /// None.
    Valid,
}

/// Windows over one axis.
#[derive(Clone, Copy, Debug)]
pub(super) struct Windows {
    pub size: usize,
    pub kernel: usize,
    pub stride: usize,
    pub dilation: usize,
}

impl Windows {
    /// Places from the first to the last that a window covers.
    pub fn extent(&self) -> usize {
        (self.kernel - 1) * self.dilation + 1
    }

    /// Padding before and after, and the number of windows; none when no window fits.
    pub fn resolve(&self, auto: AutoPad, pads: [usize; 2], ceil: bool) -> Option<([usize; 2], usize)> {
        let pads = match auto {
            AutoPad::NotSet => pads,
            AutoPad::Valid => [0, 0],
            AutoPad::SameUpper | AutoPad::SameLower => {
                let count = self.size.div_ceil(self.stride);
                let total = ((count - 1) * self.stride + self.extent()).saturating_sub(self.size);
                let (less, more) = (total / 2, total - total / 2);
                if auto == AutoPad::SameUpper { [less, more] } else { [more, less] }
            }
        };
        let room = (self.size + pads[0] + pads[1]).checked_sub(self.extent())?;
        if !ceil {
            return Some((pads, room / self.stride + 1));
        }
        // A window that would begin in the padding after the image is left out, as ONNX prescribes.
        let mut count = room.div_ceil(self.stride) + 1;
        if (count - 1) * self.stride >= self.size + pads[0] {
            count -= 1;
        }
        let end = (count - 1) * self.stride + self.extent();
        Some(([pads[0], end.saturating_sub(self.size + pads[0])], count))
    }

    /// Every one of `count` windows has a place inside the image.
    pub fn all_inside(&self, before: usize, count: usize) -> bool {
        (0..count).all(|window| {
            let start = window * self.stride;
            let tap = before.saturating_sub(start).div_ceil(self.dilation);
            tap < self.kernel && start + tap * self.dilation < self.size + before
        })
    }
}

/// Shape of one item after a reshape to `target`, whose first axis must be the batch.
///
/// `batch` is the size that the model declares for it, if it declares one. A 0 copies the axis of the input unless
/// `allow_zero`; one -1 takes what is left.
pub(super) fn reshape(
    item: &[usize],
    target: &[i64],
    batch: Option<usize>,
    allow_zero: bool,
) -> Result<Vec<usize>, String> {
    let len: usize = item.iter().product();
    let Some((&first, rest)) = target.split_first() else {
        return Err("it drops the batch axis".into());
    };
    let first_is_batch = match first {
        0 => !allow_zero,
        -1 | 1 => true,
        size => usize::try_from(size).ok() == batch,
    };
    let mut shape = Vec::with_capacity(rest.len());
    let mut open = None;
    for (axis, &size) in rest.iter().enumerate() {
        shape.push(match size {
            0 if !allow_zero => *item.get(axis).ok_or("it copies an axis that the input does not have")?,
            -1 if open.replace(axis).is_some() || first == -1 => {
                return Err("two of its axes are open (-1)".into());
            }
            -1 => 1,
            size => usize::try_from(size).map_err(|_| format!("its axis {} is {size}", axis + 1))?,
        });
    }
    let mut known = shape.iter().try_fold(1usize, |known, &size| known.checked_mul(size));
    if let Some(axis) = open {
        match known {
            Some(rest) if rest > 0 && len.is_multiple_of(rest) => shape[axis] = len / rest,
            _ => return Err(format!("{len} values an item cannot be shaped to {target:?}")),
        }
        known = Some(len);
    }
    if !first_is_batch || known != Some(len) {
        return Err(format!("shape {target:?} does not keep the batch axis before {len} values an item"));
    }
    Ok(shape)
}
