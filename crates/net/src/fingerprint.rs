//! Fingerprints of identities and their text form.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::IdentityError;

/// BLAKE3 of a certificate's DER bytes. Written as `ariann:` and eight groups of eight hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; 32]);

const PREFIX: &str = "ariann:";

impl Fingerprint {
    /// The fingerprint of a certificate.
    pub fn of_certificate(der: &[u8]) -> Fingerprint {
        Fingerprint(*blake3::hash(der).as_bytes())
    }

    /// Its 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The fingerprint with these bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Fingerprint {
        Fingerprint(bytes)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        for (i, group) in self.0.chunks(4).enumerate() {
            if i > 0 {
                f.write_str("-")?;
            }
            group.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fingerprint {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Fingerprint, IdentityError> {
        parse(text.trim())
            .map_err(|reason| IdentityError::Fingerprint { text: text.chars().take(100).collect(), reason })
    }
}

fn parse(text: &str) -> Result<Fingerprint, String> {
    let digits = text.strip_prefix(PREFIX).ok_or(format!("it does not begin with '{PREFIX}'"))?;
    let mut nibbles = Vec::with_capacity(64);
    for c in digits.chars().filter(|&c| c != '-') {
        match c.to_digit(16) {
            Some(nibble) if nibbles.len() < 64 => nibbles.push(nibble as u8),
            Some(_) => return Err("it has more than 64 hexadecimal digits".into()),
            None => return Err(format!("{c:?} is no hexadecimal digit")),
        }
    }
    if nibbles.len() < 64 {
        return Err(format!("it has {} hexadecimal digits of 64", nibbles.len()));
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(nibbles.chunks(2)) {
        *byte = pair[0] << 4 | pair[1];
    }
    Ok(Fingerprint(bytes))
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serializer.is_human_readable() {
            true => serializer.collect_str(self),
            false => self.0.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.is_human_readable() {
            true => String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom),
            false => <[u8; 32]>::deserialize(deserializer).map(Fingerprint),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn text_form_round_trips(bytes: [u8; 32]) {
            let fingerprint = Fingerprint::from_bytes(bytes);
            prop_assert_eq!(fingerprint.to_string().parse::<Fingerprint>().unwrap(), fingerprint);
        }

        #[test]
        fn any_text_parses_or_is_refused(text: String) {
            let _ = text.parse::<Fingerprint>();
            let _ = format!("ariann:{text}").parse::<Fingerprint>();
        }
    }

    #[test]
    fn errors_say_what_is_wrong() {
        let reason = |text: &str| text.parse::<Fingerprint>().unwrap_err().to_string();
        assert!(reason("0123").contains("does not begin with 'ariann:'"));
        assert!(reason("ariann:0123").contains("4 hexadecimal digits of 64"));
        assert!(reason("ariann:01g3").contains("'g' is no hexadecimal digit"));
        assert!(reason(&format!("ariann:{}", "0".repeat(65))).contains("more than 64"));
    }
}
