//! `| decolorize`: the line without ANSI escape sequences.
//!
//! A sequence is ESC or U+009B, any of `[ ] ( ) # ; ?`, and then either alphanumeric parameters between `;` up to
//! BEL, or numbers between `;` (the first of one to four digits, the others of up to four) and a final character.
//! What only begins like one stays.

const ESCAPE: u8 = 0x1b;
const BELL: u8 = 0x07;

/// Writes the line without its sequences; false if it has none.
pub(crate) fn run(line: &[u8], plain: &mut Vec<u8>) -> bool {
    plain.clear();
    let mut kept = 0;
    let mut at = 0;
    while let Some(found) = memchr::memchr2(ESCAPE, 0xc2, &line[at..]) {
        at += found;
        match sequence_length(&line[at..]) {
            Some(length) => {
                plain.extend_from_slice(&line[kept..at]);
                at += length;
                kept = at;
            }
            None => at += 1,
        }
    }
    if kept == 0 {
        return false;
    }
    plain.extend_from_slice(&line[kept..]);
    true
}

/// The length of the sequence at the start of the text.
fn sequence_length(text: &[u8]) -> Option<usize> {
    let introducer = match text {
        [ESCAPE, ..] => 1,
        [0xc2, 0x9b, ..] => 2,
        _ => return None,
    };
    let openers = text[introducer..].iter().take_while(|byte| b"[]()#;?".contains(byte)).count();
    // `;` may belong to the openers or to what follows: the longest run of openers that leads to a sequence counts.
    (introducer..=introducer + openers).rev().find_map(|start| {
        let rest = &text[start..];
        titled_length(rest).or_else(|| control_length(rest)).map(|length| start + length)
    })
}

/// Parameters up to BEL.
fn titled_length(text: &[u8]) -> Option<usize> {
    let length = text.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b';').count();
    (text.get(length) == Some(&BELL)).then_some(length + 1)
}

/// Numbers and a final character, which may be a digit.
fn control_length(text: &[u8]) -> Option<usize> {
    let mut numbers = digits(text);
    while numbers > 0 && text.get(numbers) == Some(&b';') {
        numbers += 1 + digits(&text[numbers + 1..]);
    }
    let end = (0..=numbers).rev().find(|end| text.get(*end).is_some_and(|byte| is_final(*byte)))?;
    Some(end + 1)
}

/// How many digits, up to four, the text begins with.
fn digits(text: &[u8]) -> usize {
    text.iter().take(4).take_while(|byte| byte.is_ascii_digit()).count()
}

fn is_final(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'A'..=b'P' | b'R' | b'Z' | b'c' | b'f'..=b'n' | b't' | b'q' | b'r' | b'y')
        || matches!(byte, b'=' | b'>' | b'<' | b'~')
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn plain(line: &str) -> String {
        let mut out = Vec::new();
        if !run(line.as_bytes(), &mut out) {
            return line.to_owned();
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn sequences_are_removed() {
        let cases = [
            ("\x1b[31mred\x1b[0m plain", "red plain"),
            ("\x1b[1;32;48mx", "x"),
            ("\u{9b}31mx", "x"),
            ("\x1b]0;title\x07x", "x"),
            ("\x1b[2Kx\x1b[Hy", "xy"),
            ("\x1bcx", "x"),
            ("no sequence \u{e9}", "no sequence \u{e9}"),
            ("\x1b[", "\x1b["),
            ("\x1b[31", ""),
            ("", ""),
        ];
        for (line, expected) in cases {
            assert_eq!(plain(line), expected, "{line:?}");
        }
    }
}
