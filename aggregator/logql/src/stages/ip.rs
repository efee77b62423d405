//! `ip("…")`: whether a text holds an address that is in a set of addresses.
//!
//! Candidates are looked for in the text: runs of `[0-9.]` that begin like an IPv4 address, runs of `[0-9a-fA-F:.]`
//! that begin like an IPv6 one. A run that is no address is passed over whole.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use thiserror::Error;

/// A pattern that is no address, network or range.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("ip: invalid pattern: {}", crate::literal::go_quote(.pattern))]
pub(crate) struct IpPatternError {
    pattern: String,
}

/// Both ends belong to the set and are of the same family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AddressRange {
    first: IpAddr,
    last: IpAddr,
}

impl AddressRange {
    /// No address at all.
    const NOTHING: AddressRange = AddressRange { first: IpAddr::V6(Ipv6Addr::LOCALHOST), last: IpAddr::V6(Ipv6Addr::UNSPECIFIED) };

    /// `10.0.0.1`, `10.0.0.0/8` or `10.0.0.1-10.0.0.9`; the same with IPv6. A single address may have a zone (`fe80::1%eth0`); it is
    /// found nowhere then, as addresses in texts have none.
    pub(crate) fn parse(pattern: &str) -> Result<AddressRange, IpPatternError> {
        let parsed = if let Some((address, zone)) = pattern.split_once('%') {
            (!zone.is_empty() && address.parse::<Ipv6Addr>().is_ok()).then_some(AddressRange::NOTHING)
        } else if let Some((first, last)) = pattern.split_once('-') {
            range(first, last)
        } else if let Some((address, bits)) = pattern.split_once('/') {
            network(address, bits)
        } else {
            pattern.parse().ok().map(|address| AddressRange { first: address, last: address })
        };
        parsed.ok_or_else(|| IpPatternError { pattern: pattern.to_owned() })
    }

    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.first.is_ipv4() && self.first <= address && address <= self.last
    }

    /// Whether an address of the range stands somewhere in the text.
    pub(crate) fn is_found_in(&self, text: &[u8]) -> bool {
        let mut at = 0;
        while at < text.len() {
            let rest = &text[at..];
            let length = if begins_like_v4(rest) {
                run_length(rest, |byte| byte.is_ascii_digit() || byte == b'.')
            } else if begins_like_v6(rest) {
                run_length(rest, |byte| byte.is_ascii_hexdigit() || byte == b':' || byte == b'.')
            } else {
                at += 1;
                continue;
            };
            let candidate = std::str::from_utf8(&rest[..length]).ok().and_then(|text| text.parse().ok());
            if candidate.is_some_and(|address| self.contains(address)) {
                return true;
            }
            at += length + 1;
        }
        false
    }
}

fn range(first: &str, last: &str) -> Option<AddressRange> {
    let range = AddressRange { first: first.parse().ok()?, last: last.parse().ok()? };
    (range.first.is_ipv4() == range.last.is_ipv4() && range.first <= range.last).then_some(range)
}

fn network(address: &str, bits: &str) -> Option<AddressRange> {
    let is_plain = bits == "0" || (!bits.starts_with('0') && bits.bytes().all(|byte| byte.is_ascii_digit()));
    let bits: u32 = bits.parse().ok().filter(|_| is_plain)?;
    match address.parse().ok()? {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shr(bits).unwrap_or(0);
            let first = address.to_bits() & !mask;
            (bits <= 32).then(|| AddressRange { first: Ipv4Addr::from_bits(first).into(), last: Ipv4Addr::from_bits(first | mask).into() })
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shr(bits).unwrap_or(0);
            let first = address.to_bits() & !mask;
            (bits <= 128).then(|| AddressRange { first: Ipv6Addr::from_bits(first).into(), last: Ipv6Addr::from_bits(first | mask).into() })
        }
    }
}

/// A digit with a dot in the next three bytes.
fn begins_like_v4(text: &[u8]) -> bool {
    text.len() >= 4 && text[0].is_ascii_digit() && text[1..4].contains(&b'.')
}

/// One to four hexadecimal digits and a colon, or two colons and a digit. In the last four bytes of a text nothing is
/// found, not even `::1`.
fn begins_like_v6(text: &[u8]) -> bool {
    if text.len() < 5 {
        return false;
    }
    if let [b':', b':', digit, ..] = text {
        return digit.is_ascii_hexdigit();
    }
    let digits = run_length(&text[..5], |byte| byte.is_ascii_hexdigit());
    (1..=4).contains(&digits) && text.get(digits) == Some(&b':')
}

fn run_length(text: &[u8], accept: impl Fn(u8) -> bool) -> usize {
    text.iter().position(|byte| !accept(*byte)).unwrap_or(text.len())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_text() {
        let cases = [
            ("10.0.0.1", "from 10.0.0.1 to 10.0.0.2", true),
            ("10.0.0.2", "from 10.0.0.1 to 10.0.0.2", true),
            ("10.0.0.3", "x10.0.0.3y", true),
            ("10.0.0.5", "10.0.0.5.", false),
            ("10.0.0.1", "10.0.0.1.5", false),
            ("10.0.0.0/8", "peer=10.255.0.9:8080", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.1-10.0.0.9", "10.0.0.9", true),
            ("10.0.0.1-10.0.0.9", "10.0.0.10", false),
            ("0.0.0.0/0", "bad 300.1.2.3", false),
            ("2001:db8::5", "v6 2001:db8:0:0:0:0:0:5 same", true),
            ("2001:db8::/32", "[2001:db8::5]:443 open", true),
            ("::/0", "10.0.0.1", false),
            ("::ffff:10.0.0.7", "::ffff:10.0.0.7 mapped", true),
            ("::1", "user from ::1 after", true),
            ("::1", "::1", false),
            ("::/0", "a::12", true),
            ("::/0", "::12", false),
            ("::/0", "", false),
            ("fe80::1%eth0", "at fe80::1 and fe80::1%eth0", false),
        ];
        for (pattern, text, expected) in cases {
            let range = AddressRange::parse(pattern).unwrap();
            assert_eq!(range.is_found_in(text.as_bytes()), expected, "{pattern} in {text:?}");
        }
    }

    #[test]
    fn other_patterns_are_refused() {
        for pattern in
            ["", "nope", "10.0.0", "300.1.2.3", "10.0.0.0/40", "10.0.0.0/08", "10.0.0.9-10.0.0.1", "::1-1.2.3.4", "::1%", "10.0.0.1%eth0"]
        {
            let error = AddressRange::parse(pattern).unwrap_err();
            assert_eq!(error.to_string(), format!("ip: invalid pattern: \"{pattern}\""));
        }
    }
}
