//! Places by channels on tiles: left panels are gathered from inputs that lie channels last, right panels are weights packed once.
//!
//! Panels of the weights lie block of k after block, in each the panels of sixteen channels one after the other, as they are read.

pub mod last;
mod planes;

use std::cell::RefCell;

use bytemuck::Zeroable;

use super::{Amx, KC_U32, SIDE, STEP, TILE};
use crate::Ring;
use crate::product::blocked::lines;
use crate::product::layout::{Layout, Task, UNITS};
use crate::product::micro::{Line, Micro};
use crate::product::out::Out;

/// Lines from the panel being read to those that are asked for.
const AHEAD: usize = 512;

/// Most steps in a block of k.
const BLOCK: usize = KC_U32 / STEP * 3 / 2;

/// What depends on the ring. Callers have asked for AVX-512 and AMX.
pub trait Planes: Ring {
    /// Byte planes of the 64 elements at each of `places`, after `split`: rows of left tiles.
    fn copy(held: &[Line], places: &[usize], units: &[usize], panel: &mut [Line]);
    /// Byte planes of the four units of each step at each of `places`: rows of left tiles.
    fn gather(held: &[Self], places: &[usize], units: &[usize], panel: &mut [Line]);
    /// Every 64 elements become their planes, in place.
    fn split(held: &mut [Line]);
    /// The right tiles of one step from sixteen rows of `stride` elements.
    fn right(rows: &[Self], stride: usize, tiles: &mut [Line]);
    /// Whether left tiles may be read from the input as `split` left it.
    const DIRECT: bool;
    /// The sums of each weight over the steps of both panels, one tile each. Memory at `next` may be asked for, 1024 bytes each step.
    ///
    /// # Safety
    /// Tiles are configured, and as many rows as they have may be read at every step of `left`.
    unsafe fn sums(left: Left, right: &[Line], next: Next, sums: &mut [Line]);
    /// Puts sums together and stores or adds the tile where `place` says.
    ///
    /// # Safety
    /// The elements of the place may be written, and nobody else uses them meanwhile.
    unsafe fn finish(sums: &[Line], place: &Place<Self>);
}

/// Memory that is read soon, and bytes from step to step.
pub type Next = (*const Line, usize);

/// Left tiles: where each step begins, and bytes from row to row and from plane to plane.
pub struct Left<'a> {
    steps: &'a [*const Line],
    stride: usize,
    plane: usize,
}

/// Where a tile goes.
pub struct Place<R> {
    out: *mut R,
    stride: usize,
    /// Places of the tile, its rows before it is turned.
    rows: usize,
    /// Channels of the tile.
    cols: usize,
    turned: bool,
    add: bool,
}

/// A tile whose sums are not put together yet: its first place and channel, and how many.
struct Pending {
    place: (usize, usize),
    channel: (usize, usize),
    turned: bool,
    add: bool,
}

impl Pending {
    fn finish<R: Planes>(self, sums: &[Line], out: &Out<R>)
    where
        Amx: Micro<R>,
    {
        let (down, across) = if self.turned { (self.place, self.channel) } else { (self.channel, self.place) };
        let (rows, cols) = (self.place.1, self.channel.1);
        if let Some((to, stride)) = out.place(down, across) {
            // SAFETY: the place lies inside the result, and is of this task alone.
            return unsafe {
                R::finish(sums, &Place { out: to, stride, rows, cols, turned: self.turned, add: self.add })
            };
        }
        let mut tile = [R::ZERO; SIDE * SIDE];
        let place = Place { out: tile.as_mut_ptr(), stride: SIDE, rows, cols, turned: self.turned, add: false };
        // SAFETY: the tile has room for 16 x 16.
        unsafe { R::finish(sums, &place) };
        out.put::<Amx>(down, across, &tile, self.add);
    }
}

/// Places of a tile that is read where the input lies, one row of places cut into equal tiles; none where they would be low.
fn direct<R: Planes>(layout: &Layout) -> Option<usize> {
    let row = layout.row().0;
    let high = row.div_ceil(row.div_ceil(SIDE));
    (R::DIRECT && layout.whole_steps() && high >= 12).then_some(high)
}

/// Steps in a block of k, of about equal size.
fn block<R: Planes>(layout: &Layout) -> usize
where
    Amx: Micro<R>,
{
    // Panels of both sides stay in the nearest cache; inputs read where they lie leave more of it, and u64 sums cost more to put together.
    let kc = <Amx as Micro<R>>::KC / STEP;
    let most = if R::BITS == 64 || direct::<R>(layout).is_some() { kc * 3 / 2 } else { kc };
    layout.steps().div_ceil(layout.steps().div_ceil(most))
}

