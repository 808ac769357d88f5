//! How a convolution becomes a product of places by channels: inputs lie channels last, so that the terms of an output element are few runs of elements.
//!
//! A run is one row of the kernel with its channels (one element of it, where the kernel is dilated along columns), padded to whole units of sixteen. Where channels
//! are few, an input is held once for each row of places, with the rows under the kernel side by side: all terms are one run. A kernel packs the units of sixteen places
//! beside the weights that it keeps; what a run reads beyond its end meets weights of zero.

use std::cell::RefCell;
use std::ops::Range;

use rayon::prelude::*;

use super::conv::ConvShape;
use super::micro::Line;
use super::out::Out;
use crate::Ring;

/// Elements of a unit.
pub const UNIT: usize = 16;
/// Units of a step of k.
pub const UNITS: usize = 4;

/// Places that may be read beyond the last one.
const SPARE: usize = 16;

/// Places computed together.
const PLACES: usize = 512;
/// Elements of the input held channels last at once, where more than one row of places is.
const HELD: usize = 1 << 20;
/// Multiply-adds below which one thread does all.
const PARALLEL: usize = 1 << 20;

/// The order of the terms of an output element of one group, and where they lie in an input held channels last.
pub struct Layout {
    shape: ConvShape,
    /// Rows and columns of the kernel that ever meet the input.
    taps: [Range<usize>; 2],
    /// Elements of the kernel along columns in a run.
    merged: usize,
    /// Rows of the kernel side by side in the input as it is held: one, or all.
    lines: usize,
    /// Elements held for each column of the input.
    pixel: usize,
    /// Elements of a run with its padding, a multiple of `UNIT`.
    run: usize,
    /// Elements of the input's row held channels last.
    pitch: usize,
    /// Where each unit begins, from the place's first element; whole steps.
    units: Vec<usize>,
    /// k of a step.
    step: usize,
    /// Weights of an output channel that meet the input at some place.
    used: usize,
}

/// Places computed together: `items` whole inputs, or `rows` of one.
#[derive(Clone, Debug)]
struct Band {
    items: Range<usize>,
    rows: Range<usize>,
}

/// What a kernel is to multiply on one thread.
pub struct Task<'a, R> {
    /// The order of the terms.
    pub layout: &'a Layout,
    /// The inputs, channels last; a unit may be read at every place.
    pub held: &'a mut [R],
    /// Where each place begins in `held`.
    pub places: &'a [usize],
    /// All panels of the group's weights.
    pub panels: &'a [Line],
    /// Output channels of the group to compute.
    pub channels: Range<usize>,
    /// The first place's column and the first channel's row in the result; turned, the reverse.
    pub at: (usize, usize),
    /// Whether a row of the result holds channels, not places.
    pub turned: bool,
}

impl Layout {
    /// None where most of k would be padding.
    pub fn new(shape: &ConvShape) -> Option<Self> {
        let s = shape.clone();
        let depth = s.in_channels / s.groups;
        let taps = [
            touching(s.kernel[0], s.stride[0], s.dilation[0], s.pads[0], s.in_height, s.out_height())?,
            touching(s.kernel[1], s.stride[1], s.dilation[1], s.pads[1], s.in_width, s.out_width())?,
        ];
        let merged = if s.dilation[1] == 1 { taps[1].len() } else { 1 };
        let runs = |lines: usize| (merged * lines * depth).next_multiple_of(UNIT);
        let side_by_side = s.dilation[1] == 1 && runs(taps[0].len()) * 5 < runs(1) * taps[0].len() * 4;
        let lines = if side_by_side { taps[0].len() } else { 1 };
        let (run, pixel) = (runs(lines), lines * depth);
        let width = (s.out_width() - 1) * s.stride[1] + (taps[1].len() - 1) * s.dilation[1] + 1;
        let pitch = width * pixel;
        let mut units = Vec::new();
        for ky in (0..taps[0].len()).step_by(lines) {
            for kx in (0..taps[1].len()).step_by(merged) {
                let from = ky * s.dilation[0] * pitch + kx * s.dilation[1] * pixel;
                units.extend((0..run).step_by(UNIT).map(|at| from + at));
            }
        }
        let used = taps[0].len() * taps[1].len() * depth;
        if units.len() * UNIT > 4 * used.max(UNIT) {
            return None;
        }
        let step = units.len().min(UNITS) * UNIT;
        // The last step's missing units meet weights of zero.
        units.resize(units.len().next_multiple_of(UNITS), 0);
        Some(Self { shape: s, taps, merged, lines, pixel, run, pitch, units, step, used })
    }

    /// Where each unit begins, from the place's first element; `UNITS` for each step.
    pub fn units(&self) -> &[usize] {
        &self.units
    }

