//! The format: what is written is read, and everything else is refused and named.

mod common;

use std::os::unix::fs::PermissionsExt;

use ariann_material::*;
use common::*;
use proptest::prelude::*;

const ID: BatchId = BatchId([0xab; 16]);

fn place(slot: u32, section: u32, chunk: u32) -> Place {
    Place { slot, section, chunk }
}

fn open(bytes: &[u8], expected: &Expected) -> Result<Batch, Error> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    Batch::open(file.path(), expected)
}

/// Where the stream and the file reader place the same damage.
fn damaged_at(bytes: &[u8], layout: &Layout) -> Place {
    let of = expected(layout);
    let streamed = match verify(bytes, &of, 4099).err() {
        Some(Error::Chunk { place, batch, .. }) if batch == ID => place,
        other => panic!("{other:?}"),
    };
    match open(bytes, &of).unwrap().verify_all(|_, _| {}) {
        Err(Error::Chunk { place, .. }) => assert_eq!(place, streamed),
        other => panic!("{other:?}"),
    }
    streamed
}

#[test]
fn the_file_is_the_stream_and_reads_back() {
    let (layout, folder) = (layout(), tempfile::tempdir().unwrap());
    let path = folder.path().join("b.mat");
    let mut writer = BatchWriter::create(&path, &header(&layout, 3, ID), &layout).unwrap();
    for slot in 0..3 {
        for section in 0..5 {
            let data = data(&layout, slot, section);
            let (first, second) = data.split_at(data.len() / 3);
            writer.write_section(slot, section, first).unwrap();
            writer.write_section(slot, section, second).unwrap();
        }
    }
    writer.finish().unwrap();
    let written = std::fs::read(&path).unwrap();
    assert!(written == bytes(&layout, 3, ID));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    for piece in [1000, CHUNK as usize, written.len()] {
        assert!(verify(&written, &expected(&layout), piece).unwrap() == written);
    }

    let batch = Batch::open(&path, &expected(&layout)).unwrap();
    assert_eq!(batch.header().secret().expose(), [0x5e; 16]);
    assert_eq!((batch.slots(), batch.header().label().batch), (3, ID));
    for section in 0..5 {
        let mut all = vec![0; 2 * layout.sections()[section as usize] as usize];
        batch.read_slots(1..3, section, &mut all).unwrap();
        assert!(all == [data(&layout, 1, section), data(&layout, 2, section)].concat());
    }
    let (mut last, mut steps) = (0, 0);
    batch
        .verify_all(|done, total| {
            assert!(last < done && done <= total);
            (last, steps) = (done, steps + 1);
        })
        .unwrap();
    assert_eq!((last, steps), (written.len() as u64, 12));
    let label = inspect(&path).unwrap();
    assert_eq!(&label, batch.header().label());
}

#[test]
fn damage_is_named_by_slot_section_and_chunk() {
    let layout = layout();
    let good = bytes(&layout, 2, ID);
    let head = header(&layout, 2, ID).encoded_len();
    let second = head + 5 + 16; // section 2 begins
    let flips = [
        (head, place(0, 0, 0)),
        (head + 5, place(0, 0, 0)), // in the tag
        (second, place(0, 2, 0)),
        (second + CHUNK as usize + 16, place(0, 2, 1)),
        (second + CHUNK as usize + 16 + 3 + 16 + 39, place(0, 4, 0)),
        (good.len() - 1, place(1, 4, 0)),
    ];
    for (at, expected) in flips {
        for bit in [0, 7] {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            assert_eq!(damaged_at(&bad, &layout), expected, "byte {at}");
        }
    }
    // Two whole slots, tags included, change places.
    let slot = layout.slot_bytes() as usize;
    let swapped = [&good[..head], &good[head + slot..], &good[head..head + slot]].concat();
    assert_eq!(damaged_at(&swapped, &layout), place(0, 0, 0));
}

