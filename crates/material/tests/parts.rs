//! Sections read in parts, and read ahead: the same bytes, checked, and nothing that is not checked.

mod common;

use std::os::unix::fs::FileExt;

use ariann_material::*;
use common::*;
use proptest::prelude::*;

const ID: BatchId = BatchId([0xcd; 16]);

/// Sections of no, few, exactly one chunk's and several chunks' bytes.
fn long() -> Layout {
    Layout::new(vec![5, 0, CHUNK, 3 * CHUNK + 9, 40]).unwrap()
}

struct Written {
    batch: Batch,
    file: tempfile::NamedTempFile,
    head: u64,
}

fn written(layout: &Layout, slots: u32) -> Written {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes(layout, slots, ID)).unwrap();
    let batch = Batch::open(file.path(), &expected(layout)).unwrap();
    Written { batch, file, head: header(layout, slots, ID).encoded_len() as u64 }
}

impl Written {
    /// Inverts a byte of the body under the open batch.
    fn damage(&self, at: u64) {
        let file = std::fs::OpenOptions::new().read(true).write(true).open(self.file.path()).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, self.head + at).unwrap();
        file.write_all_at(&[!byte[0]], self.head + at).unwrap();
    }
}

#[test]
fn consecutive_parts_of_any_size_are_the_section() {
    let layout = long();
    let Written { batch, .. } = written(&layout, 2);
    for size in [1 << 16, 100_003, CHUNK, CHUNK + 1, 5 * CHUNK] {
        for section in 0..5 {
            let whole = data(&layout, 1, section);
            let len = whole.len() as u64;
            let mut at = 0;
            while at < len {
                let range = at..(at + size).min(len);
                let want = &whole[range.start as usize..range.end as usize];
                let mut out = vec![0; want.len()];
                batch.read_part(1, section, range.clone(), &mut out).unwrap();
                assert!(out == want, "{section} {range:?}");
                assert!(batch.part(1, section, range.clone()).unwrap()[..] == *want, "{section} {range:?}");
                at = range.end;
            }
        }
    }
}

#[test]
fn a_chunk_is_read_once_for_its_consecutive_parts() {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get()) as u32;
    let layout = Layout::new(vec![CHUNK + 1; threads as usize + 4]).unwrap();
    let written = written(&layout, 1);
    let whole = data(&layout, 0, 0);
    let mut out = vec![0; 1000];
    written.batch.read_part(0, 0, 0..1000, &mut out).unwrap();
    // The chunk is in memory and was checked: the file is not asked again.
    written.damage(5000);
    written.batch.read_part(0, 0, 4500..5500, &mut out).unwrap();
    assert!(out == whole[4500..5500]);
    let part = written.batch.part(0, 0, 5000..CHUNK).unwrap();
    // When enough others were read it is read anew, and refused; what was handed out stays.
    for section in 1..threads + 4 {
        written.batch.read_part(0, section, 0..8, &mut out[..8]).unwrap();
    }
    let error = written.batch.read_part(0, 0, 8..16, &mut out[..8]).unwrap_err();
    assert!(matches!(error, Error::Chunk { place: Place { slot: 0, section: 0, chunk: 0 }, .. }), "{error}");
    assert!(part[..] == whole[5000..CHUNK as usize]);
}

#[test]
fn parts_of_damaged_chunks_are_never_handed_out() {
    let layout = long();
    let written = written(&layout, 1);
    let start = 5 + TAG + CHUNK + TAG;
    // In the second chunk of section 3.
    written.damage(start + CHUNK + TAG + 77);
    let batch = &written.batch;
    let mut out = vec![1; 64];
    batch.read_part(0, 3, CHUNK - 64..CHUNK, &mut out).unwrap();
    for range in [CHUNK - 32..CHUNK + 32, CHUNK + 500_000..CHUNK + 500_064] {
        for _ in 0..2 {
            out.fill(1);
            let error = batch.read_part(0, 3, range.clone(), &mut out).unwrap_err();
            assert!(matches!(error, Error::Chunk { place: Place { slot: 0, section: 3, chunk: 1 }, .. }), "{error}");
            assert_eq!(out, [0; 64]);
            assert!(matches!(batch.part(0, 3, range.clone()), Err(Error::Chunk { .. })));
        }
    }
    batch.read_part(0, 3, 2 * CHUNK..2 * CHUNK + 64, &mut out).unwrap();
    let mut ahead = batch.ahead([(0, 2), (0, 3)], 3).unwrap();
    assert_eq!(ahead.part(0, 3, 0..10).unwrap()[..], data(&layout, 0, 3)[..10]);
    out.fill(1);
    assert!(matches!(ahead.read_part(0, 3, CHUNK - 32..CHUNK + 32, &mut out), Err(Error::Chunk { .. })));
    assert_eq!(out, [0; 64]);
    assert!(ahead.part(0, 3, 2 * CHUNK..2 * CHUNK + 1).is_err(), "an error ends reading ahead");
}

