//! Messages arrive as sent; whatever differs from the plan is refused and named.

mod common;

use std::io::Write;
use std::sync::{Arc, Mutex};

use ariann_net::faulty::{Fault, FaultyLink};
use ariann_net::{
    Identity, Kind, Limits, Misbehaviour, NetError, PIECE, Peer, decode_control, feed_stranger, memory_links,
};
use common::{brisk, by_hand, by_hand_with, frame, tls_pair};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Hello {
    version: u32,
    plan: [u8; 32],
    names: Vec<String>,
}

fn hello() -> Hello {
    Hello { version: 300, plan: [3; 32], names: vec!["relu2".into()] }
}

fn pattern(n: usize, seed: usize) -> Vec<u8> {
    (0..n).map(|i| (i * 31 + i / 251 + seed) as u8).collect()
}

fn exchange(mut a: Peer, mut b: Peer) {
    let lengths = [0, 1, 23, 16_383, 16_385, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 5];
    for (step, n) in lengths.into_iter().enumerate() {
        let step = step as u32;
        a.send(step, pattern(n, 1)).unwrap();
        b.send(step, pattern(n, 2)).unwrap();
        assert!(b.recv(step, n, "a's").unwrap() == pattern(n, 1));
        let mut into = vec![0; n];
        a.recv_into(step, &mut into, "b's").unwrap();
        assert!(into == pattern(n, 2));
    }
    a.send_control(&hello()).unwrap();
    assert_eq!(b.recv_control::<Hello>(1000, "hello").unwrap(), hello());
    let n = 2 * PIECE + 77;
    let mut stream = b.send_stream(9, n as u64).unwrap();
    pattern(n, 5).chunks(1001).for_each(|part| stream.write(part).unwrap());
    stream.finish().unwrap();
    let (mut all, mut largest) = (Vec::new(), 0);
    a.recv_stream(9, n as u64, "a delivery", |piece| {
        largest = largest.max(piece.len());
        all.extend_from_slice(piece);
        Ok::<_, NetError>(())
    })
    .unwrap();
    assert!(all == pattern(n, 5));
    assert_eq!(largest, PIECE);
    a.flush().unwrap();
    b.flush().unwrap();
    let (at_a, at_b) = (a.stats(), b.stats());
    let data: usize = lengths.iter().sum();
    assert_eq!(at_a.payload_received, (data + n) as u64);
    assert_eq!(at_b.payload_sent, at_a.payload_received);
    assert_eq!(at_a.payload_sent, at_b.payload_received);
    assert!(at_b.wire_sent >= at_b.payload_sent + 24 * 16);
    assert!(at_b.wire_sent < at_b.payload_sent + at_b.payload_sent / 50 + 4000);
    let closing = std::thread::spawn(move || a.close().unwrap());
    b.close().unwrap();
    closing.join().unwrap();
}

#[test]
fn messages_arrive_over_tls() {
    let (a, b) = tls_pair(&Limits::default());
    exchange(a, b);
}

#[test]
fn messages_arrive_in_memory() {
    let (a, b) = Peer::memory_pair().unwrap();
    exchange(a, b);
}

#[test]
fn a_tap_sees_the_payload_and_nothing_else() {
    let (mut a, mut b) = tls_pair(&Limits::default());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let into = seen.clone();
    b.tap(Box::new(move |part| into.lock().unwrap().extend_from_slice(part)));
    a.send(1, pattern(100_000, 1)).unwrap();
    a.send(2, pattern(5, 2)).unwrap();
    b.recv(1, 100_000, "first").unwrap();
    b.recv(2, 5, "second").unwrap();
    assert!(*seen.lock().unwrap() == [pattern(100_000, 1), pattern(5, 2)].concat());
}

/// What a peer says to bytes written by hand while it waits for step 7 of 16 bytes.
fn said(bytes: &[u8]) -> Misbehaviour {
    let (mut peer, mut socket) = by_hand(&brisk());
    socket.write_all(bytes).unwrap();
    let error = peer.recv(7, 16, "gate 7 relu2").unwrap_err();
    assert!(error.to_string().starts_with("P1 is at fault"), "{error}");
    assert!(error.to_string().contains("gate 7 relu2"), "{error}");
    let again = peer.recv(7, 16, "gate 7 relu2").unwrap_err();
    assert_eq!(again.to_string(), error.to_string(), "errors stay");
    assert!(peer.send(8, vec![1]).is_err());
    match error {
        NetError::PeerMisbehaved { what, .. } => what,
        other => panic!("{other}"),
    }
}

