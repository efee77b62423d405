//! The common name of a certificate's subject and the end of its validity: all that is read of one here. Whether it is genuine, TLS has
//! decided before.
//!
//! ```text
//! Certificate = SEQUENCE { tbs = SEQUENCE { [0] version?, serial, algorithm, issuer, validity, subject, … }, … }
//! validity = SEQUENCE { not before, not after }, each UTCTime YYMMDDHHMMSSZ or GeneralizedTime YYYYMMDDHHMMSSZ
//! subject = SEQUENCE OF SET OF SEQUENCE { OBJECT IDENTIFIER, text }
//! ```
//! Pure. Anything that is not as drawn has no name and no end.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;
/// `[0]`, constructed: the version, where it is not the first.
const VERSION: u8 = 0xa0;
const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
const IA5_STRING: u8 = 0x16;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// 2.5.4.3
const COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03];

/// The common name, if the subject has exactly one.
pub(super) fn common_name(certificate: &[u8]) -> Option<String> {
    let mut fields = behind_issuer(certificate)?;
    // Validity.
    take(&mut fields)?;
    let (mut subject, _) = expect(fields, SEQUENCE)?;
    let mut names = Vec::new();
    while !subject.is_empty() {
        let (mut attributes, rest) = expect(subject, SET)?;
        subject = rest;
        while !attributes.is_empty() {
            let (attribute, rest) = expect(attributes, SEQUENCE)?;
            attributes = rest;
            names.extend(common_name_of(attribute)?);
        }
    }
    match <[String; 1]>::try_from(names) {
        Ok([name]) => Some(name),
        Err(_) => None,
    }
}

/// Until when it is valid, in seconds since the epoch.
pub(super) fn not_after(certificate: &[u8]) -> Option<i64> {
    let (mut validity, _) = expect(behind_issuer(certificate)?, SEQUENCE)?;
    take(&mut validity)?;
    let (tag, text, _) = element(validity)?;
    let text = std::str::from_utf8(text).ok().filter(|text| text.is_ascii())?;
    let century = match (tag, text.get(..2)?.parse::<u8>().ok()?) {
        (UTC_TIME, 0..50) => "20",
        (UTC_TIME, _) => "19",
        (GENERALIZED_TIME, _) => "",
        _ => return None,
    };
    let time = DateTime::strptime("%Y%m%d%H%M%SZ", format!("{century}{text}")).ok()?;
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second())
}

/// The fields from the validity on.
fn behind_issuer(certificate: &[u8]) -> Option<&[u8]> {
    let (mut whole, _) = expect(certificate, SEQUENCE)?;
    let (mut fields, _) = expect(take(&mut whole)?, SEQUENCE)?;
    if fields.first() == Some(&VERSION) {
        take(&mut fields)?;
    }
    // Serial number, algorithm, issuer.
    for _ in 0..3 {
        take(&mut fields)?;
    }
    Some(fields)
}

/// `Some(None)` for another attribute.
fn common_name_of(attribute: &[u8]) -> Option<Option<String>> {
    let (kind, value) = expect(attribute, OBJECT_IDENTIFIER)?;
    if kind != COMMON_NAME {
        return Some(None);
    }
    let (tag, text, _) = element(value)?;
    let is_text = matches!(tag, UTF8_STRING | PRINTABLE_STRING | IA5_STRING);
    let text = std::str::from_utf8(text).ok().filter(|_| is_text)?;
    Some(Some(text.to_owned()))
}

/// The contents of an element of this kind, and what follows it.
fn expect(bytes: &[u8], wanted: u8) -> Option<(&[u8], &[u8])> {
    let (tag, contents, rest) = element(bytes)?;
    (tag == wanted).then_some((contents, rest))
}

/// Takes a whole element off the front.
fn take<'b>(bytes: &mut &'b [u8]) -> Option<&'b [u8]> {
    let (_, _, rest) = element(bytes)?;
    let (taken, rest) = bytes.split_at(bytes.len() - rest.len());
    *bytes = rest;
    Some(taken)
}

/// Kind, contents and what follows. Lengths of up to four bytes.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (contents, rest) = rest.split_at_checked(length)?;
    Some((tag, contents, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn der(tag: u8, contents: &[u8]) -> Vec<u8> {
        let length = match contents.len() {
            short @ 0..0x80 => vec![short as u8],
            long => vec![0x82, (long >> 8) as u8, long as u8],
        };
        [vec![tag], length, contents.to_vec()].concat()
    }

    fn attribute(kind: [u8; 3], text: &str) -> Vec<u8> {
        der(SET, &der(SEQUENCE, &[der(OBJECT_IDENTIFIER, &kind), der(UTF8_STRING, text.as_bytes())].concat()))
    }

    fn certificate(subject: &[Vec<u8>], has_version: bool) -> Vec<u8> {
        certificate_until(subject, has_version, &der(UTC_TIME, b"260120100000Z"))
    }

    fn certificate_until(subject: &[Vec<u8>], has_version: bool, until: &[u8]) -> Vec<u8> {
        let version = if has_version { der(VERSION, &der(2, &[2])) } else { Vec::new() };
        let issuer = der(SEQUENCE, &attribute(COMMON_NAME, "an authority"));
        let before = [der(2, &[1, 2, 3]), der(SEQUENCE, &[]), issuer].concat();
        let validity = der(SEQUENCE, &[der(UTC_TIME, b"250120100000Z"), until.to_vec()].concat());
        let fields = [version, before, validity, der(SEQUENCE, &subject.concat()), der(SEQUENCE, &[])].concat();
        der(SEQUENCE, &[der(SEQUENCE, &fields), der(SEQUENCE, &[])].concat())
    }

    #[test]
    fn the_subject_s_name_is_read_and_not_the_issuer_s() {
        let organisation = [0x55, 0x04, 0x0a];
        let name = |text: &str| attribute(COMMON_NAME, text);
        for has_version in [true, false] {
            let of = |subject: &[Vec<u8>]| common_name(&certificate(subject, has_version));
            assert_eq!(of(&[name("front-proxy-client")]).as_deref(), Some("front-proxy-client"));
            assert_eq!(of(&[attribute(organisation, "o"), name("x")]).as_deref(), Some("x"));
            assert_eq!(of(&[attribute(organisation, "front-proxy-client")]), None);
            assert_eq!(of(&[name("a"), name("front-proxy-client")]), None, "two names are none");
            assert_eq!(of(&[]), None);
        }
    }

    #[test]
    fn the_end_of_its_validity_is_read_in_both_forms() {
        for (tag, text, expected) in [
            (UTC_TIME, "260120100000Z", Some(1_768_903_200)),
            (UTC_TIME, "500120100000Z", Some(-629_474_400)),
            (GENERALIZED_TIME, "20260120100000Z", Some(1_768_903_200)),
            (GENERALIZED_TIME, "260120100000Z", None),
            (UTF8_STRING, "260120100000Z", None),
            (UTC_TIME, "", None),
        ] {
            let certificate = certificate_until(&[], true, &der(tag, text.as_bytes()));
            assert_eq!(not_after(&certificate), expected, "{tag} {text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_cut_or_changed_is_read_without_panic(place in 0usize..400, byte in any::<u8>(), cut in 0usize..400) {
            let mut bytes = certificate(&[attribute(COMMON_NAME, "front-proxy-client")], true);
            let place = place % bytes.len();
            bytes[place] = byte;
            drop((common_name(&bytes), not_after(&bytes)));
            bytes.truncate(cut);
            drop((common_name(&bytes), not_after(&bytes)));
        }
    }
}
