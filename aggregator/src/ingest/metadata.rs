//! Structured metadata on its way in: names made fit for queries, text made valid, pairs of the stream merged in.

use std::borrow::Cow;

use tailwater_storage::pairs::Pairs;

use crate::limits::Limits;

/// A pair as it will be stored.
pub(crate) type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// Each run of characters other than `[a-zA-Z0-9]` becomes one `_`; a leading digit gets `key_` in front. Of a name within double
/// underscores, `__x__`, those stay.
pub(crate) fn sanitised_name(name: &[u8]) -> Cow<'_, str> {
    if is_fit(name) {
        return Cow::Borrowed(std::str::from_utf8(name).expect("letters, digits and underscores are ASCII"));
    }
    let inner = name.strip_prefix(b"__").and_then(|rest| rest.strip_suffix(b"__"));
    let around = if inner.is_some() { "__" } else { "" };
    let mut fit = String::with_capacity(name.len() + 4);
    fit.push_str(around);
    let start = fit.len();
    for character in String::from_utf8_lossy(inner.unwrap_or(name)).chars() {
        if character.is_ascii_alphanumeric() {
            fit.push(character);
        } else if fit.len() == start || !fit.ends_with('_') {
            fit.push('_');
        }
    }
    fit.push_str(around);
    if fit.starts_with(|first: char| first.is_ascii_digit()) {
        fit.insert_str(0, "key_");
    }
    Cow::Owned(fit)
}

/// Whether a name stays as it is: the usual one does, and is looked at once.
fn is_fit(name: &[u8]) -> bool {
    let is_fit = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    !name.first().is_some_and(u8::is_ascii_digit) && name.iter().all(is_fit) && !name.windows(2).any(|pair| pair == b"__")
}

/// Text as it is stored: invalid bytes become U+FFFD and are counted.
pub(crate) fn valid_text<'a>(bytes: &'a [u8], invalid_bytes: &mut u64) -> Cow<'a, str> {
    if let Ok(text) = simdutf8::basic::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    *invalid_bytes += bytes.utf8_chunks().map(|chunk| chunk.invalid().len() as u64).sum::<u64>();
    String::from_utf8_lossy(bytes)
}

/// A value as it is shown: a space for each byte that is no text and for each U+FFFD.
pub(crate) fn shown_value<'a>(bytes: &'a [u8], invalid_bytes: &mut u64) -> Cow<'a, str> {
    match simdutf8::basic::from_utf8(bytes) {
        Ok(text) if !text.contains(char::REPLACEMENT_CHARACTER) => return Cow::Borrowed(text),
        _ => {}
    }
    let mut shown = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        shown.extend(chunk.valid().chars().map(|character| if character == char::REPLACEMENT_CHARACTER { ' ' } else { character }));
        shown.extend(chunk.invalid().iter().map(|_| ' '));
        *invalid_bytes += chunk.invalid().len() as u64;
    }
    Cow::Owned(shown)
}

/// Pairs as pushed. Those over the limit are counted, not kept, as are those without a name, which cannot be asked for, and those
/// without a value, which say nothing.
#[derive(Debug, Default)]
pub(crate) struct MetadataPairs {
    pub(crate) pairs: Vec<(String, String)>,
    pub(crate) count: usize,
    pub(crate) size: usize,
}

impl MetadataPairs {
    pub(crate) fn add(&mut self, (name, value): (String, String), limits: &Limits) {
        self.count += 1;
        self.size += name.len() + value.len();
        let limit = limits.max_structured_metadata_entries_count;
        let says_something = !name.is_empty() && !value.is_empty();
        if says_something && (limit == 0 || self.count <= limit) {
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
        for (name, expected) in [
            ("trace_id", "trace_id"),
            ("user.id", "user_id"),
            ("a-b", "a_b"),
            ("1st", "key_1st"),
            ("ключ", "_"),
            ("_x", "_x"),
            ("", ""),
            ("a__b", "a_b"),
            ("k_л", "k_"),
            ("a. b", "a_b"),
            ("_a_", "_a_"),
            ("__error__", "__error__"),
            ("__a..b__", "__a_b__"),
            ("__a", "_a"),
            ("éa", "_a"),
        ] {
            assert_eq!(sanitised_name(name.as_bytes()), expected, "{name}");
        }
        assert_eq!(sanitised_name(b"a\xff\xfeb"), "a_b");
    }

    #[test]
    fn what_is_no_text_is_shown_as_spaces() {
        let mut invalid = 0;
        assert_eq!(shown_value("né".as_bytes(), &mut invalid), "né");
        assert_eq!(shown_value(b"a\xff\xfeb", &mut invalid), "a  b");
        assert_eq!(shown_value("a\u{fffd}b".as_bytes(), &mut invalid), "a b");
        assert_eq!(invalid, 2);
    }

    #[test]
    fn invalid_bytes_are_replaced_and_counted() {
        let mut invalid = 0;
        assert_eq!(valid_text("né".as_bytes(), &mut invalid), "né");
        assert_eq!(valid_text(b"a\xff\xfeb\xe2\x82", &mut invalid), "a\u{fffd}\u{fffd}b\u{fffd}");
        assert_eq!(invalid, 4);
    }
}
