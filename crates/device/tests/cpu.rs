//! The CPU's kernels: the same with one thread and with several, for whole runs and for a few items at a time.

use ariann_device::{Cpu, Device, Keys, Lift, LinearShape, Stream, Window};
use ariann_fss::{Party, key_len};
use ariann_prg::{HashKeys, Prg, Seed, TreeHash};
use ariann_ring::Ring;
use ariann_ring::pack::packed_len;
use proptest::prelude::*;

fn prg(byte: u8) -> Prg {
    Prg::new(&Seed::from_bytes([byte; 16]))
}

fn with_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}

fn stream(len: usize, slots: std::ops::Range<u32>) -> Stream {
    Stream { kind: 1, gate: 2, slots, len }
}

#[test]
fn expansion_depends_on_the_slot_alone() {
    for len in [1, 7, 33, 1000] {
        let one = with_threads(1, || Cpu.expand::<u32>(&prg(1), &stream(len, 3..9), 32));
        assert_eq!(one, with_threads(3, || Cpu.expand::<u32>(&prg(1), &stream(len, 3..9), 32)));
        // A run over other slots sees the same words in the slots that both have.
        assert_eq!(one[2 * len..4 * len], Cpu.expand::<u32>(&prg(1), &stream(len, 5..7), 32));
        assert_ne!(one[..len], Cpu.expand::<u32>(&prg(2), &stream(len, 3..4), 32));
        // Fewer bits are the low bits of the same words.
        let cut: Vec<u32> = one.iter().map(|word| word & 0x1ff).collect();
        assert_eq!(cut, Cpu.expand::<u32>(&prg(1), &stream(len, 3..9), 9));
        let bits = Cpu.expand_bits(&prg(1), &stream(len, 3..9));
        assert_eq!(bits.len(), 6 * len);
        assert!(bits.iter().all(|bit| *bit <= 1));
        assert_eq!(bits[2 * len..4 * len], Cpu.expand_bits(&prg(1), &stream(len, 5..7)));
    }
}

/// Keys of all items dealt at once or one by one, evaluated at once or a few items at a time, with one thread or several.
#[test]
fn comparisons_may_be_cut_anywhere() {
    let hash = TreeHash::new(&HashKeys { inner: [5; 16], leaf: [6; 16] });
    for (len, width) in [(1, 3), (17, 9), (40, 20)] {
        const ITEMS: u32 = 5;
        let (seeds, roots) = ([prg(1), prg(2)], stream(len, 0..1));
        let alpha: Vec<u32> = Cpu.expand(&prg(7), &stream(len, 0..ITEMS), width);
        let x: Vec<u32> = Cpu.expand(&prg(8), &stream(len, 0..ITEMS), width);
        let mut keys = Vec::new();
        let mut r_d = Vec::new();
        for slot in 0..ITEMS {
            let roots = Stream { slots: slot..slot + 1, ..roots.clone() };
            let alpha = alpha[slot as usize * len..][..len].to_vec();
            let pads = [vec![0; len], vec![0; len]];
            r_d.extend(Cpu.deal_drelu(&hash, [&seeds[0], &seeds[1]], &roots, &alpha, width, pads, &mut keys));
        }
        let section_len = len * key_len(width - 1);
        assert_eq!(keys.len(), ITEMS as usize * section_len);
        let roots = stream(len, 0..ITEMS);
        let evaluate = |party: Party, steps: &[usize]| {
            let mut bits = vec![0u8; x.len()];
            let mut first = 0;
            for end in steps {
                let sections = &keys[first * section_len..end * section_len];
                let keys = Keys { sections, section_len };
                let prg = &seeds[party as usize];
                Cpu.drelu(&hash, party, prg, &roots, first..*end, keys, &x, width, &mut bits);
                first = *end;
            }
            bits
        };
        let [zero, one] = [Party::P0, Party::P1].map(|party| {
            let whole = with_threads(1, || evaluate(party, &[5]));
            assert_eq!(whole, with_threads(3, || evaluate(party, &[5])));
            assert_eq!(whole, with_threads(3, || evaluate(party, &[1, 3, 5])));
            whole
        });
        for i in 0..x.len() {
            let difference = x[i].wrapping_sub(alpha[i]) & u32::low_mask(width);
            let d = u8::from(difference >> (width - 1) == 0);
            assert_eq!(zero[i] ^ one[i] ^ r_d[i], d, "w = {width}");
        }
    }
}

