//! The plan that clips a pair's update to a norm, and weighs it, under sharing.
//!
//! Computes   w·min(1, C/‖v‖)·v, v the update on a grid of its own, each coordinate kept within ±B first. All states that are
//!            averaged are one vector of D values. Steps: windows to the grid, signed; clip to ±B; sums of squares, by blocks;
//!            their sum S, cut at about 200·C² into what is below and what is beyond; two tables of 16 bits whose sum is
//!            w·min(1, C/√S); one product with the vector; a window to the states' own scale.
//! Learns     nobody anything. Windows, bits and products are opened under masks, as in every plan.
//! Grid       2^-g, so that an update of norm C has about 4 to 16 units a coordinate (64 to 256 in ring 64). B is 64 times
//!            that: so S is at most 4,096·C², whatever D is.
//! Bound      the norm of what comes out is at most C·w·(1 + e) for *every* word that goes in, also beyond the bound of a
//!            window: the signed truncation to w bits gives less than 2^w whatever its operand, the clip has two bits more than
//!            that, and nothing after it can leave the ring. This is what differential privacy rests on. e is counted out from
//!            the tables themselves ([`Clipping::excess`]): about a hundredth, and more for millions of values in ring 32.
//! Error      an update below C and B comes out within 1.5·w units of the grid a coordinate, without bias.

use ariann_gates::add::Add;
use ariann_gates::arrange::Rearrange;
use ariann_gates::axes::Reduce;
use ariann_gates::clip::Clip;
use ariann_gates::cut::Cut;
use ariann_gates::open::Open;
use ariann_gates::product::Product;
use ariann_gates::truncate::Truncate;
use ariann_gates::{Comparison, Receiver, Sign, Window, drelu};
use ariann_graph::Function;
use ariann_plan::{Entry, Gate, Kept, Lookup, Plan, Reveal, Revealed, Scale, StateSpec, Training};
use ariann_ring::arrange::{Axis, Block};
use ariann_ring::{Arrange, Axes, Bilinear};

use super::job::JobError;
use super::weighing::{is_averaged, weight_bits};

/// Fractional bits of the norm in a [`PairTask`](super::PairTask).
pub const NORM_BITS: u32 = 32;
/// Bits that an update of norm C has a coordinate, in a ring of 32 and of 64 bits.
const FINE: [i32; 2] = [2, 6];
/// How much greater a coordinate may be than those of an even update of norm C.
const REACH: f64 = 64.0;
/// Bits of a table's operand, and of its greatest result.
const TABLE: u32 = 16;
/// The greatest operand that the first one reads.
const LAST: i64 = (1 << (TABLE - 1)) - 3;
/// Bits of C² in the operand of the first table, less one at most.
const SQUARE: i32 = 7;
const RESULT: i32 = 40;
/// Fractional bits of a weight in [`Function::Shrink`].
const WEIGHT: u32 = 40;
/// The error of a window's rounding is below this many units.
const ROUNDING: f64 = 1.5;

/// What clipping to a norm is planned as. Public.
#[derive(Clone, Debug, PartialEq)]
pub struct Clipping {
    ring: u32,
    norm: u64,
    /// In units of 2^-[`WEIGHT`].
    weight: u64,
    /// D.
    values: usize,
    /// g, fractional bits of the grid.
    grid: i32,
    /// B, in units of the grid.
    most: i64,
    /// Values of a block, and blocks.
    blocks: [usize; 2],
    /// Bits that are dropped of the sums of blocks, of their sum, of what is beyond the first table, and of the clipped update.
    dropped: [u32; 4],
    /// x_0 of [`Function::Shrink`].
    beyond: u64,
    /// Fractional bits of the tables' results.
    factor: i32,
}

/// ceil(log2 x) for x > 0.
fn bits(x: u64) -> i32 {
    64 - (x - 1).leading_zeros() as i32
}