#[test]
fn frames_that_differ_from_the_plan_are_named() {
    let data = |step, sequence, length| said(&frame(Kind::Data, step, sequence, length));
    assert_eq!(data(8, 1, 16), Misbehaviour::Step { expected: 7, got: 8 });
    assert_eq!(data(7, 2, 16), Misbehaviour::Sequence { expected: 1, got: 2 });
    assert_eq!(data(7, 0, 16), Misbehaviour::Sequence { expected: 1, got: 0 });
    assert_eq!(data(7, 1, 17), Misbehaviour::Length { expected: 16, got: 17 });
    assert_eq!(data(7, 1, u64::MAX), Misbehaviour::Length { expected: 16, got: u64::MAX });
    let control = said(&frame(Kind::Control, 7, 1, 16));
    assert_eq!(control, Misbehaviour::Kind { expected: "data", got: "control" });
    let hello = said(&frame(Kind::Hello, 0, 1, 0));
    assert_eq!(hello, Misbehaviour::Kind { expected: "data", got: "hello" });
    assert_eq!(said(&[b'x'; 24]), Misbehaviour::NotAFrame(0x7878_7878));
    let long = said(&frame(Kind::KeepAlive, 0, 1, 5));
    assert_eq!(long, Misbehaviour::Length { expected: 0, got: 5 });
}

#[test]
fn a_later_piece_with_another_length_is_named() {
    let (mut peer, mut socket) = by_hand(&brisk());
    let n = PIECE as u64 + 3;
    let writing = std::thread::spawn(move || {
        socket.write_all(&frame(Kind::Data, 7, 1, n)).unwrap();
        socket.write_all(&vec![0; PIECE]).unwrap();
        socket.write_all(&frame(Kind::Data, 7, 2, n - 1)).unwrap();
        socket
    });
    let error = peer.recv(7, n as usize, "weights").unwrap_err();
    let expected = Misbehaviour::Length { expected: n, got: n - 1 };
    assert!(matches!(error, NetError::PeerMisbehaved { what, .. } if what == expected));
    writing.join().unwrap();
}

#[test]
fn control_messages_are_bounded_and_canonical() {
    let (mut peer, mut socket) = by_hand(&brisk());
    socket.write_all(&frame(Kind::Control, 0, 1, u64::MAX)).unwrap();
    let error = peer.recv_control::<Hello>(100, "hello").unwrap_err();
    let expected = Misbehaviour::TooLong { limit: 100, got: u64::MAX };
    assert!(matches!(error, NetError::PeerMisbehaved { what, .. } if what == expected));

    let mut bytes = postcard::to_stdvec(&hello()).unwrap();
    assert_eq!(decode_control::<Hello>(&bytes).unwrap(), hello());
    bytes.push(0);
    let refused = decode_control::<Hello>(&bytes).unwrap_err().to_string();
    assert!(refused.contains("bytes follow its end"), "{refused}");
    // 5 written as two bytes.
    assert_eq!(decode_control::<u32>(&[5]), Ok(5));
    let refused = decode_control::<u32>(&[0x85, 0]).unwrap_err().to_string();
    assert!(refused.contains("canonical"), "{refused}");
}

#[test]
fn a_flipped_byte_is_caught_or_is_payload() {
    for at in 0..24 {
        let (a, b) = memory_links();
        let mut a = Peer::over(Box::new(FaultyLink::new(a, Fault::Flip(at))), "P1", &brisk()).unwrap();
        let mut b = Peer::over(Box::new(b), "P0", &brisk()).unwrap();
        a.send(7, vec![0; 16]).unwrap();
        let error = b.recv(7, 16, "a gate").unwrap_err();
        assert!(matches!(error, NetError::PeerMisbehaved { .. }), "byte {at}: {error}");
    }
}

