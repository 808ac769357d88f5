//! From coefficients to samples, rounded as libjpeg's integer transform does.
//!
//! A pass over eight values is a sum of products with constants of 13 fractional bits. Those are sums of the few rounded
//! constants that the fast form of the transform multiplies by, which is why some differ in the last place from the cosine.

/// What values 0, 2, 4 and 6 add to the first four sums; to the last four they add the same, mirrored.
const EVEN: [[i64; 4]; 4] =
    [[8192, 10703, 8192, 4433], [8192, 4433, -8192, -10704], [8192, -4433, -8192, 10704], [8192, -10703, 8192, -4433]];

/// What values 1, 3, 5 and 7 add to the first four sums; to the last four they add the same, mirrored and negated.
const ODD: [[i64; 4]; 4] =
    [[11363, 9633, 6437, 2260], [9633, -2259, -11362, -6436], [6437, -11362, 2261, 9633], [2260, -6436, 9633, -11363]];

/// Fractional bits of the constants, and those that are kept between the passes.
const CONSTANTS: u32 = 13;
const BETWEEN: u32 = 2;

/// The samples of a block: columns first, then rows.
pub(super) fn samples(coefficients: &[i64; 64]) -> [[u8; 8]; 8] {
    let mut between = [[0; 8]; 8];
    for column in 0..8 {
        let sums = pass(&std::array::from_fn(|row| coefficients[8 * row + column]), CONSTANTS - BETWEEN);
        sums.iter().zip(&mut between).for_each(|(sum, row)| row[column] = *sum);
    }
    // The transform gives 8 times what it should.
    between.map(|row| pass(&row, CONSTANTS + BETWEEN + 3).map(|sum| (sum + 128).clamp(0, 255) as u8))
}

/// One pass, rounded to `shift` bits fewer.
fn pass(values: &[i64; 8], shift: u32) -> [i64; 8] {
    let sum = |rows: &[i64; 4], first: usize| (0..4).map(|at| rows[at] * values[2 * at + first]).sum::<i64>();
    let mut sums = [0; 8];
    for at in 0..4 {
        let (even, odd) = (sum(&EVEN[at], 0) + (1 << (shift - 1)), sum(&ODD[at], 1));
        sums[at] = (even + odd) >> shift;
        sums[7 - at] = (even - odd) >> shift;
    }
    sums
}
