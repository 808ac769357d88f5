//! TLS 1.3 only, both ends authenticated, nothing accepted but pinned certificates.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, OtherError, ServerConfig,
    SignatureScheme,
};

use crate::error::system;
use crate::identity::out_of_date;
use crate::{Fingerprint, Identity, NetError};

/// Both ends must speak this protocol inside TLS.
const ALPN: &[u8] = b"ariann/1";

/// The `ring` provider with AES-128-GCM first where the processor has AES instructions.
pub(crate) fn provider() -> CryptoProvider {
    use ring::cipher_suite::*;
    let aes = [TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384];
    let mut cipher_suites = vec![TLS13_CHACHA20_POLY1305_SHA256];
    let at = if has_aes() { 0 } else { 1 };
    cipher_suites.splice(at..at, aes);
    CryptoProvider { cipher_suites, ..ring::default_provider() }
}

fn has_aes() -> bool {
    #[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
    return std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64")))]
    return false;
}

/// Why a certificate was not accepted; travels through the TLS library and is read back by [`refusal`].
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the identity {got} is not pinned")]
    NotPinned { got: Fingerprint, pinned: Vec<Fingerprint> },
    #[error("the identity {fingerprint} {when}")]
    OutOfDate { fingerprint: Fingerprint, when: String },
    #[error("a chain of certificates is not accepted")]
    Chain,
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refusal))))
    }
}

/// The refusal inside a TLS error, if it is one.
pub(crate) fn refusal(error: &Error) -> Option<&Refusal> {
    match error {
        Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) => inner.downcast_ref(),
        _ => None,
    }
}

/// Accepts exactly the pinned certificates while they are valid.
#[derive(Debug)]
struct Pinned {
    pins: Vec<Fingerprint>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Pinned {
    fn check(&self, end: &CertificateDer<'_>, chain: &[CertificateDer<'_>]) -> Result<(), Refusal> {
        let got = Fingerprint::of_certificate(end);
        if !self.pins.contains(&got) {
            return Err(Refusal::NotPinned { got, pinned: self.pins.clone() });
        }
        if !chain.is_empty() {
            return Err(Refusal::Chain);
        }
        match out_of_date(end) {
            Ok(None) => Ok(()),
            Ok(Some(when)) | Err(when) => Err(Refusal::OutOfDate { fingerprint: got, when }),
        }
    }

    fn tls12(&self) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not offered".into()))
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(end, chain)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        end: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, end, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Pinned {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(end, chain)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        end: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, end, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn pinned(provider: &CryptoProvider, pins: &[Fingerprint]) -> Arc<Pinned> {
    let algorithms = provider.signature_verification_algorithms;
    Arc::new(Pinned { pins: pins.to_vec(), algorithms })
}

/// The connecting end.
pub(crate) fn client(identity: &Identity, pin: Fingerprint) -> Result<Arc<ClientConfig>, NetError> {
    let provider = Arc::new(provider());
    let verifier = pinned(&provider, &[pin]);
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| system("set up TLS", e))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified())));
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    config.enable_early_data = false;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(config))
}

/// The accepting end.
pub(crate) fn server(identity: &Identity, pins: &[Fingerprint]) -> Result<Arc<ServerConfig>, NetError> {
    let provider = Arc::new(provider());
    let verifier = pinned(&provider, pins);
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| system("set up TLS", e))?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified())));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(config))
}
