//! The CPU's kernels: the same with one thread and with several, for whole runs and for a few items at a time.

use ariann_device::{Cpu, Device, GROUP, Keys, Lift, LinearShape, Piece, Source, Stream, Window};
use ariann_fss::chunks::Chunks;
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

/// Ways to cut five items of `len` elements: whole items, a few at a time, within items.
fn cuts(len: usize) -> Vec<Vec<Vec<Piece>>> {
    let item = |item| Piece { item, elements: 0..len };
    let at = (len / 2).next_multiple_of(GROUP).min(len);
    let halves = |item| [0..at, at..len].map(|elements| Piece { item, elements }).into_iter();
    vec![
        vec![(0..5).map(item).collect()],
        vec![vec![item(0)], vec![item(1), item(2)], vec![item(3), item(4)]],
        (0..5).flat_map(halves).filter(|piece| !piece.elements.is_empty()).map(|piece| vec![piece]).collect(),
    ]
}

/// The bytes of pieces that follow one another, out of sections of `section` bytes of which the first n elements take `bytes(n)`.
fn bytes_of(pieces: &[Piece], all: &[u8], section: usize, bytes: impl Fn(usize) -> usize) -> Vec<u8> {
    let part = |piece: &Piece| &all[piece.item * section..][bytes(piece.elements.start)..bytes(piece.elements.end)];
    pieces.iter().flat_map(part).copied().collect()
}

const ITEMS: u32 = 5;

/// Keys of all items, evaluated at once or in pieces, with one thread or several.
#[test]
fn comparisons_may_be_cut_at_groups() {
    let hash = TreeHash::new(&HashKeys { inner: [5; 16], leaf: [6; 16] });
    for (len, width, points) in [(1, 3, 1), (17, 9, 2), (200, 20, 1), (200, 20, 2)] {
        let (seeds, roots) = ([prg(1), prg(2)], stream(len, 0..1));
        let alpha: Vec<u32> = Cpu.expand(&prg(7), &stream(len, 0..ITEMS), width);
        let x: Vec<u32> = Cpu.expand(&prg(8), &stream(points * len, 0..ITEMS), width);
        let (mut keys, mut r_d) = (Vec::new(), Vec::new());
        for slot in 0..ITEMS {
            let roots = Stream { slots: slot..slot + 1, ..roots.clone() };
            let alpha = alpha[slot as usize * len..][..len].to_vec();
            let pads = [vec![0; points * len], vec![0; points * len]];
            r_d.extend(Cpu.deal_drelu(&hash, [&seeds[0], &seeds[1]], &roots, &alpha, width, pads, &mut keys));
        }
        let bytes = |elements| elements * key_len(width - 1);
        assert_eq!(keys.len(), ITEMS as usize * bytes(len));
        let roots = stream(len, 0..ITEMS);
        let evaluate = |party: Party, steps: &[Vec<Piece>]| {
            let mut bits = vec![0u8; x.len()];
            for pieces in steps {
                let (prg, keys) = (&seeds[party as usize], bytes_of(pieces, &keys, bytes(len), bytes));
                Cpu.drelu(&hash, party, prg, &roots, pieces, &keys, &x, width, &mut bits);
            }
            bits
        };
        let [zero, one] = [Party::P0, Party::P1].map(|party| whichever_way(len, |steps| evaluate(party, steps)));
        are_signs(&x, &alpha, [&zero, &one, &r_d], (len, points, width));
    }
}