impl Clipping {
    /// For averaged states of these fractional bits and lengths; norm and weight as a [`PairTask`](super::PairTask) has them.
    pub(crate) fn new(ring: u32, states: &[(i32, usize)], norm: u64, weight: u64) -> Result<Clipping, String> {
        let values: usize = states.iter().map(|(_, len)| len).sum();
        let [Some(least), Some(greatest)] = [states.iter().map(|it| it.0).min(), states.iter().map(|it| it.0).max()]
        else {
            return Err("model has nothing that is trained".to_string());
        };
        if norm == 0 || weight == 0 {
            return Err("clipping has a norm or a weight of 0".to_string());
        }
        let words = ring as i32;
        let magnitude = norm.ilog2() as i32 - NORM_BITS as i32;
        // A window of two bits at least leaves room for the clip above it.
        let grid = ((bits(values as u64) + 1) / 2 + FINE[usize::from(ring == 64)] - magnitude).min(least - 2);
        let unit = 2f64.powi(-grid);
        let own = norm as f64 * 2f64.powi(-(NORM_BITS as i32)) / unit;
        let root = (values as f64).sqrt();
        let text = own * unit;
        if own < root {
            return Err(format!(
                "states are too coarse for updates that are clipped to a norm of {text:.3e}: give a larger clip, or the 64-bit ring"
            ));
        }
        let most = (REACH * own / root).min(own).ceil() as i64;
        if most as f64 >= 2f64.powi(words - (greatest - grid) - 2) {
            return Err(format!(
                "states cannot hold an update of the norm {text:.3e}: give a smaller clip, or the 64-bit ring"
            ));
        }
        let (square, room) = ((most as u128).pow(2), 1u128 << (words - 3));
        let fit = usize::try_from(room / square).unwrap_or(usize::MAX).max(1);
        let count = values.div_ceil(fit);
        let blocks = [values.div_ceil(count), count];
        let sum = |drop: u32| ((values as u128 * square) >> drop) + 2 * count as u128 + 1;
        let first = (0..ring - 4)
            .find(|drop| sum(*drop) <= room + room / 2)
            .ok_or("model has too many values to be clipped")?;
        let first = if count == 1 { 0 } else { first };
        let square = own * own * 2f64.powi(-(first as i32));
        // The exponent, the same on all machines.
        let exponent = (square.to_bits() >> 52) as i32 - 1023;
        let second = (exponent - SQUARE).max(0) as u32;
        let unit = 2f64.powi(second as i32);
        let beyond = (LAST as f64 * unit / square * 2f64.powi(16)).ceil() as u64;
        let third = (0..ring - TABLE).find(|drop| (sum(first) >> second >> drop) + 2 < 1 << (TABLE - 1));
        let third = third.ok_or("model has too many values to be clipped")?;
        let weight = weight << (WEIGHT - weight_bits(ring));
        let above = bits(weight) - WEIGHT as i32;
        let factor = (words - 3 - bits(most as u64) - above).min(RESULT - above);
        let dropped = [first, second, third, (grid + factor - least).max(0) as u32];
        Ok(Clipping { ring, norm, weight, values, grid, most, blocks, dropped, beyond, factor })
    }

    /// Fractional bits of the operands of both tables.
    fn operands(&self) -> [i32; 2] {
        let [first, second, third, _] = self.dropped;
        let below = 2 * self.grid - (first + second) as i32;
        [below, below - third as i32]
    }

    fn tables(&self) -> [Lookup; 2] {
        [0, self.beyond].map(|beyond| {
            let function = Function::Shrink { norm: self.norm, weight: self.weight, beyond };
            Lookup { len: 1, width: TABLE, to: Receiver::Both, function }
        })
    }

    /// The norm C that updates are clipped to.
    pub fn norm(&self) -> f64 {
        self.norm as f64 * 2f64.powi(-(NORM_BITS as i32))
    }

    /// The weight w.
    pub fn weight(&self) -> f64 {
        self.weight as f64 * 2f64.powi(-(WEIGHT as i32))
    }

    /// B: no coordinate counts for more.
    pub fn most(&self) -> f64 {
        self.most as f64 * 2f64.powi(-self.grid)
    }