    /// Steps of k.
    pub fn steps(&self) -> usize {
        self.units.len() / UNITS
    }

    /// k of a step: a product of one step may have a shorter one.
    pub fn step(&self) -> usize {
        self.step
    }

    /// Weights of an output channel that meet the input at some place.
    pub fn used(&self) -> usize {
        self.used
    }

    /// Places in a row, and how far apart they lie.
    pub fn row(&self) -> (usize, usize) {
        (self.shape.out_width(), self.shape.stride[1] * self.pixel)
    }

    /// Output channels of a group.
    pub fn channels(&self) -> usize {
        self.shape.out_channels / self.shape.groups
    }

    /// Whether every step lies contiguous at a multiple of its elements and is read by several places.
    pub fn whole_steps(&self) -> bool {
        self.lines == 1 && self.pixel.is_multiple_of(UNIT * UNITS) && self.taps[0].len() * self.taps[1].len() > 2
    }

    /// The weights of output channel `o` of a group in the order of k, `weights` those of the group, into whole steps of zeros.
    pub fn weights<R: Ring>(&self, weights: &[R], o: usize, row: &mut [R]) {
        let [rows, cols] = self.shape.kernel;
        let depth = self.shape.in_channels / self.shape.groups;
        let weights = &weights[o * depth * rows * cols..][..depth * rows * cols];
        let mut runs = row.chunks_exact_mut(self.run);
        for ky in self.taps[0].clone().step_by(self.lines) {
            for kx in self.taps[1].clone().step_by(self.merged) {
                let run = runs.next().expect("as many runs as units");
                for (i, run) in run.chunks_mut(depth).take(self.merged * self.lines).enumerate() {
                    let weights = &weights[(ky + i % self.lines) * cols + kx + i / self.lines..];
                    run.iter_mut().zip(weights.iter().step_by(rows * cols)).for_each(|(o, w)| *o = *w);
                }
            }
        }
    }

    /// See `PackedWeights::product`.
    pub fn product<R: Ring>(&self, items: usize, panels: &[Vec<Line>], x: &[R], out: &mut [R]) {
        let s = &self.shape;
        if items == 0 {
            return;
        }
        let work = out.len().saturating_mul(self.units.len() * UNIT);
        // Small products ask for no pool: the question would start one.
        let threads = if work < PARALLEL { 1 } else { rayon::current_num_threads().min(work / (PARALLEL / 2)) };
        let (places, channels) = (s.out_height() * s.out_width(), self.channels());
        let turned = places == 1;
        let len = out.len();
        let (row, span, jump) = if turned { (s.out_len(), channels, 0) } else { (places, places, s.out_len()) };
        let bands = self.bands(items, threads);
        // Few places: threads take parts of the channels.
        let parts = threads.div_ceil(bands.len()).min(channels.div_ceil(UNIT));
        let part = channels.div_ceil(parts).next_multiple_of(UNIT);
        for (group, panels) in panels.iter().enumerate() {
            let out = Out::new(&mut out[group * channels * places..len], row, span, jump);
            assert!(if turned { out.holds(items, channels) } else { out.holds(channels, items * places) });
            let task = |(band, from): (&Band, usize)| {
                self.compute(band, group, from..(from + part).min(channels), panels, x, &out, turned);
            };
            let tasks = bands.iter().flat_map(|band| (0..channels).step_by(part).map(move |from| (band, from)));
            if threads == 1 {
                tasks.for_each(task);
            } else {
                tasks.collect::<Vec<_>>().into_par_iter().for_each(task);
            }
        }
    }

    /// Rows held for `rows` rows of places.
    fn height(&self, rows: usize) -> usize {
        (rows - 1) * self.rows_apart() + (self.taps[0].len() - self.lines) * self.shape.dilation[0] + 1
    }

    /// Rows held from one row of places to the next.
    fn rows_apart(&self) -> usize {
        if self.lines > 1 { 1 } else { self.shape.stride[0] }
    }

    fn bands(&self, items: usize, threads: usize) -> Vec<Band> {
        let s = &self.shape;
        let (rows, width) = (s.out_height(), s.out_width());
        let most = PLACES.min((items * rows * width).div_ceil(threads).max(2 * UNIT));
        let held = self.height(rows) * self.pitch;
        let together = (most / (rows * width)).min(HELD / held.max(1));
        if together > 0 {
            let together = items.div_ceil(items.div_ceil(together));
            let bands = (0..items).step_by(together);
            return bands.map(|from| Band { items: from..(from + together).min(items), rows: 0..rows }).collect();
        }
        let row = self.rows_apart() * self.pitch;
        let most = (most / width).min(HELD / row.max(1)).max(1);
        let most = rows.div_ceil(rows.div_ceil(most));
        let bands = |item| (0..rows).step_by(most).map(move |from| (item, from..(from + most).min(rows)));
        (0..items).flat_map(bands).map(|(item, rows)| Band { items: item..item + 1, rows }).collect()
    }

