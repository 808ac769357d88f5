//! Samples to mutate: fixtures and vectors of the repository, and valid bytes made here.

use std::collections::BTreeSet;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ariann_data::bundled;
use ariann_gates::linear::Weights;
use ariann_graph::RangeSource;
use ariann_material::{BatchId, Encoder, Expected, Header, Kind, Label, Layout, Secret, WeightsVersion};
use ariann_net::Identity;
use ariann_plan::{Optimize, Options, Revealed, SignChoice};
use ariann_session::config::{DealConfig, QueryConfig, ServeConfig};
use image::{DynamicImage, ImageFormat};
use serde::Serialize;

use crate::mutate::Random;
use crate::wire::{Answer, Greeting};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name)
}

/// Files of the repository whose name ends in `extension`, in the order of their names.
fn files(name: &str, extension: &str) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(folder(name)).expect("a folder of the repository");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|found| found == extension));
    paths.sort();
    assert!(!paths.is_empty(), "{name} has no {extension} files");
    paths.iter().map(|path| std::fs::read(path).expect("a file of the repository")).collect()
}

/// Operator fixtures, valid and invalid, and the bundled network.
pub fn onnx() -> Vec<Vec<u8>> {
    let mut samples = files("fixtures/onnx", "onnx");
    samples.push(bundled::model().bytes.to_vec());
    samples
}

/// Plan files of the bundled network and of small ones, with every kind of gate, in both forms of comparisons.
pub fn plan() -> Vec<Vec<u8>> {
    let mut samples = Vec::new();
    let mut kinds = BTreeSet::new();
    for model in onnx() {
        let Ok(graph) = ariann_graph::import_bytes(&model) else { continue };
        let Ok(mut ranges) = ariann_graph::interval(&graph, 0.0, 1.0) else { continue };
        for (ring, weights, what, optimize, sign) in [
            (32, Weights::Held, Revealed::Logits, Optimize::Latency, SignChoice::Exact),
            (64, Weights::Shared, Revealed::Label, Optimize::Material, SignChoice::Exact),
            (64, Weights::Public, Revealed::Logits, Optimize::Latency, SignChoice::Coarse),
        ] {
            if sign == SignChoice::Coarse {
                ranges.source = RangeSource::Calibrated { items: 1 };
            }
            let options = Options { optimize, sign, ..crate::models::options(ring, weights, what) };
            let Ok(plan) = ariann_plan::compile(&graph, &ranges, &options) else { continue };
            kinds.extend(plan.gates.iter().map(|entry| entry.gate.kind()));
            samples.push(plan.to_json().into_bytes());
        }
    }
    assert!(samples.len() > 20, "only {} plans", samples.len());
    assert!(kinds.len() >= 15, "gates of these kinds only: {kinds:?}");
    samples
}

/// A configuration file of each role.
pub fn config() -> Vec<Vec<u8>> {
    let pin = "ariann:00112233-44556677-8899aabb-ccddeeff-00112233-44556677-8899aabb-ccddeeff";
    let own = "[identity]\nfolder = \"ids\"\nname = \"p0\"\n";
    let deadlines = "[deadlines]\nconnect = 30\nsilence = 30.5\nstall = 600\n";
    let remote = |name: &str| format!("[{name}]\naddress = \"127.0.0.1:7000\"\nfingerprint = \"{pin}\"\n");
    let dealer = remote("dealer");
    let peer = remote("peer");
    let serve = format!(
        "plan = \"p.json\"\nmodel = \"m.onnx\"\nstate = \"s0\"\nlisten = \"127.0.0.1:7000\"\npeer = \"{pin}\"\nmaterial = [\"a.mat\"]\n\
         threads = 2\nsessions = 1\nclients = [\"{pin}\"]\nmax_sessions = 2\nstream = true\nahead = 3\nmax_batch = 9\nlink = \"wan\"\n\
         publish_weights = true\n{own}{dealer}{deadlines}"
    );
    let query = format!(
        "plan = \"p.json\"\ninput = \"i.idx\"\nstate = \"s1\"\nbatch = 100\nlimit = 1000\nstream = true\nahead = 2\nthreads = 2\n{own}{peer}{dealer}{deadlines}"
    );
    let deal = format!(
        "plan = \"p.json\"\ncount = 100\nbatch_slots = 10\nstate = \"d\"\nout = \"material\"\nnew_weights = false\n[serve]\nlisten = \"127.0.0.1:1\"\n\
         p0 = \"{pin}\"\np1 = \"{pin}\"\n[serve.identity]\nfolder = \"ids\"\nname = \"dealer\"\n{deadlines}"
    );
    toml::from_str::<ServeConfig>(&serve).expect("a configuration of P0");
    toml::from_str::<QueryConfig>(&query).expect("a configuration of P1");
    toml::from_str::<DealConfig>(&deal).expect("a configuration of the dealer");
    [serve, query, deal, pin.to_string()].map(String::into_bytes).to_vec()
}