#[test]
fn a_section_written_in_pieces_is_the_section() {
    let (layout, folder) = (long(), tempfile::tempdir().unwrap());
    let path = folder.path().join("b.mat");
    let mut writer = BatchWriter::create(&path, &header(&layout, 1, ID), &layout).unwrap();
    for section in 0..5 {
        for piece in data(&layout, 0, section).chunks(99_991) {
            writer.write_section(0, section, piece).unwrap();
            writer.write_section(0, section, &[]).unwrap();
        }
    }
    // More than the section holds, and bytes of one that is whole, are refused.
    assert!(matches!(writer.write_section(0, 4, &[0]), Err(Error::Usage(_))));
    assert!(matches!(writer.write_section(0, 3, &[0]), Err(Error::Usage(_))));
    writer.finish().unwrap();
    assert!(std::fs::read(&path).unwrap() == bytes(&layout, 1, ID));
}

#[test]
fn what_is_no_part_is_refused() {
    let layout = long();
    let Written { batch, .. } = written(&layout, 2);
    let mut out = [0; 4];
    let backwards = std::ops::Range { start: 3, end: 2 };
    for (slot, section, range) in [(2, 0, 0..4), (0, 5, 0..4), (0, 0, 2..6), (0, 0, 6..6), (0, 3, backwards)] {
        let refused = batch.read_part(slot, section, range.clone(), &mut out);
        assert!(matches!(refused, Err(Error::Usage(_))), "{slot} {section} {range:?}");
        assert!(matches!(batch.part(slot, section, range), Err(Error::Usage(_))));
    }
    assert!(matches!(batch.read_part(0, 0, 0..3, &mut out), Err(Error::Usage(_))), "another length");
    assert!(batch.part(0, 0, 5..5).unwrap().is_empty());
    assert!(batch.part(0, 1, 0..0).unwrap().is_empty());
    assert!(matches!(batch.ahead([(0, 0), (2, 0)], 1), Err(Error::Usage(_))));
}

#[test]
fn reading_ahead_gives_sections_in_their_order() {
    let layout = long();
    let Written { batch, .. } = written(&layout, 3);
    // Gate by gate, as a run of three items does.
    let order: Vec<_> = (0..5).flat_map(|section| (0..3).map(move |slot| (slot, section))).collect();
    for chunks in [0, 1, 4, 100] {
        let mut ahead = batch.ahead(order.iter().copied(), chunks).unwrap();
        for &(slot, section) in &order {
            let whole = data(&layout, slot, section);
            let len = whole.len() as u64;
            let middle = len / 3;
            assert!(ahead.part(slot, section, 0..middle).unwrap()[..] == whole[..middle as usize]);
            let mut rest = vec![0; (len - middle) as usize];
            ahead.read_part(slot, section, middle..len, &mut rest).unwrap();
            assert!(rest == whole[middle as usize..], "slot {slot} section {section}");
        }
    }
}

#[test]
fn reading_ahead_skips_forwards_only() {
    let layout = long();
    let Written { batch, .. } = written(&layout, 2);
    let mut ahead = batch.ahead([(0, 3), (1, 3), (1, 4), (0, 3)], 2).unwrap();
    assert!(ahead.part(0, 3, 2 * CHUNK..2 * CHUNK + 7).unwrap()[..] == data(&layout, 0, 3)[2 << 20..][..7]);
    assert!(matches!(ahead.part(0, 4, 0..1), Err(Error::Usage(_))), "it was not announced");
    assert_eq!(ahead.part(1, 4, 0..40).unwrap()[..], data(&layout, 1, 4));
    assert!(matches!(ahead.part(1, 3, 0..1), Err(Error::Usage(_))), "it is over");
    // Announced twice: it comes again.
    assert_eq!(ahead.part(0, 3, 0..7).unwrap()[..], data(&layout, 0, 3)[..7]);
    // Dropped in the middle, with the thread at work.
    drop(ahead);
    drop(batch.ahead([(0, 3), (1, 3)], 1).unwrap());
}

#[test]
fn threads_share_what_is_kept() {
    let layout = long();
    let Written { batch, .. } = written(&layout, 1);
    let whole = data(&layout, 0, 3);
    std::thread::scope(|s| {
        for thread in 0..4 {
            let (batch, whole) = (&batch, &whole);
            s.spawn(move || {
                let mut out = vec![0; 10_000];
                for i in 0..300 {
                    let at = (i * 4 + thread) as u64 * 10_000 % (3 * CHUNK - 10_000);
                    batch.read_part(0, 3, at..at + 10_000, &mut out).unwrap();
                    assert!(out == whole[at as usize..][..10_000]);
                }
            });
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_part_is_the_bytes_of_its_section(from in 0..3 * CHUNK + 9, len in prop_oneof![0..50u64, 0..2 * CHUNK]) {
        static BATCH: std::sync::OnceLock<(Written, Vec<u8>)> = std::sync::OnceLock::new();
        let (written, whole) = BATCH.get_or_init(|| (written(&long(), 1), data(&long(), 0, 3)));
        let end = (from + len).min(3 * CHUNK + 9);
        let want = &whole[from as usize..end as usize];
        let mut out = vec![0; want.len()];
        written.batch.read_part(0, 3, from..end, &mut out).unwrap();
        prop_assert!(out == want);
        prop_assert!(written.batch.part(0, 3, from..end).unwrap()[..] == *want);
    }
}