    #[allow(clippy::too_many_arguments)]
    fn compute<R: Ring>(
        &self,
        band: &Band,
        group: usize,
        channels: Range<usize>,
        panels: &[Line],
        x: &[R],
        out: &Out<R>,
        turned: bool,
    ) {
        thread_local! {
            static HELD: RefCell<(Vec<Line>, Vec<usize>)> = RefCell::default();
        }
        let s = &self.shape;
        let (rows, width) = (s.out_height(), s.out_width());
        let depth = s.in_channels / s.groups;
        let height = self.height(band.rows.len());
        let item = (height * self.pitch).next_multiple_of(UNIT * UNITS);
        HELD.with_borrow_mut(|(held, places)| {
            // Units of the last place end beyond the last item, and tiles have rows beyond the last place.
            let len = band.items.len() * item + self.run + UNIT + SPARE * self.row().1;
            let held: &mut [R] =
                bytemuck::cast_slice_mut(super::blocked::lines(held, len.div_ceil(64 / size_of::<R>())));
            let first =
                (band.rows.start * s.stride[0] + self.taps[0].start * s.dilation[0]) as isize - s.pads[0] as isize;
            for (i, held) in band.items.clone().zip(held.chunks_exact_mut(item)) {
                let x = &x[(i * s.in_channels + group * depth) * s.in_height * s.in_width..];
                self.hold(&x[..depth * s.in_height * s.in_width], first, &mut held[..height * self.pitch]);
            }
            places.clear();
            for i in 0..band.items.len() {
                for oy in 0..band.rows.len() {
                    let row = i * item + oy * self.rows_apart() * self.pitch;
                    places.extend((0..width).map(|ox| row + ox * s.stride[1] * self.pixel));
                }
            }
            let place = band.items.start * rows * width + band.rows.start * width;
            let at = (place, channels.start);
            R::kept(Task { layout: self, held, places, panels, channels, at, turned }, out);
        });
    }

    /// Rows of the input from `first` on, channels last, with the zeros around it that the kernel meets.
    fn hold<R: Ring>(&self, x: &[R], first: isize, held: &mut [R]) {
        let s = &self.shape;
        let depth = s.in_channels / s.groups;
        let left = s.pads[1] as isize - (self.taps[1].start * s.dilation[1]) as isize;
        // Columns of the input that are held, and the zeros before them.
        let (from, before) = ((-left).max(0) as usize, left.max(0) as usize);
        let cols = (self.pitch / self.pixel).saturating_sub(before).min(s.in_width.saturating_sub(from));
        let area = s.in_height * s.in_width;
        // A map of one place, of which neither zeros nor another row are held.
        if area == 1 && self.pixel == depth && held.len() == x.len() && first == 0 && before == 0 && cols == 1 {
            return held.copy_from_slice(x);
        }
        // Rows of a channel that go to each element held for a column, one past the input for zeros.
        let mut rows = Vec::with_capacity(self.pixel);
        for (y, row) in held.chunks_exact_mut(self.pitch).enumerate() {
            let y = first + (y * if self.lines > 1 { s.stride[0] } else { 1 }) as isize;
            rows.clear();
            for line in 0..self.lines {
                let y = y + (line * s.dilation[0]) as isize;
                let inside = cols > 0 && y >= 0 && (y as usize) < s.in_height;
                let row = |c: usize| if inside { c * area + y as usize * s.in_width + from } else { x.len() };
                rows.extend((0..depth).map(row));
            }
            if rows.iter().all(|row| *row == x.len()) {
                row.fill(R::ZERO);
                continue;
            }
            let (zeros, row) = row.split_at_mut(before * self.pixel);
            let (row, more) = row.split_at_mut(cols * self.pixel);
            zeros.fill(R::ZERO);
            more.fill(R::ZERO);
            R::channels_last(x, &rows, row);
        }
    }
}

/// Elements of the kernel along one axis that meet the input at some place.
fn touching(
    kernel: usize,
    stride: usize,
    dilation: usize,
    pad: usize,
    size: usize,
    places: usize,
) -> Option<Range<usize>> {
    // At the last place it begins furthest on, at the first furthest back.
    let from = pad.saturating_sub((places - 1) * stride).div_ceil(dilation);
    let to = (size + pad).div_ceil(dilation).min(kernel);
    (from < to).then_some(from..to)
}