#[test]
fn unchecked_bytes_are_never_handed_out() {
    let layout = layout();
    let mut bad = bytes(&layout, 2, ID);
    let head = header(&layout, 2, ID).encoded_len();
    bad[head + layout.slot_bytes() as usize] ^= 1;
    let batch = open(&bad, &expected(&layout)).unwrap();
    let mut out = [1u8; 10];
    let error = batch.read_slots(0..2, 0, &mut out).unwrap_err();
    assert!(matches!(&error, Error::Chunk { place: p, .. } if *p == place(1, 0, 0)));
    assert!(error.to_string().contains("slot 1 section 0 chunk 0"), "{error}");
    assert_eq!(error.fault(), Fault::Dealer);
    assert_eq!(out, [0; 10]);
    batch.read(0, 0, &mut out[..5]).unwrap();
    assert_eq!(out[..5], data(&layout, 0, 0));
}

#[test]
fn every_truncation_and_extension_is_refused() {
    let layout = small();
    let (good, of) = (bytes(&layout, 2, ID), expected(&layout));
    let head = header(&layout, 2, ID).encoded_len();
    for len in 0..good.len() {
        let cut = &good[..len];
        let streamed = verify(cut, &of, 7).err().unwrap();
        let opened = open(cut, &of).err().unwrap();
        if len < head {
            assert!(matches!(streamed, Error::Malformed { .. }), "{streamed}");
            assert!(matches!(opened, Error::Malformed { .. }), "{opened}");
            continue;
        }
        let inside = (len - head) as u64;
        let section = if inside % layout.slot_bytes() < 19 { 0 } else { 2 };
        let lost = place((inside / layout.slot_bytes()) as u32, section, 0);
        for error in [streamed, opened] {
            let Error::Length { lost: Some(found), .. } = error else { panic!("{error}") };
            assert_eq!(found, lost, "cut to {len}");
        }
    }
    let long = [&good[..], &[0]].concat();
    assert!(matches!(verify(&long, &of, 50), Err(Error::Malformed { .. })));
    assert!(matches!(open(&long, &of).err(), Some(Error::Length { lost: None, .. })));
}

#[test]
fn a_failed_stream_stays_failed() {
    let layout = small();
    let good = bytes(&layout, 1, ID);
    let mut verifier = StreamVerifier::new(expected(&layout), "the dealer", Vec::new());
    assert!(verifier.push(&[&good[..], &[0]].concat()).is_err());
    assert!(verifier.push(&good).is_err());
    assert!(verifier.finish().is_err());
}

#[test]
fn other_material_is_refused_by_name() {
    let layout = small();
    let good = bytes(&layout, 2, ID);
    let of = || expected(&layout);
    let others = [
        ("kind", Expected { kind: Kind::Prepared, ..of() }),
        ("party", Expected { party: 0, ..of() }),
        ("ring", Expected { ring_bits: 64, ..of() }),
        ("plan digest", Expected { plan_digest: [8; 32], ..of() }),
        ("suite", Expected { suite: "half-tree-aes128-v2".into(), ..of() }),
        ("suite name's length", Expected { suite: "x".into(), ..of() }),
        ("secret part's length", Expected { secret_len: 17, ..of() }),
        ("batch id", Expected { batch: Some(BatchId([1; 16])), ..of() }),
        ("weights version", Expected { weights: Some(WeightsVersion([1; 16])), ..of() }),
        ("number of slots", Expected { slots: Some(3), ..of() }),
        ("number of sections", Expected { layout: Layout::new(vec![3, 8]).unwrap(), ..of() }),
        ("layout digest", Expected { layout: Layout::new(vec![3, 1, 8]).unwrap(), ..of() }),
    ];
    for (name, other) in others {
        for error in [verify(&good, &other, 64).err().unwrap(), open(&good, &other).err().unwrap()] {
            assert!(matches!(error, Error::Mismatch { field, .. } if field == name), "{name}");
            assert_eq!(error.fault(), Fault::Operator);
        }
    }
}

