//! Every AES path against the crate `aes` and against the portable path, bit for bit, at odd lengths.

use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};
use ariann_prg::{Address, Backend, Ends, HashKeys, LANES, Prg, Seed, TreeHash};
use proptest::prelude::*;

fn oracle(key: [u8; 16], block: [u8; 16]) -> [u8; 16] {
    let mut out = Array::from(block);
    aes::Aes128::new(&Array::from(key)).encrypt_block(&mut out);
    out.into()
}

fn bytes(label: u64, len: usize) -> Vec<u8> {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&label.to_le_bytes());
    let blocks = (0..len.div_ceil(16) as u128).flat_map(|i| oracle(key, i.to_le_bytes()));
    blocks.take(len).collect()
}

proptest! {
    #[test]
    fn block_i_is_the_cipher_at_its_address(
        key: [u8; 16], kind: u8, gate in 0u32..1 << 24, slot: u32, first in 0u64..(1 << 40) - 100, len in 0usize..1000,
    ) {
        let mut stream = Vec::new();
        for block in first..first + 70 {
            let address = u128::from(kind) | u128::from(gate) << 8 | u128::from(slot) << 32 | u128::from(block) << 64;
            stream.extend(oracle(key, address.to_le_bytes()));
        }
        for backend in Backend::available() {
            let prg = Prg::with_backend(&Seed::from_bytes(key), backend).unwrap();
            let mut out = vec![0; len];
            prg.fill_blocks(Address { kind, gate, slot }, first, &mut out);
            prop_assert_eq!(&out, &stream[..len], "{}", backend);
        }
    }

    #[test]
    fn words_and_bits_are_cut_from_one_stream(key: [u8; 16], start in 0usize..200, count in 0usize..300) {
        let address = Address { kind: 3, gate: 5, slot: 9 };
        let prg = Prg::new(&Seed::from_bytes(key));
        let mut stream = vec![0; 8 * 600];
        prg.fill_blocks(address, 0, &mut stream);
        let mut words = vec![0u32; count];
        prg.fill(address, start as u64, &mut words);
        let expected: Vec<u32> = stream.as_chunks::<4>().0[start..start + count].iter().map(|w| u32::from_le_bytes(*w)).collect();
        prop_assert_eq!(words, expected);
        let mut words = vec![0u64; count];
        prg.fill(address, start as u64, &mut words);
        let expected: Vec<u64> = stream.as_chunks::<8>().0[start..start + count].iter().map(|w| u64::from_le_bytes(*w)).collect();
        prop_assert_eq!(words, expected);
        let mut bits = vec![9; 40 * count];
        prg.fill_bits(address, start as u64, &mut bits);
        let expected: Vec<u8> = (start..start + 40 * count).map(|i| stream[i / 8] >> (i % 8) & 1).collect();
        prop_assert_eq!(bits, expected);
    }
}

#[test]
fn fips_197_appendix_c_on_every_path() {
    // the plain text of the standard is the address whose fields are its bytes
    let key: [u8; 16] = std::array::from_fn(|i| i as u8);
    let cipher = [0x69, 0xc4, 0xe0, 0xd8, 0x6a, 0x7b, 0x04, 0x30, 0xd8, 0xcd, 0xb7, 0x80, 0x70, 0xb4, 0xc5, 0x5a];
    let plain: [u8; 16] = std::array::from_fn(|i| 0x11 * i as u8);
    assert_eq!(oracle(key, plain), cipher);
    // H(x) = AES(σ(x)) xor σ(x) at the x with σ(x) = plain: L is the low half of σ(x), and R = L xor its high half
    let sigma = u128::from_le_bytes(plain);
    let (high, low) = ((sigma >> 64) as u64, sigma as u64);
    let x = u128::from(low) << 64 | u128::from(low ^ high);
    for backend in Backend::available() {
        let hash = TreeHash::with_backend(&HashKeys { inner: key, leaf: key }, backend).unwrap();
        let mut block = [x.to_le_bytes()];
        hash.inner(&mut block);
        assert_eq!((u128::from_le_bytes(block[0]) ^ sigma).to_le_bytes(), cipher, "{backend}");
    }
}

