//! Regular expressions over bytes that may not be UTF-8.
//!
//! Go reads each byte that is not UTF-8 as U+FFFD. An expression that matches the bytes as they are matches the
//! cleaned text too; only where it does not, and the text is no UTF-8, is a cleaned copy made.

use regex::bytes::Regex;

/// Whether the expression is found in the text as Go would read it.
pub(crate) fn is_match(regex: &Regex, text: &[u8]) -> bool {
    regex.is_match(text) || (!is_utf8(text) && regex.is_match(&cleaned(text)))
}

pub(crate) fn is_utf8(text: &[u8]) -> bool {
    text.is_ascii() || std::str::from_utf8(text).is_ok()
}

/// The text with U+FFFD for each byte that is not UTF-8.
pub(crate) fn cleaned(text: &[u8]) -> Vec<u8> {
    let mut cleaned = Vec::with_capacity(text.len() + 16);
    for chunk in text.utf8_chunks() {
        cleaned.extend_from_slice(chunk.valid().as_bytes());
        for _ in chunk.invalid() {
            cleaned.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    cleaned
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::regex_dialect::{Anchoring, compile};

    #[test]
    fn a_byte_that_is_no_text_is_one_character() {
        let regex = compile("^a.b$", Anchoring::Search).unwrap();
        assert!(is_match(&regex, b"a\xffb") && is_match(&regex, "aéb".as_bytes()));
        assert!(!is_match(&regex, b"a\xff\xfeb") && !is_match(&regex, b"axxb"));
    }
}