/// What the reader of [`material`] expects.
pub(crate) fn expected() -> Expected {
    Expected {
        kind: Kind::Dealt,
        suite: "half-tree-aes128-v1".into(),
        plan_digest: [7; 32],
        party: 1,
        ring_bits: 32,
        layout: Layout::new(vec![4, 0, 4, 2]).expect("a layout"),
        secret_len: 16,
        batch: None,
        weights: None,
        slots: Some(2),
    }
}

/// The vectors of `vectors/material`, and batches of other numbers of slots.
pub fn material() -> Vec<Vec<u8>> {
    let mut samples = files("vectors/material", "mat");
    samples.extend([1, 2, 3, 40].map(batch));
    samples
}

fn batch(slots: u32) -> Vec<u8> {
    let expected = expected();
    let label = Label {
        kind: expected.kind,
        suite: expected.suite,
        plan_digest: expected.plan_digest,
        batch: BatchId([3; 16]),
        party: expected.party,
        ring_bits: expected.ring_bits,
        weights: WeightsVersion([4; 16]),
        slots,
        sections: 0,
        layout_digest: [0; 32],
    };
    let secret = Secret::new(vec![5; expected.secret_len].into()).expect("a secret part");
    let header = Header::new(label, &expected.layout, secret).expect("a header");
    let mut encoder = Encoder::new(&header, &expected.layout, Vec::new()).expect("an encoder");
    for slot in 0..slots {
        for (section, len) in expected.layout.sections().iter().enumerate() {
            encoder.write_section(slot, section as u32, &vec![slot as u8; *len as usize]).expect("a section");
        }
    }
    encoder.finish().expect("a batch")
}

/// Headers of frames, several in a row.
pub fn frames() -> Vec<Vec<u8>> {
    let kinds = [*b"AR1h", *b"AR1w", *b"AR1d", *b"AR1c", *b"AR1k", *b"AR1f"];
    let header = |(number, kind): (usize, &[u8; 4])| {
        let number = number as u64;
        [kind.as_slice(), &(number as u32).to_le_bytes(), &number.to_le_bytes(), &(1u64 << (4 * number)).to_le_bytes()]
            .concat()
    };
    let all: Vec<Vec<u8>> = kinds.iter().enumerate().map(header).collect();
    let whole = all.concat();
    all.into_iter().chain([whole]).collect()
}

/// Encodings of control messages.
pub fn control() -> Vec<Vec<u8>> {
    fn bytes<T: Serialize>(value: &T) -> Vec<u8> {
        postcard::to_stdvec(value).expect("an encoding")
    }
    let greeting = |batches: usize| Greeting {
        protocol: 1,
        party: 0,
        ring: 32,
        plan: [7; 32],
        batches: vec![([1; 16], [2; 16], 100, 3); batches],
        weights: vec![[2; 16]; batches],
    };
    let mut samples = vec![bytes(&greeting(0)), bytes(&greeting(1)), bytes(&greeting(300))];
    samples.push(bytes(&Answer::Accepted));
    samples.push(bytes(&Answer::Refused("both sides are party 0".to_string())));
    samples.push(bytes(&Answer::Batch { slots: 100, bytes: 1 << 40 }));
    samples.push(bytes(&Answer::Run { batch: [1; 16], first: 7, items: 100 }));
    samples
}

