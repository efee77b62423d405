//! Text as it is sent: valid UTF-8, cut at a character's boundary where it is too long.

use std::borrow::Cow;

/// `bytes` with each invalid sequence as U+FFFD; `true` if there was one.
pub(crate) fn valid_utf8(bytes: &[u8]) -> (Cow<'_, [u8]>, bool) {
    if simdutf8::basic::from_utf8(bytes).is_ok() {
        return (Cow::Borrowed(bytes), false);
    }
    (Cow::Owned(String::from_utf8_lossy(bytes).into_owned().into_bytes()), true)
}

/// Cuts `line`, which was `total` bytes long and of which `line` is the valid head, so that it fits `limit` with its suffix. Returns
/// the line and the number of bytes left out.
pub(crate) fn truncate(line: &[u8], total: u64, limit: usize) -> (Vec<u8>, u64) {
    let suffix_length = suffix(total).len();
    let mut keep = limit.saturating_sub(suffix_length).min(line.len());
    while keep > 0 && line.get(keep).is_some_and(|byte| byte & 0xc0 == 0x80) {
        keep -= 1;
    }
    let left_out = total.saturating_sub(keep as u64);
    let mut cut = Vec::with_capacity(keep + suffix_length);
    cut.extend_from_slice(&line[..keep]);
    cut.extend_from_slice(suffix(left_out).as_bytes());
    cut.truncate(limit.max(keep));
    (cut, left_out)
}

/// `text` in pieces of at most `limit` bytes, cut between characters.
pub(crate) fn pieces(text: &[u8], limit: usize) -> Vec<&[u8]> {
    let mut pieces = Vec::with_capacity(text.len() / limit.max(1) + 1);
    let mut rest = text;
    while rest.len() > limit {
        let mut end = limit;
        while end > 0 && rest.get(end).is_some_and(|byte| byte & 0xc0 == 0x80) {
            end -= 1;
        }
        // A character longer than the limit stays whole.
        let (piece, after) = rest.split_at(if end == 0 { limit.min(rest.len()) } else { end });
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    pieces
}

fn suffix(left_out: u64) -> String {
    format!("...[truncated {left_out} bytes]")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn invalid_bytes_are_replaced_and_told() {
        assert_eq!(valid_utf8(b"ok \xc3\xa9"), (Cow::Borrowed(&b"ok \xc3\xa9"[..]), false));
        let (text, is_replaced) = valid_utf8(b"a\xffb\xe2\x82");
        assert_eq!((&*text, is_replaced), ("a\u{fffd}b\u{fffd}".as_bytes(), true));
    }

    #[test]
    fn a_long_line_fits_its_limit_with_the_suffix() {
        let (line, left_out) = truncate(&[b'x'; 100], 1000, 60);
        assert_eq!(line, [vec![b'x'; 35], b"...[truncated 965 bytes]".to_vec()].concat());
        assert_eq!(left_out, 965);
    }

    proptest! {
        #[test]
        fn a_cut_line_is_valid_and_within_the_limit(text in "\\PC{0,120}", limit in 40usize..90, more in 0u64..5000) {
            let total = text.len() as u64 + more;
            let (line, left_out) = truncate(text.as_bytes(), total, limit);
            prop_assert!(std::str::from_utf8(&line).is_ok());
            prop_assert!(line.len() <= limit);
            prop_assert!(left_out <= total);
        }
    }
}