/// The same by chunks: P0's vectors from its seed, P1's as they were dealt.
#[test]
fn comparisons_by_chunks_may_be_cut_at_groups() {
    for (len, width, points) in [(1, 3, 1), (17, 9, 2), (200, 20, 1), (600, 32, 2)] {
        let chunks = Chunks::new(width - 1).unwrap();
        let (vectors, tables) = (stream(len, 0..ITEMS), Stream { kind: 9, ..stream(points * len, 0..ITEMS) });
        let alpha: Vec<u32> = Cpu.expand(&prg(7), &stream(len, 0..ITEMS), width);
        let x: Vec<u32> = Cpu.expand(&prg(8), &stream(points * len, 0..ITEMS), width);
        let (mut sections, mut r_d, mut pads) = (Vec::new(), Vec::new(), [Vec::new(), Vec::new()]);
        for slot in 0..ITEMS {
            let of = |stream: &Stream| Stream { slots: slot..slot + 1, ..stream.clone() };
            let alpha = alpha[slot as usize * len..][..len].to_vec();
            let marks = [11, 12].map(|byte| Cpu.expand_marks(&prg(byte), &of(&tables), chunks.marks()));
            pads.iter_mut().zip(&marks).for_each(|(pads, marks)| pads.extend_from_slice(marks));
            let (vectors, tables, bits) = (of(&vectors), of(&tables), [vec![0; points * len], vec![0; points * len]]);
            r_d.extend(Cpu.deal_chunks(&prg(1), &vectors, &tables, &alpha, width, marks, bits, &mut sections));
        }
        let section = chunks.vectors_len(len) + chunks.tables_len(points * len);
        assert_eq!(sections.len(), ITEMS as usize * section);
        let seed = prg(1);
        let mark = |party: Party, steps: &[Vec<Piece>]| {
            let mut marks = pads[party as usize].clone();
            for pieces in steps {
                let dealt = bytes_of(pieces, &sections, section, |elements| chunks.vectors_len(elements));
                let source = [Source::Seed(&seed, &vectors), Source::Dealt(&dealt)][party as usize];
                Cpu.mark(source, pieces, len, ITEMS as usize, &x, width, &mut marks);
            }
            marks
        };
        let [zero, one] = [Party::P0, Party::P1].map(|party| whichever_way(len, |steps| mark(party, steps)));
        let message = Cpu.pack_marks(&one, chunks.marks());
        let marks = Cpu.open_marks(zero, &message, chunks.marks()).unwrap();
        let combine = |party: Party, steps: &[Vec<Piece>]| {
            let mut bits = vec![0u8; x.len()];
            for pieces in steps {
                let bytes = |elements| chunks.vectors_len(len) + chunks.tables_len(elements);
                let dealt = bytes_of(pieces, &sections, section, bytes);
                let source = [Source::Seed(&seed, &tables), Source::Dealt(&dealt)][party as usize];
                Cpu.combine(party, source, pieces, points * len, &marks, &x, width, &mut bits);
            }
            bits
        };
        let [zero, one] =
            [Party::P0, Party::P1].map(|party| whichever_way(points * len, |steps| combine(party, steps)));
        are_signs(&x, &alpha, [&zero, &one, &r_d], (len, points, width));
    }
}

/// What `evaluate` gives, the same for all cuts and any number of threads.
fn whichever_way<T: Send + PartialEq + std::fmt::Debug>(
    len: usize,
    evaluate: impl Fn(&[Vec<Piece>]) -> T + Sync + Send,
) -> T {
    let [whole, few, within] = cuts(len).try_into().unwrap();
    let result = with_threads(1, || evaluate(&whole));
    assert_eq!(result, with_threads(3, || evaluate(&whole)));
    assert_eq!(result, with_threads(3, || evaluate(&few)));
    assert_eq!(result, with_threads(1, || evaluate(&within)));
    result
}

fn are_signs(x: &[u32], alpha: &[u32], [zero, one, r_d]: [&[u8]; 3], (len, points, width): (usize, usize, u32)) {
    for (i, x) in x.iter().enumerate() {
        let alpha = alpha[i / (points * len) * len + i % len];
        let difference = x.wrapping_sub(alpha) & u32::low_mask(width);
        assert_eq!(zero[i] ^ one[i] ^ r_d[i], u8::from(difference >> (width - 1) == 0), "w = {width}");
    }
}