#[test]
fn an_unfinished_stream_spoils_the_connection() {
    let (mut a, _b) = Peer::memory_pair().unwrap();
    let mut stream = a.send_stream(1, 10).unwrap();
    assert!(stream.write(&[0; 11]).is_err(), "more than announced");
    stream.write(&[0; 4]).unwrap();
    assert!(stream.finish().is_err());
    let error = a.send(2, vec![]).unwrap_err().to_string();
    assert!(error.contains("left unfinished"), "{error}");
}

#[test]
fn a_receiver_that_stops_half_way_spoils_the_connection() {
    #[derive(Debug)]
    struct DiskFull;
    impl From<NetError> for DiskFull {
        fn from(_: NetError) -> DiskFull {
            panic!("the peer is well")
        }
    }
    let (mut a, mut b) = Peer::memory_pair().unwrap();
    a.send(1, vec![0; 2 * PIECE]).unwrap();
    b.recv_stream(1, 2 * PIECE as u64, "material", |_| Err(DiskFull)).unwrap_err();
    assert!(b.recv(2, 1, "next").unwrap_err().to_string().contains("left unfinished"));
}

#[test]
fn an_exchange_in_pieces_is_the_message_it_would_be_whole() {
    for (n, m) in [(3 * PIECE + 5, 2 * PIECE), (1, 0), (0, PIECE + 1), (0, 0), (200_000, 200_000)] {
        let (mut a, mut b) = tls_pair(&Limits::default());
        std::thread::scope(|s| {
            // The other end sends and receives whole messages, or none.
            s.spawn(|| {
                if m > 0 {
                    b.send(4, pattern(m, 2)).unwrap();
                }
                if n > 0 {
                    assert!(b.recv(4, n, "a's").unwrap() == pattern(n, 1));
                }
                assert_eq!(b.recv(5, 1, "next").unwrap(), [9]);
            });
            let (ours, mut theirs) = (pattern(n, 1), vec![0; m]);
            let mut transfer = a.transfer(4, n as u64, m as u64, "gate 4").unwrap();
            let (mut written, mut read) = (0, 0);
            for size in [1, 0, 70_001, 4096].into_iter().cycle() {
                let (out, into) = (size.min(n - written), (size / 2 + 1).min(m - read));
                transfer.write(&ours[written..written + out]).unwrap();
                transfer.read(&mut theirs[read..read + into]).unwrap();
                (written, read) = (written + out, read + into);
                assert_eq!((transfer.to_write(), transfer.to_read()), ((n - written) as u64, (m - read) as u64));
                if (written, read) == (n, m) {
                    break;
                }
            }
            transfer.finish().unwrap();
            assert!(theirs == pattern(m, 2));
            a.send(5, vec![9]).unwrap();
            a.flush().unwrap();
        });
    }
}

#[test]
fn pieces_arrive_while_the_rest_is_not_there_yet() {
    let (mut a, mut b) = tls_pair(&Limits::default());
    let n = 3 * PIECE as u64;
    let (mut at_a, mut at_b) = (a.transfer(1, n, n, "b's").unwrap(), b.transfer(1, n, n, "a's").unwrap());
    let mut out = vec![0; PIECE];
    // In one thread: if a piece waited for the whole message, this would never end.
    for i in 0..3 {
        at_a.write(&vec![i; PIECE]).unwrap();
        at_b.read(&mut out).unwrap();
        assert!(out.iter().all(|&x| x == i));
        at_b.write(&out).unwrap();
        at_a.read(&mut out).unwrap();
        assert!(out.iter().all(|&x| x == i));
    }
    at_a.finish().unwrap();
    at_b.finish().unwrap();
}