#[test]
fn every_flipped_header_bit_is_refused() {
    let layout = small();
    let good = bytes(&layout, 1, ID);
    for bit in 0..header(&layout, 1, ID).encoded_len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(verify(&bad, &expected(&layout), 33).is_err(), "bit {bit}");
        assert!(open(&bad, &expected(&layout)).is_err(), "bit {bit}");
    }
}

#[test]
fn sections_come_in_order_and_whole() {
    let layout = small();
    let start = || Encoder::new(&header(&layout, 2, ID), &layout, Vec::new()).unwrap();
    assert!(start().write_section(0, 2, &[0; 8]).is_err());
    assert!(start().write_section(1, 0, &[0; 3]).is_err());
    assert!(start().write_section(0, 0, &[0; 4]).is_err());
    assert!(start().write_section(0, 1, &[0]).is_err());
    let mut cut = start();
    cut.write_section(0, 0, &[0; 3]).unwrap();
    assert!(cut.finish().is_err());
    assert!(Encoder::new(&header(&layout, 2, ID), &common::layout(), Vec::new()).is_err());
}

#[test]
fn an_unfinished_file_is_removed_and_a_running_one_not_touched() {
    let (layout, folder) = (small(), tempfile::tempdir().unwrap());
    let path = folder.path().join("b.mat");
    let writer = BatchWriter::create(&path, &header(&layout, 1, ID), &layout).unwrap();
    assert!(matches!(
        BatchWriter::create(&path, &header(&layout, 1, ID), &layout).err(),
        Some(Error::Io { doing: "creating", .. })
    ));
    assert!(folder.path().join("b.mat.part").exists());
    drop(writer);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_batch_of_no_bytes_is_a_header() {
    for layout in [Layout::new(vec![]).unwrap(), Layout::new(vec![0, 0]).unwrap()] {
        let bytes = bytes(&layout, 5, ID);
        assert_eq!(verify(&bytes, &expected(&layout), 9).unwrap(), bytes);
        open(&bytes, &expected(&layout)).unwrap().verify_all(|_, _| {}).unwrap();
    }
    assert!(Layout::new(vec![u64::MAX]).is_err());
    assert!(Layout::new(vec![1 << 55, 1 << 55]).is_err());
    assert!(Layout::new(vec![1 << 40]).unwrap().body_bytes(u32::MAX).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_layout_survives_encoding(
        sections in prop::collection::vec(prop_oneof![Just(0u64), 1..200u64, CHUNK - 1..CHUNK + 2], 0..6),
        slots in 1..4u32,
        piece in 1..70_000usize,
    ) {
        let layout = Layout::new(sections).unwrap();
        let bytes = bytes(&layout, slots, ID);
        let head = header(&layout, slots, ID).encoded_len() as u64;
        prop_assert_eq!(bytes.len() as u64, head + layout.body_bytes(slots).unwrap());
        prop_assert!(verify(&bytes, &expected(&layout), piece).unwrap() == bytes);
        let batch = open(&bytes, &expected(&layout)).unwrap();
        for section in 0..layout.sections().len() as u32 {
            let mut out = data(&layout, 0, section);
            batch.read(slots - 1, section, &mut out).unwrap();
            prop_assert!(out == data(&layout, slots - 1, section));
        }
    }

    #[test]
    fn decoders_take_anything(noise in prop::collection::vec(any::<u8>(), 0..400), keep in 0..400usize, piece in 1..50usize) {
        let layout = small();
        let good = bytes(&layout, 2, ID);
        let keep = keep.min(good.len());
        for bytes in [noise.clone(), [&good[..keep], &noise].concat()] {
            let accepted = verify(&bytes, &expected(&layout), piece).is_ok();
            prop_assert_eq!(accepted, bytes == good);
            let _ = Header::decode(&bytes, &expected(&layout), "noise");
        }
    }
}
