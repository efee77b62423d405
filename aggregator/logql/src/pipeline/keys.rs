//! From the keys of a line to names of labels, without hashing in the common case.
//!
//! Lines of one stream mostly carry the same keys in the same order, so each key remembers which key followed it
//! last time and one comparison confirms the guess. Keys of nested objects hang below the key of their object.
//! Bounded like the names: full, it is emptied between two entries; one line brings no more than [`MOST_KEYS`].

use std::collections::HashMap;

use super::names::NameId;
use crate::stages::eight_bytes;

const MAXIMUM_KEYS: usize = 16 * 1024;

/// What a line has beyond is not read: a single one must not take the memory of all.
pub(crate) const MOST_KEYS: usize = 64 * 1024;

/// The number of a key in its cache. [`ROOT`] is the line itself.
pub(crate) type KeyIndex = u32;
pub(crate) const ROOT: KeyIndex = 0;
/// Stands for every key that there is no room for: it fills no label, nor does what hangs below it.
pub(crate) const NOBODY: KeyIndex = 1;

/// What a key of a line stands for.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    raw: Box<[u8]>,
    /// The first eight bytes of it, as one number.
    head: u64,
    parent: KeyIndex,
    followed_by: KeyIndex,
    /// The sanitised name of the key and of those it hangs below, joined by `_`.
    pub(crate) joined: Box<str>,
    /// The label it fills; `None` where nothing is left of the name.
    pub(crate) name: Option<NameId>,
    /// Whether a key below it may be needed.
    pub(crate) is_parent_of_needed: bool,
}

#[derive(Debug)]
pub(crate) struct KeyCache {
    keys: Vec<Key>,
    by_raw: HashMap<Box<[u8]>, KeyIndex>,
    last: KeyIndex,
    lookup: Vec<u8>,
}

impl Default for KeyCache {
    fn default() -> KeyCache {
        let nobody = Key { is_parent_of_needed: false, ..Key::root() };
        KeyCache { keys: vec![Key::root(), nobody], by_raw: HashMap::new(), last: ROOT, lookup: Vec::new() }
    }
}

impl Key {
    /// Whether a text, which is not shorter, begins with the key. Short keys are compared as numbers.
    fn begins(&self, text: &[u8]) -> bool {
        let length = self.raw.len();
        let Some(bytes) = eight_bytes::at(text, 0) else {
            return text[..length] == *self.raw;
        };
        let mask = if length < 8 { (1u64 << (8 * length)) - 1 } else { u64::MAX };
        (bytes ^ self.head) & mask == 0 && (length <= 8 || text[8..length] == self.raw[8..])
    }

    fn root() -> Key {
        Key {
            raw: Box::default(),
            head: 0,
            parent: KeyIndex::MAX,
            followed_by: ROOT,
            joined: Box::default(),
            name: None,
            is_parent_of_needed: true,
        }
    }
}

/// The first eight bytes of a key, the first in the lowest bits, and nothing for what it lacks.
fn head(raw: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let length = raw.len().min(8);
    bytes[..length].copy_from_slice(&raw[..length]);
    u64::from_le_bytes(bytes)
}

