//! Key batches are wiped: what a process had in memory is not there any more after the last of both parties' batches was
//! dropped. The memory is read as the system shows it, so this runs where it does, and alone in its process.
#![cfg(target_os = "linux")]

use std::fs::File;
use std::hint::black_box;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;

use ariann_fss::{Function, KeyKind, Keys, Shares};

/// What hides a pattern from its own search.
const VEIL: u8 = 0xa5;

fn veiled(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| byte ^ VEIL).collect()
}

/// How often the bytes, which are given veiled, are in this process's writable memory.
fn found(pattern: &[u8]) -> usize {
    let memory = File::open("/proc/self/mem").expect("own memory");
    let maps = BufReader::new(File::open("/proc/self/maps").expect("own maps"));
    // Read first: what follows takes memory itself.
    let lines: Vec<String> = maps.lines().map_while(Result::ok).collect();
    let mut block = vec![0; 1 << 20];
    let mut count = 0;
    for line in lines {
        let mut words = line.split_whitespace();
        let (range, rights) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        if !rights.starts_with("rw") {
            continue;
        }
        let (from, to) = range.split_once('-').expect("a range");
        let [mut at, to] = [from, to].map(|text| u64::from_str_radix(text, 16).expect("an address"));
        while at < to {
            let len = block.len().min((to - at) as usize);
            // The buffer of the search holds what it found before.
            let own = block.as_ptr() as u64;
            let read = memory.read_at(&mut block[..len], at).unwrap_or(0);
            for (offset, window) in block[..read].windows(pattern.len()).enumerate() {
                let address = at + offset as u64;
                let is_here = window[0] ^ VEIL == pattern[0] && window.iter().zip(pattern).all(|(a, b)| a ^ VEIL == *b);
                if is_here && !(own..own + (1 << 20)).contains(&address) {
                    count += 1;
                }
            }
            block.fill(0);
            // Patterns that lie across the border of two blocks are found in the second.
            at += if read == len && len > pattern.len() { (len - pattern.len() + 1) as u64 } else { to - at };
        }
    }
    count
}

#[test]
fn batches_are_wiped_with_the_last_of_them() {
    for shares in [Shares::Xor, Shares::Additive32, Shares::Additive64] {
        let kind = KeyKind { function: Function::LessThan, shares, domain_bits: 32 };
        let [first, second] = Keys::random(kind, 300).expect("keys");
        let mut bytes = second.encode();
        let (alphas, keys) = (72 + 600, bytes.len() - 20_000);
        let patterns = [alphas, keys].map(|at| veiled(&bytes[at..at + 24]));
        let back = Keys::decode(&bytes).expect("decoded");
        bytes.fill(0);
        drop(black_box(bytes));
        // Both that were decoded; and of those that were made, P1's shares, and the keys once for both.
        assert_eq!([found(&patterns[0]), found(&patterns[1])], [2, 2], "{shares:?}");
        drop(back);
        drop(second);
        assert_eq!([found(&patterns[0]), found(&patterns[1])], [0, 1], "{shares:?}");
        drop(first);
        assert_eq!([found(&patterns[0]), found(&patterns[1])], [0, 0], "{shares:?}");
    }
}
