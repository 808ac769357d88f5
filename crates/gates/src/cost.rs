//! What a gate costs, for one item: the plan adds these up, and tests hold them against what is really made and sent.

use ariann_ring::pack::packed_len;

/// What one party sends in one exchange: `count` values of `width` bits for each item, packed over all items of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Values an item.
    pub count: usize,
    /// Bits a value.
    pub width: u32,
}

impl Traffic {
    /// Nothing is sent.
    pub const NONE: Traffic = Traffic { count: 0, width: 0 };

    /// `count` values of `width` bits.
    pub const fn new(count: usize, width: u32) -> Self {
        Traffic { count, width }
    }

    /// Bytes of the message for `items` items.
    pub const fn bytes(self, items: usize) -> usize {
        packed_len(self.count * items, self.width)
    }

    /// Bits for one item.
    pub const fn bits(self) -> u64 {
        self.count as u64 * self.width as u64
    }
}

/// Cost of a gate for one item.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Comparisons (evaluations of a comparison key, one at each party).
    pub comparisons: u64,
    /// Multiply-adds of the layer in clear.
    pub multiply_adds: u64,
    /// Bytes the dealer sends to P0 and to P1 beyond seeds.
    pub material: [usize; 2],
    /// Bytes P0 and P1 compute and keep when the material arrives.
    pub prepared: [usize; 2],
    /// Exchanges in order: what P0 sends and what P1 sends.
    pub exchanges: Vec<[Traffic; 2]>,
}
