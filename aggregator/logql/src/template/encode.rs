//! Encodings of bytes as text: base 64, URLs, HTML and JavaScript.

use super::rune::runes;
use crate::literal::{go_quote, is_printable};

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

pub(super) fn base64(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for position in 0..4 {
            let is_filled = position <= chunk.len();
            text.push(if is_filled { BASE64[(bits >> (18 - 6 * position) & 63) as usize] } else { b'=' });
        }
    }
    text
}

/// Line breaks are skipped. `Err` is the byte at which the text is no base 64.
pub(super) fn from_base64(text: &[u8]) -> Result<Vec<u8>, usize> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let mut digits = [0u32; 4];
    let mut count = 0;
    let mut at = 0;
    let skip_breaks = |mut at: usize| {
        while text.get(at).is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
            at += 1;
        }
        at
    };
    loop {
        at = skip_breaks(at);
        let Some(byte) = text.get(at) else {
            return if count == 0 { Ok(bytes) } else { Err(at - count) };
        };
        if *byte == b'=' {
            return padding(text, at, &digits[..count], skip_breaks).map(|mut rest| {
                bytes.append(&mut rest);
                bytes
            });
        }
        digits[count] = BASE64.iter().position(|digit| digit == byte).ok_or(at)? as u32;
        count += 1;
        at += 1;
        if count == 4 {
            let bits = digits.iter().fold(0, |bits, digit| bits << 6 | digit);
            bytes.extend_from_slice(&bits.to_be_bytes()[1..]);
            count = 0;
        }
    }
}

/// The bytes of the last digits, before `=` or `==` at the end of the text.
fn padding(text: &[u8], at: usize, digits: &[u32], skip_breaks: impl Fn(usize) -> usize) -> Result<Vec<u8>, usize> {
    let mut end = at + 1;
    match digits.len() {
        0 | 1 => return Err(at),
        2 => {
            end = skip_breaks(end);
            match text.get(end) {
                Some(b'=') => end += 1,
                Some(_) => return Err(end),
                None => return Err(text.len()),
            }
        }
        _ => {}
    }
    end = skip_breaks(end);
    if end < text.len() {
        return Err(end);
    }
    let bits = digits.iter().fold(0, |bits, digit| bits << 6 | digit) << (6 * (4 - digits.len()));
    Ok(bits.to_be_bytes()[1..digits.len()].to_vec())
}

/// For the query of a URL: blanks become `+`.
pub(super) fn url_query(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => text.push(*byte),
            b' ' => text.push(b'+'),
            _ => text.extend_from_slice(format!("%{byte:02X}").as_bytes()),
        }
    }
    text
}

/// `Err` is the message.
pub(super) fn from_url_query(text: &[u8]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'%' => {
                let digit = |index: usize| text.get(index).and_then(|byte| char::from(*byte).to_digit(16));
                let (Some(high), Some(low)) = (digit(at + 1), digit(at + 2)) else {
                    let escape = String::from_utf8_lossy(&text[at..text.len().min(at + 3)]);
                    return Err(format!("invalid URL escape {}", go_quote(&escape)));
                };
                bytes.push((high << 4 | low) as u8);
                at += 2;
            }
            b'+' => bytes.push(b' '),
            byte => bytes.push(byte),
        }
        at += 1;
    }
    Ok(bytes)
}

pub(super) fn html(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'"' => text.extend_from_slice(b"&#34;"),
            b'\'' => text.extend_from_slice(b"&#39;"),
            b'&' => text.extend_from_slice(b"&amp;"),
            b'<' => text.extend_from_slice(b"&lt;"),
            b'>' => text.extend_from_slice(b"&gt;"),
            0 => text.extend_from_slice("\u{fffd}".as_bytes()),
            byte => text.push(*byte),
        }
    }
    text
}

pub(super) fn javascript(bytes: &[u8]) -> Vec<u8> {
    let mut text = String::with_capacity(bytes.len());
    for (character, _) in runes(bytes) {
        match character {
            '\\' | '\'' | '"' => text.extend(['\\', character]),
            '<' | '>' | '&' | '=' => text.push_str(&format!("\\u{:04X}", u32::from(character))),
            _ if character >= ' ' && (character.is_ascii() || is_printable(character)) => text.push(character),
            _ => text.push_str(&format!("\\u{:04X}", u32::from(character))),
        }
    }
    text.into_bytes()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn broken_base64_is_placed() {
        for (text, result) in [
            ("", Ok("")),
            ("YQ==", Ok("a")),
            ("YW\nI=", Ok("ab")),
            ("YWJj", Ok("abc")),
            ("a b", Err(1)),
            ("YQ", Err(0)),
            ("YQ=", Err(3)),
            ("YQ=x", Err(3)),
            ("YQ==x", Err(4)),
            ("=", Err(0)),
            ("Y===", Err(1)),
        ] {
            assert_eq!(from_base64(text.as_bytes()), result.map(|text: &str| text.as_bytes().to_vec()), "{text}");
        }
    }

    #[test]
    fn texts_are_escaped_as_in_go() {
        assert_eq!(html(b"<a&\"b'\0>"), "&lt;a&amp;&#34;b&#39;\u{fffd}&gt;".as_bytes());
        assert_eq!(
            javascript("a'b\"\\<=&>\n\u{7f}é\u{200b}".as_bytes()),
            "a\\'b\\\"\\\\\\u003C\\u003D\\u0026\\u003E\\u000A\u{7f}é\\u200B".as_bytes()
        );
        assert_eq!(url_query("a b/c&d=é~".as_bytes()), b"a+b%2Fc%26d%3D%C3%A9~");
        assert_eq!(from_url_query(b"a%20b%2Fc+d").unwrap(), b"a b/c d");
        assert_eq!(from_url_query(b"a%zz1").unwrap_err(), "invalid URL escape \"%zz\"");
        assert_eq!(from_url_query(b"a%2").unwrap_err(), "invalid URL escape \"%2\"");
    }

    proptest! {
        #[test]
        fn there_and_back(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(from_base64(&base64(&bytes)), Ok(bytes.clone()));
            prop_assert_eq!(from_url_query(&url_query(&bytes)), Ok(bytes));
        }

        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            drop(from_base64(&bytes));
            drop(from_url_query(&bytes));
        }
    }
}
