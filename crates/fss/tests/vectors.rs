//! vectors/fss, which scripts/fss_reference.py makes, under every back end of this machine and under the one in use
//! (the one that `ARIANN_AES` forces).

use ariann_fss::{FssError, HashKeys, Party, TreeHash, equal, generate, less_than, less_than_and_equal, unit};
use ariann_prg::{Address, Backend, Prg, Seed};
use ariann_ring::Ring;
use serde_json::Value;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors/fss");

/// The files whose name begins with `prefix`, and there must be `least` of them.
fn files(prefix: &str, least: usize) -> Vec<(String, Value)> {
    let mut found: Vec<(String, Value)> = std::fs::read_dir(FOLDER)
        .expect("vectors/fss")
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), entry.path()))
        .filter(|(name, _)| name.starts_with(prefix))
        .map(|(name, path)| (name, serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()))
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(found.len() >= least, "{} files {prefix}*.json in vectors/fss, {least} expected", found.len());
    found
}

fn backends() -> Vec<Backend> {
    let mut all = Backend::available();
    all.push(Backend::active().expect("ARIANN_AES"));
    all
}

fn hex(value: &Value) -> Vec<u8> {
    let text = value.as_str().expect("hexadecimal text");
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

fn block(value: &Value) -> [u8; 16] {
    hex(value).try_into().expect("16 bytes")
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| value.as_str().expect("a number").parse().unwrap())
}

fn numbers<T: TryFrom<u64>>(value: &Value) -> Vec<T> {
    value.as_array().expect("a list").iter().map(|v| T::try_from(number(v)).ok().expect("in range")).collect()
}

fn points<R: Ring>(value: &Value) -> Vec<R> {
    numbers(value).into_iter().map(R::from_u64).collect()
}

fn tree_hash(file: &Value, backend: Backend) -> TreeHash {
    let keys = HashKeys { inner: block(&file["inner_key"]), leaf: block(&file["leaf_key"]) };
    TreeHash::with_backend(&keys, backend).unwrap()
}

#[test]
fn every_file_is_of_a_kind_that_a_test_reads() {
    let kinds = ["prg.json", "hash.json", "dpf-", "unit-", "invalid-"];
    for (name, _) in files("", 50) {
        assert!(kinds.iter().any(|kind| name.starts_with(kind)), "{name}");
    }
}

#[test]
fn words_bytes_and_bits() {
    let (_, file) = &files("prg.json", 1)[0];
    let cases = file["cases"].as_array().unwrap();
    assert!(cases.len() >= 16);
    for (case, backend) in cases.iter().flat_map(|case| backends().into_iter().map(move |b| (case, b))) {
        let prg = Prg::with_backend(&Seed::from_bytes(block(&case["seed"])), backend).unwrap();
        let part = |name| number(&case[name]);
        let address = Address { kind: part("kind") as u8, gate: part("gate") as u32, slot: part("slot") as u32 };
        let expected = hex(&case["bytes"]);
        let mut bytes = vec![0; expected.len()];
        prg.fill_blocks(address, part("first_block"), &mut bytes);
        assert_eq!(bytes, expected, "{backend}");
        let expected: Vec<u32> = numbers(&case["words32"]);
        let mut words = vec![0u32; expected.len()];
        prg.fill(address, part("first_word"), &mut words);
        assert_eq!(words, expected, "{backend}");
        let expected: Vec<u64> = numbers(&case["words64"]);
        let mut words = vec![0u64; expected.len()];
        prg.fill(address, part("first_word64"), &mut words);
        assert_eq!(words, expected, "{backend}");
        let expected: Vec<u8> = numbers(&case["bits"]);
        let mut bits = vec![9; expected.len()];
        prg.fill_bits(address, part("first_bit"), &mut bits);
        assert_eq!(bits, expected, "{backend}");
    }
}

#[test]
fn both_hashes() {
    let (_, file) = &files("hash.json", 1)[0];
    for backend in backends() {
        let hash = tree_hash(file, backend);
        let column =
            |name: &str| file["cases"].as_array().unwrap().iter().map(|case| block(&case[name])).collect::<Vec<_>>();
        let (mut inner, mut leaf) = (column("x"), column("x"));
        assert!(inner.len() >= 20);
        hash.inner(&mut inner);
        hash.leaf(&mut leaf);
        assert_eq!(inner, column("inner"), "{backend}");
        assert_eq!(leaf, column("leaf"), "{backend}");
    }
}

#[test]
fn keys_and_their_evaluation() {
    for (name, file) in files("dpf-", 16) {
        for backend in backends() {
            check_tree::<u64>(&name, &file, backend);
            if number(&file["domain_bits"]) <= 32 {
                check_tree::<u32>(&name, &file, backend);
            }
        }
    }
}

fn check_tree<R: Ring>(name: &str, file: &Value, backend: Backend) {
    let hash = tree_hash(file, backend);
    let n = number(&file["domain_bits"]) as u32;
    let roots = [hex(&file["roots"][0]), hex(&file["roots"][1])];
    let expected = hex(&file["keys"]);
    let mut keys = vec![0; expected.len()];
    generate::<R>(&hash, n, &roots[0], &roots[1], &points(&file["alphas"]), &mut keys).unwrap();
    assert_eq!(keys, expected, "{name}, {backend}");
    check_shares::<R>(name, file, backend);
}