#[test]
fn tree_loops_agree_with_the_portable_ones() {
    let keys = HashKeys { inner: *bytes(1, 16).first_chunk().unwrap(), leaf: *bytes(2, 16).first_chunk().unwrap() };
    let roots: [[u8; 16 * LANES]; 2] =
        [bytes(3, 16 * LANES).try_into().unwrap(), bytes(4, 16 * LANES).try_into().unwrap()];
    for domain_bits in 1..=63u32 {
        let point = |label: u64| -> [u64; LANES] {
            let random = bytes(label + u64::from(domain_bits), 8 * LANES);
            std::array::from_fn(|i| u64::from_le_bytes(*random[8 * i..].first_chunk().unwrap()) >> (64 - domain_bits))
        };
        let (alphas, xs) = (point(100), point(200));
        let len = 16 * LANES * (domain_bits.saturating_sub(7) as usize + 1);
        let run = |backend| {
            let hash = TreeHash::with_backend(&keys, backend).unwrap();
            let mut made = vec![0; len];
            hash.grow(domain_bits, [&roots[0], &roots[1]], &alphas, &mut made);
            let ends = [false, true].map(|party| {
                let mut ends = Ends::default();
                hash.walk(party, domain_bits, &roots[usize::from(party)], &made, &xs, &mut ends);
                (ends.turns, ends.leaves)
            });
            (made, ends)
        };
        let expected = run(Backend::Soft);
        for backend in Backend::available() {
            assert!(run(backend) == expected, "{backend} on {domain_bits} bits");
        }
    }
}

#[test]
fn hashes_of_any_number_of_blocks() {
    let keys = HashKeys { inner: [1; 16], leaf: [2; 16] };
    for count in [0, 1, 3, 7, 8, 9, 31, 33] {
        let blocks: Vec<[u8; 16]> = bytes(5, 16 * count).as_chunks().0.to_vec();
        let both = |backend| {
            let hash = TreeHash::with_backend(&keys, backend).unwrap();
            let (mut inner, mut leaf) = (blocks.clone(), blocks.clone());
            hash.inner(&mut inner);
            hash.leaf(&mut leaf);
            (inner, leaf)
        };
        for backend in Backend::available() {
            assert_eq!(both(backend), both(Backend::Soft), "{backend}");
        }
    }
}

#[test]
fn a_path_that_is_missing_is_an_error() {
    for backend in Backend::ALL {
        let made =
            TreeHash::with_backend(&HashKeys { inner: [1; 16], leaf: [2; 16] }, backend).map(|hash| hash.backend());
        assert_eq!(made.ok(), backend.is_available().then_some(backend));
        assert_eq!(Prg::with_backend(&Seed::from_bytes([0; 16]), backend).is_ok(), backend.is_available());
    }
}

#[test]
fn the_last_block_is_within_reach() {
    let mut last = [0; 16];
    Prg::new(&Seed::from_bytes([0; 16])).fill_blocks(
        Address { kind: 0, gate: (1 << 24) - 1, slot: 0 },
        (1 << 40) - 1,
        &mut last,
    );
    let address = u128::from((1u32 << 24) - 1) << 8 | ((1u128 << 40) - 1) << 64;
    assert_eq!(last, oracle([0; 16], address.to_le_bytes()));
}

#[test]
#[should_panic(expected = "2^40 blocks")]
fn blocks_end_at_2_to_the_40() {
    let address = Address { kind: 0, gate: 0, slot: 0 };
    Prg::new(&Seed::from_bytes([0; 16])).fill_blocks(address, (1 << 40) - 1, &mut [0; 17]);
}

#[test]
#[should_panic(expected = "does not fit an address")]
fn gates_end_at_2_to_the_24() {
    Prg::new(&Seed::from_bytes([0; 16])).fill_blocks(Address { kind: 0, gate: 1 << 24, slot: 0 }, 0, &mut [0; 16]);
}

#[test]
fn entropy_differs_every_time() {
    let (one, two) = (Seed::from_entropy().unwrap(), Seed::from_entropy().unwrap());
    assert_ne!(one.expose(), two.expose());
    assert_ne!(one.expose(), &[0; 16]);
    let keys = HashKeys::from_entropy().unwrap();
    assert_ne!(keys.inner, keys.leaf);
    assert_ne!(keys, HashKeys::from_entropy().unwrap());
}
