//! Characters of texts that may hold bytes that are none.

/// The characters with their lengths in bytes; a byte that belongs to none counts as U+FFFD.
pub(super) fn runes(text: &[u8]) -> impl Iterator<Item = (char, usize)> {
    text.utf8_chunks().flat_map(|chunk| {
        let valid = chunk.valid().chars().map(|character| (character, character.len_utf8()));
        valid.chain(chunk.invalid().iter().map(|_| (char::REPLACEMENT_CHARACTER, 1)))
    })
}

/// The text with each character replaced.
pub(super) fn mapped(text: &[u8], map: impl FnMut(char) -> char) -> Vec<u8> {
    let mut mapped = String::with_capacity(text.len());
    mapped.extend(runes(text).map(|(character, _)| character).map(map));
    mapped.into_bytes()
}

/// Without the characters at both ends for which the test holds.
pub(super) fn trimmed(text: &[u8], test: impl Fn(char) -> bool) -> std::ops::Range<usize> {
    let start = trimmed_start(text, &test);
    start..start + trimmed_end(&text[start..], test)
}

pub(super) fn trimmed_start(text: &[u8], test: impl Fn(char) -> bool) -> usize {
    runes(text).take_while(|(character, _)| test(*character)).map(|(_, length)| length).sum()
}

/// Where the text ends without them.
pub(super) fn trimmed_end(text: &[u8], test: impl Fn(char) -> bool) -> usize {
    let mut end = 0;
    let mut at = 0;
    for (character, length) in runes(text) {
        at += length;
        if !test(character) {
            end = at;
        }
    }
    end
}

/// One character in upper case; those whose upper case is more than one character stay.
pub(super) fn upper(character: char) -> char {
    let mut upper = character.to_uppercase();
    upper.next().filter(|_| upper.next().is_none()).unwrap_or(character)
}

pub(super) fn lower(character: char) -> char {
    character.to_lowercase().next().unwrap_or(character)
}
