//! A shaped link keeps what it is given, in order, and takes at least the time of its shape.

mod common;

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use ariann_net::{Gone, Limits, Link, NetError, Peer, Shape, ShapedLink, memory_links};
use common::{brisk, tls_pair};

fn with(shape: Shape) -> Limits {
    Limits { shape, ..Limits::default() }
}

fn pattern(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i * 31 + i / 251) as u8).collect()
}

#[test]
fn bytes_arrive_in_order_and_not_before_their_time() {
    for (rate, millis, n) in [(200_000_000, 5, 2_000_000), (8_000_000, 0, 100_003), (0, 20, 3_000_000)] {
        let shape = Shape { bits_per_second: NonZeroU64::new(rate), one_way_delay: Duration::from_millis(millis) };
        let (mut a, mut b) = tls_pair(&with(shape));
        let began = Instant::now();
        a.send(1, pattern(n)).unwrap();
        assert!(b.recv(1, n, "all").unwrap() == pattern(n));
        // Never faster than the line; how much slower is the machine's business.
        let took = began.elapsed() + Duration::from_micros(10);
        assert!(took >= shape.one_way(n as u64), "{shape}: {took:?}");
    }
}

#[test]
fn the_delay_does_not_limit_throughput() {
    let (a, b) = memory_links();
    let hour = Duration::from_secs(3600);
    let shaped = ShapedLink::new(Box::new(a), Shape { bits_per_second: None, one_way_delay: hour }).unwrap();
    // All of it is under way at once: nobody waits for the first byte to arrive.
    for _ in 0..8 {
        assert_eq!(shaped.write(&vec![1; 1 << 20], Duration::ZERO).unwrap(), 1 << 20);
    }
    let early = b.read(&mut [0], Duration::from_millis(50)).unwrap_err();
    assert_eq!(early.kind(), std::io::ErrorKind::TimedOut);
}

#[test]
fn what_was_sent_before_closing_arrives() {
    let (mut a, mut b) = tls_pair(&with(Shape::WAN));
    a.send(1, pattern(300_000)).unwrap();
    std::thread::scope(|s| {
        s.spawn(|| a.close().unwrap());
        assert!(b.recv(1, 300_000, "the last message").unwrap() == pattern(300_000));
        let NetError::PeerGone { how, .. } = b.recv(2, 1, "more").unwrap_err() else { panic!("it is gone") };
        assert_eq!(how, Gone::Closed);
        drop(b);
    });
}

#[test]
fn a_cut_ends_both_ends_at_once() {
    let (mut a, b) = tls_pair(&with(Shape { bits_per_second: NonZeroU64::new(1000), ..Shape::WAN }));
    // A line that would be busy for hours.
    a.send(1, vec![0; 1 << 20]).unwrap();
    let began = Instant::now();
    drop(b);
    assert!(a.recv(2, 1, "an answer").is_err());
    drop(a);
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_receiver_that_takes_nothing_bounds_what_is_in_flight() {
    let (a, b) = memory_links();
    let shape = Shape { bits_per_second: None, one_way_delay: Duration::from_millis(1) };
    let shaped = ShapedLink::new(Box::new(a), shape).unwrap();
    let piece = vec![0; 1 << 20];
    let mut taken = 0;
    let refused = loop {
        match shaped.write(&piece, Duration::from_millis(200)) {
            Ok(n) => taken += n,
            Err(error) => break error,
        }
        assert!(taken < 64 << 20, "bounded");
    };
    assert_eq!(refused.kind(), std::io::ErrorKind::TimedOut);
    let mut got = 0;
    let mut buffer = vec![0; 1 << 20];
    while got < taken {
        got += b.read(&mut buffer, Duration::from_secs(5)).unwrap();
    }
    assert!(shaped.write(&piece, Duration::from_secs(5)).is_ok());
    b.shutdown();
    let broken = loop {
        match shaped.write(&piece, Duration::from_secs(5)) {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(broken.kind(), std::io::ErrorKind::BrokenPipe);
}

#[test]
fn both_ends_measure_the_link() {
    let (mut a, mut b) = tls_pair(&with(Shape::LAN));
    let (at_a, at_b) = std::thread::scope(|s| {
        let other = s.spawn(|| b.measure().unwrap());
        (a.measure().unwrap(), other.join().unwrap())
    });
    for measured in [at_a, at_b] {
        // Two exchanges cannot end before a message has gone there and one has come back, however busy the machine is.
        let trip = measured.round_trip + Duration::from_micros(20);
        assert!(trip >= 2 * Shape::LAN.one_way_delay, "{measured:?}");
        assert!(measured.bits_per_second.is_finite() && measured.bits_per_second > 0.0, "{measured:?}");
    }
    // And nothing is left over.
    a.send(1, vec![3]).unwrap();
    assert_eq!(b.recv(1, 1, "a message").unwrap(), [3]);
}

#[test]
fn an_end_that_does_not_measure_is_named() {
    let (a, b) = memory_links();
    let mut a = Peer::over(Box::new(a), "P1", &brisk()).unwrap();
    let mut b = Peer::over(Box::new(b), "P0", &brisk()).unwrap();
    b.send(7, vec![0; 16]).unwrap();
    let error = a.measure().unwrap_err();
    assert!(matches!(error, NetError::PeerMisbehaved { .. }), "{error}");
    assert!(error.to_string().contains("measuring the link"), "{error}");
}
