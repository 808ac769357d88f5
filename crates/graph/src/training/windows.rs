//! Max and average pooling of a step over floats, forwards and backwards.

use rayon::prelude::*;

use super::float::Real;
use crate::linear::Span;
use crate::{AvgPool, Pool};

/// For each tap and row of windows: where the row of the plane begins, where that of windows does, which places meet.
fn taps(pool: &Pool, mut each: impl FnMut(usize, usize, Span)) {
    let (height, width) = (pool.out_height(), pool.out_width());
    for tap_y in 0..pool.kernel[0] {
        let rows = Span::new(height, pool.in_height, pool.stride[0], tap_y * pool.dilation[0], pool.pads[0]);
        for tap_x in 0..pool.kernel[1] {
            let offset = tap_x * pool.dilation[1];
            let columns = Span::new(width, pool.in_width, pool.stride[1], offset, pool.pads[1]);
            rows.pairs().for_each(|(window, y)| each(y * pool.in_width, window * width, columns));
        }
    }
}

fn planes(pool: &Pool) -> (usize, usize) {
    ((pool.in_height * pool.in_width).max(1), (pool.out_height() * pool.out_width()).max(1))
}

/// The greatest value of each window, and its place in the plane; of equal ones the first.
pub(super) fn max<T: Real>(pool: &Pool, x: &[T], out: &mut [T], places: &mut [u32]) {
    let (from, to) = planes(pool);
    let rows = out.par_chunks_exact_mut(to).zip(places.par_chunks_exact_mut(to)).zip(x.par_chunks_exact(from));
    rows.with_min_len(1 + 16_384 / from).for_each(|((out, places), x)| {
        places.fill(u32::MAX);
        taps(pool, |line, row, span| {
            let (out, places) = (&mut out[row..][..span.end], &mut places[row..][..span.end]);
            for (window, input) in span.pairs() {
                let value = x[line + input];
                if places[window] == u32::MAX || value > out[window] {
                    (out[window], places[window]) = (value, (line + input) as u32);
                }
            }
        });
    });
}

/// Gradients to the places that `max` found.
pub(super) fn max_back<T: Real>(pool: &Pool, places: &[u32], gradient: &[T], out: &mut [T]) {
    let (from, to) = planes(pool);
    let rows = out.par_chunks_exact_mut(from).zip(places.par_chunks_exact(to)).zip(gradient.par_chunks_exact(to));
    rows.with_min_len(1 + 16_384 / from).for_each(|((out, places), gradient)| {
        out.fill(T::zero());
        places.iter().zip(gradient).for_each(|(&place, &value)| out[place as usize] += value);
    });
}

/// Averages of windows.
pub(super) fn average<T: Real>(average: &AvgPool, x: &[T], out: &mut [T]) {
    let pool = &average.pool;
    let (from, to) = planes(pool);
    let factors = factors::<T>(average);
    let rows = out.par_chunks_exact_mut(to).zip(x.par_chunks_exact(from)).with_min_len(1 + 16_384 / from);
    rows.for_each(|(out, x)| {
        out.fill(T::zero());
        taps(pool, |line, row, span| {
            span.pairs().for_each(|(window, input)| out[row + window] += x[line + input]);
        });
        out.iter_mut().zip(&factors).for_each(|(out, &factor)| *out = *out * factor);
    });
}

/// Gradients, divided, to all places of their windows.
pub(super) fn average_back<T: Real>(average: &AvgPool, gradient: &[T], out: &mut [T]) {
    let pool = &average.pool;
    let (from, to) = planes(pool);
    let factors = factors::<T>(average);
    let rows = out.par_chunks_exact_mut(from).zip(gradient.par_chunks_exact(to)).with_min_len(1 + 16_384 / from);
    rows.for_each(|(out, gradient)| {
        out.fill(T::zero());
        taps(pool, |line, row, span| {
            span.pairs().for_each(|(window, input)| {
                out[line + input] += gradient[row + window] * factors[row + window];
            });
        });
    });
}

/// One over the divisor of each window of a plane.
fn factors<T: Real>(average: &AvgPool) -> Vec<T> {
    let [rows, columns] = &average.counts;
    let each = |row: &u32| columns.iter().map(|column| T::of(1.0 / f64::from(row * column))).collect::<Vec<_>>();
    rows.iter().flat_map(each).collect()
}
