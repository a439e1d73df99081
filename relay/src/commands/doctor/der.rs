//! As much of X.509 (RFC 5280) as it takes to tell when a certificate ends, whom it names and who signed it. It proves nothing: that is for
//! clients to do.

/// What a certificate says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Certificate {
    /// Unix seconds.
    pub(super) not_before: u64,
    pub(super) not_after: u64,
    pub(super) issuer: Vec<u8>,
    pub(super) subject: Vec<u8>,
    /// `subjectAltName`: host names and addresses, small letters.
    pub(super) names: Vec<String>,
}

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xA0;
const EXTENSIONS: u8 = 0xA3;
const OCTETS: u8 = 0x04;
const UTC_TIME: u8 = 0x17;
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;
/// 2.5.29.17
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1D, 0x11];

/// Takes the next value off the front: its tag and what is in it.
fn next<'a>(der: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let mut length = usize::from(first);
    if first >= 0x80 {
        let bytes = usize::from(first & 0x7F);
        if !(1..=4).contains(&bytes) || rest.len() < bytes {
            return None;
        }
        let (digits, after) = rest.split_at(bytes);
        length = digits.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        rest = after;
    }
    if rest.len() < length {
        return None;
    }
    let (inner, after) = rest.split_at(length);
    *der = after;
    Some((tag, inner))
}

fn expect<'a>(der: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    next(der).filter(|(found, _)| *found == tag).map(|(_, inner)| inner)
}

pub(super) fn read(mut der: &[u8]) -> Option<Certificate> {
    let mut certificate = expect(&mut der, SEQUENCE)?;
    let mut body = expect(&mut certificate, SEQUENCE)?;
    if body.first() == Some(&VERSION) {
        next(&mut body)?;
    }
    next(&mut body)?; // serial number
    next(&mut body)?; // algorithm
    let issuer = expect(&mut body, SEQUENCE)?.to_vec();
    let mut validity = expect(&mut body, SEQUENCE)?;
    let (not_before, not_after) = (time(next(&mut validity)?)?, time(next(&mut validity)?)?);
    let subject = expect(&mut body, SEQUENCE)?.to_vec();
    next(&mut body)?; // key
    let mut names = Vec::new();
    while let Some((tag, mut inner)) = next(&mut body) {
        if tag == EXTENSIONS {
            names = alternative_names(expect(&mut inner, SEQUENCE)?);
        }
    }
    Some(Certificate { not_before, not_after, issuer, subject, names })
}

fn alternative_names(mut extensions: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    while let Some(mut extension) = expect(&mut extensions, SEQUENCE) {
        let Some((_, id)) = next(&mut extension) else { break };
        let value = std::iter::from_fn(|| next(&mut extension)).find(|(tag, _)| *tag == OCTETS);
        let Some((_, mut value)) = value.filter(|_| id == SUBJECT_ALT_NAME) else { continue };
        let mut list = expect(&mut value, SEQUENCE).unwrap_or_default();
        while let Some((tag, name)) = next(&mut list) {
            match (tag, name) {
                (DNS_NAME, name) => names.push(String::from_utf8_lossy(name).to_ascii_lowercase()),
                (IP_ADDRESS, &[a, b, c, d]) => names.push(std::net::Ipv4Addr::new(a, b, c, d).to_string()),
                (IP_ADDRESS, name) => {
                    names.extend(<[u8; 16]>::try_from(name).ok().map(|ip| std::net::Ipv6Addr::from(ip).to_string()));
                }
                _ => {}
            }
        }
    }
    names
}

/// `YYMMDDhhmmssZ` or `YYYYMMDDhhmmssZ` (RFC 5280 §4.1.2.5).
fn time((tag, text): (u8, &[u8])) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (year, rest) = if tag == UTC_TIME {
        let year: u64 = text.get(..2)?.parse().ok()?;
        (if year < 50 { 2000 + year } else { 1900 + year }, text.get(2..)?)
    } else {
        (text.get(..4)?.parse().ok()?, text.get(4..)?)
    };
    let two = |at: usize| rest.get(at..at + 2)?.parse::<u64>().ok();
    let (month, day) = (two(0)?, two(2)?);
    if !(1..=12).contains(&month) || day == 0 || year < 1970 {
        return None;
    }
    // Days before a date of the proleptic Gregorian calendar, March first, so that the leap day is the last of its year.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719_468;
    Some(days * 86_400 + two(4)? * 3600 + two(6)? * 60 + two(8)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(time((UTC_TIME, b"700101000000Z")), Some(0));
        assert_eq!(time((UTC_TIME, b"000301000000Z")), Some(951_868_800));
        assert_eq!(time((0x18, b"20260228235959Z")), Some(1_772_323_199));
        assert_eq!(time((UTC_TIME, b"26022823595Z")), None);
        assert_eq!(time((UTC_TIME, b"261301000000Z")), None);
    }

    #[test]
    fn a_certificate_says_whom_it_names_and_how_long() {
        let mut params =
            rcgen::CertificateParams::new(vec!["Relay.Example".to_owned(), "192.0.2.1".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2024, 2, 29);
        params.not_after = rcgen::date_time_ymd(2051, 1, 1);
        let made = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        let read = read(made.der()).unwrap();
        assert_eq!((read.not_before, read.not_after), (1_709_164_800, 2_556_144_000));
        assert_eq!(read.names, ["relay.example", "192.0.2.1"]);
        assert_eq!(read.issuer, read.subject);
    }

    #[test]
    fn half_a_certificate_is_none() {
        let made = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
        let der = made.cert.der();
        assert!((0..der.len()).all(|length| read(&der[..length]).is_none()));
    }
}
