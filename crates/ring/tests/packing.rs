//! Bit packing: every width, against a loop over single bits.

use ariann_ring::Ring;
use ariann_ring::pack::{PackError, pack, pack_bits, packed_len, unpack, unpack_add, unpack_bits};
use proptest::prelude::*;

fn values<R: Ring>(len: usize, seed: u64) -> Vec<R> {
    (1..=len as u64).map(|i| R::from_u64((i ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31))).collect()
}

/// The format, bit by bit.
fn slow<R: Ring>(values: &[R], shift: u32, width: u32) -> Vec<u8> {
    let mut out = vec![0; packed_len(values.len(), width)];
    for (i, v) in values.iter().enumerate() {
        for bit in 0..width {
            let at = i * width as usize + bit as usize;
            out[at / 8] |= ((v.shr(shift + bit).to_u64() & 1) as u8) << (at % 8);
        }
    }
    out
}

fn check<R: Ring>(len: usize, shift: u32, width: u32, seed: u64) {
    let values = values::<R>(len, seed);
    let mut packed = vec![0xab];
    pack(&values, shift, width, &mut packed);
    let expected = slow(&values, shift, width);
    assert_eq!(packed[0], 0xab, "what stood there stays");
    assert_eq!(packed[1..], expected, "{len} values, {width} bits from {shift}");

    let cut: Vec<R> = values.iter().map(|v| v.shr(shift).and(R::low_mask(width))).collect();
    let mut back = vec![R::ONE; len];
    unpack(&expected, width, &mut back).unwrap();
    assert_eq!(back, cut, "{len} values, {width} bits");

    let own = self::values::<R>(len, !seed);
    let mut sum = own.clone();
    unpack_add(&expected, width, &mut sum).unwrap();
    let expected: Vec<R> = own.iter().zip(&cut).map(|(a, b)| a.add(*b).and(R::low_mask(width))).collect();
    assert_eq!(sum, expected, "{len} sums, {width} bits");
}

#[test]
fn every_width() {
    for len in [0, 1, 2, 7, 8, 9, 15, 16, 17, 63, 64, 65, 130] {
        for width in 0..=32 {
            for shift in [0, 1, 7, 12, 31] {
                check::<u32>(len, shift, width, 5);
            }
        }
        for width in 0..=64 {
            for shift in [0, 1, 13, 32, 63] {
                check::<u64>(len, shift, width, 6);
            }
        }
        // Wider than the element: the bits above are zero.
        for width in 33..=64 {
            check::<u32>(len, 0, width, 7);
        }
    }
}

#[test]
fn wrong_lengths() {
    for width in [1, 3, 8, 20, 32] {
        for len in [1usize, 8, 13] {
            let expected = packed_len(len, width);
            for got in [0, expected - 1, expected + 1, expected + 100] {
                if got == expected {
                    continue;
                }
                let error = Err(PackError::Length { expected, got });
                let mut out = vec![9u32; len];
                assert_eq!(unpack(&vec![0; got], width, &mut out), error);
                assert_eq!(unpack_add(&vec![0; got], width, &mut out), error);
                assert_eq!(out, vec![9; len], "nothing is written");
            }
        }
    }
    assert_eq!(unpack_bits(&[0, 0], &mut [0; 8]), Err(PackError::Length { expected: 1, got: 2 }));
}

#[test]
fn set_trailing_bits() {
    for len in 1..=17 {
        for width in 1..=31 {
            let bits = len * width as usize;
            for bit in bits..packed_len(len, width) * 8 {
                let mut bytes = vec![0; packed_len(len, width)];
                bytes[bit / 8] |= 1 << (bit % 8);
                let mut out = vec![9u32; len];
                assert_eq!(unpack(&bytes, width, &mut out), Err(PackError::Trailing), "{len} x {width}, bit {bit}");
                assert_eq!(unpack_add(&bytes, width, &mut out), Err(PackError::Trailing));
                assert_eq!(out, vec![9; len], "nothing is written");
            }
        }
    }
    for len in 1..=16usize {
        for bit in len..len.next_multiple_of(8) {
            let mut bytes = vec![0; packed_len(len, 1)];
            bytes[bit / 8] |= 1 << (bit % 8);
            assert_eq!(unpack_bits(&bytes, &mut vec![0; len]), Err(PackError::Trailing));
        }
    }
}

#[test]
fn bits_are_values_of_width_one() {
    for byte in 0..=255u8 {
        let bits: Vec<u8> = (0..8).map(|i| byte >> i & 1).collect();
        let mut packed = Vec::new();
        pack_bits(&bits, &mut packed);
        assert_eq!(packed, [byte]);
        let mut back = [7; 8];
        unpack_bits(&packed, &mut back).unwrap();
        assert_eq!(back, *bits);
    }
    for len in 0..=70 {
        let values: Vec<u32> = values(len, 3);
        let bits: Vec<u8> = values.iter().map(|v| (v & 1) as u8).collect();
        let (mut packed, mut expected) = (Vec::new(), Vec::new());
        pack_bits(&bits, &mut packed);
        pack(&values, 0, 1, &mut expected);
        assert_eq!(packed, expected);
        let mut back = vec![9; len];
        unpack_bits(&packed, &mut back).unwrap();
        assert_eq!(back, bits);
    }
}

proptest! {
    #[test]
    fn random_packings(len in 0usize..300, shift in 0u32..64, width in 1u32..=64, seed: u64) {
        check::<u64>(len, shift, width, seed);
        check::<u32>(len, shift % 32, width.min(32), seed);
    }
}