/// What knocks at a port: a greeting, a TLS hello, HTTP, SSH, nothing.
pub fn stranger() -> Vec<Vec<u8>> {
    let hello = include_bytes!("../seeds/client-hello.bin").to_vec();
    let mut samples = frames();
    samples.push(hello);
    samples.push(b"GET / HTTP/1.1\r\nHost: p0\r\n\r\n".to_vec());
    samples.push(b"SSH-2.0-OpenSSH_9.9\r\n".to_vec());
    samples.push(Vec::new());
    samples
}

/// Keys and certificates.
pub fn identity() -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let made = |name: &str| {
        Identity::create(folder.path(), name, Duration::from_secs(1 << 30)).expect("an identity");
        let read = |kind: &str| std::fs::read(folder.path().join(format!("{name}.{kind}.pem"))).expect("its file");
        [read("key"), b"\n".to_vec(), read("cert")].concat()
    };
    vec![made("a"), made("b"), b"\n\n".to_vec()]
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(bytes).expect("memory");
    packed.finish().expect("memory")
}

fn idx(sizes: &[u32], elements: &[u8]) -> Vec<u8> {
    let sizes_encoded = sizes.iter().flat_map(|size| size.to_be_bytes());
    [0, 0, 8, sizes.len() as u8].into_iter().chain(sizes_encoded).chain(elements.iter().copied()).collect()
}

fn npy(descr: &str, shape: &str, elements: &[u8]) -> Vec<u8> {
    let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}\n");
    let len = (text.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00".as_slice(), &len, text.as_bytes(), elements].concat()
}

fn picture(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).expect("an image");
    bytes.into_inner()
}

/// Records of CIFAR-10.
fn cifar(count: usize) -> Vec<u8> {
    (0..count * 3073).map(|i| if i % 3073 == 0 { (i / 3073) as u8 } else { i as u8 }).collect()
}

/// A small file of each kind that holds items.
pub fn items() -> Vec<Vec<u8>> {
    let elements: Vec<u8> = (0..2 * 28 * 28).map(|i| i as u8).collect();
    let floats: Vec<u8> = (0..24).flat_map(|i| (i as f32 / 24.0).to_le_bytes()).collect();
    let (grey, coloured) = (DynamicImage::new_luma8(28, 28), DynamicImage::new_rgb8(8, 8));
    let idx = idx(&[2, 28, 28], &elements);
    let mut samples = vec![
        gzip(&idx),
        idx,
        npy("|u1", "2, 28, 28", &elements),
        npy("<f4", "2, 3, 2, 2", &floats),
        picture(&grey, ImageFormat::Png),
        picture(&coloured, ImageFormat::Png),
        picture(&coloured, ImageFormat::Jpeg),
        cifar(2),
        gzip(&cifar(3)),
    ];
    samples.extend(files("crates/data/tests/jpeg", "jpg"));
    samples
}

/// A small file of each kind that holds labels.
pub fn labels() -> Vec<Vec<u8>> {
    let labels = [3, 1, 4, 1, 5, 9];
    let wide: Vec<u8> = labels.iter().flat_map(|label| i64::from(*label).to_le_bytes()).collect();
    vec![
        idx(&[6], &labels),
        gzip(&idx(&[6], &labels)),
        npy("|u1", "6,", &labels),
        npy("<i8", "6,", &wide),
        b"3\n1\n4\n1\n5\n9\n".to_vec(),
        cifar(1),
        gzip(&cifar(2)),
    ]
}

/// Bytes without a form.
pub fn noise() -> Vec<Vec<u8>> {
    let mut random = Random::new(1);
    let lengths = [3, 4, 20, 100, 400, 2000];
    lengths.map(|len| (0..len).map(|_| random.word() as u8).collect()).to_vec()
}