#[test]
fn an_exchange_in_pieces_compares_every_frame_with_the_plan() {
    let n = PIECE as u64 + 3;
    let refused = |second: [u8; 24]| {
        let (mut peer, mut socket) = by_hand(&brisk());
        let writing = std::thread::spawn(move || {
            socket.write_all(&frame(Kind::Data, 7, 1, n)).unwrap();
            socket.write_all(&vec![0; PIECE]).unwrap();
            socket.write_all(&second).unwrap();
            socket
        });
        let mut transfer = peer.transfer(7, 0, n, "gate 7 relu2").unwrap();
        transfer.read(&mut vec![0; PIECE]).unwrap();
        let error = transfer.read(&mut [0; 3]).unwrap_err();
        assert!(error.to_string().contains("gate 7 relu2"), "{error}");
        assert_eq!(transfer.finish().unwrap_err().to_string(), error.to_string());
        assert_eq!(peer.send(8, vec![]).unwrap_err().to_string(), error.to_string(), "errors stay");
        writing.join().unwrap();
        match error {
            NetError::PeerMisbehaved { what, .. } => what,
            other => panic!("{other}"),
        }
    };
    assert_eq!(refused(frame(Kind::Data, 7, 2, n - 1)), Misbehaviour::Length { expected: n, got: n - 1 });
    assert_eq!(refused(frame(Kind::Data, 8, 2, n)), Misbehaviour::Step { expected: 7, got: 8 });
    assert_eq!(refused(frame(Kind::Data, 7, 3, n)), Misbehaviour::Sequence { expected: 2, got: 3 });
    let control = refused(frame(Kind::Control, 7, 2, n));
    assert_eq!(control, Misbehaviour::Kind { expected: "data", got: "control" });
}

#[test]
fn an_unfinished_exchange_spoils_the_connection() {
    for (write, read) in [(true, false), (false, true)] {
        let (mut a, mut b) = Peer::memory_pair().unwrap();
        b.send(1, vec![1; 5]).unwrap();
        let mut transfer = a.transfer(1, 4, 5, "b's").unwrap();
        assert!(transfer.write(&[0; 5]).is_err(), "more than announced");
        assert!(transfer.read(&mut [0; 6]).is_err(), "more than there is");
        if write {
            transfer.write(&[0; 4]).unwrap();
        }
        if read {
            transfer.read(&mut [0; 5]).unwrap();
        }
        drop(transfer);
        let error = a.send(2, vec![]).unwrap_err().to_string();
        assert!(error.contains("left unfinished"), "{error}");
    }
}

#[test]
fn small_messages_that_nobody_takes_yet_wait_in_order() {
    let (mut a, mut b) = tls_pair(&Limits::default());
    // More than the socket holds: the first go out at once, then the writer takes over, mid-message.
    let count = 200;
    for step in 0..count {
        a.send(step, pattern(100_000, step as usize)).unwrap();
    }
    for step in 0..count {
        assert!(b.recv(step, 100_000, "a message").unwrap() == pattern(100_000, step as usize), "{step}");
    }
    a.flush().unwrap();
    a.send(count, vec![1]).unwrap();
    assert_eq!(b.recv(count, 1, "the last").unwrap(), [1]);
}

proptest! {
    #[test]
    fn strangers_never_panic_the_greeting(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(!feed_stranger(None, &bytes));
    }

    #[test]
    fn control_decoding_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        if let Ok(value) = decode_control::<Hello>(&bytes) {
            prop_assert_eq!(postcard::to_stdvec(&value).unwrap(), bytes);
        }
    }
}

#[test]
fn strangers_never_panic_the_tls_greeting() {
    let identity = Identity::ephemeral("P0").unwrap();
    let mut bytes = vec![22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3];
    for seed in 0..2000u32 {
        bytes.truncate((seed % 11) as usize);
        bytes.extend((0..500u32).map(|i| (i.wrapping_mul(seed | 1).wrapping_mul(2_654_435_761) >> 24) as u8));
        assert!(!feed_stranger(Some(&identity), &bytes));
        bytes.splice(.., [22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]);
    }
    assert!(feed_stranger(None, &frame(Kind::Hello, 0, 0, 0)));
}

#[test]
fn what_comes_together_with_the_welcome_is_kept() {
    let message = frame(Kind::Data, 3, 1, 2);
    for cut in 0..=message.len() + 2 {
        let bytes = [&message[..], &[7, 8]].concat();
        let (mut peer, mut socket) = by_hand_with(&brisk(), &bytes[..cut]);
        socket.write_all(&bytes[cut..]).unwrap();
        assert_eq!(peer.recv(3, 2, "a message").unwrap(), [7, 8], "cut at {cut}");
    }
}
