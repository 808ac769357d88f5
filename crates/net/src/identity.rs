//! Identities: a self-signed certificate and its key, in two files.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use crate::error::{disk, system};
use crate::{Fingerprint, IdentityError, NetError};

/// Files larger than this are no identity.
const MAX_FILE: u64 = 64 << 10;

/// A certificate with its private key. Neither `Clone` nor printable beyond its fingerprint.
pub struct Identity {
    certified: Arc<CertifiedKey>,
    fingerprint: Fingerprint,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({})", self.fingerprint)
    }
}

impl Identity {
    /// Makes an identity valid for `validity` and writes `NAME.key.pem` (mode 0600) and `NAME.cert.pem` to `folder`.
    /// Nothing is overwritten.
    pub fn create(folder: &Path, name: &str, validity: Duration) -> Result<Identity, NetError> {
        let (key_path, cert_path) = paths(folder, name)?;
        for path in [&key_path, &cert_path] {
            if path.exists() {
                return Err(IdentityError::Exists(path.clone()).into());
            }
        }
        let (certificate, key) = generate(name, SystemTime::now(), validity)?;
        write_new(&key_path, key.as_bytes(), 0o600)?;
        if let Err(error) = write_new(&cert_path, certificate.as_bytes(), 0o644) {
            let _ = std::fs::remove_file(&key_path);
            return Err(error);
        }
        File::open(folder).and_then(|f| f.sync_all()).map_err(|e| disk("sync", folder, &e))?;
        Identity::load(folder, name)
    }

    /// An identity that is never written, for one run on one machine.
    pub fn ephemeral(name: &str) -> Result<Identity, NetError> {
        let (certificate, key) = generate(name, SystemTime::now(), Duration::from_secs(7 * 86_400))?;
        from_pem(certificate.as_bytes(), key.as_bytes(), Path::new(name), Path::new(name))
    }

    /// Reads `NAME.key.pem` and `NAME.cert.pem` from `folder`. Refuses a key that others can read, a pair that does
    /// not belong together and an expired certificate.
    pub fn load(folder: &Path, name: &str) -> Result<Identity, NetError> {
        let (key_path, cert_path) = paths(folder, name)?;
        let key = read_private(&key_path)?;
        let certificate = read(&cert_path)?;
        from_pem(&certificate, &key, &cert_path, &key_path)
    }

    /// What a peer pins.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    pub(crate) fn certified(&self) -> Arc<CertifiedKey> {
        self.certified.clone()
    }
}

fn paths(folder: &Path, name: &str) -> Result<(PathBuf, PathBuf), IdentityError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
        return Err(IdentityError::Name(name.chars().take(100).collect()));
    }
    Ok((folder.join(format!("{name}.key.pem")), folder.join(format!("{name}.cert.pem"))))
}

/// Certificate and key as PEM.
fn generate(name: &str, from: SystemTime, validity: Duration) -> Result<(String, Zeroizing<String>), NetError> {
    let make = |e: rcgen::Error| system("make an identity", e);
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).map_err(make)?;
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, format!("ariann {name}"));
    // An hour back: clocks differ.
    params.not_before = (from - Duration::from_secs(3600)).into();
    params.not_after = (from + validity).into();
    let certificate = params.self_signed(&key).map_err(make)?;
    Ok((certificate.pem(), Zeroizing::new(key.serialize_pem())))
}

fn from_pem(certificate: &[u8], key: &[u8], cert_path: &Path, key_path: &Path) -> Result<Identity, NetError> {
    let invalid = |path: &Path, reason: String| IdentityError::Invalid { path: path.into(), reason };
    let certificate = CertificateDer::from_pem_slice(certificate)
        .map_err(|e| invalid(cert_path, format!("it is no certificate in PEM form: {e}")))?;
    let key =
        PrivateKeyDer::from_pem_slice(key).map_err(|_| invalid(key_path, "it is no private key in PEM form".into()))?;
    let fingerprint = Fingerprint::of_certificate(&certificate);
    if let Some(when) = out_of_date(&certificate).map_err(|reason| invalid(cert_path, reason))? {
        return Err(IdentityError::Expired { path: cert_path.into(), when }.into());
    }
    let certified = CertifiedKey::from_der(vec![certificate], key, &crate::tls::provider())
        .map_err(|e| invalid(key_path, format!("it does not belong to the certificate: {e}")))?;
    Ok(Identity { certified: Arc::new(certified), fingerprint })
}

/// `Some(text)` when the certificate is not valid now.
pub(crate) fn out_of_date(certificate: &[u8]) -> Result<Option<String>, String> {
    let (_, parsed) =
        x509_parser::parse_x509_certificate(certificate).map_err(|e| format!("the certificate does not parse: {e}"))?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs() as i64);
    let validity = parsed.validity();
    if now > validity.not_after.timestamp() {
        return Ok(Some(format!("expired at {}", validity.not_after)));
    }
    if now < validity.not_before.timestamp() {
        return Ok(Some(format!("is not valid before {}", validity.not_before)));
    }
    Ok(None)
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), NetError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let mut file = options.open(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::AlreadyExists => IdentityError::Exists(path.into()).into(),
        _ => disk("create", path, &e),
    })?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written.map_err(|e| {
        let _ = std::fs::remove_file(path);
        disk("write", path, &e)
    })
}

fn read(path: &Path) -> Result<Vec<u8>, NetError> {
    let file = File::open(path).map_err(|e| disk("read", path, &e))?;
    read_file(&file, path)
}

fn read_file(file: &File, path: &Path) -> Result<Vec<u8>, NetError> {
    let mut bytes = Vec::with_capacity(4096);
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|e| disk("read", path, &e))?;
    if bytes.len() as u64 > MAX_FILE {
        let reason = format!("it is longer than {MAX_FILE} bytes");
        return Err(IdentityError::Invalid { path: path.into(), reason }.into());
    }
    Ok(bytes)
}

/// Reads a key file after looking at the mode of the very file that is open.
fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, NetError> {
    let file = File::open(path).map_err(|e| disk("read", path, &e))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let metadata = file.metadata().map_err(|e| disk("read", path, &e))?;
        let mode = metadata.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(IdentityError::Permissions { path: path.into(), mode }.into());
        }
    }
    read_file(&file, path).map(Zeroizing::new)
}
