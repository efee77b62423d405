//! Grams: the short pieces of a text by which granules are told apart.
//!
//! At each byte, look at the first 4: if all are id bytes (`0-9 a-f - . :`), the gram is the 6 bytes from there, in
//! the id plane; else it is the 4 bytes, in the text plane. Where the text ends before, there is no gram. All of the
//! ASCII-lower-cased text. The rule looks only forward, so the grams of a piece of a text are grams of the text.
//! [`crate::mark`] applies the same rule to whole pages.

pub(crate) const TEXT_GRAM: usize = 4;
pub(crate) const ID_GRAM: usize = 6;

/// Grams of words and grams of identifiers are kept apart: the former repeat, the latter do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Plane {
    Text,
    Id,
}

impl Plane {
    pub(crate) const ALL: [Plane; 2] = [Plane::Text, Plane::Id];

    /// Binary logarithm of the bits of the plane before it is folded.
    pub(crate) fn full_bits_log2(self) -> u8 {
        match self {
            Plane::Text => 17,
            Plane::Id => 20,
        }
    }

    pub(crate) fn full_bits(self) -> usize {
        1 << self.full_bits_log2()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gram {
    pub plane: Plane,
    /// The gram's bytes, lower case, the first one lowest.
    pub value: u64,
}

/// Whether a lower-case byte is one that identifiers and addresses are made of.
pub(crate) fn is_id_byte(byte: u8) -> bool {
    // `-.`, `0123456789:` and `abcdef` are runs of ASCII; three subtractions vectorise where a match does not.
    (byte.wrapping_sub(b'-') < 2) | (byte.wrapping_sub(b'0') < 11) | (byte.wrapping_sub(b'a') < 6)
}

/// The grams of a text, each with where it begins.
pub fn grams(text: &[u8]) -> impl Iterator<Item = (usize, Gram)> {
    (0..text.len()).filter_map(|start| Some((start, gram_at(&text[start..])?)))
}

fn gram_at(text: &[u8]) -> Option<Gram> {
    let is_id = text.get(..TEXT_GRAM)?.iter().all(|byte| is_id_byte(byte.to_ascii_lowercase()));
    let (plane, length) = if is_id { (Plane::Id, ID_GRAM) } else { (Plane::Text, TEXT_GRAM) };
    let bytes = text.get(..length)?;
    let value = bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(byte.to_ascii_lowercase()));
    Some(Gram { plane, value })
}

impl Gram {
    pub(crate) fn length(self) -> usize {
        match self.plane {
            Plane::Text => TEXT_GRAM,
            Plane::Id => ID_GRAM,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<(usize, String)> {
        let show = |(start, gram): (usize, Gram)| (start, String::from_utf8_lossy(&gram.value.to_le_bytes()[..gram.length()]).into_owned());
        grams(text.as_bytes()).map(show).collect()
    }

    #[test]
    fn id_bytes_are_the_listed_ones() {
        for byte in 0..=u8::MAX {
            assert_eq!(is_id_byte(byte), b"0123456789abcdef-.:".contains(&byte), "{byte}");
        }
    }

    #[test]
    fn the_first_four_bytes_decide_the_plane_and_length() {
        let cases: [(&str, &[(usize, &str)]); 7] = [
            ("", &[]),
            ("xyz", &[]),
            ("WxyZ", &[(0, "wxyz")]),
            ("abcd", &[]),
            ("abcdE", &[]),
            ("10.0.1x", &[(0, "10.0.1"), (1, "0.0.1x"), (3, "0.1x")]),
            ("id=F00d:BEEF", &[(0, "id=f"), (1, "d=f0"), (2, "=f00"), (3, "f00d:b"), (4, "00d:be"), (5, "0d:bee"), (6, "d:beef")]),
        ];
        for (text, expected) in cases {
            let expected: Vec<(usize, String)> = expected.iter().map(|(start, gram)| (*start, gram.to_string())).collect();
            assert_eq!(shown(text), expected, "{text:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_ordinary() {
        let found: Vec<(usize, Gram)> = grams(b"\xff\x00\n\xc3\xa9").collect();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].1, Gram { plane: Plane::Text, value: 0xc3_0a_00_ff });
    }
}
