//! Sorted (name, value) pairs in one byte string: labels of a stream, metadata of an entry.
//!
//! ```text
//! pairs = { varint(name length) name varint(value length) value }     names ascending, unique
//! ```
//! Equal sets have equal bytes, so the bytes serve as key, as dictionary value in record batches and as hash input.

use std::fmt::Write as _;
use std::sync::Arc;

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pairs(Arc<[u8]>);

impl Default for Pairs {
    fn default() -> Self {
        Self(Arc::from([].as_slice()))
    }
}

/// The bytes are no list of pairs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("label pairs are damaged at byte {offset}")]
pub struct PairsDamaged {
    pub offset: usize,
}

impl Pairs {
    /// Sorts by name; of equal names the last given wins.
    pub fn from_pairs<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut sorted: Vec<(N, V)> = pairs.into_iter().collect();
        sorted.sort_by(|left, right| left.0.as_ref().cmp(right.0.as_ref()));
        let mut bytes = Vec::new();
        let mut rest = sorted.iter().peekable();
        while let Some((name, value)) = rest.next() {
            if rest.peek().is_some_and(|(next, _)| next.as_ref() == name.as_ref()) {
                continue;
            }
            put(&mut bytes, name.as_ref());
            put(&mut bytes, value.as_ref());
        }
        Self(bytes.into())
    }

    /// Takes bytes written by [`Self::as_bytes`]; checks that they are what they should be.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PairsDamaged> {
        let mut offset = 0;
        let mut previous: Option<&str> = None;
        while offset < bytes.len() {
            let damaged = PairsDamaged { offset };
            let name = take(bytes, &mut offset).ok_or_else(|| damaged.clone())?;
            take(bytes, &mut offset).ok_or_else(|| damaged.clone())?;
            if previous.is_some_and(|previous| previous >= name) {
                return Err(damaged);
            }
            previous = Some(name);
        }
        Ok(Self(bytes.into()))
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> PairIter<'_> {
        PairIter { bytes: &self.0, offset: 0 }
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(candidate, _)| *candidate == name).map(|(_, value)| value)
    }

    /// Of stream labels: the namespace, which decides who may read.
    pub fn namespace(&self) -> Option<&str> {
        self.get("namespace").or_else(|| self.get("k8s_namespace_name"))
    }

    /// The same pairs with this one added or replaced.
    pub fn with(&self, name: &str, value: &str) -> Self {
        Self::from_pairs(self.iter().chain([(name, value)]))
    }

    /// The same pairs without that name.
    pub fn without(&self, name: &str) -> Self {
        Self::from_pairs(self.iter().filter(|(candidate, _)| *candidate != name))
    }

    /// `{a="b", c="d"}`, values quoted as Go does: the text Loki calls a stream's labels.
    pub fn canonical_text(&self) -> String {
        let mut text = String::from("{");
        for (index, (name, value)) in self.iter().enumerate() {
            if index > 0 {
                text.push_str(", ");
            }
            text.push_str(name);
            text.push('=');
            quote(&mut text, value);
        }
        text.push('}');
        text
    }
}

/// Iterates over (name, value) of bytes laid out as [`Pairs`]; stops at damage.
#[derive(Debug, Clone)]
pub struct PairIter<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> PairIter<'a> {
    /// Over bytes that came from [`Pairs::as_bytes`], for instance out of a record batch.
    pub fn over(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }
}

impl<'a> Iterator for PairIter<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        if self.offset >= self.bytes.len() {
            return None;
        }
        Some((take(self.bytes, &mut self.offset)?, take(self.bytes, &mut self.offset)?))
    }
}

fn put(bytes: &mut Vec<u8>, text: &str) {
    let mut length = text.len();
    while length >= 0x80 {
        bytes.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes.extend_from_slice(text.as_bytes());
}

fn take<'a>(bytes: &'a [u8], offset: &mut usize) -> Option<&'a str> {
    let (mut length, mut shift) = (0usize, 0);
    loop {
        let byte = *bytes.get(*offset)?;
        *offset += 1;
        length |= ((byte & 0x7f) as usize) << shift;
        if byte & 0x80 == 0 {
            break;
        }
        shift += 7;
        if shift > 35 {
            return None;
        }
    }
    let text = bytes.get(*offset..offset.checked_add(length)?)?;
    *offset += length;
    std::str::from_utf8(text).ok()
}

/// Appends `text` in double quotes with Go's escapes.
fn quote(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            control if (control as u32) < 0x20 || control as u32 == 0x7f => {
                write!(out, "\\x{:02x}", control as u32).expect("writing to a string cannot fail");
            }
            printable => out.push(printable),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pairs_are_sorted_and_the_last_of_a_name_wins() {
        let pairs = Pairs::from_pairs([("b", "1"), ("a", "2"), ("b", "3")]);
        assert_eq!(pairs.iter().collect::<Vec<_>>(), [("a", "2"), ("b", "3")]);
        assert_eq!(pairs.canonical_text(), r#"{a="2", b="3"}"#);
        assert_eq!(pairs.with("c", "x\"\n").canonical_text(), r#"{a="2", b="3", c="x\"\n"}"#);
        assert_eq!(pairs.without("a"), Pairs::from_pairs([("b", "3")]));
    }

    proptest! {
        #[test]
        fn bytes_round_trip(pairs in proptest::collection::btree_map(".*", ".*", 0..6)) {
            let made = Pairs::from_pairs(&pairs);
            let read = Pairs::from_bytes(made.as_bytes());
            prop_assert_eq!(read.as_ref(), Ok(&made));
            prop_assert!(made.iter().eq(pairs.iter().map(|(n, v)| (n.as_str(), v.as_str()))));
        }

        #[test]
        fn any_bytes_are_taken_or_refused_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(pairs) = Pairs::from_bytes(&bytes) {
                prop_assert_eq!(Pairs::from_pairs(pairs.iter()), pairs);
            }
        }
    }
}