    /// e: the norm of what comes out is at most C·w·(1 + e), for every update, share and coin. Counted over all entries of
    /// the tables: the greatest norm whose square may be read as that entry, times the entry, and the last rounding.
    pub fn excess(&self) -> f64 {
        let entries = |table: Lookup, operand: i32| {
            let table = table.gate(Scale::bits(operand), Scale::bits(self.factor)).table;
            table[table.len() / 2..].to_vec()
        };
        let ([below, beyond], [operand, wide]) = (self.tables(), self.operands());
        let (below, beyond) = (entries(below, operand), entries(beyond, wide));
        let off = |dropped: u32, times: f64| if dropped > 0 { ROUNDING * times } else { 0.0 };
        let [blocks, sum, rest, last] = self.dropped;
        let largest = self.values as f64 * (self.most as f64).powi(2);
        // The greatest norm for a sum of so many units of the first table.
        let norm = |units: f64| {
            let square = (units + off(sum, 1.0)) * 2f64.powi(sum as i32) + off(blocks, self.blocks[1] as f64);
            (square * 2f64.powi(blocks as i32)).min(largest).sqrt()
        };
        let low = below.iter().enumerate().map(|(x, entry)| *entry as f64 * norm(x as f64));
        let saturated = below[LAST as usize];
        let high = beyond.iter().enumerate().map(|(x, entry)| {
            let units = LAST as f64 + (x as f64 + off(rest, 1.0)) * 2f64.powi(rest as i32);
            (saturated + entry) as f64 * norm(units)
        });
        let rounding = off(last, (self.values as f64).sqrt()) * 2f64.powi(last as i32);
        let greatest = low.chain(high).fold(0.0, f64::max) + rounding;
        let wanted = self.norm() * self.weight() * 2f64.powi(self.grid + self.factor);
        (greatest / wanted - 1.0).max(0.0)
    }
}

/// The gates of the plan, as they are made.
struct Gates(Vec<Entry>);

impl Gates {
    fn push(&mut self, name: &str, inputs: &[u32], frac: i32, gate: Gate) -> u32 {
        self.0.push(Entry { name: name.to_string(), inputs: inputs.to_vec(), scale: Scale::bits(frac), gate });
        self.0.len() as u32 - 1
    }

    /// A share less its last `shift` bits, as a share.
    fn cut(&mut self, name: &str, x: u32, len: usize, frac: i32, window: Window) -> u32 {
        if window.shift == 0 {
            return x;
        }
        let frac = frac - window.shift as i32;
        let open = Gate::Open(Open { len, window, to: Receiver::Both });
        let opened = self.push(&format!("{name}/window"), &[x], frac, open);
        self.push(&format!("{name}/cut"), &[opened], frac, Gate::Truncate(Truncate { len, width: window.width() }))
    }
}

fn neighbours(source: usize, from: usize, to: usize, len: usize) -> Block {
    Block { source, from, to, axes: vec![Axis { len, from: 1, to: 1 }] }
}

/// Averaged states: number, fractional bits, length.
fn averaged(states: &[StateSpec], scales: &[Scale]) -> Vec<(usize, i32, usize)> {
    let all = states.iter().zip(scales).enumerate();
    let some = all.filter(|(_, (state, _))| is_averaged(state.role) && !state.is_empty());
    some.map(|(index, (state, scale))| (index, scale.frac, state.len())).collect()
}

/// How updates of states at these scales are clipped.
pub(crate) fn clipping(
    ring: u32,
    states: &[StateSpec],
    scales: &[Scale],
    norm: u64,
    weight: u64,
) -> Result<Clipping, JobError> {
    let own: Vec<(i32, usize)> = averaged(states, scales).iter().map(|(_, frac, len)| (*frac, *len)).collect();
    Clipping::new(ring, &own, norm, weight).map_err(JobError::Head)
}

