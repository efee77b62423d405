//! `decolorize`: terminal sequences are taken out of the line.

use std::sync::LazyLock;

use regex::Regex;

use super::entry::Entry;

/// An introducer, and then either text up to a bell or numbers and one final character.
static SEQUENCE: LazyLock<Regex> = LazyLock::new(|| {
    let pattern =
        r"[\x1b\u{9b}][\[\]()#;?]*(?:(?:(?:[a-zA-Z\d]*(?:;[a-zA-Z\d]*)*)?\x07)|(?:(?:\d{1,4}(?:;\d{0,4})*)?[\dA-PRZcf-ntqry=><~]))";
    Regex::new(pattern).expect("the pattern is well formed")
});

pub(crate) fn apply(entry: &mut Entry) {
    if entry.line.contains(['\x1b', '\u{9b}']) {
        entry.line = SEQUENCE.replace_all(&entry.line, "").into_owned();
    }
}

#[cfg(test)]
mod tests {
    use crate::pipeline::tests::run_lines;

    #[test]
    fn sequences_vanish_and_text_stays() {
        for (line, expected) in [
            ("\x1b[31mred\x1b[0m plain \x1b[1;32;40mbold\x1b[m", "red plain bold"),
            ("\x1b[2K\x1b[1Gprogress", "progress"),
            ("\x1b[38;5;196mx\x1b[39m", "x"),
            ("no colour [31m", "no colour [31m"),
        ] {
            assert_eq!(run_lines("- decolorize: {}", &[line])[0].line, expected);
        }
    }
}
