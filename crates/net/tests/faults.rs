//! Peers that die, fall silent or trickle; connections that are nobody's.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use ariann_net::faulty::{Fault, FaultyLink};
use ariann_net::{Gone, Identity, Kind, Limits, Listener, NetError, PIECE, Peer, memory_links};
use common::{allowed, brisk, by_hand, frame, tls_pair};

fn how(error: NetError) -> Gone {
    match error {
        NetError::PeerGone { how, .. } => how,
        other => panic!("{other}"),
    }
}

fn over(link: impl ariann_net::Link + 'static, name: &str, limits: &Limits) -> Peer {
    Peer::over(Box::new(link), name, limits).unwrap()
}

#[test]
fn a_dead_peer_is_named_at_once() {
    let (mut a, b) = tls_pair(&Limits::default());
    let began = Instant::now();
    std::thread::scope(|s| {
        s.spawn(|| {
            std::thread::sleep(Duration::from_millis(200));
            drop(b);
        });
        let error = a.recv(3, 1000, "gate 17 relu2").unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("waiting for P1: gate 17 relu2 (0."), "{text}");
        assert!(matches!(how(error), Gone::Died | Gone::Broken(_)));
    });
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_reset_is_named_at_once() {
    let (mut peer, socket) = by_hand(&Limits::default());
    peer.send(1, vec![0; 1000]).unwrap();
    peer.flush().unwrap();
    std::thread::sleep(Duration::from_millis(100));
    // Closed with bytes unread, as when a process is killed at work: the system sends a reset.
    drop(socket);
    let began = Instant::now();
    let error = peer.recv(2, 1000, "gate 17 relu2").unwrap_err();
    assert!(error.to_string().starts_with("waiting for P1: gate 17 relu2"), "{error}");
    assert!(matches!(how(error), Gone::Broken(_)));
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_peer_moves_between_threads() {
    fn moves<T: Send>() {}
    moves::<Peer>();
    moves::<Listener>();
    moves::<Identity>();
}

#[test]
fn a_peer_that_dies_in_a_message_is_named_to_receiver_and_sender() {
    for at in [0, 24, 30, 500_000] {
        let (a, b) = memory_links();
        let mut a = over(FaultyLink::new(a, Fault::Cut(at)), "P1", &brisk());
        let mut b = over(b, "P0", &brisk());
        a.send(1, vec![0; 600_000]).unwrap();
        let gone = how(b.recv(1, 600_000, "weights").unwrap_err());
        assert_eq!(gone, Gone::Died, "cut at {at}");
        assert!(matches!(how(a.flush().unwrap_err()), Gone::Broken(_)));
    }
}

#[test]
fn a_farewell_is_told_from_a_death() {
    let (mut a, mut b) = tls_pair(&brisk());
    b.send(1, vec![5; 3_000_000]).unwrap();
    std::thread::scope(|s| {
        s.spawn(|| b.close().unwrap());
        assert_eq!(a.recv(1, 3_000_000, "last").unwrap(), vec![5; 3_000_000]);
        assert_eq!(how(a.recv(2, 1, "more").unwrap_err()), Gone::Closed);
        drop(a);
    });
}

#[test]
fn silence_is_named_at_its_deadline() {
    let limits = brisk();
    for (at, len) in [(0, 10), (5, 10), (30, 10), (2_000_000, 3_000_000)] {
        let (a, b) = memory_links();
        let mut a = over(FaultyLink::new(a, Fault::Silence(at)), "P1", &limits);
        let mut b = over(b, "P0", &limits);
        a.send(1, vec![0; len]).unwrap();
        let began = Instant::now();
        let gone = how(b.recv(1, len, "gate 3 conv1").unwrap_err());
        assert_eq!(gone, Gone::Silent(limits.silence));
        assert!(began.elapsed() >= limits.silence);
        assert!(began.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn a_peer_that_only_works_is_not_silent_but_stalls_in_the_end() {
    let mut limits = brisk();
    limits.stall = Duration::from_secs(2);
    let (mut a, mut b) = tls_pair(&limits);
    std::thread::scope(|s| {
        s.spawn(|| {
            std::thread::sleep(2 * limits.silence);
            b.send(1, vec![1]).unwrap();
        });
        assert_eq!(a.recv(1, 1, "long work").unwrap(), [1]);
    });
    assert!(matches!(how(a.recv(2, 1, "endless work").unwrap_err()), Gone::Stalled(_)));
}

#[test]
fn one_byte_at_a_time_is_too_slow() {
    let limits = brisk();
    // In the header, and in the payload; over TLS no plaintext comes at all.
    for at in [3, 100] {
        let (a, b) = memory_links();
        let trickle = Fault::Trickle(at, Duration::from_millis(50));
        let mut a = over(FaultyLink::new(a, trickle), "P1", &limits);
        let mut b = over(b, "P0", &limits);
        a.send(1, vec![0; 1000]).unwrap();
        let gone = how(b.recv(1, 1000, "gate 3").unwrap_err());
        assert!(matches!(gone, Gone::Slow { .. }), "{gone}");
    }
}

#[test]
fn a_pause_shorter_than_the_deadline_is_no_fault() {
    let (a, b) = memory_links();
    let mut a = over(FaultyLink::new(a, Fault::Delay(100, Duration::from_millis(300))), "P1", &brisk());
    let mut b = over(b, "P0", &brisk());
    a.send(1, vec![9; 1000]).unwrap();
    assert_eq!(b.recv(1, 1000, "gate 3").unwrap(), [9; 1000]);
}

#[test]
fn a_sender_notices_that_nobody_takes_its_bytes() {
    let mut limits = brisk();
    limits.queue_bytes = PIECE;
    // The other end is open, takes nothing and says nothing.
    let (mut peer, socket) = by_hand(&limits);
    let began = Instant::now();
    let mut stream = peer.send_stream(1, 1 << 30).unwrap();
    let piece = vec![0; PIECE];
    let error = (0..1024).find_map(|_| stream.write(&piece).err()).unwrap();
    assert_eq!(how(error), Gone::Silent(limits.silence));
    assert!(began.elapsed() < Duration::from_secs(5));
    drop(stream);
    drop((peer, socket));
}

#[test]
fn a_busy_receiver_that_lives_is_waited_for() {
    let mut limits = brisk();
    limits.queue_bytes = PIECE;
    let (mut a, mut b) = tls_pair(&limits);
    let n = 32 * PIECE;
    std::thread::scope(|s| {
        s.spawn(|| {
            // Longer than the silence deadline, while its writer says that it lives.
            std::thread::sleep(3 * limits.silence);
            assert_eq!(b.recv(1, n, "weights").unwrap().len(), n);
        });
        let mut stream = a.send_stream(1, n as u64).unwrap();
        (0..32).for_each(|_| stream.write(&vec![0; PIECE]).unwrap());
        stream.finish().unwrap();
        a.flush().unwrap();
    });
}

#[test]
fn both_send_64_megabytes_at_once() {
    let n = 64 << 20;
    let (mut a, mut b) = tls_pair(&Limits::default());
    std::thread::scope(|s| {
        s.spawn(|| {
            b.send(1, vec![2; n]).unwrap();
            assert!(b.recv(1, n, "all of it").unwrap().iter().all(|&x| x == 1));
        });
        a.send(1, vec![1; n]).unwrap();
        assert!(a.recv(1, n, "all of it").unwrap().iter().all(|&x| x == 2));
    });
}

#[test]
fn strangers_do_not_keep_a_peer_out() {
    let [p0, p1] = ["P0", "P1"].map(|n| Identity::ephemeral(n).unwrap());
    for plain in [false, true] {
        let mut listener = match plain {
            false => Listener::bind("127.0.0.1:0", &p0, &[allowed("P1", &p1)], &brisk()).unwrap(),
            true => Listener::bind_plain("127.0.0.1:0", "P1", &brisk()).unwrap(),
        };
        let addr = listener.local_addr().unwrap().to_string();
        let hello = [22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3];
        let silent = TcpStream::connect(&addr).unwrap();
        let strangers: Vec<TcpStream> =
            [&b"GET / HTTP/1.1\r\nHost: p0\r\n\r\n"[..], &[0xff; 5000], &hello, &frame(Kind::Data, 0, 0, 5), b"AR1h"]
                .into_iter()
                .map(|bytes| {
                    let mut socket = TcpStream::connect(&addr).unwrap();
                    socket.write_all(bytes).unwrap();
                    socket
                })
                .collect();
        drop(TcpStream::connect(&addr).unwrap());
        std::thread::scope(|s| {
            let connecting = s.spawn(|| match plain {
                false => Peer::connect(&addr, &p1, &p0.fingerprint(), "P0", &brisk()).unwrap(),
                true => Peer::connect_plain(&addr, "P0", &brisk()).unwrap(),
            });
            let mut peer = listener.accept(Duration::from_secs(5)).unwrap();
            let mut other = connecting.join().unwrap();
            other.send(1, vec![1, 2, 3]).unwrap();
            assert_eq!(peer.recv(1, 3, "three bytes").unwrap(), [1, 2, 3]);
        });
        // The silent and the half greeting are turned away at the handshake deadline, HTTP and garbage before.
        let error = listener.accept(Duration::from_millis(2500)).err().unwrap();
        assert_eq!(listener.refused(), 7, "{error}");
        drop((silent, strangers));
    }
}

#[test]
fn a_thousand_idle_connections_disturb_nobody() {
    let [p0, p1] = ["P0", "P1"].map(|n| Identity::ephemeral(n).unwrap());
    let mut listener = Listener::bind("127.0.0.1:0", &p0, &[allowed("P1", &p1)], &brisk()).unwrap();
    let addr = listener.local_addr().unwrap();
    let text = addr.to_string();
    let connect = || Peer::connect(&text, &p1, &p0.fingerprint(), "P0", &brisk()).unwrap();
    std::thread::scope(|s| {
        let connecting = s.spawn(connect);
        let mut session = listener.accept(Duration::from_secs(5)).unwrap();
        let mut other = connecting.join().unwrap();
        let mut idle = Vec::new();
        let mut refused = 0;
        // While a listener accepts: more than the backlog holds.
        while idle.len() < 1000 {
            match TcpStream::connect_timeout(&addr, Duration::from_millis(100)) {
                Ok(socket) => idle.push(socket),
                Err(_) => refused += 1,
            }
            if idle.len() % 50 == 0 {
                assert!(listener.accept(Duration::ZERO).is_err());
            }
            assert!(refused < 1000, "connections are taken");
        }
        for step in 0..50 {
            other.send(step, vec![step as u8; 100_000]).unwrap();
            session.send(step, vec![!step as u8; 100_000]).unwrap();
            assert_eq!(session.recv(step, 100_000, "a gate").unwrap()[0], step as u8);
            assert_eq!(other.recv(step, 100_000, "a gate").unwrap()[0], !step as u8);
        }
        // And a genuine peer still comes in.
        let connecting = s.spawn(connect);
        let peer = listener.accept(Duration::from_secs(5)).unwrap();
        connecting.join().unwrap();
        assert_eq!(peer.name(), "P1");
        // Most were cut to make room: what is kept is bounded.
        let mut open = 0;
        for mut socket in idle {
            socket.set_nonblocking(true).unwrap();
            let kept = matches!(socket.read(&mut [0]), Err(e) if e.kind() == std::io::ErrorKind::WouldBlock);
            open += usize::from(kept);
        }
        assert!(open <= 256, "{open} are kept");
    });
}
