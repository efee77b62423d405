//! Functions that fit texts into a width, counted in bytes as Sprig does, and never cut within a character.

use tailwater_logql::template::{Function, Type, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    // From the left bound on, at most as wide as the right one says.
    Function::new("abbrevboth", &[Type::Int, Type::Int, Type::String], |call| {
        let (left, right, text) = (call.integer(0), call.integer(1), call.string(2));
        let is_too_narrow = right < 4 || (left > 0 && right < 7);
        let (offset, width) = (usize::try_from(left).unwrap_or(0), usize::try_from(right).unwrap_or(0));
        Ok(Value::text(if is_too_narrow { text } else { shortened(&text, offset, width) }))
    }),
    Function::new("wrap", &[Type::Int, Type::String], |call| {
        let (width, text) = (call.integer(0), call.string(1));
        Ok(Value::text(wrapped(&text, usize::try_from(width).unwrap_or(0), "\n", false)))
    }),
    Function::new("wrapWith", &[Type::Int, Type::String, Type::String], |call| {
        let (width, end, text) = (call.integer(0), call.string(1), call.string(2));
        let end = if end.is_empty() { "\n" } else { &end };
        Ok(Value::text(wrapped(&text, usize::try_from(width).unwrap_or(0), end, true)))
    }),
];

/// `text` in `width` bytes, which are more than three: what is left out at either end is three dots.
fn shortened(text: &str, offset: usize, width: usize) -> String {
    let room = width - 3;
    if text.len() <= width {
        return text.to_owned();
    }
    let offset = offset.min(text.len() - room);
    let head = |text: &str, length: usize| text.get(..text.floor_char_boundary(length)).unwrap_or_default().to_owned();
    let tail = |text: &str, from: usize| text.get(text.ceil_char_boundary(from)..).unwrap_or_default().to_owned();
    if offset <= 4 {
        format!("{}...", head(text, room))
    } else if offset + room < text.len() {
        format!("...{}...", head(&tail(text, offset), room.saturating_sub(3)))
    } else {
        format!("...{}", tail(text, text.len() - room))
    }
}

/// Lines of at most `width` bytes, broken at blanks. A longer word is a line of its own, or broken as well.
fn wrapped(text: &str, width: usize, end: &str, breaks_words: bool) -> String {
    let width = width.max(1);
    let mut lines: Vec<&str> = Vec::new();
    let mut rest = text;
    while rest.len() > width {
        if let Some(behind) = rest.strip_prefix(' ') {
            rest = behind;
            continue;
        }
        let blank = rest.bytes().take(width + 1).rposition(|byte| byte == b' ');
        let blank = if blank.is_none() && !breaks_words { rest.find(' ').or(Some(rest.len())) } else { blank };
        let (line, behind) = match blank {
            Some(at) => rest.split_at(at),
            None => rest.split_at(rest.floor_char_boundary(width).max(rest.chars().next().map_or(1, char::len_utf8))),
        };
        // The blank it is broken at belongs to no line.
        rest = if blank.is_some() { behind.get(1..).unwrap_or_default() } else { behind };
        if behind.is_empty() {
            return lines.into_iter().chain([line]).collect::<Vec<_>>().join(end);
        }
        lines.push(line);
    }
    lines.push(rest);
    lines.join(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::template::tests::result;

    #[test]
    fn texts_are_fitted_into_a_width() {
        for (template, expected) in [
            ("{{ abbrevboth 5 10 .v }}", "...5678..."),
            ("{{ abbrevboth 0 8 .v }} {{ abbrevboth 20 9 .v }} {{ abbrevboth 5 6 .v }}", "1234 ... ...efghij 1234 5678 9abcdefghij"),
            ("{{ abbrevboth 0 100 .v }}", "1234 5678 9abcdefghij"),
            ("{{ wrap 6 .v | replace \"\\n\" \"|\" }}", "1234|5678|9abcdefghij"),
            ("{{ wrapWith 6 \"|\" .v }}", "1234|5678|9abcde|fghij"),
            ("{{ wrap 80 .v }}", "1234 5678 9abcdefghij"),
        ] {
            assert_eq!(result(template, "1234 5678 9abcdefghij").as_deref(), Some(expected), "{template}");
        }
    }

    #[test]
    fn nothing_is_cut_within_a_character_and_every_width_ends() {
        let text = "äöü ßéñ 日本語日本語 x";
        for width in 0..40 {
            for breaks_words in [false, true] {
                let words = wrapped(text, width, "\n", breaks_words).replace(['\n', ' '], "");
                assert_eq!(words, text.replace(' ', ""), "{width}");
            }
            for offset in 0..40 {
                assert!(shortened(text, offset, width + 4).len() <= text.len().max(width + 4));
            }
        }
    }
}
