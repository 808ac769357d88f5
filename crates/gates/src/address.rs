//! What the words of a seed are for. Together with gate, slot and block this makes an address, and each address is used once.

/// Kinds of words (`Stream::kind`).
pub mod kind {
    /// The mask of the wire that a gate puts out.
    pub const MASK: u8 = 1;
    /// Roots of comparison keys.
    pub const ROOT: u8 = 2;
    /// Pads of the masked bit d̂.
    pub const BIT: u8 = 3;
    /// P0's part of a select's table.
    pub const TABLE: u8 = 4;
    /// The part of a linear layer's correction c that is not sent.
    pub const CORRECTION: u8 = 5;
    /// P0's share of a wire's mask, for the signed truncation.
    pub const ALPHA: u8 = 6;
    /// P0's share of the top bit of a wire's mask.
    pub const TOP: u8 = 7;
    /// Masks of weights (from a weights seed, never from a batch's).
    pub const WEIGHTS: u8 = 8;
    /// The dealer's coins, from a seed of its own.
    pub const COIN: u8 = 9;
    /// The mask of the index that an argmax carries.
    pub const INDEX_MASK: u8 = 10;
    /// P0's part of the table that selects the index.
    pub const INDEX_TABLE: u8 = 11;
    /// P0's vectors of a comparison by chunks.
    pub const VECTOR: u8 = 12;
    /// P0's vectors that combine its marks.
    pub const COMBINING: u8 = 13;
    /// Pads of its marks.
    pub const MARK: u8 = 14;
    /// P0's share of a lookup's sign e.
    pub const SIGN: u8 = 15;
    /// Pads ρ of a lookup's opened product.
    pub const PRODUCT: u8 = 16;
}
