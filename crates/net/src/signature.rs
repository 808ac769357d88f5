//! Signatures by identities, for messages that others relay.
//!
//! The key is the one of the TLS certificate (Ed25519). What TLS 1.3 signs with it begins with 64 spaces, what is signed
//! here with [`PREFIX`]: neither can be passed off as the other.

use rustls::SignatureScheme;
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use crate::error::system;
use crate::identity::out_of_date;
use crate::{Fingerprint, Identity, NetError};

/// Begins everything that is signed; the purpose, a zero byte and the message's 32 bytes follow.
const PREFIX: &[u8] = b"ariann signature 1\0";
/// Certificates longer than this are none of ours.
pub const MAX_CERTIFICATE: usize = 4096;
/// The object identifier of Ed25519 keys.
const ED25519: &str = "1.3.101.112";

/// An Ed25519 signature. The default one is none: it verifies nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature([[u8; 32]; 2]);

impl Signature {
    /// Its 64 bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_flattened()
    }
}

impl Identity {
    /// The certificate, DER. It is public.
    pub fn certificate(&self) -> Vec<u8> {
        self.certified().cert[0].to_vec()
    }

    /// Signs a digest for a purpose. A purpose is a constant of the program, without zero bytes.
    pub fn sign(&self, purpose: &str, digest: &[u8; 32]) -> Result<Signature, NetError> {
        let none = || system("sign", "the identity's key is not of the kind Ed25519");
        let certified = self.certified();
        let signer = certified.key.choose_scheme(&[SignatureScheme::ED25519]).ok_or_else(none)?;
        let bytes = signer.sign(&signed(purpose, digest)).map_err(|error| system("sign", error))?;
        let (halves, rest) = bytes.as_chunks::<32>();
        match (halves, rest) {
            ([first, second], []) => Ok(Signature([*first, *second])),
            _ => Err(none()),
        }
    }
}

fn signed(purpose: &str, digest: &[u8; 32]) -> Vec<u8> {
    [PREFIX, purpose.as_bytes(), &[0], digest].concat()
}

/// A peer's certificate, for its signatures. Whoever pins compares the fingerprint.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    fingerprint: Fingerprint,
    key: [u8; 32],
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Certificate({})", self.fingerprint)
    }
}

impl Certificate {
    /// Reads a certificate that is valid now and has an Ed25519 key; otherwise says why it cannot be used.
    pub fn from_der(der: &[u8]) -> Result<Certificate, String> {
        let certificate = Certificate::of_former(der)?;
        match out_of_date(der)? {
            Some(when) => Err(format!("the certificate {when}")),
            None => Ok(certificate),
        }
    }

    /// The same for a certificate whose time may be over: for what it signed before.
    pub fn of_former(der: &[u8]) -> Result<Certificate, String> {
        if der.len() > MAX_CERTIFICATE {
            return Err(format!("the certificate has {} bytes, more than {MAX_CERTIFICATE}", der.len()));
        }
        let (rest, parsed) =
            x509_parser::parse_x509_certificate(der).map_err(|e| format!("the certificate does not parse: {e}"))?;
        let key = parsed.public_key();
        let bytes: Option<[u8; 32]> = (*key.subject_public_key.data).try_into().ok();
        let ed25519 = key.algorithm.algorithm.to_id_string() == ED25519;
        match bytes.filter(|_| ed25519 && rest.is_empty()) {
            Some(key) => Ok(Certificate { fingerprint: Fingerprint::of_certificate(&CertificateDer::from(der)), key }),
            None => Err("the certificate has no Ed25519 key".into()),
        }
    }

    /// What is pinned.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Whether this certificate's key signed the digest for the purpose.
    pub fn verifies(&self, purpose: &str, digest: &[u8; 32], signature: &Signature) -> bool {
        let algorithms = crate::tls::provider().signature_verification_algorithms;
        let mut all = algorithms.mapping.iter().filter(|(scheme, _)| *scheme == SignatureScheme::ED25519);
        let verifies = |algorithm: &&dyn rustls::pki_types::SignatureVerificationAlgorithm| {
            algorithm.verify_signature(&self.key, &signed(purpose, digest), signature.as_bytes()).is_ok()
        };
        all.any(|(_, algorithms)| algorithms.iter().any(verifies))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_key_purpose_and_digest_verify() {
        let [a, b] = ["a", "b"].map(|name| Identity::ephemeral(name).unwrap());
        let [of_a, of_b] = [&a, &b].map(|identity| Certificate::from_der(&identity.certificate()).unwrap());
        assert_eq!(of_a.fingerprint(), a.fingerprint());
        let signature = a.sign("a test", &[7; 32]).unwrap();
        assert!(of_a.verifies("a test", &[7; 32], &signature));
        assert!(!of_b.verifies("a test", &[7; 32], &signature));
        assert!(!of_a.verifies("another", &[7; 32], &signature));
        assert!(!of_a.verifies("a test", &[8; 32], &signature));
        for at in 0..64 {
            let mut bent = signature;
            bent.0.as_flattened_mut()[at] ^= 1;
            assert!(!of_a.verifies("a test", &[7; 32], &bent), "byte {at}");
        }
    }

    #[test]
    fn bytes_that_are_no_certificate_of_ours_are_refused() {
        let der = Identity::ephemeral("a").unwrap().certificate();
        for cut in 0..der.len() {
            assert!(Certificate::from_der(&der[..cut]).is_err(), "{cut} bytes");
        }
        assert!(Certificate::from_der(&[der.clone(), vec![0]].concat()).is_err());
        assert!(Certificate::from_der(&vec![0x30; MAX_CERTIFICATE + 1]).unwrap_err().contains("more than 4096"));
        // Another kind of key.
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let other = rcgen::CertificateParams::default().self_signed(&key).unwrap();
        assert!(Certificate::from_der(other.der()).unwrap_err().contains("no Ed25519 key"));
    }
}
