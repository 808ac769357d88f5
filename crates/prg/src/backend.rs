//! Which AES does the work, chosen once at run time.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

/// A way of computing AES. All give the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Four blocks a register (VAES with AVX-512).
    Vaes512,
    /// Two blocks a register (VAES with AVX2).
    Vaes256,
    /// One block a register (AES-NI).
    AesNi,
    /// One block a register (ARMv8 cryptography extension).
    ArmV8,
    /// Bitsliced, constant-time, on any processor.
    Soft,
}

/// The setting `ARIANN_AES` cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// The machine lacks the instructions that were asked for.
    #[error("operator: ARIANN_AES={0} was asked for, but this processor cannot do it (it can: {available}); unset ARIANN_AES or choose one of these", available = names(&Backend::available()))]
    Missing(Backend),
    /// No back end has this name.
    #[error("operator: ARIANN_AES={0:?} names no AES path; use one of vaes512, vaes, aesni, armv8, soft, or unset it")]
    Unknown(String),
}

impl Backend {
    /// Every back end, the fastest first.
    pub const ALL: [Backend; 5] = [Backend::Vaes512, Backend::Vaes256, Backend::AesNi, Backend::ArmV8, Backend::Soft];

    /// The value of `ARIANN_AES` that forces this back end.
    pub const fn name(self) -> &'static str {
        match self {
            Backend::Vaes512 => "vaes512",
            Backend::Vaes256 => "vaes",
            Backend::AesNi => "aesni",
            Backend::ArmV8 => "armv8",
            Backend::Soft => "soft",
        }
    }

    /// Whether this processor has the instructions.
    pub fn is_available(self) -> bool {
        crate::kernel::is_available(self)
    }

    /// The back ends of this processor, the fastest first; never empty.
    pub fn available() -> Vec<Backend> {
        Backend::ALL.into_iter().filter(|backend| backend.is_available()).collect()
    }

    /// The back end in use: the one that the environment variable `ARIANN_AES` forces, else the fastest. Looked up
    /// once. A program calls this first, so that a setting the machine cannot follow is an error and not a panic.
    pub fn active() -> Result<Backend, BackendError> {
        static ACTIVE: OnceLock<Result<Backend, BackendError>> = OnceLock::new();
        ACTIVE.get_or_init(|| choose(std::env::var("ARIANN_AES").ok().as_deref())).clone()
    }
}

fn choose(forced: Option<&str>) -> Result<Backend, BackendError> {
    match forced {
        None | Some("") => Ok(Backend::available()[0]),
        Some(name) => {
            let backend: Backend = name.parse()?;
            if backend.is_available() { Ok(backend) } else { Err(BackendError::Missing(backend)) }
        }
    }
}

fn names(backends: &[Backend]) -> String {
    backends.iter().map(|backend| backend.name()).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Backend {
    type Err = BackendError;

    fn from_str(name: &str) -> Result<Backend, BackendError> {
        Backend::ALL
            .into_iter()
            .find(|backend| backend.name() == name)
            .ok_or_else(|| BackendError::Unknown(name.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forced_path_is_followed_or_refused() {
        assert_eq!(choose(Some("soft")), Ok(Backend::Soft));
        assert_eq!(choose(Some("fast")), Err(BackendError::Unknown("fast".into())));
        for backend in Backend::ALL {
            let forced = choose(Some(backend.name()));
            assert_eq!(forced, if backend.is_available() { Ok(backend) } else { Err(BackendError::Missing(backend)) });
        }
        let message = BackendError::Missing(Backend::ArmV8).to_string();
        assert!(message.contains("armv8") && message.contains("soft"), "{message}");
    }

    #[test]
    fn without_a_setting_the_fastest_is_taken() {
        assert_eq!(choose(None), Ok(Backend::available()[0]));
        assert_eq!(Backend::available().last(), Some(&Backend::Soft));
    }
}
