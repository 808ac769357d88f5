//! Who may connect, and what is said to those who may not.

mod common;

use std::path::Path;
use std::time::Duration;

use ariann_net::{Allowed, Identity, IdentityError, Listener, LocalError, NetError, Peer};
use common::{allowed, brisk};

const YEAR: Duration = Duration::from_secs(365 * 86_400);

#[cfg(unix)]
fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn an_identity_is_written_once_and_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let made = Identity::create(folder.path(), "P0", YEAR).unwrap();
    let read = Identity::load(folder.path(), "P0").unwrap();
    assert_eq!(made.fingerprint(), read.fingerprint());
    assert_eq!(format!("{read:?}"), format!("Identity({})", read.fingerprint()));
    let again = Identity::create(folder.path(), "P0", YEAR);
    assert!(matches!(again, Err(NetError::Identity(IdentityError::Exists(_)))));
    assert_eq!(Identity::load(folder.path(), "P0").unwrap().fingerprint(), made.fingerprint());
}

#[test]
fn a_certificate_that_exists_keeps_the_key_from_being_written() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("P0.cert.pem"), "mine").unwrap();
    assert!(Identity::create(folder.path(), "P0", YEAR).is_err());
    assert!(!folder.path().join("P0.key.pem").exists());
    assert_eq!(std::fs::read(folder.path().join("P0.cert.pem")).unwrap(), b"mine");
}

#[cfg(unix)]
#[test]
fn a_key_that_others_can_read_is_refused_with_the_command_to_run() {
    let folder = tempfile::tempdir().unwrap();
    Identity::create(folder.path(), "P0", YEAR).unwrap();
    let key = folder.path().join("P0.key.pem");
    assert_eq!(mode(&key), 0o600);
    for bad in [0o640, 0o604, 0o660, 0o644] {
        set_mode(&key, bad);
        let error = Identity::load(folder.path(), "P0").unwrap_err().to_string();
        assert!(error.contains(&format!("chmod 600 {}", key.display())), "{error}");
    }
    set_mode(&key, 0o400);
    Identity::load(folder.path(), "P0").unwrap();
}

#[test]
fn broken_and_foreign_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = |file: &str| folder.path().join(file);
    for name in ["P0", "P1"] {
        Identity::create(folder.path(), name, YEAR).unwrap();
    }
    let certificate = std::fs::read(path("P0.cert.pem")).unwrap();
    let foreign = std::fs::read(path("P1.cert.pem")).unwrap();
    for (bytes, reason) in [
        (&foreign[..], "does not belong"),
        (&certificate[..certificate.len() / 2], "no certificate"),
        (b"", "no certificate"),
        (&vec![b'A'; 70_000][..], "longer than"),
    ] {
        std::fs::write(path("P0.cert.pem"), bytes).unwrap();
        let error = Identity::load(folder.path(), "P0").unwrap_err();
        assert!(matches!(error, NetError::Identity(IdentityError::Invalid { .. })), "{error}");
        assert!(error.to_string().contains(reason), "{error}");
    }
    let error = Identity::load(folder.path(), "P2").unwrap_err();
    assert!(matches!(error, NetError::Local(LocalError::Disk { .. })), "{error}");
    for name in ["", "../P0", "a/b", "P0.key"] {
        let error = Identity::create(folder.path(), name, YEAR).unwrap_err();
        assert!(matches!(error, NetError::Identity(IdentityError::Name(_))), "{error}");
    }
}

/// What the connecting and the accepting end say.
fn meet(server: &Identity, allowed: &[Allowed], client: &Identity, pin: &Identity) -> (NetError, NetError) {
    let mut listener = Listener::bind("127.0.0.1:0", server, allowed, &brisk()).unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    std::thread::scope(|s| {
        let connecting = s.spawn(|| Peer::connect(&addr, client, &pin.fingerprint(), "P0", &brisk()).err());
        let accepted = listener.accept(Duration::from_secs(1)).err();
        (connecting.join().unwrap().unwrap(), accepted.unwrap())
    })
}

#[test]
fn a_server_that_is_not_pinned_is_named_by_its_fingerprint() {
    let [p0, p1, other] = ["P0", "P1", "other"].map(|n| Identity::ephemeral(n).unwrap());
    let (client, server) = meet(&other, &[allowed("P1", &p1)], &p1, &p0);
    let text = client.to_string();
    assert!(matches!(client, NetError::Identity(IdentityError::NotPinned { .. })), "{text}");
    assert!(text.contains(&other.fingerprint().to_string()), "{text}");
    assert!(text.contains(&p0.fingerprint().to_string()), "{text}");
    let text = server.to_string();
    assert!(text.contains(&format!("refused our identity {}", other.fingerprint())), "{text}");
}

