//! Elements, fixed point and tensors.

use ariann_ring::{FixedError, Ring, Tensor, TensorError, decode, encode};
use proptest::prelude::*;

#[test]
fn fixed_point_rounds_to_nearest() {
    for (x, f, expected) in [
        (0.0, 8, 0i64),
        (-0.0, 8, 0),
        (1.0, 8, 256),
        (-1.5, 1, -3),
        (0.5, 0, 1),
        (-0.5, 0, -1),
        (0.49, 0, 0),
        (1.25, 1, 3),
        (1000.0, -3, 125),
        (3.0, -1, 2),
    ] {
        assert_eq!(encode::<u32>(x, f).map(Ring::to_i64), Ok(expected), "{x} with {f} bits");
        assert_eq!(encode::<u64>(x, f).map(Ring::to_i64), Ok(expected), "{x} with {f} bits");
    }
}

#[test]
fn fixed_point_edges() {
    let top = 2f64.powi(31);
    assert_eq!(encode::<u32>(-top, 0), Ok(1 << 31));
    assert_eq!(encode::<u32>(top - 1.0, 0), Ok(u32::MAX >> 1));
    assert_eq!(encode::<u32>(top - 0.6, 0), Ok(u32::MAX >> 1));
    assert_eq!(encode::<u32>(-top - 0.4, 0), Ok(1 << 31));
    for x in [top, top - 0.5, -top - 0.5, -top - 1.0, f64::MAX, f64::MIN] {
        assert_eq!(encode::<u32>(x, 0), Err(FixedError::OutOfRange { value: x, frac_bits: 0, bits: 32 }), "{x}");
    }
    let top = 2f64.powi(63);
    assert_eq!(encode::<u64>(-top, 0), Ok(1 << 63));
    assert_eq!(encode::<u64>(1.0f64.next_down(), 63), Ok((1 << 63) - (1 << 10)));
    assert!(encode::<u64>(top, 0).is_err() && encode::<u64>(1.0, 63).is_err() && encode::<u64>(1.0, i32::MAX).is_err());
    assert_eq!(encode::<u64>(0.0, i32::MAX), Ok(0));
    assert_eq!(encode::<u64>(f64::MAX, i32::MIN), Ok(0));
    assert_eq!(encode::<u64>(f64::MIN_POSITIVE, 1022), Ok(1));
    assert_eq!(encode::<u64>(f64::MAX, -1020), Ok(16));
    for x in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert!(matches!(encode::<u32>(x, 4), Err(FixedError::NotFinite(_))));
        assert!(matches!(encode::<u64>(x, -4000), Err(FixedError::NotFinite(_))));
    }
}

#[test]
fn decoding_is_signed() {
    assert_eq!(decode::<u32>(u32::MAX, 0), -1.0);
    assert_eq!(decode::<u32>(1 << 31, 31), -1.0);
    assert_eq!(decode::<u64>(u64::MAX, 1), -0.5);
    assert_eq!(decode::<u64>(3, -2), 12.0);
    assert_eq!(decode::<u64>(1, i32::MIN), f64::INFINITY);
    assert_eq!(decode::<u64>(1, i32::MAX), 0.0);
}

#[test]
fn elements_wrap_and_shift() {
    fn laws<R: Ring>() {
        let last = R::ZERO.sub(R::ONE);
        assert_eq!(last.add(R::ONE), R::ZERO);
        assert_eq!(last.mul(last), R::ONE);
        assert_eq!(last.neg(), R::ONE);
        assert_eq!(last.to_i64(), -1);
        assert_eq!(R::from_i64(-1), last);
        assert_eq!((last.shl(R::BITS), last.shr(R::BITS), last.shl(200)), (R::ZERO, R::ZERO, R::ZERO));
        assert_eq!((R::low_mask(0), R::low_mask(3), R::low_mask(R::BITS)), (R::ZERO, R::from_u64(7), last));
        assert_eq!((R::spread(0), R::spread(1)), (R::ZERO, last));
    }
    laws::<u32>();
    laws::<u64>();
}

#[test]
fn tensors_have_the_elements_of_their_shape() {
    let t = Tensor::new(vec![2, 3], vec![1, 2, 3, 4, 5, 6]).unwrap();
    assert_eq!((t.shape(), t.data(), t.len()), (&[2, 3][..], &[1, 2, 3, 4, 5, 6][..], 6));
    let t = t.reshape(vec![3, 1, 2]).unwrap();
    assert_eq!(t.shape(), [3, 1, 2]);
    assert_eq!(t.clone().map(|v| v * 2).into_data(), [2, 4, 6, 8, 10, 12]);
    assert_eq!(t.reshape(vec![7]), Err(TensorError::Length { shape: vec![7], expected: 7, got: 6 }));
    assert_eq!(Tensor::new(vec![], vec![5]).unwrap().len(), 1);
    assert!(Tensor::<u8>::new(vec![], vec![]).is_err());
    assert!(Tensor::<u8>::new(vec![0, usize::MAX, 2], vec![]).unwrap().is_empty());
    assert!(matches!(Tensor::<u8>::new(vec![usize::MAX, 2], vec![]), Err(TensorError::Overflow(_))));
    assert_eq!(Tensor::<u32>::zeros(vec![2, 2]).unwrap().data(), [0; 4]);
    assert!(Tensor::<u32>::zeros(vec![usize::MAX, 2]).is_err());
}

proptest! {
    #[test]
    fn decode_undoes_encode(x in -1e4f64..1e4, f in 0i32..=16) {
        let unit = 2f64.powi(-f);
        prop_assert!((decode(encode::<u32>(x, f).unwrap(), f) - x).abs() <= unit / 2.0);
        prop_assert_eq!(decode(encode::<u64>(x, f).unwrap(), f), decode(encode::<u32>(x, f).unwrap(), f));
    }

    #[test]
    fn encode_undoes_decode(v: u32, f in -40i32..=40) {
        prop_assert_eq!(encode::<u32>(decode(v, f), f), Ok(v));
    }
}
