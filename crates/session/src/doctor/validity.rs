//! When a certificate is valid, read from its file. Whether it is valid now is decided where it is used, by `net`.

/// Validity of a certificate, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    pub from: i64,
    pub until: i64,
}

/// Reads the validity of the first certificate of a PEM file. `None` when it is none.
pub(crate) fn of_pem(text: &str) -> Option<Validity> {
    let (_, rest) = text.split_once("-----BEGIN CERTIFICATE-----")?;
    let (body, _) = rest.split_once("-----END CERTIFICATE-----")?;
    of_der(&base64(body)?)
}

/// certificate { tbs { [0] version, serial, algorithm, issuer, validity { from, until }, … }, … }
fn of_der(der: &[u8]) -> Option<Validity> {
    let (_, certificate, _) = element(der)?;
    let (_, mut fields, _) = element(certificate)?;
    let (tag, _, rest) = element(fields)?;
    if tag == 0xa0 {
        fields = rest;
    }
    for _ in ["serial", "algorithm", "issuer"] {
        fields = element(fields)?.2;
    }
    let (_, validity, _) = element(fields)?;
    let (tag, from, rest) = element(validity)?;
    let from = time(tag, from)?;
    let (tag, until, _) = element(rest)?;
    Some(Validity { from, until: time(tag, until)? })
}

/// Tag, content and what follows of the first element. Lengths of four bytes at most.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

/// UTCTime (YYMMDDHHMMSSZ) or GeneralizedTime (YYYYMMDDHHMMSSZ).
fn time(tag: u8, text: &[u8]) -> Option<i64> {
    let digits: Vec<i64> = text
        .strip_suffix(b"Z")?
        .iter()
        .map(|c| c.is_ascii_digit().then(|| i64::from(c - b'0')))
        .collect::<Option<_>>()?;
    let pair = |at: usize| Some(10 * digits.get(at)? + digits.get(at + 1)?);
    let (year, at) = match (tag, digits.len()) {
        (0x17, 12) => (pair(0).map(|year| if year < 50 { 2000 + year } else { 1900 + year })?, 2),
        (0x18, 14) => (100 * pair(0)? + pair(2)?, 4),
        _ => return None,
    };
    let (month, day) = (pair(at)?, pair(at + 2)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    Some(86_400 * days(year, month, day) + 3600 * pair(at + 4)? + 60 * pair(at + 6)? + pair(at + 8)?)
}

/// Days from 1970-01-01 to a date of the Gregorian calendar. Years begin in March, so that the leap day comes last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + of_year - 719_468
}

/// The date of a moment as YYYY-MM-DD.
pub(crate) fn date(seconds: i64) -> String {
    let day = seconds.div_euclid(86_400);
    // A year is never far from this; the steps beside it are one or two.
    let mut year = 1970 + day.div_euclid(366);
    while days(year + 1, 1, 1) <= day {
        year += 1;
    }
    let month = (1..=12).rev().find(|month| days(year, *month, 1) <= day).expect("January begins the year");
    format!("{year:04}-{month:02}-{:02}", day - days(year, month, 1) + 1)
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let (mut out, mut held, mut bits) = (Vec::new(), 0u32, 0);
    for c in text.bytes().filter(|c| !c.is_ascii_whitespace() && *c != b'=') {
        let value = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        held = held << 6 | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push((held >> bits) as u8);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (year, month, day, seconds) in [
            (1970, 1, 1, 0),
            (2000, 2, 29, 951_782_400),
            (2000, 3, 1, 951_868_800),
            (2026, 11, 23, 1_795_392_000),
            (2100, 3, 1, 4_107_542_400),
        ] {
            assert_eq!(86_400 * days(year, month, day), seconds, "{year}-{month}-{day}");
            assert_eq!(date(seconds), format!("{year:04}-{month:02}-{day:02}"));
            assert_eq!(date(seconds - 1), date(86_400 * (days(year, month, day) - 1)));
        }
        // Every day of 400 years has its own name, and they grow.
        let names: Vec<String> = (0..146_097).map(|day| date(86_400 * day)).collect();
        assert!(names.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(time(0x17, b"700101000001Z"), Some(1));
        assert_eq!(time(0x17, b"491231235959Z"), time(0x18, b"20491231235959Z"));
        for wrong in [&b"7001010000Z"[..], b"701301000000Z", b"700101000000", b"7x0101000000Z"] {
            assert_eq!(time(0x17, wrong), None);
        }
    }

    #[test]
    fn a_new_identity_is_valid_as_long_as_was_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() as i64;
        for days in [1, 825, 20_000] {
            let name = format!("of-{days}-days");
            ariann_net::Identity::create(folder.path(), &name, Duration::from_secs(86_400 * days)).unwrap();
            let text = std::fs::read_to_string(folder.path().join(format!("{name}.cert.pem"))).unwrap();
            let Validity { from, until } = of_pem(&text).unwrap();
            assert!((until - now - 86_400 * days as i64).abs() < 100, "{days} days: {until}");
            assert!((now - from - 3600).abs() < 100);
            // Cut or altered files are no certificate, and no panic.
            for cut in (0..text.len()).step_by(7) {
                assert_eq!(of_pem(&text[..cut]), None);
                let _ = of_pem(&format!("{}A{}", &text[..cut], &text[cut + 1..]));
            }
        }
    }
}
