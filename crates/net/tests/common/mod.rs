//! Pairs of peers for tests.
#![allow(dead_code, reason = "each test file uses a part")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use ariann_net::{Allowed, Header, Identity, Kind, Limits, Listener, Peer};

/// Short deadlines, so that tests of silence are short.
pub fn brisk() -> Limits {
    Limits {
        connect: Duration::from_secs(5),
        handshake: Duration::from_secs(2),
        silence: Duration::from_millis(600),
        keep_alive: Duration::from_millis(100),
        linger: Duration::from_millis(500),
        ..Limits::default()
    }
}

pub fn allowed(name: &str, identity: &Identity) -> Allowed {
    Allowed { name: name.into(), pin: identity.fingerprint() }
}

/// P0 and P1 over TLS on loopback; the first is at P0 and connected to P1.
pub fn tls_pair(limits: &Limits) -> (Peer, Peer) {
    let (p0, p1) = (Identity::ephemeral("P0").unwrap(), Identity::ephemeral("P1").unwrap());
    let mut listener = Listener::bind("127.0.0.1:0", &p0, &[allowed("P1", &p1)], limits).unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    std::thread::scope(|s| {
        let connecting = s.spawn(|| Peer::connect(&addr, &p1, &p0.fingerprint(), "P0", limits).unwrap());
        let at_p0 = listener.accept(Duration::from_secs(5)).unwrap();
        (at_p0, connecting.join().unwrap())
    })
}

/// A peer connected over plain TCP to a socket on which a test writes bytes by hand.
pub fn by_hand(limits: &Limits) -> (Peer, TcpStream) {
    by_hand_with(limits, &[])
}

/// The same, with `more` in the same write as the welcome.
pub fn by_hand_with(limits: &Limits, more: &[u8]) -> (Peer, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    std::thread::scope(|s| {
        let connecting = s.spawn(|| Peer::connect_plain(&addr, "P1", limits).unwrap());
        let mut socket = listener.accept().unwrap().0;
        let mut hello = [0; 24];
        socket.read_exact(&mut hello).unwrap();
        assert_eq!(Header::decode(&hello).unwrap().kind, Kind::Hello);
        let welcome = frame(Kind::Welcome, 0, 0, 0);
        socket.write_all(&[&welcome, more].concat()).unwrap();
        (connecting.join().unwrap(), socket)
    })
}

pub fn frame(kind: Kind, step: u32, sequence: u64, length: u64) -> [u8; 24] {
    Header { kind, step, sequence, length }.encode()
}