/// Both parties get the shares of the file, whatever they are worth.
fn check_shares<R: Ring>(name: &str, file: &Value, backend: Backend) {
    let hash = tree_hash(file, backend);
    let n = number(&file["domain_bits"]) as u32;
    let (keys, xs) = (hex(&file["keys"]), points::<R>(&file["xs"]));
    for party in Party::BOTH {
        let roots = hex(&file["roots"][party.index()]);
        let (mut less, mut same) = (vec![9; xs.len()], vec![9; xs.len()]);
        less_than(&hash, party, n, &roots, &keys, &xs, &mut less).unwrap();
        equal(&hash, party, n, &roots, &keys, &xs, &mut same).unwrap();
        assert_eq!(less, numbers::<u8>(&file["less"][party.index()]), "{name}, {backend}, {party:?}");
        assert_eq!(same, numbers::<u8>(&file["equal"][party.index()]), "{name}, {backend}, {party:?}");
    }
}

#[test]
fn unit_vectors() {
    for (name, file) in files("unit-", 8) {
        let v = number(&file["digit_bits"]) as u32;
        let (alphas, digits) = (points::<u32>(&file["alphas"]), points::<u32>(&file["digits"]));
        let shares = [hex(&file["shares"][0]), hex(&file["shares"][1])];
        let mut share1 = vec![0; shares[1].len()];
        unit::generate(v, &alphas, &shares[0], &mut share1).unwrap();
        assert_eq!(share1, shares[1], "{name}");
        for (party, share) in shares.iter().enumerate() {
            let (mut less, mut equal) = (vec![9; digits.len()], vec![9; digits.len()]);
            unit::read(v, share, &digits, &mut less, &mut equal).unwrap();
            assert_eq!(less, numbers::<u8>(&file["less"][party]), "{name}");
            assert_eq!(equal, numbers::<u8>(&file["equal"][party]), "{name}");
        }
    }
}

#[test]
fn what_is_wrong_is_refused_or_known_to_pass() {
    for (name, file) in files("invalid-", 30) {
        match file["error"].as_str().unwrap() {
            "wrong-result" => {
                for backend in backends() {
                    check_shares::<u64>(&name, &file, backend);
                }
            }
            kind if file.get("digit_bits").is_some() => check_refused(&name, &file, kind, unit_calls(&file)),
            kind => check_refused(&name, &file, kind, tree_calls(&file)),
        }
    }
}

/// Outcomes of the dealer's call and of the parties', and what the calls wrote.
type Calls = Vec<(char, Result<(), FssError>, Vec<u8>)>;

fn check_refused(name: &str, file: &Value, kind: &str, calls: Calls) {
    let by = file["refused_by"].as_str().unwrap();
    assert!(!by.is_empty());
    for (who, outcome, written) in calls {
        let got = match &outcome {
            Ok(()) => "accepted",
            Err(FssError::Length { .. }) => "length",
            Err(FssError::Outside { .. }) => "outside",
            Err(FssError::Domain { .. }) => "domain",
        };
        assert_eq!(got, if by.contains(who) { kind } else { "accepted" }, "{name}, call of {who}");
        if outcome.is_err() {
            assert!(written.iter().all(|&byte| byte == 9), "{name}: a refused call of {who} wrote something");
        }
    }
}

fn tree_calls(file: &Value) -> Calls {
    let hash = tree_hash(file, Backend::active().unwrap());
    let n = number(&file["domain_bits"]) as u32;
    let roots = [hex(&file["roots"][0]), hex(&file["roots"][1])];
    let (keys, alphas, xs) = (hex(&file["keys"]), points::<u64>(&file["alphas"]), points::<u64>(&file["xs"]));
    let outputs = file.get("outputs").map_or(xs.len(), |value| number(value) as usize);
    let mut calls = Calls::new();
    let mut made = vec![9; keys.len()];
    let outcome = generate(&hash, n, &roots[0], &roots[1], &alphas, &mut made);
    calls.push(('g', outcome, made));
    for party in Party::BOTH {
        let who = ['0', '1'][party.index()];
        let roots = &roots[party.index()];
        let (mut less, mut same) = (vec![9; outputs], vec![9; outputs]);
        calls.push((who, less_than(&hash, party, n, roots, &keys, &xs, &mut less), less));
        calls.push((who, equal(&hash, party, n, roots, &keys, &xs, &mut same), same));
        let (mut less, mut same) = (vec![9; outputs], vec![9; outputs]);
        let outcome = less_than_and_equal(&hash, party, n, roots, &keys, &xs, &mut less, &mut same);
        calls.push((who, outcome, [less, same].concat()));
    }
    calls
}

fn unit_calls(file: &Value) -> Calls {
    let v = number(&file["digit_bits"]) as u32;
    let (alphas, digits) = (points::<u64>(&file["alphas"]), points::<u64>(&file["digits"]));
    let shares = [hex(&file["shares"][0]), hex(&file["shares"][1])];
    let outputs = file.get("outputs").map_or(digits.len(), |value| number(value) as usize);
    let mut made = vec![9; shares[1].len()];
    let mut calls = vec![('g', unit::generate(v, &alphas, &shares[0], &mut made), made)];
    for (who, share) in ['0', '1'].into_iter().zip(&shares) {
        let (mut less, mut equal) = (vec![9; outputs], vec![9; outputs]);
        let outcome = unit::read(v, share, &digits, &mut less, &mut equal);
        calls.push((who, outcome, [less, equal].concat()));
    }
    calls
}