#[test]
fn products_and_selects_do_not_depend_on_threads() {
    let shape = LinearShape::Dense { inputs: 21, outputs: 13 };
    let weights: Vec<u64> = Cpu.expand(&prg(1), &stream(shape.weight_len(), 0..1), 64);
    let x: Vec<u64> = Cpu.expand(&prg(2), &stream(21, 0..9), 64);
    let whole = with_threads(1, || Cpu.linear(&Cpu.weights(&shape, &weights), 9, &x));
    assert_eq!(whole, with_threads(3, || Cpu.linear(&Cpu.weights(&shape, &weights), 9, &x)));
    for (lift, width, len) in [(Lift::None, 13, 7), (Lift::From(20), 64, 300), (Lift::Signed(20), 64, 64)] {
        let seed = prg(3);
        let words = stream(len * lift.planes(), 0..ITEMS);
        let sections: Vec<u8> = (0..ITEMS)
            .flat_map(|slot| {
                let words: Vec<u64> = Cpu.expand(&seed, &Stream { slots: slot..slot + 1, ..words.clone() }, width);
                Cpu.pack(&words, width)
            })
            .collect();
        let bytes = |elements: usize| packed_len(elements * lift.planes(), width);
        let v: Vec<u64> = Cpu.expand(&prg(4), &stream(len, 0..ITEMS), 20);
        let d = Cpu.expand_bits(&prg(5), &stream(len, 0..ITEMS));
        for party in [Party::P0, Party::P1] {
            let select = |dealt: bool, steps: &[Vec<Piece>]| {
                let mut out = vec![0; v.len()];
                for pieces in steps {
                    let bytes = bytes_of(pieces, &sections, bytes(len), bytes);
                    let table = if dealt { Source::Dealt(&bytes) } else { Source::Seed(&seed, &words) };
                    Cpu.select(party, table, pieces, len, width, &d, &v, lift, &mut out).unwrap();
                }
                out
            };
            let dealt = whichever_way(len, |steps| select(true, steps));
            assert_eq!(dealt, whichever_way(len, |steps| select(false, steps)), "{lift:?}");
        }
    }
}

/// In one pass what gather, subtraction and reduction do.
#[test]
fn differences_are_gathered() {
    let x: Vec<u32> = Cpu.expand(&prg(4), &stream(23, 0..3), 32);
    let (a, b) = ([3, 22, 0, 7], [1, 1, 22, 8]);
    let (differences, second) = Cpu.differences(&x, 3, 23, [&a, &b], 9);
    assert_eq!(second, Cpu.gather(&x, 3, 23, &b));
    let mut expected = Cpu.gather(&x, 3, 23, &a);
    Cpu.sub(&mut expected, &second);
    Cpu.reduce(&mut expected, 9);
    assert_eq!(differences, expected);
    Cpu.add_reduce(&mut expected, &second, 9);
    assert!(expected.iter().zip(Cpu.gather(&x, 3, 23, &a)).all(|(sum, a)| *sum == a & 0x1ff));
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

/// An opening in one pass gives the same own part and the same message as its steps, at odd lengths and with more threads.
#[test]
fn openings_in_pieces_are_those_in_steps() {
    let prg = Prg::new(&Seed::from_bytes([9; 16]));
    for (len, slots, shift, top) in [(1, 0..1, 0, 32), (77, 2..5, 9, 28), (40_001, 0..3, 5, 24), (100_003, 1..2, 0, 13)]
    {
        let stream = Stream { kind: 1, gate: 3, slots, len };
        let share: Vec<u32> = (0..stream.total() as u32).map(|i| i.wrapping_mul(2_654_435_761)).collect();
        let window = Window { shift, top };
        for half in [false, true] {
            let own = Cpu.window(&share, &Cpu.expand(&prg, &stream, 32), window, half);
            let message = Cpu.pack(&own, window.width());
            for threads in [1, 3] {
                let mut sent = Vec::new();
                let again = with_threads(threads, || {
                    let mut keep = |piece: &[u8]| {
                        sent.extend_from_slice(piece);
                        Ok::<_, ()>(())
                    };
                    Cpu.open_in_pieces(&prg, &stream, &share, window, half, &mut keep)
                });
                assert_eq!(again, Ok(own.clone()));
                assert_eq!(sent, message);
            }
        }
    }
}
