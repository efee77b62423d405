//! Structured metadata on its way in: names made fit for queries, text made valid, pairs of the stream merged in.

use std::borrow::Cow;

use tailwater_storage::pairs::Pairs;

use crate::limits::Limits;

/// A pair as it will be stored.
pub(crate) type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// Every character outside `[a-zA-Z0-9_]` becomes `_`; a leading digit gets `key_` in front.
pub(crate) fn sanitised_name(name: &[u8]) -> Cow<'_, str> {
    let is_fit = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let starts_with_digit = name.first().is_some_and(u8::is_ascii_digit);
    if !starts_with_digit && name.iter().all(is_fit) {
        return Cow::Borrowed(std::str::from_utf8(name).expect("letters, digits and underscores are ASCII"));
    }
    let fit = |character: char| if character.is_ascii_alphanumeric() { character } else { '_' };
    let prefix = if starts_with_digit { "key_" } else { "" };
    let text = String::from_utf8_lossy(name);
    Cow::Owned(prefix.chars().chain(text.chars().map(fit)).collect())
}

/// Text as it is stored: invalid bytes become U+FFFD and are counted.
pub(crate) fn valid_text<'a>(bytes: &'a [u8], invalid_bytes: &mut u64) -> Cow<'a, str> {
    if let Ok(text) = simdutf8::basic::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    *invalid_bytes += bytes.utf8_chunks().map(|chunk| chunk.invalid().len() as u64).sum::<u64>();
    String::from_utf8_lossy(bytes)
}

/// Pairs as pushed: those over the limit are counted, not kept.
#[derive(Debug, Default)]
pub(crate) struct MetadataPairs {
    pub(crate) pairs: Vec<(String, String)>,
    pub(crate) count: usize,
    pub(crate) size: usize,
}

impl MetadataPairs {
    pub(crate) fn add(&mut self, pair: Option<(String, String)>, limits: &Limits) {
        let Some((name, value)) = pair else { return };
        self.count += 1;
        self.size += name.len() + value.len();
        let limit = limits.max_structured_metadata_entries_count;
        if limit == 0 || self.count <= limit {
            self.pairs.push((name, value));
        }
    }

    pub(crate) fn clear(&mut self) {
        self.pairs.clear();
        (self.count, self.size) = (0, 0);
    }
}

/// The entry's own pairs and those of the stream whose names it has not.
pub(crate) fn merged(own: &[(String, String)], shared: &[(String, String)]) -> Pairs {
    if own.is_empty() && shared.is_empty() {
        return Pairs::default();
    }
    Pairs::from_pairs(shared.iter().chain(own).map(|(name, value)| (name, value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_of_letters_digits_and_underscores() {
        for (name, expected) in
            [("trace_id", "trace_id"), ("user.id", "user_id"), ("a-b", "a_b"), ("1st", "key_1st"), ("ключ", "____"), ("_x", "_x"), ("", "")]
        {
            assert_eq!(sanitised_name(name.as_bytes()), expected);
        }
        assert_eq!(sanitised_name(b"a\xffb"), "a_b");
    }

    #[test]
    fn invalid_bytes_are_replaced_and_counted() {
        let mut invalid = 0;
        assert_eq!(valid_text("né".as_bytes(), &mut invalid), "né");
        assert_eq!(valid_text(b"a\xff\xfeb\xe2\x82", &mut invalid), "a\u{fffd}\u{fffd}b\u{fffd}");
        assert_eq!(invalid, 4);
    }
}
