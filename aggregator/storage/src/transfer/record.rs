//! What an input consists of.

use crate::pairs::Pairs;
use crate::transfer::error::ImportError;

/// One entry of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedEntry {
    /// Nanoseconds since the epoch.
    pub timestamp: i64,
    /// As pushed, none empty.
    pub labels: Pairs,
    pub metadata: Pairs,
    pub line: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    Entry(ImportedEntry),
    /// It is no entry: why.
    Refused(String),
    /// It is of another tenant than the one that is imported.
    OtherTenant,
}

/// Reads an input record by record.
pub trait Records {
    /// `None` at the end.
    fn next(&mut self) -> Option<Result<Record, ImportError>>;

    /// The number of the line or row that came last, from 1.
    fn place(&self) -> u64;

    /// How much is read, of what [`Self::total`] counts.
    fn done(&self) -> u64;

    /// Bytes or rows in all, if that is known.
    fn total(&self) -> Option<u64>;
}

impl<R: Records + ?Sized> Records for Box<R> {
    fn next(&mut self) -> Option<Result<Record, ImportError>> {
        self.as_mut().next()
    }

    fn place(&self) -> u64 {
        self.as_ref().place()
    }

    fn done(&self) -> u64 {
        self.as_ref().done()
    }

    fn total(&self) -> Option<u64> {
        self.as_ref().total()
    }
}

/// Whether LogQL can ask for a label of this name.
pub(super) fn is_label_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// A stamp as text: nanoseconds since the epoch, or RFC 3339.
pub(super) fn stamp_of_text(text: &str) -> Result<i64, String> {
    if let Ok(nanoseconds) = text.parse() {
        return Ok(nanoseconds);
    }
    let stamp: jiff::Timestamp =
        text.parse().map_err(|_| format!("`{text}` is neither nanoseconds since the epoch nor an RFC 3339 time"))?;
    i64::try_from(stamp.as_nanosecond()).map_err(|_| format!("`{text}` is not between the years 1677 and 2262"))
}

/// Labels without those that are empty; refuses names that nobody could ask for.
pub(super) fn labels_of(pairs: Vec<(String, String)>) -> Result<Pairs, String> {
    if let Some((name, _)) = pairs.iter().find(|(name, _)| !is_label_name(name)) {
        return Err(format!("`{name}` is no label name: wanted are letters, digits and `_`, no digit first"));
    }
    Ok(Pairs::from_pairs(pairs.into_iter().filter(|(_, value)| !value.is_empty())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_nanoseconds_or_rfc_3339() {
        for (text, expected) in [
            ("1", Ok(1)),
            ("-5", Ok(-5)),
            ("9223372036854775807", Ok(i64::MAX)),
            ("1970-01-01T00:00:01.5Z", Ok(1_500_000_000)),
            ("1970-01-01T01:00:00+01:00", Ok(0)),
            ("1900-01-01T00:00:00Z", Ok(-2_208_988_800_000_000_000)),
        ] {
            assert_eq!(stamp_of_text(text), expected);
        }
        for text in ["", "now", "9223372036854775808", "1600-01-01T00:00:00Z", "1970-01-01"] {
            assert!(stamp_of_text(text).is_err(), "{text}");
        }
    }

    #[test]
    fn label_names_are_checked_and_empty_labels_fall_out() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(labels_of(vec![pair("a_1", "x"), pair("b", "")]), Ok(Pairs::from_pairs([("a_1", "x")])));
        for name in ["", "1a", "a-b", "a.b", "ä"] {
            assert!(labels_of(vec![pair(name, "x")]).is_err(), "{name}");
        }
    }
}
