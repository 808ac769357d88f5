//! Plain loops that are worth the processor's widest vectors.

use ariann_prg::Loop;
use ariann_ring::{Axes, Ring};

/// See [`crate::Device::differences`].
pub(super) struct Differences<'a, R: Ring> {
    pub x: &'a [R],
    pub len: usize,
    pub places: [&'a [u32]; 2],
    pub low: R,
    pub out: [&'a mut [R]; 2],
}

impl<R: Ring> Loop for Differences<'_, R> {
    #[inline(always)]
    fn run(self) {
        let ([places_a, places_b], [differences, seconds]) = (self.places, self.out);
        let pairs = places_a.len().max(1);
        let outs = differences.chunks_mut(pairs).zip(seconds.chunks_mut(pairs));
        for (x, (differences, seconds)) in self.x.chunks(self.len.max(1)).zip(outs) {
            let places = places_a.iter().zip(places_b);
            for ((difference, second), (a, b)) in differences.iter_mut().zip(seconds).zip(places) {
                *second = x[*b as usize];
                *difference = x[*a as usize].sub(*second).and(self.low);
            }
        }
    }
}

/// Bits of share + mask + add.
pub(super) struct Cut<'a, R: Ring> {
    pub share: &'a [R],
    pub mask: &'a [R],
    pub add: R,
    pub shift: u32,
    pub low: R,
    pub out: &'a mut [R],
}

impl<R: Ring> Loop for Cut<'_, R> {
    #[inline(always)]
    fn run(self) {
        for ((out, share), mask) in self.out.iter_mut().zip(self.share).zip(self.mask) {
            *out = share.add(*mask).add(self.add).shr(self.shift).and(self.low);
        }
    }
}

/// See [`Axes::reduce`].
pub(super) struct Reduce<'a, R: Ring> {
    pub axes: &'a Axes,
    pub x: &'a [R],
    pub out: &'a mut [R],
}

impl<R: Ring> Loop for Reduce<'_, R> {
    #[inline(always)]
    fn run(self) {
        self.axes.reduce(self.x, self.out);
    }
}

/// See [`Axes::channels`].
pub(super) struct Channels<'a, R: Ring> {
    pub axes: &'a Axes,
    pub x: &'a [R],
    pub by: &'a [R],
    pub out: &'a mut [R],
}

impl<R: Ring> Loop for Channels<'_, R> {
    #[inline(always)]
    fn run(self) {
        self.axes.channels(self.x, self.by, self.out);
    }
}

/// See [`Axes::inner`].
pub(super) struct Inner<'a, R: Ring> {
    pub axes: &'a Axes,
    pub x: &'a [R],
    pub y: &'a [R],
    pub out: &'a mut [R],
}

impl<R: Ring> Loop for Inner<'_, R> {
    #[inline(always)]
    fn run(self) {
        self.axes.inner(self.x, self.y, self.out);
    }
}

/// See [`crate::Device::part`], of one item.
pub(super) struct Part<'a, R: Ring> {
    pub pairs: [&'a [u32]; 3],
    pub singles: [&'a [u32]; 2],
    pub g: &'a [R],
    pub y: &'a [R],
    pub out: &'a mut [R],
}

impl<R: Ring> Loop for Part<'_, R> {
    #[inline(always)]
    fn run(self) {
        let Part { pairs: [a, b, paired], singles: [single, carried], g, y, out } = self;
        for ((a, b), (paired, y)) in a.iter().zip(b).zip(paired.iter().zip(y)) {
            let (a, b) = (*a as usize, *b as usize);
            out[a] = out[a].add(*y);
            out[b] = out[b].add(g[*paired as usize].sub(*y));
        }
        for (single, carried) in single.iter().zip(carried) {
            out[*single as usize] = out[*single as usize].add(g[*carried as usize]);
        }
    }
}