#[test]
fn a_client_that_is_not_pinned_learns_it_at_once() {
    let [p0, p1, other] = ["P0", "P1", "other"].map(|n| Identity::ephemeral(n).unwrap());
    let (client, server) = meet(&p0, &[allowed("P1", &p1)], &other, &p0);
    let text = client.to_string();
    assert!(matches!(client, NetError::Identity(IdentityError::Refused { .. })), "{text}");
    assert!(text.contains(&other.fingerprint().to_string()), "{text}");
    let text = server.to_string();
    for expected in [&other, &p1] {
        assert!(text.contains(&expected.fingerprint().to_string()), "{text}");
    }
}

#[test]
fn expired_identities_are_refused_on_both_sides() {
    let folder = tempfile::tempdir().unwrap();
    let second = Duration::from_secs(1);
    let old = Identity::create(folder.path(), "old", second).unwrap();
    let p0 = Identity::ephemeral("P0").unwrap();
    std::thread::sleep(Duration::from_millis(2100));
    let error = Identity::load(folder.path(), "old").unwrap_err();
    assert!(matches!(error, NetError::Identity(IdentityError::Expired { .. })), "{error}");
    let (client, server) = meet(&p0, &[allowed("P1", &old)], &old, &p0);
    assert!(client.to_string().contains("refused our identity"), "{client}");
    assert!(server.to_string().contains("expired at"), "{server}");
    let (client, _) = meet(&old, &[allowed("P1", &p0)], &p0, &old);
    assert!(matches!(client, NetError::Identity(IdentityError::PeerExpired { .. })), "{client}");
}

#[test]
fn a_dealer_tells_its_two_parties_apart() {
    let [dealer, p0, p1] = ["dealer", "P0", "P1"].map(|n| Identity::ephemeral(n).unwrap());
    let both = [allowed("P0", &p0), allowed("P1", &p1)];
    let mut listener = Listener::bind("127.0.0.1:0", &dealer, &both, &brisk()).unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    for (name, identity) in [("P1", &p1), ("P0", &p0)] {
        std::thread::scope(|s| {
            let connecting =
                s.spawn(|| Peer::connect(&addr, identity, &dealer.fingerprint(), "dealer", &brisk()).unwrap());
            let peer = listener.accept(Duration::from_secs(5)).unwrap();
            assert_eq!(peer.name(), name);
            assert_eq!(peer.fingerprint(), Some(&identity.fingerprint()));
            connecting.join().unwrap();
        });
    }
}

#[test]
fn plain_tcp_is_for_loopback_only() {
    for addr in ["192.0.2.1:7000", "0.0.0.0:0", "[::]:0", "198.51.100.7:1"] {
        for error in [
            Peer::connect_plain(addr, "P1", &brisk()).err().unwrap(),
            Listener::bind_plain(addr, "P1", &brisk()).err().unwrap(),
        ] {
            let text = error.to_string();
            assert!(matches!(error, NetError::Config(_)), "{text}");
            assert!(text.contains("plain TCP is for addresses of this machine only"), "{text}");
        }
    }
    let mut listener = Listener::bind_plain("127.0.0.1:0", "P1", &brisk()).unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    std::thread::scope(|s| {
        let connecting = s.spawn(|| Peer::connect_plain(&addr, "P0", &brisk()).unwrap());
        let mut at_p0 = listener.accept(Duration::from_secs(5)).unwrap();
        let mut at_p1 = connecting.join().unwrap();
        at_p0.send(1, vec![7; 10]).unwrap();
        assert_eq!(at_p1.recv(1, 10, "ten bytes").unwrap(), [7; 10]);
    });
}

#[test]
fn a_listener_without_pins_and_a_bad_address_are_refused() {
    let p0 = Identity::ephemeral("P0").unwrap();
    assert!(Listener::bind("127.0.0.1:0", &p0, &[], &brisk()).is_err());
    let some = [allowed("P1", &p0)];
    for addr in ["127.0.0.1", "127.0.0.1:99999", ""] {
        let error = Listener::bind(addr, &p0, &some, &brisk()).err().unwrap();
        assert!(matches!(error, NetError::Config(_)), "{error}");
    }
}

#[test]
fn a_peer_that_starts_later_is_found_and_one_that_never_does_is_named() {
    let [p0, p1] = ["P0", "P1"].map(|n| Identity::ephemeral(n).unwrap());
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = free.local_addr().unwrap().to_string();
    drop(free);
    let mut limits = brisk();
    limits.connect = Duration::from_millis(500);
    let error = Peer::connect(&addr, &p1, &p0.fingerprint(), "P0", &limits).err().unwrap();
    assert!(matches!(error, NetError::PeerGone { .. }), "{error}");
    assert!(error.to_string().contains(&format!("P0 at {addr}")), "{error}");
    std::thread::scope(|s| {
        let connecting = s.spawn(|| Peer::connect(&addr, &p1, &p0.fingerprint(), "P0", &brisk()).unwrap());
        std::thread::sleep(Duration::from_millis(400));
        let mut listener = Listener::bind(&addr, &p0, &[allowed("P1", &p1)], &brisk()).unwrap();
        listener.accept(Duration::from_secs(5)).unwrap();
        connecting.join().unwrap();
    });
}