/// Panels of the weights of one group.
pub fn keep<R: Planes>(layout: &Layout, weights: &[R]) -> Vec<Line>
where
    Amx: Micro<R>,
{
    let (steps, count, channels) = (layout.steps(), layout.channels().div_ceil(SIDE), layout.channels());
    let (tiles, block) = (size_of::<R>() * TILE, block::<R>(layout));
    let mut panels = vec![Line::zeroed(); steps * count * tiles];
    let stride = steps * STEP;
    let mut rows = vec![R::ZERO; SIDE * stride];
    for n in 0..count {
        rows.fill(R::ZERO);
        for (o, row) in (n * SIDE..channels).zip(rows.chunks_exact_mut(stride)) {
            layout.weights(weights, o, row);
        }
        for k0 in (0..steps).step_by(block) {
            let ks = block.min(steps - k0);
            let panel = &mut panels[(k0 * count + n * ks) * tiles..][..ks * tiles];
            for (step, tiles) in panel.chunks_exact_mut(tiles).enumerate() {
                R::right(&rows[(k0 + step) * STEP..], stride, tiles);
            }
        }
    }
    panels
}

/// The product of one task, on this thread.
pub fn multiply<R: Planes>(task: Task<R>, out: &Out<R>)
where
    Amx: Micro<R>,
{
    thread_local! {
        static LEFT: RefCell<Vec<Line>> = RefCell::default();
    }
    let Task { layout, held, places, panels, channels, at, turned } = task;
    let whole = layout.whole_steps();
    if whole {
        let len = held.len() / STEP * STEP;
        R::split(bytemuck::cast_slice_mut(&mut held[..len]));
    }
    let (steps, count) = (layout.steps(), layout.channels().div_ceil(SIDE));
    let (tiles, block) = (size_of::<R>() * TILE, block::<R>(layout));
    let (row, apart) = layout.row();
    let direct = direct::<R>(layout);
    let mr = direct.unwrap_or_else(|| <Amx as Micro<R>>::rows(places.len()));
    let direct = direct.is_some();
    let run = if direct { row } else { places.len() };
    let mut pieces = Vec::with_capacity(places.len().div_ceil(run) * run.div_ceil(mr));
    for from in (0..places.len()).step_by(run) {
        let end = (from + run).min(places.len());
        pieces.extend((from..end).step_by(mr).map(|from| from..(from + mr).min(end)));
    }
    // A tile is put together while the next one is multiplied.
    let mut sums = [[Line::zeroed(); 8 * TILE]; 2];
    let mut pending: Option<Pending> = None;
    let mut current = 0;
    let mut product = |left: &mut Vec<Line>| {
        for k0 in (0..steps).step_by(block) {
            let ks = block.min(steps - k0);
            let units = &layout.units()[k0 * UNITS..][..ks * UNITS];
            let panels_len = if direct { 0 } else { places.len().div_ceil(mr) * ks * tiles };
            let left = lines(left, panels_len);
            for (piece, panel) in pieces.iter().zip(left.chunks_exact_mut(ks * tiles)) {
                match whole {
                    true => R::copy(bytemuck::cast_slice(held), &places[piece.clone()], units, panel),
                    false => R::gather(held, &places[piece.clone()], units, panel),
                }
            }
            let held: &[Line] = bytemuck::cast_slice(held);
            let mut from = [std::ptr::null(); BLOCK];
            let (stride, plane) = if direct { (apart * size_of::<R>(), 64) } else { (64, 64 * TILE) };
            for n in channels.clone().step_by(SIDE) {
                let cols = SIDE.min(channels.end - n);
                let right = &panels[(k0 * count + n / SIDE * ks) * tiles..][..ks * tiles];
                // The next panel is asked for while several panels of places meet this one; where there is but one, the beginnings of what comes later.
                let several = pieces.len() > 1;
                let next = right.as_ptr().wrapping_add(if several { right.len() } else { AHEAD });
                let step = if several { 1024 } else { 4096 };
                for (m, piece) in pieces.iter().enumerate() {
                    for (step, from) in from.iter_mut().enumerate().take(ks) {
                        *from = if direct {
                            let first = places[piece.start] + units[step * UNITS];
                            let len = (mr - 1) * apart + STEP;
                            held[first / STEP * size_of::<R>()..][..len / STEP * size_of::<R>()].as_ptr()
                        } else {
                            left[(m * ks + step) * tiles..][..tiles].as_ptr()
                        };
                    }
                    let left = Left { steps: &from[..ks], stride, plane };
                    // SAFETY: `with` configures tiles of `mr` rows; a panel has 16, and the input as many (sliced above).
                    unsafe { R::sums(left, right, (next.wrapping_add(m.min(4) * 16 * ks), step), &mut sums[current]) };
                    let place = (at.0 + piece.start, piece.len());
                    let next = Pending { place, channel: (n, cols), turned, add: k0 > 0 };
                    if let Some(before) = pending.replace(next) {
                        before.finish(&sums[1 - current], out);
                    }
                    current = 1 - current;
                }
            }
        }
        if let Some(last) = pending.take() {
            last.finish(&sums[1 - current], out);
        }
    };
    LEFT.with_borrow_mut(|left| <Amx as Micro<R>>::with(layout.step(), mr, || product(left)));
}