/// The plan for states that hold updates, at these scales. `basis` is any plan of the training.
pub(crate) fn clip(basis: &Plan, scales: &[Scale], norm: u64, weight: u64) -> Result<Plan, JobError> {
    let mut training = Training::clone(basis.training.as_ref().expect("a plan of training"));
    for (state, scale) in training.states.iter_mut().zip(scales) {
        (state.before, state.after) = (*scale, *scale);
    }
    let ring = basis.ring;
    let clipping = clipping(ring, &training.states, scales, norm, weight)?;
    let Clipping { values, grid, most, blocks: [block, count], dropped, factor, .. } = clipping;
    let states = averaged(&training.states, scales);
    let mut gates = Gates(Vec::new());
    // On the grid, in one row.
    let (mut rows, mut inputs, mut at, mut widest) = (Vec::new(), Vec::new(), 0, 0);
    for (index, frac, len) in states.iter().copied() {
        let name = &training.states[index].name;
        let state = gates.push(&format!("{name}/update"), &[], frac, Gate::State(Kept { state: index, len }));
        let window = Window { shift: (frac - grid) as u32, top: ring };
        inputs.push(gates.cut(&format!("{name}/grid"), state, len, frac, window));
        rows.push(neighbours(rows.len(), 0, at, len));
        (at, widest) = (at + len, widest.max(window.width()));
    }
    let padded = block * count;
    let gate = Rearrange { arrange: Arrange { len: padded, blocks: rows }, multipliers: vec![1; inputs.len()] };
    let row = gates.push("clip/row", &inputs, grid, Gate::Arrange(gate));
    // Each coordinate within ±B.
    let width = widest + 2;
    let open = Gate::Open(Open { len: padded, window: Window { shift: 0, top: width }, to: Receiver::Both });
    let opened = gates.push("clip/compared", &[row], grid, open);
    let form = match basis.gates.iter().find_map(|entry| entry.gate.compares()) {
        Some(other) if drelu::chunked(width - 1).is_some() => other.form,
        _ => Comparison::Dpf,
    };
    let (to, sign) = (Receiver::Both, Sign::Exact);
    let gate = Clip { len: padded, width, to, lo: -most, hi: most, form, sign };
    let row = gates.push("clip/coordinates", &[opened], grid, Gate::Clip(gate));
    // The squared norm.
    let product = |of| Gate::Product(Product { of });
    let inner = product(Bilinear::Inner(Axes { outer: 1, kept: count, inner: block }));
    let squares = gates.push("clip/squares", &[row, row], 2 * grid, inner);
    let squares = gates.cut("clip/squares", squares, count, 2 * grid, Window { shift: dropped[0], top: ring });
    let frac = 2 * grid - dropped[0] as i32;
    let axes = Axes { outer: count, kept: 1, inner: 1 };
    let sum = gates.push("clip/norm", &[squares], frac, Gate::Reduce(Reduce { axes }));
    // It as a number of few bits, what is beyond the first table's last operand, and both tables' values.
    let ([below, beyond], [operand, wide]) = (clipping.tables(), clipping.operands());
    let sum = gates.cut("clip/norm", sum, 1, frac, Window { shift: dropped[1], top: ring });
    let whole = Window { shift: 0, top: ring };
    let open = Gate::Open(Open { len: 1, window: whole, to });
    let opened = gates.push("clip/norm/compared", &[sum], operand, open);
    let gate = Clip { len: 1, width: ring, to, lo: -LAST, hi: LAST, form: Comparison::Dpf, sign };
    let few = gates.push("clip/norm/few", &[opened], operand, Gate::Clip(gate));
    let cut = gates.push("clip/norm/bits", &[few], operand, Gate::Cut(Cut { len: 1, width: TABLE }));
    let below = gates.push("clip/factor/below", &[cut], factor, Gate::Lookup(below));
    let gate = Add { len: 1, multipliers: vec![1, 1u64.wrapping_neg()], constants: Vec::new() };
    let rest = gates.push("clip/norm/beyond", &[sum, few], operand, Gate::Add(gate));
    let window = Window { shift: dropped[2], top: dropped[2] + TABLE };
    let rest = gates.push("clip/norm/window", &[rest], wide, Gate::Open(Open { len: 1, window, to }));
    let beyond = gates.push("clip/factor/beyond", &[rest], factor, Gate::Lookup(beyond));
    let gate = Add { len: 1, multipliers: vec![1, 1], constants: Vec::new() };
    let shrink = gates.push("clip/factor", &[below, beyond], factor, Gate::Add(gate));
    let open = Gate::Open(Open { len: 1, window: whole, to });
    let shrink = gates.push("clip/factor/operand", &[shrink], factor, open);
    // The vector times that.
    let each = product(Bilinear::Channels(Axes { outer: 1, kept: 1, inner: padded }));
    let row = gates.push("clip/clipped", &[row, shrink], grid + factor, each);
    let row = gates.cut("clip/clipped", row, padded, grid + factor, Window { shift: dropped[3], top: ring });
    let fine = grid + factor - dropped[3] as i32;
    debug_assert!(values <= padded);
    let mut at = 0;
    for (index, frac, len) in states {
        let name = &training.states[index].name;
        let arrange = Arrange { len, blocks: vec![neighbours(0, at, 0, len)] };
        let gate = Gate::Arrange(Rearrange { arrange, multipliers: vec![1 << (frac - fine)] });
        let own = gates.push(&format!("{name}/clipped"), &[row], frac, gate);
        gates.push(&format!("{name}/store"), &[own], frac, Gate::Store(Kept { state: index, len }));
        at += len;
    }
    Ok(Plan {
        reveal: Reveal { what: Revealed::Nothing, to },
        training: Some(training),
        gates: gates.0,
        ..basis.clone()
    })
}