#[test]
fn products_and_selects_do_not_depend_on_threads() {
    let shape = LinearShape::Dense { inputs: 21, outputs: 13 };
    let weights: Vec<u64> = Cpu.expand(&prg(1), &stream(shape.weight_len(), 0..1), 64);
    let x: Vec<u64> = Cpu.expand(&prg(2), &stream(21, 0..9), 64);
    let whole = with_threads(1, || Cpu.linear(&Cpu.weights(&shape, &weights), 9, &x));
    assert_eq!(whole, with_threads(3, || Cpu.linear(&Cpu.weights(&shape, &weights), 9, &x)));
    for lift in [Lift::None, Lift::From(20)] {
        let table: Vec<u64> = Cpu.expand(&prg(3), &stream(7 * lift.planes(), 0..4), 64);
        let v: Vec<u64> = Cpu.expand(&prg(4), &stream(7, 0..4), 64);
        let d = Cpu.expand_bits(&prg(5), &stream(7, 0..4));
        for party in [Party::P0, Party::P1] {
            let one = with_threads(1, || Cpu.select(party, &d, &v, lift, 7, &table));
            assert_eq!(one, with_threads(3, || Cpu.select(party, &d, &v, lift, 7, &table)));
        }
    }
}

proptest! {
    #[test]
    fn sections_are_unpacked_from_their_offsets(count in 1usize..40, items in 1usize..5, width in 1u32..=32, offset in 0usize..9) {
        let values: Vec<u32> = Cpu.expand(&prg(9), &stream(count, 0..items as u32), width);
        let mut sections = Vec::new();
        for item in values.chunks(count) {
            sections.extend(vec![0xaa; offset]);
            sections.extend(Cpu.pack(&item.to_vec(), width));
            sections.push(0xbb);
        }
        let section_len = offset + packed_len(count, width) + 1;
        let keys = Keys { sections: &sections, section_len };
        prop_assert_eq!(Cpu.unpack::<u32>(keys, offset, count, width).unwrap(), values);
    }

    #[test]
    fn scatter_undoes_gather(order in Just((0..23u32).collect::<Vec<_>>()).prop_shuffle(), cut in 0usize..23) {
        let x: Vec<u32> = Cpu.expand(&prg(4), &stream(23, 0..3), 32);
        let (a, b) = order.split_at(cut);
        let (left, right) = (Cpu.gather(&x, 3, 23, a), Cpu.gather(&x, 3, 23, b));
        let both = Cpu.scatter(3, 23, &[(&left, a), (&right, b)]);
        prop_assert_eq!(both, x);
    }

    #[test]
    fn arithmetic_is_element_by_element(a in proptest::collection::vec(any::<u64>(), 12), b in proptest::collection::vec(any::<u64>(), 4)) {
        let mut sum = a.clone();
        Cpu.add(&mut sum, &b);
        for (i, sum) in sum.iter().enumerate() {
            prop_assert_eq!(*sum, a[i].wrapping_add(b[i % 4]));
        }
        Cpu.sub(&mut sum, &b);
        prop_assert_eq!(&sum, &a);
        Cpu.negate(&mut sum);
        Cpu.add(&mut sum, &a);
        prop_assert!(sum.iter().all(|x| *x == 0));
    }

    #[test]
    fn windows_are_cut_from_the_sum(z in any::<u32>(), r in any::<u32>(), shift in 0u32..20, width in 3u32..12) {
        let window = Window { shift, top: shift + width };
        let own = Cpu.window(&vec![z], &vec![r], window, false)[0];
        prop_assert_eq!(own, z.wrapping_add(r) >> shift & u32::low_mask(width));
        let half = if shift == 0 { 0 } else { 1 << (shift - 1) };
        let own = Cpu.window(&vec![z], &vec![r], window, true)[0];
        prop_assert_eq!(own, z.wrapping_add(r).wrapping_add(half) >> shift & u32::low_mask(width));
    }
}
