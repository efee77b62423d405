//! Names and values in one piece of memory: label sets of thousands of instances are kept, and seldom looked at.
//!
//! Each text is preceded by its length as a varint.

use std::collections::BTreeMap;

use prost::encoding::{decode_varint, encode_varint};

/// Pairs in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct PackedPairs(Box<[u8]>);

impl PackedPairs {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut rest = &*self.0;
        std::iter::from_fn(move || {
            let (name, after) = text(rest)?;
            let (value, after) = text(after)?;
            rest = after;
            Some((name, value))
        })
    }

    pub(crate) fn to_map(&self) -> BTreeMap<String, String> {
        self.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }
}

impl From<&BTreeMap<String, String>> for PackedPairs {
    fn from(pairs: &BTreeMap<String, String>) -> Self {
        let mut packed = Vec::new();
        for text in pairs.iter().flat_map(|(name, value)| [name, value]) {
            encode_varint(text.len() as u64, &mut packed);
            packed.extend_from_slice(text.as_bytes());
        }
        Self(packed.into_boxed_slice())
    }
}

/// The first text of `packed`, and what comes after it.
fn text(mut packed: &[u8]) -> Option<(&str, &[u8])> {
    let length = decode_varint(&mut packed).ok()? as usize;
    let (text, rest) = packed.split_at_checked(length)?;
    Some((std::str::from_utf8(text).expect("it was packed from a text"), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pairs_come_out_as_they_went_in(pairs in proptest::collection::btree_map(".{0,9}", prop_oneof![".{0,9}", ".{100,300}"], 0..9)) {
            let packed = PackedPairs::from(&pairs);
            prop_assert_eq!(packed.to_map(), pairs);
        }
    }
}
