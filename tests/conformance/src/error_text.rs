//! The part of an error text that counts.
//!
//! White space is folded; the `, expecting ...` list of syntax errors is cut off; the JSON decoder's own
//! wording and the series a pipeline error names are blanked, for the first belongs to one library and the
//! second depends on timing. Positions count: they are stable.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{NoExpand, Regex};

static BLANKS: LazyLock<Regex> = LazyLock::new(|| constant(r"[\s\x1c-\x1f]+"));
static EXPECTING: LazyLock<Regex> = LazyLock::new(|| constant(r", expecting .*$"));
static DECODER: LazyLock<Regex> = LazyLock::new(|| constant(r".*error found in #.*"));
static PIPELINE: LazyLock<Regex> = LazyLock::new(|| constant(r"pipeline error: .*"));

/// `text` reduced to what must match, with everything that one of `masks` finds replaced by `#`.
pub(crate) fn core_message(text: &str, masks: &[Regex]) -> String {
    let text = BLANKS.replace_all(text, NoExpand(" "));
    let text = EXPECTING.replace_all(&text, NoExpand(""));
    let text = DECODER.replace_all(&text, NoExpand("malformed JSON"));
    let mut text = PIPELINE.replace_all(&text, NoExpand("pipeline error")).into_owned();
    for mask in masks {
        if let Cow::Owned(masked) = mask.replace_all(&text, NoExpand("#")) {
            text = masked;
        }
    }
    text
}

fn constant(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a constant pattern compiles")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_core_of_a_message_is_left() {
        for (text, core) in [
            ("a\n\t b  c", "a b c"),
            (
                "parse error at line 1, col 5: syntax error: unexpected IDENTIFIER, expecting STRING or )",
                "parse error at line 1, col 5: syntax error: unexpected IDENTIFIER",
            ),
            ("loghttp: ReadObject, error found in #10 byte of ...|x|...", "malformed JSON"),
            ("pipeline error: 'JSONParserErr' for series: '{a=\"b\"}'", "pipeline error"),
            ("other: pipeline error: x", "other: pipeline error"),
        ] {
            assert_eq!(core_message(text, &[]), core);
        }
    }

    #[test]
    fn masks_blank_what_they_find_and_nothing_else() {
        let masks = [Regex::new(r"20\d\d-\d\d-\d\dT[\d:.]+Z?").unwrap()];
        let found = core_message("entry at 2026-01-15T10:00:00.5Z in $1", &masks);
        assert_eq!(found, "entry at # in $1");
    }

    #[test]
    fn positions_count() {
        assert_ne!(core_message("line 1, col 5: x", &[]), core_message("line 1, col 6: x", &[]));
    }
}