impl KeyCache {
    /// To be called before each line.
    pub(crate) fn start_line(&mut self) {
        self.last = ROOT;
        if self.keys.len() > MAXIMUM_KEYS {
            self.clear();
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = KeyCache::default();
    }

    /// Whether [`KeyCache::insert`] is to take no more from this line.
    pub(crate) fn is_full(&self) -> bool {
        self.keys.len() >= MOST_KEYS
    }

    pub(crate) fn get(&self, index: KeyIndex) -> &Key {
        &self.keys[index as usize]
    }

    /// The key that stood here in the line before, and its length, if the text begins with it and `end`. Its end is found without a search.
    pub(crate) fn guess(&mut self, parent: KeyIndex, text: &[u8], end: u8) -> Option<(KeyIndex, usize)> {
        let guess = self.keys[self.last as usize].followed_by;
        let key = &self.keys[guess as usize];
        let length = key.raw.len();
        if key.parent != parent || text.get(length) != Some(&end) || !key.begins(text) {
            return None;
        }
        self.last = guess;
        Some((guess, length))
    }

    /// The same: sets `known` to the key, or to `None`, and gives the length.
    pub(crate) fn guess_into(&mut self, known: &mut Option<KeyIndex>, parent: KeyIndex, text: &[u8], end: u8) -> Option<usize> {
        let guessed = self.guess(parent, text, end);
        *known = guessed.map(|(key, _)| key);
        guessed.map(|(_, length)| length)
    }

    /// Finds a key below `parent`; `None` for one not seen before, which [`KeyCache::insert`] takes.
    pub(crate) fn find(&mut self, parent: KeyIndex, raw: &[u8]) -> Option<KeyIndex> {
        let guess = self.keys[self.last as usize].followed_by;
        let guessed = &self.keys[guess as usize];
        if guessed.parent == parent && *guessed.raw == *raw {
            self.last = guess;
            return Some(guess);
        }
        self.write_lookup(parent, raw);
        let found = self.by_raw.get(self.lookup.as_slice()).copied()?;
        self.follow(found);
        Some(found)
    }

    pub(crate) fn insert(
        &mut self,
        parent: KeyIndex,
        raw: &[u8],
        joined: &str,
        name: Option<NameId>,
        is_parent_of_needed: bool,
    ) -> KeyIndex {
        let index = self.keys.len() as KeyIndex;
        let key = Key { raw: raw.into(), head: head(raw), parent, followed_by: ROOT, joined: joined.into(), name, is_parent_of_needed };
        self.keys.push(key);
        self.write_lookup(parent, raw);
        self.by_raw.insert(self.lookup.as_slice().into(), index);
        self.follow(index);
        index
    }

    fn follow(&mut self, index: KeyIndex) {
        self.keys[self.last as usize].followed_by = index;
        self.last = index;
    }

    fn write_lookup(&mut self, parent: KeyIndex, raw: &[u8]) {
        self.lookup.clear();
        self.lookup.extend_from_slice(&parent.to_le_bytes());
        self.lookup.extend_from_slice(raw);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_that_stood_here_is_known_without_its_end() {
        for raw in ["a", "level", "trace_id", "request.path", "a_rather_long_key"] {
            let mut cache = KeyCache::default();
            let index = cache.insert(ROOT, raw.as_bytes(), raw, None, true);
            cache.start_line();
            for other in [
                format!("{raw}x=1"),
                format!("x{raw}=1"),
                raw.to_owned(),
                format!("{raw}:"),
                raw[1..].to_owned(),
                "=".into(),
                String::new(),
            ] {
                assert_eq!(cache.guess(ROOT, other.as_bytes(), b'='), None, "{raw} in {other}");
            }
            assert_eq!(cache.guess(index, format!("{raw}=1").as_bytes(), b'='), None, "below another");
            assert_eq!(cache.guess(ROOT, format!("{raw}=").as_bytes(), b'='), Some((index, raw.len())));
            cache.start_line();
            assert_eq!(cache.guess(ROOT, format!("{raw}=a longer value").as_bytes(), b'='), Some((index, raw.len())));
        }
    }

    #[test]
    fn keys_are_found_in_any_order_and_apart_by_parent() {
        let mut cache = KeyCache::default();
        for (parent, raw) in [(ROOT, "a"), (ROOT, "b"), (2, "a")] {
            assert_eq!(cache.find(parent, raw.as_bytes()), None);
            cache.insert(parent, raw.as_bytes(), raw, None, true);
        }
        for _ in 0..2 {
            cache.start_line();
            assert_eq!(cache.find(ROOT, b"a"), Some(2));
            assert_eq!(cache.find(ROOT, b"b"), Some(3));
            assert_eq!(cache.find(2, b"a"), Some(4));
            cache.start_line();
            assert_eq!(cache.find(2, b"a"), Some(4));
            assert_eq!(cache.find(ROOT, b"b"), Some(3));
            assert_eq!(cache.find(3, b"a"), None);
        }
    }
}
