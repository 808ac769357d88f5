//! A sealed box: ChaCha20-Poly1305 under a key that seals one message.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use zeroize::Zeroizing;

/// Bytes that sealing adds.
#[cfg(test)]
pub(crate) const OVERHEAD: usize = 16;

/// Seals `secret`, bound to `public`. The key must not seal anything else: the nonce is always zero.
pub(crate) fn seal(key: &[u8; 32], public: &[u8], secret: &[u8]) -> Vec<u8> {
    let cipher = ChaCha20Poly1305::new(&Key::from(*key));
    let payload = Payload { msg: secret, aad: public };
    cipher.encrypt(&Nonce::default(), payload).expect("a message of some bytes")
}

/// What was sealed; none when key, `public` or box are not those of [`seal`].
pub(crate) fn open(key: &[u8; 32], public: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let cipher = ChaCha20Poly1305::new(&Key::from(*key));
    cipher.decrypt(&Nonce::default(), Payload { msg: sealed, aad: public }).ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_box_opens() {
        let sealed = seal(&[1; 32], b"public", b"secret");
        assert_eq!(sealed.len(), 6 + OVERHEAD);
        assert_eq!(open(&[1; 32], b"public", &sealed).unwrap()[..], *b"secret");
        assert!(open(&[2; 32], b"public", &sealed).is_none());
        assert!(open(&[1; 32], b"Public", &sealed).is_none());
        for at in 0..sealed.len() {
            let mut bent = sealed.clone();
            bent[at] ^= 1;
            assert!(open(&[1; 32], b"public", &bent).is_none());
            assert!(open(&[1; 32], b"public", &sealed[..at]).is_none());
        }
    }
}
