//! An answer, recorded or live, in one form.
//!
//! Whether an answer counts as JSON is decided by what it is, not only by its content type: the reference
//! answers JSON under `text/plain` in places, and text under `application/json` in others.

use serde_json::Value;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content: Content,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Content {
    Json(Value),
    /// Without blanks at either end.
    Text(String),
}

impl Answer {
    pub(crate) fn from_body(status: u16, content_type: &str, text: &str) -> Self {
        let may_be_json = content_type.contains("json") || text.starts_with(['{', '[']);
        let parsed = if may_be_json { serde_json::from_str(text).ok() } else { None };
        let content = parsed.map_or_else(|| Content::Text(text.trim_matches(is_blank).to_owned()), Content::Json);
        Self { status, content }
    }
}

/// White space, and the ASCII separators (0x1c to 0x1f), which Unicode does not count.
fn is_blank(character: char) -> bool {
    character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_recognised_by_type_or_by_look() {
        for (content_type, text, is_json) in [
            ("application/json", "{}", true),
            ("text/plain", "[1]", true),
            ("application/json; charset=utf-8", "3", true),
            ("text/plain", "3", false),
            ("application/json", "not json", false),
            ("", "{broken", false),
            ("application/json", "", false),
        ] {
            let answer = Answer::from_body(200, content_type, text);
            assert_eq!(matches!(answer.content, Content::Json(_)), is_json, "{content_type} {text}");
        }
    }

    #[test]
    fn text_loses_blanks_at_its_ends() {
        assert_eq!(Answer::from_body(400, "", " a b\n").content, Content::Text("a b".to_owned()));
    }
}
